"""`self-ask`: self-ask with search (arXiv 2210.03350): follow-up questions, each looked up, until the final answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from langgraph.graph import END, START

from ragscale.modes.core.asking import Planning
from ragscale.modes.core.costs import Cost, Costs, Forecast, Room, series
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.moves import Moves
from ragscale.modes.core.nodes import node, unless_stopped
from ragscale.modes.core.state import State, Update, evidence
from ragscale.modes.core.steps import FIRST, reading, retrieving
from ragscale.prompts import normalise, reasoning
from ragscale.types import Spend

__all__ = ["SelfAsk"]

_ASKED = 220  # tokens typical of a turn's prompt, which has no schema to fill and fewer examples than a planner's


class _SelfAskState(State, total=False):
    query: str
    """The follow-up question being worked on; empty where there is none."""
    passages: list[str]
    """Its hits."""


@dataclass(frozen=True, kw_only=True)
class SelfAsk(Planning):
    """The model asks itself follow-up questions; each is looked up and answered below it, up to the final answer.

    A reply ends where the intermediate answer would begin, which the search gives. Costs C = 2 F + 1, R = S = F for F
    follow-ups, `steps` at most: 11 and 5 by default; fewer on a budget. Stops at the final answer. A reply with neither
    that nor a new follow-up, or `steps` follow-ups, end in the closing answer, which sees what was asked, its answers
    and the passages: a call more for such a reply. Unlike the paper, whose search engine answers by itself, a call
    reads each follow-up's passages; and a follow-up that comes again is not asked for ever.
    """

    name: ClassVar[str] = "self-ask"
    source: ClassVar[str] = "Self-Ask, arXiv 2210.03350"
    pays: ClassVar[str] = "where a question falls into simple ones, and one more after an answer costs little"

    steps: int = 5
    """Most follow-up questions (5 in FlashRAG)."""
    plan_tokens: int = 0
    """Most tokens of a reply; 0: as the profile says (128; corag: 64)."""
    read_tokens: int = 0
    """Most tokens of an intermediate answer; 0: as the profile says (128)."""
    pairs: Literal["auto", "all", "none"] = "all"
    """Whether the closing answer is shown the follow-ups and their answers, as published; ``"auto"``: as the profile
    says."""

    def cost(self, costs: Costs) -> tuple[Spend, Spend]:
        """Two follow-ups, as one is a search by another query; `steps` of them."""
        ends, step = self.ends_cost(costs), self._step(costs)
        return ends + series(step, step, min(2, self.steps)), ends + series(step, step, self.steps)

    def course(self, costs: Costs, room: Room) -> Forecast:
        """As many follow-ups as can be paid to their ends."""
        step = self._step(costs)
        steps = int(min(self.steps, max(1, room.less(costs.spare(self.k)).turns(step)))) if room.pays(FIRST) else 0
        return Forecast(room.within(series(step, step, steps)), {"steps": steps})

    def graph(self) -> ModeGraph:
        """ask -> retrieve -> read -> ask ... -> (answer)."""

        @node
        async def ask(moves: Moves, state: _SelfAskState) -> Update:
            question, profile, steps = state["question"], moves.profile, state["chain"]
            # Half a step is money lost: begin none that cannot be read to its end.
            costs = moves.costs(state)
            moves.need(self._step(costs) + costs.spare(self.k) if steps else FIRST)
            replies = await moves.put(reasoning.follow_up(profile, question, steps))
            for reply in replies:
                if reply.answer:
                    shown = evidence(state)[: self.context]
                    return {"text": reply.answer, "citations": moves.cite(reply.answer, [], shown)}
                [query] = reply.queries
                if normalise(query) not in {normalise(step["query"]) for step in steps}:
                    return {"query": query}
                moves.note("plan", "discarded", status="repeat", input=query)
            return {"query": ""}

        async def after_asking(state: _SelfAskState) -> str:
            if state["text"]:
                return END
            return "retrieve" if not state["stop"] and state["query"] else "answer"

        async def after_reading(state: _SelfAskState) -> str:
            return "ask" if len(state["chain"]) < self.steps and not state["stop"] else "answer"

        graph = ModeGraph(_SelfAskState, self.asks)
        graph.add_node("ask", ask)
        graph.add_node("retrieve", node(retrieving(self.k)))
        graph.add_node("read", node(reading))
        graph.add_node("answer", self.closing())
        graph.add_edge(START, "ask")
        graph.add_conditional_edges("ask", after_asking, ["retrieve", "answer", END])
        graph.add_conditional_edges("retrieve", unless_stopped("read"), ["read", "answer"])
        graph.add_conditional_edges("read", after_reading, ["ask", "answer"])
        graph.add_edge("answer", END)
        return graph

    def _step(self, costs: Costs) -> Cost:
        """A follow-up question, its passages and its answer."""
        return costs.plan(prompt=_ASKED) + costs.step(self.k)
