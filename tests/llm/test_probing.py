"""Finding out what a model can do: within the budget, retried like any call, paid once and shown apart."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from doubles import StubIndex
from fake_endpoint import Body, FakeEndpoint, Reply, Vllm

import ragscale as rs
from ragscale.types import Spend


def agent(server: FakeEndpoint, **options: Any) -> rs.Agent:
    return rs.Agent(StubIndex(), f"openai:{server.url}", "once", **options)


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
        assert (first.llm_calls, spent.llm_calls, len(server.sent("completions"))) == (1, 3, 5)
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
