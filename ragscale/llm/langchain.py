"""Any LangChain chat model behind ragscale's protocol."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ragscale.endpoint.http import wait_told
from ragscale.endpoint.replies import Completion, read, said
from ragscale.endpoint.transport import THROTTLES, RefusedError, ThrottledError
from ragscale.errors import EndpointError, InvalidInput, MissingDependency, ModelError
from ragscale.extras import pip_install
from ragscale.llm.answers import Asked, generation
from ragscale.llm.base import Capabilities, Generation, Score
from ragscale.llm.continuing import is_open
from ragscale.llm.manners import Manners
from ragscale.llm.notices import Notices
from ragscale.llm.tokens import Reports, TokenEstimator, floor, offered
from ragscale.text import masked
from ragscale.types import Message, Spend, Tool

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import Runnable

__all__ = ["LangChainLLM"]

_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens", "num_predict")
_ASSUMED_WINDOW = 8192
_SECRET = re.compile(r"key|token|secret|password|credential", re.IGNORECASE)
_SHORTEST = 8  # characters; a shorter one, as "none", is no secret, and may be part of any word
_SAID = 300  # characters
_PLAIN = (str, int, float, list, tuple, set, dict, type(None))


class LangChainLLM:
    """A LangChain chat model; it neither scores nor draws several samples from one call.

    A call's settings are put into those fields that the model class declares (a bound argument would be ignored by
    some classes and be an error in others); what it has no field for is left out, with a warning. So is what the
    provider, or its client, is seen to refuse, such as a temperature of 0: that field is None in later calls.

    Failed calls are repeated by ragscale, within the budget, and not by the model: where `max_retries` is not 0, a copy
    of it is made that has 0, and `with_retry` is taken off.

    Args:
        model: The chat model; left as it is.
        name: Name for reports; None for the model's own.
        context_window: Most tokens of prompt and completion; None for what the model's profile says.
        thinking: Tokens that a reply may have on top of its own for what the model thinks first.
        continues: Whether the model goes on with a last assistant message, as some do behind Anthropic's interface;
            nothing tries it out.
        tools: Whether the model calls tools; None for what its profile says (``tool_calling``), or, where that says
            nothing, whether its class can be given any. Nothing tries it out either.

    Raises:
        MissingDependency: langchain-core is not installed.
        InvalidInput: `model` is not a LangChain chat model, or repeats calls and cannot be made again without.
    """

    def __init__(
        self,
        model: BaseChatModel,
        *,
        name: str | None = None,
        context_window: int | None = None,
        thinking: int = 0,
        continues: bool = False,
        tools: bool | None = None,
    ) -> None:
        try:
            from langchain_core.language_models import BaseChatModel
            from langchain_core.runnables.retry import RunnableRetry
        except ImportError:
            raise MissingDependency(
                "LangChain models need langchain-core", f"Install it: {pip_install('langchain')}."
            ) from None
        bare: Any = model
        while isinstance(bare, RunnableRetry):
            bare = bare.bound
        if not isinstance(bare, BaseChatModel):
            raise InvalidInput(f"A {type(bare).__name__} is not a LangChain chat model", "Give a BaseChatModel.")
        self._model = model = _without_retries(bare)
        self._thinking = thinking
        self._continues = continues
        self._notices = Notices()
        self._manners = Manners()
        self._estimate = TokenEstimator()
        self._reports = Reports()
        own = next(
            (v for f in ("model", "model_name", "model_id") if isinstance(v := getattr(model, f, None), str)), None
        )
        self._name = name or own or type(model).__name__
        profile = getattr(model, "profile", None) or {}
        told = profile.get("max_input_tokens") if isinstance(profile, dict) else None
        able = profile.get("tool_calling") if isinstance(profile, dict) else None
        bindable = type(model).bind_tools is not BaseChatModel.bind_tools
        self._tools = bindable and (able is not False if tools is None else tools)
        self._window = context_window or (told if isinstance(told, int) and told > 0 else _ASSUMED_WINDOW)
        self._counts_itself = _has_tokenizer(model)

    def __repr__(self) -> str:
        # Not the model's own repr, which may hold its key.
        return f"LangChainLLM({type(self._model).__name__}, name={self._name!r})"

    @property
    def name(self) -> str:
        """Model name for manifests, traces and reports."""
        return self._name

    @property
    def context_window(self) -> int:
        """Most tokens that prompt and completion may have together."""
        return self._window

    @property
    def most_off(self) -> float | None:
        """Largest difference so far between an estimated prompt and the reported one; see `OpenAILLM.most_off`."""
        return self._estimate.most_off

    async def capabilities(self, *, tools: bool = False) -> Capabilities:
        """Token counts, where the model class brings its own tokenizer, thoughts as told, and tools; nothing else."""
        return Capabilities(
            tokenizer=self._counts_itself, continues=self._continues, least=self._manners.least,
            thinking=self._thinking, tools=self._tools,
        )  # fmt: skip

    async def count_tokens(self, messages: Sequence[Message], *, tools: Sequence[Tool] = ()) -> int:
        """The model's own count, or an estimate (with a warning) where it has none or was seen to count too few."""
        messages = self._manners.messages(messages)
        if self._counts_itself:
            try:
                # Some classes count messages alone: tools are then counted by an estimate.
                count = self._model.get_num_tokens_from_messages(_convert(messages))
                count += self._estimate.prompt([], tools) if tools else 0
            except Exception:  # third-party code: anything, from a missing package to a download without a network
                count = None
            if isinstance(count, int) and count >= 0:
                return count
            self._counts_itself = False
        self._notices.once(
            "tokenizer",
            f"{self._name} has no tokenizer to rely on: prompts are planned by an estimate, and charged by the usage "
            "that it reports, where it does.",
        )
        return self._estimate.prompt(messages, tools)

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
        """Write the next assistant turn; `schema` and `logprobs` are ignored. See `LLM.generate`.

        Raises:
            ModelError: This attempt failed, `n` is above 1, `max_tokens` is below what the provider takes, or an
                assistant turn is to be continued and it was not said that the model can.
        """
        if n != 1:
            raise ModelError(f"{self._name} returns one sample a call, {n} were asked for", "Repeat the call instead.")
        if is_open(messages) and not self._continues:
            raise ModelError(
                f"{self._name} is not known to continue an assistant turn",
                "Use a profile that does without, or wrap the model in LangChainLLM(model, continues=True) if it can.",
                spend=Spend(),
            )
        self._manners.check_length(self._name, max_tokens)
        tools = tools if self._tools else ()
        settings = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed, "stop": list(stop) or None}
        body = self._manners.adapt({**settings, "messages": messages})
        messages = body["messages"]
        model: Runnable[Any, Any] = self._with(body)
        prompt_tokens = await self.count_tokens(messages, tools=tools)
        try:
            if tools:
                model = model.bind_tools(offered(tools))  # type: ignore[attr-defined]  # of a chat model
            message = await model.ainvoke(_convert(messages), stop=body.get("stop"))
        except Exception as error:  # each provider raises its own
            raise self._adapted(error, body) from None
        answer = _read(message)
        told = answer.reported()
        asked = Asked(
            prompt=prompt_tokens,
            exact=self._counts_itself and not tools,
            fewest=sum(floor(m["content"]) for m in messages),
            max_tokens=max_tokens,
            measure=self._estimate.text,
            believed=told is None or self._reports.see(messages, told.prompt_tokens),
        )
        if told is not None and asked.credible(told) and (not asked.exact or told.prompt_tokens > prompt_tokens):
            self._counts_itself = False
            self._estimate.learn(messages, told.prompt_tokens, tools)
        done = generation(
            answer, asked, logprobs=False, thinks=self._thinking > 0, stop=stop, tools=bool(tools),
            broken=self._broken, name=self._name,
        )  # fmt: skip
        if done.usage.estimated_tokens:
            self._notices.once(
                "usage", f"{self._name} reports no usage that can be true: its calls are charged by an estimate."
            )
        return done

    async def score(self, messages: Sequence[Message], continuation: str) -> Score:
        """Always raises `ModelError`: LangChain has no call for it."""
        raise ModelError(
            f"{self._name} cannot score a given text", "Use a mode without scores, or an openai: endpoint."
        )

    async def aclose(self) -> None:
        """Nothing to do: the model belongs to the caller."""

    def _with(self, body: Mapping[str, Any]) -> BaseChatModel:
        """The model with the settings of a call; None for those that the provider refuses, as its class leaves out."""
        fields = type(self._model).model_fields
        update: dict[str, int | float | None] = {}
        for setting in ("max_tokens", "temperature", "seed"):
            names = _LIMITS if setting == "max_tokens" else (setting,)
            field = next((name for name in names if name in fields), None)
            if setting not in body and setting not in self._manners.dropped:
                continue
            if field is None:
                self._notices.once(
                    setting, f"{type(self._model).__name__} has no setting for {setting!r}: it is ignored."
                )
            else:
                update[field] = body.get(setting)
        return self._model.model_copy(update=update)

    def _broken(self, what: str, spend: Spend | None) -> ModelError:
        return ModelError(
            f"{self._name} answered with {what}", "The call may be repeated.", retryable=True, spend=spend
        )

    def _adapted(self, error: Exception, body: dict[str, Any]) -> ModelError:
        """The `ModelError` of a failure: retryable where the next attempt does without what was refused."""
        failed = self._failure(error)
        # A length has its own name in each class, which knows it.
        refused = self._manners.learn(failed, body, keep={"max_tokens"})
        if refused in ("", "least"):
            return failed
        self._notices.once(f"drop:{refused}", f"{failed.problem}. Calls {self._manners.instead(refused)}.")
        # An argument that the provider's client does not have: nothing was sent.
        unsent = isinstance(error, TypeError) and refused != "system"
        spend = Spend() if unsent else failed.spend
        return ModelError(failed.problem, "The next attempt omits it.", retryable=True, spend=spend)

    def _failure(self, error: Exception) -> ModelError:
        """The `ModelError` of a failure, with the start of the provider's message, less the keys that it may hold."""
        response = getattr(error, "response", None)
        code = getattr(error, "status_code", None) or getattr(response, "status_code", None)
        code = code if isinstance(code, int) else None
        what = f"{self._name} failed with {type(error).__name__}" + (f" (HTTP {code})" if code else "")
        text = str(error)
        words = self._shown(text)
        what += f": {words}" if words else ""
        if code in (401, 403, 404):
            return EndpointError(what, "Check the model's name and key.", spend=Spend(llm_calls=1))
        if code in THROTTLES:
            headers = getattr(response, "headers", None)
            wait = wait_told(headers if isinstance(headers, Mapping) else {}, text)
            return ThrottledError(what, retry_after=wait, spend=Spend(llm_calls=1))
        transient = isinstance(error, TimeoutError | ConnectionError) or "Timeout" in type(error).__name__
        retryable = transient or (code is not None and (code in (408, 409) or code >= 500))
        # Refused before it was read, or nobody knows what it cost.
        spend = Spend(llm_calls=1) if code is not None and code < 500 else None
        kind = RefusedError if code in (400, 413, 422) else ModelError
        failed = kind(what, "See the provider's documentation.", retryable=retryable, spend=spend)
        # OpenAI's client keeps the body, which may name a parameter beside the words.
        failed.said = self._shown(said(getattr(error, "body", None))[0]) or words
        return failed

    def _shown(self, text: str) -> str:
        """The start of a provider's text, without keys."""
        text = masked(text, self._secrets())
        return " ".join(text.split())[:_SAID].rstrip(".")

    def _secrets(self) -> list[str]:
        """Values named like a key, in the model's fields and in the environment, the longest first."""
        from pydantic import SecretStr

        fields = {name: getattr(self._model, name, None) for name in type(self._model).model_fields}
        values: list[Any] = [value for name, value in {**os.environ, **fields}.items() if _SECRET.search(name)]
        values += [value.get_secret_value() for value in fields.values() if isinstance(value, SecretStr)]
        texts = {value for value in values if isinstance(value, str) and len(value) >= _SHORTEST}
        return sorted(texts, key=len, reverse=True)


def _without_retries(model: BaseChatModel) -> BaseChatModel:
    """The model, or one like it that makes a single attempt a call; raises `InvalidInput` where there can be none.

    It is made anew: clients are made together with a model, and repeat as often as it was told then.
    """
    retries = getattr(model, "max_retries", 0) if "max_retries" in type(model).model_fields else 0
    if retries == 0 and not isinstance(retries, bool):
        return model
    fields = {name: field for name, field in type(model).model_fields.items() if name in model.model_fields_set}
    given = {name: getattr(model, name) for name in fields} | {"max_retries": 0}
    # Objects that the class made by itself, as far as it makes them again: the others are the caller's.
    made = {n for n, f in fields.items() if (f.exclude or n.endswith("client")) and not isinstance(given[n], _PLAIN)}
    try:
        quiet = _again(model, {name: value for name, value in given.items() if name not in made})
        if kept := made - quiet.model_fields_set:
            made -= kept
            quiet = _again(model, {name: value for name, value in given.items() if name not in made})
        if getattr(quiet, "max_retries", None) != 0:
            raise ValueError("max_retries")
        for name in made:
            if type(getattr(quiet, name)) is not type(given[name]):
                raise TypeError(name)  # the caller's own, which repeats as often as it likes
    except Exception as error:  # third-party code; its text may hold the model's key
        raise InvalidInput(
            f"{type(model).__name__} repeats failed calls by itself (max_retries={retries!r}) and cannot be made again "
            f"without ({type(error).__name__})",
            "Make it with max_retries=0: ragscale repeats failed calls, within the budget.",
        ) from None
    return quiet


def _again(model: BaseChatModel, given: dict[str, Any]) -> BaseChatModel:
    """A model of the same class with these fields; called as its constructor wants, which is by alias."""
    named = {}
    for name, value in given.items():
        alias = type(model).model_fields[name].validation_alias
        named[alias if isinstance(alias, str) else name] = value
    return type(model)(**named)


def _read(message: Any) -> Completion:
    """Reply of a model, which should be an `AIMessage`, by the reader of endpoints' replies."""
    metadata = getattr(message, "response_metadata", None)
    metadata = metadata if isinstance(metadata, dict) else {}
    # stopReason: ChatBedrockConverse; incomplete_details: ChatOpenAI by the Responses API
    incomplete = metadata.get("incomplete_details")
    ends = [incomplete.get("reason")] if isinstance(incomplete, dict) else []
    ends += [metadata.get(name) for name in ("finish_reason", "stop_reason", "stopReason", "done_reason")]
    reason = next((end.lower() for end in ends if isinstance(end, str)), "")  # Gemini: "MAX_TOKENS"
    more = getattr(message, "additional_kwargs", None)
    more = more if isinstance(more, dict) else {}
    said = {"reasoning_content": more.get("reasoning_content"), "refusal": more.get("refusal")}
    lists = [getattr(message, name, None) for name in ("tool_calls", "invalid_tool_calls")]
    found = [call for listed in lists if isinstance(listed, list) for call in listed if isinstance(call, dict)]
    calls = [{"function": {"name": call.get("name"), "arguments": call.get("args")}} for call in found]
    choice = {
        "message": {**said, "content": getattr(message, "content", None), "tool_calls": calls},
        "finish_reason": reason,
        "stop_reason": metadata.get("stop_sequence"),  # Anthropic
    }
    # token_usage: classes that know of no usage_metadata
    usage = getattr(message, "usage_metadata", None) or metadata.get("token_usage")
    return read(Completion, {"choices": [choice], "usage": usage})


def _convert(messages: Sequence[Message]) -> list[BaseMessage]:
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

    def one(message: Message) -> BaseMessage:
        text = message["content"]
        if message["role"] == "tool":
            return ToolMessage(text, tool_call_id=message["tool_call_id"])
        if message["role"] == "assistant":
            calls = [
                {"name": call["function"]["name"], "args": json.loads(call["function"]["arguments"]), "id": call["id"]}
                for call in message.get("tool_calls", ())
            ]
            return AIMessage(text, tool_calls=calls)
        return (SystemMessage if message["role"] == "system" else HumanMessage)(text)

    return list(map(one, messages))


def _has_tokenizer(model: BaseChatModel) -> bool:
    """Whether the class counts by itself: LangChain's default downloads another model's tokenizer."""
    from langchain_core.language_models import BaseChatModel

    own = any(
        getattr(type(model), method) is not getattr(BaseChatModel, method)
        for method in ("get_num_tokens_from_messages", "get_token_ids", "get_num_tokens")
    )
    return own or model.custom_get_token_ids is not None
