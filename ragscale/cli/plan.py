"""``ragscale plan``: the course of each mode at a budget and its cost, reckoned without a model call."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ragscale.cli.common import (
    AsJson,
    Calls,
    PricesOption,
    Queries,
    Rounds,
    Seconds,
    SerialCalls,
    SerialTokens,
    Tokens,
    Usd,
    as_measured,
    planned_cost,
    print_json,
)
from ragscale.errors import InvalidInput
from ragscale.words import counted

if TYPE_CHECKING:
    from ragscale.llm.prices import Price
    from ragscale.measure.plan import Means, Planned
    from ragscale.modes import Mode
    from ragscale.modes.core import Costs, Room
    from ragscale.types import Spend

__all__ = ["plan"]

_COLUMNS = {
    "calls": "llm_calls", "queries": "queries", "rounds": "rounds", "tokens": "tokens", "serial": "serial_tokens",
}  # fmt: skip


def plan(
    modes: Annotated[
        str, typer.Argument(metavar="MODES", help="Modes, comma-separated: chain,vote(of=chain(steps=3), n=5).")
    ],
    tokens: Tokens = None,
    usd: Usd = None,
    queries: Queries = None,
    calls: Calls = None,
    rounds: Rounds = None,
    serial_tokens: SerialTokens = None,
    serial_calls: SerialCalls = None,
    seconds: Seconds = None,
    questions: Annotated[
        int | None, typer.Option(min=1, help="Number of questions: minutes and dollars are those of all of them.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Questions in flight.")] = 1,
    llm: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC",
            help="The model, whose price is looked up; it is not called, unless by --measure.",
            show_default=False,
        ),
    ] = None,
    prices: PricesOption = None,
    speed: Annotated[
        float | None,
        typer.Option(metavar="N", help="Tokens a second of one question, for the minutes.", show_default=False),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Ask the model of --llm twice, to measure its tokens a second.")
    ] = False,
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="A run of sweep: its questions tell what its cells cost, and how fast they were.",
            show_default=False,
        ),
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="An index, whose passages are as long as those that will be read."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what each mode would do on a budget, and what that costs: by the sizing of the modes themselves.

    A run whose model says that nothing is missing does less. No model is called, and nothing is retrieved. A mode that
    does not fit answers all the same, from less than its least: that is said, with what fits.

    "Serial" are the tokens of the critical path, where those of parallel branches count once. Dollars need a price,
    minutes need tokens a second: by --speed, --measure, or --run. What is not known is shown as a dash. With --run,
    --speed, --measure and another price count, where they are given, in place of what its questions took and cost.

    --json prints {"budget", "modes": [{"mode", "shape", "expected", "least", "full", "lacks", "basis", "each",
    "all"}]}: three courses in calls, queries, rounds and tokens, and in calls and tokens of the critical path; what of
    the least the budget does not have, by limit (empty where it fits); and, of one question and of all, "llm_calls",
    "tokens", "seconds" and "usd". What is expected is by the rows of --run where these have the cell (the basis).
    """
    from ragscale.budget import Ledger
    from ragscale.cli.common import budget_of
    from ragscale.measure import Cell
    from ragscale.measure.plan import passage_tokens, plan
    from ragscale.modes import spec
    from ragscale.modes.core import Costs, Room

    if speed is not None and not 0 < speed < math.inf:
        raise InvalidInput(f"--speed {speed} is not above 0", "Give tokens a second.")
    if measure and (llm is None or speed is not None):
        raise InvalidInput(f"--measure {'with --speed' if llm else 'without --llm'}", "Give the model alone.")
    chosen = spec.parse_list(modes)
    limits = {"tokens": tokens, "usd": usd, "queries": queries, "rounds": rounds, "serial_tokens": serial_tokens}
    budget = budget_of(**limits, calls=calls, serial_calls=serial_calls, seconds=seconds)
    price, speed = _model(llm, prices, measure, speed)
    costs = Costs() if index is None else Costs(passage=passage_tokens(index))
    cells = [Cell(mode, budget) for mode in chosen]
    known = _known(run, price)
    planned = plan(cells, questions or 1, costs=costs, price=price, speed=speed, concurrency=concurrency, means=known)
    room = Room.of(Ledger(budget), price=price)
    rows = [
        _plan(cell.mode, costs, room, estimate, known.get(cell.key))
        for cell, estimate in zip(cells, planned, strict=True)
    ]
    if as_json:
        print_json({"budget": budget.limits, "modes": rows})
        return
    asked = any(option is not None for option in (questions, llm, prices, speed, run, usd))
    _show(rows, costly=asked)
    if ran := [row["mode"] for row in rows if row["basis"] == "rows"]:
        typer.echo(f"As the questions that were asked before: {', '.join(ran)}.", err=True)
    if speed is None and any(row["all"]["seconds"] is not None for row in rows):
        typer.echo(as_measured(concurrency), err=True)
    _tell_what_fits(rows, costs, room)
    if asked and price is None and all(row["all"]["usd"] is None for row in rows):
        typer.echo("Dollars are unknown: the model has no listed price. Give --prices.", err=True)


def _model(
    llm: str | None, prices: str | None, measure: bool, speed: float | None
) -> tuple[Price | None, float | None]:
    """Price of the model, and its tokens a second."""
    from ragscale import background
    from ragscale.llm import load
    from ragscale.llm.prices import price_of, read_prices
    from ragscale.llm.spec import named
    from ragscale.measure.plan import speed as measured

    known = read_prices(prices)
    if llm is None:
        return known.get("*"), speed
    if not measure and llm.partition(":")[0] in ("embedded", "openvino", "vllm"):  # would be started for nothing
        return price_of(SimpleNamespace(name=named(llm)[0]), known), speed
    model = load(llm)
    try:
        return price_of(model, known), background.wait(measured(model)) if measure else speed
    finally:
        background.wait(model.aclose())


def _known(run: Path | None, price: Price | None) -> Means:
    """Means of a run, without dollars where the model that is planned for has another price than that of the run."""
    from ragscale.measure import Run
    from ragscale.measure.plan import means

    if run is None:
        return {}
    ran = Run(run)
    found = means(ran.rows())
    same = price is None or asdict(price) == ran.settings.get("price")
    return found if same else {key: {**row, "usd": None} for key, row in found.items()}


def _plan(
    mode: Mode, costs: Costs, room: Room, planned: Planned, ran: Mapping[str, float | None] | None
) -> dict[str, Any]:
    from ragscale.modes import spec

    course = mode.forecast(costs, room)
    least, full = mode.cost(costs)
    spends = {"expected": _dimensions(course.spend), "least": _dimensions(least), "full": _dimensions(full)}
    if ran:
        told = {**ran, "tokens": planned.each.tokens}
        spends["expected"] = {name: round(told[name] or 0) for name in spends["expected"]}
    return {
        "mode": spec.label(mode),
        "shape": course.shape,
        **spends,
        "lacks": room.lacks(least),
        "basis": planned.basis,
        "each": asdict(planned.each),
        "all": asdict(planned.all),
    }


def _dimensions(spend: Spend) -> dict[str, int]:
    from ragscale.modes.core import Cost

    cost = Cost.of(spend)
    return {name: getattr(cost, name) for name in (*_COLUMNS.values(), "serial_calls")}


def _show(planned: list[dict[str, Any]], *, costly: bool) -> None:
    from rich.console import Console

    from ragscale.view.columns import Column, FittedTable

    leaves = {"serial": 7, "queries": 6, "rounds": 5, "calls": 4}
    columns = [
        Column("", kind="name"), *(Column(title, leaves.get(title, 0)) for title in _COLUMNS), Column("at least", 8),
        Column("in full", 9), *((Column("minutes"), Column("dollars")) if costly else ()),
        Column("shape", 3, kind="words"),
    ]  # fmt: skip
    rows = []
    for row in planned:
        tokens = [row[name]["tokens"] for name in ("least", "full")]
        numbers = [f"{number:,}" for number in (*map(row["expected"].get, _COLUMNS.values()), *tokens)]
        if costly:
            numbers += planned_cost(row["all"]["seconds"], row["all"]["usd"])
        shape = ": ".join(filter(None, ["does not fit" if row["lacks"] else "", _words(row["shape"])]))
        answers = row["each"]["llm_calls"]
        rows.append([row["mode"], *numbers, shape if answers else "nothing: the budget pays for no answer"])
    Console().print(FittedTable(columns, rows))


def _tell_what_fits(planned: list[dict[str, Any]], costs: Costs, room: Room) -> None:
    """Say below the table which modes the budget does not have the least for, what that is, and which modes it has."""
    from ragscale.modes import registered

    short = [row for row in planned if row["lacks"]]
    if not short:
        return
    for row in short:
        typer.echo(f"{row['mode']} does not fit: its least is {_amounts(row['lacks'])}.")
    leasts = {name: kind().cost(costs)[0] for name, kind in registered().items()}
    fitting = [name for name, least in leasts.items() if not room.lacks(least)]
    cheapest = min(leasts, key=lambda name: leasts[name].tokens)
    needs = _amounts(room.lacks(leasts[cheapest]))
    typer.echo(f"What fits: {', '.join(fitting)}." if fitting else f"No mode fits: {cheapest} takes {needs}.")


def _amounts(limits: dict[str, float]) -> str:
    """Limits in words, as the options call them."""
    words = {"llm_calls": "model calls", "serial_tokens": "tokens in a row", "serial_calls": "model calls in a row"}
    told = {words.get(name, name): amount for name, amount in limits.items() if name != "usd"}
    dollars = [f"${limits['usd']:.6f}".rstrip("0")] if "usd" in limits else []
    return " and ".join([*(f"{amount:,.0f} {word}" for word, amount in told.items()), *dollars])


def _words(shape: dict[str, Any]) -> str:
    """A shape in words: ``3 members, each 2 steps``."""
    one = {"tries": "try", "branches": "branch"}
    parts = [counted(value, one.get(name, name[:-1])) for name, value in shape.items() if isinstance(value, int)]
    if "first" in shape:
        parts.append("the first: " + ", ".join(f"{name}={value}" for name, value in shape["first"].items()))
    if shape.get("each"):
        parts.append(f"each {_words(shape['each'])}")
    return ", ".join(parts)
