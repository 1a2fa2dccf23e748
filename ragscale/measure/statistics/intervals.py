"""`interval`: a mean with a confidence interval that holds for few questions, for rates and for clusters."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
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
    check_level,
    checked,
    labelled,
)

__all__ = ["Interval", "interval", "linearised"]

Method = Literal["wilson", "bca", "t", "floor", "none"]

_LARGE = 2_000  # documents: BCa and t agree to three digits from here, and the time of BCa's jackknife is quadratic
_EQUAL = 1e-12


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its confidence interval."""

    value: float
    low: float | None
    """None, like `high`, where the data do not bound it: values without bounds of one document, or all equal."""
    high: float | None
    n: int
    """Questions."""
    clusters: int
    """Source documents."""
    level: float
    method: Method
    """``wilson``; ``bca`` (widened as `interval` says); ``t`` above 2,000 documents and for slopes; ``floor`` where all
    values are equal; ``none``."""


def interval(
    values: ArrayLike,
    clusters: Labels | None = None,
    *,
    bounds: Bounds = (0.0, 1.0),
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The mean of a score, with its confidence interval.

    Values that are all 0 or 1, within bounds of (0, 1), are a rate: Wilson's interval, for clusters with the effective
    sample size of survey statistics (Korn and Graubard, Survey Methodology 24, 1998). Other values: the widest of

    - the BCa bootstrap interval (Efron, JASA 82, 1987) over documents;
    - the t interval, because BCa is too narrow below some 50 documents (docs/statistics.md has what was measured);
    - the *floor*: n documents cannot exclude that a share ``u = 1 - (alpha / 2) ** (1 / n)`` of all documents is unlike
      any of them, with the lowest or the highest score. Where all values are equal it stands alone: an interval never
      has width 0.

    Args:
        values: A score for each question; NaN is left out.
        clusters: The source document of each question; None: each question is its own.
        bounds: The lowest and the highest possible value; None for costs, which then have no floor.
        level: Share of such intervals that contain the true mean.
        seed: Seed of the resampling.

    Raises:
        InvalidInput: No values, a value out of `bounds`, a level out of (0, 1), or lengths that differ.
    """
    check_level(level)
    x = checked(values, bounds)
    known = ~np.isnan(x)
    codes = np.unique(labelled("clusters", clusters, len(x))[known], return_inverse=True)[1]
    x = x[known]
    if not len(x):
        raise InvalidInput("no values to take a mean of", "Give the scores of at least one question.")
    sums, sizes = by_cluster(x, codes)
    if bounds == (0, 1) and np.isin(x, (0, 1)).all():
        limits: list[tuple[float, float]] = [_wilson(sums, sizes, level)]
        method: Method = "wilson"
    else:
        limits, method = _mean(sums, sizes, bounds, level, seed)
    low = min(low for low, _ in limits) if limits else None
    high = max(high for _, high in limits) if limits else None
    mean = float(x.mean())
    if low is not None and high is not None:
        low, high = min(low, mean), max(high, mean)  # where a rate is 0 or 1, Wilson's limit misses it by rounding
        if bounds is not None:
            low, high = max(low, bounds[0]), min(high, bounds[1])
    return Interval(mean, low, high, len(x), len(sums), level, method)


def linearised(sums: Array, sizes: Array) -> Array:
    """A value for each document, of which mean and standard error are those of the ratio of the sums.

    The first-order (Taylor) expansion that survey statistics uses: clusters become independent values.
    """
    mean = sums.sum() / sizes.sum()
    values: Array = mean + len(sizes) / sizes.sum() * (sums - mean * sizes)
    return values


def _wilson(sums: Array, sizes: Array, level: float) -> tuple[float, float]:
    from scipy.stats import t
    from statsmodels.stats.proportion import proportion_confint

    n, clusters = sizes.sum(), len(sums)
    rate, z = sums.sum() / n, linearised(sums, sizes)
    effective = float(n)
    if clusters < n and z.std() <= _EQUAL:  # one document, or all with the same rate: their dependence is not known
        effective = float(clusters)
    elif clusters < n:
        tail = (1 + level) / 2
        design = z.var(ddof=1) / clusters / (rate * (1 - rate) / n)  # how much the dependence costs
        effective = n / max(design, 1.0) * (t.ppf(tail, n - 1) / t.ppf(tail, clusters - 1)) ** 2
    low, high = proportion_confint(rate * effective, effective, alpha=1 - level, method="wilson")
    return float(low), float(high)


def _mean(
    sums: Array, sizes: Array, bounds: Bounds, level: float, seed: int
) -> tuple[list[tuple[float, float]], Method]:
    """The intervals of which the widest limits count, and the name of the method."""
    from scipy.stats import t

    clusters, mean, z = len(sums), sums.sum() / sizes.sum(), linearised(sums, sizes)
    found = []
    if bounds is not None:
        unseen = 1 - ((1 - level) / 2) ** (1 / clusters)
        found.append((float(mean + unseen * (bounds[0] - mean)), float(mean + unseen * (bounds[1] - mean))))
    if clusters < 2 or z.std() <= _EQUAL * max(1.0, abs(mean)):
        return found, "floor" if found else "none"
    half = t.ppf((1 + level) / 2, clusters - 1) * z.std(ddof=1) / math.sqrt(clusters)
    found.append((float(mean - half), float(mean + half)))
    if clusters > _LARGE:
        return found, "t"
    low, high = _bca(sums, sizes, level, seed)
    if math.isfinite(low) and math.isfinite(high):  # not where too few resamples differ
        found.append((low, high))
    return found, "bca"


def _bca(sums: Array, sizes: Array, level: float, seed: int) -> tuple[float, float]:
    from scipy.stats import bootstrap

    def ratio(total: Array, number: Array, axis: int = -1) -> Array:
        means: Array = total.sum(axis=axis) / number.sum(axis=axis)
        return means

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NaN, which the caller leaves out
        limits = bootstrap(
            (sums, sizes),
            ratio,
            paired=True,
            vectorized=True,
            confidence_level=level,
            n_resamples=RESAMPLES,
            batch=batch(2 * len(sums)),
            method="BCa",
            rng=np.random.default_rng(seed),
        ).confidence_interval
    return float(limits.low), float(limits.high)
