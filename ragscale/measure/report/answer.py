"""The answer in words: what to use at each cost, how sure that is, and what would tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from ragscale.measure.report import phrases
from ragscale.measure.report.levels import Group, Pairs, shown, turned
from ragscale.measure.report.measured import AXES, Measured
from ragscale.measure.statistics import Comparison, compare, holm
from ragscale.view import report as view
from ragscale.words import counted

__all__ = [
    "FEWEST", "Advice", "advised", "baseline_of", "below", "changed", "failures", "name_in", "opening", "steps",
]  # fmt: skip

FEWEST = 8
"""Documents below which no mode is recommended: an interval of their mean is hardly narrower than all scores."""

_MANY = 0.05
"""Share of failed questions from which the answer tells them."""

_SAVING = 0.9
"""Share of the best cell's cost below which an equivalent one is used in its place: less is no saving."""

_HALF = 0.5
"""Share of the best cell's cost up to which an undecided one is named as a saving."""


@dataclass(frozen=True)
class Advice:
    """The advice on cells of equal cost."""

    group: Group
    best: int
    """The cell with the highest mean; among equal ones the cheapest."""
    chosen: int
    """The best one, or the cheapest of those that are equivalent to it and save a tenth of its cost."""
    words: str


def name_in(measured: Measured, group: Group) -> Callable[[int], str]:
    """Names of cells in sentences: the mode, and the limits where a mode is there more than once."""
    modes = Counter(measured.cells[cell].mode for cell in group.cells)

    def name(cell: int) -> str:
        one = measured.cells[cell]
        return phrases.code(one.mode if modes[one.mode] == 1 else one.key)

    return name


def baseline_of(measured: Measured, group: Group) -> int:
    """The cell of ``once``, else that of ``direct``, else the cheapest one."""
    for mode in ("once", "direct"):
        for cell in group.cells:
            if measured.cells[cell].mode.partition("(")[0] == mode:
                return cell
    return min(group.cells, key=lambda cell: measured.mean(AXES[group.axis], cell))


def advised(measured: Measured, group: Group, data: Sequence[view.CellData]) -> Advice:
    """The advice on a group: the cell to use, and how sure that is.

    It is from the cells of the core, as other means are of other questions: a cell that a race dropped, or that has
    just been begun, may have the highest mean of all on the few that it was asked.
    """
    name = name_in(measured, group)
    cells = measured.together(group.cells) or group.cells
    best = cells[0]
    cost = {cell: measured.mean(AXES[group.axis], cell) for cell in cells}
    every = {cell: found for cell in group.cells if cell != best and (found := group.between(best, cell)) is not None}
    against = {cell: found for cell, found in every.items() if cell in cost}
    beaten = any(found.verdict == "worse" for found in every.values())  # by one that was asked far fewer questions
    equal = [cell for cell, found in against.items() if found.verdict == "equivalent" and not beaten]
    chosen = min([best, *(cell for cell in equal if cost[cell] < _SAVING * cost[best])], key=cost.__getitem__)
    at = f"{_at(measured, group)} "
    of = phrases.interval(data[chosen]["score"])
    n = data[best]["score"]["n"]
    asked, documents = counted(n, "question"), max((found.difference.clusters for found in against.values()), default=0)
    if data[best]["score"]["value"] == 0:
        words = f"{at}no answer of {phrases.listing([name(cell) for cell in cells])} scores above 0 ({asked})."
    elif not every:
        words = f"{at}{name(best)} scores {of} ({asked}). There is nothing at this cost to compare it with."
    elif not against:
        rest = f"{_rival(measured, best, every, name)}{_others(measured, best, _told(best, every), group, name)}"
        use = {found.verdict for found in every.values()} <= {"better", "equivalent"}
        words = f"{at}use {name(best)}: {of}{rest}" if use else f"{at}{name(best)} scores {of} ({asked}){rest}"
    elif documents < FEWEST:
        of_them, least = (
            ("", str(FEWEST)) if documents == n else (f" of {counted(documents, 'document')}", f"{FEWEST} documents")
        )
        words = (
            f"{at}{asked}{of_them} cannot tell which mode to use: at least {least} are needed. The highest mean has "
            f"{name(best)}, {phrases.interval(data[best]['score'])}{_rival(measured, best, against, name)}"
        )
    elif chosen != best:
        found, share = against[chosen], phrases.ratio(cost[chosen], cost[best])
        others = _others(measured, chosen, {best, chosen}, group, name)
        saving = f", at {phrases.percent(share)} of its {phrases.unit(group.axis)}" if share is not None else ""
        words = (
            f"{at}use {name(chosen)}: {of}; equivalent to {name(best)}, which has the highest mean "
            f"({phrases.score(data[best]['score']['value'])}, ahead by "
            f"{phrases.interval(phrases.of(found.difference))}){saving}.{others}"
        )
    else:
        others = _others(measured, best, _told(best, against), group, name)
        undecided = {cell: found for cell, found in against.items() if found.verdict == "undecided"}
        cheaper = _cheaper(measured, group, data, best, undecided, name)
        rest = f"{of}{_rival(measured, best, against, name)}{others}{cheaper}"
        if beaten:
            words = f"{at}the highest mean of those that were asked all questions has {name(best)}, {rest}"
        elif any(found.verdict in ("better", "equivalent") for found in every.values()):
            words = f"{at}use {name(best)}: {rest}"
        else:
            words = (
                f"{at}no mode is shown to be better than the others ({asked}). The highest mean has {name(best)}, "
                f"{rest}"
            )
    return Advice(group, best, chosen, words)


def below(measured: Measured, advice: Advice, data: Sequence[view.CellData], pairs: Pairs) -> str:
    """A further sentence on the best of the cells that cost less than a level of about equal cost, and may be as good;
    empty without one, and for a level by a limit, which has the cheap cells in it."""
    group, axis = advice.group, AXES[advice.group.axis]
    if group.limit is not None:
        return ""
    cells = [
        at
        for at, cell in enumerate(measured.cells)
        if measured.core[at] and measured.run[at] == group.run and cell.seed == group.seed
        and data[at]["score"]["value"] and measured.mean(axis, at) < group.low
    ]  # fmt: skip
    found = dict(zip(cells, holm([pairs.of(cell, advice.chosen) for cell in cells]), strict=True))
    return _cheaper(measured, group, data, advice.chosen, found, name_in(measured, replace(group, cells=cells)))


def steps(measured: Measured, advice: Sequence[Advice], pairs: Pairs) -> list[str]:
    """Gains by the next larger limit or cost, from the chosen cell of one to that of the next."""
    both = [(one, two) for one, two in pairwise(advice) if pairs.overlap(two.chosen, one.chosen)]
    found = holm([pairs.of(two.chosen, one.chosen) for one, two in both])
    told = [
        f"{_instead(measured, two, one)}: {_gain(measured, two.chosen, one.chosen, step)}"
        for (one, two), step in zip(both, found, strict=True)
    ]
    return [f"More budget: {'; '.join(told)}."] if told else []


def _instead(measured: Measured, more: Advice, less: Advice) -> str:
    """``2,000 tokens instead of 1,000``; without limits the modes, and what they cost."""
    if more.group.limit is not None and less.group.limit is not None:
        return (
            f"{phrases.amount(more.group.axis, more.group.limit)} instead of "
            f"{phrases.number(less.group.axis, less.group.limit)}"
        )
    many, few = (f"{phrases.code(measured.cells[one.chosen].mode)} at {one.group.label}" for one in (more, less))
    return f"{many} instead of {few}"


def opening(measured: Measured) -> str | None:
    """The only sentence of a run in which every question failed; None else."""
    if not all(map(measured.nothing_ran, range(len(measured.cells)))):
        return None
    reasons = Counter(str(reason) for reason in measured.texts["reason"][measured.known])
    reason, times = reasons.most_common(1)[0]
    return (
        f"Nothing is measured: all {counted(reasons.total(), 'run')} failed. The most frequent reason ({times} of "
        f"them): {reason.rstrip('.')}. The same sweep tries them again."
    )


def failures(measured: Measured) -> list[str]:
    """On cells in which every question failed, while others answered, and on those in which many did."""
    cells = range(len(measured.cells))
    names = [phrases.code(measured.name(at)) for at in cells if measured.nothing_ran(at)]
    some = [
        f"{phrases.code(measured.name(at))} {measured.failed(at):,} of {counted(asked, 'question')}"
        for at in cells
        if not measured.nothing_ran(at) and measured.failed(at) >= _MANY * (asked := int(measured.known[:, at].sum()))
    ]
    told = []
    if names:
        told.append(f"Every question failed in {phrases.listing(names)}: nothing is compared with that.")
    if some:
        told.append(
            f"Failed, and counted as 0: {phrases.listing(some)}. The same sweep tries them again; until then it is not "
            "the modes alone that differ."
        )
    return told


def changed(measured: Measured, pairs: Pairs, level: float) -> tuple[list[view.Change], list[str]]:
    """The cells that both of two runs have: the second run less the first one.

    In words: first how many got better, got worse, stayed and are undecided, then each of them with its figures.
    """
    keys = {(measured.run[at], cell.key): at for at, cell in enumerate(measured.cells)}
    both = [
        (keys[1, cell.key], at)
        for at, cell in enumerate(measured.cells)
        if measured.run[at] == 0 and (1, cell.key) in keys and pairs.overlap(keys[1, cell.key], at)
    ]
    if not both:
        first, second = (sorted(key for run, key in keys if run == of) for of in (0, 1))
        return [], [
            f"The runs have no cell in common: {phrases.listing([phrases.code(key) for key in first])} against "
            f"{phrases.listing([phrases.code(key) for key in second])}."
        ]
    found = holm([pairs.of(*pair) for pair in both])
    changes: list[view.Change] = []
    by: dict[str, list[str]] = {way: [] for way in _WAYS}
    same: list[str] = []
    for (later, earlier), one in zip(both, found, strict=True):
        cost: dict[view.Axis, view.EstimateData] = {}
        for axis in measured.axes:
            values = measured.cost(axis)
            difference = values[:, later] - values[:, earlier]
            if (difference == difference).any():
                spent = compare(values[:, later], values[:, earlier], measured.clusters, level=level, bounds=None)
                cost[axis] = phrases.of(spent.difference)
        changes.append(view.Change(comparison=shown(measured, later, earlier, one), cost=cost))
        name, what = phrases.code(measured.cells[later].key), measured.same(later, earlier)
        if what:
            same.append(f"{name} has {phrases.same(what, one.difference)}")
        else:
            by[one.verdict].append(f"{name} {_gain(measured, later, earlier, one)}{_paid(cost)}")
    told = [_lead(measured, by, len(same), pairs.margin)]
    told += [f"{_WAYS[way]}: {'; '.join(cells)}." for way, cells in by.items() if cells]
    kinds = {(change["comparison"]["same"], change["comparison"]["difference"]["n"]) for change in changes}
    if len(changes) == len(same) > 1 and len(kinds) == 1 and (what := kinds.pop()[0]):
        same = [f"all {counted(len(same), 'cell')} have {phrases.same(what, found[0].difference)}"]
    told += [f"The same: {'; '.join(same)}."] if same else []
    return changes, [*told, *_alone(measured, keys)]


_WAYS = {
    "better": "Better", "worse": "Worse", "undecided": "Undecided, which does not show that nothing changed",
    "equivalent": "Equivalent",
}  # fmt: skip
"""Verdicts in the order in which they are told, and how their sentences begin."""


def _lead(measured: Measured, by: dict[str, list[str]], same: int, margin: float) -> str:
    """The number of cells of each verdict: what changed for certain first."""
    better, worse, undecided, equivalent = (len(by[way]) for way in _WAYS)
    total = better + worse + undecided + equivalent + same
    rest = [
        f"{number} {way}"
        for number, way in (
            (undecided, "undecided"), (equivalent, f"equivalent (within ±{phrases.score(margin)})"), (same, "the same"),
        )
        if number
    ]  # fmt: skip
    if better and worse:
        said = f"a mixed change: of {counted(total, 'cell')} {_are(better)} better, {_are(worse)} worse"
    elif better or worse:
        way, other = ("better", "worse") if better else ("worse", "better")
        said = f"of {counted(total, 'cell')} {_are(better + worse)} {way}, none is {other}"
    else:
        said = f"none of {counted(total, 'cell')} is shown to be better or worse"
    left = f"; {', '.join(rest)}" if rest else ""
    corrected = f" Verdicts are corrected for {total} comparisons, intervals are not." if total > 1 else ""
    return (
        f"{phrases.code(measured.runs[1])} against {phrases.code(measured.runs[0])}, on "
        f"{counted(int(measured.shared.sum()), 'question')} of both: {said}{left}.{corrected}"
    )


def _are(number: int) -> str:
    return f"{number} {'is' if number == 1 else 'are'}"


def _paid(cost: dict[view.Axis, view.EstimateData]) -> str:
    """``, 1,000 more tokens a question [900, 1,100]``; empty where tokens are not known."""
    tokens = cost.get("tokens")
    if tokens is None or tokens["value"] is None:
        return ""
    value, low, high = tokens["value"], tokens["low"], tokens["high"]
    limits = [limit for limit in (low, high) if limit is not None]
    if round(value) == 0:
        return ", at the same tokens" if all(round(limit) == 0 for limit in limits) else ", at the same mean of tokens"
    if value < 0:
        limits = [-limit for limit in reversed(limits)]
    told = f" [{', '.join(phrases.number('tokens', round(limit)) for limit in limits)}]" if limits else ""
    more = "more" if value > 0 else "fewer"
    return f", {phrases.number('tokens', round(abs(value)))} {more} tokens a question{told}"


def _alone(measured: Measured, keys: dict[tuple[int, str], int]) -> list[str]:
    """On cells that only one of the runs has: nothing is compared with them."""
    known = {*keys, *measured.unasked}
    only = [
        (measured.runs[of], sorted(key for run, key in keys if run == of and (1 - of, key) not in known))
        for of in (0, 1)
    ]
    told = [
        f"in {phrases.code(run)} alone: {phrases.listing([*map(phrases.code, names)])}" for run, names in only if names
    ]
    return [f"Not compared, {'; '.join(told)}."] if told else []


def _at(measured: Measured, group: Group) -> str:
    at = f"At {group.label}" if group.limit is None else f"With {phrases.amount(group.axis, group.limit)}"
    if len(measured.runs) > 1:
        at = f"In {phrases.code(measured.runs[group.run])}, {at[0].lower()}{at[1:]}"
    return f"{at} (seed {group.seed})" if len(measured.seeds()) > 1 else at


def _told(best: int, against: dict[int, Comparison]) -> set[int]:
    """The cells that a sentence on the best one has named."""
    return {best, _nearest(against)}


def _nearest(against: dict[int, Comparison]) -> int:
    return min(against, key=lambda cell: against[cell].difference.value)


def _rival(measured: Measured, best: int, against: dict[int, Comparison], name: Callable[[int], str]) -> str:
    """Rest of a sentence on the best cell: how far it is ahead of the next one."""
    rival = _nearest(against)
    found = against[rival]
    behind = found.difference.value < 0  # of other questions than the means are of
    difference = phrases.interval(phrases.of((turned(found) if behind else found).difference))
    if not (measured.core[best] and measured.core[rival]):
        difference += f" on the {counted(found.difference.n, 'question')} of both"
    what = measured.same(best, rival)
    if what:
        lead = f"equivalent to {name(rival)}:" if found.verdict == "equivalent" else f"{name(rival)} has"
        return f"; {lead} {phrases.same(what, found.difference)}."
    if found.verdict == "equivalent":
        return f"; equivalent to {name(rival)} (a difference of {difference})."
    if found.verdict in ("better", "worse"):
        return f"; {found.verdict} than {name(rival)} by {difference}."
    if phrases.score(abs(found.difference.value)) == ".00":
        return f"; {name(rival)} has the same mean (a difference of {difference}){phrases.needed(found)}."
    return f"; {'behind' if behind else 'ahead of'} {name(rival)} by {difference}{phrases.needed(found)}."


def _others(measured: Measured, cell: int, told: set[int], group: Group, name: Callable[[int], str]) -> str:
    """A further sentence on all cells that were not named before, by their verdicts."""
    ways = {
        "better": "better than", "equivalent": "equivalent to", "undecided": "undecided against",
        "worse": "worse than", "answers": "the same answers as", "scores": "the same scores as",
    }  # fmt: skip
    by: dict[str, list[str]] = {}
    for other in group.cells:
        found = None if other in told else group.between(cell, other)
        if found is not None:
            few = "" if measured.core[other] else f" (on {counted(found.difference.n, 'question')})"
            by.setdefault(measured.same(cell, other) or found.verdict, []).append(f"{name(other)}{few}")
    parts = [f"{way} {phrases.listing(by[key])}" for key, way in ways.items() if key in by]
    return f" {parts[0][0].upper()}{'; '.join(parts)[1:]}." if parts else ""


def _cheaper(
    measured: Measured,
    group: Group,
    data: Sequence[view.CellData],
    chosen: int,
    found: dict[int, Comparison],
    name: Callable[[int], str],
) -> str:
    """A further sentence on the best of the cells that may be as good as the chosen one, against which they are
    `found`; empty without one. One that is undecided has to cost half or less."""
    axis = AXES[group.axis]
    costs = {cell: phrases.ratio(measured.mean(axis, cell), measured.mean(axis, chosen)) for cell in found}
    share = {cell: cost for cell, cost in costs.items() if cost is not None and data[cell]["score"]["value"]}
    good = [
        cell
        for cell, cost in share.items()
        if found[cell].verdict in ("better", "equivalent") or (found[cell].verdict == "undecided" and cost <= _HALF)
    ]
    if not good:
        return ""
    best = min(good, key=lambda cell: (-(data[cell]["score"]["value"] or 0.0), share[cell]))
    what, score = measured.same(best, chosen), phrases.interval(data[best]["score"])
    said = {
        "better": f"{score}, which is better", "equivalent": f"{score}, which is equivalent",
        "undecided": f"{score}, which is not shown to be worse",
    }[found[best].verdict]  # fmt: skip
    told = phrases.same(what, found[best].difference) if what else said
    return f" At {phrases.percent(share[best])} of its {phrases.unit(group.axis)} {name(best)} has {told}."


def _gain(measured: Measured, first: int, second: int, found: Comparison) -> str:
    """``+.12 [.02, .22], better, another score on 9 of 40 questions``."""
    what = measured.same(first, second)
    if what:
        return phrases.same(what, found.difference)
    value = found.difference
    limits = "" if value.low is None else f" [{phrases.score(value.low)}, {phrases.score(value.high)}]"
    told = f"{phrases.signed(value.value)}{limits}{phrases.needed(found) or f', {found.verdict}'}".replace(";", ",")
    return f"{told}, another score on {measured.differing(first, second):,} of {counted(value.n, 'question')}"
