"""Budget and ledger: limits are hard, in every family of ledgers, under threads and asyncio."""

from __future__ import annotations

import asyncio
import copy
import math
import pickle
from dataclasses import fields
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from ragscale.budget import Budget, Ledger, Share
from ragscale.errors import BudgetExceeded, InvalidInput
from ragscale.types import Spend

CALL = Spend(llm_calls=1, prompt_tokens=60, completion_tokens=40)
ROUND = Spend(queries=3, rounds=1)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("name", [field.name for field in fields(Budget)])
def test_a_whole_number_of_numpy_is_one(name: str) -> None:
    limit = getattr(Budget(**{name: np.int64(4000)}), name)
    assert (limit, type(limit)) == (4000, int)


@pytest.mark.parametrize("value", [Decimal(4000), Fraction(4000), np.float32(3.5), 1j])
def test_another_kind_of_number_is_named(value: Any) -> None:
    with pytest.raises(InvalidInput, match=rf"is a {type(value).__name__}, neither int nor float. Give it as one"):
        Budget(seconds=value)


def test_a_share_that_cannot_be_held_ends_the_search_for_it() -> None:
    """Seen as an endless loop, where a file told of infinitely many tokens that were lost."""
    ledger = Ledger(Budget(tokens=4000), lost=Spend(prompt_tokens=math.inf))  # type: ignore[arg-type]
    with pytest.raises(BudgetExceeded):
        ledger.hold_closing(Spend(llm_calls=1, prompt_tokens=500))


@pytest.mark.parametrize("name", [field.name for field in fields(Budget)])
@pytest.mark.parametrize("value", [-1, -0.5, math.nan, "6", True, [], -math.inf])
def test_a_limit_must_be_a_number_from_zero_up(name: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match=f"budget {name}=.* is not a number >= 0"):
        Budget(**{name: value})


def test_a_limit_beyond_every_float_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"budget tokens is above 1.79769e\+308. Leave it out for no limit."):
        Budget(tokens=10**5000)


@pytest.mark.parametrize("name", ["rounds", "queries", "tokens", "llm_calls", "serial_tokens", "serial_calls"])
def test_there_is_no_part_of_a_token_a_call_or_a_round(name: str) -> None:
    with pytest.raises(InvalidInput, match=rf"budget {name}=1\.5 is no whole number\. Give 1\."):
        Budget(**{name: 1.5})  # type: ignore[arg-type]
    assert Budget(**{name: 2.0}) == Budget(**{name: 2})  # type: ignore[arg-type]
    assert Budget(**{name: float("inf")}) == Budget()  # JSON has no infinite number


@pytest.mark.parametrize("name", [field.name for field in fields(Budget)])
def test_zero_infinity_and_none_are_limits(name: str) -> None:
    assert Ledger(Budget(**{name: 0})).limit(name) == 0
    assert Ledger(Budget(**{name: math.inf})).limit(name) == math.inf
    assert Ledger(Budget(**{name: None})).limit(name) == math.inf


def test_a_budget_is_keyword_only_and_frozen() -> None:
    with pytest.raises(
        InvalidInput, match=r"unknown limit 'token' of a budget\. Did you mean 'tokens'\? There are: rounds, .*, usd\."
    ):
        Budget(token=5)  # type: ignore[call-arg]
    with pytest.raises(InvalidInput, match=r"unknown limit 'xyz' of a budget\. There are: rounds"):
        Budget(tokens=5, xyz=1)  # type: ignore[call-arg]
    assert copy.copy(Budget(tokens=5)) == pickle.loads(pickle.dumps(Budget(tokens=5))) == Budget(tokens=5)
    with pytest.raises(TypeError):
        Budget(6)  # type: ignore[misc]
    with pytest.raises(AttributeError):
        Budget().tokens = 1  # type: ignore[misc]


def test_reserve_settle_refund() -> None:
    ledger = Ledger(Budget(tokens=200, llm_calls=3))
    held = ledger.reserve(CALL)
    assert (ledger.held, ledger.spent, ledger.left("tokens"), ledger.left("llm_calls")) == (CALL, Spend(), 100, 2)
    actual = Spend(llm_calls=1, prompt_tokens=58, completion_tokens=7, cached_tokens=50, seconds=1.5)
    held.settle(actual)
    held.settle(CALL)
    held.refund()
    assert (ledger.held, ledger.spent, ledger.left("tokens")) == (Spend(), actual, 135)
    ledger.reserve(CALL).refund()
    assert (ledger.held, ledger.spent) == (Spend(), actual)
    assert ledger.left("queries") == ledger.left("seconds") == math.inf


def test_exactly_the_limit_fits_and_one_more_does_not() -> None:
    ledger = Ledger(Budget(tokens=200, llm_calls=2, queries=3))
    ledger.reserve(CALL).settle(CALL)
    ledger.reserve(ROUND).settle(ROUND)
    with pytest.raises(BudgetExceeded) as refused:
        ledger.reserve(Spend(prompt_tokens=101))
    assert (refused.value.dimension, refused.value.limit, refused.value.wanted) == ("tokens", 200, 201)
    assert "tokens: 201 would be spent, the limit is 200" in str(refused.value)
    assert "Raise tokens" in refused.value.remedy
    with pytest.raises(BudgetExceeded, match="queries: 4 would be spent, the limit is 3"):
        ledger.reserve(Spend(queries=1))
    ledger.reserve(CALL).settle(CALL)
    with pytest.raises(BudgetExceeded, match="llm_calls: 3 would be spent, the limit is 2"):
        ledger.reserve(Spend(llm_calls=1))
    assert ledger.spent == CALL + CALL + ROUND


def test_an_unsettled_block_charges_everything_however_it_ends() -> None:
    ledger = Ledger(Budget(tokens=1000))
    with ledger.reserve(CALL):
        pass
    assert (ledger.spent, ledger.held) == (CALL, Spend())
    with pytest.raises(KeyError), ledger.reserve(CALL):
        raise KeyError
    assert (ledger.spent, ledger.held) == (CALL + CALL, Spend())
    with ledger.reserve(CALL) as held:
        held.refund()
    assert (ledger.spent, ledger.held) == (CALL + CALL, Spend())


async def test_a_cancelled_task_leaves_nothing_held() -> None:
    ledger = Ledger(Budget(tokens=1000))

    async def call() -> None:
        with ledger.reserve(CALL):
            await asyncio.sleep(3600)

    tasks = [asyncio.create_task(call()) for _ in range(5)]
    await asyncio.sleep(0)
    assert ledger.held.tokens == 500
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (ledger.held, ledger.spent.tokens) == (Spend(), 500)


def test_an_overrun_is_charged_and_leaves_less_than_nothing() -> None:
    ledger = Ledger(Budget(tokens=100))
    ledger.reserve(CALL).settle(Spend(llm_calls=1, prompt_tokens=150))
    assert (ledger.spent.tokens, ledger.left("tokens")) == (150, -50)
    with pytest.raises(BudgetExceeded):
        ledger.reserve(Spend(prompt_tokens=1))
    ledger.reserve(ROUND).settle(ROUND)  # costs no tokens
    assert ledger.spent.queries == 3


class TestFamily:
    def test_what_a_child_spends_is_spent_by_every_ancestor(self) -> None:
        batch = Ledger(Budget(tokens=1000))
        question = batch.child(Budget(tokens=400))
        branch = question.child(Budget(tokens=150))
        held = branch.reserve(CALL)
        assert batch.held == question.held == branch.held == CALL
        held.settle(CALL)
        assert batch.spent == question.spent == branch.spent == CALL
        assert [led.left("tokens") for led in (batch, question, branch)] == [900, 300, 50]
        assert branch.limit("tokens") == 150
        assert batch.child().spent == Spend()

    @pytest.mark.parametrize("tight", ["batch", "question", "branch"])
    @pytest.mark.parametrize("dimension", ["tokens", "queries", "llm_calls"])
    def test_any_ancestor_may_refuse_and_then_nothing_changed_anywhere(self, tight: str, dimension: str) -> None:
        limits = {name: Budget(**{dimension: 1 if name == tight else 100}) for name in ("batch", "question", "branch")}
        batch = Ledger(limits["batch"])
        question = batch.child(limits["question"])
        branch = question.child(limits["branch"])
        wanted = Spend(llm_calls=2, prompt_tokens=2, queries=2)
        with pytest.raises(BudgetExceeded) as refused:
            branch.reserve(wanted)
        assert (refused.value.dimension, refused.value.limit, refused.value.wanted) == (dimension, 1, 2)
        for led in (batch, question, branch):
            assert (led.held, led.spent) == (Spend(), Spend())

    def test_siblings_share_what_the_parent_has(self) -> None:
        parent = Ledger(Budget(llm_calls=3))
        first, second = parent.child(), parent.child(Budget(llm_calls=3))
        first.reserve(CALL).settle(CALL)
        second.reserve(CALL)
        assert (first.left("llm_calls"), second.left("llm_calls")) == (1, 1)
        first.reserve(CALL)
        with pytest.raises(BudgetExceeded):
            second.reserve(CALL)

    def test_the_tightest_limit_of_the_family_counts(self) -> None:
        branch = Ledger(Budget(rounds=4, queries=9)).child(Budget(rounds=7)).child(Budget(queries=20))
        assert (branch.limit("rounds"), branch.limit("queries"), branch.limit("tokens")) == (4, 9, math.inf)


class TestRounds:
    def test_hold_along_the_critical_path_and_not_in_sum(self) -> None:
        ledger = Ledger(Budget(rounds=2))
        for _ in range(10):  # ten parallel branches, each at its second round
            ledger.reserve(ROUND, clock=Spend(rounds=1)).settle(ROUND)
        assert ledger.spent.rounds == 10
        with pytest.raises(BudgetExceeded, match="rounds: 3 would be spent, the limit is 2"):
            ledger.reserve(ROUND, clock=Spend(rounds=2))
        assert ledger.left("rounds", Spend(rounds=2)) == 0
        ledger.reserve(CALL, clock=Spend(rounds=2)).refund()

    def test_of_a_parent_hold_for_each_child(self) -> None:
        batch = Ledger(Budget(rounds=1))
        for _ in range(3):
            batch.child(Budget(rounds=5)).reserve(ROUND, clock=Spend()).settle(ROUND)
        with pytest.raises(BudgetExceeded, match="the limit of all questions together is 1") as refused:
            batch.child(Budget(rounds=5)).reserve(ROUND, clock=Spend(rounds=1))
        assert refused.value.remedy == "Raise rounds in the total budget."


class TestShares:
    """Errors of a branch name the limit that the user gave, and the branch's share of it."""

    def test_name_the_branch_its_share_and_the_limit(self) -> None:
        run = Ledger(Budget(tokens=4_000))
        branch = run.child(Budget(tokens=1_033), share=Share("2", {"tokens": 300}, "n of vote"))
        branch.reserve(Spend(prompt_tokens=900)).settle(Spend(prompt_tokens=900))
        told = (
            "tokens: 1,800 would be spent with the closing answer in branch 2, whose share is 1,333 of your limit of "
            "4,000. Raise tokens in the budget, or lower n of vote."
        )
        for refuse in (
            lambda: branch.reserve(Spend(prompt_tokens=600)),
            lambda: raised(branch.exceeded("tokens", 600)),
        ):
            with pytest.raises(BudgetExceeded) as refused:
                refuse()
            assert str(refused.value) == told
            assert (refused.value.limit, refused.value.wanted) == (4_000, 1_800)
        assert str(refused.value.since("a time-out")) == told.replace(". Raise", "; before: a time-out. Raise")

    def test_the_whole_limit_is_no_share_and_the_run_may_be_what_is_used_up(self) -> None:
        run = Ledger(Budget(tokens=4_000, usd=0.5))
        alone = run.child(Budget(tokens=4_000), share=Share("0", {}, "n of vote"))
        assert str(alone.exceeded("tokens", 4_001)) == (
            "tokens: 4,001 would be spent in branch 0, the limit is 4,000. Raise tokens in the budget."
        )
        run.reserve(Spend(prompt_tokens=3_900)).settle(Spend(prompt_tokens=3_900))
        branch = run.child(Budget(tokens=2_000), share=Share("1", {}, ""))
        assert str(branch.exceeded("tokens", 500)) == (
            "tokens: 4,400 would be spent, the limit is 4,000. Raise tokens in the budget."
        )
        assert str(branch.exceeded("usd", 0.50006)) == (
            "usd: 0.50006 would be spent, the limit is 0.5. Raise usd in the budget."
        )

    def test_what_is_dealt_along_the_path_is_not_more_with_fewer_branches(self) -> None:
        run = Ledger(Budget(serial_tokens=4_000, seconds=10))
        branch = run.child(Budget(serial_tokens=2_000), share=Share("1", {}, "rollouts of mcts"))
        with pytest.raises(BudgetExceeded) as refused:
            branch.reserve(Spend(prompt_tokens=600), clock=Spend(prompt_tokens=1_500))
        assert str(refused.value) == (
            "serial_tokens: 2,100 would be spent in branch 1, whose share is 2,000 of your limit of 4,000. Raise "
            "serial_tokens in the budget."
        )

    def test_what_is_kept_for_the_closing_answer_is_said(self) -> None:
        run = Ledger(Budget(tokens=1_000))
        run.hold_closing(Spend(llm_calls=1, prompt_tokens=512))
        assert "tokens: 1,112 would be spent with the closing answer, the limit is 1,000" in str(
            run.exceeded("tokens", 600)
        )
        run.release_closing()
        assert "tokens: 1,200 would be spent, the limit is 1,000" in str(run.exceeded("tokens", 1_200))


def raised(error: Exception) -> None:
    raise error


class TestSeconds:
    def test_run_from_the_start(self) -> None:
        clock = Clock()
        ledger = Ledger(Budget(seconds=10), clock=clock)
        clock.now += 9
        assert ledger.left("seconds") == 1
        ledger.reserve(CALL).refund()
        clock.now += 1
        with pytest.raises(BudgetExceeded) as refused:
            ledger.reserve(CALL)
        assert (refused.value.dimension, refused.value.limit) == ("seconds", 10)
        assert ledger.held == Spend()

    def test_of_a_resumed_run_count_what_it_had_taken(self) -> None:
        clock = Clock()
        ledger = Ledger(Budget(seconds=10, tokens=1000), spent=CALL, elapsed=7, clock=clock)
        assert (ledger.left("seconds"), ledger.left("tokens"), ledger.spent) == (3, 900, CALL)

    def test_of_a_child_run_by_the_parents_clock_and_both_limits_hold(self) -> None:
        clock = Clock()
        batch = Ledger(Budget(seconds=10), clock=clock)
        clock.now += 6
        question = batch.child(Budget(seconds=5))
        assert question.left("seconds") == 4
        clock.now += 4
        with pytest.raises(BudgetExceeded, match="seconds"):
            question.reserve(CALL)

    def test_zero_is_spent_at_once(self) -> None:
        with pytest.raises(BudgetExceeded, match="seconds"):
            Ledger(Budget(seconds=0)).reserve(Spend())


class TestClosing:
    SHARE = Spend(llm_calls=1, prompt_tokens=300)

    def test_is_not_left_for_anything_else(self) -> None:
        ledger = Ledger(Budget(tokens=1000, llm_calls=2))
        ledger.hold_closing(self.SHARE)
        assert (ledger.left("tokens"), ledger.left("llm_calls")) == (700, 1)
        ledger.reserve(Spend(llm_calls=1, prompt_tokens=700)).settle(Spend(llm_calls=1, prompt_tokens=700))
        with pytest.raises(BudgetExceeded):
            ledger.reserve(Spend(prompt_tokens=1))
        ledger.release_closing()
        ledger.release_closing()
        assert (ledger.left("tokens"), ledger.left("llm_calls")) == (300, 1)
        ledger.reserve(Spend(llm_calls=1, prompt_tokens=300)).settle(Spend(llm_calls=1, prompt_tokens=299))
        assert (ledger.spent.tokens, ledger.held) == (999, Spend())

    @pytest.mark.parametrize("tokens", [1, 50, 299, 300, 301])
    def test_takes_as_much_as_there_is(self, tokens: int) -> None:
        ledger = Ledger(Budget(tokens=tokens))
        ledger.hold_closing(self.SHARE)
        assert ledger.held.tokens == min(tokens, 300)
        ledger.drop_closing()
        assert ledger.held == Spend()

    @pytest.mark.parametrize(("limit", "value"), [("tokens", 0), ("llm_calls", 0), ("seconds", 0)])
    def test_is_refused_where_nothing_is_left(self, limit: str, value: float) -> None:
        ledger = Ledger(Budget(**{limit: value}))
        with pytest.raises(BudgetExceeded) as refused:
            ledger.hold_closing(self.SHARE)
        assert (refused.value.dimension, refused.value.limit) == (limit, 0)
        assert ledger.held == Spend()
        ledger.drop_closing()
        assert ledger.held == Spend()

    @pytest.mark.parametrize(("seconds", "kept"), [(8, 2), (120, 30), (1000, 30)])
    def test_keeps_a_quarter_of_the_seconds_and_thirty_at_most(self, seconds: int, kept: int) -> None:
        clock = Clock()
        ledger = Ledger(Budget(seconds=seconds), clock=clock)
        ledger.hold_closing(self.SHARE)
        assert ledger.left("seconds") == seconds - kept
        clock.now += seconds - kept
        with pytest.raises(BudgetExceeded):
            ledger.reserve(CALL)
        ledger.release_closing()
        assert ledger.left("seconds") == kept
        ledger.reserve(CALL).refund()

    def test_released_it_is_the_owners_alone_until_the_owners_next_reservation(self) -> None:
        """A question of a batch that is about to answer cannot lose its share to another question."""
        batch = Ledger(Budget(tokens=1000, llm_calls=2))
        mine, other = batch.child(), batch.child()
        mine.hold_closing(self.SHARE)
        mine.release_closing()
        assert (mine.left("tokens"), other.left("tokens")) == (1000, 700)
        assert (mine.left("llm_calls"), other.left("llm_calls")) == (2, 1)
        with pytest.raises(BudgetExceeded):
            other.reserve(Spend(prompt_tokens=701))
        other.reserve(Spend(llm_calls=1, prompt_tokens=700))
        with pytest.raises(BudgetExceeded):
            mine.reserve(Spend(prompt_tokens=301))
        assert mine.left("tokens") == 300
        mine.reserve(Spend(llm_calls=1, prompt_tokens=250)).settle(Spend(llm_calls=1, prompt_tokens=250))
        assert (batch.held, batch.left("tokens")) == (Spend(llm_calls=1, prompt_tokens=700), 50)

    def test_dropped_it_is_everyones(self) -> None:
        batch = Ledger(Budget(tokens=1000))
        mine = batch.child(Budget(tokens=400))
        mine.hold_closing(self.SHARE)
        mine.drop_closing()
        mine.drop_closing()
        assert (batch.held, mine.held) == (Spend(), Spend())


class TestTheCriticalPath:
    """Limits that hold along the path of the branch that calls, not over all branches."""

    @pytest.mark.parametrize(
        ("budget", "wanted", "dimension"),
        [
            (Budget(serial_tokens=100), Spend(prompt_tokens=41), "serial_tokens"),
            (Budget(serial_tokens=100), Spend(completion_tokens=41), "serial_tokens"),
            (Budget(serial_calls=3), Spend(llm_calls=2), "serial_calls"),
            (Budget(rounds=4), Spend(rounds=2), "rounds"),
        ],
    )
    def test_a_call_that_would_pass_it_is_refused(self, budget: Budget, wanted: Spend, dimension: str) -> None:
        clock = Spend(llm_calls=2, prompt_tokens=50, completion_tokens=10, rounds=3)
        ledger = Ledger(budget)
        with pytest.raises(BudgetExceeded) as error:
            ledger.reserve(wanted, clock=clock)
        assert error.value.dimension == dimension
        assert ledger.held == Spend()
        ledger.reserve(wanted, clock=Spend())  # another branch, whose path is shorter

    def test_what_other_branches_cost_does_not_count(self) -> None:
        ledger = Ledger(Budget(serial_tokens=100, serial_calls=1))
        for _ in range(50):
            ledger.reserve(Spend(llm_calls=1, prompt_tokens=100), clock=Spend()).settle(
                Spend(llm_calls=1, prompt_tokens=100)
            )
        assert ledger.spent.tokens == 5_000

    def test_the_closing_answers_share_is_kept_on_it(self) -> None:
        ledger = Ledger(Budget(serial_tokens=1_000, serial_calls=5))
        ledger.hold_closing(Spend(llm_calls=1, prompt_tokens=300))
        clock = Spend(llm_calls=2, prompt_tokens=400)
        assert ledger.left("serial_tokens", clock) == 300
        assert ledger.left("serial_calls", clock) == 2
        assert ledger.tokens_left(clock) == (300, "serial_tokens")
        ledger.release_closing()
        assert (ledger.left("serial_tokens", clock), ledger.left("serial_calls", clock)) == (600, 3)

    def test_the_tightest_of_a_family_holds(self) -> None:
        parent = Ledger(Budget(serial_tokens=500))
        child = parent.child(Budget(serial_tokens=800, tokens=90))
        assert child.left("serial_tokens", Spend(prompt_tokens=100)) == 400
        assert child.tokens_left(Spend(prompt_tokens=100)) == (90, "tokens")
        assert child.tokens_left(Spend(prompt_tokens=450)) == (50, "serial_tokens")

    def test_no_call_at_all_is_said_at_once(self) -> None:
        with pytest.raises(BudgetExceeded) as error:
            Ledger(Budget(serial_calls=0)).hold_closing(Spend(llm_calls=1, prompt_tokens=300))
        assert error.value.dimension == "serial_calls"


def test_a_budget_shows_the_limits_that_are_set() -> None:
    assert repr(Budget()) == "Budget()"
    assert repr(Budget(usd=0.5, queries=0)) == "Budget(queries=0, usd=0.5)"
    assert eval(repr(Budget(tokens=300))) == Budget(tokens=300)
