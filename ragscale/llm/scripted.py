"""A model without a model: what it says is a function of yours, what it costs is counted in words.

For deterministic tests and for fuzzing budgets; nothing leaves the process.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ragscale.errors import ModelError
from ragscale.llm.answers import stopped
from ragscale.llm.base import Capabilities, Generation, Score
from ragscale.llm.continuing import is_open
from ragscale.llm.tokens import offered, written
from ragscale.types import Message, Spend, Tool, ToolCall, Usage
from ragscale.words import counted

__all__ = ["Reply", "Said", "ScriptedCall", "ScriptedLLM"]


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    """Call of the model, as the script sees it."""

    index: int
    """Calls of this model before this one, scores included."""
    messages: tuple[Message, ...]
    max_tokens: int = 0
    n: int = 1
    temperature: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    schema: dict[str, Any] | None = None
    logprobs: bool = False
    tools: tuple[Tool, ...] = ()
    continuation: str | None = None
    """The text to score; None for `ScriptedLLM.generate`."""


@dataclass(frozen=True, slots=True)
class Said:
    """A sample that calls tools."""

    text: str = ""
    calls: list[ToolCall] = field(default_factory=list)


Reply = str | Said | Exception | Sequence[str | Said]
"""Return value of a script: one sample for all that were asked for, each of them, or an error to raise."""


class ScriptedLLM:
    """An `LLM` that says what `reply` returns.

    Texts are cut at `max_tokens` words and at stop strings, as a server would. An exception that `reply` returns is
    raised; a `ModelError` without a spend is given one: the call and its prompt.

    Args:
        reply: Gets the messages and the call; must not depend on anything else if runs are to be repeatable.
        name: Model name.
        context_window: Tokens of prompt and completion.
        score: Log-probability of a continuation; None for a model that cannot score.
        usage: Replaces the usage that a call reports, to differ from the count; gets the true one and the call.
        delay: Seconds that a call takes: a number, or a function of the call.
        sleep: What waits for them.
        capabilities: What the model claims; None for everything, scoring if `score` is given.
    """

    def __init__(
        self,
        reply: Callable[[Sequence[Message], ScriptedCall], Reply],
        *,
        name: str = "scripted",
        context_window: int = 8192,
        score: Callable[[Sequence[Message], str], float] | None = None,
        usage: Callable[[Usage, ScriptedCall], Usage] | None = None,
        delay: float | Callable[[ScriptedCall], float] = 0.0,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        capabilities: Capabilities | None = None,
    ) -> None:
        self._reply = reply
        self._name = name
        self._window = context_window
        self._score = score
        self._usage = usage
        self._delay = delay
        self._sleep = sleep
        self._capabilities = capabilities or Capabilities(
            json_schema=True, scoring=score is not None, tokenizer=True, logprobs=True, samples=True, continues=True,
            tools=True,
        )  # fmt: skip
        self._lock = threading.Lock()
        self.calls: list[ScriptedCall] = []
        """Every call so far, failed ones included, in the order of their start."""
        self.running = 0
        """Calls under way."""
        self.most_running = 0
        """The most calls that were under way at once."""
        self.closed = False
        """Whether `aclose` was called."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())

    @property
    def name(self) -> str:
        """Model name."""
        return self._name

    @property
    def context_window(self) -> int:
        """Most tokens that prompt and completion may have together."""
        return self._window

    async def capabilities(self, *, tools: bool = False) -> Capabilities:
        """Capabilities that the model was told to claim."""
        return self._capabilities

    async def count_tokens(self, messages: Sequence[Message], *, tools: Sequence[Tool] = ()) -> int:
        """Words, and four tokens a message for the template."""
        return count(messages, tools)

    async def generate(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        n: int = 1,
        temperature: float = 0.0,
        seed: int | None = None,
        stop: Sequence[str] = (),
        schema: dict[str, Any] | None = None,
        logprobs: bool = False,
        tools: Sequence[Tool] = (),
    ) -> Generation:
        """Samples that the script writes; see `LLM.generate`. Raises an error that it returns."""
        fields = {"max_tokens": max_tokens, "n": n, "temperature": temperature, "seed": seed, "stop": tuple(stop)}
        tools = tuple(tools) if self._capabilities.tools else ()
        with self._call(messages, **fields, schema=schema, logprobs=logprobs, tools=tools) as call:
            if is_open(messages) and not self._capabilities.continues:
                raise ModelError(f"{self._name} cannot continue an assistant turn", "Claim it.", spend=Spend())
            await self._pause(call)
            reply = self._reply(messages, call)
            if isinstance(reply, Exception):
                raise self._charged(reply, call)
            samples = [reply] * n if isinstance(reply, str | Said) else list(reply)
            if len(samples) != n:
                raise self._charged(
                    ModelError(f"The script wrote {counted(len(samples), 'text')}, asked for {n}"), call
                )
            said = [Said(sample) if isinstance(sample, str) else sample for sample in samples]
            ended = [stopped(sample.text, call.stop) for sample in said]
            cut = [_cut(text, max_tokens) for text, _ in ended]
            calls = [
                _within(sample.calls, max_tokens - len(text.split()))
                for sample, (text, _) in zip(said, cut, strict=True)
            ]
            done = sum(len(text.split()) for text, _ in cut) + sum(map(_words, [c for own in calls for c in own]))
            true = Usage(count(messages, tools), done)
            return Generation(
                [text for text, _ in cut],
                self._usage(true, call) if self._usage else true,
                [reason for _, reason in cut],
                [-1.0] * n if logprobs and self._capabilities.logprobs else [],
                stops=[mark if reason == "stop" else "" for (_, mark), (_, reason) in zip(ended, cut, strict=True)],
                calls=calls if tools and any(calls) else [],
            )

    async def score(self, messages: Sequence[Message], continuation: str) -> Score:
        """Log-probability that the scoring script returns. Raises `ModelError` where there is none."""
        if self._score is None:
            raise ModelError("The scripted model cannot score", "Give it a score function.")
        with self._call(messages, continuation=continuation, max_tokens=1) as call:
            await self._pause(call)
            true = Usage(count(messages), len(continuation.split()) + 1)
            return Score(self._score(messages, continuation), self._usage(true, call) if self._usage else true)

    async def aclose(self) -> None:
        """Does nothing but note that it was called."""
        self.closed = True

    @contextmanager
    def _call(self, messages: Sequence[Message], **fields: Any) -> Iterator[ScriptedCall]:
        with self._lock:
            call = ScriptedCall(len(self.calls), tuple(messages), **fields)
            self.calls.append(call)
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        try:
            yield call
        finally:
            with self._lock:
                self.running -= 1

    async def _pause(self, call: ScriptedCall) -> None:
        seconds = self._delay(call) if callable(self._delay) else self._delay
        if seconds:
            await self._sleep(seconds)

    @staticmethod
    def _charged(error: Exception, call: ScriptedCall) -> Exception:
        if isinstance(error, ModelError) and error.spend is None:
            error.spend = Spend(llm_calls=1, prompt_tokens=count(call.messages, call.tools))
        return error


def count(messages: Sequence[Message], tools: Sequence[Tool] = ()) -> int:
    """The tokens that `ScriptedLLM` counts: words, four a message for the template, and the words of tools."""
    offer = len(json.dumps(offered(tools)).split()) if tools else 0
    return sum(len(written(message).split()) + 4 for message in messages) + offer


def _words(call: ToolCall) -> int:
    return 1 + len(call.arguments.split())


def _within(calls: Sequence[ToolCall], max_tokens: int) -> list[ToolCall]:
    """The calls before the first that goes beyond so many words."""
    kept: list[ToolCall] = []
    for call in calls:
        max_tokens -= _words(call)
        if max_tokens < 0:
            break
        kept.append(call)
    return kept


def _cut(text: str, max_tokens: int) -> tuple[str, str]:
    words = text.split()
    if len(words) > max_tokens:
        return " ".join(words[:max_tokens]), "length"
    return text, "stop"
