"""Any endpoint that speaks the OpenAI dialect: vLLM, llama.cpp, hosted services."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import asdict, replace
from typing import Any

from ragscale.errors import EndpointError, InvalidInput, ModelError
from ragscale.llm.answers import parse_generation
from ragscale.llm.base import Capabilities, Generation, Score
from ragscale.llm.discovery import ServerInfo, discover
from ragscale.llm.notices import Notices
from ragscale.llm.once import Once
from ragscale.llm.probe import Probe
from ragscale.llm.tokens import CountMemo, LlamaTokenizer, VllmTokenizer, upper_bound
from ragscale.llm.transport import RefusedError, Transport
from ragscale.types import Message, Spend

__all__ = ["OpenAILLM"]

_ASSUMED_WINDOW = 8192
_OPTIONAL = ("max_tokens", "seed", "stop", "temperature", "logprobs", "response_format", "structured_outputs")
# What servers say of a parameter that they do not take: OpenAI, vLLM (pydantic), llama.cpp, gateways.
_UNKNOWN = re.compile(r"un(?:supported|recogni[sz]ed|known|expected)|not (?:support|permit|allow)|extra", re.IGNORECASE)


class OpenAILLM:
    """A chat model behind an OpenAI-dialect endpoint.

    What the server can do is tried out once, at the first call that needs to know; `probe_spend` holds what that cost.
    Nothing is sent before the first call. Safe for use from several event loops and threads.

    Args:
        base_url: The endpoint, as in ``http://localhost:8000/v1``.
        model: Model name; None for the only one that the endpoint lists.
        api_key_env: Name of the environment variable that holds the key; read at each call, never stored or shown.
        timeout: Seconds that one attempt may take.
        context_window: Most tokens of prompt and completion; None to ask the server.

    Raises:
        InvalidInput: `base_url` is not an http(s) URL.
    """

    def __init__(
        self,
        base_url: str,
        model: str | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        timeout: float = 180.0,
        context_window: int | None = None,
    ) -> None:
        self._transport = Transport(base_url, api_key_env=api_key_env, timeout=timeout)
        self._model = model
        self._window = context_window
        self._notices = Notices()
        self._counts = CountMemo()
        self._dropped: set[str] = set()
        self._info: Once[ServerInfo] = Once()
        self._probe: Once[Probe] = Once()
        self.probe_spend = Spend()
        """What finding out the capabilities has cost so far; nothing before the first call that needs them."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._transport.shown!r}, model={self._model!r})"

    @property
    def name(self) -> str:
        """Model name; asks the endpoint (and blocks) where it was not given. Raises `EndpointError`."""
        return self._model or self._server_now().model

    @property
    def context_window(self) -> int:
        """Most tokens that prompt and completion may have together; asks the endpoint where it was not given."""
        window = self._window or self._server_now().context_window
        if window is None:
            self._notices.once(
                "window",
                f"{self._transport.shown} does not tell its context window: {_ASSUMED_WINDOW} tokens are assumed; "
                "give context_window to correct it.",
            )
            return _ASSUMED_WINDOW
        return window

    def _server_now(self) -> ServerInfo:
        return self._info.value or self._info.wait(self._ask_server)

    async def _server(self) -> ServerInfo:
        return self._info.value or await self._info.get(self._ask_server)

    async def _ask_server(self) -> ServerInfo:
        return await discover(self._transport, self._model)

    async def capabilities(self) -> Capabilities:
        """What the endpoint was seen to do. Raises `EndpointError` if it cannot be reached."""
        return (await self._probed()).capabilities

    async def _probed(self) -> Probe:
        return self._probe.value or await self._probe.get(self._try_out)

    async def _try_out(self) -> Probe:
        server = await self._server()
        probe = Probe(self._transport, server.model, server.tokenizer)
        started = time.perf_counter()
        try:
            await probe.run()
        finally:
            self.probe_spend += replace(probe.spend, seconds=time.perf_counter() - started)
        missing = [name.replace("_", " ") for name, able in asdict(probe.capabilities).items() if not able]
        if missing:
            self._notices.once(
                "capabilities", f"{server.model} was not seen to do: {', '.join(missing)}. Modes go on without."
            )
        return probe

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        """Prompt tokens of `messages`: exact with vLLM and llama.cpp, an upper bound (with a warning) elsewhere.

        Raises:
            EndpointError: The endpoint cannot be reached or refuses the key.
        """
        tokenizer = await self._tokenizer()
        if tokenizer is None:
            return upper_bound(messages)
        known = self._counts.get(messages)
        if known is not None:
            return known
        try:
            count = len(await tokenizer.prompt(messages))
        except EndpointError:
            raise
        except ModelError:
            # A bound keeps the promise of "never too few" without making counting a source of failures.
            return upper_bound(messages)
        self._counts.put(messages, count)
        return count

    async def _tokenizer(self) -> VllmTokenizer | LlamaTokenizer | None:
        tokenizer = (await self._server()).tokenizer
        inexact = self._probe.value is not None and not self._probe.value.capabilities.tokenizer
        if tokenizer is None or inexact:
            self._notices.once(
                "tokenizer",
                f"{self._transport.shown} has no tokenizer that agrees with its usage: prompts are charged against the "
                "budget by an upper bound (one token a byte) until the server reports the real number.",
            )
            return None
        return tokenizer

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
        """Write n samples of the next assistant turn; see `LLM.generate`.

        Raises:
            EndpointError: The endpoint cannot be reached, refuses the key or does not know the model.
            ModelError: This attempt failed; retryable after 429, 5xx, a time-out or a broken answer.
        """
        if max_tokens < 1 or n < 1:
            raise InvalidInput(f"max_tokens={max_tokens} and n={n} must be 1 or more", "Ask for at least one token.")
        server = await self._server()
        probe = await self._probed() if schema is not None or n > 1 or logprobs else None
        can = probe.capabilities if probe else Capabilities()
        if n > 1 and not can.samples:
            raise ModelError(f"{self.name} returns one sample a call, {n} were asked for", "Repeat the call instead.")
        prompt_tokens = await self.count_tokens(messages)
        await self._check_window(prompt_tokens)
        body: dict[str, Any] = {"model": server.model, "messages": list(messages), "temperature": temperature}
        body |= {"max_tokens": max_tokens, "n": n, "seed": seed, "stop": list(stop) or None}
        if schema is not None and can.json_schema and probe is not None:
            body |= probe.schema_fields(schema)
        if can.logprobs and (logprobs or (n > 1 and probe is not None and probe.counts_one_sample)):
            body["logprobs"] = True
        async with self._admit(prompt_tokens, max_tokens, n):
            answer = await self._chat(body, prompt_tokens)
        return parse_generation(
            answer,
            n=n,
            logprobs=logprobs and can.logprobs,
            broken=lambda what, done=0: self._transport.broken(what, prompt_tokens, done),
        )

    async def _chat(self, body: dict[str, Any], prompt_tokens: int) -> Any:
        if body["n"] == 1:
            del body["n"]  # the default everywhere, and unknown to some
        if "max_tokens" in self._dropped:
            body["max_completion_tokens"] = body["max_tokens"]
        body = {key: value for key, value in body.items() if value is not None and key not in self._dropped}
        try:
            return await self._transport.post("chat/completions", body, prompt_tokens=prompt_tokens)
        except RefusedError as error:
            raise self._degraded(error, body) or error from None

    def _degraded(self, error: RefusedError, body: dict[str, Any]) -> ModelError | None:
        """A retryable error if the server named an optional parameter, which later calls then leave out."""
        for parameter in _OPTIONAL if _UNKNOWN.search(error.problem) else ():
            if parameter in body and re.search(rf"\b{parameter}\b", error.problem):
                self._dropped.add(parameter)
                self._notices.once(f"drop:{parameter}", f"{error.problem}. Calls go on without {parameter!r}.")
                return ModelError(error.problem, "The next attempt omits it.", retryable=True, spend=error.spend)
        return None

    async def _check_window(self, prompt_tokens: int) -> None:
        window = self._window or (await self._server()).context_window
        exact = await self._tokenizer() is not None  # a bound may be far too high
        if exact and window is not None and prompt_tokens >= window:
            raise ModelError(
                f"The prompt has {prompt_tokens} tokens, the window of {self.name} holds {window}, answer included",
                "Retrieve or keep fewer passages, or serve the model with a longer context.",
                spend=Spend(),
            )

    async def score(self, messages: Sequence[Message], continuation: str) -> Score:
        """Mean log-probability that the next turn is exactly `continuation`, its end-of-turn token included.

        Raises:
            InvalidInput: `continuation` is empty.
            ModelError: This attempt failed, or the endpoint cannot score.
        """
        if not continuation:
            raise InvalidInput("The continuation to score is empty", "Give at least one character.")
        probe = await self._probed()
        if probe.scorer is None:
            raise ModelError(
                f"{self.name} cannot score a given text", "Use a mode without scores, or serve the model with vLLM."
            )
        prompt_tokens = await self.count_tokens(messages)
        async with self._admit(prompt_tokens, len(continuation.encode()) + 1, 1):
            return await probe.scorer.score(messages, continuation, prompt_tokens=prompt_tokens)

    def _admit(self, prompt_tokens: int, max_tokens: int, n: int) -> AbstractAsyncContextManager[None]:
        """What a call waits for before it is sent; a server of its own queues by itself."""
        return nullcontext()

    async def aclose(self) -> None:
        """Release this event loop's connections. Idempotent; a later call opens new ones."""
        await self._transport.aclose()
