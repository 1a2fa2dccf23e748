"""One commit of an index, held open: a consistent view whatever writers do meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from ragscale.errors import IndexBusy, IndexDamaged, IndexMismatch
from ragscale.index.dense.gpu import Gpus
from ragscale.index.dense.search import DenseIndex
from ragscale.index.lexical.bm25 import Lexical, open_lexical
from ragscale.index.storage.checksums import check_file, check_files
from ragscale.index.storage.layout import BM25_FOLDER, VECTORS_FILE
from ragscale.index.storage.locks import Pin
from ragscale.index.storage.manifest import FileInfo, Manifest
from ragscale.index.storage.passages import PassageStore
from ragscale.index.write.commit import load_deleted, open_passages, open_vectors

__all__ = ["Snapshot", "verify"]

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
        IndexMismatch: Another format version, or another index was put in its place meanwhile.
        IndexBusy: Writers replaced one commit after the other while this was being opened.
    """

    def __init__(self, folder: Path, known: Mapping[str, FileInfo] | None = None, *, gpus: Gpus | None = None) -> None:
        self.folder = folder
        self.gpus = gpus
        self.manifest, self._pin = _pinned(folder)
        try:
            self._in_place(lambda: check_files(folder, self.manifest, at_open=True, known=known))
            self.passages = self._in_place(self._open_passages)
        except BaseException:
            self._pin.release()
            raise

    @property
    def generation(self) -> Path:
        """Folder of the derived files."""
        return self.manifest.generation_path(self.folder)

    def _open_passages(self) -> PassageStore:
        return open_passages(self.folder, self.manifest)

    def open_dense(self) -> DenseIndex:
        """Open the vectors; the index must have some."""
        return self._in_place(self._open_dense)

    def _open_dense(self) -> DenseIndex:
        info = self.manifest.dense
        assert info is not None  # a request for it is refused otherwise
        if info.rows:  # FAISS follows whatever stands in the file
            check_file(self.folder, self.manifest, self.generation / VECTORS_FILE)
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
            rows=self.manifest.rows,
        )

    def in_place(self) -> bool:
        """Whether the commit still stands in the folder: no other index took its place."""
        return self._pin.in_place()

    def _in_place(self, open_part: Callable[[], Part]) -> Part:
        """Parts are opened when they are needed, and passages of one build must not meet vectors of another."""
        return _in_place(self.folder, self._pin, open_part)

    def release(self) -> None:
        """Let writers remove the files; what is open already stays usable. Idempotent."""
        self._pin.release()


def verify(folder: Path) -> Manifest:
    """Compute the checksum of every file of an index again; writers leave them there meanwhile.

    Args:
        folder: The index.

    Returns:
        The manifest of the commit that was checked, the newest when this began.

    Raises:
        InvalidInput: Not an index.
        IndexDamaged: A file is missing, cut short or changed.
        IndexMismatch: Another format version, or another index was put in its place meanwhile.
        IndexBusy: Writers replaced one commit after the other when this began.
    """
    manifest, pin = _pinned(folder)
    try:
        _in_place(folder, pin, lambda: check_files(folder, manifest))
    finally:
        pin.release()
    return manifest


def _pinned(folder: Path) -> tuple[Manifest, Pin]:
    """The manifest of the newest commit, and what keeps its files."""
    for _ in range(_TRIES):
        manifest = Manifest.read(folder)
        generation = manifest.generation_path(folder)
        try:
            pin = Pin(generation)
        except OSError:
            # removed after the manifest was read, unless the manifest still names it
            if Manifest.read(folder) == manifest:
                check_files(folder, manifest)
                raise IndexDamaged(f"{generation}: cannot be opened", "Check its permissions.") from None
            continue
        if Manifest.read(folder) == manifest:
            return manifest, pin
        pin.release()
    raise IndexBusy(f"{folder}: replaced {_TRIES} times while it was being opened", "Try again.")


def _in_place(folder: Path, pin: Pin, part: Callable[[], Part]) -> Part:
    """What a part of the pinned commit gives, unless another index came in its place, also if that made it fail."""
    problem: Exception | None = None
    try:
        return part()
    except Exception as error:
        problem = error
        raise
    finally:
        if not pin.in_place():
            raise IndexMismatch(
                f"{folder}: the index was replaced after it was opened", "Open it again, or `reload` it."
            ) from problem
