"""Runs that were never asked: rows and traces by a rule, so that it is known what a fit must find."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from ragscale.answer import AnswerSpend
from ragscale.budget import Budget
from ragscale.measure import Cell, Question, Row, Run, Store
from ragscale.modes import get
from ragscale.types import Event, Spend, TracedHit

TOKENS = {"once": 600, "chain": 3_000, "parallel": 2_800}
Rule = Callable[[random.Random, float], dict[str, float]]
"""Scores of the modes for a question, by its spread (see `features`), which is even from 0 to 1."""


def one_mode_is_right(rng: random.Random, spread: float) -> dict[str, float]:
    """The mode that is right nine times in ten depends on the spread; others are right three times in twenty."""
    right = ("once", "chain", "parallel")[min(2, int(3 * spread))]
    return {mode: float(rng.random() < (0.9 if mode == right else 0.15)) for mode in TOKENS}


def nothing_decides(rng: random.Random, spread: float) -> dict[str, float]:
    """Each mode is right as often for every question."""
    return {mode: float(rng.random() < rate) for mode, rate in (("once", 0.4), ("chain", 0.5), ("parallel", 0.5))}


def made_up(
    folder: Path, rule: Rule, *, questions: int, seed: int = 0, each: int = 1, seeds: tuple[int, ...] = (0,),
    further: str = "",
) -> Run:  # fmt: skip
    """A run of three modes at 4,000 tokens, and of one that is always right; `each` questions a document."""
    rng, store = random.Random(seed), Store(folder)
    cells = [Cell(get(mode), Budget(tokens=4_000), number) for mode in TOKENS for number in seeds]
    cells += [Cell(get(further))] if further else []
    asked = [
        Question(f"q{i:04}", f"Who wrote book {i}?", ("Ann",), cluster=f"d{i // each}", hops=1 + i % 2)
        for i in range(questions)
    ]
    with store.writing():
        store.pin({"llm": "made-up", "index": "none", "how": "bm25", "ragscale": "0"}, cells)
        store.add_questions(asked)
        for question in asked:
            spread = rng.random()
            scores = rule(rng, spread)
            hits = [TracedHit("a", "A", 1.0), TracedHit("b", "B", 1.0), TracedHit("c", "C", 1.0 - spread)]
            events = [Event("retrieve", "", hits=[hits]).to_dict(), Event("answer", "").to_dict()]
            answer = {"question": question.question, "answer": "Ann", "citations": ["a"], "trace": events}
            for cell in cells:
                spend = Spend(llm_calls=1, prompt_tokens=TOKENS.get(cell.mode.name, 100) + rng.randrange(-50, 50))
                score = scores.get(cell.mode.name, 1.0)
                store.append(cell, Row(
                    id=question.id, answer="Ann", em=score, f1=score, gold_recall=None, stop_reason="answered",
                    reason="", spend=AnswerSpend(spend, spend), paid=spend, wall_seconds=0.1, code="c", settings="s",
                    trace=store.append_trace(cell, answer),
                ))  # fmt: skip
    return Run(folder)
