"""``ragscale trace``: a run of one question as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ragscale.errors import InvalidInput
from ragscale.view import page

__all__ = ["trace"]


def trace(
    source: Annotated[
        Path,
        typer.Argument(metavar="FILE|RUN", help="What `ask --json` printed, a page saved before, or a run of many."),
    ],
    cell: Annotated[
        str | None,
        typer.Option(help="Of a run: its cell, or the mode, where it has one cell of it.", show_default=False),
    ] = None,
    question: Annotated[str | None, typer.Option(help="Of a run: id of the question.", show_default=False)] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The page; without it, the browser opens it.", show_default=False),
    ] = None,
) -> None:
    """Show a run of one question as a page: its evidence, its cost, and each of its moves.

    The page is one HTML file that needs no network and nothing beside itself.
    """
    if source.is_dir():
        data = _of_run(source, cell, question)
    elif cell or question:
        raise InvalidInput(
            f"--cell and --question are of a run, {source} is none", "Give the folder, or leave them out."
        )
    else:
        data = page.read_trace(source)
    if out is not None and out.exists() and out.samefile(source) and out.suffix != ".html":
        raise InvalidInput(f"--out {out} would overwrite the run", "Give another path.")
    made = page.trace_page(data)
    if out is None:
        page.show(made)
    else:
        typer.echo(page.save(made, out))


def _of_run(folder: Path, cell: str | None, question: str | None) -> dict[str, Any]:
    from ragscale.measure.pages import cell_of, page_data
    from ragscale.measure.run import Run

    run = Run(folder)
    if question is None:
        some = ", ".join(list(run.questions)[:5])
        raise InvalidInput(
            f"{folder}: {len(run.questions)} questions, and none of them is named", f"Give --question ID: {some}, ..."
        )
    return page_data(run, cell_of(run, cell), question)
