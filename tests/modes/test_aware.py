"""The budget in the model's hands: `aware=True` shows planners what is used and left, as the ledger has it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace

import pytest
from conformance import check, story
from doubles import run, scripted

from ragscale.budget import Budget
from ragscale.modes import Adaptive, Chain, Evolve, Mode, Parallel, React, Revise, Tot, Tree, Vote, built_in
from ragscale.modes.core.asking import Planning
from ragscale.prompts import profile, with_budget
from ragscale.prompts.prompt import Prompt

AWARE: dict[str, Mode] = {
    **{name: cls(aware=True) for name, cls in built_in().items() if issubclass(cls, Planning)},
    "tags": Parallel(profile="rag-r1", aware=True),
    "tree": Tree(steps=3, expand=2, samples=2, rollouts=1, rollout_steps=1, aware=True),
    "vote": Vote(of=Chain(aware=True, steps=3), n=2),
}
ONE_PATH = {"chain", "self-ask", "ircot", "iter-retgen", "revise", "parallel", "react", "tags"}
"""Those of a single branch, whose critical path is all that they do."""
_SAID = re.compile(r"\nBudget: (.+?)\. \w")


def told(text: str) -> dict[str, tuple[int, int]]:
    """The amounts that a prompt names, used and left, by dimension."""
    [said] = _SAID.findall(text)
    parts = re.findall(r"([\w ]+): ([\d,]+) used, ([\d,]+) left", said)
    return {name.strip(): (int(used.replace(",", "")), int(left.replace(",", ""))) for name, used, left in parts}


@pytest.mark.parametrize("name", AWARE)
def test_the_numbers_are_the_ledgers(name: str) -> None:
    """Used: what the run, or the branch with a share of its own, has been charged so far. Left: the limit without that,
    and without the closing answer."""
    budget = Budget(tokens=30_000, queries=9, rounds=7, llm_calls=40, serial_calls=25)
    llm = scripted()
    answer, ledger = run(AWARE[name], llm=llm, budget=budget)
    check(answer, ledger, budget)
    asked = [text for call in llm.calls if "\nBudget: " in (text := call.messages[-1]["content"])]
    assert asked
    assert all(list(told(text)) == ["queries", "tokens", "model calls", "rounds", "calls in a row"] for text in asked)
    sent = {hashlib.sha256(json.dumps(call.messages).encode()).hexdigest()[:12]: call for call in llm.calls}
    planned = [event for event in answer.trace if event.move == "plan" and event.spend.llm_calls]
    assert len(planned) == len(asked)
    one_path = False
    for event in planned:
        amounts = told(sent[event.prompt].messages[-1]["content"])
        before = [earlier for earlier in answer.trace[: answer.trace.index(event)]
                  if not event.branch or earlier.branch == event.branch]  # fmt: skip
        for words, dimension in (("queries", "queries"), ("tokens", "tokens"), ("model calls", "llm_calls")):
            used = sum(getattr(earlier.spend, dimension) for earlier in before)
            limit, kept = getattr(budget, dimension), {"llm_calls": 1}.get(dimension, 0)
            if name == "adaptive" and any(earlier.move == "answer" for earlier in before):
                kept = 0  # a branch has an answer: none is reserved any longer
            assert amounts[words][0] == used
            if event.branch:
                assert sum(amounts[words]) < limit  # a share
            elif dimension != "tokens":  # of which the closing answer's share changes
                assert amounts[words][1] == limit - used - kept
            assert sum(amounts[words]) <= limit
        if not any(earlier.branch for earlier in answer.trace):  # one path: the critical path is the sum
            rounds, calls = (sum(getattr(earlier.spend, of) for earlier in before) for of in ("rounds", "llm_calls"))
            assert amounts["rounds"] == (rounds, 7 - rounds)
            assert amounts["calls in a row"] == (calls, 25 - calls - 1)
            one_path = True
    assert one_path == (name in ONE_PATH)


def test_every_mode_that_plans_can_be_aware() -> None:
    """Of itself, or by the mode inside, whose way of asking it takes."""
    for name, cls in built_in().items():
        plans = any(event.move == "plan" and event.spend.llm_calls for event in run(cls())[0].trace)
        assert not plans or issubclass(cls, Planning) or "of" in cls.__dataclass_fields__, name


@pytest.mark.parametrize("name", AWARE)
def test_without_limits_nothing_is_said(name: str) -> None:
    mode = AWARE[name]
    plain = replace(mode, aware=False) if hasattr(mode, "aware") else replace(mode, of=replace(mode.of, aware=False))  # type: ignore[attr-defined,call-arg]
    assert story(run(mode)[0]) == story(run(plain)[0])


@pytest.mark.parametrize("name", AWARE)
@pytest.mark.parametrize("queries", [1, 2, 4])
def test_at_zero_nothing_is_planned_or_retrieved(name: str, queries: int) -> None:
    llm = scripted()
    answer, ledger = run(AWARE[name], llm=llm, budget=Budget(queries=queries))
    check(answer, ledger, Budget(queries=queries))
    assert answer.text
    asked = [told(text) for call in llm.calls if "\nBudget: " in (text := call.messages[-1]["content"])]
    assert all(amounts["queries"][1] > 0 for amounts in asked)


@pytest.mark.parametrize(
    ("left", "several", "one"),
    [
        (100, "up 5 things", "look widely"), (70, "up 5 things", "look widely"),
        (69, "up 3 things", "matters most"), (30, "up 3 things", "matters most"),
        (29, "look up only", "look up only"), (10, "look up only", "look up only"),
        (9, "nothing more", "nothing more"), (0, "nothing more", "nothing more"),
    ],
)  # fmt: skip
def test_the_advice_changes_with_the_share_that_is_left(left: int, several: str, one: str) -> None:
    """BATS's tiers, by the dimension of which the smallest share is left."""
    amounts = {"tokens": (0.0, 1_000.0), "queries": (100.0 - left, float(left))}
    for queries, advice in ((8, several), (1, one)):
        prompt: Prompt[str] = Prompt("plan", [{"role": "user", "content": "Who?"}], str, queries=queries)
        assert advice in with_budget(prompt, amounts).messages[-1]["content"]


@pytest.mark.parametrize(
    "mode",
    [
        Adaptive(width=3, aware=True), Evolve(queries=3, aware=True), Parallel(max_queries=3, aware=True),
        React(width=3, aware=True), Revise(max_queries=3, aware=True), Tot(expand=3, generate="propose", aware=True),
    ],
    ids=lambda mode: mode.name,
)  # fmt: skip
def test_a_turn_that_may_ask_several_is_told_of_several(mode: Mode) -> None:
    """Every planning prompt of the modes whose turns ask several things at once."""
    llm = scripted()
    run(mode, llm=llm, budget=Budget(queries=10_000))
    asked = [text for call in llm.calls if "\nBudget: " in (text := call.messages[-1]["content"])]
    assert asked
    assert all(text.endswith("Look up 3 things at once, those that matter most.") for text in asked)


def test_no_more_is_advised_than_a_turn_may_ask() -> None:
    prompt = profile().turn("Who?", [], {}, most=2)
    assert "Look up 2 things at once" in with_budget(prompt, {"queries": (0, 9)}).messages[-1]["content"]


@pytest.mark.parametrize(("used", "left"), [(1_300.0, -300.0), (0.0, -1.0), (1_000.0, 0.0)])
def test_nothing_is_left_of_a_limit_that_a_server_passed(used: float, left: float) -> None:
    """It wrote more than it was allowed to; seen as an error that ended the run."""
    prompt: Prompt[str] = Prompt("plan", [{"role": "user", "content": "Who?"}], str)
    said = with_budget(prompt, {"tokens": (used, left), "queries": (1, 9)}).messages[-1]["content"]
    assert told(said)["tokens"] == (used, 0)
    assert "look up nothing more" in said


def test_the_rest_of_the_prompt_stays_as_it_is() -> None:
    """All but the end of the last message, which a prefix cache can therefore serve."""
    prompt = profile().turn("Who?", [], {}, most=2)
    shown = with_budget(prompt, {"tokens": (5, 5)})
    assert shown.messages[:-1] == prompt.messages[:-1]
    assert shown.messages[-1]["content"].startswith(prompt.messages[-1]["content"])
    assert with_budget(prompt, {}) is prompt
