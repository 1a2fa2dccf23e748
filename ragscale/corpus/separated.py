"""Reader of csv and tsv files: a header, then one row a passage; a first pass finds the type of each column."""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Self

from ragscale.corpus.lines import DAMAGE, LINE_LIMIT, Line, lines, reading_from
from ragscale.corpus.metadata import FieldTypes
from ragscale.corpus.record import Place
from ragscale.corpus.rows import Columns, Row
from ragscale.corpus.source import Source
from ragscale.errors import BadDocument
from ragscale.words import counted

__all__ = ["cells_of", "csv_rows", "header_of", "separator_of"]

_INT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"-?(?=\.?[0-9])(?:0|[1-9][0-9]*)?(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?")
_SAID = re.compile(r"\"?sep=(.)\"?\s*")
"""A first line in which spreadsheets say the separator."""
_COLUMNS = 10_000
_REMEDY = "Quote the cell, or double the quotes in it; end lines with a line feed."
_TRUTH = {"true": True, "false": False}


def csv_rows(source: Source, columns: Columns, fields: FieldTypes) -> Iterator[Row]:
    """Rows of a csv or tsv file with a header.

    The separator is the one that a first line such as ``sep=;`` says, else the one of comma, semicolon, tab and bar
    (tab first, where the file is named .tsv) that finds the text column in the header. Spaces around the names of
    columns do not belong to them, those around cells do, but for spaces behind each separator of the header and so of
    the rows. Where tabs separate cells, and quotes make rows bad that are good without them, they are signs of texts,
    as many tools write them. An empty cell is an absent value, a column without a name is
    left out. A metadata column holds truth values, whole numbers or numbers where all its cells do, else text, as where
    `fields` knows it as text; numbers with a sign + or leading zeros, and those that would lose digits or become
    infinite, are text.

    Raises:
        BadDocument: No header with the columns for ids and texts, or one that names a column twice.
    """
    separator = separator_of(source, lambda names: columns.among(names).text in names)
    spaced = _is_spaced(source, separator)
    place, header = header_of(source, separator, spaced=spaced)
    columns.check(header, place)
    columns = columns.among(header)
    rows = partial(cells_of, source, separator, header, spaced=spaced)
    kinds, bad = _kinds(rows(), header, columns)
    if bad and separator == "\t":
        unquoted, worse = _kinds(rows(quoted=False), header, columns)
        if not worse:
            rows, kinds = partial(rows, quoted=False), unquoted
    kinds = {name: "str" if fields.types.get(name) == "large_string" else kind for name, kind in kinds.items()}
    for place, cells in rows():
        if isinstance(cells, BadDocument):
            yield place, cells
        else:
            named = zip(header, cells, strict=True)
            yield place, {name: _value(cell, kinds.get(name, "str")) for name, cell in named if name and cell}


def separator_of(source: Source, wanted: Callable[[Collection[str]], bool]) -> str:
    """The separator that a first line such as ``sep=;`` says, else the first one by which the header is `wanted`."""
    with reading_from(source) as stream:
        filled = (line for line in lines(stream) if not line.whole or line.data.strip(b"\r\n"))
        first = next(filled, Line(1, 0, b""))
    text = first.decode(Place(source.place, "line", first.number))
    said = _SAID.fullmatch(text)
    if said:
        return said[1]
    candidates = "\t,;|" if ".tsv" in source.name.lower() else ",;\t|"
    for mark in candidates:
        with suppress(csv.Error):  # where no separator does, reading the header says what is wrong
            names = _names(next(csv.reader([text], delimiter=mark), []))
            if wanted(names):
                return mark
    return candidates[0]


def header_of(source: Source, separator: str, *, spaced: bool = False) -> tuple[Place, list[str]]:
    """Place and names of the columns; see `cells_of`.

    Raises:
        BadDocument: The header is not csv, names a column twice, or has too many.
    """
    place, header = next(cells_of(source, separator, spaced=spaced), (Place(source.place, "line", 1), []))
    if isinstance(header, BadDocument):
        raise header
    header = _names(header)
    if len(header) > _COLUMNS:
        reason = f"{len(header):,} columns, the limit is {_COLUMNS:,}"
        raise BadDocument(place, reason, "Is the first line really the header?")
    twice = next((name for name, count in Counter(header).items() if name and count > 1), None)
    if twice is not None:
        raise BadDocument(place, f"two columns are named {twice!r}", "Rename one of them.")
    return place, header


def _is_spaced(source: Source, separator: str) -> bool:
    """Whether a space stands behind each separator of the header."""
    _, header = next(cells_of(source, separator), (None, []))
    return isinstance(header, list) and len(header) > 1 and all(name[:1] == " " for name in header[1:])


def _names(cells: list[str]) -> list[str]:
    return [cell.strip() for cell in cells]


def _kinds(rows: Iterator[Row], header: list[str], columns: Columns) -> tuple[dict[str, str], bool]:
    """The narrowest type of each metadata column, text for those without a value; and whether a row is bad."""
    bad = False
    possible = {at: ["bool", "int", "float"] for at, name in enumerate(header) if name not in columns.names}
    kinds: dict[str, str] = dict.fromkeys((header[at] for at in possible), "str")
    with suppress(BadDocument, *DAMAGE):  # the rows before it are read, and the second pass reports it
        for _, cells in rows:
            if isinstance(cells, BadDocument):
                bad = True
                continue
            for at, candidates in possible.items():
                if cells[at]:
                    candidates[:] = [kind for kind in candidates if _fits(cells[at], kind)]
                    kinds[header[at]] = candidates[0] if candidates else "str"
        return kinds, bad
    return kinds, True


def _fits(cell: str, kind: str) -> bool:
    if kind == "bool":
        return cell.lower() in _TRUTH
    if _INT.fullmatch(cell):
        return True
    if kind != "float" or cell.lstrip("-").isdigit():  # longer whole numbers would lose digits
        return False
    return bool(_FLOAT.fullmatch(cell)) and cell[-1].isalnum() and math.isfinite(float(cell))


def _value(cell: str, kind: str) -> str | int | float | bool:
    if kind == "bool":
        return _TRUTH[cell.lower()]
    return int(cell) if kind == "int" else float(cell) if kind == "float" else cell


def cells_of(
    source: Source, separator: str, header: list[str] | None = None, *, spaced: bool = False, quoted: bool = True
) -> Iterator[Row]:
    """Cells of all rows that are not blank; of those after the header, and held to its width, where it is given.

    A bad row comes as its `BadDocument`, and so it goes on. A byte that is not UTF-8 is half a surrogate pair in its
    cell (`whole_text` refuses it). `spaced`: spaces behind a separator are no part of a cell. Unless `quoted`, quotes
    are signs like others.
    """
    csv.field_size_limit(max(csv.field_size_limit(), LINE_LIMIT))
    with reading_from(source) as stream:
        texts = _Texts(stream, source)
        read = partial(csv.reader, texts, delimiter=separator, strict=True, skipinitialspace=spaced)
        reader = read() if quoted else read(quoting=csv.QUOTE_NONE)
        if header is not None:
            next(filter(None, reader), None)
        while True:
            place = Place(source.place, "line", reader.line_num + 1)
            texts.begin_row()
            try:
                cells = next(reader, None)
            except csv.Error as error:
                yield place, BadDocument(place, f"not csv ({error})", _REMEDY)
                continue
            if cells is None:
                return
            if header is not None and cells and len(cells) != len(header):
                reason = f"{counted(len(cells), 'cell')}, the header has {len(header)}"
                yield place, BadDocument(place, reason, "Quote cells that hold a separator or a line break.")
            elif cells:
                yield place, cells


class _Texts:
    """The lines of a file for `csv.reader`, which holds all the lines of a row, however many."""

    def __init__(self, stream: Any, source: Source) -> None:
        self._lines = lines(stream)
        self._source = source
        self._row = 0
        self._filled = False

    def begin_row(self) -> None:
        """The next line is the first of a row."""
        self._row = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        place = Place(self._source.place, "line", line.number)
        if not line.whole:
            line.decode(place)
        self._row += len(line.data)
        if self._row > LINE_LIMIT:
            reason = f"a row of more than {LINE_LIMIT:,} bytes"
            raise BadDocument(place, reason, "Is a quotation mark missing? Split the row's text into several rows.")
        # an invalid byte stays in its cell: then that row is bad and no other
        text = line.data.decode("utf-8", "surrogateescape")
        begins, self._filled = not self._filled and bool(text.strip()), self._filled or bool(text.strip())
        return "\n" if begins and _SAID.fullmatch(text) else text
