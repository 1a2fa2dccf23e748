"""Postings of BM25 from the term counts of the segments, streamed: the same files that bm25s writes, bit for bit."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragscale.errors import IndexDamaged
from ragscale.index.storage.layout import LENGTHS_FILE, TERMS_FILE, VOCABULARY_FILE
from ragscale.words import counted

__all__ = ["K1", "B", "build_postings", "live_rows", "merged_vocabulary"]

K1, B = 1.5, 0.75
_ROWS = 16_384

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Block:
    """The postings of some live rows, row by row."""

    rows: Ints
    """Row of each posting."""
    terms: Ints
    """Term of each posting, numbered over all segments."""
    counts: NDArray[np.int32]
    lengths: NDArray[np.float64]
    """Terms in the row of each posting, repeated ones counted again."""
    live: int
    """Number of rows, those without terms included."""
    tokens: int
    """Terms in all these rows."""


def build_postings(target: Path, segments: Sequence[Path], deleted: NDArray[np.bool_] | None = None) -> int:
    """Write the postings of all live rows in the layout of bm25s (method ``lucene``, k1 1.5, b 0.75).

    Two passes over the segments: one counts, one fills the mapped output. Memory holds the vocabulary and one
    block of rows, however large the corpus.

    Args:
        target: Folder to make; not made without terms.
        segments: The segments' folders, each with `VOCABULARY_FILE`, `TERMS_FILE` and `LENGTHS_FILE`.
        deleted: One bool a row of all segments, True for rows to leave out; None where nothing is deleted.

    Returns:
        The number of distinct terms of live rows; with 0 (nothing but stop words) nothing can ever be found.

    Raises:
        IndexDamaged: A file of a segment does not fit the others.
    """
    vocabulary, numbers = merged_vocabulary(segments)
    frequencies = np.zeros(len(vocabulary), dtype=np.int64)
    live = tokens = rows = 0
    for block, rows in _blocks(segments, numbers, deleted):  # noqa: B007 - the last one is the number of rows
        frequencies += np.bincount(block.terms, minlength=len(vocabulary))
        live += block.live
        tokens += block.tokens
    used = frequencies > 0
    if not used.any():
        return 0
    # terms that only deleted rows have are gone: the same files as without those rows
    renumbered = np.cumsum(used) - 1
    target.mkdir(parents=True, exist_ok=True)
    blocks = _blocks(segments, [renumbered[own] for own in numbers], deleted)
    _fill(target, blocks, frequencies[used], live, tokens)
    kept = [term for term, keep in zip(vocabulary, used.tolist(), strict=True) if keep]
    _describe(target, kept, rows)
    return len(kept)


def _fill(target: Path, blocks: Iterator[tuple[_Block, int]], frequencies: Ints, live: int, tokens: int) -> None:
    indptr = np.concatenate(([0], np.cumsum(frequencies)))
    np.save(target / "indptr.csc.index.npy", indptr)
    data: Any = _output(target / "data.csc.index.npy", np.float32, int(indptr[-1]))
    indices: Any = _output(target / "indices.csc.index.npy", np.int32, int(indptr[-1]))
    weights = _weights(frequencies, live)
    heads, average = indptr[:-1].copy(), tokens / live
    for block, _ in blocks:
        order = np.argsort(block.terms, kind="stable")  # within a term, rows stay in order
        terms, counts = block.terms[order], block.counts[order].astype(np.float32)
        distinct, first, runs = np.unique(terms, return_index=True, return_counts=True)
        places = heads[terms] + np.arange(len(terms)) - np.repeat(first, runs)
        heads[distinct] += runs
        # the arithmetic of bm25s, operation for operation: counts and weights in single precision, the rest in double
        saturation = K1 * ((1 - B) + B * block.lengths[order] / average) + counts
        data[places] = weights[terms] * (counts / saturation)
        indices[places] = block.rows[order]
    data.flush()
    indices.flush()


def _weights(frequencies: Ints, live: int) -> NDArray[np.float32]:
    """The idf of each term."""
    values, positions = np.unique(frequencies, return_inverse=True)
    logarithms = [math.log(1 + (live - count + 0.5) / (count + 0.5)) for count in values.tolist()]
    return np.array(logarithms, dtype=np.float32)[positions]


def _output(path: Path, dtype: type, size: int) -> Any:
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(size,))
    if hasattr(os, "posix_fallocate"):  # a full disk is an OSError here, and a crash when a page is written
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _describe(target: Path, vocabulary: list[str], rows: int) -> None:
    """Write the vocabulary and the parameters, which bm25s reads beside the arrays."""
    numbers = {term: number for number, term in enumerate(vocabulary)}
    (target / "vocab.index.json").write_text(json.dumps(numbers, ensure_ascii=False), encoding="utf-8")
    method = {"k1": K1, "b": B, "delta": 0.5, "method": "lucene", "idf_method": "lucene"}
    types = {"dtype": "float32", "int_dtype": "int32", "num_docs": rows, "backend": "numpy"}
    (target / "params.index.json").write_text(json.dumps({**method, **types}, indent=4), encoding="utf-8")


def merged_vocabulary(segments: Sequence[Path]) -> tuple[list[str], list[Ints]]:
    """The terms of all segments in order of appearance, and for each segment what its own term numbers become."""
    numbers: dict[str, int] = {}
    renumbered = []
    for segment in segments:
        terms = (segment / VOCABULARY_FILE).read_text(encoding="utf-8").split("\n")[:-1]
        renumbered.append(np.array([numbers.setdefault(term, len(numbers)) for term in terms], dtype=np.int64))
    return list(numbers), renumbered


def live_rows(
    segments: Sequence[Path], numbers: Sequence[Ints], deleted: NDArray[np.bool_] | None
) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Each row that is not deleted with its (term number, count) pairs; `numbers` is that of `merged_vocabulary`."""
    for first, lengths, pairs, own in _stored(segments, numbers):
        ends = np.cumsum(lengths)
        for row, (begin, end) in enumerate(zip(ends - lengths, ends, strict=True), first):
            if deleted is None or not deleted[row]:
                yield row, list(zip(own[pairs[begin:end, 0]].tolist(), pairs[begin:end, 1].tolist(), strict=True))


def _blocks(
    segments: Sequence[Path], numbers: Sequence[Ints], deleted: NDArray[np.bool_] | None
) -> Iterator[tuple[_Block, int]]:
    """The postings of live rows, some rows at a time, and the number of rows up to there, deleted ones included."""
    for first, lengths, pairs, own in _stored(segments, numbers):
        stop = first + len(lengths)
        keep = np.ones(len(lengths), np.bool_) if deleted is None else ~deleted[first:stop]
        local = np.repeat(np.arange(len(lengths)), lengths)
        chosen = keep[local]
        local, terms, counts = local[chosen], own[pairs[:, 0]][chosen], pairs[:, 1][chosen]
        sizes = np.bincount(local, weights=counts, minlength=len(lengths)).astype(np.float64)
        block = _Block(local + first, terms, counts, sizes[local], int(keep.sum()), int(sizes.sum()))
        yield block, stop


def _stored(segments: Sequence[Path], numbers: Sequence[Ints]) -> Iterator[tuple[int, Any, Any, Ints]]:
    """First row, lengths, pairs and term numbers of some rows at a time."""
    base = 0
    for segment, own in zip(segments, numbers, strict=True):
        lengths, pairs = _mapped(segment / LENGTHS_FILE), _mapped(segment / TERMS_FILE).reshape(-1, 2)
        fits = int(lengths.sum(dtype=np.int64)) == len(pairs) and (not len(lengths) or lengths.min() >= 0)
        if not fits or (len(pairs) and not 0 <= pairs[:, 0].min() <= pairs[:, 0].max() < len(own)):
            raise IndexDamaged(
                f"{segment}: {TERMS_FILE} has {counted(len(pairs), 'pair')} of {counted(len(own), 'term')}, "
                "its other files differ",
                "Restore the index from a copy, or build it again.",
            )
        begin = 0
        for start in range(0, len(lengths), _ROWS):
            part = np.asarray(lengths[start : start + _ROWS])
            end = begin + int(part.sum(dtype=np.int64))
            yield base + start, part, np.asarray(pairs[begin:end]), own
            begin = end
        base += len(lengths)


def _mapped(path: Path) -> NDArray[np.int32]:
    """A file of 32-bit integers; an empty one cannot be mapped."""
    if path.stat().st_size == 0:
        return np.empty(0, dtype=np.int32)
    return np.asarray(np.memmap(path, dtype="<i4", mode="r"))
