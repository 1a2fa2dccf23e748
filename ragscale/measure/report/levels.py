"""Cells at equal cost, compared in pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations

import numpy as np

from ragscale.measure.report import phrases
from ragscale.measure.report.measured import AXES, Measured
from ragscale.measure.statistics import Comparison, Interval, compare, holm
from ragscale.measure.statistics.arrays import Array
from ragscale.view import report as view
from ragscale.view.report import Axis

__all__ = ["SPREAD", "CostLevels", "Group", "Pairs", "shown", "turned"]

SPREAD = 1.5
"""Cells without a limit are of about equal cost where none costs more than so many times the cheapest, on average."""


class Pairs:
    """Paired comparisons of the scores of any two cells, each made once.

    Args:
        scores: Matrix of questions by cells.
        clusters: Source document of each question.
        margin: Difference that is too small to matter.
        level: Confidence of the intervals.
    """

    def __init__(self, measured: Measured, margin: float, level: float) -> None:
        self.scores: Array = measured.values("f1")
        self.clusters = measured.clusters
        self.margin, self.level = margin, level
        self._made: dict[tuple[int, int], Comparison] = {}

    def of(self, first: int, second: int) -> Comparison:
        """The first cell against the second."""
        low, high = min(first, second), max(first, second)
        if (low, high) not in self._made:
            self._made[low, high] = self.over(low, high)
        found = self._made[low, high]
        return found if first == low else turned(found)

    def over(self, first: int, second: int, lines: np.typing.NDArray[np.bool_] | None = None) -> Comparison:
        """The same over some of the questions."""
        kept = np.ones(len(self.scores), dtype=bool) if lines is None else lines
        one, other = (self.scores[kept, cell] for cell in (first, second))
        return compare(one, other, self.clusters[kept], margin=self.margin, level=self.level)

    def overlap(self, first: int, second: int, lines: np.typing.NDArray[np.bool_] | None = None) -> bool:
        """Whether two cells have any question in common."""
        both = ~np.isnan(self.scores[:, [first, second]]).any(axis=1)
        return bool((both if lines is None else both & lines).any())


@dataclass(frozen=True)
class Group:
    """Cells of about equal cost, of one run and one seed: those of the core, best first, then the others."""

    axis: Axis
    limit: float | None
    """Limit of the budget; None where they are grouped by what they cost."""
    cells: list[int]
    run: int
    seed: int
    low: float
    """Least and highest mean cost."""
    high: float
    comparisons: dict[tuple[int, int], Comparison] = field(default_factory=dict)
    """Of each pair, the better one first; corrected as a family."""
    same: tuple[int, ...] = ()
    """Cells left out, as they did the same as one at a smaller budget."""

    @property
    def about(self) -> float:
        """Its cost, for the order of levels: the limit where there is one, as cells may use little of it."""
        return self.low if self.limit is None else self.limit

    @cached_property
    def label(self) -> str:
        """``up to 4,000 tokens``."""
        return phrases.at_cost(self.axis, self.limit, self.low, self.high)

    def between(self, first: int, second: int) -> Comparison | None:
        """The first cell against the second; None where they have no question in common."""
        if (first, second) in self.comparisons:
            return self.comparisons[first, second]
        found = self.comparisons.get((second, first))
        return None if found is None else turned(found)


@dataclass(frozen=True)
class CostLevels:
    """The groups of one kind of cost, cheapest first."""

    axis: Axis
    groups: list[Group]

    @classmethod
    def of(cls, measured: Measured, axis: Axis, pairs: Pairs) -> CostLevels:
        """Group the cells by their limits of a dimension; those without one by their mean cost.

        Cells of different runs and seeds are in different groups. Cells of which every question failed are in none.
        """
        found: list[Group] = []
        kinds = sorted({(measured.run[at], cell.seed) for at, cell in enumerate(measured.cells)})
        for run, seed in kinds:
            every = [at for at, cell in enumerate(measured.cells) if measured.run[at] == run and cell.seed == seed]
            mine = [at for at in every if not measured.nothing_ran(at)] or every
            limits = {at: measured.cells[at].budget[axis] for at in mine if axis in measured.cells[at].budget}
            for limit in sorted(set(limits.values())):
                found.append(_group(measured, axis, limit, [at for at in mine if limits.get(at) == limit], run, seed))
            free, same = _different(measured, [at for at in mine if at not in limits])
            for cells in _by_cost(measured, axis, free):
                found.append(replace(_group(measured, axis, None, cells, run, seed), same=same))
        compared = [replace(group, comparisons=_compared(group.cells, pairs)) for group in found]
        return cls(axis, sorted(compared, key=lambda group: (group.run, group.seed, group.about)))

    def shown(self, measured: Measured, margin: float) -> view.EqualCost | None:
        """As the page shows it; None where no two cells are of equal cost."""
        several = [group for group in self.groups if len(group.cells) > 1]
        if not several:
            return None
        tests = {found.test for group in several for found in group.comparisons.values()}
        names = {"mcnemar": "exact McNemar test", "permutation": "paired permutation test"}
        method = (
            f"Paired by question: BCa bootstrap intervals, {' and '.join(names[test] for test in sorted(tests))}, "
            "Holm's correction over all pairs of a level; documents are resampled whole."
        )
        note = []
        if any(group.limit is None for group in several):
            note.append(
                f"No limit of {phrases.unit(self.axis)} was set for some cells: they are grouped by what they cost on "
                f"average, each at most {SPREAD:g} times the cheapest of its level."
            )
        left = sorted({cell for group in several for cell in group.same})
        if left:
            keys = phrases.listing([phrases.code(measured.name(cell)) for cell in left])
            note.append(f"Left out, as they did the same as at a smaller budget: {keys}.")
        return view.EqualCost(
            axis=self.axis, levels=[_level(measured, group) for group in several], margin=margin, method=method,
            note=" ".join(note),
        )  # fmt: skip


def turned(found: Comparison) -> Comparison:
    """The comparison with its cells exchanged."""
    other = {"better": "worse", "worse": "better"}
    return replace(
        found,
        difference=_minus(found.difference),
        verdict=other.get(found.verdict, found.verdict),  # type: ignore[arg-type]
    )


def _minus(found: Interval) -> Interval:
    low, high = (None if limit is None else -limit for limit in (found.high, found.low))
    return replace(found, value=-found.value, low=low, high=high)


def _group(measured: Measured, axis: Axis, limit: float | None, cells: list[int], run: int, seed: int) -> Group:
    costs = {cell: measured.mean(AXES[axis], cell) for cell in cells}
    # means of other questions are none to go by; rounded, as equal means may differ in their last bit
    order = sorted(
        cells,
        key=lambda cell: (not measured.core[cell], -round(measured.mean("f1", cell), 12), costs[cell], cell),
    )
    return Group(axis, limit, order, run, seed, min(costs.values()), max(costs.values()))


def _different(measured: Measured, cells: Sequence[int]) -> tuple[list[int], tuple[int, ...]]:
    """The cells without those that repeat one of the same mode, such as ``once`` at ten times the budget."""
    kept: list[int] = []
    same: list[int] = []
    total, score = measured.values("total_tokens"), measured.values("f1")
    for cell in sorted(cells, key=lambda cell: sorted(measured.cells[cell].budget.items())):
        repeats = any(
            measured.cells[cell].mode == measured.cells[other].mode
            and np.array_equal(total[:, cell], total[:, other], equal_nan=True)
            and np.array_equal(score[:, cell], score[:, other], equal_nan=True)
            for other in kept
        )
        (same if repeats else kept).append(cell)
    return sorted(kept), tuple(sorted(same))


def _by_cost(measured: Measured, axis: Axis, cells: Sequence[int]) -> list[list[int]]:
    costs = {cell: measured.mean(AXES[axis], cell) for cell in cells}
    groups: list[list[int]] = []
    for cell in sorted((cell for cell in cells if not math.isnan(costs[cell])), key=costs.__getitem__):
        if groups and costs[cell] <= SPREAD * costs[groups[-1][0]]:
            groups[-1].append(cell)
        else:
            groups.append([cell])
    return groups


def _compared(cells: Sequence[int], pairs: Pairs) -> dict[tuple[int, int], Comparison]:
    chosen = [pair for pair in combinations(cells, 2) if pairs.overlap(*pair)]
    return dict(zip(chosen, holm([pairs.of(*pair) for pair in chosen]), strict=True))


def _level(measured: Measured, group: Group) -> view.Level:
    label = group.label
    if len(measured.runs) > 1:
        label = f"{measured.runs[group.run]}: {label}"
    if len(measured.seeds()) > 1:
        label = f"{label}, seed {group.seed}"
    return view.Level(
        label=label,
        cells=group.cells,
        comparisons=[shown(measured, first, second, found) for (first, second), found in group.comparisons.items()],
        reference=group.cells[0],
    )


def shown(measured: Measured, first: int, second: int, found: Comparison) -> view.ComparisonData:
    """A comparison as the page shows it."""
    return view.ComparisonData(
        first=first, second=second, difference=phrases.of(found.difference), p=found.p, verdict=found.verdict,
        needed=found.further, differ=measured.differing(first, second), same=measured.same(first, second),
    )  # fmt: skip
