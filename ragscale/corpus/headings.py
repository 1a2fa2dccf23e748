"""Headings of Markdown texts, found by markdown-it as CommonMark has it: none in code, underlined ones too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from ragscale.corpus.record import TITLE_LIMIT

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

__all__ = ["Heading", "headings", "sections"]

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n.*?\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading outside of lists and quotations."""

    level: int
    """1 to 6."""
    text: str
    """As it is written, marks of emphasis and links included."""
    start: int
    """Its first line, from 0."""
    stop: int
    """The line behind it."""


def headings(text: str) -> list[Heading]:
    """All headings of a text, in order; what lies between ``---`` lines at its top (front matter) holds none."""
    matter = _FRONT_MATTER.match(text)
    if matter:
        text = "\n" * matter.group().count("\n") + text[matter.end() :]
    tokens = _parser().parse(text)
    return [
        Heading(int(token.tag[1:]), " ".join(tokens[at + 1].content.split()), *token.map)
        for at, token in enumerate(tokens)
        if token.type == "heading_open" and token.level == 0 and token.map
    ]


def sections(text: str) -> Iterator[tuple[str, str]]:
    """Pairs of heading path (``Guide > Install``) and text of each section of a text whose lines end in ``\\n``.

    The part before the first heading has an empty path.

    A heading's own line is left to the path. A section without text is passed over where a section below it has its
    heading in its path; any other one has its heading as text. Of a heading beyond `TITLE_LIMIT`, a path
    has so much that it is beyond it too.
    """
    rows = re.split(r"(?<=\n)", text)
    found = headings(text)
    yield "", "".join(rows[: found[0].start if found else None])
    path: list[Heading] = []
    for at, heading in enumerate(found):
        after = found[at + 1] if at + 1 < len(found) else None
        path = [*(above for above in path if above.level < heading.level), heading]
        body = "".join(rows[heading.stop : after.start if after else None])
        if not body.strip() and not (after and after.level > heading.level):
            body = heading.text
        yield " > ".join(part.text[: TITLE_LIMIT + 1] for part in path if part.text), body


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark")
    parser.core.ruler.disable(["inline", "text_join"], ignoreInvalid=True)  # blocks alone: twice as fast
    return parser
