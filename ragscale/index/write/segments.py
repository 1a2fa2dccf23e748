"""Segments: the expensive data (passages, terms, vectors). Written once; an interrupted write resumes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ragscale.errors import RagscaleError
from ragscale.index.lexical.bm25 import TermCounter
from ragscale.index.storage.durable import link, remove_folder, sync
from ragscale.index.storage.hashes import load_hashes, take_hashes
from ragscale.index.storage.layout import (
    JOURNAL_FILE,
    LENGTHS_FILE,
    RAW_FILE,
    SEGMENTS,
    TERMS_FILE,
    VOCABULARY_FILE,
    WORDS_FILE,
    numbered,
    unfinished,
)
from ragscale.index.storage.manifest import EmbedderInfo, Manifest, Segment
from ragscale.index.storage.passages import BATCH_SIZE, PassageStore, PassageWriter, full_text
from ragscale.language.terms import VERSION
from ragscale.types import Passage
from ragscale.words import counted

__all__ = [
    "SLAB",
    "Slab",
    "discard",
    "drop_vectors",
    "embedded",
    "fill_vectors",
    "missing",
    "new_segments",
    "note_kept",
    "recount",
    "write_files",
    "write_texts",
]

SLAB = 4096
"""Rows between two lines of the journal: the most that is embedded again after a kill."""


class Slab(NamedTuple):
    """Rows of one segment whose vectors are made and written together."""

    folder: Path
    """Of the segment."""
    start: int
    stop: int
    """The row after the last one."""


_COUNTED = (TERMS_FILE, LENGTHS_FILE, VOCABULARY_FILE)
Report = Callable[[int], None]
"""Called with the rows done so far."""


def write_texts(
    folder: Path,
    first: int,
    store: PassageStore,
    rows: NDArray[np.int64],
    *,
    size: int,
    fields: Mapping[str, str],
    language: str,
    report: Report,
) -> list[Segment]:
    """Write passages and their terms to new segments; those that a killed process left with the same rows are kept.

    Args:
        folder: The index.
        first: Number of the first segment; all from there on are this writer's to overwrite.
        store: Where the passages are.
        rows: Which of them, in ascending order.
        size: Most rows of a segment.
        fields: Types of the metadata fields.
        language: Of the terms; see `ragscale.language.terms.Terms`.
        report: Progress.

    Returns:
        The segments, sealed but for their vectors.
    """
    found = []
    report(0)
    for number, start in enumerate(range(0, len(rows), size), first):
        part = rows[start : start + size]
        segment = Segment(numbered(number), len(part))
        target = segment.path(folder)
        kept = target.is_dir() and np.array_equal(load_hashes(target), take_hashes(store.folders, part))
        if not kept or _rules(target) != _words(language):
            discard(folder, number)
            _write_text(target, store, part, fields, language, partial(_shifted, report, start))
        report(start + len(part))
        found.append(segment)
    discard(folder, first + len(found))
    return found


def _shifted(report: Report, start: int, done: int) -> None:
    report(start + done)


def discard(folder: Path, first: int) -> None:
    """Remove the segments that an earlier writer left, from a number on."""
    for path in sorted((folder / SEGMENTS).glob("*")):
        if path.name >= numbered(first):
            remove_folder(path)


def _rules(segment: Path) -> str:
    path = segment / WORDS_FILE
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _words(language: str) -> str:
    return json.dumps({"words": VERSION, "language": language}) + "\n"


def _write_text(
    target: Path,
    store: PassageStore,
    rows: NDArray[np.int64],
    fields: Mapping[str, str],
    language: str,
    report: Report,
) -> None:
    work = unfinished(target)
    shutil.rmtree(work, ignore_errors=True)
    write_files(work, store, rows, fields, language, report)
    _seal(work, target)


def _seal(work: Path, target: Path) -> None:
    sync(work)
    work.rename(target)
    sync(target.parent, deep=False)


def write_files(
    work: Path,
    store: PassageStore,
    rows: NDArray[np.int64],
    fields: Mapping[str, str],
    language: str,
    report: Report,
) -> None:
    """Write the files of one segment but for its vectors, unsealed.

    Args:
        work: Folder to make.
        store: Where the passages are.
        rows: Which of them, in ascending order.
        fields: Types of the metadata fields; without any, they are not written as columns.
        language: Of the terms.
        report: Progress.
    """
    work.mkdir(parents=True)
    (work / WORDS_FILE).write_text(_words(language), encoding="utf-8")
    with PassageWriter(work, fields) as writer:
        for group in _counted(work, store.take(rows), language, report):
            for passage in group:
                writer.add(passage)


def recount(folder: Path, first: int, segments: Sequence[Segment], language: str, report: Report) -> list[Segment]:
    """Write segments of the same rows with terms by another language; all other files are linked.

    Args:
        folder: The index.
        first: Number of the first new segment; all from there on are this writer's to overwrite.
        segments: Those that are there.
        language: Of the terms; see `ragscale.language.terms.Terms`.
        report: Progress.

    Returns:
        The new segments, in the same order.
    """
    found, start = [], 0
    discard(folder, first)
    report(0)
    for number, old in enumerate(segments, first):
        segment = Segment(numbered(number), old.rows)
        work = unfinished(segment.path(folder))
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        for path in sorted(old.path(folder).iterdir()):
            if path.name not in (*_COUNTED, WORDS_FILE):
                link(path, work / path.name)
        (work / WORDS_FILE).write_text(_words(language), encoding="utf-8")
        with PassageStore([old.path(folder)]) as store:
            for _ in _counted(work, store.take(np.arange(old.rows)), language, partial(_shifted, report, start)):
                pass
        _seal(work, segment.path(folder))
        start += old.rows
        found.append(segment)
    return found


def _counted(work: Path, passages: Iterable[Passage], language: str, report: Report) -> Iterator[list[Passage]]:
    """The passages in groups, whose terms are written."""
    counter = TermCounter(language)
    with ExitStack() as stack:
        terms, lengths, vocabulary = (stack.enter_context((work / name).open("wb")) for name in _COUNTED)
        done = 0
        for group in _groups(passages):
            pairs, counts, new = counter.count([full_text(passage) for passage in group])
            terms.write(np.ascontiguousarray(pairs, dtype="<i4").tobytes())
            lengths.write(np.ascontiguousarray(counts, dtype="<i4").tobytes())
            vocabulary.write("".join(f"{term}\n" for term in new).encode("utf-8"))
            yield group
            done += len(group)
            report(done)


def _groups(passages: Iterable[Passage]) -> Iterator[list[Passage]]:
    """At most `SLAB` passages at a time, and fewer where they are long."""
    group: list[Passage] = []
    size = 0
    for passage in passages:
        group.append(passage)
        size += len(passage.text) + len(passage.title)
        if len(group) == SLAB or size >= BATCH_SIZE:
            yield group
            group, size = [], 0
    if group:
        yield group


def fill_vectors(folder: Path, segment: Segment, info: EmbedderInfo, made: Iterator[NDArray[np.float32]]) -> None:
    """Append a segment's missing vectors to its file, slab by slab.

    Args:
        folder: The index.
        segment: With its texts written.
        info: The embedder; vectors that another one left are removed.
        made: Vectors of the slabs that `missing` lists, in its order; may go on with those of other segments, which
            are left in it.

    Raises:
        ValueError: `made` ends early, or gives an array that is not of its slab.
    """
    slabs = missing(folder, segment, info)
    if not slabs:
        return
    path, journal = segment.path(folder) / RAW_FILE, segment.path(folder) / JOURNAL_FILE
    width = info.dimension * np.dtype(np.float32).itemsize
    done, end = _journalled(segment.path(folder), info)
    with path.open("ab") as vectors, journal.open("ab") as lines:
        vectors.truncate(done * width)
        lines.truncate(end)
        if not end:
            _append(lines, json.dumps(asdict(info)))
            sync(path.parent, deep=False)
        for slab, block in zip(slabs, made, strict=False):  # slabs first: `made` goes on with the next segment's
            if block.shape != (slab.stop - slab.start, info.dimension):
                raise ValueError(f"vectors of shape {block.shape} for rows {slab.start} to {slab.stop} of {path}")
            vectors.write(np.ascontiguousarray(block, dtype="<f4").tobytes())
            _flush(vectors)
            # only now, so that a line never counts vectors that the disk has not
            _append(lines, json.dumps({"rows": slab.stop}))
            done = slab.stop
    if done < segment.rows:
        raise ValueError(f"vectors of {done:,} of {segment.rows:,} rows of {path}")


def missing(folder: Path, segment: Segment, info: EmbedderInfo) -> list[Slab]:
    """Slabs of a segment whose vectors are not on the disk yet, in row order."""
    done, _ = _journalled(segment.path(folder), info)
    return [
        Slab(segment.path(folder), start, min(start + SLAB, segment.rows)) for start in range(done, segment.rows, SLAB)
    ]


def _journalled(segment: Path, info: EmbedderInfo | None = None) -> tuple[int, int]:
    """Rows of a segment whose vectors are on the disk, and the end of the last whole line of its journal.

    Vectors of anything but `info` do not count; where it is None, all do.
    """
    path, journal = segment / RAW_FILE, segment / JOURNAL_FILE
    if not (path.is_file() and journal.is_file()):
        return 0, 0
    lines = journal.read_bytes().splitlines(keepends=True)
    try:
        made_by = EmbedderInfo(**json.loads(lines[0]))
    except (IndexError, ValueError, TypeError):  # nothing, or half a line
        return 0, 0
    if info is not None and not info.same_as(made_by):
        return 0, 0
    width = made_by.dimension * np.dtype(np.float32).itemsize
    done, end = 0, len(lines[0])
    for line in lines[1:]:
        try:
            rows = json.loads(line)["rows"]
        except (ValueError, KeyError, TypeError):
            break
        if not line.endswith(b"\n") or path.stat().st_size < rows * width:
            break
        done, end = rows, end + len(line)
    return done, end


def _append(lines: IO[bytes], line: str) -> None:
    lines.write(line.encode() + b"\n")
    _flush(lines)


def _flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def embedded(folder: Path, first: int = 0) -> int:
    """Rows of the segments from a number on whose vectors are on the disk: work worth keeping after a failure."""
    found = sorted(folder.glob(f"{SEGMENTS}/*/{JOURNAL_FILE}"))
    return sum(_journalled(path.parent)[0] for path in found if path.parent.name >= numbered(first))


def note_kept(error: BaseException, rows: int, *, done: bool) -> None:
    """Add a note to an error: the work that the same call need not do again.

    Args:
        error: The error that stopped the work.
        rows: Number of `embedded` rows.
        done: Whether the work was complete.
    """
    if done:
        error.add_note("The index is complete: only old files were left to remove.")
    elif rows:
        error.add_note(f"{counted(rows, 'embedded passage')} kept: the same command goes on from there.")
    elif isinstance(error, KeyboardInterrupt):
        error.add_note("Nothing is kept: the same command begins anew.")


def drop_vectors(folder: Path, segment: Segment) -> None:
    """Remove the vectors that a killed writer left, where the index is to have none."""
    for name in (RAW_FILE, JOURNAL_FILE):
        (segment.path(folder) / name).unlink(missing_ok=True)


@contextmanager
def new_segments(folder: Path, first: int, *, keep_embedded: bool = False) -> Iterator[None]:
    """Remove the segments from a number on where the block fails before they are part of the index.

    Args:
        folder: The index.
        first: Number of the first new segment.
        keep_embedded: Whether they stay if any has vectors, for the same call to go on with.
    """
    try:
        yield
    except BaseException as error:
        try:
            committed = any(segment.name >= numbered(first) for segment in Manifest.read(folder).segments)
        except RagscaleError:
            raise error from None  # the first failure is told, and nothing is removed that may be part of the index
        rows = embedded(folder, first) if keep_embedded else 0
        if not committed and not rows:
            discard(folder, first)
        note_kept(error, rows, done=committed)
        raise
