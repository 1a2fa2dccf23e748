"""Calls on a budget: each is reserved before it is made, settled after it, retried within bounds, and traced."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import json
import math
import operator
import reprlib
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, Self, TypeVar

from langgraph.runtime import Runtime

from ragscale.budget import Budget, Ledger, Reservation, Share
from ragscale.endpoint.retry import attempts
from ragscale.errors import BudgetExceeded, ModelError, RagscaleError
from ragscale.index import How
from ragscale.llm.answers import longest, within
from ragscale.llm.base import LLM, Capabilities, Generation, Score
from ragscale.llm.prices import Price
from ragscale.llm.special import neutral, special_tokens
from ragscale.llm.tokens import with_margin
from ragscale.modes.core.costs import closing_usd
from ragscale.modes.core.line import WriteAheadLog
from ragscale.modes.core.state import Scope, event_id
from ragscale.prompts import Plan, Profile, Prompt, Reply
from ragscale.prompts.called import put_down
from ragscale.prompts.thoughts import spoken
from ragscale.text import encodable
from ragscale.types import Event, Hit, Message, Move, Passage, Spend, Status, Tool, ToolCall, Usage
from ragscale.view.sent import Sent
from ragscale.words import counted

__all__ = ["LEAST", "Calls", "Context", "Retriever", "sleep_within"]

_MOST = 2**53  # of a count: what a float holds exactly
_SWALLOWED = (
    "all of it stands in the field for thoughts, where the server's reasoning parser may have put a reply; serve the "
    "model without the parser (vLLM: --reasoning-parser), or switch thoughts off "
    '(?chat_template_kwargs={"enable_thinking":false})'
)
LEAST = 16
"""A completion of fewer tokens says little, and some services take no fewer."""

_amounts = operator.attrgetter(*(amount.name for amount in fields(Usage)))

S = TypeVar("S")
T = TypeVar("T")
_Result = TypeVar("_Result", Generation, Score)


class Retriever(Protocol):
    """Index as a mode sees it: search and passages."""

    async def asearch(self, queries: Sequence[str], k: int = 10, how: How | None = None) -> list[list[Hit]]:
        """The `k` best hits of each query, best first."""
        ...

    def passage(self, id: str) -> Passage:
        """The passage of that id."""
        ...


@dataclass(frozen=True, kw_only=True)
class Context:
    """Objects that the nodes of a run share by reference; never checkpointed."""

    index: Retriever
    llm: LLM
    ledger: Ledger
    capabilities: Capabilities
    price: Price | None = None
    """Price of the model; None where it is unknown, so that dollars are too."""
    seed: int = 0
    how: How | None = None
    """Kind of search; ``None`` is the index's best."""
    about: str = ""
    """Description of the index's corpus, for planners; empty for a neutral one."""
    shown: int = 8
    """Passages that the closing answer is shown at most: by them its share of the tokens is cut."""
    line: WriteAheadLog | None = None
    """Write-ahead log of the run's calls; None for a run that is not kept."""
    profiles: dict[str, Profile] = field(default_factory=dict)
    """Prompt profiles made so far in the run, by the settings of its scopes; see `Moves.profile`."""
    prompts: Sent | None = None
    """Receives the prompt of each call; None where nobody looks at them."""
    passages: dict[str, Passage] | None = None
    """Receives the passages that are retrieved, by id; None where nobody looks at them."""
    emit: Callable[[dict[str, Any]], None] | None = None
    """Receives the events of an inner run as they happen; None for LangGraph's stream writer of each node."""


class Calls:
    """The calls of one node of one branch: what they cost advances the branch's clock and is traced.

    `ledger` is the run's, or a child of it that holds a branch or an inner run to its share.
    """

    def __init__(
        self,
        runtime: Runtime[Context],
        *,
        scope: Scope,
        clock: Spend,
        spent: Spend,
        held: int | None,
        trace: Sequence[dict[str, Any]] = (),
        question: str = "",
    ) -> None:
        self.context = runtime.context
        self._question = question
        self.scope = scope
        self._emit = self.context.emit or runtime.stream_writer
        self._task = runtime.execution_info
        self.clock = clock
        """The branch's critical path up to now."""
        self._recorded = clock  # without the move under way
        self._spent = spent
        self._cost = Spend()
        self._events: list[Event] = []
        self.ending = ""
        """End of the last reply, in words, where that was neither by the model nor by a limit."""
        own = [event["id"] for event in trace if event["branch"] == scope["branch"]]
        self._last = own[-1] if own else scope["after"]
        self._number = scope["events"] + len(own)
        self.ledger = self._keeping(held)

    @classmethod
    def begin(cls, state: dict[str, Any], runtime: Runtime[Context]) -> Self:
        """Bind to a node's state: its scope, its clock and what its run has spent.

        A branch that is one node (the payload of `send`) has no ``total`` and no ``trace``: it begins with nothing.
        """
        spent = Spend.from_dict(state["total"]) if "total" in state else Spend()
        clock = Spend.from_dict(state["serial"])
        return cls(
            runtime, scope=state["scope"], clock=clock, spent=spent, held=state.get("held"),
            trace=state.get("trace", ()), question=state.get("question", ""),
        )  # fmt: skip

    @property
    def branch(self) -> str:
        """Full name of the branch."""
        return self.scope["branch"]

    def release(self) -> None:
        """Make what is kept for the closing answer available to the moves that follow, which write it."""
        if self.scope["share"] is None:
            self.context.ledger.release_closing()
        else:
            self.ledger = self._keeping(0)

    def give_up_closing(self) -> None:
        """Keep nothing for a closing answer from now on: branches end in answers of their own.

        The node must return ``"held": 0``, so that a run that is resumed keeps nothing either.
        """
        if self.scope["share"] is None:
            self.context.ledger.drop_closing()
        else:
            self.ledger = self._keeping(0)

    def _keeping(self, held: int | None) -> Ledger:
        """The run's own ledger, or a child of it with the share of this scope, less what is kept (`State.held`)."""
        share = self.scope["share"]
        if share is None:
            return self.context.ledger
        reserve = self.scope["reserve"]
        keep = reserve if held != 0 else {}
        if held and reserve:
            usd = min(
                reserve.get("usd", 0.0), closing_usd(self.context.price, held, self.context.capabilities.thinking)
            )
            keep = {**reserve, "tokens": held, "serial_tokens": held, "usd": usd}
        self._holds = bool(keep.get("tokens"))
        limits = {name: max(0, limit - keep.get(name, 0)) for name, limit in share.items()}
        spent = self._spent + self._cost
        of = Share(
            self.branch, {name: min(keep.get(name, 0), limit) for name, limit in share.items()}, self.scope["fewer"]
        )
        return self.context.ledger.child(Budget(**limits), spent=spent, elapsed=self.clock.seconds, share=of)  # type: ignore[arg-type]

    @contextlib.asynccontextmanager
    async def reserve(self, wanted: Spend) -> AsyncIterator[Reservation]:
        """Reserve a call, written down ahead where the run is kept; settle it within the block.

        Raises:
            BudgetExceeded: It does not fit.
        """
        line, task = self.context.line, self._task
        with self.ledger.reserve(wanted, clock=self.clock) as held:
            if line and task:
                await line.ahead(task, wanted)
            try:
                yield held
            finally:
                if line and task and held.actual is not None:
                    line.settle(task, wanted, held.actual)

    def charged(self) -> dict[str, Any]:
        """The state update that carries what the moves so far cost and did."""
        return {
            "total": self._cost.to_dict(),
            "serial": self.clock.to_dict(),
            "trace": [event.to_dict() for event in self._events],
        }

    def note(self, move: Move, text: str = "", **values: Any) -> None:
        """Trace something that cost nothing: `text` in words, and fields of its `Event`."""
        self.record(Event(move, self.branch, note=text, **values))

    async def write(
        self,
        move: Move,
        messages: list[Message],
        *,
        max_tokens: int,
        n: int = 1,
        temperature: float = 0.0,
        schema: dict[str, Any] | None = None,
        attempt: int = 0,
        least: int = LEAST,
        input: str = "",
        passages: Sequence[str] = (),
        note: str = "",
        thoughts: bool = False,
        stop: Sequence[str] = (),
        tools: Sequence[Tool] = (),
        read: Callable[[str], Any] | None = None,
        thinking: int | None = None,
    ) -> list[str]:
        """One model call: n samples of the next turn. `attempt` tells repeated calls of the same prompt apart.

        A model that thinks first may have its allowance (`thinking`; None is `Capabilities.thinking`) on top of
        `max_tokens`. One that was not seen to think before the question, and is cut within a thought now, has told an
        allowance since: the call is made again with that, and both are charged. A budget that cannot pay `least`
        completion tokens a sample and a quarter of the allowance is spent: half a JSON turn would be wasted. `thoughts`
        says that a thought is part of the turn, and not to be missed behind it. Messages that end with an assistant's
        are continued. The string of `stop` that ended a text is put back, and the `tools` that it calls are put down
        behind it (`put_down`). What `read` makes of a text (None: it is malformed) is traced.

        Raises:
            BudgetExceeded: The budget cannot pay the call, or it cut the thought before anything was written.
            ModelError: The model failed, or thought until its allowance was used up.
        """
        llm, context = self.context.llm, self.context
        max_tokens = max(max_tokens, context.capabilities.least)
        again = functools.partial(
            self.write, move, messages, max_tokens=max_tokens, temperature=temperature, schema=schema, least=least,
            input=input, passages=passages, note=note, thoughts=thoughts, stop=stop, tools=tools, read=read,
        )  # fmt: skip
        if n > 1 and not context.capabilities.samples:
            return [text for i in range(n) for text in await again(attempt=attempt * n + i, thinking=thinking)]
        if thinking is None:
            thinking = context.capabilities.thinking
        # A seed that depends on nothing but the run's seed and what is asked: the order of branches cannot change it.
        if move in ("plan", "answer"):
            temperature = max(temperature, self.scope["temperature"])
        key = f"{context.seed}|{self.branch}|{attempt}|{messages[-1]['content']}"
        seed = zlib.crc32(key.encode()) & 0x7FFFFFFF

        given = 0
        # A search branches where the planner was unsure, and a policy goes on where the answer was.
        sure = context.capabilities.logprobs and move in self.scope["asks"].get("logprobs", ())
        more = _offer(tools) | ({"logprobs": True} if sure else {})

        async def call(room: int) -> Generation:
            nonlocal given
            given = room
            return await llm.generate(
                messages, max_tokens=room, n=n, temperature=temperature, seed=seed, stop=stop,
                schema=schema if context.capabilities.json_schema else None, **more,
            )  # fmt: skip

        lengths = (max(least, context.capabilities.least) + thinking // 4, max_tokens + thinking)
        result, event = await self.charge(move, messages, lengths, n, call, tools)
        ends = [reason for reason in dict.fromkeys(result.finish_reasons) if reason != "stop"]
        cut = ["cut off at max_tokens" if end == "length" else f"ended by the server: {end[:80]}" for end in ends]
        self.ending = "; ".join(words for end, words in zip(ends, cut, strict=True) if end != "length")
        written = result.usage.completion_tokens
        if written > given * n:
            cut.append(f"the server wrote {written:,} tokens of at most {given * n:,}")
        stopped = result.stops or [""] * n
        texts = [encodable(within(text, given)) + mark for text, mark in zip(result.texts, stopped, strict=True)]
        if result.calls and tools:
            most = longest(given)
            texts = [put_down(text, calls, most) for text, calls in zip(texts, result.calls, strict=True)]
        empty = not thoughts and not any(spoken(text).strip() for text in texts)
        if empty:
            cut.append("nothing but a thought" if result.usage.reasoning_tokens else "an empty reply")
            if any(result.thoughts) and not ends:
                self.ending = _SWALLOWED
        score = _mean(result.logprobs) if sure else None
        status: Status = "cut" if "length" in ends else ""
        told = _read(move, list(map(read, texts)), score, status) if read else {"score": score, "status": status}
        self.record(replace(
            event, input=input, output=texts[0] if n == 1 else texts, passages=list(passages),
            note="; ".join(filter(None, [note, event.note, *cut])), **told,
        ))  # fmt: skip
        if empty and "length" in ends:
            if given < max_tokens + thinking and (over := self._short(0, given * n, (max_tokens + thinking) * n)):
                raise over
            if (allowed := (await llm.capabilities()).thinking) > thinking:
                return await again(n=n, attempt=attempt, thinking=allowed)
            raise ModelError(
                f"{llm.name} thought for {given} tokens and wrote nothing; its allowance for thoughts is {thinking}",
                "Raise it (?thinking=N in the model's specification, LangChainLLM(model, thinking=N) around a model of "
                "LangChain), or have the model think less or not at all: ?reasoning_effort=low, "
                '?chat_template_kwargs={"enable_thinking":false}.',
            )
        return texts

    def passage(self, id: str) -> Passage:
        """The passage of that id as prompts show it: unable to write a special token of the model's own tokenizer."""
        found = self.context.index.passage(id)
        own = special_tokens(self.context.llm)
        return replace(found, title=neutral(found.title, own), text=neutral(found.text, own)) if own else found

    async def fit(
        self, make: Callable[[list[Passage]], Prompt[T]], ids: Sequence[str], n: int = 1, *, room: float = 1.0
    ) -> tuple[Prompt[T], list[str], str]:
        """The prompt with as many of the best passages as the budget and the context window have room for.

        The last passage left is cut to half again and again rather than dropped while it has words. `room` is the share
        of the longest completion for which there must be room, `n` times.

        Returns:
            The prompt, the ids of the passages in it, best first, and a note where some had to be left out.
        """
        shown = [self.passage(id) for id in ids]
        while True:
            prompt = make(shown)
            need, left = await self._need(prompt, n, room)
            if need <= left or not shown:
                note = self._fitting(len(shown), counted(len(ids), "passage")) if len(shown) < len(ids) else ""
                return prompt, [passage.id for passage in shown], note
            if len(shown) > 1:
                keep = math.floor(len(shown) * max(left, 0) / need)
                shown = shown[: max(1, min(keep, len(shown) - 1))]
            else:
                words = shown[0].text.split()
                shown = [replace(shown[0], text=" ".join(words[: len(words) // 2]))] if len(words) > 8 else []

    async def fit_first(
        self, make: Callable[[Sequence[S]], Prompt[T]], items: Sequence[S], *, room: float = 1.0
    ) -> tuple[Prompt[T], str]:
        """The prompt with as many of the first items as the budget and the context window have room for; one at least.

        `room` is as of `fit`.

        Returns:
            The prompt, and a note where some had to be left out.
        """
        shown = len(items)
        while True:
            prompt = make(items[:shown])
            need, left = await self._need(prompt, 1, room)
            if need <= left or shown <= 1:
                return prompt, self._fitting(shown, str(len(items))) if shown < len(items) else ""
            shown = max(1, min(math.floor(shown * max(left, 0) / need), shown - 1))

    async def _need(self, prompt: Prompt[Any], n: int, room: float) -> tuple[int, float]:
        """Tokens that a prompt needs, and those that it may have beside `room` of its longest completions."""
        written = int(prompt.max_tokens * room) * n + self.context.capabilities.thinking // 2
        left = min(self.ledger.tokens_left(self.clock)[0], self._window) - written
        return with_margin(await self.count(prompt.messages)), min(left, self._bought(written))

    def _bought(self, written: int) -> float:
        """Prompt tokens that the dollars left pay beside a completion."""
        price, usd = self.context.price, self.ledger.left("usd")
        return price.prompt(written, usd) if price and price.by_token and usd < math.inf else math.inf

    def _fitting(self, shown: int, of: str) -> str:
        budget, window, bought = self.ledger.tokens_left(self.clock)[0], self._window, self._bought(0)
        if bought < min(budget, window):
            return f"{shown} of {of} fit into the ${self.ledger.left('usd'):.6f} left"
        why = f"the context window of {window}" if window < budget else f"the {budget:g} tokens left"
        return f"{shown} of {of} fit into {why}"

    async def charge(
        self,
        move: Move,
        messages: list[Message],
        length: tuple[int, int],
        n: int,
        call: Callable[[int], Awaitable[_Result]],
        tools: Sequence[Tool] = (),
    ) -> tuple[_Result, Event]:
        """Reserve, call, settle; again after a retryable failure. Every attempt is charged.

        `length` is the fewest and the most completion tokens of a sample; `tools` are part of the prompt.

        Returns:
            The result, and an event to be completed and recorded: what all attempts cost, and the failures among them.
        """
        digest = _digest(messages)
        if self.context.prompts is not None:
            self.context.prompts.keep(digest, messages)
        total, reserved = Spend(), 0
        failures: list[str] = []
        result: _Result | None = None
        prompt = 0

        def event(**values: Any) -> Event:
            return Event(move, self.branch, prompt=digest, spend=total, reserved=reserved, **values)

        async def wait(seconds: float) -> None:
            # Nobody waits for an attempt that the budget cannot pay.
            self._room(prompt, length, n, messages)
            self.ledger.reserve(Spend(llm_calls=1), clock=self.clock).refund()
            await sleep_within(self.ledger, seconds)

        try:
            prompt = await self.count(messages, tools)
            async for attempt in attempts(sleep=wait):
                with attempt:
                    room = self._room(prompt, length, n, messages)
                    outcome, spent = await self._attempt(prompt, room, n, call)
                    self.clock += spent
                    total, reserved = total + spent, reserved + with_margin(prompt) + room * n
                    if isinstance(outcome, RagscaleError):
                        failures.append(outcome.problem)
                        raise outcome
                    result = outcome
        except (BudgetExceeded, ModelError) as error:
            note = "; ".join(dict.fromkeys([*failures, error.problem]))
            self.record(event(status="failed", note=note))
            if isinstance(error, BudgetExceeded) and failures and error.problem not in failures:
                raise error.since("; ".join(dict.fromkeys(failures))) from None
            raise
        assert result is not None  # the loop ends with a result or an error
        return result, event(note="; ".join(failures))

    async def _attempt(
        self, prompt: int, room: int, n: int, call: Callable[[int], Awaitable[_Result]]
    ) -> tuple[_Result | ModelError | BudgetExceeded, Spend]:
        """One attempt under its reservation: the result or the error, and what it was charged."""
        most = with_margin(prompt)
        wanted = Spend(
            llm_calls=1, prompt_tokens=most, completion_tokens=room * n, usd=self._most(most, room * n)
        )  # fmt: skip

        def unknown() -> Spend:
            """The most that it may have written, where nobody knows."""
            if self.context.capabilities.tokenizer:
                return replace(wanted, prompt_tokens=prompt, estimated_tokens=wanted.completion_tokens)
            return replace(wanted, estimated_tokens=wanted.tokens)

        outcome: _Result | ModelError | BudgetExceeded
        async with self.reserve(wanted) as held:
            started = time.perf_counter()
            stored: float | None = None  # seconds that it took when it was made
            try:
                async with self.ledger.in_time(self.clock):
                    outcome = _checked(await call(room), n, self.context.llm)
                spent, stored = outcome.usage.spend, outcome.seconds
                if stored is not None and stored > (left := self.ledger.left("seconds", self.clock)):
                    outcome, stored = self.ledger.exceeded("seconds", stored, self.clock), left
            except ModelError as error:
                outcome, spent = error, error.spend or unknown()
            except BudgetExceeded as limit:
                outcome, spent = limit, unknown()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                outcome = ModelError(f"{self.context.llm.name} cancelled the call by itself", retryable=True)
                spent = unknown()
            spent = self._charged(spent, time.perf_counter() - started if stored is None else stored)
            held.settle(spent, stored=stored is not None)
        return outcome, spent

    def _most(self, prompt: int, completion: int) -> float | None:
        """Dollars that a call of so many tokens may cost; None where nobody knows."""
        price = self.context.price
        return price.most(prompt, completion) if price and price.by_token else None

    def _charged(self, spent: Spend, seconds: float) -> Spend:
        """Charge of a call that took so many seconds, with its dollars."""
        price = self.context.price
        usage = Usage(spent.prompt_tokens, spent.completion_tokens, spent.cached_tokens)
        return replace(spent, seconds=seconds, usd=price.usd(usage, seconds) if price else None)

    async def count(self, messages: list[Message], tools: Sequence[Tool] = ()) -> int:
        """The prompt's tokens, as the model counts them. Raises `ModelError` where that is no count."""
        count = await self.context.llm.count_tokens(messages, **_offer(tools))
        if not _is_count(count):
            raise _odd(self.context.llm, "count_tokens", count, "a number of tokens")
        return count

    @property
    def _window(self) -> int:
        window = self.context.llm.context_window
        if not _is_count(window):
            raise _odd(self.context.llm, "context_window", window, "a number of tokens")
        return window

    def _room(self, prompt: int, length: tuple[int, int], n: int, messages: Sequence[Message]) -> int:
        """Completion tokens a sample that this call may have; raises where an answer of any use does not fit."""
        need = with_margin(prompt)
        window = self._window - prompt
        least, most = length
        if window < least:
            raise ModelError(
                f"the prompt has {prompt:,} tokens, and the context window of {self.context.llm.name} has "
                f"{self._window:,}, {least:,} of them for the reply",
                self._shorter(prompt, self._window - least, messages),
            )
        if over := self._short(need, least * n, least * n):
            raise over
        left = (self.ledger.tokens_left(self.clock)[0] - need) / n
        price, usd = self.context.price, self.ledger.left("usd")
        if price and price.by_token and usd < math.inf:
            left = min(left, price.completion(need, usd) // n)
        return int(min(most, left, window))

    def _shorter(self, prompt: int, room: int, messages: Sequence[Message]) -> str:
        """Remedy for a prompt beyond the window, which passages were left out of before: by what it consists of."""
        larger = "use a model with a larger window, or one served with a larger one"
        texts = [str(message["content"]) for message in messages]
        question, everything = len(self._question), sum(map(len, texts))
        asked = question * max(1, sum(text.count(self._question) for text in texts if question))
        if 2 * asked < everything:
            return f"Show fewer passages (k, context) or take fewer steps; or {larger}."
        tokens = prompt * asked / everything
        most = int(question * (room - (prompt - tokens)) / tokens)
        told = f"to some {most // 100 * 100:,}" if most >= 100 else "much"
        return f"The question has {question:,} characters: shorten it {told}; or {larger}."

    def _short(self, prompt: int, completion: int, wanted: int) -> BudgetExceeded | None:
        """The error of a call that wants `wanted` completion tokens, where the budget does not even pay `completion`
        of them."""
        left, dimension = self.ledger.tokens_left(self.clock)
        if left < prompt + completion:
            return self.ledger.exceeded(dimension, prompt + wanted, self.clock)
        usd, most = self.ledger.left("usd"), self._most(prompt, completion)
        if most is not None and usd < most:
            return self.ledger.exceeded("usd", self._most(prompt, wanted) or most)
        return None

    def record(self, event: Event) -> None:
        """Trace an event, charge it to the branch's clock and stream it; its id, parent and start are set here."""
        event = replace(
            event, id=event_id(self.branch, self._number), parent=self._last, start=self._recorded.seconds
        )  # fmt: skip
        self._last, self._number = event.id, self._number + 1
        self._events.append(event)
        self._cost += event.spend
        self.clock = self._recorded = self._recorded + event.spend
        self._emit(event.to_dict())


def _mean(logprobs: Sequence[float]) -> float | None:
    """The mean log-probability of several samples; None where a server has sent none, or no numbers."""
    known = [value for value in logprobs if isinstance(value, int | float) and math.isfinite(value)]
    return math.fsum(known) / len(known) if known else None


def _offer(tools: Sequence[Tool]) -> dict[str, Any]:
    """The argument of a model's methods; none where there are no tools, for models that know of none."""
    return {"tools": tuple(tools)} if tools else {}


def _digest(messages: list[Message]) -> str:
    return hashlib.sha256(json.dumps(messages).encode()).hexdigest()[:12]


def _read(move: Move, values: Sequence[Any], score: float | None, status: Status) -> dict[str, Any]:
    """Fields of an event by what was read from its replies: the parsed plan, a rating, and its status."""
    queries: list[str] = []
    known: list[str] = []
    enough = answered = False
    for value in values:
        if isinstance(value, Reply):
            queries, known, enough = [*queries, *value.queries], [*known, value.known], enough or value.enough
            queries += [f"open [{number}]" for number in value.opens]
            answered = answered or bool(value.answer)
        elif move == "plan" and isinstance(value, list) and all(isinstance(plan, Plan) for plan in value):
            queries += [plan.query for plan in value if plan.query]
            known += [plan.known for plan in value]
            enough = enough or bool(value)
        elif value is not None:
            queries += getattr(value, "queries", []) if move == "plan" else []
            answered = True
    if not queries and not answered:
        status = "enough" if enough else "malformed"
    rated = [value for value in values if isinstance(value, float)]
    score = math.fsum(rated) if rated and move == "score" else score
    return {"plan": queries, "known": list(dict.fromkeys(filter(None, known))), "status": status, "score": score}


def _checked(result: _Result, n: int, llm: LLM) -> _Result:
    """Checked return value of a model object, which may be anybody's; raises `ModelError` where it is no `LLM`'s.

    The texts may be of any length.
    """
    call, wanted = ("score", "a Score") if isinstance(result, Score) else ("generate", counted(n, "text"))
    usage = getattr(result, "usage", None)
    if not isinstance(usage, Usage) or not all(map(_is_count, _amounts(usage))):
        raise _odd(llm, call, usage, f"{wanted} and a Usage of whole numbers")
    if isinstance(result, Score):
        if not isinstance(result.logprob, float) and not (
            isinstance(result.logprob, int) and -_MOST <= result.logprob <= _MOST
        ):
            raise _odd(llm, call, result.logprob, "a log-probability")
    elif not isinstance(result, Generation) or not _texts(result.texts) or len(result.texts) != n:
        raise _odd(llm, call, getattr(result, "texts", result), wanted)
    elif result.stops and (not _texts(result.stops) or len(result.stops) != n):
        raise _odd(llm, call, result.stops, "the stop string of each text")
    elif result.calls and (
        not isinstance(result.calls, list | tuple) or len(result.calls) != n or not all(map(_calls, result.calls))
    ):
        raise _odd(llm, call, result.calls, "the tools that each text calls")
    elif not _texts(result.finish_reasons):
        raise _odd(llm, call, result.finish_reasons, "finish reasons")
    return result


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST


def _texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _calls(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(c, ToolCall) and _texts(tuple(c)) for c in value)


def _odd(llm: LLM, call: str, value: Any, wanted: str) -> ModelError:
    shown = reprlib.repr(value)
    return ModelError(f"{llm.name} returned {shown} from {call}, not {wanted}", "See ragscale.llm.LLM for what it is.")


async def sleep_within(ledger: Ledger, seconds: float) -> None:
    """Sleep, unless the seconds of the budget end before that. Raises `BudgetExceeded` then, at once."""
    left = ledger.left("seconds")
    if seconds >= left:
        raise ledger.exceeded("seconds", seconds)
    await asyncio.sleep(seconds)
