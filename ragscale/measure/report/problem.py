"""Does the answer depend on the problem? Scores and the best mode by hops, type and breadth; recall; the oracle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragscale.measure.report import phrases
from ragscale.measure.report.cells import mean_of
from ragscale.measure.report.levels import Group, Pairs, turned
from ragscale.measure.report.measured import AXES, EQUAL, Measured
from ragscale.measure.statistics import (
    Comparison,
    Interaction,
    choose,
    corrected,
    holm,
    interaction,
    oracle,
    strata,
)
from ragscale.measure.statistics.arrays import best
from ragscale.view import report as view
from ragscale.view.report import Axis
from ragscale.words import counted

__all__ = ["MOST", "Dependence", "dependence"]

MOST = 12
"""Groups of one property that are shown: a property with more is no grouping."""

_NAMES = ("hops", "type", "breadth")

_FOLDS = 10
"""Parts of the questions of the cross-validation, where there are as many documents."""


@dataclass(frozen=True)
class Dependence:
    """The part of the report, with the sentences that the answer has of it."""

    shown: view.ProblemData
    sentences: list[str]


def dependence(
    measured: Measured, group: Group, pairs: Pairs, chosen: int, baseline: int, name: Callable[[int], str]
) -> Dependence:
    """The cells of one level, by the properties of the questions.

    Args:
        measured: All rows.
        group: Cells of equal cost.
        pairs: Their comparisons.
        chosen: The cell that is recommended for all questions.
        baseline: The cell that gains are told over.
        name: Name of a cell in a sentence.
    """
    cells = measured.together(group.cells)
    if not cells:
        nothing = view.ProblemData(words="", strata=[], recall_cells=[], recall=[], oracle=None)
        return Dependence(nothing, [])
    ordered = [baseline, *(cell for cell in cells if cell != baseline)] if baseline in cells else cells
    part = _Part(measured, group, pairs, ordered, chosen, name)
    tables: list[view.Strata] = []
    sentences: list[str] = []
    properties = _properties(measured)
    tests = part.interactions(properties)
    for label, values in properties:
        table, told = part.table(label, values, tests.get(label))
        tables.append(table)
        sentences += told
    findings = [*_summary(tables, pairs.level), *part.selection(), *_too_many(measured)]
    words = [f"At equal cost ({group.label}).", *findings] if findings else []
    problem = view.ProblemData(
        words=" ".join(words), strata=tables, recall_cells=ordered, recall=part.recall(), oracle=part.oracle()
    )
    return Dependence(problem, sentences)


@dataclass(frozen=True)
class _Part:
    measured: Measured
    group: Group
    pairs: Pairs
    cells: list[int]
    chosen: int
    name: Callable[[int], str]

    @property
    def scores(self) -> NDArray[np.float64]:
        return self.measured.values("f1")[:, self.cells]

    @property
    def axis(self) -> Axis:
        """That of the level; tokens where a cell's dollars are not known."""
        cost = self.measured.cost(self.group.axis)[self.measured.shared][:, self.cells]
        return "tokens" if np.isnan(cost).any() else self.group.axis

    @property
    def costs(self) -> NDArray[np.float64]:
        return self.measured.cost(self.axis)[:, self.cells]

    def interactions(self, properties: Sequence[tuple[str, list[Any]]]) -> dict[str, Interaction]:
        """Whether the modes' differences depend on a property, for each: one family of tests, corrected by Holm."""
        if len(self.cells) < 2:
            return {}
        made = {
            label: interaction(self.scores, values, self.measured.clusters, level=self.pairs.level)
            for label, values in properties
        }
        known = {label: found for label, found in made.items() if found is not None}
        p = corrected([found.p for found in known.values()])
        return {label: replace(found, p=one) for (label, found), one in zip(known.items(), p, strict=True)}

    def table(self, label: str, values: Sequence[Any], test: Interaction | None) -> tuple[view.Strata, list[str]]:
        """Scores by one property, and sentences on groups in which another mode is better, or as good and cheaper."""
        found = strata(self.costs, self.scores, values, self.measured.clusters, level=self.pairs.level)
        lines = {one.group: np.array([value == one.group for value in values]) for one in found}
        compared = self._compared(lines)
        rows, told = [], []
        for one in found:
            winner = self.cells[one.best]
            against = [
                verdict
                for other in self.cells
                if other != winner and (verdict := _between(compared, one.group, winner, other)) is not None
            ]
            sure = bool(against) and all(verdict.verdict == "better" for verdict in against)
            text = _label(label, one.group)
            sentence = self._sentence(text, one.group, lines[one.group], compared)
            told += [sentence] if sentence else []
            rows.append(
                view.StratumData(
                    label=text,
                    n=one.n,
                    scores=[phrases.of(score) for score in one.scores],
                    best=winner if sure else None,
                    words=sentence or self._highest(text, winner, against, one.sure, one.clusters),
                )
            )
        return view.Strata(by=label, cells=self.cells, strata=rows, interaction=self._interaction(label, test)), told

    def recall(self) -> list[view.Recall]:
        """Share of questions all of whose gold passages were retrieved, by their number."""
        gold = self.measured.gold
        values = self.measured.values("full_recall")[:, self.cells]
        found = []
        for number in sorted({int(n) for n in gold if n}):
            lines = gold == number
            rates = [
                mean_of(values[lines, at], self.measured.clusters[lines], self.pairs.level)
                for at in range(len(self.cells))
            ]
            n = max((rate["n"] for rate in rates), default=0)
            if n:
                found.append(view.Recall(gold=number, n=n, rates=[rate if rate["n"] else None for rate in rates]))
        return found

    def oracle(self) -> view.OracleData | None:
        """The best cell of each question."""
        if len(self.cells) < 2:
            return None
        found = oracle(self.costs, self.scores, self.measured.clusters, level=self.pairs.level)
        shared = self.measured.shared
        pick = best(self.costs[shared], self.scores[shared])
        cost: dict[view.Axis, float | None] = {}
        for axis in self.measured.axes:
            values = self.measured.values(AXES[axis])[shared][:, self.cells][np.arange(len(pick)), pick]
            cost[axis] = None if np.isnan(values).any() else float(values.mean())
        order = sorted(range(len(self.cells)), key=lambda at: -found.chosen[at])
        return view.OracleData(
            score=phrases.of(found.score),
            cost=cost,
            best=self.group.cells[0],
            picks=[
                view.Pair(name=self.measured.cells[self.cells[at]].key, value=phrases.percent(found.chosen[at]))
                for at in order
                if found.chosen[at]
            ],
            words=(
                f"It is above the best single cell by {phrases.interval(phrases.of(found.gain))}. It knows the gold "
                "answers, and collects the luck of every cell: no rule for choosing a mode reaches it."
            ),
        )

    def selection(self) -> list[str]:
        """The rule "take the best mode", and the same by a property, scored on questions that did not choose."""
        documents = self.measured.documents
        if len(self.cells) < 2 or documents < 2:
            return []
        one = choose(self.costs, self.scores, self.measured.clusters, folds=_FOLDS, level=self.pairs.level)
        part = "a tenth" if documents >= _FOLDS else f"one in {documents}"
        told = [
            f"The rule “take the mode with the highest mean” scores {phrases.interval(phrases.of(one.score))} on "
            f"questions that it was not chosen by (by cross-validation), {phrases.score(one.apparent)} on those that "
            f"chose it; without {part} of the questions it chooses the same for {phrases.percent(one.steady)} of them."
        ]
        for label, values in _properties(self.measured)[:1]:
            by = choose(self.costs, self.scores, self.measured.clusters, values, folds=_FOLDS, level=self.pairs.level)
            told.append(f"A choice for each {_group_of(label)} scores {phrases.interval(phrases.of(by.score))} there.")
        return told

    def _compared(self, lines: dict[Any, NDArray[np.bool_]]) -> dict[tuple[Any, int, int], Comparison]:
        """Each pair of cells in each group, corrected as one family."""
        chosen = [
            (group, first, second)
            for group, kept in lines.items()
            for first, second in combinations(self.cells, 2)
            if self.pairs.overlap(first, second, kept)
        ]
        made = [self.pairs.over(first, second, lines[group]) for group, first, second in chosen]
        return dict(zip(chosen, holm(made), strict=True))

    def _sentence(
        self, label: str, group: Any, lines: NDArray[np.bool_], compared: dict[tuple[Any, int, int], Comparison]
    ) -> str:
        """On a cell that is better than the chosen one in a group, or equivalent and cheaper; empty without one."""
        cost = {
            cell: float(np.nanmean(self.measured.cost(self.axis)[lines & self.measured.shared, cell]))
            for cell in self.cells
        }
        of = {cell: _between(compared, group, cell, self.chosen) for cell in self.cells if cell != self.chosen}
        known = {cell: one for cell, one in of.items() if one is not None}
        better = [cell for cell, one in known.items() if one.verdict == "better"]
        if better:
            cell = max(better, key=lambda cell: known[cell].difference.value)
            gain = phrases.interval(phrases.of(known[cell].difference))
            return f"With {label} {self.name(cell)} is better than {self.name(self.chosen)}, by {gain}."
        cheaper = [
            cell
            for cell, one in known.items()
            if one.verdict == "equivalent" and (share := phrases.ratio(cost[cell], cost[self.chosen])) and share < 0.9
        ]
        if cheaper:
            cell = min(cheaper, key=cost.__getitem__)
            part = phrases.percent(cost[cell] / cost[self.chosen])
            return (
                f"With {label} {self.name(cell)} is equivalent to {self.name(self.chosen)} and costs {part} of its "
                f"{phrases.unit(self.axis)}."
            )
        return ""

    def _highest(self, label: str, winner: int, against: Sequence[Comparison], sure: float, documents: int) -> str:
        if not against:
            return ""
        if all(one.verdict == "better" for one in against):
            return f"{label}: {self.name(winner)} is the best."
        least = min(against, key=lambda one: one.difference.value)
        if abs(least.difference.value) < EQUAL:
            return f"{label}: several modes have the highest mean, {self.name(winner)} among them."
        end = phrases.needed(least) or f", {least.verdict}"
        share = f" (in {phrases.percent(sure)} of resampled runs)" if documents > 1 else ""
        lead = phrases.interval(phrases.of(least.difference))
        return f"{label}: {self.name(winner)} has the highest mean{share}, the next one is behind by {lead}{end}."

    def _interaction(self, label: str, found: Interaction | None) -> view.InteractionData | None:
        """A test, whose p is corrected, in words."""
        if found is None:
            return None
        alpha = 1 - self.pairs.level
        of = f"the {label}"
        if found.p <= alpha:
            words = f"The differences between the modes depend on {of} (p {_p(found.p)})."
        else:
            words = (
                f"That the differences between the modes depend on {of} is not shown (p {_p(found.p)}, "
                f"{counted(found.n, 'question')}); nor is it excluded."
            )
        if found.gains:
            of_all = list(found.gains)
            most = max(range(len(of_all)), key=lambda at: (self.cells[at + 1] == self.chosen, abs(of_all[at].value)))
            gain = of_all[most]
            step = {"hops": "a hop", "breadth": "a step of breadth"}.get(label, "a step")
            words += (
                f" For each {step.partition(' ')[2]} {self.name(self.cells[most + 1])} "
                f"{'gains' if gain.value > -EQUAL else 'loses'} "
                f"{_size(phrases.of(gain))} against {self.name(self.cells[0])}."
            )
        return view.InteractionData(
            test=f"permutation test of mode x {label}, corrected by Holm", p=found.p, words=words
        )


def _summary(tables: Sequence[view.Strata], level: float) -> list[str]:
    """A sentence on the tests of all properties."""
    p = {table["by"]: table["interaction"]["p"] for table in tables if table["interaction"] is not None}
    known = {name: value for name, value in p.items() if value is not None}
    shown = [f"{name} (p {_p(value)})" for name, value in known.items() if value <= 1 - level]
    other = [f"{name} (p {_p(value)})" for name, value in known.items() if value > 1 - level]
    if shown and other:
        return [
            f"The differences between the modes depend on {phrases.listing(shown)}; on {phrases.listing(other)} "
            "that is not shown, nor excluded."
        ]
    if shown:
        return [f"The differences between the modes depend on {phrases.listing(shown)}."]
    if other:
        return [
            f"That the differences between the modes depend on {phrases.listing(other)} is not shown, nor excluded."
        ]
    return []


def _properties(measured: Measured) -> list[tuple[str, list[Any]]]:
    """The properties that divide the questions that count, hops first; hops and breadth together, last."""
    found: list[tuple[str, list[Any]]] = []
    for name in _NAMES:
        if 1 < _different(measured, name) <= MOST:
            found.append((name, measured.property(name)))
    given = dict(found)
    if "hops" in given and "breadth" in given:
        both = [
            None if hops is None or breadth is None else f"{counted(hops, 'hop')}, breadth {breadth}"
            for hops, breadth in zip(given["hops"], given["breadth"], strict=True)
        ]
        if len(set(both) - {None}) <= 2 * MOST:
            found.append(("hops and breadth", both))
    return found


def _different(measured: Measured, name: str) -> int:
    """Different values of a property among the questions that count."""
    values = zip(measured.property(name), measured.shared, strict=True)
    return len({value for value, kept in values if kept and value is not None})


def _too_many(measured: Measured) -> list[str]:
    """On properties with more values than are shown."""
    told = [f"{name} ({number} values)" for name in _NAMES if (number := _different(measured, name)) > MOST]
    return [f"Not by {phrases.listing(told)}: groups are shown of up to {MOST} values."] if told else []


def _label(by: str, group: Any) -> str:
    if by == "hops":
        return counted(group, "hop")
    return f"{by} {group}" if by in ("type", "breadth") else str(group)


def _group_of(label: str) -> str:
    return {"hops": "number of hops"}.get(label, label)


def _between(
    compared: dict[tuple[Any, int, int], Comparison], group: Any, first: int, second: int
) -> Comparison | None:
    if (group, first, second) in compared:
        return compared[group, first, second]
    found = compared.get((group, second, first))
    return None if found is None else turned(found)


def _size(found: view.EstimateData) -> str:
    """A gain or a loss without its sign, with the limits that belong to it."""
    value = found["value"] or 0.0
    if value > -EQUAL:
        return phrases.interval(found)
    low, high = (None if limit is None else -limit for limit in (found["high"], found["low"]))
    return phrases.interval(view.EstimateData(value=-value, low=low, high=high, n=found["n"]))


def _p(p: float) -> str:
    return "< .001" if p < 0.001 else f"{p:.3f}"[1:] if p < 0.1 else phrases.score(p)
