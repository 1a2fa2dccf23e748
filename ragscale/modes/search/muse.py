"""`muse`: ParallelMuse (arXiv 2510.24698): partial rollouts from where a run was unsure, aggregated by reports."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Annotated, Any, ClassVar

from langgraph.graph import END
from langgraph.types import Send

from ragscale.modes.core.costs import Cost, Costs, Forecast, Room, abreast, beside
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.inner import inner_run
from ragscale.modes.core.mode import Mode
from ragscale.modes.core.moves import Moves, share
from ragscale.modes.core.nesting import Continuing
from ragscale.modes.core.nodes import branch, node, send
from ragscale.modes.core.state import State, Update
from ragscale.modes.core.voting import stopped
from ragscale.modes.sequential.chain import Chain
from ragscale.prompts import Step, states
from ragscale.types import Spend

__all__ = ["Muse"]

_REPORT = 400
"""Tokens of a report's prompt and of the report, nominally."""


class _MuseState(State, total=False):
    starts: list[int]
    """Length of the chain that each further run goes on from."""
    reports: Annotated[list[str], operator.add]


@dataclass(frozen=True, kw_only=True)
class Muse(Continuing):
    """One run of `of`; `branches` further ones go on from its most uncertain steps; the answer is written from reports.

    A step is as uncertain as the mean log-probability of the planner's turn that asked it is low. A further run takes
    the chain before it as its own, plans that step anew at `temperature`, and goes on to the end; where `branches`
    exceed the steps, the most uncertain come again. Each run is then compressed into a report, and the closing answer
    reads all reports beside the passages found. Over ``chain`` of L steps, from which the branches keep p steps each,
    it costs 2 L + sum of 2 (L - p) + `branches` + 2 model calls, L + sum of (L - p) retrievals (one more for the
    question) and at most 2 L rounds: at most 47 and 21 by default, if the first steps are the least certain. Where
    the endpoint tells no log-probabilities, runs branch at evenly spaced steps, and the trace says so. A budget that
    does not pay all of it gives half to the first run, or all where half pays for none, and there are as many branches
    as the rest pays for. Unlike the paper's agents, whose reasoning and tool calls are told apart, only the planner's
    turns count, each is branched at in one round, and the aggregator sees documents, too, so that it can cite them.
    """

    name: ClassVar[str] = "muse"
    source: ClassVar[str] = "ParallelMuse, arXiv 2510.24698"
    pays: ClassVar[str] = "where runs go wrong at single steps, and the model knows at which"
    members_answer: ClassVar[bool] = False
    most: ClassVar[dict[str, float]] = {"branches": 256}  # each is a subgraph: more take seconds to start

    of: Mode = field(default_factory=Chain)
    """The mode of the runs; one that goes on from a chain, as ``chain`` and ``tree`` do."""
    branches: int = 3
    """Further runs; 256 at most."""
    temperature: float = 0.7
    """Least temperature of the planning moves of further runs."""

    @property
    def asks(self) -> dict[str, Any]:
        """As of `of`, with log-probabilities of what planners write."""
        return {**self.of.asks, "logprobs": ["plan"]}

    def cost(self, costs: Costs) -> tuple[Spend, Spend]:
        """One run at its least; all runs in full, branched at the first steps."""
        ends = self.ends_cost(costs)
        least, full = self.inner_cost(costs)
        steps = int(min(self.deepest, self.branches))
        runs = [self.going_on(at).inner_cost(costs)[1] for at in self._cycled(range(steps), self.branches)]
        return ends + least, ends + full + reduce(abreast, runs, Cost()) + beside(self._report, self.branches + 1)

    def course(self, costs: Costs, room: Room) -> Forecast:
        """The first run, and as many branches as the rest pays for, at its first steps."""
        first = self.of.forecast(costs, room.dealt(1, self._layers(costs, room)), looked=True, answers=False)
        left, steps = room.less(first.spend), first.shape.get("steps", first.shape.get("levels", 0))
        number = self._affordable(costs, left)
        if not number:
            return Forecast(first.spend, {"branches": 0, "each": first.shape})
        each = left.less(beside(self._report, number + 1)).dealt(number)
        starts = self._cycled(range(min(steps, number)), number)
        runs = {at: self.going_on(at).of.forecast(costs, each, looked=True, answers=False) for at in {*starts}}
        spend = (
            first.spend + reduce(abreast, (runs[at].spend for at in starts), Cost()) + beside(self._report, number + 1)
        )
        return Forecast(spend, {"branches": number, "each": first.shape})

    def graph(self) -> ModeGraph:
        """look -> deal -> run -> deal -> run x branches -> deal -> report x runs -> answer."""
        graph = ModeGraph(_MuseState, self.asks)
        self.begin(graph, "deal")
        graph.add_node("deal", node(self._deal))
        graph.add_node("run", inner_run(self.of, answers=False))
        graph.add_node("report", branch(self._reported))
        graph.add_node("answer", node(self._answer))
        graph.add_conditional_edges("deal", self._to_runs, ["run", "report", "answer"])
        graph.add_edge("run", "deal")
        graph.add_edge("report", "answer")
        graph.add_edge("answer", END)
        return graph

    async def _deal(self, moves: Moves, state: _MuseState) -> Update:
        """Share what is left: for the first run, then among the branches, then among the reports."""
        done, costs = state["outcomes"], moves.costs(state)
        room = moves.room
        if not done:
            part = share(moves, 1, layers=self._layers(costs, room))
            return {"part": part, "typical": costs.means}
        if len(done) > 1:
            return {"part": share(moves, len(done)), **stopped(done)}
        first, number = done[0], self._affordable(costs, room)
        if number < self.branches:
            moves.note("select", f"{number} of {self.branches} branches", status="narrowed")
        if not number:
            return {"starts": [], "chain": first["chain"], "known": first["known"], **stopped(done)}
        starts = self._unsure(moves, state, first["chain"], number)
        part = share(moves, number, later=beside(self._report, number + 1))
        return {"starts": starts, "chain": first["chain"], "part": part, "typical": costs.means}

    async def _to_runs(self, state: _MuseState) -> list[Send] | str:
        done, starts = state["outcomes"], state.get("starts", [])
        if not done:
            return "answer" if state["stop"] else [send("run", state, "0")]
        if len(done) == 1:
            chains = [done[0]["chain"][:at] for at in starts]
            fewer = f"branches of {self.name}" if len(chains) > 1 else ""
            return [
                send("run", state, str(i), temperature=self.temperature, fewer=fewer, chain=chain)
                for i, chain in enumerate(chains, 1)
            ] or "answer"
        return [
            send("report", state, f"{i}.report", chain=outcome["chain"], known=outcome["known"])
            for i, outcome in enumerate(done)
            if outcome["chain"] or outcome["known"]
        ] or "answer"

    async def _reported(self, moves: Moves, state: Any) -> Update:
        """Compress a run into a report."""
        prompt = states.report(moves.profile, state["question"], state["chain"], state["known"])
        return {"reports": await moves.put(prompt)}

    async def _answer(self, moves: Moves, state: _MuseState) -> Update:
        """The closing answer, from the evidence of all runs and from their reports in place of notes."""
        reports = [f"Report of search {n}: {said}" for n, said in enumerate(state.get("reports", []), 1)]
        found = [*state["found"], *(outcome["passages"] for outcome in state["outcomes"][1:])]
        return await self._close(moves, {**state, "known": reports or state["known"], "found": found})

    def _unsure(self, moves: Moves, state: _MuseState, chain: Sequence[Step], number: int) -> list[int]:
        """Steps to branch at, by place in the chain: the most uncertain first, ties to the earliest."""
        run = state["outcomes"][0]["branch"]
        told: dict[str, float] = {}
        for event in state["trace"]:
            if event["move"] == "plan" and event["score"] is not None and f"{event['branch']}.".startswith(f"{run}."):
                told |= {query: event["score"] for query in event["plan"] if query not in told}
        queries = [step["query"] for step in chain]
        if chain and all(query in told for query in queries):
            order = sorted(range(len(chain)), key=lambda at: told[queries[at]])
            starts = self._cycled(order, number)
            said = ", ".join(f"{at + 1} ({told[queries[at]]:.2f})" for at in dict.fromkeys(starts))
            moves.note("select", f"branches at the steps {said}", status="kept", output=[queries[at] for at in starts])
            return starts
        spaced = [len(chain) * i // number for i in range(number)]
        said = ", ".join(str(at + 1) for at in dict.fromkeys(spaced))
        why = f"no log-probabilities of its steps: branches at evenly spaced ones, {said}"
        moves.note("select", why, status="fallback", output=[queries[at] for at in spaced if chain])
        return spaced

    @staticmethod
    def _cycled(order: Sequence[int], number: int) -> list[int]:
        return [order[i % len(order)] if order else 0 for i in range(number)]

    @property
    def _report(self) -> Cost:
        return Cost.of(Spend(llm_calls=1, prompt_tokens=_REPORT))

    def _layers(self, costs: Costs, room: Room) -> int:
        """Shares of `room`, of which the first run has one: 1 where that pays for all runs in full, or for no second
        one; else 2."""
        if room.pays(self.cost(costs)[1] - self.ends_cost(costs)):
            return 1
        least = Cost.of(self.inner_cost(costs)[0]) + self._report
        return room.layers(least, 2)

    def _affordable(self, costs: Costs, room: Room) -> int:
        """Branches that `room` pays for at their least, with the reports of all runs."""
        least = Cost.of(self.inner_cost(costs)[0]) + self._report
        return room.less(self._report).branches(least, self.branches)
