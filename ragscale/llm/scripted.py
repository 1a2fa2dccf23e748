"""A model without a model: what it says is a function of yours, what it costs is counted in words.

For deterministic tests and for fuzzing budgets; nothing leaves the process.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ragscale.errors import ModelError
from ragscale.llm.answers import stopped
from ragscale.llm.base import Capabilities, Generation, Score
from ragscale.llm.continuing import is_open
from ragscale.types import Message, Spend, Usage
from ragscale.words import counted

__all__ = ["Reply", "ScriptedCall", "ScriptedLLM"]


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
    continuation: str | None = None
    """The text to score; None for `ScriptedLLM.generate`."""


Reply = str | Exception | list[str]
"""Return value of a script: one text for all samples, a text a sample, or an error to raise."""


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
            json_schema=True, scoring=score is not None, tokenizer=True, logprobs=True, samples=True, continues=True
        )
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

    async def capabilities(self) -> Capabilities:
        """Capabilities that the model was told to claim."""
        return self._capabilities

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        """Words, and four tokens a message for the template."""
        return count(messages)

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
    ) -> Generation:
        """Samples that the script writes; see `LLM.generate`. Raises an error that it returns."""
        fields = {"max_tokens": max_tokens, "n": n, "temperature": temperature, "seed": seed, "stop": tuple(stop)}
        with self._call(messages, **fields, schema=schema, logprobs=logprobs) as call:
            if is_open(messages) and not self._capabilities.continues:
                raise ModelError(f"{self._name} cannot continue an assistant turn", "Claim it.", spend=Spend())
            await self._pause(call)
            reply = self._reply(messages, call)
            if isinstance(reply, Exception):
                raise self._charged(reply, call)
            samples = [reply] * n if isinstance(reply, str) else list(reply)
            if len(samples) != n:
                raise self._charged(
                    ModelError(f"The script wrote {counted(len(samples), 'text')}, asked for {n}"), call
                )
            ended = [stopped(text, call.stop) for text in samples]
            cut = [_cut(text, max_tokens) for text, _ in ended]
            true = Usage(count(messages), sum(len(text.split()) for text, _ in cut))
            return Generation(
                [text for text, _ in cut],
                self._usage(true, call) if self._usage else true,
                [reason for _, reason in cut],
                [-1.0] * n if logprobs and self._capabilities.logprobs else [],
                stops=[mark if reason == "stop" else "" for (_, mark), (_, reason) in zip(ended, cut, strict=True)],
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
            error.spend = Spend(llm_calls=1, prompt_tokens=count(call.messages))
        return error


def count(messages: Sequence[Message]) -> int:
    """The tokens that `ScriptedLLM` counts: words, and four a message for the template."""
    return sum(len(message["content"].split()) + 4 for message in messages)


def _cut(text: str, max_tokens: int) -> tuple[str, str]:
    words = text.split()
    if len(words) > max_tokens:
        return " ".join(words[:max_tokens]), "length"
    return text, "stop"
