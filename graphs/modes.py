"""Every mode as a graph of one node for LangGraph's server and Studio; ``langgraph.json`` names them.

The server needs two environment variables: ``RAGSCALE_INDEX``, the folder of an index, and ``RAGSCALE_LLM``, a model
as ``ragscale ask --llm`` takes it (default: ``embedded``). Both are opened by the first question, once for all modes.

A client sends ``{"question": "..."}``, and limits of the question as the run's context: ``{"tokens": 4000}``. It gets
what ``ragscale ask --json`` prints, and the steps as they happen in the stream mode ``custom``. The drawings beside
this file show what happens inside; ``ragscale modes --draw graphs`` makes them anew.
"""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime

from ragscale.agent import Agent
from ragscale.budget import Budget
from ragscale.errors import InvalidInput
from ragscale.modes import spec
from ragscale.types import Event

__all__ = ["Limits", "Question", "Result", "chain", "deploy", "once", "parallel", "tree"]


class Question(TypedDict):
    """What a client sends."""

    question: str


class Result(TypedDict):
    """What a client gets: `Answer.to_dict`."""

    answer: str
    citations: list[str]
    mode: str
    stop_reason: str
    reason: str
    caveat: str
    spend: dict[str, Any]
    trace: list[dict[str, Any]]


class _State(Question, Result):
    """Both."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The context of a run: limits of its question, as in `Budget`; ``None`` leaves one open."""

    rounds: int | None = None
    queries: int | None = None
    tokens: int | None = None
    llm_calls: int | None = None
    seconds: float | None = None


def deploy(mode: str) -> CompiledStateGraph[Any, Limits, Question, Result]:
    """A mode as a graph of a single node, without a checkpointer (the server brings its own).

    Args:
        mode: As on the command line, also of another package: ``"tree"``, ``"parallel(max_queries=1)"``.
    """
    chosen = spec.parse(mode)

    async def run(state: Question, runtime: Runtime[Limits]) -> dict[str, Any]:
        agent = await asyncio.to_thread(_agent)
        budget = Budget(**asdict(runtime.context or Limits()))
        result: dict[str, Any] = {}
        async for item in agent.astream(state["question"], mode=chosen, budget=budget):
            if isinstance(item, Event):
                runtime.stream_writer(item.to_dict())
            else:
                result = item.to_dict()
        return result

    graph = StateGraph(_State, Limits, input_schema=Question, output_schema=Result)
    graph.add_node("run", run)
    graph.add_edge(START, "run")
    graph.add_edge("run", END)
    return graph.compile(name=chosen.name)


_lock = threading.Lock()


def _agent() -> Agent:
    index = os.environ.get("RAGSCALE_INDEX")
    if not index:
        raise InvalidInput("RAGSCALE_INDEX is not set", "Set it to the folder of an index, as in indexes/demo.")
    with _lock:
        return _opened(index, os.environ.get("RAGSCALE_LLM") or "embedded")


@cache
def _opened(index: str, llm: str) -> Agent:
    return Agent(index, llm)


once = deploy("once")
chain = deploy("chain")
parallel = deploy("parallel")
tree = deploy("tree")
