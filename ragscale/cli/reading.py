"""Options of the commands that read corpora, and their report of documents that were left out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ragscale.cli.terminal import plain
from ragscale.corpus import KINDS, By
from ragscale.words import counted

if TYPE_CHECKING:
    from ragscale.corpus import Columns, Problems

__all__ = [
    "ChunkBy",
    "ChunkOverlap",
    "ChunkRows",
    "ChunkSize",
    "ColumnNames",
    "Corpora",
    "KeepGoing",
    "columns_of",
    "problems_shown",
    "show_left_out",
]


Corpora = Annotated[list[Path], typer.Argument(metavar="CORPUS...", help=f"What to read: {KINDS}.")]
ChunkBy = Annotated[
    By,
    typer.Option(
        help="Where documents are cut: characters and tokens (the embedder's) at the last paragraph, line or word that "
        "fits; sentences never inside one; headings at each section of md, html and docx."
    ),
]
ChunkSize = Annotated[
    int | None, typer.Option(help="Most characters (tokens) in a chunk. Default: 1000 (250).", show_default=False)
]
ChunkOverlap = Annotated[
    int | None, typer.Option(help="Most that neighbouring chunks share. Default: a tenth.", show_default=False)
]
ChunkRows = Annotated[bool, typer.Option("--chunk-rows", help="Cut the texts of table rows too.")]
ColumnNames = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="MEANING=COLUMN,...",
        help="Columns of tables that are not named id, title, text and document: text=contents,id=_id. "
        "id=# makes ids of file names and line numbers.",
    ),
]
KeepGoing = Annotated[bool, typer.Option("--keep-going", help="Report bad documents and skip them.")]


def columns_of(text: str | None) -> Columns:
    """The value of ``--columns``."""
    from ragscale.corpus import Columns

    return Columns.parse(text) if text else Columns()


def problems_shown(keep_going: bool) -> Problems:
    """Bad documents stop the command, or are printed on standard error as they are skipped."""
    from ragscale.corpus import Problems

    return Problems(
        keep_going=keep_going,
        show=lambda problem: typer.echo(plain(f"skipped {problem}"), err=True),
        otherwise="Or skip all that cannot be read: --keep-going.",
    )


def show_left_out(problems: Problems) -> None:
    """Say on standard error how much was left out."""
    if problems.count:
        typer.echo(f"{counted(problems.count, 'bad document')} skipped", err=True)
    if problems.left_out:
        counts = ", ".join(f"{kind} ({count:,})" for kind, count in sorted(problems.left_out.items()))
        typer.echo(plain(f"not read: {counts}"), err=True)
