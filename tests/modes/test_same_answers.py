"""Answers that are the same in any language: one vote, one candidate, one feature, and the metrics' own equality."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from typing import Any

import pytest
from doubles import never_repeating, run

from ragscale.language.answers import normal_answer
from ragscale.llm.scripted import ScriptedCall, ScriptedLLM
from ragscale.measure.metrics import exact_match
from ragscale.measure.questions import Question
from ragscale.measure.scoring import score
from ragscale.modes import BestOfN, Once, Vote
from ragscale.modes.auto.features import features
from ragscale.prompts.backward import CANDIDATES
from ragscale.types import Event, Message

SAME = [
    ("Rhône", unicodedata.normalize("NFD", "rhône")),
    ("Straße", "STRASSE"),
    ("1889", "\uff11\uff18\uff18\uff19"),  # full width
    ("1889", "\u0661\u0668\u0668\u0669"),  # Arabic
    ("نجيب محفوظ", "\u00ab\u0646\u062c\u064a\u0628 \u0645\u062d\u0641\u0648\u0638\u00bb\u060c"),
    ("東京", "「東京」。"),
    ("Conan O'Brien", "Conan O\u2019Brien"),
    ("the Great Gatsby", "\u201cGreat Gatsby\u201d"),
]
"""Two spellings of an answer."""


def answering(texts: Sequence[str]) -> ScriptedLLM:
    """A model that gives these answers in turn."""
    left = list(texts)

    def script(messages: Sequence[Message], call: ScriptedCall) -> Any:
        if call.schema is not None and "answer" in call.schema.get("properties", {}) and left:
            said = [left.pop(0) for _ in range(call.n)]
            return [json.dumps({"answer": text, "documents": [1]}, ensure_ascii=False) for text in said]
        return never_repeating(messages, call)

    return ScriptedLLM(script)


@pytest.mark.parametrize(("one", "other"), SAME)
def test_two_spellings_are_one_vote_where_they_are_one_answer_to_the_metrics(one: str, other: str) -> None:
    assert exact_match(one, [other]) == 1
    answer, _ = run(Vote(of=Once(), n=3), llm=answering(["Lyon", one, other]))
    assert answer.text == one
    [vote] = [event for event in answer.trace if event.move == "select"]
    assert vote.note == ""
    assert [(choice.score, choice.status) for choice in vote.choices] == [(1, "pruned"), (2, "kept"), (2, "kept")]


@pytest.mark.parametrize(("one", "other"), [("مكة", "مدينة"), ("東京", "京都"), ("Rhone", "Rhône"), ("10⁶", "106")])
def test_other_answers_are_other_votes(one: str, other: str) -> None:
    answer, _ = run(Vote(of=Once(), n=3), llm=answering([one, other, other]))
    assert answer.text == other
    assert exact_match(one, [other]) == 0


@pytest.mark.parametrize(
    "nothing",
    ["unknown", "\u201cunknown\u201d", "unknown\uff01", "\uff55\uff4e\uff4b\uff4e\uff4f\uff57\uff4e", "\u2026"],
)
def test_an_abstention_is_one_in_any_quotes_and_width(nothing: str) -> None:
    answer, _ = run(Vote(of=Once(), n=3), llm=answering([nothing, nothing, "Lyon"]))
    assert answer.text == "Lyon"
    assert features("Which town?", nothing, [], [])["answered"] == 0
    assert score(Question("q", "Which town?", ()), nothing, "answered") == (1.0, 1.0)


@pytest.mark.parametrize("nothing", ["I don\u2019t know.", "\uff2e\uff0f\uff21"])
def test_a_question_without_an_answer_takes_an_abstention_in_any_spelling(nothing: str) -> None:
    assert score(Question("q", "Which town?", ()), nothing, "answered") == (1.0, 1.0)
    assert score(Question("q", "Which town?", ()), f"{nothing} Lyon", "answered") == (0.0, 0.0)


def test_agreement_counts_spellings_together_and_no_abstentions() -> None:
    mode = BestOfN(of=Once(), n=2, scorer="agreement")
    samples = ["東京", "「東京」", "unknown", "unknown", "unknown"]
    answer, _ = run(mode, llm=answering([*samples, *["Lyon"] * 5]))
    [chosen] = [event for event in answer.trace if event.move == "select"]
    assert [choice.score for choice in chosen.choices] == [0.4, 1.0]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_two_spellings_are_one_candidate(one: str, other: str) -> None:
    said = CANDIDATES.read(json.dumps({"answers": [one, other, "Lyon"]}))
    assert said == [one, "Lyon"]


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC"])
def test_features_are_those_of_words_in_any_composition(form: Any) -> None:
    question = "Wer gründete 1889 das Museum in Zürich Öst?"
    hits = [["a", "Zürich", 1.0], ["b", "Öst", 0.5]]
    events = [Event("retrieve", "").to_dict() | {"hits": [hits]}]
    found = features(unicodedata.normalize(form, question), unicodedata.normalize(form, "Zürich"), ["a"], events)
    wanted = {"words": 8, "names": 2, "numbers": 1, "covered": 2 / 3, "length": 1, "echo": 1}
    assert {name: found[name] for name in wanted} == pytest.approx(wanted)


def test_features_of_a_script_without_spaces() -> None:
    found = features("１８８９年に東京で生まれたのは誰ですか?", "東京", [], [])
    assert (found["words"], found["numbers"], found["length"], found["echo"]) == (16, 1, 2, 1.0)


def test_the_published_normalisation_is_apart() -> None:
    assert normal_answer("The “Rhône”", "published") == "“rhône”"
