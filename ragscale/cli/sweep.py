"""``ragscale sweep`` and ``ragscale eval``: modes over a file of questions, at many budgets or at one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ragscale.cli.common import (
    AsJson,
    Calls,
    HowOption,
    Llm,
    MaxCost,
    Mmr,
    PassagesK,
    PricesOption,
    Queries,
    Record,
    Replay,
    Rerank,
    Rounds,
    Seconds,
    Seed,
    SerialCalls,
    SerialTokens,
    Source,
    Tokens,
    Usd,
    Weight,
    Where,
    Yes,
    amounts,
    as_measured,
    budget_of,
    consent,
    open_agent,
    planned_cost,
    print_json,
    searching_of,
    with_k,
)
from ragscale.errors import InvalidInput
from ragscale.language.answers import Normalisation
from ragscale.words import counted

if TYPE_CHECKING:
    from rich.console import Console

    from ragscale.budget import Budget
    from ragscale.index import How
    from ragscale.index.options import SearchOptions
    from ragscale.measure import Cell, ModeReport, Row, SweepProgress
    from ragscale.measure.plan import Planned

__all__ = ["evaluate", "sweep"]

_AT_ONCE = {"embedded": 2, "openvino": 4}
"""Questions in flight of models that share this machine's cores; OpenVINO reads and decodes theirs together."""
_BARS = 12
"""Cells that have a bar of their own; more share one."""

Questions = Annotated[
    Path,
    typer.Argument(metavar="QUESTIONS", help=".jsonl, .json, .csv or .parquet: question, answers and, if known, gold."),
]
ColumnNames = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="FIELD=COLUMN,...",
        help="Names of columns that are not the usual ones: question=query,answers=gold.",
        show_default=False,
    ),
]
NormalisationOption = Annotated[
    Normalisation | None,
    typer.Option(
        "--normalise",
        help="How answers are compared: by words in any script, or as HotpotQA's script does for English. Default: "
        "published for HotpotQA, 2WikiMultihopQA and MuSiQue, else unicode.",
        show_default=False,
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="RUN", help="Folder of the run; extended if it is there.")]
Modes = Annotated[
    str | None,
    typer.Option(
        "--mode",
        help="One or more, with parameters: once,parallel(max_queries=1). Default: every mode of ragscale.",
        show_default=False,
    ),
]
Limit = Annotated[int | None, typer.Option(help="Number of questions to take, of the shuffled ones; all by default.")]
Skip = Annotated[int, typer.Option(help="Number of shuffled questions to leave out at the beginning.")]
Concurrency = Annotated[
    int | None,
    typer.Option(
        help="Questions in flight. Default: 2 for an embedded model, 4 for openvino, else 8.", show_default=False
    ),
]
NoHealth = Annotated[
    bool, typer.Option("--no-health", help="Begin with the bulk, without two questions of each cell before.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print what is left to do and its cost; nothing is asked or written.")
]
Engine = Literal["local", "ray"]
EngineOption = Annotated[
    Engine, typer.Option(help="What asks the questions: this process, or workers on Ray (the cluster at RAY_ADDRESS).")
]


def _axis(help: str) -> Any:
    """An option that is a limit of each question, one or several."""
    panel = "Limits of a question, one or several of each: 1k,2k,4k"
    return typer.Option(metavar="N,...", help=help, rich_help_panel=panel, show_default=False)


TokensAxis = Annotated[str | None, _axis("Prompt and completion tokens.")]
UsdAxis = Annotated[str | None, _axis("Dollars; needs a price by the token.")]
RoundsAxis = Annotated[str | None, _axis("Retrievals one after another.")]
QueriesAxis = Annotated[str | None, _axis("Sub-queries.")]
CallsAxis = Annotated[str | None, _axis("Model calls.")]
SecondsAxis = Annotated[str | None, _axis("Wall-clock time.")]
SerialTokensAxis = Annotated[str | None, _axis("Tokens along the critical path.")]
SerialCallsAxis = Annotated[str | None, _axis("Model calls along the critical path.")]


def evaluate(
    source: Source,
    questions: Questions,
    out: Out,
    mode: Modes = None,
    columns: ColumnNames = None,
    normalise: NormalisationOption = None,
    limit: Limit = None,
    skip: Skip = 0,
    llm: Llm = "embedded",
    concurrency: Concurrency = None,
    rounds: Rounds = None,
    tokens: Tokens = None,
    usd: Usd = None,
    queries: Queries = None,
    calls: Calls = None,
    seconds: Seconds = None,
    serial_tokens: SerialTokens = None,
    serial_calls: SerialCalls = None,
    prices: PricesOption = None,
    seed: Seed = 0,
    how: HowOption = None,
    k: PassagesK = None,
    where: Where = None,
    weight: Weight = None,
    rerank: Rerank = None,
    mmr: Mmr = None,
    no_health: NoHealth = False,
    dry_run: DryRun = False,
    max_cost: MaxCost = None,
    yes: Yes = False,
    record: Record = None,
    replay: Replay = None,
    engine: EngineOption = "local",
    as_json: AsJson = False,
) -> None:
    """Measure modes at one budget: exact match, F1, recall of gold passages, and what they cost.

    It is `ragscale sweep` with one budget, and adds to the same run. The same command resumes a killed run, and tries
    failed questions again; other modes, budgets and seeds are added to the run.
    """
    budget = budget_of(
        rounds=rounds, tokens=tokens, usd=usd, queries=queries, calls=calls, seconds=seconds,
        serial_tokens=serial_tokens, serial_calls=serial_calls,
    )  # fmt: skip
    _measure(
        source, questions, out, mode, [budget], [seed], llm=llm, prices=prices, how=how, k=k, columns=columns,
        searching=searching_of(where=where, weight=weight, rerank=rerank, mmr=mmr), normalise=normalise,
        limit=limit, skip=skip,
        concurrency=concurrency, health=not no_health, dry_run=dry_run, max_cost=max_cost, yes=yes, record=record,
        replay=replay, engine=engine, as_json=as_json,
    )  # fmt: skip


def sweep(
    source: Source,
    questions: Questions,
    out: Out,
    mode: Modes = None,
    columns: ColumnNames = None,
    normalise: NormalisationOption = None,
    limit: Limit = None,
    skip: Skip = 0,
    llm: Llm = "embedded",
    concurrency: Concurrency = None,
    tokens: TokensAxis = None,
    usd: UsdAxis = None,
    rounds: RoundsAxis = None,
    queries: QueriesAxis = None,
    calls: CallsAxis = None,
    seconds: SecondsAxis = None,
    serial_tokens: SerialTokensAxis = None,
    serial_calls: SerialCallsAxis = None,
    prices: PricesOption = None,
    seed: Annotated[str, typer.Option(metavar="N,...", help="Of sampled sub-queries; one or several.")] = "0",
    how: HowOption = None,
    k: PassagesK = None,
    where: Where = None,
    weight: Weight = None,
    rerank: Rerank = None,
    mmr: Mmr = None,
    no_health: NoHealth = False,
    race: Annotated[
        bool, typer.Option("--race", help="Ask cells no further that another one surely beats at no more cost.")
    ] = False,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="SPEC", help="Mode that --race never drops. Default: the first.", show_default=False),
    ] = None,
    dry_run: DryRun = False,
    max_cost: MaxCost = None,
    yes: Yes = False,
    record: Record = None,
    replay: Replay = None,
    engine: EngineOption = "local",
    as_json: AsJson = False,
) -> None:
    """Measure modes at several budgets: the run that `ragscale report` reads.

    A cell is a mode at a budget and a seed; limits of several dimensions make every combination. All cells see the same
    questions in the same shuffled order. Model calls are kept in RUN/calls.sqlite, so that one which another cell made
    before is not paid again. The same command resumes a killed run and tries failed questions again; with more
    questions, modes, budgets or seeds it extends the run.
    """
    given = {
        "tokens": tokens, "usd": usd, "rounds": rounds, "queries": queries, "calls": calls, "seconds": seconds,
        "serial_tokens": serial_tokens, "serial_calls": serial_calls,
    }  # fmt: skip
    axes: dict[str, list[Any]] = {
        name: amounts(name, text, float if name in ("seconds", "usd") else int)
        for name, text in given.items()
        if text is not None
    }
    grid = (dict(zip(axes, limits, strict=True)) for limits in itertools.product(*axes.values()))
    budgets = [budget_of(calls=limits.pop("calls", None), **limits) for limits in grid]
    seeds = amounts("seed", seed)
    _measure(
        source, questions, out, mode, budgets, seeds, llm=llm, prices=prices, how=how, k=k, columns=columns,
        searching=searching_of(where=where, weight=weight, rerank=rerank, mmr=mmr), normalise=normalise,
        limit=limit, skip=skip,
        concurrency=concurrency, health=not no_health, dry_run=dry_run, max_cost=max_cost, yes=yes, record=record,
        replay=replay, engine=engine, race=race, baseline=baseline, as_json=as_json,
    )  # fmt: skip


def _measure(
    source: str,
    questions: Path,
    out: Path,
    mode: str | None,
    budgets: list[Budget],
    seeds: list[int],
    *,
    llm: str,
    prices: str | None,
    how: How | None,
    k: int | None,
    searching: SearchOptions,
    columns: str | None,
    normalise: Normalisation | None,
    record: Path | None,
    replay: Path | None,
    concurrency: int | None,
    dry_run: bool,
    max_cost: float | None,
    yes: bool,
    health: bool,
    engine: Engine,
    race: bool = False,
    baseline: str | None = None,
    as_json: bool,
    **options: Any,
) -> None:
    from rich.console import Console

    from ragscale import measure
    from ragscale.measure import QuestionColumns, in_full, load_questions, sweep, table, to_json
    from ragscale.measure.plan import total
    from ragscale.measure.questions import compared
    from ragscale.modes import built_in, spec

    if record and replay:
        raise InvalidInput("--record and --replay together", "Give one: a replay makes no calls.")
    if baseline is not None and not race:
        raise InvalidInput("--baseline without --race", "Only a race drops cells: add --race, or leave it out.")
    named = [cls() for cls in built_in().values()] if mode is None else spec.parse_list(mode)
    chosen = [with_k(mode, k) for mode in named]
    loaded = load_questions(questions, QuestionColumns.parse(columns) if columns else None, normalise)
    errors = Console(stderr=True)
    at_once = _AT_ONCE.get(llm.partition(":")[0], 8) if concurrency is None else concurrency
    bars = len(chosen) * len(budgets) * len(seeds) <= _BARS
    options |= {"budgets": budgets, "seeds": seeds, "concurrency": at_once}
    with open_agent(
        source, llm, budgets[0], seed=seeds[0], how=how, prices=prices, replay=replay, searching=searching
    ) as agent:
        if dry_run or max_cost is not None:
            planned = measure.dry_run(agent, loaded, chosen, out, race=race, baseline=baseline, **options)
            if dry_run:
                _show_plan(planned, at_once, as_json)
                return
            consent(total(planned).usd, max_cost, yes=yes)
        with _progress(errors, bars) as progress:
            options |= {"health": health, "race": race, "baseline": baseline, "engine": engine, "calls": record}
            run = sweep(agent, loaded, chosen, out, progress=progress, **options)
    reports = run.reports()
    if as_json:
        print_json({**to_json(reports), "normalisation": compared(run.questions.values())})
    else:
        Console().print(table(reports))
        if (gold := in_full(reports)) is not None:
            Console().print(gold)
        told = compared(run.questions.values())
        typer.echo(f"EM and F1 compare answers by this normalisation: {told}.", err=True)
    _warn(errors, reports)
    for drop in run.drops if race else ():
        errors.print(
            f"{drop.cell}: dropped after {counted(drop.n, 'question')}: {drop.by} is better by {drop.difference:.2f} "
            f"(at least {drop.bound:.2f}), for {drop.cost_by:,.0f} instead of {drop.cost:,.0f} tokens.",
            markup=False,
            highlight=False,
        )
    if all(report.failed == report.n for report in reports.values()):
        raise typer.Exit(1)


def _show_plan(planned: list[Planned], concurrency: int, as_json: bool) -> None:
    """A row a cell, and all of them together."""
    from dataclasses import asdict

    from rich.console import Console

    from ragscale.measure.plan import total
    from ragscale.view.columns import Column, FittedTable

    whole = total(planned)
    if as_json:
        print_json({"cells": [asdict(cell) for cell in planned], "total": asdict(whole)})
        return
    columns = [
        Column("cell", kind="name"), Column("questions", 1), Column("calls", 2), Column("tokens"), Column("minutes"),
        Column("dollars"),
    ]  # fmt: skip
    costs = [(cell.cell, cell.questions, cell.all) for cell in planned]
    costs.append(("all", sum(cell.questions for cell in planned), whole))
    rows = [
        [name, f"{n:,}", f"{cost.llm_calls:,.0f}", f"{cost.tokens:,.0f}", *planned_cost(cost.seconds, cost.usd)]
        for name, n, cost in costs
    ]
    Console().print(FittedTable(columns, rows))
    told = {
        "shape": "by the modes' own sizing, for a model that always finds more to ask (short passages and replies "
        "leave room for more calls; no limit is passed)",
        "rows": "as the questions that a cell was asked before",
    }  # fmt: skip
    bases = "; ".join(words for basis, words in told.items() if any(cell.basis == basis for cell in planned))
    typer.echo(f"{bases[0].upper()}{bases[1:]}; calls that cells share are paid once.", err=True)
    if any(cell.all.seconds is not None for cell in planned):
        typer.echo(as_measured(concurrency), err=True)


def _warn(errors: Console, reports: dict[str, ModeReport]) -> None:
    for name, report in reports.items():
        if report.failed:
            errors.print(
                f"{name}: {report.failed} of {counted(report.n, 'question')} failed (see `reason` in their lines). "
                "The same command tries them again.",
                style="yellow",
                markup=False,
            )
        if report.versions > 1:
            errors.print(
                f"{name}: the modes or prompts changed during the run, its rows are not comparable. "
                "Give another --out for a clean run.",
                style="yellow",
                markup=False,
            )


@contextmanager
def _progress(console: Console, bars: bool) -> Iterator[SweepProgress]:
    """A bar a cell (or one for all), with the scores so far and the time left; SIGTERM raises `Terminated`."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from ragscale.cli.progress import terminating

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[scores]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as shown, terminating():
        tasks: dict[str, TaskID] = {}
        scores: dict[str, list[tuple[float, float]]] = {}
        counts: dict[str, dict[str, tuple[int, int]]] = {}

        def report(cell: Cell, row: Row | None, done: int, total: int) -> None:
            name = cell.key if bars else "all cells"
            counts.setdefault(name, {})[cell.key] = (done, total)
            finished, everything = (sum(numbers) for numbers in zip(*counts[name].values(), strict=True))
            if name not in tasks:
                tasks[name] = shown.add_task(name, scores="", start=False)
                scores[name] = []
            if row is None:
                shown.update(tasks[name], completed=finished, total=everything)
                return
            if not shown.tasks[tasks[name]].started:
                shown.start_task(tasks[name])
            scores[name].append((row.em, row.f1))
            new = len(scores[name])
            em, f1 = (sum(values) / new for values in zip(*scores[name], strict=True))
            of = f" of {new} new" if new < finished else ""  # earlier ones are not read
            shown.update(tasks[name], completed=finished, total=everything, scores=f"EM {em:.2f}  F1 {f1:.2f}{of}")

        try:
            yield report
        except KeyboardInterrupt as stop:
            stop.add_note("Finished questions are kept: the same command goes on from there.")
            raise
