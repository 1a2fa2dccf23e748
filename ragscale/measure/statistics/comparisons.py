"""`compare`: two cells on the same questions, with a verdict of three values; `holm`: a family of comparisons."""

from __future__ import annotations

import gc
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ragscale.errors import InvalidInput
from ragscale.measure.statistics.arrays import (
    RESAMPLES,
    Array,
    Bounds,
    Labels,
    batch,
    by_cluster,
    checked,
    labelled,
)
from ragscale.measure.statistics.intervals import Interval, interval, linearised

__all__ = ["Comparison", "Verdict", "compare", "corrected", "holm"]

Verdict = Literal["better", "worse", "equivalent", "undecided"]

_EQUAL = 1e-12
_POWER = 0.8
_DOCUMENTS = 10  # fewest from which a deviation is known well enough to plan by
_SWAPS = 2 * RESAMPLES
_FLOOR = 10 / _SWAPS
"""Below it a p by `_SWAPS` random swaps is too coarse to be corrected for a hundred comparisons."""
_MOST = 200_000
"""Swaps of a second sample, at most: fewer where that is more than `_WORK` documents swapped."""
_WORK = 10_000_000
_CERTAIN = 1e-5
"""Smallest p that is sampled: below it, Hoeffding's bound on p stands for p."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The paired comparison of two cells over the questions that both have."""

    difference: Interval
    """Mean of the first cell minus the second."""
    p: float
    """Two-sided, of no difference; of a family: adjusted."""
    p_equivalent: float
    """Of a difference of at least `margin` either way: the larger p of two one-sided tests; of a family: adjusted."""
    test: Literal["mcnemar", "permutation"]
    """The test behind `p`."""
    verdict: Verdict
    """``equivalent`` goes before ``better``: a difference that is surely smaller than the margin does not matter."""
    further: int | None
    """Questions to add, for ``undecided``: if the difference seen is the true one, four of five runs of that size are
    decided. At least as many as make ten documents. None where decided, and where no number would do."""
    margin: float
    deviation: float
    """Standard deviation of a question's difference, raised for dependence within documents; NaN for one document."""
    unseen: float
    """Share of documents unlike all seen that would move the difference out of the margin; 0 where it is outside."""
    reversing: float
    """Share of documents unlike all seen that would move the difference to 0; 1 without bounds."""
    differing: float
    """Share of documents in which the two cells differ: a test learns from no other."""
    family: int = 1
    """Comparisons among which this one was corrected."""


def compare(
    first: ArrayLike,
    second: ArrayLike,
    clusters: Labels | None = None,
    *,
    margin: float = 0.05,
    level: float = 0.95,
    bounds: Bounds = (0.0, 1.0),
    seed: int = 0,
) -> Comparison:
    """Compare two cells on the questions that both have.

    The interval of the paired difference is that of `interval`. The p-value is exact McNemar's for scores of 0 and 1
    without clusters, otherwise that of a permutation test, which swaps the two cells within whole documents. The
    verdict is ``equivalent`` where the interval lies within the margin and two one-sided tests agree, ``better`` or
    ``worse`` where the interval excludes 0 and the p-value agrees, else ``undecided``.

    Args:
        first: Scores of the first cell, a value for each question; NaN where it has none.
        second: Scores of the second cell, in the same order.
        clusters: The source document of each question; None: each question is its own.
        margin: Difference that is too small to matter, in units of the score.
        level: Level of the interval; ``1 - level`` is the error rate of the verdict.
        bounds: The lowest and the highest possible score of a question; None for costs.
        seed: Seed of resampling and permutation.

    Raises:
        InvalidInput: No question in common, lengths that differ, a negative margin, a score out of `bounds`, or a level
            out of (0, 1).
    """
    if not margin >= 0:
        raise InvalidInput(f"margin {margin!r}, the least is 0", "Give the difference that is too small to matter.")
    a, b = checked(first, bounds), checked(second, bounds)
    if a.shape != b.shape:
        raise InvalidInput(
            f"{len(a)} scores against {len(b)}", "Give both the same questions, NaN where one is absent."
        )
    known = ~(np.isnan(a) | np.isnan(b))
    if not known.any():
        raise InvalidInput("no question in common", "Run both cells on the same questions.")
    labels = labelled("clusters", clusters, len(a))[known]
    a, b = a[known], b[known]
    sums, sizes = by_cluster(a - b, np.unique(labels, return_inverse=True)[1])
    z = linearised(sums, sizes)
    extreme = None if bounds is None else (bounds[0] - bounds[1], bounds[1] - bounds[0])
    difference = interval(a - b, labels, bounds=extreme, level=level, seed=seed)
    rates = len(sums) == len(a) and bool(np.isin([a, b], (0, 1)).all())
    unseen = _unseen(difference.value, margin, extreme)
    found = Comparison(
        difference=difference,
        p=_mcnemar(a, b) if rates else _swapped(sums, seed),
        p_equivalent=_p_equivalent(z, difference.value, margin, unseen),
        test="mcnemar" if rates else "permutation",
        verdict="undecided",
        further=None,
        margin=margin,
        deviation=math.sqrt(z.var(ddof=1) / len(z) * len(a)) if len(z) > 1 else math.nan,
        unseen=unseen,
        reversing=_reversing(difference.value, extreme),
        differing=float((np.abs(sums) > _EQUAL).mean()),
    )
    return _judged(found)


def holm(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons as a family: p-values and verdicts corrected by Holm (Scand. J. Stat. 6, 1979).

    With the probability of their level, not one ``better`` or ``worse`` is said where there is no difference. Claims of
    equivalence are a family of their own. Intervals stay those of each comparison alone.

    Raises:
        InvalidInput: One of them was corrected before.
    """
    if any(one.family > 1 for one in comparisons):
        raise InvalidInput("a comparison that was corrected before", "Give the results of `compare`.")
    differ = corrected([one.p for one in comparisons])
    same = corrected([one.p_equivalent for one in comparisons])
    return [
        _judged(replace(one, p=p, p_equivalent=q, family=len(comparisons)))
        for one, p, q in zip(comparisons, differ, same, strict=True)
    ]


def corrected(p: Sequence[float]) -> list[float]:
    """The p-values of a family of tests, corrected by Holm."""
    from statsmodels.stats.multitest import multipletests

    if not p:
        return []
    frozen = gc.get_freeze_count()
    if not frozen:
        gc.freeze()  # multipletests calls gc.collect, which takes a third of a second where much is loaded
    try:
        return [float(one) for one in multipletests(p, method="holm")[1]]
    finally:
        if not frozen:
            gc.unfreeze()


def _mcnemar(a: Array, b: Array) -> float:
    from statsmodels.stats.contingency_tables import mcnemar

    won, lost = int((a > b).sum()), int((a < b).sum())
    return min(1.0, float(mcnemar([[0, won], [lost, 0]], exact=True).pvalue)) if won + lost else 1.0


def _swapped(sums: Array, seed: int) -> float:
    """Two-sided p of the documents' sums when the two cells are swapped at random in each document.

    Fine enough for a family of hundreds of comparisons: where a first sample finds hardly any swap as extreme, a
    second one, up to fifty times as large, gives the p. What is beyond any sample has Hoeffding's bound (J. Am. Stat.
    Assoc. 58, 1963), which is never below the exact p.
    """
    from scipy.stats import monte_carlo_test, permutation_test

    moved = sums[np.abs(sums) > _EQUAL]  # a swap changes no other
    if len(moved) < 2:
        return 1.0
    bound = 2 * math.exp(-(moved.sum() ** 2) / (2 * float(moved @ moved)))
    if bound < _CERTAIN:
        return bound
    rng = np.random.default_rng(seed)

    def lead(first: Array, second: Array | float = 0.0, axis: int = -1) -> Array:
        difference: Array = np.abs((first - second).sum(axis=axis))  # either way: the swaps are as many on both sides
        return difference

    def swapped(size: tuple[int, ...]) -> Array:
        values: Array = moved * (2.0 * rng.integers(0, 2, size, dtype=np.int8) - 1)
        return values

    if 2 ** len(moved) <= _SWAPS:  # all of them
        nothing = np.zeros_like(moved)
        exact = permutation_test(
            (moved, nothing), lead, permutation_type="samples", n_resamples=_SWAPS, vectorized=True,
            alternative="greater",
        )  # fmt: skip
        return float(exact.pvalue)

    def sampled(number: int) -> float:
        tested = monte_carlo_test(
            moved, swapped, lead, n_resamples=number - 1, batch=batch(len(moved)), vectorized=True,
            alternative="greater",
        )  # fmt: skip
        return float(tested.pvalue)

    p = sampled(_SWAPS)
    return p if p > _FLOOR else sampled(max(_SWAPS, min(_MOST, _WORK // len(moved))))


def _unseen(difference: float, margin: float, extreme: Bounds) -> float:
    if abs(difference) >= margin:
        return 0.0
    if extreme is None:
        return 1.0
    return min(
        (margin - difference) / (extreme[1] - difference), (margin + difference) / (difference - extreme[0]), 1.0
    )


def _reversing(difference: float, extreme: Bounds) -> float:
    if extreme is None:
        return 1.0
    return difference / (difference - extreme[0 if difference > 0 else 1])


def _p_equivalent(z: Array, difference: float, margin: float, unseen: float) -> float:
    """The larger p of the two one-sided t tests, and not below the chance to see no document of the unseen share."""
    if abs(difference) >= margin or len(z) < 2:
        return 1.0
    floor = float((1 - unseen) ** len(z))
    if z.std() <= _EQUAL:
        return floor
    from statsmodels.stats.weightstats import DescrStatsW

    return max(floor, float(DescrStatsW(z).ttost_mean(-margin, margin)[0]))


def _judged(found: Comparison) -> Comparison:
    alpha, low, high = 1 - found.difference.level, found.difference.low, found.difference.high
    if low is None or high is None:
        verdict: Verdict = "undecided"
    elif found.p_equivalent <= alpha and -found.margin < low and high < found.margin:
        verdict = "equivalent"
    elif found.p <= alpha and (low > 0 or high < 0):
        verdict = "better" if low > 0 else "worse"
    else:
        verdict = "undecided"
    return replace(found, verdict=verdict, further=_further(found) if verdict == "undecided" else None)


def _further(found: Comparison) -> int | None:
    """Questions to add until the difference seen is told from 0, or shown to be within the margin."""
    from scipy.stats import nbinom
    from statsmodels.stats.power import normal_sample_size_one_tail

    n, distance = found.difference.n, abs(found.difference.value)
    tail = (1 - found.difference.level) / found.family / 2
    ways = []
    if math.isnan(found.deviation):
        return None
    if distance > 0:
        told = normal_sample_size_one_tail(distance, _POWER, tail, std_null=found.deviation)
        alone = (1 - found.difference.level) / 2  # the interval is that of this comparison, whatever its family
        floor = math.log(alone) / math.log1p(-found.reversing) if found.reversing < 1 else 1.0
        swaps = math.ceil(math.log2(1 / tail))  # documents that differ, all one way, at which the exact test tells
        tested = swaps + float(nbinom.ppf(_POWER, swaps, found.differing))
        ways.append(max(told, max(floor, tested) * n / found.difference.clusters))
    if found.unseen > 0:
        within = normal_sample_size_one_tail(found.margin - distance, _POWER, tail, std_null=found.deviation)
        clear = math.log(tail) / math.log1p(-found.unseen) if found.unseen < 1 else 1.0
        ways.append(max(within, clear * n / found.difference.clusters))
    least = math.ceil(_DOCUMENTS * n / found.difference.clusters)
    return max(1, max(least, math.ceil(min(ways))) - n) if ways else None
