"""`Rounds`: base of modes that ask several queries a round, and size each round to what the budget pays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from ragscale.modes.core.asking import CAPS, Planning
from ragscale.modes.core.costs import Cost, Costs, Forecast, Room, beside, series
from ragscale.modes.core.moves import Moves
from ragscale.modes.core.state import State
from ragscale.modes.core.widths import Schedule, Width
from ragscale.modes.sequential.notes import Aggregate
from ragscale.types import Spend

__all__ = ["Rounds"]

_FREE = Costs({"plan": [0, 0], "read": [0, 0]})
"""Costs of calls and queries without their tokens."""


@dataclass(frozen=True, kw_only=True)
class Rounds(Planning):
    """Base of modes by rounds: their parameters, what rounds cost, and how many of which width a budget pays."""

    least: ClassVar[dict[str, float]] = {**CAPS, "question_k": 0}

    k: int = 3
    """Passages retrieved a query."""
    question_k: int = 5
    """Passages retrieved for the question itself, in a round before the first turn, where `seed_question` is on."""
    rounds: int = 4
    """Most rounds of the model's queries; a turn that is answered by a notice counts as one."""
    max_queries: int = 3
    """Most queries a round, as the prompt says; with a schedule (`width`) their mean. The paper's profile ``rag-r1``
    searches for all that are written, 16 at most, where `width` is ``"free"``."""
    width: Width = "free"
    """Queries of each round: the model's choice up to `max_queries`, or as many as a schedule tells it. All schedules
    have `rounds` x `max_queries` queries, or those that the budget has: ``rounds=3, max_queries=2`` are 2, 2, 2
    (``"constant"``), 3, 2, 1 (``"descending"``) or 1, 2, 3 (``"ascending"``)."""
    aggregate: Aggregate = "none"
    """Content of the conversation for each round: its passages; a note on them, for a model call more (after
    SPARC-RAG); or a note a query, each by a call, side by side (HybridDeepSearcher). The look at the question itself
    stays as it is."""

    def cost(self, costs: Costs) -> tuple[Spend, Spend]:
        """One round of one query; `rounds` rounds of `max_queries`."""
        ends = self.ends_cost(costs)
        return ends + self._round(costs, 0, 1), ends + self._first(costs, self._schedule(Room()), self.rounds)

    def course(self, costs: Costs, room: Room) -> Forecast:
        """As many rounds as can be paid: each shows the passages of those before it."""
        plan = self._schedule(room)
        spend, rounds = room.in_turn(
            plan.rounds, self.max_queries if self.width == "free" else 0,
            lambda n: self._first(costs, plan, n), lambda n, few: self._round(costs, plan.asked(n), few),
        )  # fmt: skip
        return Forecast(spend, {"rounds": rounds})

    def next_width(self, moves: Moves, state: State, made: int) -> tuple[int, int]:
        """Queries of the turn after so many: at most, and how many it is told to ask; 0 where the model chooses.

        Raises:
            BudgetExceeded: The budget cannot pay a turn with a query: one that cannot be sent is money lost.
        """
        room, asked = moves.room, len(state["found"])
        costs = moves.costs(state) if made and self.aggregate != "none" else _FREE
        cost = partial(self._round, costs, asked)
        moves.need(cost(1))
        if self.width == "free":
            return room.most(self.max_queries, cost), 0
        plan = self._schedule(room, made, asked)
        return plan.widest, max(1, room.most(plan.width(made), cost))

    def _schedule(self, room: Room, made: int = 0, asked: int = 0) -> Schedule:
        """The widths of all rounds, of which so many were made, with so many queries, before `room` was left."""
        by_query, calls = self.aggregate == "query", room.llm_calls + self._calls(made, asked)
        in_a_row = 1 if self.aggregate == "none" else 2
        # With a note a query, the last round may have fewer of them.
        paid = (calls + self.max_queries) / (1 + self.max_queries) if by_query else calls / in_a_row
        rounds = int(min(self.rounds, made + room.rounds, made + room.serial_calls / in_a_row, paid))
        queries: float = rounds * self.max_queries
        if self.width != "free":
            queries = min(queries, asked + room.queries, calls - rounds if by_query else queries)
        return Schedule.of(self.width, rounds, int(queries))

    def _calls(self, rounds: int, asked: int) -> int:
        """Model calls of so many rounds with so many queries in all."""
        return rounds + {"none": 0, "round": rounds, "query": asked}[self.aggregate]

    def _first(self, costs: Costs, plan: Schedule, n: int) -> Cost:
        """Cost of the first `n` rounds."""
        last, asked = plan.width(n - 1), plan.asked(n)
        spend = series(self._round(costs, 0, plan.width(0)), self._round(costs, asked - last, last), n)
        return replace(spend, queries=asked, llm_calls=self._calls(n, asked))

    def _round(self, costs: Costs, asked: int, queries: int) -> Cost:
        """Cost of a turn, its queries and the notes on them; so many queries were asked before."""
        shown = asked * self.k if self.aggregate == "none" else asked
        spend = costs.plan(self.looks + shown) + costs.retrieve(queries)
        if self.aggregate == "query":
            return spend + beside(costs.read(self.k), queries)
        return spend + costs.read(queries * self.k) if self.aggregate == "round" else spend
