"""Filtered search: what comes back is what an index of the matching passages alone would give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragscale.errors import InvalidInput
from ragscale.index import Index
from ragscale.ranking import reciprocal_rank_fusion
from ragscale.types import Hit

QUERIES = ["Where was Marie Curie born?", "capital river of ice", "two passages that say the same", "zebra"]
METADATA: dict[str, dict[str, Any]] = {
    "curie": {"year": 1867, "kind": "person"},
    "polonium": {"year": 1898, "kind": "element", "rare": True},
    "radium": {"year": 1898, "kind": "element", "rare": False},
    "warsaw": {"kind": "city"},
    "paris": {"kind": "city"},
    "seine": {"kind": "river", "length": 777.0},
    "bicycle": {"year": 1817},
    "twin-2": {"year": 2000, "kind": "twin"},
}
FILTERS = [
    "year >= 1898",
    "year is null",
    'kind = "element" and not rare',
    'kind in ("city", "river") or year < 1850',
    'kind != "city"',
    'contains(kind, "i")',
    'year = 1 or kind = "nothing"',
    'kind = "twin" or year is null and kind is null',
]


@pytest.fixture(scope="module")
def described(
    rows: list[dict[str, str]], write_corpus: Any, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Index]:
    """The small corpus with metadata."""
    folder = tmp_path_factory.mktemp("described")
    corpus = write_corpus(folder / "corpus.jsonl", [{**row, **METADATA.get(row["id"], {})} for row in rows])
    with Index.build([corpus], folder / "index", embedder=model, dtype="float32") as index:
        yield index


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.passage.id for hit in hits]


def matching(index: Index, where: str) -> set[str]:
    return set(ids(index.search(["x"], k=99, how="dense", where=where)[0]))


def test_which_passages_match(described: Index) -> None:
    found = [matching(described, where) for where in FILTERS]
    assert found[0] == {"polonium", "radium", "twin-2"}
    assert found[1] == {"warsaw", "paris", "seine", "violin", "bread", "glacier", "twin-1"}
    assert found[2] == {"radium"}
    assert found[3] == {"warsaw", "paris", "seine", "bicycle"}
    assert found[4] == {"curie", "polonium", "radium", "seine", "twin-2"}
    assert found[5] == {"warsaw", "paris", "seine", "twin-2"}
    assert found[6] == set()


@given(st.sampled_from(FILTERS), st.sampled_from(QUERIES), st.integers(1, 14))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_excluded_passages_take_no_ones_place(described: Index, where: str, query: str, k: int) -> None:
    """Dense and BM25: the unfiltered ranking of all passages without the others, scores and all, cut at k after it."""
    allowed = matching(described, where)
    whole: dict[str, list[Hit]] = {}
    for how in ("dense", "bm25"):
        every = described.search([query], k=99, how=how)[0]  # type: ignore[arg-type]
        found = [hit for hit in every if hit.passage.id in allowed]
        whole[how] = [replace(hit, **{how: rank}) for rank, hit in enumerate(found, 1)]  # type: ignore[arg-type]
        assert described.search([query], k=k, how=how, where=where)[0] == whole[how][:k]  # type: ignore[arg-type]
    fused = reciprocal_rank_fusion([ids(whole["dense"]), ids(whole["bm25"])])[:k]
    hybrid = described.search([query], k=k, how="hybrid", where=where)[0]
    assert [(hit.passage.id, hit.score) for hit in hybrid] == fused
    for hit in hybrid:
        for how, rank in (("dense", hit.dense), ("bm25", hit.bm25)):
            place = [*ids(whole[how]), hit.passage.id].index(hit.passage.id) + 1
            assert rank == (place if place <= len(whole[how]) else None)


@pytest.mark.parametrize("where", FILTERS[:5])
def test_dense_search_equals_that_of_an_index_of_the_matching(
    described: Index, where: str, rows: list[dict[str, str]], model: Path, write_corpus: Any, tmp_path: Path
) -> None:
    allowed = matching(described, where)
    part = write_corpus(tmp_path / "part.jsonl", [row for row in rows if row["id"] in allowed])
    with Index.build([part], tmp_path / "index", embedder=model, dtype="float32") as alone:
        for one, other in zip(
            described.search(QUERIES, k=5, how="dense", where=where),
            alone.search(QUERIES, k=5, how="dense"),
            strict=True,
        ):
            assert ids(one) == ids(other)
            assert [hit.score for hit in one] == pytest.approx([hit.score for hit in other], abs=2e-6)


def test_ranks_are_those_of_the_searches_that_were_asked_for(described: Index) -> None:
    """Ranks do not depend on what else is in the batch."""
    import asyncio

    async def together() -> list[list[list[Hit]]]:
        kinds = ("dense", "bm25", "hybrid")
        return await asyncio.gather(*(described.asearch(["Polonium"], k=3, how=how) for how in kinds))  # type: ignore[arg-type]

    [dense], [bm25], [hybrid] = asyncio.run(together())
    assert [(hit.dense, hit.bm25) for hit in dense] == [(1, None), (2, None), (3, None)]
    assert [(hit.dense, hit.bm25) for hit in bm25] == [(None, rank) for rank in range(1, len(bm25) + 1)]
    assert {hit.bm25 for hit in hybrid} & set(range(1, len(bm25) + 1))
    assert all(hit.dense for hit in hybrid)


def test_filters_of_one_batch_do_not_mix(described: Index) -> None:
    import asyncio

    async def together() -> list[list[list[Hit]]]:
        jobs = [described.asearch(QUERIES, 4, "hybrid", where=where) for where in [*FILTERS, None] * 2]
        return await asyncio.gather(*jobs)

    alone = [described.search(QUERIES, 4, "hybrid", where=where) for where in [*FILTERS, None]]
    for one, other in zip(alone * 2, asyncio.run(together()), strict=True):
        assert [ids(hits) for hits in one] == [ids(hits) for hits in other]


def test_more_filters_than_masks_are_kept(described: Index) -> None:
    for year in [*range(1860, 1900), *range(1860, 1900)]:
        wanted = {name for name, values in METADATA.items() if values.get("year", 0) > year}
        assert matching(described, f"year > {year}") == wanted


def test_reranking_and_diversity_stay_inside_the_filter(described: Index) -> None:
    allowed = matching(described, FILTERS[4])
    for hits in described.search(QUERIES[:3], k=9, how="hybrid", where=FILTERS[4], mmr=0.3, mmr_union=True):
        assert set(ids(hits)) == allowed


def test_hits_carry_their_metadata(described: Index) -> None:
    found = described.search(["Seine"], k=1, how="bm25", where='kind = "river"')[0]
    assert dict(found[0].passage.metadata) == METADATA["seine"]


def test_fields_and_their_types(described: Index) -> None:
    with pytest.raises(InvalidInput, match=r"no field 'yaer'\. Did you mean 'year'\? The passages have: kind, length"):
        described.search(["x"], where="yaer = 1")
    with pytest.raises(InvalidInput, match="kind is text, 3 is number"):
        described.searching(where="kind = 3")
