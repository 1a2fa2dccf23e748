"""Ends of the runs, what they cost in all, and what a run cannot say."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ragscale.measure.questions import compared
from ragscale.measure.report import phrases
from ragscale.measure.report.measured import DIMENSIONS, Measured, ReadableRun
from ragscale.modes.auto.policy import within_auto
from ragscale.view import report as view
from ragscale.words import counted, dollars

__all__ = ["limits", "run_info", "stopped"]

_SUMS = ("tokens", "seconds", "usd", "llm_calls")
_SLACK = {"seconds": 0.5}
"""A limit of time ends a call that is under way, which takes a moment; of others, sums of fractions round."""
_FEW = 100
"""Below so many questions (or documents), intervals of a mean are wider than ±.08 or so."""


def stopped(measured: Measured) -> list[view.Stopped]:
    """Ends and costs of each cell, over all of its rows."""
    found = []
    for at, cell in enumerate(measured.cells):
        known = measured.known[:, at]
        stops = Counter(measured.texts["stop_reason"][known, at].tolist())
        told = sum(
            bool(str(answer).strip()) and stop != "failed"
            for answer, stop in zip(
                measured.texts["answer"][known, at], measured.texts["stop_reason"][known, at], strict=True
            )
        )
        charged, paid = (_sums(measured, at, kind) for kind in ("total", "paid"))
        tokens, usd = charged["tokens"], charged["usd"]
        over = np.zeros(len(known), dtype=bool)
        for name, limit in cell.budget.items():
            column = DIMENSIONS.get(name)
            if column in measured.numbers:
                over |= measured.numbers[column][:, at] > limit + _SLACK.get(name, limit * 1e-9)
        found.append(
            view.Stopped(
                cell=at,
                n=int(known.sum()),
                stops=dict(stops.most_common()),
                overruns=int(over.sum()),
                answered_tokens=tokens / told if told and tokens is not None else None,
                answered_usd=usd / told if told and usd is not None else None,
                charged=charged,
                paid=paid,
            )
        )
    return found


def run_info(measured: Measured, run: ReadableRun, at: int) -> view.RunInfo:
    """A run of the report."""
    mine = [cell for cell, of in enumerate(measured.run) if of == at]
    marks: dict[str, list[str]] = {}
    rows: Counter[str] = Counter()
    same = _same_code(measured, at)
    for cell in mine:
        for mark, number in Counter(_texts(measured, "code", cell)).items():
            mark = mark.partition("+")[0] if same else mark
            marks.setdefault(mark, []).append(measured.cells[cell].key)
            rows[mark] += number
    told = {**run.settings, **({"price": _price(run.settings["price"])} if "price" in run.settings else {})}
    settings = [view.Pair(name=name, value=str(value)) for name, value in told.items() if name != "version"]
    settings.append(view.Pair(name="normalisation", value=compared(run.questions.values())))
    return view.RunInfo(
        name=measured.runs[at],
        path=str(run.folder),
        questions=int(measured.known[:, mine].any(axis=1).sum()),
        rows=int(measured.known[:, mine].sum()),
        charged=_all(measured, mine, "total"),
        paid=_all(measured, mine, "paid"),
        settings=settings,
        codes=[
            view.Pair(name=mark, value=f"{counted(rows[mark], 'row')} of {phrases.listing(cells, 3)}")
            for mark, cells in marks.items()
        ],
    )


def limits(
    measured: Measured,
    runs: Sequence[ReadableRun],
    ends: Sequence[view.Stopped],
    tuned_on_these: bool,
    level: float,
    deviation: float | None,
    family: int,
) -> list[str]:
    """Limitations of the run, a sentence each.

    `deviation` is that of a question's difference between two cells; `family` the largest number of comparisons that
    are corrected together.
    """
    return [
        *_sample(measured, level, deviation, family),
        "The prompts were tuned on these questions: the scores are higher than they will be on others, and the order "
        "of the modes may be another one there."
        if tuned_on_these
        else "Whether prompts or parameters were chosen by these questions is not recorded. If they were, the scores "
        "are too high: say so by --tuned-on-these.",
        *_policies(measured),
        *_settings(measured, runs),
        *_broken(measured, runs),
        *_rows(measured, ends),
    ]


def _sample(measured: Measured, level: float, deviation: float | None, family: int) -> list[str]:
    n = int(measured.shared.sum())
    documents = measured.documents
    found = []
    if documents < _FEW:
        of = "" if documents == n else f" of {counted(documents, 'document')}"
        found.append(f"{counted(n, 'question')}{of}: {_told(n, documents, deviation, level)}.")
    least = math.ceil(1 + math.log2(family / (1 - level))) if family else 0
    if documents < least:  # a test that swaps two cells has 2**documents outcomes, and counts both sides
        found.append(
            f"No difference can be shown among {counted(family, 'comparison')} by fewer than {least} questions (or "
            f"documents), however large it is: compare fewer modes, or ask more."
        )
    if all(question.cluster == "" or question.cluster == question.id for question in measured.questions):
        found.append(
            "No source documents are known (`cluster` in the question file): questions count as independent. If "
            "several were made from one document, the intervals are too narrow."
        )
    left = int((~measured.shared).sum())
    if left:
        found.append(
            f"The figures are of {counted(n, 'question')}. Left out, as not all cells have been asked: "
            f"{counted(left, 'question')}, whose answers are in the table."
        )
    few = [measured.name(at) for at in range(len(measured.cells)) if not measured.core[at]]
    if few:
        found.append(
            f"Asked far fewer questions, or others: {phrases.listing([phrases.code(key) for key in few])}. These "
            "figures are of those, and compared on the questions in common only."
        )
    if measured.unasked:
        names = phrases.listing([phrases.code(measured.named(run, key)) for run, key in measured.unasked])
        told = "Not asked any of the questions of both runs" if len(measured.runs) > 1 else "Not begun yet"
        found.append(f"{told}: {names}.")
    if not any(measured.gold):
        found.append("No gold passages are known, so retrieval and reading cannot be told apart.")
    found.append(
        f"The intervals ({phrases.confidence(level)}) are about other questions of this kind, on this corpus. They say "
        "nothing about other kinds."
    )
    return found


def _told(questions: int, documents: int, deviation: float | None, level: float) -> str:
    """Differences that so many questions cannot tell: below 2.8 standard errors at a level of .95 (power of .8).

    Nor those that documents unlike all that were seen may reverse: the floor of `interval`.
    """
    from scipy.stats import norm

    if deviation is None or deviation <= 0:
        return "too few to tell modes apart that are close"
    unseen = 1 - ((1 - level) / 2) ** (1 / documents)
    errors = float(norm.ppf((1 + level) / 2) + norm.ppf(0.8))
    least = min(1.0, max(errors * deviation / math.sqrt(questions), unseen / (1 - unseen)))
    return f"too few to tell modes apart that differ by less than about {phrases.score(least)}"


def _policies(measured: Measured) -> list[str]:
    modes = dict.fromkeys(cell.mode for cell in measured.cells if within_auto(cell.mode) and "policy=" in cell.mode)
    if not modes:
        return []
    return [
        f"Whether the policy of {phrases.listing([*map(phrases.code, modes)])} was fitted on these questions is not "
        "recorded. If it was, the scores with it are too high: what `ragscale fit` prints is out of fold."
    ]


def _settings(measured: Measured, runs: Sequence[ReadableRun]) -> list[str]:
    models = sorted({str(run.settings.get("llm", "?")) for run in runs})
    found = []
    if len(models) == 1:
        found.append(f"One model ({phrases.code(models[0])}): with another one the order of the modes may be another.")
    if len(runs) > 1:
        names = [name for name in dict.fromkeys(key for run in runs for key in run.settings) if name != "version"]
        values = {name: [run.settings.get(name) for run in runs] for name in names}
        differing = [name for name, both in values.items() if both[0] != both[1]]
        if not _same_code(measured, 0, 1):
            differing.append("code")
        if differing:
            causes = "may come of that" if len(differing) == 1 else "has more than one possible cause"
            found.append(f"The runs differ in {phrases.listing(differing)}: a change {causes}.")
    seeds: set[Any] = {cell.seed for run in runs for cell in run.cells.values()}
    if len(seeds) == 1:
        found.append("One seed: modes that sample (votes, trees) may score otherwise with another.")
    else:
        found.append(f"{len(seeds)} seeds: modes are compared within a seed; the spread is in the table of cells.")
    return found


def _broken(measured: Measured, runs: Sequence[ReadableRun]) -> list[str]:
    """Of runs whose sweep was broken off: what was paid is more than the rows say."""
    return [
        f"{f'{phrases.code(name)} was' if len(runs) > 1 else 'The sweep was'} broken off {_times(run.broken)} and gone "
        "on with: calls that questions in flight had made by then are charged in full, and missing in what was paid."
        for name, run in zip(measured.runs, runs, strict=True)
        if run.broken
    ]


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number:,} times")


def _rows(measured: Measured, ends: Sequence[view.Stopped]) -> list[str]:
    found = []
    failed = {measured.name(one["cell"]): n for one in ends if (n := one["stops"].get("failed", 0))}
    if failed:
        told = phrases.listing([f"{phrases.code(key)} {n}" for key, n in failed.items()])
        found.append(f"Failed questions score 0 and are charged; the same sweep tries them again: {told}.")
    cut = [
        phrases.code(measured.name(one["cell"]))
        for one in ends
        if 2 * sum(n for stop, n in one["stops"].items() if stop.startswith("budget:")) > one["n"]
    ]
    if cut:
        found.append(
            f"Limits ended more than half of the questions of {phrases.listing(cut)}: a larger budget may pay."
        )
    over = sum(one["overruns"] for one in ends)
    if over:
        found.append(f"Charged more than a limit: {counted(over, 'question')}. Please report it.")
    tokens = measured.numbers["total_tokens"]
    guessed = float(np.nansum(measured.numbers["total_estimated_tokens"]) / max(1.0, float(np.nansum(tokens))))
    if guessed > 0:
        found.append(
            f"{phrases.percent(guessed)} of the tokens are estimates: the endpoint did not report them, or a limit cut "
            "the calls off."
        )
    if "usd" not in measured.axes:
        found.append("No price is known, so nothing is said about dollars.")
    for at, name in enumerate(measured.runs):
        if not _same_code(measured, at):
            where = f"run {name}" if len(measured.runs) > 1 else "the run"
            found.append(f"The source of modes or prompts changed during {where}: its rows are not comparable.")
    return found


def _price(price: dict[str, Any] | None) -> str:
    """The fields of a `Price` in words."""
    if price is None:
        return "not known"
    if price.get("hour") is not None:
        return f"{dollars(price['hour'])} an hour"
    kinds = [f"{name} {dollars(price[name])}" for name in ("input", "output", "cached") if price.get(name) is not None]
    longer = f"; beyond {price['beyond']:,} prompt tokens {_price(price['longer'])}" if price.get("longer") else ""
    return f"{', '.join(kinds)} a million tokens{longer}"


def _same_code(measured: Measured, *runs: int) -> bool:
    """Whether the source of all modes is that of one time: modes with files of their own have a mark of their own."""
    marks: dict[str, set[str]] = {}
    for at, cell in enumerate(measured.cells):
        if measured.run[at] in runs:
            marks.setdefault(cell.mode, set()).update(_texts(measured, "code", at))
    first = {mark.partition("+")[0] for found in marks.values() for mark in found}
    return len(first) <= 1 and all(len(found) <= 1 for found in marks.values())


def _texts(measured: Measured, column: str, cell: int) -> list[str]:
    return [str(text) for text in measured.texts[column][measured.known[:, cell], cell]]


def _sums(measured: Measured, cell: int, kind: str) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name in _SUMS:
        values = measured.numbers.get(f"{kind}_{name}")
        mine = None if values is None else values[measured.known[:, cell], cell]
        found[name] = None if mine is None or np.isnan(mine).any() else float(mine.sum())
    return found


def _all(measured: Measured, cells: Sequence[int], kind: str) -> dict[str, float | None]:
    each = [_sums(measured, cell, kind) for cell in cells]
    found: dict[str, float | None] = {}
    for name in _SUMS:
        values = [one[name] for one in each]
        known = [value for value in values if value is not None]
        found[name] = sum(known) if len(known) == len(values) else None
    return found
