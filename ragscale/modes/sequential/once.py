"""`once`: retrieve for the question itself, answer. The baseline that every other mode has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from langgraph.graph import END, START

from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.mode import Mode
from ragscale.modes.core.state import State

__all__ = ["Once"]


@dataclass(frozen=True, kw_only=True)
class Once(Mode):
    """Retrieve once, answer once: 1 model call, 1 query, 1 round."""

    name: ClassVar[str] = "once"

    context: int = 5

    @property
    def looks(self) -> int:
        """`k`."""
        return self.k

    def graph(self) -> ModeGraph:
        """retrieve -> answer."""
        graph = ModeGraph(State)
        graph.add_node("retrieve", self.looking(self.k))
        graph.add_node("answer", self.closing())
        graph.add_edge(START, "retrieve")
        graph.add_edge("retrieve", "answer")
        graph.add_edge("answer", END)
        return graph
