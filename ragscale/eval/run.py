"""The runner: every mode over every question, several in flight, resumable after a kill."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ragscale import background, modes, prompts
from ragscale.agent import Agent
from ragscale.answer import Answer
from ragscale.arguments import listed
from ragscale.errors import EndpointError, InvalidInput
from ragscale.eval.metrics import exact_match, f1, gold_recall
from ragscale.eval.questions import Question, questions_hash
from ragscale.eval.report import ModeReport, summarise
from ragscale.eval.store import Row, Store
from ragscale.modes.spec import label
from ragscale.types import Spend
from ragscale.version import __version__

__all__ = ["Progress", "Row", "evaluate", "evaluate_sync"]

Progress = Callable[[str, Row | None, int, int], None]
"""Called with a mode's label, the row that was just finished (None at the start), rows done and rows in all."""


@dataclass(frozen=True)
class _Task:
    mode: modes.Mode
    question: Question


async def evaluate(
    agent: Agent,
    questions: Sequence[Question],
    chosen: Sequence[modes.Mode | str],
    out: str | Path,
    *,
    concurrency: int = 2,
    limit: int | None = None,
    skip: int = 0,
    progress: Progress | None = None,
) -> dict[str, ModeReport]:
    """Answer every question in every mode and report the means.

    What `out` already holds is not run again, except questions that had failed. The agent's index, model, budget,
    seed and search, the modes and the questions are pinned in ``out/config.json``.

    Args:
        agent: With the budget of a question.
        questions: All questions of the file: a run is tied to the whole file, so that `limit` can be raised later.
        chosen: The modes, as objects or by name, with parameters where needed (``"tree(expand=2)"``); the agent's own
            is not used.
        out: Folder of the run.
        concurrency: Questions in flight.
        limit: Take so many questions only.
        skip: Leave out so many questions at the beginning.
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
    named = _named(chosen)
    for question in listed("questions", questions):
        if not isinstance(question, Question):
            raise InvalidInput(
                f"questions holds a {type(question).__name__}",
                "Read them by ragscale.eval.load_questions, or make them.",
            )
    taken = list(questions)[skip : None if limit is None else skip + limit]
    if not taken:
        raise InvalidInput(
            f"no questions left: skip {skip}, limit {limit}, {len(questions)} in the file", "Take at least one."
        )
    store = Store(Path(out))
    with store.writing():
        settings = await asyncio.to_thread(_settings, agent, questions)  # may load a reranker
        store.pin(settings, {name: repr(mode) for name, mode in named.items()})
        rows = {name: store.rows(name) for name in named}
        tasks: list[_Task] = []
        for name, mode in named.items():
            open_ = [q for q in taken if rows[name].get(q.id, {"stop_reason": "failed"})["stop_reason"] == "failed"]
            tasks += [_Task(mode, question) for question in open_]
            if progress:
                progress(name, None, len(taken) - len(open_), len(taken))
        await _work(agent, tasks, store, rows, concurrency, _counting(progress, rows, taken))
    return {name: summarise([rows[name][q.id] for q in taken]) for name in named}


def evaluate_sync(*args: Any, **kwargs: Any) -> dict[str, ModeReport]:
    """`evaluate`, blocking, also beside a running loop, as in a notebook; an interrupt cancels what is in flight."""
    work = evaluate(*args, **kwargs)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)  # an interrupt lets its tasks come to an end
    return background.wait(work)


def _named(chosen: Sequence[modes.Mode | str]) -> dict[str, modes.Mode]:
    """The modes by label. Raises `InvalidInput` where there is none, one is unknown, or one is given twice."""
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
    rows: dict[str, dict[str, Row]],
    concurrency: int,
    report: Callable[[str, Row], None],
) -> None:
    waiting = iter(tasks)

    async def worker() -> None:
        for task in waiting:
            name = label(task.mode)
            row = await _run(agent, task)
            store.append(name, row)
            rows[name][task.question.id] = row
            report(name, row)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(worker())
    except* Exception as errors:
        # The first one tells; the others were cancelled or say the same.
        raise errors.exceptions[0] from None


async def _run(agent: Agent, task: _Task) -> Row:
    question, started = task.question, time.perf_counter()
    answer, error = None, ""
    try:
        answer = await agent.aask(question.question, mode=task.mode)
    except EndpointError:
        raise  # every other question would fail like this one
    except Exception as problem:  # a defect that one question lays bare must not end a run of hours
        error = f"{type(problem).__name__}: {problem}"
    return _row(question, answer, error, time.perf_counter() - started)


def _row(question: Question, answer: Answer | None, error: str, wall: float) -> Row:
    text = answer.text if answer else ""
    nothing = {"total": Spend().to_dict(), "serial": Spend().to_dict()}
    said: dict[str, Any] = answer.to_dict() if answer else {
        "citations": [], "stop_reason": "failed", "reason": error, "spend": nothing, "trace": [],
    }  # fmt: skip
    return {
        "id": question.id,
        "question": question.question,
        "gold": list(question.answers),
        "answer": text,
        "em": exact_match(text, question.answers),
        "f1": f1(text, question.answers),
        "gold_recall": gold_recall(question.supporting, answer.trace if answer else []),
        "stop_reason": said["stop_reason"],
        "reason": said["reason"],
        "citations": said["citations"],
        "spend": said["spend"],
        "wall_seconds": wall,
        "code": _code(),
        "trace": said["trace"],
    }


def _counting(
    progress: Progress | None, rows: dict[str, dict[str, Row]], taken: Sequence[Question]
) -> Callable[[str, Row], None]:
    done: dict[str, set[str]] = {
        name: {q.id for q in taken if q.id in found and found[q.id]["stop_reason"] != "failed"}
        for name, found in rows.items()
    }

    def report(name: str, row: Row) -> None:
        done[name].add(row["id"])
        if progress:
            progress(name, row, len(done[name]), len(taken))

    return report


def _settings(agent: Agent, questions: Sequence[Question]) -> dict[str, Any]:
    return {
        "ragscale": __version__,
        "index": agent.index.fingerprint,
        "llm": agent.llm.name,
        "budget": asdict(agent.budget),
        "seed": agent.seed,
        "how": agent.how or agent.index.how,
        "questions": questions_hash(questions),
    }


@cache
def _code() -> str:
    """A mark of the modes' and prompts' source: rows of different marks are not comparable, which the report says."""
    digest = hashlib.sha256()
    for package in (modes, prompts):
        for path in sorted(Path(str(package.__file__)).parent.glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
