"""One run of a mode's graph: fresh, resumed from a checkpoint, or found finished."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any, Self, cast

from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph

from ragscale.budget import Ledger
from ragscale.errors import InvalidInput
from ragscale.llm import LLM, Capabilities
from ragscale.llm.retry import attempts
from ragscale.modes.base import Mode, initial
from ragscale.modes.calls import Context
from ragscale.types import Event, Spend

__all__ = ["Run", "compiled", "prepare"]


@dataclass
class Run:
    """One execution of a compiled graph."""

    graph: CompiledStateGraph[Any, Context, Any, Any]
    config: RunnableConfig
    """Empty for a run that no checkpointer keeps."""
    start: Any
    """What the graph is given: the initial state, or None where it goes on from a checkpoint."""
    spent: Spend
    """What was spent before, in an earlier process."""
    elapsed: float
    """Seconds on the critical path before."""
    finished: dict[str, Any] | None = None
    """The final state; None until there is one."""

    @classmethod
    async def begin(
        cls, graph: CompiledStateGraph[Any, Context, Any, Any], mode: Mode, question: str, thread_id: str | None
    ) -> Self:
        """A run of a question: a new one, or the one that `thread_id` names, where it was.

        Args:
            graph: Compiled; with a checkpointer where `thread_id` is given.
            mode: What the graph was made of.
            question: In natural language.
            thread_id: Names the run in the checkpointer; None for one that is not kept.

        Raises:
            InvalidInput: The run of that name has another mode or another question.
        """
        if thread_id is None:
            return cls(graph, {}, initial(question), Spend(), 0.0)
        identity = {"mode": repr(mode), "question": question}
        config: RunnableConfig = {"configurable": {"thread_id": thread_id}, "metadata": identity}
        saved = await graph.aget_state(config)
        if not saved.created_at:
            return cls(graph, config, initial(question), Spend(), 0.0)
        known = {key: (saved.metadata or {}).get(key) for key in identity}
        if known != identity:
            raise InvalidInput(f"thread_id={thread_id!r} is a run of {known}, not of {identity}", "Use another id.")
        if not saved.next:
            return cls(graph, config, None, Spend(), 0.0, dict(saved.values))
        # Branches that had finished when the run died left their writes beside the checkpoint: these are in the values.
        spent = Spend(**saved.values["total"]) if "total" in saved.values else Spend()
        return cls(graph, config, None, spent, float(saved.values.get("serial", {}).get("seconds", 0.0)))

    async def events(self, context: Context) -> AsyncGenerator[Event, None]:
        """Run to the end, handing on events; then `finished` holds the final state."""
        stream = self.graph.astream(self.start, self.config or None, context=context, stream_mode=["custom", "values"])
        async with contextlib.aclosing(stream) as chunks:  # type: ignore[type-var]
            async for kind, chunk in cast(AsyncIterator[tuple[str, Any]], chunks):
                if kind == "custom":
                    yield Event.from_dict(chunk)
                else:
                    self.finished = chunk


@functools.lru_cache(maxsize=64)
def compiled(mode: Mode) -> CompiledStateGraph[Any, Context, Any, Any]:
    """The mode's graph without a checkpointer, compiled once."""
    return mode.graph().compile()


async def prepare(ledger: Ledger, llm: LLM) -> Capabilities:
    """Hold the closing answer's share: a quarter of the tokens, 512 to 2,048. Then find out what the model can do.

    In this order, so that nothing is sent on a budget that can pay nothing. A model object is tried out once, at the
    first question, on its seconds and with the usual retries. The few tiny calls are not charged to the question: which
    one makes them is chance, and the same question must cost the same.

    Raises:
        BudgetExceeded: The budget pays for no call at all, or the seconds ran out.
        ModelError: The model cannot be reached, or failed on every attempt.
    """
    tokens = min(2048.0, max(512.0, ledger.left("tokens") / 4))
    ledger.hold_closing(Spend(llm_calls=1, prompt_tokens=int(tokens)))
    found = Capabilities()
    async with ledger.in_time():
        async for attempt in attempts():
            with attempt:
                found = await llm.capabilities()
    return found
