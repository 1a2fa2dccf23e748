"""``ragscale fit``: a policy for ``auto``, learned from a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ragscale.cli.common import AsJson, one_amount, print_json

__all__ = ["fit"]


def fit(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a sweep that has once and other modes.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The policy, as JSON.")],
    tokens: Annotated[
        int | None,
        typer.Option(
            parser=one_amount("tokens"),
            metavar="N",
            help="Mean tokens a question that the policy may spend: 4000, 4k. Default: no limit.",
            show_default=False,
        ),
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
    from rich.console import Console

    from ragscale.cli.fitted import show_fit
    from ragscale.measure import fit as fitting

    found = fitting(run, tokens=tokens, seed=seed)
    path = found.save(out)
    if as_json:
        print_json(found.report)
    else:
        show_fit(Console(highlight=False), found.report, path)
