"""Tables in narrow terminals: no line is too long, no name is lost, and what must stay does."""

from __future__ import annotations

import re

import pytest
from rich.console import Console
from rich.text import Text

from ragscale.view.columns import Column, FittedTable

COLUMNS = [
    Column("cell", kind="name"), Column("EM", 2), Column("F1"), Column("serial", 3), Column("queries", 4),
    Column("failed"), Column("shape", 5, kind="words"),
]  # fmt: skip
LONG = "vote(of=best-of-n(of=chain(steps=3), n=2), n=4)"
NAMES = [
    "once", "chain(k=8, steps=3, question_k=5)@tokens=4000", "chain(k=8, steps=4, question_k=5)@tokens=4000",
    f"{LONG}@tokens=4000", f"{LONG}@tokens=16000", "[bold]tree[/bold]",
]  # fmt: skip
ROWS = [[name, "33.3 ±12", "50.0 ±12", "12,345", "2.7", "1", "4 members, each 2 steps"] for name in NAMES]


def printed(table: FittedTable, width: int) -> list[str]:
    console = Console(width=width, highlight=False)
    with console.capture() as text:
        console.print(table)
    return [line.rstrip() for line in text.get().splitlines()]


@pytest.mark.parametrize("width", [40, 60, 72, 80, 100, 160])
def test_lines_fit_names_are_told_whole_and_distinct_and_some_columns_stay(width: int) -> None:
    lines = printed(FittedTable(COLUMNS, ROWS), width)
    assert max(map(len, lines)) <= width
    title, _, *rest = lines
    assert {"cell", "F1", "failed"} <= set(title.split())
    whole = " ".join(" ".join(rest).split())
    for name in NAMES:
        assert name in whole
    body = [line for line in rest if "50.0 ±12" in line]
    shown = [re.split(r"  +", line)[0] for line in body]
    assert len(set(shown)) == len(body) == len(NAMES), "a line a row, no two names alike"
    for short in shown:
        assert short in NAMES or f"{short} is " in whole


def test_columns_leave_in_their_order() -> None:
    gone: list[str] = []
    for width in range(200, 30, -1):
        last = " ".join(printed(FittedTable(COLUMNS, ROWS), width)).partition("No room for: ")[2].rstrip(".")
        now = last.split(", ") if last else []
        assert set(gone) <= set(now)
        gone = now
        order = ["shape", "queries", "serial", "EM"]
        assert set(now) == set(order[: len(now)])
    assert len(gone) == 4


def test_a_wide_table_is_shown_as_it_is() -> None:
    table = FittedTable(COLUMNS, ROWS, title="Means [of] 3", note="a note")
    assert table.fits(140)
    assert not table.fits(80)
    lines = printed(table, 160)
    assert (lines[0], lines[-1]) == ("Means [of] 3", "a note")
    assert "is" not in " ".join(lines).split()


def test_styles_are_kept() -> None:
    console = Console(width=60, force_terminal=True, color_system="standard")
    with console.capture() as text:
        console.print(FittedTable([Column("", kind="name"), Column("v")], [[Text(LONG * 2, "bold"), Text("x", "red")]]))
    assert "\x1b[1mvote(of=" in text.get()
    assert "\x1b[31mx" in text.get()
