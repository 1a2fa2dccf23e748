"""One commit of an index, held open: a consistent view whatever writers do meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ragscale.errors import IndexBusy, IndexDamaged, IndexMismatch
from ragscale.index.commit import BM25_FOLDER, load_deleted, open_vectors
from ragscale.index.dense import VECTORS_FILE, DenseIndex
from ragscale.index.lexical import Lexical, open_lexical
from ragscale.index.locks import Pin
from ragscale.index.manifest import FileInfo, Manifest, check_files
from ragscale.index.passages import IDS_FILE, PassageStore

__all__ = ["Snapshot"]

_TRIES = 100


class Snapshot:
    """The passages of a commit, and its indexes to be opened; its files stay until `release`.

    Args:
        folder: The index.
        known: Files whose checksum need not be computed again.

    Raises:
        InvalidInput: Not an index.
        IndexDamaged: A file is missing, cut short or changed.
        IndexMismatch: Another format version.
        IndexBusy: Writers replaced one commit after the other while this was being opened.
    """

    def __init__(self, folder: Path, known: Mapping[str, FileInfo] | None = None) -> None:
        self.folder = folder
        for _ in range(_TRIES):
            self.manifest = Manifest.read(folder)
            try:
                self._pin = Pin(self.generation)
            except OSError:
                # removed after the manifest was read, unless the manifest still names it
                if Manifest.read(folder) == self.manifest:
                    check_files(folder, self.manifest)
                    raise IndexDamaged(f"{self.generation}: cannot be opened", "Check its permissions.") from None
                continue
            if Manifest.read(folder) == self.manifest:
                break
            self._pin.release()
        else:
            raise IndexBusy(f"{folder}: replaced {_TRIES} times while it was being opened", "Try again.")
        check_files(folder, self.manifest, at_open=True, known=known)
        ids = np.load(self.generation / IDS_FILE, mmap_mode="r", allow_pickle=False)
        self.passages = PassageStore(self.manifest.segment_paths(folder), ids)
        self._refuse_replaced()

    @property
    def generation(self) -> Path:
        """Folder of the derived files."""
        return self.manifest.generation_path(self.folder)

    def open_dense(self) -> DenseIndex:
        """Open the vectors; the index must have some."""
        info = self.manifest.dense
        assert info is not None  # a request for it is refused otherwise
        index = DenseIndex(
            open_vectors(self.folder, self.manifest),
            info,
            self.generation / VECTORS_FILE if info.rows else None,
            deleted=load_deleted(self.folder, self.manifest),
        )
        self._refuse_replaced()
        return index

    def open_lexical(self) -> Lexical:
        """Open the lexical index."""
        settings = self.manifest.lexical
        index = open_lexical(
            self.generation / BM25_FOLDER,
            settings["kind"],
            settings["terms"],
            segments=self.manifest.segment_paths(self.folder),
            deleted=load_deleted(self.folder, self.manifest),
        )
        self._refuse_replaced()
        return index

    def in_place(self) -> bool:
        """Whether the commit still stands in the folder: no other index took its place."""
        return self._pin.in_place()

    def _refuse_replaced(self) -> None:
        """Parts are opened when they are needed, and passages of one build must not meet vectors of another."""
        if not self.in_place():
            raise IndexMismatch(
                f"{self.folder}: the index was replaced after it was opened", "Open it again, or `reload` it."
            )

    def release(self) -> None:
        """Let writers remove the files; what is open already stays usable. Idempotent."""
        self._pin.release()
