"""Paths as people type them."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["expanded"]


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path with ``~`` or ``~user`` made that user's home.

    The home of a user that does not exist stays as it is, so that whoever opens the path names it as missing; by
    `pathlib.Path.expanduser` it is a `RuntimeError`.
    """
    return Path(os.path.expanduser(path))
