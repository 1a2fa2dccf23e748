"""A fit on a terminal: what was learned from what, whether to trust it, then the figures, in 80 columns."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragscale.cli.terminal import plain
from ragscale.measure.report.phrases import interval, listing, percent, score, signed
from ragscale.view.columns import Column, FittedTable
from ragscale.words import counted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = ["show_fit"]


def show_fit(console: Console, report: dict[str, Any], path: Path) -> None:
    """Print the report of a fit in the order in which it is read; `path` is that of its policy."""
    from rich.text import Text

    shared = _shared([cell["cell"] for cell in report["cells"]])
    for line in _learned(report, shared):
        console.print(Text(plain(line)))
    console.print(_verdict(report, shared))
    if "f1" in report:
        gate = "The gate, which is not used" if report["fallback"] else "The gate"
        told = f"\n{gate}, out of fold: each question was decided by what other source documents taught."
        console.print(Text(told, "dim"))
        console.print(_beside(report, shared))
        for line in _against(report, shared):
            console.print(Text(plain(line)))
        console.print()
        console.print(_choices(report, shared))
        console.print(_calibration(report))
        looks = ", ".join(f"{name} {percent(share)}" for name, share in list(report["looks_at"].items())[:4])
        console.print(Text(f"It looks at: {looks or 'nothing'}."))
    else:
        console.print()
        console.print(_fixed(report, shared))
    console.print(Text(f"\nUse it: --mode {_quoted(path)}"), soft_wrap=True)


def _quoted(path: Path) -> str:
    """The mode of a policy as a shell takes it."""
    mode = f"auto(policy={str(path)!r})"
    return f'"{mode}"' if re.fullmatch(r"[\w./~ -]+", str(path)) else shlex.quote(mode)


def _learned(report: dict[str, Any], shared: str) -> list[str]:
    """Lines on the run that the policy was learned from."""
    n, documents = counted(report["questions"], "question"), counted(report["documents"], "document")
    left = f" ({report['left_out']:,} left out, as some cell lacks them or once failed)" if report["left_out"] else ""
    few = listing([_name(name, shared) for name in report["behind"]])
    behind = f" Left out, as they have far fewer questions: {few}." if few else ""
    by = ", ".join(f"{name} {text}" for name, text in report["settings"].items() if text and name in ("llm", "how"))
    at = f", all at {shared.removeprefix('@')}" if shared else ""
    ways = listing([_name(cell["cell"], shared) for cell in report["cells"] if cell["cell"] != report["first"]])
    limit = "" if report["tokens"] is None else f" It may spend {report['tokens']:,.0f} tokens a question on average."
    return [
        f"Learned from run {report['run']}{f' ({by})' if by else ''}: {n} of {documents}{left}.",
        f"It answers by {_name(report['first'], shared)}, and stops or goes on with {ways}{at}.{limit}{behind}",
    ]


def _verdict(report: dict[str, Any], shared: str) -> Text:
    """Whether the policy is to be trusted."""
    from rich.text import Text

    if report["fallback"]:
        fixed = plain(_name(report["fixed"], shared))
        told = f"Not to be trusted: it falls back to the best fixed mode, {fixed}: {report['fallback']}."
        return Text(told, "yellow")
    difference = interval(report["beyond_fixed"]["difference"], sign=True)
    return Text(
        f"To be trusted with questions, documents and a model like these: F1 {difference} over fixed modes at equal "
        "mean tokens.", "green",
    )  # fmt: skip


def _beside(report: dict[str, Any], shared: str) -> FittedTable:
    """Each fixed mode with the gate at the same mean tokens."""
    columns = [
        Column("fixed mode", kind="name"), Column("F1"), Column("tokens"), Column("its tokens", 3),
        Column("auto's F1", 2), Column("difference"), Column("auto is", 1),
    ]  # fmt: skip
    beside = {one["cell"]: one for one in report["at_equal_tokens"]}
    rows: list[list[str | Text]] = []
    for cell in report["cells"]:
        one = beside.get(cell["cell"])
        other = [""] * 4
        if one:
            found = interval(one["difference"], sign=True)
            other = [f"{one['tokens']:,.0f}", interval(one["f1"]), found, one["verdict"]]
        rows.append([plain(_name(cell["cell"], shared)), interval(cell["f1"]), f"{cell['tokens']:,.0f}", *other])
    rows.append(["auto", interval(report["f1"]), f"{report['mean_tokens']:,.0f}", "", "", "", ""])
    rows.append(["oracle", interval(report["oracle"]["f1"]), "", "", "", "", ""])
    note = (
        "auto's F1, difference, auto is: at the line's mean tokens or a little below (its tokens). oracle: the best "
        "mode of each question, by gold; a bound."
    )
    return FittedTable(columns, rows, note=note)


def _fixed(report: dict[str, Any], shared: str) -> FittedTable:
    """The fixed modes alone, where nothing was fitted."""
    rows: list[list[str | Text]] = [
        [plain(_name(cell["cell"], shared)), interval(cell["f1"]), f"{cell['tokens']:,.0f}"] for cell in report["cells"]
    ]
    return FittedTable([Column("fixed mode", kind="name"), Column("F1"), Column("tokens")], rows)


def _against(report: dict[str, Any], shared: str) -> list[str]:
    """Differences to fixed modes and to the oracle, in sentences."""
    beyond, against, oracle = report["beyond_fixed"], report["against_fixed"], report["oracle"]
    mixture = " and ".join(f"{percent(share)} {_name(name, shared)}" for name, share in beyond["mixture"].items())
    best = _name(against["cell"], shared)
    return [
        f"Over the best that fixed modes reach at its mean tokens ({mixture}): "
        f"{interval(beyond['difference'], sign=True)}, {beyond['verdict']}.",
        f"Over the best fixed mode ({best}): {interval(against['difference'], sign=True)}, {against['verdict']}.",
        f"Regret, F1 below the oracle: {interval(oracle['regret'])}; of {best}: {interval(oracle['regret_of_fixed'])}.",
    ]


def _choices(report: dict[str, Any], shared: str) -> FittedTable:
    """Choices of the gate, how often, and for which questions."""
    groups = [(by, value) for by in ("hops", "breadth", "type") for value in _values(report, by)]
    columns = [
        Column("it chooses", kind="name"), Column("share"), Column("questions"), Column("F1"),
        Column("F1 had it stopped"), *(Column(plain(f"{by} {value}"), 1 + at) for at, (by, value) in enumerate(groups)),
    ]  # fmt: skip
    rows: list[list[str | Text]] = []
    for one in report["choices"]:
        numbers = [f"{one['by'][by][value]:,}" for by, value in groups]
        name = one["choice"] if one["choice"] == "stop" else plain(_name(one["choice"], shared))
        share = percent(one["questions"] / report["questions"])
        rows.append([name, share, f"{one['questions']:,}", score(one["f1"]), score(one["f1_of_first"]), *numbers])
    return FittedTable(columns, rows)


def _values(report: dict[str, Any], by: str) -> list[str]:
    """Groups of a property of questions, where there is more than one."""
    found = list(report["choices"][0]["by"].get(by, {}))
    return found if len(found) > 1 else []


def _calibration(report: dict[str, Any]) -> FittedTable:
    """Gains that the gate expected beside those that came."""
    columns = [Column("expected gain"), Column("true gain"), Column("questions")]
    rows: list[list[str | Text]] = [
        [signed(part["expected"]), interval(part["gain"], sign=True), f"{part['questions']:,}"]
        for part in report["calibration"]
    ]
    return FittedTable(columns, rows, note="Calibration: F1 that going on adds, by what the gate expected of it.")


def _shared(cells: Sequence[str]) -> str:
    """The budget of all cells, with its ``@``; empty where they differ."""
    ends = {f"@{cell.partition('@')[2]}" if "@" in cell else "" for cell in cells}
    return ends.pop() if len(ends) == 1 else ""


def _name(cell: str, shared: str) -> str:
    return cell.removesuffix(shared) if shared else cell
