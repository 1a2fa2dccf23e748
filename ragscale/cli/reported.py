"""A report on a terminal: the answer in words first, then the figures, in 80 columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ragscale.cli.terminal import plain
from ragscale.measure.report.phrases import confidence, interval, score, unit
from ragscale.view.columns import Column, FittedTable
from ragscale.view.report import Chart, ComparisonData, EqualCost, EstimateData, Report, Stopped, Strata
from ragscale.words import counted, dollars

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = ["show_report"]

_VERDICTS = {"better": "green", "worse": "red", "equivalent": "cyan", "undecided": "yellow"}


def show_report(console: Console, report: Report) -> None:
    """Print a report in the order in which it is read."""
    from rich.padding import Padding

    console.print(_title(report))
    for text in report["answer"]:
        console.print(_worded(text))
        console.print()
    if report["changes"]:
        console.print(_changes(report))
    console.print(_cells(report))
    for chart in report["charts"]:
        if chart["curves"]:
            console.print(_dim(_fits(report, chart)))
    for table in report["equal"]:
        _equal(console, report, table)
    _problem(console, report)
    console.print(_heading("Ends and costs"))
    console.print(_ends(report))
    for drop in report["dropped"]:
        console.print(_worded(f"{_name(report, drop['cell'])} was dropped after {drop['after']}: {drop['words']}"))
    for run in report["runs"]:
        told = ", ".join(f"{pair['name']} {_short(pair['value'])}" for pair in run["settings"])
        codes = ", ".join(pair["name"] for pair in run["codes"])
        name = f"{run['name']}: " if len(report["runs"]) > 1 else ""
        console.print(_dim(f"{name}{counted(run['rows'], 'row')}; {told}; code {codes}"))
    console.print(_heading("What this cannot say"))
    for text in report["limits"]:
        console.print(Padding(_worded(f"- {text}"), (0, 0, 0, 0)))


def _title(report: Report) -> Text:
    questions = counted(len(report["questions"]), "question")
    shared = f" at {plain(_shared(report))}" if _shared(report) else ""
    told = f"{plain(report['title'])}: {questions}, {counted(len(report['cells']), 'cell')}{shared}"
    return _dim(f"{told}, {report['score']} with {confidence(report['level'])} intervals\n")


def _changes(report: Report) -> FittedTable:
    """Scores of each cell before and after, with what the difference is worth."""
    columns = [
        Column("cell", kind="name"), Column("before", 2), Column("after", 2), Column("difference"),
        Column("verdict (needed)"), Column("tokens", 1),
    ]  # fmt: skip
    rows: list[list[str | Text]] = []
    cells = report["cells"]
    for one in report["changes"]:
        found = one["comparison"]
        later, earlier = cells[found["first"]], cells[found["second"]]
        tokens = one["cost"].get("tokens")
        more = "-" if tokens is None or tokens["value"] is None else f"{tokens['value']:+,.0f}"
        rows.append([
            plain(later["key"].removesuffix(f"@{_shared(report)}")), score(earlier["score"]["value"]),
            score(later["score"]["value"]), _interval(found["difference"]), _verdict(found), more,
        ])  # fmt: skip
    return FittedTable(columns, rows, title="What changed between the runs")


def _cells(report: Report) -> FittedTable:
    """Scores and costs of all cells."""
    priced = any("usd" in cell["cost"] for cell in report["cells"])
    columns = [
        Column("cell", kind="name"), Column(report["score"]), Column("n", 5), Column("tokens"), Column("serial", 2),
        Column("rounds", 3), Column("s", 4), *([Column("$", 1)] if priced else []), Column("front"),
    ]  # fmt: skip
    rows = []
    points = {point["cell"]: point for chart in report["charts"][:1] for point in chart["points"]}
    for at, cell in enumerate(report["cells"]):
        cost = {axis: found["value"] for axis, found in cell["cost"].items()}
        point = points.get(at)
        share = "" if point is None or point["share"] is None else f"{100 * point['share']:.0f}%"
        share += "*" if point is not None and point["front"] else ""
        rows.append([
            plain(_name(report, at)), _interval(cell["score"]), f"{cell['score']['n']}", _count(cost.get("tokens")),
            _count(cost.get("serial_tokens")), _number(cost.get("rounds"), 1), _number(cost.get("seconds"), 1),
            *([_dollars(cost.get("usd"))] if priced else []), share,
        ])  # fmt: skip
    note = "front: * no cell is better at no more tokens; % of resampled runs in which it is there" if points else ""
    return FittedTable(columns, rows, note=note)


def _fits(report: Report, chart: Chart) -> str:
    """The curves of one kind of cost."""
    told = [
        f"`{one['family']}` {one['a']:.2g} [{one['a_low']:.2g}, {one['a_high']:.2g}] · "
        f"log(x + {one['b']:,.0f}) {'-' if one['c'] < 0 else '+'} {abs(one['c']):.2g}"
        for one in chart["curves"]
    ]
    return f"Fit of {report['score']} to x {unit(chart['axis'])}: {'; '.join(told)}."


def _equal(console: Console, report: Report, table: EqualCost) -> None:
    names = {"tokens": "total", "serial_tokens": "serial", "usd": "dollar"}
    console.print(_heading(f"At equal {names.get(table['axis'], table['axis'])} cost"))
    for level in table["levels"]:
        columns = [
            Column("", kind="name"), Column(report["score"], 1), Column("difference"), Column("verdict (needed)"),
        ]  # fmt: skip
        rows: list[list[str | Text]] = []
        reference = level["reference"]
        for cell, name in zip(level["cells"], _modes(report, level["cells"]), strict=True):
            found = _found(level["comparisons"], cell, reference)
            mean = _interval(report["cells"][cell]["score"])
            if cell == reference:
                rows.append([name, mean, "", "compared with"])
            elif found is not None:
                rows.append([name, mean, _interval(found["difference"]), _verdict(found)])
        console.print(FittedTable(columns, rows, title=plain(level["label"])))
    told = f"{table['method']} Equivalent: within ±{score(table['margin'])}. {table['note']}"
    console.print(_dim(told))


def _problem(console: Console, report: Report) -> None:
    problem = report["problem"]
    if not problem["strata"] and not problem["recall"] and problem["oracle"] is None:
        return
    console.print(_heading("Does it depend on the problem?"))
    if problem["words"]:
        console.print(_worded(problem["words"]))
    for strata in problem["strata"]:
        console.print(_strata(console, report, strata))
        if strata["interaction"] is not None:
            console.print(_worded(strata["interaction"]["words"]))
    if problem["recall"]:
        groups = [str(one["gold"]) for one in problem["recall"]]
        numbers = [one["n"] for one in problem["recall"]]
        names = [plain(_name(report, cell)) for cell in problem["recall_cells"]]
        rates = [[_interval(rate) for rate in one["rates"]] for one in problem["recall"]]
        title = "Share of questions with all gold passages found, by their number"
        console.print(_grid(console, ("gold", "found"), groups, numbers, names, rates, title=title))
    oracle = problem["oracle"]
    if oracle is not None:
        told = f"Oracle, a bound and no result: {_interval(oracle['score'])}. {oracle['words']}"
        console.print(_dim(told))


def _strata(console: Console, report: Report, strata: Strata) -> FittedTable:
    names = _modes(report, strata["cells"])
    groups = [plain(one["label"]) for one in strata["strata"]]
    numbers = [one["n"] for one in strata["strata"]]
    means = [
        [
            f"{_interval(mean)}{'*' if cell == one['best'] else ''}"
            for cell, mean in zip(strata["cells"], one["scores"], strict=True)
        ]
        for one in strata["strata"]
    ]
    sure = any(one["best"] is not None for one in strata["strata"])
    note = "* better than all others" if sure else ""
    return _grid(console, (strata["by"], report["score"]), groups, numbers, names, means, note=note)


def _grid(
    console: Console,
    titles: tuple[str, str],
    groups: Sequence[str],
    numbers: Sequence[int],
    names: Sequence[str],
    values: Sequence[Sequence[str]],
    **texts: str,
) -> FittedTable:
    """A line a group with a column a mode where there is room for that; else a line for each mode of a group.

    `titles` are those of the groups and of the values.
    """
    labels = [[group, f"{n:,}"] for group, n in zip(groups, numbers, strict=True)]
    first = [Column(titles[0], kind="label"), Column("n")]
    rows = [[*label, *line] for label, line in zip(labels, values, strict=True)]
    wide = FittedTable([*first, *(Column(name) for name in names)], rows, **texts)
    if wide.fits(console.width):
        return wide
    rows = [
        [*(label if at == 0 else ["", ""]), name, value]
        for label, line in zip(labels, values, strict=True)
        for at, (name, value) in enumerate(zip(names, line, strict=True))
    ]
    return FittedTable([*first, Column("mode", kind="name"), Column(titles[1])], rows, **texts)


def _ends(report: Report) -> FittedTable:
    priced = any(one["charged"].get("usd") is not None for one in report["stopped"])
    columns = [
        Column("cell", kind="name"), Column("ended", 5), Column("failed"), Column("cut"), Column("over", 6),
        Column("per answer", 3), *([Column("$ an answer", 4)] if priced else []), Column("charged", 2), Column("paid"),
        *([Column("$ paid", 1)] if priced else []),
    ]  # fmt: skip
    note = "ended: by itself; cut: by a limit; over: charged more than a limit; the rest are tokens"
    rows = [[plain(_name(report, one["cell"])), *_end(one, priced)] for one in report["stopped"]]
    return FittedTable(columns, rows, note=note)


def _end(one: Stopped, priced: bool) -> Iterable[str]:
    stops = one["stops"]
    cut = sum(n for stop, n in stops.items() if stop.startswith("budget:"))
    told = stops.get("answered", 0), stops.get("failed", 0), cut, one["overruns"]
    return (
        *map(str, told), _count(one["answered_tokens"]), *([_dollars(one["answered_usd"])] if priced else []),
        _count(one["charged"].get("tokens")), _count(one["paid"].get("tokens")),
        *([_dollars(one["paid"].get("usd"))] if priced else []),
    )  # fmt: skip


def _found(comparisons: Sequence[ComparisonData], first: int, second: int) -> ComparisonData | None:
    """The comparison of two cells, in this order."""
    for one in comparisons:
        if (one["first"], one["second"]) == (first, second):
            return one
        if (one["first"], one["second"]) == (second, first):
            difference = one["difference"]
            value, low, high = (
                None if part is None else -part for part in (difference["value"], difference["high"], difference["low"])
            )
            turned = EstimateData(value=value, low=low, high=high, n=difference["n"])
            verdicts = {"better": "worse", "worse": "better"}
            verdict = verdicts.get(one["verdict"], one["verdict"])
            return ComparisonData(
                first=first, second=second, difference=turned, p=one["p"], verdict=verdict,  # type: ignore[typeddict-item]
                needed=one["needed"], differ=one["differ"], same=one["same"],
            )  # fmt: skip
    return None


def _name(report: Report, cell: int) -> str:
    """Key of a cell, without limits that all have."""
    one = report["cells"][cell]
    key = one["key"].removesuffix(f"@{_shared(report)}")
    return f"{report['runs'][one['run']]['name']}: {key}" if len(report["runs"]) > 1 else key


def _modes(report: Report, cells: Sequence[int]) -> list[str]:
    """Names of cells of one level: the mode, and the limits where a mode is there more than once."""
    modes = [report["cells"][cell]["mode"] for cell in cells]
    return [
        plain(mode if modes.count(mode) == 1 else _name(report, cell)) for cell, mode in zip(cells, modes, strict=True)
    ]


def _shared(report: Report) -> str:
    """Limits and seed, as keys have them, where those of all cells are the same; else empty."""
    ends = {one["key"].removeprefix(one["mode"]).removeprefix("@") for one in report["cells"]}
    return ends.pop() if len(ends) == 1 else ""


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


def _verdict(found: ComparisonData) -> Text:
    from rich.text import Text

    if found["same"]:
        return Text(f"the same {found['same']}", "cyan")
    shown = Text(found["verdict"], style=_VERDICTS[found["verdict"]])
    shown.append("" if found["needed"] is None else f", {found['needed']:,}", style="dim")
    return shown


def _dim(text: str) -> Text:
    shown = _worded(text)
    shown.stylize("dim")
    return shown


def _short(value: str) -> str:
    text = " ".join(plain(value).split())
    return text if len(text) <= 40 else f"{text[:39]}…"


def _interval(found: EstimateData | None) -> str:
    return "-" if found is None else interval(found)


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _dollars(value: float | None) -> str:
    return "-" if value is None else dollars(value)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"
