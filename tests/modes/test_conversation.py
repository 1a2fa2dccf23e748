"""The conversation of `parallel` as a value: repeats, passages that are shown already, notes in their place."""

from __future__ import annotations

from typing import Any

import pytest

from ragscale.modes.sequential.conversation import Conversation
from ragscale.prompts import Turn

SEEN = Turn(said="", queries=["who?"], passages=[["p1", "p2"]])
FIRST = Turn(said="<search> a, b </search>", queries=["a", "b"], passages=[["p2", "p3"], ["p4"]])


def open_turn(*queries: str) -> Turn:
    """A turn whose queries are to be searched for."""
    return Turn(said="again", queries=list(queries), passages=[])


def test_the_look_is_a_round_of_the_question_and_no_turn_of_the_model() -> None:
    state: dict[str, Any] = {"question": "who?", "seen": ["p1", "p2"], "turns": [FIRST]}
    talk = Conversation.of(state)
    assert talk == Conversation([SEEN], [FIRST])
    assert talk.asked == ["who?", "a", "b"]
    assert talk.found == talk.shown == ["p1", "p2", "p2", "p3", "p4"]
    assert Conversation.of({"question": "who?", "seen": []}).rounds == []


@pytest.mark.parametrize(
    ("anew", "shown"), [(True, [["p4"], ["p3", "p5"], ["p1", "p2"]]), (False, [[], ["p5"], []])], ids=str
)
def test_repeats_are_shown_what_they_found_and_passages_twice_where_the_form_says_so(
    anew: bool, shown: list[list[str]]
) -> None:
    talk = Conversation([SEEN], [FIRST, open_turn("B", "c", "Who?")])
    assert talk.new == ["c"]
    turns = talk.with_passages([["p3", "p5"]], anew=anew)
    assert turns == [FIRST, {**talk.turns[-1], "passages": shown}]
    assert talk.turns[-1]["passages"] == []  # a transition makes a new value


def test_notes_stand_in_place_of_passages_where_there_are_any() -> None:
    talk = Conversation([], [FIRST])
    one, each = (Conversation([], talk.with_notes(notes)) for notes in (["on both"], ["on a", ""]))
    assert (one.shown, each.shown) == ([], ["p4"])
    assert one.found == each.found == ["p2", "p3", "p4"]


def test_a_note_is_told_the_ends_of_turns_without_tags() -> None:
    long = Turn(said="<think> " + "word " * 100 + "end </think>", queries=[], passages=[])
    known, said, end = Conversation([SEEN], [FIRST, long]).told(["a fact"])
    assert (known, said) == ("a fact", "a, b")
    assert len(end.split()) == 60
    assert end.endswith("word end")
