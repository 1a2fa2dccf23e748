"""Documents: what their readers yield, the readers of plain text and Markdown, and how parts become passages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ragscale.corpus.chunks import Cutter
from ragscale.corpus.encoding import marked, refuse_nul
from ragscale.corpus.headings import headings, stated_title, unmarked
from ragscale.corpus.lines import Line, blocks, reading_from, whole
from ragscale.corpus.metadata import FieldTypes
from ragscale.corpus.problems import Problems
from ragscale.corpus.record import TITLE_LIMIT, Place, Record, shortened, whole_text
from ragscale.corpus.source import Source
from ragscale.errors import BadDocument
from ragscale.types import Passage, Scalar

__all__ = [
    "DOCUMENT_LIMIT",
    "LONG_TITLES",
    "Part",
    "document_records",
    "markdown_part",
    "markdown_parts",
    "refuse_lines",
    "text_parts",
    "utf8",
]

LINES_LIMIT = 1_000_000
"""Most lines in a Markdown text: its parser takes a kilobyte for each."""
LONG_TITLES = f"ends of titles over {TITLE_LIMIT:,} characters"
DOCUMENT_LIMIT = 64 << 20
"""Most bytes in a document that is taken apart as a whole: md, html, and of docx its XML, unpacked."""
_NEWLINES = re.compile(r"\r\n?")


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a document that no chunk crosses."""

    title: str
    """Title of the document."""
    text: str
    """Lines end in ``\\n``."""
    markdown: bool = False
    """Whether the text is Markdown."""
    metadata: dict[str, Scalar] = field(default_factory=dict)


def document_records(
    source: Source, parts: Iterable[Part], cutter: Cutter, fields: FieldTypes, problems: Problems
) -> Iterator[Record]:
    """Chunks of a document; ids are ``name#n``, n from 0. The end of a title beyond `TITLE_LIMIT` is left out.

    Raises:
        BadDocument: Nothing in it but white space, or metadata that does not fit with other documents'.
    """
    number, long = 0, False
    for part in parts:
        title = shortened(part.title)
        for heading, text in cutter.cut(part.text, title, markdown=part.markdown):
            place = Place(source.place, "chunk", number)
            metadata: dict[str, Scalar] = {"path": source.name, **part.metadata}
            if heading:
                metadata["heading"] = shortened(heading)
            kept = fields.fitted(metadata, place, problems)
            named = shortened(heading) or title
            yield Record(Passage(f"{source.name}#{number}", named, text, source.name, kept), place)
            number += 1
            long |= named != (heading or part.title)
    if long:
        problems.leave_out(LONG_TITLES)
    if not number:
        raise BadDocument(source.place, "no text in it", "Fill the file or remove it.")


def text_parts(source: Source) -> Iterator[Part]:
    """A text file in blocks, after a pass over it that finds invalid bytes before the first passage is made.

    Raises:
        BadDocument: Invalid UTF-8, with line and byte offset.
    """
    with reading_from(source) as stream:
        for block in blocks(stream):
            utf8(block, source)
    with reading_from(source) as stream:
        for block in blocks(stream):
            yield Part(source.stem, utf8(block, source))


def markdown_parts(source: Source) -> Iterator[Part]:
    """A Markdown file, titled by its front matter, else by its first heading.

    Raises:
        BadDocument: Invalid UTF-8, or too large.
    """
    data = whole(source, DOCUMENT_LIMIT)
    _, start = marked(data)
    text = utf8(Line(1, start, data[start:]), source)
    yield markdown_part(source, text, stated_title(text))


def markdown_part(source: Source, text: str, title: str = "") -> Part:
    """A whole document as Markdown, titled as said, else by its first heading, else by its name.

    Raises:
        BadDocument: Text that UTF-8 cannot hold, or of too many lines.
    """
    text = whole_text(_NEWLINES.sub("\n", text), "text", source.place)
    refuse_lines(text, source.place)
    title = " ".join(whole_text(title, "title", source.place).split())
    if not title:
        title = next((unmarked(h.text[: 2 * TITLE_LIMIT]) for h in headings(text) if h.text), source.stem)
    return Part(title, text, markdown=True)


def refuse_lines(text: str, place: object) -> None:
    """Raise a `BadDocument` where a Markdown text has more than `LINES_LIMIT` lines."""
    lines = text.count("\n")
    if lines > LINES_LIMIT:
        reason = f"{lines:,} lines of Markdown, the limit is {LINES_LIMIT:,}"
        raise BadDocument(place, reason, "Split it into several files, or make it a text file.")


def utf8(block: Line, source: Source) -> str:
    """The text of a block of lines, their ends made ``\\n``.

    Raises:
        BadDocument: Invalid UTF-8, or a NUL; names the line.
    """
    line, nul = block.number, block.data.find(b"\0")
    if nul >= 0:
        line += block.data.count(b"\n", 0, nul)
        refuse_nul(block.data, f"{source.place}, line {line}", block.offset)
    try:
        return _NEWLINES.sub("\n", block.data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line += block.data.count(b"\n", 0, error.start)
    return block.decode(f"{source.place}, line {line}")
