"""`Ensemble`: several runs of one mode side by side, and a decision among their outcomes."""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Annotated, Any, ClassVar

from langgraph.graph import END
from langgraph.types import Send

from ragscale.modes.core.costs import Cost, Costs, Forecast, Room, beside
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.inner import inner_run
from ragscale.modes.core.mode import Mode
from ragscale.modes.core.moves import Moves, share
from ragscale.modes.core.nesting import Nesting
from ragscale.modes.core.nodes import node, send
from ragscale.modes.core.state import Outcome, State, Update
from ragscale.modes.core.voting import stopped
from ragscale.modes.sequential.chain import Chain
from ragscale.types import Spend

__all__ = ["Ensemble", "EnsembleState", "batches", "some"]


class EnsembleState(State, total=False):
    """State of an ensemble."""

    members: int
    """Members of the batch that is about to run; 0 where no further one is wanted, or paid for."""
    sizes: Annotated[list[int], operator.add]
    """Members of each batch so far, in the order of ``outcomes``."""
    scored: bool
    """Whether they are scored: a single member has nothing to be compared with."""


@dataclass(frozen=True, kw_only=True)
class Ensemble(Nesting):
    """Base of modes that run `of` several times side by side and decide among the outcomes.

    The question itself is looked up once for all members. The first member runs as `of` would alone; the others plan
    and answer at `temperature` at least. Seeds differ by the members' names, so members differ and repeat exactly.
    Where the budget cannot pay the least that `of` needs (`inner_cost`) `n` times, there are fewer members, one at
    least: few that end on whole passages, sooner than many that are cut off. Each gets an equal share of what is left
    in every dimension. Members may run in batches (`further`): they have equal shares in all of them.
    """

    most: ClassVar[dict[str, float]] = {"n": 256}  # each member is a subgraph: more take seconds to start

    of: Mode = field(default_factory=Chain)
    """The mode of the members, ensembles included: an object, or the text of one, as in ``"chain(steps=3)"``."""
    n: int = 4
    """Members; 256 at most."""
    temperature: float = 0.7
    """Least temperature of the planning and closing moves of all members but the first."""

    @property
    def several(self) -> bool:
        """Whether `n` is more than one."""
        return self.n > 1

    @abstractmethod
    async def decide(self, moves: Moves, state: EnsembleState, outcomes: list[Outcome]) -> Update:
        """The state's ``text`` and ``citations``; or without them ``chain``, ``known`` and ``found``, from which the
        closing answer is then written. `outcomes` are those of members that have anything, in their order."""

    def batch(self, done: Sequence[int]) -> int:
        """Members of the next batch in full, after batches of so many."""
        return self.n

    def further(self, done: Sequence[int]) -> int:
        """Batches that are still to come in full, after batches of so many."""
        return 0 if done else 1

    async def goes_on(self, moves: Moves, state: EnsembleState) -> bool:
        """Whether another batch is wanted, now that at least one is done."""
        return bool(self.further(state["sizes"]))

    def given(self, state: EnsembleState) -> dict[str, Any]:
        """Further values of the state that the members of the next batch start from."""
        return {}

    def cost(self, costs: Costs) -> tuple[Spend, Spend]:
        """One member at its least; all members in full. The closing answer comes on top where members write none."""
        ends = self.ends_cost(costs) if self.closes else self.look_cost(costs)
        least, full = self.inner_cost(costs)
        return ends + least, ends + sum((beside(full, size) for size in self._to_come([])), Cost())

    def course(self, costs: Costs, room: Room) -> Forecast:
        """As many members as the budget pays for, batch by batch."""
        spend, done, each = Spend(), list[int](), Forecast(Spend(), {})
        part, shape = None, dict[str, Any]()
        while self.further(done):
            left = room.less(spend)
            members, turns, runs = self._size(costs, left, done)
            if not members:
                break
            score = self.score_cost(costs) if done or runs > 1 else Spend()
            if (dealt := left.dealt(members, turns, runs).less(score)) != part:  # equal ones, where nothing limits them
                part, each = dealt, self.of.forecast(costs, dealt, looked=True, answers=self.members_answer)
            spend += beside(each.spend + score, members)
            done.append(members)
            shape = shape or each.shape
        return Forecast(spend, {"members": sum(done), "each": shape})

    def graph(self) -> ModeGraph:
        """look -> deal -> member x n (-> deal ...) -> decide -> (answer)."""
        graph = ModeGraph(EnsembleState, self.asks)
        self.begin(graph, "deal")
        graph.add_node("deal", node(self._deal))
        graph.add_node("member", inner_run(self.of, answers=self.members_answer, scorer=self.scoring))
        graph.add_node("decide", node(self._decide))
        graph.add_node("answer", self.closing())
        graph.add_conditional_edges("deal", self._to_members, ["member", *["decide"] * self._batched, "answer"])
        graph.add_edge("member", "deal" if self._batched else "decide")
        graph.add_conditional_edges("decide", self._unless_answered, ["answer", END])
        self._end(graph)
        return graph

    def _end(self, graph: ModeGraph) -> None:
        """Wire what follows the closing answer."""
        graph.add_edge("answer", END)

    async def _deal(self, moves: Moves, state: EnsembleState) -> Update:
        """Share what is left among as many members as it pays for; none where no further batch is wanted."""
        costs = moves.costs(state)
        if not self.closes:
            moves.give_up_closing()
        done = state.get("sizes", [])
        held = {} if self.closes else {"held": 0}
        if done and not await self.goes_on(moves, state):
            return {"members": 0, **held}
        members, turns, runs = self._size(costs, moves.room, done)
        if members < (full := self.batch(done)):
            moves.note("select", f"{members} of {full} members", status="narrowed")
        part = share(moves, max(1, members), layers=turns, runs=runs)
        return {
            "part": part, "typical": costs.means, "members": members, "sizes": [members] if members else [],
            "scored": bool(done) or runs > 1, **held,
        }  # fmt: skip

    async def _to_members(self, state: EnsembleState) -> list[Send] | str:
        decide = "decide" if self._batched and state["outcomes"] else "answer"
        if state["stop"]:
            return decide
        first, given = len(state["outcomes"]), self.given(state)
        return [
            send(
                "member", state, str(i), temperature=self.temperature if i else 0.0, scored=state["scored"], **given,
                fewer=f"n of {self.name}" if state["members"] > 1 else "",
            )
            for i in range(first, first + state["members"])
        ] or decide  # fmt: skip

    async def _decide(self, moves: Moves, state: EnsembleState) -> Update:
        outcomes = some(state["outcomes"])
        update = await self.decide(moves, state, outcomes) if outcomes else {}
        return {**stopped(state["outcomes"]), **update}

    @property
    def _batched(self) -> bool:
        """Whether there may be several batches."""
        return self.further([self.batch([])]) > 0

    def _to_come(self, done: Sequence[int]) -> list[int]:
        """Sizes in full of the batches that follow those of so many."""
        sizes = [*done]
        while self.further(sizes):
            sizes.append(self.batch(sizes))
        return sizes[len(done) :]

    def _size(self, costs: Costs, room: Room, done: Sequence[int]) -> tuple[int, int, int]:
        """Members of the next batch that `room` pays for, one at least in the first; batches, this one included, that
        it is to be shared by; and the members of all these."""
        least, _ = self.inner_cost(costs)
        pays = not done or room.reaches(least)
        members = int(max(0 if done else 1, min(self.batch(done), room.times(least)))) if pays else 0
        turns = room.layers(beside(least, members), self.further(done)) if members else 1
        return members, turns, min(sum(self._to_come(done)), members * turns)


def some(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Those that have anything."""
    return [outcome for outcome in outcomes if outcome["text"] or outcome["chain"] or outcome["passages"]]


def batches(state: EnsembleState) -> list[list[Outcome]]:
    """Outcomes of each batch so far; none of one that is about to run."""
    left = iter(state["outcomes"])
    return [[*islice(left, size)] for size in state.get("sizes", [])]
