"""Exact search of the stored vectors, and the scores of rows that any index found.

Every score that a dense search returns is computed here by the same routine, one row at a time: it does not depend on
the size of the batch, on the place of the row or on the index that found it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragscale.index.storage.vectors import Vectors
from ragscale.ranking import Mask, Ranking

__all__ = ["SLACK", "nearest", "rank", "search"]

SLACK = 8
"""Rows that are looked at beyond those wanted, so that most ties at the end are seen."""

_DECIMALS = 6
_BLOCK = 16_384
_SPARE = 128
_FEW = 4


def search(vectors: Vectors, queries: NDArray[np.float32], k: int, mask: Mask | None = None) -> list[Ranking]:
    """The k best rows of each query by inner product, equal scores (to 6 decimals) in row order.

    Args:
        vectors: The stored vectors.
        queries: Shape (n, dimension), contiguous.
        k: Rows a query; fewer where `mask` leaves fewer.
        mask: The rows that may be returned; None for all.
    """
    total = len(vectors) if mask is None else int(np.count_nonzero(mask))
    found: list[Ranking] = [[] for _ in queries]
    left, count = np.arange(len(queries)), k + SLACK
    while len(left) and total:
        count = min(count, total)
        rows = nearest(vectors, queries[left], count, mask)
        rankings = rank(vectors, queries[left], rows, count)
        for query, ranking in zip(left, rankings, strict=True):
            found[query] = ranking[:k]
        # a tie that lasts to the end of what was looked at may go on beyond it: look further
        tied = [count < total and ranking[-1][1] >= ranking[k - 1][1] for ranking in rankings]
        left, count = left[tied], 4 * count
    return found


def rank(vectors: Vectors, queries: NDArray[np.float32], rows: NDArray[np.int64], k: int) -> list[Ranking]:
    """The k best of the candidates of each query, scored from the stored vectors, best first.

    Args:
        vectors: Where the candidates are stored.
        queries: Shape (n, dimension), contiguous.
        rows: Candidates of each query, shape (n, m), none twice; -1 for none.
        k: Rows a query; fewer where there are fewer candidates.
    """
    scores = np.round(_scores(vectors, queries, rows).astype(np.float64), _DECIMALS)
    # FAISS fills up with -1, which Python would read as the last passage
    scores[rows < 0] = -np.inf
    order = np.lexsort((rows, -scores))[:, :k]
    best, values = np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1)
    return [
        [(row, score) for row, score in zip(*pair, strict=True) if row >= 0]
        for pair in zip(best.tolist(), values.tolist(), strict=True)
    ]


def _scores(vectors: Vectors, queries: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    faiss = _faiss()
    scores = np.full(rows.shape, -np.inf, dtype=np.float32)
    part_scores = np.empty_like(scores)
    for first, part in vectors.parts:
        here = (rows >= first) & (rows < first + len(part))
        if here.any():
            local = np.where(here, rows - first, -1)
            arrays = [faiss.swig_ptr(array) for array in (part_scores, queries, part, local)]
            faiss.fvec_inner_products_by_idx(*arrays, vectors.dimension, *rows.shape)
            scores[here] = part_scores[here]
    return scores


def nearest(
    vectors: Vectors, queries: NDArray[np.float32], count: int, mask: Mask | None = None, start: int = 0
) -> NDArray[np.int64]:
    """The `count` best rows of each query from row `start` on, shape (n, count), in no order; -1 where there are fewer.

    Without a mask, each file is searched in place by one call, with matrix products where there are several queries.
    FAISS has no such path for filtered searches, so with a mask a batch searches block by block, see `_masked`.
    """
    faiss = _faiss()
    # FAISS takes matrix products from 128,000 / d queries on by default; the gain is there from a handful (6.5x at 64)
    faiss.cvar.distance_compute_blas_threshold = _FEW * vectors.dimension
    best = (np.full((len(queries), 0), -1, dtype=np.int64), np.empty((len(queries), 0), dtype=np.float32))
    # few queries read each allowed row in place: gathering rows would cost more than all the arithmetic
    size = len(vectors) if mask is None or len(queries) < _FEW else _BLOCK
    for first, block in vectors.blocks(max(size, 1), start):
        if mask is None:
            scores, rows = faiss.knn(queries, block, count, metric=faiss.METRIC_INNER_PRODUCT)
        else:
            scores, rows = _masked(faiss, queries, block, count, mask[first : first + len(block)])
        rows[rows >= 0] += first
        best = _merge(best, (rows, scores), count)
    missing = count - best[0].shape[1]
    return np.pad(best[0], ((0, 0), (0, missing)), constant_values=-1) if missing > 0 else best[0]


def _faiss() -> Any:
    import faiss

    return faiss


Found = tuple[NDArray[np.int64], NDArray[np.float32]]


def _merge(one: Found, other: Found, count: int) -> Found:
    rows, scores = np.concatenate((one[0], other[0]), axis=1), np.concatenate((one[1], other[1]), axis=1)
    if rows.shape[1] <= count:
        return rows, scores
    order = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    return np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1)


def _masked(faiss: Any, queries: NDArray[np.float32], block: NDArray[np.float32], count: int, keep: Mask) -> Any:
    """Best allowed rows of a block: (scores, rows), rows counted from the start of the block."""
    refused = len(keep) - int(np.count_nonzero(keep))
    if refused == len(keep):
        return np.empty((len(queries), 0), dtype=np.float32), np.empty((len(queries), 0), dtype=np.int64)
    if len(queries) < _FEW:
        return _selected(faiss, queries, block, count, keep)
    if (
        refused <= _SPARE
    ):  # among the best `count + refused` rows are the best `count` allowed ones, whatever is refused
        scores, rows = faiss.knn(queries, block, count + refused, metric=faiss.METRIC_INNER_PRODUCT)
        out = ~keep[rows] | (rows < 0)
        rows[out], scores[out] = -1, -np.inf
        return scores, rows
    allowed = np.flatnonzero(keep)
    scores, rows = faiss.knn(queries, block[allowed], count, metric=faiss.METRIC_INNER_PRODUCT)
    return scores, np.where(rows >= 0, allowed[rows], -1)


def _selected(faiss: Any, queries: NDArray[np.float32], block: NDArray[np.float32], count: int, keep: Mask) -> Any:
    scores = np.empty((len(queries), count), dtype=np.float32)
    rows = np.empty((len(queries), count), dtype=np.int64)
    bits = np.packbits(keep, bitorder="little")
    selector = faiss.IDSelectorBitmap(len(keep), faiss.swig_ptr(bits))
    arrays = [faiss.swig_ptr(array) for array in (queries, block)]
    results = [faiss.swig_ptr(array) for array in (scores, rows)]
    faiss.knn_inner_product(*arrays, block.shape[1], len(queries), len(block), count, *results, selector)
    return scores, rows
