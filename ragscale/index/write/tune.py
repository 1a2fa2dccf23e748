"""Tuning: measures the recall of an approximate index against exact search, and finds its cheapest settings."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ragscale.errors import InvalidInput
from ragscale.index.dense import exact
from ragscale.index.dense.auto import FLAT, default_refine
from ragscale.index.dense.search import DenseIndex, open_dense
from ragscale.index.encoders.embedder import Embedder
from ragscale.index.storage.manifest import DenseInfo
from ragscale.index.storage.snapshot import Snapshot
from ragscale.index.storage.vectors import Vectors
from ragscale.index.write.maintain import retune
from ragscale.ranking import Mask, Ranking
from ragscale.words import counted

__all__ = ["Trial", "Tuning", "efforts", "tune", "tune_index"]

_REFINES = (1, 2, 4, 8, 16, 32, 64)
_EF = (16, 32, 64, 128, 256, 512, 1024)
_BATCH = 64
_TOLERANCE = 1.5e-6


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting that was measured."""

    refine: int
    """Candidates a hit that are scored again."""
    settings: dict[str, int]
    """``nprobe`` or ``efSearch``; empty where the index has neither."""
    recall: float
    """Share of the k nearest that were found, 0 to 1."""
    milliseconds: float
    """CPU time of a query in batches of 64."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """Result of a tuning."""

    trials: tuple[Trial, ...]
    """In the order in which they were measured."""
    chosen: Trial
    """The cheapest that reaches the recall, else the one with the highest."""
    reached: bool
    """Whether `chosen` has the wanted recall."""
    queries: int
    """Number of queries measured with."""


def tune_index(
    path: str | Path,
    *,
    recall: float = 0.95,
    k: int = 10,
    sample: int = 256,
    queries: Sequence[str] = (),
    embedder: str | Path | None = None,
    report: Callable[[Trial], None] | None = None,
) -> Tuning:
    """Find the cheapest settings of an index that reach a recall, and commit them; nothing is changed where none does.

    Measured is the approximate index itself, also while it has so few passages that searches are exact anyway (up to
    16,384, or as many as 32 times the candidates): the settings stay when it grows.

    Args:
        path: The index folder.
        recall: Wanted share of the k nearest passages, above 0, at most 1.
        k: Hits that count.
        sample: Stored vectors to search for, each without itself; evenly spaced.
        queries: Questions to search for besides.
        embedder: Where the embedder lies on this machine, for `queries`, if not under its recorded name.
        report: Called after each trial.

    Raises:
        InvalidInput: An argument out of range, or an index that has nothing to tune.
        RagscaleError: See `Index.open` and `add`.
    """
    if not 0 < recall <= 1 or k < 1 or sample < 0 or not (sample or queries):
        raise InvalidInput(
            f"recall {recall:g}, k {k}, a sample of {sample} and {counted(len(queries), 'query')} cannot be measured",
            "Give a recall between 0 and 1, k of at least 1, and a sample or queries.",
        )
    snapshot = Snapshot(Path(path))
    try:
        manifest, info = snapshot.manifest, snapshot.manifest.dense
        if info is None or manifest.embedder is None or info.factory == FLAT:
            kind = "no vectors" if info is None else "a Flat index, which is exact"
            raise InvalidInput(f"{path} has {kind}: nothing to tune", "Only approximate indexes have settings.")
        vectors, deleted = snapshot.vectors(), snapshot.deleted()
        asked = None
        if queries:
            asked = Embedder.for_queries(manifest.embedder, source=embedder).encode_queries(list(queries))
        index = open_dense(snapshot)
        found = tune(
            index, vectors, info, recall=recall, k=k, sample=sample, queries=asked, deleted=deleted, report=report
        )
    finally:
        snapshot.release()
    if found.reached:
        retune(path, replace(info, refine=found.chosen.refine, settings=found.chosen.settings))
    return found


def tune(
    index: DenseIndex,
    vectors: Vectors,
    info: DenseInfo,
    *,
    recall: float,
    k: int,
    sample: int,
    queries: NDArray[np.float32] | None = None,
    deleted: Mask | None = None,
    report: Callable[[Trial], None] | None = None,
) -> Tuning:
    """`tune_index` for an index that is open: `queries` are vectors, and nothing is committed."""
    live = np.arange(len(vectors)) if deleted is None else np.flatnonzero(~deleted)
    count = min(sample, len(live))
    rows = live[np.arange(count) * len(live) // max(count, 1)]
    asked = vectors.take(rows)
    if queries is not None:
        asked, rows = np.concatenate((asked, queries)), np.concatenate((rows, np.full(len(queries), -1)))
    bounds = _bounds(vectors, asked, rows, k, None if deleted is None else ~deleted)
    trials: list[Trial] = []

    def measure(settings: dict[str, int], refine: int) -> Trial:
        trial = _measure(index.tuned(refine, settings), refine, settings, asked, rows, bounds, k)
        trials.append(trial)
        if report is not None:
            report(trial)
        return trial

    good = _search(measure, info, recall)
    chosen = min(good, key=lambda trial: trial.milliseconds) if good else max(trials, key=lambda trial: trial.recall)
    return Tuning(tuple(trials), chosen, bool(good), len(asked))


def _search(measure: Callable[[dict[str, int], int], Trial], info: DenseInfo, recall: float) -> list[Trial]:
    """The trials that reach the recall, one for each effort for which it is worth knowing."""
    good: list[Trial] = []
    refines = [1] if default_refine(info.factory) == 1 else list(_REFINES)
    for settings in efforts(info):
        trial = measure(settings, refines[-1])
        if good and trial.milliseconds > min(other.milliseconds for other in good):
            break  # more effort costs more than what was found, with fewer candidates even
        if trial.recall < recall:
            continue  # and fewer candidates would find less
        good.append(trial)
        for refine in refines[:-1]:
            trial = measure(settings, refine)
            if trial.recall >= recall:
                good.append(trial)
                break
        # with more effort, only fewer candidates can be cheaper
        refines = [refine for refine in refines if refine < good[-1].refine]
        if not refines:
            break
    return good


def _bounds(
    vectors: Vectors, asked: NDArray[np.float32], rows: NDArray[np.int64], k: int, mask: Mask | None
) -> list[list[float]]:
    """The scores of the k nearest rows of each query, itself left out."""
    found = exact.search(vectors, np.ascontiguousarray(asked), k + 1, mask)
    return [[score for _, score in _others(ranking, row, k)] for ranking, row in zip(found, rows.tolist(), strict=True)]


def _others(ranking: Ranking, row: int, k: int) -> Ranking:
    return [pair for pair in ranking if pair[0] != row][:k]


def _measure(
    index: DenseIndex,
    refine: int,
    settings: dict[str, int],
    asked: NDArray[np.float32],
    rows: NDArray[np.int64],
    bounds: list[list[float]],
    k: int,
) -> Trial:
    found: list[Ranking] = []
    began = time.process_time()
    for start in range(0, len(asked), _BATCH):
        found += index.search(asked[start : start + _BATCH], k + 1)
    seconds = time.process_time() - began
    # by score, not by row: of equal passages any will do
    hits = sum(
        sum(score >= bound[-1] - _TOLERANCE for _, score in _others(ranking, row, k))
        for ranking, row, bound in zip(found, rows.tolist(), bounds, strict=True)
        if bound
    )
    recall = hits / max(sum(map(len, bounds)), 1)
    return Trial(refine, settings, round(min(recall, 1.0), 4), round(1000 * seconds / len(asked), 4))


def efforts(info: DenseInfo) -> Iterator[dict[str, int]]:
    """Settings from the cheapest on."""
    if "nprobe" in info.settings:
        match = re.search(r"IVF(\d+)", info.factory)
        lists = int(match[1]) if match else info.settings["nprobe"]
        for power in range(lists.bit_length()):
            yield {"nprobe": min(2**power, lists)}
        if lists & (lists - 1):
            yield {"nprobe": lists}
    elif "efSearch" in info.settings:
        yield from ({"efSearch": value} for value in _EF)
    else:
        yield {}
