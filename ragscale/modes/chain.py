"""`chain`: CoRAG's greedy chain of retrieval (arXiv 2501.14342): each sub-query builds on the last sub-answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from langgraph.graph import END, START, StateGraph

from ragscale.modes.base import Mode, State, Update, node, unless_stopped
from ragscale.modes.moves import Context, Moves
from ragscale.prompts import Step
from ragscale.prompts.parse import normalise

__all__ = ["Chain"]


class _ChainState(State, total=False):
    query: str
    """The sub-query being worked on; empty when no new one was found."""
    passages: list[str]
    """Its hits."""
    tries: int
    """Attempts at a sub-query so far."""


@dataclass(frozen=True, kw_only=True)
class Chain(Mode):
    """Plan, retrieve and read `steps` times, then answer.

    Each step is paid for as it comes, with the closing answer's share set aside: a small budget makes a short chain.
    Costs 2 x `steps` + 1 model calls and `steps` rounds, or fewer where the model can only repeat itself.
    """

    name: ClassVar[str] = "chain"
    least: ClassVar[dict[str, float]] = {"temperature": 0.0, "question_k": 0, "repeats": 0}

    steps: int = 6
    """Longest chain (L)."""
    question_k: int = 5
    """Passages retrieved for the question itself, in the first round; they join the closing answer's evidence."""
    repeats: int = 2
    """Repeated sub-queries in a row after which the chain ends; over a whole chain there are 4 x `steps` attempts."""
    temperature: float = 0.7
    """For a second try after a repeated sub-query; the first is greedy."""

    def graph(self) -> StateGraph[Any, Context, Any, Any]:
        """plan -> retrieve -> read -> plan ... -> answer."""

        @node
        async def plan(moves: Moves, state: _ChainState) -> Update:
            steps, tries = state["chain"], state.get("tries", 0)
            known = {normalise(step["query"]) for step in steps}
            # The paper caps the attempts of a whole chain; a model that keeps repeating itself has nothing left to ask.
            most = min(tries + self.repeats + 1, 4 * self.steps)
            for attempt in range(tries, most):
                hot = self.temperature if attempt > tries else 0.0
                for query in await moves.plan(state["question"], steps, temperature=hot, attempt=attempt):
                    if normalise(query) not in known:
                        return {"query": query, "tries": attempt + 1}
                    moves.note("plan", "repeats an earlier sub-query, discarded", input=query)
            return {"query": "", "tries": most}

        @node
        async def retrieve(moves: Moves, state: _ChainState) -> Update:
            if state["chain"] or not self.question_k:
                return {"passages": (await moves.retrieve([state["query"]], self.k))[0]}
            own, first = await moves.retrieve([state["question"], state["query"]], max(self.k, self.question_k))
            return {"found": [own[: self.question_k]], "passages": first[: self.k]}

        @node
        async def read(moves: Moves, state: _ChainState) -> Update:
            answer = await moves.read(state["query"], state["passages"])
            step = Step(query=state["query"], passages=state["passages"], answer=answer)
            return {"chain": [*state["chain"], step]}

        async def after_plan(state: _ChainState) -> str:
            return "retrieve" if not state["stop"] and state["query"] else "answer"

        async def after_read(state: _ChainState) -> str:
            return "plan" if len(state["chain"]) < self.steps and not state["stop"] else "answer"

        graph = StateGraph(_ChainState, Context)
        graph.add_node("plan", plan)
        graph.add_node("retrieve", retrieve)
        graph.add_node("read", read)
        graph.add_node("answer", self.closing())
        graph.add_edge(START, "plan")
        graph.add_conditional_edges("plan", after_plan, ["retrieve", "answer"])
        graph.add_conditional_edges("retrieve", unless_stopped("read"), ["read", "answer"])
        graph.add_conditional_edges("read", after_read, ["plan", "answer"])
        graph.add_edge("answer", END)
        return graph
