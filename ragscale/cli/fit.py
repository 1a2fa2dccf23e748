"""``ragscale fit``: a policy for ``auto``, learned from a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ragscale.cli.common import AsJson, print_json
from ragscale.words import counted

__all__ = ["fit"]


def fit(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a sweep that has once and other modes.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The policy, as JSON.")],
    tokens: Annotated[
        int | None,
        typer.Option(help="Mean tokens a question that the policy may spend. Default: no limit.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the folds and the intervals.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Learn from a run when to go on from the answer of once, and in which mode: --mode "auto(policy='FILE')".

    All figures are out of fold: each question is decided by what was learned from other source documents. Where the run
    shows no gain over fixed modes at equal mean tokens, or has too few questions, the policy falls back to the best
    fixed mode, and says so.

    --json prints what was measured, as the file's "report" holds it.
    """
    from ragscale.measure import fit as fitting

    found = fitting(run, tokens=tokens, seed=seed)
    path = found.save(out)
    if as_json:
        print_json(found.report)
    else:
        _show(found.report, path)


def _show(report: dict[str, Any], path: Path) -> None:
    from rich.console import Console
    from rich.text import Text

    from ragscale.view.columns import Column, FittedTable

    n, documents = counted(report["questions"], "question"), counted(report["documents"], "document")
    gate = "f1" in report
    title = f"{n} of {documents}{', out of fold' if gate else ''}"
    columns = [Column("", kind="name"), Column("F1"), Column("tokens", 1)]
    columns += [Column("auto's F1", 3), Column("difference", 2)] if gate else []
    rows: list[list[str | Text]] = []
    beside = {one["cell"]: one for one in report.get("at_equal_tokens", [])}
    for cell in report["cells"]:
        one = beside.get(cell["cell"])
        other = [f"{one['f1']:.3f}", f"{_limits(one['difference'], '+')} {one['verdict']}"] if one else ["", ""]
        rows.append([cell["cell"], _limits(cell["f1"]), f"{cell['tokens']:,.0f}", *other])
    if gate:
        rows.append([Text("auto", "bold"), _limits(report["f1"]), f"{report['mean_tokens']:,.0f}", "", ""])
        rows.append([Text("oracle", "dim"), _limits(report["oracle"]["f1"]), "", "", ""])
    note = "auto's F1, difference: at the tokens of the line. oracle: a limit, chosen with gold." if gate else ""
    console = Console()
    console.print(FittedTable(columns, [row[: len(columns)] for row in rows], title=title, note=note))
    for line in _words(report):
        console.print(Text(line), soft_wrap=True)
    if report["fallback"]:
        console.print(Text(f"Falls back to {report['fixed']}: {report['fallback']}.", style="yellow"), soft_wrap=True)
    console.print(Text(f"Use it: --mode \"auto(policy='{path}')\""), soft_wrap=True)


def _words(report: dict[str, Any]) -> list[str]:
    """The figures of the gate in sentences; none where there was none."""
    if "f1" not in report:
        return []
    beyond, against = report["beyond_fixed"], report["against_fixed"]
    mixture = " and ".join(f"{share:.0%} {name}" for name, share in beyond["mixture"].items())
    shares = ", ".join(
        f"{choice['choice']} {choice['questions'] / report['questions']:.0%}" for choice in report["choices"]
    )
    bins = "; ".join(f"{part['expected']:+.2f}: {_limits(part['gain'], '+')}" for part in report["calibration"])
    looks = ", ".join(f"{name} {share:.0%}" for name, share in list(report["looks_at"].items())[:4])
    return [
        f"Over fixed modes at equal mean tokens ({mixture}): {_limits(beyond['difference'], '+')}.",
        f"Against {against['cell']}: {_limits(against['difference'], '+')}, {against['verdict']}. "
        f"Below the oracle: {_limits(report['oracle']['regret'])}.",
        f"It chooses: {shares}.",
        f"Gains, expected and true: {bins}.",
        f"It looks at: {looks or 'nothing'}.",
    ]


def _limits(seen: dict[str, Any], sign: str = "") -> str:
    """A mean with its limits: ``0.612 [0.540, 0.684]``."""
    value = f"{seen['value']:{sign}.3f}"
    return value if seen["low"] is None else f"{value} [{seen['low']:{sign}.3f}, {seen['high']:{sign}.3f}]"
