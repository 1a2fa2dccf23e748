"""Exact search against numpy: any batch, any mask, any files, ties by row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from stored import unit, write_vectors

from ragscale.index.dense import exact
from ragscale.ranking import Mask, Ranking


def reference(
    array: NDArray[np.float32], queries: NDArray[np.float32], k: int, mask: Mask | None = None
) -> list[list[int]]:
    """By sorting every score."""
    scores = np.round(queries.astype(np.float64) @ array.astype(np.float64).T, 9)
    rows = np.arange(len(array)) if mask is None else np.flatnonzero(mask)
    return [[int(row) for row in rows[np.lexsort((rows, -line[rows]))][:k]] for line in scores]


def check(found: list[Ranking], array: NDArray[np.float32], queries: NDArray[np.float32], wanted: list) -> None:
    """Same rows, and where the last decimals decide the order, the same scores."""
    for ranking, rows, query in zip(found, wanted, queries, strict=True):
        assert len({row for row, _ in ranking}) == len(ranking) == len(rows)
        scores = array.astype(np.float64) @ query.astype(np.float64)
        np.testing.assert_allclose([score for _, score in ranking], scores[rows], atol=2e-6)
        np.testing.assert_allclose([score for _, score in ranking], scores[[row for row, _ in ranking]], atol=2e-6)
        pairs = [(-score, row) for row, score in ranking]
        assert pairs == sorted(pairs)


@pytest.mark.parametrize("share", [None, 1, 0.97, 0.5, 0.01, 0])
@pytest.mark.parametrize("queries", [1, 3, 4, 64])
def test_any_batch_and_mask(tmp_path: Path, queries: int, share: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "_BLOCK", 256)
    monkeypatch.setattr(exact, "_SPARE", 20)
    array, wanted = unit(2000), unit(queries, seed=1)
    mask = None if share is None else np.random.default_rng(2).random(2000) < share
    vectors = write_vectors(tmp_path, array, [700, 700, 1990])
    for k in (1, 10, 500):
        check(exact.search(vectors, wanted, k, mask), array, wanted, reference(array, wanted, k, mask))


def test_a_mask_that_is_on_one_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document is removed as a whole: what is nearest is refused, block after block."""
    monkeypatch.setattr(exact, "_BLOCK", 128)
    array = unit(1000)
    query = array[:1]
    mask = np.ones(1000, dtype=np.bool_)
    mask[np.argsort(-(array @ query[0]))[:600]] = False
    queries = np.repeat(query, 8, axis=0)
    check(
        exact.search(write_vectors(tmp_path, array), queries, 10, mask),
        array,
        queries,
        reference(array, queries, 10, mask),
    )


@pytest.mark.parametrize("queries", [1, 64])
@pytest.mark.parametrize("copies", [5, 300])
def test_equal_vectors_come_in_row_order_however_many(tmp_path: Path, queries: int, copies: int) -> None:
    array = unit(900)
    twins = np.sort(np.random.default_rng(3).choice(900, copies, replace=False))
    array[twins] = array[twins[0]]
    vectors = write_vectors(tmp_path, array, [450])
    asked = np.repeat(array[twins[:1]], queries, axis=0)
    for k in (2, 5):
        for ranking in exact.search(vectors, asked, k):
            assert [row for row, _ in ranking] == twins[:k].tolist()


def test_scores_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    vectors, queries = write_vectors(tmp_path, unit(3000, 64), [1234]), unit(64, 64, seed=1)
    together = exact.search(vectors, queries, 20)
    assert together == [exact.search(vectors, queries[row : row + 1], 20)[0] for row in range(64)]


@given(st.data())
def test_any_small_corpus(tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject) -> None:
    count = draw.draw(st.integers(1, 40))
    # few different values: ties are the rule
    entries = st.lists(st.sampled_from([-0.5, 0.0, 0.5, 1.0]), min_size=2 * count, max_size=2 * count)
    array = np.array(draw.draw(entries), dtype=np.float32).reshape(count, 2)
    mask = np.array(draw.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    queries = np.array([[1, 0], [0.5, 0.25], [0, -1], [0, 0]], dtype=np.float32)[: draw.draw(st.integers(1, 4))]
    vectors = write_vectors(tmp_path_factory.mktemp("any"), array, [count // 2])
    k = draw.draw(st.integers(1, 45))
    found = exact.search(vectors, queries, k, mask)
    assert [[row for row, _ in ranking] for ranking in found] == reference(array, queries, k, mask)


def test_ranking_candidates(tmp_path: Path) -> None:
    vectors = write_vectors(tmp_path, np.eye(4, dtype=np.float32), [1])
    rows = np.array([[3, 0, -1, 2], [-1, -1, -1, -1]])
    queries = np.array([[0.5, 0, 0.5, 0.7], [1, 0, 0, 0]], dtype=np.float32)
    assert exact.rank(vectors, queries, rows, 3) == [[(3, 0.7), (0, 0.5), (2, 0.5)], []]
    assert exact.rank(vectors, queries, rows, 1) == [[(3, 0.7)], []]
