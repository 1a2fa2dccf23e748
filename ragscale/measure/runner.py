"""The runner: every cell over every question, several in flight, resumable after a kill."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from ragscale import background, modes, prompts
from ragscale.agent import Agent
from ragscale.answer import Answer, AnswerSpend
from ragscale.arguments import listed
from ragscale.errors import EndpointError, InvalidInput
from ragscale.measure.cell import Cell
from ragscale.measure.metrics import exact_match, f1, gold_recall
from ragscale.measure.questions import Question, questions_hash
from ragscale.measure.store import Row, Store
from ragscale.measure.table import ModeReport, summarise
from ragscale.modes.spec import label
from ragscale.types import Spend
from ragscale.version import __version__

__all__ = ["EvalProgress", "evaluate", "evaluate_sync"]

EvalProgress = Callable[[Cell, Row | None, int, int], None]
"""Called with a cell, the row that was just finished (None at the start), rows done and rows in all."""

_NOTHING = Answer("", [], "", "failed", AnswerSpend(Spend(), Spend()), [])
_Rows = dict[str, dict[str, Row]]  # by the cell's key, by the question's id
_Task = tuple[Cell, Question]


async def evaluate(
    agent: Agent,
    questions: Sequence[Question],
    chosen: Sequence[modes.Mode | str],
    out: str | Path,
    *,
    concurrency: int = 2,
    limit: int | None = None,
    skip: int = 0,
    progress: EvalProgress | None = None,
) -> dict[str, ModeReport]:
    """Answer every question in every mode, at the agent's budget and seed, and report the means.

    A mode, a budget and a seed are a cell, with a file of its own in `out`; a run may hold any number of cells. Rows
    that it holds already are not run again, except those of questions that had failed. The agent's index, model and
    search, the questions and the cells are pinned in ``out/config.json``.

    Args:
        agent: With the budget of a question.
        questions: All questions of the file: a run is tied to the whole file, so that `limit` can be raised later.
        chosen: The modes, as objects or by name, with parameters where needed (``"tree(expand=2)"``); the agent's own
            is not used.
        out: Folder of the run.
        concurrency: Questions in flight.
        limit: Number of questions taken; None for all.
        skip: Number of questions left out at the beginning.
        progress: Told about every finished question.

    Returns:
        A report a mode, by the mode's label, over the questions taken.

    Raises:
        InvalidInput: `out` is a run of something else or cannot be written, a number is out of range, or `chosen` or
            `questions` is not what it should be.
        RagscaleError: Another process is writing the run.
        ModelFileError: The reranker of the agent's search cannot be loaded.
        EndpointError: The model cannot be reached when the run begins. Where it goes away later, the questions left are
            recorded as failed, and the same call tries them again.
    """
    for name, number, least in (("concurrency", concurrency, 1), ("limit", limit, 1), ("skip", skip, 0)):
        if name == "limit" and number is None:
            continue
        if isinstance(number, bool) or not isinstance(number, int):
            raise InvalidInput(f"{name} {number!r} is no whole number", f"Use {least} or more.")
        if number < least:
            raise InvalidInput(f"{name} {number}, the least is {least}", f"Give a larger {name}.")
    cells = {name: Cell(mode, agent.budget, agent.seed) for name, mode in _named(chosen).items()}
    for question in listed("questions", questions):
        if not isinstance(question, Question):
            raise InvalidInput(
                f"questions holds a {type(question).__name__}",
                "Read them by ragscale.measure.load_questions, or make them.",
            )
    taken = list(questions)[skip : None if limit is None else skip + limit]
    if not taken:
        raise InvalidInput(
            f"no questions left: skip {skip}, limit {limit}, {len(questions)} in the file", "Take at least one."
        )
    store = Store(Path(out))
    with store.writing():
        settings = await asyncio.to_thread(_settings, agent, questions)  # may load a reranker
        store.pin(settings, cells.values())
        rows: _Rows = {cell.key: store.rows(cell) for cell in cells.values()}
        tasks: list[_Task] = []
        for cell in cells.values():
            found = rows[cell.key]
            open_ = [question for question in taken if question.id not in found or found[question.id].failed]
            tasks += [(cell, question) for question in open_]
            if progress:
                progress(cell, None, len(taken) - len(open_), len(taken))
        await _work(agent, tasks, store, rows, concurrency, _counting(progress, rows, taken))
    return {name: summarise([rows[cell.key][question.id] for question in taken]) for name, cell in cells.items()}


def evaluate_sync(*args: Any, **kwargs: Any) -> dict[str, ModeReport]:
    """`evaluate`, blocking, also beside a running loop, as in a notebook; an interrupt cancels what is in flight."""
    work = evaluate(*args, **kwargs)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)  # an interrupt lets its tasks come to an end
    return background.wait(work)


def _named(chosen: Sequence[modes.Mode | str]) -> dict[str, modes.Mode]:
    """The modes by label. Raises `InvalidInput` for an empty list, an unknown mode, or one given twice."""
    named: dict[str, modes.Mode] = {}
    for given in listed("modes", chosen):
        mode = modes.get(given)
        if label(mode) in named:
            raise InvalidInput(f"mode {label(mode)!r} is given twice", "Give it once.")
        named[label(mode)] = mode
    if not named:
        raise InvalidInput("no modes", "Give at least one, as in ['once', 'chain'].")
    return named


async def _work(
    agent: Agent,
    tasks: Iterable[_Task],
    store: Store,
    rows: _Rows,
    concurrency: int,
    report: Callable[[Cell, Row], None],
) -> None:
    waiting = iter(tasks)

    async def worker() -> None:
        for cell, question in waiting:
            row = await _run(agent, cell, question)
            store.append(cell, row)
            rows[cell.key][question.id] = row
            report(cell, row)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(worker())
    except* Exception as errors:
        # The first one tells; the others were cancelled or say the same.
        raise errors.exceptions[0] from None


async def _run(agent: Agent, cell: Cell, question: Question) -> Row:
    started = time.perf_counter()
    answer, error = _NOTHING, ""
    try:
        answer = await agent.aask(question.question, mode=cell.mode, budget=cell.budget)
    except EndpointError:
        raise  # every other question would fail like this one
    except Exception as problem:  # a defect that one question lays bare must not end a run of hours
        error = f"{type(problem).__name__}: {problem}"
    return Row(
        id=question.id,
        question=question.question,
        gold=list(question.answers),
        answer=answer.text,
        em=exact_match(answer.text, question.answers),
        f1=f1(answer.text, question.answers),
        gold_recall=gold_recall(question.supporting, answer.trace),
        stop_reason=answer.stop_reason,
        reason=error or answer.reason,
        citations=list(answer.citations),
        spend=answer.spend,
        wall_seconds=time.perf_counter() - started,
        code=_code(cell.mode),
        mode=cell.label,
        budget=cell.limits,
        seed=cell.seed,
        trace=[event.to_dict() for event in answer.trace],
    )


def _counting(progress: EvalProgress | None, rows: _Rows, taken: Sequence[Question]) -> Callable[[Cell, Row], None]:
    done: dict[str, set[str]] = {
        key: {question.id for question in taken if question.id in found and not found[question.id].failed}
        for key, found in rows.items()
    }

    def report(cell: Cell, row: Row) -> None:
        done[cell.key].add(row.id)
        if progress:
            progress(cell, row, len(done[cell.key]), len(taken))

    return report


def _settings(agent: Agent, questions: Sequence[Question]) -> dict[str, Any]:
    return {
        "ragscale": __version__,
        "index": agent.index.fingerprint,
        "llm": agent.llm.name,
        "how": agent.how or agent.index.how,
        "questions": questions_hash(questions),
        **({} if agent.about is None else {"about": agent.about}),
    }


def _code(mode: modes.Mode) -> str:
    """Mark of the source of a mode and of all that the built-in modes and prompts are made of.

    Rows of different marks are not comparable, and the report says so.
    """
    packages = (Path(str(package.__file__)).parent for package in (modes, prompts))
    mark = _mark((*packages, *sorted(_sources(mode))))
    templates = _templates(mode)  # files that a user may change from one run to the next
    if not templates:
        return mark
    return hashlib.sha256(b"".join([mark.encode(), *(path.read_bytes() for path in templates)])).hexdigest()[:12]


def _templates(mode: modes.Mode) -> list[Path]:
    """Template files of a mode's prompts and of the modes within it."""
    values = [getattr(mode, field.name) for field in fields(mode)]
    own = getattr(mode, "prompts", "")
    inner = [path for value in values if isinstance(value, modes.Mode) for path in _templates(value)]
    return [*([Path(own).expanduser()] if own else []), *inner]


def _sources(mode: modes.Mode) -> set[Path]:
    """Files that define a mode and the modes within it, which may be of other packages."""
    file = getattr(sys.modules.get(type(mode).__module__), "__file__", None)  # None in a notebook
    inner = (getattr(mode, field.name) for field in fields(mode))
    found = [_sources(value) for value in inner if isinstance(value, modes.Mode)]
    return set[Path]().union(*found, [Path(file)] if file else [])


@cache
def _mark(places: Iterable[Path]) -> str:
    """Hash of files and, at any depth, of the files in folders."""
    digest = hashlib.sha256()
    for place in places:
        inside = place.rglob("*") if place.is_dir() else [place]
        for path in sorted(path for path in inside if path.is_file() and "__pycache__" not in path.parts):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
