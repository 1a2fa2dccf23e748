"""Embedding: settings, staging and vectors of new segments, shared by building, adding and updating."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ragscale.arguments import listed
from ragscale.corpus import Columns, Problems
from ragscale.index.encoders.embedder import Embedder
from ragscale.index.options import Backend, Progress
from ragscale.index.storage.manifest import Segment
from ragscale.index.storage.passages import PassageStore
from ragscale.index.write.segments import Slab, fill_vectors, missing

__all__ = [
    "SEGMENT_ROWS",
    "EncodeSlabs",
    "Tell",
    "WriteSettings",
    "embed_segments",
    "encode_slab",
    "silent",
]

SEGMENT_ROWS = 1 << 20
"""Most rows of a segment, by default."""

Tell = Callable[[int], None]
"""Called with a number of rows that are done."""
EncodeSlabs = Callable[[Sequence[Slab], Tell], Iterator[NDArray[np.float32]]]
"""Makes the vectors of some slabs, in their order, and tells how it gets on."""

_BATCHES_A_CALL = 4


@dataclass(frozen=True, kw_only=True)
class WriteSettings:
    """`WriteOptions` with their defaults; the writers add their own."""

    columns: Columns | None = None
    problems: Problems | None = None
    batch_size: int = 64
    backend: Backend = "torch"
    devices: Sequence[str] = ()
    segment_rows: int = SEGMENT_ROWS
    progress: Progress | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "devices", tuple(listed("devices", self.devices, str)))

    @property
    def report(self) -> Progress:
        """The progress callback."""
        return self.progress or silent


def silent(stage: str, done: int, total: int) -> None:
    """No-op progress callback."""


def embed_segments(
    folder: Path,
    segments: Sequence[Segment],
    embedder: Embedder,
    *,
    batch_size: int,
    report: Progress,
    encode: EncodeSlabs | None = None,
) -> None:
    """Embed the rows of some segments that have no vectors yet.

    Args:
        folder: The index.
        segments: With their texts written.
        embedder: For documents.
        batch_size: Passages encoded at once.
        report: Progress.
        encode: Makes the vectors; by default the embedder does, in this process.
    """
    slabs = [slab for segment in segments for slab in missing(folder, segment, embedder.info)]
    total = sum(segment.rows for segment in segments)
    done = total - sum(slab.stop - slab.start for slab in slabs)

    def tell(rows: int) -> None:
        nonlocal done
        done += rows
        report("embed", done, total)

    def here(slabs: Sequence[Slab], tell: Tell) -> Iterator[NDArray[np.float32]]:
        return (encode_slab(embedder, slab, batch_size, tell) for slab in slabs)

    tell(0)
    made = (encode or here)(slabs, tell)
    for segment in segments:
        fill_vectors(folder, segment, embedder.info, made)


def encode_slab(embedder: Embedder, slab: Slab, batch_size: int, tell: Tell | None = None) -> NDArray[np.float32]:
    """Vectors of the rows of a slab, in their order; the same wherever it is called.

    Args:
        embedder: For documents.
        slab: Which rows.
        batch_size: Passages encoded at once.
        tell: Called with the rows done since the last call.
    """
    with PassageStore([slab.folder]) as store:
        texts = store.texts(slab.start, slab.stop)
    vectors = np.empty((len(texts), embedder.info.dimension), dtype=np.float32)
    for rows in _by_length(texts, _BATCHES_A_CALL * batch_size * embedder.lanes):
        vectors[rows] = embedder.encode_documents([texts[row] for row in rows], batch_size=batch_size)
        if tell:
            tell(len(rows))
    return vectors


def _by_length(texts: list[str], size: int) -> Iterator[list[int]]:
    """Positions in groups of like length, longest first: batches of one length need no padding, and twice the speed."""
    order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
    for start in range(0, len(order), size):
        yield order[start : start + size]
