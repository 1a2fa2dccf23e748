"""The statistics of `ragscale.measure` on simulated runs of which the truth is known.

*intervals*: share of intervals that contain the true mean, those of `interval` and of BCa alone, and the mean width;
scores are rates and F1-like (mass at 0 and 1), of single questions and of documents of 1 to 5 questions, which share a
draw with probability 1/2. *floor*: coverage and width of the interval of a difference with its floor and without, for
few documents. *verdicts*: equal modes; shares of comparisons that say better, worse and equivalent. *margins*: shares
called equivalent of equal modes and, an error, of modes a margin apart. *family*: ten equal modes against one; share of
runs with any better or worse, alone and by Holm. *interaction*: mode by hops; how often it is found where there is none
and where there is one, and coverage of its size. *further*: a run of as many more questions as `further` said; share
that is decided. *racing*: eight cells; share of runs in which the best one is kept, any is dropped by a worse one, the
recommendation is that of the full grid, a cell of its front is lost; share of cost saved.

    python benchmarks/known_truth.py --runs 500
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from ragscale.measure.racing import race, replay
from ragscale.measure.statistics import compare, holm, interaction, interval

Array = NDArray[np.float64]
Rng = np.random.Generator

SIZES = (20, 50, 200)

#: Shares of scores 0 and 1; the others are Beta(2, 2), of mean 1/2.
SHAPES = {"rate .5": (0.5, 0.5), "rate .9": (0.1, 0.9), "rate .05": (0.95, 0.05), "F1 .48": (0.4, 0.35),
          "F1 .15": (0.8, 0.1), "F1 .88": (0.05, 0.8), "F1 .04": (0.94, 0.02)}  # fmt: skip


def scores(shape: str, size: tuple[int, ...], rng: Rng) -> Array:
    """Scores of a shape, and their true mean by `truth`."""
    zero, one = SHAPES[shape]
    draw = rng.random(size)
    return np.where(draw < zero, 0.0, np.where(draw < zero + one, 1.0, rng.beta(2, 2, size)))


def truth(shape: str) -> float:
    """The true mean."""
    zero, one = SHAPES[shape]
    return one + (1 - zero - one) / 2


def documents(n: int, rng: Rng) -> NDArray[np.int64]:
    """The document of each question: 1 to 5 questions each."""
    return np.repeat(np.arange(n), rng.integers(1, 6, n))[:n]


def in_documents(values: Array, docs: NDArray[np.int64], rng: Rng) -> Array:
    """The values, of which half are replaced by that of their document's first question: same mean, dependent."""
    first = np.unique(docs, return_index=True)[1][docs]
    return np.where(rng.random(len(values)) < 0.5, values[first], values)


def pair(kind: str, n: int, rng: Rng) -> tuple[Array, Array]:
    """Scores of two modes with the same true mean."""
    if kind == "skewed":  # a mode that always gets a little, and one that rarely gets all
        return np.full(n, 0.1), (rng.random(n) < 0.1).astype(float)
    same = rng.random(n) < 0.5
    shape = {"F1": "F1 .48", "rate": "rate .5"}[kind]
    a, b = scores(shape, (n,), rng), scores(shape, (n,), rng)
    return a, np.where(same, a, b)


def plain(values: Array, docs: NDArray[np.int64]) -> tuple[float, float]:
    """scipy's BCa interval over documents as it comes; of width 0 where it has none."""
    sums, sizes = np.bincount(docs, values), np.bincount(docs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = bootstrap(
            (sums, sizes),
            lambda total, number, axis: total.sum(axis) / number.sum(axis),
            paired=True,
            vectorized=True,
            n_resamples=2000,
            method="BCa",
            rng=np.random.default_rng(0),
        )
    low, high = found.confidence_interval
    return (low, high) if np.isfinite(low) else (float(values.mean()), float(values.mean()))


def intervals(shape: str, n: int, runs: int, *, clustered: bool = False, seed: int = 1) -> dict[str, float]:
    """Coverage and mean width; shape ``difference`` is that of a pair of F1 scores."""
    rng = np.random.default_rng([seed, n])
    hit, hit_plain, width = [], [], []
    for _ in range(runs):
        docs = documents(n, rng) if clustered else np.arange(n)
        if shape.startswith("difference"):
            a, b = pair("F1", n, rng)
            values, mean, bounds = a - b, 0.0, (-1.0, 1.0)
        else:
            values, mean, bounds = scores(shape, (n,), rng), truth(shape), (0.0, 1.0)
        if clustered:
            values = in_documents(values, docs, rng)
        found = interval(values, docs if clustered else None, bounds=bounds)
        assert found.low is not None
        assert found.high is not None
        hit.append(found.low <= mean <= found.high)
        width.append(found.high - found.low)
        low, high = plain(values, docs)
        hit_plain.append(low <= mean <= high)
    return {"covers": float(np.mean(hit)), "plain_bca": float(np.mean(hit_plain)), "width": float(np.mean(width))}


def floors(kind: str, n: int, runs: int, *, clustered: bool = False) -> dict[str, float]:
    """Coverage and mean width of intervals of a difference with the floor of `interval` and without.

    ``F1``: of equal modes. ``small``: of modes that are nearly alike, at each question, by less than .3. ``rare``: the
    same, but for one question in ten, which one of them alone gets right.
    """
    rng = np.random.default_rng([9, n])
    hit: dict[str, list[bool]] = {"with": [], "without": []}
    width: dict[str, list[float]] = {"with": [], "without": []}
    for _ in range(runs):
        docs = documents(n, rng) if clustered else np.arange(n)
        if kind == "F1":
            a, b = pair("F1", n, rng)
            values, mean = a - b, 0.0
        else:
            values, mean = np.clip(rng.normal(0, 0.1, n), -0.3, 0.3), 0.0
            if kind == "rare":
                values, mean = np.where(rng.random(n) < 0.1, 1.0, values), 0.1
        if clustered:
            values = in_documents(values, docs, rng)
        for name, bounds in (("with", (-1.0, 1.0)), ("without", None)):
            found = interval(values, docs if clustered else None, bounds=bounds)
            low, high = (found.value if limit is None else limit for limit in (found.low, found.high))
            hit[name].append(low <= mean <= high)
            width[name].append(high - low)
    return {
        f"{what}_{name}": float(np.mean(values))
        for name in hit
        for what, values in (("covers", hit[name]), ("width", width[name]))
    }


def verdicts(kind: str, n: int, runs: int, *, clustered: bool = False) -> dict[str, float]:
    """Shares of verdicts on modes that are equal."""
    rng = np.random.default_rng([2, n])
    found = []
    for _ in range(runs):
        docs = documents(n, rng)
        a, b = pair(kind, n, rng)
        if clustered:
            both = in_documents(a + 1j * b, docs, rng)  # type: ignore[arg-type]
            a, b = both.real, both.imag
        found.append(compare(a, b, docs if clustered else None).verdict)
    return {name: float(np.mean([one == name for one in found])) for name in ("better", "worse", "equivalent")}


def margins(n: int, runs: int, *, margin: float = 0.2) -> dict[str, float]:
    """Shares called equivalent of equal modes, which is right, and of modes exactly a margin apart, which is wrong.

    The margin is wide, so that runs of this size can show equivalence at all.
    """
    rng = np.random.default_rng([8, n])
    equal, apart = [], []
    for _ in range(runs):
        a, b = pair("F1", n, rng)
        lifted = np.where(rng.random(n) < margin / (1 - truth("F1 .48")), 1.0, a)
        equal.append(compare(a, b, margin=margin).verdict == "equivalent")
        apart.append(compare(lifted, b, margin=margin).verdict == "equivalent")
    return {"equal": float(np.mean(equal)), "a_margin_apart": float(np.mean(apart))}


def family(n: int, runs: int, *, modes: int = 11) -> dict[str, float]:
    """Share of runs with any verdict of better or worse, of equal modes against the first one."""
    rng = np.random.default_rng([3, n])
    alone, corrected = [], []
    for _ in range(runs):
        hard = rng.random((n, 1)) < 0.5
        y = np.where(hard, 0.4 * scores("F1 .15", (n, modes), rng), scores("F1 .88", (n, modes), rng))
        found = [compare(y[:, at], y[:, 0]) for at in range(1, modes)]
        alone.append(any(one.verdict in ("better", "worse") for one in found))
        # Holm only takes verdicts away; statsmodels' function collects garbage first, 0.1 s each time.
        corrected.append(alone[-1] and any(one.verdict in ("better", "worse") for one in holm(found)))
    return {"any_alone": float(np.mean(alone)), "any_by_holm": float(np.mean(corrected))}


def interactions(n: int, runs: int, *, docs_of: str = "") -> dict[str, float]:
    """Five modes and one to three hops: p at most .05 without and with an interaction of .1 a hop, and its interval.

    Args:
        n: Questions.
        runs: Simulated runs.
        docs_of: ``one`` for documents whose questions have the same hops, ``mixed`` for any; else without documents.
    """
    rng = np.random.default_rng([7, n])
    without, seen, covers = [], [], []
    for _ in range(runs):
        docs = documents(n, rng)
        first = np.unique(docs, return_index=True)[1][docs]
        hops = rng.integers(1, 4, n)
        y = 0.5 + rng.normal(0, 0.15, (n, 1)) + rng.normal(0, 0.15, (n, 5))
        if docs_of:
            y = np.where(rng.random((n, 1)) < 0.5, y[first], y)
            hops = hops[first] if docs_of == "one" else hops
        y -= 0.05 * hops[:, None]
        clusters = docs if docs_of else None
        null = interaction(y, hops, clusters)
        y[:, 4] += 0.1 * (hops - 2)
        real = interaction(y, hops, clusters)
        if null is None or real is None or real.gains is None or real.gains[3].low is None:
            continue
        without.append(null.p <= 0.05)
        seen.append(real.p <= 0.05)
        covers.append(real.gains[3].low <= 0.1 <= (real.gains[3].high or 0))
    return {"false": float(np.mean(without)), "found": float(np.mean(seen)), "gain_covers": float(np.mean(covers))}


def further(runs: int) -> dict[str, float]:
    """A large run that was undecided at a small difference: whether `further` more questions decide it."""
    rng = np.random.default_rng(4)

    def drawn(n: int) -> tuple[Array, Array]:
        a, b = pair("F1", n, rng)
        return np.where(rng.random(n) < 0.2, np.minimum(1, a + 0.5), a), b

    a, b = drawn(200_000)
    lead, deviation = float((a - b).mean()), float((a - b).std())
    while True:  # a run in which what is seen is the truth, as `further` supposes
        small = compare(*drawn(40))
        near = abs(small.difference.value - lead) < 0.02 and abs(small.deviation - deviation) < 0.03
        if near and small.verdict == "undecided" and small.further:
            break
    decided = [compare(*drawn(40 + small.further)).verdict != "undecided" for _ in range(runs)]
    return {"difference": lead, "n": 40, "further": small.further, "decided": float(np.mean(decided))}


def grid_of_cells(n: int, rng: Rng, *, equal: bool = False) -> tuple[list[str], Array, Array, Array]:
    """Keys, true means of the latent score, scores and costs of eight cells."""
    means = np.full(8, 0.5) if equal else np.array([0.2, 0.45, 0.5, 0.55, 0.4, 0.3, 0.6, 0.35])
    costs = np.array([1, 2, 3, 4, 4, 5, 4, 6]) * 1000.0
    hard = rng.normal(size=(n, 1))
    y = np.clip(np.round(means + 0.35 * (0.6 * hard + rng.normal(size=(n, 8))), 1), 0, 1)
    return [f"cell {at}" for at in range(8)], means, y, costs * rng.gamma(20, 1 / 20, size=y.shape)


def racing(n: int, runs: int, *, clustered: bool = False) -> dict[str, float]:
    """Rates at which the best of eight cells is kept and any cell is dropped wrongly, and the cost that is saved."""
    rng = np.random.default_rng([5, n])
    kept, wrong, saved, same, lost = [], [], [], [], []
    for _ in range(runs):
        cells, means, y, costs = grid_of_cells(n, rng)
        docs = documents(n, rng)
        order = rng.permutation(n)
        if clustered:
            first = np.unique(docs, return_index=True)[1][docs]
            y = np.where(rng.random((n, 1)) < 0.5, y[first], y)
        found = replay(cells, y[order], {"tokens": costs}, kept=[cells[0]], clusters=docs[order] if clustered else None)
        out = {drop.cell for drop in found.drops}
        kept.append(cells[int(means.argmax())] not in out)
        wrong.append(any(means[cells.index(d.by)] < means[cells.index(d.cell)] for d in found.drops))
        saved.append(found.saved)
        same.append(found.same)
        lost.append(bool(found.front_lost))
    return {
        "best_kept": float(np.mean(kept)),
        "wrong_drop": float(np.mean(wrong)),
        "same_recommendation": float(np.mean(same)),
        "front_lost": float(np.mean(lost)),
        "saved": float(np.mean(saved)),
    }


def looks(n: int, runs: int) -> dict[str, float]:
    """The hardest case of repeated looks: eight cells, all equally good, a look after every 4 questions, any drop."""
    rng = np.random.default_rng([6, n])
    dropped = []
    for _ in range(runs):
        cells, _, y, costs = grid_of_cells(n, rng, equal=True)
        seen = [race(cells, y[:at], {"tokens": costs[:at]}) for at in range(4, n + 1, 4)]
        dropped.append(any(seen))
    return {"any_drop": float(np.mean(dropped))}


def measure(runs: int, only: str = "") -> dict[str, dict[str, float]]:
    """Everything, by name, or only that of which the name begins with `only`; each is printed at once."""
    found: dict[str, dict[str, float]] = {}

    def add(name: str, call: Callable[..., dict[str, float]], *args: Any, **options: Any) -> None:
        if name.startswith(only):
            found[name] = call(*args, **options)
            print(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in found[name].items()), flush=True)

    both = (("", False), (", clustered", True))
    for shape in [*SHAPES, "difference"]:
        for told, clustered in both:
            for n in SIZES:
                add(f"interval of {shape}{told}, n = {n}", intervals, shape, n, runs, clustered=clustered)
    for kind in ("F1", "small", "rare"):
        for told, clustered in both:
            for n in (12, 20, 50):
                add(f"floor of differences, {kind}{told}, n = {n}", floors, kind, n, runs, clustered=clustered)
    for n in SIZES:
        for kind, told, clustered in (("rate", *both[0]), ("F1", *both[0]), ("F1", *both[1]), ("skewed", *both[0])):
            add(f"verdicts on equal modes, {kind}{told}, n = {n}", verdicts, kind, n, runs, clustered=clustered)
        add(f"margins of .2, F1, n = {n}", margins, n, runs)
        add(f"family of ten equal modes against one, n = {n}", family, n, runs)
    for n in SIZES:
        for docs_of in ("", "one", "mixed"):
            told = f", documents of {docs_of} hops" if docs_of else ""
            add(f"interaction{told}, n = {n}", interactions, n, runs, docs_of=docs_of)
    add("further", further, runs)
    for n in (50, 200, 500):
        for told, clustered in both:
            add(f"racing of 8 cells{told}, n = {n}", racing, n, runs, clustered=clustered)
    add("racing of 8 equal cells, n = 200, a look every 4", looks, 200, max(1, runs // 5))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500, help="simulated runs of each kind (default: 500)")
    parser.add_argument("--json", help="also write the figures to this file")
    parser.add_argument(
        "--only", default="", help="interval, floor, verdicts, margins, family, interaction, further or racing"
    )
    options = parser.parse_args()
    found = measure(options.runs, options.only)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
