"""Spends add up and join as the ledger and the reducers need; events and answers survive JSON."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragscale.answer import AnswerSpend
from ragscale.types import Event, Passage, Spend

NAMES = [field.name for field in fields(Spend)]

counts = st.integers(0, 10**9)
# Quarters of a second add up exactly, so that equality is equality.
seconds = st.integers(0, 10**6).map(lambda quarters: quarters / 4)
# To the picodollar, as calls are charged, and unknown now and then.
dollars = st.none() | st.integers(0, 10**12).map(lambda picodollars: picodollars / 10**12)
kinds = {"seconds": seconds, "usd": dollars}
spends = st.builds(Spend, **{name: kinds.get(name, counts) for name in NAMES})
texts = st.text(max_size=20)
events = st.builds(
    Event,
    move=st.sampled_from(["plan", "retrieve", "read", "answer", "score", "select"]),
    branch=texts,
    input=texts | st.lists(texts, max_size=3),
    output=texts | st.lists(texts, max_size=3),
    passages=st.lists(texts, max_size=3),
    spend=spends,
    score=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    note=texts,
)


def values(spend: Spend) -> list[float]:
    return [getattr(spend, name) for name in NAMES if name != "usd"]


def test_the_dimensions_are_those_of_the_documented_json() -> None:
    assert NAMES == [
        "llm_calls", "prompt_tokens", "completion_tokens", "cached_tokens", "queries", "passages", "rounds", "seconds",
        "reasoning_tokens", "estimated_tokens", "usd",
    ]  # fmt: skip
    assert list(Spend().to_dict()) == NAMES


@given(spends, spends)
def test_addition_and_subtraction_go_by_dimension(a: Spend, b: Spend) -> None:
    assert values(a + b) == [x + y for x, y in zip(values(a), values(b), strict=True)]
    assert a + b == b + a
    assert (a + b) - b == (a if b.usd is not None else replace(a, usd=None))
    assert a + Spend() == a
    assert sum([a, b], Spend()) == a + b


def test_dollars_that_nobody_knows_stay_unknown_and_zero_is_known() -> None:
    known, unknown = Spend(llm_calls=1, usd=0.25), Spend(llm_calls=1, usd=None)
    assert (Spend().usd, (known + Spend()).usd, (known + known).usd) == (0.0, 0.25, 0.5)
    assert [(known + unknown).usd, (unknown - known).usd, known.maximum(unknown).usd] == [None] * 3
    assert known.maximum(Spend(usd=0.3)).usd == 0.3
    assert sum([Spend(usd=0.1)] * 10, Spend()).usd == 1.0  # which floats alone do not add up to
    assert (Spend(usd=0.3) - Spend(usd=0.1)).usd == 0.2


def test_a_spend_that_was_kept_before_dollars_were_counted_has_unknown_ones() -> None:
    older = {name: value for name, value in Spend(llm_calls=2).to_dict().items() if name != "usd"}
    assert Spend.from_dict(older) == Spend(llm_calls=2, usd=None)
    with pytest.raises(TypeError):
        Spend.from_dict({"gallons": 1})


@given(spends, spends, spends)
def test_addition_is_associative(a: Spend, b: Spend, c: Spend) -> None:
    assert (a + b) + c == a + (b + c)


@given(spends, spends, spends)
def test_the_maximum_is_a_join(a: Spend, b: Spend, c: Spend) -> None:
    """Commutative, associative, idempotent, with nothing spent as its least element: any order of branches agrees."""
    for name in ("llm_calls", "queries", "passages", "rounds", "seconds", "tokens"):
        assert getattr(a.maximum(b), name) == max(getattr(a, name), getattr(b, name))
    assert a.maximum(b) == b.maximum(a)
    assert a.maximum(b).maximum(c) == a.maximum(b.maximum(c))
    assert a.maximum(a) == a
    assert a.maximum(Spend()) == a
    if a.usd is not None and b.usd is not None:
        assert a.maximum(b).usd == max(a.usd, b.usd)


@given(spends, spends)
def test_the_tokens_of_a_join_are_those_of_one_branch(a: Spend, b: Spend) -> None:
    kinds = [name for name in NAMES if name.endswith("_tokens")]
    joined = [getattr(a.maximum(b), name) for name in kinds]
    assert joined in ([getattr(a, name) for name in kinds], [getattr(b, name) for name in kinds])


@given(spends, spends, spends)
def test_a_common_past_may_be_added_before_or_after_a_join(past: Spend, a: Spend, b: Spend) -> None:
    """Why branches may carry the trunk's clock: max(past + a, past + b) = past + max(a, b), never above the sum."""
    assert (past + a).maximum(past + b) == past + a.maximum(b)
    assert all(x <= y for x, y in zip(values(a.maximum(b)), values(a + b), strict=True))


@given(spends)
def test_tokens_are_prompt_and_completion_and_cached_ones_count_once(spend: Spend) -> None:
    assert spend.tokens == spend.prompt_tokens + spend.completion_tokens


@given(spends)
def test_a_spend_survives_json(spend: Spend) -> None:
    assert Spend(**json.loads(json.dumps(spend.to_dict()))) == spend


@given(events)
def test_an_event_survives_json(event: Event) -> None:
    assert Event.from_dict(json.loads(json.dumps(event.to_dict()))) == event


def test_from_dict_leaves_its_argument_alone() -> None:
    data = Event("plan", "").to_dict()
    Event.from_dict(data)
    assert data == Event("plan", "").to_dict()


@pytest.mark.parametrize("value", [Spend(), Event("plan", ""), Passage("a", "", "text")])
def test_values_are_frozen(value: Any) -> None:
    with pytest.raises((FrozenInstanceError, AttributeError)):
        setattr(value, fields(value)[0].name, 1)


def test_a_spend_shows_what_was_spent() -> None:
    assert repr(Spend()) == "Spend()"
    assert repr(Spend(queries=2, usd=None)) == "Spend(queries=2, usd=None)"
    spend = AnswerSpend(Spend(queries=2), Spend(queries=1))
    assert repr(spend) == "AnswerSpend(total=Spend(queries=2), serial=Spend(queries=1))"
