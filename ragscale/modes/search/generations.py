"""`Generations`: base of evolutions, with as many islands and as wide turns as the budget pays."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

from ragscale.modes.core.asking import Planning
from ragscale.modes.core.costs import Cost, Costs, Forecast, Room, beside, series
from ragscale.modes.core.moves import Moves
from ragscale.types import Spend

__all__ = ["Generations", "TurnPosition"]

_FIRST = Spend(llm_calls=2, prompt_tokens=800, queries=1, rounds=1)
"""Least that a first candidate is tried with: its passages may be short."""


class TurnPosition(NamedTuple):
    """Position of a turn in the search."""

    generation: int
    island: int
    turn: int


@dataclass(frozen=True, kw_only=True)
class Generations(Planning):
    """Base of evolutions: their parameters, their turns in order, what these cost, and the widths that are paid for.

    Turns are numbered from 0 on: in each generation those of one island after the other. In each, conversations side by
    side have a child each. A budget has fewer islands, then conversations, and ends after any turn.
    """

    plan_tokens: int = 0
    """Most tokens of a draft; 0: as the profile says."""
    generations: int = 3
    """The first one, of drafts, included."""
    islands: int = 2
    """Populations that evolve apart, but for emigrants."""
    conversations: int = 2
    """Side by side, on each island and in each generation."""
    turns: int = 2
    """Children of a conversation, one after the other."""
    parents: int = 2
    """Most parents of a conversation's first child."""
    emigrants: int = 2
    """Cloned into the next island after each turn of an island."""
    reset: int = 3
    """Generations after which the worst islands are refilled, again and again; 0 for never."""
    reset_islands: int = 1
    """Islands that are refilled; one island stays at least."""
    elites: int = 6
    """The best of all islands, from which those that refill them are picked."""
    refill: int = 2
    """Plans that refill an island."""

    @abstractmethod
    def child_cost(self, costs: Costs) -> Cost:
        """Expected cost of a child and its evaluation."""

    def reset_cost(self, costs: Costs) -> Spend:
        """Expected cost of a reset: a pick, or nothing where all elites refill the islands."""
        return costs.score() if self.elites > self.refill else Spend()

    @property
    def closes(self) -> bool:
        """False: the fittest one's answer is the run's."""
        return False

    def cost(self, costs: Costs) -> tuple[Spend, Spend]:
        """One candidate; all generations."""
        look = self.look_cost(costs)
        return look + self.child_cost(costs), look + self._whole(costs)

    def course(self, costs: Costs, room: Room) -> Forecast:
        """Turn by turn, as the evaluator is never satisfied. What is kept for a closing answer is spent once a child
        has an answer."""
        first, whole = room.less(costs.kept(self.context, room.path_tokens)), self._whole(costs)
        if not first.pays(_FIRST):
            return Forecast(room.within(costs.answer(min(self.context, self.looks))), {"candidates": 0})
        if first.pays(whole):
            return Forecast(whole, {"islands": self.islands, "candidates": self.all_turns * self.conversations})
        paid, spend, born, width = self._narrowed(costs, first), Cost(), 0, 0
        for turn in range(paid.all_turns):
            spend += self.reset_cost(costs) if paid.resets(turn) else Spend()
            width = paid.wide(costs, (room if born else first).less(spend), turn, width, born)
            if not width:
                break
            spend, born = spend + beside(self.child_cost(costs), width), born + width
        return Forecast(room.within(spend), {"islands": paid.islands, "candidates": born})

    @property
    def all_turns(self) -> int:
        """Number of turns."""
        return self.generations * self.islands * self.turns

    def at(self, turn: int) -> TurnPosition:
        """Position of a turn."""
        before, at = divmod(turn, self.turns)
        return TurnPosition(*divmod(before, self.islands), at)

    def resets(self, turn: int) -> bool:
        """Whether the worst islands are refilled before a turn: where every `reset` generations are over, but not
        after the last one."""
        generation, island, at = self.at(turn)
        due = self.reset and not (island or at or generation % self.reset)
        return bool(due and self.islands > 1 and 0 < generation < self.generations)

    def begun(self, moves: Moves, costs: Costs) -> Self:
        """The same with as many islands as what is left pays for.

        Raises:
            BudgetExceeded: Not even a first candidate can be tried.
        """
        moves.need(_FIRST)
        paid = self._narrowed(costs, moves.room)
        if paid.islands < self.islands:
            moves.note("select", f"{paid.islands} of {self.islands} islands", status="narrowed")
        return paid

    def wide(self, costs: Costs, room: Room, turn: int, before: int, born: int) -> int:
        """Conversations of a turn that `room` pays for; 0 behind the last turn.

        In the first turn of conversations as many as it pays to their end, in further ones at most those that took the
        turn before (`before`); one at least while no child is `born`.
        """
        if turn >= self.all_turns:
            return 0
        most, turns = (before, 1) if turn % self.turns else (self.conversations, self.turns)
        paid = room.branches(self.child_cost(costs), most * turns)
        return max(min(paid, max(1, paid // turns)), 0 if born else 1)

    def layers(self, costs: Costs, room: Room, turn: int, width: int) -> int:
        """Turns of that width that `room` is to be shared by, this one and those to come: as many as it pays."""
        return room.layers(beside(self.child_cost(costs), width), self.all_turns - turn)

    def _narrowed(self, costs: Costs, room: Room) -> Self:
        """The same with as many islands as `room` pays for a generation of; one at least."""
        paid = room.times(beside(self.child_cost(costs), self.conversations * self.turns))
        return replace(self, islands=int(max(1, min(self.islands, paid))))

    def _whole(self, costs: Costs) -> Cost:
        """Expected cost of all turns in full."""
        turn, pick = beside(self.child_cost(costs), self.conversations), self.reset_cost(costs)
        resets = (self.generations - 1) // self.reset if self.reset and self.islands > 1 else 0
        return series(turn, turn, self.all_turns) + series(pick, pick, resets)
