"""Scores of an answer by its kind of question: one of several answers, all of them, or none."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from ragscale.language.answers import Normalisation, normal_answer
from ragscale.measure.metrics import exact_match, f1, overlap, retrieved
from ragscale.measure.questions import Question
from ragscale.prompts.parse import in_list
from ragscale.prompts.repeats import normalise
from ragscale.types import Event, Passage

__all__ = ["ABSTENTIONS", "Names", "recall", "score"]

ABSTENTIONS = frozenset(
    map(
        normal_answer,
        (
            "", "no answer", "noanswer", "there is no answer", "unanswerable", "unknown", "I don't know",
            "I do not know", "not enough information", "insufficient information", "no relevant information found",
            "cannot be answered", "none", "n/a",
        ),
    )
)  # fmt: skip
"""Answers that say that there is none, normalised. Only these: a sentence around them is an answer like any other."""

_BETWEEN = re.compile(
    r"(?<![0-9]),|,(?![0-9]{3}(?![0-9]))|[;\n\u3001\uff0c\uff1b\u060c\u061b]|\band\b|&", re.IGNORECASE
)
"""Between two answers; a comma within a number, ``1,000``, is none."""
_MARK = re.compile(r"^\s*(?:\(?([0-9]{1,2})[.)](?![0-9])\s*|[-*\u2022]\s+)(?=\S)")
"""Before an answer of a list: ``1.``, ``(2)``, ``-``; a number is one only beside its neighbour."""


def score(question: Question, answer: str, stop_reason: str) -> tuple[float, float]:
    """Exact match and F1 of an answer.

    A question without gold answers wants one of `ABSTENTIONS`, all or nothing (SQuAD 2.0's rule for its empty answer);
    an empty answer counts where the run ended by itself, not where its budget did. One that wants all answers compares
    sets, as PhantomWiki does: both sides are cut at commas and semicolons of any script, line ends and "and", not
    within a number, and without the numbers of a list (``1.``; ``2. Bundesliga`` alone is a name); exact match is
    equality of the sets, F1 that of their items; of an answer's names those that were said count, and the first where
    none was. Else the best of the gold answers counts; see `ragscale.measure.metrics`.

    Args:
        question: With its gold answers.
        answer: Text of the answer.
        stop_reason: Of the run; a failed one scores 0.
    """
    if stop_reason == "failed":
        return 0.0, 0.0
    if not question.answers:
        nothing = not normalise(answer) or normal_answer(answer) in ABSTENTIONS
        right = nothing and bool(answer.strip() or stop_reason == "answered")
        return float(right), float(right)
    by = question.normalisation
    if question.all_answers:
        said = _items(answer, by, {normal_answer(name, by) for names in question.names for name in names})
        return _of_sets(said, {item for names in question.names for item in _named(names, said, by)})
    return exact_match(answer, question.answers, by), f1(answer, question.answers, by)


def _items(text: str, by: Normalisation, names: Collection[str] = ()) -> set[str]:
    parts = _BETWEEN.split(text)
    numbers = [int(mark[1] or 0) if (mark := _MARK.match(part)) else 0 for part in parts]
    items = set()
    for at, part in enumerate(parts):
        whole = normal_answer(part, by)
        own = whole in names or (numbers[at] and not in_list(numbers, at))  # "2. Bundesliga"
        items.add(whole if own else normal_answer(_MARK.sub("", part), by))
    return items - {""}


def _named(names: Sequence[str], said: set[str], by: Normalisation) -> set[str]:
    found = [_items(name, by) for name in names]
    return set().union(*(items for items in found if items <= said)) or found[0]


def _of_sets(said: set[str], wanted: set[str]) -> tuple[float, float]:
    return float(bool(said) and said == wanted), overlap(len(said & wanted), len(said), len(wanted))


class Names(Protocol):
    """An index, as far as names of passages go."""

    def passage(self, identity: str) -> Passage:
        """The passage of an id."""
        ...

    def __contains__(self, identity: object) -> bool:
        """Whether a passage has this id."""
        ...


def recall(gold: Sequence[str], trace: Iterable[Event], index: Names) -> float | None:
    """Share of the gold passages among everything that the run retrieved; None where no gold passages are known.

    A name that is no passage's id is found by any passage of the document, or with the title, of that name.
    """
    if not gold:
        return None
    ids = retrieved(trace)
    found = set(ids) & set(gold)
    others = {name for name in gold if name not in found and name not in index}
    if others:
        passages = [index.passage(identity) for identity in ids]
        found |= others & {name for passage in passages for name in (passage.document, passage.title)}
    return sum(name in found for name in gold) / len(gold)
