"""Rows of tables, whatever file they come from: checked, and made passages."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, Self

from ragscale.arguments import named_columns, present_as
from ragscale.corpus.metadata import scalar
from ragscale.corpus.record import Place, shown, whole_text
from ragscale.errors import BadDocument, InvalidInput
from ragscale.types import Passage, Scalar

__all__ = ["Columns", "Row", "passage_of"]

NUMBERED = "#"
_OTHERS: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "_id", "id_", "docid", "doc_id", "docno", "pid", "passage_id", "corpus_id", "uuid"),
    "title": ("title", "wikipedia_title", "headline"),
    "text": ("text", "contents", "content", "page_content", "passage", "passage_text", "body", "article"),
    "document": ("document",),
}
"""Usual names: of BEIR, Pyserini, FlashRAG, TREC, KILT, PhantomWiki, LangChain, LlamaIndex and Haystack."""
_METADATA = ("metadata", "meta")
"""Names of an object whose members count as columns."""
_SHOWN = 20
_NUMBER = "make ids of line numbers by --columns id=#"

Row = tuple[Place, Any]
"""A row and where it stands; in its place a `BadDocument` where it could not even be taken apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Mapping of columns of a table (keys of a JSON object) to the fields of a passage; all others are metadata.

    Except for those named id, title, text or document where another column is that: they are left out. Where none was
    named instead, the first usual name that is there counts, in any case: ``_id``, ``docid``, ``doc_id``, ``pid`` and
    others of ids, ``contents``, ``content``, ``page_content``, ``passage``, ``body`` and others of texts.
    """

    id: str = "id"
    """Text or whole numbers, unique in the corpus. ``"#"`` makes ids of the file's name and the number of the line (of
    the row, where there are no lines): ``file.csv#2`` for the first row below a header."""
    title: str = "title"
    """May be absent."""
    text: str = "text"
    document: str = "document"
    """Id of the document that the passage is a part of; may be absent."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Columns of an option such as ``text=contents,id=#``.

        Raises:
            InvalidInput: Not of that form, an unknown meaning, or the text is named as another one too.
        """
        found = named_columns(text, [field.name for field in fields(cls)], "meaning")
        same = next((name for name, column in found.items() if name != "text" and column == found.get("text")), None)
        if same is not None:
            raise InvalidInput(
                f"columns {text!r}: the text and the {same} are both {found[same]!r}",
                f"Name another column for one of them, or leave out {same}.",
            )
        return cls(**found)

    @property
    def numbered(self) -> bool:
        """Whether ids are made from the numbers of lines or rows."""
        return self.id == NUMBERED

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are not metadata."""
        return (self.id, self.title, self.text, self.document)

    def are_in(self, row: Collection[Any]) -> bool:
        """Whether an object has an id (unless they are numbered) and a text."""
        found = self.among(row)
        return found.text in row and (found.numbered or found.id in row)

    def among(self, present: Collection[Any]) -> Columns:
        """The same, with another usual name for the id or the text where only that one is there."""
        return _among(self, tuple(present))

    def check(self, present: Iterable[str], place: object) -> None:
        """Compare with the header of a table.

        Raises:
            BadDocument: No id, no text, or a column that was named otherwise than by default is missing.
        """
        there = list(present)
        found = self.among(there)
        needed = [found.text] if found.numbered else [found.id, found.text]
        needed += [mine for mine, usual in zip(found.names[1::2], _USUAL.names[1::2], strict=True) if mine != usual]
        missing = [name for name in needed if name not in there]
        if missing:
            raise BadDocument(
                place,
                f"no column {' and no column '.join(map(repr, missing))} (there are: {_listed(there)})",
                "Name the columns id, title and text, or say which they are, as in --columns text=NAME,id=NAME; "
                f"or {_NUMBER}.",
            )


@lru_cache(maxsize=256)
def _among(columns: Columns, present: tuple[Any, ...]) -> Columns:
    found = {}
    for meaning, usual in _OTHERS.items():
        if getattr(columns, meaning) == meaning and meaning not in present:
            found[meaning] = present_as(usual, present) or meaning
    return replace(columns, **found) if found else columns


def _listed(names: list[str]) -> str:
    return ", ".join(map(shown, names[:_SHOWN])) + ", ..." * (len(names) > _SHOWN)


_USUAL = Columns()


def passage_of(row: Any, place: Place, columns: Columns, name: str) -> Passage:
    """Check one row.

    Args:
        row: Should map column names to values, text and id among them.
        place: Where the row stands, for messages and for numbered ids.
        columns: Which column means what.
        name: What numbered ids start with.

    Raises:
        BadDocument: The row is not a mapping, lacks an id or a text, or holds something that cannot be stored.
    """
    if isinstance(row, BadDocument):
        raise row
    if not isinstance(row, dict):
        remedy = 'Write each row as {"id": ..., "title": ..., "text": ...}.'
        raise BadDocument(place, f"a JSON {type(row).__name__}, not an object", remedy)
    columns = columns.among(row)
    identity = f"{name}#{place.number}" if columns.numbered else _identity(row.get(columns.id))
    if not identity:
        reason = f"no {columns.id} ({_value(row, columns.id)})"
        raise BadDocument(place, reason, f"Give every row an id, a non-empty text or a whole number, or {_NUMBER}.")
    text = _joined(row.get(columns.text))
    if not isinstance(text, str) or not text.strip():
        reason = f"the row with id {identity!r} has no {columns.text} ({_value(row, columns.text)})"
        remedy = f"Fill in `{columns.text}` or remove the row; or name the column, as in --columns text=NAME."
        if text is None and isinstance(row.get("question"), str):
            remedy = "It is a question: name the files of the corpus, as in corpora/elements/passages.jsonl."
        raise BadDocument(place, reason, remedy)
    title = row.get(columns.title, _nested(row).get("title"))
    if title is None:
        title = ""
    if isinstance(title, int | float) and not isinstance(title, bool):
        title = str(title)  # 1984
    if not isinstance(title, str):
        raise BadDocument(place, f"the title of {identity!r} is not text ({shown(title)})", "Make it a string.")
    document = row.get(columns.document)
    if document is not None and not _identity(document) and document != "":
        reason = f"the document of {identity!r} is no id ({shown(document)})"
        raise BadDocument(place, reason, "Make it a text or a whole number.")
    for label, value in (("id", identity), ("title", title), ("text", text)):
        whole_text(value, label, place)
    return Passage(
        identity, title, text, whole_text(_identity(document), "document", place), _extras(row, place, columns)
    )


def _value(row: dict[Any, Any], name: str) -> str:
    """A value, or the columns that are there where it is absent."""
    return shown(row[name]) if name in row else f"there are: {_listed([str(key) for key in row])}"


def _joined(text: Any) -> Any:
    """A list of sentences or paragraphs as one text, so one of lists of sentences; any other value as it is."""
    if not isinstance(text, list):
        return text
    parts: list[Any] = [_sentences(part) if isinstance(part, list) else part for part in text]
    if not all(isinstance(part, str) for part in parts):
        return text
    apart = any("\n" in part for part in parts) or any(isinstance(part, list) for part in text)
    return ("\n" if apart else " ").join(filter(None, map(str.strip, parts)))


def _sentences(parts: list[Any]) -> str | None:
    return " ".join(map(str.strip, parts)) if all(isinstance(part, str) for part in parts) else None


def _nested(row: dict[Any, Any]) -> dict[Any, Any]:
    """The members of the objects ``metadata`` and ``meta`` of a row."""
    return {
        name: value for inner in map(row.get, _METADATA) if isinstance(inner, dict) for name, value in inner.items()
    }


def _identity(value: Any) -> str:
    """Empty where the value is not an id."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # pandas writes whole numbers so where one is absent
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value.strip() else ""


def _extras(row: dict[Any, Any], place: Place, columns: Columns) -> dict[str, Scalar]:
    """Metadata of a row: its other columns, and the members of an object named ``metadata`` or ``meta``."""
    reserved = {*columns.names, *_USUAL.names}
    both = {**_nested(row), **row}
    found = {}
    for name, value in both.items():
        if name in reserved or not isinstance(name, str):
            continue
        kept = scalar(value, name, place)
        if kept is not None:
            found[whole_text(name, "name of a field", place)] = kept
    return found
