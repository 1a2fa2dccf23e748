"""``ragscale index add | update | remove | describe | compact | repair``: an index after it was built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ragscale.cli.common import AsJson, BackendOption, Device, Folder, print_json
from ragscale.cli.progress import progress_bars
from ragscale.cli.reading import ColumnNames, Corpora, KeepGoing, columns_of, problems_shown, show_left_out
from ragscale.index.options import Backend
from ragscale.words import counted

if TYPE_CHECKING:
    from ragscale.index import Changes

__all__ = ["add", "compact", "describe", "remove", "repair", "update"]

EmbedderFolder = Annotated[
    str | None,
    typer.Option(help="Where the index's embedder lies, if not under its recorded name.", show_default=False),
]
BatchSize = Annotated[int, typer.Option(help="Passages encoded at once.")]


def add(
    folder: Folder,
    corpus: Corpora,
    columns: ColumnNames = None,
    keep_going: KeepGoing = False,
    embedder: EmbedderFolder = None,
    batch_size: BatchSize = 64,
    backend: BackendOption = "torch",
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Add documents; those that are there with the same content are skipped. After a kill the same command goes on."""
    from ragscale.index.write.grow import add

    _grow(add, folder, corpus, columns, keep_going, embedder, batch_size, backend, device, as_json)


def update(
    folder: Folder,
    corpus: Corpora,
    prune: Annotated[bool, typer.Option("--prune", help="Remove documents that are not in the corpora.")] = False,
    columns: ColumnNames = None,
    keep_going: KeepGoing = False,
    embedder: EmbedderFolder = None,
    batch_size: BatchSize = 64,
    backend: BackendOption = "torch",
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Add new documents and replace changed ones; nothing else is embedded. After a kill the same command goes on."""
    from ragscale.index.write.grow import update

    _grow(
        partial(update, prune=prune),
        folder,
        corpus,
        columns,
        keep_going,
        embedder,
        batch_size,
        backend,
        device,
        as_json,
    )


def remove(
    folder: Folder,
    names: Annotated[list[str], typer.Argument(metavar="ID...", help="Documents or passages.")],
    as_json: AsJson = False,
) -> None:
    """Remove documents or single passages from all searches."""
    from ragscale.index.write.maintain import remove

    changes = remove(folder, names)
    if as_json:
        print_json(asdict(changes))
        return
    typer.echo(f"{folder}: {len(dict.fromkeys(names)):,} removed")


def describe(
    folder: Folder,
    text: Annotated[str, typer.Argument(metavar="TEXT", help='Subject of the corpus, for prompts; "" removes it.')],
    as_json: AsJson = False,
) -> None:
    """Set the description of the corpus, which prompts may name; nothing else changes but the fingerprint."""
    from ragscale.index import Manifest
    from ragscale.index.write.maintain import describe

    describe(folder, text)
    if as_json:
        manifest = Manifest.read(folder)
        print_json({"description": manifest.description, "fingerprint": manifest.fingerprint})


def compact(folder: Folder, as_json: AsJson = False) -> None:
    """Drop the rows of removed documents; nothing is embedded."""
    from ragscale.index import Manifest
    from ragscale.index.write.maintain import compact

    before = Manifest.read(folder).rows
    with progress_bars() as progress:
        compact(folder, progress=progress)
    after = Manifest.read(folder).rows
    if as_json:
        print_json({"before": before, "rows": after})
        return
    typer.echo(f"{folder}: {counted(before, 'row')} before, {after:,} now")


def repair(folder: Folder, as_json: AsJson = False) -> None:
    """Derive damaged files again, where that can be done: all but passages, fields and vectors. Nothing is embedded."""
    from ragscale.index.write.repair import repair

    damaged = repair(folder)
    if as_json:
        print_json({"derived": list(damaged)})
        return
    if not damaged:
        typer.echo(f"{folder}: no file is damaged, nothing was changed")
    for name in damaged:
        typer.echo(f"{folder}: derived again: {name}")


def _grow(
    write: Callable[..., Changes],
    folder: Path,
    corpus: list[Path],
    columns: str | None,
    keep_going: bool,
    embedder: str | None,
    batch_size: int,
    backend: Backend,
    device: list[str] | None,
    as_json: bool,
) -> None:
    """Common part of `add` and `update`: progress bars, then a summary."""
    problems = problems_shown(keep_going)
    with progress_bars() as progress:
        changes = write(
            folder,
            corpus,
            columns=columns_of(columns),
            problems=problems,
            embedder=embedder,
            batch_size=batch_size,
            backend=backend,
            devices=device or (),
            progress=progress,
        )
    show_left_out(problems)
    if as_json:
        print_json({**asdict(changes), "skipped": problems.count})
        return
    counts = {
        "added": changes.added,
        "changed": changes.changed,
        "unchanged": changes.unchanged,
        "removed": changes.removed,
    }
    listed = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    typer.echo(f"{folder}: documents {listed}; {counted(changes.passages, 'passage')} written")
    if changes.outgrown:
        typer.echo(
            f"{folder} has outgrown its kind of index: auto would choose {changes.outgrown} now. "
            f"`ragscale index reindex {folder}` changes it; nothing is embedded again.",
            err=True,
        )
