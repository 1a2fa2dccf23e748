"""Adding, updating and removing documents of an index, and compacting it; killed at any moment, they lose nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ragscale.corpus import Chunking, Columns, FieldTypes, Problems, Record, read
from ragscale.errors import IndexBusy, InvalidInput
from ragscale.index.commit import commit, load_deleted, open_vectors, tidy
from ragscale.index.dense import DenseInfo, check_factory
from ragscale.index.embed import Embedder, refuse_other_name
from ragscale.index.hashes import ABSENT, CHANGED, UNCHANGED, compare, document_hash, load_hashes
from ragscale.index.incoming import Incoming
from ragscale.index.locks import writing
from ragscale.index.manifest import Manifest, check_files
from ragscale.index.passages import IDS_FILE, PassageStore
from ragscale.index.place import storage_errors
from ragscale.index.segments import fill_vectors, write_texts
from ragscale.index.vectors import Vectors
from ragscale.index.writer import SEGMENT_ROWS, Progress, embed_segments, incoming, silent

__all__ = ["Changes", "add", "compact", "reindex", "remove", "retune", "sweep", "update"]

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Changes:
    """What a write did, in documents; a passage without a document counts as one."""

    added: int = 0
    changed: int = 0
    """Documents whose passages were replaced."""
    unchanged: int = 0
    """Documents that were there with the same content, and were left alone."""
    removed: int = 0
    passages: int = 0
    """Passages written: what had to be embedded."""


class _Open(NamedTuple):
    """An index that is being written."""

    folder: Path
    manifest: Manifest
    deleted: NDArray[np.bool_]
    """One truth value a row."""
    passages: PassageStore

    @property
    def next_segment(self) -> int:
        return 1 + max(int(segment.name) for segment in self.manifest.segments)


@contextmanager
def _opened(path: str | Path) -> Iterator[_Open]:
    """Lock an index and check it as `Index.open` does."""
    folder = Path(path).resolve()
    Manifest.read(folder)  # so that no lock file is made in what is no index
    with storage_errors(folder), writing(folder):
        manifest = Manifest.read(folder)
        check_files(folder, manifest, at_open=True)
        tidy(folder, manifest)
        deleted = load_deleted(folder, manifest)
        ids = np.load(manifest.generation_path(folder) / IDS_FILE, mmap_mode="r", allow_pickle=False)
        with PassageStore(manifest.segment_paths(folder), ids) as passages:
            yield _Open(folder, manifest, np.zeros(manifest.rows, dtype=bool) if deleted is None else deleted, passages)


def add(
    path: str | Path,
    corpora: Sequence[str | Path],
    *,
    columns: Columns | None = None,
    problems: Problems | None = None,
    embedder: str | Path | None = None,
    batch_size: int = 64,
    segment_rows: int = SEGMENT_ROWS,
    progress: Progress | None = None,
) -> Changes:
    """Add the documents of some corpora; those that are in the index with the same content are skipped.

    A document is what its passages name as such, or a passage alone. The same call after a kill goes on where it was.

    Args:
        path: The index folder.
        corpora: As of `Index.build`; documents are cut as they were then.
        columns: As of `Index.build`.
        problems: As of `Index.build`: whether bad documents are skipped.
        embedder: Where the embedder of the index lies on this machine, if not under its recorded name.
        batch_size: Passages encoded at once.
        segment_rows: Most rows of a segment.
        progress: Called with stage, passages done and passages in all.

    Raises:
        CorpusError: The corpus cannot be indexed; names file and line.
        InvalidInput: A document is in the index with other content, or there is no index.
        IndexBusy: Another process is writing the index.
        IndexDamaged: A file of the index is missing, cut short or changed.
        IndexMismatch: Another embedder than that of the index.
        RagscaleError: The disk is full; the index is as it was.
    """
    with _opened(path) as index:
        reading = _Reading(corpora, columns, problems, embedder)
        return _grow(index, reading, batch_size, segment_rows, progress or silent)


def update(
    path: str | Path,
    corpora: Sequence[str | Path],
    *,
    prune: bool = False,
    columns: Columns | None = None,
    problems: Problems | None = None,
    embedder: str | Path | None = None,
    batch_size: int = 64,
    segment_rows: int = SEGMENT_ROWS,
    progress: Progress | None = None,
) -> Changes:
    """Bring an index to the state of some corpora: new documents are added, changed ones replaced, no other embedded.

    Args:
        path: The index folder.
        corpora: As of `add`.
        prune: Whether documents that are not in the corpora are removed.
        columns: As of `add`.
        problems: As of `add`; nothing is pruned where a document could not be read.
        embedder: As of `add`.
        batch_size: Passages encoded at once.
        segment_rows: Most rows of a segment.
        progress: Called with stage, passages done and passages in all.

    Raises:
        RagscaleError: As of `add`, but for changed documents.
    """
    with _opened(path) as index:
        reading = _Reading(corpora, columns, problems, embedder)
        return _grow(index, reading, batch_size, segment_rows, progress or silent, change=True, prune=prune)


class _Reading(NamedTuple):
    """A corpus that goes into an index."""

    corpora: Sequence[str | Path]
    columns: Columns | None
    problems: Problems | None
    embedder: str | Path | None
    """Where the embedder of the index lies, if not under its recorded name."""

    def records(self, old: Manifest, fields: FieldTypes) -> Iterator[Record]:
        """The passages, cut as those of the index were."""
        chunking = Chunking(**old.chunking)
        if self.embedder is not None and old.embedder is not None and chunking.tokenizer == old.embedder.name:
            chunking = replace(chunking, tokenizer=str(self.embedder))
        return read(self.corpora, chunking, columns=self.columns, fields=fields, problems=self.problems)


def _grow(
    index: _Open,
    reading: _Reading,
    batch_size: int,
    segment_rows: int,
    report: Progress,
    *,
    change: bool = False,
    prune: bool = False,
) -> Changes:
    folder, old, deleted, passages = index
    if not reading.corpora:
        raise InvalidInput("no corpus given", "Name at least one file or folder.")
    refuse_other_name(folder, old.embedder, reading.embedder)
    fields = FieldTypes(old.fields)
    with incoming(folder, reading.records(old, fields), report) as found:
        if prune and reading.problems is not None and reading.problems.count:
            raise InvalidInput(
                f"{reading.problems.count} bad documents were skipped, and would be pruned if they are in the index",
                "Mend or remove them first, or leave out --prune or --keep-going.",
            )
        rows, before, after, counts = _states(index, found, whole=prune)
        if not change:
            _refuse_changed(found, after)
        gone = deleted.copy()
        gone[rows[before == CHANGED]] = True
        if prune:
            gone[rows[before == ABSENT]] = True
        wanted = np.flatnonzero(after != UNCHANGED)
        changes = Changes(counts[0], counts[1], counts[2], counts[3] if prune else 0, len(wanted))
        if not len(wanted) and np.array_equal(gone, deleted):
            return changes
        found.refuse_known(wanted, passages, gone)
        segments = write_texts(
            folder,
            index.next_segment,
            found.store,
            wanted,
            size=segment_rows,
            fields=fields.types,
            report=lambda done: report("bm25", done, len(wanted)),
        )
    if segments and old.embedder is not None:
        encoder = Embedder.of(old.embedder, source=reading.embedder)
        embed_segments(folder, segments, encoder, batch_size=batch_size, report=report)
    draft = replace(old, segments=(*old.segments, *segments), fields=fields.types)
    commit(folder, draft, np.concatenate([gone, np.zeros(len(wanted), dtype=bool)]), old=old)
    return changes


def _states(
    index: _Open, found: Incoming, *, whole: bool
) -> tuple[NDArray[np.int64], NDArray[np.int8], NDArray[np.int8], tuple[int, int, int, int]]:
    """Live rows of the index whose documents matter, their states, those of the new rows, and `compare`'s counts."""
    wanted = np.unique(found.hashes[:, 1])
    rows, hashes, start = [], [found.hashes[:0]], 0
    for segment in index.passages.folders:
        part = load_hashes(segment)
        here = ~index.deleted[start : start + len(part)]
        if not whole:
            here &= np.isin(part[:, 1], wanted)
        rows.append(start + np.flatnonzero(here))
        hashes.append(part[here])
        start += len(part)
    before, after, counts = compare(np.concatenate(hashes), found.hashes)
    return np.concatenate(rows), before, after, counts


def _refuse_changed(found: Incoming, after: NDArray[np.int8]) -> None:
    changed = np.flatnonzero(after == CHANGED)
    if len(changed):
        _, first = np.unique(found.hashes[changed, 1], return_index=True)
        names = [found.store[int(row)] for row in changed[np.sort(first)][:_SHOWN]]
        listed = ", ".join(repr(passage.document or passage.id) for passage in names)
        raise InvalidInput(
            f"{len(first):,} documents are in the index with other content: {listed}{', ...' * (len(first) > _SHOWN)}",
            "Replace them with `ragscale index update`, or leave them out.",
        )


def remove(path: str | Path, names: Sequence[str]) -> Changes:
    """Remove documents or single passages; nothing is changed where one of the names is unknown.

    Args:
        path: The index folder.
        names: Ids of documents or of passages.

    Raises:
        InvalidInput: A name is unknown, or nothing would be left.
        RagscaleError: As of `add`.
    """
    if isinstance(names, str):
        raise InvalidInput(f"names is one string ({names!r})", "Give a list of names.")
    with _opened(path) as index:
        gone = index.deleted.copy()
        unknown = _mark(index, list(dict.fromkeys(names)), gone)
        if unknown:
            listed = ", ".join(map(repr, unknown[:_SHOWN])) + ", ..." * (len(unknown) > _SHOWN)
            raise InvalidInput(
                f"{index.folder}: no document and no passage {listed}", "Nothing was removed. Check the names."
            )
        if gone.all():
            raise InvalidInput(
                f"{index.folder}: nothing would be left",
                "Remove the folder instead: an index has a passage or more.",
            )
        commit(index.folder, index.manifest, gone, old=index.manifest)
        return Changes(removed=len(dict.fromkeys(names)))


def _mark(index: _Open, names: list[str], gone: NDArray[np.bool_]) -> list[str]:
    """Set `gone` for the rows of each name; the names that have none."""
    hashes = {}
    for name in names:
        try:
            hashes[tuple(document_hash(name).tolist())] = name
        except UnicodeEncodeError:
            continue  # half a surrogate pair is in no UTF-8 file
    known = set()
    first = np.array([key[0] for key in hashes], dtype=np.uint64)
    start = 0
    for segment in index.passages.folders:
        part = load_hashes(segment)
        for row in np.flatnonzero(np.isin(part[:, 1], first) & ~index.deleted[start : start + len(part)]).tolist():
            document = hashes.get(tuple(part[row, 1:3].tolist()))
            if document is not None:
                known.add(document)
                gone[start + row] = True
        start += len(part)
    for name in names:
        single = index.passages.row(name)
        if single is not None:
            known.add(name)
            gone[single] = True
    return [name for name in names if name not in known]


def compact(path: str | Path, *, segment_rows: int = SEGMENT_ROWS, progress: Progress | None = None) -> None:
    """Write the segments again without deleted rows, as a new build would, but from the stored vectors.

    Raises:
        RagscaleError: As of `add`.
    """
    report = progress or silent
    with _opened(path) as index:
        folder, old, deleted, passages = index
        rows = np.flatnonzero(~deleted)
        if _is_compact(old, segment_rows):
            return
        segments = write_texts(
            folder,
            index.next_segment,
            passages,
            rows,
            size=segment_rows,
            fields=old.fields,
            report=lambda done: report("bm25", done, len(rows)),
        )
        if old.embedder is not None:
            vectors, start = open_vectors(folder, old), 0
            for segment in segments:
                part = rows[start : start + segment.rows]
                fill_vectors(folder, segment, old.embedder, partial(_copied, vectors, part))
                start += segment.rows
        draft = replace(old, segments=tuple(segments))
        commit(folder, draft, None, old=old, factory=old.dense.factory if old.dense else None)


def _copied(vectors: Vectors, rows: NDArray[np.int64], start: int, stop: int) -> NDArray[np.float32]:
    return vectors.take(rows[start:stop])


def _is_compact(manifest: Manifest, size: int) -> bool:
    full, rest = divmod(manifest.passages, size)
    sizes = [segment.rows for segment in manifest.segments]
    covered = manifest.dense is None or manifest.dense.rows in (0, manifest.rows)
    return covered and sizes == [size] * full + [rest] * (rest > 0)


def reindex(path: str | Path, factory: str) -> DenseInfo:
    """Index the stored vectors by another factory string; nothing is embedded.

    Raises:
        InvalidInput: A bad factory string, or the index has no vectors.
        RagscaleError: As of `add`.
    """
    with _opened(path) as index:
        if index.manifest.embedder is None:
            raise InvalidInput(f"{index.folder} is a lexical-only index", "Build an index with an embedder.")
        check_factory(factory, index.manifest.embedder.dimension, index.manifest.passages)
        written = commit(index.folder, index.manifest, index.deleted, old=index.manifest, factory=factory)
        assert written.dense is not None
        return written.dense


def retune(path: str | Path, dense: DenseInfo) -> None:
    """Commit other search settings for the same vectors and the same approximate index.

    Raises:
        RagscaleError: As of `add`.
    """
    with _opened(path) as index:
        commit(index.folder, index.manifest, index.deleted, old=replace(index.manifest, dense=dense))


def sweep(path: str | Path) -> None:
    """Remove files of earlier commits that nobody reads any more; the next writer would do it too."""
    with suppress(IndexBusy), _opened(path):
        pass
