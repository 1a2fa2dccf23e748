"""Picking and fusing rows: checked against the plain definitions."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ragscale.index.fusion import RRF_K, best_rows, reciprocal_rank_fusion

SCORES = st.lists(st.sampled_from([0.0, -1.0, 0.5, 1.0, 2.0, 3.0]), max_size=60)
RANKING = st.lists(st.integers(0, 30), unique=True, max_size=20).map(lambda rows: [(row, 1.0) for row in rows])


@given(SCORES, st.integers(1, 70))
def test_best_rows_is_a_stable_sort_of_what_scores_above_zero(scores: list[float], k: int) -> None:
    wanted = sorted((row for row, score in enumerate(scores) if score > 0), key=lambda row: -scores[row])[:k]
    found = best_rows(np.array(scores, dtype=np.float32), k)
    assert [row for row, _ in found] == wanted
    assert [score for _, score in found] == [scores[row] for row in wanted]


@given(st.lists(RANKING, min_size=1, max_size=4), st.integers(1, 50))
def test_fusion_sums_reciprocal_ranks(rankings: list[list[tuple[int, float]]], k: int) -> None:
    found = reciprocal_rank_fusion(rankings, k)
    rows = list(dict.fromkeys(row for ranking in rankings for row, _ in ranking))
    assert len(found) == min(k, len(rows))
    for row, score in found:
        ranks = [[other for other, _ in ranking].index(row) + 1 for ranking in rankings if (row, 1.0) in ranking]
        assert abs(score - sum(1 / (RRF_K + rank) for rank in ranks)) < 1e-12
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)


@given(RANKING, st.integers(1, 50))
def test_fusing_one_ranking_keeps_its_order(ranking: list[tuple[int, float]], k: int) -> None:
    assert [row for row, _ in reciprocal_rank_fusion([ranking], k)] == [row for row, _ in ranking][:k]


def test_ties_go_to_the_row_named_first() -> None:
    assert [row for row, _ in reciprocal_rank_fusion([[(7, 1.0), (3, 1.0)], [(3, 1.0), (7, 1.0)]], 2)] == [7, 3]
    assert [row for row, _ in reciprocal_rank_fusion([[(9, 1.0)], [(1, 1.0)]], 2)] == [9, 1]
