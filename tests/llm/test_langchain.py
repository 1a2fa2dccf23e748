"""LangChain chat models behind the protocol."""

from __future__ import annotations

import sys
import time
import warnings
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

pytest.importorskip("langchain_core")

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field, SecretStr

from ragscale.errors import EndpointError, InvalidInput, MissingDependency, ModelError
from ragscale.llm import Capabilities, Generation, ModelWarning, Usage, load
from ragscale.llm.langchain import LangChainLLM
from ragscale.types import Spend, Tool, ToolCall

ASK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "A colour?"},
    {"role": "assistant", "content": "Blue."},
    {"role": "user", "content": "Another?"},
]


class Recorder(BaseChatModel):
    """Has the settings that providers have, and remembers how it was called."""

    model: str = "recorder-1"
    temperature: float = 0.9
    max_tokens: int | None = None
    seed: int | None = None
    api_key: str = "sk-secret"
    hidden: SecretStr | None = None
    answer: Any = None
    calls: list[dict[str, Any]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "recorder"

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Any = None) -> int:
        return 10 * len(messages)

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kw: Any
    ) -> ChatResult:
        settings = {"temperature": self.temperature, "max_tokens": self.max_tokens, "seed": self.seed}
        self.calls.append({**settings, "stop": stop, "messages": messages})
        if isinstance(self.answer, Exception):
            raise self.answer
        return ChatResult(generations=[ChatGeneration(message=self.answer)])


def recorder(answer: Any) -> Recorder:
    return Recorder(answer=answer)


class ProviderError(Exception):
    def __init__(self, status: int) -> None:
        self.status_code = status
        super().__init__("failed with key sk-secret")


async def test_settings_reach_the_model_and_usage_comes_back() -> None:
    usage = {"input_tokens": 31, "output_tokens": 2, "total_tokens": 33, "input_token_details": {"cache_read": 16}}
    message = AIMessage("Red.", usage_metadata=usage, response_metadata={"finish_reason": "length"})
    chat = recorder(message)
    model = load(chat)
    assert isinstance(model, LangChainLLM)
    assert model.name == "recorder-1"
    assert await model.capabilities() == Capabilities(tokenizer=True)
    assert await model.count_tokens(ASK) == 40
    done = await model.generate(ASK, max_tokens=7, temperature=0.2, seed=4, stop=["\n"], schema={}, logprobs=True)
    assert done.texts == ["Red."]
    assert done.usage == Usage(40, 2, 16)  # of its own count and a smaller report the larger
    assert done.finish_reasons == ["length"]
    call = chat.calls[0]
    assert (call["temperature"], call["max_tokens"], call["seed"], call["stop"]) == (0.2, 7, 4, ["\n"])
    assert [m.type for m in call["messages"]] == ["system", "human", "ai", "human"]
    assert chat.temperature == 0.9  # the caller's object is left as it was


async def test_what_a_model_cannot_be_told_is_said_once() -> None:
    model = LangChainLLM(FakeListChatModel(responses=["one", "two"]))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        done = await model.generate(ASK, max_tokens=1, seed=1)
        await model.generate(ASK, max_tokens=1, seed=1)
    texts = [str(w.message) for w in said]
    assert len(texts) == len(set(texts)) == 5
    for word in ("max_tokens", "temperature", "seed", "no tokenizer", "no usage"):
        assert any(word in text for text in texts)
    assert done.usage.completion_tokens == 1
    assert done.usage.prompt_tokens >= sum(len(m["content"].split()) for m in ASK)
    assert done.usage.estimated_tokens == done.usage.prompt_tokens + 1


async def test_a_tokenizer_that_counted_too_few_is_given_up() -> None:
    usage = {"input_tokens": 199, "output_tokens": 2, "total_tokens": 201}
    model = LangChainLLM(recorder(AIMessage("x", usage_metadata=usage)))
    await model.generate(ASK, max_tokens=5)
    with pytest.warns(ModelWarning, match="no tokenizer"):
        assert await model.count_tokens(ASK) > 199


@pytest.mark.parametrize("constant", [250, 500])
async def test_a_usage_that_is_always_the_same_is_not_believed(constant: int) -> None:
    """Of the third prompt on, each longer than the one before; until then nobody can know."""
    usage: Any = {"input_tokens": constant, "output_tokens": 2, "total_tokens": constant + 2}
    model = LangChainLLM(_Plain(AIMessage("a b", usage_metadata=usage)))
    estimated = []
    for words in (200, 240, 280, 320):
        done = await model.generate([{"role": "user", "content": "colour " * words}], max_tokens=9)
        estimated.append(done.usage.estimated_tokens)
    assert estimated[:2] == [0, 0]
    assert min(estimated[2:]) > 280
    assert done.usage.prompt_tokens > 320


async def test_a_usage_in_the_metadata_is_read() -> None:
    """ChatTongyi and other classes that know of no usage_metadata."""
    told = {"token_usage": {"input_tokens": 77, "output_tokens": 2, "total_tokens": 79}}
    done = await LangChainLLM(_Plain(AIMessage("a b", response_metadata=told))).generate(ASK, max_tokens=9)
    assert (done.usage.prompt_tokens, done.usage.completion_tokens, done.usage.estimated_tokens) == (77, 2, 0)


class _Plain(FakeListChatModel):
    """Without a tokenizer of its own; always says the same message."""

    said: Any = None
    responses: list[str] = Field(default_factory=list)

    def __init__(self, said: Any, **fields: Any) -> None:
        super().__init__(said=said, **fields)

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kw: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.said)])


@pytest.mark.parametrize(
    ("error", "retryable", "kind", "spend"),
    [
        (ProviderError(429), True, ModelError, Spend(llm_calls=1)),
        (ProviderError(503), True, ModelError, Spend(llm_calls=1)),
        (ProviderError(502), True, ModelError, None),  # nobody knows what it cost
        (TimeoutError(), True, ModelError, None),
        (ConnectionResetError(), True, ModelError, None),
        (ProviderError(400), False, ModelError, Spend(llm_calls=1)),
        (ProviderError(401), False, EndpointError, Spend(llm_calls=1)),
        (ValueError("sk-secret"), False, ModelError, None),
    ],
)
async def test_failures_become_ours_without_the_providers_keys(
    error: Exception, retryable: bool, kind: type[ModelError], spend: Spend | None
) -> None:
    model = LangChainLLM(recorder(error))
    with pytest.raises(kind) as caught:
        await model.generate(ASK, max_tokens=5)
    assert caught.value.retryable is retryable
    assert caught.value.spend == spend
    assert "sk-secret" not in f"{caught.value} {caught.value!r} {model!r}"


@pytest.mark.parametrize("headers", [{"retry-after": "4"}, httpx.Headers({"Retry-After": "4"}), {}, None])
@pytest.mark.parametrize("status", [429, 503])
async def test_a_server_without_room_is_waited_for_as_it_asks(status: int, headers: Any) -> None:
    error: Any = ProviderError(status)
    error.response = SimpleNamespace(headers=headers, status_code=status)
    with pytest.raises(ModelError) as caught:
        await LangChainLLM(recorder(error)).generate(ASK, max_tokens=5)
    assert getattr(caught.value, "retry_after", 0) == (4.0 if headers else None)
    assert caught.value.retryable


async def test_a_wait_in_the_providers_words_is_waited_for() -> None:
    """ChatGoogleGenerativeAI and ChatOpenAI tell it in the text of their errors."""
    error = ProviderError(429)
    error.args = ("429 You exceeded your current quota. retry_delay {\n  seconds: 44\n}",)
    with pytest.raises(ModelError) as caught:
        await LangChainLLM(recorder(error)).generate(ASK, max_tokens=5)
    assert getattr(caught.value, "retry_after", 0) == 44.0


async def test_thoughts_beside_the_output_are_charged() -> None:
    usage: Any = {
        "input_tokens": 70,
        "output_tokens": 3,
        "total_tokens": 73,
        "output_token_details": {"reasoning": 300},
    }
    done = await LangChainLLM(recorder(AIMessage("x", usage_metadata=usage)), thinking=512).generate(
        ASK, max_tokens=600
    )
    assert (done.usage.completion_tokens, done.usage.reasoning_tokens) == (303, 300)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("boom"), "recorder-1 failed with KeyError: 'boom'"),
        (ProviderError(400), "recorder-1 failed with ProviderError (HTTP 400): failed with key ***"),
        (ValueError("no region.\n  Set one."), "recorder-1 failed with ValueError: no region. Set one"),
        (
            ValueError("token-of-a-field token-of-a-field-2 token-of-a-variable"),
            "failed with ValueError: *** ***-2 ***",
        ),
        (ValueError("none of sk-secret"), "failed with ValueError: none of ***"),
        (ValueError(), "recorder-1 failed with ValueError"),
        (ValueError("x" * 9000), "failed with ValueError: " + "x" * 300),
    ],
)
async def test_failures_say_what_the_provider_said(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "token-of-a-variable")
    monkeypatch.setenv("OTHER_API_KEY", "none")
    chat = recorder(error)
    chat.hidden = SecretStr("token-of-a-field")
    with pytest.raises(ModelError) as caught:
        await LangChainLLM(chat).generate(ASK, max_tokens=5)
    assert caught.value.problem.endswith(words)


ODD = [
    None,
    True,
    7,
    -1,
    1.5,
    10**400,
    2**70,
    float("nan"),
    "",
    "x",
    "\ud800",
    [],
    [None],
    {},
    {"text": 7},
    [[]],
    b"x",
    object,
]


def odd_message(**fields: Any) -> AIMessage:
    """Message as a careless integration makes it: nothing is checked."""
    good = {"usage_metadata": {"input_tokens": 31, "output_tokens": 2, "total_tokens": 33}, "response_metadata": {}}
    return AIMessage.model_construct(**{"content": "Red.", "additional_kwargs": {}, **good, **fields})


class Careless(Recorder):
    """Returns what it is told to, whatever its base class would make of it."""

    async def ainvoke(self, *args: Any, **settings: Any) -> Any:
        return self.answer


async def outcome(model: LangChainLLM) -> Generation | ModelError:
    try:
        return await model.generate(ASK, max_tokens=7)
    except ModelError as error:
        return error


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:20])
@pytest.mark.parametrize(
    "place",
    ["message", "content", "part", "usage", "input_tokens", "details", "cache_read", "metadata", "reason", "more"],
)
async def test_odd_messages_are_a_value_or_an_error_of_ours(place: str, odd: Any) -> None:
    usage = {"input_tokens": 31, "output_tokens": 2, "total_tokens": 33}
    message = {
        "message": lambda: odd,
        "content": lambda: odd_message(content=odd),
        "part": lambda: odd_message(content=[odd, {"type": "text", "text": "Red."}, {"type": odd}, {"text": odd}]),
        "usage": lambda: odd_message(usage_metadata=odd),
        "input_tokens": lambda: odd_message(usage_metadata=usage | {"input_tokens": odd}),
        "details": lambda: odd_message(
            usage_metadata=usage | {"input_token_details": odd, "output_token_details": odd}
        ),
        "cache_read": lambda: odd_message(usage_metadata=usage | {"input_token_details": {"cache_read": odd}}),
        "metadata": lambda: odd_message(response_metadata=odd),
        "reason": lambda: odd_message(response_metadata={"finish_reason": odd, "stop_reason": odd}),
        "more": lambda: odd_message(additional_kwargs=odd),
    }[place]()
    model = LangChainLLM(Careless(answer=message))
    done = await outcome(model)
    if isinstance(done, ModelError):
        assert place in ("message", "content", "reason")
        assert done.retryable
        assert done.problem.startswith("recorder-1 answered with")
        return
    assert isinstance(done.texts[0], str)
    if place not in ("content", "message"):
        assert "Red." in done.texts[0]
    assert 40 <= done.usage.prompt_tokens < 2**54
    assert 0 < done.usage.completion_tokens < 2**54


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"finish_reason": "MAX_TOKENS"}, "length"), ({"stop_reason": "max_tokens"}, "length"),
        ({"done_reason": "length"}, "length"), ({"finish_reason": "STOP"}, "stop"), ({}, "stop"),
        ({"stop_reason": "end_turn"}, "stop"), ({"finish_reason": "content_filter"}, "content_filter"),
        ({"stopReason": "max_tokens"}, "length"), ({"stopReason": "end_turn"}, "stop"),  # ChatBedrockConverse
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),  # Responses API
        ({"status": "completed", "incomplete_details": None}, "stop"),
        ({"stop_reason": "tool_use"}, "stop"), ({"finish_reason": "eos_token"}, "stop"),  # ChatAnthropic, Hugging Face
        ({"finish_reason": "model_length"}, "length"), ({"finish_reason": "COMPLETE"}, "stop"),  # Mistral, Cohere
        ({"finish_reason": "FinishReason.STOP"}, "stop"), ({"finish_reason": "FINISH_REASON_MAX_TOKENS"}, "length"),
        ({"stopReason": "guardrail_intervened"}, "guardrail_intervened"),
    ],
)  # fmt: skip
async def test_the_end_is_what_the_provider_says(metadata: dict[str, Any], reason: str) -> None:
    done = await LangChainLLM(recorder(AIMessage("Red.", response_metadata=metadata))).generate(ASK, max_tokens=7)
    assert done.finish_reasons == [reason]


async def test_parts_and_thoughts_of_a_provider_are_told_apart() -> None:
    parts = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Re"}, {"type": "text", "text": "d."}]
    done = await LangChainLLM(recorder(AIMessage(parts))).generate(ASK, max_tokens=7)
    assert (done.texts, done.thoughts) == (["Red."], ["hm"])
    done = await LangChainLLM(recorder(AIMessage("Red.", additional_kwargs={"reasoning_content": "hm hm"}))).generate(
        ASK, max_tokens=7
    )
    assert (done.texts, done.thoughts) == (["Red."], ["hm hm"])
    refusal = AIMessage([], additional_kwargs={"refusal": "No, never"})
    with pytest.raises(ModelError, match="refused to reply: No, never"):
        await LangChainLLM(recorder(refusal)).generate(ASK, max_tokens=7)


@pytest.mark.parametrize("text", ["x" * 10_000_000, "to be " * 1_700_000, "é" * 5_000_000, "?!" * 5_000_000])
async def test_ten_megabytes_are_cut_soon(text: str) -> None:
    """They are charged as what they are: the model did not heed the limit."""
    model = LangChainLLM(recorder(AIMessage(text)))
    started = time.process_time()
    done = await model.generate(ASK, max_tokens=7)
    assert time.process_time() - started < 1
    assert (len(done.texts[0]), done.finish_reasons) == (1000, ["length"])
    assert done.usage.completion_tokens > 100_000


@pytest.mark.parametrize(
    "profile", [{"max_input_tokens": "8k"}, {"max_input_tokens": None}, {"max_input_tokens": -1}, 7]
)
def test_an_odd_profile_tells_no_window(profile: Any) -> None:
    chat = recorder(None)
    object.__setattr__(chat, "profile", profile)
    assert LangChainLLM(chat).context_window == 8192


@pytest.mark.parametrize("count", [None, "7", -1, 1.5, float("nan")])
async def test_a_tokenizer_that_returns_no_count_is_not_believed(count: Any) -> None:
    class Odd(Recorder):
        def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Any = None) -> Any:
            return count

    with pytest.warns(ModelWarning, match="no tokenizer"):
        assert await LangChainLLM(Odd(answer=None)).count_tokens(ASK) > 20


async def test_neither_scores_nor_samples() -> None:
    model = LangChainLLM(recorder(AIMessage("x")))
    with pytest.raises(ModelError, match="one sample a call, 2 were asked for"):
        await model.generate(ASK, max_tokens=5, n=2)
    with pytest.raises(ModelError, match="cannot score"):
        await model.score(ASK, "x")
    await model.aclose()


def test_refuses_other_objects_and_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="not a LangChain chat model"):
        LangChainLLM("gpt")  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "langchain_core.language_models", None)
    with pytest.raises(MissingDependency, match=r"pip install .*\[langchain\]"):
        LangChainLLM(recorder(None))


# -- tools

LOOK = Tool("look", "Looks up.", {"type": "object", "properties": {"k": {"type": "integer"}}})
CALLED = [
    ASK[1],
    {
        "role": "assistant",
        "content": "hm",
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"k": 7}'}}],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "Blue."},
]


class Calling(Recorder):
    """A class that can be given tools."""

    profile: Any = None

    def bind_tools(self, tools: Any, **kw: Any) -> Any:
        return self.bind(tools=tools)

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kw: Any
    ) -> ChatResult:
        result = super()._generate(messages, stop)
        self.calls[-1]["tools"] = kw.get("tools")
        return result


async def test_tools_are_bound_and_calls_come_back() -> None:
    said = AIMessage(
        "hm",
        tool_calls=[{"name": "look", "args": {"k": 7}, "id": "x"}],
        invalid_tool_calls=[{"name": "look", "args": "{cut", "id": None, "error": "no JSON"}],
        usage_metadata={"input_tokens": 500, "output_tokens": 20, "total_tokens": 520},
    )
    chat = Calling(answer=said)
    model = LangChainLLM(chat)
    assert (await model.capabilities()).tools
    done = await model.generate(CALLED, max_tokens=50, tools=(LOOK,))
    assert (done.texts, done.calls) == (["hm"], [[ToolCall("look", '{"k": 7}'), ToolCall("look", "{cut")]])
    assert (done.usage.prompt_tokens, done.usage.estimated_tokens) == (500, 0)
    sent = chat.calls[-1]
    assert sent["tools"] == [LOOK.to_dict()]
    _, asked, result = sent["messages"]
    assert (asked.content, asked.tool_calls[0]["args"]) == ("hm", {"k": 7})
    assert (result.type, result.tool_call_id, result.content) == ("tool", "c1", "Blue.")


@pytest.mark.parametrize(
    ("chat", "told", "able"),
    [
        (Calling(), None, True),
        (Calling(profile={"tool_calling": False}), None, False),
        (Calling(profile={"tool_calling": False}), True, True),
        (Calling(), False, False),
        (Recorder(), None, False),
        (Recorder(), True, False),
    ],
)
async def test_tools_are_believed_by_class_and_profile(chat: Any, told: bool | None, able: bool) -> None:
    model = LangChainLLM(chat, tools=told)
    assert (await model.capabilities()).tools == able
    chat.answer = AIMessage("Red.")
    assert (await model.generate(ASK, max_tokens=9, tools=(LOOK,))).texts == ["Red."]
    assert bool(chat.calls[-1].get("tools")) == able
