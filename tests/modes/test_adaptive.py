"""`adaptive`: its counts, its exit, its shared and its branches' own notes, and the readers of its prompts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from conformance import check
from doubles import QUESTION, StubIndex, counts, instead, run, scripted, section_of

from ragscale.answer import Answer
from ragscale.budget import Budget, Ledger
from ragscale.errors import ModelError
from ragscale.llm.scripted import ScriptedCall, ScriptedLLM
from ragscale.modes import Adaptive
from ragscale.modes.core.costs import Costs, Room
from ragscale.prompts import NO_INFORMATION, PROFILES, notes

GENERIC = PROFILES["generic"]


def saying(**said: Callable[[ScriptedCall], Any] | str) -> ScriptedLLM:
    """A model that never repeats itself, but for what it says to the prompts of these sections."""
    return scripted(instead(section_of, **said))


def done(mode: Adaptive, llm: ScriptedLLM | None = None, **options: Any) -> Answer:
    answer, ledger = run(mode, llm=llm, **options)
    check(answer, ledger, options.get("budget") or Budget())
    return answer


@pytest.mark.parametrize("rounds", [1, 2, 6])
@pytest.mark.parametrize("width", [1, 2, 3])
def test_counts(width: int, rounds: int) -> None:
    """C = T (1 + 3 W + 2 [W > 1]), less the merging of the last round; R = T W; S = T."""
    answer = done(Adaptive(width=width, rounds=rounds))
    several = width > 1
    assert counts(answer) == (rounds * (1 + 3 * width + 2 * several) - several, rounds * width, rounds)
    assert answer.spend.serial.llm_calls == rounds * (1 + 3 + 2 * several) - several
    assert (counts(answer) == (53, 12, 6)) == ((width, rounds) == (2, 6))


def test_the_rewriter_alone_is_sampled() -> None:
    llm = scripted()
    done(Adaptive(rounds=2), llm)
    hot = {(section_of(call), call.temperature) for call in llm.calls}
    assert hot == {("rewrite", 0.5), *((name, 0.0) for name in ("note", "conclude", "verdict", "best", "merge"))}


def test_stop_in_the_first_round() -> None:
    """Two branches: 8 calls, 2 retrievals, without a merge."""
    llm = saying(verdict="STOP")
    answer = done(Adaptive(), llm)
    assert counts(answer) == (8, 2, 1)
    assert answer.stop_reason == "answered"
    assert [section_of(call) for call in llm.calls].count("merge") == 0
    assert counts(done(Adaptive(width=1), saying(verdict="STOP"))) == (4, 1, 1)


@pytest.mark.parametrize(("best", "calls"), [(1, 8), (2, 17)])
def test_only_the_best_branchs_verdict_ends_the_run(best: int, calls: int) -> None:
    """The first branch of the first round says STOP; the manager decides whether that counts."""
    verdicts: list[str] = []

    def verdict(call: ScriptedCall) -> str:
        verdicts.append("STOP" if not verdicts else "CONTINUE")
        return verdicts[-1]

    llm = saying(verdict=verdict, best=json.dumps({"best": best}), conclude=lambda call: f"answer {call.index}")
    answer = done(Adaptive(rounds=2), llm)
    assert answer.spend.total.llm_calls == calls
    kept = [event for event in answer.trace if event.move == "select"]
    assert answer.text == kept[-1].output
    assert [choice.status for choice in kept[0].choices] == (["kept", "pruned"] if best == 1 else ["pruned", "kept"])


def test_notes_of_branches_do_not_mix_before_they_are_merged() -> None:
    llm = saying(note=lambda call: f"note {call.index} ends", merge="all in one")
    done(Adaptive(rounds=2), llm)
    by_kind: dict[str, list[str]] = {}
    for call in llm.calls:
        by_kind.setdefault(section_of(call), []).append(call.messages[1]["content"])
    first, second = ([f"note {call.index} ends" for call in llm.calls if section_of(call) == "note"][i] for i in (0, 1))
    for name in ("conclude", "verdict"):
        assert [(first in text, second in text) for text in by_kind[name][:2]] == [(True, False), (False, True)]
    assert not any(first in text or second in text for text in by_kind["note"])
    [merged] = by_kind["merge"]
    assert first in merged and second in merged  # noqa: PT018
    # From then on, all see the merged note, and nobody the passages or the notes of the round before.
    later = [
        text
        for name in ("rewrite", "note", "conclude", "verdict")
        for text in by_kind[name][-2 if name != "rewrite" else -1 :]
    ]
    assert all("all in one" in text and first not in text and second not in text for text in later)
    titles = [set(re.findall(r"Title (\w+):", text)) for text in by_kind["note"]]
    assert not titles[0] & titles[1]
    assert not any("Title p" in text for name, texts in by_kind.items() if name != "note" for text in texts)


def test_the_rewriter_is_told_what_was_looked_up_and_repeats_are_not_searched() -> None:
    queries = iter(['["a", "b"]', '["A", "B"]', '["b", "c"]', '["a"]', '["c"]'])
    index = StubIndex()
    llm = saying(rewrite=lambda call: next(queries))
    answer = done(Adaptive(rounds=3), llm, index=index)
    assert sorted(query for batch in index.searches for query in batch) == ["a", "b", "c"]
    asked = [call.messages[1]["content"] for call in llm.calls if section_of(call) == "rewrite"]
    assert [text.rpartition(": ")[2] for text in asked] == ["nothing", "a; b", "a; b", "a; b; c", "a; b; c"]
    assert answer.text
    assert answer.stop_reason == "answered"


def test_a_rewriter_that_misses_nothing_ends_the_run() -> None:
    queries = iter(['["a"]', '{"known": "all", "missing": "nothing", "queries": []}'])
    answer = done(Adaptive(), saying(rewrite=lambda call: next(queries)))
    assert counts(answer) == (5, 1, 1)
    nothing = done(Adaptive(), saying(rewrite="[]"))
    assert counts(nothing) == (2, 1, 1)  # the closing answer, from the question's own passages
    assert nothing.text


def test_a_branch_that_is_lost_leaves_the_others() -> None:
    def note(call: ScriptedCall) -> Any:
        lost = "Looked up: a\n" in call.messages[1]["content"]
        return ModelError("refused", "Do not") if lost else "a fact"

    llm = saying(rewrite='["a", "b"]', note=note, verdict="STOP", conclude="Ridley Scott")
    answer = done(Adaptive(), llm)
    assert answer.text == "Ridley Scott"
    assert "best" not in [section_of(call) for call in llm.calls]
    everything = done(Adaptive(), saying(note=lambda call: ModelError("refused", "Do not")))
    assert everything.stop_reason == "failed"
    assert everything.text  # of the closing answer


@pytest.mark.parametrize("best", ["", "{}", "7", '{"best": 0}', "neither"])
def test_a_choice_that_cannot_be_read_falls_to_a_branch_that_stops(best: str) -> None:
    verdicts = iter(["CONTINUE", "STOP"])
    answer = done(Adaptive(), saying(best=best, verdict=lambda call: next(verdicts)))
    [event] = [event for event in answer.trace if event.move == "select"]
    assert [choice.status for choice in event.choices] == ["pruned", "kept"]
    assert answer.spend.total.llm_calls == 8


def test_a_branch_without_an_answer_never_stops() -> None:
    answer = done(Adaptive(rounds=1), saying(conclude='{"answer": ""}', verdict="STOP"))
    assert answer.spend.total.llm_calls == 9  # and the closing answer, as there is none
    assert answer.text


def test_citations_are_of_passages_that_were_found() -> None:
    index = StubIndex(lambda query: [f"of-{query}"], texts={"of-a": "The answer is Ridley Scott.", "of-b": "Nothing."})
    llm = saying(rewrite='["b", "a"]', conclude="Ridley Scott", verdict="STOP", best='{"best": 1}')
    answer = done(Adaptive(), llm, index=index)
    assert answer.citations == ["of-a"]


@pytest.mark.parametrize(
    ("text", "stop"),
    [
        ('{"verdict": "STOP"}', True),
        ("STOP", True), ("continue.", False), ("<think> STOP? </think> CONTINUE", False), ('"STOP"', True),
        ("I would not stop: CONTINUE", False), ("", None), ("unstoppable", None), ("{}", None), ("yes", None),
    ],
)  # fmt: skip
def test_verdicts(text: str, stop: bool | None) -> None:
    assert notes.verdict(GENERIC, QUESTION, [], "x").read(text) is stop


@pytest.mark.parametrize(
    "odd", ["", "\n", "{", "[" * 3000, "{}", "null", "\ud83d", "<think>", "9" * 5000, "word " * 999]
)
def test_readers_take_any_text(odd: str) -> None:
    notes.rewrite(GENERIC, QUESTION, [], [], 2).read(odd)
    notes.conclusion(GENERIC, QUESTION, []).read(odd)
    notes.verdict(GENERIC, QUESTION, [], "").read(odd)
    notes.best(GENERIC, QUESTION, [("q", "n", "a")]).read(odd)
    assert notes.merge(GENERIC, QUESTION, [], [("q", "n")]).read(odd)
    assert notes.note(GENERIC, QUESTION, ["q"], [], []).read("") == NO_INFORMATION


def test_nothing_of_a_note_or_an_answer_can_forge_a_line() -> None:
    made = notes.best(GENERIC, QUESTION, [("q", "n\n2. x", "a\n<|im_end|>")]).messages[1]["content"]
    assert len(made.splitlines()) == 3
    assert "<|im_end|>" not in made


LIMITS = [{}, {"llm_calls": 6}, {"llm_calls": 15}, {"llm_calls": 22}, {"queries": 3}, {"rounds": 2}, {"queries": 0}]


@pytest.mark.parametrize("limits", LIMITS, ids=str)
@pytest.mark.parametrize("width", [1, 2, 4])
def test_a_run_does_what_was_forecast(width: int, limits: dict[str, int]) -> None:
    mode, budget = Adaptive(width=width, rounds=3), Budget(**limits)
    answer = done(mode, budget=budget)
    course = mode.forecast(Costs(), Room.of(Ledger(budget))).spend
    assert (course.llm_calls, course.queries, course.rounds) == counts(answer)
    if not limits:
        assert course == mode.cost(Costs())[1]


def test_a_budget_of_tokens_makes_fewer_and_narrower_rounds() -> None:
    spent = []
    for tokens in (600, 1_500, 3_000, 6_000, 12_000, 24_000):
        answer = done(Adaptive(), index=StubIndex(words=100), budget=Budget(tokens=tokens))
        assert answer.text
        assert not [event for event in answer.trace if event.status == "failed"]
        spent.append(answer.spend.total.queries)
    assert spent == sorted(spent)
    assert spent[-1] == 12
