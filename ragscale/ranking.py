"""Rankings: the best rows of a score array, and fusion by rank or by score, deterministic with ties."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["RRF_K", "Mask", "Ranking", "best_rows", "min_max", "reciprocal_rank_fusion", "weighted_fusion"]

RRF_K = 60
"""Rank constant of reciprocal rank fusion, as in Cormack, Clarke and Buettcher (2009)."""

Ranking = list[tuple[int, float]]
"""(row, score) pairs, best first."""
Mask = NDArray[np.bool_]
"""One value a row: whether a search may return it."""

T = TypeVar("T", bound=Hashable)


def best_rows(scores: NDArray[np.floating], k: int) -> Ranking:
    """The k rows with the highest scores above 0; equal scores in row order.

    Args:
        scores: One score a passage, shape (n,).
        k: Most rows to return; fewer where fewer score above 0.
    """
    rows = np.flatnonzero(scores > 0)
    if len(rows) > k:
        threshold = np.partition(scores[rows], len(rows) - k)[len(rows) - k]
        # keeps every tie at the threshold, so that the cut below is by row order and not by chance
        rows = rows[scores[rows] >= threshold]
    chosen = rows[np.lexsort((rows, -scores[rows]))][:k]
    return [(int(row), float(scores[row])) for row in chosen]


def reciprocal_rank_fusion(rankings: Iterable[Sequence[T]]) -> list[tuple[T, float]]:
    """Fuse rankings: an item scores the sum of 1 / (`RRF_K` + rank) over the rankings it is in, rank from 1.

    Ties go to the item that a ranking named first, earlier rankings before later ones.

    Args:
        rankings: Rows, ids or whatever is ranked, each best first.

    Returns:
        Every item with its score, best first.
    """
    fused: dict[T, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking, 1):
            fused[item] = fused.get(item, 0.0) + 1.0 / (RRF_K + rank)
    return _sorted(fused)


def weighted_fusion(dense: Ranking, lexical: Ranking, weight: float) -> Ranking:
    """Fuse by scores: `weight` of the dense score scaled to 0..1, the rest of the lexical score divided by its best.

    For ties see `reciprocal_rank_fusion`.

    Args:
        dense: Every row of both rankings with its cosine, which is scaled by the largest and the smallest of them:
            cosines of one query lie in a narrow band that differs from query to query.
        lexical: BM25 scores, best first; a row that is not listed counts as 0, the minimum of BM25.
        weight: Share of the dense score, from 0 to 1.
    """
    best = lexical[0][1] if lexical else 1.0
    fused = {row: weight * score for row, score in min_max(dense).items()}
    for row, score in lexical:
        fused[row] += (1 - weight) * score / best
    return _sorted(fused)


def min_max(scored: Ranking) -> dict[int, float]:
    """Scores scaled to 0 (the smallest) .. 1 (the largest); 1 for all where all are equal."""
    scores = [score for _, score in scored]
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    return {row: (score - low) / (high - low) if high > low else 1.0 for row, score in scored}


def _sorted(fused: Mapping[T, float]) -> list[tuple[T, float]]:
    # dicts keep insertion order and sorting is stable: that is the tie rule
    return sorted(fused.items(), key=lambda pair: -pair[1])
