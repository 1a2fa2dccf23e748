"""`once`: retrieve for the question itself, answer. The baseline that every other mode has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from langgraph.graph import END, START

from ragscale.modes.core.asking import Asking
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.state import State

__all__ = ["Once"]


@dataclass(frozen=True, kw_only=True)
class Once(Asking):
    """Retrieve for the question itself, then answer from what was found.

    Costs C = 1 model call, R = S = 1: one query, one round. It is what CoRAG (arXiv 2501.14342) calls L = 0 and
    FlashRAG "naive RAG". A budget that cannot pay a prompt with all passages has fewer of them, best first; without
    room for any the answer is the model's own. Nothing is planned, so a question whose second hop is not in its own
    words is out of reach. Unlike CoRAG's, which has 20 passages and an answer in plain text, it has 5, and JSON, as in
    all modes (preset corag-paper: 20).
    """

    name: ClassVar[str] = "once"
    source: ClassVar[str] = "naive RAG"
    pays: ClassVar[str] = "where one retrieval finds the answer: most questions of one hop"
    presets: ClassVar[dict[str, dict[str, Any]]] = {"corag-paper": {"profile": "corag", "k": 20, "context": 20}}

    context: int = 5
    logprobs: bool = False
    """Whether the answer's log-probabilities are asked for, where the endpoint tells them: their mean a token is the
    score of its event, and a number that ``auto`` can decide by."""

    @property
    def asks(self) -> dict[str, Any]:
        """As of `Asking`, with the move whose log-probabilities are asked for."""
        return {**super().asks, **({"logprobs": ["answer"]} if self.logprobs else {})}

    @property
    def looks(self) -> int:
        """`k`."""
        return self.k

    def graph(self) -> ModeGraph:
        """retrieve -> answer."""
        graph = ModeGraph(State, self.asks)
        graph.add_node("retrieve", self.looking(self.k))
        graph.add_node("answer", self.closing())
        graph.add_edge(START, "retrieve")
        graph.add_edge("retrieve", "answer")
        graph.add_edge("answer", END)
        return graph
