"""Finding out what a model can do: within the budget, retried like any call, paid once and shown apart."""

from __future__ import annotations

import asyncio
import functools
import time
from typing import Any

import pytest
from doubles import StubIndex
from fake_endpoint import Body, FakeEndpoint, Reply, Vllm

import ragscale as rs
from ragscale.endpoint.retry import attempts
from ragscale.errors import ModelError
from ragscale.types import Spend


def agent(server: FakeEndpoint, **options: Any) -> rs.Agent:
    return rs.Agent(StubIndex(), f"openai:{server.url}", "once", **options)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits between attempts are tested elsewhere."""
    monkeypatch.setattr("ragscale.modes.core.run.attempts", functools.partial(attempts, base=0.0))


@pytest.mark.parametrize("limit", ["tokens", "llm_calls", "seconds"])
def test_nothing_is_sent_on_a_budget_that_can_pay_nothing(limit: str) -> None:
    with FakeEndpoint(Vllm()) as server, agent(server, budget=rs.Budget(**{limit: 0})) as mine:
        assert mine.ask("Who?").stop_reason == f"budget:{limit}"
        assert server.requests == []


def test_the_calls_are_paid_once_and_shown_apart() -> None:
    with FakeEndpoint(Vllm()) as server, agent(server) as mine:
        assert mine.probe_spend == Spend()
        first, second = mine.ask("Who?").spend.total, mine.ask("Who?").spend.total
        spent = mine.probe_spend
        assert (first.llm_calls, first.tokens) == (second.llm_calls, second.tokens)
        assert (first.llm_calls, spent.llm_calls, len(server.sent("completions"))) == (1, 4, 6)
        assert spent.prompt_tokens > 20
        assert spent.seconds > 0


def test_the_time_is_the_first_questions() -> None:
    fake, delay = Vllm(), [20.0]

    def slow(path: str, body: Body) -> Reply:
        reply = fake(path, body)
        reply.delay = delay[0] if path.endswith("completions") else 0.0
        return reply

    with FakeEndpoint(slow) as server, agent(server) as mine:
        started, parent = time.monotonic(), rs.Ledger()
        answer = asyncio.run(mine.aask("Who?", budget=rs.Budget(seconds=0.5), parent=parent))
        assert time.monotonic() - started < 10
        assert (answer.text, answer.stop_reason, parent.held) == ("", "budget:seconds", Spend())
        delay[0] = 0.0
        assert mine.ask("Who?").stop_reason == "answered"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions"])
@pytest.mark.parametrize(
    "bad", [Reply({}, 429), Reply({}, 503), Reply(b"<html>"), Reply({}, cut=True)], ids=["429", "503", "html", "cut"]
)
def test_one_failure_is_made_good(bad: Reply, path: str) -> None:
    fake, left = Vllm(), [bad]

    def flaky(at: str, body: Body) -> Reply:
        return left.pop() if at == path and left else fake(at, body)

    with FakeEndpoint(flaky) as server, agent(server) as mine:
        assert mine.ask("Who?").stop_reason == "answered"
        assert not left
        assert mine.probe_spend.llm_calls == (4 if path == "/v1/models" else 5)


def test_four_failures_are_an_error_and_are_counted() -> None:
    fake = Vllm()

    def broken(path: str, body: Body) -> Reply:
        return Reply({}, 503) if path.endswith("completions") else fake(path, body)

    with FakeEndpoint(broken) as server, agent(server) as mine:
        parent = rs.Ledger()
        with pytest.raises(ModelError, match="503"):
            asyncio.run(mine.aask("Who?", parent=parent))
        assert (mine.probe_spend.llm_calls, len(server.sent("completions"))) == (4, 4)
        assert (parent.spent, parent.held) == (Spend(), Spend())
