"""`iter_retgen`: retrieval and generation take turns; each query is the question with the last answer behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from langgraph.graph import END, START

from ragscale.modes.core import Costs, Mode, ModeGraph, Moves, State, Update, node, read, unless_stopped
from ragscale.prompts import NO_INFORMATION, Step
from ragscale.types import Spend

__all__ = ["IterRetgen"]


@dataclass(frozen=True, kw_only=True)
class IterRetgen(Mode):
    """ITER-RETGEN (Shao et al. 2023): `iterations` rounds of retrieve and read, then the closing answer."""

    name: ClassVar[str] = "iter_retgen"

    iterations: int = 2
    """Rounds (T)."""

    def cost(self, costs: Costs) -> tuple[Spend, Spend]:
        """One round; all rounds."""
        close = costs.answer(self.context)
        return costs.step(self.k) + close, sum([costs.step(self.k)] * self.iterations, close)

    def graph(self) -> ModeGraph:
        """retrieve -> read -> retrieve ... -> answer."""
        graph = ModeGraph(State)
        graph.add_node("round", node(self._round))
        graph.add_node("answer", self.closing())
        graph.add_edge(START, "round")
        graph.add_conditional_edges("round", self._after_round, ["round", "answer"])
        graph.add_edge("answer", END)
        return graph

    async def _round(self, moves: Moves, state: State) -> Update:
        last = state["chain"][-1]["answer"] if state["chain"] else NO_INFORMATION
        query = state["question"] if last == NO_INFORMATION else f"{state['question']} {last}"
        [passages] = await moves.retrieve([query], self.k)
        answer = await read(moves, state["question"], passages)
        return {"chain": [*state["chain"], Step(query=query, passages=passages, answer=answer)]}

    async def _after_round(self, state: State) -> str:
        more = len(state["chain"]) < self.iterations
        return await unless_stopped("round" if more else "answer")(state)
