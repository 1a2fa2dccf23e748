"""Hashes that identify passages, documents and their content, and the comparison of two corpora by them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ragscale.index.storage.layout import HASHES_FILE
from ragscale.types import Passage

__all__ = [
    "ABSENT",
    "ADDED",
    "CHANGED",
    "COLUMNS",
    "UNCHANGED",
    "Hashes",
    "compare",
    "document_hash",
    "id_hash",
    "load_hashes",
    "row_hashes",
    "take_hashes",
]

COLUMNS = 5
"""Of a row: hash of the id (64 bits), of the document (2 x 64), of the whole content (2 x 64)."""
Hashes = NDArray[np.uint64]
"""Shape (rows, `COLUMNS`)."""

ADDED, CHANGED, UNCHANGED, ABSENT = range(4)
"""State of a document: new; there with other content; the same; only in the old set."""


def _digest(data: bytes, size: int) -> NDArray[np.uint64]:
    return np.frombuffer(hashlib.blake2b(data, digest_size=size).digest(), dtype="<u8")


def id_hash(identity: str) -> int:
    """Hash of an id, 64 bits; the caller compares the ids of equal hashes. Raises ``UnicodeEncodeError``."""
    return int(_digest(identity.encode("utf-8"), 8)[0])


def document_hash(name: str) -> NDArray[np.uint64]:
    """Hash of a document's id, two numbers. Raises ``UnicodeEncodeError``."""
    return _digest(name.encode("utf-8"), 16)


def row_hashes(passage: Passage) -> NDArray[np.uint64]:
    """The `COLUMNS` numbers of a passage; a passage without a document is a document by its own id."""
    content = json.dumps(
        [passage.id, passage.document, passage.title, passage.text, dict(sorted(passage.metadata.items()))]
    )
    identity = np.array([id_hash(passage.id)], dtype=np.uint64)
    return np.concatenate([identity, document_hash(passage.document or passage.id), _digest(content.encode(), 16)])


def load_hashes(folder: Path) -> Hashes:
    """Map the hashes of a segment."""
    path = folder / HASHES_FILE
    if not path.stat().st_size:
        return np.empty((0, COLUMNS), dtype=np.uint64)
    return np.memmap(path, dtype="<u8", mode="r").reshape(-1, COLUMNS)


def take_hashes(folders: Sequence[Path], rows: NDArray[np.int64]) -> Hashes:
    """Hashes of some rows of the segments in `folders`, in ascending order."""
    found, start = [], 0
    for folder in folders:
        hashes = load_hashes(folder)
        first, last = np.searchsorted(rows, [start, start + len(hashes)])
        found.append(hashes[rows[first:last] - start])
        start += len(hashes)
    return np.concatenate(found) if found else np.empty((0, COLUMNS), dtype=np.uint64)


def compare(old: Hashes, new: Hashes) -> tuple[NDArray[np.int8], NDArray[np.int8], tuple[int, int, int, int]]:
    """Compare two sets of passages by document: the same passages in the same order are an unchanged document.

    Args:
        old: Rows there are.
        new: Rows there should be.

    Returns:
        State of the document of each old row (`CHANGED`, `UNCHANGED`, `ABSENT`) and of each new row (`ADDED`,
        `CHANGED`, `UNCHANGED`), and the number of documents by state.
    """
    rows = np.concatenate([old, new])
    side = np.repeat(np.array([0, 1], dtype=np.int8), [len(old), len(new)])
    # sorting is stable: the rows of a document keep their order
    order = np.lexsort((side, rows[:, 2], rows[:, 1]))
    keys = np.column_stack([rows[order, 1:3], side[order].astype(np.uint64)])
    first = np.ones(len(rows), dtype=bool)
    first[1:] = (keys[1:] != keys[:-1]).any(axis=1)
    starts = np.flatnonzero(first)
    group = np.cumsum(first) - 1
    # an odd weight for each position makes the sum depend on the order
    weight = (2 * (np.arange(len(rows)) - starts[group]) + 1).astype(np.uint64)
    sums = np.add.reduceat(rows[order, 3:5] * weight[:, None], starts, axis=0) if len(rows) else rows[:, 3:5]
    states = np.where(keys[starts, 2] == 0, ABSENT, ADDED).astype(np.int8)
    both = np.flatnonzero((keys[starts[1:], :2] == keys[starts[:-1], :2]).all(axis=1))
    same = (sums[both] == sums[both + 1]).all(axis=1)
    states[both] = states[both + 1] = np.where(same, UNCHANGED, CHANGED)
    counts = np.bincount(np.delete(states, both), minlength=4)
    by_row = np.empty(len(rows), dtype=np.int8)
    by_row[order] = states[group]
    return by_row[: len(old)], by_row[len(old) :], (int(counts[0]), int(counts[1]), int(counts[2]), int(counts[3]))
