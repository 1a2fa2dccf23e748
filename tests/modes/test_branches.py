"""Branches that fail, are cancelled or crash beside others that work."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from conformance import check, crashing, story
from doubles import StubIndex, move_of, never_repeating, of, run, scripted
from langgraph.checkpoint.memory import InMemorySaver

from ragscale.answer import Answer
from ragscale.budget import Budget
from ragscale.errors import EndpointError, ModelError
from ragscale.llm.scripted import ScriptedCall
from ragscale.modes import Tree

LEVEL = Tree(steps=1, expand=4, samples=4, rollouts=2, rollout_steps=0, question_k=0)
DEEP = Tree(steps=3, expand=3, samples=3, rollouts=2, rollout_steps=2)


def failing(*moves: str, error: Any, only: str = "") -> Any:
    """`never_repeating`, but the named moves end in `error`; of reads, those whose prompt holds `only`."""

    def script(messages: Any, call: ScriptedCall) -> Any:
        if move_of(call) in moves and only in messages[-1]["content"]:
            return error
        if move_of(call) == "plan" and only:
            return [f'["{name}"]' for name in ("first", only, "third", "fourth")][: call.n]
        return never_repeating(messages, call)

    return script


@pytest.mark.parametrize(
    "error",
    [ModelError("branch broke"), EndpointError("branch broke"), ModelError("branch broke", retryable=True)],
    ids=["fatal", "endpoint", "retried"],
)
def test_a_failing_branch_is_traced_and_the_others_go_on(error: ModelError) -> None:
    answer, ledger = run(LEVEL, llm=scripted(failing("read", error=error, only="second")))
    check(answer, ledger, Budget())
    assert (answer.stop_reason, answer.text[:6]) == ("answered", "answer")
    (broken,) = [event for event in of(answer, "read") if "branch broke" in event.note]
    assert (broken.branch, broken.spend.llm_calls) == ("0.1", 4 if error.retryable else 1)
    (select,) = of(answer, "select")
    assert select.input == ["first", "third", "fourth"]
    assert len(of(answer, "score")) == 3  # one a child, as nothing looks ahead


def test_a_rollout_that_fails_counts_for_nothing() -> None:
    """A child without any score comes last."""

    def usage(true: Any, call: ScriptedCall) -> Any:
        if call.continuation is not None and "second" in call.messages[-1]["content"]:
            raise ModelError("no score today")
        return true

    def score(messages: Any, text: str) -> float:
        return -9.0 if "second" in messages[-1]["content"] else -1.0

    llm = scripted(failing(error=None, only="second"), usage=usage, score=score)
    answer, ledger = run(LEVEL, llm=llm)
    check(answer, ledger, Budget())
    (select,) = of(answer, "select")
    assert (select.output, select.score) == ("first", -1.0)
    assert sum("no score today" in event.note for event in of(answer, "score")) == 1


def test_without_any_score_the_first_child_is_kept_and_says_so() -> None:
    def usage(true: Any, call: ScriptedCall) -> Any:
        if call.continuation is not None:
            raise ModelError("no score today")
        return true

    answer, ledger = run(LEVEL, llm=scripted(failing(error=None, only="second"), usage=usage))
    check(answer, ledger, Budget())
    (select,) = of(answer, "select")
    assert (select.output, select.score) == ("first", None)
    assert answer.stop_reason == "answered"


@pytest.mark.parametrize("tree", [LEVEL, DEEP], ids=["level", "deep"])
def test_when_all_branches_fail_the_run_still_closes(tree: Tree) -> None:
    answer, ledger = run(tree, llm=scripted(failing("read", error=ModelError("branch broke", "Mend it"))))
    check(answer, ledger, Budget())
    assert answer.stop_reason == "failed"
    assert "branch broke. Mend it" in answer.reason
    assert answer.text.startswith("answer ")  # from the passages that were found


def test_when_the_closing_answer_fails_too_it_is_empty_and_says_why() -> None:
    answer, ledger = run(LEVEL, llm=scripted(failing("read", "answer", error=ModelError("all broke"))))
    check(answer, ledger, Budget())
    assert (answer.text, answer.citations, answer.stop_reason) == ("", [], "failed")
    assert "all broke" in answer.reason


def test_a_client_that_cancels_a_call_by_itself_is_a_failed_attempt() -> None:
    """Not our own cancellation, and no reason to abort the run or to hang."""
    cancelled = 0

    def usage(true: Any, call: ScriptedCall) -> Any:
        nonlocal cancelled
        if move_of(call) == "read" and cancelled < 2:
            cancelled += 1
            raise asyncio.CancelledError
        return true

    answer, ledger = run(LEVEL, llm=scripted(usage=usage, delay=1.0))
    check(answer, ledger, Budget())
    assert answer.stop_reason == "answered"
    assert sum("cancelled the call by itself" in event.note for event in of(answer, "read")) == 2
    assert sum(event.spend.llm_calls for event in of(answer, "read")) == 6


def test_slow_branches_are_cut_off_when_the_seconds_run_out_and_the_others_count() -> None:
    def delay(call: ScriptedCall) -> float:
        return 3600.0 if move_of(call) == "read" and "second" in call.messages[-1]["content"] else 1.0

    budget = Budget(seconds=40)
    llm = scripted(failing(error=None, only="second"), delay=delay)
    answer, ledger = run(LEVEL, llm=llm, budget=budget)
    check(answer, ledger, budget)
    (slow,) = [event for event in of(answer, "read") if "seconds" in event.note]
    assert slow.branch == "0.1"
    assert slow.spend.seconds == pytest.approx(40 - 10 - 1)  # a quarter is kept for the answer, the plan took one
    assert answer.text.startswith("answer ")


class TestShares:
    """Reads cost several times what the tree expects, so that not every branch can have what it wants."""

    TREE = Tree(steps=2, expand=4, samples=4, rollouts=2, rollout_steps=1, question_k=0, k=3)
    BUDGET = Budget(tokens=9_000)

    def tell(self, delays: Any) -> Answer:
        answer, ledger = run(self.TREE, llm=scripted(delay=delays), index=StubIndex(words=900), budget=self.BUDGET)
        check(answer, ledger, self.BUDGET)
        return answer

    def test_every_child_reads_as_much_as_the_others(self) -> None:
        reads = [event for event in of(self.tell(0.0), "read") if event.branch in ("0.0", "0.1", "0.2", "0.3")]
        assert [event.spend.llm_calls for event in reads] == [1, 1, 1, 1]
        prompts = [event.spend.prompt_tokens for event in reads]
        assert max(prompts) - min(prompts) < 20

    def test_nobody_gains_by_being_fast(self) -> None:
        expected = self.tell(0.0)
        for seed in range(4):
            source = random.Random(seed)
            answer = self.tell(lambda call, source=source: source.random())
            assert story(answer) == story(expected)


def test_a_crash_cancels_the_siblings_and_a_resumed_run_repeats_only_what_was_lost() -> None:
    """Four children in flight; one crashes after two have finished, while the fourth is still running."""
    delays = {"first": 1.0, "second": 2.0, "third": 0.5, "fourth": 9.0}
    crash = True

    def read(messages: Any, call: ScriptedCall) -> Any:
        if move_of(call) == "plan":
            return [f'["{name}"]' for name in delays]
        if crash and move_of(call) == "read" and "second" in messages[-1]["content"]:
            return KeyError("bug")
        return never_repeating(messages, call)

    def delay(call: ScriptedCall) -> float:
        name = call.messages[-1]["content"].rpartition("Query: ")[2]
        return delays.get(name, 0.0) if move_of(call) == "read" else 0.0

    saver = InMemorySaver()
    llm = scripted(read, delay=delay)
    with pytest.raises(KeyError):
        run(LEVEL, llm=llm, checkpoints=saver, thread="t")
    assert llm.running == 0
    crash = False
    again, index = scripted(read), StubIndex()
    answer, ledger = run(LEVEL, llm=again, index=index, checkpoints=saver, thread="t")
    assert sorted(batch[0] for batch in index.searches) == ["fourth", "second"]
    reads = [call.messages[-1]["content"].rpartition("Query: ")[2] for call in again.calls if move_of(call) == "read"]
    assert sorted(reads) == ["fourth", "second"]
    whole, _ = run(LEVEL, llm=scripted(read))
    assert (story(answer), answer.text) == (story(whole), whole.text)
    assert answer.spend.total.llm_calls == whole.spend.total.llm_calls == ledger.spent.llm_calls + 3


@pytest.mark.parametrize("limit", [20, 26, 33, 40, 55])
def test_a_resumed_run_keeps_its_budget_with_what_finished_branches_had_cost(limit: int) -> None:
    """Spends of the finished siblings of a crashed branch still count against the limit, and so do the calls
    that the crash lost: only where the limit pays for these, too, is the run the same as without it."""
    budget = Budget(llm_calls=limit)
    tree = Tree(steps=5, expand=3, samples=3, rollouts=2, rollout_steps=1, question_k=0)
    expected, _ = run(tree, budget=budget)
    for at in range(2, expected.spend.total.llm_calls - 1, 3):
        saver = InMemorySaver()
        llm = crashing(at, KeyError("bug"), delay=lambda call: call.index % 5 / 10)
        with pytest.raises(KeyError):
            run(tree, llm=llm, budget=budget, checkpoints=saver, thread="t")
        answer, ledger = run(tree, budget=budget, checkpoints=saver, thread="t")
        calls, lost = answer.spend.total.llm_calls, answer.spend.lost.llm_calls
        assert 0 < lost <= limit - calls
        assert answer.text
        if expected.spend.total.llm_calls + lost <= limit:
            assert (story(answer), answer.text) == (story(expected), expected.text)
        assert ledger.spent.llm_calls <= calls
