"""Indexes: build, open, search; every search of every thread meets in one broker."""

from __future__ import annotations

from ragscale.index.build import Progress
from ragscale.index.embed import DEFAULT_NAME
from ragscale.index.lexical import LexicalKind
from ragscale.index.manifest import Manifest, check_files
from ragscale.index.request import HOWS, How, SearchOptions
from ragscale.index.retriever import Index
from ragscale.index.view import Searching

__all__ = [
    "DEFAULT_NAME",
    "HOWS",
    "How",
    "Index",
    "LexicalKind",
    "Manifest",
    "Progress",
    "SearchOptions",
    "Searching",
    "check_files",
]
