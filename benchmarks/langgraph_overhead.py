"""Overhead of a step of a mode beside its model calls and searches, against a bare LangGraph step.

*mode*: a mode run as `Agent` runs it, with a model and an index that answer at once; the time that its own ledger puts
down to model calls and retrievals is taken off. *bare*: a StateGraph with the same nodes, whose nodes do nothing and
whose routers walk the same way; one number for state. Runs alternate; the ratio is that of the medians.

*nesting*: the same mode as the members of a `vote`, 1 to 4 of them: its time over as many runs of the mode alone.
*questions a second*: `Agent.abatch`, several questions in flight.

    python benchmarks/langgraph_overhead.py --mode "chain(steps=6)" --runs 100
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph

from ragscale.agent import Agent
from ragscale.budget import Ledger
from ragscale.llm.base import Generation, Score
from ragscale.llm.scripted import ScriptedLLM
from ragscale.modes import Mode, Vote, spec
from ragscale.modes.core.moves import Context
from ragscale.modes.core.state import initial
from ragscale.types import Hit, Message, Passage, Usage

_PROMPT = 400  # tokens
_FORTY = "word " * 40
QUESTION = "Who is older, the director of Jaws or the director of Alien?"


class Position(TypedDict):
    """State of the bare graph."""

    at: int


class Instant:
    """An index that finds the same passages at once."""

    async def asearch(self, queries: Sequence[str], k: int = 10, how: Any = None) -> list[list[Hit]]:
        """`k` passages a query."""
        return [[Hit(self.passage(str(n)), 1.0) for n in range(k)] for _ in queries]

    def passage(self, identity: str) -> Passage:
        """A passage of forty words."""
        return Passage(identity, "Title", _FORTY)

    def close(self) -> None:
        """Nothing is open."""


class Immediate(ScriptedLLM):
    """A model that answers at once and counts nothing: every prompt has as many tokens.

    Where a sub-query is wanted it asks one that was not asked before; else it writes a text that any move can read.
    """

    def __init__(self) -> None:
        super().__init__(lambda messages, call: "", score=lambda messages, text: -1.0)
        self._numbers = itertools.count()

    async def count_tokens(self, messages: Sequence[Message], **_: Any) -> int:
        """Always the same."""
        return _PROMPT

    async def generate(
        self, messages: Sequence[Message], *, n: int = 1, schema: dict[str, Any] | None = None, **_: Any
    ) -> Generation:
        """`n` samples of one text."""
        queries = [f"query {next(self._numbers)}"]
        text = json.dumps({"facts": "", "think": "", "documents": [1], "answer": "Ridley Scott"})
        if schema and schema.get("type") == "array":
            text = json.dumps(queries)
        elif schema and "queries" in json.dumps(schema) and len(messages) < 6:
            text = json.dumps({"think": "", "queries": queries})
        return Generation([text] * n, Usage(_PROMPT, 16 * n), ["stop"] * n, [-1.0] * n)

    async def score(self, messages: Sequence[Message], continuation: str) -> Score:
        """Always the same."""
        return Score(-1.0, Usage(_PROMPT, 2))


async def walk(graph: Any, context: Context) -> list[str]:
    """The nodes that a run passes, those of inner runs included, in the order in which they end."""
    nodes: list[str] = []
    async for _, step in graph.astream(initial(QUESTION), context=context, stream_mode="updates", subgraphs=True):
        nodes += step
    return nodes


def bare(nodes: list[str]) -> Any:
    """A graph of nodes that do nothing and routers that walk `nodes`."""

    async def step(state: Position) -> dict[str, int]:
        return {"at": state["at"] + 1}

    async def route(state: Position) -> str:
        return nodes[state["at"]] if state["at"] < len(nodes) else END

    distinct = list(dict.fromkeys(nodes))
    graph = StateGraph(Position)
    for name in distinct:
        graph.add_node(name, step)
        graph.add_conditional_edges(name, route, [*distinct, END])
    graph.add_edge(START, nodes[0])
    return graph.compile()


async def measure(mode: Mode, runs: int) -> dict[str, Any]:
    """Alternate runs of both graphs."""
    context = await contexts()
    ours = mode.graph().compile()
    nodes = await walk(ours, context())
    if len(nodes) != await supersteps(ours, context()):
        raise SystemExit(f"{spec.label(mode)} runs branches side by side; choose a mode that goes step by step")
    plain = bare(nodes)
    seconds: dict[str, list[float]] = {"mode": [], "bare": []}
    for run in range(-3, runs):
        own = await _seconds(ours, context())
        middle = time.perf_counter()
        async for _ in plain.astream({"at": 1}, stream_mode="values"):
            pass
        end = time.perf_counter()
        if run >= 0:  # the first runs warm up
            seconds["mode"].append(own / len(nodes))
            seconds["bare"].append((end - middle) / len(nodes))
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "mode": spec.label(mode),
        "steps": len(nodes),
        "runs": runs,
        "mode_us_a_step": round(1e6 * median["mode"], 1),
        "bare_us_a_step": round(1e6 * median["bare"], 1),
        "mode_over_bare": round(median["mode"] / median["bare"], 2),
    }


async def nesting(mode: Mode, runs: int) -> dict[str, float]:
    """Alternate runs of the mode alone and of ensembles of it; the time of each member over that of the mode alone."""
    context = await contexts()
    graphs = {0: mode.graph().compile(), **{n: Vote(of=mode, n=n).graph().compile() for n in range(1, 5)}}
    seconds: dict[int, list[float]] = {n: [] for n in graphs}
    for run in range(-3, runs):
        for n, graph in graphs.items():
            own = await _seconds(graph, context())
            if run >= 0:
                seconds[n].append(own / max(1, n))
    median = {n: statistics.median(values) for n, values in seconds.items()}
    return {f"{n}_in_a_vote_over_alone": round(median[n] / median[0], 3) for n in range(1, 5)}


async def speed(mode: Mode, questions: int) -> float:
    """Questions a second, eight in flight; the first ones warm up."""
    with Agent(Instant(), Immediate(), mode) as agent:  # type: ignore[arg-type]
        await agent.abatch([QUESTION] * 8)
        start = time.perf_counter()
        await agent.abatch([QUESTION] * questions)
        return round(questions / (time.perf_counter() - start), 1)


async def contexts() -> Callable[[], Context]:
    """Makes the context of a run: a model and an index that answer at once."""
    model = Immediate()
    capabilities = await model.capabilities()
    return lambda: Context(index=Instant(), llm=model, ledger=Ledger(), capabilities=capabilities)


async def _seconds(graph: Any, context: Context) -> float:
    """Time of a run as Agent makes it, without what its ledger puts down to model calls and retrievals."""
    final: Any = {}
    start = time.perf_counter()
    async for kind, chunk in graph.astream(initial(QUESTION), context=context, stream_mode=["custom", "values"]):
        final = chunk if kind == "values" else final
    return time.perf_counter() - start - float(final["total"]["seconds"])


async def supersteps(graph: Any, context: Context) -> int:
    """Steps that a run takes; branches side by side take them together."""
    values = [chunk async for chunk in graph.astream(initial(QUESTION), context=context, stream_mode="values")]
    return len(values) - 1  # the first is the input


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", default="chain", help="a mode without parallel branches (default: chain)")
    parser.add_argument("--runs", type=int, default=50, help="runs of each (default: 50)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    mode = spec.parse(options.mode)

    async def everything() -> dict[str, Any]:
        result = await measure(mode, options.runs)
        nested = await nesting(mode, options.runs)
        return {**result, **nested, "questions_a_second": await speed(mode, options.runs)}

    result = asyncio.run(everything())
    print(json.dumps(result) if options.json else "\n".join(f"{name:24} {value}" for name, value in result.items()))


if __name__ == "__main__":
    main()
