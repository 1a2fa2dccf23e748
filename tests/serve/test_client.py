"""The client against a scripted HTTP server: what is repeated, what is not, and what is no ragscale server."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

import ragscale as rs
from ragscale.errors import IndexMismatch, IndexServerError, InvalidInput, RagscaleError
from ragscale.index.remote import client as http
from ragscale.index.remote.wire import hit_from_json

LIMITS = {"queries": 4, "hits": 20, "pairs": 10, "body": 1000}
ABOUT = {"fingerprint": "f" * 64, "how": "bm25", "passages": 2, "limits": LIMITS}
HIT = {"id": "a", "title": "A", "text": "a", "document": "", "metadata": {"year": 1990}, "score": 1.5}
Reply = tuple[int, Any, dict[str, str]]


class Script:
    """Answers `/v1/index`, and everything else from `replies`, the last of them for ever; None closes unanswered."""

    def __init__(self) -> None:
        self.about: dict[str, Any] = ABOUT
        self.replies: list[Reply | Callable[[Any], Reply] | None] = []
        self.asked: list[Any] = []
        self.tokens: list[str | None] = []
        self.url = ""

    def next(self, body: Any) -> Reply | None:
        self.asked.append(body)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        return reply(body) if callable(reply) else reply


@pytest.fixture
def script() -> Iterator[Script]:
    """A running scripted server."""
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send(200, script.about, {}) if self.path == "/v1/index" else self.do_POST()

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            script.tokens.append(self.headers.get("authorization"))
            reply = script.next(json.loads(raw) if raw else None)
            if reply is not None:
                self.send(*reply)

        def send(self, status: int, body: Any, headers: dict[str, str]) -> None:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(raw)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None: ...

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None: ...  # of a client that did not wait

    server = Quiet(("127.0.0.1", 0), Handler)
    script.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield script
    server.shutdown()
    thread.join()
    server.server_close()


def good(body: Any) -> Reply:
    found = [{"hits": [[HIT] for _ in search["queries"]]} for search in body["searches"]]
    return 200, {"fingerprint": "f" * 64, "results": found}, {}


BUSY: Reply = (429, {"error": {"problem": "full", "remedy": "wait"}}, {"Retry-After": "0.6"})


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts, none of them waited."""
    waits: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)
    return waits


def test_a_busy_server_is_asked_again_when_it_says(script: Script, waits: list[float]) -> None:
    script.replies = [BUSY, BUSY, None, (503, b"<html>", {"Retry-After": "1e9"}), good]
    with rs.RemoteIndex(script.url) as remote:
        ((hit,),) = remote.search(["x"])
    assert hit == rs.Hit(rs.Passage("a", "A", "a", metadata={"year": 1990}), 1.5)
    assert len(script.asked) == 5
    assert waits[0] == 0.6
    assert waits[1] >= 0.6
    assert 0.5 <= waits[2] <= 1.0  # a broken connection: the third backoff
    assert waits[3] == 30.0


def test_patience_has_an_end(script: Script, waits: list[float]) -> None:
    script.replies = [BUSY]
    with rs.RemoteIndex(script.url, attempts=3) as remote, pytest.raises(IndexServerError, match=r": full\. wait"):
        remote.search(["x"])
    assert (len(script.asked), len(waits)) == (3, 2)


def test_patience_outlives_a_restart(script: Script, waits: list[float]) -> None:
    script.replies = [None]
    with rs.RemoteIndex(script.url) as remote, pytest.raises(IndexServerError, match="broke"):
        remote.search(["x"])
    assert 15 <= sum(waits) <= 32


def failed(body: Any) -> Reply:
    status, reply, headers = good(body)
    failures = [{"error": {"problem": "its embedder", "remedy": ""}, "status": 503} for _ in reply["results"]]
    return status, {**reply, "results": [*reply["results"][:-1], failures[-1]]}, headers


def test_a_search_that_is_worth_another_attempt_gets_it(script: Script, waits: list[float]) -> None:
    script.replies = [failed, failed, good]
    with rs.RemoteIndex(script.url, attempts=3) as remote:
        assert remote.search(["x"])[0]
        assert (len(script.asked), len(waits)) == (3, 2)
        script.replies = [failed]
        found, error = remote._served.run([{"queries": ["x"], "k": 1}] * 2)
    assert not isinstance(found, RagscaleError)
    assert len(found) == 1
    assert isinstance(error, IndexServerError)
    assert "its embedder" in error.problem
    assert len(script.asked) == 6


REFUSALS: list[tuple[Reply, type[RagscaleError], str]] = [
    ((422, {"error": {"problem": "k is 0", "remedy": "r"}}, {}), InvalidInput, "k is 0"),
    ((413, {"error": {"problem": "large", "remedy": "r"}}, {}), InvalidInput, "large"),
    ((500, {"error": {"problem": "damaged", "remedy": "r"}}, {}), IndexServerError, "damaged"),
    ((504, {"error": {"problem": "late", "remedy": "r"}}, {}), IndexServerError, "late"),
    ((404, b"<html>", {}), IndexServerError, "answered with HTTP 404"),
    ((302, b"", {"Location": "http://elsewhere.example/"}), IndexServerError, "answered with HTTP 302"),
    ((200, b"<html>", {}), IndexServerError, "/v1/batch answered with a page of HTML in place of JSON"),
    ((200, b"<result/>", {}), IndexServerError, "does not understand"),
    ((200, [], {}), IndexServerError, "does not understand"),
    ((200, b"[" * 200_000, {}), IndexServerError, "does not understand"),
    ((500, b"[" * 200_000, {}), IndexServerError, "answered with HTTP 500"),
    ((200, {"results": []}, {}), IndexServerError, "does not understand"),
    ((200, {"fingerprint": "f" * 64, "results": []}, {}), IndexServerError, "does not understand"),
    ((200, {"fingerprint": "f" * 64, "results": [{"hits": [[{}]]}]}, {}), IndexServerError, "does not understand"),
]


@pytest.mark.parametrize(("reply", "kind", "problem"), REFUSALS)
def test_what_another_attempt_would_not_help(
    script: Script, waits: list[float], reply: Reply, kind: type[RagscaleError], problem: str
) -> None:
    script.replies = [reply]
    with rs.RemoteIndex(script.url) as remote, pytest.raises(kind, match=problem):
        remote.search(["x"])
    assert (len(script.asked), waits) == (1, [])


def test_a_failure_is_told_to_all_who_waited_and_costs_one_request(script: Script) -> None:
    script.replies = [(500, {"error": {"problem": "damaged", "remedy": ""}}, {})]

    async def many(remote: rs.RemoteIndex) -> list[object]:
        return await asyncio.gather(*(remote.asearch(["x"], 1) for _ in range(4)), return_exceptions=True)

    with rs.RemoteIndex(script.url) as remote:
        errors = asyncio.run(many(remote))
    assert [type(error) for error in errors] == [IndexServerError] * 4
    assert len(script.asked) <= 2  # the first alone, the others behind it together
    assert len({id(error) for error in errors}) == 4


def test_requests_keep_the_limits_of_the_server(script: Script) -> None:
    script.replies = [good]
    with rs.RemoteIndex(script.url) as remote:
        bodies = [{"queries": ["x"] * n, "k": k} for n, k in [(1, 1), (3, 2), (1, 1), (2, 9), (1, 2), (9, 1), (1, 1)]]
        found = remote._served.run(bodies)
    assert [len(hits) for hits in found] == [1, 3, 1, 2, 1, 9, 1]  # type: ignore[arg-type]
    sent = [[len(search["queries"]) for search in asked["searches"]] for asked in script.asked]
    assert sent == [[1, 3], [1, 2], [1], [9], [1]]


def test_a_forgotten_client_stops_its_thread_and_frees_what_it_saw(script: Script) -> None:
    script.replies = [good]
    remote = rs.RemoteIndex(script.url)
    remote.search(["x"])
    worker, gone, seen = remote._broker._worker, weakref.ref(remote), weakref.ref(remote._served)
    assert worker is not None
    assert worker.is_alive()
    del remote
    gc.collect()
    assert gone() is None
    worker.join(30)
    assert not worker.is_alive()
    gc.collect()
    assert seen() is None


def test_a_body_that_cannot_be_decoded_is_asked_for_again(script: Script, waits: list[float]) -> None:
    script.replies = [(200, b"no gzip", {"Content-Encoding": "gzip"}), good]
    with rs.RemoteIndex(script.url, attempts=2) as remote:
        assert remote.search(["x"])[0]
        script.replies = [(200, b"no gzip", {"Content-Encoding": "gzip"})]
        with pytest.raises(IndexServerError, match=r"broke \(DecodingError\)"):
            remote.search(["x"])
    assert (len(script.asked), len(waits)) == (4, 2)


def test_passages_that_a_reload_overtook_are_not_kept(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reply is of the old index, and the new one is opened while it is read."""
    new = {"fingerprint": "e" * 64, "passages": [{**HIT, "text": "new"}]}
    script.replies = [good, (200, new, {})]
    with rs.RemoteIndex(script.url) as remote:

        def overtaken(data: dict[str, Any]) -> rs.Hit:
            script.about = {**ABOUT, "fingerprint": "e" * 64}
            remote.reload()
            return hit_from_json(data)

        monkeypatch.setattr("ragscale.index.remote.index.hit_from_json", overtaken)
        with pytest.raises(IndexMismatch, match="serves another index now"):
            remote.search(["x"])
        assert remote.passage("a").text == "new"


@pytest.mark.parametrize(
    ("searches", "together"),
    [
        ([{"k": 1, "depth": 10}] * 5, [2, 2, 1]),  # 20 candidates a request
        ([{"k": 1, "depth": 5, "rerank": "m"}] * 5, [2, 2, 1]),  # 10 pairs
        ([{"k": 1, "rerank": "m"}] * 2, [1, 1]),  # 50 candidates each, where it does not say
        ([{"k": 3, "depth": 5, "rerank": "m"}, {"k": 9}, {"k": 1, "depth": 5, "rerank": "m"}], [3]),
        ([{"queries": []}] * 9, [4, 4, 1]),
        ([{"queries": [letter * 300], "k": 1} for letter in "abcd"], [2, 2]),  # 1,000 bytes
        ([{"queries": ["\u00fc" * 2000]}, {}], [1, 1]),  # too large alone: not the fault of others
        ([{"k": -99}, {"k": 20}, {"k": 20}], [2, 1]),
    ],
)
def test_what_waits_together_fits_into_a_request(
    script: Script, searches: list[dict[str, Any]], together: list[int]
) -> None:
    wanted = [{"queries": ["x"], **search} for search in searches]

    def first(body: Any) -> Reply:
        while remote.load.waiting < len(wanted):
            time.sleep(0.002)
        return good(body)

    async def ask() -> None:
        asked = asyncio.create_task(remote.asearch(["first"], 1))
        while not script.asked:  # noqa: ASYNC110 - of another thread
            await asyncio.sleep(0.002)
        await asyncio.gather(asked, *(remote.asearch(**search) for search in wanted))

    script.replies = [first, good]
    with rs.RemoteIndex(script.url) as remote:
        asyncio.run(ask())
    assert [len(asked["searches"]) for asked in script.asked] == [1, *together]


def test_the_token_is_sent_and_shown_nowhere(
    script: Script, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RAGSCALE_TOKEN", "very-secret-token")
    script.replies = [good, (401, {}, {})]
    with caplog.at_level(0), rs.RemoteIndex(script.url) as remote:
        remote.search(["x"])
        with pytest.raises(IndexServerError) as caught:
            remote.search(["x"])
        assert script.tokens == ["Bearer very-secret-token"] * 2
        assert "very-secret" not in f"{caught.value} {remote!r} {caplog.text}"


@pytest.mark.parametrize("token", ["jet\u00f3n", "one\ntwo"])
def test_a_token_that_no_header_can_carry(script: Script, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGSCALE_TOKEN", token)
    with pytest.raises(IndexServerError, match="no HTTP header can carry"):
        rs.RemoteIndex(script.url)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://", "is not a URL of a server"),
        ("http://[::1", "is not a URL of a server"),
        ("http://h:abc", "is not a URL of a server"),
        ("http://h:999999", "is not a URL of a server"),
        ("http://me:secret@127.0.0.1:1", "holds credentials"),
        ("http://127.0.0.1:1/?token=secret", "holds credentials or a query"),
    ],
)
def test_urls_that_are_refused(url: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem) as caught:
        rs.Index.open(url)
    assert "secret@" not in str(caught.value)


def test_a_slow_server_is_not_asked_twice(script: Script, waits: list[float]) -> None:
    done = threading.Event()

    def slow(body: Any) -> Reply:
        done.wait(30)
        return good(body)

    script.replies = [slow]
    with rs.RemoteIndex(script.url, timeout=3) as remote, pytest.raises(IndexServerError, match="within 3 s"):
        remote.search(["x"])
    done.set()
    assert (len(script.asked), waits) == (1, [])
    assert http._LONGEST_WAIT == 30
