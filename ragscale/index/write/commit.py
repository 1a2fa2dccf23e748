"""Commits: derives a generation from the segments, then makes it the index by replacing the manifest."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from ragscale.index.dense.auto import AUTO
from ragscale.index.dense.factory import build_dense
from ragscale.index.lexical.postings import build_postings
from ragscale.index.storage.checksums import scan
from ragscale.index.storage.durable import link, sync
from ragscale.index.storage.hashes import load_hashes
from ragscale.index.storage.layout import (
    BM25_FOLDER,
    DELETED_FILE,
    GENERATIONS,
    IDS_FILE,
    SEGMENTS,
    VECTORS_FILE,
    unfinished,
)
from ragscale.index.storage.locks import in_use
from ragscale.index.storage.manifest import DenseInfo, FileInfo, Manifest
from ragscale.index.storage.passages import id_table
from ragscale.index.storage.snapshot import Deleted, load_deleted, open_vectors

__all__ = ["commit", "tidy"]

_BLOCK = 65_536


def commit(
    folder: Path,
    draft: Manifest,
    deleted: Deleted,
    *,
    old: Manifest | None,
    factory: str | None = None,
    memory: int | None = None,
    damaged: Collection[str] = (),
) -> Manifest:
    """Make the state that `draft` describes the state of the index.

    Args:
        folder: The index; the caller holds its lock.
        draft: Segments and settings; all that is derived from them is computed here.
        deleted: Which rows are deleted.
        old: The manifest until now; what did not change is taken over from it.
        factory: FAISS factory string to build the vectors' index by; None keeps that of `old`, rebuilt where too many
            rows are not in it.
        memory: Bytes that searching may hold resident, for the factory ``"auto"``.
        damaged: Derived files of `old`, by their names there, to be derived again and not taken over.

    Returns:
        The manifest that was written.
    """
    if deleted is not None and not deleted.any():
        deleted = None
    number = 1 + max((int(path.stem) for path in (folder / GENERATIONS).glob("[0-9]*")), default=0)
    number = max(number, 1 + old.generation if old else 0)
    draft = replace(draft, generation=number, files={})
    target = draft.generation_path(folder)
    work = unfinished(target)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    draft = _derive(folder, work, draft, deleted, old, factory, memory, damaged)
    sync(work)
    work.rename(target)
    sync(target.parent, deep=False)
    manifest = replace(draft, files=_files(folder, draft, old))
    manifest.write(folder)
    tidy(folder, manifest)
    return manifest


def _derive(
    folder: Path,
    work: Path,
    draft: Manifest,
    deleted: Deleted,
    old: Manifest | None,
    factory: str | None,
    memory: int | None,
    damaged: Collection[str],
) -> Manifest:
    """Write the files of a generation; return the draft with their numbers and hashes."""
    rows_are_whole = all(name.endswith(f"/{VECTORS_FILE}") for name in damaged)
    if old is not None and rows_are_whole and _same_rows(folder, draft, deleted, old):
        draft = _take_over(folder, work, draft, old, vectors=False)
        draft = replace(draft, passages=old.passages, content=old.content, lexical=old.lexical)
    else:
        segments = draft.segment_paths(folder)
        passages, content = _write_rows(work, segments, deleted)
        terms = build_postings(work / BM25_FOLDER, segments, deleted)
        draft = replace(draft, passages=passages, content=content, lexical={**draft.lexical, "terms": terms})
    if draft.embedder is None:
        return draft
    known = old.dense if old is not None else None
    if factory is None and old is not None and known is not None and _covers_enough(draft, known):
        if any(name.endswith(f"/{VECTORS_FILE}") for name in damaged):
            build_dense(open_vectors(folder, draft).head(known.rows), work / VECTORS_FILE, factory=known.factory)
        else:
            draft = _take_over(folder, work, draft, old, vectors=True)
        return replace(draft, dense=known)
    factory = factory or (known.factory if known else AUTO)
    vectors = open_vectors(folder, draft)
    dense = build_dense(vectors, work / VECTORS_FILE, factory=factory, memory=memory)
    if known is not None and known.factory == factory:  # the same index of other rows keeps what it was tuned to
        dense = replace(known, rows=dense.rows)
    return replace(draft, dense=dense)


def _same_rows(folder: Path, draft: Manifest, deleted: Deleted, old: Manifest) -> bool:
    before = load_deleted(folder, old)
    if before is None or deleted is None:
        return draft.segments == old.segments and before is deleted
    return draft.segments == old.segments and np.array_equal(before, deleted)


def _covers_enough(draft: Manifest, dense: DenseInfo) -> bool:
    """Whether the approximate index covers enough rows: later ones, at most a quarter of all, are searched exactly."""
    return dense.rows == 0 or 4 * (draft.rows - dense.rows) <= draft.rows


def _write_rows(work: Path, segments: list[Path], deleted: Deleted) -> tuple[int, str]:
    """Write the id table and the deleted rows; return the number of live rows and the hash of their content."""
    content = hashlib.sha256()
    ids, rows, start = [], [], 0
    for segment in segments:
        hashes = load_hashes(segment)
        for first in range(0, len(hashes), _BLOCK):
            block = hashes[first : first + _BLOCK]
            here = np.arange(start + first, start + first + len(block))
            live = np.ones(len(block), dtype=bool) if deleted is None else ~deleted[here]
            content.update(block[live, 3:].tobytes())
            ids.append(block[live, 0])
            rows.append(here[live])
        start += len(hashes)
    table = id_table(np.concatenate(ids), np.concatenate(rows))
    np.save(work / IDS_FILE, table, allow_pickle=False)
    if deleted is not None:
        np.save(work / DELETED_FILE, np.packbits(deleted), allow_pickle=False)
    return table.shape[1], content.hexdigest()


def _take_over(folder: Path, work: Path, draft: Manifest, old: Manifest, *, vectors: bool) -> Manifest:
    """Link `VECTORS_FILE` of the old generation, or all its other files, into the new one.

    Returns:
        The draft with their old checksums: recomputing them would hide damage that opening did not detect.
    """
    before, now = old.generation_path(Path()), draft.generation_path(Path())
    taken = dict(draft.files)
    for name, info in old.files.items():
        path = Path(name)
        if path.is_relative_to(before) and (path.name == VECTORS_FILE) == vectors:
            own = path.relative_to(before)
            link(folder / path, work / own)
            taken[(now / own).as_posix()] = info
    return replace(draft, files=taken)


def _files(folder: Path, draft: Manifest, old: Manifest | None) -> dict[str, FileInfo]:
    """All files in use; checksums of those of `old`, and of those that the draft has taken over, are known."""
    found: dict[str, FileInfo] = {}
    for segment in draft.segments:
        prefix = f"{SEGMENTS}/{segment.name}/"
        known = {name: info for name, info in old.files.items() if name.startswith(prefix)} if old else {}
        found.update(known or scan(folder, segment.path(folder), {}))
    found.update(scan(folder, draft.generation_path(folder), draft.files))
    return found


def tidy(folder: Path, manifest: Manifest) -> None:
    """Remove files that are neither in the manifest nor pinned; keep segments that a killed writer resumes."""
    pinned = False
    for path in sorted((folder / GENERATIONS).iterdir()):
        if path != manifest.generation_path(folder):
            with in_use(path) as used:
                pinned |= used
                if not used:
                    shutil.rmtree(path, ignore_errors=True)
    named = [segment.name for segment in manifest.segments]
    for path in sorted((folder / SEGMENTS).iterdir()):
        # a pinned generation may need any of the older ones
        if not pinned and path.name not in named and path.name < max(named):
            shutil.rmtree(path, ignore_errors=True)
