"""Snapshots: one commit of an index, pinned and open for reading, whatever writers do meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ragscale.errors import IndexBusy, IndexDamaged, IndexMismatch
from ragscale.index.storage.checksums import check_files
from ragscale.index.storage.damage import damaged, reading
from ragscale.index.storage.layout import DELETED_FILE, IDS_FILE, RAW_FILE, SEGMENTS
from ragscale.index.storage.locks import Pin
from ragscale.index.storage.manifest import FileInfo, Manifest
from ragscale.index.storage.passages import PassageStore
from ragscale.index.storage.vectors import Vectors
from ragscale.language.terms import AUTO, VERSION

__all__ = ["Deleted", "Snapshot", "load_deleted", "open_passages", "open_vectors", "refuse_other_words", "verify"]

_TRIES = 100
Part = TypeVar("Part")


Deleted = NDArray[np.bool_] | None
"""One truth value a row; None where nothing is deleted."""


def load_deleted(folder: Path, manifest: Manifest) -> Deleted:
    """Deleted rows of an index."""
    path = manifest.generation_path(folder) / DELETED_FILE
    if not path.is_file():
        return None
    with reading(path):
        bits = np.load(path, allow_pickle=False)
        if bits.dtype != np.uint8 or bits.shape != ((manifest.rows + 7) // 8,):
            raise damaged(path, f"{bits.dtype} {bits.shape} for {manifest.rows:,} rows")
        return np.unpackbits(bits, count=manifest.rows).astype(bool)


def open_passages(folder: Path, manifest: Manifest) -> PassageStore:
    """Map the passages of an index, and the table by which they are found by id."""
    path = manifest.generation_path(folder) / IDS_FILE
    with reading(path):
        ids = np.load(path, mmap_mode="r", allow_pickle=False)
        if ids.dtype != np.uint64 or ids.shape != (2, manifest.passages):
            raise damaged(path, f"{ids.dtype} {ids.shape} for {manifest.passages:,} passages")
    store = PassageStore(manifest.segment_paths(folder), ids)
    if len(store) != manifest.rows:
        store.close()
        raise damaged(folder / SEGMENTS, f"{len(store):,} rows, the manifest says {manifest.rows:,}")
    return store


def open_vectors(folder: Path, manifest: Manifest) -> Vectors:
    """Map the stored vectors of an index that has some."""
    assert manifest.embedder is not None
    files = [path / RAW_FILE for path in manifest.segment_paths(folder)]
    return Vectors(files, [segment.rows for segment in manifest.segments], manifest.embedder.dimension)


def refuse_other_words(folder: Path, manifest: Manifest) -> None:
    """Raise an `IndexMismatch` where the terms of an index were cut by other rules than those of today's queries."""
    version = manifest.lexical.get("words")
    if version != VERSION:
        rules = "rules of English for all languages" if version is None else f"rules {version}"
        language = manifest.lexical.get("language", AUTO)
        raise IndexMismatch(
            f"{folder}: its words were cut by {rules}, this ragscale reads rules {VERSION}",
            f"`ragscale index reindex {folder} --language {language}` cuts them again; nothing is embedded.",
        )


class Snapshot:
    """A pinned commit: its manifest and passages, and what its engines are opened from; its files stay until `release`.

    Args:
        folder: The index.
        known: Files whose checksum need not be computed again.

    Raises:
        InvalidInput: Not an index.
        IndexDamaged: A file is missing, cut short or changed.
        IndexMismatch: Another format version, words cut by other rules, or another index was put in its place.
        IndexBusy: Writers replaced one commit after the other while this was being opened.
    """

    def __init__(self, folder: Path, known: Mapping[str, FileInfo] | None = None) -> None:
        self.folder = folder
        self.manifest, self._pin = _pinned(folder)
        try:
            refuse_other_words(folder, self.manifest)
            self.guarded(lambda: check_files(folder, self.manifest, at_open=True, known=known))
            self.passages = self.guarded(lambda: open_passages(folder, self.manifest))
        except BaseException:
            self._pin.release()
            raise

    @property
    def generation(self) -> Path:
        """Folder of the derived files."""
        return self.manifest.generation_path(self.folder)

    def vectors(self) -> Vectors:
        """Map the stored vectors; the index must have some."""
        return open_vectors(self.folder, self.manifest)

    def deleted(self) -> Deleted:
        """Deleted rows."""
        return load_deleted(self.folder, self.manifest)

    def in_place(self) -> bool:
        """Whether the commit still stands in the folder: no other index took its place."""
        return self._pin.in_place()

    def guarded(self, part: Callable[[], Part]) -> Part:
        """Run `part`; raise `IndexMismatch` if the index was replaced meanwhile, also where that made `part` fail.

        Parts are opened when they are needed, and passages of one build must not meet vectors of another.
        """
        return _guarded(self.folder, self._pin, part)

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
        _guarded(folder, pin, lambda: check_files(folder, manifest))
    finally:
        pin.release()
    return manifest


def _pinned(folder: Path) -> tuple[Manifest, Pin]:
    """Manifest of the newest commit, and the pin that keeps its files."""
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


def _guarded(folder: Path, pin: Pin, part: Callable[[], Part]) -> Part:
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
