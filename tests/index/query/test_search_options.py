"""Weights, diversity, filters and settings, asked of an index."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
from doubles import scripted

from ragscale.agent import Agent
from ragscale.budget import Budget
from ragscale.errors import InvalidInput
from ragscale.index import Index
from ragscale.index.encoders.embedder import Embedder
from ragscale.index.query.request import SearchRequest
from ragscale.types import Hit

QUERIES = ["Where was Marie Curie born?", "capital river", "two passages that say the same"]


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.passage.id for hit in hits]


@pytest.mark.parametrize("weight", [0, 0.3, 1])
@pytest.mark.parametrize("depth", [3, 50])
def test_a_weight_mixes_scaled_scores(dense: Index, weight: float, depth: int) -> None:
    """Cosines count for all candidates, also for those that BM25 alone found."""
    for query in QUERIES:
        cosines = {hit.passage.id: hit.score for hit in dense.search([query], k=99, how="dense")[0]}
        words = {hit.passage.id: hit.score for hit in dense.search([query], k=depth, how="bm25")[0]}
        candidates = dict.fromkeys([*list(cosines)[:depth], *words])
        low, high = min(map(cosines.__getitem__, candidates)), max(map(cosines.__getitem__, candidates))
        best = max(words.values())
        wanted = {
            name: weight * (cosines[name] - low) / (high - low) + (1 - weight) * words.get(name, 0) / best
            for name in candidates
        }
        found = dense.search([query], k=depth, how="hybrid", weight=weight, depth=depth)[0]
        assert [hit.score for hit in found] == pytest.approx(sorted(wanted.values(), reverse=True)[:depth], abs=1e-4)
        assert all(hit.score == pytest.approx(wanted[hit.passage.id], abs=1e-4) for hit in found)


def test_mmr_at_1_changes_nothing(dense: Index) -> None:
    for how in ("dense", "bm25", "hybrid"):
        assert dense.search(QUERIES, k=4, how=how, mmr=1, depth=4) == dense.search(QUERIES, k=4, how=how, depth=4)  # type: ignore[arg-type]


def test_mmr_separates_twins_and_keeps_scores(dense: Index) -> None:
    plain = dense.search([QUERIES[2]], k=12, how="dense")[0]
    scores = {hit.passage.id: hit.score for hit in plain}
    found = dense.search([QUERIES[2]], k=12, how="dense", mmr=0)[0]
    assert {hit.passage.id: hit.score for hit in found} == scores
    assert ids(found)[-1] == "twin-2"
    assert ids(plain).index("twin-2") == ids(plain).index("twin-1") + 1


def test_mmr_over_the_union_of_a_round(dense: Index) -> None:
    apart = dense.search(["Paris capital", "capital Paris"], k=4, how="dense", mmr=0)
    joined = dense.search(["Paris capital", "capital Paris"], k=4, how="dense", mmr=0, mmr_union=True)
    assert set(ids(apart[0])) & set(ids(apart[1]))
    assert not set(ids(joined[0])) & set(ids(joined[1]))


def test_mmr_uses_the_stored_vectors(dense: Index) -> None:
    """The second pick is the candidate with the smallest cosine to the first, where likeness is all that counts."""
    assert dense.manifest.embedder is not None
    embed = Embedder.for_documents(dense.manifest.embedder.name, dtype="float32").encode_documents
    first, second = dense.search([QUERIES[0]], k=2, how="bm25", mmr=0)[0]
    candidates = dense.search([QUERIES[0]], k=50, how="bm25")[0]
    vectors = embed([f"{hit.passage.title}\n{hit.passage.text}" for hit in candidates])
    near = vectors @ vectors[ids(candidates).index(first.passage.id)]
    assert ids(candidates)[int(np.argmin(near))] == second.passage.id


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": 1.5}, r"weight 1\.5 is not between 0 and 1"),
        ({"weight": True}, "weight True"),
        ({"weight": "half"}, "weight 'half'"),
        ({"weight": float("nan")}, "weight nan"),
        ({"weight": 0.5, "how": "dense"}, "weight is of hybrid search, not of dense"),
        ({"mmr": -0.1}, r"mmr -0\.1 is not between"),
        ({"mmr_union": True}, "mmr_union without mmr"),
        ({"mmr": 0.5, "mmr_union": 1}, "mmr_union 1 is neither True nor False"),
        ({"depth": 0}, "depth 0, the least is 1"),
        ({"how": ""}, "unknown kind of search ''"),
        ({"where": ""}, "filter '' is blank"),
        ({"rerank": ""}, "rerank '' names no model"),
        ({"rerank": " "}, "rerank ' ' names no model"),
        ({"where": "year >= 1990"}, "no field 'year'"),
        ({"limit": 3}, "unknown option 'limit'.*There are: weight, depth"),
    ],
)
async def test_bad_options(dense: Index, options: dict[str, object], message: str) -> None:
    for call in (dense.search, dense.searching().search):
        with pytest.raises(InvalidInput, match=message) as caught:
            call(["x"], **options)  # type: ignore[arg-type]
        assert caught.value.remedy
    with pytest.raises(InvalidInput, match=message):
        await dense.asearch(["x"], **options)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=message):
        dense.searching(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("how", "message"), [("dense", "dense search needs vectors"), ("nonsense", "unknown kind of search 'nonsense'")]
)
def test_a_kind_of_search_that_an_agents_index_has_not(lexical: Index, how: Any, message: str) -> None:
    """Before the model is spoken to, whatever is wrong with that."""
    for index in (lexical, lexical.searching(), lexical.path):
        with pytest.raises(InvalidInput, match=message):
            Agent(index, "openai:http://127.0.0.1:9/v1#none", how=how).ask("Where was Curie born?")
    with pytest.raises(InvalidInput, match=message):
        lexical.searching(how)


def test_mmr_needs_vectors(lexical: Index) -> None:
    with pytest.raises(InvalidInput, match="mmr needs vectors"):
        lexical.search(["x"], mmr=0.5)


def test_settings_hold_for_every_search_of_a_view(dense: Index) -> None:
    view = dense.searching(how="hybrid", weight=0.2, mmr=0.4, depth=6)
    wanted = dense.search(QUERIES, k=3, how="hybrid", weight=0.2, mmr=0.4, depth=6)
    assert view.search(QUERIES, k=3) == wanted
    assert asyncio.run(view.asearch(QUERIES, 3)) == wanted
    assert asyncio.run(view.asearch(QUERIES, 3, None)) == wanted
    assert view.search(QUERIES, k=3, mmr=None) == dense.search(QUERIES, k=3, how="hybrid", weight=0.2, depth=6)
    assert view.how == "hybrid"
    assert dense.searching(how="bm25").search(QUERIES) == dense.search(QUERIES, how="bm25")
    assert (len(view), "paris" in view, view.passage("paris")) == (len(dense), True, dense.passage("paris"))
    assert "weight=0.2" in repr(view)


def test_views_are_told_apart(dense: Index) -> None:
    views = [dense.searching(), dense.searching(how="bm25"), dense.searching(mmr=0.5), dense.searching(mmr=0.4)]
    assert len({dense.fingerprint, *(view.fingerprint for view in views)}) == 5
    assert views[2].fingerprint == dense.searching(mmr=0.5).fingerprint


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"how": "bm25", "depth": 6}, {"how": "hybrid", "weight": 0.2}),
        ({"how": "hybrid", "mmr": 0.5}, {"mmr": None, "depth": 7}),
        ({"mmr": 0.5}, {"mmr_union": True}),
    ],
)
def test_settings_upon_settings_are_one_view(dense: Index, first: dict[str, Any], second: dict[str, Any]) -> None:
    twice, once = dense.searching(**first).searching(**second), dense.searching(**{**first, **second})
    assert (twice.fingerprint, twice.how, repr(twice)) == (once.fingerprint, once.how, repr(once))
    assert twice.search(QUERIES, 3) == once.search(QUERIES, 3)
    retrieved = twice.as_retriever(k=3).invoke(QUERIES[0])
    assert [document.id for document in retrieved] == [hit.passage.id for hit in once.search(QUERIES[:1], 3)[0]]
    with pytest.raises(InvalidInput, match="k 0"):
        twice.search(QUERIES, 0)
    with pytest.raises(InvalidInput, match="depth 0"):
        dense.searching(**first).searching(depth=0)


def test_every_mode_of_an_agent_searches_by_the_settings(dense: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[SearchRequest] = []
    submit = dense._broker.submit

    def spy(request: SearchRequest) -> Future[list[list[Hit]]]:
        asked.append(request)
        return submit(request)

    monkeypatch.setattr(dense._broker, "submit", spy)
    agent = Agent(dense.searching(how="hybrid", weight=0.7, mmr=0.4, mmr_union=True), scripted())
    for mode in ("once", "chain", "parallel", "tree"):
        assert agent.ask("Where was Curie born?", mode=mode, budget=Budget(rounds=2, tokens=20_000)).text
    assert len(asked) > 4
    assert {(request.how, request.weight, request.mmr, request.mmr_union) for request in asked} == {
        ("hybrid", 0.7, 0.4, True)
    }
