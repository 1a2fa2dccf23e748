"""The splitters of langchain-text-splitters that we use, and one of whole sentences; imported at the first use.

Of Markdown, no heading is parted from the text below it, and each chunk of a table begins with the table's header.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from langchain_text_splitters import MarkdownTextSplitter, RecursiveCharacterTextSplitter
from langchain_text_splitters.base import TextSplitter
from syntok import segmenter

from ragscale.corpus.headings import outline

__all__ = ["sentences", "split", "split_sentences"]

_BOUND = "\0"
"""Stands for line ends at which nothing may be cut: no text has it."""
_RULE = re.compile(r" {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}\n?")
_MARGIN = re.compile(r"(?:\s|>|[-*+] |\d{1,9}[.)] )*(?=\S)")
"""Marks of quotations and items before a row."""
_LEAD = re.compile(r"[^\W_]|[*_(\"\u00ab\u201c\u300c]")
_SENTENCE_END = re.compile(r"[.!?;,:\u2026\u0964\u06d4\u061f\u3002\uff01\uff1f][)\"'*_\u00bb\u201d\u300d]*\Z")
_OTHER_END = re.compile(
    r"[\u3002\uff01\uff1f\uff61]+(?![\u3002\uff01\uff1f\uff61\u201d\u2019\u300d\u300f\uff09)\"'])\s*"
    r"|[\u0964\u0965\u06d4\u061f\u0589\u1362\u104b\u17d4]+\s+"
)
"""Ends of sentences that syntok does not know: no space is behind them, or they are of other scripts."""
_LEAD_LENGTH = 80
"""Most characters of a line that looks like a heading."""
_PIPE = re.compile(r"(?<!\\)\|")

Length = Callable[[str], int]


def split(text: str, size: int, overlap: int, *, markdown: bool = False, length: Length = len) -> list[str]:
    """Chunks of at most `size`, cut at the coarsest border that fits: headings and blocks of Markdown, paragraphs,
    lines, words, characters.

    Args:
        text: What is cut.
        size: Most of what `length` counts.
        overlap: Most that neighbours share; the rows of a table share nothing but the header.
        markdown: Whether to cut at the borders of Markdown first.
        length: Counts.
    """
    kind = MarkdownTextSplitter if markdown else RecursiveCharacterTextSplitter
    counted = length if length is len else lambda part: length(part.replace(_BOUND, "\n"))
    prose = kind(chunk_size=size, chunk_overlap=overlap, length_function=counted).split_text
    return _Structured(text, size, length, prose).chunks() if markdown else prose(text)


def split_sentences(text: str, size: int, overlap: int, *, markdown: bool = False) -> list[str]:
    """Chunks of whole sentences, at most `size` characters; a longer sentence is cut between words."""
    prose = _Sentences(chunk_size=size, chunk_overlap=overlap).split_text
    return _Structured(text, size, len, prose).chunks() if markdown else prose(text)


def sentences(text: str) -> list[str]:
    """Sentences with the white space behind them: joined, they are the text."""
    lines = text.replace(_BOUND, "\n")
    starts = [found[0].offset for paragraph in segmenter.analyze(lines) for found in paragraph if found]
    others = [found.end() for found in _OTHER_END.finditer(lines) if found.end() < len(text)]
    borders = [0, *(at for at in sorted({*starts[1:], *others}) if not _inside(text, at)), len(text)]
    return [text[start:stop] for start, stop in pairwise(borders)]


def _inside(text: str, at: int) -> bool:
    """Whether a place lies in a line that ends in `_BOUND`, right behind one, or in the last row of a table."""
    begun = max(text.rfind(_BOUND, 0, at), text.rfind("\n", 0, at))
    ends = min((found for found in (text.find(_BOUND, at), text.find("\n", at)) if found >= 0), default=-1)
    before = text[begun + 1 : at].strip()
    bound = begun >= 0 and text[begun] == _BOUND and (not before or before.startswith("|"))
    return bound or (ends >= 0 and text[ends] == _BOUND)


class _Sentences(TextSplitter):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._words = RecursiveCharacterTextSplitter(
            chunk_size=self._chunk_size, chunk_overlap=0, strip_whitespace=False
        )

    def split_text(self, text: str) -> list[str]:
        pieces = [piece for sentence in sentences(text) for piece in self._pieces(sentence)]
        return self._merge_splits(pieces, "")

    def _pieces(self, sentence: str) -> list[str]:
        return [sentence] if len(sentence) <= self._chunk_size else self._words.split_text(sentence)


class _Structured:
    """A Markdown text in its chunks.

    Args:
        text: The text.
        size: Most of what `length` counts in a chunk.
        length: Counts.
        prose: Cuts what is no table, never at `_BOUND`.
    """

    def __init__(self, text: str, size: int, length: Length, prose: Callable[[str], list[str]]) -> None:
        self._lines = re.split(r"(?<=\n)", text)
        self._size = size
        self._length = length
        self._prose = prose
        self._bound: set[int] = set()
        """Lines whose ends are no borders."""

    def chunks(self) -> list[str]:
        """The chunks, none of them blank."""
        headings, tables = outline("".join(self._lines))
        starts = {heading.stop: heading.start for heading in headings}
        for at in self._leads({heading.start for heading in headings}):
            starts.setdefault(at + 1, at)
            self._bound.update(range(at, self._filled(at + 1)))
        if not starts and not tables:
            return self._cut(0, len(self._lines))
        for heading in headings:
            body = self._filled(heading.stop)
            while body < len(self._lines) and _RULE.fullmatch(self._lines[body]):
                body = self._filled(body + 1)
            opens = body < len(self._lines) and self._lines[body].lstrip().startswith(("```", "~~~"))
            self._bound.update(range(heading.start, body + opens))  # the line end of a fence is a border, too
        cut: list[str] = []
        begun = 0
        for number, (start, stop) in enumerate(tables):
            above = self._above(start, starts)
            if self._length("".join(self._lines[above:stop])) <= self._size:
                self._bound.update(range(above, stop - 1))
                continue
            cut += self._cut(begun, above)
            below = "".join(self._lines[stop:]).strip() if number == len(tables) - 1 and headings else ""
            alone = all(at in self._bound or not line.strip() for at, line in enumerate(self._lines[stop:], stop))
            lines = [_MARGIN.sub("", line.strip(), count=1) for line in self._lines[start:stop]]
            cut += self._rows("".join(self._lines[above:start]).strip(), lines, below if alone else "")
            begun = len(self._lines) if alone else stop
        return cut + self._cut(begun, len(self._lines))

    def _leads(self, headings: set[int]) -> Iterator[int]:
        """Lines that look like headings of what is below: short, alone between blank ones, without a full stop."""
        used = -1
        for at, line in enumerate(self._lines[:-1]):
            alone = not self._lines[at + 1].strip() and (at == 0 or not self._lines[at - 1].strip())
            text = line.strip()
            if not text or not alone or at == used or len(text) > _LEAD_LENGTH or not _LEAD.match(line):
                continue
            below = self._filled(at + 1)
            if not _SENTENCE_END.search(text) and below < len(self._lines) and below not in headings:
                used = below
                yield at

    def _filled(self, at: int) -> int:
        """The first line from `at` on that is not blank; the end of the text where all are."""
        while at < len(self._lines) and not self._lines[at].strip():
            at += 1
        return at

    def _above(self, start: int, starts: dict[int, int]) -> int:
        """The first of the headings right above a line; the line itself where there is none."""
        at = start
        while at > 0 and (at in starts or not self._lines[at - 1].strip()):
            if at in starts:
                at = start = starts[at]
            else:
                at -= 1
        return start

    def _cut(self, start: int, stop: int) -> list[str]:
        last = stop - 1
        while last > start and not self._lines[last].strip():
            last -= 1
        if last in self._bound and last > start:  # a heading at the end stays with the text above it
            while last > start and (last in self._bound or not self._lines[last].strip()):
                last -= 1
            self._bound.update(range(last, stop))
        text = "".join(
            line.rstrip() + _BOUND if at in self._bound else line
            for at, line in enumerate(self._lines[start:stop], start)
        )
        found = (chunk.replace(_BOUND, "\n").strip() for chunk in self._prose(text))
        return [chunk for chunk in found if chunk and not _RULE.fullmatch(chunk)]

    def _rows(self, above: str, table: list[str], below: str) -> Iterator[str]:
        """A table in chunks of rows, each below the header; with the headings above it, and those at the end below."""
        names = _cells(table[0])
        header = "\n".join(table[:2]) if any(names) else ""
        if above and self._length(above) > self._size // 4:
            yield from self._prose(above)
            above = ""
        rows = table[2:]
        if self._length(header) > self._size // 2:  # too many columns to repeat
            if max(map(self._length, names)) > self._size // 4:  # and no names of columns, but sentences
                rows = [table[0], *rows]
            else:
                rows = [line for row in rows for line in self._named(names, _cells(row))]
            header = ""
        start = "\n\n".join(filter(None, (above, header)))
        held, used = [start] if start else [], self._length(start)
        for row in rows:
            more = self._length(row)
            if used + more + len(held) > self._size and len(held) > bool(start):
                yield "\n".join(held)
                start = header
                held, used = [start] if start else [], self._length(start)
            if used + more + len(held) > self._size:
                for piece in self._words(row, self._size - used - len(held)):
                    yield "\n".join([*held, piece])
                    held, used = [header] if header else [], self._length(header)
                start = header
            else:
                held.append(row)
                used += more
        if below and used + self._length(below) + len(held) + 1 > self._size and len(held) > 1 + bool(start):
            yield "\n".join(held[:-1])
            held = [*filter(None, [header]), held[-1]]
        if below:
            held.append(f"\n{below}")
        if len(held) > bool(start):
            yield "\n".join(held)

    def _named(self, names: list[str], cells: list[str]) -> Iterator[str]:
        """A row as pairs of column and value, in lines that fit; each begins with the first cell of the row."""
        pairs = [f"{name}: {cell}" if name else cell for name, cell in zip(names, cells, strict=False) if cell]
        line = pairs[0] if pairs else ""
        for pair in pairs[1:]:
            if self._length(f"{line}; {pair}") > self._size and line != pairs[0]:
                yield line
                line = pairs[0]
            line = f"{line}; {pair}"
        if line:
            yield line

    def _words(self, row: str, size: int) -> list[str]:
        cutter = RecursiveCharacterTextSplitter(chunk_size=max(size, 1), chunk_overlap=0, length_function=self._length)
        return cutter.split_text(row)


def _cells(row: str) -> list[str]:
    inner = row.strip().removeprefix("|")
    inner = inner[:-1] if inner.endswith("|") and not inner.endswith("\\|") else inner
    return [cell.strip() for cell in _PIPE.split(inner)]
