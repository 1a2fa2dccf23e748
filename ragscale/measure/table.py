"""Means over the rows of a cell, as JSON and as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from ragscale.measure.store import Row
from ragscale.types import Spend
from ragscale.view.columns import Column, FittedTable
from ragscale.words import counted, dollars

__all__ = ["ModeReport", "as_html", "in_full", "summarise", "table", "to_json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeReport:
    """Means per question of one cell. Failed questions count, with a score of 0."""

    n: int
    """Questions."""
    em: float
    """Exact match, 0 to 1."""
    f1: float
    """Token F1, 0 to 1."""
    gold_recall: float | None
    """Share of gold passages among all that were retrieved, over the questions that name any."""
    tokens: float
    """Prompt and completion tokens, over all branches."""
    serial_tokens: float
    """The same along the critical path."""
    rounds: float
    """Retrievals along the critical path."""
    queries: float
    """Sub-queries, over all branches."""
    llm_calls: float
    """Model calls, over all branches."""
    usd: float | None
    """Dollars of the model calls, over all branches; None where the price of one is unknown."""
    seconds: float
    """Time inside model calls and retrievals along the critical path; grows with the questions in flight."""
    em_se: float | None
    """Standard error of `em`; None for fewer than two questions. 0 where all scores are equal, which proves nothing."""
    f1_se: float | None
    """Standard error of `f1`, likewise."""
    failed: int
    """Questions whose run failed: resuming the run tries them again."""
    cut_short: int
    """Questions that a limit of the budget ended."""
    versions: int
    """Versions of the modes' and prompts' source among the rows; above 1, the rows are not comparable."""
    full_recall: dict[int, tuple[int, int]]
    """By the number of gold passages: questions of which a run retrieved all of them, and questions with so many."""


def summarise(rows: Sequence[Row]) -> ModeReport:
    """The means over the rows of one cell, at least one."""
    total = [row.spend.total for row in rows]
    serial = [row.spend.serial for row in rows]
    recalls = [row.gold_recall for row in rows if row.gold_recall is not None]
    em, f1 = [row.em for row in rows], [row.f1 for row in rows]
    return ModeReport(
        n=len(rows),
        em=fmean(em),
        f1=fmean(f1),
        gold_recall=fmean(recalls) if recalls else None,
        full_recall=_full(rows),
        tokens=_mean(total, "tokens"),
        serial_tokens=_mean(serial, "tokens"),
        rounds=_mean(serial, "rounds"),
        queries=_mean(total, "queries"),
        llm_calls=_mean(total, "llm_calls"),
        usd=None if any(spend.usd is None for spend in total) else _mean(total, "usd"),
        seconds=_mean(serial, "seconds"),
        em_se=_standard_error(em),
        f1_se=_standard_error(f1),
        failed=sum(row.failed for row in rows),
        cut_short=sum(row.cut_short for row in rows),
        versions=len({row.code for row in rows}),
    )


def to_json(reports: Mapping[str, ModeReport]) -> dict[str, Any]:
    """The JSON form that ``ragscale eval --json`` prints."""
    return {"cells": {name: asdict(report) for name, report in reports.items()}}


_WIDE = 120
"""Cells of a notebook's output."""
_COLUMNS = (
    Column("cell", kind="name"), Column("n", 9), Column("EM", 2), Column("F1"), Column("gold", 4), Column("tokens"),
    Column("serial", 3), Column("rounds", 5), Column("queries", 8), Column("calls", 7), Column("$", 1), Column("s", 6),
    Column("cut"), Column("failed"),
)  # fmt: skip
"""Queries leave a narrow terminal first; cell, F1, tokens, cut and failed never do."""


def table(reports: Mapping[str, ModeReport]) -> FittedTable:
    """The reports as a table for a terminal, a row a cell; ``cut`` counts questions that a limit ended."""
    n = max((report.n for report in reports.values()), default=0)
    limits = {name.partition(")@" if ")@" in name else "@")[2] for name in reports}
    shared = limits.pop() if len(limits) == 1 else ""  # told once, where all cells have it
    left_out = {
        *({"$"} if not any(report.usd for report in reports.values()) else ()),
        *({"n"} if all(report.n == n for report in reports.values()) else ()),
    }
    kept = [at for at, column in enumerate(_COLUMNS) if column.title not in left_out]
    rows = [_cells(key.removesuffix(f"@{shared}") if shared else key, report) for key, report in reports.items()]
    return FittedTable(
        [_COLUMNS[at] for at in kept],
        [[row[at] for at in kept] for row in rows],
        title=f"Means over {counted(n, 'question')}{f' at {shared}' if shared else ''}; EM, F1 and gold in % "
        "(± standard error); cut: ended by a limit",
    )


def _cells(name: str, report: ModeReport) -> list[str]:
    return [
        name,
        f"{report.n:,}",
        _percent(report.em, report.em_se),
        _percent(report.f1, report.f1_se),
        _percent(report.gold_recall, None),
        f"{report.tokens:,.0f}",
        f"{report.serial_tokens:,.0f}",
        f"{report.rounds:.1f}",
        f"{report.queries:.1f}",
        f"{report.llm_calls:.1f}",
        "-" if report.usd is None else dollars(report.usd),
        f"{report.seconds:.1f}",
        f"{report.cut_short:,}",
        f"{report.failed:,}",
    ]


def _full(rows: Sequence[Row]) -> dict[int, tuple[int, int]]:
    found: dict[int, tuple[int, int]] = {}
    for row in rows:
        if row.gold_passages and row.gold_recall is not None:
            whole, n = found.get(row.gold_passages, (0, 0))
            found[row.gold_passages] = whole + (row.gold_recall == 1), n + 1
    return dict(sorted(found.items()))


def in_full(reports: Mapping[str, ModeReport]) -> FittedTable | None:
    """Shares of questions of which all gold passages were retrieved, a row a cell, a column a number of them.

    None where no question has any. The mean of `gold_recall` hides that one of two passages answers nothing.
    """
    sizes = sorted({size for report in reports.values() for size in report.full_recall})
    if not sizes:
        return None
    most = {size: max(report.full_recall.get(size, (0, 0))[1] for report in reports.values()) for size in sizes}
    return FittedTable(
        [Column("cell", kind="name"), *(Column(f"{size} (n={most[size]})") for size in sizes)],
        [[key, *(_share(report.full_recall.get(size)) for size in sizes)] for key, report in reports.items()],
        title="All gold passages retrieved, in % of the questions that have so many of them",
    )


def as_html(shown: FittedTable) -> str:
    """A table of a terminal as HTML, for notebooks."""
    import io

    from rich.console import Console

    # rich would show it in the notebook by itself, too
    console = Console(file=io.StringIO(), record=True, width=_WIDE, force_jupyter=False)
    console.print(shown)
    # Notebooks wrap the lines of a <pre>: a table that is wider than the cell is scrolled instead.
    style = "line-height:1.3;white-space:pre;overflow-x:auto"
    return console.export_html(inline_styles=True, code_format=f'<pre style="{style}">{{code}}</pre>')


def _share(of: tuple[int, int] | None) -> str:
    return "-" if of is None else f"{100 * of[0] / of[1]:.0f}"


def _mean(spends: Sequence[Spend], dimension: str) -> float:
    return fmean(getattr(spend, dimension) for spend in spends)


def _standard_error(values: Sequence[float]) -> float | None:
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def _percent(mean: float | None, error: float | None) -> str:
    if mean is None:
        return "-"
    if not error:  # equal scores have a standard error of 0, which would look like certainty
        return f"{100 * mean:.1f}"
    return f"{100 * mean:.1f} ±" + ("<1" if error < 0.005 else f"{100 * error:.0f}")
