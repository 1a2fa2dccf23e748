"""URLs of servers: what is refused before anything is sent, and what an error shows of it."""

from __future__ import annotations

import socket

import pytest

from ragscale.endpoint.urls import is_here, is_loopback, server_url
from ragscale.errors import InvalidInput


def checked(url: str) -> str:
    return server_url(url, example="http://localhost:8000/v1", secret="THE_KEY")


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8000/v1", "https://example.com", "http://[::1]:80/v1", "http://127.0.0.1/a/@user/v1",
        "http://ex\u00e4mple.de/v1", "http://service_1.namespace/v1", "http://example.com./v1",
    ],
)  # fmt: skip
def test_good_ones_stay_but_for_a_slash_at_the_end(url: str) -> None:
    assert checked(url) == checked(f"{url}/") == url


@pytest.mark.parametrize(
    "url",
    [
        "", "localhost:8000", "ftp://host/v1", "http://", "http:///v1", "http://[::1", "http://[zz]/", "http://h:abc/v1",
        "http://h:999999/v1", "http://h:65536", "http://h:-1", "http://h:0", "http://a..b/v1", f"http://{'a' * 64}.com",
        "http://300.300.300.300/v1", "http://h\x1b/", "http://h/\udce9", "http://\udce9/",
    ],
)  # fmt: skip
def test_bad_ones_are_refused_with_an_example(url: str) -> None:
    with pytest.raises(InvalidInput, match="is not a URL of a server") as caught:
        checked(url)
    assert repr(url) in caught.value.problem
    assert caught.value.remedy == "Write it as in http://localhost:8000/v1; ports end at 65535."


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://me:secret@host/v1", "The URL http://host/v1 holds credentials"),
        ("https://host/v1?key=secret", "The URL https://host/v1 holds credentials or a query"),
        ("http://me:sec/secret@host/v1", "'host/v1' is not a URL"),
        ("http://me:secret@[::1/v1?key=secret", "'[::1/v1' is not a URL"),
    ],
)
def test_no_error_shows_credentials(url: str, shown: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        checked(url)
    assert caught.value.problem.startswith(shown)
    assert "sec" not in str(caught.value)


def test_what_can_only_be_this_machine() -> None:
    for host in ("localhost", "LOCALHOST", "127.0.0.1", "127.255.0.2", "::1", "[::1]"):
        assert is_loopback(host)
    for host in ("127.1", "127.0.1", "0x7f000001", "0x7f.1", "2130706433", "017700000001", "0177.0.0.1"):
        assert is_loopback(host), "as a resolver reads it"
    for host in ("localhost.", "127.0.0.1.", "::ffff:127.0.0.1", "[::ffff:7f00:1]", "0:0:0:0:0:0:0:1"):
        assert is_loopback(host)
    for host in ("", "localhost.example", "127.0.0.1.example", "0.0.0.0", "10.0.0.1", "::", "[::]", "127.0.0.1:80"):
        assert not is_loopback(host)
    for host in (
        "1",
        "0x0a000001",
        "127.0.0.1 evil",
        "127.1\t.example",
        "::ffff:10.0.0.1",
        "128.1",
        ".",
        "a.localhost",
    ):
        assert not is_loopback(host)


def test_what_no_proxy_leads_to() -> None:
    own = socket.gethostname()
    for host in ("localhost", "127.1", "::1", "foo.localhost", "A.B.LOCALHOST.", "localhost.localdomain"):
        assert is_here(host)
    for host in ("ip6-localhost", "0", "0.0.0.0", "0x0", "::", "[::]", "::ffff:0.0.0.0"):
        assert is_here(host)
    for host in (own, own.upper(), own.partition(".")[0]):
        assert is_here(host)
    for host in ("", ".", "localhost.example", "notlocalhost", "10.0.0.1", "1", f"{own}.example", "127.0.0.1.nip.io"):
        assert not is_here(host)
