"""Tables that fit a terminal: columns leave in a given order, and long names are shortened in the middle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.text import Text

__all__ = ["Column", "FittedTable"]

_GAP = 2
"""Cells between two columns."""
_NAME = 24
"""Cells that a name has at least before another column is kept; of a wide terminal two fifths of it."""
_LEAST = 9


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a `FittedTable`."""

    title: str
    leaves: int = 0
    """Order of leaving where there is no room for all: the highest number first; those of 0 never do."""
    kind: Literal["number", "label", "name", "words"] = "number"
    """A name is shortened where it has to be, words are wrapped, numbers and labels stay whole."""
    least: int = 12
    """Cells that words have before another column is kept."""


class FittedTable:
    """A table for `rich` that is readable in any width from 60 on.

    Below it stand the names that were shortened, each beside its whole, and the titles of columns that had no room.

    Args:
        columns: One of them may be of names, one of words.
        rows: A cell a column; a `str` is shown as it is, markup is not read.
        title: A line above, wrapped.
        note: A line below.
    """

    def __init__(
        self, columns: Sequence[Column], rows: Sequence[Sequence[str | Text]], *, title: str = "", note: str = ""
    ) -> None:
        self.columns, self.rows, self.title, self.note = columns, rows, title, note

    def fits(self, width: int) -> bool:
        """Whether all of it has room as it is."""
        return self._total(self._sizes()) <= width

    def _sizes(self) -> list[int]:
        from rich.cells import cell_len

        return [
            max(cell_len(text) for text in (column.title, *(str(row[at]) for row in self.rows)))
            for at, column in enumerate(self.columns)
        ]

    @staticmethod
    def _total(sizes: Sequence[int]) -> int:
        return sum(sizes) + _GAP * (len(sizes) - 1)

    def _kept(self, width: int) -> tuple[list[int], dict[int, int]]:
        """Places of the columns that have room, and the width of those that have less of it than they need."""
        sizes = self._sizes()
        name = max(_NAME, 2 * width // 5)
        wanted = [
            min(size, {"name": name, "words": column.least}.get(column.kind, size))
            for size, column in zip(sizes, self.columns, strict=True)
        ]
        kept = list(range(len(sizes)))
        for at in sorted(kept, key=lambda at: (-self.columns[at].leaves, -at)):
            if self._total([wanted[one] for one in kept]) > width and self.columns[at].leaves:
                kept.remove(at)
        given: dict[int, int] = {}
        for kind in ("name", "words"):  # a name has first what is left
            for at in kept:
                if self.columns[at].kind == kind:
                    others = [given.get(one, wanted[one]) for one in kept if one != at]
                    given[at] = min(sizes[at], max(_LEAST, width - self._total([*others, 0])))
        return kept, given

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        kept, given = self._kept(options.max_width)
        shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
        legend: dict[str, str] = {}
        cells: list[list[Text]] = [[] for _ in self.rows]
        for at in kept:
            column = self.columns[at]
            texts = [Text(text) if isinstance(text, str) else text for text in (row[at] for row in self.rows)]
            if column.kind == "name":
                short = _shortened([text.plain for text in texts], given[at])
                legend |= {short[text.plain]: text.plain for text in texts if short[text.plain] != text.plain}
                texts = [Text(short[text.plain], text.style) for text in texts]
            for line, text in zip(cells, texts, strict=True):
                line.append(text)
            number, words = column.kind == "number", column.kind == "words"
            shown.add_column(
                Text(column.title), justify="right" if number else "left", no_wrap=not words, overflow="fold",
                width=given.get(at),
            )  # fmt: skip
        for line in cells:
            shown.add_row(*line)
        if self.title:
            yield Text(self.title, "italic")
        yield shown
        for short_name, whole in legend.items():
            yield Text(f"{short_name} is {whole}", "dim")
        gone = [column.title for at, column in enumerate(self.columns) if at not in kept]
        if gone:
            yield Text(f"No room for: {', '.join(gone)}.", "dim")
        if self.note:
            yield Text(self.note, "dim")


def _shortened(names: Sequence[str], width: int) -> dict[str, str]:
    """Each name with the text that stands for it, of at most so many characters and different from all others."""
    short = {name: _cut(name, width, "…") for name in names}
    common = {text for text, times in Counter(short.values()).items() if times > 1}
    several = [name for name, text in short.items() if text in common and text != name]
    return short | {name: _cut(name, width, f"…{at}…") for at, name in enumerate(several, 1)}


def _cut(name: str, width: int, mark: str) -> str:
    if len(name) <= width:
        return name
    left = max(0, width - len(mark))
    return f"{name[: left - left // 2]}{mark}{name[len(name) - left // 2 :]}"
