"""The shipped corpus, indexed for BM25; servers in the process and in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from ragscale.index import Index
from ragscale.serve.app import Service
from ragscale.serve.limits import Limits

SHIPPED = Path(__file__).parents[2] / "corpora" / "elements" / "passages.jsonl"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a lexical-only index."""
    out = tmp_path_factory.mktemp("served") / "elements"
    Index.build([SHIPPED], out, embedder=None).close()
    return out


@pytest.fixture
def index(folder: Path) -> Iterator[Index]:
    """That index, open."""
    with Index.open(folder) as index:
        yield index


Call = Callable[..., Any]


@pytest.fixture
def client(index: Index) -> Callable[..., httpx.AsyncClient]:
    """Makes clients of an application in this process, without a socket."""

    def make(*, token: str | None = None, rerankers: tuple[str, ...] = (), **limits: int) -> httpx.AsyncClient:
        app = Service(index, limits=Limits(**limits), token=token, rerankers=rerankers).app()
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")

    return make


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
def _started(folder: Path, *words: str, log: Path, **variables: str) -> Iterator[Served]:
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


@pytest.fixture
def start(tmp_path: Path) -> StartServer:
    """Starts ``ragscale serve`` with these words and environment variables."""
    return lambda folder, *words, **variables: _started(folder, *words, log=tmp_path / "server.log", **variables)


@pytest.fixture(scope="module")
def served(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for the tests of a module, with short time-outs."""
    words = ["--limit", "head_seconds=1", "--limit", "body_seconds=1", "--limit", "reply_seconds=1"]
    with _started(folder, *words, log=tmp_path_factory.mktemp("log") / "server.log") as server:
        yield server
