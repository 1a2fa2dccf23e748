"""Odd framings of a reply: first lines, statuses, headers, lengths, chunks, encodings, pauses, bodies of megabytes."""

from __future__ import annotations

import functools
import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator

__all__ = ["MANY", "MEGABYTE", "NEVER", "framings", "heavy_framings", "many"]

Pieces = Iterable[bytes | float]
"""The bytes of an answer as they go out; a number is a pause in seconds."""

MEGABYTE = 2**20
MANY = {
    "many objects": "{}", "many lists": "[]", "many numbers": "7", "many texts": '"a"', "many names": '{"id":"a"}',
    "many fractions": "0.1",
}  # fmt: skip
"""Items of which lists of megabytes are made."""
NEVER = (
    "100 for ever", "a body that never comes", "a head that never comes", "a trickle without end",
    "endless chunks of a byte",
)  # fmt: skip
"""Replies without an end but the client's patience."""

_TYPES = [
    "", "text/html", "text/event-stream", "application/json; charset=zlib", "application/json; charset=utf-16",
    "application/json; charset=klingon", "application/json; charset=", "application/json; charset=idna",
    "application/json;;;=;", "multipart/form-data; boundary=", "x" * 5000, "application/json; charset=rot13",
]  # fmt: skip
_WAITS = [
    "-1", "0", "", " ", "soon", "nan", "NaN", "inf", "-inf", "Infinity", "1e400", "1e308", "9" * 400, "9" * 5000,
    "0x10", "1_000", "1,5", "\u0661".encode().decode("latin-1"), "Fri, 31 Dec 9999 23:59:59 GMT",
    "Fri, 31 Dec 9999 23:59:59 -2359", "Mon, 01 Jan 0001 00:00:00 +2359", "Mon, 01 Jan 10000 00:00:00 GMT",
    "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:00", "Wed, 99 Oct 2015 07:28:00 GMT",
    "Wed, 21 Oct 2015 77:28:00 GMT", "Wed, 21 Oct 2015 07:28:00 +99999999999999999999", "x" * 50_000, "()" * 20_000,
    "Sun, 06 Nov 1994 08:49:37 GMT; 5", "Wed, 21 Oct 99999999999999999999 07:28:00 GMT", '"', "\\", "=?utf-8?q?1?=",
]  # fmt: skip
_LOCATIONS: list[str | bytes | None] = [
    None, "", "/", "//", "///", "?", "#", "..", "http:", "http://", "http://[", "http://[::1", "http://[::1]:x/",
    "ftp://host/", "javascript:alert(1)", "data:,x", "http://host:99999/", "http://host:abc/", "http://ex ample/",
    "http://user:pw@host/", "http://" + "a" * 5000, "http://" + "a." * 300, "/" + "a" * 100_000, b"http://\xff\xfe/",
    b"http://\xc3\xa9.example/", "http://xn--\u00e9/".encode(), "http://%zz/", "http://%00/", "http://1.2.3.4.5/",
    "http://0x7f.1/", "http://xn--a/", "http://xn--/", "https://", "\\\\host\\x", "http://a/\tb",
]  # fmt: skip
_STATUSES = [
    *range(201, 209), 226, 299, *range(300, 309), 399, *range(400, 419), 421, 422, 423, 424, 425, 426, 428, 429, 431,
    444, 451, 499, *range(500, 512), 520, 529, 530, 598, 599, 600, 700, 999,
]  # fmt: skip
_FIRST_LINES = [
    b"HTTP/1.0 200 OK", b"HTTP/2.0 200 OK", b"HTTP/9.9 200 OK", b"HTTP/1.1 200", b"HTTP/1.1  200  OK",
    b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1 -200 OK", b"HTTP/1.1 abc OK", b"HTTP/1.1",
    b"HTTP/1.1 000 Nothing", b"HTTP/1.1 099 Low", b"ICY 200 OK", b"200 OK", b"", b" HTTP/1.1 200 OK",
    b"HTTP/1.1 200 \xff\xfe", b"HTTP/1.1 200 " + b"x" * 100_000, b"http/1.1 200 ok", b"HTTP/1.1\t200\tOK",
    b"HTTP/1.1 \xd9\xa2\xd9\xa0\xd9\xa0 OK",
]  # fmt: skip
_BODIES: dict[str, bytes] = {
    "empty": b"", "blank": b" \r\n ", "html": b"<!doctype html><title>Welcome</title>",
    "xml": b"<?xml version='1.0'?>",
    "bytes": bytes(range(256)), "NUL": b"\0" * 1000, "invalid utf-8": b'{"data": "\xff\xfe"}',
    "overlong": b'"\xc0\x80"',
    "surrogates in utf-8": b'{"error": "\xed\xa0\x80"}', "half a text": b'{"choices": [{"message"', "two": b"{}{}",
    "two lines": b"{}\n{}", "comment": b"// no\n{}", "comma": b'{"a": 1,}', "single quotes": b"{'a': 1}",
    "jsonp": b"callback({})", "events": b'data: {"choices": []}\n\ndata: [DONE]\n\n', "a word": b"upstream",
    "traceback": b"Traceback (most recent call last):\n" + b"  File x\n" * 2000, "quote": b'"', "minus": b"-",
    "true": b"true", "number": b"12", "long number": b"1" * 5000, "text": b'"text"',
}  # fmt: skip


def framings(body: bytes) -> Iterator[tuple[str, Pieces]]:
    """Every odd framing of a good body, by a name that is its own."""
    names: set[str] = set()
    for name, made in (
        *_types(body), *_encodings(body), *_lengths(body), *_chunks(body), *_statuses(body), *_heads(body),
        *_bodies(body), *_pauses(body),
    ):  # fmt: skip
        own = name if name not in names else f"{name} ({len(names)})"
        names.add(own)
        yield own, [made] if isinstance(made, bytes) else made


Named = Iterator[tuple[str, bytes | Pieces]]


def _types(body: bytes) -> Named:
    for kind in _TYPES:
        yield f"content-type {kind[:40]!r}", _http(body, f"content-type: {kind}", typed=False)
    yield "no content-type", _http(body, typed=False)
    yield "two content-types", _http(body, "content-type: text/html; charset=utf-7")


def _encodings(body: bytes) -> Named:
    packed, shrunk = gzip.compress(body), zlib.compress(body)
    true = {"gzip": packed, "x-gzip": packed, "deflate": shrunk, "gzip, gzip": gzip.compress(packed)}
    for told, data in true.items():
        yield f"encoding {told}", _http(data, f"content-encoding: {told}")
    odd = {
        "cut": packed[:-9], "with more": packed + b"x", "without anything": b"", "of a head": packed[:9],
        "of two members": gzip.compress(body[:3]) + gzip.compress(body[3:]), "with a checksum": packed[:-8] + bytes(8),
        "of 50,000 members": gzip.compress(b"", mtime=0) * 50_000, "that is a bomb": _bomb(),
        "that is a bomb in a bomb": _bomb(2),
    }  # fmt: skip
    for name, data in odd.items():
        yield f"gzip {name}", _http(data, "content-encoding: gzip")
    made = zlib.compressobj(wbits=-15)
    yield "deflate without a head", _http(made.compress(body) + made.flush(), "content-encoding: deflate")
    yield "bomb of two layers", _http(_bomb(2), "content-encoding: gzip, gzip")
    for told in (
        "gzip", "GZIP", "deflate", "br", "zstd", "compress", "identity", "", "gzip, deflate", "gzip;q=1", "chunked",
        "gzip, gzip, gzip, gzip, gzip, gzip, gzip, gzip", "identity, identity", "\u00e9", "klingon" * 1000,
    ):  # fmt: skip
        yield f"encoding {told[:40]!r} told of plain bytes", _http(body, f"content-encoding: {told}")


def _lengths(body: bytes) -> Named:
    n = len(body)
    lengths = {
        "100 more": n + 100, "a GB more": n + 2**30, "one less": n - 1, "0": 0, "1": 1, "-1": -1, "10**30": 10**30,
        "10**5000": "1" + "0" * 5000, "text": "many", "empty": "", "plus": f"+{n}", "hex": hex(n), "twice": f"{n}, {n}",
        "two": f"{n}, {n + 1}", "float": f"{n}.0", "arabic": "\u0661", "zeros": f"{n:050}",
    }  # fmt: skip
    for name, length in lengths.items():
        yield f"content-length {name}", _http(body, f"content-length: {length}", sized=False)
    yield "no content-length", _http(body, sized=False)
    yield "two content-lengths", _http(body, "content-length: 3")


def _chunks(b: bytes) -> Named:
    whole = _chunked(b)
    cuts = {
        "whole": whole, "of a byte": _chunked(*(b[i : i + 1] for i in range(len(b)))), "of no hex": b"zz\r\n" + b,
        "of negative size": b"-5\r\n" + b, "cut": whole[:-9], "of too large a size": b"F" * 15 + b"\r\n" + b,
        "of far too large a size": b"F" * 400 + b"\r\n" + b, "without an end": whole[:-5],
        "that end at once": b"0\r\n\r\n" + b, "with long extensions": whole.replace(b"\r\n", b";" + b"x" * 70_000, 1),
        "with trailers": whole[:-2] + b"x: y\r\n" * 1000 + b"\r\n", "without sizes": b, "empty": b"",
        "with bare line ends": b"%x\n%s\n0\n\n" % (len(b), b), "with a wrong size": b"3\r\n" + b + b"\r\n",
        "with a bad trailer": whole[:-2] + b"no colon\r\n\r\n",
    }  # fmt: skip
    for name, data in cuts.items():
        yield f"chunks {name}", _http(data, "transfer-encoding: chunked", sized=False)
    for told in ("gzip, chunked", "identity", "chunked, chunked", "gzip", "", "Chunked", "chunked;x", "\u00e9"):
        yield f"transfer-encoding {told!r}", _http(whole, f"transfer-encoding: {told}", sized=False)
    yield "chunks and a content-length", _http(whole, "transfer-encoding: chunked", "content-length: 5", sized=False)


def _statuses(body: bytes) -> Named:
    for status in (429, 503):
        for wait in _WAITS:
            line = b"retry-after: " + wait.encode("latin-1")
            yield f"{status}, retry-after {wait[:40]!r}", _http(body, line, status=f"{status} Wait")
    yield "429, two retry-afters", _http(body, "retry-after: 1", "retry-after: x", status="429 Wait")
    for code in _STATUSES:
        yield f"status {code}", _http(body, status=f"{code} Odd")
        yield f"status {code}, no body", _http(b"", status=f"{code} Odd")
    for place in _LOCATIONS:
        lines = [] if place is None else [b"location: " + (place if isinstance(place, bytes) else place.encode())]
        for code in (302, 308):
            yield f"{code} to {str(place)[:60]!r}", _http(body, *lines, status=f"{code} Moved")
    yield "302 to two places", _http(body, "location: http://a/", "location: http://[", status="302 Moved")
    yield "304 with a body", _http(body, status="304 Not Modified")
    for line in _FIRST_LINES:
        yield f"begins {line[:30]!r}", line + _http(body)[len(b"HTTP/1.1 200 OK") :]
    for code in (100, 101, 102, 103, 199):
        early = f"HTTP/1.1 {code} Early\r\n\r\n".encode()
        yield f"{code} before", early + _http(body)
        yield f"{code} alone", early
        yield f"{code} a thousand times", early * 1000 + _http(body)
        yield f"{code} with a body", _http(body, status=f"{code} Early")
    yield "100 for ever", _endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000)


_LINES: dict[str, bytes] = {
    "no colon": b"no colon here", "no name": b": value", "empty": b"x:", "a blank in the name": b"x y: z",
    "a tab in the name": b"x\ty: z", "folded": b"x: y\r\n z", "folded first": b" x: y", "NUL": b"x: \0",
    "high bytes": b"x: \xff\xfe\xfd", "high name": b"\xc3\xa9: y", "long value": b"x: " + b"y" * 50_000,
    "longer value": b"x: " + b"y" * 102_400, "long name": b"x" * 102_400 + b": y", "escape": b"x: \x1b[2J",
    "a thousand": b"\r\n".join(b"x-%d: y" % i for i in range(1000)), "blank": b" ", "bare CR": b"x: y\rz: a",
    "a thousand of one name": b"\r\n".join([b"set-cookie: a=b"] * 1000), "odd cookie": b"set-cookie: =;=;=\x01",
    "keep-alive": b"connection: keep-alive", "upgrade": b"connection: upgrade\r\nupgrade: h2c", "te": b"te: x",
    "alt-svc": b'alt-svc: h3=":443"', "www-authenticate": b'www-authenticate: Basic realm="', "link": b"link: <",
    "date": b"date: Fri, 99 Foo 99999 99:99:99", "trailer": b"trailer: x", "no end": b"connection: \xff",
}  # fmt: skip


def _heads(body: bytes) -> Named:
    for name, line in _LINES.items():
        yield f"header: {name}", _http(body, line)
    good, bare = _http(body), _http(b"")
    yield "bare line feeds", good.replace(b"\r\n", b"\n", 5)
    yield "bare carriage returns", bare.replace(b"\r\n", b"\r") + body
    yield "CR CR LF", good.replace(b"\r\n", b"\r\r\n", 5)
    yield "blank lines first", b"\r\n\r\n" + good
    yield "no end of the head", bare.rstrip()
    yield "cut in the first line", b"HTTP/1.1 20"
    yield "nothing", b""
    yield "a body alone", body
    yield "an alert of TLS", b"\x15\x03\x01\x00\x02\x02\x46"
    yield "a banner of SSH", b"SSH-2.0-OpenSSH_9.6\r\n"
    yield "a preface of HTTP/2", b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18)
    yield "random bytes", bytes(i * 167 % 256 for i in range(5000))
    yield "more behind the body", good + b"more" * 1000
    yield "two answers", good + _http(b"{}")
    yield "an endless head", _endless(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 10_000)
    yield "an endless line", _endless(b"HTTP/1.1 200 OK\r\nx: ", b"y" * 60_000)


def _bodies(body: bytes) -> Named:
    for name, other in _BODIES.items():
        for status in ("200 OK", "400 Bad Request", "500 Broken"):
            yield f"{status[:3]}, body: {name}", _http(other, status=status)
    text = body.decode()
    for code in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "utf-8-sig", "utf-7", "cp037"):
        data, told = text.encode(code), f"content-type: application/json; charset={code}"
        yield f"body in {code}", _http(data)
        yield f"body in {code}, told", _http(data, told, typed=False)
    yield "body in utf-16, odd length", _http(text.encode("utf-16")[:-1])
    yield "body in utf-32, cut", _http(text.encode("utf-32")[:-3])


def _pauses(body: bytes) -> Named:
    good = _http(body)
    yield "bytes one by one", (good[i : i + 1] for i in range(len(good)))
    step = len(good) // 20 + 1
    yield "a trickle", (part for i in range(0, len(good), step) for part in (good[i : i + step], 0.01))
    yield "a pause in the head", [good[:20], 0.2, good[20:]]
    yield "a pause, then nothing", [good[:-5], 0.2]
    yield "a body that never comes", [good[: -len(body)], 30.0]
    yield "a head that never comes", [b"HTTP/1.1 200 OK\r\n", 30.0]
    yield "a trickle without end", _endless(_http(body, sized=False), b" ", 0.05)


def heavy_framings() -> dict[str, Callable[[], Pieces]]:
    """Answers of megabytes, of gigabytes and without end, by name."""
    found: dict[str, Callable[[], Pieces]] = {}
    for name, make in _HEAVY.items():
        for status in ("200 OK", "400 Bad Request", "500 Broken"):
            found[f"{status[:3]}, {name}"] = lambda make=make, status=status: [_http(make(), status=status)]
    head, part = b"HTTP/1.1 200 OK\r\n", b" " * 2**16
    in_chunks = head + b"transfer-encoding: chunked\r\n\r\n"
    found["endless"] = lambda: _endless(head + b"\r\n", part)
    found["endless, failed"] = lambda: _endless(b"HTTP/1.1 500 Broken\r\n\r\n", part)
    found["endless, of 100 MB"] = lambda: _endless(head + b"content-length: 104857600\r\n\r\n", part)
    found["endless chunks"] = lambda: _endless(in_chunks, b"%x\r\n%s\r\n" % (len(part), part))
    found["endless chunks of a byte"] = lambda: _endless(in_chunks, b"1\r\n \r\n" * 10_000)
    found["endless gzip"] = lambda: _endless(head + b"content-encoding: gzip\r\n\r\n" + _bomb(), _bomb()[10:])
    return found


def many(unit: str, size: int) -> str:
    """A list of nothing but `unit`, of `size` bytes."""
    return "[" + ",".join([unit] * (size // (len(unit) + 1))) + "]"


_HEAVY: dict[str, Callable[[], bytes]] = {
    "8 MB of brackets": lambda: b"[" * 2**23, "8 MB of objects": lambda: b'{"a":' * (2**23 // 5),
    "8 MB of digits": lambda: b"1" * 2**23, "8 MB of a fraction": lambda: b"0." + b"1" * 2**23,
    "8 MB of blanks": lambda: b" " * 2**23, "8 MB of a text": lambda: b'"' + b"x" * 2**23,
    "8 MB of escapes": lambda: b'"' + b"\\ud800" * (2**23 // 6) + b'"',
    "3 MB of keys": lambda: b"{" + b",".join(b'"%d":{}' % i for i in range(3 * MEGABYTE // 13)) + b"}",
    "3 MB of one key": lambda: b"{" + b'"error":"x",' * (3 * MEGABYTE // 12) + b'"error":1}',
    "3 MB of long numbers": lambda: many("1" * 4299, 3 * MEGABYTE).encode(),
    **{f"3 MB of {name}": functools.partial(lambda u: many(u, 3 * MEGABYTE).encode(), u) for name, u in MANY.items()},
    **{f"16 MB of {name}": functools.partial(lambda u: many(u, 2**24).encode(), u) for name, u in MANY.items()},
}  # fmt: skip


def _http(body: bytes, *headers: str | bytes, status: str = "200 OK", sized: bool = True, typed: bool = True) -> bytes:
    lines: list[str | bytes] = [f"HTTP/1.1 {status}"]
    lines += ["content-type: application/json"] * typed + [f"content-length: {len(body)}"] * sized + list(headers)
    return b"\r\n".join(line if isinstance(line, bytes) else line.encode() for line in lines) + b"\r\n\r\n" + body


def _chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def _endless(start: bytes, part: bytes, pause: float = 0.0) -> Iterator[bytes | float]:
    yield start
    while True:
        yield part
        yield pause


@functools.cache
def _bomb(levels: int = 1) -> bytes:
    """3 GB of blanks in 3 MB of gzip: one block that stands alone, again and again; that in gzip once more."""
    made = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = made.compress(b" " * 2**24) + made.flush(zlib.Z_FULL_FLUSH)
    bomb = block + block[10:] * 190  # ten bytes of head
    return bomb if levels == 1 else gzip.compress(bomb)
