"""`Branching`: base of modes whose rounds are branches side by side, as deep and as wide as the budget pays."""

from __future__ import annotations

from dataclasses import dataclass

from ragscale.modes.core.asking import Planning
from ragscale.modes.core.costs import Cost, Costs, Forecast, Room, beside, series
from ragscale.modes.core.moves import Moves
from ragscale.types import Spend

__all__ = ["Branching"]

_FIRST = Cost.of(Spend(llm_calls=4, prompt_tokens=900, queries=1, rounds=1))
"""Least that a first round is tried with: its passages may be short, and a note is written from those that fit."""


@dataclass(frozen=True, kw_only=True)
class Branching(Planning):
    """Base of modes by rounds of branches: depth and width, what a round costs, and how wide it can be paid."""

    width: int = 2
    """Queries a round, each in a branch of its own (W)."""
    rounds: int = 6
    """Most rounds (D; 6 for 7B models, 8 for 32B in the paper)."""

    @property
    def closes(self) -> bool:
        """False: the answer is a branch's; a closing answer is written only where there is none."""
        return False

    def ends_cost(self, costs: Costs) -> Spend:
        """Nothing: there is neither a look nor, where all goes well, a closing answer."""
        return Spend()

    def cost(self, costs: Costs) -> tuple[Spend, Spend]:
        """A round of one branch; `rounds` rounds of `width`."""
        first, later = self._round(costs, self.width), self.next_cost(costs, self.width, self.width)
        return self._round(costs, 1), first + series(later, later, self.rounds - 1)

    def course(self, costs: Costs, room: Room) -> Forecast:
        """Round by round, each as wide as it may be; the closing answer where not even one branch fits.

        Once there is an answer, nothing is kept for a closing one.
        """
        first = wide = self._widest(costs, room.less(costs.kept(self.context, room.path_tokens)), first=True)
        spend, done, following = Cost(), 0, self._round(costs, first)
        while wide and done < self.rounds:
            spend, done = spend + following, done + 1
            if wide == self.width:  # all others of full width at once: there may be any number of them
                full = self.next_cost(costs, wide, wide)
                more = int(min(self.rounds - done, room.less(spend).turns(full)))
                spend, done = spend + series(full, full, more), done + more
            before, wide = wide, self._widest(costs, room.less(spend + self._merge(costs, wide)))
            following = self.next_cost(costs, before, wide)
        if done:
            return Forecast(room.within(spend), {"rounds": done, "width": first})
        look = costs.retrieve() if room.pays(costs.retrieve()) else Cost()
        return Forecast(look + room.within(costs.answer(self.k if look.queries else 0)), {"rounds": 0})

    def next_width(self, moves: Moves, costs: Costs, *, first: bool) -> int:
        """Branches of the next round that what is left pays, `width` at most.

        Raises:
            BudgetExceeded: Not even one can be paid.
        """
        wide = self._widest(costs, moves.room, first=first)
        if not wide:  # this tells which limit it would pass
            moves.need(_FIRST if first else self._round(costs, 1))
        return wide

    def next_cost(self, costs: Costs, before: int, wide: int) -> Cost:
        """Cost of merging the notes of a round of `before` branches, and of a round after it."""
        return self._merge(costs, before) + self._round(costs, wide)

    def _widest(self, costs: Costs, room: Room, *, first: bool = False) -> int:
        """Branches of a round that `room` pays, `width` at most; 0 for none."""
        wide = room.most(self.width, lambda wide: self._round(costs, wide))
        return wide or int(first and room.pays(_FIRST))

    def _round(self, costs: Costs, wide: int) -> Cost:
        """Cost of a round: its queries, its branches, and the choice of the best."""
        each = costs.retrieve() + costs.read(self.k) + costs.answer(0) + costs.score()
        return costs.plan() + beside(each, wide) + (costs.score() if wide > 1 else Cost())

    def _merge(self, costs: Costs, wide: int) -> Cost:
        """Cost of merging the notes of a round: about that of reading a passage for each."""
        return costs.read(wide) if wide > 1 else Cost()
