"""Indexes: build, open, grow, search; every search of every thread meets in one broker."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ragscale.index.encoders.embedder import DEFAULT_NAME
    from ragscale.index.local import Index
    from ragscale.index.options import (
        HOWS,
        AddOptions,
        BuildOptions,
        How,
        LexicalKind,
        Progress,
        SearchOptions,
        UpdateOptions,
    )
    from ragscale.index.searchable import Searchable, Searching
    from ragscale.index.storage.checksums import check_files
    from ragscale.index.storage.manifest import Manifest
    from ragscale.index.storage.snapshot import verify
    from ragscale.index.write.maintain import reindex, retune, reword
    from ragscale.index.write.repair import repair
    from ragscale.index.write.session import Changes

__all__ = [
    "DEFAULT_NAME",
    "HOWS",
    "AddOptions",
    "BuildOptions",
    "Changes",
    "How",
    "Index",
    "LexicalKind",
    "Manifest",
    "Progress",
    "SearchOptions",
    "Searchable",
    "Searching",
    "UpdateOptions",
    "check_files",
    "reindex",
    "repair",
    "retune",
    "reword",
    "verify",
]

# on demand, so that the command line gets the options without the engines
_LAZY = {
    "AddOptions": "options",
    "BuildOptions": "options",
    "Changes": "write.session",
    "DEFAULT_NAME": "encoders.embedder",
    "HOWS": "options",
    "How": "options",
    "Index": "local",
    "LexicalKind": "options",
    "Manifest": "storage.manifest",
    "Progress": "options",
    "SearchOptions": "options",
    "Searchable": "searchable",
    "Searching": "searchable",
    "UpdateOptions": "options",
    "check_files": "storage.checksums",
    "reindex": "write.maintain",
    "repair": "write.repair",
    "retune": "write.maintain",
    "reword": "write.maintain",
    "verify": "storage.snapshot",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"ragscale.index.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'ragscale.index' has no attribute {name!r}")
