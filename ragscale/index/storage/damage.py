"""Files of an index that opening it does not read whole: damage shows as they are used, as an error of ours.

Every number in them that says where to read or write is checked before it is followed: libraries do not, and would end
the process.
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
    """The error about a file, or a folder of files, that does not hold what it should."""
    return IndexDamaged(f"{path}: damaged ({problem})", _REMEDY)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what libraries raise on a file that is not what they wrote into an `IndexDamaged` that names it."""
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
