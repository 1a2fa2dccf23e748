"""A report on a terminal: the answer in words first, then the figures, in 80 columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ragscale.cli.terminal import plain
from ragscale.measure.report.phrases import interval, score
from ragscale.view.report import Comparison, EqualCost, Estimate, Report, Stopped, Strata
from ragscale.words import counted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

__all__ = ["show_report"]

_ACROSS = 4
"""Modes that have a column of their own."""
_VERDICTS = {"better": "green", "worse": "red", "equivalent": "cyan", "undecided": "yellow"}


def show_report(console: Console, report: Report) -> None:
    """Print a report in the order in which it is read."""
    from rich.padding import Padding

    console.print(_title(report))
    for text in report["answer"]:
        console.print(_worded(text))
        console.print()
    console.print(_cells(report))
    for table in report["equal"]:
        _equal(console, report, table)
    _problem(console, report)
    console.print(_heading("Ends and costs"))
    console.print(_ends(report))
    console.print(_dim("ended: by itself; cut: by a limit; over: charged more than a limit; the rest are tokens"))
    for drop in report["dropped"]:
        console.print(_worded(f"{_name(report, drop['cell'])} was dropped after {drop['after']}: {drop['words']}"))
    for run in report["runs"]:
        told = ", ".join(f"{pair['name']} {_short(pair['value'])}" for pair in run["settings"])
        codes = ", ".join(pair["name"] for pair in run["codes"])
        name = f"{run['name']}: " if len(report["runs"]) > 1 else ""
        console.print(_dim(plain(f"{name}{counted(run['rows'], 'row')}; {told}; code {codes}")))
    console.print(_heading("What this cannot say"))
    for text in report["limits"]:
        console.print(Padding(_worded(f"- {text}"), (0, 0, 0, 0)))


def _title(report: Report) -> Text:
    questions = counted(len(report["questions"]), "question")
    shared = f" at {plain(_shared(report))}" if _shared(report) else ""
    told = f"{plain(report['title'])}: {questions}, {counted(len(report['cells']), 'cell')}{shared}"
    return _dim(f"{told}, {report['score']} with {100 * report['level']:g} % intervals\n")


def _cells(report: Report) -> Table:
    """Scores and costs of all cells."""
    priced = any("usd" in cell["cost"] for cell in report["cells"])
    table = _table("cell", report["score"], "n", "tokens", "serial", "rounds", "s", *(["$"] if priced else []), "front")
    points = {point["cell"]: point for chart in report["charts"][:1] for point in chart["points"]}
    for at, cell in enumerate(report["cells"]):
        cost = {axis: found["value"] for axis, found in cell["cost"].items()}
        point = points.get(at)
        share = "" if point is None or point["share"] is None else f"{100 * point['share']:.0f}%"
        table.add_row(
            plain(_name(report, at)), _interval(cell["score"]), f"{cell['score']['n']}", _count(cost.get("tokens")),
            _count(cost.get("serial_tokens")), _number(cost.get("rounds"), 1), _number(cost.get("seconds"), 1),
            *([_number(cost.get("usd"), 4)] if priced else []), share,
        )  # fmt: skip
    return table


def _equal(console: Console, report: Report, table: EqualCost) -> None:
    names = {"tokens": "total", "serial_tokens": "serial"}
    console.print(_heading(f"At equal {names.get(table['axis'], table['axis'])} cost"))
    for level in table["levels"]:
        shown = _table("", report["score"], "difference", "verdict (more needed)")
        shown.title, shown.title_justify, shown.title_style = plain(level["label"]), "left", "italic"
        reference = level["reference"]
        modes = [report["cells"][cell]["mode"] for cell in level["cells"]]
        for cell in level["cells"]:
            mode = report["cells"][cell]["mode"]
            name = plain(mode if modes.count(mode) == 1 else _name(report, cell))
            found = _found(level["comparisons"], cell, reference)
            mean = _interval(report["cells"][cell]["score"])
            if cell == reference:
                shown.add_row(name, mean, "", "compared with")
            elif found is not None:
                verdict = found["verdict"]
                more = f", {found['needed']:,}" if found["needed"] is not None else ""
                shown.add_row(name, mean, _interval(found["difference"]), _styled(verdict, more))
        console.print(shown)
    told = f"{table['method']} Equivalent: within ±{score(table['margin'])}. {table['note']}"
    console.print(_dim(plain(told)))


def _problem(console: Console, report: Report) -> None:
    problem = report["problem"]
    if not problem["strata"] and not problem["recall"] and problem["oracle"] is None:
        return
    console.print(_heading("Does it depend on the problem?"))
    if problem["words"]:
        console.print(_worded(problem["words"]))
    for strata in problem["strata"]:
        console.print(_strata(report, strata))
        if strata["interaction"] is not None:
            console.print(_worded(strata["interaction"]["words"]))
    if problem["recall"]:
        rates = _table("all gold passages found", *(f"{one['gold']} (n={one['n']})" for one in problem["recall"]))
        for at, cell in enumerate(problem["recall_cells"]):
            rates.add_row(plain(_name(report, cell)), *(_interval(one["rates"][at]) for one in problem["recall"]))
        console.print(rates)
    oracle = problem["oracle"]
    if oracle is not None:
        told = f"Oracle, a bound and no result: {_interval(oracle['score'])}. {oracle['words']}"
        console.print(_dim(plain(told)))


def _strata(report: Report, strata: Strata) -> Table:
    """A line a group with a column a mode; of many modes a line each."""
    names = [plain(report["cells"][cell]["mode"]) for cell in strata["cells"]]
    wide = len(names) <= _ACROSS
    table = _table(strata["by"], "n", *(names if wide else ("mode", report["score"])))
    for one in strata["strata"]:
        marks = ["*" if cell == one["best"] else "" for cell in strata["cells"]]
        means = [f"{_interval(mean)}{mark}" for mean, mark in zip(one["scores"], marks, strict=True)]
        label = (plain(one["label"]), str(one["n"]))
        if wide:
            table.add_row(*label, *means)
            continue
        for at, (name, mean) in enumerate(zip(names, means, strict=True)):
            table.add_row(*(label if at == 0 else ("", "")), name, mean)
    if any(one["best"] is not None for one in strata["strata"]):
        table.caption, table.caption_justify = "* better than all others", "left"
    return table


def _ends(report: Report) -> Table:
    table = _table("cell", "ended", "failed", "cut", "over", "per answer", "charged", "paid")
    for one in report["stopped"]:
        table.add_row(plain(_name(report, one["cell"])), *_end(one))
    return table


def _end(one: Stopped) -> Iterable[str]:
    stops = one["stops"]
    cut = sum(n for stop, n in stops.items() if stop.startswith("budget:"))
    told = stops.get("answered", 0), stops.get("failed", 0), cut, one["overruns"]
    return (
        *map(str, told), _count(one["answered_tokens"]), _count(one["charged"].get("tokens")),
        _count(one["paid"].get("tokens")),
    )  # fmt: skip


def _found(comparisons: Sequence[Comparison], first: int, second: int) -> Comparison | None:
    """The comparison of two cells, in this order."""
    for one in comparisons:
        if (one["first"], one["second"]) == (first, second):
            return one
        if (one["first"], one["second"]) == (second, first):
            difference = one["difference"]
            value, low, high = (
                None if part is None else -part for part in (difference["value"], difference["high"], difference["low"])
            )
            turned = Estimate(value=value, low=low, high=high, n=difference["n"])
            verdicts = {"better": "worse", "worse": "better"}
            verdict = verdicts.get(one["verdict"], one["verdict"])
            return Comparison(
                first=first, second=second, difference=turned, p=one["p"], verdict=verdict,  # type: ignore[typeddict-item]
                needed=one["needed"],
            )  # fmt: skip
    return None


def _name(report: Report, cell: int) -> str:
    """Key of a cell, without limits that all have."""
    one = report["cells"][cell]
    key = one["key"].removesuffix(f"@{_shared(report)}")
    return f"{report['runs'][one['run']]['name']}: {key}" if len(report["runs"]) > 1 else key


def _shared(report: Report) -> str:
    """Limits and seed, as keys have them, where those of all cells are the same; else empty."""
    ends = {one["key"].removeprefix(one["mode"]).removeprefix("@") for one in report["cells"]}
    return ends.pop() if len(ends) == 1 else ""


def _table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for at, column in enumerate(columns):
        left = at == 0 or column == "mode"
        table.add_column(column, overflow="fold", justify="left" if left else "right", no_wrap=not left)
    return table


def _worded(text: str) -> Text:
    """Text in which names between backquotes are bold."""
    from rich.text import Text

    shown = Text()
    for at, part in enumerate(re.split("`([^`]+)`", plain(text))):
        shown.append(part, style="bold" if at % 2 else "")
    return shown


def _heading(text: str) -> Text:
    from rich.text import Text

    return Text(f"\n{text}", style="bold underline")


def _styled(verdict: str, more: str) -> Text:
    from rich.text import Text

    shown = Text(verdict, style=_VERDICTS[verdict])
    shown.append(more, style="dim")
    return shown


def _dim(text: str) -> Text:
    from rich.text import Text

    return Text(text, style="dim")


def _short(value: str) -> str:
    text = " ".join(plain(value).split())
    return text if len(text) <= 40 else f"{text[:39]}…"


def _interval(found: Estimate | None) -> str:
    return "-" if found is None else interval(found)


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"
