"""`log_fit` and `front`: scores against cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ragscale.errors import InvalidInput
from ragscale.measure.statistics.arrays import Array, Labels, check_level, common, floats

__all__ = ["Front", "LogFit", "front", "log_fit", "undominated"]


@dataclass(frozen=True, slots=True)
class LogFit:
    """The curve ``a * log(x + b) + c`` with its uncertainty."""

    a: float
    """Gain of the score when ``x + b`` grows by a factor of e."""
    b: float
    c: float
    a_low: float
    """Limits of `a`; wide where `b` is not known well, also if the curve itself is."""
    a_high: float
    x: tuple[float, ...]
    """25 costs from the smallest to the largest point, in equal ratios (equal steps, where a point costs nothing)."""
    y: tuple[float, ...]
    """The curve at `x`."""
    low: tuple[float, ...]
    """Pointwise limits of the curve."""
    high: tuple[float, ...]
    n: int
    """Questions."""
    level: float


@dataclass(frozen=True, slots=True)
class Front:
    """The Pareto front of cost and score: the cells that no other cell dominates.

    One cell dominates another where it is at least as good and at most as dear, and strictly so in one of the two.
    """

    on: tuple[bool, ...]
    """A value for each cell, as in `stays`."""
    stays: tuple[float, ...]
    """Share of bootstrap resamples in which the cell is on the front."""
    n: int
    """Questions."""
    clusters: int
    """Source documents."""


def log_fit(
    costs: ArrayLike,
    scores: ArrayLike,
    clusters: Labels | None = None,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> LogFit | None:
    """Fit ``a * log(x + b) + c`` (CoRAG, arXiv 2501.14342) to the mean scores of a family of cells, by least squares.

    For a given `b` the fit is linear; `b` is searched on a grid from 0 to ten times the largest cost, where the curve
    is almost a line. The limits are the spread of the curves of resampled documents; costs are held fixed.

    Args:
        costs: Mean cost of each point.
        scores: Matrix: questions by points.
        clusters: The source document of each question; None: each question is its own.
        level: Level of the limits.
        seed: Seed of the resampling.

    Returns:
        The fit; None for fewer than four different costs (three parameters fit any three points) and for fewer than two
        documents.

    Raises:
        InvalidInput: Shapes that differ, a negative cost, no question that all points have, or a level out of (0, 1).
    """
    check_level(level)
    shared = common(scores, clusters=clusters)
    x = np.asarray(costs, dtype=float)
    if x.shape != shared.matrices[0].shape[1:] or not (np.isfinite(x) & (x >= 0)).all():
        raise InvalidInput(
            f"costs {x.tolist()} for {shared.matrices[0].shape[1]} points", "Give each a mean cost of 0 or more."
        )
    if len(np.unique(x)) < 4 or len(np.unique(shared.codes)) < 2:
        return None
    (means,) = shared.resampled(seed, *shared.matrices)
    a, b, c = _least_squares(x, means)
    shown = np.geomspace(x.min(), x.max(), 25) if x.min() > 0 else np.linspace(0, x.max(), 25)
    curves = a[:, None] * np.log(shown + b[:, None]) + c[:, None]
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(curves[1:], tails, axis=0)
    a_low, a_high = np.quantile(a[1:], tails)
    return LogFit(
        a=float(a[0]),
        b=float(b[0]),
        c=float(c[0]),
        a_low=float(a_low),
        a_high=float(a_high),
        x=floats(shown),
        y=floats(curves[0]),
        low=floats(low),
        high=floats(high),
        n=len(shared),
        level=level,
    )


def front(costs: ArrayLike, scores: ArrayLike, clusters: Labels | None = None, *, seed: int = 0) -> Front:
    """The Pareto front of mean cost and mean score, with the share of resamples in which each cell is on it.

    Args:
        costs: Matrix: questions by cells.
        scores: Matrix of the same shape.
        clusters: The source document of each question; None: each question is its own.
        seed: Seed of the resampling, which draws the same documents for all cells.

    Raises:
        InvalidInput: Shapes that differ, or no question that all cells have.
    """
    shared = common(costs, scores, clusters=clusters)
    on = undominated(*shared.resampled(seed, *shared.matrices))
    return Front(tuple(on[0].tolist()), floats(on[1:].mean(axis=0)), len(shared), len(np.unique(shared.codes)))


def _least_squares(x: Array, means: Array) -> tuple[Array, Array, Array]:
    """The parameters for each line of means: variable projection (Golub and Pereyra, 1973) on a grid of `b`."""
    grid = np.geomspace(x[x > 0].min() / 100, 10 * x.max(), 64)
    least = np.full(len(means), np.inf)
    a, b, c = np.zeros((3, len(means)))
    for shift in grid if x.min() == 0 else [0.0, *grid]:
        at = np.log(x + shift)
        # Not np.polyfit, which takes a second for thousands of right-hand sides.
        slope, start = np.linalg.pinv(np.column_stack([at, np.ones_like(at)])) @ means.T
        misfit = ((means - slope[:, None] * at - start[:, None]) ** 2).sum(axis=1)
        less = misfit < least - 1e-15
        least[less], a[less], b[less], c[less] = misfit[less], slope[less], shift, start[less]
    return a, b, c


def undominated(cost: Array, score: Array) -> NDArray[np.bool_]:
    """The cells that no other one dominates, for each line."""
    score = score.round(12)  # as in `best`
    dominated = np.zeros(cost.shape, dtype=bool)
    for other in range(cost.shape[1]):
        c, s = cost[:, [other]], score[:, [other]]
        dominated |= (c <= cost) & (s >= score) & ((c < cost) | (s > score))
    return ~dominated
