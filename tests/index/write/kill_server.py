"""Runs jobs of the kill tests, each in a forked process that can be killed; imports are paid for once.

Reads a job a line (JSON) and answers with its exit code and the processor time that it took. It never uses OpenMP
itself: a fork of a process that did hangs.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import faiss  # noqa: F401
import tiny
from tqdm import tqdm

from ragscale.index import Index
from ragscale.index.write import grow, maintain, segments


class Patch:
    """Stand-in for pytest's monkeypatch, as far as `tiny.install` needs it."""

    setattr = staticmethod(setattr)


def run(job: dict[str, Any]) -> None:
    """Do what a job says."""
    tiny.install(Patch, log=Path(job["log"]))
    segments.SLAB = job["slab"]
    if job["die_at"]:
        _die_at(job["die_at"])
    path, corpora, size = job["path"], job["corpora"], {"segment_rows": job["segment_rows"]}
    match job["what"]:
        case "build" | "first":
            Index.build(
                corpora, path, embedder="tiny", factory=job["factory"], force=True, batch_size=2, **size
            ).close()
        case "add":
            grow.add(path, corpora, batch_size=2, **size)
        case "update":
            grow.update(path, corpora, prune=True, batch_size=2, **size)
        case "remove":
            maintain.remove(path, job["names"])
        case "compact":
            maintain.compact(path, **size)


def _die_at(step: int) -> None:
    """Kill this process at the n-th time that it changes a name or waits for the disk."""
    left = step

    def counted(call: Any) -> Any:
        def wrapped(*args: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **options)

        return wrapped

    for name in ("fsync", "rename", "replace", "link", "unlink", "rmdir", "mkdir"):
        setattr(os, name, counted(getattr(os, name)))


def _kill(pid: int, after: float) -> None:
    """Kill a child once it has had so many seconds of a processor; by its own clock, since the machine may be busy."""
    ended = os.pidfd_open(pid)
    clock = (~pid << 3) | 2  # the kernel's name of that clock
    while not select.select([ended], [], [], 0.0005)[0]:
        if time.clock_gettime(clock) >= after:
            os.kill(pid, signal.SIGKILL)
            break
    os.close(ended)


def main() -> None:
    """Serve until standard input ends."""
    # tqdm's own lock is a semaphore that all forks share: a child killed while it holds it would stop all later ones
    tqdm.set_lock(threading.RLock())
    with tempfile.TemporaryDirectory() as folder:  # imports what a job needs
        corpus = tiny.write_rows(Path(folder, "corpus.jsonl"), tiny.rows_of(range(3)))
        Index.build([corpus], Path(folder, "index"), embedder=None).close()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                run(json.loads(line))
                os._exit(0)
            except BaseException as error:
                sys.stderr.write(f"{type(error).__name__}: {error}\n")
                sys.stderr.flush()
                os._exit(1)
        after = json.loads(line)["after"]
        if after is not None:
            _kill(pid, after)
        _, status, usage = os.wait4(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)} {usage.ru_utime + usage.ru_stime}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
