"""`fit`: allocation learned from a run: when to go on from a first answer, in which mode, and what that is worth.

RASER-shaped (arXiv 2606.02488): the first answer is that of ``once``; boosted trees expect, from what it leaves behind
(`ragscale.modes.auto.features`), what each further mode would gain. All figures are out of fold: each question is
decided by trees that saw no question of its source document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragscale.arguments import whole
from ragscale.errors import InvalidInput
from ragscale.measure.questions import Question
from ragscale.measure.run import Run
from ragscale.measure.statistics import Comparison, Interval, compare, holm, interval
from ragscale.measure.statistics.arrays import core
from ragscale.modes.auto.features import FEATURES, features
from ragscale.modes.auto.policy import Action, CellOf, Fitted, Gain, Policy, RegressionTree, within_auto
from ragscale.words import counted

__all__ = ["LEAST", "Allocation", "fit"]

Array = NDArray[np.float64]

LEAST = 50
"""Source documents below which nothing is fitted."""
_FOLDS = 5
_BINS = 5
_TREES = {"n_estimators": 60, "learning_rate": 0.05, "max_depth": 2, "random_state": 0}
_SEEDS = 2**32  # of scikit-learn
_SEED = re.compile(r"[,@]seed=-?\d+$")
_UNIT, _BOTH = (0.0, 1.0), (-1.0, 1.0)


@dataclass(frozen=True)
class Allocation:
    """A fitted policy with what it was measured at."""

    policy: Policy
    report: dict[str, Any]
    """Figures of the fit, as `Policy.report` holds them."""

    def save(self, path: str | Path) -> Path:
        """Write the policy, for ``auto(policy=...)``; its path. Raises `InvalidInput` where it cannot be written."""
        return self.policy.save(path)


def fit(run: Run | str | Path, *, tokens: float | None = None, seed: int = 0) -> Allocation:
    """Learn from a run when to go on from the answer of ``once``, and in which mode.

    Every cell of the run with another mode is a way to go on, but for ``auto`` itself. Scores and tokens of several
    seeds are averaged. A failed question counts as it does in the run: its score is 0. A question that some cell has
    not answered yet is left out, as is one whose first answer failed, and a cell that has far fewer questions than the
    others, such as one that a race dropped. The price of tokens is the highest at which F1 is within a standard error
    of the best at any price. The gate is used where it scores higher, out of fold, than the best of the fixed modes and
    of mixtures of two of them at the same mean tokens, by a 95 % interval; otherwise, and below `LEAST` documents, the
    policy falls back to the best fixed mode.

    Args:
        run: The run, or its folder, with its traces. ``once`` must be among its modes.
        tokens: Mean tokens a question that the policy may spend; None for no limit.
        seed: Of folds and intervals; from 0 to 4,294,967,295.

    Raises:
        InvalidInput: The folder is no run, it has no cell of ``once`` or no other cell, no question has a row in every
            cell, the traces are absent, `tokens` is below what ``once`` costs, or `seed` is out of range.
    """
    remedy = f"Give a whole number from 0 to {_SEEDS - 1:,}."
    if whole("seed", seed, remedy, least=0) >= _SEEDS:
        raise InvalidInput(f"seed {seed!r}, the largest is {_SEEDS - 1:,}", remedy)
    if tokens is not None and (isinstance(tokens, bool) or not isinstance(tokens, int | float) or np.isnan(tokens)):
        raise InvalidInput(f"tokens={tokens!r} is no number", "Give one such as 4000, or leave it out.")
    run = run if isinstance(run, Run) else Run(run)
    data = _Data.of(run)
    cost = data.cost.mean(axis=0)
    limit = np.inf if tokens is None else float(tokens)
    if not _within(cost[data.first], limit):
        name = data.names[data.first]
        raise InvalidInput(
            f"tokens={tokens!r} is below the {cost[data.first]:,.0f} of the first answer ({name})",
            f"Give {int(np.ceil(cost[data.first]))} or more.",
        )
    fixed = _best(data, limit)
    n, documents = len(data.ids), len(set(data.clusters))
    settings = {name: str(run.settings.get(name, "")) for name in ("llm", "index", "how", "ragscale")}
    report: dict[str, Any] = {
        "run": run.folder.resolve().name, "settings": settings, "questions": n, "documents": documents,
        "left_out": data.left_out, "behind": data.behind, "folds": _FOLDS,
        "tokens": None if limit == np.inf else tokens, "first": data.names[data.first], "fixed": data.names[fixed],
        "cells": [_cell(data, column, seed) for column in range(len(data.names))],
    }  # fmt: skip
    actions: list[Action] = []
    price = 0.0
    if documents < LEAST:
        why = f"questions of {counted(documents, 'document')} tell too little: {LEAST} are the least"
    else:
        gains, folds, models = _crossed(data, seed)
        price = _priced(data, gains, limit)
        report |= _measured(data, gains, folds, limit, seed)
        why = _why(report["beyond_fixed"])
        actions = [
            Action(**data.cells[column], tokens=float(cost[column]), gain=_gain(model))
            for column, model in zip(data.further, models, strict=True)
        ]
        report["looks_at"] = _looks_at(models)
    report["fallback"] = why
    policy = Policy(
        first=CellOf(**data.cells[data.first]), fixed=CellOf(**data.cells[fixed]), actions=actions, price=price,
        fallback=why, fitted=Fitted(questions=n, documents=documents, settings=settings), report=_plain(report),
    )  # fmt: skip
    return Allocation(policy, policy.report)


@dataclass(frozen=True)
class _Data:
    """The questions that every cell has, as matrices: questions by cells, or by features."""

    names: list[str]
    cells: list[dict[str, Any]]
    """``mode`` and ``budget`` of each."""
    ids: list[str]
    clusters: list[str]
    questions: list[Question]
    score: Array
    cost: Array
    x: Array
    first: int
    """Column of the cell of ``once``."""
    left_out: int
    """Questions that some cell has not, or whose first answer failed."""
    behind: list[str]
    """Cells with far fewer questions than the others, such as those that a race dropped: they are no part of it."""

    @property
    def further(self) -> list[int]:
        """Columns of the cells to go on with."""
        label = self.cells[self.first]["mode"]
        return [column for column, cell in enumerate(self.cells) if cell["mode"] != label]

    @classmethod
    def of(cls, run: Run) -> _Data:
        cells: dict[str, dict[str, Any]] = {}
        found: dict[str, dict[str, list[tuple[float, float]]]] = {}
        keys: dict[str, str] = {}
        for key, cell in run.cells.items():
            if within_auto(cell.mode):
                continue
            name = _SEED.sub("", key)
            budget = {limit: float(value) for limit, value in cell.budget.items()}
            cells.setdefault(name, {"mode": cell.mode, "budget": budget})
            keys.setdefault(name, key)
        kept = run.rows()
        if kept.num_rows and all(kept["failed"].to_pylist()):
            raise InvalidInput(f"{run.folder}: every question failed", "Run the same sweep: it tries them again.")
        table = kept.select(["cell", "id", "f1", "total_tokens"]).to_pydict()
        for key, id, score, cost in zip(*table.values(), strict=True):
            name = _SEED.sub("", key)
            if name in cells:
                found.setdefault(name, {}).setdefault(id, []).append((score, cost))
        every = [id for id in run.questions if any(id in of for of in found.values())]
        ids, behind = list[str](), list[str]()
        if every:
            known = np.array([[id in found.get(name, {}) for name in cells] for id in every])
            dropped = {_SEED.sub("", drop.cell) for drop in run.drops}
            together, shared = core(known, np.array([name in dropped for name in cells]))
            ids = [id for id, one in zip(every, shared, strict=True) if one]
            behind = [name for name, one in zip(cells, together, strict=True) if not one]
            cells = {name: cell for name, cell in cells.items() if name not in behind}
        first, rows = _first_answers(run, cells, keys, found, ids, behind)
        asked, ids = ids, [id for id in ids if id in rows]
        names = [*cells]
        if not asked:
            raise InvalidInput(f"{run.folder}: no question has a row in every cell", "Run the same sweep to its end.")
        if not ids:
            raise InvalidInput(
                f"{run.folder}: its rows have no traces; a policy looks at hits and words of the answers of once",
                "Give the folder of the sweep itself, not what report --rows kept of it.",
            )
        means = np.array([[np.mean(found[name][id], axis=0) for name in names] for id in ids])
        questions = [run.questions[id] for id in ids]
        return cls(
            names=names, cells=[*cells.values()], ids=ids, clusters=[q.cluster or q.id for q in questions],
            questions=questions, score=means[:, :, 0], cost=means[:, :, 1],
            x=np.array([[rows[id][name] for name in FEATURES] for id in ids]), first=names.index(first),
            left_out=len(every) - len(ids), behind=behind,
        )  # fmt: skip


def _first_answers(
    run: Run,
    cells: dict[str, dict[str, Any]],
    keys: dict[str, str],
    found: dict[str, dict[str, list[tuple[float, float]]]],
    ids: Sequence[str],
    behind: Sequence[str],
) -> tuple[str, dict[str, dict[str, float]]]:
    """The cell of the first answer, and the features of its traces by question: of the best cell of ``once``."""
    firsts = [name for name, cell in cells.items() if cell["mode"].partition("(")[0] == "once" and name in found]
    if not firsts or len({cell["mode"] for cell in cells.values()}) < 2:
        few = f", and with far fewer questions {', '.join(behind)}" if behind else ""
        raise InvalidInput(
            f"{run.folder}: a policy needs a cell of once and one of another mode; there are {', '.join(cells)}{few}",
            "Sweep both over the same questions: --mode once,chain.",
        )

    def worth(name: str) -> tuple[float, float]:
        score, cost = np.mean([np.mean(found[name][id], axis=0) for id in ids], axis=0) if ids else (0.0, 0.0)
        return float(score), -float(cost)

    first = max(firsts, key=worth)
    told: dict[str, dict[str, float]] = {}
    for id in ids:
        row = run.row(keys[first], id)
        if row is not None and row.trace is not None:
            answer = run.trace(keys[first], id)
            told[id] = features(answer["question"], answer["answer"], answer["citations"], answer["trace"])
    return first, told


def _within(spent: float, tokens: float) -> bool:
    """Whether a mean is within `tokens`, but for how the sums of equal amounts are rounded."""
    return spent <= tokens * (1 + 1e-9)


def _best(data: _Data, tokens: float) -> int:
    """Column of the best fixed mode within mean tokens; among equals the cheapest."""
    cost, score = data.cost.mean(axis=0), data.score.mean(axis=0)
    within = [column for column in range(len(cost)) if _within(cost[column], tokens)]
    return max(within, key=lambda column: (score[column], -cost[column]))


def _model(data: _Data, column: int, lines: NDArray[np.int64]) -> Any:
    """Boosted trees of the gain of going on with a cell, fitted to some of the questions."""
    from sklearn.ensemble import GradientBoostingRegressor

    gain = data.score[lines, column] - data.score[lines, data.first]
    return GradientBoostingRegressor(**_TREES, min_samples_leaf=max(5, len(lines) // 20)).fit(data.x[lines], gain)


def _crossed(data: _Data, seed: int) -> tuple[Array, list[NDArray[np.int64]], list[Any]]:
    """Expected gains out of fold, questions by further cells; the folds; and the models fitted to all questions."""
    from sklearn.model_selection import GroupKFold

    gains = np.zeros((len(data.ids), len(data.further)))
    folds = list(GroupKFold(_FOLDS, shuffle=True, random_state=seed).split(data.x, groups=data.clusters))
    for train, test in folds:
        for at, column in enumerate(data.further):
            gains[test, at] = _model(data, column, train).predict(data.x[test])
    models = [_model(data, column, np.arange(len(data.ids))) for column in data.further]
    return gains, [test for _, test in folds], models


def _gain(model: Any) -> Gain:
    """The model as plain numbers, by the public arrays of its trees."""
    trees = []
    for [fitted] in model.estimators_:
        tree = fitted.tree_
        leaf = tree.children_left < 0
        trees.append(
            RegressionTree(
                feature=np.where(leaf, 0, tree.feature).tolist(),
                threshold=np.where(leaf, 0.0, tree.threshold).tolist(), left=tree.children_left.tolist(),
                right=tree.children_right.tolist(),
                value=(np.where(leaf, tree.value[:, 0, 0], 0.0) * model.learning_rate).tolist(),
            )
        )  # fmt: skip
    return Gain(base=float(np.ravel(model.init_.constant_)[0]), trees=trees)


def _decided(data: _Data, gains: Array, price: float | Array) -> NDArray[np.int64]:
    """Column that each question ends with, at a price of 1,000 tokens: that of the first answer where it stops."""
    further = np.array(data.further)
    values = gains - np.reshape(price, (-1, 1)) * data.cost.mean(axis=0)[further] / 1_000
    at = values.argmax(axis=1)
    going = values[np.arange(len(values)), at] > 0
    decided: NDArray[np.int64] = np.where(going, further[at], data.first)
    return decided


def _ended(data: _Data, decided: NDArray[np.int64]) -> tuple[Array, Array]:
    """Scores and tokens of the questions: the first answer is paid in any case."""
    lines = np.arange(len(decided))
    further = np.where(decided == data.first, 0.0, data.cost[lines, decided])
    return data.score[lines, decided], data.cost[:, data.first] + further


def _prices(data: _Data, gains: Array) -> Array:
    """Prices to choose from, the highest first: from one at which nothing is worth its tokens, down to 0."""
    least = max(1.0, float(data.cost.mean(axis=0)[data.further].min()))
    dearest = 1_010 * max(float(gains.max()), 1e-3) / least
    return np.append(dearest * 0.85 ** np.arange(40), 0.0)


def _priced(data: _Data, gains: Array, tokens: float, lines: NDArray[np.int64] | None = None) -> float:
    """The highest price at which F1 is within a standard error of the best at any price within mean tokens.

    Breiman's rule of one standard error, of the paired difference. `lines`: by these questions alone.
    """
    lines = np.arange(len(gains)) if lines is None else lines
    prices = _prices(data, gains)
    ended = [_ended(data, _decided(data, gains, price)) for price in prices]
    scores = [score[lines] for score, spent in ended if _within(spent[lines].mean(), tokens)]
    if not scores:
        return float(prices[0])
    best = max(scores, key=lambda score: float(score.mean()))
    for price, (score, spent) in zip(prices, ended, strict=True):
        lost = best - score[lines]
        if _within(spent[lines].mean(), tokens) and lost.mean() <= lost.std() / np.sqrt(len(lines)):
            return float(price)
    raise AssertionError("the best one is within its own error")


def _at_tokens(data: _Data, gains: Array, tokens: float) -> float:
    """The lowest price at which the questions cost `tokens` in the mean, or less."""
    prices = _prices(data, gains)
    fitting = [p for p in prices if _within(_ended(data, _decided(data, gains, p))[1].mean(), tokens)]
    return float(min(fitting))


def _mixture(data: _Data, tokens: float) -> tuple[Array, dict[str, float]]:
    """Scores of the best that fixed modes reach at mean tokens: one of them, or two at random, in given shares."""
    cost, score = data.cost.mean(axis=0), data.score.mean(axis=0)
    shares = [(float(score[one]), one, one, 1.0) for one in range(len(cost)) if _within(cost[one], tokens)]
    for one in range(len(cost)):
        for other in range(len(cost)):
            if cost[one] <= tokens < cost[other]:
                share = float((tokens - cost[one]) / (cost[other] - cost[one]))
                shares.append((float((1 - share) * score[one] + share * score[other]), one, other, 1 - share))
    _, one, other, share = max(shares)
    mixed: Array = share * data.score[:, one] + (1 - share) * data.score[:, other]
    told = {name: part for name, part in ((data.names[one], share), (data.names[other], 1 - share)) if part}
    return mixed, told


def _cell(data: _Data, column: int, seed: int) -> dict[str, Any]:
    score = interval(data.score[:, column], data.clusters, bounds=_UNIT, seed=seed)
    return {"cell": data.names[column], "f1": _limits(score), "tokens": float(data.cost[:, column].mean())}


def _measured(data: _Data, gains: Array, folds: list[NDArray[np.int64]], tokens: float, seed: int) -> dict[str, Any]:
    """The gate out of fold, beside fixed modes and the oracle; the price, too, is chosen without the fold."""
    price = np.zeros(len(gains))
    for fold in folds:
        price[fold] = _priced(data, gains, tokens, np.setdiff1d(np.arange(len(gains)), fold))
    decided = _decided(data, gains, price)
    score, spent = _ended(data, decided)
    mixed, shares = _mixture(data, float(spent.mean()))
    beyond = compare(score, mixed, data.clusters, bounds=_UNIT, seed=seed)
    top = data.score.max(axis=1)
    fixed = _best(data, tokens)
    against = compare(score, data.score[:, fixed], data.clusters, bounds=_UNIT, seed=seed)
    return {
        "f1": _limits(interval(score, data.clusters, bounds=_UNIT, seed=seed)),
        "mean_tokens": float(spent.mean()),
        "beyond_fixed": {"mixture": shares, "f1": float(mixed.mean()), **_compared(beyond)},
        "against_fixed": {"cell": data.names[fixed], **_compared(against)},
        "oracle": {
            "f1": _limits(interval(top, data.clusters, bounds=_UNIT, seed=seed)),
            "regret": _limits(interval(top - score, data.clusters, bounds=_UNIT, seed=seed)),
            "regret_of_fixed": _limits(interval(top - data.score[:, fixed], data.clusters, bounds=_UNIT, seed=seed)),
        },
        "at_equal_tokens": _beside(data, gains, seed),
        "calibration": _calibration(data, gains, price, seed),
        "choices": _choices(data, decided),
    }


def _beside(data: _Data, gains: Array, seed: int) -> list[dict[str, Any]]:
    """The gate at the mean tokens of each fixed mode that costs as much as the first answer, or more."""
    cost = data.cost.mean(axis=0)
    columns = [column for column in range(len(cost)) if cost[column] >= cost[data.first]]
    told, compared = [], []
    for column in columns:
        score, spent = _ended(data, _decided(data, gains, _at_tokens(data, gains, float(cost[column]))))
        compared.append(compare(score, data.score[:, column], data.clusters, bounds=_UNIT, seed=seed))
        told.append({
            "cell": data.names[column], "tokens": float(spent.mean()),
            "f1": _limits(interval(score, data.clusters, bounds=_UNIT, seed=seed)),
        })  # fmt: skip
    return [{**one, **_compared(two)} for one, two in zip(told, holm(compared), strict=True)]


def _calibration(data: _Data, gains: Array, price: Array, seed: int) -> list[dict[str, Any]]:
    """Expected and true gains of the mode that the gate would go on with, from the lowest expected ones up."""
    further = np.array(data.further)
    lines = np.arange(len(gains))
    at = (gains - price[:, None] * data.cost.mean(axis=0)[further] / 1_000).argmax(axis=1)
    expected = gains[lines, at]
    true = data.score[lines, further[at]] - data.score[:, data.first]
    told = []
    for part in np.array_split(np.argsort(expected, kind="stable"), _BINS):
        clusters = [data.clusters[line] for line in part]
        seen = interval(true[part], clusters, bounds=_BOTH, seed=seed)
        told.append({"questions": len(part), "expected": float(expected[part].mean()), "gain": _limits(seen)})
    return told


def _choices(data: _Data, decided: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Choices of the gate, and for which questions."""
    told = []
    for column in [data.first, *data.further]:
        lines = np.flatnonzero(decided == column)
        chosen = [data.questions[line] for line in lines]
        groups = {
            name: {str(value): sum(getattr(q, name) == value for q in chosen) for value in values}
            for name in ("hops", "breadth", "type")
            if (values := sorted({getattr(q, name) for q in data.questions} - {None}))
        }
        told.append({
            "choice": "stop" if column == data.first else data.names[column],
            "questions": len(lines),
            "f1": float(data.score[lines, column].mean()) if len(lines) else None,
            "f1_of_first": float(data.score[lines, data.first].mean()) if len(lines) else None,
            "by": groups,
            "examples": [q.id for q in chosen[:3]],
        })  # fmt: skip
    return told


def _looks_at(models: Sequence[Any]) -> dict[str, float]:
    """Share of the features in the trees' decisions, the largest first."""
    shares = np.mean([model.feature_importances_ for model in models], axis=0)
    told = {name: float(share) for name, share in zip(FEATURES, shares, strict=True) if share > 0}
    return dict(sorted(told.items(), key=lambda item: -item[1]))


def _why(beyond: dict[str, Any]) -> str:
    """Reason why the gate is not used; empty where it is."""
    low = beyond["difference"]["low"]
    if low is not None and low > 0:
        return ""
    gain, further = beyond["difference"], beyond["further"]
    limits = "" if low is None else f" [{gain['low']:+.3f}, {gain['high']:+.3f}]"
    more = f"; about {further:,} more questions would tell" if further and gain["value"] > beyond["margin"] else ""
    return f"no gain over fixed modes at equal mean tokens, out of fold: {gain['value']:+.3f}{limits} of F1{more}"


def _limits(seen: Interval) -> dict[str, float | None]:
    return {"value": seen.value, "low": seen.low, "high": seen.high}


def _compared(found: Comparison) -> dict[str, Any]:
    return {
        "difference": _limits(found.difference), "p": found.p, "verdict": found.verdict, "further": found.further,
        "margin": found.margin,
    }  # fmt: skip


def _plain(report: dict[str, Any]) -> dict[str, Any]:
    """The report as JSON would give it back."""
    return dict(json.loads(json.dumps(report, allow_nan=False)))
