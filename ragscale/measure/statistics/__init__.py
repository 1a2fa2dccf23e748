"""Statistics of a run: intervals, paired comparisons, cost curves, fronts, groups and the choice of a mode.

Pure functions on arrays. A *matrix* has a line for each question and a column for each cell, NaN where a cell has no
result (`grid` makes it from rows). Functions over several cells take the questions that all of them have, and report
their number. Questions made from one source document are not independent: `clusters` names the document of each
question, documents are resampled whole, and a mean is a ratio of two sums over documents. Random parts have a fixed
seed: the same rows give the same figures. Measured coverage and error rates: docs/statistics.md.
"""

from __future__ import annotations

from ragscale.measure.statistics.arrays import grid
from ragscale.measure.statistics.choices import CrossValidatedChoice, Oracle, choose, oracle
from ragscale.measure.statistics.comparisons import Comparison, Verdict, compare, corrected, holm
from ragscale.measure.statistics.costs import Front, LogFit, front, log_fit
from ragscale.measure.statistics.groups import Interaction, Stratum, interaction, strata
from ragscale.measure.statistics.intervals import Interval, interval

__all__ = [
    "Comparison",
    "CrossValidatedChoice",
    "Front",
    "Interaction",
    "Interval",
    "LogFit",
    "Oracle",
    "Stratum",
    "Verdict",
    "choose",
    "compare",
    "corrected",
    "front",
    "grid",
    "holm",
    "interaction",
    "interval",
    "log_fit",
    "oracle",
    "strata",
]
