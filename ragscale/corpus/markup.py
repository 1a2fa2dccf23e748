"""html to Markdown by markdownify, where that takes time and room in proportion to the page."""

from __future__ import annotations

from typing import Any

from markdownify import MarkdownConverter

from ragscale.errors import BadDocument

__all__ = ["Converter"]

_DIGITS = 9
"""Most of a number of a list item, as CommonMark has it: each line of the item is indented by its width."""


_SPAN, _COLUMNS = 1000, 2_000_000
"""Most columns of a cell, as html has it, and of all cells of a page."""


class Converter(MarkdownConverter):
    """Without links and pictures, and with text as it is.

    Args:
        place: Where the page is, for messages.
        limit: Most characters in what comes of it, or of a part of it.
    """

    def __init__(self, place: object, limit: int) -> None:
        super().__init__(
            heading_style="ATX",
            bullets="-",
            strip=["a", "img", "title"],
            escape_asterisks=False,
            escape_underscores=False,
            escape_misc=False,
        )
        self._place = place
        self._limit = limit
        self._items: dict[int, int] = {}
        self._columns = 0

    def process_tag(self, node: Any, parent_tags: Any = None) -> str:
        """The Markdown of an element.

        Raises:
            BadDocument: It is too long, as where lines are indented by all the lists that they stand in.
        """
        text: str = super().process_tag(node, parent_tags=parent_tags)  # type: ignore[misc] # not in its stubs
        if len(text) > self._limit:
            reason = f"a <{node.name}> becomes {len(text):,} characters of text, the limit is {self._limit:,}"
            raise BadDocument(self._place, reason, "Split the page into several files, or save it as text.")
        return text

    def convert_li(self, el: Any, text: str, parent_tags: Any) -> str:
        """As markdownify has it, but it counts all the items before each one."""
        if el.parent is None or el.parent.name != "ol":
            item: str = super().convert_li(el, text, parent_tags)  # type: ignore[misc] # not in its stubs
            return item
        before = self._items.get(id(el.parent), 0)
        self._items[id(el.parent)] = before + 1
        text = (text or "").strip()
        if not text:
            return "\n"
        start = str(el.parent.get("start") or "")
        first = int(start) if start.isascii() and start.isdigit() and len(start) <= _DIGITS else 1
        bullet = f"{first + before}. "
        lines = "\n".join(" " * len(bullet) + line if line else "" for line in text.split("\n"))
        return f"{bullet}{lines[len(bullet) :]}\n"

    def convert_td(self, el: Any, text: str, parent_tags: Any) -> str:
        """As markdownify has it, for as many columns as pages have."""
        self._add_columns(el)
        cell: str = super().convert_td(el, text, parent_tags)  # type: ignore[misc] # not in its stubs
        return cell

    def convert_th(self, el: Any, text: str, parent_tags: Any) -> str:
        """As `convert_td`."""
        self._add_columns(el)
        cell: str = super().convert_th(el, text, parent_tags)  # type: ignore[misc] # not in its stubs
        return cell

    def _add_columns(self, cell: Any) -> None:
        span = str(cell.get("colspan") or "")
        columns = min(int(span[:4]), _SPAN) if span.isascii() and span.isdigit() else 1
        cell["colspan"] = str(columns)
        self._columns += columns
        if self._columns > _COLUMNS:
            reason = f"the cells of its tables go over more than {_COLUMNS:,} columns in all"
            raise BadDocument(self._place, reason, "Split the page into several files, or save it as text.")

    def convert_tr(self, el: Any, text: str, parent_tags: Any) -> str:
        """As markdownify has it, but it looks for all rows of a table's head in each of them."""
        if el.find_previous_sibling() is not None:  # only a first row has a line above or below it
            return f"|{text}\n"
        row: str = super().convert_tr(el, text, parent_tags)  # type: ignore[misc] # not in its stubs
        return row
