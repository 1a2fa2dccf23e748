"""Tables of html: a grid of cells in which each row can be read without the others."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from lxml import etree, html

from ragscale.errors import BadDocument

__all__ = ["Grids"]

_SPAN, _COLUMNS = 1000, 2_000_000
"""Most columns of a cell, as html has it, and of all cells of a page."""

_NAME = 100
"""Characters of a name of a column, at most, where no header is marked."""

_BLOCKS = ("br", "p", "div", "li", "dt", "dd", "td", "th", "pre", "hr")

Line = dict[int, Any | None]
"""A row: cells by column. Of a cell over several columns the others are None, but a header stands in each."""


class Grids:
    """Rewrites the tables of a page.

    A cell over several rows stands in each of them, to the end of its group of rows. Several rows of headers become
    one; a header over all columns is none of them: above them it is the title of the table, below them a row. Tables
    that hold headings or other tables are there for their looks: they become blocks. So do tables of one column without
    a header, and those of one column of code.

    Args:
        place: Where the page is, for messages.
        limit: Most characters that cells over several rows repeat, in all.
    """

    def __init__(self, place: object, limit: int) -> None:
        self._place = place
        self._limit = limit
        self._columns = 0
        self._repeated = 0

    def lay_out(self, root: Any) -> None:
        """Rewrite all tables within an element.

        Raises:
            BadDocument: Spans that add up to too many columns, or repeat too much text.
        """
        looks = _for_looks(root)
        for table in list(root.iter("table")):
            rows, head = _rows(table)
            if table in looks or not rows:
                _to_blocks(table, rows)
                continue
            texts = {cell: _text(cell) for row in rows for cell in _cells(row)}
            lines = self._grid(rows, texts)
            columns = sorted({at for line in lines for at, cell in line.items() if texts.get(cell)})
            code = any(next(cell.iter("pre"), None) is not None for cell in texts)
            if len(columns) == 1 and (code or not any(cell.tag == "th" for cell in texts)):
                _to_blocks(table, rows)
                continue
            if _is_title(lines[0]) and len(lines) > 2 and _is_header(lines[1]) and not _is_title(lines[1]):
                _move_before(table, next(iter(lines[0].values())))
                lines, head = lines[1:], max(head - 1, 0)
            _rebuild(table, lines, columns, _headers(lines, head, texts), texts)
        for cell in list(root.iter("td", "th")):
            if next(cell.iterancestors("table"), None) is None:
                cell.tag = "div"

    def _grid(self, rows: list[Any], texts: dict[Any, str]) -> list[Line]:
        lines: list[Line] = []
        carried: dict[int, tuple[Any, int]] = {}  # cells that go on, and the row that they end before
        ends = _ends(rows)
        for number, row in enumerate(rows):
            carried = {at: (cell, stop) for at, (cell, stop) in carried.items() if stop > number}
            line: Line = {at: cell for at, (cell, _) in carried.items()}
            self._repeated += sum(len(texts.get(cell, "")) for cell in line.values())
            self._columns += len(line)
            at = 0
            for cell in _cells(row):
                while at in line:
                    at += 1
                width = _number(cell, "colspan", _SPAN) or 1
                stop = min(number + (_number(cell, "rowspan", len(rows)) or len(rows)), ends[number])
                for column in range(at, at + width):
                    if column not in line:
                        line[column] = cell if cell.tag == "th" or column == at else None
                        if stop > number + 1:
                            carried[column] = line[column], stop
                at += width
                self._columns += width
                self._refuse_more()
            lines.append(line)
        return lines

    def _refuse_more(self) -> None:
        reason = ""
        if self._columns > _COLUMNS:
            reason = f"the cells of its tables go over more than {_COLUMNS:,} columns in all"
        elif self._repeated > self._limit:
            reason = f"cells over several rows repeat {self._repeated:,} characters, the limit is {self._limit:,}"
        if reason:
            raise BadDocument(self._place, reason, "Split the page into several files, or save it as text.")


def _for_looks(root: Any) -> set[Any]:
    found = set(root.xpath("//table[@role='presentation' or @role='none']"))
    for element in root.iter("table", "h1", "h2", "h3", "h4", "h5", "h6"):
        around = next(element.iterancestors("table"), None)
        if around is not None:
            found.add(around)
    return found


def _rows(table: Any) -> tuple[list[Any], int]:
    """Rows as they are shown, the foot last, and how many of them its ``<thead>`` has."""
    # of several heads and feet the first ones are that, and the others are shown where they stand
    paths = (
        "./thead[1]/tr",
        "./tr | ./tbody/tr | ./thead[position() > 1]/tr | ./tfoot[position() > 1]/tr",
        "./tfoot[1]/tr",
    )
    head, body, foot = ([row for row in table.xpath(path) if _cells(row)] for path in paths)
    return head + body + foot, len(head)


def _cells(row: Any) -> list[Any]:
    return [child for child in row if child.tag in ("td", "th")]


def _ends(rows: list[Any]) -> list[int]:
    """For each row, the number of the first one behind its group (head, a body, foot): no cell goes on beyond that."""
    ends = [len(rows)] * len(rows)
    for number in range(len(rows) - 2, -1, -1):
        same = rows[number].getparent() is rows[number + 1].getparent()
        ends[number] = ends[number + 1] if same else number + 1
    return ends


def _headers(lines: list[Line], head: int, texts: dict[Any, str]) -> int:
    """The number of rows that are headers; where none is marked, the first row if it looks like one.

    It does not where its first cell alone is a header, of the row (an infobox), or where a cell is as long as a
    sentence.
    """
    count = head
    if not head:
        while count < len(lines) and _is_header(lines[count]) and not (count and _is_title(lines[count])):
            count += 1
    if 0 < count < len(lines):
        return count
    first = [cell for cell in lines[0].values() if cell is not None]
    of_row = len(first) > 1 and first[0].tag == "th" and all(cell.tag == "td" for cell in first[1:])
    return 0 if of_row or any(len(texts.get(cell, "")) > _NAME for cell in first) else 1


def _is_header(line: Line) -> bool:
    return all(cell is None or cell.tag == "th" for cell in line.values())


def _is_title(line: Line) -> bool:
    """Whether it is one header over several columns: of the table, or of a group of rows."""
    return len(line) > 1 and _is_header(line) and len(set(line.values())) == 1


def _rebuild(table: Any, lines: list[Line], columns: list[int], headers: int, texts: dict[Any, str]) -> None:
    for caption in table.xpath("./caption"):
        _move_before(table, caption)
    for child in list(table):
        table.remove(child)
    table.text = None
    used: set[Any] = set()
    if headers > 1:
        merged = etree.SubElement(table, "tr")
        for at in columns:
            names = dict.fromkeys(texts.get(line.get(at), "") for line in lines[:headers])
            etree.SubElement(merged, "th").text = " ".join(filter(None, names))
        lines = lines[headers:]
    if not headers:  # Markdown has no table without a line of headers
        row = etree.SubElement(table, "tr")
        for _ in columns:
            etree.SubElement(row, "th")
    for number, line in enumerate(lines):
        row = etree.SubElement(table, "tr")
        for at in columns:
            cell = line.get(at)
            if cell is None or ((number or _is_title(line)) and cell is line.get(at - 1)):
                etree.SubElement(row, "td")
                continue
            copy = deepcopy(cell) if cell in used else cell
            used.add(cell)
            copy.tail, copy.tag = None, "th" if number == 0 and headers == 1 else "td"
            for name in ("rowspan", "colspan"):
                copy.attrib.pop(name, None)
            row.append(copy)


def _move_before(table: Any, caption: Any) -> None:
    made = html.Element("p")
    made.text, made.tail = _text(caption), None
    table.addprevious(made)


def _to_blocks(table: Any, rows: list[Any]) -> None:
    for row in rows:
        for cell in _cells(row):
            cell.tag = "div"
        row.tag = "div"
    for part in table:
        if part.tag in ("thead", "tbody", "tfoot", "caption"):
            part.tag = "div"
    table.tag = "div"


def _number(cell: Any, name: str, most: int) -> int:
    """A span; 1 where there is none, 0 where it says so: for rows, down to the last one."""
    text = (cell.get(name) or "").strip()
    return min(int(text[:7]), most) if text.isascii() and text.isdigit() else 1


def _text(element: Any) -> str:
    """Its words, those of blocks apart."""
    found = []
    for event, node in etree.iterwalk(element, events=("start", "end")):
        if node.tag in _BLOCKS:
            found.append(" ")
        text = node.text if event == "start" else node.tail if node is not element else None
        found.append(text or "")
    return " ".join("".join(found).split())
