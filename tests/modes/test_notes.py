"""Notes in place of passages (`parallel(aggregate=)`); the conversations of ParallelSearch and HybridDeepSearcher."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from conformance import check
from doubles import QUESTION, StubIndex, counts, move_of, never_repeating, run, scripted, section_of

from ragscale.budget import Budget, Ledger
from ragscale.errors import ModelError
from ragscale.llm.base import Capabilities
from ragscale.llm.scripted import ScriptedCall, ScriptedLLM
from ragscale.modes import Parallel
from ragscale.modes.core.costs import Costs, Room
from ragscale.prompts import NO_INFORMATION, PROFILES
from ragscale.prompts.notes import REPEATED, note

HYBRID = {"rounds": 2, "max_queries": 3}
BEGIN, END = "<|begin_search_queries|>", "<|end_search_queries|>"


def is_note(call: ScriptedCall) -> bool:
    return section_of(call) == "note"


def searching(*turns: str, note: Callable[[ScriptedCall], Any] | None = None) -> ScriptedLLM:
    """A model that says these turns one after the other, then the last again, and `note` for a note."""
    left = list(turns)

    def reply(messages: Any, call: ScriptedCall) -> Any:
        if is_note(call):
            return note(call) if note else never_repeating(messages, call)
        if move_of(call) == "turn":
            return left.pop(0) if len(left) > 1 else left[0]
        return never_repeating(messages, call)

    return scripted(reply)


def three(begin: str, between: str, end: str) -> tuple[str, str]:
    """Two turns of three queries each."""
    first, second = ([f"query {i}" for i in numbers] for numbers in (range(3), range(3, 6)))
    return f"{begin}{between.join(first)}{end}", f"{begin}{between.join(second)}{end}"


@pytest.mark.parametrize(
    ("preset", "turns", "final", "expected"),
    [
        ("parallel-search", three("<search>", " ## ", "</search>"), "<answer> x </answer>", (3, 6, 2)),
        ("hybrid-deep-search", three(f"{BEGIN}\n", ";\n", f"\n{END}"), "x}", (9, 6, 2)),
    ],
)
def test_published_counts(preset: str, turns: tuple[str, str], final: str, expected: tuple[int, int, int]) -> None:
    """With 3 queries a turn in 2 turns: ParallelSearch 3/6/2, HybridDeepSearcher 9/6/2."""
    index, llm = StubIndex(), searching(*turns, final)
    answer, ledger = run(Parallel.preset(preset, rounds=2), llm=llm, index=index)
    check(answer, ledger, Budget())
    assert counts(answer) == expected
    assert answer.text == "x"
    assert [len(batch) for batch in index.searches] == [3, 3]
    assert answer.spend.serial.llm_calls == (3 if preset == "parallel-search" else 5)


@pytest.mark.parametrize(
    ("preset", "rounds", "queries", "k"),
    [
        ("rag-r1-paper", 5, 3, 3), ("rag-r1-sq-paper", 5, 1, 3), ("search-r1", 4, 1, 3), ("parallel-search", 4, 2, 3),
        ("hybrid-deep-search", 10, 2, 10),
    ],
)  # fmt: skip
def test_published_sizes(preset: str, rounds: int, queries: int, k: int) -> None:
    """T turns and a last one, with T q readings in HybridDeepSearcher; R = T q, S = T."""
    llm = scripted()
    answer, _ = run(Parallel.preset(preset), llm=llm)
    assert counts(answer)[1:] == (rounds * queries, rounds)
    assert sum(move_of(call) == "turn" for call in llm.calls) == rounds + 1
    assert sum(map(is_note, llm.calls)) == (rounds * queries if preset == "hybrid-deep-search" else 0)
    assert answer.spend.total.passages == rounds * queries * k


@pytest.mark.parametrize(("aggregate", "expected"), [("none", (3, 6, 2)), ("round", (5, 6, 2)), ("query", (9, 6, 2))])
def test_counts(aggregate: Any, expected: tuple[int, int, int]) -> None:
    answer, ledger = run(Parallel(aggregate=aggregate, question_k=0, **HYBRID))
    check(answer, ledger, Budget())
    assert counts(answer) == expected
    assert answer.spend.serial.llm_calls == (3 if aggregate == "none" else 5)  # readers side by side


@pytest.mark.parametrize("profile", ["generic", "rag-r1", "hybrid-deep-search"])
@pytest.mark.parametrize("aggregate", ["round", "query"])
def test_the_conversation_holds_notes_and_no_passages(aggregate: Any, profile: Any) -> None:
    llm = scripted()
    answer, _ = run(Parallel(aggregate=aggregate, profile=profile, question_k=0, **HYBRID), llm=llm)
    turns = [call.messages for call in llm.calls if move_of(call) == "turn"]
    said = [event.output for event in answer.trace if event.move == "read"]
    half = len(said) // 2
    assert "Title p" not in str(turns[:2])
    assert all(text in str(turns[1]) for text in said[:half])
    assert not any(text in str(turns[1]) for text in said[half:])
    assert [event.passages for event in answer.trace if event.move == "plan"] == [[]] * 2


def test_a_reader_sees_its_query_the_reasoning_so_far_and_its_passages_alone() -> None:
    """HybridDeepSearcher's reader; of the model's turns the thoughts without their tags."""
    thought = "<think> Both births are missing. </think>"
    turns = (
        f"{thought}{BEGIN}\nJaws director;\nAlien director\n{END}",
        f"So Spielberg. </think>{BEGIN}Spielberg birth{END}",
    )
    index = StubIndex(lambda query: [query.replace(" ", "-")])
    llm = searching(*turns, "x}", note=lambda call: f"found {call.index}")
    run(Parallel.preset("hybrid-deep-search", rounds=2), llm=llm, index=index)
    first, second, third = [call.messages[1]["content"] for call in llm.calls if is_note(call)]
    assert [re.findall(r"Title (\S+):", text) for text in (first, second, third)] == [
        ["Jaws-director"], ["Alien-director"], ["Spielberg-birth"],
    ]  # fmt: skip
    assert "Looked up: Jaws director\n" in first
    assert first.partition("Looked up")[0] == second.partition("Looked up")[0]  # a prefix that a server keeps
    assert QUESTION in first
    assert "Both births are missing." in first
    assert "<think>" not in first
    assert "Jaws director: found 1\nAlien director: found 2\n" in third
    assert "So Spielberg." in third


def test_a_note_on_a_round_sees_the_notes_before_and_all_passages_of_the_round() -> None:
    llm = scripted()
    answer, _ = run(Parallel(aggregate="round", question_k=0, **HYBRID), llm=llm)
    first, second = [call.messages[1]["content"] for call in llm.calls if is_note(call)]
    said = [event.output for event in answer.trace if event.move == "read"]
    assert "Notes so far:\nnone\n" in first
    assert said[0] in second.partition("<documents>")[0]
    assert first.count("\n[") == second.count("\n[") == 9
    closing = llm.calls[-1].messages[1]["content"]
    assert all(text in closing for text in said)


def test_a_repeated_query_is_answered_by_a_notice_without_search_or_reading() -> None:
    turn = f"{BEGIN}\nwho;\nwhat\n{END}"
    llm = searching(turn, f"{BEGIN}WHO?;\nwhen\n{END}", f"{BEGIN}who{END}", "x}")
    index = StubIndex()
    answer, ledger = run(Parallel.preset("hybrid-deep-search", rounds=3), llm=llm, index=index)
    check(answer, ledger, Budget())
    assert index.searches == [["who", "what"], ["when"]]
    assert sum(map(is_note, llm.calls)) == 3
    assert f"\nWHO?: {REPEATED}\nwhen: " in llm.calls[-1].messages[1]["content"]
    assert f"\nwho: {REPEATED}\n" in llm.calls[-1].messages[1]["content"]


def test_the_last_turn_of_hybrid_deep_search_begins_as_the_answer() -> None:
    forced = "\n</think>\n\n**Final Answer:**\n\\boxed{"
    llm = searching(f"{BEGIN}who{END}", "\\text{Ridley Scott}}. That is all.")
    answer, _ = run(Parallel.preset("hybrid-deep-search", rounds=1), llm=llm)
    assert answer.text == "Ridley Scott"
    assert llm.calls[-1].messages[-1]["role"] == "assistant"
    assert llm.calls[-1].messages[-1]["content"].endswith(forced)
    alternating = scripted(capabilities=Capabilities(tokenizer=True))
    answer, _ = run(Parallel.preset("hybrid-deep-search", rounds=1, continued=False), llm=alternating)
    assert answer.text
    assert forced not in str([call.messages for call in alternating.calls])


def test_a_model_of_hybrid_deep_search_answers_in_a_box() -> None:
    llm = searching(f"Hm. \\boxed{{no}}? </think>\n\n{BEGIN}who{END}", "So. </think>\n\nIt is \\boxed{Ridley Scott}.")
    answer, _ = run(Parallel.preset("hybrid-deep-search"), llm=llm)
    assert (answer.text, answer.spend.total.llm_calls) == ("Ridley Scott", 3)
    assert all(call.stop == (END,) for call in llm.calls if not is_note(call))


def test_two_questions_that_ask_the_same_query_have_a_reading_each() -> None:
    """The public code keys readings by the query alone."""
    llm = searching(f"{BEGIN}who{END}", "so </think> \\boxed{x}", f"{BEGIN}who{END}", "so </think> \\boxed{x}")
    for question in ("First?", "Second?"):
        run(Parallel.preset("hybrid-deep-search"), llm=llm, question=question)
    asked = [call.messages[1]["content"].splitlines()[0] for call in llm.calls if is_note(call)]
    assert asked == ["Question: First?", "Question: Second?"]


def test_passages_stand_where_a_note_could_not_be_written() -> None:
    def failing(call: ScriptedCall) -> Any:
        return ModelError("refused", "Do not") if "Looked up: who\n" in call.messages[1]["content"] else "a fact"

    llm = searching(f"{BEGIN}who;\nwhat{END}", "so </think> \\boxed{x}", note=failing)
    answer, ledger = run(Parallel.preset("hybrid-deep-search"), llm=llm)
    check(answer, ledger, Budget())
    assert answer.stop_reason == "answered"
    shown = llm.calls[-1].messages[1]["content"]
    assert "Doc 1: Title p" in shown
    assert "\nwhat: a fact\n" in shown


def test_no_call_is_made_where_there_is_nothing_to_read() -> None:
    for aggregate in ("round", "query"):
        llm = scripted()
        answer, _ = run(
            Parallel(aggregate=aggregate, rounds=1, question_k=0),  # type: ignore[arg-type]
            llm=llm, index=StubIndex(lambda query: []),
        )  # fmt: skip
        assert not any(map(is_note, llm.calls))
        assert {event.output for event in answer.trace if event.move == "read"} == {NO_INFORMATION}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Jaws is by Spielberg,\nborn in 1946.", "Jaws is by Spielberg, born in 1946."),
        ("<think> hm </think> A fact.", "A fact."),
        ("The documents do not mention him.", NO_INFORMATION),
        ("No relevant information was found", NO_INFORMATION),
        *((odd, NO_INFORMATION) for odd in ("", " \n", "N/A", "<think> never ends")),
    ],
)
def test_notes_are_read_as_one_line_or_as_nothing(text: str, kept: str) -> None:
    assert note(PROFILES["generic"], "Who?", ["q"], [], []).read(text) == kept


@pytest.mark.parametrize("limits", [{}, {"llm_calls": 4}, {"llm_calls": 9}, {"queries": 5}, {"rounds": 3}], ids=str)
@pytest.mark.parametrize("width", ["free", "ascending"])
@pytest.mark.parametrize("aggregate", ["round", "query"])
def test_a_run_does_what_was_forecast(aggregate: Any, width: Any, limits: dict[str, int]) -> None:
    mode = Parallel(aggregate=aggregate, rounds=3, max_queries=2, width=width)
    answer, ledger = run(mode, budget=Budget(**limits))
    check(answer, ledger, Budget(**limits))
    course = mode.forecast(Costs(), Room.of(Ledger(Budget(**limits)))).spend
    assert (course.llm_calls, course.queries, course.rounds) == counts(answer)
    if not limits:
        assert course == mode.cost(Costs())[1]


@pytest.mark.parametrize("aggregate", ["round", "query"])
def test_notes_make_later_turns_shorter_and_the_money_is_used(aggregate: Any) -> None:
    """At a budget of tokens a round that cannot be noted to its end is narrower, or not begun."""
    for tokens in (1_500, 3_000, 6_000, 12_000):
        answer, ledger = run(Parallel(aggregate=aggregate), index=StubIndex(words=100), budget=Budget(tokens=tokens))
        check(answer, ledger, Budget(tokens=tokens))
        assert answer.text
        assert not [event for event in answer.trace if event.status == "failed"]
    plain, _ = run(Parallel(rounds=6), index=StubIndex(words=100))
    noted, _ = run(Parallel(rounds=6, aggregate=aggregate), index=StubIndex(words=100))
    last = [[event for event in one.trace if event.move == "plan"][-1].spend.prompt_tokens for one in (plain, noted)]
    assert last[1] < last[0] / 2
