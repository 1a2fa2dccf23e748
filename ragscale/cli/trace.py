"""``ragscale trace``: a run of one question as a page, from what ``ragscale ask --json`` printed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ragscale.errors import InvalidInput
from ragscale.view import page

__all__ = ["trace"]


def trace(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `ask --json` printed, or a page saved before.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The page; without it, the browser opens it.", show_default=False),
    ] = None,
) -> None:
    """Show a run of one question as a page: its evidence, its cost, and each of its moves.

    The page is one HTML file that needs no network and nothing beside itself.
    """
    if out is not None and out.exists() and out.samefile(file) and out.suffix != ".html":
        raise InvalidInput(f"--out {out} would overwrite the run", "Give another path.")
    made = page.trace_page(page.read_trace(file))
    if out is None:
        page.show(made)
    else:
        typer.echo(page.save(made, out))
