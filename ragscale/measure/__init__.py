"""Measurement: questions with gold answers, metrics, a resumable runner over cells, their rows and means."""

from __future__ import annotations

from ragscale.measure.allocation import Allocation, fit
from ragscale.measure.cell import Cell, MeasuredCell
from ragscale.measure.metrics import exact_match, f1
from ragscale.measure.plan import Estimate, Planned, means, plan, total
from ragscale.measure.questions import Question, QuestionColumns, load_questions
from ragscale.measure.run import Run
from ragscale.measure.runner import SweepProgress, asweep, dry_run, sweep
from ragscale.measure.scoring import recall, score
from ragscale.measure.store import Row, Store
from ragscale.measure.table import ModeReport, in_full, summarise, table, to_json

__all__ = [
    "Allocation",
    "Cell",
    "Estimate",
    "MeasuredCell",
    "ModeReport",
    "Planned",
    "Question",
    "QuestionColumns",
    "Row",
    "Run",
    "Store",
    "SweepProgress",
    "asweep",
    "dry_run",
    "exact_match",
    "f1",
    "fit",
    "in_full",
    "load_questions",
    "means",
    "plan",
    "recall",
    "score",
    "summarise",
    "sweep",
    "table",
    "to_json",
    "total",
]
