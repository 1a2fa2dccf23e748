"""Adding and updating documents of an index; a kill at any moment loses nothing. `maintain` has the other writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from ragscale.arguments import listed, refuse_options
from ragscale.corpus import Chunking, FieldTypes, read
from ragscale.errors import InvalidInput
from ragscale.index.dense.factory import outgrown
from ragscale.index.encoders.embedder import Embedder, refuse_other_name
from ragscale.index.options import AddOptions, UpdateOptions
from ragscale.index.storage.hashes import ABSENT, CHANGED, UNCHANGED, compare, load_hashes
from ragscale.index.storage.manifest import Manifest
from ragscale.index.write.commit import commit
from ragscale.index.write.embedding import WriteSettings, embed_segments
from ragscale.index.write.segments import new_segments, write_texts
from ragscale.index.write.session import SHOWN, Changes, Session, session
from ragscale.index.write.staging import Staged, staged
from ragscale.words import counted

__all__ = ["add", "update"]


def add(path: str | Path, corpora: Sequence[str | Path], **options: Unpack[AddOptions]) -> Changes:
    """Add the documents of some corpora; those that are in the index with the same content are skipped.

    A document is what its passages name as such, or a passage alone. The same call after a kill goes on where it was.

    Args:
        path: The index folder.
        corpora: See `Index.build`; documents are cut as they were then.
        options: `columns`, `problems`, `embedder`, `batch_size`, `backend`, `devices`, `segment_rows`, `progress`, as
            `AddOptions` describes them.

    Raises:
        CorpusError: The corpus cannot be indexed; names file and line.
        InvalidInput: A document is in the index with other content, or there is no index.
        IndexBusy: Another process is writing the index.
        IndexDamaged: A file of the index is missing, cut short or changed.
        IndexMismatch: Another embedder than that of the index.
        MissingDependency: The package of the backend is not installed.
        RagscaleError: The disk is full; the index is as it was.
    """
    refuse_options("an addition", options, AddOptions.__annotations__)
    with session(path) as index:
        return _grow(index, listed("corpora", corpora, (str, Path)), _Settings(**options))


def update(path: str | Path, corpora: Sequence[str | Path], **options: Unpack[UpdateOptions]) -> Changes:
    """Bring an index to the state of some corpora: new documents are added, changed ones replaced, no other embedded.

    Args:
        path: The index folder.
        corpora: See `add`.
        options: Those of `add`, and `prune`, as `UpdateOptions` describes them; nothing is pruned where a document
            could not be read.

    Raises:
        RagscaleError: See `add`, but for changed documents.
    """
    refuse_options("an update", options, UpdateOptions.__annotations__)
    with session(path) as index:
        return _grow(index, listed("corpora", corpora, (str, Path)), _Settings(**options), change=True)


@dataclass(frozen=True, kw_only=True)
class _Settings(WriteSettings):
    """`UpdateOptions` with their defaults."""

    embedder: str | Path | None = None
    prune: bool = False


def _grow(index: Session, corpora: Sequence[str | Path], options: _Settings, *, change: bool = False) -> Changes:
    folder, old, deleted, passages = index
    report, prune = options.report, options.prune
    if not corpora:
        raise InvalidInput("no corpus given", "Name at least one file or folder.")
    refuse_other_name(folder, old.embedder, options.embedder)
    fields = FieldTypes(old.fields)
    chunking = _chunking(old, options.embedder)
    records = read(corpora, chunking, columns=options.columns, fields=fields, problems=options.problems)
    with (
        new_segments(folder, index.next_segment, keep_embedded=True),
        staged(folder, records, report) as found,
    ):
        if prune and options.problems is not None and options.problems.count:
            raise InvalidInput(
                f"{counted(options.problems.count, 'bad document')} skipped, which --prune would remove from the index",
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
            size=options.segment_rows,
            fields=fields.types,
            language=old.lexical["language"],
            report=lambda done: report("bm25", done, len(wanted)),
        )
        if segments and old.embedder is not None:
            with Embedder.of(
                old.embedder, source=options.embedder, backend=options.backend, devices=options.devices
            ) as embedder:
                embed_segments(folder, segments, embedder, batch_size=options.batch_size, report=report)
        draft = replace(old, segments=(*old.segments, *segments), fields=fields.types)
        now = commit(folder, draft, np.concatenate([gone, np.zeros(len(wanted), dtype=bool)]), old=old)
        if now.dense is not None and now.embedder is not None:
            changes = replace(changes, outgrown=outgrown(now.dense, now.rows, now.embedder.dimension))
    return changes


def _chunking(old: Manifest, embedder: str | Path | None) -> Chunking:
    """Chunking of the passages of an index, with the tokenizer where it lies on this machine."""
    chunking = Chunking(**old.chunking)
    if embedder is not None and old.embedder is not None and chunking.tokenizer == old.embedder.name:
        return replace(chunking, tokenizer=str(embedder))
    return chunking


def _states(
    index: Session, found: Staged, *, whole: bool
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


def _refuse_changed(found: Staged, after: NDArray[np.int8]) -> None:
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
