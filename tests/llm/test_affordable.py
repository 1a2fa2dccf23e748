"""Attempts that nobody can pay, waits beyond the seconds, completions below a server's least: told at once."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from doubles import StubIndex
from fake_endpoint import Body, FakeEndpoint, Faltering, Reply, Vllm
from fake_kinds import Fakes, Kind, tagged

import ragscale as rs
from ragscale.endpoint.transport import RefusedError
from ragscale.errors import ModelError
from ragscale.llm import load
from ragscale.llm.manners import Manners
from ragscale.types import Spend

pytestmark = pytest.mark.filterwarnings("ignore::ragscale.llm.ModelWarning")
FAR = Reply({"error": {"message": "Rate limit reached for requests"}}, 429, headers={"retry-after": "3600"})


@pytest.fixture
def fakes() -> Iterator[Fakes]:
    with Fakes() as served:
        yield served


def test_a_throttle_beyond_the_seconds_is_named_and_not_waited_for() -> None:
    with FakeEndpoint(Faltering(forever=FAR)) as server:
        agent = rs.Agent(StubIndex(), f"openai:{server.url}", "once")
        asyncio.run(agent.llm.capabilities())
        started = time.monotonic()
        answer = agent.ask("Who?", budget=rs.Budget(seconds=20))
        assert time.monotonic() - started < 5
        assert answer.stop_reason == "budget:seconds"
        assert "HTTP 429" in answer.reason
        assert "Rate limit reached" in answer.reason


def test_so_it_is_while_the_model_is_tried_out() -> None:
    fake = Vllm()

    def throttled(path: str, body: Body) -> Reply:
        return FAR if path.endswith("completions") else fake(path, body)

    with FakeEndpoint(throttled) as server:
        agent = rs.Agent(StubIndex(), f"openai:{server.url}", "once")
        started = time.monotonic()
        answer = agent.ask("Who?", budget=rs.Budget(seconds=20))
        assert time.monotonic() - started < 5
        assert answer.stop_reason == "budget:seconds"
        assert "HTTP 429" in answer.reason


@pytest.mark.parametrize(("limit", "most", "status"), [("llm_calls", 1, 503), ("tokens", 700, 502)])
def test_nobody_waits_for_an_attempt_that_cannot_be_paid(limit: str, most: int, status: int) -> None:
    """A failure of unknown cost takes the tokens that it may have cost."""
    slow = Reply({"error": {"message": "overloaded"}}, status, headers={"retry-after": "30"})
    with FakeEndpoint(Faltering(forever=slow)) as server:
        agent = rs.Agent(StubIndex(), f"openai:{server.url}", "once")
        asyncio.run(agent.llm.capabilities())
        started = time.monotonic()
        answer = agent.ask("Who?", budget=rs.Budget(**{limit: most}))
        assert time.monotonic() - started < 5
        assert answer.stop_reason == f"budget:{limit}"
        assert "overloaded" in answer.reason


@pytest.mark.parametrize("tokens", [1, 15, 16])
def test_nothing_is_sent_for_fewer_tokens_than_any_answer_has(tokens: int) -> None:
    with FakeEndpoint(Vllm()) as server, rs.Agent(StubIndex(), f"openai:{server.url}", "once") as agent:
        answer = agent.ask("Who?", budget=rs.Budget(tokens=tokens))
        assert (answer.stop_reason, answer.spend.total) == ("budget:tokens", Spend())
        assert server.requests == []


@pytest.mark.parametrize("least", [32, 64, 100])
@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_the_shortest_completion_of_a_server_is_found_out(fakes: Fakes, least: int, field: str) -> None:
    fake = fakes.add(Kind(least=least, limit_field=field))
    agent = rs.Agent(StubIndex(), fake.spec, "once")
    assert asyncio.run(agent.llm.capabilities()).least == least
    for number, tokens in enumerate((500, 900, 1200, 4000), 1):
        answer = agent.ask(tagged("Which lamp is older", number), budget=rs.Budget(tokens=tokens))
        truth = fake.truth[f"zq{number:06d}"]
        assert truth.failed == 0
        assert truth.tokens <= tokens
        assert answer.stop_reason in ("answered", "budget:tokens")
    with pytest.raises(ModelError, match=f"no limit below {least} tokens, 16 were asked for") as caught:
        asyncio.run(load_and_ask(agent.llm))
    assert (caught.value.spend, caught.value.retryable) == (Spend(), False)


async def load_and_ask(model: Any) -> None:
    await model.generate([{"role": "user", "content": "Who?"}], max_tokens=16)


@pytest.mark.parametrize(
    ("said", "least"),
    [
        ("Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 32, but got 16 instead.", 32),
        ("max_tokens must be at least 64", 64),
        ("<400> InternalError.Algo.InvalidParameter: Range of max_tokens should be [20, 65536]", 20),
        ("Input should be greater than or equal to 32 (max_tokens)", 32),
        ("16 is less than the minimum of 50 - 'max_tokens'", 50),
        ("max_completion_tokens must not be less than 24", 24),
        ("max_tokens must be > 31", 32),
        ("max_tokens should be greater than 63", 64),
        ("max_tokens 取值范围为 [32, 8192]", 32),
        ("max_tokens must be between 24 and 8192", 24),
        ("max_tokens must be greater than 0", 1),
        ("max_tokens must be at most 8192", 1),
        ("Range of max_tokens should be [1, 8192]", 1),
        ("temperature must be at least 32", 1),
    ],
)
def test_servers_say_it_in_many_words(said: str, least: int) -> None:
    manners = Manners()
    error = RefusedError("refused")
    error.said = said
    manners.learn(error, {"messages": [], "max_tokens": 16})
    assert manners.least == least


def test_a_demand_that_grows_ends() -> None:
    def greedy(path: str, body: Body) -> Reply:
        if path == "/v1/models":
            return Reply({"data": [{"id": "m"}]})
        return Reply({"error": {"message": f"max_tokens must be at least {body.get('max_tokens', 0) + 1}"}}, 400)

    with FakeEndpoint(greedy) as server, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = load(f"openai:{server.url}")
        with pytest.raises(ModelError):
            asyncio.run(model.capabilities())
        assert len(server.sent("completions")) < 10
