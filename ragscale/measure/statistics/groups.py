"""`interaction` and `strata`: whether the best mode depends on the question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ragscale.errors import InvalidInput
from ragscale.measure.statistics.arrays import (
    RESAMPLES,
    Array,
    Bounds,
    Codes,
    Common,
    Labels,
    batch,
    best,
    by_cluster,
    check_level,
    common,
    labelled,
    ordered,
)
from ragscale.measure.statistics.intervals import Interval, interval

__all__ = ["Interaction", "Stratum", "interaction", "strata"]


@dataclass(frozen=True, slots=True)
class Interaction:
    """The test whether the differences between cells depend on a property of the questions."""

    p: float
    """By permutation, of differences that are the same in every group."""
    groups: tuple[Any, ...]
    gains: tuple[Interval, ...] | None
    """For each cell but the first: the change of its lead over the first cell for each unit of the property (a hop), by
    least squares; None where the property is not a number."""
    n: int
    """Questions."""
    clusters: int
    """Source documents."""


@dataclass(frozen=True, slots=True)
class Stratum:
    """The scores of all cells on one group of questions."""

    group: Any
    scores: tuple[Interval, ...]
    """A value for each cell."""
    best: int
    """Column of the highest mean; among equal ones the cheapest, then the first."""
    sure: float
    """Share of bootstrap resamples in which `best` is the best."""
    n: int
    """Questions."""
    clusters: int
    """Source documents."""


def interaction(
    scores: ArrayLike,
    groups: Labels,
    clusters: Labels | None = None,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> Interaction | None:
    """Test whether the differences between cells depend on a property of the questions, such as their hops.

    Each score is taken relative to the question's mean over the cells; the statistic is the variance of the groups'
    means. Without interaction the groups can be permuted among the questions, those of one document and group as a
    block. Wald's test of the regression is not used: at 20 questions and six modes it rejects 60 % of true hypotheses.

    Args:
        scores: Matrix: questions by cells.
        groups: The property of each question; None: the question is left out.
        clusters: The source document of each question; None: each question is its own.
        level: Level of the intervals of `Interaction.gains`.
        seed: Seed of the permutation.

    Returns:
        The test; None for fewer than two cells, two groups, or four blocks of questions to permute.

    Raises:
        InvalidInput: Lengths that differ, no question that all cells have, or a level out of (0, 1).
    """
    from scipy.stats import permutation_test

    check_level(level)
    shared, of = _grouped(groups, clusters, scores)
    names = ordered(of)
    known = np.array([name in names for name in of], dtype=bool)
    y, of, codes = shared.matrices[0][known], of[known], shared.codes[known]
    if y.shape[1] < 2 or len(names) < 2:
        return None
    group = np.array([names.index(name) for name in of])
    blocks, block = np.unique(np.column_stack([codes, group]), axis=0, return_inverse=True)
    if len(blocks) < 4:
        return None
    profile, sizes = by_cluster(y - y.mean(axis=1, keepdims=True), block.ravel())

    def variance(labels: Codes, axis: int = -1) -> Array:
        member = (labels[..., None] == np.arange(len(names))).astype(float)
        number = np.einsum("...bg,b->...g", member, sizes)
        total = np.einsum("...bg,bc->...gc", member, profile)
        found: Array = (total**2 / number[..., None]).sum(axis=(-2, -1))
        return found

    tested = permutation_test(
        (blocks[:, 1],),
        variance,
        permutation_type="pairings",
        alternative="greater",
        vectorized=True,
        n_resamples=RESAMPLES - 1,
        batch=batch(len(blocks) * len(names)),
        rng=np.random.default_rng(seed),
    )
    gains = None
    if all(isinstance(name, int | float | np.number) and not isinstance(name, bool) for name in names):
        steps = of.astype(float)
        gains = tuple(_slope(y[:, at] - y[:, 0], steps, codes, level) for at in range(1, y.shape[1]))
    return Interaction(float(tested.pvalue), tuple(names), gains, len(y), len(np.unique(codes)))


def strata(
    costs: ArrayLike,
    scores: ArrayLike,
    groups: Labels,
    clusters: Labels | None = None,
    *,
    bounds: Bounds = (0.0, 1.0),
    level: float = 0.95,
    seed: int = 0,
) -> list[Stratum]:
    """The scores of all cells on each group of questions, and the best cell of the group.

    The best one is chosen on these questions: `choose` tells what the choice is worth on others.

    Args:
        costs: Matrix: questions by cells; decides between equal scores.
        scores: Matrix of the same shape.
        groups: The group of each question; None: the question is left out.
        clusters: The source document of each question; None: each question is its own.
        bounds: The lowest and the highest possible score.
        level: Level of the intervals.
        seed: Seed of the resampling.

    Returns:
        The groups in order; those without a question that all cells have are left out.

    Raises:
        InvalidInput: Lengths that differ, no question that all cells have, a score out of `bounds`, or a level out of
            (0, 1).
    """
    check_level(level)
    shared, of = _grouped(groups, clusters, costs, scores)
    found = []
    for name in ordered(of):
        member = np.array([label == name for label in of])
        cost, y = (x[member] for x in shared.matrices)
        part = common(cost, y, clusters=shared.codes[member])
        picks = best(*part.resampled(seed, cost, y))
        found.append(
            Stratum(
                group=name,
                scores=tuple(interval(one, part.codes, bounds=bounds, level=level, seed=seed) for one in y.T),
                best=int(picks[0]),
                sure=float((picks[1:] == picks[0]).mean()),
                n=len(part),
                clusters=len(np.unique(part.codes)),
            )
        )
    return found


def _grouped(groups: Labels, clusters: Labels | None, *matrices: ArrayLike) -> tuple[Common, Any]:
    """The questions in common, and the group of each."""
    shared = common(*matrices, clusters=clusters)
    if groups is None:
        raise InvalidInput("groups is None", "Give the group of each question.")
    return shared, labelled("groups", groups, len(shared.kept))[shared.kept]


def _slope(lead: Array, steps: Array, codes: Codes, level: float) -> Interval:
    """The change of `lead` for each step, by least squares; standard errors over documents.

    They are corrected for few documents (HC3; for clusters Mancl and DeRouen, Biometrics 57, 2001), and t has two
    degrees of freedom fewer than there are documents.
    """
    from scipy.stats import t
    from statsmodels.genmod.generalized_estimating_equations import GEE
    from statsmodels.regression.linear_model import OLS

    n, clusters = len(lead), len(np.unique(codes))
    design = np.column_stack([np.ones(n), steps])
    least_squares = OLS(lead, design)
    line = least_squares.fit()
    value = float(line.params[1])
    # The error of a slope is not known where it hangs on one document: all others are of one step.
    hangs = any(len(np.unique(codes[steps != step])) < 2 for step in np.unique(steps))
    exact = bool(np.abs(line.resid).max() < 1e-9)  # as of two modes that tie on all questions: nothing varies
    if clusters < 4 or hangs or exact:
        return Interval(value, None, None, n, clusters, level, "none")
    if clusters < n:
        error = float(GEE(lead, design, groups=codes).fit(cov_type="bias_reduced").bse[1])
    else:
        error = float(least_squares.fit(cov_type="HC3").bse[1])
    if not error >= 1e-12:  # nor a number
        return Interval(value, None, None, n, clusters, level, "none")
    half = float(t.ppf((1 + level) / 2, clusters - 2)) * error
    return Interval(value, value - half, value + half, n, clusters, level, "t")
