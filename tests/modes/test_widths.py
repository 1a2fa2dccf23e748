"""Width schedules of `parallel`: the dial between breadth and depth at the same number of queries."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conformance import check
from doubles import StubIndex, move_of, never_repeating, run, scripted
from hypothesis import given
from hypothesis import strategies as st

from ragscale.budget import Budget
from ragscale.modes import Parallel
from ragscale.modes.core.widths import Schedule

SLOPES = ("constant", "descending", "ascending")


@pytest.mark.parametrize(
    ("slope", "rounds", "queries", "widths"),
    [
        ("descending", 3, 6, [3, 2, 1]),
        ("ascending", 3, 6, [1, 2, 3]),
        ("constant", 3, 6, [2, 2, 2]),
        ("descending", 4, 12, [5, 4, 2, 1]),
        ("descending", 9, 18, [3, 3, 3, 2, 2, 2, 1, 1, 1]),
        ("constant", 4, 7, [2, 2, 2, 1]),
        ("ascending", 4, 7, [1, 2, 2, 2]),
        ("descending", 1, 5, [5]),
        ("descending", 5, 2, [1, 1]),
        ("ascending", 3, 0, []),
    ],
)
def test_widths(slope: Any, rounds: int, queries: int, widths: list[int]) -> None:
    """As W&D writes its schedules; fewer rounds where there is no query for one."""
    plan = Schedule.of(slope, rounds, queries)
    assert [plan.width(at) for at in range(plan.rounds)] == widths
    assert plan.width(-1) == plan.width(plan.rounds) == 0


@given(st.sampled_from(SLOPES), st.integers(1, 40), st.integers(1, 300))
def test_every_schedule_has_all_queries_and_its_slope(slope: Any, rounds: int, queries: int) -> None:
    plan = Schedule.of(slope, rounds, queries)
    widths = [plan.width(at) for at in range(plan.rounds)]
    assert sum(widths) == plan.asked(plan.rounds) == queries
    assert min(widths) >= 1
    assert plan.widest == max(widths)
    assert widths == sorted(widths, reverse=slope != "ascending")
    assert max(widths) - min(widths) <= 1 or slope != "constant"


def batches(mode: Parallel, **options: Any) -> list[int]:
    """Queries of each round of a run whose model asks as many as it may."""
    index, budget = StubIndex(), options.get("budget", Budget())
    answer, ledger = run(mode, index=index, **options)
    check(answer, ledger, budget)
    assert answer.spend.serial.rounds == len(index.searches)
    return [len(batch) for batch in index.searches]


@pytest.mark.parametrize("profile", ["generic", "rag-r1"])
@pytest.mark.parametrize(("rounds", "most"), [(1, 12), (2, 6), (3, 4), (4, 3), (6, 2), (12, 1)])
def test_the_dial_from_breadth_to_depth_has_the_same_queries_on_every_setting(
    rounds: int, most: int, profile: Any
) -> None:
    for slope in SLOPES:
        mode = Parallel(rounds=rounds, max_queries=most, width=slope, question_k=0, profile=profile)
        found = batches(mode)
        assert (sum(found), len(found)) == (12, rounds), slope
        assert found == sorted(found, reverse=slope != "ascending")


def test_three_two_one() -> None:
    assert batches(Parallel(rounds=3, max_queries=2, width="descending", question_k=0)) == [3, 2, 1]
    assert batches(Parallel(rounds=3, max_queries=2, width="ascending", question_k=0)) == [1, 2, 3]
    assert batches(Parallel(rounds=3, max_queries=2, width="descending")) == [1, 3, 2, 1]  # the question itself first


@pytest.mark.parametrize("queries", [1, 2, 5, 7, 9])
def test_a_budget_of_queries_is_dealt_out_alike(queries: int) -> None:
    for slope in SLOPES:
        mode = Parallel(rounds=3, max_queries=4, width=slope, question_k=0)
        assert sum(batches(mode, budget=Budget(queries=queries))) == queries


@pytest.mark.parametrize("budget", [Budget(rounds=2), Budget(llm_calls=3)], ids=str)
def test_a_schedule_is_made_for_the_rounds_that_can_be_paid(budget: Budget) -> None:
    mode = Parallel(rounds=4, max_queries=2, width="descending", question_k=0)
    assert batches(mode, budget=budget) == [3, 1]


def turn(*queries: str) -> str:
    return json.dumps({"known": "", "missing": "x", "queries": list(queries)})


def test_the_model_is_told_how_many_and_the_beginning_of_the_prompt_stays() -> None:
    llm = scripted()
    run(Parallel(rounds=3, max_queries=2, width="descending"), llm=llm)
    asked = [call.messages for call in llm.calls if move_of(call) == "turn"]
    assert len({messages[0]["content"] for messages in asked}) == 1
    assert "up to 3 at once" in asked[0][0]["content"]
    ends = [messages[1]["content"].splitlines()[-1] for messages in asked]
    assert ends == [f"Now say exactly {n} to look up, or none if nothing is missing." for n in (3, 2, 1)]


@pytest.mark.parametrize("width", ["free", "descending"])
def test_a_model_may_ask_less_and_is_cut_where_it_asks_more(width: Any) -> None:
    """Free is the model's choice up to the most; a schedule is an upper limit of each round."""
    said = iter([turn("a"), turn("b", "c", "d", "e"), turn("f", "g", "h"), turn()])

    def reply(messages: Any, call: Any) -> Any:
        return next(said) if move_of(call) == "turn" else never_repeating(messages, call)

    mode = Parallel(rounds=3, max_queries=2, width=width, question_k=0, seed_question=False)
    assert batches(mode, llm=scripted(reply)) == ([1, 2, 2] if width == "free" else [1, 2, 1])


def test_a_schedule_holds_in_profiles_that_search_for_all_that_is_written() -> None:
    many = f"<search> {', '.join(f'query {i}' for i in range(9))} </search>"
    said = iter([many, many.replace("query", "other"), "<answer> x </answer>"])
    mode = Parallel(profile="rag-r1", rounds=2, max_queries=2, width="descending")
    assert batches(mode, llm=scripted(lambda *_: next(said))) == [3, 1]


def test_the_longest_turn_is_what_the_mode_says() -> None:
    for profile in ("generic", "search-r1"):
        llm = scripted()
        run(Parallel(profile=profile, rounds=1, turn_tokens=70), llm=llm)  # type: ignore[arg-type]
        assert {call.max_tokens for call in llm.calls if move_of(call) == "turn"} == {70}
