"""Maintenance: removing documents, compacting, reindexing stored vectors and passages. Nothing is embedded."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ragscale.arguments import listed
from ragscale.errors import IndexBusy, InvalidInput
from ragscale.index.dense.auto import AUTO
from ragscale.index.dense.factory import AS_ASKED, check_factory
from ragscale.index.lexical.bm25 import settings
from ragscale.index.options import Progress
from ragscale.index.storage.checksums import check_files
from ragscale.index.storage.durable import settled, storage_errors
from ragscale.index.storage.hashes import document_hash, load_hashes
from ragscale.index.storage.locks import writing
from ragscale.index.storage.manifest import DenseInfo, Manifest, described
from ragscale.index.storage.snapshot import open_vectors
from ragscale.index.write.commit import commit, tidy
from ragscale.index.write.embedding import SEGMENT_ROWS, silent
from ragscale.index.write.language import language_of
from ragscale.index.write.segments import fill_vectors, missing, new_segments, recount, write_texts
from ragscale.index.write.session import SHOWN, Changes, Session, session
from ragscale.language.terms import AUTO as AUTO_LANGUAGE
from ragscale.language.terms import known_language

__all__ = ["compact", "describe", "reindex", "remove", "retune", "reword", "sweep"]


def remove(path: str | Path, names: Sequence[str]) -> Changes:
    """Remove documents or single passages; nothing is changed where one of the names is unknown.

    Args:
        path: The index folder.
        names: Ids of documents or of passages.

    Raises:
        InvalidInput: A name is unknown, or nothing would be left.
        RagscaleError: See `add`.
    """
    wanted = list(dict.fromkeys(listed("names", names, str)))
    with session(path) as index:
        gone = index.deleted.copy()
        unknown = _mark(index, wanted, gone)
        if unknown:
            shown = ", ".join(map(repr, unknown[:SHOWN])) + ", ..." * (len(unknown) > SHOWN)
            raise InvalidInput(
                f"{index.folder}: no document and no passage {shown}", "Nothing was removed. Check the names."
            )
        if gone.all():
            raise InvalidInput(
                f"{index.folder}: nothing would be left",
                "Remove the folder instead: an index has a passage or more.",
            )
        commit(index.folder, index.manifest, gone, old=index.manifest)
        return Changes(removed=len(wanted))


def _mark(index: Session, names: list[str], gone: NDArray[np.bool_]) -> list[str]:
    """Set `gone` for the rows of each name; return the names that have none."""
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

    Reads every file, as `Index.verify` does: damage is not copied. Nothing is done where nothing would change.

    Args:
        path: The index folder.
        segment_rows: Most rows of a segment.
        progress: Called with stage (``"bm25"``), passages done and passages in all.

    Raises:
        RagscaleError: See `add`.
    """
    report = progress or silent
    with session(path) as index:
        folder, old, deleted, passages = index
        rows = np.flatnonzero(~deleted)
        if _is_compact(old, segment_rows):
            return
        check_files(folder, old)  # what `session` left out too: the copies will have checksums that fit
        fields = _live_fields(index)
        with new_segments(folder, index.next_segment):
            segments = write_texts(
                folder,
                index.next_segment,
                passages,
                rows,
                size=segment_rows,
                fields=fields,
                language=old.lexical["language"],
                report=lambda done: report("bm25", done, len(rows)),
            )
            if old.embedder is not None:
                vectors, start = open_vectors(folder, old), 0
                for segment in segments:
                    part = rows[start : start + segment.rows]
                    slabs = missing(folder, segment, old.embedder)
                    fill_vectors(folder, segment, old.embedder, (vectors.take(part[s.start : s.stop]) for s in slabs))
                    start += segment.rows
            draft = replace(old, segments=tuple(segments), fields=fields)
            commit(folder, draft, None, old=old, factory=old.dense.factory if old.dense else None)


def _live_fields(index: Session) -> dict[str, str]:
    """Types of the metadata fields that a live passage has."""
    table = index.passages.fields.table()
    has = {name: table[name].is_valid().to_numpy() for name in table.column_names}
    return {name: kind for name, kind in index.manifest.fields.items() if (has[name] & ~index.deleted).any()}


def _is_compact(manifest: Manifest, size: int) -> bool:
    full, rest = divmod(manifest.passages, size)
    sizes = [segment.rows for segment in manifest.segments]
    covered = manifest.dense is None or manifest.dense.rows in (0, manifest.rows)
    return covered and sizes == [size] * full + [rest] * (rest > 0)


def reindex(path: str | Path, factory: str, *, memory: int | None = None) -> DenseInfo:
    """Index the stored vectors by another factory string; nothing is embedded.

    Args:
        path: The index folder.
        factory: FAISS factory string, or ``"auto"``.
        memory: Bytes that searching may hold resident, for ``"auto"``; half of the machine's where None.

    Raises:
        InvalidInput: A bad factory string, or the index has no vectors.
        RagscaleError: See `add`.
    """
    with session(path) as index:
        if index.manifest.embedder is None:
            raise InvalidInput(f"{index.folder} is a lexical-only index", "Build an index with an embedder.")
        check_factory(factory, index.manifest.embedder.dimension, index.manifest.rows, memory=memory)
        old = index.manifest
        if factory != AUTO and old.dense is not None:  # from now on it is not what auto chose, even if it is the same
            old = replace(old, dense=replace(old.dense, reason=AS_ASKED, memory=None))
        written = commit(index.folder, index.manifest, index.deleted, old=old, factory=factory, memory=memory)
        assert written.dense is not None
        return written.dense


def reword(path: str | Path, language: str = AUTO_LANGUAGE, *, progress: Progress | None = None) -> Manifest:
    """Cut the words of an index again, by another language or by today's rules; nothing is embedded.

    Reads every file, as `Index.verify` does. Nothing is done where nothing would change.

    Args:
        path: The index folder.
        language: See `BuildOptions`.
        progress: Called with stage (``"bm25"``), passages done and passages in all.

    Returns:
        The manifest by now.

    Raises:
        InvalidInput: There is no stemmer for the language.
        RagscaleError: See `add`.
    """
    known_language(language)
    report = progress or silent
    with session(path, any_words=True) as index:
        folder, old, deleted, passages = index
        choice = language_of(language, passages, np.flatnonzero(~deleted))
        lexical = settings(old.lexical["kind"], *choice)
        if lexical == {**old.lexical, "terms": 0, "chosen": choice.reason}:
            return old
        check_files(folder, old)  # the new segments will have checksums that fit
        with new_segments(folder, index.next_segment):
            segments = recount(
                folder,
                index.next_segment,
                old.segments,
                choice.language,
                lambda done: report("bm25", done, old.rows),
            )
            draft = replace(old, segments=tuple(segments), lexical=lexical)
            return commit(folder, draft, deleted, old=old)


def describe(path: str | Path, description: str) -> None:
    """Commit another description of the corpus; the fingerprint changes with it.

    Args:
        path: The index folder.
        description: See `BuildOptions`; empty to remove it.

    Raises:
        InvalidInput: It is not text, or too long.
        RagscaleError: See `add`.
    """
    text = described(description)
    with session(path) as index:
        if text != index.manifest.description:
            draft = replace(index.manifest, description=text)
            commit(index.folder, draft, index.deleted, old=index.manifest)


def retune(path: str | Path, dense: DenseInfo) -> None:
    """Commit other search settings for the same vectors and the same approximate index.

    Raises:
        IndexBusy: The index was built anew since the settings were found.
        RagscaleError: See `add`.
    """
    with session(path) as index:
        now = index.manifest.dense
        if now is None or (now.factory, now.rows) != (dense.factory, dense.rows):
            raise IndexBusy(f"{index.folder}: the vectors' index was built anew meanwhile", "Tune it again.")
        commit(index.folder, index.manifest, index.deleted, old=replace(index.manifest, dense=dense))


def sweep(path: str | Path) -> None:
    """Remove files of earlier commits that nobody reads any more; the next writer would do it too."""
    folder = settled(Path(path))
    with suppress(IndexBusy), storage_errors(folder), writing(folder):
        tidy(folder, Manifest.read(folder))
