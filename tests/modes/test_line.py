"""The write-ahead line: what killed processes had spent is charged when the run is resumed, so that limits hold."""

from __future__ import annotations

import random
from typing import Any

import pytest
from conformance import CrashError
from doubles import QUESTION, StubIndex, run, scripted
from langgraph.checkpoint.memory import InMemorySaver

from ragscale.budget import Budget, Ledger
from ragscale.errors import BudgetExceeded
from ragscale.llm.scripted import ScriptedLLM
from ragscale.modes import BestOfN, Chain, Mode, Tree, Vote
from ragscale.types import Spend

SMALL = Tree(steps=3, expand=3, samples=3, rollouts=2, rollout_steps=1)
NESTED = Vote(of=BestOfN(of=Chain(steps=2), n=2), n=2)


class Server:
    """Counts what all processes have asked of it; kills the one whose call is due."""

    def __init__(self) -> None:
        self.used, self.asked = Spend(), 0

    def model(self, dies_at: int | None = None) -> ScriptedLLM:
        """A model of a new process."""
        own = 0

        def usage(true: Any, call: Any) -> Any:
            nonlocal own
            self.used += true.spend
            own += 1
            if own == dies_at:
                raise CrashError("killed")
            return true

        return scripted(usage=usage)


@pytest.mark.parametrize("mode", [SMALL, NESTED, Vote(of=Chain(steps=3), n=2)], ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_six_kills_overrun_no_limit_as_the_server_counts(mode: Mode, seed: int) -> None:
    """Each process dies at a random call; an answer comes, and all that was asked of the server is within the limit."""
    drawn = random.Random(seed)
    for limits in ({"tokens": drawn.randint(4_000, 9_000)}, {"llm_calls": drawn.randint(12, 40)}):
        budget, server, saver = Budget(**limits), Server(), InMemorySaver()
        for _ in range(6):
            try:
                answer, _ = run(
                    mode, llm=server.model(drawn.randint(1, 9)), index=StubIndex(words=30), budget=budget,
                    checkpoints=saver, thread="t",
                )  # fmt: skip
                break
            except CrashError:
                pass
        else:
            answer, _ = run(
                mode, llm=server.model(), index=StubIndex(words=30), budget=budget, checkpoints=saver, thread="t"
            )
        total, lost = answer.spend.total, answer.spend.lost
        assert server.used.tokens <= (budget.tokens or 10**9)
        assert server.used.llm_calls <= (budget.llm_calls or 10**9)
        # Nothing that the server counted is missing. A call in flight is charged the most that it may have cost, and
        # nobody knows whether one that was about to be sent was.
        assert server.used.llm_calls <= total.llm_calls + lost.llm_calls
        assert server.used.tokens <= total.tokens + lost.tokens
        assert answer.text or answer.stop_reason != "answered"


@pytest.mark.parametrize("mode", [Chain(steps=3), SMALL, NESTED], ids=str)
@pytest.mark.parametrize("tokens", [None, 60_000])
def test_a_run_that_can_pay_for_it_ends_as_without_kills(mode: Mode, tokens: int | None) -> None:
    """It plans by what its state has spent, so that neither shares nor shapes are others."""
    budget, saver = Budget(tokens=tokens), InMemorySaver()
    expected, _ = run(mode, budget=budget)
    server = Server()
    for at in (2, 1, 3):
        with pytest.raises(CrashError):
            run(mode, llm=server.model(at), budget=budget, checkpoints=saver, thread="t")
    answer, _ = run(mode, llm=server.model(), budget=budget, checkpoints=saver, thread="t")
    assert (answer.text, answer.citations, answer.stop_reason) == (expected.text, expected.citations, "answered")
    assert answer.spend.total.tokens == expected.spend.total.tokens
    assert answer.spend.lost.llm_calls >= 3
    assert server.used.tokens <= answer.spend.total.tokens + answer.spend.lost.tokens
    again, _ = run(mode, budget=budget, checkpoints=saver, thread="t")
    assert again.spend.lost == answer.spend.lost


def test_a_run_without_kills_has_lost_nothing() -> None:
    answer, _ = run(NESTED, checkpoints=InMemorySaver(), thread="t", question=QUESTION)
    assert answer.spend.lost == Spend()
    assert answer.to_dict()["spend"]["lost"] == Spend().to_dict()


def test_lost_spend_counts_against_the_limits_and_not_in_planning() -> None:
    ledger = Ledger(Budget(tokens=100, llm_calls=5), lost=Spend(llm_calls=2, prompt_tokens=70))
    assert (ledger.left("tokens"), ledger.left("llm_calls")) == (100, 5)
    ledger.reserve(Spend(llm_calls=1, prompt_tokens=30)).settle(Spend(llm_calls=1, prompt_tokens=20))
    with pytest.raises(BudgetExceeded, match="tokens"):
        ledger.reserve(Spend(prompt_tokens=11))
    ledger.hold_closing(Spend(llm_calls=1, prompt_tokens=50))
    ledger.release_closing()
    assert ledger.left("tokens") == 10
