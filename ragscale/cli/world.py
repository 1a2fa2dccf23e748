"""``ragscale world make | flower``: synthetic corpora with questions whose answers follow from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ragscale.cli.common import AsJson, print_json
from ragscale.errors import InvalidInput
from ragscale.words import counted

if TYPE_CHECKING:
    from ragscale.worlds import World

__all__ = ["app"]

app = typer.Typer(help="Make synthetic corpora with questions that no model knows.", no_args_is_help=True)

Out = Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")]
Seed = Annotated[int, typer.Option(help="Of names, facts and questions.")]


@app.command()
def make(
    out: Out,
    depth: Annotated[
        str, typer.Option(metavar="D,...", help="Hops in series, 1 to 8; one number or several.")
    ] = "1,2,4",
    breadth: Annotated[
        str, typer.Option(metavar="B,...", help="Chains side by side, 1 to 8; one number or several.")
    ] = "1,2,4",
    questions: Annotated[int, typer.Option(help="Questions of each depth and breadth.")] = 12,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Make fictional people, places and works, and questions of every depth and breadth about them.

    Writes corpus.jsonl, questions.jsonl and the card world.json. Each answer is checked: it follows from its gold
    passages, from no fewer, and nothing else in the corpus gives another one.
    """
    from ragscale.worlds import make

    _save(
        make(depth=_numbers("depth", depth), breadth=_numbers("breadth", breadth), questions=questions, seed=seed),
        out,
        as_json,
    )


@app.command()
def flower(
    out: Out,
    petals: Annotated[int, typer.Option(help="Petals in a row, 1 to 20: the size of the task.")],
    questions: Annotated[int, typer.Option(help="Instances, which share no place.")] = 100,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Make the flower task: places with paths between them, and which of two can be reached from a third.

    One deep chain answers it, and no vote of shallow ones does: docs/worlds.md. Writes the files that `make` writes.
    """
    from ragscale.worlds import flower

    _save(flower(petals=petals, questions=questions, seed=seed), out, as_json)


def _numbers(name: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InvalidInput(f"--{name} {text!r} is not a list of whole numbers", f"Write --{name} 1,2,4.") from None


def _save(world: World, out: Path, as_json: bool) -> None:
    world.save(out)
    if as_json:
        print_json(world.card())
        return
    passages, questions = counted(len(world.passages), "passage"), counted(len(world.questions), "question")
    typer.echo(f"{out}: {passages}, {questions}, each answer checked")
