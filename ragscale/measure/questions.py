"""Questions with gold answers, read from the files of data sets (`ragscale.measure.shapes`) or from one's own."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from ragscale.arguments import flag, listed
from ragscale.corpus.record import Place
from ragscale.errors import InvalidInput
from ragscale.language.answers import NORMALISATIONS, Normalisation, normal_answer
from ragscale.measure.published import plain
from ragscale.measure.shapes import (
    FIELDS,
    SHAPE,
    QuestionColumns,
    identity_of,
    names_of,
    refuse_unread,
    rows,
    supporting_of,
    truth_of,
    whole,
)
from ragscale.paths import expanded

__all__ = [
    "LEFT_OUT",
    "Question",
    "QuestionColumns",
    "compared",
    "left_out",
    "load_questions",
    "shuffled",
    "without_texts",
]

LEFT_OUT = "(text left out)"
"""Stands for every question, answer and reason of what is published without texts."""

_MOST = 1_000_000
"""Hops, or facts side by side: no question has more, and tables of 64-bit numbers must hold it."""
_KINDS: dict[type, str] = {str: "a text", int: "a whole number"}


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its gold answers."""

    id: str
    """Unique within the file."""
    question: str
    answers: tuple[str, ...]
    """Any of them is right; all of them together where `all_answers`. None at all: the question cannot be answered."""
    supporting: tuple[str, ...] = ()
    """Ids of the passages that hold the answer together, or of their documents, or their titles; empty where they are
    not known."""
    type: str | None = None
    """Kind, as the data set has it (``"bridge"``); None where it tells none."""
    hops: int | None = None
    """Facts one after another, each of which needs the last; None where it is not known."""
    breadth: int | None = None
    """Independent facts side by side; None where it is not known."""
    cluster: str = ""
    """Source document that the question was made from: questions of one are not independent. Empty where unknown."""
    all_answers: bool = False
    """Whether all answers are wanted, as in PhantomWiki; scored as sets."""
    normalisation: Normalisation = "unicode"
    """Comparison of answers: by words in any language, or ``"published"``, as HotpotQA's and SQuAD's scripts do."""
    aliases: tuple[tuple[str, ...], ...] = ()
    """Other names of each of the `answers`, in their order, where all are wanted; empty where none has another."""

    def __post_init__(self) -> None:
        for name, remedy in (("answers", None), ("supporting", "Give a list of gold passages.")):
            object.__setattr__(self, name, tuple(listed(name, getattr(self, name), str, remedy=remedy)))
        others = tuple(tuple(listed("aliases", group, str)) for group in listed("aliases", self.aliases))
        object.__setattr__(self, "aliases", others if any(others) else ())
        if self.aliases and (not self.all_answers or len(self.aliases) != len(self.answers)):
            raise InvalidInput("aliases without all_answers, or not of each answer", "Give other names as answers.")
        if self.normalisation not in NORMALISATIONS:
            raise _no_normalisation(self.normalisation)
        flag("all_answers", self.all_answers)
        names = [name for group in self.names for name in group]
        for what, text in (("id", self.id), ("question", self.question), *(("answers", name) for name in names)):
            if not isinstance(text, str) or not text.strip():
                raise InvalidInput(f"{what}: {text!r} is no text", "Write it; a question without an answer has ().")
        for what, text in (("type", "" if self.type is None else self.type), ("cluster", self.cluster)):
            if not isinstance(text, str):
                raise InvalidInput(f"{what}: {text!r} is no text", "Write it, or leave it out.")
        for text in (self.id, self.question, *names, *self.supporting, self.type or "", self.cluster):
            try:
                text.encode("utf-8")
            except UnicodeEncodeError as error:
                half = text[error.start]
                raise InvalidInput(
                    f"{text[:60]!r} holds half a surrogate pair ({half!r})", "Remove it, or write the whole character."
                ) from None
        for name, number in (("hops", self.hops), ("breadth", self.breadth)):
            if number is not None and (type(number) is not int or not 0 <= number <= _MOST):
                raise InvalidInput(
                    f"{name} is {number!r}, not a number from 0 to {_MOST:,}", "Mend it, or leave it out."
                )

    @property
    def names(self) -> list[list[str]]:
        """The answers, each with its other names behind it."""
        others = self.aliases or ((),) * len(self.answers)
        return [[answer, *more] for answer, more in zip(self.answers, others, strict=True)]

    def to_row(self) -> dict[str, Any]:
        """As `load_questions` reads it, from a line of JSON."""
        row = asdict(self)
        return {**row, "answers": self.names} if row.pop("aliases") else row


def load_questions(
    path: str | Path,
    columns: QuestionColumns | Mapping[str, str] | None = None,
    normalisation: Normalisation | None = None,
) -> list[Question]:
    """All questions of a file, in order; other keys are ignored, blank lines skipped.

    Left out are those of published sets to which no answer is written (`ragscale.measure.published`).

    Args:
        path: Lines of JSON, an array (.json), .csv, .tsv or .parquet, in the shape of any data set that
            `ragscale.measure.shapes` names.
        columns: Names of fields that have others there, as in ``{"answers": "gold"}``.
        normalisation: See `Question`; None for what the file says, else ``"published"`` for questions with the ids
            and types of HotpotQA, 2WikiMultihopQA or MuSiQue, whose figures are compared with published ones.

    Raises:
        InvalidInput: The file is absent, empty, not UTF-8, or has a row that is not a question, with file and line.
    """
    file = expanded(path)
    named = columns if isinstance(columns, QuestionColumns) else _columns(columns or {})
    found: dict[str, Question] = {}
    first: dict[str, Place] = {}
    for place, row in rows(file, named):
        try:
            question = _question(row, named)
            if question is None:
                continue
            if normalisation is not None:
                question = replace(question, normalisation=_normalisation(normalisation, question))
        except InvalidInput as error:
            raise InvalidInput(f"{place}: {error.problem}", error.remedy) from None
        if question.id in found:
            before = first[question.id]
            told = f"{place}: id {question.id!r} is that of {before.unit} {before.number}"
            raise InvalidInput(told, "Make ids unique.")
        found[question.id], first[question.id] = question, place
    if not found:
        raise InvalidInput(f"{file}: no questions", SHAPE)
    return list(found.values())


def _columns(given: Mapping[str, str]) -> QuestionColumns:
    try:
        return QuestionColumns(**given)
    except TypeError:
        text = ",".join(f"{name}={column}" for name, column in given.items())
        return QuestionColumns.parse(text)  # which says what is wrong


def shuffled(questions: Iterable[Question]) -> list[Question]:
    """The questions in an order that depends on nothing but their ids, so that any first part is a random sample."""
    return sorted(questions, key=lambda question: hashlib.sha256(question.id.encode()).digest())


def left_out(answer: str) -> str:
    """A mark in place of an answer, the same for answers that are the same after normalisation; empty for none.

    Of a mark it is the mark itself.
    """
    if not answer.strip() or answer.startswith(LEFT_OUT):
        return answer.strip()
    return f"{LEFT_OUT} {hashlib.sha256(normal_answer(answer).encode('utf-8', 'replace')).hexdigest()[:8]}"


def without_texts(question: Question) -> Question:
    """The question without its own words: its answers are left out, and its gold passages are numbered."""
    numbered = tuple(map(str, range(1, len(question.supporting) + 1)))
    answers = (LEFT_OUT,) if question.answers else ()
    return replace(question, question=LEFT_OUT, answers=answers, aliases=(), supporting=numbered)


def _question(found: Any, columns: QuestionColumns) -> Question | None:
    if not isinstance(found, dict):
        raise InvalidInput(f"a {type(found).__name__}, not an object", SHAPE)
    row = plain(found, columns)
    if row is None:
        return None
    given = {field: columns.value(row, field) for field in FIELDS}
    name, question = given["question"]
    if name not in row:
        raise _absent("question", row)
    if isinstance(question, dict):
        question = question.get("text")  # Natural Questions, NarrativeQA
    if not isinstance(question, str) or not question.strip():
        raise InvalidInput(f"{name} is {question!r}, not a text", SHAPE)
    name, identity = given["id"]
    identity = identity_of(identity, question)
    if not isinstance(identity, str) or not identity.strip():
        raise InvalidInput(f"{name} is {identity!r}, not a text", SHAPE)
    name, value = given["answers"]
    refuse_unread(name, value)
    names = names_of(row, value)
    if names is None:
        if name not in row:
            raise _absent("answers", row)
        if value is None or (isinstance(value, str) and not value.strip()):
            raise InvalidInput(f"{name} is empty", _NO_ANSWER)
        raise InvalidInput(f"{name} is {value!r}, not a text, a number or a list of them", SHAPE)
    name, value = given["supporting"]
    refuse_unread(name, value)
    supporting = supporting_of(name, [] if value is None else value)
    if supporting is None:
        raise InvalidInput(f"{name} is {value!r}, not a list of texts", SHAPE)
    known = {field: _known(*given[field], kind) for field, kind in _OTHERS.items()}
    if not known["all_answers"]:
        names = [[text] for group in names for text in group]
    each = {first: tuple(others) for first, *others in names}
    aliases = tuple(each.values()) if any(each.values()) else ()
    question = Question(identity, question, tuple(each), tuple(supporting), **known, aliases=aliases)
    return replace(question, normalisation=_normalisation(given["normalisation"][1], question))


def _absent(field: str, row: Mapping[str, Any]) -> InvalidInput:
    return InvalidInput(f"no column {field!r}; there are {', '.join(map(repr, row))}", SHAPE)


def compared(questions: Iterable[Question]) -> str:
    """Comparison of the answers of some questions, for reports: ``unicode``, or with numbers where it differs."""
    counts = Counter(question.normalisation for question in questions)
    return ", ".join(name if len(counts) == 1 else f"{name} ({count:,})" for name, count in counts.most_common())


_PUBLISHED = (
    (re.compile(r"[0-9a-f]{24}"), {"bridge", "comparison"}),
    (re.compile(r"[0-9a-f]{32}"), {"comparison", "bridge_comparison", "compositional", "inference"}),
    (re.compile(r"[234]hop\d?__\d+(?:_\d+)+"), None),
)
"""Ids of HotpotQA, 2WikiMultihopQA and MuSiQue, and the types that the first two have beside them."""


def _normalisation(given: Any, question: Question) -> Normalisation:
    if given is None:
        known = any(
            form.fullmatch(question.id) and (types is None or question.type in types) for form, types in _PUBLISHED
        )
        return "published" if known else "unicode"
    if given not in NORMALISATIONS:
        raise _no_normalisation(given)
    return cast(Normalisation, given)


def _no_normalisation(given: Any) -> InvalidInput:
    return InvalidInput(f"normalisation is {given!r}", f"Choose {' or '.join(NORMALISATIONS)}, or leave it out.")


_OTHERS: Mapping[str, type] = {"type": str, "hops": int, "breadth": int, "cluster": str, "all_answers": bool}
_NONE: Mapping[type, Any] = {str: ""}
_NO_ANSWER = "For a question without an answer write [], or is_impossible = true; else write its answer."


def _known(name: str, value: Any, kind: type) -> Any:
    """A value of a field that may be absent; one in a csv cell is text at first."""
    if kind is bool:
        return truth_of(name, value) or False
    value = whole(value)
    if value is None:
        return None if name == "type" else _NONE.get(kind)
    if kind is int and isinstance(value, str) and value.isdecimal():
        value = int(value)
    if kind is str and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InvalidInput(f"{name} is {value!r}, not {_KINDS[kind]}", SHAPE)
    return value
