"""Any endpoint that speaks the OpenAI dialect: vLLM, llama.cpp, hosted services."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeVar

from ragscale.endpoint.replies import Completion, read
from ragscale.endpoint.transport import LARGEST, Transport
from ragscale.errors import EndpointError, InvalidInput, ModelError
from ragscale.llm.answers import Asked, generation, within
from ragscale.llm.base import Capabilities, Generation, Score
from ragscale.llm.continuing import Way, adapt, is_open
from ragscale.llm.discovery import ServerInfo, discover
from ragscale.llm.manners import Manners
from ragscale.llm.memo import Memo
from ragscale.llm.notations import begins, ends
from ragscale.llm.notices import Notices
from ragscale.llm.probe import LENGTH, THINKING, Probe
from ragscale.llm.tokens import (
    CountMemo,
    LlamaTokenizer,
    TokenEstimator,
    VllmTokenizer,
    floor,
    local_tokenizer,
    offered,
)
from ragscale.types import Message, Spend, Tool

__all__ = ["EndpointReport", "OpenAILLM"]

T = TypeVar("T")

_ASSUMED_WINDOW = 8192
_OLLAMA_WINDOW = 4096  # its least default; it cuts longer prompts without a word
_OWNED = frozenset(("model", "messages", "max_tokens", "max_completion_tokens", "n", "stop", "stream"))
"""Fields that limits and readers rest on."""


@dataclass(frozen=True, slots=True)
class EndpointReport:
    """Properties of an endpoint that were found out, besides its `Capabilities`."""

    window: int
    """Tokens that prompt and completion may have together."""
    window_from: Literal["given", "told", "assumed"]
    """Source of the window: the user, the server, or an assumption."""
    counts: Literal["exact", "named", "estimated"]
    """Counter of prompts before they are sent: the server's tokenizer, the one that was named, or an estimate."""
    usage: bool
    """Whether the server reports a usage that can be true: it calibrates estimates, and is what calls are charged."""
    refused: tuple[str, ...]
    """Parameters that calls go on without."""
    folds_system: bool
    """Whether the chat template has no system role, so that its text goes into the user's turn."""


class OpenAILLM:
    """A chat model behind an OpenAI-dialect endpoint.

    What the server can do is tried out once, at the first call that needs to know; `probe_spend` holds what that cost.
    Nothing is sent before the first call. Safe for use from several event loops and threads.

    Args:
        base_url: The endpoint, as in ``http://localhost:8000/v1``.
        model: Model name; None for the only one that the endpoint lists.
        api_key_env: Name of the environment variable that holds the key; read at each call, never stored or shown. None
            for an endpoint that is sent no key.
        timeout: Seconds that one attempt may take.
        context_window: Most tokens of prompt and completion; None to ask the server.
        thinking: Tokens that a reply may have on top of its own for what the model thinks first; None for 1,024 where
            the model was seen to think.
        tokenizer: Where the endpoint has none: a ``tokenizer.json``, a folder with one or a name on the hub, whose
            counts are used before the server's usage corrects them.
        fields: Further fields of each request, as ``{"reasoning_effort": "low"}``.
        key_header: Header that carries the key alone, as Azure's ``api-key``; None for ``Authorization: Bearer``.
        headers: Further headers of each request.
        query: Query parameters of each request, as Azure's ``api-version``.

    Raises:
        InvalidInput: `base_url` is not an http(s) URL, a number is below its least, `tokenizer` cannot be loaded, or
            `fields` has one that each call sets, such as ``max_tokens``.
    """

    def __init__(
        self,
        base_url: str,
        model: str | None = None,
        api_key_env: str | None = "OPENAI_API_KEY",
        timeout: float = 180.0,
        context_window: int | None = None,
        *,
        thinking: int | None = None,
        tokenizer: str | None = None,
        fields: Mapping[str, Any] | None = None,
        key_header: str | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> None:
        for name, value, least in (("context_window", context_window, 1), ("thinking", thinking, 0)):
            if value is not None and value < least:
                raise InvalidInput(f"{name}={value} is below {least}", "Leave it out for the default.")
        owned = sorted(_OWNED & set(fields or ()))
        if owned:
            raise InvalidInput(f"fields has {', '.join(owned)}", "ragscale sets it in each call: leave it out.")
        if not timeout > 0:
            raise InvalidInput(f"timeout={timeout} is not above 0", "Give seconds.")
        self._transport = Transport(
            base_url, api_key_env=api_key_env, key_header=key_header, headers=headers, query=query, timeout=timeout
        )
        self._model = model
        self._window = context_window
        self._thinking = thinking
        self.fields = dict(fields or {})
        """Further fields of each request."""
        self._notices = Notices()
        self._instructions: tuple[str, ...] = ()
        self._manners = Manners()
        self._counts = CountMemo()
        self._local = local_tokenizer(tokenizer) if tokenizer else None
        self._estimate = TokenEstimator(self._local.count if self._local else None)
        self._info: Memo[ServerInfo] = Memo()
        self._trial: Probe | None = None
        self._probe: Memo[Probe] = Memo()
        self._calls_tools: Memo[bool] = Memo()
        self.probe_spend = Spend()
        """Cost of finding out the capabilities so far; nothing before the first call that needs them."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._transport.shown!r}, model={self._model!r})"

    @property
    def url(self) -> str:
        """The endpoint, without a key."""
        return self._transport.shown

    @property
    def name(self) -> str:
        """Model name; asks the endpoint (and blocks) where it was not given. Raises `EndpointError`."""
        return self._model or self._server_now().model

    @property
    def context_window(self) -> int:
        """Most tokens that prompt and completion may have together; asks the endpoint where it was not given."""
        window = self._window or self._server_now().context_window
        if window is None:
            cuts = self._server_now().cuts
            window = _OLLAMA_WINDOW if cuts else _ASSUMED_WINDOW
            more = ", and longer prompts are cut without a word" if cuts else ""
            self._notices.once(
                "window",
                f"{self._transport.shown} does not tell its context window{more}: {window} tokens are assumed; "
                "give context_window (in a specification, ?window=) to correct it.",
            )
        return window

    @property
    def special_tokens(self) -> frozenset[str]:
        """Texts that the model's tokenizer reads as one token wherever they stand, as far as it was named."""
        return self._local.special if self._local else frozenset()

    @property
    def most_off(self) -> float | None:
        """Largest difference so far between an estimated prompt and the server's count, as a share of the latter.

        None where nothing was estimated, or the server does not tell.
        """
        return self._estimate.most_off

    def _server_now(self) -> ServerInfo:
        return self._info.value or self._info.wait(self._ask_server)

    async def _server(self) -> ServerInfo:
        return self._info.value or await self._info.get(self._ask_server)

    async def _ask_server(self) -> ServerInfo:
        server = await discover(self._transport, self._model, self.fields)
        told = server.context_window
        if self._window is not None and told is not None and told < self._window:
            beyond = "cut without a word" if server.cuts else "refused"
            self._notices.once(
                "window",
                f"context_window={self._window} was given, but {self._transport.shown} serves {told} tokens: "
                f"longer prompts are {beyond}. Serve the model with a longer context.",
            )
        return server

    def expect(self, instructions: Sequence[str]) -> None:
        """Tell the system messages to come, before anything is asked: they are counted while the model is tried out.

        Only where the endpoint has no tokenizer, so that estimates are exact for the greater part of most prompts.
        """
        self._instructions = tuple(instructions)

    async def capabilities(self, *, tools: bool = False) -> Capabilities:
        """Abilities of the endpoint, tried out once; see `LLM.capabilities`. Raises `EndpointError` if it cannot be
        reached."""
        probe = await self._probed()
        if not tools:
            return probe.capabilities
        return replace(probe.capabilities, tools=await self._calls_tools.get(lambda: self._tried(probe, probe.tools)))

    async def report(self) -> EndpointReport:
        """Further findings, as ``ragscale doctor`` shows them. Raises `EndpointError` if it cannot be reached."""
        probe, server = await self._probed(), await self._server()
        return EndpointReport(
            window=self.context_window,
            window_from="given" if self._window else "told" if server.context_window else "assumed",
            counts="exact" if probe.capabilities.tokenizer else "named" if self._local else "estimated",
            usage=probe.reports,
            refused=self._manners.lost,
            folds_system=self._manners.folds,
        )

    async def _probed(self) -> Probe:
        return self._probe.value or await self._probe.get(self._try_out)

    def _untried(self, server: ServerInfo) -> Probe:
        return Probe(
            self._transport, server.model, server.tokenizer, manners=self._manners, estimate=self._estimate,
            fields=self.fields, thinking=self._thinking, instructions=self._instructions,
        )  # fmt: skip

    async def _try_out(self) -> Probe:
        server = await self._server()
        probe = self._trial = self._trial or self._untried(server)  # an attempt goes on where the last one failed
        await self._tried(probe, probe.run)
        self._tell(server.model, probe)
        return probe

    async def _tried(self, probe: Probe, trial: Callable[[], Awaitable[T]]) -> T:
        """The outcome of a trial, whose cost is added to `probe_spend`."""
        started, before = time.perf_counter(), probe.spend
        try:
            return await trial()
        except ModelError as error:
            error.found = probe.found
            raise
        finally:
            self.probe_spend += replace(probe.spend - before, seconds=time.perf_counter() - started)

    def _tell(self, model: str, probe: Probe) -> None:
        """Warn of what the endpoint lacks, so that a degraded run is a visible one."""
        can = asdict(probe.capabilities)
        # Tools are left out: only a mode that calls them has them tried out, and its trace says where it does without.
        missing = [name.replace("_", " ") for name, able in can.items() if able is False and name != "tools"]
        if missing:
            self._notices.once(
                "capabilities", f"{model} was not seen to do: {', '.join(missing)}. Modes go on without."
            )
        if self._manners.lost:
            names = ", ".join(self._manners.lost)
            self._notices.once("dropped", f"{self._transport.shown} refuses {names}: calls go on without.")
        if can["thinking"]:
            self._notices.once(
                "thinking",
                f"{model} thinks before it replies: each call may have {can['thinking']:,} tokens more for that, which "
                "count against the budget (?thinking=N sets how many; reasoning_effort or chat_template_kwargs may "
                "switch thoughts off, see docs/models.md).",
            )
        if probe.swallows:
            self._notices.once(
                "swallows",
                f"{model} was seen to reply in the field for thoughts alone, where the server's parser put it: "
                "serve it without the parser, or switch thoughts off (docs/models.md).",
            )
        if not can["tokenizer"]:
            what = (
                "calls are planned by an estimate and charged by the usage that the server reports"
                if probe.reports
                else "it reports no usage that can be true: budgets rest on an estimate"
            )
            self._notices.once(
                "tokenizer", f"{self._transport.shown} has no tokenizer that agrees with its usage; {what}."
            )

    async def count_tokens(self, messages: Sequence[Message], *, tools: Sequence[Tool] = ()) -> int:
        """Prompt tokens of `messages`: exact with vLLM and llama.cpp, an estimate on the high side elsewhere.

        Raises:
            EndpointError: The endpoint cannot be reached or refuses the key.
        """
        messages = self._manners.messages(messages)
        tokenizer = await self._tokenizer()
        if tokenizer is None:
            return self._estimate.prompt(messages, tools)
        known = self._counts.get(messages, tools)
        if known is not None:
            return known
        try:
            count = len(await tokenizer.prompt(messages, tools=tools))
        except EndpointError:
            raise
        except ModelError:
            # An estimate, so that counting is no source of failures.
            return self._estimate.prompt(messages, tools)
        self._counts.put(messages, count, tools)
        return count

    async def _tokenizer(self) -> VllmTokenizer | LlamaTokenizer | None:
        disagrees = self._probe.value is not None and not self._probe.value.capabilities.tokenizer
        return None if disagrees else (await self._server()).tokenizer

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
        """Write n samples of the next assistant turn; see `LLM.generate`.

        Raises:
            EndpointError: The endpoint cannot be reached, refuses the key or does not know the model.
            ModelError: This attempt failed; retryable after 429, 5xx, a time-out or a broken answer. Or the endpoint
                cannot do what was asked for: several samples, fewer tokens, continuing an assistant turn.
        """
        if max_tokens < 1 or n < 1:
            raise InvalidInput(f"max_tokens={max_tokens} and n={n} must be 1 or more", "Ask for at least one token.")
        self._manners.check_length(self.name, max_tokens)
        server = await self._server()
        goes_on = is_open(messages)
        needs = schema is not None or n > 1 or logprobs or goes_on or bool(tools)
        probe = await self._probed() if needs else self._probe.value or self._untried(server)
        can = probe.capabilities
        if n > 1 and not can.samples:
            raise ModelError(
                f"{self.name} returns one sample a call, {n} were asked for", "Repeat the call instead.", spend=Spend()
            )
        if goes_on:
            self._check_continues(probe)
        tools = tools if tools and (await self.capabilities(tools=True)).tools else ()
        prompt_tokens = await self.count_tokens(messages, tools=tools)
        sent = self._manners.messages(messages)
        exact = self._counts.get(sent, tools) is not None and await self._tokenizer() is not None
        await self._check_window(prompt_tokens, exact)
        body: dict[str, Any] = {"model": server.model, "messages": sent, "temperature": temperature}
        body |= {"max_tokens": max_tokens, "n": n if n > 1 else None, "seed": seed, "stop": list(stop) or None}
        if schema is not None and can.json_schema:
            body |= probe.schema_fields(schema)
        if tools:
            body["tools"] = offered(tools)
        if can.logprobs and (logprobs or (n > 1 and probe.counts_one_sample)):
            body["logprobs"] = True
        asked = Asked(
            prompt=prompt_tokens,
            exact=exact,
            # A tokenizer may differ from the report by a template's tokens or two.
            fewest=prompt_tokens * 19 // 20 - 16 if exact else sum(floor(message["content"]) for message in sent),
            max_tokens=max_tokens,
            n=n,
            measure=self._estimate.text,
            believed=probe.reports,
        )
        async with self._admit(prompt_tokens, max_tokens, n):
            data = await self._chat({**body, **self.fields}, max_tokens * n, probe.continues if goes_on else None)
        answer = read(Completion, data)
        answer = answer.beside() if probe.beside else answer
        if goes_on and probe.repeats:
            choices = [choice.after(messages[-1]["content"]) for choice in answer.choices]
            answer = answer.model_copy(update={"choices": choices})
        if not exact:
            self._learn(sent, tools, asked, answer)
        elif not asked.credible(answer.reported()):
            asked = replace(asked, measure=await self._measured(answer, asked), measured=True)
        words = self._transport.words(data)
        done = generation(
            answer,
            asked,
            logprobs=logprobs and can.logprobs,
            thinks=can.thinking > 0,
            opened=probe.opened and not goes_on,
            stop=stop,
            tools=bool(tools),
            broken=lambda what, spend: self._transport.broken(f"{what} ({words})" if words else what, spend),
            name=self.name,
        )
        if not can.thinking and self._thinking is None and _only_thought(done):
            self._allow_thoughts(probe)
        return done

    def _allow_thoughts(self, probe: Probe) -> None:
        """Raises the allowance of a model that was not seen to think while it was tried out, at easier questions."""
        probe.capabilities = replace(probe.capabilities, thinking=THINKING)
        self._notices.once(
            "thinking",
            f"{self.name} thinks before it replies to a harder question: calls that were cut within a thought are made "
            f"again, and from the next question on each call may have {THINKING:,} tokens more for that, which count "
            "against the budget (?thinking=N sets how many; reasoning_effort or chat_template_kwargs may switch "
            "thoughts off, see docs/models.md).",
        )

    async def _measured(self, answer: Completion, asked: Asked) -> Callable[[str], int]:
        """Counts what was written by the server's tokenizer, where the server reports no usage."""
        counts: dict[str, int] = {}
        tokenizer = await self._tokenizer()
        for choice in answer.choices[: asked.n]:
            written = within(choice.written, asked.max_tokens)
            with contextlib.suppress(ModelError):
                counts[written] = len(await tokenizer.text(written)) if tokenizer and written else 0
        return lambda text: counts.get(text) or self._estimate.text(text)

    def _learn(self, sent: Sequence[Message], tools: Sequence[Tool], asked: Asked, answer: Completion) -> None:
        usage = answer.reported()
        if usage is None or not asked.credible(usage):
            return
        if self._estimate.learn(sent, usage.prompt_tokens, tools):
            self._notices.once(
                "short",
                f"A prompt of {usage.prompt_tokens:,} tokens was estimated at {asked.prompt:,}: later estimates are "
                "higher, so that limits hold (?tokenizer= names one that counts).",
            )

    def _check_continues(self, probe: Probe) -> None:
        if probe.continues is None:
            raise ModelError(
                f"{self.name} cannot continue an assistant turn: it would begin another one",
                "Use a profile that does without, or serve the model with vLLM, SGLang or llama.cpp (docs/models.md).",
                spend=Spend(),
            )

    async def _chat(self, body: dict[str, Any], tokens: int, continuing: Way | None) -> Any:
        largest = max(LARGEST, 2**9 * tokens)  # a log-probability takes some 300 bytes
        body = self._manners.adapt(body)
        path, body = await self._request(body, continuing)
        try:
            return await self._transport.post(path, body, largest=largest)
        except ModelError as error:
            dropped = self._manners.learn(error, body, keep=self.fields.keys())
            if dropped in ("", "least"):
                raise
            self._notices.once(f"drop:{dropped}", f"{error.problem}. Calls {self._manners.instead(dropped)}.")
            raise ModelError(error.problem, "The next attempt omits it.", retryable=True, spend=error.spend) from None

    async def _request(self, body: dict[str, Any], continuing: Way | None) -> tuple[str, dict[str, Any]]:
        """Path and body of a request."""
        if continuing == "template":
            tokenizer = (await self._server()).tokenizer
            assert isinstance(tokenizer, LlamaTokenizer)
            rest = {name: value for name, value in body.items() if name not in ("messages", "response_format")}
            if schema := body.get("response_format", {}).get("json_schema", {}).get("schema"):
                rest["json_schema"] = schema
            return "completions", {**rest, "prompt": await tokenizer.opened(body["messages"])}
        return "chat/completions", adapt(continuing, body) if continuing else body

    async def _check_window(self, prompt_tokens: int, exact: bool) -> None:
        window = self._window or (await self._server()).context_window
        if exact and window is not None and prompt_tokens >= window:  # an estimate may be too high
            raise ModelError(
                f"The prompt has {prompt_tokens} tokens, the window of {self.name} holds {window}, answer included",
                "Shorten the question or show fewer passages (k, context), or serve the model with a larger window.",
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
        if is_open(messages):
            self._check_continues(probe)
        if probe.scorer is None:
            raise ModelError(
                f"{self.name} cannot score a given text",
                "Use a mode without scores, or serve the model with vLLM.",
                spend=Spend(),
            )
        prompt_tokens = await self.count_tokens(messages)
        async with self._admit(prompt_tokens, len(continuation.encode()) + 1, 1):
            found = await probe.scorer.score(self._manners.messages(messages), continuation)
        counted = prompt_tokens if probe.capabilities.tokenizer else 0
        return replace(found, usage=replace(found.usage, prompt_tokens=max(found.usage.prompt_tokens, counted)))

    def _admit(self, prompt_tokens: int, max_tokens: int, n: int) -> AbstractAsyncContextManager[None]:
        """Admission of a call before it is sent; a server elsewhere queues by itself."""
        return nullcontext()

    async def aclose(self) -> None:
        """Release this event loop's connections. Idempotent; a later call opens new ones."""
        await self._transport.aclose()


def _only_thought(done: Generation) -> bool:
    """Whether a sample was cut within the thought before its reply: one that is shown or counted, or hidden, where
    tokens were written and not a character."""
    hidden = done.usage.reasoning_tokens > 0 or done.usage.completion_tokens >= LENGTH
    thoughts = done.thoughts or [""] * len(done.texts)
    return any(
        end == "length"
        and (not text.rpartition("</think>")[2].strip() if ends(text) else begins(text) or not text)
        and (bool(thought) or begins(text) or hidden)
        for text, thought, end in zip(done.texts, thoughts, done.finish_reasons, strict=True)
    )
