"""Evaluation: questions with gold answers, metrics, a runner that survives being killed, and its report."""

from __future__ import annotations

from ragscale.eval.metrics import exact_match, f1, gold_recall
from ragscale.eval.questions import Question, load_questions
from ragscale.eval.report import ModeReport, summarise, table, to_json
from ragscale.eval.run import Progress, Row, evaluate, evaluate_sync

__all__ = [
    "ModeReport",
    "Progress",
    "Question",
    "Row",
    "evaluate",
    "evaluate_sync",
    "exact_match",
    "f1",
    "gold_recall",
    "load_questions",
    "summarise",
    "table",
    "to_json",
]
