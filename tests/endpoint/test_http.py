"""Bounded bodies, waits that a server asks for, and proxies that the environment names."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import math
import time
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest
from fake_server import Response, Server
from hypothesis import given
from hypothesis import strategies as st

from ragscale.endpoint.http import (
    BadEncoding,
    BodyTooLarge,
    UnknownEncoding,
    aread_bounded,
    html_page,
    open_client,
    proxies_to,
    proxy_variables,
    read_bounded,
    retry_after,
    wait_told,
)
from ragscale.errors import InvalidInput, MissingDependency, RagscaleError

TEXT = b'{"answer": "rhodium"}' * 1000
DEFLATE = zlib.compress(TEXT)


def bare(data: bytes) -> bytes:
    made = zlib.compressobj(wbits=-15)
    return made.compress(data) + made.flush()


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


GOOD = [
    ("", TEXT), ("identity", TEXT), ("gzip", gzip.compress(TEXT, mtime=0)), (" GZIP ", gzip.compress(TEXT, mtime=0)),
    ("x-gzip", gzip.compress(TEXT, mtime=0)), ("deflate", DEFLATE), ("deflate", bare(TEXT)),
]  # fmt: skip


@pytest.mark.parametrize(("encoding", "sent"), GOOD)
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_a_body_is_read_to_its_limit(encoding: str, sent: bytes, size: int) -> None:
    limit = max(len(TEXT), len(sent))
    assert read(cut(sent, size), encoding, limit) == TEXT
    assert asyncio.run(aread(cut(sent, size), encoding, limit)) == TEXT
    with pytest.raises(BodyTooLarge, match="more than 20,999 bytes"):
        read(cut(sent, size), encoding, len(TEXT) - 1)
    with pytest.raises(BodyTooLarge):
        asyncio.run(aread(cut(sent, size), encoding, len(TEXT) - 1))


@pytest.mark.parametrize("encoding", ["", "gzip", "deflate"])
def test_no_body_at_all_is_an_empty_one(encoding: str) -> None:
    assert read([], encoding, 10) == read([b""], encoding, 10) == b""


@pytest.mark.parametrize(
    ("encoding", "sent", "problem"),
    [
        ("gzip", TEXT, "is not in gzip"),
        ("deflate", TEXT, "is not in deflate"),
        ("deflate", gzip.compress(TEXT, mtime=0), "is not in deflate"),
        ("gzip", gzip.compress(TEXT, mtime=0)[:-9], "ends too early"),
        ("gzip", gzip.compress(TEXT, mtime=0)[:-4] + b"0000", "is not in gzip"),  # another length
        ("deflate", DEFLATE[:-1], "ends too early"),
        ("gzip", gzip.compress(TEXT, mtime=0) * 2, "something behind its end"),
        ("gzip", gzip.compress(b"", mtime=0) * 3, "something behind its end"),
    ],
)
def test_what_is_not_in_its_encoding_is_refused(encoding: str, sent: bytes, problem: str) -> None:
    for size in (1, 1 << 20):
        with pytest.raises(BadEncoding, match=problem):
            read(cut(sent, size), encoding, 1 << 20)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "utf-8"])
def test_other_encodings_are_refused_by_name(encoding: str) -> None:
    with pytest.raises(UnknownEncoding, match=f"encoding '{encoding}'"):
        read([TEXT], encoding, 1 << 20)
    with pytest.raises(UnknownEncoding):
        asyncio.run(aread([TEXT], encoding, 1 << 20))


@pytest.mark.parametrize("encoding", ["", "gzip", "deflate"])
def test_memory_is_bounded_whatever_comes(encoding: str) -> None:
    """A body without an end; two of them become 2 GB of zeros from 2 MB."""

    def endless() -> Iterator[bytes]:
        made = zlib.compressobj(9, wbits={"": -15, "gzip": 31, "deflate": 15}[encoding])
        for _ in range(2000):
            yield made.compress(bytes(1 << 20)) if encoding else bytes(1 << 16)
        raise AssertionError("read to its end")

    limit = 4 << 20
    tracemalloc.start()
    with pytest.raises(BodyTooLarge):
        read(endless(), encoding, limit)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * limit


def test_one_small_chunk_that_is_large_decoded() -> None:
    bomb = gzip.compress(bytes(256 << 20), 9)
    tracemalloc.start()
    with pytest.raises(BodyTooLarge):
        read([bomb], "gzip", 1 << 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20


def test_a_body_that_trickles_is_given_up() -> None:
    def trickle() -> Iterator[bytes]:
        while True:
            time.sleep(0.01)
            yield b" "

    with pytest.raises(TimeoutError):
        read(trickle(), "", 1 << 20, deadline=time.monotonic() + 0.1)


@pytest.mark.parametrize(
    "place", ["http://xn--a/", "data:,x", "http://[", "http://h:99999/", "/\ud800", "http://h/new"]
)
@pytest.mark.parametrize("code", [301, 302, 308])
def test_where_a_redirection_leads_is_not_read(code: int, place: str) -> None:
    """httpx reads it, though it does not follow it, and raises errors of five kinds where it cannot."""
    sent = f"HTTP/1.1 {code} Moved\r\nlocation: {place}\r\ncontent-length: 0\r\n\r\n".encode("utf-8", "surrogatepass")

    async def get(url: str) -> httpx.Response:
        async with open_client(httpx.AsyncClient, url) as client:
            return await client.get(url)

    with Server(lambda request: Response(raw=[sent])) as server, open_client(httpx.Client, server.url) as client:
        responses = [client.get(server.url), asyncio.run(get(server.url))]
    for response in responses:
        assert (response.status_code, "location" in response.headers) == (code, False)
        assert response.extensions["location"].encode("latin-1", "replace")
    if place.isascii():
        assert {response.extensions["location"] for response in responses} == {place}


@given(sent=st.binary(max_size=200), encoding=st.sampled_from(["gzip", "deflate", "br", "\x00", "identity"]))
def test_any_bytes_are_read_or_refused(sent: bytes, encoding: str) -> None:
    with contextlib.suppress(BodyTooLarge, BadEncoding):
        assert len(read([sent], encoding, 100)) <= 100


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None), ("", None), ("soon", None), ("nan", None), ("inf", None), ("-inf", None), ("1e400", None),
        ("9" * 5000, None), ("\x00", None), ("1, 2", None), ("Mon", None), ("Mon, 01 Jan", None),
        ("0", 0.0), ("-0", 0.0), ("-5", 0.0), ("7", 7.0), (" 7 ", 7.0), ("0.5", 0.5), ("1e9", 1e9),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
        ("Mon, 01 Jan 99999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2024 99:99:99 GMT", None), ("Mon, 01 Jan 2024 00:00:00 +99999999999999999999", None),
        (f"Mon, 01 Jan {'9' * 5000} 00:00:00 GMT", None),
    ],
)  # fmt: skip
def test_waits_that_a_server_asks_for(header: str | None, seconds: float | None) -> None:
    assert retry_after(header) == seconds


@pytest.mark.parametrize("seconds", [30, 86_400])
def test_dates_are_waited_for(seconds: int) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=seconds)
    for text in (format_datetime(moment, usegmt=True), f"{moment:%a, %d %b %Y %H:%M:%S -0000}"):
        waited = retry_after(text)
        assert waited is not None
        assert seconds - 5 < waited <= seconds


@pytest.mark.parametrize("zone", ["GMT", "+2359", "-2359"])
def test_the_last_date_of_all_is_a_number(zone: str) -> None:
    waited = retry_after(f"Fri, 31 Dec 9999 23:59:59 {zone}")
    assert waited is not None
    assert math.isfinite(waited)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Please try again in 7.66s. Visit https://groq.com", 7.66), ("Please try again in 1m2.5s.", 62.5),
        ("Please try again in 9m38.016s. Need more tokens?", 578.016), ("try again in 750ms", 0.75),
        ("Please retry after 24 seconds.", 24.0), ("Try again in 2 minutes", 120.0), ("Retry in 1h3m0s.", 3780.0),
        ('"message": "Please retry in 32.5s", "retryDelay": "32s"', 32.5), (r'{\"retryDelay\": \"32s\"}', 32.0),
        ("retry_delay {\n  seconds: 44\n}", 44.0), ('{"retry_after": 30}', 30.0), ('{"retry_after_seconds": 3}', 3.0),
        ('{"error": "Model m is currently loading", "estimated_time": 20.0}', 20.0),
        ("try again later, or retry after 5 s", 5.0), ("Please try again later.", None), ("", None),
        ("wait 5 s", None), ("retry in " + "1" * 60_000, 111_111_111.0), ("try again in " * 5000, None),
    ],
)  # fmt: skip
def test_waits_that_a_server_asks_for_in_words(text: str, seconds: float | None) -> None:
    """OpenAI, Groq, Azure, Gemini (as itself and as LangChain shows it), Hugging Face, limiters of web frameworks."""
    assert wait_told({}, text) == (seconds if seconds is None else pytest.approx(seconds))
    assert wait_told({"retry-after": "2"}, text) == wait_told({"Retry-After": "2"}, text) == 2.0


PARTS = st.lists(
    st.sampled_from(["Mon,", "01", "31", "Jan", "2024", "9999", "0000", "-1", "00:00:00", "24:60:61", "GMT", "+9999"])
    | st.integers().map(str)
    | st.text(max_size=3),
    max_size=9,
)


@given(header=PARTS.map(" ".join) | st.text(max_size=40) | st.floats().map(str))
def test_any_header_is_read(header: str) -> None:
    seconds = retry_after(header)
    assert seconds is None or 0 <= seconds < math.inf
    told = wait_told({}, f"try again in {header}")
    assert told is None or 0 <= told < math.inf


VARIABLES = ["ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "all_proxy", "NO_PROXY", "no_proxy"]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("kind", [httpx.Client, httpx.AsyncClient])
def test_loopback_goes_direct_and_others_as_the_environment_says(
    kind: type[httpx.Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    spelled = ("http://127.1:8000", "http://0x7f000001/v1")
    for url in ("http://127.0.0.1:1/v1", "http://localhost", "http://[::1]:8000", "https://127.9.9.9", *spelled):
        assert not open_client(kind, url, base_url=url)._mounts
    opened = open_client(kind, "http://model.example", headers={"X-Mine": "1"}, follow_redirects=True)
    assert len(opened._mounts) == 1
    assert opened.headers["accept-encoding"] == "identity"
    assert opened.headers["x-mine"] == "1"
    assert opened.follow_redirects


@pytest.mark.parametrize(
    ("variable", "value", "error", "problem"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:1", MissingDependency, r"ALL_PROXY names a SOCKS proxy.*httpx\[socks\]"),
        ("https_proxy", "socks5h://me:secret@h:1", MissingDependency, "https_proxy names a SOCKS"),
        ("HTTP_PROXY", "ftp://me:secret@h:1", InvalidInput, "HTTP_PROXY: httpx cannot use"),
        ("HTTP_PROXY", "http://me:secret@h:port", InvalidInput, "HTTP_PROXY: the port of the proxy .* up to 65535"),
        ("HTTP_PROXY", "http://me:secret@h:65536", InvalidInput, "HTTP_PROXY: the port of the proxy .* up to 65535"),
        ("all_proxy", "http://me:secret@h:99999", InvalidInput, "all_proxy: the port of the proxy .* up to 65535"),
        ("HTTP_PROXY", "h:99999", InvalidInput, "HTTP_PROXY: the port of the proxy .* up to 65535"),
        ("HTTPS_PROXY", "http://[::1", InvalidInput, "HTTPS_PROXY: httpx cannot use"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_named(
    variable: str, value: str, error: type[RagscaleError], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "socksio", None)  # also where it is installed
    monkeypatch.setenv(variable, value)
    with pytest.raises(error, match=problem) as caught:
        open_client(httpx.Client, "http://model.example/v1")
    assert "secret" not in str(caught.value)
    open_client(httpx.Client, "http://localhost:8000").close()


def test_the_proxy_of_a_url_is_the_one_that_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert proxies_to("http://model.example/v1") == "HTTP_PROXY"
    assert proxies_to("https://model.example/v1") == "ALL_PROXY"
    for here in ("http://foo.localhost:80/v1", "http://0:80/v1", "http://localhost.localdomain/v1"):
        assert proxies_to(here) == ""
        assert not open_client(httpx.Client, here)._mounts
    for beside in ("*", "other,model.example", ".example", "model.example:80"):
        monkeypatch.setenv("NO_PROXY", beside)
        assert proxies_to("http://model.example:80/v1") == "", beside
    assert proxies_to("http://another.example:80/v1") == "HTTP_PROXY"
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("HTTP_PROXY", "http://h:99999")
    assert not open_client(httpx.Client, "http://model.example")._mounts  # what is not used may be wrong


def test_certificates_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("absent", "empty.pem"):
        (tmp_path / "empty.pem").touch()
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / name))
        with pytest.raises(InvalidInput, match="SSL_CERT_FILE"):
            open_client(httpx.Client, "https://model.example/v1")


def test_mistakes_of_a_caller_are_no_proxy_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match="no_such"):
        open_client(httpx.Client, "http://model.example", no_such=1)
    assert proxy_variables() == "the system's proxy setting"
    monkeypatch.setenv("HTTP_PROXY", "http://a")
    monkeypatch.setenv("ALL_PROXY", "socks5://b")
    assert (proxy_variables(), proxy_variables("socks")) == ("ALL_PROXY, HTTP_PROXY", "ALL_PROXY")


class Parts(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body as it comes from a socket."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        yield from self._parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part


def response(parts: Iterable[bytes], encoding: str) -> httpx.Response:
    headers = {"content-encoding": encoding} if encoding else {}
    return httpx.Response(200, headers=headers, stream=Parts(parts))


def read(parts: Iterable[bytes], encoding: str, limit: int, deadline: float = math.inf) -> bytes:
    return read_bounded(response(parts, encoding), limit, deadline=deadline)


async def aread(parts: Iterable[bytes], encoding: str, limit: int) -> bytes:
    return await aread_bounded(response(parts, encoding), limit)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html><head><title>Sign in</title>", "a page of HTML, 'Sign in', in place of JSON"),
        (b"\xef\xbb\xbf\n<!DOCTYPE HTML>\n<TITLE lang=de>An &amp;\n ab</TITLE>", "a page of HTML, 'An & ab', in place"),
        (b"<!-- portal --><html>" + b" " * 70_000 + b"<title>x</title>", "a page of HTML in place of JSON"),
        (b'<?xml version="1.0"?><html xmlns="x"><title></title>', "a page of HTML in place of JSON"),
        (b"<html><title>\xff\x00" + b"x" * 500, "a page of HTML, '\ufffd\\x00" + "x" * 98 + "', in place"),
        (b"<html>" + b"<title" * 10_000, "a page of HTML in place of JSON"),
        (b"<error><code>1</code></error>", ""),
        (b'{"text": "<html>"}', ""),
        (b"hello <html>", ""),
        (b"", ""),
    ],
)
def test_a_page_of_html_is_told_by_its_title(body: bytes, words: str) -> None:
    assert html_page(body).startswith(words)
    assert bool(html_page(body)) == bool(words)
