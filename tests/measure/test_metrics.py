"""Values worked out by hand; the rules are those of the SQuAD and HotpotQA scripts, over words of any language."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragscale.language.answers import NORMALISATIONS, Normalisation, normal_answer
from ragscale.measure.metrics import exact_match, f1, retrieved
from ragscale.measure.questions import Question
from ragscale.measure.scoring import recall, score
from ragscale.types import Event, Passage


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Eiffel-Tower!", "eiffeltower"),
        ("an apple a day", "apple day"),
        ("Theatre", "theatre"),  # an article only as a whole word
        ("U.S.A.", "usa"),
        ("“quoted”", "“quoted”"),  # the scripts strip ASCII punctuation only
        ("A", ""),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert normal_answer(text, "published") == expected


@pytest.mark.parametrize(
    ("answer", "gold", "em", "expected_f1"),
    [
        ("Denise Levertov", ["Denise Levertov"], 1.0, 1.0),
        ("the denise levertov.", ["Denise Levertov"], 1.0, 1.0),
        # one of two tokens said is right, both wanted: P 1/3, R 1/1 -> 2/4
        ("Marie Skłodowska Curie", ["Curie"], 0.0, 0.5),
        # P 2/3, R 2/4 -> 4/7
        ("Warsaw in Poland", ["Warsaw, Masovia, central Poland"], 0.0, 4 / 7),
        # repeated tokens count as often as both sides have them: P 1/3, R 1/1 -> 2/4
        ("no no never", ["never"], 0.0, 0.5),
        ("Paris", ["London", "Paris, France", "Paris"], 1.0, 1.0),
        ("Paris", ["London", "Paris, France"], 0.0, 2 / 3),
        ("Lyon", ["London"], 0.0, 0.0),
        # yes, no and noanswer get all or nothing
        ("yes", ["yes"], 1.0, 1.0),
        ("Yes.", ["yes"], 1.0, 1.0),
        ("yes it is", ["yes"], 0.0, 0.0),
        ("no", ["no way"], 0.0, 0.0),
        ("yes", ["no"], 0.0, 0.0),
        ("noanswer", ["noanswer given"], 0.0, 0.0),
        # an empty answer is never right, even where a gold answer normalises to nothing
        ("", ["Paris"], 0.0, 0.0),
        ("  ", ["A"], 0.0, 0.0),
        ("A", ["a"], 1.0, 1.0),
        ("anything", [], 0.0, 0.0),
    ],
)
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_scores(answer: str, gold: list[str], em: float, expected_f1: float, normalisation: Normalisation) -> None:
    assert exact_match(answer, gold, normalisation) == em
    assert f1(answer, gold, normalisation) == pytest.approx(expected_f1)


@pytest.mark.parametrize(
    ("one", "other", "em", "expected_f1"),
    [
        ("5kg", "5 kg", 1.0, 1.0),
        ("100km", "100 km", 1.0, 1.0),
        ("5kg", "5 g", 0.0, 0.5),
        ("the 1990s", "1990", 0.0, 0.0),
        ("7th", "7", 0.0, 0.0),
        ("J. R. R. Tolkien", "J.R.R. Tolkien", 1.0, 1.0),
        ("O\u00b4Brien", "O'Brien", 1.0, 1.0),
        ("1.234.567", "1,234,567", 1.0, 1.0),
        ("1'000", "1000", 1.0, 1.0),
        ("café", "cafe\u0301", 1, 1),
        ("长江。", "长江", 1, 1),
        ("《红楼梦》", "红楼梦", 1, 1),
        ("中国的长江", "长江", 0, 4 / 7),  # another answer, with two of its five letters right
        ("\uff11\uff19\uff19\uff18年", "1998年", 1, 1),
        ("1998\u20132004", "1998-2004", 1, 1),
        ("“The Who”", "The Who", 1, 1),
        ("Côte d\u2019Ivoire", "Côte d'Ivoire", 1, 1),
        ("«Война и мир»", "Война и мир", 1, 1),
        ("¿Qué?", "Qué", 1, 1),
        ("서울은", "서울", 0, 4 / 5),
        ("H\u2082O", "h2o", 1, 1),
        ("1,000 km\u00b2", "1000 km2", 1, 1),
        ("U.S.A.", "USA", 1, 1),
        ("AT&T", "at&t", 1, 1),
        ("3.5", "35", 0, 0),
        ("-5", "5", 0, 0),
        ("10\u2076", "106", 0, 0),
        ("C++", "C", 0, 0),
        ("A", "An", 0, 0),
        ("Vitamin A", "vitamin", 0, 2 / 3),
        ("!!!", "...", 0, 0),
        ("!!!", "!!!", 1, 1),
        ("$", "€", 0, 0),
    ],
)
def test_answers_in_any_language(one: str, other: str, em: float, expected_f1: float) -> None:
    for answer, gold in ((one, other), (other, one)):
        assert exact_match(answer, [gold]) == em
        assert f1(answer, [gold]) == pytest.approx(expected_f1)


@given(st.text(), st.text())
def test_an_answer_is_itself_in_any_composition(one: str, other: str) -> None:
    composed, parted = (unicodedata.normalize(form, one) for form in ("NFC", "NFD"))
    assert normal_answer(composed) == normal_answer(parted)
    assert exact_match(composed, [parted]) == float(bool(one.strip()))
    assert f1(one, [other]) == pytest.approx(f1(other, [one])) or not (one.strip() and other.strip())
    assert (exact_match(one, [other]) == 1) == (f1(one, [other]) == 1)


class Names:
    """An index of a document in two chunks, and a passage of its own with a title."""

    passages: ClassVar = {
        "guide#1": Passage("guide#1", "Guide", "One.", document="guide.md"),
        "guide#2": Passage("guide#2", "Guide > Install", "Two.", document="guide.md"),
        "rhodium": Passage("rhodium", "Rhodium", "An element."),
    }

    def passage(self, identity: str) -> Passage:
        return self.passages[identity]

    def __contains__(self, identity: object) -> bool:
        return identity in self.passages


def test_recall_counts_what_any_branch_retrieved_and_nothing_else() -> None:
    trace = [
        Event("retrieve", "", passages=["guide#1"]),
        Event("retrieve", "1.0", passages=["guide#1", "rhodium"]),
        Event("answer", "", passages=["guide#1", "guide#2"]),  # shown, but never retrieved
    ]
    assert retrieved(trace) == ["guide#1", "rhodium"]
    assert recall(["guide#1", "rhodium"], trace, Names()) == 1.0
    assert recall(["guide#1", "guide#2"], trace, Names()) == 0.5
    assert recall(["rhodium"], [], Names()) == 0.0
    assert recall([], trace, Names()) is None


def test_a_document_or_a_title_is_found_by_any_of_its_passages() -> None:
    trace = [Event("retrieve", "", passages=["guide#2"])]
    assert recall(["guide.md"], trace, Names()) == 1.0
    assert recall(["Guide > Install", "guide.md", "Rhodium"], trace, Names()) == pytest.approx(2 / 3)
    assert recall(["rhodium"], [Event("retrieve", "", passages=["guide#1"])], Names()) == 0.0


def asked(*answers: str, all_answers: bool = False) -> Question:
    return Question("q", "Who?", answers, all_answers=all_answers)


@pytest.mark.parametrize(
    ("answer", "stop", "right"),
    [
        ("", "answered", 1.0),
        ("", "budget:tokens", 0.0),  # it had no answer because it could not pay for one
        ("", "failed", 0.0),
        ("Unanswerable.", "budget:tokens", 1.0),
        ("No answer", "answered", 1.0),
        ("I do not know.", "answered", 1.0),
        ("There is no answer", "answered", 1.0),
        ("Not enough information", "answered", 1.0),
        ("Wollaston", "answered", 0.0),
        ("The unknown soldier", "answered", 0.0),
    ],
)
def test_without_an_answer_the_right_one_is_none(answer: str, stop: str, right: float) -> None:
    assert score(asked(), answer, stop) == (right, right)


@pytest.mark.parametrize(
    ("answer", "em", "expected_f1"),
    [
        ("Ann Lee, Bob Roe", 1.0, 1.0),
        ("bob roe and Ann Lee.", 1.0, 1.0),
        ("Ann Lee; Bob Roe\nAnn Lee", 1.0, 1.0),
        ("Ann Lee", 0.0, 2 / 3),  # P 1/1, R 1/2
        ("Ann Lee, Cy Day, Bob Roe", 0.0, 4 / 5),  # P 2/3, R 2/2
        ("Cy Day", 0.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_all_of_several_answers_are_compared_as_sets(answer: str, em: float, expected_f1: float) -> None:
    assert score(asked("Ann Lee", "Bob Roe", all_answers=True), answer, "answered") == (em, pytest.approx(expected_f1))


def test_items_of_gold_answers_are_cut_as_those_of_the_answer() -> None:
    assert score(asked("Lille, France", "Bang & Olufsen", all_answers=True), "Bang and Olufsen, Lille, France", "") == (
        1,
        1,
    )


@pytest.mark.parametrize(
    ("answer", "em", "expected_f1"),
    [
        ("NYC and Bonn", 1.0, 1.0),
        ("Bonn, New York", 1.0, 1.0),
        ("Bonn, New York, USA", 1.0, 1.0),  # a name of two items
        ("NYC", 0.0, 2 / 3),
        ("Big Apple, Bonn", 0.0, 1 / 2),
        ("NYC, New York and Bonn", 1.0, 1.0),  # a second name is no third answer
        ("NYC, USA and Bonn", 0.0, 4 / 5),
    ],
)
def test_any_name_of_an_answer_is_that_answer(answer: str, em: float, expected_f1: float) -> None:
    names = (("NYC", "New York, USA"), ())
    question = replace(asked("New York", "Bonn", all_answers=True), aliases=names)
    assert score(question, answer, "answered") == (em, pytest.approx(expected_f1))


@pytest.mark.parametrize(
    ("gold", "answer", "em"),
    [
        (["2,500", "7,000"], "7,000 and 2500", 1.0),
        (["2,500", "7,000"], "2,000 and 7", 0.0),
        (["3", "1", "2"], "1,2,3", 1.0),
        (["1995", "2001"], "1995,2001", 1.0),
        (["\u5317\u4eac", "\u4e0a\u6d77"], "\u4e0a\u6d77\u3001\u5317\u4eac", 1.0),
        (["\u5317\u4eac", "\u4e0a\u6d77"], "\u4e0a\u6d77\uff0c\u5317\u4eac\uff1b", 1.0),
        (["\u0639\u0645", "\u0645\u0633"], "\u0645\u0633\u060c \u0639\u0645", 1.0),
        (["Bonn", "Kiel"], "1. Kiel\n2) Bonn", 1.0),
        (["Bonn", "Kiel"], "- Kiel\n\u2022 Bonn", 1.0),
        (["Bonn", "Kiel"], "KIEL AND BONN", 1.0),
        (["12", "5"], "12. and 5.", 1.0),
        (["Bonn", "Kiel"], "1. Kiel, am Meer\n2. Bonn", 0.0),
        (["Bonn", "am Meer", "Kiel"], "1. Kiel, am Meer\n2. Bonn", 1.0),
        (["1. FC Köln", "Bayern"], "Bayern and 1. FC Köln", 1.0),
        (["1. FC Köln", "1. FSV Mainz 05"], "1. FSV Mainz 05, 1. FC Köln", 1.0),
        (["1. FC Köln", "Bayern"], "1. Bayern\n2. 1. FC Köln", 1.0),
        (["Bundesliga", "Bayern"], "Bayern, 2. Bundesliga", 0.0),
        (["2. Bundesliga", "3. Liga"], "2. Bundesliga and 3. Liga", 1.0),
        (["2. Bundesliga", "3. Liga"], "1. 3. Liga\n2. 2. Bundesliga", 1.0),
        (["2. Bundesliga", "3. Liga"], "Bundesliga and Liga", 0.0),
        (["-5", "3"], "5, 3", 0.0),
    ],
)  # fmt: skip
def test_sets_are_cut_between_answers_and_not_within_numbers(gold: list[str], answer: str, em: float) -> None:
    assert score(asked(*gold, all_answers=True), answer, "answered")[0] == em


def test_else_the_best_gold_answer_counts_and_a_failure_does_not() -> None:
    assert score(asked("Ann Lee", "Bob Roe"), "Ann Lee", "answered") == (1.0, 1.0)
    assert score(asked("Ann Lee", "Bob Roe"), "Ann Lee", "failed") == (0.0, 0.0)


@pytest.mark.parametrize(
    ("answer", "gold", "same"),
    [
        ("25 m^2", "25 m\u00b2", True),
        ("Lego\u2122", "Lego", True),
        ("Москва\u0301", "Москва", True),
        ("25 300", "25,300", True),
        ("25\u202f300", "25300", True),
        ("P & O", "P&O", True),
        ("7 %", "7%", True),
        ("7 $", "$7", True),
        ("B-", "B", False),
        ("AB+", "AB-", False),
        ("Blood type A-", "Blood type A", False),
        ("Blood type A\u2212.", "blood type A-", True),
        ("O+", "O", False),
        ("BBB-", "BBB", False),
        ("C\u266f", "C", False),
        ("C\u266f minor", "C# minor", True),
        ("B\u266d", "B", False),
        ("E\u266d major", "Eb major", True),
        ("ΟΔΟΣ", "οδός", True),
        ("ΟΔΟΣ", "οδος", True),
        ("ΑΘΗΝΑ", "Αθήνα", True),
        ("ΜΑΪΟΣ", "Μάιος", True),
        ("Ὁδός", "οδός", True),
        ("Αθήνα", "Αθηνών", False),
        ("café", "cafe", False),
        ("1. FC Köln", "FC Köln", False),
        ("2. Bundesliga", "Bundesliga", False),
        ("\u00a37", "$7", False),
        ("7%", "7", False),
    ],
)
def test_answers_that_differ_in_writing_alone_are_the_same(answer: str, gold: str, same: bool) -> None:
    assert exact_match(answer, [gold]) == same
