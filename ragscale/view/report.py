"""The report page of a run: one JSON value (`Report`) in, one self-contained HTML page out.

The types are the contract between who measures and who shows: the page computes nothing but means of what it filters.
Every number in it comes from the value. Cells and questions are named by their place in `Report.cells` and
`Report.questions`. None stands for what is not known, never 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict  # pydantic makes no schema of typing's before Python 3.12

from ragscale.text import encodable
from ragscale.view.page import compressed, document, lean

__all__ = [
    "Axis", "CellData", "Change", "Chart", "ComparisonData", "Curve", "DropData", "EqualCost", "EstimateData",
    "InteractionData", "Level", "OracleData", "Pair", "Point", "ProblemData", "QuestionData", "Recall", "Report",
    "RunInfo", "Runs", "Stopped", "Strata", "StratumData", "Verdict", "report_page",
]  # fmt: skip

Axis = Literal["tokens", "serial_tokens", "rounds", "seconds", "usd"]
"""Cost of a question: tokens in total and along the critical path, rounds and seconds along it, dollars in total."""

Verdict = Literal["better", "worse", "equivalent", "undecided"]
"""Finding on the first cell of a pair; ``equivalent``: within the margin."""


class EstimateData(TypedDict):
    """A mean or a rate with its interval."""

    value: float | None
    """None where there is nothing to estimate it from."""
    low: float | None
    high: float | None
    """Interval at `Report.level`; None where there are too few questions for one."""
    n: int
    """Questions."""


class Pair(TypedDict):
    """A line of a table of two columns, both shown as they are."""

    name: str
    value: str


class RunInfo(TypedDict):
    """One of the runs that are shown: one, or two that are compared."""

    name: str
    """Shown wherever cells of several runs stand together: ``A``, or the folder's name."""
    path: str
    """The folder as the user gave it: for the commands that the page shows."""
    questions: int
    rows: int
    """Finished runs of a question in a cell."""
    charged: dict[str, float | None]
    """In all: ``tokens``, ``seconds``, ``usd``, ``llm_calls``; other names are shown as they are."""
    paid: dict[str, float | None]
    """The same, without what the store of model calls gave."""
    settings: list[Pair]
    """Model, index, search, concurrency: everything that a row depends on."""
    codes: list[Pair]
    """Mark of the source of modes and prompts, and the cells and rows that have it. More than one: a warning."""


class Runs(TypedDict):
    """The runs of one cell: a list a column, in the order of `Report.questions`. None: the question was not run."""

    answer: list[str | None]
    f1: list[float | None]
    em: list[float | None]
    stop: list[str | None]
    """``answered``, ``budget:<dimension>`` or ``failed``."""
    tokens: list[float | None]
    serial_tokens: list[float | None]
    rounds: list[float | None]
    seconds: list[float | None]
    usd: NotRequired[list[float | None]]
    """Left out where no price is known."""
    reason: NotRequired[list[str | None]]
    """Why a run failed; None for the others. Left out where none did."""
    gold_recall: NotRequired[list[float | None]]


class CellData(TypedDict):
    """A mode at a budget and a seed."""

    key: str
    """As the run's files name it: ``chain(steps=2)@tokens=4000,seed=7``."""
    mode: str
    """Label of the mode."""
    family: str
    """Name that the cells of one curve share: they differ in the budget only. As a rule the label of the mode."""
    budget: dict[str, float]
    """Limits by dimension; open dimensions are absent."""
    seed: int
    run: int
    """Place in `Report.runs`."""
    score: EstimateData
    """Mean F1, or whatever `Report.score` names."""
    em: EstimateData
    recall: EstimateData | None
    """Share of questions all of whose gold passages were retrieved; None where no gold passages are known."""
    cost: dict[Axis, EstimateData]
    """Mean a question; a price that is not known is left out."""
    runs: Runs


class QuestionData(TypedDict):
    """A question."""

    id: str
    question: str
    gold: list[str]
    """Gold answers."""
    type: str | None
    hops: int | None
    breadth: int | None


class Point(TypedDict):
    """A cell in a chart."""

    cell: int
    front: bool
    """Whether no other cell is better at no more cost."""
    share: float | None
    """Share of bootstrap samples in which it is on the front; None where it was not computed."""


class Curve(TypedDict):
    """The fit a·log(x + b) + c through the cells of a family."""

    family: str
    a: float
    a_low: float
    a_high: float
    """Interval of `a`: the gain where x + b grows by a factor of e."""
    b: float
    c: float
    low: float
    high: float
    """Range of x that was measured: the curve is drawn there only."""
    points: int
    """Cells that it was fitted to."""


class Chart(TypedDict):
    """Score against one kind of cost: the page takes both from the cells."""

    axis: Axis
    points: list[Point]
    curves: list[Curve]
    note: str
    """Anything to be said below it: why a family has no curve. May be empty."""


class ComparisonData(TypedDict):
    """Two cells, paired by question."""

    first: int
    second: int
    difference: EstimateData
    """Of the scores, first less second."""
    p: float | None
    """After correction for the number of comparisons; None where there was no test."""
    verdict: Verdict
    """On `first`."""
    needed: int | None
    """About as many questions more would decide; None where it is decided, or where nobody can say."""
    differ: int
    """Questions on which the scores differ."""
    same: Literal["answers", "scores"] | None
    """Whether all answers are the same (after normalisation), or else all scores; None where some differ."""


class Level(TypedDict):
    """Cells of about the same cost."""

    label: str
    """``up to 4,000 tokens``."""
    cells: list[int]
    """Best first."""
    comparisons: list[ComparisonData]
    """Of each pair of them, or of each with one of them. In either order."""
    reference: int
    """The cell that the others are compared with at first: the best, or the baseline."""


class EqualCost(TypedDict):
    """Cells at equal cost; there is one for the total and one for the serial cost."""

    axis: Axis
    levels: list[Level]
    margin: float
    """Differences below it count as equivalent."""
    method: str
    """Tests and corrections, in a sentence."""
    note: str
    """May be empty."""


class StratumData(TypedDict):
    """Questions that are alike."""

    label: str
    """``2 hops``."""
    n: int
    scores: list[EstimateData | None]
    """In the order of `Strata.cells`."""
    best: int | None
    """Place in `Report.cells`; None where no cell is better than all others."""
    words: str
    """Finding, in a sentence. May be empty."""


class InteractionData(TypedDict):
    """Test of whether the order of modes depends on the stratum."""

    test: str
    """Name of the test."""
    p: float | None
    words: str
    """Finding, in a sentence."""


class Strata(TypedDict):
    """Scores by one property of the questions."""

    by: str
    """``hops``, ``type``, ``breadth``."""
    cells: list[int]
    strata: list[StratumData]
    interaction: InteractionData | None


class Recall(TypedDict):
    """Questions with the same number of gold passages."""

    gold: int
    n: int
    rates: list[EstimateData | None]
    """Share all of whose gold passages were retrieved, in the order of `ProblemData.recall_cells`."""


class OracleData(TypedDict):
    """The best cell of each question, chosen after the fact: a bound, not a result."""

    score: EstimateData
    cost: dict[Axis, float | None]
    best: int
    """The best single cell, for comparison."""
    picks: list[Pair]
    """Cells that it picks, and the number of picks of each."""
    words: str


class ProblemData(TypedDict):
    """Dependence of the answer on the problem."""

    words: str
    """The finding, in a paragraph. May be empty."""
    strata: list[Strata]
    """Only those properties that the questions have."""
    recall_cells: list[int]
    recall: list[Recall]
    """By the number of gold passages; empty where none are known."""
    oracle: OracleData | None


class Stopped(TypedDict):
    """Ends and costs of a cell."""

    cell: int
    n: int
    stops: dict[str, int]
    """Questions by stop reason: ``answered``, ``budget:<dimension>``, ``failed``."""
    overruns: int
    """Questions that were charged more than a limit: none, if the ledger is right."""
    answered_tokens: float | None
    """Tokens charged in all for each question that got an answer, also one that a limit cut short."""
    answered_usd: float | None
    charged: dict[str, float | None]
    """In all, as in `RunInfo.charged`."""
    paid: dict[str, float | None]


class DropData(TypedDict):
    """A cell that racing has dropped."""

    cell: int
    after: int
    """Questions it had answered."""
    by: int | None
    """The cell that dominates it."""
    words: str
    """Evidence, in a sentence."""


class Change(TypedDict):
    """The same cell in two runs."""

    comparison: ComparisonData
    """First: of the later run."""
    cost: dict[Axis, EstimateData]
    """Difference of the costs, first less second."""


class Report(TypedDict):
    """Everything that the page shows, in the order in which it shows it."""

    version: Literal[1]
    title: str
    """Heading: name of the run or of the question file."""
    made: str
    """In UTC as of ISO 8601."""
    ragscale: str
    """Version."""
    score: str
    """Name of the score that is compared: ``F1``."""
    level: float
    """Confidence of all intervals: 0.95."""
    runs: list[RunInfo]
    answer: list[str]
    """The answer in words, a paragraph an item. Text between backquotes is shown as code."""
    cells: list[CellData]
    baseline: int | None
    """The cell that "once wrong, chain right" and the like start from: as a rule that of `once`."""
    charts: list[Chart]
    """In the order in which they are offered; the first one is shown first."""
    equal: list[EqualCost]
    """At equal total cost, then at equal serial cost."""
    problem: ProblemData
    stopped: list[Stopped]
    dropped: list[DropData]
    """Empty without racing."""
    changes: list[Change]
    """Empty for one run."""
    limits: list[str]
    """Limitations of the run: too few questions, prompts tuned on these questions, one model. An item a sentence."""
    questions: list[QuestionData]


TRACE_BYTES = 15_000_000
"""Most that the traces in a page take together."""
_DATA = "@DATA@"


def report_page(
    report: Report, traces: Iterable[tuple[int, int, Mapping[str, Any]]] = (), *, most: int = TRACE_BYTES
) -> str:
    """The page of a run: one HTML file that needs no network and nothing beside itself.

    Args:
        report: All that it shows.
        traces: Runs that a click on an answer opens as trace pages: cell, question, and data as of `trace_page`. They
            are taken in their order until `most` is reached, and no further; of the others the page tells the command.
        most: Bytes that they may take together, compressed.
    """
    taken: dict[str, str] = {}
    for cell, question, data in traces:
        text = json.dumps(lean(data), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        packed = compressed(encodable(text))
        most -= len(packed)
        if most < 0:
            break
        taken[f"{cell}:{question}"] = packed
    # Each trace is put into the one empty trace page that is in the file.
    empty = document("page", "run", None).replace('data-encoding="json">null<', f'data-encoding="gzip">{_DATA}<')
    more = {"traces": {"page": compressed(empty), "runs": taken}}
    return document("report", report["title"], report, inside="page", more=more)
