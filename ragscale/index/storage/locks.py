"""The writer's lock and readers' pins; the operating system releases both when a process dies."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ragscale.errors import IndexBusy
from ragscale.index.storage.layout import LOCK_FILE

try:
    import fcntl
except ImportError:  # Windows refuses by itself to remove files that are open
    fcntl = None  # type: ignore[assignment]

__all__ = ["Pin", "in_use", "writing"]


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold the lock of the writer of `folder`.

    Raises:
        IndexBusy: Another process or thread holds it.
    """
    from filelock import FileLock, Timeout

    try:
        held = FileLock(folder / LOCK_FILE).acquire(timeout=0)
    except Timeout as error:
        raise IndexBusy(
            f"{folder}: another process is writing this index", "Wait until it is done, then try again."
        ) from error
    with held:
        yield


class Pin:
    """A reader's pin: keeps a generation's files until `release`, or until the pin is garbage.

    Args:
        folder: Of the generation.

    Raises:
        FileNotFoundError: It is gone.
        BlockingIOError: It is being removed.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder
        self._descriptor = -1
        if fcntl is not None:
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                raise
            except OSError:  # a file system without locks, where a writer's lock fails too
                pass
            self._descriptor = descriptor
            self._release = weakref.finalize(self, os.close, descriptor)

    def in_place(self) -> bool:
        """Whether the pinned folder still stands under its name, and not another one."""
        if self._descriptor < 0:
            return self._path.is_dir()
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._path.stat())
        except OSError:
            return False

    def release(self) -> None:
        """Let it be removed. Idempotent."""
        if self._descriptor >= 0:
            self._release()


@contextmanager
def in_use(generation: Path) -> Iterator[bool]:
    """Whether a reader has pinned a generation; while the block runs, none that has not can."""
    if fcntl is None:
        yield False
        return
    descriptor = os.open(generation, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield True
            return
        yield False
    finally:
        os.close(descriptor)
