"""Seconds that the report of a large run takes: rows read, statistics, page. The run is made up, no model is asked.

python benchmarks/report.py [--cells 12] [--questions 1000]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ragscale.answer import AnswerSpend
from ragscale.budget import Budget
from ragscale.measure import Cell, Question, Row, Run, Store
from ragscale.modes import spec
from ragscale.types import Spend
from ragscale.view.report import report_page

MODES = ("once", "chain", "parallel")


def make(folder: Path, cells: Sequence[Cell], asked: Sequence[Question]) -> Run:
    """A run of these cells, with scores by chance."""
    source = np.random.default_rng(0)
    store = Store(folder)
    with store.writing():
        store.pin({"ragscale": "0", "index": "made up", "llm": "none", "how": "bm25"}, cells)
        store.add_questions(asked)
        for cell in cells:
            path = store.path(cell.key)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"".join(_row(question, source).to_json() + b"\n" for question in asked))
    return Run(folder)


def _row(question: Question, source: np.random.Generator) -> Row:
    score, tokens = float(source.choice([0, 0.4, 0.67, 1])), int(source.integers(200, 4000))
    spend = Spend(llm_calls=3, prompt_tokens=tokens, completion_tokens=40, queries=2, rounds=2, seconds=tokens / 900)
    return Row(
        id=question.id, answer="a town", em=float(score == 1), f1=score, gold_recall=float(source.integers(0, 3)) / 2,
        stop_reason="answered", reason="", spend=AnswerSpend(spend, spend), paid=spend, wall_seconds=spend.seconds,
        code="0", settings="0", trace=None,
    )  # fmt: skip


def main() -> None:
    """Print the seconds of each part."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--cells", type=int, default=12)
    options.add_argument("--questions", type=int, default=1000)
    given = options.parse_args()
    cells = [Cell(spec.parse(MODES[at % 3]), Budget(tokens=1000 * 2 ** (at // 3))) for at in range(given.cells)]
    asked = [
        Question(f"q{at}", f"Question {at}?", ("a town",), ("p1", "p2"), hops=1 + at % 3, breadth=1 + at % 2)
        for at in range(given.questions)
    ]
    with tempfile.TemporaryDirectory() as folder:
        run = make(Path(folder) / "run", cells, asked)
        print(f"{given.cells} cells x {given.questions} questions")
        clock, cpu = time.perf_counter(), time.process_time()
        run.rows()
        print(f"rows    {time.perf_counter() - clock:6.1f} s, of the processor {time.process_time() - cpu:.1f} s")
        clock, cpu = time.perf_counter(), time.process_time()
        report = run.report()
        print(f"report  {time.perf_counter() - clock:6.1f} s, of the processor {time.process_time() - cpu:.1f} s")
        clock = time.perf_counter()
        page = report_page(report)
        print(f"page    {time.perf_counter() - clock:6.1f} s, {len(page) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
