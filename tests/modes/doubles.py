"""Doubles for testing modes: an index in memory, scripts for the model, and an event loop whose time is made up."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import re
import selectors
import zlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from types import SimpleNamespace
from typing import Any, TypeVar
from unittest import mock

from ragscale.agent import Agent
from ragscale.answer import Answer
from ragscale.budget import Budget, Ledger
from ragscale.errors import ModelError
from ragscale.index import Index
from ragscale.llm import LLM, store
from ragscale.llm.prices import Price
from ragscale.llm.scripted import Said, ScriptedCall, ScriptedLLM
from ragscale.modes import Mode
from ragscale.modes.core import calls, moves
from ragscale.prompts import INSTRUCTIONS, PROFILES
from ragscale.prompts.instructions import PLACEHOLDER
from ragscale.types import Event, Hit, Message, Passage, ToolCall

T = TypeVar("T")

PRICE = Price(input=0.15, output=0.6, cached=0.075)
"""Of the scripted model, where nothing else is said."""

QUESTION = "Who is older, the director of Jaws or the director of Alien?"


def digest(*parts: object) -> str:
    """A word that depends on `parts` and nothing else."""
    return f"w{zlib.crc32(repr(parts).encode('utf-8', 'replace')):08x}"


class StubIndex(Index):
    """An index in memory: which passages a query finds is a function of the query.

    Args:
        find: Ids for a query, best first, cut at k; by default `k` of `size` by the query's digest.
        size: Passages by default.
        words: Words a passage.
        delay: Seconds that a batch takes: a number, or a function of the queries.
    """

    def __init__(
        self,
        find: Callable[[str], Sequence[str]] | None = None,
        *,
        size: int = 500,
        words: int = 12,
        texts: dict[str, str] | None = None,
        delay: float | Callable[[Sequence[str]], float] = 0.0,
    ) -> None:
        self._find = find or (lambda query: [f"p{(int(digest(query)[1:], 16) + 7 * i) % size}" for i in range(20)])
        self._filler = " ".join(f"word{i}" for i in range(words - 1))
        self._texts, self._delay = texts or {}, delay
        self.searches: list[list[str]] = []
        """The queries of each batch, in the order in which they came."""
        self.running = 0

    async def asearch(self, queries: Sequence[str], k: int = 10, how: Any = None) -> list[list[Hit]]:
        if not queries:  # what a search needs is loaded: nothing here
            return []
        self.searches.append(list(queries))
        self.running += 1
        try:
            delay = self._delay(queries) if callable(self._delay) else self._delay
            if delay:
                await asyncio.sleep(delay)
            return [[Hit(self.passage(id), 1.0 / n) for n, id in enumerate(self._find(q)[:k], 1)] for q in queries]
        finally:
            self.running -= 1

    def passage(self, identity: str) -> Passage:
        return Passage(identity, f"Title {identity}", self._texts.get(identity, f"{identity} {self._filler}"))

    def close(self) -> None:
        pass


@functools.cache
def _conversations() -> frozenset[str]:
    chats = [PROFILES["generic"].turn("", [], {}, most=most).messages for most in range(1, 25)]
    return frozenset(chat[0]["content"] for chat in chats)


def move_of(call: ScriptedCall) -> str:
    """Move that a call is for: ``plan``, ``turn`` (of a conversation), ``follow-up``, ``answer``, ``score`` or ``read``
    (anything else); ``calls`` and ``acts`` are turns of an agent with tools, and in JSON.
    """
    if call.continuation is not None:
        return "score"
    if call.tools:
        return "calls"
    if call.schema is not None and "open" in call.schema.get("properties", {}):
        return "acts"
    if call.messages[0]["content"] in _conversations() or _tags(call.messages[0]["content"]):
        return "turn"
    if call.schema is None:
        return "follow-up" if "\nFollow up:" in call.messages[0]["content"] else "read"
    return "answer" if "answer" in call.schema.get("properties", {}) else "plan"


def _tags(instructions: str) -> tuple[str, str, str] | None:
    """Beginning, separator and end of a search, where a conversation is held in tags."""
    if "<|begin_search_queries|>" in instructions:
        return "<|begin_search_queries|>\n", ";\n", "\n<|end_search_queries|>"
    if "<search>" in instructions:
        return "<search> ", " ## " if "##" in instructions else ", ", " </search>"
    return None


def section_of(call: ScriptedCall) -> str:
    """The section of the instruction that a call is made from; empty for a profile's own move."""
    return next((name for name, form in _forms().items() if form.fullmatch(call.messages[0]["content"])), "")


@functools.cache
def _forms() -> dict[str, re.Pattern[str]]:
    """The system message of each section, whatever stands for its placeholders."""
    texts = {name: PLACEHOLDER.split(told.system)[::2] for name, told in INSTRUCTIONS.items() if told.system}
    return {name: re.compile(".*".join(map(re.escape, parts)), re.DOTALL) for name, parts in texts.items()}


def most_queries(call: ScriptedCall) -> int:
    """Most queries that a turn may ask."""
    if call.tools:
        return int(call.tools[0].parameters["properties"]["queries"]["maxItems"])
    if call.schema is not None and "search" in call.schema.get("properties", {}):
        return int(call.schema["properties"]["search"]["maxItems"])
    if call.schema is None:
        text = call.messages[0]["content"]
        plural = (_tags(text) or ("", ", ", ""))[1] != ", "
        return int([*re.findall(r"(?:up to|at most) (\d+)", text), 2 if plural else 1][0])
    search = call.schema.get("anyOf", [call.schema])[0]
    return int(search["properties"]["queries"]["maxItems"])


Script = Callable[[Sequence[Message], ScriptedCall], Any]


def query(*parts: object) -> str:
    """A sub-query that no other parts give."""
    return f"query about {digest(*parts)}"


def never_repeating(messages: Sequence[Message], call: ScriptedCall) -> list[str | Said]:
    """Every turn is valid and new; depends on nothing but the prompt, the seed and the sample's number.

    In a conversation it searches with as many queries as it may and never answers.
    """
    kind = move_of(call)
    fields = (call.schema or {}).get("properties", {})

    def text(i: int) -> str | Said:
        word = digest(kind, messages, call.seed, i)
        if "value" in fields or "best" in fields:
            choices = fields["value"]["enum"] if "value" in fields else [1, 2, 3]
            return json.dumps({"why": word, [*fields][-1]: choices[int(word[1:], 16) % len(choices)]})
        if kind in ("calls", "acts"):
            queries = [query(word, j) for j in range(most_queries(call))]
            if kind == "calls":  # the first in a call of its own
                parts = filter(None, [queries[:1], queries[1:]])
                return Said("hm", [ToolCall("search", json.dumps({"queries": part})) for part in parts])
            return json.dumps({"known": "hm", "missing": "x", "search": queries, "open": [], "answer": ""})
        if kind == "plan":
            several = range(1, fields.get("queries", {}).get("maxItems", 1))
            return json.dumps([query(word), *(query(word, j) for j in several)])
        if kind == "turn":
            queries = [query(word, j) for j in range(most_queries(call))]
            if tags := _tags(messages[0]["content"]):
                return f"<think> hm </think>{tags[0]}{tags[1].join(queries)}{tags[2]}"
            return json.dumps({"think": "hm", "queries": queries})
        if kind == "follow-up":
            return f"Follow up: {query(word)}"
        if kind == "answer":
            return json.dumps({"documents": [1], "answer": f"answer {word}"})
        return f"fact {word}"

    return [text(i) for i in range(call.n)]


def instead(by: Callable[[ScriptedCall], str] = move_of, /, **replies: Any) -> Script:
    """`never_repeating`, but calls of these names reply something else: a value, or what a function of the call gives.

    Args:
        by: Names a call: by its move, or `section_of`.
        replies: As a script's; a dict is written as JSON, and None leaves the call to `never_repeating`.
    """

    def script(messages: Sequence[Message], call: ScriptedCall) -> Any:
        reply = replies.get(by(call))
        said = reply(call) if callable(reply) else reply
        if said is None:
            return never_repeating(messages, call)
        return json.dumps(said) if isinstance(said, dict) else said

    return script


def first_member_fails(messages: Sequence[Message], call: ScriptedCall) -> Any:
    """`never_repeating`, but the model of an ensemble's first member, which alone plans greedily, fails for good."""
    if call.temperature == 0.0 and move_of(call) == "plan":
        raise ModelError("broken", "None.")
    return never_repeating(messages, call)


def score(messages: Sequence[Message], continuation: str) -> float:
    """A log-probability by the prompt."""
    return -(int(digest(messages)[1:], 16) % 1000) / 100


def scripted(script: Script = never_repeating, **options: Any) -> ScriptedLLM:
    """A model that can do everything; `script` says what."""
    return ScriptedLLM(script, **{"score": score, "context_window": 100_000, **options})


async def ask(
    mode: str | Mode,
    *,
    llm: LLM | None = None,
    index: Index | None = None,
    budget: Budget | None = None,
    question: str = QUESTION,
    seed: int = 0,
    thread: str | None = None,
    prices: Any = PRICE,
    **options: Any,
) -> tuple[Answer, Ledger]:
    """Run one question, and the ledger that its spend was charged to (a parent without limits)."""
    parent = Ledger(clock=asyncio.get_running_loop().time)
    held = StubIndex() if index is None else index
    agent = Agent(held, scripted() if llm is None else llm, mode, budget, seed=seed, prices=prices, **options)
    return await agent.aask(question, parent=parent, thread_id=thread), parent


class VirtualTime(asyncio.SelectorEventLoop):
    """An event loop that never waits: when nothing can run, its clock jumps to the next timer.

    Hours pass in no time, and every time-out fires exactly when it should. What is sent to a thread runs at once
    instead: the clock does not see a thread, so it could jump while one works.
    """

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self._now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        done: asyncio.Future[Any] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTime) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            ready = super().select(5)  # something from a thread?
            if not ready:
                raise RuntimeError("deadlock: nothing runs, no timer is set")
        if not ready and timeout:
            self._loop._now += timeout
        return ready


def virtually(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `work` in virtual time; moves measure their seconds by it."""
    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        loop = runner.get_loop()
        clock = SimpleNamespace(perf_counter=loop.time)
        with contextlib.ExitStack() as patched:
            for module in (moves, calls, store):
                patched.enter_context(mock.patch.object(module, "time", clock))
            return runner.run(work())


def run(mode: str | Mode, **options: Any) -> tuple[Answer, Ledger]:
    """`ask`, in virtual time."""
    return virtually(lambda: ask(mode, **options))


def of(answer: Answer, *moves: str) -> list[Event]:
    """The events of these moves."""
    return [event for event in answer.trace if event.move in moves]


def counts(answer: Answer) -> tuple[int, int, int]:
    """C, R and S of a run: its calls, retrievals and rounds."""
    return answer.spend.total.llm_calls, answer.spend.total.queries, answer.spend.serial.rounds


async def others() -> list[asyncio.Task[Any]]:
    """Tasks beside the current one, after everything that is due has run."""
    for _ in range(20):
        await asyncio.sleep(0)
    return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


class Together:
    """A `sleep` for `ScriptedLLM` under which a call goes on only when `width` callers wait at once.

    A time-out guards against waiting forever: in virtual time it costs nothing and `failed` tells.
    """

    def __init__(self, width: int) -> None:
        self.width, self.failed = width, 0
        self._waiting: list[asyncio.Event] = []

    async def __call__(self, _: float) -> None:
        mine = asyncio.Event()
        self._waiting.append(mine)
        if len(self._waiting) >= self.width:
            for event in self._waiting:
                event.set()
            self._waiting.clear()
        try:
            await asyncio.wait_for(mine.wait(), 60)
        except TimeoutError:
            self.failed += 1
            self._waiting.remove(mine)


Sleep = Callable[[float], Awaitable[Any]]
