"""Headings and tables of Markdown texts, found by markdown-it: none in code, underlined headings too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from ragscale.corpus.record import TITLE_LIMIT

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

__all__ = ["Heading", "headings", "outline", "sections", "stated_title", "unmarked"]

_ANY = re.compile(r"^ {0,3}#|^ {0,3}(?:=+|-+)[ \t]*$|\|", re.MULTILINE)  # of any other text there is nothing to find
_CODE = re.compile(r"(?<!`)(`++) ?(.+?) ?(?<!`)\1(?!`)")
_MARKS = re.compile(
    r"""!?\[(?P<link>[^\[\]]*)\]\((?:[^()\s]|\([^()\s]*\))*(?:\s[^()]*)?\)
      | (?P<stars>\*\*\*?)(?=[^\s*])(?P<strong>[^*]+)(?<=\S)(?P=stars)(?!\*)
      | (?<![*\w])\*(?=[^\s*])(?P<weak>[^*]+)(?<=\S)\*(?![*\w])
      | </?(?:a|b|i|u|em|strong|code|img|br|sub|sup|span|kbd)\b[^<>]*>
      | [ \t]*\{\#[\w.:-]+\}\Z""",
    re.IGNORECASE | re.VERBOSE,
)
"""A link or picture, emphasis, tags, the id that some give a heading."""
_FRONT_MATTER = re.compile(r"\A(?:---[ \t]*\n.*?\n(?:---|\.\.\.)|\+\+\+[ \t]*\n.*?\n\+\+\+)[ \t]*(?:\n|\Z)", re.DOTALL)
_TITLE = re.compile(
    r"^title[ \t]*[:=][ \t]*(?![>|])(?:\"(?P<double>.*)\"|'(?P<single>.*)'|(?P<bare>\S.*))[ \t]*$", re.MULTILINE
)


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


def stated_title(text: str) -> str:
    """The title in the front matter of a text; empty where there is none."""
    matter = _FRONT_MATTER.match(text)
    found = _TITLE.search(matter.group()) if matter else None
    return (found["double"] or found["single"] or found["bare"] or "").strip() if found else ""


def unmarked(heading: str) -> str:
    """The words of a heading without marks: of ``**Use** of [pip](url)``, ``Use of pip``."""
    pieces = _CODE.split(heading)  # text, then marks and text of code, and so on
    for at in range(0, len(pieces), 3):
        for _ in range(2):  # a picture or bold text in a link
            pieces[at] = _MARKS.sub(lambda found: found["link"] or found["strong"] or found["weak"] or "", pieces[at])
    del pieces[1::3]
    return " ".join("".join(pieces).split()) or heading


def headings(text: str) -> list[Heading]:
    """All headings of a text, in order; front matter, between ``---`` or ``+++`` lines at its top, holds none."""
    return outline(text)[0]


@lru_cache(maxsize=1)  # for its title, then for its chunks
def outline(text: str) -> tuple[list[Heading], list[tuple[int, int]]]:
    """All headings of a text, and of each table its first line and the line behind it, from 0.

    Headings in lists and quotations are left out, tables are not.
    """
    if not _ANY.search(text):
        return [], []
    matter = _FRONT_MATTER.match(text)
    if matter:
        text = "\n" * matter.group().count("\n") + text[matter.end() :]
    tokens = _parser().parse(text)
    placed = [(at, token, token.map) for at, token in enumerate(tokens) if token.map]
    found = [
        Heading(int(token.tag[1:]), " ".join(tokens[at + 1].content.split()), *lines)
        for at, token, lines in placed
        if token.type == "heading_open" and token.level == 0
    ]
    return found, [(lines[0], lines[1]) for _, token, lines in placed if token.type == "table_open"]


def sections(text: str) -> Iterator[tuple[str, str]]:
    """Pairs of heading path (``Guide > Install``) and text of each section of a text whose lines end in ``\\n``.

    The part before the first heading has an empty path.

    A heading's own line is left to the path. A section without text is passed over where a section below it has its
    heading in its path, without marks (`unmarked`); the heading of any other one stands before the text of the next,
    at the end behind that of the last. Of a heading beyond `TITLE_LIMIT`, a path has so much that it is beyond it too.
    """
    rows = re.split(r"(?<=\n)", text)
    found = headings(text)
    path: list[Heading] = []
    last = "", "".join(rows[: found[0].start if found else None])
    alone = ""  # headings that no text belongs to
    for at, heading in enumerate(found):
        after = found[at + 1] if at + 1 < len(found) else None
        path = [*(above for above in path if above.level < heading.level), heading]
        body = "".join(rows[heading.stop : after.start if after else None])
        if not body.strip():
            if not (after and after.level > heading.level):
                alone += f"{'#' * heading.level} {heading.text}\n\n"
            continue
        yield last
        last, alone = (
            (
                " > ".join(unmarked(part.text[: 2 * TITLE_LIMIT]) for part in path if part.text),
                alone + (body.lstrip() if alone else body),
            ),
            "",
        )
    yield last[0], f"{last[1].rstrip()}\n\n{alone}" if alone else last[1]


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").enable("table")
    parser.core.ruler.disable(["inline", "text_join"], ignoreInvalid=True)  # blocks alone: twice as fast
    return parser
