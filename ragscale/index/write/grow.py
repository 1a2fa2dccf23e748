"""Adding and updating documents of an index; killed at any moment, they lose nothing. `upkeep` has the other writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ragscale.arguments import listed
from ragscale.corpus import Chunking, Columns, FieldTypes, Problems, Record, read
from ragscale.errors import InvalidInput
from ragscale.index.dense.factory import outgrown
from ragscale.index.encoders.embedder import Backend, Embedder, refuse_other_name
from ragscale.index.storage.hashes import ABSENT, CHANGED, UNCHANGED, compare, load_hashes
from ragscale.index.storage.manifest import EmbedderInfo, Manifest
from ragscale.index.write.commit import commit
from ragscale.index.write.embedding import SEGMENT_ROWS, Progress, embed_segments, incoming, silent
from ragscale.index.write.segments import new_segments, write_texts
from ragscale.index.write.session import SHOWN, Changes, Opened, opened
from ragscale.index.write.staging import Incoming
from ragscale.words import counted

__all__ = ["add", "update"]


def add(
    path: str | Path,
    corpora: Sequence[str | Path],
    *,
    columns: Columns | None = None,
    problems: Problems | None = None,
    embedder: str | Path | None = None,
    batch_size: int = 64,
    backend: Backend = "torch",
    devices: Sequence[str] = (),
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
        backend: What computes the vectors, as of `Index.build`; an index does not say what it was built with, so give
            it again.
        devices: Devices of worker processes that share the encoding, as of `Index.build`.
        segment_rows: Most rows of a segment.
        progress: Called with stage, passages done and passages in all.

    Raises:
        CorpusError: The corpus cannot be indexed; names file and line.
        InvalidInput: A document is in the index with other content, or there is no index.
        IndexBusy: Another process is writing the index.
        IndexDamaged: A file of the index is missing, cut short or changed.
        IndexMismatch: Another embedder than that of the index.
        MissingDependency: The package of the backend is not installed.
        RagscaleError: The disk is full; the index is as it was.
    """
    with opened(path) as index:
        reading = _Reading(listed("corpora", corpora, (str, Path)), columns, problems, embedder)
        encoding = _Encoding(batch_size, backend, listed("devices", devices, str))
        return _grow(index, reading, encoding, segment_rows, progress or silent)


def update(
    path: str | Path,
    corpora: Sequence[str | Path],
    *,
    prune: bool = False,
    columns: Columns | None = None,
    problems: Problems | None = None,
    embedder: str | Path | None = None,
    batch_size: int = 64,
    backend: Backend = "torch",
    devices: Sequence[str] = (),
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
        backend: As of `add`.
        devices: As of `add`.
        segment_rows: Most rows of a segment.
        progress: Called with stage, passages done and passages in all.

    Raises:
        RagscaleError: As of `add`, but for changed documents.
    """
    with opened(path) as index:
        reading = _Reading(listed("corpora", corpora, (str, Path)), columns, problems, embedder)
        encoding = _Encoding(batch_size, backend, listed("devices", devices, str))
        return _grow(index, reading, encoding, segment_rows, progress or silent, change=True, prune=prune)


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


class _Encoding(NamedTuple):
    """How new passages are embedded; `Embedder.of` says what each is."""

    batch_size: int
    backend: Backend
    devices: Sequence[str]

    def embedder(self, info: EmbedderInfo, source: str | Path | None) -> Embedder:
        """The embedder of an index, loaded."""
        return Embedder.of(info, source=source, backend=self.backend, devices=self.devices)


def _grow(
    index: Opened,
    reading: _Reading,
    encoding: _Encoding,
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
    with (
        new_segments(folder, index.next_segment, keep_embedded=True),
        incoming(folder, reading.records(old, fields), report) as found,
    ):
        if prune and reading.problems is not None and reading.problems.count:
            raise InvalidInput(
                f"{counted(reading.problems.count, 'bad document')} skipped, which --prune would remove from the index",
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
            with encoding.embedder(old.embedder, reading.embedder) as embedder:
                embed_segments(folder, segments, embedder, batch_size=encoding.batch_size, report=report)
        draft = replace(old, segments=(*old.segments, *segments), fields=fields.types)
        now = commit(folder, draft, np.concatenate([gone, np.zeros(len(wanted), dtype=bool)]), old=old)
        if now.dense is not None and now.embedder is not None:
            changes = replace(changes, outgrown=outgrown(now.dense, now.rows, now.embedder.dimension))
    return changes


def _states(
    index: Opened, found: Incoming, *, whole: bool
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
        names = [found.store[int(row)] for row in changed[np.sort(first)][:SHOWN]]
        shown = ", ".join(repr(passage.document or passage.id) for passage in names)
        shown += ", ..." * (len(first) > SHOWN)
        raise InvalidInput(
            f"{counted(len(first), 'document')} with other content in the index: {shown}",
            "Replace them with `ragscale index update`, or leave them out.",
        )
