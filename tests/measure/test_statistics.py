"""The statistics against values worked out by hand or by the libraries' own functions, and at their edges."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp

from ragscale.errors import InvalidInput
from ragscale.measure.statistics import (
    Comparison,
    choose,
    compare,
    front,
    grid,
    holm,
    interaction,
    interval,
    log_fit,
    oracle,
    strata,
)

NAN = math.nan


def limits(found: Any) -> tuple[float, float]:
    return found.low, found.high


# Intervals


@pytest.mark.parametrize("n", [1, 2, 8, 53, 60, 100, 113, 1000])
@pytest.mark.parametrize("score", [0.0, 1.0])
def test_an_interval_holds_its_value_to_the_last_bit(score: float, n: int) -> None:
    """Wilson's upper limit of 60 of 60 was .9999999999999998, below the rate itself."""
    for clusters in (None, [at // 2 for at in range(n)]):
        found = interval([score] * n, clusters)
        assert found.value == (found.high if score else found.low) == score


def test_a_rate_has_wilsons_interval() -> None:
    found = interval([1] * 7 + [0] * 3)
    wilson = binomtest(7, 10).proportion_ci(method="wilson")
    assert (found.value, found.n, found.clusters, found.method) == (0.7, 10, 10, "wilson")
    assert limits(found) == pytest.approx((wilson.low, wilson.high))


@pytest.mark.parametrize(
    "values", [[0], [1], [0.4], [0.0] * 20, [1.0] * 200, [0.5] * 5, [0.3] + [0.0] * 19, [0.5, 0.6], [0, 1]]
)
def test_no_interval_claims_certainty(values: list[float]) -> None:
    found = interval(values)
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 2 / (len(values) + 4)  # the rule of three, about


def test_equal_values_leave_room_for_questions_unlike_all_that_were_seen() -> None:
    found = interval([0.5] * 5)
    unseen = 1 - 0.025**0.2  # Clopper-Pearson's upper limit for none of five
    assert found.method == "floor"
    assert limits(found) == pytest.approx((0.5 - unseen / 2, 0.5 + unseen / 2))
    assert limits(interval([0.0] * 5, bounds=(-1, 1))) == pytest.approx((-unseen, unseen))


def test_costs_have_no_bounds_and_so_no_interval_from_equal_values() -> None:
    assert limits(interval([3.0], bounds=None)) == (None, None)
    assert limits(interval([3.0] * 9, bounds=None)) == (None, None)
    found = interval([900.0, 1000.0, 1400.0, 1250.0], bounds=None)
    half = 3.182446 * np.std([900, 1000, 1400, 1250], ddof=1) / 2
    assert found.low == pytest.approx(1137.5 - half)  # of four values the t interval is the wider one
    assert found.method == "bca"


def test_many_questions_have_the_t_interval() -> None:
    values = np.random.default_rng(0).random(3000)
    found = interval(values)
    expected = ttest_1samp(values, 0).confidence_interval()
    assert found.method == "t"
    assert limits(found) == pytest.approx((expected.low, expected.high))


def test_copies_of_a_question_are_no_news() -> None:
    values = np.random.default_rng(1).random(30)
    alone, copied = interval(values), interval(np.repeat(values, 4), np.repeat(np.arange(30), 4))
    assert (copied.n, copied.clusters) == (120, 30)
    assert limits(copied) == pytest.approx(limits(alone))
    rates = (values > 0.4).astype(float)
    alone, copied = interval(rates), interval(np.repeat(rates, 4), np.repeat(np.arange(30), 4))
    assert copied.method == "wilson"
    assert copied.high - copied.low > 0.99 * (alone.high - alone.low)  # type: ignore[operator]
    assert copied.high - copied.low > 1.5 * width(interval(np.repeat(rates, 4)))  # type: ignore[operator]


def width(found: Any) -> float:
    return float(found.high - found.low)


def test_a_mean_over_documents_of_unequal_size_is_the_questions_mean() -> None:
    found = interval([1.0, 1.0, 1.0, 0.2], ["a", "a", "a", "b"])
    assert found.value == pytest.approx(0.8)
    assert found.clusters == 2


def test_one_document_of_many_questions_counts_once() -> None:
    assert width(interval([1.0] * 50, ["a"] * 50)) == pytest.approx(width(interval([1.0])))


def test_missing_values_are_left_out() -> None:
    assert interval([1.0, NAN, 0.5, NAN], ["a", "b", "c", "d"]) == interval([1.0, 0.5], ["a", "c"])
    assert interval([True, None, False]).n == 2  # type: ignore[list-item]


def test_the_same_values_give_the_same_interval() -> None:
    values = np.random.default_rng(2).random(40) ** 6
    assert interval(values) == interval(values)
    assert interval(values, seed=1) != interval(values)


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda: interval([]), "no values"),
        (lambda: interval([NAN]), "no values"),
        (lambda: interval([0.5, 1.5]), "values from 0.5 to 1.5, the bounds are 0 and 1"),
        (lambda: interval([math.inf], bounds=None), "infinite"),
        (lambda: interval([0.5], ["a", "b"]), "2 clusters for 1 questions"),
        (lambda: interval([0.5], level=1), "level 1"),
        (lambda: compare([1], [1, 0]), "1 scores against 2"),
        (lambda: compare([1, NAN], [NAN, 1]), "no question in common"),
        (lambda: compare([1], [1], margin=-0.1), "margin -0.1"),
        (lambda: front([[1, 2]], [[1, NAN]]), "no question has a value in all of 2 cells"),
        (lambda: front([[1, 2]], [[1, 1, 1]]), r"shape \(1, 2\) and \(1, 3\)"),
        (lambda: front([1, 2], [1, 1]), "Give matrices"),
        (lambda: log_fit([1, 2, 3], [[1, 1]]), "for 2 points"),
        (lambda: log_fit([-1, 2], [[1, 1]]), "0 or more"),
        (lambda: interaction([[1, 1]], [1, 2]), "2 groups for 1 questions"),
        (lambda: strata([[1, 1]], [[1, 1]], None), "groups is None"),  # type: ignore[arg-type]
        (lambda: choose([[1, 1]], [[1, 1]]), "10 folds of 1 documents"),
    ],
)
def test_what_cannot_be_computed_is_refused(call: Any, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        call()


# Comparisons


def test_rates_are_compared_by_exact_mcnemar() -> None:
    a, b = [1] * 12 + [0] * 3 + [1] * 20, [0] * 12 + [1] * 3 + [1] * 20
    found = compare(a, b)
    assert (found.test, found.verdict) == ("mcnemar", "better")
    assert found.p == pytest.approx(binomtest(12, 15).pvalue)
    assert found.difference.value == pytest.approx(9 / 35)
    mirrored = compare(b, a)
    assert (mirrored.verdict, mirrored.p) == ("worse", found.p)


def test_scores_are_compared_by_every_swap_of_the_pairs() -> None:
    d = np.array([0.5, 0.25, 0.125, 0.4, 0.3, 0.35, 0.0])
    found = compare(d, np.zeros(7))
    assert found.test == "permutation"
    assert found.p == pytest.approx(2 / 2**6)  # all six that differ on one side, both sides; the tie says nothing


def test_the_swaps_are_of_whole_documents() -> None:
    a = np.repeat([0.9, 0.8, 0.7], 10)
    found = compare(a, np.zeros(30), np.repeat(["a", "b", "c"], 10))
    assert found.p == pytest.approx(2 / 2**3)  # 30 questions, but three documents
    assert found.verdict == "undecided"
    assert compare(a, np.zeros(30)).verdict == "better"


def test_only_common_questions_are_compared() -> None:
    found = compare([1, 1, NAN, 0, 1], [0, NAN, 1, 0, 1])
    assert found.difference.n == 3
    assert found.difference.value == pytest.approx(1 / 3)


def test_equal_answers_are_equivalent_only_when_they_are_many() -> None:
    few, many = compare([0.5] * 10, [0.5] * 10), compare([0.5] * 80, [0.5] * 80)
    assert few.verdict == "undecided"
    assert many.verdict == "equivalent"
    assert many.further is None
    assert few.further is not None
    decided = 10 + few.further
    assert compare([0.5] * decided, [0.5] * decided).verdict == "equivalent"
    assert compare([0.5] * (decided - 1), [0.5] * (decided - 1)).verdict == "undecided"


def test_a_difference_surely_below_the_margin_is_equivalent_not_better() -> None:
    rng = np.random.default_rng(3)
    a = rng.random(300) * 0.9
    b = np.clip(a - 0.02 + rng.normal(0, 0.05, 300), 0, 1)
    assert compare(a, b, margin=0.05).verdict == "equivalent"
    assert compare(a, b, margin=0.01).verdict == "better"
    assert compare(a, b, margin=0).verdict == "better"


def every_swap(d: np.ndarray) -> float:
    """Exact two-sided p, from all swaps."""
    signs = ((np.arange(2 ** len(d))[:, None] >> np.arange(len(d))) & 1) * 2 - 1
    return float((np.abs(signs @ d) >= abs(d.sum()) - 1e-9).mean())


@pytest.mark.parametrize(("shift", "seed"), [(0.2, 0), (0.3, 0), (0.2, 1), (0.2, 2)])
def test_a_small_p_is_that_of_all_swaps(shift: float, seed: int) -> None:
    """Fine enough for a family of hundreds: 4,000 swaps tell nothing below .00025."""
    d = np.clip(np.random.default_rng(seed).normal(shift, 0.2, 16), -1, 1)
    exact = every_swap(d)
    assert 5e-5 < exact < 0.01
    assert compare(np.maximum(d, 0), np.maximum(-d, 0)).p == pytest.approx(exact, rel=0.25)


def test_beyond_any_sample_a_bound_stands_for_p() -> None:
    d = np.full(40, 0.3)
    found = compare(d, np.zeros(40))
    assert 2 / 2**40 < found.p == pytest.approx(2 * math.exp(-20))


def test_the_best_of_25_modes_is_found() -> None:
    """300 comparisons: a p of .00025, the least of 4,000 swaps, would be corrected to .075."""
    rng = np.random.default_rng(0)
    worse = np.clip(rng.normal(0.3, 0.1, (30, 24)), 0, 1)
    columns = [np.clip(rng.normal(0.6, 0.1, 30), 0, 1), *worse.T]
    pairs = [(one, two) for one in range(25) for two in range(one + 1, 25)]
    # pairs among the 24 say nothing here: their part is only to be many
    first = [compare(columns[0], columns[two]) for two in range(1, 25)]
    found = holm([*first, *[replace(first[0], p=1.0, p_equivalent=1.0)] * (len(pairs) - 24)])[:24]
    assert {one.family for one in found} == {300}
    assert {one.verdict for one in found} == {"better"}


def test_questions_needed_are_those_of_the_textbook() -> None:
    d = np.array([0.5, -0.3] * 20)  # mean 0.1, standard deviation 0.4051
    found = compare(np.maximum(d, 0), np.maximum(-d, 0))
    assert found.verdict == "undecided"
    needed = ((1.959964 + 0.841621) * d.std(ddof=1) / 0.1) ** 2  # two-sided 5 %, power 80 %
    assert found.further == math.ceil(needed) - 40


def test_questions_needed_are_enough_for_an_exact_test() -> None:
    """Five of twelve questions differ, all one way: p is 1/16, and no test of fewer than six that differ is below .05.

    Six among n of them with a chance of .8 take n = 18.
    """
    from scipy.stats import binom

    found = compare([1.0] * 5 + [0.0] * 7, [0.0] * 12)
    assert (found.verdict, found.p) == ("undecided", 0.0625)
    assert found.further is not None
    n = 12 + found.further
    assert binom.sf(5, n, 5 / 12) >= 0.8 > binom.sf(5, n - 1, 5 / 12)


def test_two_documents_do_not_tell_how_many_questions_are_needed_beyond_a_few_documents() -> None:
    a = [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.9]  # as much better in one document as in the other, nearly
    found = compare(a * 2, [0.0, 0.9] * 9, ["one"] * 9 + ["two"] * 9)
    assert found.verdict == "undecided"
    assert found.further is not None
    assert found.further >= 8 * 9  # ten documents


def test_one_question_decides_nothing() -> None:
    found = compare([1], [0])
    assert (found.verdict, found.p, found.further) == ("undecided", 1.0, None)


def test_a_family_is_corrected_by_holm() -> None:
    ones = [compare([1] * k + [0] * 20, [0] * (k + 20)) for k in (6, 8, 10)]
    assert [one.verdict for one in ones] == ["better"] * 3
    p = [one.p for one in ones]
    corrected = holm(ones)
    assert [one.p for one in corrected] == pytest.approx([p[0], 2 * p[1], 3 * p[2]])
    more = holm([*ones, *[compare([1, 0] * 5, [0, 1] * 5)] * 4])
    assert [one.verdict for one in more[:3]] == ["undecided", "better", "better"]  # .03125 times 5
    assert more[0].further is not None
    assert more[0].family == 7
    assert holm([]) == []
    with pytest.raises(InvalidInput, match="corrected before"):
        holm(corrected)


# Costs


def test_a_curve_is_found_again_with_its_uncertainty() -> None:
    x = np.array([500, 1000, 2000, 4000, 8000, 16000.0])
    curve = 0.1 * np.log(x + 300) - 0.4
    rng = np.random.default_rng(4)
    hard = rng.normal(0, 0.2, (200, 1))
    found = log_fit(x, curve + hard + rng.normal(0, 0.02, (200, 6)))
    assert found is not None
    assert found.a == pytest.approx(0.1, abs=0.01)
    assert found.a_low < 0.1 < found.a_high
    inside = [
        low <= 0.1 * np.log(at + 300) - 0.4 <= high
        for at, low, high in zip(found.x, found.low, found.high, strict=True)
    ]
    assert all(inside)
    assert (found.x[0], found.x[-1], found.n) == (pytest.approx(500), pytest.approx(16000), 200)
    assert all(low <= y <= high for low, y, high in zip(found.low, found.y, found.high, strict=True))


def test_a_curve_needs_four_costs_and_two_documents() -> None:
    y = np.random.default_rng(5).random((10, 4))
    assert log_fit([1, 2, 3, 3], y) is None
    assert log_fit([1, 2, 3, 4], y, ["a"] * 10) is None
    assert log_fit([1, 2, 3, 4], y) is not None


def test_a_point_without_cost_and_a_flat_curve_are_fitted() -> None:
    found = log_fit([0, 1, 2, 3], np.full((10, 4), 0.5))
    assert found is not None
    assert (found.a, found.y[0], found.y[-1]) == (pytest.approx(0, abs=1e-9), pytest.approx(0.5), pytest.approx(0.5))
    assert found.x[0] == 0


def test_the_front_and_how_sure_it_is() -> None:
    rng = np.random.default_rng(6)
    n = 40
    costs = np.tile([1.0, 2.0, 2.0, 3.0], (n, 1))
    scores = np.column_stack([rng.random(n) * 0.2, 0.4 + rng.random(n) * 0.2, rng.random(n) * 0.1, rng.random(n)])
    noise = rng.normal(0.0, 0.1, n)
    scores[:, 3] = scores[:, 1] + noise - noise.mean()
    found = front(costs, scores)
    assert found.on[:3] == (True, True, False)  # cheapest; best at its cost; dominated at the same cost
    assert found.stays[:3] == (1.0, 1.0, 0.0)
    assert 0.1 < found.stays[3] < 0.9  # dearer, and as good as the second
    assert found.n == n


def test_equal_cells_are_both_on_the_front() -> None:
    assert front(np.ones((5, 2)), np.ones((5, 2)) * 0.5).on == (True, True)


# Does it depend on the question


def crossing(n: int, rng: np.random.Generator, slope: float) -> tuple[np.ndarray, list[int]]:
    """Scores of three modes, of which the last gains `slope` a hop."""
    hops = rng.integers(1, 4, n)
    y = 0.5 + rng.normal(0, 0.15, (n, 1)) + rng.normal(0, 0.15, (n, 3)) - 0.05 * hops[:, None]
    y[:, 2] += slope * (hops - 2)
    return np.clip(y, 0, 1), hops.tolist()


def test_an_interaction_is_found_with_its_size() -> None:
    y, hops = crossing(90, np.random.default_rng(7), 0.15)
    found = interaction(y, hops, level=0.999)
    assert found is not None
    assert found.p < 0.01
    assert found.groups == (1, 2, 3)
    assert found.gains is not None
    none, gain = found.gains
    assert gain.low is not None
    assert gain.high is not None
    assert gain.low < 0.15 < gain.high
    assert gain.low > 0
    assert none.low < 0 < none.high  # type: ignore[operator]
    swapped = interaction(y, ["comparison" if h == 1 else "bridge" for h in hops])
    assert swapped is not None
    assert swapped.gains is None
    assert swapped.groups == ("bridge", "comparison")


def test_hops_that_make_all_modes_worse_are_no_interaction() -> None:
    y, hops = crossing(90, np.random.default_rng(8), 0.0)
    found = interaction(y - 0.1 * np.array(hops)[:, None] * 0.5, hops)
    assert found is not None
    assert found.p > 0.05


def test_documents_of_one_group_are_permuted_whole() -> None:
    y, hops = crossing(12, np.random.default_rng(9), 0.4)
    alone = interaction(y, hops)
    copied = interaction(np.repeat(y, 5, axis=0), np.repeat(hops, 5), np.repeat(np.arange(12), 5))
    assert alone is not None
    assert copied is not None
    assert copied.p == pytest.approx(alone.p, abs=0.02)
    assert (copied.n, copied.clusters) == (60, 12)


def test_a_gain_that_hangs_on_one_question_has_no_interval() -> None:
    y = np.random.default_rng(12).random((9, 2))
    for clusters in (None, [0, 0, 1, 1, 2, 2, 3, 3, 4]):
        found = interaction(y, [1] * 8 + [2], clusters)
        assert found is not None
        assert found.gains is not None
        assert limits(found.gains[0]) == (None, None)


@pytest.mark.parametrize("clusters", [None, np.repeat(np.arange(8), 3)], ids=["questions", "documents"])
@pytest.mark.parametrize(("lead", "gain"), [(0.0, 0.0), (1.0, 0.0), ("hops", 1.0)], ids=str)
def test_a_gain_that_does_not_vary_has_no_interval(lead: Any, gain: float, clusters: Any) -> None:
    """As of modes that tie on all questions; of documents, the regression has no first guess there."""
    hops = [1, 1, 2, 2] * 6
    y = np.tile([0.0, 1.0, 1.0, 0.0], 6)
    found = interaction(np.column_stack([y, y + (np.array(hops) if lead == "hops" else lead)]), hops, clusters)
    assert found is not None
    assert found.gains is not None
    assert found.gains[0].value == pytest.approx(gain)
    assert limits(found.gains[0]) == (None, None)


@pytest.mark.parametrize(
    ("y", "groups"),
    [([[1, 0]] * 6, [1] * 6), ([[1]] * 6, [1, 2] * 3), ([[1, 0]] * 3, [1, 2, 2]), ([[1, 0]] * 6, [None] * 6)],
)
def test_no_interaction_is_tested_where_none_can_be_seen(y: list[list[float]], groups: list[Any]) -> None:
    assert interaction(y, groups) is None


def test_the_best_mode_of_each_group() -> None:
    y = np.array([[0.9, 0.1], [0.8, 0.2], [0.9, 0.0], [0.2, 0.9], [0.1, 0.8], [0.5, 0.5]])
    found = strata(np.ones_like(y), y, [1, 1, 1, 2, 2, None])
    assert [(one.group, one.best, one.n) for one in found] == [(1, 0, 3), (2, 1, 2)]
    assert [one.sure for one in found] == [1.0, 1.0]
    assert found[0].scores[0] == interval([0.9, 0.8, 0.9])


def test_of_equally_good_modes_the_cheapest_is_the_best() -> None:
    [found] = strata([[3, 1, 2]] * 4, [[0.5, 0.5, 0.5]] * 4, ["a"] * 4)
    assert found.best == 1


# Choices


def test_the_oracle_takes_the_best_and_cheapest_for_each_question() -> None:
    costs, y = [[1, 5], [1, 5], [1, 5], [1, 5]], [[0.2, 0.8], [0.6, 0.6], [0.9, 0.1], [0.0, 0.4]]
    found = oracle(costs, y)
    assert found.score.value == pytest.approx((0.8 + 0.6 + 0.9 + 0.4) / 4)
    assert found.cost == pytest.approx((5 + 1 + 1 + 5) / 4)
    assert found.chosen == (0.5, 0.5)
    assert found.gain.value == pytest.approx(0.675 - 0.475)


def test_a_choice_is_not_measured_on_the_questions_that_made_it() -> None:
    rng = np.random.default_rng(10)
    # Twelve equal modes of mean 1/2: choosing the best of them wins nothing.
    found = [choose(np.ones((30, 12)), rng.random((30, 12))) for _ in range(40)]
    assert np.mean([one.apparent for one in found]) > 0.56
    assert np.mean([one.score.value for one in found]) == pytest.approx(0.5, abs=0.03)


def test_a_clear_choice_is_steady_and_may_differ_by_group() -> None:
    rng = np.random.default_rng(11)
    hops = rng.integers(1, 3, 40)
    y = rng.random((40, 2)) * 0.2 + 0.7 * (hops[:, None] == [1, 2])
    found = choose(np.tile([1.0, 4.0], (40, 1)), y, groups=hops)
    assert found.best == (0, 1)
    assert found.steady == 1.0
    assert found.score.value == pytest.approx(found.apparent)
    assert found.cost == pytest.approx(np.where(hops == 1, 1, 4).mean())
    assert choose(np.ones_like(y), y).score.value < found.score.value


def test_groups_of_a_choice_are_in_order_and_questions_without_one_come_last() -> None:
    hops = [2, 10, None, 2, 10, None, math.nan] * 4
    y = np.array([[group == 2, group == 10, group not in (2, 10)] for group in hops], dtype=float)
    assert choose(np.ones_like(y), y, groups=hops).best == (0, 1, 2)
    assert [one.group for one in strata(np.ones_like(y), y, hops)] == [2, 10]


def test_a_document_is_in_one_fold() -> None:
    # Each document prefers a mode of its own: seen in the training folds, its questions would be right.
    docs = np.repeat(np.arange(6), 5)
    y = (docs[:, None] == np.arange(6)).astype(float)
    assert choose(np.ones_like(y), y, docs).score.value == 0.0
    assert choose(np.ones_like(y), y, docs, groups=docs).apparent == 1.0


# Rows


def test_rows_become_a_matrix() -> None:
    found = grid(["a", "b", "a", "x"], ["1", "1", "2", "1"], [0.5, 1, None, 9], cells=["b", "a"], ids=["2", "1"])
    np.testing.assert_equal(found, [[NAN, NAN], [1.0, 0.5]])


@pytest.mark.parametrize(("n", "lead"), [(12, 0.1), (20, 0.06)])
def test_further_questions_are_enough_for_the_floor_too(n: int, lead: float) -> None:
    """Small differences that hardly vary: documents unlike all seen may reverse them, however small their error."""
    rng = np.random.default_rng(3)

    def drawn(number: int) -> Comparison:
        a = 0.5 + lead + 0.02 * rng.standard_normal(number)
        return compare(a, np.full(number, 0.5), margin=0.01)

    found = drawn(n)
    assert found.verdict == "undecided"
    assert found.further is not None
    assert found.further == pytest.approx(math.log(0.025) / math.log(1 / (1 + found.difference.value)) - n, abs=1)
    assert sum(drawn(n + found.further).verdict == "better" for _ in range(5)) >= 3
    assert drawn((n + found.further) // 2).verdict == "undecided"
