"""Whose retries: a LangChain model's own are off, so that every attempt is reserved and charged."""

from __future__ import annotations

import functools
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
from ragscale.llm.langchain import LangChainLLM

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
    """What the server does; always, unless a test says otherwise."""
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
