"""Every mode as a graph of one node for LangGraph's server and Studio; ``langgraph.json`` names them.

The server needs two environment variables: ``RAGSCALE_INDEX``, the folder of an index, and ``RAGSCALE_LLM``, a model
as ``ragscale ask --llm`` takes it (default: ``embedded``). Both are opened by the first question, once for all modes.
``RAGSCALE_PRICES`` may have the model's price, as ``--prices`` takes it.

A client sends ``{"question": "..."}``, and limits of the question as the run's context: ``{"tokens": 4000}``, or in the
former ``config["configurable"]``; any key that is neither a limit nor LangGraph's own is refused. It gets what
``ragscale ask --json`` prints, and the steps as they happen in the stream mode ``custom``.
The drawings beside this file show what happens inside; ``make graphs`` makes them and ``langgraph.json`` anew.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any, Self

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph_sdk.runtime import ServerRuntime
from pydantic import ConfigDict
from typing_extensions import TypedDict  # pydantic makes no schema of typing's before Python 3.12

from ragscale.agent import Agent
from ragscale.budget import Budget
from ragscale.errors import InvalidInput
from ragscale.modes import built_in, spec
from ragscale.modes.core.graph import AsyncGraph
from ragscale.types import Event

__all__ = ["Limits", "Question", "Result", "deploy"]


class Question(TypedDict):
    """Input of a run."""

    question: str


class Result(TypedDict):
    """Output of a run: `Answer.to_dict`."""

    version: str
    question: str
    answer: str
    citations: list[str]
    mode: str
    model: str
    index: dict[str, str]
    seed: int
    limits: dict[str, float]
    started: str
    ended: str
    seconds: float
    stop_reason: str
    reason: str
    caveat: str
    spend: dict[str, Any]
    trace: list[dict[str, Any]]
    passages: dict[str, dict[str, str]]
    prompts: dict[str, Any]


class _State(Question, Result):
    """Both."""


class Limits(Budget):
    """The context of a run: limits of its question, as in `Budget`; ``None`` leaves one open. A mode's parameters are
    set where it is deployed.

    Raises:
        InvalidInput: There is no such limit, or a value is none.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")  # for the JSON schema alone


LIMITS = tuple(field.name for field in fields(Budget))


class _Deployed(AsyncGraph):
    """A graph that LangGraph's server asks for before each run, as one that is made for it.

    The server drops what the schema of the context does not name, and says nothing: this is where a misspelt limit can
    still be seen.
    """

    def __call__(self, runtime: Any) -> Self:
        """The graph itself. Raises `InvalidInput` for a context that `Limits` refuses."""
        execution = getattr(runtime, "execution_runtime", None)  # None where the graph is only looked at
        context = getattr(execution, "context", None)
        if isinstance(context, dict):
            Limits(**{str(name): value for name, value in context.items() if not _of_langgraph(str(name))})
        return self

    # The server knows by the parameter's type what to pass, and does not resolve the text of one.
    __call__.__annotations__["runtime"] = ServerRuntime

    async def _checked(self, input: Any, config: RunnableConfig | None, context: Any) -> tuple[Any, Any]:
        """Also raises `InvalidInput` for a context that `Limits` refuses."""
        if isinstance(context, dict):
            context = Limits(**{str(name): value for name, value in context.items()})
        return input, context


def _of_langgraph(name: str) -> bool:
    """Whether a key is one that LangGraph, its server and its clients put beside the limits in
    ``config["configurable"]``, the former context: ids, headers of the request, whose it is and where it is traced."""
    return name in ("thread_id", "run_id", "graph_id", "assistant_id", "user_id", "cron_id") or name.startswith(
        ("__", "checkpoint_", "langgraph_", "langsmith-", "x-")
    )


def _limits(context: Budget | None, configurable: Mapping[str, Any]) -> Budget:
    """Limits of a run, from its context and from ``config["configurable"]``.

    Raises:
        InvalidInput: A key is no limit, a value is none, or both have the same limit with different values.
    """
    former = {name: value for name, value in configurable.items() if not _of_langgraph(name)}
    if "|" in configurable.get("checkpoint_ns", ""):  # a node of another graph, which may have keys of its own
        former = {name: former[name] for name in LIMITS if name in former}
    given, before = Budget.of(context), Limits(**former)
    limits = {}
    for name in LIMITS:
        one, other = getattr(given, name), getattr(before, name)
        if None not in (one, other) and one != other:
            raise InvalidInput(
                f"{name}={one!r} in the context and {name}={other!r} in config['configurable']",
                "Give it once, in the context.",
            )
        limits[name] = other if one is None else one
    return Budget(**limits)


def deploy(mode: str) -> AsyncGraph:
    """A mode as a graph of a single node, without a checkpointer (the server brings its own).

    Args:
        mode: As on the command line, also of another package: ``"tree"``, ``"parallel(max_queries=1)"``.
    """
    chosen = spec.parse(mode)

    async def run(state: Question, runtime: Runtime[Limits], config: RunnableConfig) -> dict[str, Any]:
        budget = _limits(runtime.context, config.get("configurable", {}))
        agent = await asyncio.to_thread(_agent)
        result: dict[str, Any] = {}
        async for item in agent.astream(state.get("question", ""), mode=chosen, budget=budget):
            if isinstance(item, Event):
                runtime.stream_writer(item.to_dict())
            else:
                result = item.to_dict()
        return result

    graph = StateGraph(_State, Limits, input_schema=Question, output_schema=Result)
    graph.add_node("run", run)
    graph.add_edge(START, "run")
    graph.add_edge("run", END)
    return _Deployed.of(graph.compile(name=chosen.name))


_lock = threading.Lock()


def _agent() -> Agent:
    index = os.environ.get("RAGSCALE_INDEX")
    if not index:
        raise InvalidInput("RAGSCALE_INDEX is not set", "Set it to the folder of an index, as in indexes/demo.")
    with _lock:
        return _opened(index, os.environ.get("RAGSCALE_LLM") or "embedded")


@cache
def _opened(index: str, llm: str) -> Agent:
    return Agent(index, llm, prices=os.environ.get("RAGSCALE_PRICES") or None)


# A variable a mode: `chain`, `best_of_n`.
globals().update({re.sub(r"\W", "_", name): deploy(name) for name in built_in()})
