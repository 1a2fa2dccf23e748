"""Values worked out by hand; the rules are those of the SQuAD and HotpotQA scripts."""

from __future__ import annotations

import pytest

from ragscale.measure.metrics import exact_match, f1, gold_recall, retrieved
from ragscale.text import normalise_answer
from ragscale.types import Event


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
    assert normalise_answer(text) == expected


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
def test_scores(answer: str, gold: list[str], em: float, expected_f1: float) -> None:
    assert exact_match(answer, gold) == em
    assert f1(answer, gold) == pytest.approx(expected_f1)


def test_gold_recall_counts_what_any_branch_retrieved_and_nothing_else() -> None:
    trace = [
        Event("retrieve", "", passages=["a", "b"]),
        Event("retrieve", "1.0", passages=["b", "c"]),
        Event("answer", "", passages=["a", "shown but never retrieved"]),
    ]
    assert retrieved(trace) == ["a", "b", "c"]
    assert gold_recall(["a", "c"], trace) == 1.0
    assert gold_recall(["a", "shown but never retrieved"], trace) == 0.5
    assert gold_recall(["x", "y", "c"], trace) == pytest.approx(1 / 3)
    assert gold_recall(["a"], []) == 0.0
    assert gold_recall([], trace) is None
