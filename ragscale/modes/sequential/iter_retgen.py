"""`iter-retgen`: iterative retrieval-generation synergy (arXiv 2305.15294): each whole answer is the next query."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import ClassVar

from langgraph.graph import END, START

from ragscale.modes.core.asking import Planning
from ragscale.modes.core.costs import Cost, Costs, Forecast, Room, series
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.moves import Moves
from ragscale.modes.core.nodes import node, unless_stopped
from ragscale.modes.core.state import State, Update
from ragscale.prompts import Step, normalise, reasoning
from ragscale.types import Spend

__all__ = ["IterRetGen"]


class _IterState(State, total=False):
    query: str
    """The next one: the question and the last draft; empty where there is none."""


@dataclass(frozen=True, kw_only=True)
class IterRetGen(Planning):
    """`rounds` times: retrieve, and answer from what was found; the question with that whole answer is the next query.

    Each round's passages take the place of the last one's. Costs C = R = S = `rounds`: 3 by default; a budget makes
    fewer rounds, of which the last always is the closing answer. Stops after `rounds`, or where a draft is the last one
    again, as it would find the same. Unlike the paper, whose answers all are chains of thought after examples, the last
    one is the short closing answer, and unlike FlashRAG's, the drafts before it are reasoned and not short.
    """

    name: ClassVar[str] = "iter-retgen"
    source: ClassVar[str] = "ITER-RETGEN, arXiv 2305.15294"
    pays: ClassVar[str] = "where a draft answer names what the question does not"

    evidence: ClassVar[str] = "question"
    """The closing answer is shown the passages of one round alone."""

    context: int = 5
    rounds: int = 3
    """Retrievals and answers (T; 2 to 7 in the paper, 3 in FlashRAG)."""
    plan_tokens: int = 0
    """Most tokens of a draft; 0: as the profile says (128; corag: 64)."""

    @property
    def looks(self) -> int:
        """`k`: the question itself is the first query."""
        return self.k

    def cost(self, costs: Costs) -> tuple[Spend, Spend]:
        """A draft and what it finds between both ends; `rounds` - 1 of them."""
        ends, turn = self.ends_cost(costs), self._turn(costs)
        return ends + series(turn, turn, min(1, self.rounds - 1)), ends + series(turn, turn, self.rounds - 1)

    def course(self, costs: Costs, room: Room) -> Forecast:
        """As many drafts as can be paid with the retrieval behind each."""
        turn = self._turn(costs)
        drafts = int(min(self.rounds - 1, room.turns(turn)))
        return Forecast(series(turn, turn, drafts), {"rounds": drafts + 1})

    def graph(self) -> ModeGraph:
        """retrieve -> draft -> retrieve -> draft ... -> answer."""

        @node
        async def write(moves: Moves, state: _IterState) -> Update:
            # A draft that is not searched for, or is not written from its passages, is money lost.
            moves.need(self._turn(moves.costs(state)))
            question, profile = state["question"], moves.profile
            drafts = await moves.ask(lambda docs: reasoning.draft(profile, question, docs), state["seen"])
            last = state.get("query", question)
            for query, said in chain.from_iterable(drafts):
                step = Step(query=last, passages=state["seen"], answer=said)
                if normalise(query) != normalise(last):
                    return {"chain": [*state["chain"], step], "query": query}
                moves.note("plan", "the last draft again", status="repeat", input=query)
            return {"query": ""}

        @node
        async def retrieve(moves: Moves, state: _IterState) -> Update:
            [found] = await moves.retrieve([state["query"]], self.k)
            return {"seen": found or state["seen"]}

        async def after_retrieving(state: _IterState) -> str:
            return "answer" if state["stop"] or len(state["chain"]) + 1 >= self.rounds else "draft"

        graph = ModeGraph(_IterState, self.asks)
        graph.add_node("look", self.looking(self.k))
        graph.add_node("draft", write)
        graph.add_node("retrieve", retrieve)
        graph.add_node("answer", self.closing())
        graph.add_edge(START, "look")
        graph.add_conditional_edges("look", after_retrieving, ["draft", "answer"])
        graph.add_conditional_edges("draft", unless_stopped("retrieve", given="query"), ["retrieve", "answer"])
        graph.add_conditional_edges("retrieve", after_retrieving, ["draft", "answer"])
        graph.add_edge("answer", END)
        return graph

    def _turn(self, costs: Costs) -> Cost:
        """A draft, and the retrieval of what it names."""
        return costs.reason(self.k) + costs.retrieve()
