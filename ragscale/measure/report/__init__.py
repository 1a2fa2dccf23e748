"""`report`: the rows of a run in, everything that a report shows out, as one JSON value.

What it holds and how it is read: docs/report.md. The statistics are those of `ragscale.measure.statistics`.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import isnan

from ragscale.errors import InvalidInput
from ragscale.measure.questions import LEFT_OUT
from ragscale.measure.racing import Drop
from ragscale.measure.report import answer, ends, phrases
from ragscale.measure.report.cells import cell_data, charts
from ragscale.measure.report.levels import CostLevels, Group, Pairs
from ragscale.measure.report.measured import AXES, Measured, ReadableRun, measured
from ragscale.measure.report.problem import dependence
from ragscale.version import __version__
from ragscale.view import report as view
from ragscale.view.report import Axis, Report
from ragscale.words import counted

__all__ = ["report"]

_LIMITED: tuple[Axis, ...] = ("tokens", "serial_tokens", "rounds", "seconds", "usd")


def report(
    run: ReadableRun,
    other: ReadableRun | None = None,
    *,
    margin: float = 0.05,
    level: float = 0.95,
    tuned_on_these: bool = False,
    texts: bool = True,
) -> Report:
    """The report of a run: what it says, and what it does not.

    Args:
        run: The run.
        other: A later run of the same questions, to compare with.
        margin: Difference of F1 that is too small to matter: closer modes are equivalent.
        level: Confidence of the intervals; ``1 - level`` is the error rate of the verdicts of a level of cost.
        tuned_on_these: Whether prompts or parameters were chosen by these questions. The report then says that its
            scores are too high.
        texts: Whether the texts of questions and answers are in it; False for a report that is published.

    Returns:
        A JSON value; `ragscale.view.report.report_page` makes the page of it.

    Raises:
        InvalidInput: No question is finished, the runs have none in common, or a number is out of range.
    """
    if not 0 <= margin < 1 or not 0 < level < 1:
        raise InvalidInput(
            f"margin {margin!r}, level {level!r}", "Give a margin from 0 to 1, and a level such as 0.95."
        )
    runs = [run] if other is None else [run, other]
    found = measured(runs)
    pairs = Pairs(found, margin, level)
    data = cell_data(found, level, texts)
    levels = {axis: CostLevels.of(found, axis, pairs) for axis in _axes(found)}
    main = levels[_main(found)]
    latest = [one for one in main.groups if one.run == len(runs) - 1]
    advice = [answer.advised(found, group, data) for group in latest if group.seed == found.advised_seed]

    def standing(one: answer.Advice) -> tuple[bool, float, float]:
        return bool(found.core[one.chosen]), found.mean("f1", one.chosen), -found.mean(AXES[main.axis], one.chosen)

    head = max(advice, key=standing)
    # a level of one cell has nothing to tell of how modes depend on the problem
    level_of = max(advice, key=lambda one: (len(found.together(one.group.cells)) > 1, *standing(one)))
    baseline = answer.baseline_of(found, level_of.group)
    name = answer.name_in(found, level_of.group)
    depends = dependence(found, level_of.group, pairs, level_of.chosen, baseline, name)
    changes, told = answer.changed(found, pairs, level) if other is not None else ([], [])
    words = [text for text in (answer.opening(found),) if text]
    if not words:
        words = [
            *told,
            *(f"{one.words}{answer.below(found, one, data, pairs)}" for one in advice),
            *([" ".join(depends.sentences)] if depends.sentences else []),
            *answer.steps(found, advice, pairs),
            *_serial(found, levels, main, data, pairs),
            *_seeds(found, head.chosen),
            *answer.failures(found),
        ]
    stopped = ends.stopped(found)
    tables = [one.shown(found, margin) for one in levels.values()]
    return Report(
        version=1,
        title=" and ".join(found.runs) if other is not None else found.runs[0],
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        ragscale=__version__,
        score="F1",
        level=level,
        runs=[ends.run_info(found, one, at) for at, one in enumerate(runs)],
        answer=words,
        cells=data,
        baseline=baseline,
        charts=charts(found, data, level),
        equal=[table for table in tables if table is not None],
        problem=depends.shown,
        stopped=stopped,
        dropped=[drop for at, one in enumerate(runs) for drop in _dropped(found, at, one.drops)],
        changes=changes,
        limits=ends.limits(found, runs, stopped, tuned_on_these, level, _deviation(head.group), _family(levels)),
        questions=[
            view.QuestionData(
                id=one.id,
                question=one.question if texts else LEFT_OUT,
                gold=list(one.answers) if texts else [],
                type=one.type,
                hops=one.hops,
                breadth=one.breadth,
            )
            for one in found.questions
        ],
    )


def _axes(found: Measured) -> list[Axis]:
    """Kinds of cost at which cells are compared: total and serial tokens, and those that limits were set for."""
    limited = {name for cell in found.cells for name in cell.budget}
    return [axis for axis in _LIMITED if axis in found.axes and (axis in limited or axis in _LIMITED[:2])]


def _main(found: Measured) -> Axis:
    """The kind of cost that most cells of the last run have a limit of; total tokens where none has any."""
    last = max(found.run)
    limited = Counter(
        name for cell, run in zip(found.cells, found.run, strict=True) if run == last for name in cell.budget
    )
    return max(_axes(found), key=lambda axis: limited[axis])


def _serial(
    found: Measured, levels: dict[Axis, CostLevels], main: CostLevels, data: Sequence[view.CellData], pairs: Pairs
) -> list[str]:
    """The advice on the serial level of the best mean, where serial cost was not the question."""
    if main.axis == "serial_tokens":
        return []
    groups = [
        group
        for group in levels["serial_tokens"].groups
        if len(group.cells) > 1 and group.run == max(found.run) and group.seed == found.advised_seed
    ]
    if not groups:
        return []
    best = max(
        groups, key=lambda group: (bool(found.core[group.cells[0]]), found.mean("f1", group.cells[0]), -group.low)
    )
    advice = answer.advised(found, best, data)
    return [f"At equal serial cost: {_lower(advice.words)}{answer.below(found, advice, data, pairs)}"]


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]


def _seeds(found: Measured, chosen: int) -> list[str]:
    """The scores of the chosen cell with the other seeds."""
    one = found.cells[chosen]
    scores = {
        cell.seed: found.mean("f1", at)
        for at, cell in enumerate(found.cells)
        if (cell.mode, cell.budget, found.run[at]) == (one.mode, one.budget, found.run[chosen])
    }
    if len(scores) < 2:
        return []
    told = phrases.listing([f"{phrases.score(value)} (seed {seed})" for seed, value in sorted(scores.items())])
    return [f"{phrases.code(one.mode)} with other seeds: {told}. The advice is from seed {one.seed} alone."]


def _deviation(group: Group) -> float | None:
    """Standard deviation of a question's difference, of the middle one of the comparisons."""
    known = [found.deviation for found in group.comparisons.values() if not isnan(found.deviation)]
    return statistics.median(known) if known else None


def _family(levels: Mapping[Axis, CostLevels]) -> int:
    """Comparisons of the level that has most of them."""
    return max((len(group.comparisons) for one in levels.values() for group in one.groups), default=0)


def _dropped(found: Measured, run: int, drops: Sequence[Drop]) -> list[view.DropData]:
    place = {cell.key: at for at, cell in enumerate(found.cells) if found.run[at] == run}
    return [
        view.DropData(
            cell=place[one.cell],
            after=one.n,
            by=place.get(one.by),
            words=(
                f"{phrases.code(one.by)} was better by {phrases.score(one.difference)} (at least "
                f"{phrases.score(one.bound)}, however often one looks) for {one.cost_by:,.0f} instead of "
                f"{one.cost:,.0f} tokens.{_all_the_same(found, place[one.cell], one)}"
            ),
        )
        for one in drops
        if one.cell in place
    ]


def _all_the_same(found: Measured, cell: int, drop: Drop) -> str:
    """On a cell that has more questions than its drop looked at, from a sweep that did not race."""
    asked = int(found.known[:, cell].sum())
    return f" It has been asked {counted(asked, 'question')} all the same." if asked > drop.n else ""
