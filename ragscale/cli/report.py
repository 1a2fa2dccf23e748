"""``ragscale report``: the answer that a run gives, on the terminal, as JSON and as a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ragscale.cli.common import AsJson, print_json
from ragscale.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ragscale.measure import Run
    from ragscale.view.report import Report

__all__ = ["report"]


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a sweep.")],
    other: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN2]", help="A later run of the same questions, compared with it.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the report as a page.", show_default=False)
    ] = None,
    rows: Annotated[
        Path | None,
        typer.Option(
            "--rows", metavar="DIR", help="Keep the rows as a run of its own, without traces.", show_default=False
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    without_texts: Annotated[
        bool, typer.Option("--without-texts", help="Leave out questions, answers and traces, to publish the rest.")
    ] = False,
    tuned_on_these: Annotated[
        bool, typer.Option("--tuned-on-these", help="Say that prompts were tuned on these questions.")
    ] = False,
    margin: Annotated[float, typer.Option(help="Difference of F1 that is too small to matter.")] = 0.05,
    level: Annotated[float, typer.Option(help="Confidence of the intervals.")] = 0.95,
) -> None:
    """Say what to use at which cost, how sure that is, and what the run cannot say.

    Modes are compared at equal cost, in total and along the critical path, on the same questions. docs/report.md tells
    how to read it. A run that is under way can be read too.
    """
    from rich.console import Console

    from ragscale.cli.reported import show_report
    from ragscale.measure import Run
    from ragscale.view import page
    from ragscale.view.report import report_page

    if rows is not None and other is not None:
        raise InvalidInput("--rows and two runs", "Keep the rows of one run at a time.")
    runs = [Run(run), *([Run(other)] if other else [])]
    made = runs[0].report(
        runs[1] if other else None, margin=margin, level=level, tuned_on_these=tuned_on_these, texts=not without_texts
    )
    # files first: where the output is piped to a reader that stops early, they are there all the same
    files = [] if rows is None else [runs[0].keep(rows, texts=not without_texts).folder]
    whole = report_page(made, () if without_texts else _traces(runs, made)) if html is not None or show else ""
    if html is not None:
        files.append(page.save(whole, html))
    if as_json:
        print_json(made)
    else:
        show_report(Console(highlight=False), made)
    for file in files:
        typer.echo(file, err=as_json)
    if show:
        page.show(whole)


def _traces(runs: list[Run], made: Report) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """The runs that a click in the page opens, question by question."""
    from ragscale.measure.pages import pages

    ids = [question["id"] for question in made["questions"]]
    for of, run in enumerate(runs):
        places = [at for at, cell in enumerate(made["cells"]) if cell["run"] == of]
        for cell, question, data in pages(run, [made["cells"][at]["key"] for at in places], ids):
            yield places[cell], question, data
