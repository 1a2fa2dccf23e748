"""One question of one cell: asked, scored, and charged, here or in a worker of a cluster."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import Iterable
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from ragscale import modes, prompts
from ragscale.agent import Agent
from ragscale.answer import AnswerSpend
from ragscale.budget import Ledger
from ragscale.errors import CallStoreError, EndpointError
from ragscale.measure.cell import Cell
from ragscale.measure.questions import Question
from ragscale.measure.scoring import recall, score
from ragscale.measure.store import Row
from ragscale.paths import expanded

__all__ = ["attempt", "code_mark"]


async def attempt(agent: Agent, cell: Cell, question: Question, settings: str) -> tuple[Row, dict[str, Any] | None]:
    """Ask a question of a cell.

    Args:
        agent: Its model keeps its calls.
        cell: Mode, budget and seed.
        question: Its gold answers are compared here; the mode does not see them. Gold passages are names that the
            index knows.
        settings: Mark of the run's settings.

    Returns:
        The row, with what this attempt paid and without the place of its trace, and the whole answer as
        `Answer.to_dict` gives it; None where the run raised an error.

    Raises:
        CallStoreError: Calls cannot be kept, or a replay lacks one.
        EndpointError: The model cannot be reached when it is tried out.
    """
    started = time.perf_counter()
    ledger = Ledger()  # knows what a run had spent that raised an error
    text, stop, reason, spend, whole = "", "failed", "", None, None
    found = 0.0 if question.supporting else None  # of a run that raised an error nothing is known to be retrieved
    try:
        answer = await agent.aask(question.question, mode=cell.mode, budget=cell.budget, seed=cell.seed, parent=ledger)
        spend = answer.spend
        found = await asyncio.to_thread(recall, question.supporting, answer.trace, agent.index)  # may ask a server
    except (CallStoreError, EndpointError):
        raise  # every other question would fail like this one
    except Exception as problem:  # a defect that one question lays bare must not end a run of hours
        reason = f"{type(problem).__name__}: {problem}"
    else:
        text, stop, reason = answer.text, answer.stop_reason, answer.reason
        whole = answer.to_dict()
    spend = spend or AnswerSpend(ledger.spent, ledger.spent, stored=ledger.stored)
    em, f1 = score(question, text, stop)
    row = Row(
        id=question.id,
        answer=text,
        type=question.type,
        hops=question.hops,
        em=em,
        f1=f1,
        gold_recall=found,
        gold_passages=len(question.supporting),
        stop_reason=stop,
        reason=reason,
        spend=spend,
        paid=spend.paid,
        wall_seconds=time.perf_counter() - started,
        code=code_mark(cell.mode),
        settings=settings,
        trace=None,
    )
    return row, whole


def code_mark(mode: modes.Mode) -> str:
    """Mark of the source of the built-in modes and prompts; of a mode with files of its own, ``+`` and their mark.

    Rows whose first marks differ, or rows of one mode with different marks, are not comparable, and the report says so.
    """
    packages = tuple(Path(str(package.__file__)).parent for package in (modes, prompts))
    mark = _mark(packages)
    own = sorted(path for path in _sources(mode) if not any(path.is_relative_to(place) for place in packages))
    templates = _templates(mode)  # files that a user may change from one run to the next
    if not own and not templates:
        return mark
    read = b"".join([_mark(tuple(own)).encode(), *(path.read_bytes() for path in templates)])
    return f"{mark}+{hashlib.sha256(read).hexdigest()[:12]}"


def _templates(mode: modes.Mode) -> list[Path]:
    """Template files of a mode's prompts and of the modes within it."""
    values = [getattr(mode, field.name) for field in fields(mode)]
    own = getattr(mode, "prompts", "")
    inner = [path for value in values if isinstance(value, modes.Mode) for path in _templates(value)]
    return [*([expanded(own)] if own else []), *inner]


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
