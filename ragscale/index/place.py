"""Puts a finished folder where it belongs, in one step and only when the disk has all of it."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ragscale.errors import RagscaleError

__all__ = ["new_folder"]

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A temporary sibling of `out` to write in; takes its place at the end, or vanishes on any error.

    A folder that is at `out` is replaced: on Linux by exchanging the two names in one system call, so that there is
    always one or the other.

    Raises:
        RagscaleError: In place of any ``OSError``: the disk is full or the path is not writable.
    """
    out = out.resolve()  # a link to an index goes on pointing at it
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".building", dir=out.parent))
    except OSError as error:
        raise _storage_error(error, out) from error
    try:
        yield folder
        folder.chmod(0o777 & ~_umask())  # mkdtemp makes it private
        for path in (*folder.rglob("*"), folder):
            _sync(path)
        _put(folder, out)
        _sync(out.parent)
    except OSError as error:
        raise _storage_error(error, out) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # after an exchange this is the old one


def _put(folder: Path, out: Path) -> None:
    if not out.exists():
        folder.rename(out)
    elif not _exchange(folder, out):
        old = folder.with_suffix(".old")
        out.rename(old)
        try:
            folder.rename(out)
        except OSError:
            old.rename(out)
            raise
        shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names; False where the system or the file system cannot."""
    if sys.platform != "linux":
        return False
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    return bool(call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)


def _sync(path: Path) -> None:
    """Wait until the disk has it: the new name must never be there before the data."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _storage_error(error: OSError, out: Path) -> RagscaleError:
    # numpy and FAISS report a short write without an error number
    short = error.errno is None and (" written" in str(error) or os.strerror(errno.ENOSPC) in str(error))
    if error.errno in _FULL or short:
        free = shutil.disk_usage(next(path for path in out.parents if path.exists())).free
        return RagscaleError(
            f"{out}: no space left on the disk ({free / 1e6:,.1f} MB free)",
            "Free some space or choose another --out; what was there before is unchanged.",
        )
    return RagscaleError(f"{out}: the index cannot be written ({error})", "Check the path and its permissions.")
