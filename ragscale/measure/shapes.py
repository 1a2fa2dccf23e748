"""Shapes of question files: the rows of each format, and the fields of a question under the names of data sets.

Read as they come: ragscale's own lines, FlashRAG, HotpotQA, 2WikiMultihopQA, MuSiQue, SQuAD, Natural Questions,
TriviaQA, PopQA, PhantomWiki, MS MARCO, DROP, KILT, HoVer, FEVER, Bamboogle, FRAMES, MultiHop-RAG, SimpleQA, Ragas and
LlamaIndex, as lines, as one JSON array, as pandas writes JSON, as csv and as parquet. Sets whose answers lie deeper
than a column are read by `ragscale.measure.published`.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import math
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from ragscale.arguments import named_columns, present_as
from ragscale.corpus.lines import DAMAGE, reading_from
from ragscale.corpus.record import Place, whole_text
from ragscale.corpus.separated import cells_of, header_of, separator_of
from ragscale.corpus.source import Source
from ragscale.corpus.tables import LINES, json_value, jsonl_rows, rows_of
from ragscale.errors import BadDocument, InvalidInput

__all__ = [
    "FIELDS",
    "SHAPE",
    "QuestionColumns",
    "identity_of",
    "names_of",
    "rows",
    "supporting_of",
    "texts_of",
    "truth_of",
    "whole",
]

SHAPE = (
    'A question is {"id": "...", "question": "...", "answers": ["...", ...], "supporting": ["passage id", ...]}; '
    "where columns have other names, say which is which: --columns question=query,answers=gold."
)
_PARAGRAPHS = "paragraphs"
_STDIN = Path("-")
_WHOLE = re.compile(r"-?[0-9]+\.0")
"""A whole number as pandas writes it in a column that has an empty cell."""
_BOOLEAN = re.compile(r"True|False|true|false|TRUE|FALSE")
_TRUTH = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False, "yes": True, "no": False}
_ENDS = {"[": "]", "{": "}", "(": ")"}
_AS_JSON = 'Write lists as JSON, ["a", "b"], for instance by json.dumps(list(values)).'
_LISTS = ("data", "Data", "questions", "Questions", "examples")
"""Keys under which an object holds its questions."""
_WITHIN = ("paragraphs", "qas", "qa_pairs", "questions")
"""Keys under which an article holds passages, or a passage its questions: SQuAD's, DROP's and IIRC's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionColumns:
    """Names of the fields of a question in a file; None for the usual ones, of which the first that is there counts.

    Usual names are known in any case, and with spaces or hyphens for underscores.
    """

    id: str | None = None
    """Text or a whole number; usually id, _id, qid, question_id, query_id, uid. Made of the question if absent."""
    question: str | None = None
    """Usually question, query, input, prompt, problem, claim, user_input; a text, or an object with one."""
    answers: str | None = None
    """Usually answers, golden_answers, answer, possible_answers and others, with those of answer_aliases."""
    supporting: str | None = None
    """Ids of passages or documents, or titles; usually supporting, supporting_facts, evidence_list."""
    type: str | None = None
    hops: str | None = None
    breadth: str | None = None
    cluster: str | None = None
    all_answers: str | None = None
    """Whether all answers are wanted; usually all_answers, all_answers_required."""
    normalisation: str | None = None
    """Comparison of answers: ``unicode`` or ``published``."""

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
        inner = row.get("metadata")
        if named is None and field in _INNER and isinstance(inner, Mapping) and present_as(usual, row) is None:
            row = inner if present_as(usual, inner) else row
        filled = (name for name, value in row.items() if value is not None)
        name = named or present_as(usual, filled) or present_as(usual, row) or usual[0]
        if field == "all_answers" and name not in row and row.keys() >= _OF_PHANTOM:
            return name, True  # PhantomWiki's own files do not say so
        return name, row.get(name)


_INNER = ("supporting", "type", "hops", "breadth", "cluster")
"""Fields that FlashRAG's files have in ``metadata``."""
FIELDS = tuple(field.name for field in fields(QuestionColumns))
_USUAL: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "_id", "qid", "question_id", "questionid", "query_id", "uid", "task_id", "sample_id"),
    "question": (
        "question", "query", "input", "prompt", "problem", "claim", "user_input", "question_text", "ambiguous_question",
        "rawquestion",
    ),
    "answers": (
        "answers", "golden_answers", "answer", "possible_answers", "answers_spans", "final_answer", "ground_truth",
        "ground_truths", "reference_answer", "expected_answer", "reference", "output", "label", "answertext",
    ),
    "supporting": ("supporting", "supporting_facts", "evidence_list", "necessary_evidence", _PARAGRAPHS),
    "type": ("type", "question_type", "query_type", "complexitytype"),
    "hops": ("hops", "num_hops"),
    "all_answers": ("all_answers", "all_answers_required"),
}  # fmt: skip
_ABSENT = frozenset({"No Answer Present.", "Insufficient information.", "CANNOTANSWER"})
"""Answers by which MS MARCO, MultiHop-RAG and QuAC say that there is none."""
_OF_PHANTOM = {"prolog", "intermediate_answers"}


def rows(path: Path, columns: QuestionColumns) -> Iterator[tuple[Place, Any]]:
    """The rows of a file, each with its place for messages: a line of lines and csv, a row of arrays and parquet.

    A .json file is an array, an object that holds one, or SQuAD's; .csv and .tsv have a header; .parquet has columns;
    any other file has a JSON object on each line. A .jsonl file that is one array is read as that. Lines, arrays and
    cells are those that corpora are read by (`ragscale.corpus`): compressed (``.gz``, ``.bz2``) and in UTF-16, too.
    Parquet is not: questions have lists, which are no metadata of passages. ``-`` is lines on standard input.

    Raises:
        InvalidInput: The file is absent, or is not what its name says, with the place.
    """
    try:
        data = sys.stdin.buffer.read() if path == _STDIN else path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror})", "Check the path of the questions.") from error
    source = Source(path.name, path, len(data), lambda: io.BytesIO(data))  # a pipe can be read once
    name = path.name.lower().removesuffix(".gz").removesuffix(".bz2")
    kind = name[name.rfind(".") :] if "." in name else ""
    try:
        found = _parquet(path, data) if kind == ".parquet" else _texts(source, kind, columns)
        for place, row in found:
            if isinstance(row, BadDocument):
                raise row
            yield place, row
    except BadDocument as error:
        raise InvalidInput(f"{error.place}: {error.reason}", error.remedy or SHAPE) from error
    except DAMAGE as error:
        raise InvalidInput(f"{path}: damaged or unreadable ({error})", "Check the file, or pack it again.") from error


def _texts(source: Source, kind: str, columns: QuestionColumns) -> Iterator[tuple[Place, Any]]:
    if kind in (".csv", ".tsv"):
        return _csv(source, columns)
    value = json_value(source, None) if kind == ".json" else _array(source)
    return jsonl_rows(source) if value is LINES else _values(source, value, columns)


def _array(source: Source) -> Any:
    """The array that a file of lines is; `LINES` where it is none, so that errors name the line."""
    with reading_from(source) as stream:
        begins = stream.read(64).lstrip(b"\xef\xbb\xbf \r\n\t")[:1]
    if begins != b"[":
        return LINES
    try:
        value = json_value(source, None)
    except BadDocument:
        return LINES
    return value if isinstance(value, list) and all(isinstance(row, dict) for row in value) else LINES


def _values(source: Source, found: Any, columns: QuestionColumns) -> Iterator[tuple[Place, Any]]:
    found = _rows(found)
    if isinstance(found, dict):
        found = next((found[key] for key in _LISTS if isinstance(found.get(key), list)), [found])
    elif not isinstance(found, list):
        found = [found]
    asked = (inner for row in found for inner in _asked(row, columns.question))
    for number, row in enumerate(asked, 1):
        yield Place(source.place, "row", number), row


def _rows(found: Any) -> Any:
    """Rows as `rows_of` finds them, also in the passages by id of DROP, and in the splits of ASQA."""
    found = rows_of(found, _is_row)
    if isinstance(found, dict) and not _is_row(found) and all(isinstance(part, dict) for part in found.values()):
        parts = [(key, rows_of(part, _is_row)) for key, part in found.items() if part]
        return [row for key, part in parts for row in (part if isinstance(part, list) else [{"title": key, **part}])]
    return found


def _is_row(names: Iterable[Any]) -> bool:
    return present_as(_USUAL["question"], names) is not None


def _asked(row: Any, column: str | None, cluster: str = "") -> Iterator[Any]:
    """The questions of an article or a passage, whose title is their cluster; any other row as it is."""
    named = {} if not isinstance(row, dict) or column in row or _is_row(row) else row
    inner = next((named[key] for key in _WITHIN if isinstance(named.get(key), list)), None)
    if inner is None or not all(isinstance(part, dict) for part in inner):
        yield {"cluster": cluster, **row} if cluster else row
        return
    for part in inner:
        yield from _asked(part, column, cluster or str(named.get("title", "")))


def _csv(source: Source, columns: QuestionColumns) -> Iterator[tuple[Place, Any]]:
    """Rows by the names of the header; a cell that is a list or an object is read as that, an empty one is absent."""
    asked = (columns.question,) if columns.question else _USUAL["question"]
    separator = separator_of(source, lambda names: present_as(asked, names) is not None)
    _, header = header_of(source, separator, spaced=True)
    whole_numbers, truths = _columns_of((_WHOLE, _BOOLEAN), source, separator, header)
    for place, cells in cells_of(source, separator, header, spaced=True):
        if isinstance(cells, BadDocument):
            raise cells
        named = zip(header, cells, strict=True)
        texts = {name: whole_text(cell, name, place) for name, cell in named if name}
        yield (
            place,
            {
                name: _TRUTH.get(text.strip().lower())
                if name in truths
                else _cell(text.strip().removesuffix(".0") if name in whole_numbers else text)
                for name, text in texts.items()
            },
        )


def _columns_of(forms: Sequence[re.Pattern[str]], source: Source, separator: str, header: list[str]) -> list[set[str]]:
    """For each of some forms that pandas writes, the columns of which each cell is of that form, or empty."""
    found, filled = [set(header) for _ in forms], set[str]()
    for _, cells in cells_of(source, separator, header, spaced=True):
        if not isinstance(cells, BadDocument):
            named = {name: cell.strip() for name, cell in zip(header, cells, strict=True) if cell.strip()}
            filled |= named.keys()
            for form, columns in zip(forms, found, strict=True):
                columns -= {name for name, cell in named.items() if not form.fullmatch(cell)}
    return [columns & filled for columns in found]


def _cell(text: str) -> Any:
    if text.strip()[:1] in _ENDS:
        found = _listed(text)
        return text if found is None else found
    return text if text.strip() else None


def _listed(text: str) -> Any:
    """The list or object that a text is, as JSON or as Python writes it; None where it is neither.

    NumPy's ``['a' 'b']`` is neither: Python would read it as the one text ``ab``.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        tokens = [token.type for token in tokenize.generate_tokens(io.StringIO(text.strip()).readline)]
        beside = pairwise(kind for kind in tokens if kind != tokenize.NL)
        value = None if (tokenize.STRING, tokenize.STRING) in beside else ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError):
        return None
    if isinstance(value, tuple | set):
        return list(value)
    return value if isinstance(value, list | dict) else None


def refuse_unread(name: str, value: Any) -> None:
    """Raise `InvalidInput` where a text looks like a list, and nothing can read it."""
    text = value.strip() if isinstance(value, str) else ""
    listed = text.startswith("array(") or (text[:1] in ("[", "{") and text[-1:] == _ENDS[text[0]])
    if listed and _listed(text) is None:
        raise InvalidInput(f"{name} is {value!r}, a list that is neither JSON nor Python's", _AS_JSON)


def _parquet(path: Path, data: bytes) -> Iterator[tuple[Place, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            number = 0
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield Place(path, "row", number), row
    except (pa.ArrowException, OSError) as error:
        raise BadDocument(path, f"no parquet file ({error})", "Check the file.") from error


def whole(value: Any) -> Any:
    """The whole number that a float is; None for NaN; any other value itself."""
    if isinstance(value, float):
        return None if math.isnan(value) else int(value) if value.is_integer() else value
    return value


def truth_of(name: str, value: Any) -> bool | None:
    """A truth value, in a cell too: true, 1 or yes, false, 0 or no; None where there is none.

    Raises:
        InvalidInput: Anything else.
    """
    value = whole(value)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    found = _TRUTH.get(str(value).strip().lower()) if isinstance(value, bool | int | str) else None
    if found is None:
        raise InvalidInput(f"{name} is {value!r}, not true or false", "Write true or false, or leave it empty.")
    return found


def identity_of(value: Any, question: str) -> Any:
    """An id as text: whole numbers are written out; where there is none, a mark of the question's own words."""
    value = whole(value)
    if value is None:
        return hashlib.sha256(question.encode()).hexdigest()[:12]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def names_of(row: Mapping[str, Any], value: Any) -> list[list[str]] | None:
    """Gold answers of a row, each with all its names: texts and numbers, one or a list, and objects of data sets.

    Args:
        row: The row, for aliases, and for what says that there is no answer.
        value: The value of its column of answers.

    Returns:
        None where it is nothing of the kind. An empty list, ``"is_impossible": true`` (SQuAD 2.0) and ``"answerable":
        false`` (MuSiQue) mean that the question has no answer.

    Raises:
        InvalidInput: ``is_impossible`` or ``answerable`` is no truth value.
    """
    impossible, answerable = (truth_of(name, row.get(name)) for name in ("is_impossible", "answerable"))
    if impossible or answerable is False:
        return []
    if isinstance(value, str) and value.strip()[:1] == "[":  # PopQA's, in a cell
        value = _cell(value)
    texts = texts_of(value)
    if texts is None:
        return None
    if texts and _ABSENT.issuperset(texts):
        return []
    found = [texts_of(one) or [] for one in value] if isinstance(value, list) else [[text] for text in texts]
    found += [[alias] for alias in texts_of(row.get("answer_aliases") or []) or []]
    return [list(dict.fromkeys(names)) for names in found if names]


def texts_of(value: Any) -> list[str] | None:
    """Texts of an answer: a text, a number, an object of SQuAD, TriviaQA or KILT, or a list of these; None else."""
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    value = whole(value)
    if isinstance(value, int | float):
        return [str(value)]
    if isinstance(value, str):
        return [value] if value.strip() else None
    if isinstance(value, date | Decimal):  # of parquet
        return [str(value).removesuffix(" 00:00:00")]
    if isinstance(value, dict):  # {"text": [...], "answer_start": [...]}, {"value": ..., "aliases": [...]}
        named = {name.lower(): inner for name, inner in value.items()}
        parts = [texts_of(named[key]) for key in ("text", "answer", "value", "aliases", "spans") if key in named]
        if not parts and "provenance" in named:
            return []  # KILT's places of an answer
        return None if not parts or None in parts else [text for part in parts for text in part or []]
    if isinstance(value, list):
        lists = [texts_of(item) for item in value]
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
    value = whole(value)
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
        item = whole(item)
        if isinstance(item, bool) or not isinstance(item, str | int) or not str(item).strip():
            return None
        found.append(str(item))
    return list(dict.fromkeys(found))
