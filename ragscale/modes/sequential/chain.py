"""`chain`: CoRAG's greedy chain of retrieval (arXiv 2501.14342): each sub-query builds on the last sub-answer."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar, Literal

from langgraph.graph import END

from ragscale.errors import InvalidInput
from ragscale.modes.core.asking import CORAG, Stepwise
from ragscale.modes.core.costs import Cost, Costs, Forecast, Room, series
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.moves import Moves
from ragscale.modes.core.nodes import node, unless_stopped
from ragscale.modes.core.state import State, Update, noted
from ragscale.modes.core.steps import FIRST, enough, reading, retrieving
from ragscale.prompts import normalise
from ragscale.types import Spend

__all__ = ["Chain"]


class _ChainState(State, total=False):
    query: str
    """The sub-query being worked on; empty when no new one was found."""
    passages: list[str]
    """Its hits."""
    tries: int
    """Attempts at a sub-query so far."""
    enough: bool
    """Whether the model said that the chain is enough."""


@dataclass(frozen=True, kw_only=True)
class Chain(Stepwise):
    """Plan, retrieve and read `steps` times, then answer.

    Each step is paid for as it comes, with the closing answer's share set aside: a small budget makes a short chain.
    Costs 2 x `steps` + 1 model calls and `steps` rounds (one more to look at the question's own passages first); fewer
    where the model says that nothing is missing (the paper's "enough information?" check, by prompt), or can only
    repeat itself; a call more for each turn that is repeated or malformed, up to `repeats` a step. With `stop`, each
    step before the last one is followed by a call (``"judged"``) or two (``"learned"``) that ask whether the chain is
    enough: C = 3 L or 4 L - 1 for L = `steps` without an early end. What differs from CoRAG's code (prompts, the
    question's passages for the planner, pairs and evidence of the answer): docs/architecture.md.
    """

    name: ClassVar[str] = "chain"
    source: ClassVar[str] = "CoRAG, arXiv 2501.14342"
    pays: ClassVar[str] = "where each fact is needed to ask for the next one"
    least: ClassVar[dict[str, float]] = {**Stepwise.least, "repeats": 0, "bias": -100}
    most: ClassVar[dict[str, float]] = {"bias": 100}
    presets: ClassVar[dict[str, dict[str, Any]]] = {"corag-paper": {**CORAG, "repeats": 24}}

    steps: int = 6
    """Longest chain (L)."""
    repeats: int = 1
    """Repeated sub-queries in a row after which the chain ends; over a whole chain there are 4 x `steps` attempts."""
    temperature: float = 0.7
    """For a second try after a repeated sub-query; the first is greedy."""
    stop: Literal["none", "judged", "learned"] = "none"
    """Whether the model is asked after each step if the chain is enough, yes or no: ``"judged"`` by its reply;
    ``"learned"`` by the log-probabilities of both (CoRAG, section 5.4), and by its reply where the endpoint cannot
    score, as the trace then says."""
    bias: float = 0.0
    """Added to the log-probability of yes with ``stop="learned"``: above 0, chains end earlier, at fewer tokens; below
    0, later. Log-probabilities are means a token, the end of the turn included."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bias and self.stop != "learned":
            raise InvalidInput(
                f"{self.name}: bias={self.bias!r} has no effect with stop={self.stop!r}",
                "Give stop='learned', or no bias.",
            )

    def cost(self, costs: Costs) -> tuple[Spend, Spend]:
        """Two steps, as one is a search by another query; `steps` steps."""
        ends = self.ends_cost(costs)
        return ends + self._steps(costs, min(2, self.steps)), ends + self._steps(costs, self.steps)

    def course(self, costs: Costs, room: Room) -> Forecast:
        """As many steps as can be paid to their ends."""
        step = self._step(costs)
        more = room.less(step + costs.spare(self.k)).turns(step + self._check(costs))
        steps = int(min(self.steps, 1 + more)) if room.pays(FIRST) else 0
        return Forecast(room.within(self._steps(costs, steps)), {"steps": steps})

    def graph(self) -> ModeGraph:
        """look -> plan -> retrieve -> read -> plan ... -> answer."""

        @node
        async def plan(moves: Moves, state: _ChainState) -> Update:
            steps, tries = state["chain"], state.get("tries", 0)
            seen, notes = state["seen"][: self.plan_k], state["known"]
            # Half a step is money lost: begin none that cannot be read to its end.
            costs = moves.costs(state)
            moves.need(self._step(costs) + costs.spare(self.k) if steps else FIRST)
            known = {normalise(step["query"], self.match) for step in steps}
            # The paper caps the attempts of a whole chain; a model that keeps repeating itself has nothing left to ask.
            most = min(tries + self.repeats + 1, 4 * self.steps)
            for attempt in range(tries, most):
                hot = self.temperature if attempt > tries else 0.0
                plans = await moves.ask(
                    lambda docs: moves.profile.plan(state["question"], docs, steps), seen,
                    temperature=hot, attempt=attempt,
                )  # fmt: skip
                for query, said in chain.from_iterable(plans):
                    notes = noted(notes, said)
                    if not query and not self.early:
                        moves.note("plan", "asked again", status="enough")
                    elif not query or normalise(query, self.match) not in known:
                        return {"query": query, "known": notes, "tries": attempt + 1}
                    else:
                        moves.note("plan", "discarded", status="repeat", input=query)
            return {"query": "", "known": notes, "tries": most}

        @node
        async def check(moves: Moves, state: _ChainState) -> Update:
            costs = moves.costs(state)
            # There is nothing to decide where another step cannot be paid.
            moves.need(self._check(costs) + self._step(costs))
            bias = self.bias if self.stop == "learned" else None
            return {"enough": await enough(moves, state["question"], state["chain"], bias)}

        async def after_read(state: _ChainState) -> str:
            return onward if len(state["chain"]) < self.steps and not state["stop"] else "answer"

        async def after_check(state: _ChainState) -> str:
            return "answer" if state["stop"] or state["enough"] else "plan"

        onward = "plan" if self.stop == "none" else "enough"
        graph = ModeGraph(_ChainState, self.asks)
        self.begin(graph, "plan")
        graph.add_node("plan", plan)
        graph.add_node("retrieve", node(retrieving(self.k)))
        graph.add_node("read", node(reading))
        graph.add_node("answer", self.closing())
        graph.add_conditional_edges("plan", unless_stopped("retrieve", given="query"), ["retrieve", "answer"])
        graph.add_conditional_edges("retrieve", unless_stopped("read"), ["read", "answer"])
        graph.add_conditional_edges("read", after_read, [onward, "answer"])
        if self.stop != "none":
            graph.add_node("enough", check)
            graph.add_conditional_edges("enough", after_check, ["plan", "answer"])
        graph.add_edge("answer", END)
        return graph

    def _step(self, costs: Costs) -> Spend:
        return costs.plan(min(self.plan_k, self.looks)) + costs.step(self.k)

    def _check(self, costs: Costs) -> Cost:
        """Cost of asking whether a chain is enough."""
        calls = {"none": 0, "judged": 1, "learned": 2}[self.stop]
        return series(costs.score(), costs.score(), calls)

    def _steps(self, costs: Costs, n: int) -> Cost:
        """Cost of `n` steps and of the checks between them."""
        step, check = self._step(costs), self._check(costs)
        return series(step, step, n) + series(check, check, max(0, n - 1))
