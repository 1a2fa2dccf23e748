"""Typed reader of replies of model endpoints, which trusts nothing in them.

Servers differ, and some send anything: a field that is not what it should be is read as absent, so that reading never
fails. What follows from an absent field is for the caller to decide. Lists are read as far as a real one goes, as each
item costs some microseconds: a megabyte may hold 300,000.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator

from ragscale.text import encodable, masked
from ragscale.types import ToolCall, Usage

__all__ = [
    "Completion",
    "CompletionChoice",
    "Entry",
    "ModelList",
    "Props",
    "Template",
    "Tokens",
    "UsageBlock",
    "failure",
    "read",
    "said",
    "status",
]

_MOST = 2**53
"""Upper bound of a count: what every JSON implementation holds exactly."""
_SAID = 300  # characters of a server's own words
_NAME = 500  # characters of a name
_MODELS, _SAMPLES, _PARTS, _CALLS = 10_000, 1000, 10_000, 100  # of a list, of a call, of a message
_TEXTS = ("text", "output_text")  # types of content parts that are no thoughts
_THOUGHT = ("thinking", "reasoning", "reasoning_content")  # types of those that are
_WORDS = (
    "error", "errors", "message", "Message", "detail", "msg", "error_description", "faultstring", "status_msg",
    "base_resp", "error_msg", "error_message", "errorMessage",
)  # fmt: skip
_NUMBERED = ("code", "status", "status_code", "statusCode", "http_code")
# MiniMax tells its failures in base_resp beside HTTP 200: https://platform.minimax.io/docs/api-reference/errorcode
_MINIMAX = {1000: 500, 1001: 504, 1002: 429, 1004: 401, 1008: 402, 1024: 500, 1033: 500, 2013: 400}
_NAMED = (
    (
        re.compile(r"rate[_ -]?limit|too[_ -]?many[_ -]?requests|throttl|resource[_ -]?exhausted|quota", re.IGNORECASE),
        429,
    ),
    (re.compile(r"overloaded", re.IGNORECASE), 529),
    (re.compile(r"authentication|invalid[_ -]api[_ -]key", re.IGNORECASE), 401),
)
"""Names of errors, with the status that they stand for."""
# As servers and LangChain's models call an end by the model; "eos_token" is TGI's before 2.3 and watsonx's
# (https://github.com/huggingface/text-generation-inference/pull/2344), "complete" Cohere's, "tool_use" Claude's.
_ENDS = {
    "stop", "eos", "eos_token", "end_turn", "endturn", "stop_sequence", "stop_token", "complete", "completed",
    "tool_calls", "tool_call", "tool_use", "function_call", "",
}  # fmt: skip
# An end by a limit: of the call, or of the window ("model_length" is Mistral's, the next Claude's and z.ai's).
_CUT = {
    "length", "max_tokens", "max_output_tokens", "max_length", "model_length", "model_context_window_exceeded",
    "token_limit",
}  # fmt: skip
_ENUM = re.compile(r"finish_?reason[._]")  # of gateways that write the constant: "FinishReason.STOP"
_DEEPEST = 8  # levels of an error that wraps another

M = TypeVar("M", bound=BaseModel)


def _count(value: Any) -> int | None:
    """A whole number from 0, also as ``20.0`` or ``"20"``."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) <= _MOST:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST else None


def _number(value: Any) -> float | None:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _MOST or not math.isfinite(value):
        return None
    return float(value)


def _part(value: Any) -> str | None:
    if isinstance(value, dict):
        text = value.get("text") if value.get("type", "text") in _TEXTS else None
        value = text.get("value") if isinstance(text, dict) else text  # as of OpenAI's Assistants
    return value if isinstance(value, str) else None


def _text(value: Any) -> str | None:
    """A text, or the texts of content parts, one or a list of them; thoughts among them are left out."""
    if isinstance(value, str):
        return encodable(value)
    value = [value] if isinstance(value, dict) else value
    if isinstance(value, list):
        texts = [text for text in map(_part, value[:_PARTS]) if text is not None]
        return encodable("".join(texts)) if texts else None
    return None


def _content_parts(value: Any) -> list[dict[str, Any]]:
    return [part for part in value[:_PARTS] if isinstance(part, dict)] if isinstance(value, list) else []


def _thoughts(value: Any) -> str | None:
    """The texts of the content parts that are thoughts, as some servers keep these apart.

    Mistral: ``thinking``, a list of texts (https://docs.mistral.ai/studio-api/conversations/reasoning); Claude in
    LangChain: a text; Databricks and OpenAI's Responses API: ``reasoning`` with a ``summary``, a list of texts
    (https://docs.databricks.com/aws/en/machine-learning/model-serving/query-reason-models); Bedrock in LangChain:
    ``reasoning_content``, an object.
    """
    parts = _content_parts(value)
    held = [(part, part.get("type")) for part in parts]
    inner = [part.get(name) for part, kind in held if kind in _THOUGHT for name in (kind, "summary", "text")]
    texts = [text for each in inner for text in map(_held, each[:_PARTS] if isinstance(each, list) else [each]) if text]
    return encodable("".join(texts)) if texts else None


def _held(value: Any) -> str | None:
    text = value.get("text") if isinstance(value, dict) else value
    return text if isinstance(text, str) else None


def _refusals(value: Any) -> str | None:
    """The texts of the content parts that are refusals, as OpenAI's are in its Responses API."""
    parts = _content_parts(value)
    texts = [
        part["refusal"] for part in parts if part.get("type") == "refusal" and isinstance(part.get("refusal"), str)
    ]
    return encodable(" ".join(texts)) if texts else None


def _arguments(value: Any) -> str | None:
    """Arguments of a tool call: a text, as the dialect has it, or an object, as some servers send it."""
    if isinstance(value, dict):
        try:
            return json.dumps(value)
        except (ValueError, RecursionError):
            return None
    return _text(value)


def _name(value: Any) -> str | None:
    """A text of at most the length of a name."""
    return _text(value) if isinstance(value, str) and len(value) <= _NAME else None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(most: int) -> Callable[[Any], list[dict[str, Any]]]:
    """Reads the objects among the first `most` items."""
    return lambda value: [item for item in value[:most] if isinstance(item, dict)] if isinstance(value, list) else []


def _named(value: Any) -> list[dict[str, Any]] | None:
    """Model entries, which may be bare names."""
    if not isinstance(value, list):
        return None
    return _objects(_MODELS)([{"id": item} if isinstance(item, str) else item for item in value[:_MODELS]])


def _counts(value: Any) -> list[int] | None:
    """Token ids; None unless all of them are."""
    if not isinstance(value, list) or set(map(type, value)) - {int}:
        return None
    return value if not value or (min(value) >= 0 and max(value) <= _MOST) else None


def _logprobs(value: Any) -> list[tuple[int | None, float]]:
    """Id and log-probability of each entry that has one; of any number, so by the plainest means."""
    entries = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    found = [(_count(entry.get("id")), _number(entry.get("logprob"))) for entry in entries]
    return [(id, number) for id, number in found if number is not None]


Count = Annotated[int | None, BeforeValidator(_count)]
Text = Annotated[str | None, BeforeValidator(_text)]
Name = Annotated[str | None, BeforeValidator(_name)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _PromptDetails(_Part):
    cached_tokens: Count = Field(default=None, validation_alias=AliasChoices("cached_tokens", "cache_read"))


class _CompletionDetails(_Part):
    reasoning_tokens: Count = Field(default=None, validation_alias=AliasChoices("reasoning_tokens", "reasoning"))


class UsageBlock(_Part):
    """Tokens of one call as the server, or LangChain's `usage_metadata`, reports them; None where it does not."""

    prompt_tokens: Count = Field(default=None, validation_alias=AliasChoices("prompt_tokens", "input_tokens"))
    completion_tokens: Count = Field(default=None, validation_alias=AliasChoices("completion_tokens", "output_tokens"))
    total_tokens: Count = None
    reasoning_tokens: Count = None  # xAI, Perplexity: beside the details
    cache_read_input_tokens: Count = None  # Claude, and gateways to it
    cache_creation_input_tokens: Count = None
    prompt_cache_hit_tokens: Count = None  # DeepSeek
    cached_tokens: Count = None  # Moonshot
    prompt_tokens_details: Annotated[_PromptDetails, BeforeValidator(_object)] = Field(
        default=_PromptDetails(),
        validation_alias=AliasChoices("prompt_tokens_details", "input_tokens_details", "input_token_details"),
    )
    completion_tokens_details: Annotated[_CompletionDetails, BeforeValidator(_object)] = Field(
        default=_CompletionDetails(),
        validation_alias=AliasChoices("completion_tokens_details", "output_tokens_details", "output_token_details"),
    )

    @property
    def _thought(self) -> int:
        """Tokens that the server calls thought."""
        return max(self.completion_tokens_details.reasoning_tokens or 0, self.reasoning_tokens or 0)

    @property
    def counts_beside(self) -> bool:
        """Whether thoughts are certain to stand beside `completion_tokens`: they are more than those."""
        return self.completion_tokens is not None and self._thought > self.completion_tokens

    @property
    def cached(self) -> int:
        """Tokens of the prompt that the server had read before."""
        told = (
            self.prompt_tokens_details.cached_tokens, self.cache_read_input_tokens, self.prompt_cache_hit_tokens,
            self.cached_tokens,
        )  # fmt: skip
        return max(value or 0 for value in told)

    @property
    def prompt(self) -> int | None:
        """Tokens of the prompt, those of a cache included, which gateways to Claude leave out of `prompt_tokens`.

        They are certain to stand beside it where the total holds both, or where they are more and there is no total
        (https://github.com/Portkey-AI/gateway/pull/1754).
        """
        if self.prompt_tokens is None:
            return None
        beside = self.cached + (self.cache_creation_input_tokens or 0)
        both = self.prompt_tokens + (self.completion_tokens or 0) + beside
        apart = self.cached > self.prompt_tokens if self.total_tokens is None else self.total_tokens == both
        return self.prompt_tokens + (beside if apart else 0)

    @property
    def completion(self) -> int | None:
        """Tokens written, thoughts included, which may stand beside the others or in the total alone."""
        told = self.completion_tokens is not None
        if self.prompt is None or self.total_tokens is None:
            hidden = 0
        else:
            hidden = self.total_tokens - self.prompt
            told = told or hidden > 0  # Gemini: no completion at all where a thought took all of it
        return (
            max((self.completion_tokens or 0) + (self._thought if self.counts_beside else 0), hidden) if told else None
        )

    @property
    def reasoning(self) -> int:
        """The part of `completion` that was thought: what the server calls so, or what it left out of the count."""
        if self.completion_tokens is None:  # of which it left out everything
            return min(self._thought, self.completion or 0)
        hidden = (self.completion or 0) - (self.completion_tokens or 0)
        return min(max(self._thought, hidden), self.completion or 0)

    def beside(self) -> UsageBlock:
        """The report of a server that counts thoughts beside the completion, as one that counts them in it."""
        if self.completion_tokens is None or self.counts_beside:
            return self
        return self.model_copy(update={"completion_tokens": self.completion_tokens + self._thought})


class _LogProbs(_Part):
    content: Annotated[list[tuple[int | None, float]], PlainValidator(_logprobs)] = []


class _Function(_Part):
    name: Name = None
    arguments: Annotated[str | None, BeforeValidator(_arguments)] = None


class _ToolCall(_Part):
    function: Annotated[_Function, BeforeValidator(_object)] = _Function()


class _Message(_Part):
    content: Text = None
    thoughts: Annotated[str | None, BeforeValidator(_thoughts)] = Field(
        default=None, validation_alias=AliasChoices("content")
    )
    refusals: Annotated[str | None, BeforeValidator(_refusals)] = Field(
        default=None, validation_alias=AliasChoices("content")
    )
    reasoning_content: Text = None
    reasoning: Text = None
    refusal: Text = None
    tool_calls: Annotated[list[_ToolCall], BeforeValidator(_objects(_CALLS))] = []


class CompletionChoice(_Part):
    """One sample."""

    message: Annotated[_Message, BeforeValidator(_object)] = _Message()
    finish_reason: Name = None
    logprobs: Annotated[_LogProbs, BeforeValidator(_object)] = _LogProbs()
    prompt_logprobs: Annotated[list[Any], BeforeValidator(lambda v: v if isinstance(v, list) else [])] = []
    usage: Annotated[UsageBlock, BeforeValidator(_object)] = UsageBlock()
    completion: Text = Field(default=None, validation_alias=AliasChoices("text"))  # of /completions
    stop_reason: Name = None  # vLLM; a number where a token ended the sample
    matched_stop: Name = None  # SGLang, likewise

    @property
    def end(self) -> str:
        """Its end: ``"stop"`` by the model, ``"length"`` by a limit, else the server's word in lower case."""
        word = _ENUM.sub("", (self.finish_reason or "").lower())
        return "stop" if word in _ENDS else "length" if word in _CUT else word

    @property
    def text(self) -> str | None:
        """Text of the reply, also as the arguments of a tool call; None where there is none."""
        if self.spoken is not None:
            return self.spoken
        return next((c.function.arguments for c in self.message.tool_calls if c.function.arguments is not None), None)

    @property
    def spoken(self) -> str | None:
        """Text of the reply, which may stand beside tool calls; None where there is none."""
        return self.message.content if self.message.content is not None else self.completion

    @property
    def calls(self) -> list[ToolCall]:
        """Tools that it calls: as many as there are, whatever is missing in them."""
        return [ToolCall(c.function.name or "", c.function.arguments or "") for c in self.message.tool_calls]

    @property
    def written(self) -> str:
        """Everything that the model wrote and the server shows: text, tool calls and thought."""
        return "".join([self.spoken or "", *(part for call in self.calls for part in call), self.thought])

    @property
    def thought(self) -> str:
        """Thoughts before the reply, where the server keeps them apart."""
        return self.message.reasoning_content or self.message.reasoning or self.message.thoughts or ""

    @property
    def refusal(self) -> str:
        """Words of a refusal; empty where the model does not refuse."""
        return self.message.refusal or self.message.refusals or ""

    @property
    def stopped_by(self) -> str:
        """The stop string that ended the sample; empty where none did, or the server does not tell."""
        return self.stop_reason or self.matched_stop or ""

    def after(self, beginning: str) -> CompletionChoice:
        """The sample without the turn that it continues, where the server repeats that."""
        content = self.message.content
        if content is None or not content.startswith(beginning):
            return self
        message = self.message.model_copy(update={"content": content[len(beginning) :]})
        return self.model_copy(update={"message": message})

    @property
    def token_logprobs(self) -> list[tuple[int | None, float]]:
        """Id and log-probability of each token; empty where there are none."""
        return self.logprobs.content


class _Timings(_Part):
    cache_n: Count = None


class Completion(_Part):
    """The answer of ``/chat/completions`` or ``/completions``."""

    choices: Annotated[list[CompletionChoice], BeforeValidator(_objects(_SAMPLES))] = []
    usage: Annotated[UsageBlock, BeforeValidator(_object)] = UsageBlock()
    timings: Annotated[_Timings, BeforeValidator(_object)] = _Timings()  # older llama.cpp
    error: Any = None
    """Error that the server reports in an answer that came with HTTP 200."""

    @property
    def _block(self) -> UsageBlock:
        blocks = [choice.usage for choice in self.choices if choice.usage.prompt_tokens is not None]
        if self.usage.prompt_tokens is not None or not blocks:
            return self.usage
        # a block a sample, each with the same prompt
        written = sum(block.completion or 0 for block in blocks)
        return blocks[0].model_copy(update={"completion_tokens": written, "total_tokens": None})

    @property
    def counts_beside(self) -> bool:
        """Whether its usage is certain to count thoughts beside the completion."""
        return self._block.counts_beside

    def beside(self) -> Completion:
        """The answer of a server that was seen to count thoughts beside the completion: see `UsageBlock.beside`."""
        choices = [choice.model_copy(update={"usage": choice.usage.beside()}) for choice in self.choices]
        return self.model_copy(update={"usage": self.usage.beside(), "choices": choices})

    def written(self, prompt: int) -> int:
        """Completion tokens that even a report without one of its counts tells of, given those of the prompt."""
        return max(self._block.completion or 0, (self._block.total_tokens or 0) - prompt)

    def reported(self) -> Usage | None:
        """The usage that the server reports, here or in a choice; None unless prompt and completion are counts."""
        block = self._block
        if block.prompt is None or block.completion is None:
            return None
        cached = block.cached or self.timings.cache_n or 0
        # Gemini counts no completion where a thought took all of it.
        silent = block.completion_tokens is None and not any(choice.text for choice in self.choices)
        reasoning = block.completion if silent else block.reasoning
        return Usage(block.prompt, block.completion, min(cached, block.prompt), reasoning)


class _Provider(_Part):
    context_length: Count = None


class _Meta(_Part):
    n_ctx: Count = None


class Entry(_Part):
    """A model as ``/models`` lists it."""

    id: Name = Field(default=None, validation_alias=AliasChoices("id", "name", "model"))
    root: Name = None
    max_model_len: Count = None  # vLLM, SGLang
    context_length: Count = None  # OpenRouter, Together
    context_window: Count = None  # Groq
    max_context_length: Count = None  # Mistral, LM Studio
    loaded_context_length: Count = None  # LM Studio
    n_ctx: Count = None
    num_ctx: Count = None
    meta: Annotated[_Meta, BeforeValidator(_object)] = _Meta()  # llama.cpp
    top_provider: Annotated[_Provider, BeforeValidator(_object)] = _Provider()

    @property
    def window(self) -> int | None:
        """Tokens of prompt and completion; None where it is not told. The tightest of several."""
        told = (
            self.loaded_context_length or self.max_context_length, self.max_model_len, self.context_length,
            self.context_window, self.n_ctx, self.num_ctx, self.meta.n_ctx, self.top_provider.context_length,
        )  # fmt: skip
        return min((value for value in told if value), default=None)


class ModelList(_Part):
    """The answer of ``/models``; a bare list counts as one too."""

    data: Annotated[list[Entry] | None, BeforeValidator(_named)] = Field(
        default=None, validation_alias=AliasChoices("data", "models")
    )

    @property
    def entries(self) -> list[Entry]:
        """The models that have a name."""
        return [entry for entry in self.data or [] if entry.id]


class _Generation(_Part):
    n_ctx: Count = None


class Props(_Part):
    """The answer of llama.cpp's ``/props``."""

    default_generation_settings: Annotated[_Generation, BeforeValidator(_object)] = _Generation()


class Tokens(_Part):
    """The answer of ``/tokenize``."""

    tokens: Annotated[list[int] | None, BeforeValidator(_counts)] = None
    count: Count = None
    """Reported by vLLM alone."""


class Template(_Part):
    """The answer of llama.cpp's ``/apply-template``."""

    prompt: Text = None


def read(form: type[M], data: Any) -> M:
    """Read decoded JSON; whatever is not as `form` has it is absent."""
    return form.model_validate(data if isinstance(data, dict) else {})


def said(body: Any, hidden: Sequence[str] = ()) -> tuple[str, str]:
    """The words and the code of an error body, in any of the shapes in use; empty where there are none.

    ``{"error": {"message", "param", "code", "type"}}``, ``{"error": "..."}``, ``{"message"}``, ``{"detail": "..."}``,
    ``{"detail": [{"loc", "msg"}]}``, ``{"errors": {"NAME": ["..."]}}``, a text, or a list of one of these. A parameter
    that is named beside the words is put behind them.

    Args:
        body: Decoded JSON.
        hidden: Secrets that the words may repeat, and that ``***`` stands for.
    """
    code, names = "", list[str]()
    for _ in range(_DEEPEST):
        if isinstance(body, list) and body:
            body = body[0]
        if not isinstance(body, dict):
            break
        code = " ".join(str(body[key]) for key in ("code", "type") if isinstance(body.get(key), str | int)) or code
        located: Any = body.get("loc")
        beside = [body.get("param"), *(located if isinstance(located, list) else ())]
        names += [part for part in beside if isinstance(part, str)]
        inner = next((body[key] for key in _WORDS if body.get(key)), None)
        if inner is None and len(body) == 1:  # {"seed": ["..."]}, {"fault": {...}}
            [(name, inner)] = body.items()
            names.append(str(name))
        raw = body.get("metadata", {}).get("raw") if isinstance(body.get("metadata"), dict) else None
        if isinstance(raw, str) and isinstance(inner, str):  # OpenRouter: the provider's own words
            inner = f"{inner}: {raw}"
        body = inner
    words = encodable(body) if isinstance(body, str) else ""
    # before anything is cut, which would leave the beginning of one
    words, names = masked(words, hidden), [masked(name, hidden) for name in names]
    more = [
        encodable(name[:40]) for name in dict.fromkeys(names) if name not in words and name not in ("body", "fault")
    ]
    words += f" ({', '.join(more[:3])})" if words and more else ""
    return " ".join(words.split())[:_SAID].rstrip("."), code[:_SAID]


def failure(body: Any) -> dict[str, Any] | None:
    """The part of an answer with HTTP 200 that tells a failure; None where there is none.

    The answer itself where it has no choices and an error, or a choice that an error ended: OpenRouter tells so of a
    provider that broke off (https://openrouter.ai/docs/api-reference/errors).
    """
    if not isinstance(body, dict):
        return None
    if not body.get("choices"):
        return body if any(body.get(name) for name in ("error", "errorMessage", "error_msg")) or status(body) else None
    choices = _objects(_SAMPLES)(body["choices"])
    broken = (each for each in choices if each.get("error") and each.get("finish_reason") in ("error", None))
    return next(({"error": each["error"], "usage": body.get("usage")} for each in broken), None)


def status(body: Any) -> int | None:
    """The HTTP status of a failure that an answer tells in its body, by number or name; None where it tells none.

    ``{"error": {"code": 429}}``, ``{"error": {"type": "rate_limit_error"}}``, ``{"status": 429, "message": "..."}``.
    """
    own = _count(_object(_object(body).get("base_resp")).get("status_code"))
    if own is not None and own in _MINIMAX:
        return _MINIMAX[own]
    levels = [level for level in (_object(body).get("error"), body) if isinstance(level, dict)]
    told = [_count(level.get(key)) for level in levels for key in _NUMBERED]
    names = " ".join([said(body)[1], *(level["status"] for level in levels if isinstance(level.get("status"), str))])
    named = [code for name, code in _NAMED if name.search(names)] if _object(body).get("error") else []
    return next((code for code in (*told, *named) if code is not None and 400 <= code <= 599), None)
