"""Sessions: an index opened for writing, and the changes that a write made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ragscale.index.storage.checksums import check_files
from ragscale.index.storage.durable import settled, storage_errors
from ragscale.index.storage.locks import writing
from ragscale.index.storage.manifest import Manifest
from ragscale.index.storage.passages import PassageStore
from ragscale.index.storage.snapshot import load_deleted, open_passages, refuse_other_words
from ragscale.index.write.commit import tidy

__all__ = ["SHOWN", "Changes", "Session", "session"]

SHOWN = 5
"""Most names that an error lists."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes of a write, in documents; a passage without a document counts as one."""

    added: int = 0
    changed: int = 0
    """Documents whose passages were replaced."""
    unchanged: int = 0
    """Documents that were there with the same content, and were left alone."""
    removed: int = 0
    passages: int = 0
    """Passages written: what had to be embedded."""
    outgrown: str = ""
    """The factory that ``auto`` would choose by now, where it chose another for fewer vectors: `reindex` changes it."""


class Session(NamedTuple):
    """An index that is being written."""

    folder: Path
    manifest: Manifest
    deleted: NDArray[np.bool_]
    """One truth value a row."""
    passages: PassageStore

    @property
    def next_segment(self) -> int:
        """Number of the first segment that is not part of the index yet."""
        return 1 + max(int(segment.name) for segment in self.manifest.segments)


@contextmanager
def session(path: str | Path, *, any_words: bool = False) -> Iterator[Session]:
    """Lock an index and check it as `Index.open` does.

    Args:
        path: The index folder.
        any_words: Whether its words may be cut by other rules than today's.
    """
    folder = settled(Path(path))
    Manifest.read(folder)  # so that no lock file is made in what is no index
    with storage_errors(folder), writing(folder):
        manifest = Manifest.read(folder)
        if not any_words:
            refuse_other_words(folder, manifest)
        check_files(folder, manifest, at_open=True)
        tidy(folder, manifest)
        deleted = load_deleted(folder, manifest)
        if deleted is None:
            deleted = np.zeros(manifest.rows, dtype=bool)
        with open_passages(folder, manifest) as passages:
            yield Session(folder, manifest, deleted, passages)
