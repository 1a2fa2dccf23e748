"""One commit of an index, held open: a consistent view whatever writers do meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from ragscale.errors import IndexBusy, IndexDamaged, IndexMismatch
from ragscale.index.commit import BM25_FOLDER, load_deleted, open_vectors
from ragscale.index.dense import VECTORS_FILE, DenseIndex
from ragscale.index.files import check_files
from ragscale.index.gpu import Gpus
from ragscale.index.lexical import Lexical, open_lexical
from ragscale.index.locks import Pin
from ragscale.index.manifest import FileInfo, Manifest
from ragscale.index.passages import IDS_FILE, PassageStore

__all__ = ["Snapshot"]

_TRIES = 100
Part = TypeVar("Part")


class Snapshot:
    """The passages of a commit, and its indexes to be opened; its files stay until `release`.

    Args:
        folder: The index.
        known: Files whose checksum need not be computed again.
        gpus: How several GPUs share the vectors; see `DenseIndex`.

    Raises:
        InvalidInput: Not an index.
        IndexDamaged: A file is missing, cut short or changed.
        IndexMismatch: Another format version.
        IndexBusy: Writers replaced one commit after the other while this was being opened.
    """

    def __init__(self, folder: Path, known: Mapping[str, FileInfo] | None = None, *, gpus: Gpus | None = None) -> None:
        self.folder = folder
        self.gpus = gpus
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
        try:
            check_files(folder, self.manifest, at_open=True, known=known)
            self.passages = self._in_place(self._open_passages)
        except BaseException:
            self._pin.release()
            raise

    @property
    def generation(self) -> Path:
        """Folder of the derived files."""
        return self.manifest.generation_path(self.folder)

    def _open_passages(self) -> PassageStore:
        ids = np.load(self.generation / IDS_FILE, mmap_mode="r", allow_pickle=False)
        return PassageStore(self.manifest.segment_paths(self.folder), ids)

    def open_dense(self) -> DenseIndex:
        """Open the vectors; the index must have some."""
        return self._in_place(self._open_dense)

    def _open_dense(self) -> DenseIndex:
        info = self.manifest.dense
        assert info is not None  # a request for it is refused otherwise
        return DenseIndex(
            open_vectors(self.folder, self.manifest),
            info,
            self.generation / VECTORS_FILE if info.rows else None,
            deleted=load_deleted(self.folder, self.manifest),
            gpus=self.gpus,
        )

    def open_lexical(self) -> Lexical:
        """Open the lexical index."""
        return self._in_place(self._open_lexical)

    def _open_lexical(self) -> Lexical:
        settings = self.manifest.lexical
        return open_lexical(
            self.generation / BM25_FOLDER,
            settings["kind"],
            settings["terms"],
            segments=self.manifest.segment_paths(self.folder),
            deleted=load_deleted(self.folder, self.manifest),
        )

    def in_place(self) -> bool:
        """Whether the commit still stands in the folder: no other index took its place."""
        return self._pin.in_place()

    def _in_place(self, open_part: Callable[[], Part]) -> Part:
        """Parts are opened when they are needed, and passages of one build must not meet vectors of another."""
        problem: Exception | None = None
        try:
            return open_part()
        except Exception as error:
            problem = error
            raise
        finally:
            if not self.in_place():
                raise IndexMismatch(
                    f"{self.folder}: the index was replaced after it was opened", "Open it again, or `reload` it."
                ) from problem

    def release(self) -> None:
        """Let writers remove the files; what is open already stays usable. Idempotent."""
        self._pin.release()
