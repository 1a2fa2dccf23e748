"""`Levels`: base of searches that sizes each level to what the budget pays, before any of it is spent."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from ragscale.modes.core.asking import Stepwise
from ragscale.modes.core.costs import Costs, Forecast, Room, beside, series
from ragscale.modes.core.moves import Moves
from ragscale.types import Spend

__all__ = ["Levels", "Shape"]


class Shape(NamedTuple):
    """Size of a level, as far as the budget pays for it."""

    expand: int
    """Children of each chain."""
    rollouts: int
    """Scores a child, each after a rollout of its own; 0 with a single child, which needs no score."""
    depth: int
    """Further steps a rollout."""
    k: int
    """Passages read a sub-query."""


@dataclass(frozen=True, kw_only=True)
class Levels(Stepwise):
    """Base of searches by levels: their parameters, what a level of each shape costs, and the shape that is paid for.

    A level that the budget cannot pay is made narrower: first look-ahead, then children, passages and chains, down to
    a greedy step of one chain.
    """

    most: ClassVar[dict[str, float]] = {"beam": 256}

    steps: int = 3
    """Longest chain (L): levels."""
    beam: int = 2
    """Chains kept after each level (b)."""
    expand: int = 3
    """Children of each chain (E)."""
    samples: int = 4
    """Sub-queries sampled to find `expand` distinct ones."""
    temperature: float = 0.7
    """Of sampled sub-queries."""

    @abstractmethod
    def score_cost(self, costs: Costs, shape: Shape) -> Spend:
        """Expected cost of all scores of one child."""

    def propose_cost(self, costs: Costs, expand: int) -> Spend:
        """Expected cost of sub-queries for one chain."""
        return costs.plan(min(self.plan_k, self.looks), self._drawn(expand))

    def compare_cost(self, costs: Costs, children: int) -> Spend:
        """Expected cost of a comparison of so many children, beside their scores."""
        return Spend()

    def cost(self, costs: Costs) -> tuple[Spend, Spend]:
        """Two greedy levels, as one is a search by another query; `steps` levels in full."""
        ends, thin = self.ends_cost(costs), self._cost(self._thin, costs)
        return ends + series(thin, thin, min(2, self.steps)), ends + self._levels(costs)

    def course(self, costs: Costs, room: Room) -> Forecast:
        """Level by level, each as wide as it may be."""
        full = self._levels(costs)
        if room.pays(full):
            widest = self._full(min(self.deepest, self.steps - 1))
            return Forecast(full, {"levels": self.steps, "first": widest._asdict()})
        spend, levels, chains, first = Spend(), 0, 1, dict[str, Any]()
        while levels < self.steps:
            left = room.less(spend)
            chains = self._chains(costs, left, self.steps - levels, chains)
            shape = self._widest(costs, left, self.steps - levels, chains)
            if shape is None:
                break
            first = first or {"first": shape._asdict()}
            spend, levels = spend + self._cost(shape, costs, chains), levels + 1
            chains = min(self.beam, chains * shape.expand)
        return Forecast(spend, {"levels": levels, **first})

    def _shape(self, moves: Moves, costs: Costs, room: Room, levels: int, chains: int = 1) -> Shape:
        """The widest level that leaves enough for one greedy level after it, with so many levels to go.

        Raises:
            BudgetExceeded: Not even a greedy level fits.
        """
        found = self._widest(costs, room, levels, chains)
        if found is not None:
            return found
        # Half a level is money lost. This tells which limit it would pass.
        moves.need(self._cost(self._thin, costs))
        return self._thin

    def _chains(self, costs: Costs, room: Room, levels: int, most: int) -> int:
        """Chains that `room` pays two children each for, with so many levels to go; one at least."""
        narrow, later = Shape(2, 1, 0, min(self.k, 3)), self._later(costs, levels)
        fitting = range(most, 1, -1) if self.expand > 1 else range(0)
        at = bisect_left(fitting, True, key=lambda n: room.pays(self._cost(narrow, costs, n) + later))
        return fitting[at] if at < len(fitting) else 1

    def _widest(self, costs: Costs, room: Room, levels: int, chains: int = 1) -> Shape | None:
        """Widest level of so many chains that `room` pays for; None where not even a greedy one fits.

        Less depth and fewer children cost less, so the first that fits is found without trying every one.
        """
        few, thin, later = min(self.k, 3), self._cost(self._thin, costs), self._later(costs, levels)

        def fits(shape: Shape) -> bool:
            return room.pays(self._cost(shape, costs, chains) + later)

        def first(sizes: range, shape: Callable[[int], Shape]) -> Shape | None:
            at = bisect_left(sizes, True, key=lambda size: fits(shape(size)))
            return shape(sizes[at]) if at < len(sizes) else None

        depths, widths = range(min(self.deepest, levels - 1), -1, -1), range(self.expand, 1, -1)
        return (
            first(depths, self._full)
            or first(widths, lambda expand: Shape(expand, 1, 0, self.k))
            or first(widths, lambda expand: Shape(expand, 1, 0, few))
            or next((shape for shape in (Shape(1, 0, 0, self.k), Shape(1, 0, 0, few)) if fits(shape)), None)
            or (self._thin if room.pays(thin) else None)
        )

    def _later(self, costs: Costs, levels: int) -> Spend:
        """Cost of one greedy level after the next; nothing where that is the last."""
        return self._cost(self._thin, costs) if levels > 1 else Spend()

    @property
    def deepest(self) -> int:
        """Further steps of a rollout at most."""
        return 0

    @property
    def _thin(self) -> Shape:
        """The least level."""
        return Shape(1, 0, 0, min(self.k, 2))

    def _full(self, depth: int) -> Shape:
        """A level with all children."""
        return Shape(self.expand, 1, depth, self.k)

    def _levels(self, costs: Costs) -> Spend:
        """All levels in full: rollouts look ahead less and less as `steps` comes near, and not at all in the last."""
        spend, chains, left = Spend(), 1, self.steps
        while left and chains < self.beam and self.expand > 1:  # the beam fills up
            spend += self._cost(self._full(min(self.deepest, left - 1)), costs, chains)
            chains, left = min(self.beam, chains * self.expand), left - 1
        if not left:
            return spend
        deepest = min(self.deepest, left - 1)
        most, least = [self._cost(self._full(depth), costs, chains) for depth in (deepest, min(deepest, 1))]
        last = self._cost(self._full(0), costs, chains)
        return spend + series(most, most, left - 1 - deepest) + series(most, least, deepest) + last

    def _drawn(self, expand: int) -> int:
        """Sub-queries to sample for so many children: as many more as the parameters have."""
        return 1 if expand == 1 else expand + max(0, self.samples - self.expand)

    def _cost(self, shape: Shape, costs: Costs, chains: int = 1) -> Spend:
        """A level of that shape, for so many chains."""
        score = self.score_cost(costs, shape) if shape.expand > 1 else Spend()
        each = self.propose_cost(costs, shape.expand) + beside(costs.step(shape.k) + score, shape.expand)
        children = chains * shape.expand
        return beside(each, chains) + (self.compare_cost(costs, children) if children > 1 else Spend())
