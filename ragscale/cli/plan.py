"""``ragscale plan``: the course of each mode at a budget, reckoned without a model call."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ragscale.cli.common import AsJson, Calls, Queries, Rounds, SerialCalls, SerialTokens, Tokens, print_json
from ragscale.words import counted

if TYPE_CHECKING:
    from ragscale.modes import Mode
    from ragscale.modes.core import Costs, Room
    from ragscale.types import Spend

__all__ = ["plan"]

_COLUMNS = {
    "calls": "llm_calls", "queries": "queries", "rounds": "rounds", "tokens": "tokens", "serial": "serial_tokens",
}  # fmt: skip
_SAMPLE = 1_000  # passages whose lengths are averaged


def plan(
    modes: Annotated[
        str, typer.Argument(metavar="MODES", help="Modes, comma-separated: chain,vote(of=chain(steps=3), n=5).")
    ],
    tokens: Tokens = None,
    queries: Queries = None,
    calls: Calls = None,
    rounds: Rounds = None,
    serial_tokens: SerialTokens = None,
    serial_calls: SerialCalls = None,
    index: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="An index, whose passages are as long as those that will be read."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what each mode would do on a budget, and what that costs: by the sizing of the modes themselves.

    A run whose model says that nothing is missing does less. No model is called, and nothing is retrieved.

    "Serial" are the tokens of the critical path, where those of parallel branches count once.

    --json prints {"budget", "modes": [{"mode", "shape", "expected", "least", "full"}]}, the last three in calls,
    queries, rounds and tokens, and in calls and tokens of the critical path.
    """
    from ragscale.budget import Ledger
    from ragscale.cli.common import budget_of
    from ragscale.modes import spec
    from ragscale.modes.core import Costs, Room

    chosen = spec.parse_list(modes)
    limits = {"tokens": tokens, "queries": queries, "rounds": rounds, "serial_tokens": serial_tokens}
    budget = budget_of(**limits, calls=calls, serial_calls=serial_calls)
    room = Room.of(Ledger(budget))
    costs = Costs() if index is None else Costs(passage=_passage_tokens(index))
    planned = [_plan(mode, costs, room) for mode in chosen]
    if as_json:
        given = {name: limit for name, limit in asdict(budget).items() if limit is not None}
        print_json({"budget": given, "modes": planned})
    else:
        _show(planned)


def _plan(mode: Mode, costs: Costs, room: Room) -> dict[str, Any]:
    from ragscale.modes import spec

    course = mode.forecast(costs, room)
    least, full = mode.cost(costs)
    spends = {"expected": course.spend, "least": least, "full": full}
    return {
        "mode": spec.label(mode),
        "shape": course.shape,
        **{name: _dimensions(spend) for name, spend in spends.items()},
    }


def _dimensions(spend: Spend) -> dict[str, int]:
    from ragscale.modes.core import Cost

    cost = Cost.of(spend)
    return {name: getattr(cost, name) for name in (*_COLUMNS.values(), "serial_calls")}


def _passage_tokens(folder: Path) -> int:
    """Mean tokens of the passages of an index, title included, as an endpoint without a tokenizer has them counted."""
    import numpy as np

    from ragscale.index import Manifest
    from ragscale.index.storage.passages import full_text
    from ragscale.index.storage.snapshot import open_passages
    from ragscale.llm.tokens import Estimate

    count = Estimate().text
    with open_passages(folder, Manifest.read(folder)) as store:
        rows = np.linspace(0, len(store) - 1, min(_SAMPLE, len(store))).astype(np.int64)
        return round(float(np.mean([count(full_text(passage)) for passage in store.take(rows)])))


def _show(planned: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("")
    for title in (*_COLUMNS, "at least", "in full"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("shape")
    for row in planned:
        tokens = [row[name]["tokens"] for name in ("least", "full")]
        numbers = [f"{number:,}" for number in (*map(row["expected"].get, _COLUMNS.values()), *tokens)]
        shape = _words(row["shape"]) if row["expected"]["llm_calls"] else "nothing: the budget pays for no answer"
        table.add_row(Text(row["mode"]), *numbers, Text(shape))
    Console().print(table)


def _words(shape: dict[str, Any]) -> str:
    """A shape in words: ``3 members, each 2 steps``."""
    parts = [counted(value, name[:-1]) for name, value in shape.items() if isinstance(value, int)]
    if "first" in shape:
        parts.append("the first: " + ", ".join(f"{name}={value}" for name, value in shape["first"].items()))
    if shape.get("each"):
        parts.append(f"each {_words(shape['each'])}")
    return ", ".join(parts)
