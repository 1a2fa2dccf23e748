"""A passage together with where it stands, so that errors can point at it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ragscale.errors import CorpusError
from ragscale.types import Passage

__all__ = ["Place", "Record", "passage_of"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a passage was read."""

    file: Path
    unit: Literal["line", "row", "chunk"]
    """What `number` counts: lines of a jsonl file, rows of a parquet file, chunks of a text file."""
    number: int
    """Lines and rows count from 1, chunks from 0 as in their ids."""

    def __str__(self) -> str:
        return f"{self.file}, {self.unit} {self.number}"


@dataclass(frozen=True, slots=True)
class Record:
    """What a reader yields."""

    passage: Passage
    place: Place


def passage_of(row: Any, place: Place) -> Passage:
    """Check one row of a jsonl or parquet file.

    Args:
        row: Should map ``id`` (text or whole number), ``text`` and maybe ``title``; other keys are ignored.
        place: Where the row stands, for the message.

    Raises:
        CorpusError: The row is no mapping, lacks an id or a text, or holds something that is not text.
    """
    if not isinstance(row, dict):
        raise CorpusError(
            f"{place}: a JSON {type(row).__name__}, not an object",
            'Write each row as {"id": ..., "title": ..., "text": ...}.',
        )
    identity = row.get("id")
    if isinstance(identity, int) and not isinstance(identity, bool):
        identity = str(identity)
    if not isinstance(identity, str) or not identity.strip():
        raise CorpusError(f"{place}: no id ({identity!r})", "Give every row an id: a non-empty text or a whole number.")
    text = row.get("text")
    if not isinstance(text, str) or not text.strip():
        raise CorpusError(
            f"{place}: the row with id {identity!r} has no text ({_shown(text)})", "Fill in `text` or remove the row."
        )
    title = row.get("title")
    if title is None:
        title = ""
    if not isinstance(title, str):
        raise CorpusError(f"{place}: the title of {identity!r} is not text ({_shown(title)})", "Make it a string.")
    for name, value in (("id", identity), ("title", title), ("text", text)):
        _refuse_surrogates(name, value, place)
    return Passage(identity, title, text)


def _refuse_surrogates(name: str, value: str, place: Place) -> None:
    """JSON can escape half a character (``\\ud83d``), which no UTF-8 file can store."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise CorpusError(
            f"{place}: `{name}` holds half a surrogate pair ({value[error.start]!r}) at character {error.start}",
            "Remove it, or write the whole character.",
        ) from None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
