"""BM25 for a batch of queries, compiled by numba; imported by `bm25` alone, and only where numba is.

bm25s's own compiled path takes no masks, breaks ties by chance and looks at every row of the index for each query; this
one touches the postings of the query's terms only. Scores are the same to the bit: sums in single precision, in the
order of the query's terms.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["search"]


def _search(
    terms: NDArray[np.int64],
    ends: NDArray[np.int64],
    data: NDArray[np.float32],
    indices: NDArray[np.int32],
    indptr: NDArray[np.int64],
    allowed: NDArray[np.bool_],
    scores: NDArray[np.float32],
    rows: NDArray[np.int64],
    values: NDArray[np.float32],
    found: NDArray[np.int64],
) -> None:
    """Fill `rows` and `values`, shape (queries, k), best first, and `found`, how many of them each query has.

    `terms` are the term numbers of all queries, `ends` where each query ends in it; `allowed` has one value a row, or
    none at all where every row is; `scores` is a zero a row, and is left so.
    """
    begin = 0
    for query in range(len(ends)):
        end = ends[query]
        for term in terms[begin:end]:
            for position in range(indptr[term], indptr[term + 1]):
                scores[indices[position]] += data[position]
        found[query] = _best(terms[begin:end], indices, indptr, allowed, scores, rows[query], values[query])
        begin = end


def _best_rows(
    terms: NDArray[np.int64],
    indices: NDArray[np.int32],
    indptr: NDArray[np.int64],
    allowed: NDArray[np.bool_],
    scores: NDArray[np.float32],
    rows: NDArray[np.int64],
    values: NDArray[np.float32],
) -> int:
    """Collect the best rows in a heap whose root is the worst, clear the scores, and sort; the number of rows found."""
    size, k = 0, len(rows)  # gathering all touched rows for a partition by numpy takes twice as long
    for term in terms:
        for position in range(indptr[term], indptr[term + 1]):
            row = indices[position]
            score = scores[row]
            if score == 0 or (size == k and score < values[0]):
                continue
            scores[row] = 0  # seen, so that a row of several terms is taken once
            if len(allowed) and not allowed[row]:
                continue
            if size < k:
                rows[size], values[size] = row, score
                _rise(rows, values, size)
                size += 1
            elif score > values[0] or row < rows[0]:
                rows[0], values[0] = row, score
                _sink(rows, values, size)
    for term in terms:  # what was passed over
        for position in range(indptr[term], indptr[term + 1]):
            scores[indices[position]] = 0
    for last in range(size - 1, 0, -1):
        rows[0], rows[last] = rows[last], rows[0]
        values[0], values[last] = values[last], values[0]
        _sink(rows, values, last)
    return size


def _is_worse(rows: NDArray[np.int64], values: NDArray[np.float32], one: int, other: int) -> bool:
    """A lower score, or the same in a later row."""
    if values[one] == values[other]:
        return bool(rows[one] > rows[other])
    return bool(values[one] < values[other])


def _rise_to_root(rows: NDArray[np.int64], values: NDArray[np.float32], place: int) -> None:
    while place > 0:
        parent = (place - 1) // 2
        if not _worse(rows, values, place, parent):
            return
        rows[place], rows[parent] = rows[parent], rows[place]
        values[place], values[parent] = values[parent], values[place]
        place = parent


def _sink_from_root(rows: NDArray[np.int64], values: NDArray[np.float32], size: int) -> None:
    place = 0
    while 2 * place + 1 < size:
        child = 2 * place + 1
        if child + 1 < size and _worse(rows, values, child + 1, child):
            child += 1
        if not _worse(rows, values, child, place):
            return
        rows[place], rows[child] = rows[child], rows[place]
        values[place], values[child] = values[child], values[place]
        place = child


def _compile(function: Any) -> Any:
    """Compiled at the first call; kept on disk where there is a place to write it, since it takes seconds."""
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:
        return numba.njit(nogil=True)(function)


_worse = _compile(_is_worse)
_rise = _compile(_rise_to_root)
_sink = _compile(_sink_from_root)
_best = _compile(_best_rows)
search = _compile(_search)
