"""One run of a mode's graph: fresh, resumed from a checkpoint, or found finished."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Self, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphRecursionError
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import StateSnapshot

from ragscale.budget import Ledger
from ragscale.endpoint.retry import attempts
from ragscale.errors import BudgetExceeded, CallStoreError, InvalidInput, ModelError, RagscaleError
from ragscale.llm import LLM, Capabilities
from ragscale.llm.prices import Price
from ragscale.modes.core.calls import LEAST, Context, sleep_within
from ragscale.modes.core.costs import closing_tokens, closing_usd, dollars_a_token
from ragscale.modes.core.line import SaverError, WriteAheadLog
from ragscale.modes.core.mode import Mode
from ragscale.modes.core.state import initial, outermost
from ragscale.types import Event, Spend
from ragscale.version import __version__

__all__ = ["Execution", "now", "prepare"]

_STEPS = 1_000_000
"""Most steps of a graph. Every mode ends long before; one that never ends fails here."""
_PINS = "ragscale"
"""Key of the run's settings in a checkpoint's metadata: one text, since LangGraph changes other values."""
_SHOWN = 80  # characters of a value in a message
_AROUND = 20  # of them before what differs
_KINDS: dict[str, Any] = {
    "question": str, "text": str | None, "stop": str, "reason": str, "citations": list, "trace": list, "seen": list,
    "found": list, "chain": list, "known": list, "failed": list, "scope": dict, "part": dict, "typical": dict,
    "outcomes": list, "caveats": list,
}  # fmt: skip
"""Types of the state's values: a file may hold anything."""


@dataclass
class Execution:
    """One execution of a mode's graph.

    It owes nothing to a graph or runnable around it but the callbacks: their limit of steps, their checkpoints and
    their place in them are not its own.
    """

    graph: CompiledStateGraph[Any, Context, Any, Any]
    config: RunnableConfig
    start: Any
    """Input of the graph: the initial state, or None where it goes on from a checkpoint."""
    thread_id: str | None = None
    """Its name in the checkpointer; None for a run that is not kept."""
    line: WriteAheadLog | None = None
    """Write-ahead log of its calls; None for a run that is not kept."""
    spent: Spend = field(default_factory=Spend)
    """Spend of earlier processes, as the state has it."""
    elapsed: float = 0.0
    """Seconds on the critical path before."""
    pins: dict[str, Any] = field(default_factory=dict)
    """Settings by name with which the run was begun, and when (``started``)."""
    held: int | None = None
    """Tokens held for the closing answer before; see `State`."""
    ended: str = ""
    """When a run that was found finished had ended, in UTC as of ISO 8601."""
    finished: dict[str, Any] | None = None
    """The final state; None until there is one."""

    @classmethod
    async def begin(
        cls, mode: Mode, question: str, saver: BaseCheckpointSaver[Any] | None = None, thread_id: str | None = None
    ) -> Self:
        """A run of a question: a new one, or the one that `thread_id` names, where it was.

        Args:
            mode: Whose graph is run.
            question: In natural language.
            saver: Keeps the run; None for one that is not kept.
            thread_id: Names the run in `saver`.

        Raises:
            InvalidInput: The run of that name has another mode or another question, or has not ended and is of another
                version.
            RagscaleError: What `saver` has of it cannot be read.
            SaverError: `saver` failed.
        """
        start, pins = initial(question, outermost(mode.asks)), {"started": now(), "version": __version__}
        if saver is None or thread_id is None:
            # An explicit place in the checkpoints is what makes LangGraph leave out the place of a graph around this.
            return cls(compiled(mode), _config(checkpoint_ns=""), start, pins=pins)
        graph = mode.graph().compile(checkpointer=saver)
        run = cls(graph, _config(thread_id=thread_id), start, thread_id, pins=pins)
        try:
            saved = await graph.aget_state(run.config, subgraphs=True)
            run.line = WriteAheadLog(saver, thread_id)
            if saved.created_at:
                run._go_on(saved)
                await run.line.read(_unfinished(saved))
        except SaverError:
            raise
        except Exception as error:  # whatever LangGraph makes of a file that it did not write as it is
            problem = error.problem if isinstance(error, RagscaleError) else f"{type(error).__name__}: {error}"
            raise RagscaleError(
                f"thread_id={thread_id!r}: its checkpoints cannot be read ({problem[:200]})",
                "They are damaged, or another program or version wrote them. Use another id, or another file.",
            ) from error
        run.pin(mode=repr(mode), question=question)
        if run.finished is None and (was := run.pins.get("version")) != __version__:
            raise InvalidInput(
                f"thread_id={thread_id!r} is an unfinished run of ragscale {was or 'of an unknown version'}, this is "
                f"{__version__}, whose graphs may be others",
                "End it with that version, or use another id.",
            )
        return run

    def _go_on(self, saved: StateSnapshot) -> None:
        # Branches that had finished when the run died left their writes beside the checkpoint: these are in the values.
        values = {**self.start, **saved.values}
        self.start = None
        self.pins = dict(json.loads(str(dict(saved.metadata or {}).get(_PINS, "{}"))))
        self.pins["started"] = _moment(self.pins.get("started", saved.created_at))
        self.pins["limits"] = {str(name): float(limit) for name, limit in self.pins.get("limits", {}).items()}
        self.spent, self.elapsed = _spent(saved)
        self.held = None if values["held"] is None else int(values["held"])
        # `next` is empty too where a node's writes are there and its checkpoint is not: such a run goes on.
        if not saved.tasks and values["text"] is not None:
            self.finished = values
            self.ended = _moment(saved.created_at)

    @property
    def lost(self) -> Spend:
        """Cost of calls that killed processes had made, and that the run makes again."""
        return self.line.lost if self.line else Spend()

    def pin(self, **settings: Any) -> None:
        """Tie a run that is kept to settings without which it would be another one.

        Raises:
            InvalidInput: It was begun with others.
        """
        if self.start is not None:
            self.pins |= settings
        known = {name: self.pins.get(name) for name in settings}
        other = [name for name in settings if known[name] != settings[name]]
        if other:
            apart = "; ".join(f"{name} " + ", not ".join(_apart(known[name], settings[name])) for name in other)
            raise InvalidInput(f"thread_id={_short(self.thread_id)} is a run of {apart}", "Use another id.")

    def limit(self, limits: dict[str, float]) -> None:
        """Tie a run that is kept to its limits: one that is resumed may have higher, lower and further ones.

        Raises:
            InvalidInput: One of its limits is left out, which would spend freely.
        """
        for name, was in self.pins.get("limits", {}).items():
            if name not in limits:
                raise InvalidInput(
                    f"thread_id={self.thread_id!r} is a run with the limit {name}={was:g}, the budget has none",
                    f"Give {name} in the budget: the same, or another.",
                )
        self.pins["limits"] = limits

    async def events(self, context: Context) -> AsyncGenerator[Event, None]:
        """Run to the end, handing on events; then `finished` holds the final state."""
        # By a queue of our own: with LangGraph's "custom" stream, each step takes three more tasks of the loop.
        happened: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        walk = asyncio.create_task(self._walk(replace(context, emit=happened.put_nowait)))
        walk.add_done_callback(lambda _: happened.put_nowait(None))
        try:
            while (event := await happened.get()) is not None:
                yield Event.from_dict(event)
            await walk
        except GraphRecursionError:
            pass  # the state has no answer, which is a failure
        except (RagscaleError, CallStoreError) as error:
            error.__notes__ = []  # LangGraph's, on the task that it was in
            raise
        finally:
            walk.cancel()
            await asyncio.gather(walk, return_exceptions=True)

    async def _walk(self, context: Context) -> None:
        """Run the graph to its end, or to its failure; `finished` holds the state that it came to."""
        kept = self.thread_id is not None
        config: RunnableConfig = {**self.config, "metadata": {_PINS: json.dumps(self.pins)}} if kept else self.config
        # "sync": what a node has paid for is on the disk before the next one begins.
        states = self.graph.astream(
            self.start, config, context=context, stream_mode="values", durability="sync" if kept else None
        )
        async for self.finished in states:
            pass


def now() -> str:
    """The time, in UTC as of ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _moment(text: str | None) -> str:
    """A time that a file holds, in the form of `now`. Raises `TypeError` or `ValueError` where it is none."""
    return datetime.fromisoformat(cast(str, text)).astimezone(UTC).isoformat(timespec="milliseconds")


def _spent(saved: StateSnapshot) -> tuple[Spend, float]:
    """Total spend of a saved run and the seconds on its critical path, those of unfinished inner runs included.

    Raises:
        TypeError, ValueError, KeyError: A value is not what a run's state holds.
    """
    values = {**initial(""), **saved.values}
    for name, kind in _KINDS.items():
        if not isinstance(values[name], kind):
            raise TypeError(f"{name} is a {type(values[name]).__name__}")
    for event in values["trace"]:
        Event.from_dict(event)
        Spend.read(event["spend"])
    total, seconds = Spend.read(values["total"]), Spend.read(values["serial"]).seconds
    for task in saved.tasks:
        # An inner run that has finished is in the values already.
        if task.result is None and isinstance(task.state, StateSnapshot):
            inner, later = _spent(task.state)
            total, seconds = total + inner, max(seconds, later)
    return total, seconds


def _unfinished(saved: StateSnapshot) -> set[str]:
    """Ids of the tasks that have not ended, those of inner runs included."""
    found = set()
    for task in saved.tasks:
        if task.result is None:
            found.add(task.id)
            if isinstance(task.state, StateSnapshot):
                found |= _unfinished(task.state)
    return found


def _config(**place: str) -> RunnableConfig:
    return {"configurable": place, "recursion_limit": _STEPS}


@functools.lru_cache(maxsize=64)
def compiled(mode: Mode) -> CompiledStateGraph[Any, Context, Any, Any]:
    """The mode's graph, compiled once; it takes no checkpointer, not even that of a graph around it."""
    return mode.graph().compile(checkpointer=False)


async def prepare(
    ledger: Ledger, llm: LLM, held: int | None = None, *, price: Price | None = None, tools: bool = False
) -> Capabilities:
    """Hold the closing answer's share (`closing_tokens`), then find out what the model can do.

    The share is one of what the run began with, so that a run that is resumed holds the same.

    In this order, so that nothing is sent on a budget that can pay nothing: no call, or no more tokens than the
    shortest completion has. A model object is tried out once, at the first question, on its seconds and with the usual
    retries. The few tiny calls are not charged to the question: which one makes them is chance, and the same question
    must cost the same.

    Args:
        ledger: Of the run.
        llm: The model.
        held: `State.held` of a run that is resumed.
        price: Of the model, by the token, where dollars are limited.
        tools: Whether the mode calls tools, so that they are tried out as well.

    Raises:
        BudgetExceeded: The budget pays for no call at all, or the seconds ran out.
        ModelError: The model cannot be reached, or failed on every attempt.
    """
    serial = ledger.limit("serial_tokens")
    total = min(ledger.left("tokens") + ledger.spent.tokens, serial)
    if price and (rate := dollars_a_token(price, Spend())):
        total = min(total, (ledger.left("usd") + (ledger.spent.usd or 0.0)) // rate)

    def hold(thinking: int) -> None:
        tokens = closing_tokens(total, thinking)
        ledger.hold_closing(Spend(llm_calls=1, prompt_tokens=tokens, usd=closing_usd(price, tokens, thinking)))

    if serial <= LEAST:
        raise ledger.exceeded("serial_tokens", LEAST + 1, Spend())
    if ledger.left("tokens") <= LEAST:
        raise ledger.exceeded("tokens", LEAST + 1)
    if price and ledger.left("usd") < (least := price.most(1, LEAST)):
        raise ledger.exceeded("usd", least)
    if held != 0:
        hold(0)
    found = Capabilities()
    failure: ModelError | None = None
    try:
        async with ledger.in_time():
            async for attempt in attempts(sleep=functools.partial(sleep_within, ledger)):
                with attempt:
                    try:
                        found = await llm.capabilities(**({"tools": True} if tools else {}))
                    except ModelError as error:
                        failure = error
                        raise
    except BudgetExceeded as over:
        if failure is None:
            raise
        raise over.since(failure.problem) from None
    if not isinstance(found, Capabilities):
        raise ModelError(f"{llm.name} told its capabilities as a {type(found).__name__}", "Return Capabilities.")
    if found.thinking and held != 0:
        ledger.drop_closing()
        hold(found.thinking)
    if held:
        ledger.fit_closing(held, closing_usd(price, held, found.thinking))
    return found


def _apart(was: Any, now: Any) -> tuple[str, str]:
    """Two values as messages show them: where they are long, what differs and a little around it."""
    if isinstance(was, dict) and isinstance(now, dict):
        other = [key for key in {**was, **now} if was.get(key) != now.get(key)]
        pairs = [(key, *_apart(was.get(key), now.get(key))) for key in other]
        return ", ".join(f"{key}={one}" for key, one, _ in pairs), ", ".join(f"{key}={two}" for key, _, two in pairs)
    if isinstance(was, str) and isinstance(now, str) and max(len(was), len(now)) > _SHOWN:
        start = next((at for at, (one, two) in enumerate(zip(was, now, strict=False)) if one != two), 0)
        first = was.rfind(" ", 0, max(0, start - _AROUND)) + 1
        # a beginning that both have says nothing, and the end is cut by `_short`
        was, now = (("... " if first else "") + text[first:] for text in (was, now))
    return _short(was), _short(now)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
