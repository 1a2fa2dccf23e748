"""Whose retries: a LangChain model's own are off, so that every attempt is reserved and charged.

And what the next attempt does without.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from typing import Any, Self

import httpx
import pytest
from doubles import StubIndex
from fake_endpoint import Body, FakeEndpoint, Reply, completion
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_openai import AzureChatOpenAI, ChatOpenAI
from pydantic import ConfigDict, Field, PrivateAttr, model_validator

import ragscale as rs
from ragscale.errors import InvalidInput, ModelError
from ragscale.llm import ModelWarning
from ragscale.llm.langchain import LangChainLLM
from ragscale.types import Spend

ASK = [{"role": "user", "content": "A colour?"}]
KEY = "sk-a-key-of-many-letters"


class Failing:
    """Answers 503 to the first `times` calls."""

    def __init__(self, times: int = 10**9) -> None:
        self.times = times

    def __call__(self, path: str, body: Body) -> Reply:
        self.times -= 1
        return Reply({"error": {"message": "busy"}}, 503) if self.times >= 0 else Reply(completion("Red."))


@pytest.fixture
def failing() -> Failing:
    """Behaviour of the server: it fails always, unless a test says otherwise."""
    return Failing()


@pytest.fixture
def server(failing: Failing) -> Iterator[FakeEndpoint]:
    with FakeEndpoint(failing) as server:
        yield server


def chat(server: FakeEndpoint, **options: Any) -> ChatOpenAI:
    return ChatOpenAI(model="m", base_url=server.url, api_key=KEY, **options)


OPTIONS = [{}, {"max_retries": 2}, {"max_retries": 5, "timeout": 9}, {"max_retries": 0}, {"max_retries": None}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
async def test_an_attempt_is_one_request(server: FakeEndpoint, options: dict[str, Any]) -> None:
    """`None` is two retries of the client that the class brings."""
    mine = chat(server, **options)
    with pytest.raises(ModelError, match="HTTP 503"):
        await LangChainLLM(mine).generate(ASK, max_tokens=5)
    assert len(server.sent("/chat/completions")) == 1
    assert mine.max_retries == options.get("max_retries")  # the caller's object is left as it was


async def test_with_azures_class(server: FakeEndpoint) -> None:
    mine = AzureChatOpenAI(
        azure_endpoint=server.url, azure_deployment="d", api_version="2024-10-21", api_key=KEY, max_retries=3
    )
    with pytest.raises(ModelError, match="HTTP 503"):
        await LangChainLLM(mine).generate(ASK, max_tokens=5)
    assert len(server.requests) == 1


async def test_the_model_is_otherwise_the_callers(server: FakeEndpoint, failing: Failing) -> None:
    """Its clients, headers, fields and names go along."""
    seen: list[httpx.Request] = []

    async def hook(request: httpx.Request) -> None:
        seen.append(request)

    failing.times = 0
    client = httpx.AsyncClient(event_hooks={"request": [hook]})
    mine = chat(
        server, http_async_client=client, http_client=httpx.Client(), default_headers={"x-mine": "1"},
        extra_body={"top_k": 4}, model_kwargs={"user": "ann"}, metadata={"a": 1}, tags=["t"], top_p=0.5,
    )  # fmt: skip
    llm = LangChainLLM(mine)
    await llm.generate(ASK, max_tokens=5)
    [request], [body] = seen, server.sent("/chat/completions")
    assert (request.headers["x-mine"], request.headers["authorization"]) == ("1", f"Bearer {KEY}")
    assert (body["top_k"], body["user"], body["top_p"], body["model"]) == (4, "ann", 0.5, "m")
    assert (llm._model.metadata or {})["a"] == 1
    assert llm._model.tags == ["t"]
    assert llm.name == "m"


async def test_with_retry_is_taken_off(server: FakeEndpoint) -> None:
    retrying: Any = chat(server).with_retry(stop_after_attempt=4).with_retry()
    with pytest.raises(ModelError, match="HTTP 503"):
        await LangChainLLM(retrying).generate(ASK, max_tokens=5)
    assert len(server.sent("/chat/completions")) == 1


@pytest.mark.parametrize("calls", [1, 2])
def test_a_limit_of_calls_holds_as_the_server_counts(server: FakeEndpoint, calls: int) -> None:
    agent = rs.Agent(StubIndex(), chat(server, max_retries=2), "once", rs.Budget(llm_calls=calls))
    answer = agent.ask("Who?")
    assert len(server.sent("/chat/completions")) == answer.spend.total.llm_calls == calls


def test_what_failed_is_repeated_by_ragscale_and_charged(server: FakeEndpoint, failing: Failing) -> None:
    failing.times = 1
    answer = rs.Agent(StubIndex(), chat(server, max_retries=2), "once").ask("Who?")
    assert answer.text == "Red."
    assert len(server.sent("/chat/completions")) == answer.spend.total.llm_calls == 2


class Client:
    """Repeats what fails as often as it was told when it was made."""

    def __init__(self, retries: int) -> None:
        self.retries = retries

    def call(self) -> None:
        for _ in range(self.retries + 1):
            COUNT.append("call")
        raise ConnectionError


COUNT: list[str] = []


class Base(BaseChatModel):
    model: str = "m"
    max_retries: int = 2
    max_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None

    @property
    def _llm_type(self) -> str:
        return "base"

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Any = None) -> int:
        return 5

    def own(self) -> Client:
        """The client that is called."""
        return Client(self.max_retries)

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kw: Any) -> ChatResult:
        self.own().call()
        return ChatResult(generations=[ChatGeneration(message=AIMessage("x"))])


class PerCall(Base):
    """Reads the field at each call."""


class Built(Base):
    """Makes its client when it is made, unless it has one."""

    client: Any = Field(default=None, exclude=True)

    @model_validator(mode="after")
    def build(self) -> Self:
        if not self.client:
            self.client = Client(self.max_retries)
        return self

    def own(self) -> Client:
        return self.client


class Plain(Built):
    """The same with a client that belongs to the model's fields."""

    client: Any = None


class Private(Base):
    """Keeps its client apart from its fields."""

    _client: Any = PrivateAttr(default=None)

    def model_post_init(self, context: Any, /) -> None:
        self._client = Client(self.max_retries)

    def own(self) -> Client:
        return self._client


class Lazy(Base):
    """Makes its client at the first call, as Anthropic's class does."""

    @functools.cached_property
    def made(self) -> Client:
        return Client(self.max_retries)

    def own(self) -> Client:
        return self.made


class Aliased(Built):
    """Has other names for its fields where it is made."""

    model_config = ConfigDict(validate_by_name=False)
    max_retries: int = Field(default=2, alias="retries")
    model: str = Field(default="m", alias="model_name")


class Shut(Built):
    """Takes nothing that it does not know, and wants what it needs."""

    model_config = ConfigDict(extra="forbid")
    region: str


@pytest.mark.parametrize(
    "model",
    [PerCall(), Built(max_retries=6), Plain(), Private(), Lazy(), Aliased(retries=3), Shut(region="eu")],
    ids=lambda model: type(model).__name__,
)
async def test_wherever_a_class_keeps_its_client(model: Base) -> None:
    retries = model.max_retries
    model.own()
    llm = LangChainLLM(model)
    COUNT.clear()
    with pytest.raises(ModelError, match="ConnectionError"):
        await llm.generate(ASK, max_tokens=5)
    assert len(COUNT) == 1
    COUNT.clear()
    with pytest.raises(ConnectionError):
        model.invoke("x")
    assert len(COUNT) == retries + 1


class Needing(Base):
    """Never without."""

    max_retries: int = Field(default=2, ge=1)


class Fixed(Base):
    """Takes no zero to heart."""

    @model_validator(mode="after")
    def fix(self) -> Self:
        object.__setattr__(self, "max_retries", 2)
        return self


class Odd(Base):
    """Is made of more than its fields."""

    def __init__(self, server: str, **fields: Any) -> None:
        super().__init__(**fields)


class Other(Client):
    """The caller's own."""


@pytest.mark.parametrize(
    "model",
    [Needing(), Fixed(), Odd("key-of-the-server"), Built(client=Other(2))],
    ids=lambda model: type(model).__name__,
)
def test_a_model_that_cannot_do_without_is_refused(model: Base) -> None:
    """Nobody could say what it spent."""
    with pytest.raises(InvalidInput, match=r"repeats failed calls by itself \(max_retries=2\).* Make it with max_retr"):
        LangChainLLM(model)


def test_one_that_was_made_without_is_taken_as_it_is() -> None:
    model = Odd("server", max_retries=0)
    assert LangChainLLM(model)._model is model


# -- what a provider refuses


def refusing(*refused: tuple[str, str], status: int = 400) -> Any:
    """Refuses what a body has of a name, with these words and no parameter beside; a system message as "system"."""

    def answer(path: str, body: Body) -> Reply:
        turns = body.get("messages") or body.get("input", [])
        has = set(body) | {turn["role"] for turn in turns if turn["role"] == "system"}
        has -= {"temperature"} if body.get("temperature") == 1 else set()
        for name, words in refused:
            if name in has:
                return Reply({"error": {"message": words}}, status)
        return Reply(response("Red.") if path.endswith("/responses") else completion("Red.", prompt=40))

    return answer


def response(text: str) -> Body:
    """Of OpenAI's Responses API."""
    part = {"type": "output_text", "text": text, "annotations": []}
    message = {"type": "message", "id": "i", "status": "completed", "role": "assistant", "content": [part]}
    details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    usage = {"input_tokens": 40, "output_tokens": 3, "total_tokens": 43, **details}
    return {
        "id": "r", "object": "response", "created_at": 1, "status": "completed", "model": "m", "output": [message],
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "usage": usage,
    }  # fmt: skip


GPT5 = ("temperature", "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1)")
SEED = ("seed", "Unrecognized request argument supplied: seed")
STOP = ("stop", "Unsupported parameter: 'stop' is not supported with this model.")
SYSTEM = ("system", "System role not supported")
HOT = ("temperature", "`temperature` must be strictly positive")
SYSTEM_ASK = [{"role": "system", "content": "Be brief."}, *ASK]


@pytest.mark.parametrize(
    ("refused", "status", "without"),
    [
        ([GPT5], 400, {"temperature"}), ([SEED], 422, {"seed"}), ([STOP], 400, {"stop"}), ([SYSTEM], 400, {"system"}),
        ([SYSTEM], 500, {"system"}), ([GPT5, SEED, STOP], 400, {"temperature", "seed", "stop"}),
    ],
)  # fmt: skip
async def test_what_a_provider_refuses_is_left_out(
    refused: list[tuple[str, str]], status: int, without: set[str]
) -> None:
    with FakeEndpoint(refusing(*refused, status=status)) as server, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        llm = LangChainLLM(chat(server))
        for _ in refused:
            with pytest.raises(ModelError) as caught:
                await llm.generate(SYSTEM_ASK, max_tokens=9, seed=4, stop=["x"])
            assert caught.value.retryable
            assert caught.value.spend == (Spend(llm_calls=1) if status < 500 else None)
        done = await llm.generate(SYSTEM_ASK, max_tokens=9, seed=4, stop=["x"])
    assert done.texts == ["Red."]
    last = server.sent("/chat/completions")[-1]
    assert {"temperature", "seed", "stop"} - set(last) == without - {"system"}
    said = "".join(f"{message['content']}|" for message in last["messages"])
    assert said == ("Be brief.\n\nA colour?|" if "system" in without else "Be brief.|A colour?|")
    assert sum("Calls go on without" in str(w.message) or "Calls put" in str(w.message) for w in told) == len(refused)


async def test_where_only_a_temperature_of_0_is_refused_one_beside_it_is_sent() -> None:
    def answer(path: str, body: Body) -> Reply:
        return Reply(completion("Red.")) if body["temperature"] > 0 else Reply({"error": {"message": HOT[1]}}, 422)

    with FakeEndpoint(answer) as server, pytest.warns(ModelWarning, match=r"send 0\.01 for a temperature of 0"):
        answered = rs.Agent(StubIndex(), chat(server), "once").ask("Who?")
    assert answered.text == "Red."
    assert [body["temperature"] for body in server.sent("/chat/completions")] == [0, 0.01]


@pytest.mark.parametrize("refused", [(), (GPT5,), (SYSTEM,)])
def test_by_the_responses_api(refused: tuple[tuple[str, str], ...]) -> None:
    """Its client takes neither seed nor stop strings: such an attempt sends nothing, and is charged nothing."""
    with FakeEndpoint(refusing(*refused)) as server:
        agent = rs.Agent(StubIndex(), chat(server, use_responses_api=True), "once")
        with pytest.warns(ModelWarning, match="go on without 'seed'"):
            answers = [agent.ask("Who?"), agent.ask("Whose?")]
    assert [answer.text for answer in answers] == ["Red.", "Red."]
    calls = [answer.spend.total.llm_calls for answer in answers]
    assert calls == [1 + len(refused), 1]
    assert sum(calls) == len(server.sent("/responses"))


async def test_a_length_that_is_too_short_is_told_and_not_sent_again() -> None:
    """As the Responses API does; the modes ask for more from then on."""
    words = "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got 7 instead."

    def answer(path: str, body: Body) -> Reply:
        return Reply({"error": {"message": words}}, 400)

    with FakeEndpoint(answer) as server:
        llm = LangChainLLM(chat(server))
        with pytest.raises(ModelError, match="Expected a value >= 16"):
            await llm.generate(ASK, max_tokens=7)
        assert (await llm.capabilities()).least == 16
        with pytest.raises(ModelError, match="no limit below 16 tokens, 7 were asked for") as caught:
            await llm.generate(ASK, max_tokens=7)
    assert caught.value.spend == Spend()
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "words", ["Unsupported parameter: 'max_tokens'.", "Unknown parameter: 'top_k'.", "No such region"]
)
async def test_what_cannot_be_left_out_is_an_error(words: str) -> None:
    with FakeEndpoint(lambda path, body: Reply({"error": {"message": words}}, 400)) as server:
        llm = LangChainLLM(chat(server))
        for _ in range(2):
            with pytest.raises(ModelError) as caught:
                await llm.generate(ASK, max_tokens=7, seed=4)
            assert not caught.value.retryable
    first, second = server.sent("/chat/completions")
    assert set(first) == set(second)


def test_a_model_that_thinks_is_told_where_its_allowance_is() -> None:
    def answer(path: str, body: Body) -> Reply:
        most = body["max_completion_tokens"]
        cut = completion("", done=most)
        cut["choices"][0]["finish_reason"] = "length"
        return Reply(cut if most <= 300 else completion("Red.", done=300))

    with FakeEndpoint(answer) as server:
        failed = rs.Agent(StubIndex(), chat(server), "once").ask("Who?")
        answered = rs.Agent(StubIndex(), LangChainLLM(chat(server), thinking=1024), "once").ask("Who?")
    assert (failed.stop_reason, answered.text) == ("failed", "Red.")
    assert "LangChainLLM(model, thinking=N)" in failed.reason
