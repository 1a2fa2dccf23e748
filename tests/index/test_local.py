"""`Index`: searching in three ways, from threads and loops, with and without vectors."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ragscale.errors import InvalidInput
from ragscale.index import Index
from ragscale.index.encoders.embedder import Embedder
from ragscale.ranking import RRF_K
from ragscale.types import Hit, Passage

QUERIES = ["Where was Marie Curie born?", "a river of frozen water", "musical instrument", "baking a loaf"]
HOWS = ["hybrid", "dense", "bm25"]


@pytest.fixture(scope="module")
def real(corpus: Path, minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """The small corpus with the default embedder."""
    with Index.build([corpus], tmp_path_factory.mktemp("real") / "index") as index:
        yield index


def ids(hits: list[Hit]) -> list[str]:
    return [hit.passage.id for hit in hits]


def test_dense_finds_by_meaning_and_bm25_by_words(real: Index) -> None:
    assert [ids(hits)[0] for hits in real.search(QUERIES[1:], k=3, how="dense")] == ["glacier", "violin", "bread"]
    assert ids(real.search(["musical instrument"], how="bm25")[0]) == []
    assert ids(real.search(["strings"], how="bm25")[0]) == ["violin"]


def test_hybrid_is_the_fusion_of_both(real: Index) -> None:
    dense, bm25, hybrid = (real.search(QUERIES, k=12, how=how) for how in ("dense", "bm25", "hybrid"))
    for one, other, both in zip(dense, bm25, hybrid, strict=True):
        wanted = dict.fromkeys(ids(one), 0.0)
        for ranking in (one, other):
            for rank, hit in enumerate(ranking, 1):
                wanted[hit.passage.id] += 1 / (RRF_K + rank)
        assert {hit.passage.id: hit.score for hit in both} == pytest.approx(wanted)
        assert [hit.score for hit in both] == sorted(wanted.values(), reverse=True)


def test_scores_of_dense_hits_are_cosines(real: Index) -> None:
    assert real.manifest.embedder is not None
    vectors = Embedder.for_queries(real.manifest.embedder).encode_queries
    for query, hits in zip(QUERIES, real.search(QUERIES, how="dense"), strict=True):
        for hit in hits[:2]:
            cosine = float(vectors([query])[0] @ vectors([f"{hit.passage.title}\n{hit.passage.text}"])[0])
            assert hit.score == pytest.approx(cosine, abs=0.02)  # passages are bfloat16 on some processors


@pytest.mark.parametrize("how", HOWS)
def test_a_query_finds_the_same_alone_and_in_company(real: Index, how: str) -> None:
    alone = [real.search([query], k=5, how=how)[0] for query in QUERIES]
    together = real.search([*QUERIES, "padding " * 60, *QUERIES], k=5, how=how)
    for one, first, second in zip(alone, together[:4], together[5:], strict=True):
        assert ids(one) == ids(first)
        assert first == second
        assert [hit.score for hit in one] == pytest.approx([hit.score for hit in first], abs=2e-6)


@pytest.mark.parametrize("how", HOWS)
def test_equal_passages_come_in_the_order_of_the_corpus(real: Index, how: str) -> None:
    for company in ([], QUERIES):
        hits = real.search(["two passages that say the same", *company], k=2, how=how)[0]
        assert ids(hits) == ["twin-1", "twin-2"]


def test_k_limits_the_hits_and_may_exceed_the_corpus(dense: Index) -> None:
    for how in HOWS:
        for k in (1, 3, 500):
            found = dense.search(["Paris and the river Seine"], k=k, how=how)[0]  # type: ignore[arg-type]
            assert 0 < len(found) <= min(k, len(dense))
            assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)
    assert len(dense.search(["Paris"], k=500, how="dense")[0]) == len(dense)


def test_defaults_follow_what_the_index_has(lexical: Index, dense: Index) -> None:
    assert (lexical.how, dense.how) == ("bm25", "hybrid")
    assert lexical.search(["radium"]) == lexical.search(["radium"], k=10, how="bm25")
    assert dense.search(["radium"]) == dense.search(["radium"], k=10, how="hybrid")


def test_a_search_without_queries_loads_what_others_need(dense: Index, model: Path, tmp_path: Path) -> None:
    """A loaded embedder is not read again: its folder may go away."""
    folder = shutil.copytree(model, tmp_path / "model")
    with Index.open(dense.path, embedder=folder) as index:
        assert index.search([]) == []
        shutil.rmtree(folder)
        assert index.search(["Poland"]) == dense.search(["Poland"])


def test_no_queries_no_lists(lexical: Index) -> None:
    assert lexical.search([]) == []


@pytest.mark.parametrize(
    ("queries", "options", "message"),
    [
        ("a string", {}, "queries is one string"),
        (None, {}, r"queries is no list \(None\)"),
        (5, {}, r"queries is no list \(5\)"),
        (["fine", " \n"], {}, "blank"),
        (["fine", None], {}, "not text"),
        (["x"], {"k": 0}, "k 0, the least is 1"),
        (["x"], {"k": 2.5}, r"k 2\.5"),
        (["x"], {"k": True}, "k True"),
        (["x"], {"how": "sparse"}, "unknown kind of search 'sparse'"),
        (["x"], {"how": "dense"}, "dense search needs vectors"),
        (["x"], {"how": "hybrid"}, "hybrid search needs vectors"),
    ],
)
async def test_bad_requests(lexical: Index, queries: list[str], options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        lexical.search(queries, **options)  # type: ignore[arg-type]
    assert caught.value.remedy
    with pytest.raises(InvalidInput, match=message):
        await lexical.asearch(queries, **options)  # type: ignore[arg-type]


def test_odd_characters_are_no_error(dense: Index) -> None:
    for query in ("half \ud83d", "\x00", "🦆" * 50, "word " * 5000, "'\"():*^~ AND OR"):
        assert len(dense.search([query], k=3, how="dense")[0]) == 3


def test_passages_by_id(lexical: Index, rows: list[dict[str, str]]) -> None:
    assert len(lexical) == len(rows)
    assert all(row["id"] in lexical for row in rows)
    assert "nobody" not in lexical
    assert 7 not in lexical
    assert lexical.passage("bicycle") == Passage("bicycle", "", rows[6]["text"])
    with pytest.raises(InvalidInput, match="no passage 'nobody'"):
        lexical.passage("nobody")
    with pytest.raises(InvalidInput, match="no passage 5 among 12"):
        lexical.passage(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", [None, 5, b"index"])
def test_what_is_no_path(path: Any) -> None:
    with pytest.raises(InvalidInput, match=f"index {path!r} is neither a folder nor a URL"):
        Index.open(path)


def test_64_searches_at_once_from_threads_and_loops(dense: Index) -> None:
    rng = random.Random(0)
    words = [
        "curie",
        "radium",
        "paris",
        "river",
        "ice",
        "bread",
        "yeast",
        "chain",
        "strings",
        "capital",
        "metal",
        "glows",
    ]
    jobs = [(" ".join(rng.sample(words, 3)), rng.choice([1, 3, 10]), rng.choice(HOWS)) for _ in range(64)]
    alone = [dense.search([query], k, how)[0] for query, k, how in jobs]  # type: ignore[arg-type]
    barrier = threading.Barrier(64)

    async def ask(query: str, k: int, how: str) -> list[list[Hit]]:
        first, second = await asyncio.gather(dense.asearch([query], k, how), dense.asearch([query, query], k, how))  # type: ignore[arg-type]
        assert second == first * 2
        return first

    def work(number: int) -> list[Hit]:
        barrier.wait(30)
        query, k, how = jobs[number]
        if number % 2:
            return asyncio.run(ask(query, k, how))[0]
        return dense.search([query], k, how)[0]  # type: ignore[arg-type]

    with ThreadPoolExecutor(64) as pool:
        found = list(pool.map(work, range(64)))
    for one, other in zip(alone, found, strict=True):
        assert ids(one) == ids(other)


def test_queries_that_wait_together_are_encoded_once(dense: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    dense.search(["warm"], how="dense")
    encoded: list[list[str]] = []
    busy, go = threading.Event(), threading.Event()
    original = Embedder.encode_queries

    def slow(self: Embedder, texts: list[str], **options: int) -> object:
        encoded.append(list(texts))
        busy.set()
        assert go.wait(30)
        return original(self, texts, **options)

    monkeypatch.setattr(Embedder, "encode_queries", slow)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(dense.search, ["alpha"], 3, "dense")
        assert busy.wait(30)
        later = [pool.submit(dense.search, ["beta", name], k, "hybrid") for name in "xy" for k in (2, 4)]
        while dense._broker._queue.qsize() < 4:
            threading.Event().wait(0.001)
        go.set()
        assert len(first.result(30)[0]) == 3
        assert [len(future.result(30)[0]) for future in later] == [2, 4, 2, 4]
    assert encoded[0] == ["alpha"]
    assert len(encoded) == 2
    assert sorted(encoded[1]) == ["beta", "x", "y"]


def test_a_closed_index_refuses_searches(corpus: Path, tmp_path: Path) -> None:
    index = Index.build([corpus], tmp_path / "index", embedder=None)
    assert index.search(["radium"])[0]
    index.close()
    index.close()
    with pytest.raises(InvalidInput, match="the index is closed"):
        index.search(["radium"])


def test_a_forgotten_index_stops_its_thread(corpus: Path, tmp_path: Path) -> None:
    index = Index.build([corpus], tmp_path / "forgotten", embedder=None)
    index.search(["radium"])
    worker = index._broker._worker
    assert worker is not None
    assert worker.is_alive()
    del index
    gc.collect()
    worker.join(30)
    assert not worker.is_alive()


def test_an_approximate_index_answers(corpus: Path, model: Path, tmp_path: Path) -> None:
    with Index.build([corpus], tmp_path / "index", embedder=model, factory="HNSW8") as index:
        assert index.manifest.dense is not None
        assert (index.manifest.dense.factory, index.manifest.dense.rows) == ("HNSW8", len(index))
        assert len(index.search(["Paris"], k=5, how="dense")[0]) == 5


def test_gold_passages_of_real_questions_are_found(data: Path, tmp_path: Path) -> None:
    """BM25 finds both gold passages of HotpotQA's questions among 10 for about seven in ten."""
    questions = [json.loads(line) for line in (data / "hotpotqa" / "questions.jsonl").open(encoding="utf-8")]
    with Index.build([data / "hotpotqa" / "corpus.jsonl"], tmp_path / "index", embedder=None) as index:
        found = index.search([question["question"] for question in questions], k=10)
    complete = [set(q["supporting"]) <= set(ids(hits)) for q, hits in zip(questions, found, strict=True)]
    assert sum(complete) / len(complete) > 0.68


def test_dense_recall_on_real_passages(data: Path, minilm: Path, tmp_path: Path) -> None:
    """A few hundred passages around twenty questions: MiniLM finds most gold passages among ten."""
    questions = [json.loads(line) for line in (data / "hotpotqa" / "questions.jsonl").open(encoding="utf-8")][:20]
    wanted = {identity for q in questions for identity in (*q["supporting"], *q["context"][:8])}
    rows = [
        line for line in (data / "hotpotqa" / "corpus.jsonl").open(encoding="utf-8") if json.loads(line)["id"] in wanted
    ]
    corpus = tmp_path / "part.jsonl"
    corpus.write_text("".join(rows), encoding="utf-8")
    with Index.build([corpus], tmp_path / "index") as index:
        found = index.search([question["question"] for question in questions], k=10, how="dense")
    shares = [
        len(set(q["supporting"]) & set(ids(hits))) / len(q["supporting"])
        for q, hits in zip(questions, found, strict=True)
    ]
    assert sum(shares) / len(shares) > 0.8


def test_names_of_passages_documents_and_titles_are_known(tmp_path: Path) -> None:
    (tmp_path / "guide.md").write_text("# Install\n\n" + "Turn the key. " * 200)
    rows = [
        {"id": "rhodium", "title": "Rhodium", "text": "It is rare."},
        {"id": "gone", "title": "Gone", "text": "Old."},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with Index.build([tmp_path / "guide.md", tmp_path / "rows.jsonl"], tmp_path / "index", embedder=None) as index:
        [[hit]] = index.search(["turn the key"], k=1)
        document = hit.passage.document
        names = [hit.passage.id, document, hit.passage.title, "rhodium", "Rhodium", "Gone", "nothing", "\ud800", ""]
        assert hit.passage.id != document
        assert index.known(names) == {hit.passage.id, document, hit.passage.title, "rhodium", "Rhodium", "Gone"}
        assert index.searching(depth=20).known(["rhodium", "no"]) == {"rhodium"}
        index.remove(["gone"])
        assert index.known(["gone", "Gone", "rhodium"]) == {"rhodium"}
