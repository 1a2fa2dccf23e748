"""Conformance suite that every mode must pass, whoever wrote it: subclass `Conformance` with a `mode` fixture."""

from __future__ import annotations

import asyncio
import json
import math
import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from doubles import PRICE, QUESTION, StubIndex, ask, others, run, scripted, virtually
from langgraph.checkpoint.memory import InMemorySaver

from ragscale.agent import Agent
from ragscale.answer import Answer
from ragscale.budget import Budget, Ledger
from ragscale.errors import InvalidInput
from ragscale.llm.scripted import ScriptedCall, ScriptedLLM, count
from ragscale.modes import Mode
from ragscale.types import Event, Spend, Usage

TOKENS = (0, 1, 10, 50, 100, 200, 300, 400, 600, 800, 1000, 1400, 2000, 3000, 5000, 8000, 12_000, 20_000)
COUNTS = (0, 1, 2, 3, 4, 5, 7, 9, 13, 20, 40, 80)
ENOUGH = 600
"""Tokens that pay for a closing answer with a passage under the scripted model's tokenizer."""
STOPS = {"answered", "failed", *(f"budget:{field.name}" for field in fields(Budget))}


def same(one: Spend, other: Spend) -> bool:
    """Equal, but for the rounding of seconds added in another order."""
    return replace(one, seconds=0.0) == replace(other, seconds=0.0) and math.isclose(
        one.seconds, other.seconds, rel_tol=1e-9, abs_tol=1e-9
    )


def check(answer: Answer, ledger: Ledger, budget: Budget, *, overrun: bool = False) -> None:
    """Check all that holds for the outcome of every run.

    Args:
        answer: The run's outcome.
        ledger: A ledger that was charged with this run and nothing else.
        budget: The run's.
        overrun: The model was charged more than it said beforehand; limits of tokens may be passed by that.
    """
    total, serial = answer.spend.total, answer.spend.serial
    assert answer.stop_reason in STOPS
    assert answer.text or answer.stop_reason != "answered"
    assert bool(answer.reason) == (answer.stop_reason != "answered")
    assert ledger.held == Spend()
    assert same(total, sum((event.spend for event in answer.trace), Spend()))
    assert same(total, ledger.spent)
    for field in fields(Spend):
        if field.name == "usd" and total.usd is None:
            continue
        assert getattr(total, field.name) >= getattr(serial, field.name) - 1e-9, field.name
        assert getattr(serial, field.name) >= 0, field.name
    usage = Usage(total.prompt_tokens, total.completion_tokens, total.cached_tokens)
    assert total.usd in (None, PRICE.usd(usage))
    assert (total.usd is None) == any(event.spend.usd is None for event in answer.trace)
    limits = {"queries": total.queries, "llm_calls": total.llm_calls, "rounds": serial.rounds}
    limits["serial_calls"] = serial.llm_calls
    if not overrun:
        limits |= {"tokens": total.tokens, "serial_tokens": serial.tokens, "usd": total.usd}
    for name, used in limits.items():
        limit = getattr(budget, name)
        assert limit is None or used <= limit, (name, used, limit)
    assert budget.seconds is None or serial.seconds <= budget.seconds + 1e-9
    seen = {id for event in answer.trace for id in event.passages}
    assert set(answer.citations) <= seen
    assert len(answer.citations) == len(set(answer.citations))
    assert set(answer.passages) == set(answer.citations)
    assert all(Event.from_dict(event.to_dict()) == event for event in answer.trace)
    check_tree(answer.trace)


def story(answer: Answer) -> list[dict[str, Any]]:
    """The trace without what time and caches decide."""
    return [
        replace(event, start=0.0, spend=replace(event.spend, seconds=0.0, cached_tokens=0)).to_dict()
        for event in answer.trace
    ]


def check_tree(trace: list[Event]) -> None:
    """Ids are unique; every parent stands earlier in the trace, in its branch or one around it, and ended before."""
    seen: dict[str, Event] = {}
    last: dict[str, str] = {}
    for event in trace:
        assert event.id not in seen
        assert event.id.rpartition(":")[0] == event.branch
        around = [name for name in last if not name or event.branch == name or event.branch.startswith(f"{name}.")]
        assert bool(event.parent) == bool(around)
        if event.parent:
            parent = seen[event.parent]
            assert parent.start + parent.spend.seconds <= event.start + 1e-9
            if event.branch in last:
                assert event.parent == last[event.branch]
            else:
                assert not parent.branch or event.branch.startswith(f"{parent.branch}.")
        seen[event.id], last[event.branch] = event, event.id


def spread(count: int, most: int = 8) -> list[int]:
    """At most `most` numbers below `count`, the first and the last among them."""
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


def crashing(at: int, error: BaseException, **options: Any) -> ScriptedLLM:
    """A model whose call number `at` ends in an error that nobody planned for."""
    calls = 0

    def usage(true: Any, call: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at + 1:
            raise error
        return true

    return scripted(usage=usage, **options)


class CrashError(BaseException):
    """Not an `Exception`: what a killed worker looks like."""


class Conformance:
    """Inherit, give a `mode` fixture, and every test here runs on that mode."""

    @pytest.fixture
    def mode(self) -> Mode:
        raise NotImplementedError

    @pytest.mark.parametrize("tokens", TOKENS)
    def test_tokens(self, mode: Mode, tokens: int) -> None:
        budget = Budget(tokens=tokens)
        answer, ledger = run(mode, budget=budget)
        check(answer, ledger, budget)
        if tokens >= ENOUGH:
            assert answer.text
        if tokens < 10:
            assert (answer.text, answer.stop_reason) == ("", "budget:tokens")
            assert "Raise tokens in the budget" in answer.reason

    @pytest.mark.parametrize("tokens", TOKENS[::3])
    def test_serial_tokens(self, mode: Mode, tokens: int) -> None:
        """The critical path is held to its limit, whatever branches beside it cost."""
        budget = Budget(serial_tokens=tokens)
        answer, ledger = run(mode, budget=budget)
        check(answer, ledger, budget)
        assert bool(answer.text) == (tokens >= ENOUGH) or 10 <= tokens < ENOUGH
        assert answer.stop_reason in ("answered", "budget:serial_tokens")
        if tokens < 10:
            assert answer.stop_reason == "budget:serial_tokens"
            assert "Raise serial_tokens in the budget" in answer.reason

    @pytest.mark.parametrize("tokens", TOKENS[::3])
    def test_dollars(self, mode: Mode, tokens: int) -> None:
        """Dollars that pay so many tokens at the mean price: at their most they are known before each call."""
        budget = Budget(usd=round(tokens * PRICE.mean(900, 100), 12))
        answer, ledger = run(mode, budget=budget)
        check(answer, ledger, budget)
        assert answer.stop_reason in ("answered", "budget:usd")
        if tokens >= ENOUGH:
            assert answer.text
        if tokens < 10:
            assert (answer.text, answer.stop_reason) == ("", "budget:usd")
            assert "Raise usd in the budget" in answer.reason

    @pytest.mark.parametrize("dimension", ["llm_calls", "queries", "rounds", "serial_calls"])
    def test_counts(self, mode: Mode, dimension: str) -> None:
        for limit in COUNTS:
            budget = Budget(**{dimension: limit})
            answer, ledger = run(mode, budget=budget)
            check(answer, ledger, budget)
            assert bool(answer.text) == (dimension not in ("llm_calls", "serial_calls") or limit > 0)
            assert answer.stop_reason in ("answered", f"budget:{dimension}")
            if limit == 0 and (dimension == "llm_calls" or mode.retrieves):
                assert answer.stop_reason == f"budget:{dimension}"

    @pytest.mark.parametrize("seconds", [0, 0.1, 1, 2, 3.7, 6, 10, 15.5, 20, 40, 100])
    def test_seconds(self, mode: Mode, seconds: float) -> None:
        """A call takes a second, a search half a one; the clock is made up, so the limit holds to the letter."""

        async def work() -> tuple[Answer, Ledger, float]:
            llm, index = scripted(delay=1.0), StubIndex(delay=0.5)
            answer, ledger = await ask(mode, llm=llm, index=index, budget=budget)
            return answer, ledger, asyncio.get_running_loop().time()

        budget = Budget(seconds=seconds)
        answer, ledger, ended = virtually(work)
        check(answer, ledger, budget)
        assert ended <= seconds + 1e-6
        assert answer.stop_reason in ("answered", "budget:seconds")
        if seconds >= 6:  # the quarter kept for closing pays for a call
            assert answer.text

    @pytest.mark.parametrize("slow", ["model", "index"])
    def test_whatever_never_answers_is_left_in_time(self, mode: Mode, slow: str) -> None:
        async def work() -> tuple[Answer, Ledger, float]:
            llm = scripted(delay=3600.0 if slow == "model" else 0.0)
            answer, ledger = await ask(mode, llm=llm, index=StubIndex(delay=3600.0 * (slow == "index")), budget=budget)
            assert (llm.running, await others()) == (0, [])
            return answer, ledger, asyncio.get_running_loop().time()

        budget = Budget(seconds=30)
        answer, ledger, ended = virtually(work)
        check(answer, ledger, budget)
        waits = slow == "model" or mode.retrieves
        assert answer.stop_reason == ("budget:seconds" if waits else "answered")
        assert ended <= 30 + 1e-6
        assert bool(answer.text) == (slow == "index")

    def test_all_limits_at_once(self, mode: Mode) -> None:
        source = random.Random(mode.name)
        for _ in range(15):
            budget = Budget(
                tokens=source.choice(TOKENS),
                llm_calls=source.choice(COUNTS),
                queries=source.choice(COUNTS),
                rounds=source.choice(COUNTS),
                serial_tokens=source.choice([None, *TOKENS]),
                serial_calls=source.choice([None, *COUNTS]),
                usd=source.choice([None, *(round(tokens * PRICE.mean(900, 100), 12) for tokens in TOKENS)]),
            )
            check(*run(mode, budget=budget), budget)

    def test_same_seed_same_trace_whoever_is_first(self, mode: Mode) -> None:
        """Random delays shuffle the order in which parallel branches end."""
        for budget in (
            Budget(),
            Budget(tokens=6_000),
            Budget(llm_calls=25, serial_tokens=3_000),
            Budget(queries=9),
            Budget(usd=9e-4),
        ):
            stories = []
            for seed in (None, 1, 2, 3):
                source = random.Random(seed)
                llm = scripted(delay=(lambda call, source=source: source.random()) if seed else 0.0)
                answer, _ = run(mode, llm=llm, index=StubIndex(delay=source.random() if seed else 0.0), budget=budget)
                stories.append((story(answer), answer.text, replace(answer.spend.serial, seconds=0.0)))
            assert all(story == stories[0] for story in stories)

    @pytest.mark.parametrize("clock", ["seconds", "llm_calls", "tokens", "rounds"])
    def test_serial_is_the_critical_path(self, mode: Mode, clock: str) -> None:
        """The elapsed time of the whole run, where nothing but that dimension takes time.

        For seconds, every call and every search takes another time; for calls, tokens and rounds, one second each. So
        branches that run at once count by the longest of them, and steps after one another by their sum.
        """
        delays: dict[str, tuple[Callable[[ScriptedCall], float], Callable[[Any], float]]] = {
            "seconds": (lambda call: source.uniform(0.1, 2), lambda queries: source.random()),
            "llm_calls": (lambda call: 1.0, lambda queries: 0.0),
            "tokens": (lambda call: float(count(call.messages, call.tools)), lambda queries: 0.0),
            "rounds": (lambda call: 0.0, lambda queries: 1.0),
        }

        async def work() -> tuple[Answer, Ledger, float]:
            of_model, of_index = delays[clock]
            llm, index = scripted(delay=of_model, usage=usage), StubIndex(delay=of_index)
            answer, ledger = await ask(mode, llm=llm, index=index, budget=budget)
            return answer, ledger, asyncio.get_running_loop().time()

        def prompts_alone(true: Usage, call: ScriptedCall) -> Usage:
            return Usage(prompt_tokens=count(call.messages, call.tools))  # known before the reply is

        usage = prompts_alone if clock == "tokens" else None
        for budget in (Budget(), Budget(tokens=6_000), Budget(llm_calls=20), Budget(serial_tokens=2_500)):
            source = random.Random(budget.tokens)
            answer, ledger, elapsed = virtually(work)
            check(answer, ledger, budget)  # total >= serial in every dimension
            assert elapsed > 0 or (clock == "rounds" and not mode.retrieves)
            assert getattr(answer.spend.serial, clock) == pytest.approx(elapsed)

    def test_cancelled_midway_leaves_nothing_running(self, mode: Mode) -> None:
        def cancel(after: float) -> bool:
            async def work() -> bool:
                llm, index = scripted(delay=1.0), StubIndex(delay=0.5)
                ledger = Ledger(Budget(tokens=10**9), clock=asyncio.get_running_loop().time)
                task = asyncio.create_task(Agent(index, llm, mode).aask(QUESTION, parent=ledger))
                await asyncio.sleep(after)
                ended = task.done()
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                assert task.cancelled() or ended
                assert (llm.running, index.running, ledger.held) == (0, 0, Spend())
                assert await others() == []
                assert ledger.spent.llm_calls == len(llm.calls)
                return ended

            return virtually(work)

        threads = set(threading.enumerate())
        moment = 0.25
        while not cancel(moment):
            moment = moment * 1.3 + 0.5
        assert set(threading.enumerate()) == threads

    @pytest.mark.parametrize("error", [KeyError("boom"), CrashError("killed")], ids=["exception", "killed"])
    def test_a_crashed_run_is_resumed_and_nothing_is_charged_twice(self, mode: Mode, error: BaseException) -> None:
        whole = scripted()
        expected, _ = run(mode, llm=whole)
        once = Counter(map(_prompt, whole.calls))
        for at in spread(len(whole.calls)):
            saver, first, second = InMemorySaver(), crashing(at, error), scripted()
            with pytest.raises(type(error)):
                run(mode, llm=first, checkpoints=saver, question=QUESTION, thread="t")
            answer, ledger = run(mode, llm=second, checkpoints=saver, thread="t")
            _same_outcome(answer, expected)
            assert ledger.spent.llm_calls == len(second.calls)
            sent = Counter(map(_prompt, first.calls + second.calls))
            assert all(count <= once[prompt] + 1 for prompt, count in sent.items())
            _again_is_free(mode, expected, checkpoints=saver)

    async def test_resumed_from_a_file_by_another_agent(self, mode: Mode, tmp_path: Path) -> None:
        whole = scripted()
        expected, _ = await ask(mode, llm=whole)
        file = tmp_path / "runs.sqlite"
        with pytest.raises(KeyError):
            await ask(mode, llm=crashing(2 * len(whole.calls) // 3, KeyError("boom")), checkpoints=file, thread="t")
        answer, _ = await ask(mode, checkpoints=str(file), thread="t")
        _same_outcome(answer, expected)
        llm = scripted()
        again, ledger = await ask(mode, llm=llm, checkpoints=file, thread="t")
        _same_outcome(again, expected)
        assert (llm.calls, ledger.spent) == ([], Spend())

    def test_a_thread_of_another_question_or_mode_is_refused(self, mode: Mode) -> None:
        saver = InMemorySaver()
        run(mode, checkpoints=saver, thread="t")
        other = replace(mode, k=mode.k + 1)
        for options in ({"question": "Another one?"}, {"other": other}):
            chosen = options.pop("other", mode)
            with pytest.raises(InvalidInput, match="thread_id='t' is a run of"):
                run(chosen, checkpoints=saver, thread="t", **options)


def _prompt(call: ScriptedCall) -> tuple[str, int | None, str | None]:
    return json.dumps(call.messages), call.seed, call.continuation


def _same_outcome(answer: Answer, expected: Answer) -> None:
    assert (answer.text, answer.citations, answer.stop_reason) == (
        expected.text,
        expected.citations,
        expected.stop_reason,
    )
    assert story(answer) == story(expected)
    for name in ("total", "serial"):
        mine, theirs = getattr(answer.spend, name), getattr(expected.spend, name)
        assert replace(mine, seconds=0.0) == replace(theirs, seconds=0.0)


def _again_is_free(mode: Mode, expected: Answer, **options: Any) -> None:
    llm = scripted()
    answer, ledger = run(mode, llm=llm, thread="t", **options)
    _same_outcome(answer, expected)
    assert (llm.calls, ledger.spent) == ([], Spend())


__all__ = ["Conformance", "check", "check_tree", "crashing", "story"]
