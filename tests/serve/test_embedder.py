"""A server whose embedder is an endpoint that fails, or hangs."""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from servers import StartServer

from ragscale.index import Index
from ragscale.serve.app import Service
from ragscale.serve.limits import Limits

METALS = ("tin", "gold", "lead")


class Embeddings:
    """An endpoint: answers with this status, once it may."""

    def __init__(self) -> None:
        self.status = 200
        self.go = threading.Event()
        self.go.set()
        self.url = ""


@pytest.fixture
def embeddings() -> Iterator[Embeddings]:
    """A running endpoint."""
    state = Embeddings()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send(200, {"data": [{"id": "small"}]})

        def do_POST(self) -> None:
            texts = json.loads(self.rfile.read(int(self.headers["content-length"])))["input"]
            state.go.wait(60)
            rows = [{"index": i, "embedding": [1.0, len(text), 0.5]} for i, text in enumerate(texts)]
            self.send(state.status, {"data": rows} if state.status == 200 else {"error": {"message": "no"}})

        def send(self, status: int, answer: Any) -> None:
            raw = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None: ...

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None: ...  # of a client that did not wait

    with Quiet(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        state.url = f"http://127.0.0.1:{http.server_port}/v1"
        yield state
        state.go.set()
        http.shutdown()


@pytest.fixture
def folder(embeddings: Embeddings, tmp_path: Path) -> Path:
    """The folder of an index that the endpoint embedded."""
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"id": name, "text": f"{name} is a metal"}) + "\n" for name in METALS))
    Index.build([corpus], tmp_path / "index", embedder=f"endpoint:{embeddings.url}#small").close()
    return tmp_path / "index"


@pytest.mark.parametrize(
    ("fault", "status", "wait", "problem", "logged"),
    [
        (500, 503, "5", "the server's embedder failed", "failed (HTTP 500)"),
        (401, 503, "5", "the server's embedder failed", "refused the key (HTTP 401)"),
        (400, 422, None, "the server's embedder refused a query", "refused the request (HTTP 400): no"),
    ],
)
async def test_a_failure_of_the_embedder_is_logged_and_not_told(
    embeddings: Embeddings,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: int,
    status: int,
    wait: str | None,
    problem: str,
    logged: str,
) -> None:
    monkeypatch.setattr("ragscale.index.encoders.endpoint._ATTEMPTS", 1)
    with Index.open(folder) as index:
        index.search(["ready?"], 1)
        embeddings.status = fault
        transport = httpx.ASGITransport(Service(index, limits=Limits()).app())
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as http:
            asked = {"queries": ["gold"], "k": 1}
            with caplog.at_level(logging.ERROR, "ragscale.serve"):
                alone = await http.post("/v1/search", json=asked)
                assert [record.message.count(logged) for record in caplog.records] == [1]
                caplog.clear()
                batch = await http.post("/v1/batch", json={"searches": [asked, asked, {**asked, "how": "bm25"}]})
                assert [record.message.count(logged) for record in caplog.records] == [1]
    assert (alone.status_code, alone.headers.get("retry-after")) == (status, wait)
    assert alone.json()["error"]["problem"] == problem
    *failed, found = batch.json()["results"]
    assert failed == [{**alone.json(), "status": status}] * 2
    assert found["hits"][0][0]["id"] == "gold"
    assert embeddings.url not in alone.text + batch.text


@pytest.mark.parametrize("reload", [False, True])
def test_a_server_ends_in_time_though_its_embedder_hangs(
    start: StartServer, embeddings: Embeddings, folder: Path, reload: bool
) -> None:
    """Also where it waits for the embedder to move to another commit."""

    def search() -> int:
        return httpx.post(f"{served.url}/v1/search", json={"queries": ["gold"]}, timeout=30).status_code

    with ThreadPoolExecutor(1) as pool, start(folder, "--limit", "shutdown_seconds=1") as served:
        embeddings.go.clear()
        asked = pool.submit(search)
        while not served.counts()["ragscale_queries_in_flight"]:
            time.sleep(0.05)
        if reload:
            with Index.open(folder) as index:
                index.remove(["tin"])
            served.process.send_signal(signal.SIGHUP)
            while httpx.get(f"{served.url}/v1/index").json()["passages"] == len(METALS):
                time.sleep(0.05)
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(15) == 0
        assert asked.result() == 500
