"""Postings from the segments' term files: the files that bm25s itself writes for the live rows, bit for bit."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import bm25s
import numpy as np
import pytest
import rank_bm25
from hypothesis import given
from hypothesis import strategies as st
from stored import tokenize, write_segment

from ragscale.errors import IndexDamaged, InvalidInput
from ragscale.index.lexical import bm25
from ragscale.index.lexical.bm25 import TermCounter, open_lexical
from ragscale.index.lexical.postings import build_postings

WORDS = [a + b for a in ("zor", "mip", "qux", "tal", "vex") for b in ("ka", "lo", "mu", "ni", "pe", "ro")]


def made_up(count: int, seed: int = 0) -> list[str]:
    """Texts of words whose frequencies fall off like those of a language; some are empty."""
    rng = random.Random(seed)
    weights = [1 / (rank + 1) for rank in range(len(WORDS))]
    return [" ".join(rng.choices(WORDS, weights, k=rng.randint(0, 40))) for _ in range(count)]


def model_of(texts: Sequence[str]) -> bm25s.BM25:
    """bm25s itself, terms numbered in order of appearance."""
    vocabulary: dict[str, int] = {}
    rows = [[vocabulary.setdefault(token, len(vocabulary)) for token in tokens] for tokens in tokenize(texts)]
    model = bm25s.BM25(k1=1.5, b=0.75, method="lucene", backend="numpy")
    model.index((rows, vocabulary), create_empty_token=False, show_progress=False)
    return model


def segments_of(folder: Path, texts: Sequence[str]) -> list[Path]:
    cut = len(texts) // 3
    first = write_segment(folder / "0", [texts[: cut // 2], texts[cut // 2 : cut]])
    return [first, write_segment(folder / "1", [texts[cut:]])]


def test_terms_are_counted_in_order_of_appearance() -> None:
    counter = TermCounter("english")
    pairs, lengths, new = counter.count(["A dog, a cat, two dogs!", "", "the cats"])
    assert (lengths.tolist(), new) == ([3, 0, 1], ["dog", "cat", "two"])
    assert pairs.tolist() == [[0, 2], [1, 1], [2, 1], [1, 1]]
    assert pairs.dtype == lengths.dtype == np.int32
    assert counter.count(["dog bird"])[2] == ["bird"]
    assert [array.shape for array in counter.count([])[:2]] == [(0, 2), (0,)]


@pytest.mark.parametrize("deleted", [False, True])
def test_the_files_of_bm25s(tmp_path: Path, deleted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragscale.index.lexical.postings._ROWS", 64)
    texts = made_up(500)
    gone = np.random.default_rng(1).random(500) < 0.3 if deleted else np.zeros(500, dtype=np.bool_)
    segments = segments_of(tmp_path, texts)
    terms = build_postings(tmp_path / "bm25", segments, gone if deleted else None)
    rows = np.flatnonzero(~gone)
    wanted = model_of([texts[row] for row in rows])
    found = bm25s.BM25.load(tmp_path / "bm25", mmap=True)
    if not deleted:
        assert found.vocab_dict == wanted.vocab_dict
    assert terms == len(found.vocab_dict) == len(wanted.vocab_dict)
    assert found.scores["num_docs"] == 500
    for term, number in wanted.vocab_dict.items():
        ours, theirs = ((model, model.vocab_dict[term]) for model in (found, wanted))
        for name in ("indices", "data"):
            one, other = (
                model.scores[name][model.scores["indptr"][at] : model.scores["indptr"][at + 1]]
                for model, at in (ours, theirs)
            )
            np.testing.assert_array_equal(one, rows[other] if name == "indices" else other)
        assert number < terms


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("filtered", [True, False])
def test_rankings_are_those_of_bm25s(
    tmp_path: Path, compiled: bool, filtered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bm25, "_PATIENCE", 0 if compiled else 10**9)
    texts = made_up(400)
    terms = build_postings(tmp_path / "bm25", segments_of(tmp_path, texts))
    index = open_lexical(tmp_path / "bm25", "bm25s", terms, "english")
    allowed = np.random.default_rng(2).random(400) < 0.2 if filtered else None
    model = model_of(texts)
    queries = [*made_up(60, seed=5), "", "nothing known here", "zorka zorka miplo zorka"]
    for k in (1, 7, 400, 1000):
        for query, ranking in zip(queries, index.search(queries, k, allowed=allowed), strict=True):
            ids = model.get_tokens_ids(tokenize([query])[0])
            scores = model.get_scores_from_ids(ids) if ids else np.zeros(400, np.float32)
            if allowed is not None:
                scores = np.where(allowed, scores, 0)
            rows = [row for row in np.lexsort((np.arange(400), -scores)) if scores[row] > 0][:k]
            assert ranking == [(row, float(scores[row])) for row in rows]
    assert (index._kernel is not None) is compiled  # type: ignore[attr-defined]


@pytest.mark.parametrize("compiled", [True, False])
def test_equal_scores_come_in_row_order(tmp_path: Path, compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bm25, "_PATIENCE", 0 if compiled else 10**9)
    texts = ["alpha beta", "beta alpha", "gamma", "alpha beta"] * 50
    terms = build_postings(tmp_path / "bm25", [write_segment(tmp_path / "0", [texts])])
    index = open_lexical(tmp_path / "bm25", "bm25s", terms, "english")
    for k in (1, 5, 150):
        wanted = [row for row in range(200) if row % 4 != 2][:k]
        assert [row for row, _ in index.search(["beta"], k)[0]] == wanted


@given(st.lists(st.lists(st.sampled_from(WORDS[:6]), max_size=6), min_size=1, max_size=12), st.data())
def test_any_small_corpus(tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], draw: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("any")
    texts = [" ".join(words) for words in rows]
    gone = np.array(draw.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))))
    segments = segments_of(folder, texts)
    live = [text for text, out in zip(texts, gone, strict=True) if not out]
    both = {}
    for kind in ("bm25s", "rank-bm25"):
        terms = build_postings(folder / kind, segments, gone)
        assert terms == len({token for tokens in tokenize(live) for token in tokens})
        both[kind] = open_lexical(folder / kind, kind, terms, "english", segments=segments, deleted=gone)  # type: ignore[arg-type]
    if draw.draw(st.booleans()):
        both["bm25s"]._patience = 0  # type: ignore[attr-defined]  # the compiled search, from the first query on
    query = " ".join(draw.draw(st.lists(st.sampled_from(WORDS[:6]), max_size=4)))
    asked = set(tokenize([query])[0])
    wanted = {row for row, tokens in enumerate(tokenize(texts)) if asked & set(tokens) and not gone[row]}
    assert {row for row, _ in both["bm25s"].search([query], 100)[0]} == wanted
    assert {row for row, _ in both["rank-bm25"].search([query], 100)[0]} <= wanted


@pytest.mark.parametrize("filtered", [True, False])
def test_rank_bm25_is_the_library_on_live_rows(tmp_path: Path, filtered: bool) -> None:
    texts = [*made_up(200), "unique rarity"]
    gone = np.random.default_rng(3).random(201) < 0.3
    gone[200] = False
    allowed = np.random.default_rng(4).random(201) < 0.5 if filtered else np.ones(201, dtype=np.bool_)
    segments = segments_of(tmp_path, texts)
    terms = build_postings(tmp_path / "bm25", segments, gone)
    index = open_lexical(tmp_path / "bm25", "rank-bm25", terms, "english", segments=segments, deleted=gone)
    rows = np.flatnonzero(~gone)
    reference = rank_bm25.BM25Okapi(tokenize([texts[row] for row in rows]))
    for query in made_up(20, seed=6):
        scores = np.zeros(201)
        scores[rows] = reference.get_scores(tokenize([query])[0])
        scores[~allowed] = 0
        found = index.search([query], 10, allowed=allowed)[0]
        assert all(not gone[row] and allowed[row] for row, _ in found)
        best = np.sort(scores[scores > 0])[::-1][:10]
        np.testing.assert_allclose([score for _, score in found], best, rtol=1e-9)


def test_nothing_but_stop_words(tmp_path: Path) -> None:
    segments = [write_segment(tmp_path / "0", [["the of and", "An", ""]]), write_segment(tmp_path / "1", [])]
    assert build_postings(tmp_path / "bm25", segments) == 0
    assert not (tmp_path / "bm25").exists()
    assert open_lexical(tmp_path / "bm25", "bm25s", 0, "english").search(["the cat", "an"], 5) == [[], []]


def test_everything_deleted(tmp_path: Path) -> None:
    segment = write_segment(tmp_path / "0", [["alpha", "beta"]])
    assert build_postings(tmp_path / "bm25", [segment], np.array([True, True])) == 0


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    segment = write_segment(tmp_path / "0", [["alpha beta", "beta"]])
    np.array([2, 2], dtype=np.int32).tofile(segment / "lengths.i32")
    with pytest.raises(IndexDamaged, match=r"terms\.i32 has 3 pairs of 2 terms"):
        build_postings(tmp_path / "bm25", [segment])


def test_unknown_kind(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="unknown lexical index 'lucene'"):
        open_lexical(tmp_path, "lucene", 1, "english")  # type: ignore[arg-type]


def test_numba_is_imported_by_the_first_index_only() -> None:
    code = "import sys, ragscale.index.lexical.bm25; assert 'numba' not in sys.modules and 'faiss' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert bm25._kernel() is not None
