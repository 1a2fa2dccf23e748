"""Dense search through FAISS indexes: exact scores, masks that lose nothing, rows added since, clear errors."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from stored import unit, write_vectors

from ragscale.errors import IndexDamaged, IndexMismatch, InvalidInput, MissingDependency
from ragscale.index.dense import exact, search
from ragscale.index.dense.factory import build_dense, check_factory, require_faiss
from ragscale.index.dense.search import DenseIndex
from ragscale.index.storage.layout import VECTORS_FILE
from ragscale.index.storage.manifest import DenseInfo
from ragscale.index.storage.vectors import Vectors
from ragscale.ranking import Mask

D = 32
LARGE = ["IVF64_HNSW32,RaBitQfs", "IVF64_HNSW32,PQ4x4fs"]
"""Factories that `auto` chooses for tens of millions of rows, with fewer lists."""
SELECTING = [
    *["SQ8", "HNSW16", "IVF16,SQ8", "IVF16,PQ8x4fs", "IVF16,RaBitQfs", "PCA16,IVF16,SQ8", "PCA16,SQ8", "RaBitQ"],
    *LARGE,
]
NOT_SELECTING = ["PQ16x4np", "RaBitQfs", "PQ16x4fs", "PCA16,PQ8x4fs"]


@pytest.fixture(autouse=True)
def small_counts_as_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Approximate search also where exact search of a test's few rows would do."""
    monkeypatch.setattr(search, "_FEW_ROWS", 0)
    monkeypatch.setattr(search, "_SHARE", 1_000_000)
    monkeypatch.setattr(DenseIndex, "_is_small", lambda self, live, k: False)


@pytest.fixture
def vectors(tmp_path: Path) -> Vectors:
    """2,000 rows in two files."""
    return write_vectors(tmp_path, unit(2000, D), [800])


def opened(folder: Path, vectors: Vectors, factory: str, *, deleted: Mask | None = None, **changes: Any) -> DenseIndex:
    path = folder / VECTORS_FILE
    info = build_dense(vectors, path, factory=factory)
    return DenseIndex(vectors, replace(info, **changes), None if factory == "Flat" else path, deleted=deleted)


def recall(found: list, wanted: list) -> float:
    pairs = zip(found, wanted, strict=True)
    return float(
        np.mean([len({row for row, _ in one} & {row for row, _ in other}) / len(other) for one, other in pairs])
    )


def test_flat_is_exact_search(tmp_path: Path, vectors: Vectors) -> None:
    queries = unit(7, D, seed=1)
    assert opened(tmp_path, vectors, "Flat").search(queries, 10) == exact.search(vectors, queries, 10)
    assert not (tmp_path / VECTORS_FILE).exists()


@pytest.mark.parametrize("factory", [*SELECTING, *NOT_SELECTING])
def test_scores_are_exact_whatever_the_index(tmp_path: Path, vectors: Vectors, factory: str) -> None:
    queries = unit(20, D, seed=1)
    found = opened(tmp_path, vectors, factory).search(queries, 10)
    truth = [dict(ranking) for ranking in exact.search(vectors, queries, 2000)]
    for ranking, scores in zip(found, truth, strict=True):
        assert ranking == sorted(ranking, key=lambda pair: (-pair[1], pair[0]))
        assert all(scores[row] == score for row, score in ranking)
        assert len(ranking) == 10
    assert recall(found, exact.search(vectors, queries, 10)) > 0.6


@pytest.mark.parametrize("factory", [*SELECTING, *NOT_SELECTING])
@pytest.mark.parametrize("share", [0.9, 0.3])
def test_masks_lose_no_hits(tmp_path: Path, vectors: Vectors, factory: str, share: float) -> None:
    """As many as there are, the allowed ones only, and found as well as without a mask."""
    rng = np.random.default_rng(5)
    allowed, deleted = rng.random(2000) < share, rng.random(2000) < 0.2
    mask = allowed & ~deleted
    queries = unit(20, D, seed=1)
    index = opened(tmp_path, vectors, factory, deleted=deleted)
    assert index._selects is (factory in SELECTING)
    found = index.search(queries, 10, allowed=allowed)
    assert all(mask[row] for ranking in found for row, _ in ranking)
    assert all(len(ranking) == 10 for ranking in found)
    plain = recall(opened(tmp_path, vectors, factory).search(queries, 10), exact.search(vectors, queries, 10))
    assert recall(found, exact.search(vectors, queries, 10, mask)) > plain - 0.1


@pytest.mark.parametrize("factory", ["PQ16x4np", "RaBitQfs", "HNSW16", "IVF16,SQ8"])
def test_a_mask_that_takes_the_nearest_rows(tmp_path: Path, vectors: Vectors, factory: str) -> None:
    """Everything near the query is refused: the rest is found all the same."""
    query = unit(1, D, seed=1)
    nearest = [row for row, _ in exact.search(vectors, query, 1500)[0]]
    allowed = np.ones(2000, dtype=np.bool_)
    allowed[nearest] = False
    wanted = exact.search(vectors, query, 10, allowed)
    found = opened(tmp_path, vectors, factory).search(query, 10, allowed=allowed)
    assert all(allowed[row] for row, _ in found[0])
    assert len(found[0]) == 10
    if factory in NOT_SELECTING:
        assert found == wanted


@pytest.mark.parametrize("factory", ["Flat", "HNSW16", "RaBitQfs", "IVF16,SQ8"])
def test_few_allowed_and_none(tmp_path: Path, vectors: Vectors, factory: str) -> None:
    index, query = opened(tmp_path, vectors, factory), unit(1, D, seed=1)
    allowed = np.zeros(2000, dtype=np.bool_)
    assert index.search(query, 10, allowed=allowed) == [[]]
    allowed[[3, 700, 1999]] = True
    assert {row for row, _ in index.search(query, 10, allowed=allowed)[0]} == {3, 700, 1999}
    assert index.search(query, 10, allowed=allowed) == exact.search(vectors, query, 3, allowed)


@pytest.mark.parametrize("factory", ["HNSW16", "RaBitQfs", "IVF16,SQ8"])
def test_rows_added_since_are_searched_too(tmp_path: Path, factory: str) -> None:
    array = unit(2000, D)
    old = write_vectors(tmp_path, array[:1500])
    info = build_dense(old, tmp_path / VECTORS_FILE, factory=factory)
    vectors = write_vectors(tmp_path, array, [1500, 1600])
    deleted = np.zeros(2000, dtype=np.bool_)
    deleted[1990:] = True
    index = DenseIndex(vectors, info, tmp_path / VECTORS_FILE, deleted=deleted)
    queries = array[[5, 1501, 1777, 1995]]
    first = [ranking[0][0] for ranking in index.search(queries, 5)]
    assert first[:3] == [5, 1501, 1777]
    assert first[3] != 1995


@pytest.mark.parametrize("factory", ["RaBitQfs", "PQ16x4fs", "IVF16,SQ8"])
@pytest.mark.parametrize("by", ["filter", "deletions"])
def test_rows_added_since_do_not_hide_that_too_few_were_found(tmp_path: Path, factory: str, by: str) -> None:
    """Rows near the query are refused, so FAISS gives too few of those that it covers: exact search decides."""
    array, query = unit(2000, D), unit(1, D, seed=1)
    info = build_dense(write_vectors(tmp_path, array[:1600]), tmp_path / VECTORS_FILE, factory=factory)
    vectors = write_vectors(tmp_path, array, [1600])
    allowed = np.ones(2000, dtype=np.bool_)
    allowed[[row for row, _ in exact.search(vectors, query, 1500)[0]]] = False
    wanted = exact.search(vectors, query, 10, allowed)
    assert any(row < 1600 for row, _ in wanted[0])
    index = DenseIndex(vectors, info, tmp_path / VECTORS_FILE, deleted=~allowed if by == "deletions" else None)
    assert index.search(query, 10, allowed=allowed if by == "filter" else None) == wanted


@pytest.mark.parametrize("factory", ["HNSW16", "RaBitQfs", "IVF16,SQ8"])
def test_only_rows_added_since_are_allowed(tmp_path: Path, factory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAISS has none to give, so none is missing: the later rows are searched once."""
    array, queries = unit(2000, D), unit(3, D, seed=1)
    info = build_dense(write_vectors(tmp_path, array[:1600]), tmp_path / VECTORS_FILE, factory=factory)
    vectors = write_vectors(tmp_path, array, [1600])
    allowed = np.arange(2000) >= 1600
    wanted, search = exact.search(vectors, queries, 10, allowed), exact.search

    def watched(vectors: Vectors, queries: Any, k: int, mask: Mask | None) -> Any:
        assert not len(queries)
        return search(vectors, queries, k, mask)

    monkeypatch.setattr(exact, "search", watched)
    assert DenseIndex(vectors, info, tmp_path / VECTORS_FILE).search(queries, 10, allowed=allowed) == wanted


@pytest.mark.parametrize("factory", ["Flat", "SQ8", "IVF8,Flat", "HNSW16"])
def test_more_results_than_vectors(tmp_path: Path, factory: str) -> None:
    """An inverted file of which one list is searched finds fewer than asked for; the rest comes from exact search."""
    vectors = write_vectors(tmp_path, unit(400, D))
    ranking = opened(tmp_path, vectors, factory).search(unit(1, D, seed=3), 500)[0]
    assert sorted(row for row, _ in ranking) == list(range(400))


@pytest.fixture
def three_threads() -> Iterator[None]:
    """This thread's number for FAISS, whatever the machine has."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(3)
    yield
    faiss.omp_set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_one_query_has_one_thread_and_later_batches_have_all(
    tmp_path: Path, vectors: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of an index that is opened later in the same thread, as the broker opens one after `reload`."""
    seen: list[int] = []
    rank = exact.rank

    def watched(*args: Any) -> Any:
        seen.append(faiss.omp_get_max_threads())
        return rank(*args)

    monkeypatch.setattr(exact, "rank", watched)
    for _ in range(2):
        index = opened(tmp_path, vectors, "SQ8")
        index.search(unit(5, D, seed=1), 10)
        index.search(unit(1, D, seed=1), 10)
    assert seen == [3, 1, 3, 1]


@pytest.mark.usefixtures("three_threads")
def test_a_search_leaves_the_threads_of_its_caller(
    tmp_path: Path, vectors: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = opened(tmp_path, vectors, "SQ8")
    index.search(unit(1, D, seed=1), 10)
    assert faiss.omp_get_max_threads() == 3
    monkeypatch.setattr(exact, "rank", None)
    with pytest.raises(TypeError):
        index.search(unit(1, D, seed=1), 10)
    assert faiss.omp_get_max_threads() == 3


def test_small_searches_are_exact(tmp_path: Path, vectors: Vectors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    index, queries = opened(tmp_path, vectors, "PQ4x4fs", refine=1), unit(5, D, seed=2)
    assert index.search(queries, 10) == exact.search(vectors, queries, 10)


def test_settings_and_refinement_are_used(tmp_path: Path, vectors: Vectors) -> None:
    queries = unit(40, D, seed=2)
    wanted = exact.search(vectors, queries, 10)

    def found(factory: str, **changes: Any) -> float:
        return recall(opened(tmp_path, vectors, factory, **changes).search(queries, 10), wanted)

    assert found("IVF64,Flat", settings={"nprobe": 1}) < found("IVF64,Flat", settings={"nprobe": 16})
    assert found("IVF64,Flat", settings={"nprobe": 64}) == 1
    assert found("PQ4x4fs", refine=1) < found("PQ4x4fs", refine=50)
    assert found("PCA16,IVF64,Flat", settings={"nprobe": 1}) < found("PCA16,IVF64,Flat", settings={"nprobe": 64})
    assert found("HNSW4", settings={"efSearch": 1}) < found("HNSW4", settings={"efSearch": 500})


def test_inverted_files_search_a_sixteenth_of_their_lists(tmp_path: Path, vectors: Vectors) -> None:
    info = build_dense(vectors, tmp_path / VECTORS_FILE, factory="PCA8,IVF32,Flat")
    assert (info.settings, info.rows) == ({"nprobe": 2}, 2000)


@pytest.mark.parametrize("factory", ["IVF16,SQ8", *LARGE])
def test_the_same_vectors_make_the_same_file(tmp_path: Path, vectors: Vectors, factory: str) -> None:
    for name in "ab":
        build_dense(vectors, tmp_path / name, factory=factory)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("factory", ["Flatt", "IVF", "PQ5", ""])
def test_a_bad_factory_string(factory: str) -> None:
    with pytest.raises(InvalidInput, match="is not one that FAISS can make for 16 dimensions") as caught:
        check_factory(factory, 16, 1000)
    assert "IVF256,Flat" in caught.value.remedy
    assert "index_factory" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("factory", "least"),
    [
        ("HNSW0", "HNSW2"), ("HNSW1", "HNSW2"), ("HNSW1_SQ8", "HNSW2"), ("HNSW1_2+PQ4", "HNSW2"), ("PQ16x0", "1"),
        ("IVF4_HNSW0,Flat", "HNSW2"), ("IVF4_HNSW1,Flat", "HNSW2"), ("NSG0,Flat", "NSG16"), ("NSG8,Flat", "NSG16"),
        ("IVF0,Flat", "1"), ("PCA0,Flat", "1"), ("PQ4x4fs_0", "1"),
    ],
)  # fmt: skip
def test_numbers_at_which_faiss_dies_or_never_ends(factory: str, least: str) -> None:
    with pytest.raises(InvalidInput, match=rf"'{re.escape(factory)}' has \w+, the least is {least}\. Use") as caught:
        check_factory(factory, 16, 1000)
    assert caught.value.remedy


@pytest.mark.parametrize("factory", ["HNSW2", "IVF1,Flat", "PCA1,Flat", "PQ1x1", "NSG16,Flat", "IVF10_HNSW2,SQ8"])
def test_the_least_that_works(tmp_path: Path, factory: str) -> None:
    vectors = write_vectors(tmp_path, unit(300))
    assert len(opened(tmp_path, vectors, factory).search(unit(1), 5)[0]) == 5


@pytest.mark.parametrize(("factory", "reason"), [("OPQ4,PQ4x4", "OPQ needs 16"), ("NSG32,Flat", "")])
def test_kinds_that_want_more_vectors(tmp_path: Path, factory: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=rf"cannot be trained on 10 passages \({reason}"):
        build_dense(write_vectors(tmp_path, unit(10)), tmp_path / "f", factory=factory)


def test_more_memory_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError("std::bad_alloc")

    monkeypatch.setattr(faiss, "index_factory", full)
    with pytest.raises(InvalidInput, match=r"'HNSW32' is not one that FAISS can make .*\(std::bad_alloc\)"):
        check_factory("HNSW32", 16, 1000)


@pytest.mark.parametrize("factory", ["IDMap,SQ8", "SQ8,RFlat", "PQ4,Refine(SQ8)"])
def test_factories_that_store_things_twice(factory: str) -> None:
    with pytest.raises(InvalidInput, match="a second time") as caught:
        check_factory(factory, 16, 1000)
    assert "always scored again" in caught.value.remedy


def test_a_limit_beside_a_named_factory() -> None:
    with pytest.raises(InvalidInput, match=r"8,000,000 bytes beside the factory 'SQ8'") as caught:
        check_factory("SQ8", 16, 1000, memory=8_000_000)
    assert "auto" in caught.value.remedy
    assert check_factory("auto", 16, 1000, memory=8_000_000)[0] == "Flat"


def test_too_few_passages_to_train(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidInput, match=r"'IVF64,Flat' cannot be trained on 10 passages \(it has 64 lists\)"
    ) as caught:
        check_factory("IVF64,Flat", 16, 10)
    assert "Flat" in caught.value.remedy
    check_factory("PQ4", 16, 10)
    with pytest.raises(InvalidInput, match="'PQ4' cannot be trained on 10 passages"):
        build_dense(write_vectors(tmp_path, unit(10)), tmp_path / "f", factory="PQ4")


def test_files_that_do_not_fit(tmp_path: Path, vectors: Vectors) -> None:
    path = tmp_path / VECTORS_FILE
    info = build_dense(vectors, path, factory="SQ8")
    with pytest.raises(IndexMismatch, match="queries of 8 dimensions, the index has 32"):
        DenseIndex(vectors, info, path).search(unit(1, 8), 3)
    with pytest.raises(IndexMismatch, match="2,000 vectors of 32 dimensions, the manifest says 1,999 of 32"):
        DenseIndex(vectors, replace(info, rows=1999), path)
    path.write_bytes(b"not a faiss index")
    with pytest.raises(IndexDamaged, match="FAISS cannot read it"):
        DenseIndex(vectors, info, path)


def test_a_file_that_cannot_be_written(tmp_path: Path, vectors: Vectors) -> None:
    with pytest.raises(OSError, match="absent"):
        build_dense(vectors, tmp_path / "absent" / "f", factory="SQ8")


def test_without_faiss_the_extras_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    require_faiss()
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingDependency, match=r"pip install .*\[cpu\].*or \[gpu\]"):
        require_faiss()
    with pytest.raises(MissingDependency, match=r"pip install .*\[cpu\]"):
        check_factory("Flat", 4, 1)


def anonymous() -> int:
    """Bytes of memory that no file backs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("factory", ["HNSW16", "IVF16,Flat", "IVF16,SQ8", "SQ8", "PQ32x4np", "RaBitQ", "PCA32,SQ8"])
def test_files_are_mapped_not_loaded(tmp_path: Path, factory: str) -> None:
    """All kinds but fast scan, whose codes are repacked in memory."""
    vectors = write_vectors(tmp_path, np.tile(unit(20_000, 64), (2, 1)))
    path = tmp_path / VECTORS_FILE
    index = faiss.index_factory(64, factory, faiss.METRIC_INNER_PRODUCT)
    if factory == "HNSW16":
        index.hnsw.efConstruction = 4
    index.train(vectors.take(np.arange(5000)))
    index.add(vectors.take(np.arange(40_000)))
    faiss.write_index(index, str(path))
    info = DenseInfo(factory, 40_000, 1, {"nprobe": 1, "efSearch": 16}, "")
    before = anonymous()
    DenseIndex(vectors, info, path)
    assert anonymous() - before < 0.5 * path.stat().st_size
