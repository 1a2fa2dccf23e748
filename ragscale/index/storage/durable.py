"""Durable writes: fsync, atomic renames of finished folders, and errors of the disk."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ragscale.errors import RagscaleError
from ragscale.index.storage.locks import writing

__all__ = ["link", "put", "remove_folder", "removed_name", "settled", "storage_errors", "sync"]

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def settled(path: Path) -> Path:
    """Path of a folder to write, as it was given, so that errors name it so.

    Resolves links, so that moving a link later does not redirect the write, and paths that do not end in a name.
    """
    real = path.resolve()
    return path if path.name not in ("", "..") and real == Path(os.path.abspath(path)) else real


def link(path: Path, target: Path) -> None:
    """Give a file that never changes a second name, or copy it where the file system has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)


def put(folder: Path, out: Path, *, replace: bool) -> None:
    """Give `folder` the name `out`.

    On Linux the two names are exchanged in one system call, so that there is always one or the other.

    Args:
        folder: The finished folder.
        out: The name.
        replace: Whether an index that is there is removed, once the disk has the new one under its name.

    Raises:
        IndexBusy: The index at `out` is being written.
        OSError: There is something and `replace` is off.
    """
    if replace and out.exists():
        with writing(out):  # until it is gone, so that no writer begins in what is about to be removed
            old = _swap(folder, out)
            sync(out.parent, deep=False)
            remove_folder(old)
    else:
        folder.rename(out)
        sync(out.parent, deep=False)


def _swap(folder: Path, out: Path) -> Path:
    """Give `folder` the name `out`; return the new path of what had that name."""
    if _exchange(folder, out):
        return folder
    old = folder.with_suffix(".old")
    remove_folder(old)  # the rest of one that a kill left: `out` has come since
    out.rename(old)
    try:
        folder.rename(out)
    except OSError:
        old.rename(out)
        raise
    return old


def remove_folder(folder: Path) -> None:
    """Remove a folder, if it is there; a kill on the way leaves all of it, or a rest that has its `removed_name`."""
    aside = removed_name(folder)
    shutil.rmtree(aside, ignore_errors=True)
    with suppress(FileNotFoundError):
        folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def removed_name(folder: Path) -> Path:
    """Name that `remove_folder` gives a folder first."""
    return folder.with_name(f"{folder.name}.removed")


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names; False where the system or the file system cannot."""
    if sys.platform != "linux":
        return False
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    return bool(call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)


def sync(path: Path, *, deep: bool = True) -> None:
    """Wait until the disk has a file or folder: a new name must never be there before the data.

    Args:
        path: What.
        deep: Of a folder, also everything in it; otherwise only the names.
    """
    for part in (*(path.rglob("*") if deep else ()), path):
        descriptor = os.open(part, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def storage_errors(out: Path) -> Iterator[None]:
    """Turn any ``OSError`` of the block into a `RagscaleError` about `out`: the disk is full, or not writable."""
    try:
        yield
    except OSError as error:
        raise _storage_error(error, out) from error


def _storage_error(error: OSError, out: Path) -> RagscaleError:
    # numpy and FAISS report a short write without an error number
    short = error.errno is None and (" written" in str(error) or os.strerror(errno.ENOSPC) in str(error))
    if error.errno in _FULL or short:
        free = shutil.disk_usage(next(path for path in (out, *out.parents) if path.exists())).free
        return RagscaleError(
            f"{out}: no space left on the disk ({free / 1e6:,.1f} MB free)",
            "Free some space and run it again, which goes on with what is embedded; "
            "an index that was there is unchanged.",
        )
    return RagscaleError(f"{out}: the index cannot be written ({error})", "Check the path and its permissions.")
