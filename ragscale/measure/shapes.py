"""Shapes of question files: the rows of each format, and the fields of a question under the names of data sets.

Read as they come: ragscale's own lines, FlashRAG, HotpotQA, 2WikiMultihopQA, MuSiQue, SQuAD, Natural Questions,
TriviaQA, PopQA and PhantomWiki, as lines, as one JSON array, as csv and as parquet.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from ragscale.arguments import named_columns
from ragscale.errors import InvalidInput

__all__ = ["FIELDS", "SHAPE", "QuestionColumns", "answers_of", "identity_of", "rows", "supporting_of"]

SHAPE = (
    'A question is {"id": "...", "question": "...", "answers": ["...", ...], "supporting": ["passage id", ...]}; '
    "where columns have other names, say which is which: --columns question=query,answers=gold."
)
_PARAGRAPHS = "paragraphs"
_SEPARATORS = ",;\t|"
_LISTS = ("data", "questions", "examples")
"""Keys under which an object holds its questions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionColumns:
    """Names of the fields of a question in a file; None for the usual ones, in which the first that is there counts."""

    id: str | None = None
    """Text or a whole number; usually id, _id, qid, question_id. Made of the question where there is none."""
    question: str | None = None
    """Usually question, query, input."""
    answers: str | None = None
    """Usually answers, golden_answers, answer, possible_answers, with those of answer_aliases."""
    supporting: str | None = None
    """Ids of passages or documents, or titles; usually supporting, supporting_facts."""
    type: str | None = None
    hops: str | None = None
    breadth: str | None = None
    cluster: str | None = None
    all_answers: str | None = None
    """Whether all answers are wanted; usually all_answers, all_answers_required."""
    normalisation: str | None = None
    """How answers are compared: ``unicode`` or ``published``."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Columns of an option such as ``question=query,answers=gold``.

        Raises:
            InvalidInput: Not of that form, or an unknown field.
        """
        return cls(**named_columns(text, FIELDS, "field"))

    def value(self, row: Mapping[str, Any], field: str) -> tuple[str, Any]:
        """Name and value of a field in a row; the usual name and None where the row has none.

        Raises:
            InvalidInput: A column that was named is not in the row.
        """
        named: str | None = getattr(self, field)
        if named is not None and named not in row:
            raise InvalidInput(f"no column {named!r}; there are {', '.join(map(repr, row))}", "Name one of these.")
        usual = _USUAL.get(field, (field,))
        name = named or next((name for name in usual if row.get(name) is not None), None)
        name = name or next((name for name in usual if name in row), usual[0])
        return name, row.get(name)


FIELDS = tuple(field.name for field in fields(QuestionColumns))
_USUAL: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "_id", "qid", "question_id"),
    "question": ("question", "query", "input"),
    "answers": ("answers", "golden_answers", "answer", "possible_answers"),
    "supporting": ("supporting", "supporting_facts", _PARAGRAPHS),
    "all_answers": ("all_answers", "all_answers_required"),
}


def rows(path: Path) -> Iterator[tuple[str, Any]]:
    """The rows of a file, each with its place for messages: ``file:3`` is a line, ``file[3]`` a row from 1.

    A .json file is an array, an object that holds one, or SQuAD's; .csv and .tsv have a header; .parquet has columns;
    any other file has a JSON object on each line. A .jsonl file that is one array is read as that.

    Raises:
        InvalidInput: The file is absent, or is not what its name says, with the place.
    """
    kind = path.suffix.lower()
    if kind == ".parquet":
        yield from _parquet(path)
        return
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror})", "Check the path of the questions.") from error
    if kind in (".csv", ".tsv"):
        yield from _csv(path, data)
    elif kind == ".json" or (data.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] == b"[" and _is_array(data)):
        yield from _json(path, data)
    else:
        for number, line in enumerate(data.splitlines(), 1):
            if line.strip():
                yield f"{path}:{number}", _parse(line, f"{path}:{number}")


def _is_array(data: bytes) -> bool:
    """Whether a file is one array: lines may be arrays too, by mistake, and their error names the line."""
    try:
        return all(isinstance(row, dict) for row in json.loads(data.decode("utf-8-sig")))
    except (ValueError, RecursionError, TypeError):
        return False


def _parse(data: bytes, place: str) -> Any:
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{place}: invalid UTF-8 at byte {error.start} of the line", "Convert it to UTF-8."
        ) from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{place}: not JSON ({error})", SHAPE) from error


def _json(path: Path, data: bytes) -> Iterator[tuple[str, Any]]:
    try:
        found = _parse(data, str(path))
    except InvalidInput:
        lines = data.splitlines()
        if len(lines) < 2:
            raise
        for number, line in enumerate(lines, 1):  # lines, under the name of an array
            if line.strip():
                yield f"{path}:{number}", _parse(line, f"{path}:{number}")
        return
    if isinstance(found, dict):
        found = next((found[key] for key in _LISTS if isinstance(found.get(key), list)), [found])
    for number, row in enumerate(_of_squad(found), 1):
        yield f"{path}[{number}]", row


def _of_squad(found: list[Any]) -> Iterator[Any]:
    """The questions of SQuAD's articles and paragraphs; others as they are."""
    for row in found:
        inner = row.get("paragraphs") if isinstance(row, dict) and "question" not in row else None
        if isinstance(inner, list) and all(isinstance(part, dict) and "qas" in part for part in inner):
            cluster = str(row.get("title", ""))
            yield from ({"cluster": cluster, **asked} for part in inner for asked in part["qas"])
        else:
            yield row


def _csv(path: Path, data: bytes) -> Iterator[tuple[str, Any]]:
    """Rows by the names of the header; a cell that is a JSON list or object is read as that, an empty one is absent."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: invalid UTF-8 at byte {error.start}", "Convert it to UTF-8.") from error
    head = text.partition("\n")[0]
    separator = "\t" if path.suffix.lower() == ".tsv" else max(_SEPARATORS, key=head.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    try:
        for row in reader:
            place = f"{path}:{reader.line_num}"
            if None in row or None in row.values():
                told = f"{place}: not as many cells as the header has columns ({len(reader.fieldnames or ())})"
                raise InvalidInput(told, "Quote cells that hold the separator.")
            yield place, {name.strip(): _cell(cell) for name, cell in row.items() if name}
    except csv.Error as error:
        raise InvalidInput(
            f"{path}:{reader.line_num}: {error}", "Quote the cell, or double the quotes in it."
        ) from error


def _cell(text: str) -> Any:
    if text.strip()[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text if text.strip() else None


def _parquet(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}[{number}]", row
    except FileNotFoundError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror})", "Check the path of the questions.") from error
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput(f"{path}: no parquet file ({error})", "Check the file.") from error


def identity_of(value: Any, question: str) -> Any:
    """An id as text: whole numbers are written out; where there is none, a mark of the question's own words."""
    if value is None:
        return hashlib.sha256(question.encode()).hexdigest()[:12]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def answers_of(row: Mapping[str, Any], value: Any) -> list[str] | None:
    """Gold answers of a row: texts and numbers, one or a list, TriviaQA's and SQuAD's objects, and their aliases.

    Args:
        row: The row, for aliases, and for what says that there is no answer.
        value: The value of its column of answers.

    Returns:
        None where it is nothing of the kind. An empty list, ``"is_impossible": true`` (SQuAD 2.0) and ``"answerable":
        false`` (MuSiQue) mean that the question has no answer.
    """
    if row.get("is_impossible") is True or row.get("answerable") is False:
        return []
    if isinstance(value, str) and value.strip()[:1] == "[":  # PopQA's, in a cell
        value = _cell(value)
    found = _flat(value)
    if found is None:
        return None
    aliases = _flat(row.get("answer_aliases") or [])
    return list(dict.fromkeys([*found, *(aliases or [])]))


def _flat(value: Any) -> list[str] | None:
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    if isinstance(value, int | float):
        return [str(value)]
    if isinstance(value, str):
        return [value] if value.strip() else None
    if isinstance(value, dict):  # {"text": [...], "answer_start": [...]}, {"value": ..., "aliases": [...]}
        parts = [_flat(value[key]) for key in ("text", "answer", "value", "aliases") if key in value]
        return None if not parts or None in parts else [text for part in parts for text in part or []]
    if isinstance(value, list):
        lists = [_flat(item) for item in value]
        return None if None in lists else [text for part in lists for text in part or []]
    return None


def supporting_of(name: str, value: Any) -> list[str] | None:
    """Names of gold passages: ids, HotpotQA's ``[title, sentence]`` pairs or columns, MuSiQue's paragraphs.

    Args:
        name: Of the column. Of ``paragraphs`` those count that say so (``is_supporting``).
        value: Its value.

    Returns:
        Each once, in order; None where it is nothing of the kind.
    """
    if isinstance(value, dict) and isinstance(value.get("title"), list):
        value = value["title"]
    if isinstance(value, str | int) and not isinstance(value, bool):
        value = [value]
    if not isinstance(value, list):
        return [] if name == _PARAGRAPHS else None
    found = []
    for item in value:
        if isinstance(item, dict):
            if not item.get("is_supporting", name != _PARAGRAPHS):
                continue
            item = item.get("id", item.get("title"))
        elif isinstance(item, list) and len(item) == 2:
            item = item[0]
        if isinstance(item, bool) or not isinstance(item, str | int) or not str(item).strip():
            return None
        found.append(str(item))
    return list(dict.fromkeys(found))
