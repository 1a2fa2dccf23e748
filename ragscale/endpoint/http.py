"""HTTP clients of model endpoints and index servers: opened, replies read within bounds, ``Retry-After`` parsed."""

from __future__ import annotations

import html
import io
import math
import os
import re
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

from ragscale.endpoint.urls import is_here
from ragscale.errors import InvalidInput, MissingDependency
from ragscale.text import encodable

if TYPE_CHECKING:
    import httpx

    Opened = TypeVar("Opened", httpx.Client, httpx.AsyncClient)

__all__ = [
    "BadEncoding",
    "BodyTooLarge",
    "UnknownEncoding",
    "aread_bounded",
    "html_page",
    "open_client",
    "proxies_to",
    "proxy_beside",
    "proxy_variables",
    "read_bounded",
    "retry_after",
    "wait_told",
]

_STEP = 1 << 16  # bytes decoded at once
# Words before a wait: OpenAI and Groq ("Please try again in 1m2.5s"), Azure ("Please retry after 24 seconds"), Gemini
# ("Please retry in 32.5s", "retryDelay": "32s", in LangChain's texts retry_delay { seconds: 32 }), Hugging Face
# ("estimated_time": 20.0), FastAPI's limiters ("retry_after": 30).
_WAIT = re.compile(
    r"(?:\btry again|\bretry(?:ing)?) (?:in|after) |"
    r"(?:retry[-_ ]?(?:after|delay)(?:[-_ ]?seconds)?|estimated_time)\W{1,6}(?:seconds\W{1,3})?(?=\d)",
    re.IGNORECASE,
)
_DURATION = re.compile(r"\s*(\d{1,9}(?:\.\d{1,20})?)(?:\s*(ms|milli|[smhd])[a-z]*)?", re.IGNORECASE)
_UNITS = {"ms": 1e-3, "milli": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400}
_WAITS = 20  # places looked at
_PAGE = re.compile(r"<(?:!doctype\s+html|html|head|body|title)\b", re.IGNORECASE)
_PAGE_BEGINS = 2_000  # characters before which a page has one of these
_TITLE = re.compile(r"<title(?:\s[^<>]{0,200})?>([^<]{1,1000})", re.IGNORECASE)
_HEAD, _TITLE_SHOWN = 1 << 16, 100  # bytes of a page read for its title, characters shown of that
_WINDOW = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # of zlib; 31: with gzip's head and checksum


class BodyTooLarge(ValueError):
    """A body of more bytes than its reader takes."""


class BadEncoding(ValueError):
    """A compressed body that is cut, or not in the encoding that its head tells."""


class UnknownEncoding(BadEncoding):
    """A body in an encoding that is not read here; another attempt would bring the same."""


def open_client(kind: type[Opened], url: str, **options: Any) -> Opened:
    """An httpx client of one server: no proxy for this machine itself, no compression asked for.

    Args:
        kind: ``httpx.Client`` or ``httpx.AsyncClient``.
        url: Of the server, an http(s) URL.
        options: Further arguments of `kind`; headers are added to, ``trust_env``, ``verify`` and ``event_hooks`` are
            replaced. No redirection may be followed: its target is not in the headers of a response but in
            ``extensions["location"]``.

    Raises:
        MissingDependency: The environment names a SOCKS proxy, and httpx cannot speak to one.
        InvalidInput: The environment names an invalid proxy, or certificates that cannot be read.
    """
    import httpx  # a quarter of a second, where no caller has it yet

    parts = urlsplit(url)
    # a proxy cannot reach this machine's own loopback interface, and would be told the key
    options["trust_env"] = not is_here(parts.hostname or "")
    for name in _used(url):
        if not _has_port(os.environ[name]):  # httpx takes it, and fails at the first request with errors of any kind
            raise InvalidInput(
                f"{name}: the port of the proxy that stands there is not a number up to 65535",
                "Write a proxy as in http://proxy.example:3128.",
            )
    # without TLS there is nothing to verify, and reading the certificates takes its time
    options["verify"] = parts.scheme == "https"
    options["headers"] = {"Accept-Encoding": "identity", **options.get("headers", {})}
    options["event_hooks"] = {"response": [_amoved if hasattr(kind, "aclose") else _moved]}
    try:
        return kind(**options)
    except ImportError:
        raise MissingDependency(
            f"{proxy_variables('socks')} names a SOCKS proxy, which httpx cannot speak to as it is installed",
            f"Install it with: pip install 'httpx[socks]'; or put {parts.hostname} into NO_PROXY.",
        ) from None
    except OSError as error:
        raise InvalidInput(
            f"the certificates that SSL_CERT_FILE or SSL_CERT_DIR names cannot be read ({error})",
            "Correct or unset it.",
        ) from None
    except (ValueError, httpx.InvalidURL) as error:
        named = [*_proxies(), *sorted(name for name in os.environ if name.lower() == "no_proxy")]
        if not named or not options["trust_env"]:
            raise
        # by type alone: the value may hold a password
        raise InvalidInput(
            f"{', '.join(named)}: httpx cannot use what stands there ({type(error).__name__})",
            "Write a proxy as in http://proxy.example:3128, and NO_PROXY as names and addresses: localhost,::1.",
        ) from None


def _moved(response: httpx.Response) -> None:
    """Hide where a redirection leads: httpx reads it even so, and an odd one raises errors of several kinds there."""
    if "location" in response.headers:
        response.extensions["location"] = response.headers.pop("location")


async def _amoved(response: httpx.Response) -> None:
    _moved(response)


def proxies_to(url: str) -> str:
    """The environment variable of the proxy that leads to a URL; empty where it is reached directly (``NO_PROXY``)."""
    return ", ".join(_used(url))


def proxy_beside(url: str) -> str:
    """Remedy of a reply that is hardly the server's, to be put behind another; empty where no proxy leads there."""
    proxy = proxies_to(url)
    return f" Or put the host into NO_PROXY: the proxy of {proxy} may have answered in its place." if proxy else ""


def html_page(body: bytes) -> str:
    """A body of HTML in words, with its title: a login, a portal, an error of a gateway; empty for any other body."""
    text = body[:_HEAD].decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if not text.startswith("<") or not _PAGE.search(text[:_PAGE_BEGINS]):
        return ""
    found = _TITLE.search(text)
    title = " ".join(encodable(html.unescape(found[1])).split()) if found else ""
    return f"a page of HTML, {title[:_TITLE_SHOWN]!r}, in place of JSON" if title else "a page of HTML in place of JSON"


def _used(url: str) -> list[str]:
    """The environment variable of the proxy for a URL, in each case that it is written in; none where there is none."""
    parts = urlsplit(url)
    if is_here(parts.hostname or "") or proxy_bypass(parts.netloc):
        return []
    found = [[name for name in _proxies() if name.lower() == f"{of}_proxy"] for of in (parts.scheme, "all")]
    return found[0] or found[1]


def _has_port(proxy: str) -> bool:
    """Whether the port of a proxy is one, or absent."""
    try:
        urlsplit(proxy if "://" in proxy else f"http://{proxy}").port  # noqa: B018  # it raises
    except ValueError:
        return False
    return True


def proxy_variables(scheme: str = "") -> str:
    """The environment variables that name proxies, for errors: ``"ALL_PROXY, HTTPS_PROXY"``.

    Args:
        scheme: Only those whose URL begins with it.
    """
    found = [name for name, value in _proxies().items() if value.strip().lower().startswith(scheme)]
    return ", ".join(found) or "the system's proxy setting"


def _proxies() -> dict[str, str]:
    known = ("all_proxy", "http_proxy", "https_proxy")
    return {name: value for name, value in sorted(os.environ.items()) if name.lower() in known and value}


def read_bounded(response: httpx.Response, limit: int, *, deadline: float = math.inf) -> bytes:
    """The decoded body of a response that is being streamed (``client.stream(...)``), which the caller closes.

    Decodes gzip and deflate, which a server may send unasked. Holds never more than the limit and a step of 64 KiB.

    Args:
        response: Not read yet.
        limit: Most bytes, as they come and decoded.
        deadline: Of ``time.monotonic()``; a body that is still coming then is given up. Seen when a part arrives, so
            the client's own limit of silence comes on top.

    Raises:
        BodyTooLarge: The body has more bytes.
        BadEncoding: The body is cut, or not in the encoding that its head tells.
        UnknownEncoding: It is in another encoding.
        TimeoutError: The deadline is over.
    """
    body = _Body(response, limit)
    for part in response.iter_raw():
        body.add(part)
        if time.monotonic() > deadline:
            raise TimeoutError
    return body.end()


async def aread_bounded(response: httpx.Response, limit: int) -> bytes:
    """`read_bounded` of a response of ``httpx.AsyncClient``; ``asyncio.timeout`` is its deadline."""
    body = _Body(response, limit)
    async for part in response.aiter_raw():
        body.add(part)
    return body.end()


class _Body:
    def __init__(self, response: httpx.Response, limit: int) -> None:
        told = response.headers.get("content-encoding", "").strip().lower()
        self._encoding = told if told != "identity" else ""
        if self._encoding and self._encoding not in _WINDOW:
            raise UnknownEncoding(f"a body in the encoding {told[:40]!r}, which was not asked for")
        self._limit = limit
        self._raw = 0
        self._size = 0
        self._parts = io.BytesIO()  # gives its bytes without a copy
        self._zlib: Any = None

    def add(self, part: bytes) -> None:
        self._raw += len(part)
        if self._raw > self._limit:
            raise BodyTooLarge(f"a body of more than {self._limit:,} bytes")
        if not self._encoding:
            self._keep(part)
        elif part:
            with self._decoding():
                self._inflate(part)

    def end(self) -> bytes:
        """All of it. Raises `BadEncoding` where a compressed one ends too early."""
        if self._zlib is not None and not self._zlib.eof:
            with self._decoding():
                self._inflate(b"")
            if not self._zlib.eof:
                raise BadEncoding(f"a body in {self._encoding} that ends too early")
        return self._parts.getvalue()

    @contextmanager
    def _decoding(self) -> Iterator[None]:
        try:
            yield
        except zlib.error:
            raise BadEncoding(f"a body that is not in {self._encoding}, as its head tells") from None

    def _inflate(self, part: bytes) -> None:
        if self._zlib is None:
            window = _WINDOW[self._encoding]
            # some servers send "deflate" without zlib's head, which begins with an 8 in its lower half
            bare = window == 15 and part[0] & 0x0F != 8
            self._zlib = zlib.decompressobj(-15 if bare else window)
        while True:
            decoded = self._zlib.decompress(part, _STEP)
            self._keep(decoded)
            part = self._zlib.unconsumed_tail
            if len(decoded) < _STEP:
                break
        if self._zlib.unused_data:  # members without number would cost time without bound
            raise BadEncoding(f"a body in {self._encoding} with something behind its end")

    def _keep(self, decoded: bytes) -> None:
        self._size += len(decoded)
        if self._size > self._limit:
            raise BodyTooLarge(f"a body of more than {self._limit:,} bytes")
        self._parts.write(decoded)


def retry_after(header: str | None) -> float | None:
    """The seconds that a ``Retry-After`` header asks to wait: a number or a date; at least 0, never endless.

    Args:
        header: Its value; None where there is none.

    Returns:
        None where it says nothing that can be waited for. The caller bounds the wait.
    """
    try:
        seconds = float(header or "")
    except ValueError:
        seconds = _until(header or "")
    return max(0.0, seconds) if math.isfinite(seconds) else None


def wait_told(headers: Mapping[str, str], text: str) -> float | None:
    """The seconds that a server asks to wait: by ``Retry-After``, or in the words of its refusal.

    Args:
        headers: Of its answer.
        text: Its body, or what a client library made of that.

    Returns:
        None where it tells none.
    """
    seconds = retry_after(headers.get("retry-after") or headers.get("Retry-After"))
    if seconds is not None:
        return seconds
    found = (_duration(text, at.end()) for at, _ in zip(_WAIT.finditer(text), range(_WAITS), strict=False))
    return next((told for told in found if told is not None), None)


def _duration(text: str, at: int) -> float | None:
    """Seconds of a duration as ``7.66s``, ``1m2.5s``, ``24 seconds``, or a bare number of them; None for others."""
    total = None
    while part := _DURATION.match(text, at):
        total, at = (total or 0.0) + float(part[1]) * _UNITS[(part[2] or "s").lower()], part.end()
        if part[2] is None:
            break
    return total


def _until(date: str) -> float:
    """Seconds until an HTTP date; nan where it is not a date."""
    try:
        moment = parsedate_to_datetime(date[:100])
        if moment.tzinfo is None:  # "-0000", and some servers
            moment = moment.replace(tzinfo=UTC)
        return (moment - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):  # OverflowError: beyond what a datetime holds
        return math.nan
