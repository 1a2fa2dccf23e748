"""Rows of published sets whose answers lie deeper than a column, in the fields of ragscale's own questions.

QAMPARI, FanOutQA, ASQA, AmbigNQ, GrailQA, WebQSP, IIRC, Mintaka and DROP, as their authors write them and as Hugging
Face has them; and sets that are no questions with gold answers, which are refused with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ragscale.errors import InvalidInput
from ragscale.measure.shapes import QuestionColumns, texts_of

__all__ = ["plain"]

Row = Mapping[str, Any]
Fields = dict[str, Any]


def plain(row: Row, columns: QuestionColumns) -> Row | None:
    """A row with `answers` and what else its set tells, for `ragscale.measure.shapes`; another set's row as it is.

    Args:
        row: Of a file.
        columns: Where a column of answers is named, that one counts, as does a column `answers`.

    Returns:
        None for a question of these sets to which no answer is written (WebQSP's own script leaves it out, too).

    Raises:
        InvalidInput: The set is no set of questions with gold answers, or an answer is empty.
    """
    for keys, field, problem, remedy in _REFUSED:
        if row.keys() >= keys and getattr(columns, field) is None:
            raise InvalidInput(problem, remedy)
    read = next((read for keys, read in _SETS if row.keys() >= keys), None)
    if read is None or columns.answers is not None or "answers" in row:
        return row
    try:
        found = read(row)
    except (AttributeError, KeyError, TypeError, ValueError):
        return row  # not what it looked like: refused or read by its columns
    return None if found is None else {**row, **found}


_NO_ANSWER = "Write the answer, or, for a question without one, a row of ragscale's own with answers = []."


def _any(*names: Any) -> Fields:
    """Answers of which any is right."""
    found = [name for name in names if name or name == 0]
    if not found:
        raise InvalidInput("the answer is empty", _NO_ANSWER)
    return {"answers": found}


def _all(groups: Iterable[Iterable[Any]]) -> Fields:
    """Answers that are wanted all, each with its names; one alone is an answer like any other."""
    found = [names for group in groups if (names := [name for name in group if name or name == 0])]
    if not found:
        raise InvalidInput("the answer is empty", _NO_ANSWER)
    return {"answers": found, "all_answers": len(found) > 1}


def _each(value: Any) -> list[Any]:
    """Objects in a list, which Hugging Face also writes column by column."""
    if isinstance(value, dict):
        return [dict(zip(value, cells, strict=True)) for cells in zip(*value.values(), strict=True)]
    return list(value or [])


def _qampari(row: Row) -> Fields:
    return _all([one["answer_text"], *(one.get("aliases") or [])] for one in row["answer_list"])


def _fanoutqa(row: Row) -> Fields:
    answer = row["answer"]
    if isinstance(answer, dict):
        answer = [f"{name}: {text}" for name, value in answer.items() for text in texts_of(value) or []]
    return _all([one] for one in answer) if isinstance(answer, list) else _any(answer)


def _asqa(row: Row) -> Fields:
    return _any(*(name for one in _each(row["qa_pairs"]) for name in one["short_answers"]))


def _ambignq(row: Row) -> Fields:
    readings = [pair for one in _each(row["annotations"]) for pair in _each(one.get("qaPairs")) or [one]]
    return _any(*(name for one in readings for name in one["answer"]))


def _freebase(answers: Any) -> Fields | None:
    """Names of entities, and values; an entity without a name is a code that nobody says."""
    told = [{key.replace("_", "").lower(): value for key, value in one.items()} for one in _each(answers)]
    names = [one["answerargument"] if one["answertype"] == "Value" else one.get("entityname") for one in told]
    return _all([name] for name in names) if any(names) else None


def _grailqa(row: Row) -> Fields | None:
    found = _freebase(row["answer"])
    return found and {**found, "type": row.get("level") or None}


def _webqsp(row: Row) -> Fields | None:
    return _freebase(next((parse["Answers"] for parse in row["Parses"] if parse["Answers"]), []))


def _iirc(row: Row) -> Fields | None:
    answer, title = row["answer"], row.get("cluster", "main")
    kind, value, unit = (answer.get(name) for name in ("type", "answer_value", "answer_unit"))
    if kind == "bad":
        return None
    if kind == "span":
        found = _all([one["text"]] for one in answer["answer_spans"])
    else:
        found = {"answers": []} if kind == "none" else _any(value, unit and f"{value} {unit}")
    places = [title if one["passage"] == "main" else one["passage"] for one in row["context"]]
    return {**found, "type": kind, "supporting": places}


def _mintaka(row: Row) -> Fields:
    answer = row["answer"]
    told = [one["label"] if isinstance(one, dict) else one for one in answer["answer"] or []]
    names = [one.get("en") if isinstance(one, dict) else one for one in told]
    return _all([name] for name in names) if len(names) > 1 else _any(*names, answer["mention"])


def _drop(row: Row) -> Fields:
    first, *others = [_of_drop(one) for one in (row["answer"], *_each(row.get("validated_answers")))]
    if len(first) > 1:
        return _all([one] for one in first)
    return _any(*(one[0] for one in (first, *others) if len(one) == 1))


def _of_drop(answer: Row) -> list[str]:
    date = " ".join(answer["date"][part] for part in ("day", "month", "year") if answer["date"].get(part))
    return list(answer["spans"]) or [text for text in (str(answer["number"]), date) if text][:1]


_SETS: tuple[tuple[set[str], Callable[[Row], Fields | None]], ...] = (
    ({"question_text", "answer_list"}, _qampari),
    ({"answer", "decomposition", "categories"}, _fanoutqa),
    ({"qa_pairs", "ambiguous_question"}, _asqa),
    ({"question", "annotations"}, _ambignq),
    ({"answer", "s_expression"}, _grailqa),
    ({"RawQuestion", "Parses"}, _webqsp),
    ({"answer", "question_links", "context"}, _iirc),
    ({"answer", "complexityType"}, _mintaka),
    ({"answer", "query_id"}, _drop),
)
"""Columns that tell a set, and how it is read."""

_TURN = (
    "question",
    "a turn of a conversation (QuAC, CoQA), which says `he` of somebody who was named turns before, or in a title",
    "Write each question so that it can be understood alone, and name its column: --columns question=rewritten.",
)
_REFUSED: tuple[tuple[set[str], str, str, str], ...] = (
    ({"followup", "yesno"}, *_TURN),
    ({"turn_ids", "questions"}, *_TURN),
    ({"input_text", "turn_id"}, *_TURN),
    (
        {"response", "documents_sentences"},
        "answers",
        "a row of RAGBench, whose responses a model wrote: there is no gold answer to compare with",
        "To take them as gold all the same, say so: --columns answers=response.",
    ),
)
"""Columns that tell a set, the field that it lacks, and why; naming a column for the field settles it."""
