"""Question files: one JSON object a line with ``id``, ``question``, ``answers`` and, if known, ``supporting``,
``type``, ``hops``, ``breadth`` and ``cluster``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ragscale.errors import InvalidInput
from ragscale.text import normalise_answer

__all__ = ["LEFT_OUT", "Question", "left_out", "load_questions", "shuffled", "without_texts"]

LEFT_OUT = "(text left out)"
"""Stands for every question, answer and reason of what is published without texts."""

_KINDS: dict[type, str] = {str: "a text", int: "a whole number"}
_SHAPE = 'Each line is {"id": "...", "question": "...", "answers": ["...", ...], "supporting": ["passage id", ...]}.'


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its gold answers."""

    id: str
    """Unique within the file."""
    question: str
    answers: tuple[str, ...]
    """Any of them is right."""
    supporting: tuple[str, ...] = ()
    """Ids of the passages that hold the answer together; empty where they are not known."""
    type: str | None = None
    """Kind, as the data set has it (``"bridge"``); None where it tells none."""
    hops: int | None = None
    """Facts one after another, each of which needs the last; None where it is not known."""
    breadth: int | None = None
    """Independent facts side by side; None where it is not known."""
    cluster: str = ""
    """Source document that the question was made from: questions of one are not independent. Empty where unknown."""


def load_questions(path: str | Path) -> list[Question]:
    """All questions of a file, in order; other keys are ignored, blank lines skipped.

    Raises:
        InvalidInput: The file is absent, empty, not UTF-8, or has a line that is not a question, with file and line.
    """
    file = Path(path)
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise InvalidInput(f"{file}: cannot be read ({error.strerror})", "Check the path of the questions.") from error
    found: dict[str, Question] = {}
    first: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        question = _question(line, f"{file}:{number}")
        if question.id in found:
            raise InvalidInput(
                f"{file}:{number}: id {question.id!r} is that of line {first[question.id]}", "Make ids unique."
            )
        found[question.id], first[question.id] = question, number
    if not found:
        raise InvalidInput(f"{file}: no questions", _SHAPE)
    return list(found.values())


def shuffled(questions: Iterable[Question]) -> list[Question]:
    """The questions in an order that depends on nothing but their ids, so that any first part is a random sample."""
    return sorted(questions, key=lambda question: hashlib.sha256(question.id.encode()).digest())


def left_out(answer: str) -> str:
    """A mark in place of an answer, the same for answers that are the same after normalisation; empty for none.

    Of a mark it is the mark itself.
    """
    if not answer.strip() or answer.startswith(LEFT_OUT):
        return answer.strip()
    return f"{LEFT_OUT} {hashlib.sha256(normalise_answer(answer).encode('utf-8', 'replace')).hexdigest()[:8]}"


def without_texts(question: Question) -> Question:
    """The question without its own words: its answers are left out, and its gold passages are numbered."""
    numbered = tuple(map(str, range(1, len(question.supporting) + 1)))
    return replace(question, question=LEFT_OUT, answers=(LEFT_OUT,), supporting=numbered)


def _question(line: bytes, place: str) -> Question:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{place}: invalid UTF-8 at byte {error.start} of the line", "Convert it to UTF-8."
        ) from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{place}: not JSON ({error})", _SHAPE) from error
    if not isinstance(row, dict):
        raise InvalidInput(f"{place}: a {type(row).__name__}, not an object", _SHAPE)
    for key in ("id", "question"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            raise InvalidInput(f"{place}: {key} is {row.get(key)!r}, not a text", _SHAPE)
    answers = _texts(row.get("answers"), "answers", place)
    if not answers:
        raise InvalidInput(f"{place}: answers is empty", _SHAPE)
    for key, kind in (("type", str), ("hops", int), ("breadth", int), ("cluster", str)):
        if row.get(key) is not None and (not isinstance(row[key], kind) or isinstance(row[key], bool)):
            raise InvalidInput(f"{place}: {key} is {row[key]!r}, not {_KINDS[kind]}", _SHAPE)
    return Question(
        row["id"], row["question"], answers, _texts(row.get("supporting") or [], "supporting", place),
        type=row.get("type"), hops=row.get("hops"), breadth=row.get("breadth"), cluster=row.get("cluster") or "",
    )  # fmt: skip


def _texts(value: Any, key: str, place: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) and text.strip() for text in value):
        raise InvalidInput(f"{place}: {key} is {value!r}, not a list of texts", _SHAPE)
    return tuple(dict.fromkeys(value))
