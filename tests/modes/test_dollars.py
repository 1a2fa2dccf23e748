"""Dollars of a run: charged by the price, limited like tokens, unknown where the price is; kept with a run.

A limit is held over HTTP in some modes; in all of them by ``pytest tests/modes/test_dollars.py -m slow``.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conformance import check, crashing, story
from doubles import PRICE, QUESTION, StubIndex, ask, never_repeating, run, scripted, virtually
from fake_endpoint import Body, FakeEndpoint, Reply, Vllm, completion

from ragscale.agent import Agent
from ragscale.answer import Answer
from ragscale.budget import Budget, Ledger
from ragscale.errors import InvalidInput
from ragscale.llm.prices import Price
from ragscale.llm.scripted import ScriptedCall, count
from ragscale.llm.tokens import with_margin
from ragscale.modes import built_in
from ragscale.types import Event, Spend, Usage

OWN = Price(hour=0.9)


def mean(tokens: float) -> float:
    """Dollars of so many tokens at the usual share of completions."""
    return round(tokens * PRICE.mean(900, 100), 12)


def test_every_call_is_charged_and_a_search_costs_nothing() -> None:
    answer, ledger = run("chain(steps=2)")
    for event in answer.trace:
        spend = event.spend
        assert spend.usd == PRICE.usd(Usage(spend.prompt_tokens, spend.completion_tokens, spend.cached_tokens))
    total = answer.to_dict()["spend"]["total"]["usd"]
    assert total == ledger.spent.usd == sum((event.spend for event in answer.trace), Spend()).usd
    assert total > 0


def test_without_a_price_dollars_are_unknown_and_never_zero() -> None:
    answer, ledger = run("chain(steps=2)", prices=None)
    check(answer, ledger, Budget())
    assert (answer.spend.total.usd, answer.spend.serial.usd, ledger.spent.usd) == (None, None, None)
    assert {event.spend.usd for event in answer.trace if event.move == "retrieve"} == {0.0}
    assert json.loads(json.dumps(answer.to_dict()))["spend"]["total"]["usd"] is None


@pytest.mark.parametrize("prices", [None, OWN, "0.9/h"])
@pytest.mark.parametrize("at", ["budget", "total"])
def test_a_limit_needs_a_price_by_the_token(prices: Any, at: str) -> None:
    llm = scripted()
    agent = Agent(StubIndex(), llm, "once", prices=prices)
    with pytest.raises(InvalidInput, match="unknown or by the hour") as refused:
        agent.batch([QUESTION], **{at: Budget(usd=0.1)})
    assert "limit the seconds" in refused.value.remedy
    assert llm.calls == []


def test_the_ledger_refuses_a_call_of_unknown_dollars() -> None:
    """As of a graph that is run by hand."""
    with pytest.raises(InvalidInput, match="unknown or by the hour"):
        Ledger(Budget(usd=1)).child().reserve(Spend(llm_calls=1, usd=None))
    free = Ledger(Budget(tokens=9))
    with free.reserve(Spend(llm_calls=1, usd=None)):
        assert free.held == Spend(llm_calls=1)
    assert (free.spent.usd, free.held, free.left("usd")) == (None, Spend(), float("inf"))


def test_an_hour_is_charged_by_the_seconds_of_the_calls() -> None:
    """Of all branches: where several are in flight, that is more than the hours of the machine."""

    async def work() -> tuple[Answer, Ledger]:
        return await ask("vote(of=once, n=3)", llm=scripted(delay=10.0), index=StubIndex(delay=5.0), prices=OWN)

    answer, _ = virtually(work)
    calls = [event for event in answer.trace if event.spend.llm_calls]
    assert [event.spend.usd for event in calls] == [0.0025] * 3
    assert (answer.spend.total.usd, answer.spend.serial.usd) == (0.0075, 0.0025)
    assert answer.spend.serial.seconds == 15


def test_a_call_that_died_is_charged_the_most_that_it_may_have_cost() -> None:
    async def work() -> tuple[Answer, Ledger]:
        return await ask("direct", llm=scripted(delay=3600.0), budget=Budget(seconds=10))

    answer, _ = virtually(work)
    total = answer.spend.total
    assert answer.stop_reason == "budget:seconds"
    assert total.estimated_tokens
    assert total.usd == PRICE.usd(Usage(total.prompt_tokens, total.completion_tokens))


MODES = [
    name if name in ("chain", "parallel", "react", "vote") else pytest.param(name, marks=pytest.mark.slow)
    for name in built_in()
]


@pytest.mark.parametrize("mode", MODES)
def test_a_limit_holds_in_every_mode_by_the_servers_count(mode: str) -> None:
    """The server's own sum, over HTTP: what it read and wrote at the prices of the limit."""
    counted = Spend()

    class Counting(Vllm):
        def _chat(self, body: Body) -> Reply:
            nonlocal counted
            if len(body["messages"]) < 2:  # the model is being tried out
                return super()._chat(body)
            schema = body.get("structured_outputs", {}).get("json")
            call = ScriptedCall(0, tuple(body["messages"]), n=body.get("n", 1), seed=body.get("seed"), schema=schema)
            texts = [text[: body["max_tokens"]] for text in never_repeating(body["messages"], call)]
            prompt, done = len(self.prompt(body)), sum(map(len, texts))
            counted += Spend(llm_calls=1, usd=PRICE.usd(Usage(prompt, done)))
            return Reply(completion(*texts, prompt=prompt, done=done, cached=0))

    with FakeEndpoint(Counting(window=100_000)) as server:
        budget = Budget(usd=0.002)
        price = replace(PRICE, cached=None)
        with Agent(StubIndex(), f"openai:{server.url}#org/model", mode, budget, prices=price) as agent:
            answer = agent.ask(QUESTION)
    assert counted.usd is not None
    assert 0 < counted.usd <= 0.002
    assert answer.text


class TestSizes:
    @pytest.mark.parametrize("mode", ["vote(of=chain(steps=2), n=9)", "tree", "parallel", "bidirectional"])
    def test_are_those_of_as_many_tokens(self, mode: str) -> None:
        """A mode does about as much on dollars as on the tokens that they buy."""
        bought, _ = run(mode, budget=Budget(usd=mean(12_000)))
        counted, _ = run(mode, budget=Budget(tokens=12_000))
        one, other = bought.spend.total, counted.spend.total
        assert 0.6 < one.llm_calls / other.llm_calls < 1.7
        assert one.usd is not None
        assert other.usd is not None
        assert 0.6 < one.usd / other.usd < 1.7

    def test_members_have_equal_shares(self) -> None:
        answer, ledger = run("vote(of=chain(steps=6), n=3)", budget=Budget(usd=mean(9_000)))
        check(answer, ledger, Budget(usd=mean(9_000)))
        shares = [
            sum((event.spend for event in answer.trace if event.branch.split(".")[0] == name), Spend()).usd or 0.0
            for name in ("0", "1", "2")
        ]
        assert max(shares) <= mean(9_000) / 3
        assert min(shares) >= mean(9_000) / 6

    def test_passages_are_left_out_where_dollars_are_short(self) -> None:
        answer, _ = run("once(k=20, context=20)", index=StubIndex(words=60), budget=Budget(usd=2e-4))
        [note] = [event.note for event in answer.trace if event.move == "answer"]
        assert "fit into the $" in note
        assert answer.stop_reason == "answered"

    def test_a_planner_that_is_aware_is_told_the_dollars(self) -> None:
        llm = scripted()
        run("chain(aware=True, steps=2)", llm=llm, budget=Budget(usd=0.01))
        assert any("dollars: 0.000" in call.messages[-1]["content"] for call in llm.calls)


class TestKept:
    def test_a_crashed_run_ends_with_the_dollars_of_the_whole_one(self, tmp_path: Path) -> None:
        kept: Any = {"budget": Budget(usd=0.003), "checkpoints": tmp_path / "runs.sqlite"}
        whole, _ = run("tree(steps=2)", budget=Budget(usd=0.003))
        for at in (3, 9, 17):
            with pytest.raises(KeyError):
                run("tree(steps=2)", llm=crashing(at, KeyError("boom")), **kept, thread=str(at))
            answer, _ = run("tree(steps=2)", **kept, thread=str(at))
            assert answer.spend.total.usd == whole.spend.total.usd
            assert story(answer) == story(whole)

    def test_a_run_belongs_to_its_price(self, tmp_path: Path) -> None:
        file = tmp_path / "runs.sqlite"
        with pytest.raises(KeyError):
            run("chain", llm=crashing(2, KeyError("boom")), checkpoints=file, thread="t")
        for other in (None, replace(PRICE, output=0.7)):
            with pytest.raises(
                InvalidInput, match=r"is a run of price (\{'input': 0.15.*, not None|output=0.6, not output=0.7)"
            ):
                run("chain", checkpoints=file, thread="t", prices=other)
        assert run("chain", checkpoints=file, thread="t")[0].spend.total.usd

    def test_an_event_of_before_dollars_were_counted_has_unknown_ones(self) -> None:
        kept = Event("answer", "", spend=Spend(llm_calls=1)).to_dict()
        del kept["spend"]["usd"]
        assert Event.from_dict(kept).spend.usd is None


class TestClosing:
    """Dollars are kept for the closing answer, in members too; a call that they do not pay whole is a shorter one."""

    @pytest.mark.parametrize("tokens", [1_500, 2_500, 4_000])
    def test_a_chain_without_an_end_has_its_closing_answer(self, tokens: int) -> None:
        answer, _ = run("chain(steps=30)", budget=Budget(usd=mean(tokens)))
        last = answer.trace[-1]
        assert (last.move, last.status, last.spend.llm_calls) == ("answer", "", 1)
        assert answer.spend.total.llm_calls > 2

    async def test_they_are_held_while_the_run_goes_on(self) -> None:
        """A quarter of the dollars, or what its prompt and its completion will cost at most."""
        parent, held = Ledger(), list[float]()

        def reply(messages: Any, call: ScriptedCall) -> Any:
            mine = PRICE.most(with_margin(count(call.messages, call.tools)), call.max_tokens * call.n)
            held.append(round((parent.held.usd or 0) - mine, 12))
            return never_repeating(messages, call)

        agent = Agent(StubIndex(), scripted(reply), "chain(steps=3)", Budget(usd=mean(8_000)), prices=PRICE)
        answer = await agent.aask(QUESTION, parent=parent)
        closing = PRICE.most(answer.spend.total.prompt_tokens // 20, 96)
        assert len(held) > 3
        assert all(closing < usd <= mean(8_000) / 2 for usd in held[:-1])
        assert held[-1] == 0

    def test_so_has_every_member(self) -> None:
        answer, _ = run("vote(of=chain(steps=30), n=3)", budget=Budget(usd=mean(9_000)))
        closed = {event.branch for event in answer.trace if event.move == "answer" and event.spend.llm_calls}
        assert {"0", "1", "2"} <= closed

    def test_what_a_dear_completion_may_have_is_what_dollars_pay(self) -> None:
        llm, price = scripted(), Price(input=0.1, output=10)
        prompt = run("direct")[0].spend.total.prompt_tokens
        budget = Budget(usd=price.most(prompt + 50, 40))
        answer, ledger = run("direct", llm=llm, budget=budget, prices=price)
        assert answer.stop_reason == "answered"
        assert 30 <= llm.calls[-1].max_tokens < 60
        assert ledger.spent.usd is not None
        assert ledger.spent.usd <= (budget.usd or 0)
