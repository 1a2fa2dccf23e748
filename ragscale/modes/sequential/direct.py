"""`direct`: closed-book answering, no retrieval at all: the floor that retrieval has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from langgraph.graph import END, START

from ragscale.modes.core.asking import Asking
from ragscale.modes.core.costs import Costs
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.moves import Moves
from ragscale.modes.core.nodes import node
from ragscale.modes.core.state import State, Update
from ragscale.types import Spend

__all__ = ["Direct"]


@dataclass(frozen=True, kw_only=True)
class Direct(Asking):
    """Answer from what the model knows, without any retrieval.

    The closing answer's prompt without documents, greedy; nothing is searched for and nothing is cited. Costs C = 1,
    R = S = 0: there is nothing to stop, and a budget that cannot pay the one call ends it without an answer. Inside an
    ensemble it always writes its answer, as that is all it does. Unlike FlashRAG's naive generation, which writes 32
    tokens of plain text, the answer is JSON of up to 96 tokens (`answer_tokens`), as in all modes.
    """

    name: ClassVar[str] = "direct"
    source: ClassVar[str] = "closed book"
    pays: ClassVar[str] = "as the floor that retrieval has to beat"

    k: int = 5
    """Without effect: nothing is retrieved."""
    context: int = 8
    """Without effect: no passages are shown."""

    @property
    def retrieves(self) -> bool:
        """False."""
        return False

    @property
    def closes(self) -> bool:
        """False: the answer is the run itself, not an end of it."""
        return False

    def cost(self, costs: Costs) -> tuple[Spend, Spend]:
        """An answer from no passages."""
        return costs.answer(0), costs.answer(0)

    def ends_cost(self, costs: Costs) -> Spend:
        """Nothing: there is neither a look nor a closing answer."""
        return Spend()

    def graph(self) -> ModeGraph:
        """answer."""

        @node
        async def answer(moves: Moves, state: State) -> Update:
            update: dict[str, Any] = await moves.close(state["question"], [], [], [], state["stop"])
            return update

        graph = ModeGraph(State, self.asks)
        graph.add_node("answer", answer)
        graph.add_edge(START, "answer")
        graph.add_edge("answer", END)
        return graph
