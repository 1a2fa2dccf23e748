"""Runs jobs of the kill tests, each in a forked process that can be killed; imports are paid for once.

Reads a job a line (JSON) and answers with two lines: the pid, and how it ended. It never uses OpenMP itself: a fork of a
process that did hangs.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import bm25s  # noqa: F401
import faiss  # noqa: F401
import filelock  # noqa: F401
import pyarrow  # noqa: F401
import Stemmer  # noqa: F401
import tiny

from ragscale.index import Index, grow, segments


class Patch:
    """What `tiny.install` needs of pytest's monkeypatch."""

    setattr = staticmethod(setattr)


def run(job: dict[str, Any]) -> None:
    """Do what a job says."""
    tiny.install(Patch, log=Path(job["log"]))
    segments.SLAB = job["slab"]
    if job["die_at"]:
        _die_at(job["die_at"])
    path, corpora, size = job["path"], job["corpora"], {"segment_rows": job["segment_rows"]}
    match job["what"]:
        case "build":
            Index.build(corpora, path, embedder="tiny", force=True, batch_size=2, **size).close()
        case "add":
            grow.add(path, corpora, batch_size=2, **size)
        case "update":
            grow.update(path, corpora, prune=True, batch_size=2, **size)
        case "remove":
            grow.remove(path, job["names"])
        case "compact":
            grow.compact(path, **size)


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


def main() -> None:
    """Serve until standard input ends."""
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
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
