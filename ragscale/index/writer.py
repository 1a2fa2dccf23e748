"""Rows into segments: the part of the work that building, adding, updating and compacting share."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ragscale.corpus import Record
from ragscale.index.embed import Embedder
from ragscale.index.incoming import Incoming
from ragscale.index.manifest import Segment
from ragscale.index.passages import PassageStore
from ragscale.index.segments import fill_vectors

__all__ = ["SEGMENT_ROWS", "Progress", "embed_segments", "incoming", "silent"]

SEGMENT_ROWS = 1 << 20
"""Most rows of a segment, by default."""

Progress = Callable[[str, int, int], None]
"""Called with the stage (``"read"``, ``"bm25"``, ``"embed"``), passages done and in all (0: not known yet)."""

_INCOMING = "incoming"
_BATCHES_A_CALL = 4


def silent(stage: str, done: int, total: int) -> None:
    """A `Progress` that tells nobody."""


@contextmanager
def incoming(folder: Path, records: Iterable[Record], report: Progress) -> Iterator[Incoming]:
    """The passages of a corpus, read and checked, for as long as the block runs.

    Args:
        folder: The index that they are for.
        records: The corpus.
        report: Progress.
    """
    scratch = folder / _INCOMING
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        found = Incoming(scratch, _counted(records, report))
        report("read", len(found), len(found))
        yield found
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _counted(records: Iterable[Record], report: Progress) -> Iterator[Record]:
    for number, record in enumerate(records, 1):
        yield record
        if number % 1000 == 0:
            report("read", number, 0)


def embed_segments(
    folder: Path, segments: Sequence[Segment], embedder: Embedder, *, batch_size: int, report: Progress
) -> None:
    """Embed the rows of some segments that have no vectors yet.

    Args:
        folder: The index.
        segments: With their texts written.
        embedder: For documents.
        batch_size: Passages encoded at once.
        report: Progress.
    """
    total = sum(segment.rows for segment in segments)
    first = 0
    for segment in segments:
        with PassageStore([segment.path(folder)]) as store:

            def encode(start: int, stop: int, store: PassageStore = store, first: int = first) -> NDArray[np.float32]:
                texts = store.texts(start, stop)
                slab = np.empty((len(texts), embedder.info.dimension), dtype=np.float32)
                done = first + start
                for rows in _by_length(texts, _BATCHES_A_CALL * batch_size * embedder.lanes):
                    slab[rows] = embedder.encode_documents([texts[row] for row in rows], batch_size=batch_size)
                    done += len(rows)
                    report("embed", done, total)
                return slab

            made = fill_vectors(folder, segment, embedder.info, encode)
        first += segment.rows
        if not made:
            report("embed", first, total)


def _by_length(texts: list[str], size: int) -> Iterator[list[int]]:
    """Positions in groups of like length, longest first: batches of one length need no padding, and twice the speed."""
    order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
    for start in range(0, len(order), size):
        yield order[start : start + size]
