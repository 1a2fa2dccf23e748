"""Modes inside modes: what they cost, how they share, that members differ and repeat, that nothing is lost or paid
twice."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections import Counter
from typing import Any

import pytest
from conformance import CrashError, check, crashing, story
from doubles import QUESTION, StubIndex, ask, first_member_fails, move_of, never_repeating, run, scripted, virtually
from langgraph.checkpoint.memory import InMemorySaver

from ragscale.agent import Agent
from ragscale.answer import Answer
from ragscale.budget import Budget, Ledger
from ragscale.llm.scripted import ScriptedCall
from ragscale.modes import BestOfN, Chain, Mcts, Mode, Once, Parallel, Tree, Vote
from ragscale.modes.core.costs import Costs
from ragscale.modes.core.scorers import SCORERS, Scorer
from ragscale.modes.core.state import Outcome
from ragscale.types import Event

DOUBLE = Vote(of=BestOfN(of=Chain(steps=2), n=2), n=2)


def branches(answer: Answer) -> dict[str, list[Event]]:
    """Events by branch."""
    found: dict[str, list[Event]] = {}
    for event in answer.trace:
        found.setdefault(event.branch, []).append(event)
    return found


@pytest.mark.parametrize(
    ("mode", "calls", "queries", "serial_calls", "rounds"),
    [
        (BestOfN(of=Chain(question_k=0)), 53, 24, 14, 6),  # CoRAG's best of 4 over L = 6
        (BestOfN(of=Chain()), 53, 25, 14, 7),
        (Vote(of=Chain(question_k=0), n=5), 5 * 13, 5 * 6, 13, 6),
        (Vote(of=Once(), n=3), 3, 1, 1, 1),
        (Vote(of=BestOfN(of=Chain(steps=2, question_k=0), n=3), n=2), 2 * (3 * 5 + 1), 2 * 3 * 2, 6, 2),
        (BestOfN(of=Parallel(rounds=2, max_queries=3), n=2), 2 * 3 + 1, 1 + 2 * 2 * 3, 4, 3),
        (Mcts(of=Chain(steps=2, question_k=0), rollouts=2, width=2, scorer="penalty"), 2 * 6, 2 * 2, 6, 2),
    ],
    ids=str,
)
def test_costs_as_the_formula_says(mode: Mode, calls: int, queries: int, serial_calls: int, rounds: int) -> None:
    answer, ledger = run(mode)
    check(answer, ledger, Budget())
    total, serial = answer.spend.total, answer.spend.serial
    assert (total.llm_calls, total.queries) == (calls, queries)
    assert (serial.llm_calls, serial.rounds) == (serial_calls, rounds)
    _, full = mode.cost(Costs())
    assert (full.llm_calls, full.queries, full.rounds) == (calls, queries, rounds)


@pytest.mark.parametrize("mode", [Vote(n=3), BestOfN(n=3), Vote(of=Tree(steps=2), n=2), DOUBLE], ids=str)
def test_members_differ_and_repeat_exactly(mode: Mode) -> None:
    """By seeds of their full names, and all but the first by a temperature; the same again with the same seed."""
    llm = scripted()
    answer, _ = run(mode, llm=llm)
    found = branches(answer)
    members = [[event.output for event in found[str(i)]] for i in range(2) if str(i) in found]
    assert all(one != other for i, one in enumerate(members) for other in members[:i])
    seeds = Counter((call.seed, str(call.messages), call.continuation) for call in llm.calls)
    assert set(seeds.values()) == {1}
    again, _ = run(mode)
    assert story(again) == story(answer)
    other, _ = run(mode, seed=1)
    assert story(other) != story(answer)


def test_the_first_member_is_the_mode_itself_and_the_others_are_sampled() -> None:
    hot: dict[str, set[float]] = {}

    def noted(messages: Any, call: ScriptedCall) -> list[str]:
        hot.setdefault(move_of(call), set()).add(call.temperature)
        return never_repeating(messages, call)

    run(Vote(of=Chain(steps=2), n=1), llm=scripted(noted))
    assert hot == {"plan": {0.0}, "read": {0.0}, "answer": {0.0}}
    run(Vote(of=Chain(steps=2), n=3, temperature=0.9), llm=scripted(noted))
    assert hot == {"plan": {0.0, 0.9}, "read": {0.0}, "answer": {0.0, 0.9}}


@pytest.mark.parametrize("mode", [Vote(n=3), DOUBLE, Mcts(of=Chain(steps=2), rollouts=4, width=2)], ids=str)
async def test_as_many_events_are_streamed_as_traced(mode: Mode) -> None:
    streamed = []
    async for item in Agent(StubIndex(), scripted(), mode).astream(QUESTION):
        if isinstance(item, Event):
            streamed.append(item)
        else:
            answer = item
    assert Counter(map(str, streamed)) == Counter(map(str, answer.trace))
    assert len({event.branch for event in streamed}) > 2


@pytest.mark.parametrize("limits", [{"tokens": 9_000}, {"llm_calls": 17}, {"queries": 10}], ids=str)
@pytest.mark.parametrize("mode", [Vote(n=3), BestOfN(n=2), DOUBLE], ids=str)
def test_members_have_equal_shares_and_none_takes_anothers(mode: Any, limits: dict[str, int]) -> None:
    budget = Budget(**limits)
    answer, ledger = run(mode, budget=budget)
    check(answer, ledger, budget)
    assert answer.text
    [(name, limit)] = limits.items()
    found = branches(answer)
    members = {branch.split(".")[0] for branch in found if branch}
    for member in members:
        events = [event for branch in found for event in found[branch] if branch.split(".")[0] == member]
        spent = sum(getattr(event.spend, name) for event in events)
        assert spent <= limit / len(members)


def test_a_dead_member_costs_the_others_nothing() -> None:
    """The first member's model fails for good: the others decide, and its failure is in the trace."""
    answer, ledger = run(BestOfN(of=Chain(steps=2, question_k=0), n=3), llm=scripted(first_member_fails))
    check(answer, ledger, Budget())
    [select] = [event for event in answer.trace if event.move == "select"]
    kept = [choice.branch for choice in select.choices if choice.status == "kept"]
    assert (answer.stop_reason, kept in (["1"], ["2"])) == ("answered", True)
    assert "broken" in branches(answer)["0"][0].note


def test_a_single_member_is_not_scored() -> None:
    answer, _ = run(BestOfN(of=Chain(steps=2), n=1))
    assert "score" not in {event.move for event in answer.trace}


@pytest.mark.parametrize(
    ("mode", "shown"),
    [
        (Mcts(of=Chain(steps=1), rollouts=2, scorer="agreement"), 8),
        (Mcts(of=Chain(steps=1, context=3), rollouts=2, scorer="agreement"), 3),
        (BestOfN(of=Once(), n=2, scorer="agreement"), 5),
        (Vote(of=BestOfN(of=Parallel(rounds=1), n=2, scorer="agreement"), n=2), 8),
    ],
    ids=str,
)
def test_agreement_is_of_answers_from_the_evidence_that_a_closing_answer_is_shown(mode: Mode, shown: int) -> None:
    answer, _ = run(mode)
    scores = [event for event in answer.trace if event.move == "score"]
    assert {len(event.passages) for event in scores if event.spend.llm_calls} == {shown}
    assert {event.score for event in scores if not event.spend.llm_calls} == {0.2}  # no two of five agree


def test_a_rollout_that_the_budget_cut_short_can_be_gone_on_from() -> None:
    """It has no end of its own: before, three short rollouts spent 39 % of this budget, and no node was left."""
    answer, _ = run(Mcts(scorer="penalty"), index=StubIndex(words=100), budget=Budget(tokens=16_000))
    longest = max(sum(e.move == "read" for e in events) for events in branches(answer).values())
    assert len(branches(answer)) > 4
    assert longest > 1
    assert answer.spend.total.tokens > 0.85 * 16_000


@pytest.mark.parametrize("tokens", [1_000, 2_000, 4_000])
@pytest.mark.parametrize("scorer", ["penalty", "judge", "agreement"])
def test_a_single_rollout_is_not_scored_and_does_what_its_mode_would(scorer: Any, tokens: int) -> None:
    budget = Budget(tokens=tokens)
    alone, _ = run(Chain(), index=StubIndex(words=100), budget=budget)
    answer, _ = run(Mcts(scorer=scorer), index=StubIndex(words=100), budget=budget)
    moves = [event.move for event in answer.trace if event.move != "select"]
    assert moves == [event.move for event in alone.trace]


@pytest.mark.parametrize("limits", [{"rounds": 6}, {"tokens": 13_000}, {"queries": 4}, {"llm_calls": 17}], ids=str)
@pytest.mark.parametrize("mode", [Mcts(width=1), Mcts(), Mcts(expand=4, scorer="penalty")], ids=str)
def test_no_rollout_gets_less_than_a_step_needs(mode: Mode, limits: dict[str, int]) -> None:
    answer, _ = run(mode, index=StubIndex(words=100), budget=Budget(**limits))  # type: ignore[arg-type]
    reads = [any(e.move == "read" for e in events) for name, events in branches(answer).items() if name]
    assert reads
    assert all(reads)


@pytest.mark.parametrize(
    ("texts", "winner"),
    [
        (["Paris", "The Paris.", "Rome"], "Paris"),
        (["Rome", "Paris", "paris"], "Paris"),
        (["Rome", "Paris"], "Rome"),
        (["", "No relevant information found", "Oslo"], "Oslo"),
    ],
)
def test_the_plurality_after_normalisation_wins(texts: list[str], winner: str) -> None:
    said = iter(texts)

    def script(messages: Any, call: ScriptedCall) -> Any:
        return f'{{"answer": "{next(said)}", "documents": [1]}}'

    answer, _ = run(Vote(of=Once(), n=len(texts)), llm=scripted(script))
    assert answer.text == winner


def test_where_all_abstain_the_answer_is_written_from_all_that_was_found() -> None:
    replies = iter(["", "No relevant information found", "Oslo"])
    llm = scripted(lambda messages, call: f'{{"answer": "{next(replies)}", "documents": [1]}}')
    answer, _ = run(Vote(of=Once(), n=2), llm=llm)
    assert (answer.text, answer.stop_reason) == ("Oslo", "answered")
    assert answer.trace[-1].branch == ""


def test_scorers_see_no_gold() -> None:
    """By type: a scorer is given moves, the question and an outcome, and no outcome has a gold answer."""
    for cls in map(type, SCORERS.values()):
        assert list(inspect.signature(cls.__call__).parameters) == ["self", "moves", "question", "outcome"]
        assert issubclass(cls, Scorer)
    assert not [name for name in Outcome.__annotations__ if "gold" in name]


def test_an_ensemble_is_drawn_with_what_is_inside() -> None:
    nodes = set(DOUBLE.graph().compile().get_graph(xray=2).nodes)
    assert {"look", "deal", "member:deal", "member:member:plan", "member:member:read", "member:decide"} <= nodes


@pytest.mark.parametrize("seed", range(10))
def test_a_crash_under_a_budget_overruns_nothing_and_an_answer_comes(seed: int) -> None:
    """A doubly nested run on 5,000 to 20,000 tokens that crashes at a random call, five times; then resumed."""
    drawn = random.Random(seed)
    for _ in range(5):
        budget = Budget(tokens=drawn.randint(5_000, 20_000))
        index = StubIndex(words=60)
        whole = scripted()
        expected, _ = run(DOUBLE, llm=whole, index=index, budget=budget)
        saver, at = InMemorySaver(), drawn.randrange(len(whole.calls))
        first = crashing(at, CrashError("killed"))
        with pytest.raises(CrashError):
            run(DOUBLE, llm=first, index=index, budget=budget, checkpoints=saver, thread="t")
        answer, ledger = run(DOUBLE, index=index, budget=budget, checkpoints=saver, thread="t")
        assert answer.text
        assert answer.spend.total.tokens + answer.spend.lost.tokens <= (budget.tokens or 0)
        assert answer.spend.lost.llm_calls > 0
        if answer.spend.lost.tokens <= (budget.tokens or 0) - 2 * expected.spend.total.tokens:
            assert story(answer) == story(expected)
        assert ledger.held.tokens == 0


@pytest.mark.parametrize("seconds", [1.0, 5.0, 12.0, 30.0])
def test_seconds_hold_in_members_too(seconds: float) -> None:
    async def work() -> tuple[Answer, Ledger, float]:
        llm, index = scripted(delay=1.0), StubIndex(delay=0.5)
        answer, ledger = await ask(Vote(of=DOUBLE, n=2), llm=llm, index=index, budget=budget)
        return answer, ledger, asyncio.get_running_loop().time()

    budget = Budget(seconds=seconds)
    answer, ledger, ended = virtually(work)
    check(answer, ledger, budget)
    assert ended <= seconds + 1e-6
    assert answer.text or seconds < 5
