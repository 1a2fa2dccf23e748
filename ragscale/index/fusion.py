"""Picking the best rows of a score array and fusing rankings by rank or by score, the same way every time."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["RRF_K", "Ranking", "best_rows", "min_max", "reciprocal_rank_fusion", "weighted_fusion"]

RRF_K = 60
"""Rank constant of reciprocal rank fusion, as in Cormack, Clarke and Buettcher (2009)."""

Ranking = list[tuple[int, float]]
"""(row, score) pairs, best first."""

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


def weighted_fusion(rankings: Iterable[Ranking], weights: Sequence[float]) -> Ranking:
    """Fuse rankings by their scores: a row scores the weighted sum of its scores, each scaled to 0..1 by `min_max`.

    The smallest score of a ranking is taken for the rows that are not in it, as they score no higher. Scaling by the
    scores' theoretical bounds instead would put a gap between the last row of a ranking and those that it does not
    list. Ties as in `reciprocal_rank_fusion`.

    Args:
        rankings: Best first.
        weights: One a ranking.
    """
    fused: dict[int, float] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for row, score in min_max(ranking).items():
            fused[row] = fused.get(row, 0.0) + weight * score
    return _sorted(fused)


def min_max(ranking: Ranking) -> dict[int, float]:
    """Scores of a ranking scaled to 0 (its last) .. 1 (its first); 1 for all where all are equal."""
    if not ranking:
        return {}
    high, low = ranking[0][1], ranking[-1][1]
    return {row: (score - low) / (high - low) if high > low else 1.0 for row, score in ranking}


def _sorted(fused: Mapping[T, float]) -> list[tuple[T, float]]:
    # dicts keep insertion order and sorting is stable: that is the tie rule
    return sorted(fused.items(), key=lambda pair: -pair[1])
