"""Servers in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

__all__ = ["Served", "StartServer", "started"]


@dataclass
class Served:
    """A server in a process of its own."""

    url: str
    process: subprocess.Popen[bytes]

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        url = httpx.URL(self.url)
        assert url.port
        return url.host, url.port

    def counts(self) -> dict[str, float]:
        """The samples of its metrics by name and labels."""
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        return {key: float(value) for key, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


StartServer = Callable[..., AbstractContextManager[Served]]


@contextmanager
def started(folder: Path, *words: str, log: Path, **variables: str) -> Iterator[Served]:
    """Runs ``ragscale serve`` on a free port, with these words and environment variables."""
    command = [sys.executable, "-c", "from ragscale.cli import app; app()", "serve", str(folder), "--port", "0", *words]
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, stderr=stderr, env={**os.environ, **variables})
    try:
        while " at http" not in (told := log.read_text()):
            assert process.poll() is None, told
            time.sleep(0.02)
        yield Served(told.rpartition(" ")[2].strip(), process)
    finally:
        process.kill()
        process.wait()
