"""Repair: damaged files derived again from the passages; nothing is embedded."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

import numpy as np

from ragscale.errors import IndexDamaged
from ragscale.index.storage.checksums import damaged_files, recountable, refuse_lost, scan
from ragscale.index.storage.durable import settled, storage_errors, sync
from ragscale.index.storage.layout import DELETED_FILE, IDS_FILE, STAGING
from ragscale.index.storage.locks import writing
from ragscale.index.storage.manifest import REBUILD, Manifest
from ragscale.index.storage.passages import PassageStore
from ragscale.index.storage.snapshot import Deleted, load_deleted, refuse_other_words
from ragscale.index.write.commit import commit
from ragscale.index.write.segments import write_files

__all__ = ["repair"]


def repair(path: str | Path) -> list[str]:
    """Derive the damaged files of an index again from its passages; nothing is embedded, and the fingerprint stays.

    Reads every file, as `Index.verify` does. Hashes and terms of a segment are put back where they were; for all
    else a new generation is written, and what is whole is taken over.

    Args:
        path: The index folder.

    Returns:
        The names of the files that were damaged, relative to the folder; empty where none is, and nothing was written.

    Raises:
        InvalidInput: Not an index.
        IndexBusy: Another process is writing the index.
        IndexMismatch: Words have to be counted again that were cut by other rules.
        IndexDamaged: The manifest, or passages, fields or vectors of a segment are damaged, or its hashes or terms do
            not come out as they were; nothing was changed.
        RagscaleError: The disk is full; the index is as it was.
    """
    folder = settled(Path(path))
    Manifest.read(folder)  # so that no lock file is made in what is no index
    with storage_errors(folder), writing(folder):
        manifest = Manifest.read(folder)
        damaged = damaged_files(folder, manifest)
        again = recountable(damaged)
        if again:
            refuse_other_words(folder, manifest)
        refuse_lost(folder, manifest, damaged, but=again)
        if again:
            _count_again(folder, manifest, again)
        derived = set(damaged).difference(again)
        if derived:
            commit(folder, manifest, _deleted(folder, manifest, derived), old=manifest, damaged=derived)
    return sorted(damaged)


def _count_again(folder: Path, manifest: Manifest, names: Collection[str]) -> None:
    """Put back files that `recountable` gave, all or none: they must be what they were, byte for byte."""
    scratch = folder / STAGING
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        for segment in {(folder / name).parent for name in names}:
            with PassageStore([segment]) as store:
                work = scratch / segment.relative_to(folder)
                write_files(work, store, np.arange(len(store)), {}, manifest.lexical["language"], lambda done: None)
        found = scan(scratch, scratch, {})
        for name in names:
            if found[name] != manifest.files[name]:  # other versions of the libraries may cut words otherwise
                raise IndexDamaged(f"{folder / name}: does not come out as it was", REBUILD)
        sync(scratch)
        for name in names:
            (scratch / name).replace(folder / name)
            sync((folder / name).parent, deep=False)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _deleted(folder: Path, manifest: Manifest, damaged: Collection[str]) -> Deleted:
    """Deleted rows; if their file is damaged, the rows that are missing in the table of ids."""
    generation = manifest.generation_path(folder)
    if (generation / DELETED_FILE).relative_to(folder).as_posix() not in damaged:
        return load_deleted(folder, manifest)
    gone = np.ones(manifest.rows, dtype=bool)
    gone[np.load(generation / IDS_FILE, allow_pickle=False)[1].astype(np.int64)] = False
    return gone
