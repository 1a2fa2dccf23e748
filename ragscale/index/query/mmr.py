"""Maximal marginal relevance: picks that are relevant and unlike what was picked before."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ragscale.ranking import Ranking, min_max

__all__ = ["diversify"]

_DECIMALS = 6


def diversify(
    rankings: Sequence[Ranking],
    take: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    k: int,
    balance: float,
) -> list[Ranking]:
    """Pick k rows of each ranking by maximal marginal relevance (Carbonell and Goldstein, 1998).

    Each pick is the row with the largest ``balance * relevance - (1 - balance) * redundancy``. Relevance is its score,
    scaled to 0..1 within its ranking; redundancy is its largest cosine with a row picked before, for whichever ranking:
    the rankings take turns, so that together they cover more than each of them alone. Ties go to the better row.

    Args:
        rankings: The candidates of one or more queries, best first.
        take: Vectors of length 1 of given rows, shape (n, dimension).
        k: Picks for each ranking; fewer where it has fewer rows.
        balance: From 0 (unlike the others above all) to 1 (the order stays as it is).

    Returns:
        The picks of each ranking in their order, with the scores that they came with.
    """
    rows = list(dict.fromkeys(row for ranking in rankings for row, _ in ranking))
    if not rows:
        return [[] for _ in rankings]
    vectors = take(np.array(rows, dtype=np.int64))
    number = {row: i for i, row in enumerate(rows)}
    redundancy = np.full(len(rows), -1.0)
    left = [list(ranking) for ranking in rankings]
    relevance = [min_max(ranking) for ranking in rankings]
    picked: list[Ranking] = [[] for _ in rankings]
    for _ in range(min(k, max(map(len, rankings)))):
        for candidates, relevant, picks in zip(left, relevance, picked, strict=True):
            if not candidates:
                continue
            gains = [balance * relevant[row] - (1 - balance) * redundancy[number[row]] for row, _ in candidates]
            best = int(np.argmax(np.round(gains, _DECIMALS)))
            picks.append(candidates.pop(best))
            np.maximum(redundancy, vectors @ vectors[number[picks[-1][0]]], out=redundancy)
    return picked
