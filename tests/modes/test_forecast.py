"""`Mode.forecast` against runs: it sizes by the functions that the modes themselves use."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from doubles import QUESTION, StubIndex, run

from ragscale.answer import Answer
from ragscale.budget import Budget, Ledger
from ragscale.modes import (
    Adaptive,
    Beam,
    BestOfN,
    Bidirectional,
    Chain,
    Direct,
    Evolve,
    IRCoT,
    IterRetGen,
    Mcts,
    Mixture,
    Mode,
    MultiChain,
    Muse,
    Once,
    Parallel,
    Retry,
    Revise,
    SelfAsk,
    Tot,
    Tree,
    Vote,
)
from ragscale.modes.core import Nesting, costs
from ragscale.modes.core.costs import Cost, Costs, Room, series
from ragscale.modes.ensemble import multi_chain
from ragscale.modes.ensemble.ensemble import Ensemble
from ragscale.modes.sequential import self_ask
from ragscale.prompts import PROFILES
from ragscale.types import Spend

MODES: list[Mode] = [
    Direct(),
    Once(),
    Chain(),
    Chain(steps=2, question_k=0),
    Chain(stop="judged"),
    Chain(stop="learned", steps=4),
    SelfAsk(),
    IRCoT(),
    IRCoT(k=5, context=5, steps=2),
    Revise(),
    Revise(k=8, rounds=1),
    IterRetGen(),
    IterRetGen(rounds=1),
    Parallel(),
    Parallel(max_queries=1),
    Parallel(rounds=3, max_queries=2, width="descending"),
    Tree(),
    Beam(expand=4),
    Beam(steps=4, beam=5, expand=2, rollouts=2, rollout_steps=2),
    Tot(expand=4),
    Tot(judge="vote"),
    Vote(),
    Vote(of=Once()),
    Vote(of=Tree(), n=2),
    Vote(of=BestOfN(n=2), n=2),
    BestOfN(),
    BestOfN(of=Parallel()),
    Vote(of=Once(), n=3, weigh="judge", stop="posterior"),
    Vote(of=Chain(steps=2), n=3, stop="posterior", width=2),
    BestOfN(of=Chain(steps=2), n=2, weighted=True),
    Mixture(of=Once()),
    Mixture(of=Chain(steps=2), n=2),
    Vote(of=Mixture(of=Chain(steps=1), n=2), n=2),
    MultiChain(n=3),
    MultiChain(of=BestOfN(of=Chain(steps=2), n=2), n=2),
    BestOfN(of=Vote(of=Chain(steps=2), n=2), n=2),
    Mcts(scorer="penalty"),
    Muse(branches=1),
    Muse(of=Chain(steps=2), branches=4),
    Retry(),
    Retry(of=Once(), tries=2, carry="exclude"),
    Bidirectional(candidates=1),
    Evolve(generations=1, turns=1, queries=1),
]
LIMITS: list[dict[str, int]] = [
    {},
    *({"tokens": tokens} for tokens in (1_000, 2_100, 4_000, 8_050)),
    *({"llm_calls": calls} for calls in (1, 2, 9, 30)),
    *({"queries": queries} for queries in (0, 1, 9, 40)),
    *({"rounds": rounds} for rounds in (0, 1, 4)),
]


@pytest.fixture(autouse=True)
def _costs_of_the_double(monkeypatch: pytest.MonkeyPatch) -> None:
    """Typical costs are those of the scripted model, and a little more, as reservations are."""
    for name, tokens in {
        "_PLAN": 255,
        "_GLIMPSE": 68,
        "_SAMPLE": 4,
        "_SAID": 4,
        "_ANSWER": 0,
        "_SCORE": 195,
        "_REASON": 40,
    }.items():
        monkeypatch.setattr(costs, name, tokens)
    monkeypatch.setattr(self_ask, "_ASKED", 175)
    monkeypatch.setattr(multi_chain, "_ASKED", 100)
    monkeypatch.setattr(multi_chain, "_PAIR", 10)


def done(mode: Mode, limits: dict[str, Any]) -> Answer:
    """A run whose model always has another sub-query."""
    answer, _ = run(mode, index=StubIndex(words=108), budget=Budget(**limits))
    return answer


def expected(mode: Mode, limits: dict[str, Any]) -> costs.Forecast:
    """By the sizes that a run would count in the question's own passages, where it looks at them first."""
    counts = mode.looks and not isinstance(innermost(mode), IRCoT | Parallel)  # these have a look of their own
    plan = 366 if mode.planning(PROFILES["generic"], QUESTION) else None
    known = Costs.by(costs.counted(111, 150, 68, plan)) if counts and "tokens" in limits else Costs()
    return mode.forecast(known, Room.of(Ledger(Budget(**limits))))


def innermost(mode: Mode) -> Mode:
    return innermost(mode.of) if isinstance(mode, Nesting) else mode


def first_names(answer: Answer) -> int:
    """Inner runs of an ensemble or a search."""
    return len({event.branch.partition(".")[0] for event in answer.trace if event.branch})


@pytest.mark.parametrize("limits", LIMITS, ids=str)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_run_does_what_was_forecast(mode: Mode, limits: dict[str, int]) -> None:
    answer, course = done(mode, limits), expected(mode, limits)
    total = answer.spend.total
    assert (course.spend.llm_calls, course.spend.queries, course.spend.rounds) == (
        total.llm_calls,
        total.queries,
        answer.spend.serial.rounds,
    )
    if total.queries:
        # A short chain without a look has fewer passages than its closing answer may be shown.
        assert course.spend.tokens == pytest.approx(total.tokens, rel=0.35)
    if inner := course.shape.get("members", course.shape.get("rollouts")):
        idle = inner if course.shape["each"].get("steps") == 0 else 1  # that can do nothing leave no trace
        assert (first_names(answer) or idle) == inner


@pytest.mark.parametrize("tokens", range(3_800, 4_150, 50))
def test_follow_ups_are_forecast_by_their_own_prompts(tokens: int) -> None:
    """They are shorter than a planner's: by that one's, a third one seemed too dear up to 4,000 tokens."""
    answer, course = done(SelfAsk(), {"tokens": tokens}), expected(SelfAsk(), {"tokens": tokens})
    assert course.shape == {"steps": 3}
    assert course.spend.llm_calls == answer.spend.total.llm_calls == 7


@pytest.mark.parametrize("tokens", [16_000, 32_000])
@pytest.mark.parametrize("mode", [*MODES, Evolve(generations=2, queries=1)], ids=str)
def test_where_a_step_just_fits_or_not_the_forecast_is_a_little_off(mode: Mode, tokens: int) -> None:
    """The typical costs here are above what is spent, and a run knows its own."""
    total, course = done(mode, {"tokens": tokens}).spend.total, expected(mode, {"tokens": tokens})
    assert 0.6 * total.llm_calls <= course.spend.llm_calls <= 1.1 * total.llm_calls
    assert course.spend.tokens <= tokens


@pytest.mark.parametrize(("width", "expand", "rollouts"), [(4, 3, 8), (8, 3, 8), (4, 4, 8), (2, 3, 4), (1, 2, 2)])
def test_no_search_costs_more_than_its_full_cost_along_its_path(width: int, expand: int, rollouts: int) -> None:
    """As many batches as it takes, where fewer rollouts may go on from the question than run side by side."""
    mode = Mcts(of=Chain(steps=2), width=width, expand=expand, rollouts=rollouts)
    cost, serial = Cost.of(mode.cost(Costs())[1]), done(mode, {}).spend.serial
    batches = 1 + math.ceil(max(0, rollouts - min(width, expand)) / width)
    assert (cost.rounds, cost.serial_calls) == (1 + 2 * batches, 6 * batches)
    assert serial.rounds <= cost.rounds
    assert serial.llm_calls <= cost.serial_calls
    assert serial.rounds > cost.rounds - 2 * batches  # rollouts that go on are shorter


def test_a_reset_that_all_elites_refill_costs_no_call() -> None:
    """The model picks from more plans than there is room for; two resets between three generations."""
    full = [Cost.of(Evolve(reset=1, refill=2, elites=elites).cost(Costs())[1]).llm_calls for elites in (2, 3)]
    assert full == [48, 50]


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_without_limits_it_is_the_full_cost(mode: Mode) -> None:
    """But for searches: rollouts that go on from a chain are shorter."""
    course, (_, full) = expected(mode, {}), mode.cost(Costs())
    if isinstance(mode, Mcts):
        assert full.llm_calls > course.spend.llm_calls
    else:
        assert course.spend == full


@pytest.mark.parametrize("dimension", ["tokens", "llm_calls", "queries", "rounds"])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_forecast_stays_within_its_room_and_more_room_never_means_less(mode: Mode, dimension: str) -> None:
    at = "prompt_tokens" if dimension == "tokens" else dimension
    steps = [n * (1_000 if dimension == "tokens" else 1) for n in range(40)]
    spent = [getattr(expected(mode, {dimension: limit}).spend, at) for limit in steps]
    assert all(amount <= limit for amount, limit in zip(spent, steps, strict=True))
    if not isinstance(mode, Ensemble | Mcts | Muse):  # a member more has less than each of fewer
        assert spent == sorted(spent)


@pytest.mark.parametrize("limits", [{"llm_calls": 0}, {"tokens": 0}, {"tokens": 16}], ids=str)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_budget_that_pays_for_no_answer_is_forecast_to_do_nothing(mode: Mode, limits: dict[str, int]) -> None:
    assert expected(mode, limits) == costs.Forecast(Spend(), {})
    total = done(mode, limits).spend.total
    assert (total.llm_calls, total.queries) == (0, 0)


MOST = 10**9


@pytest.mark.parametrize("limits", [{}, {"tokens": 100_000}, {"rounds": 20}, {"queries": 50}], ids=str)
@pytest.mark.parametrize(
    "mode",
    [
        Chain(steps=MOST),
        Parallel(rounds=MOST, max_queries=MOST),
        Parallel(rounds=MOST, max_queries=MOST, width="ascending"),
        Adaptive(rounds=MOST, width=MOST),
        Tree(steps=MOST, rollout_steps=MOST),
        Tree(expand=MOST, rollouts=MOST, samples=MOST),
        Beam(steps=MOST, beam=256, rollout_steps=MOST),
        Mcts(rollouts=MOST, of=Chain(steps=MOST)),
        Mcts(rollouts=MOST, width=MOST),
        Muse(branches=256, of=Tree(steps=MOST, expand=MOST)),
        Vote(n=256, of=Vote(n=256, of=Tree(steps=MOST))),
        Evolve(generations=MOST, turns=MOST, retries=MOST),
        Vote(n=256, width=1, stop="posterior", of=Vote(n=256, width=1, stop="posterior")),
        Mixture(n=256, layers=32, of=Mixture(n=256, layers=32)),
        Retry(tries=64, of=Retry(tries=64, of=Chain(steps=MOST))),
    ],
    ids=str,
)
def test_the_largest_parameters_are_reckoned_in_no_time(mode: Mode, limits: dict[str, int]) -> None:
    """An ensemble does so on the event loop; a sum over as many steps would not end."""
    expected(mode, limits)
    mode.cost(Costs())


def test_a_series_is_the_sum_of_its_turns() -> None:
    turns = [Spend(llm_calls=1, prompt_tokens=100 + 7 * n, queries=3, rounds=1) for n in range(9)]
    assert series(turns[0], turns[-1], 9) == Cost.of(sum(turns, Spend()))
    assert series(turns[0], turns[-1], 0) == Cost()


@pytest.mark.parametrize("steps", [1, 2, 3, 6])
@pytest.mark.parametrize("rollout_steps", [0, 1, 2, 9])
def test_a_tree_in_full_costs_the_sum_of_its_levels(steps: int, rollout_steps: int) -> None:
    tree = Tree(steps=steps, rollout_steps=rollout_steps, question_k=0)
    depths = [min(rollout_steps, steps - level) for level in range(1, steps + 1)]
    levels = sum((tree._cost(tree._full(depth), Costs()) for depth in depths), Spend())
    assert tree.cost(Costs())[1] == levels + Costs().answer(tree.context)


@dataclass(frozen=True, kw_only=True)
class Twice(Once):
    """A mode of another package that says nothing of its course."""

    name: ClassVar[str] = "twice"

    def cost(self, costs: Costs) -> tuple[Spend, Spend]:
        once = costs.retrieve() + costs.answer(self.context)
        return once, once + costs.step(5) + costs.step(5)


@pytest.mark.parametrize(("tokens", "queries"), [(None, 3), (1_000, 1), (4_000, 3)])
def test_a_mode_without_a_course_of_its_own_is_done_in_full_or_at_its_least(tokens: int | None, queries: int) -> None:
    course = Twice().forecast(Costs(), Room(tokens=tokens or math.inf))
    assert course.spend.queries == queries


def test_passages_of_another_length_change_what_a_budget_pays_for() -> None:
    steps = [Chain().forecast(Costs(passage=tokens), Room(tokens=4_000)).shape["steps"] for tokens in (60, 140, 400)]
    assert steps == sorted(steps, reverse=True)
    assert len(set(steps)) > 1
