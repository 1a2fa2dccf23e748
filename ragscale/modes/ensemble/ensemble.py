"""`Ensemble`: several runs of one mode side by side, and a decision among their outcomes."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from langgraph.graph import END, START
from langgraph.types import Send

from ragscale.modes.core.costs import Costs, Forecast, Room, beside
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.inner import inner_run
from ragscale.modes.core.mode import Mode
from ragscale.modes.core.moves import Moves, share
from ragscale.modes.core.nesting import Nesting
from ragscale.modes.core.nodes import node, send, unless_stopped
from ragscale.modes.core.state import Outcome, State, Update
from ragscale.modes.core.voting import stopped
from ragscale.modes.sequential.chain import Chain
from ragscale.types import Spend

__all__ = ["Ensemble"]


class _EnsembleState(State, total=False):
    members: int
    """Members that the budget pays for."""


@dataclass(frozen=True, kw_only=True)
class Ensemble(Nesting):
    """Base of modes that run `of` several times side by side and decide among the outcomes.

    The question itself is looked up once for all members. The first member runs as `of` would alone; the others plan
    and answer at `temperature` at least. Seeds differ by the members' names, so members differ and repeat exactly.
    Where the budget cannot pay the least that `of` needs (`Mode.cost`) `n` times, there are fewer members, one at
    least; each gets an equal share of what is left in every dimension.
    """

    most: ClassVar[dict[str, float]] = {"n": 256}  # each member is a subgraph: more take seconds to start

    of: Mode = field(default_factory=Chain)
    """The mode of the members, ensembles included: an object, or the text of one, as in ``"chain(steps=3)"``."""
    n: int = 4
    """Members; 256 at most."""
    temperature: float = 0.7
    """Least temperature of the planning and closing moves of all members but the first."""

    @abstractmethod
    async def decide(self, moves: Moves, state: State, outcomes: list[Outcome]) -> Update:
        """The state's ``text`` and ``citations``; or without them ``chain``, ``known`` and ``found``, from which the
        closing answer is then written. `outcomes` are those of members that have anything, in their order."""

    def cost(self, costs: Costs) -> tuple[Spend, Spend]:
        """One member at its least; `n` members in full. The closing answer comes on top where members write none."""
        ends = self.ends_cost(costs) if self.closes else self.look_cost(costs)
        least, full = self.inner_cost(costs)
        return ends + least, ends + beside(full, self.n)

    def course(self, costs: Costs, room: Room) -> Forecast:
        """As many members as the budget pays for."""
        members = self._members(costs, room)
        score = self.score_cost(costs) if members > 1 else Spend()
        each = self.of.forecast(costs, room.dealt(members).less(score), looked=True, answers=self.members_answer)
        return Forecast(beside(each.spend + score, members), {"members": members, "each": each.shape})

    def graph(self) -> ModeGraph:
        """look -> deal -> member x n -> decide -> (answer)."""
        graph = ModeGraph(_EnsembleState, self.asks)
        if self.looks:
            graph.add_node("look", self.looking(self.looks))
            graph.add_conditional_edges("look", unless_stopped("deal"), ["deal", "answer"])
        graph.add_node("deal", node(self._deal))
        graph.add_node("member", inner_run(self.of, answers=self.members_answer, scorer=self.scoring))
        graph.add_node("decide", node(self._decide))
        graph.add_node("answer", self.closing())
        graph.add_edge(START, "look" if self.looks else "deal")
        graph.add_conditional_edges("deal", self._to_members, ["member", "answer"])
        graph.add_edge("member", "decide")
        graph.add_conditional_edges("decide", self._unless_answered, ["answer", END])
        graph.add_edge("answer", END)
        return graph

    async def _deal(self, moves: Moves, state: State) -> Update:
        """Share what is left among as many members as it pays for."""
        costs = Costs.of(state, samples=moves.context.capabilities.samples)
        if not self.closes:
            moves.give_up_closing()
        members = self._members(costs, Room.of(moves.ledger, moves.clock))
        if members < self.n:
            moves.note("select", f"{members} of {self.n} members", status="narrowed")
        part = share(moves.ledger, members, moves.clock)
        held = {} if self.closes else {"held": 0}
        return {"part": part, "typical": costs.means, "members": members, **held}

    async def _to_members(self, state: _EnsembleState) -> list[Send] | str:
        if state["stop"]:
            return "answer"
        return [
            send("member", state, str(i), temperature=self.temperature if i else 0.0, scored=state["members"] > 1)
            for i in range(state["members"])
        ]

    async def _decide(self, moves: Moves, state: State) -> Update:
        outcomes = state["outcomes"]
        some = [outcome for outcome in outcomes if outcome["text"] or outcome["chain"] or outcome["passages"]]
        update = await self.decide(moves, state, some) if some else {}
        return {**stopped(outcomes), **update}

    def _members(self, costs: Costs, room: Room) -> int:
        """Members that `room` pays for; one at least."""
        least, _ = self.inner_cost(costs)
        return int(max(1, min(self.n, room.times(least))))
