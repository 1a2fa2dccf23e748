"""Cells with their scores and costs, and the charts of one against the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ragscale.measure.questions import LEFT_OUT
from ragscale.measure.report import phrases
from ragscale.measure.report.measured import AXES, Measured
from ragscale.measure.statistics import front, interval, log_fit
from ragscale.measure.statistics.arrays import Array, Bounds
from ragscale.view import report as view
from ragscale.view.report import Axis, EstimateData

__all__ = ["cell_data", "charts", "mean_of"]

_ROUNDED = 6


def mean_of(values: Array, clusters: NDArray[np.object_], level: float, bounds: Bounds = (0.0, 1.0)) -> EstimateData:
    """The mean of a cell's values, NaN left out."""
    known = ~np.isnan(values)
    if not known.any():
        return phrases.estimate(None, 0)
    return phrases.of(interval(values[known], clusters[known], bounds=bounds, level=level))


def cell_data(measured: Measured, level: float, texts: bool) -> list[view.CellData]:
    """The cells of the report, with every run of a question."""
    matrices = {name: measured.values(name) for name in ("f1", "em", "full_recall")}
    costs = {axis: measured.cost(axis) for axis in measured.axes}
    several, seeds = len(measured.runs) > 1, len(measured.seeds()) > 1
    found = []
    for at, cell in enumerate(measured.cells):

        def mean(values: Array, bounds: Bounds = (0.0, 1.0), at: int = at) -> EstimateData:
            return mean_of(values[:, at], measured.clusters, level, bounds)

        recall = mean(matrices["full_recall"])
        family = f"{measured.runs[measured.run[at]]}: {cell.mode}" if several else cell.mode
        found.append(
            view.CellData(
                key=cell.key,
                mode=cell.mode,
                family=f"{family}, seed {cell.seed}" if seeds else family,
                budget=dict(cell.budget),
                seed=cell.seed,
                run=measured.run[at],
                score=mean(matrices["f1"]),
                em=mean(matrices["em"]),
                recall=recall if recall["n"] else None,
                cost={axis: one for axis, cost in costs.items() if (one := mean(cost, None))["n"]},
                runs=_runs(measured, at, texts),
            )
        )
    return found


def charts(measured: Measured, data: Sequence[view.CellData], level: float) -> list[view.Chart]:
    """Score against each kind of cost that is known."""
    return [_chart(measured, data, axis, level) for axis in measured.axes]


def _runs(measured: Measured, at: int, texts: bool) -> view.Runs:
    known = measured.known[:, at]

    def numbers(column: str) -> list[float | None]:
        values = measured.numbers[column][:, at].tolist()
        return [None if value != value else round(value, _ROUNDED) for value in values]

    def words(column: str) -> list[str | None]:
        values: list[str | None] = measured.texts[column][:, at].tolist()
        return values

    runs = view.Runs(
        answer=words("answer") if texts else [LEFT_OUT if one else None for one in known.tolist()],
        f1=numbers("f1"), em=numbers("em"), stop=words("stop_reason"), tokens=numbers("total_tokens"),
        serial_tokens=numbers("serial_tokens"), rounds=numbers("serial_rounds"), seconds=numbers("serial_seconds"),
    )  # fmt: skip
    if "failed" in runs["stop"]:
        failed = [stop == "failed" for stop in runs["stop"]]
        reasons = [reason if texts else LEFT_OUT for reason in words("reason")]
        runs["reason"] = [reason if no else None for reason, no in zip(reasons, failed, strict=True)]
    if "usd" in measured.axes:
        runs["usd"] = numbers(AXES["usd"])
    if not np.isnan(measured.numbers["gold_recall"][:, at]).all():
        runs["gold_recall"] = numbers("gold_recall")
    return runs


def _chart(measured: Measured, data: Sequence[view.CellData], axis: Axis, level: float) -> view.Chart:
    cost, score = measured.cost(axis), measured.values("f1")
    priced = ~np.asarray(np.isnan(cost[measured.shared]).any(axis=0))
    core = [at for at in measured.together(range(len(data))) if priced[at] and not measured.nothing_ran(at)]
    on: dict[int, bool] = {}
    stays: dict[int, float] = {}
    if core:
        kept = front(cost[:, core], score[:, core], measured.clusters)
        on, stays = dict(zip(core, kept.on, strict=True)), dict(zip(core, kept.stays, strict=True))
        if kept.clusters < 2:
            stays = {}
    curves, bare = [], []
    families = dict.fromkeys(data[at]["family"] for at in core)
    for family in families:
        cells = [at for at in core if data[at]["family"] == family]
        costs = [float(cost[measured.shared, at].mean()) for at in cells]
        fit = log_fit(costs, score[:, cells], measured.clusters, level=level)
        if fit is None:
            bare.append(family)
        else:
            curves.append(
                view.Curve(
                    family=family, a=fit.a, a_low=fit.a_low, a_high=fit.a_high, b=fit.b, c=fit.c, low=min(costs),
                    high=max(costs), points=len(cells),
                )
            )  # fmt: skip
    note = []
    if bare:
        one = ", and two questions (or documents)" if measured.documents < 2 else ""
        names = phrases.listing([phrases.code(name) for name in bare])
        note.append(f"No fit for {names}: it takes four different costs{one}.")
    left = [measured.name(at) for at in range(len(data)) if at not in core]
    if left:
        names = phrases.listing([phrases.code(name) for name in left])
        note.append(f"Not on the front for lack of questions, answers or prices: {names}.")
    if axis == "seconds":
        note.append("Seconds grow with the questions in flight, and are those of this machine and endpoint.")
    points = [view.Point(cell=at, front=on.get(at, False), share=stays.get(at)) for at in range(len(data))]
    return view.Chart(axis=axis, points=points, curves=curves, note=" ".join(note))
