"""Runs whose truth is known: rows that are written through the store, without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ragscale.answer import AnswerSpend
from ragscale.budget import Budget
from ragscale.measure import Cell, Question, Row, Run, Store
from ragscale.measure.racing import Drop
from ragscale.modes import spec
from ragscale.types import Spend

HOW = {"ragscale": "0.0.0", "index": "abc", "llm": "scripted", "how": "bm25"}


@dataclass(frozen=True)
class Made:
    """A cell, and what each question scores and costs in it."""

    mode: str
    scores: Sequence[float]
    tokens: int = 1000
    serial: int | None = None
    """Tokens along the critical path; None for all of them."""
    budget: Mapping[str, float] | None = None
    seed: int = 0
    stop: str = "answered"
    recall: float | None = None
    code: str = "c0de"
    known: int | None = None
    """Gold passages that the index has; None for all of them."""
    text: str = ""
    """Of every answer; empty for one by the mode."""
    usd: float | None = None


def questions(
    number: int, *, hops: Sequence[int] = (), breadth: Sequence[int] = (), gold: int = 0, of: int = 0
) -> list[Question]:
    """So many questions; hops and breadth in turn; `of` of them a source document (0: unknown)."""
    return [
        Question(
            f"q{at:04}", f"Who was number {at}?", (f"answer {at}",), tuple(f"p{at}-{n}" for n in range(gold)),
            hops=hops[at % len(hops)] if hops else None, breadth=breadth[at % len(breadth)] if breadth else None,
            cluster=f"d{at // of}" if of else "",
        )
        for at in range(number)
    ]  # fmt: skip


def write(
    folder: Path, asked: Sequence[Question], cells: Sequence[Made], how: Mapping[str, str] = HOW,
    drops: Sequence[Drop] = (),
) -> Run:  # fmt: skip
    """A run of these questions; a cell with fewer scores than there are questions has the first ones only."""
    store = Store(folder)
    made = [Cell(spec.parse(one.mode), Budget(**(one.budget or {})), one.seed) for one in cells]  # type: ignore[arg-type]
    with store.writing():
        store.pin(dict(how), made)
        store.add_questions(asked)
        for cell, one in zip(made, cells, strict=True):
            path = store.path(cell.key)
            path.parent.mkdir(exist_ok=True)
            rows = [_row(question, score, one) for question, score in zip(asked, one.scores, strict=False)]
            path.write_bytes(b"".join(row.to_json() + b"\n" for row in rows))
        for drop in drops:
            keys = [cell.key for cell in made]
            store.add_look({"questions": drop.n, "mark": "", "cells": keys, "drops": [asdict(drop)]})
    return Run(folder)


def _row(question: Question, score: float, one: Made) -> Row:
    total = Spend(
        llm_calls=2, prompt_tokens=one.tokens - 10, completion_tokens=10, queries=1, rounds=1, seconds=2.0, usd=one.usd
    )
    serial = (
        total if one.serial is None else Spend(2, one.serial - 10, 10, queries=1, rounds=1, seconds=1.0, usd=one.usd)
    )
    failed = one.stop == "failed"
    return Row(
        id=question.id, answer="" if failed else one.text or f"answer of {one.mode}", em=float(score == 1), f1=score,
        gold_recall=one.recall if question.supporting else None, stop_reason=one.stop,
        reason="ModelError: the endpoint is gone" if failed else "", gold_passages=one.known,
        spend=AnswerSpend(total, serial), paid=total, wall_seconds=2.5, code=one.code, settings="set", trace=None,
    )  # fmt: skip
