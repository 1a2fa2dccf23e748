"""BM25: our pipeline against rank-bm25, the reference."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rank_bm25
from stored import tokenize, write_segment

from ragscale.index import Index
from ragscale.index.lexical.bm25 import Lexical, open_lexical
from ragscale.index.lexical.postings import build_postings
from ragscale.index.options import LexicalKind


def zipf_texts(seed: int, count: int = 400) -> list[str]:
    """Texts of made-up words whose frequencies fall off like those of a language."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("bcdfgklmnprstvz", k=5)) for _ in range(300)]
    weights = [1 / (rank + 3) for rank in range(len(words))]
    return [" ".join(rng.choices(words, weights, k=rng.randint(5, 40))) for _ in range(count)]


def indexed(folder: Path, texts: list[str], kind: LexicalKind = "bm25s") -> Lexical:
    """The texts in one segment, opened for searching."""
    segments = [write_segment(folder / "segment", [texts])]
    terms = build_postings(folder / "bm25", segments)
    return open_lexical(folder / "bm25", kind, terms, "english", segments=segments)


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_rank_bm25_with_lucene_idf(tmp_path: Path, seed: int) -> None:
    """bm25s leaves out a constant factor k1 + 1 and uses log((N + 1) / (n + 0.5)) as idf; all else is the same."""
    texts = zipf_texts(seed)
    ours = indexed(tmp_path, texts)
    tokens = tokenize(texts)
    reference = rank_bm25.BM25Okapi(tokens)
    for term in reference.idf:
        frequency = sum(term in document for document in tokens)
        reference.idf[term] = math.log((len(texts) + 1) / (frequency + 0.5))
    for query in zipf_texts(seed, 420)[400:]:
        scores = reference.get_scores(tokenize([query])[0]) / 2.5
        found = ours.search([query], len(texts))[0]
        assert len(found) == np.count_nonzero(scores)
        np.testing.assert_allclose([score for _, score in found], [scores[row] for row, _ in found], rtol=1e-4)
        ranked = scores[[row for row, _ in found]]
        assert (ranked[:-1] >= ranked[1:] - 1e-5).all()


def test_both_libraries_rank_real_questions_alike(tmp_path: Path, data: Path) -> None:
    """The two idf formulas nearly agree if no term is in more than a twentieth of the passages."""
    rows = [json.loads(line) for line in (data / "hotpotqa" / "corpus.jsonl").open(encoding="utf-8")][:3000]
    texts = [f"{row['title']}\n{row['text']}" for row in rows]
    kinds: tuple[LexicalKind, ...] = ("bm25s", "rank-bm25")
    searchers = {kind: indexed(tmp_path / kind, texts, kind) for kind in kinds}
    tokens = [set(document) for document in tokenize(texts)]
    overlaps = []
    for line in list((data / "hotpotqa" / "questions.jsonl").open(encoding="utf-8"))[:40]:
        rare = [
            t for t in tokenize([json.loads(line)["question"]])[0] if sum(t in d for d in tokens) < len(tokens) / 20
        ]
        # stems go through unchanged: stemming again could move them
        query = " ".join(term for term in rare if tokenize([term]) == [[term]])
        found = {kind: [row for row, _ in searcher.search([query], 10)[0]] for kind, searcher in searchers.items()}
        if found["rank-bm25"]:
            assert found["bm25s"][0] == found["rank-bm25"][0]
            overlaps.append(len(set(found["bm25s"]) & set(found["rank-bm25"])) / len(found["rank-bm25"]))
    assert len(overlaps) > 30
    assert sum(overlaps) / len(overlaps) > 0.98


@pytest.mark.parametrize("kind", ["bm25s", "rank-bm25"])
def test_search_never_returns_what_does_not_match(corpus: Path, tmp_path: Path, kind: str) -> None:
    with Index.build([corpus], tmp_path / "index", embedder=None, lexical=kind) as index:
        hits = index.search(["radium metal", "zebra", "the of and"], k=1000)
        assert [hit.passage.id for hit in hits[0]] == ["radium", "curie"]
        assert hits[1:] == [[], []]


def test_terms_in_most_passages_still_find_them(tmp_path: Path) -> None:
    index = indexed(tmp_path, ["common rare", "common", "common", "other"])
    assert [row for row, _ in index.search(["common"], 10)[0]] == [1, 2, 0]
    assert index.search(["rare common"], 10)[0][0][0] == 0


def test_files_do_not_depend_on_the_hash_seed(corpus: Path, tmp_path: Path) -> None:
    """bm25s on its own numbers terms in the order of a set."""
    code = (
        "import sys; from ragscale.index import Index; "
        "print(Index.build(sys.argv[1:2], sys.argv[2], embedder=None).fingerprint)"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code, corpus, tmp_path / seed],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert found[0] == found[1]
