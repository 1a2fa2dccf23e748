"""A served index with vectors, metadata and a cross-encoder: what comes over HTTP is what `Index.search` gives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from servers import Served, started
from smallworld import QUESTIONS, script
from typer.testing import CliRunner

import ragscale as rs
from ragscale.cli import app
from ragscale.errors import InvalidInput
from ragscale.index import Index
from ragscale.llm.scripted import ScriptedLLM
from ragscale.measure import Run
from ragscale.weights import pinned

SHIPPED = Path(__file__).parents[2] / "corpora" / "elements" / "passages.jsonl"
QUERIES = ["who discovered an element by its yellow line", "a metal named after a planet", "gas in the air"]
MODEL = "the reranker"  # where a set of options names it
OPTIONS: dict[str, dict[str, Any]] = {
    "dense": {"how": "dense"},
    "hybrid": {},
    "weight": {"weight": 0.8},
    "mmr": {"how": "dense", "mmr": 0.3, "mmr_union": True, "depth": 20},
    "rerank": {"rerank": MODEL, "depth": 12},
    "where": {"where": 'number >= 20 and lang = "en"'},
    "all": {"where": "number < 50", "weight": 0.5, "rerank": MODEL, "mmr": 0.6, "depth": 30},
}


@pytest.fixture(scope="module")
def reranker(make_reranker: Callable[..., Path]) -> str:
    """A cross-encoder of random weights."""
    return str(make_reranker())


@pytest.fixture(scope="module")
def folder(make_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an index of sixty passages with metadata, by the packaged embedder where it was fetched."""
    base = tmp_path_factory.mktemp("vectors")
    lines = SHIPPED.read_text(encoding="utf-8").splitlines()[:60]
    rows = [{**json.loads(line), "number": n, "lang": "de" if n % 3 else "en"} for n, line in enumerate(lines)]
    corpus = base / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    embedder = make_model() if pinned.damage("embedder") else "default"
    Index.build([corpus], base / "index", embedder=embedder, dtype="float32").close()
    return base / "index"


@pytest.fixture(scope="module")
def index(folder: Path) -> Iterator[Index]:
    """That index, open."""
    with Index.open(folder) as index:
        yield index


@pytest.fixture(scope="module")
def served(folder: Path, reranker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """That index, served with the cross-encoder."""
    log = tmp_path_factory.mktemp("log") / "server.log"
    with started(folder, "--rerank", reranker, log=log) as server:
        yield server


@pytest.fixture(scope="module")
def remote(served: Served) -> Iterator[rs.RemoteIndex]:
    """A client of that server."""
    with rs.RemoteIndex(served.url) as remote:
        yield remote


def options_of(name: str, reranker: str) -> dict[str, Any]:
    options = OPTIONS[name]
    return {**options, "rerank": reranker} if options.get("rerank") == MODEL else options


def assert_same(there: list[list[rs.Hit]], here: list[list[rs.Hit]]) -> None:
    """The same passages in the same order, all of them; scores up to what another process rounds otherwise."""
    assert [[hit.passage for hit in hits] for hits in there] == [[hit.passage for hit in hits] for hits in here]
    for mine, theirs in zip(there, here, strict=True):
        assert [hit.score for hit in mine] == pytest.approx([hit.score for hit in theirs], abs=2e-5)


@pytest.mark.parametrize("name", list(OPTIONS))
def test_hits_are_those_of_the_index(remote: rs.RemoteIndex, index: Index, reranker: str, name: str) -> None:
    options = options_of(name, reranker)
    here = index.search(QUERIES, 5, **options)
    assert_same(remote.search(QUERIES, 5, **options), here)
    assert all(len(hits) == 5 for hits in here)
    assert here[0][0].passage.metadata.keys() == {"number", "lang"}


def test_no_two_sets_of_options_find_the_same(index: Index, reranker: str) -> None:
    """Else the test above could not tell an option that is lost on its way."""
    found = [index.search(QUERIES, 5, **options_of(name, reranker)) for name in OPTIONS]
    orders = {tuple(hit.passage.id for hits in lists for hit in hits) for lists in found}
    assert len(orders) == len(OPTIONS)


async def test_searches_of_one_request_keep_their_options(
    remote: rs.RemoteIndex, index: Index, served: Served, reranker: str
) -> None:
    searches = [{"queries": QUERIES, "k": 4, **options_of(name, reranker)} for name in OPTIONS]
    async with httpx.AsyncClient() as client:
        reply = await client.post(f"{served.url}/v1/batch", json={"searches": searches}, timeout=60)
    for name, result in zip(OPTIONS, reply.json()["results"], strict=True):
        here = index.search(QUERIES, 4, **options_of(name, reranker))
        ids = [[hit["id"] for hit in hits] for hits in result["hits"]]
        assert ids == [[hit.passage.id for hit in hits] for hits in here], name
    asked = await remote.asearch(QUERIES, 4, **options_of("all", reranker))
    assert_same(asked, index.search(QUERIES, 4, **options_of("all", reranker)))


def test_the_dialect_of_search_r1_is_a_hybrid_search(served: Served, index: Index) -> None:
    body = {"queries": QUERIES, "topk": 3, "return_scores": True}
    found = httpx.post(f"{served.url}/retrieve", json=body, timeout=60).json()["result"]
    for rows, hits in zip(found, index.search(QUERIES, 3), strict=True):
        assert [row["document"]["id"] for row in rows] == [hit.passage.id for hit in hits]
        assert [row["score"] for row in rows] == pytest.approx([hit.score for hit in hits], abs=2e-5)


def test_views_here_and_there_are_the_same(remote: rs.RemoteIndex, index: Index, reranker: str) -> None:
    """Also by the reranker's weights, which the server tells."""
    there, here = (one.searching(rerank=reranker, depth=20) for one in (remote, index))
    assert there.fingerprint == here.fingerprint
    assert remote.reranker_revision(reranker).startswith("sha256:")
    remote.about["rerankers"][reranker] = "sha256:other"
    assert there.fingerprint != here.fingerprint
    remote.reload()
    assert there.fingerprint == here.fingerprint


def test_only_the_models_that_are_served(remote: rs.RemoteIndex, make_reranker: Callable[..., Path]) -> None:
    assert len(remote.about["rerankers"]) == 1
    with pytest.raises(InvalidInput, match="is not served here"):
        remote.search(QUERIES, rerank=make_reranker(1))


async def test_a_retriever_of_a_remote_index(remote: rs.RemoteIndex, index: Index, reranker: str) -> None:
    for name in ("dense", "weight", "where", "all"):
        there, here = (one.as_retriever(k=3, **options_of(name, reranker)) for one in (remote, index))
        wanted = [document.id for document in here.invoke(QUERIES[0])]
        documents = there.invoke(QUERIES[0])
        assert [document.id for document in documents] == wanted
        assert [document.id for document in await there.ainvoke(QUERIES[0])] == wanted
        assert documents[0].metadata.keys() == {"id", "title", "document", "score", "number", "lang"}
    with pytest.raises(InvalidInput, match="colour"):
        remote.as_retriever(colour="red")  # type: ignore[call-arg]


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        gone = {"start", "started", "ended", "source"}  # times, and where the index is
        return {key: timeless(item) for key, item in value.items() if "seconds" not in key and key not in gone}
    return [timeless(item) for item in value] if isinstance(value, list) else value


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model that every --llm means."""
    monkeypatch.setattr("ragscale.agent.load", lambda spec: ScriptedLLM(script))


@pytest.mark.usefixtures("model")
def test_ask_over_a_url(served: Served, folder: Path) -> None:
    question = "Who discovered polonium?"
    answers = []
    for source in (served.url, folder):
        result = CliRunner().invoke(app, ["ask", str(source), question, "--mode", "chain(steps=2)", "--json"])
        assert result.exit_code == 0, result.output
        answers.append(timeless(json.loads(result.stdout)))
    assert answers[0] == answers[1]
    assert answers[0]["answer"] == "Warsaw, Poland"
    assert any(event["passages"] for event in answers[0]["trace"])
    shown = CliRunner().invoke(app, ["ask", served.url, question, "--mode", "once"])
    assert shown.stdout.startswith("Warsaw, Poland\n  [element-")


@pytest.mark.usefixtures("model")
def test_eval_over_a_url(served: Served, folder: Path, tmp_path: Path) -> None:
    questions, rows = tmp_path / "questions.jsonl", []
    gold = [json.loads(line)["id"] for line in SHIPPED.read_text(encoding="utf-8").splitlines()[:3]]
    # Gold that the index has: one that is served does not tell which names it knows.
    asked = [{**row, "supporting": gold[n:]} for n, row in enumerate(QUESTIONS)]
    questions.write_text("".join(json.dumps(row) + "\n" for row in asked), encoding="utf-8")
    for name, source in (("there", served.url), ("here", folder)):
        words = ["eval", str(source), str(questions), "--mode", "once", "--out", str(tmp_path / name)]
        result = CliRunner().invoke(app, [*words, "--json"])
        assert result.exit_code == 0, result.output
        run = Run(tmp_path / name)
        rows.append([(timeless(row), timeless(run.trace("once", row["id"]))) for row in run.rows().to_pylist()])
    assert len(rows[0]) == 3
    assert rows[0] == rows[1]
