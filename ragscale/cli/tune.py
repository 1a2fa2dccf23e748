"""``ragscale index tune | reindex``: settings and kinds of the vectors' index, without embedding anything again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ragscale.cli.common import LANGUAGE_HELP, AsJson, Folder, print_json
from ragscale.cli.info import words_text
from ragscale.cli.progress import progress_bars
from ragscale.words import counted

if TYPE_CHECKING:
    from ragscale.index.write.tune import Trial

__all__ = ["reindex", "tune"]


def tune(
    folder: Folder,
    recall: Annotated[float, typer.Option(help="Wanted share of the k nearest passages that a search finds.")] = 0.95,
    k: Annotated[int, typer.Option("-k", "--k", help="Hits that count.")] = 10,
    sample: Annotated[int, typer.Option(help="Stored passages to search for, each without itself.")] = 256,
    queries: Annotated[
        Path | None, typer.Option(metavar="FILE", help='Questions besides: a line each, or jsonl with "question".')
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure recall against exact search; keep the cheapest settings that reach the wanted recall."""
    from ragscale.index.write.tune import tune_index

    asked = _questions(queries) if queries else ()
    found = tune_index(folder, recall=recall, k=k, sample=sample, queries=asked, report=None if as_json else _table(k))
    if as_json:
        print_json(asdict(found))
        raise typer.Exit(0 if found.reached else 1)
    best = f"{_settings(found.chosen)}, refine {found.chosen.refine} (recall {found.chosen.recall:.4f})"
    if found.reached:
        typer.echo(f"kept: {best}, measured with {counted(found.queries, 'query')}")
        return
    typer.echo(f"recall {recall:g} is not reached, nothing was changed. The best is {best}.", err=True)
    typer.echo(
        f"Use codes that lose less: `ragscale index reindex {folder} --factory auto --memory 16GB`, an SQ8 factory, "
        "or Flat, which is exact.",
        err=True,
    )
    raise typer.Exit(1)


def reindex(
    folder: Folder,
    factory: Annotated[
        str | None,
        typer.Option(
            help="FAISS factory string, or auto. Default: auto; with --language the vectors stay.", show_default=False
        ),
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="What auto may hold resident, as 8GB. Default: half of the machine's.")
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"Cut the words again, by this. {LANGUAGE_HELP}", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Index the stored vectors in another way, or the words by another language; nothing is embedded again."""
    from ragscale.index import reindex as write
    from ragscale.index import reword
    from ragscale.index.dense.auto import AUTO, parse_memory

    told: dict[str, Any] = {}
    lines = []
    if language is not None:
        with progress_bars() as progress:
            manifest = reword(folder, language, progress=progress)
        told["lexical"] = manifest.lexical
        lines.append(f"{folder}: words {words_text(manifest)}")
    if language is None or factory is not None or memory is not None:
        info = write(folder, factory or AUTO, memory=None if memory is None else parse_memory(memory))
        told |= asdict(info)
        lines.append(f"{folder}: {info.factory} ({info.reason})")
    if as_json:
        print_json(told)
    else:
        typer.echo("\n".join(lines))


def _questions(path: Path) -> list[str]:
    from ragscale.errors import InvalidInput

    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: cannot be read ({error})", "Give a UTF-8 file with a query a line.") from error
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(str(json.loads(line)["question"]) if line.startswith("{") else line.strip())
        except (ValueError, KeyError) as error:
            raise InvalidInput(f'{path}:{number}: no row with "question" ({error})', "Correct the line.") from error
    return found


def _settings(trial: Trial) -> str:
    return ", ".join(f"{name} {value}" for name, value in trial.settings.items()) or "no settings"


def _table(k: int) -> Callable[[Trial], None]:
    """Prints each trial as it is measured; the header comes with the first, as an index may be refused before."""
    header = [f"{'settings':<16}{'refine':>8}{f'recall@{k}':>12}{'ms a query':>12}"]

    def show(trial: Trial) -> None:
        if header:
            typer.echo(header.pop())
        typer.echo(f"{_settings(trial):<16}{trial.refine:>8}{trial.recall:>12.4f}{trial.milliseconds:>12.3f}")

    return show
