"""Racing: cells that are surely dominated get no further questions.

Questions come in *rungs*, the same ones in the same shuffled order for all cells. After each rung `race` drops a cell
where another one costs no more and is better by a bound that holds under any number of looks: a lower confidence limit
of the mean difference by betting (Waudby-Smith and Ramdas, J. R. Stat. Soc. B 86, 2024). It needs bounded scores and
nothing else, neither normality nor a number of rungs that is fixed in advance, so that a run can be extended at any
time. All pairs of cells share the error rate (Bonferroni): with probability 1 - alpha none is dropped by a worse one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ragscale.errors import InvalidInput
from ragscale.measure.statistics.arrays import Array, Labels, best, by_cluster, checked, labelled
from ragscale.measure.statistics.costs import undominated

__all__ = ["COSTS", "RUNGS", "Drop", "Replay", "race", "replay", "rungs"]

RUNGS = 16
"""Questions of the first rung; each further one doubles them."""

COSTS = {
    "tokens": "total_tokens", "serial_tokens": "serial_tokens", "rounds": "serial_rounds", "usd": "total_usd",
}  # fmt: skip
"""Costs that a sweep races by, and the column of `Run.rows` of each: none of them may be higher."""

_STEPS = np.linspace(0, 1, 201)[:-1]
_CAUTION = 0.75  # largest share of the wealth in one bet; the paper's c is 1/2 or 3/4


@dataclass(frozen=True, slots=True)
class Drop:
    """A cell that was dropped, with the evidence."""

    cell: str
    by: str
    """The cell that dominates it."""
    rung: int
    """Number of the look, from 1."""
    n: int
    """Questions that both had by then."""
    difference: float
    """Mean score of `by` minus that of `cell`."""
    bound: float
    """Lower confidence limit of the difference; 0 or more."""
    cost: float
    """Mean cost of `cell`, in the first dimension given."""
    cost_by: float


@dataclass(frozen=True, slots=True)
class Replay:
    """Racing replayed on a run of the full grid."""

    drops: tuple[Drop, ...]
    saved: float
    """Share of the full grid's cost, in the first dimension given, that racing would not have spent."""
    best_full: str
    """The cell with the highest mean score of the full grid; among equal ones the cheapest."""
    best_raced: str
    """The same among the cells that racing kept."""
    front_lost: tuple[str, ...]
    """Cells on the full grid's front, of any cost given, that racing dropped."""

    @property
    def same(self) -> bool:
        """Whether racing recommends the same cell."""
        return self.best_full == self.best_raced


def rungs(n: int, first: int = RUNGS) -> list[int]:
    """Numbers of questions after which to look: `first`, doubled until `n`, which is the last."""
    if first < 1:
        raise InvalidInput(f"first rung of {first} questions, the least is 1", "Give a larger first rung.")
    found = []
    while first < n:
        found.append(first)
        first *= 2
    return [*found, n] if n > 0 else []


def race(
    cells: Sequence[str],
    scores: ArrayLike,
    costs: Mapping[str, ArrayLike],
    *,
    kept: Collection[str] = (),
    dropped: Sequence[str] = (),
    clusters: Labels | None = None,
    failed: ArrayLike | None = None,
    rung: int = 1,
    alpha: float = 0.05,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> list[Drop]:
    """The cells to drop now.

    A cell is dropped where another one that is still in the race has no higher mean cost in any of `costs`, and a
    higher mean score by a lower confidence limit of 0 or more. So a cell on the front of any cost is never dropped, nor
    is one of `kept`. Questions of one document count as one observation, their mean; the limit is then that of the mean
    over documents, and the error rate is dealt out over the rungs, ``alpha / (rung * (rung + 1))`` each, as later
    questions change the means.

    Args:
        cells: Keys of all cells of the run, dropped ones included: their number corrects the error rate.
        scores: Matrix: questions, in the order in which they were run, by cells; NaN where there is none.
        costs: For each dimension (tokens, serial tokens, ...) a matrix of the same shape.
        kept: Cells that are never dropped, such as a baseline.
        dropped: Cells that were dropped before.
        clusters: The source document of each question; None: each question is its own.
        failed: Matrix of the same shape, of truths: runs that failed and will be tried again. They drop no cell: they
            count as the lowest score of the cell that dominates, and as the highest one of the cell that is dominated.
        rung: Number of this look, from 1.
        alpha: Probability that any cell is dropped by a worse one, over all looks and pairs.
        bounds: The lowest and the highest possible score.

    Returns:
        The drops, in the order of `cells`, each with the evidence of the largest bound.

    Raises:
        InvalidInput: An unknown cell, shapes that differ, no cost, a score out of `bounds`, or numbers out of range.
    """
    y, spent, labels, scale = _checked(cells, scores, costs, clusters, bounds)
    again = np.zeros(y.shape, dtype=bool) if failed is None else np.asarray(failed, dtype=bool)
    least, most = (np.where(again & ~np.isnan(y), bound, y) for bound in bounds)
    for name in {*dropped, *kept}:
        if name not in cells:
            raise InvalidInput(f"cell {name!r} is not in the race", f"Cells: {', '.join(cells)}.")
    if not 0 < alpha < 1 or rung < 1:
        raise InvalidInput(f"alpha {alpha!r}, rung {rung!r}", "Give an alpha between 0 and 1, and rungs from 1.")
    clustered = len(np.unique(labels)) < len(labels)
    error = alpha / max(1, math.comb(len(cells), 2)) / (rung * (rung + 1) if clustered else 1)
    racing = [at for at, name in enumerate(cells) if name not in dropped]
    found = []
    for at in racing:
        evidence = [
            drop
            for by in racing
            if by != at and cells[at] not in kept
            if (drop := _dominates(cells, by, at, least, most, spent, labels, scale, error, rung)) is not None
        ]
        if evidence:
            found.append(max(evidence, key=lambda drop: drop.bound))
    return found


def replay(
    cells: Sequence[str],
    scores: ArrayLike,
    costs: Mapping[str, ArrayLike],
    *,
    kept: Collection[str] = (),
    clusters: Labels | None = None,
    first: int = RUNGS,
    alpha: float = 0.05,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Replay:
    """Race on the results of a full grid, and compare with the full grid.

    Args:
        cells: Keys of the cells.
        scores: Matrix: questions, in the order in which they were run, by cells; questions that a cell lacks are left
            out for all.
        costs: For each dimension a matrix of the same shape; the first one is what racing saves.
        kept: As for `race`.
        clusters: As for `race`.
        first: Questions of the first rung.
        alpha: As for `race`.
        bounds: As for `race`.

    Raises:
        InvalidInput: No question that all cells have, or what `race` refuses.
    """
    y, spent, labels, _ = _checked(cells, scores, costs, clusters, bounds)
    whole = ~np.isnan(y).any(axis=1) & ~np.any([np.isnan(cost).any(axis=1) for cost in spent.values()], axis=0)
    if not whole.any():
        raise InvalidInput(f"no question has a value in all of {len(cells)} cells", "Replay a run of the full grid.")
    y, labels = y[whole], labels[whole]
    spent = {name: cost[whole] for name, cost in spent.items()}
    paid = next(iter(spent.values()))
    n, total = len(y), float(paid.sum())
    drops: list[Drop] = []
    ran = np.full(len(cells), n)
    for rung, seen in enumerate(rungs(n, first)[:-1], 1):
        new = race(
            cells,
            y[:seen],
            {name: cost[:seen] for name, cost in spent.items()},
            kept=kept,
            dropped=[drop.cell for drop in drops],
            clusters=labels[:seen],
            rung=rung,
            alpha=alpha,
            bounds=bounds,
        )
        ran[[cells.index(drop.cell) for drop in new]] = seen
        drops += new
    out = {drop.cell for drop in drops}
    left = [at for at, name in enumerate(cells) if name not in out]
    score, cost = y.mean(axis=0), paid.mean(axis=0)
    raced = left[int(best(cost[None, left], score[None, left])[0])]
    saved = sum(float(paid[ran[at] :, at].sum()) for at in range(len(cells)))
    fronts = np.any([undominated(one.mean(axis=0)[None], score[None])[0] for one in spent.values()], axis=0)
    return Replay(
        drops=tuple(drops),
        saved=saved / total if total else 0.0,
        best_full=cells[int(best(cost[None], score[None])[0])],
        best_raced=cells[raced],
        front_lost=tuple(name for name, on in zip(cells, fronts, strict=True) if on and name in out),
    )


def _dominates(
    cells: Sequence[str],
    by: int,
    at: int,
    least: Array,
    most: Array,
    spent: dict[str, Array],
    labels: NDArray[Any],
    scale: float,
    error: float,
    rung: int,
) -> Drop | None:
    """The evidence that one cell dominates another; None where there is not enough."""
    pair = [by, at]
    both = ~np.isnan(least[:, pair]).any(axis=1)
    for cost in spent.values():
        both &= ~np.isnan(cost[:, pair]).any(axis=1)
    if not both.any():
        return None
    means = [cost[both][:, pair].mean(axis=0) for cost in spent.values()]
    d = (least[both, by] - most[both, at]) / scale
    if any(mean[0] > mean[1] for mean in means) or d.mean() <= 0:
        return None
    bound = _lower_limit(_by_appearance(d, labels[both]), error)
    if bound is None:
        return None
    return Drop(
        cell=cells[at],
        by=cells[by],
        rung=rung,
        n=int(both.sum()),
        difference=float(d.mean() * scale),
        bound=bound * scale,
        cost=float(means[0][1]),
        cost_by=float(means[0][0]),
    )


def _by_appearance(d: Array, labels: NDArray[Any]) -> Array:
    """Means over each document, in the order in which the documents came.

    The order must not change when questions are added: the bets on the first ones stand.
    """
    _, start, codes = np.unique(labels, return_index=True, return_inverse=True)
    sums, sizes = by_cluster(d, codes)
    means: Array = (sums / sizes)[np.argsort(start)]
    return means


def _lower_limit(units: Array, error: float) -> float | None:
    """Lower confidence limit of the mean of values in [-1, 1], at any time; None where it is below 0.

    A bettor against "the mean is at most m" multiplies his wealth by ``1 + bet * (x - m)``. Were it true, the wealth
    would ever reach 1 / error with probability `error` at most (Ville's inequality), so the limit is the largest m that
    was beaten. Bets are the paper's predictable plug-in: each depends on the values before it.
    """
    x = (units + 1) / 2
    t = np.arange(1, len(x) + 1)
    mean = (0.5 + np.cumsum(x)) / (t + 1)
    variance = np.concatenate([[0.25], (0.25 + np.cumsum((x - mean) ** 2)) / (t + 1)])[:-1]
    bets = np.sqrt(2 * math.log(1 / error) / (variance * t * np.log1p(t)))
    beaten = None
    for step in _STEPS:
        m = (step + 1) / 2
        wealth = np.cumsum(np.log1p(np.minimum(bets, _CAUTION / m) * (x - m)))
        if wealth.max() < math.log(1 / error):
            break
        beaten = float(step)
    return beaten


def _checked(
    cells: Sequence[str],
    scores: ArrayLike,
    costs: Mapping[str, ArrayLike],
    clusters: Labels | None,
    bounds: tuple[float, float],
) -> tuple[Array, dict[str, Array], NDArray[Any], float]:
    y = checked(scores, bounds)
    spent = {name: checked(cost) for name, cost in costs.items()}
    shapes = {name: cost.shape for name, cost in spent.items()}
    if not spent or y.ndim != 2 or y.shape[1] != len(cells) or any(shape != y.shape for shape in shapes.values()):
        raise InvalidInput(
            f"scores {y.shape} of {len(cells)} cells with costs {shapes}",
            "Give scores and at least one cost as matrices: questions by cells.",
        )
    if len(set(cells)) < len(cells):
        raise InvalidInput("a cell is given twice", "Give each once.")
    return y, spent, labelled("clusters", clusters, len(y)), bounds[1] - bounds[0]
