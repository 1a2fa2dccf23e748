"""Indexes: build, open, grow, search; every search of every thread meets in one broker."""

from __future__ import annotations

from ragscale.index.embed import DEFAULT_NAME
from ragscale.index.files import check_files
from ragscale.index.lexical import LexicalKind
from ragscale.index.manifest import Manifest
from ragscale.index.opened import Changes
from ragscale.index.request import HOWS, How, SearchOptions
from ragscale.index.retriever import Index
from ragscale.index.snapshot import verify
from ragscale.index.upkeep import reindex, repair, retune
from ragscale.index.view import Searching
from ragscale.index.writer import Progress

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
    "Searching",
    "check_files",
    "reindex",
    "repair",
    "retune",
    "verify",
]
