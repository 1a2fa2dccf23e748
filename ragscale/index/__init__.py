"""Indexes: build, open, grow, search; every search of every thread meets in one broker."""

from __future__ import annotations

from ragscale.index.encoders.embedder import DEFAULT_NAME
from ragscale.index.lexical.bm25 import LexicalKind
from ragscale.index.local import Index
from ragscale.index.query.request import HOWS, How, SearchOptions
from ragscale.index.searchable import Searchable, Searching
from ragscale.index.storage.checksums import check_files
from ragscale.index.storage.manifest import Manifest
from ragscale.index.storage.snapshot import verify
from ragscale.index.write.embedding import Progress
from ragscale.index.write.maintain import reindex, retune
from ragscale.index.write.repair import repair
from ragscale.index.write.session import Changes

__all__ = [
    "DEFAULT_NAME",
    "HOWS",
    "Changes",
    "How",
    "Index",
    "LexicalKind",
    "Manifest",
    "Progress",
    "SearchOptions",
    "Searchable",
    "Searching",
    "check_files",
    "reindex",
    "repair",
    "retune",
    "verify",
]
