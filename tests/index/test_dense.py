"""FAISS: inner products, ties, missing results, and clear errors for what FAISS says badly."""

from __future__ import annotations

import sys
from pathlib import Path

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from ragscale.errors import IndexDamaged, IndexMismatch, InvalidInput, MissingDependency
from ragscale.index.dense import VECTORS_FILE, DenseIndex, build_dense, check_factory, require_faiss, write_dense

Vectors = NDArray[np.float32]


def unit(count: int, dimension: int = 16, seed: int = 0) -> Vectors:
    found = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def stored(folder: Path, vectors: Vectors, factory: str = "Flat") -> DenseIndex:
    index = check_factory(factory, vectors.shape[1], len(vectors))
    build_dense(index, factory, iter([vectors[:100], vectors[100:]]), vectors)
    write_dense(index, folder / VECTORS_FILE)
    return DenseIndex(folder, dimension=vectors.shape[1], passages=len(vectors))


@pytest.mark.parametrize("queries", [1, 3, 64])
def test_flat_is_the_exact_inner_product(tmp_path: Path, queries: int) -> None:
    vectors, wanted = unit(500), unit(queries, seed=1)
    found = stored(tmp_path, vectors).search(wanted, 10)
    for query, ranking in zip(wanted, found, strict=True):
        scores = vectors @ query
        assert min(scores[[row for row, _ in ranking]]) >= np.sort(scores)[-10] - 1e-6
        np.testing.assert_allclose([score for _, score in ranking], np.sort(scores)[::-1][:10], atol=2e-6)


@pytest.mark.parametrize("queries", [1, 64])
def test_equal_vectors_come_in_row_order(tmp_path: Path, queries: int) -> None:
    vectors = unit(300)
    vectors[[5, 77, 150, 290]] = vectors[10]
    index = stored(tmp_path, vectors)
    for k in (2, 5):
        for ranking in index.search(np.repeat(vectors[10:11], queries, axis=0), k):
            assert [row for row, _ in ranking] == [5, 10, 77, 150, 290][:k]


def test_more_results_than_vectors(tmp_path: Path) -> None:
    assert len(stored(tmp_path, unit(5)).search(unit(1), 100)[0]) == 5


def test_missing_results_are_left_out(tmp_path: Path) -> None:
    """An inverted file of which one list is searched finds fewer than asked for; FAISS fills up with -1."""
    ranking = stored(tmp_path, unit(400), "IVF8,Flat").search(unit(1, seed=3), 400)[0]
    assert 0 < len(ranking) < 400
    assert all(0 <= row < 400 for row, _ in ranking)
    assert len({row for row, _ in ranking}) == len(ranking)


@pytest.mark.parametrize("factory", ["HNSW16", "SQ8", "IVF4,SQ8", "PCA8,Flat"])
def test_other_factories(tmp_path: Path, factory: str) -> None:
    vectors = unit(600)
    ranking = stored(tmp_path, vectors, factory).search(vectors[7:8], 5)[0]
    assert 7 in [row for row, _ in ranking]


def test_inverted_files_search_a_sixteenth_of_their_lists(tmp_path: Path) -> None:
    stored(tmp_path, unit(1300), "PCA8,IVF32,Flat")
    index = faiss.read_index(str(tmp_path / VECTORS_FILE))
    assert faiss.extract_index_ivf(index).nprobe == 2


@pytest.mark.parametrize("factory", ["Flatt", "IVF", "PQ5", ""])
def test_a_bad_factory_string(factory: str) -> None:
    with pytest.raises(InvalidInput, match="is not one that FAISS can make for 16 dimensions") as caught:
        check_factory(factory, 16, 1000)
    assert "IVF256,Flat" in caught.value.remedy
    assert "index_factory" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_few_passages_to_train() -> None:
    with pytest.raises(
        InvalidInput, match=r"'IVF64,Flat' cannot be trained on 10 passages \(it has 64 lists\)"
    ) as caught:
        check_factory("IVF64,Flat", 16, 10)
    assert "Flat" in caught.value.remedy
    index = check_factory("PQ4", 16, 10)
    with pytest.raises(InvalidInput, match="'PQ4' cannot be trained on 10 passages"):
        build_dense(index, "PQ4", iter([unit(10)]), unit(10))


def test_wrong_dimension(tmp_path: Path) -> None:
    index = stored(tmp_path, unit(20))
    with pytest.raises(IndexMismatch, match="queries of 8 dimensions, the index has 16"):
        index.search(unit(1, 8), 3)
    with pytest.raises(IndexMismatch, match="20 vectors of 16 dimensions, the manifest says 20 of 32"):
        DenseIndex(tmp_path, dimension=32, passages=20)
    with pytest.raises(IndexMismatch, match="the manifest says 21 of 16"):
        DenseIndex(tmp_path, dimension=16, passages=21)


def test_a_file_that_faiss_cannot_read(tmp_path: Path) -> None:
    (tmp_path / VECTORS_FILE).write_bytes(b"not a faiss index")
    with pytest.raises(IndexDamaged, match="FAISS cannot read it"):
        DenseIndex(tmp_path, dimension=16, passages=1)


def test_without_faiss_the_extras_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    require_faiss()
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingDependency, match=r"ragscale\[cpu\].*ragscale\[gpu\]"):
        require_faiss()
    with pytest.raises(MissingDependency, match=r"ragscale\[cpu\]"):
        check_factory("Flat", 4, 1)
