"""Damage in files that opening an index does not read whole: raised as `IndexDamaged` when they are used.

Every offset and row number in them is checked before it is followed: libraries do not check, and would crash the
process.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ragscale.errors import IndexDamaged, RagscaleError

__all__ = ["damaged", "reading"]

_OF_FILES = (None, errno.EIO, errno.EINVAL)
_REMEDY = "`ragscale index verify DIR` says what helps; where it finds no damage, build the index again."


def damaged(path: Path, problem: object) -> IndexDamaged:
    """Error about a damaged file, or folder of files."""
    return IndexDamaged(f"{path}: damaged ({problem})", _REMEDY)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn errors of libraries about a file's content into an `IndexDamaged` that names the file."""
    try:
        yield
    except (RagscaleError, MemoryError):
        raise
    except OSError as error:
        if error.errno not in _OF_FILES:  # such as a file that is gone, or too many that are open
            raise
        raise damaged(path, error) from error
    except Exception as error:  # numpy's headers alone raise four kinds
        raise damaged(path, " ".join(f"{type(error).__name__}: {error}".split())) from error
