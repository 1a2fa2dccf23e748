"""Finds out what an endpoint really does, with a handful of tiny calls.

Servers ignore fields they do not know and answer with HTTP 200 all the same, so each capability is believed only when
its effect was seen: constrained output that obeyed, two samples, log-probabilities of the very tokens that were forced.
It is denied only where the effect was absent, or where calls with it alone are refused or fail whenever they are tried:
an error that any call meets is raised. What was found out until then is kept, so that another attempt goes on from it.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

from ragscale.endpoint.replies import Completion, CompletionChoice, read
from ragscale.endpoint.retry import ATTEMPTS
from ragscale.endpoint.transport import BrokenAnswerError, ThrottledError, Transport, UnreachableError
from ragscale.errors import EndpointError, ModelError
from ragscale.llm.base import Capabilities
from ragscale.llm.continuing import WAYS, Way, adapt
from ragscale.llm.manners import Manners
from ragscale.llm.notations import begins, ends, one_form
from ragscale.llm.scoring import ContinuationScorer, GrammarScorer, PromptScorer
from ragscale.llm.tokens import SAMPLES, LlamaTokenizer, TokenEstimator, VllmTokenizer, floor, offered
from ragscale.types import Message, Spend, Tool, Usage

__all__ = ["LENGTH", "THINKING", "Probe"]

T = TypeVar("T")

_MESSAGES: list[Message] = [{"role": "user", "content": "Say hello."}]
_BRIEF: list[Message] = [{"role": "system", "content": "Be brief."}, *_MESSAGES]
_SCHEMA = {
    "type": "object",
    "properties": {"k": {"type": "integer", "enum": [7]}},
    "required": ["k"],
    "additionalProperties": False,
}
_OBEYED = '{"k":7}'
_BEGUN, _REST = "Hel", "lo"
_SEAM = 3  # tokens of the begun word; the end of a turn and the beginning of another have three more at least
_TOOL = Tool("keep", "Keeps a number.", {"type": "object", "properties": {"k": {"type": "integer"}}, "required": ["k"]})
_TOLD: list[Message] = [{"role": "user", "content": "Call the tool keep with k = 7."}]
_IDS = ("keep00001", "keep00002")  # of nine characters, as Mistral's template wants them
_RESULTS: list[Message] = [
    *_TOLD,
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"id": id, "type": "function", "function": {"name": "keep", "arguments": '{"k": 7}'}} for id in _IDS
        ],
    },
    *({"role": "tool", "tool_call_id": id, "content": "It is kept."} for id in _IDS),
]
_CALLED = 64  # tokens of a tool call, in the notations in use
_NEAR = 8  # tokens by which a tokenizer may differ from the usage
LENGTH = 16
"""Tokens of a reply while a model is tried out; some services take no fewer."""


class Probe:
    """The trial of one endpoint and its outcome.

    Args:
        transport: The way to it.
        model: Name that requests carry.
        tokenizer: Its tokenizer, if it has one.
        manners: Learned here: what the endpoint refuses.
        estimate: Calibrated here where the tokenizer is absent or disagrees with the usage.
        fields: Further fields of each request.
        thinking: Tokens that thoughts may have; None for the default where the model was seen to think.
        instructions: System messages to come, counted here where the endpoint has no tokenizer.
    """

    def __init__(
        self,
        transport: Transport,
        model: str,
        tokenizer: VllmTokenizer | LlamaTokenizer | None,
        *,
        manners: Manners,
        estimate: TokenEstimator,
        fields: dict[str, Any] | None = None,
        thinking: int | None = None,
        instructions: Sequence[str] = (),
    ) -> None:
        self._transport = transport
        self._model = model
        self._tokenizer = tokenizer
        self._manners = manners
        self._estimate = estimate
        self._fields = fields or {}
        self._thinking = thinking
        self._instructions = instructions
        self.spend = Spend()
        """Cost of the trial."""
        self.capabilities = Capabilities()
        """Abilities that were seen."""
        self.scorer: ContinuationScorer | None = None
        """The way of scoring that was seen to work."""
        self.schema_fields: Callable[[dict[str, Any]], dict[str, Any]] = _openai_fields
        """Makes the request fields that constrain an answer to a schema here."""
        self.counts_one_sample = False
        """Whether the usage of a call with n samples leaves out all but one of them (llama.cpp)."""
        self.continues: Way | None = None
        """The way of continuing an assistant turn that was seen to work."""
        self.repeats = False
        """Whether a reply then begins with the turn that it continues."""
        self.opened = False
        """Whether the chat template opens a thought, so that a reply begins within it and shows only its end."""
        self.reports = True
        """Whether the server reports a usage that can be true, as far as it was seen."""
        self.beside = False
        """Whether that counts thoughts beside the completion."""
        self.swallows = False
        """Whether all of a whole reply stood in the field for thoughts."""
        self._base = 0  # tokens of `_MESSAGES` as the server counts them
        self._found: dict[str, Any] = {}  # outcomes of trials by what was tried; None for what the endpoint cannot do
        self._failures: Counter[str] = Counter()
        self._failed: dict[str, bool] = {}  # trials that are not made again, and whether a plain call is to be new then

    @property
    def found(self) -> int:
        """Grows with each outcome of a trial; see `ModelError.found`."""
        return len(self._found) + len(self._failed)

    async def run(self) -> None:
        """Try everything out, but for what an attempt before has found out.

        Raises:
            EndpointError: The endpoint cannot be reached, refuses the key or does not know the model.
            ModelError: It failed in a way that another attempt may not.
        """
        exact, logprobs, samples, thinks = await self._basics()
        thinking = 0 if not thinks else THINKING if self._thinking is None else self._thinking
        schema = await self._schema(thinking)
        self.scorer = await self._scorer()
        self.continues = await self._continuing(thinking)
        self.capabilities = Capabilities(
            json_schema=schema, scoring=self.scorer is not None, tokenizer=exact, logprobs=logprobs, samples=samples,
            continues=self.continues is not None, least=self._manners.least, thinking=thinking,
        )  # fmt: skip

    async def _once(
        self, name: str, trial: Callable[[], Awaitable[T]], *, needed: bool = False, broken_tells: bool = False
    ) -> T | None:
        """The outcome of a trial, kept for later attempts; None where it fails though a plain call passes.

        A failure that may be over soon tells that only where all `ATTEMPTS` met it.

        Args:
            name: Tells trials apart.
            trial: Makes it.
            needed: Whether every call is like this one: its failure is raised.
            broken_tells: Whether an answer that cannot be used is an effect that is absent.

        Raises:
            ModelError: It failed as any call may; another attempt is due.
        """
        if name in self._found:
            return cast(T | None, self._found[name])
        outcome: T | None = None
        try:
            if name not in self._failed:
                outcome = await trial()
        except (UnreachableError, ThrottledError):
            raise
        except ModelError as error:
            if needed:
                raise
            may_pass = error.retryable and not (broken_tells and isinstance(error, BrokenAnswerError))
            self._failures[name] += may_pass
            if may_pass and self._failures[name] < ATTEMPTS:
                raise
            # The key, the credit or the server may have gone since the plain call before.
            self._failed[name] = may_pass or isinstance(error, EndpointError)
        if name in self._failed:
            try:
                await (self._send(_MESSAGES, {}) if self._failed[name] else self._call())
            except ModelError as error:
                if self._failed[name] and not isinstance(error, ThrottledError):
                    del self._failed[name]  # what any call met
                raise
        self._found[name] = outcome
        return outcome

    async def _call(self, messages: list[Message] = _MESSAGES, **trial: Any) -> Completion:
        """One tiny call, made once; empty if the endpoint refuses a parameter of `trial` that it can do without.

        Raises:
            ModelError: It fails in another way, as every call may.
        """
        name = json.dumps([messages, trial])
        return await self._once(name, lambda: self._send(messages, trial), needed=not trial) or Completion()

    async def _send(self, messages: list[Message], trial: dict[str, Any]) -> Completion:
        """The answer of a tiny call, charged.

        A parameter that any call has and that the server refuses by name is left out from then on.
        """
        while True:
            # A seed, as every call of a mode has one: a refusal is met here, and not in the first question.
            body: dict[str, Any] = {"model": self._model, "messages": messages, "temperature": 0, "seed": 0}
            body["max_tokens"] = LENGTH
            body = self._manners.adapt({**body, **self._fields, **trial})
            for name in ("max_tokens", "max_completion_tokens"):
                if name in body:
                    body[name] = max(body[name], self._manners.least)
            try:
                value = await self._transport.post("chat/completions", body)
            except ModelError as error:
                self._charge(None)
                if self._manners.learn(error, body, keep=set(trial) - {"temperature"} | set(self._fields)):
                    continue
                raise
            answer = read(Completion, value)
            self.beside = self.beside or answer.counts_beside
            answer = answer.beside() if self.beside else answer
            self._charge(answer.reported())
            if not answer.choices:
                raise self._transport.broken(f"no choices ({self._transport.words(value) or 'and no reason'})")
            return answer

    def _charge(self, usage: Usage | None) -> None:
        self.spend = self.spend + (usage or Usage()).spend

    async def _basics(self) -> tuple[bool, bool, bool, bool]:
        """Whether counts are exact, log-probabilities come back, n=2 gives two samples, and the model thinks first."""
        both = await self._call(n=2, logprobs=True, temperature=1)
        tried = [both] if both.choices else [await self._call(logprobs=True), await self._call(n=2, temperature=1)]
        answers = [answer for answer in tried if answer.choices] or [await self._call()]
        written = [sum(len(choice.token_logprobs) for choice in answer.choices) for answer in answers]
        usage = answers[0].reported()
        if both.choices and usage:
            self.counts_one_sample = usage.completion_tokens < written[0]
        exact = await self._counts(usage)
        choices = [choice for answer in answers for choice in answer.choices]
        thinks = any(_thinks(choice, usage) for choice in choices)
        if any(choice.end == "length" and choice.text and not _shows(choice) for choice in choices):
            longer = await self._call(max_tokens=THINKING)
            self.opened = any(ends(choice.text or "") for choice in longer.choices)
        self.swallows = any(map(_swallowed, choices))
        return exact, any(written), any(len(answer.choices) == 2 for answer in answers), thinks or self.opened

    async def _counts(self, usage: Usage | None) -> bool:
        """Whether the tokenizer can be relied on; where it disagrees with the usage, that calibrates the estimate.

        A server that reports nothing to believe, or too little, has a tokenizer of its own all the same.
        """
        if usage is None:  # one reply may lack it
            usage = (await self._call()).reported()
        fewest = sum(floor(message["content"]) for message in _MESSAGES)
        self.reports = usage is not None and usage.prompt_tokens >= fewest
        self._base = usage.prompt_tokens if usage else 0
        tokenizer, ids = self._tokenizer, None
        if tokenizer is not None:
            ids = await self._once("prompt", lambda: tokenizer.prompt(_MESSAGES), broken_tells=True)
            if ids is not None:
                await self._system("template", lambda: tokenizer.prompt(_BRIEF))
        count = len(ids) if ids is not None else None
        differs = usage is not None and self.reports and (count is None or count < usage.prompt_tokens)
        if count is None or differs:
            await self._system("system", lambda: self._call(_BRIEF))
        if usage is not None and differs:
            await self._calibrate(usage.prompt_tokens)
            return count is not None and not self.reports
        return count is not None

    async def _system(self, name: str, brief: Callable[[], Awaitable[object]]) -> None:
        """Find out whether there is a system role, by a conversation that has it; whatever the server's words."""

        async def taken() -> bool:
            try:
                await brief()
            except ModelError as error:
                if not self._manners.learn(error, {"messages": _BRIEF}):
                    raise
            return True

        if await self._once(name, taken, broken_tells=name == "template") is None:
            self._manners.folds = True

    async def _calibrate(self, base: int) -> None:
        """Have the server count `SAMPLES`, each in a call of one token or few; they are sent together.

        A report that does not grow with what is sent counts nothing, however large it is: the estimate then stays as it
        was. So it does where two replies to the same text lack one.
        """
        brief = await self._counted(_BRIEF)

        async def one(name: str) -> None:
            usage = await self._counted([{"role": "user", "content": SAMPLES[name]}])
            fewest = floor(SAMPLES[name])
            if usage is None or usage.prompt_tokens < fewest or usage.prompt_tokens - base < fewest - _NEAR:
                self.reports = False
            else:
                counts[name] = usage.prompt_tokens

        counts: dict[str, int] = {}
        for error in await asyncio.gather(*map(one, SAMPLES), return_exceptions=True):
            if isinstance(error, BaseException):
                raise error
        if self.reports:
            self._estimate.base(_MESSAGES, base)
            self._estimate.calibrate(counts, base)
            await self._know(brief)

    async def _counted(self, messages: list[Message]) -> Usage | None:
        """The usage of a call; of another one where its reply lacks it."""
        usage = (await self._call(messages)).reported()
        if usage is None:
            again = await self._once(f"again {messages}", lambda: self._send(messages, {}), needed=True)
            usage = again.reported() if again else None
        return usage

    async def _know(self, brief: Usage | None) -> None:
        """Have the server count the instructions that most prompts begin with, beside a system message of two words."""
        for text in self._instructions if brief is not None else ():
            usage = (await self._call([{"role": "system", "content": text}, *_MESSAGES])).reported()
            if usage is not None and brief is not None and usage.prompt_tokens > brief.prompt_tokens:
                words = self._estimate.text(_BRIEF[0]["content"])
                self._estimate.know(text, usage.prompt_tokens - brief.prompt_tokens + words)

    async def _schema(self, thinking: int) -> bool:
        """Whether output can be constrained; keeps the first way that was seen to work."""
        ways = (_vllm_fields, _openai_fields) if isinstance(self._tokenizer, VllmTokenizer) else (_openai_fields,)
        for way in ways:
            answer = await self._call(max_tokens=LENGTH + thinking, **way(_SCHEMA))
            text = (answer.choices[0].text if answer.choices else None) or ""
            written = "".join(one_form(text, is_open=ends(text)).rpartition("</think>")[2].split())
            # A beginning is enough: some servers put endless white space between the tokens of the JSON.
            if written and _OBEYED.startswith(written):
                self.schema_fields = way
                return True
        return False

    async def _continuing(self, thinking: int) -> Way | None:
        """Way to have an assistant turn continued; None where another one would be begun.

        Without a tokenizer a model that thinks is not tried: its thoughts have no place behind a turn's beginning.
        """
        begun: list[Message] = [*_MESSAGES, {"role": "assistant", "content": _BEGUN}]
        if isinstance(self._tokenizer, LlamaTokenizer):
            prompt = await self._once("opened", functools.partial(self._tokenizer.opened, begun), broken_tells=True)
            if prompt is None:
                return None
            return "template" if await self._once("completions", lambda: self._completes(begun, prompt)) else None
        if isinstance(self._tokenizer, VllmTokenizer):
            return "fields" if await self._once("open", lambda: self._opens(begun)) else None
        for way in WAYS if self.reports and not thinking else ():
            answer = await self._once(way, functools.partial(self._call, **adapt(way, {"messages": begun})))
            usage = answer.reported() if answer else None
            # Another turn would cost its template's tokens, too.
            if answer and usage and 0 < usage.prompt_tokens - self._base <= _SEAM:
                text = answer.choices[0].text or ""
                self.repeats = way == "prefix" and text.startswith(_BEGUN)
                if self.repeats or text.startswith(_REST):
                    return way
        return None

    async def tools(self) -> bool:
        """Whether it calls a tool that it is told to call, and takes several calls of one turn with their results.

        Apart from `run`, after it: one mode wants to know, and a model that thinks or is slow takes long to call.
        Templates of models that know no tools leave them out without a word, others fail at a second call in a turn;
        and where a tokenizer leaves them out, a prompt with tools could not be reserved.
        """
        tools, can, tokenizer = (_TOOL,), self.capabilities, self._tokenizer
        if isinstance(tokenizer, LlamaTokenizer):
            text = await self._once("rendered", lambda: tokenizer.rendered(_TOLD, tools), broken_tells=True)
            if text is None or _TOOL.about not in text:
                return False
        answer = await self._call(_TOLD, tools=offered(tools), max_tokens=_CALLED + can.thinking)
        if not answer.choices or not any(call.name == _TOOL.name for call in answer.choices[0].calls):
            return False
        usage = answer.reported()
        if can.tokenizer and tokenizer is not None and self.reports and usage is not None:
            ids = await self._once("tools", lambda: tokenizer.prompt(_TOLD, tools=tools), broken_tells=True)
            if ids is None or len(ids) < usage.prompt_tokens - _NEAR:
                return False
        elif usage is not None and self.reports:
            self._estimate.offer(_TOLD, tools, usage.prompt_tokens)
        return bool((await self._call(_RESULTS, tools=offered(tools))).choices)

    async def _completes(self, begun: list[Message], prompt: str) -> bool:
        """Whether ``/completions`` takes the prompt as the template writes it, and counts it so."""
        assert isinstance(self._tokenizer, LlamaTokenizer)
        body = {"model": self._model, "prompt": prompt, "temperature": 0, "max_tokens": LENGTH, **self._fields}
        try:
            answer = read(Completion, await self._transport.post("completions", body))
        except ModelError:
            self._charge(None)
            raise
        usage = answer.reported()
        self._charge(usage)
        count = len(await self._tokenizer.prompt(begun))
        return usage is not None and abs(usage.prompt_tokens - count) <= 1 and bool(answer.choices)

    async def _opens(self, begun: list[Message]) -> bool:
        """Whether the server counts a turn that is to be continued without its end."""
        assert isinstance(self._tokenizer, VllmTokenizer)
        is_open = len(await self._tokenizer.prompt(begun))
        closed = len(await self._tokenizer.prompt(begun, closed=True))
        answer = await self._call(**adapt("fields", {"messages": begun}))
        usage = answer.reported()
        if usage is None or answer.choices[0].text is None:  # a parser takes it all for a thought
            return False
        return abs(usage.prompt_tokens - is_open) < abs(usage.prompt_tokens - closed)

    async def _scorer(self) -> ContinuationScorer | None:
        scorer: ContinuationScorer
        if isinstance(self._tokenizer, LlamaTokenizer):
            scorer = GrammarScorer(self._transport, self._model, self._tokenizer, self._fields)
        elif self._tokenizer is not None:
            scorer = PromptScorer(self._transport, self._model, self._tokenizer)
        else:
            return None
        return scorer if await self._once("score", lambda: self._scores(scorer), broken_tells=True) else None

    async def _scores(self, scorer: ContinuationScorer) -> bool:
        """Whether it scores. Raises `ModelError` if not; charged all the same."""
        try:
            usage = (await scorer.score(_MESSAGES, "k7")).usage
        except ModelError:
            self._charge(None)
            raise
        self._charge(usage)
        return True


THINKING = 1024
"""Tokens for thoughts by default: short thoughts of the models in use end within."""


def _thinks(choice: CompletionChoice, usage: Usage | None) -> bool:
    """Whether a reply begins with a thought, shown or hidden."""
    hidden = not choice.text and choice.end == "length"
    return _shows(choice) or hidden or bool(usage and usage.reasoning_tokens)


def _shows(choice: CompletionChoice) -> bool:
    return bool(choice.thought) or begins(choice.text or "")


def _swallowed(choice: CompletionChoice) -> bool:
    """Whether the server's parser took a whole reply for a thought."""
    return bool(choice.thought) and not choice.text and choice.end == "stop"


def _openai_fields(schema: dict[str, Any]) -> dict[str, Any]:
    form = {"name": "answer", "schema": schema, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": form}}


def _vllm_fields(schema: dict[str, Any]) -> dict[str, Any]:
    # The same constraint; the backends that heed the flag then write no endless white space.
    return {"structured_outputs": {"json": schema, "disable_any_whitespace": True}}
