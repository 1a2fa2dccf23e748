"""A passage with its position in its file, so that errors can point at it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ragscale.errors import BadDocument
from ragscale.types import Passage

__all__ = ["TITLE_LIMIT", "Place", "Record", "shortened", "shown", "whole_text"]

TITLE_LIMIT = 1000
"""Most characters in the title of a document, which stands in each of its chunks."""


@dataclass(frozen=True, slots=True)
class Place:
    """Position of a passage in its source file."""

    file: Path
    """A file; for a member of an archive, the archive's path and the member's name joined."""
    unit: Literal["line", "row", "chunk"]
    """Unit of `number`: lines of jsonl and csv files, rows of tables, chunks of a document."""
    number: int
    """Lines and rows count from 1, chunks from 0 as in their ids."""

    def __str__(self) -> str:
        return f"{self.file}, {self.unit} {self.number}"


@dataclass(frozen=True, slots=True)
class Record:
    """A passage and its position, as readers yield them."""

    passage: Passage
    place: Place


def whole_text(text: str, name: str, place: object) -> str:
    """The text itself, once it is known to fit in a UTF-8 file, and to be text.

    JSON and pdf can hold half a character (``\\ud83d``), csv cells read here stand for invalid bytes the same way.

    Raises:
        BadDocument: Half a surrogate pair, a byte that is not UTF-8, or a NUL.
    """
    if "\0" in text:
        reason = f"`{name}` holds a NUL, which is no text, at character {text.index(chr(0))}"
        raise BadDocument(place, reason, "Remove it; where there are many, the file is in UTF-16: convert it to UTF-8.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        if 0xDC80 <= code <= 0xDCFF:  # what `surrogateescape` makes of a byte
            what = f"invalid UTF-8 in `{name}`, byte 0x{code - 0xDC00:02x} at character {error.start}"
            raise BadDocument(place, what, "Convert the file to UTF-8, for instance with iconv.") from None
        raise BadDocument(
            place,
            f"`{name}` holds half a surrogate pair ({text[error.start]!r}) at character {error.start}",
            "Remove it, or write the whole character.",
        ) from None
    return text


def shortened(title: str) -> str:
    """A title of at most `TITLE_LIMIT` characters; a longer one ends in three dots."""
    return title if len(title) <= TITLE_LIMIT else title[: TITLE_LIMIT - 3] + "..."


def shown(value: object) -> str:
    """A value in a message, cut to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
