"""Finding out what a model can do: within the budget, retried like any call, paid once and shown apart."""

from __future__ import annotations

import asyncio
import functools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from doubles import StubIndex
from fake_endpoint import Body, FakeEndpoint, Reply, Vllm

import ragscale as rs
from ragscale.endpoint.retry import attempts
from ragscale.errors import EndpointError, ModelError
from ragscale.llm.base import Capabilities
from ragscale.llm.openai import OpenAILLM
from ragscale.types import Spend


def agent(server: FakeEndpoint, **options: Any) -> rs.Agent:
    return rs.Agent(StubIndex(), f"openai:{server.url}", "once", **options)


pytestmark = pytest.mark.filterwarnings("ignore::ragscale.llm.ModelWarning")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits between attempts are tested elsewhere."""
    monkeypatch.setattr("ragscale.modes.core.run.attempts", functools.partial(attempts, base=0.0))


class Bare:
    """A vLLM behind a gateway without its tokenizer's path, which answers `bad(number, body)` instead where that is not
    None; `number` counts the chat completions. `served` has those that it answered itself."""

    def __init__(self, bad: Callable[[int, Body], Reply | None]) -> None:
        self.bad, self.number, self.served = bad, 0, Counter[str]()
        self._fake, self._lock = Vllm(), threading.Lock()

    def __call__(self, path: str, body: Body) -> Reply:
        if not path.endswith("/chat/completions"):
            return self._fake(path, body) if path == "/v1/models" else Reply({"detail": "Not Found"}, 404)
        with self._lock:
            self.number += 1
            reply = self.bad(self.number, body)
            if reply is None:
                self.served[json.dumps(body)] += 1
        if reply is None:
            reply = self._fake(path, body)
            if "response_format" in body:
                reply.body["choices"][0]["message"]["content"] = '{"k": 7}'
        return reply


def found(fake: Bare, spec: str = "") -> tuple[rs.Answer, Capabilities, Spend]:
    """Of a question, and what was found out for it."""
    with FakeEndpoint(fake) as server, rs.Agent(StubIndex(), f"openai:{server.url}{spec}", "once") as mine:
        answer = mine.ask("Who?")
        return answer, asyncio.run(mine.llm.capabilities()), mine.probe_spend


async def patient(model: OpenAILLM) -> None:
    async for attempt in attempts(base=0.0):
        with attempt:
            await model.capabilities()


WHOLE = Capabilities(json_schema=True, logprobs=True, samples=True, continues=True)
"""Capabilities of a `Bare`."""


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


@pytest.mark.parametrize("least", [1, 2, 5, 8, 100])
def test_an_endpoint_that_takes_fewer_requests_than_that_is_waited_for(least: int) -> None:
    """And no call that it served is made again."""

    def throttled(number: int, body: Body) -> Reply | None:
        words = "Rate limit reached for requests per min. Please try again in 0.01s."
        return Reply({"error": {"message": words}}, 429) if number % (least + 1) == 0 else None

    fake = Bare(throttled)
    answer, can, spent = found(fake)
    assert (answer.stop_reason, can) == ("answered", WHOLE)
    assert set(fake.served.values()) == {1}
    assert spent.llm_calls + answer.spend.total.llm_calls == fake.number


@pytest.mark.parametrize("every", [2, 3, 7])
@pytest.mark.parametrize(
    "bad", [Reply({}, 500), Reply({}, 429), Reply(b"<html>"), Reply({}, cut=True)], ids=["500", "429", "html", "cut"]
)
def test_calls_that_fail_now_and_then_hide_nothing(bad: Reply, every: int) -> None:
    fake = Bare(lambda number, body: bad if number % every == 0 else None)
    answer, can, spent = found(fake)
    assert (answer.stop_reason, can) == ("answered", WHOLE)
    assert set(fake.served.values()) == {1}
    assert spent.llm_calls + answer.spend.total.llm_calls == fake.number


FEATURES = {
    "samples": lambda body: body.get("n", 1) > 1,
    "logprobs": lambda body: bool(body.get("logprobs")),
    "json_schema": lambda body: "response_format" in body,
}  # fmt: skip
REFUSED = [
    (400, "bad request"), (401, "Unauthorized"), (402, "Payment required for this"), (403, "Forbidden"),
    (403, "Your key may not ask for this"), (404, "No endpoints found that can handle the requested parameters."),
    (405, ""), (422, ""), (500, "the engine was built without it"), (501, "not implemented"), (504, ""),
]  # fmt: skip


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize(("status", "words"), REFUSED)
def test_what_is_refused_alone_is_done_without_whatever_the_status(status: int, words: str, feature: str) -> None:
    fake = Bare(lambda number, body: Reply({"error": {"message": words}}, status) if FEATURES[feature](body) else None)
    answer, can, spent = found(fake)
    assert answer.stop_reason == "answered"
    assert {name for name in FEATURES if getattr(can, name)} == set(FEATURES) - {feature}
    assert spent.llm_calls + answer.spend.total.llm_calls == fake.number


@pytest.mark.parametrize("feature", FEATURES)
def test_what_fails_three_times_and_then_no_more_is_not_denied(feature: str) -> None:
    left = [Reply({}, 500)] * 3

    def ill(number: int, body: Body) -> Reply | None:
        return left.pop() if left and FEATURES[feature](body) else None

    answer, can, _ = found(Bare(ill))
    assert (answer.stop_reason, can) == ("answered", WHOLE)


@pytest.mark.parametrize("after", [0, 1, 3, 9, 10])
@pytest.mark.parametrize(
    ("status", "words", "calls"),
    [(401, "refused the key", 2), (403, "refused the key", 2), (404, "does not know", 2), (500, "failed", 5)],
)
async def test_what_any_call_meets_is_raised(after: int, status: int, words: str, calls: int) -> None:
    """No feature is denied for it, and another attempt goes on from what was found out before."""
    state = [True]
    fake = Bare(lambda number, body: Reply({}, status) if state[0] and number > after else None)
    with FakeEndpoint(fake) as server:
        model = OpenAILLM(server.url)
        with pytest.raises(ModelError, match=words) as caught:
            await patient(model)
        assert isinstance(caught.value, EndpointError) == (status < 500)
        assert fake.number - after <= max(calls, 4 * 7)  # seven samples are counted at once
        state[0] = False
        assert await model.capabilities() == WHOLE
        assert sum(fake.served.values()) - len(fake.served) <= 1
