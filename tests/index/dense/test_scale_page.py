"""The table of `docs/scale.md` says what ``--factory auto`` does."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

from ragscale.index.dense.auto import choose_factory, parse_memory

PAGE = Path(__file__).parents[3] / "docs" / "scale.md"


def test_the_table_of_sizes_is_what_auto_chooses() -> None:
    rows = [
        [cell.strip(" `") for cell in line.split("|")[1:-1]] for line in PAGE.read_text().splitlines() if "|" in line
    ]
    start = next(number for number, row in enumerate(rows) if row[0] == "passages")
    memories = [parse_memory(cell.removeprefix("--memory ")) for cell in rows[start][1:4]]
    sizes = list(takewhile(lambda row: row[0].replace(",", "").isdigit(), rows[start + 2 :]))
    assert len(sizes) == 6
    for row in sizes:
        count = int(row[0].replace(",", ""))
        assert row[1:4] == [choose_factory(count, 384, memory=memory)[0] for memory in memories]
        size = parse_memory(row[4].replace(" ", ""))
        assert abs(size - count * 384 * 4) <= 0.05 * size
