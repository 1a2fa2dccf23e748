"""The shipped corpus, indexed for BM25; servers in the process and in processes of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from servers import Served, StartServer, started

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


@pytest.fixture
def client(index: Index) -> Callable[..., httpx.AsyncClient]:
    """Makes clients of an application in this process, without a socket."""

    def make(*, token: str | None = None, rerankers: tuple[str, ...] = (), **limits: int) -> httpx.AsyncClient:
        app = Service(index, limits=Limits(**limits), token=token, rerankers=rerankers).app()
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")

    return make


@pytest.fixture
def start(tmp_path: Path) -> StartServer:
    """Starts ``ragscale serve`` with these words and environment variables."""
    return lambda folder, *words, **variables: started(folder, *words, log=tmp_path / "server.log", **variables)


@pytest.fixture(scope="module")
def served(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for the tests of a module, with short time-outs."""
    words = ["--limit", "head_seconds=1", "--limit", "body_seconds=1", "--limit", "reply_seconds=1"]
    with started(folder, *words, log=tmp_path_factory.mktemp("log") / "server.log") as server:
        yield server
