"""Picking and fusing rows: checked against the plain definitions."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ragscale.ranking import RRF_K, Ranking, best_rows, reciprocal_rank_fusion, weighted_fusion

SCORES = st.lists(st.sampled_from([0.0, -1.0, 0.5, 1.0, 2.0, 3.0]), max_size=60)
RANKING = st.lists(st.integers(0, 30), unique=True, max_size=20)


@given(SCORES, st.integers(1, 70))
def test_best_rows_is_a_stable_sort_of_what_scores_above_zero(scores: list[float], k: int) -> None:
    wanted = sorted((row for row, score in enumerate(scores) if score > 0), key=lambda row: -scores[row])[:k]
    found = best_rows(np.array(scores, dtype=np.float32), k)
    assert [row for row, _ in found] == wanted
    assert [score for _, score in found] == [scores[row] for row in wanted]


@given(st.lists(RANKING, min_size=1, max_size=4))
def test_fusion_sums_reciprocal_ranks(rankings: list[list[int]]) -> None:
    found = reciprocal_rank_fusion(rankings)
    rows = list(dict.fromkeys(row for ranking in rankings for row in ranking))
    assert sorted(row for row, _ in found) == sorted(rows)
    for row, score in found:
        ranks = [ranking.index(row) + 1 for ranking in rankings if row in ranking]
        assert abs(score - sum(1 / (RRF_K + rank) for rank in ranks)) < 1e-12
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)


@given(RANKING)
def test_fusing_one_ranking_keeps_its_order(ranking: list[int]) -> None:
    assert [row for row, _ in reciprocal_rank_fusion([ranking])] == ranking


def test_ties_go_to_the_item_named_first() -> None:
    assert [row for row, _ in reciprocal_rank_fusion([[7, 3], [3, 7]])] == [7, 3]
    assert [name for name, _ in reciprocal_rank_fusion([["b"], ["a"]])] == ["b", "a"]


SCORED = RANKING.flatmap(
    lambda rows: st.lists(st.floats(-5, 5), min_size=len(rows), max_size=len(rows)).map(
        lambda scores: list(zip(rows, sorted(scores, reverse=True), strict=True))
    )
)


@given(SCORED.filter(bool), st.data(), st.floats(0, 1))
def test_weighted_fusion_sums_scaled_scores(dense: Ranking, data: st.DataObject, weight: float) -> None:
    rows = data.draw(st.lists(st.sampled_from([row for row, _ in dense]), unique=True))
    lexical = [(row, 5.0 / rank) for rank, row in enumerate(rows, 1)]
    found = dict(weighted_fusion(dense, lexical, weight))
    assert list(found) == [row for row, _ in sorted(found.items(), key=lambda pair: -pair[1])]
    low, high = min(score for _, score in dense), max(score for _, score in dense)
    for row, score in dense:
        scaled = (score - low) / (high - low) if high > low else 1
        assert abs(found[row] - weight * scaled - (1 - weight) * dict(lexical).get(row, 0) / 5) < 1e-9


@given(SCORED)
def test_all_weight_on_the_dense_side_keeps_its_order(ranking: Ranking) -> None:
    assert [row for row, _ in weighted_fusion(ranking, [], 1.0)] == [row for row, _ in ranking]


def test_ties_of_weighted_fusion_go_to_the_row_named_first() -> None:
    assert weighted_fusion([(7, 2.0), (3, 1.0)], [(3, 9.0)], 0.5) == [(7, 0.5), (3, 0.5)]
