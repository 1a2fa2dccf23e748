"""A server in a process of its own, and clients at the level of sockets: slow, dead, oversized, malformed."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from servers import Served, StartServer

from ragscale.errors import RagscaleError
from ragscale.index import Index
from ragscale.serve import serve

TOKEN = "a-token-of-some-length"


def connect(served: Served, sent: bytes = b"") -> socket.socket:
    connection = socket.create_connection(served.address, timeout=30)
    connection.sendall(sent)
    return connection


def rest(connection: socket.socket) -> bytes:
    """Bytes that come until the server closes."""
    with connection:
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def reply(raw: bytes) -> tuple[int, Any]:
    """Status and JSON of a reply."""
    head, _, body = raw.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def request(body: bytes, *, path: str = "/retrieve", length: int | None = None, close: bool = False) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, *(["Connection: close"] if close else []), "", ""]).encode() + body


ASKED = b'{"queries": ["gold"], "topk": 1}'


@pytest.mark.parametrize("sent", [b"", b"POST /retr", b"POST /retrieve HTTP/1.1\r\nHost: localhost\r\nX: "])
def test_a_head_that_does_not_come_is_not_waited_for(served: Served, sent: bytes) -> None:
    status, body = reply(rest(connect(served, sent)))
    assert (status, body["error"]["problem"]) == (408, "no request within 1 s")


def test_a_slow_head_after_a_first_request(served: Served) -> None:
    connection = connect(served, request(ASKED))
    raw = b""
    while not raw.endswith(b"]]}"):
        raw += connection.recv(1 << 16)
    assert raw.startswith(b"HTTP/1.1 200 OK")
    connection.sendall(b"GET /health HT")
    assert reply(rest(connection))[0] == 408


def test_a_body_that_does_not_come_is_not_waited_for(served: Served) -> None:
    status, body = reply(rest(connect(served, request(ASKED, length=100))))
    assert (status, body["error"]["problem"]) == (408, "the body did not arrive within 1 s")
    assert body["result"] == []


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\x02\x00\x01\x00", b"HELLO\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"])
def test_what_is_no_http(served: Served, sent: bytes) -> None:
    status, body = reply(rest(connect(served, sent)))
    assert (status, body["error"]["problem"]) == (400, "the request is not HTTP/1.1")


def test_what_is_refused_outside_a_request_is_counted(served: Served) -> None:
    def counted() -> list[float]:
        counts = served.counts()
        return [
            counts.get(f'ragscale_requests_total{{endpoint="other",status="{status}"}}', 0) for status in (400, 408)
        ]

    before = counted()
    assert [reply(rest(connect(served, sent)))[0] for sent in (b"HELLO\r\n\r\n", b"GET /hea")] == [400, 408]
    assert counted() == [count + 1 for count in before]


def test_a_head_without_end(served: Served) -> None:
    assert reply(rest(connect(served, b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000)))[0] == 400


@pytest.mark.parametrize(("path", "size", "result"), [("/v1/search", 6 << 20, None), ("/retrieve", 65 << 20, [])])
def test_a_large_body_is_refused_before_it_was_sent(served: Served, path: str, size: int, result: Any) -> None:
    connection = connect(served, request(b"", path=path, length=10**12))
    assert connection.recv(1 << 16).startswith(b"HTTP/1.1 413 ")
    connection.close()
    response = httpx.post(f"{served.url}{path}", content=b" " * size)  # sent to its end by this client
    assert response.status_code == 413
    assert set(response.json()["error"]) == {"problem", "remedy"}
    assert response.json().get("result") == result


def test_a_reply_that_nobody_reads_is_cut_off(served: Served) -> None:
    """Several MB that the client does not take: the server gives up after its second, and frees the connection."""
    answered = 'ragscale_request_seconds_count{endpoint="/v1/search"}'
    body = json.dumps({"queries": [f"gold {i} metal" for i in range(1000)], "k": 16}).encode()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        connection.settimeout(30)
        connection.connect(served.address)
        connection.sendall(request(body, path="/v1/search"))
        while not served.counts().get(answered):
            time.sleep(0.05)
        time.sleep(3)
        raw = bytearray()
        with contextlib.suppress(ConnectionResetError):
            while data := connection.recv(1 << 16):
                raw += data
    head, _, taken = bytes(raw).partition(b"\r\n\r\n")
    promised = int(head.lower().partition(b"content-length: ")[2].split()[0])
    assert promised > 5_000_000
    assert len(taken) < promised


def test_clients_that_vanish_do_no_harm(served: Served) -> None:
    for sent in (b"", b"POST", request(ASKED), request(ASKED, length=1000), request(ASKED) * 3):
        connect(served, sent).close()
    assert httpx.post(f"{served.url}/retrieve", content=ASKED).status_code == 200
    assert served.counts()["ragscale_queries_in_flight"] == 0


def test_what_is_in_flight_is_finished_at_the_end(start: StartServer, folder: Path) -> None:
    with start(folder) as served:
        half = connect(served, request(ASKED, close=True)[:-1])
        idle = connect(served)
        assert httpx.get(f"{served.url}/health").status_code == 200  # what came before is read by now
        served.process.send_signal(signal.SIGTERM)
        assert rest(idle) == b""
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{served.url}/health")
        half.sendall(ASKED[-1:])
        status, body = reply(rest(half))
        assert (status, body["result"][0][0]["id"]) == (200, "element-gold")
        assert served.process.wait(30) == 0


def test_connections_are_bounded(start: StartServer, folder: Path) -> None:
    with start(folder, "--limit", "connections=3") as served:
        held = [connect(served) for _ in range(3)]
        for path, result in (("/retrieve", []), ("/v1/search", None)):
            status, body = reply(rest(connect(served, request(ASKED, path=path))))
            assert (status, body["error"]["problem"], body.get("result")) == (503, "more than 3 connections", result)
        for connection in held:
            connection.close()
        for _ in range(100):
            if httpx.get(f"{served.url}/health").status_code == 200:
                break
        assert httpx.post(f"{served.url}/retrieve", content=ASKED).status_code == 200
        assert served.counts()['ragscale_requests_total{endpoint="other",status="503"}'] >= 1


def test_a_small_queue_under_many_clients(start: StartServer, folder: Path) -> None:
    """Every reply is an answer or a refusal that says when to come again; the server lives on."""

    def ask(number: int) -> int:
        response = httpx.post(f"{served.url}/v1/search", json={"queries": [f"gold {number}"] * 40}, timeout=60)
        assert response.status_code == 200 or response.headers["retry-after"] == "1"
        return response.status_code

    with start(folder, "--limit", "queue=64", "--limit", "queries=64") as served, ThreadPoolExecutor(32) as pool:
        statuses = list(pool.map(ask, range(96)))
        assert set(statuses) == {200, 429}
        assert served.counts()["ragscale_queries_in_flight"] == 0


@pytest.mark.parametrize(
    ("words", "variables", "problem"),
    [
        (["--host", "0.0.0.0"], {}, "holds no token"),
        (["--host", "0.0.0.0", "--token-env", "MINE"], {"RAGSCALE_TOKEN": TOKEN}, "MINE holds no token"),
        ([], {"RAGSCALE_TOKEN": "short"}, "5 characters, the least is 16"),
        (["--host", "203.0.113.7"], {"RAGSCALE_TOKEN": TOKEN}, "cannot listen on 203.0.113.7:0"),
        (["--limit", "queue"], {}, "--limit 'queue' has no value"),
        (["--limit", "kk=1"], {}, "unknown limit 'kk'"),
        (["--allow-origin", "somewhere", "--rerank", "/nowhere"], {}, "'somewhere' is not the origin"),
    ],
)
def test_what_the_command_refuses(
    monkeypatch: pytest.MonkeyPatch, folder: Path, words: list[str], variables: dict[str, str], problem: str
) -> None:
    from typer.testing import CliRunner

    from ragscale.cli import app

    monkeypatch.delenv("RAGSCALE_TOKEN", raising=False)
    result = CliRunner().invoke(app, ["serve", str(folder), "--port", "0", *words], env=variables)
    assert result.exit_code == 1
    assert problem in result.output
    assert TOKEN not in result.output


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        pytest.param("::1", marks=pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")),
    ],
)
def test_a_port_that_is_taken_is_refused_before_anything_is_loaded(folder: Path, host: str) -> None:
    """The model that cannot be loaded is not reached."""
    from typer.testing import CliRunner

    from ragscale.cli import app

    family = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0][0]
    with socket.create_server((host, 0), family=family) as taken:
        port = taken.getsockname()[1]
        words = ["--host", host, "--port", str(port), "--rerank", "/nowhere"]
        result = CliRunner().invoke(app, ["serve", str(folder), *words])
    assert result.exit_code == 1
    assert f"cannot listen on {host}:{port}" in result.stderr
    assert "Choose another --port" in result.stderr
    assert "loading" not in result.stderr
    again = CliRunner().invoke(app, ["serve", str(folder), *words])
    assert "cannot listen" not in again.stderr
    assert "/nowhere" in again.stderr


def test_what_is_loaded_is_told_before_and_clients_are_refused_until_then(folder: Path) -> None:
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(line.partition("127.0.0.1:")[2].split()[0])), timeout=30)

    with Index.open(folder) as index, pytest.raises(RagscaleError, match="/nowhere"):
        serve(index, port=0, rerankers=["/nowhere"], tell=tell)
    [line] = told
    assert line.startswith(f"{folder}: loading the index, /nowhere; http://127.0.0.1:")
    assert line.endswith(" opens when that is done")
