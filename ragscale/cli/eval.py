"""``ragscale eval``: modes over a file of questions, resumable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ragscale.cli.common import (
    AsJson,
    Calls,
    HowOption,
    Llm,
    Queries,
    Rounds,
    Seconds,
    Seed,
    SerialCalls,
    SerialTokens,
    Source,
    Tokens,
    budget_of,
    open_agent,
    print_json,
)
from ragscale.words import counted

if TYPE_CHECKING:
    from rich.console import Console

    from ragscale.measure import Cell, EvalProgress, ModeReport, Row

__all__ = ["evaluate"]


def evaluate(
    source: Source,
    questions: Annotated[
        Path, typer.Argument(metavar="QUESTIONS.jsonl", help="id, question, answers and, if known, supporting.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="RUN", help="Folder of the run; resumed if it is there.")],
    mode: Annotated[
        str | None,
        typer.Option(
            help="One or more, with parameters: once,parallel(max_queries=1). Default: every mode of ragscale.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Number of questions to take; all by default.")] = None,
    skip: Annotated[int, typer.Option(help="Number of questions to leave out at the beginning.")] = 0,
    llm: Llm = "embedded",
    concurrency: Annotated[
        int | None,
        typer.Option(help="Questions in flight. Default: 2 for an embedded model, else 8.", show_default=False),
    ] = None,
    rounds: Rounds = None,
    tokens: Tokens = None,
    queries: Queries = None,
    calls: Calls = None,
    seconds: Seconds = None,
    serial_tokens: SerialTokens = None,
    serial_calls: SerialCalls = None,
    seed: Seed = 0,
    how: HowOption = None,
    as_json: AsJson = False,
) -> None:
    """Measure modes: exact match, F1, recall of gold passages, and what they cost.

    Every finished question is a line of RUN/<mode>@<limits and seed>.jsonl. The same command resumes a killed run, and
    tries failed questions again; other modes, budgets and seeds are added to the run.
    """
    from rich.console import Console

    from ragscale.measure import evaluate_sync, load_questions, table, to_json
    from ragscale.modes import built_in, spec

    chosen = [cls() for cls in built_in().values()] if mode is None else spec.parse_list(mode)
    loaded = load_questions(questions)
    errors = Console(stderr=True)
    budget = budget_of(
        rounds=rounds, tokens=tokens, queries=queries, calls=calls, seconds=seconds, serial_tokens=serial_tokens,
        serial_calls=serial_calls,
    )  # fmt: skip
    with open_agent(source, llm, budget, seed=seed, how=how) as agent, _progress(errors) as progress:
        reports = evaluate_sync(
            agent,
            loaded,
            chosen,
            out,
            concurrency=(2 if llm.startswith("embedded") else 8) if concurrency is None else concurrency,
            limit=limit,
            skip=skip,
            progress=progress,
        )
    if as_json:
        print_json(to_json(reports))
    else:
        Console().print(table(reports))
    _warn(errors, reports)
    if all(report.failed == report.n for report in reports.values()):
        raise typer.Exit(1)


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
def _progress(console: Console) -> Iterator[EvalProgress]:
    """A bar a mode, with the scores so far and the time left; SIGTERM raises `Terminated`."""
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
    with Progress(*columns, console=console) as bars, terminating():
        tasks: dict[str, TaskID] = {}
        scores: dict[str, list[tuple[float, float]]] = {}

        def report(cell: Cell, row: Row | None, done: int, total: int) -> None:
            name = cell.label
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total, completed=done, scores="", start=False)
                scores[name] = []
            if row is None:
                return
            if not bars.tasks[tasks[name]].started:
                bars.start_task(tasks[name])
            scores[name].append((row.em, row.f1))
            em, f1 = (sum(values) / len(scores[name]) for values in zip(*scores[name], strict=True))
            bars.update(tasks[name], completed=done, scores=f"EM {em:.2f}  F1 {f1:.2f}")

        try:
            yield report
        except KeyboardInterrupt as stop:
            stop.add_note("Finished questions are kept: the same command goes on from there.")
            raise
