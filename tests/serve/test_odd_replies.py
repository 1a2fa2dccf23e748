"""The client against a server that says anything: an error of ours each time, in bounded memory and time."""

from __future__ import annotations

import copy
import gzip
import itertools
import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

import ragscale as rs
from ragscale.errors import IndexMismatch, IndexServerError, InvalidInput, MissingDependency, RagscaleError
from ragscale.index.remote import client as http

LIMITS = {"queries": 4, "hits": 20, "pairs": 10, "body": 1000, "characters": 900, "names": 3}
PASSAGE = {"id": "a", "title": "A", "text": "a", "document": "d", "metadata": {"year": 1990}}
HIT = {**PASSAGE, "score": 1.5}
ABOUT: dict[str, Any] = {
    "fingerprint": "f" * 64,
    "how": "bm25",
    "passages": 2,
    "limits": LIMITS,
    "rerankers": {"m": "sha256:0"},
}
ABOUT["description"] = "On metals."
FAILED = {"error": {"problem": "k is 0", "remedy": "Ask for more."}, "status": 422}
REPLIES: dict[str, Any] = {
    "/v1/index": ABOUT,
    "/v1/batch": {"fingerprint": "f" * 64, "results": [{"hits": [[HIT, HIT]]}]},
    "/v1/batch failed": {"fingerprint": "f" * 64, "results": [FAILED]},
    "/v1/passages": {"fingerprint": "f" * 64, "passages": [PASSAGE]},
    "/v1/known": {"fingerprint": "f" * 64, "known": ["a"]},
    "422": {"error": FAILED["error"]},
}
MISSING = object()
ODD = [
    "null", "true", "0", "-1", "1.5", "1e400", "-1e400", "NaN", "-0.0", "1" + "0" * 400, "1" * 5000, str(2**70), '""',
    '"x"', '"\\ud800"', '"\\u0000"', "[]", "{}", "[[]]", '[{"x": [null]}]', '{"error": {}}', '{"": null}', "[" * 500,
    "[" * 500 + "]" * 500, "", "tru", MISSING,
]  # fmt: skip


class Raw:
    """Answers `/v1/index` as it should be, and everything else with `reply`: the bytes of a whole HTTP reply."""

    def __init__(self) -> None:
        self.about = reply(ABOUT)
        self.reply: bytes | Iterator[bytes] = b""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(1 << 16)
            head, _, body = head.partition(b"\r\n\r\n")
            lines = head.decode("latin-1").lower().split("\r\n")
            assert "accept-encoding: identity" in lines
            length = next((int(line.split(":")[1]) for line in lines if line.startswith("content-length:")), 0)
            while len(body) < length:
                body += connection.recv(1 << 16)
            sent = self.about if lines[0].startswith("get /v1/index ") else self.reply
            try:
                for part in [sent] if isinstance(sent, bytes) else sent:
                    connection.sendall(part)
            except OSError:
                pass  # the client has enough

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def raw() -> Iterator[Raw]:
    """A running server."""
    raw = Raw()
    yield raw
    raw.close()


def reply(body: Any, status: str = "200 OK", **headers: str) -> bytes:
    """The bytes of a reply; its body is JSON unless it is bytes already."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"Content-Type": "application/json", "Content-Length": str(len(content)), "Connection": "close"}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in {**given, **headers}.items() if value]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode("latin-1") + content


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to all values of a reply, from the whole of it down."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def changed(whole: Any, path: tuple[Any, ...], odd: Any) -> bytes:
    """A reply as JSON with something else at one place, or nothing."""
    if not path:
        return b"" if odd is MISSING else odd.encode()
    whole = copy.deepcopy(whole)
    *way, last = path
    inner = whole
    for key in way:
        inner = inner[key]
    if odd is MISSING:
        del inner[last]
        return json.dumps(whole).encode()
    inner[last] = "@here@"
    return json.dumps(whole).replace('"@here@"', odd).encode()


def ask(remote: rs.RemoteIndex, name: str) -> Any:
    if name == "/v1/known":
        assert remote.known(["a", "x"]) <= {"a", "x"}  # type: ignore[operator]
        return []
    return remote.passage("a") if name == "/v1/passages" else remote.search(["x"], 2)


@pytest.mark.parametrize("name", REPLIES)
def test_every_field_may_be_anything(raw: Raw, name: str) -> None:
    """An error of ours, or an answer of the right types where the value is a good one for its place."""
    status = "422 No" if name == "422" else "200 OK"
    ours = (IndexServerError, IndexMismatch, InvalidInput)
    refused = longest = 0
    remote = rs.RemoteIndex(raw.url, attempts=1, timeout=10)
    for path, odd in itertools.product(places(REPLIES[name]), ODD):
        body = changed(REPLIES[name], path, odd)
        remote._served._seen.clear()
        try:
            if name == "/v1/index":
                raw.about = reply(body)
                remote.reload()
                assert isinstance(remote.fingerprint, str)
                assert remote.how in ("hybrid", "dense", "bm25")
                assert 0 <= len(remote) < 1 << 63
                assert isinstance(remote.description, str)
                assert len(remote.description) <= 1000
                assert remote.longest_query is None or remote.longest_query >= 1
                assert isinstance(remote.reranker_revision("m"), str)
            else:
                raw.reply = reply(body, status)
                found = ask(remote, name)
                hits = next(iter(found), []) if isinstance(found, list) else [rs.Hit(found, 0.0)]
                for hit in hits:
                    assert {type(hit.passage.id), type(hit.passage.title), type(hit.passage.text)} == {str}
                    assert isinstance(hit.score, float)
                    assert {type(value) for value in hit.passage.metadata.values()} <= {int, float, str, bool}
        except ours as error:
            refused += 1
            longest = max(longest, len(str(error)))
    remote.close()
    assert refused > 100
    assert longest < 1000


ONE = REPLIES["/v1/batch"]
GZIP = {"Content_Encoding": "gzip"}
HEADS = [
    (reply(ONE, Content_Type=""), None),
    (reply(ONE, Content_Type="text/plain; charset=zlib"), None),
    (reply(ONE, Content_Type="application/json; charset=\xff\xfe"), None),
    (reply(ONE, Content_Encoding="identity"), None),
    (reply(gzip.compress(json.dumps(ONE).encode(), mtime=0), **GZIP), None),
    (reply(ONE, Set_Cookie="a=b; expires=Mon, 99-Jan-99999 99:99:99 GMT"), None),
    (reply(ONE, Retry_After="nan"), None),
    (reply(ONE, Content_Encoding="br"), "encoding 'br'"),
    (reply(ONE, Content_Encoding="gzip, br"), "encoding 'gzip, br'"),
    (reply(ONE, **GZIP), "is not in gzip"),
    (reply(gzip.compress(json.dumps(ONE).encode(), mtime=0)[:-5], **GZIP), "ends too early"),
    (reply(json.dumps(ONE).encode("utf-16")), "does not understand"),
    (reply(json.dumps(ONE).encode() + b"{}"), "does not understand"),
    (reply(ONE, Content_Length="-1"), "broke"),
    (reply(ONE, Content_Length="99999"), "broke"),
    (reply(ONE, Content_Length="1" * 30), "broke"),
    (reply(ONE, Content_Length="", Transfer_Encoding="chunked"), "broke"),
    (reply(b"-1\r\n\r\n", Content_Length="", Transfer_Encoding="chunked"), "broke"),
    (reply(ONE, "302 Go", Location="http://[::1"), "broke|HTTP 302"),
    (reply(ONE, "302 Go", Location="http://user:pass@elsewhere.example:99999/\x00"), "broke|HTTP 302"),
    (reply(ONE, "999 What"), "HTTP 999|broke"),
    (reply(ONE, "200 \xff\xff"), None),
    (b"HTTP/1.1 abc\r\n\r\n", "broke"),
    (b"HTTP/9.9 200 OK\r\n\r\n", "does not understand"),
    (b"\x00" * 100, "broke"),
    (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000, "broke"),
    (b"", "broke"),
]


@pytest.mark.parametrize(("sent", "problem"), HEADS, ids=range(len(HEADS)))
def test_every_head_may_be_anything(raw: Raw, sent: bytes, problem: str | None) -> None:
    raw.reply = sent
    with rs.RemoteIndex(raw.url, attempts=1, timeout=10) as remote:
        if problem is None:
            assert [hit.score for hit in remote.search(["x"])[0]] == [1.5, 1.5]
        else:
            with pytest.raises(IndexServerError, match=problem):
                remote.search(["x"])


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("2", 2, 2), ("-5", 0, 1), ("nan", 0, 1), ("inf", 0, 1), ("1e400", 0, 1), ("1e9", 30, 30), ("soon", 0, 1),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 30, 30), ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 1),
        ("Mon, 01 Jan 99999999999 00:00:00 GMT", 0, 1), ("Mon, 01 Jan 2024 99:99:99 -9999", 0, 1),
    ],
)  # fmt: skip
def test_any_wait_may_be_asked_for(
    raw: Raw, monkeypatch: pytest.MonkeyPatch, header: str, least: float, most: float
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)
    raw.reply = reply({}, "503 Busy", Retry_After=header)
    with rs.RemoteIndex(raw.url, attempts=2) as remote, pytest.raises(IndexServerError, match="HTTP 503"):
        remote.search(["x"])
    assert least <= waits[0] <= most


def chunked(parts: Iterator[bytes], **headers: str) -> Iterator[bytes]:
    yield reply(b"", Content_Length="", Transfer_Encoding="chunked", **headers)
    for part in parts:
        yield b"%x\r\n%b\r\n" % (len(part), part)


@pytest.mark.parametrize("status", ["200 OK", "500 No"])
def test_a_reply_without_end_is_not_read_to_its_end(raw: Raw, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_LARGEST", 8 << 20)
    raw.reply = (part.replace(b"200 OK", status.encode()) for part in chunked(itertools.repeat(b" " * 65_536)))
    refused_within(raw, "more than (8,388,608|1,048,576) bytes", 24 << 20)


def test_a_gzip_bomb_is_not_unpacked(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte that would be a gigabyte."""
    monkeypatch.setattr(http, "_LARGEST", 8 << 20)
    once = gzip.compress(bytes(1 << 30), 1)
    raw.reply = reply(once, **GZIP)
    refused_within(raw, "more than 8,388,608 bytes", 24 << 20 + len(once))


def refused_within(raw: Raw, problem: str, memory: int) -> None:
    with rs.RemoteIndex(raw.url, attempts=1, timeout=30) as remote:
        tracemalloc.start()
        with pytest.raises(IndexServerError, match=problem):
            remote.search(["x"])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < memory


def test_a_reply_that_trickles_is_given_up(raw: Raw) -> None:
    def trickle() -> Iterator[bytes]:
        while True:
            time.sleep(0.05)
            yield b" "

    raw.reply = chunked(trickle())
    with (
        rs.RemoteIndex(raw.url, attempts=1, timeout=0.5) as remote,
        pytest.raises(IndexServerError, match=r"within 0\.5 s"),
    ):
        remote.search(["x"])


def test_what_is_too_large_together_is_asked_for_apart(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three searches that waited together: the one that alone is too large is refused, the others are answered."""
    monkeypatch.setattr(http, "_LARGEST", 1000)
    sent: list[list[str]] = []

    def answer(client: http.Client, path: str, body: dict[str, Any], *_: Any, **__: Any) -> Any:
        texts = [search["queries"][0] for search in body["searches"]]
        sent.append(texts)
        found = [{"hits": [[{**HIT, "text": "x" * (2000 if text == "large" else 300)}]]} for text in texts]
        raw.reply = reply({"fingerprint": "f" * 64, "results": found})
        return post(client, path, body, *_, **__)

    post = http.Client.post
    monkeypatch.setattr(http.Client, "post", answer)
    with rs.RemoteIndex(raw.url, attempts=1) as remote:
        first, second, third = remote._served.run([{"queries": [t], "k": 1} for t in ("small", "large", "small")])
    assert isinstance(second, IndexServerError)
    assert "more than 1,000 bytes" in second.problem
    assert not isinstance(first, RagscaleError)
    assert not isinstance(third, RagscaleError)
    assert sent == [["small", "large", "small"], ["small"], ["large", "small"], ["large"], ["small"]]


def test_an_answer_to_something_else_is_refused(raw: Raw) -> None:
    with rs.RemoteIndex(raw.url, attempts=1) as remote:
        for results in ([], [{"hits": []}], [{"hits": [[], []]}], [FAILED, FAILED]):
            raw.reply = reply({"fingerprint": "f" * 64, "results": results})
            with pytest.raises(IndexServerError, match="other numbers"):
                remote.search(["x"])
        for passages in ([], [PASSAGE, PASSAGE], [{**PASSAGE, "id": "b"}]):
            raw.reply = reply({"fingerprint": "f" * 64, "passages": passages})
            with pytest.raises(IndexServerError, match="for the id 'a'"):
                remote.passage("a")


def test_names_are_sent_in_parts_within_the_limits(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three at a time, and never a body beyond the limit; a name that nobody can send is nowhere."""
    sent: list[dict[str, Any]] = []

    def answer(client: http.Client, path: str, body: dict[str, Any], *_: Any, **__: Any) -> Any:
        sent.append(body)
        raw.reply = reply({"fingerprint": "f" * 64, "known": [name for name in body["names"] if name < "n"]})
        return post(client, path, body, *_, **__)

    post = http.Client.post
    monkeypatch.setattr(http.Client, "post", answer)
    large = ["é" * 150, "m" * 600, "z" * 600]
    with rs.RemoteIndex(raw.url, attempts=1) as remote:
        names = ["a", "b", "", "a", "\ud800", "z", "c", *large]
        assert remote.known(names) == {"a", "b", "c", large[1]}
        assert [body["names"] for body in sent] == [["a", "b", "z"], ["c", large[0]], [large[1]], [large[2]]]
        assert max(len(json.dumps(body)) for body in sent) <= LIMITS["body"]
        assert remote.known([]) == set()
        assert len(sent) == 4


def test_a_server_that_takes_no_names_is_not_asked(raw: Raw) -> None:
    raw.about = reply({**ABOUT, "limits": {name: LIMITS[name] for name in LIMITS if name != "names"}})
    with rs.RemoteIndex(raw.url, attempts=1) as remote:
        assert remote.known(["a"]) is None
        assert remote.known([]) is None


def test_names_of_another_index_or_that_nobody_asked_for(raw: Raw) -> None:
    with rs.RemoteIndex(raw.url, attempts=1) as remote:
        raw.reply = reply({"fingerprint": "f" * 64, "known": ["b"]})
        with pytest.raises(IndexServerError, match="names that were not asked for"):
            remote.known(["a"])
        raw.reply = reply({"fingerprint": "e" * 64, "known": ["a"]})
        with pytest.raises(IndexMismatch):
            remote.known(["a"])


PROXIES = ["ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "http_proxy", "https_proxy", "NO_PROXY", "no_proxy"]


def test_proxies_of_the_environment(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    """None for this machine; one that cannot be used is named."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    rs.RemoteIndex(raw.url).close()
    with pytest.raises(IndexServerError, match=r"no index server at http://search\.example"):
        rs.RemoteIndex("http://search.example:8765")
    monkeypatch.setenv("HTTP_PROXY", raw.url)
    named = "NO_PROXY: the proxy of HTTP_PROXY"
    raw.about = raw.reply = reply({}, "407 Who")
    with pytest.raises(IndexServerError, match=f"HTTP 407.*{named}"):
        rs.RemoteIndex("http://search.example:8765")
    raw.about = raw.reply = reply(b"<html><head><title>Sign in</title>")
    page = "/v1/index answered with a page of HTML, 'Sign in'"
    with pytest.raises(IndexServerError, match=f"http://search.example:8765{page}.*{named}"):
        rs.RemoteIndex("http://search.example:8765")
    with pytest.raises(IndexServerError, match=f"{raw.url}{page}") as direct:
        rs.RemoteIndex(raw.url)
    assert "PROXY" not in str(direct.value)
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:1")
    monkeypatch.setitem(__import__("sys").modules, "socksio", None)
    raw.about = reply(ABOUT)
    rs.RemoteIndex(raw.url).close()
    with pytest.raises(MissingDependency, match=r"HTTP_PROXY names a SOCKS proxy.*httpx\[socks\]"):
        rs.RemoteIndex("http://search.example:8765")
