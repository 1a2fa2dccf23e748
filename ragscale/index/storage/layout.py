"""Layout: the name of every file and folder of an index.

::

    manifest.json                 the commit: everything that decides what a search returns
    .lock                         held by the writer
    staging/                      a writer's scratch folder
    segments/000000/              rows that never change again; nothing else holds these data
        passages.arrow  fields.arrow  hashes.u64
        terms.i32  lengths.i32  vocabulary.txt  words.json
        vectors.f32  journal.jsonl
    generations/000001/           files derived from the segments, for one commit
        ids.npy  deleted.npy  vectors.faiss  bm25/
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "BM25_FOLDER",
    "DELETED_FILE",
    "FIELDS_FILE",
    "GENERATIONS",
    "HASHES_FILE",
    "IDS_FILE",
    "JOURNAL_FILE",
    "LENGTHS_FILE",
    "LOCK_FILE",
    "MANIFEST_FILE",
    "PASSAGES_FILE",
    "RAW_FILE",
    "SEGMENTS",
    "STAGING",
    "TERMS_FILE",
    "VECTORS_FILE",
    "VOCABULARY_FILE",
    "WORDS_FILE",
    "building_folder",
    "numbered",
    "unfinished",
]

MANIFEST_FILE = "manifest.json"
LOCK_FILE = ".lock"
STAGING = "staging"
"""Scratch folder of a writer; the next one removes what is left there."""

SEGMENTS = "segments"
PASSAGES_FILE = "passages.arrow"
FIELDS_FILE = "fields.arrow"
"""Metadata as typed columns; absent where no passage of the segment has metadata."""
HASHES_FILE = "hashes.u64"
TERMS_FILE = "terms.i32"
LENGTHS_FILE = "lengths.i32"
VOCABULARY_FILE = "vocabulary.txt"
WORDS_FILE = "words.json"
"""Rules by which the terms of the segment were cut: their version and the language."""
RAW_FILE = "vectors.f32"
"""Stored vectors: float32, row after row."""
JOURNAL_FILE = "journal.jsonl"
"""Progress of the embedding: the embedder, then a line for each slab of vectors that is on the disk."""

GENERATIONS = "generations"
IDS_FILE = "ids.npy"
"""Hashes of the live rows' ids in ascending order, and their rows."""
DELETED_FILE = "deleted.npy"
"""Deleted rows, a bit each; absent where no row is deleted."""
VECTORS_FILE = "vectors.faiss"
"""FAISS index over the stored vectors; absent for Flat."""
BM25_FOLDER = "bm25"


def numbered(number: int) -> str:
    """Folder name of a segment or a generation: six digits, so that names sort by number."""
    return f"{number:06d}"


def unfinished(path: Path) -> Path:
    """Name under which a file or folder is written, before it is complete and takes its own."""
    return path.with_name(f"{path.name}.writing")


def building_folder(out: Path) -> Path:
    """Folder in which the index for `out` is built, beside it; renamed to `out` when it is complete."""
    return out.with_name(f".{out.name}.building")
