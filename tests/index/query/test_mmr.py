"""Maximal marginal relevance: against its definition, and what it does to a round of queries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ragscale.index.query.mmr import diversify
from ragscale.ranking import Ranking, min_max

ROWS = 12
_random = np.random.default_rng(0).normal(size=(ROWS, 4)).astype(np.float32)
VECTORS = _random / np.linalg.norm(_random, axis=1, keepdims=True)
RANKINGS = st.lists(
    st.lists(st.tuples(st.integers(0, ROWS - 1), st.sampled_from([0.1, 0.4, 0.5, 0.9])), unique_by=lambda pair: pair[0])
    .map(lambda pairs: sorted(pairs, key=lambda pair: -pair[1])),
    max_size=3,
)  # fmt: skip


def take(rows: NDArray[np.int64]) -> NDArray[np.float32]:
    return VECTORS[rows]


def plainly(rankings: list[Ranking], k: int, balance: float) -> list[list[int]]:
    """The definition, word by word."""
    picked: list[list[int]] = [[] for _ in rankings]
    everything: list[int] = []
    for _ in range(k):
        for ranking, picks in zip(rankings, picked, strict=True):
            left = [row for row, _ in ranking if row not in picks]
            if not left:
                continue
            relevant = min_max(ranking)

            def gain(row: int, relevant: dict[int, float] = relevant) -> float:
                near = max((float(VECTORS[row] @ VECTORS[other]) for other in everything), default=-1.0)
                return round(balance * relevant[row] - (1 - balance) * near, 5)

            picks.append(max(left, key=gain))
            everything.append(picks[-1])
    return picked


@given(RANKINGS, st.integers(1, 14), st.sampled_from([0.0, 0.3, 0.5, 0.8]))
def test_picks_follow_the_definition(rankings: list[Ranking], k: int, balance: float) -> None:
    found = diversify(rankings, take, k, balance)
    assert [[row for row, _ in picks] for picks in found] == plainly(rankings, k, balance)
    for picks, ranking in zip(found, rankings, strict=True):
        assert set(picks) <= set(ranking)


@given(RANKINGS, st.integers(1, 14))
def test_at_1_the_order_stays(rankings: list[Ranking], k: int) -> None:
    assert diversify(rankings, take, k, 1.0) == [ranking[:k] for ranking in rankings]


@pytest.mark.timeout(20)
def test_k_far_beyond_the_rows_takes_no_longer() -> None:
    rankings: list[Ranking] = [[(0, 0.9), (1, 0.5), (2, 0.4)], [(3, 0.5)], []]
    assert diversify(rankings, take, 10**9, 0.5) == diversify(rankings, take, 3, 0.5)


def test_queries_of_a_round_do_not_find_the_same() -> None:
    ranking: Ranking = [(row, 1 - row / 20) for row in range(ROWS)]
    alone = [diversify([ranking], take, 4, 0.4)[0] for _ in range(2)]
    assert alone[0] == alone[1]
    one, other = diversify([ranking, ranking], take, 4, 0.4)
    assert not set(one) & set(other)


def test_copies_come_last() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    found = diversify([[(0, 0.9), (1, 0.9), (2, 0.5)]], lambda rows: vectors[rows], 3, 0.4)
    assert found == [[(0, 0.9), (2, 0.5), (1, 0.9)]]
