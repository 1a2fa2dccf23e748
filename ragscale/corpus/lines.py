"""Lines of files that may be compressed, of any number and bounded length."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, cast

from ragscale.corpus.encoding import encoding_remedy, utf8_stream
from ragscale.corpus.source import Source, refuse_size, unpacked_limit
from ragscale.errors import BadDocument

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["DAMAGE", "LINE_LIMIT", "Line", "blocks", "lines", "reading_from", "whole"]

DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
"""Errors raised by reading a file that is unreadable, truncated or changed since it was packed."""

LINE_LIMIT = 64 << 20
"""Most bytes in a line, and in a cell of a csv file."""
_BLOCK = 1 << 18
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Line:
    """A line, or a block of lines, as bytes."""

    number: int
    """Number of its first line, from 1."""
    offset: int
    """Offset of its first byte in the file, after decompression."""
    data: bytes
    whole: bool = True
    """False where it is longer than `LINE_LIMIT` and was dropped."""

    def decode(self, place: object) -> str:
        """Its text; `place` is named in errors.

        Raises:
            BadDocument: Too long, or not UTF-8 (with the byte's offset in the file).
        """
        if not self.whole:
            reason = f"a line of more than {LINE_LIMIT:,} bytes"
            raise BadDocument(place, reason, "Is it really one row a line? Split its text into several rows.")
        try:
            return self.data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadDocument(
                place,
                f"invalid UTF-8, byte 0x{self.data[error.start]:02x} at offset {self.offset + error.start} of the file",
                encoding_remedy(self.data),
            ) from error


@contextmanager
def reading_from(source: Source) -> Iterator[IO[bytes]]:
    """The stream of a source in UTF-8, unpacked if its name ends in ``.gz`` or ``.bz2``; reading may raise `DAMAGE`.

    It raises a `BadDocument` where it unpacks to more than `unpacked_limit` bytes; see also `utf8_stream`.
    """
    name = source.name.lower()
    with source.open() as raw:
        if name.endswith(".gz"):
            stream = _bounded(cast("IO[bytes]", gzip.GzipFile(fileobj=raw)), source)
        elif name.endswith(".bz2"):
            stream = _bounded(cast("IO[bytes]", bz2.BZ2File(raw)), source)
        else:
            stream = raw
        yield utf8_stream(stream, source.place)


def whole(source: Source, limit: int | None) -> bytes:
    """All that `reading_from` a source yields.

    Raises:
        BadDocument: It has more than `limit` bytes; None for no limit.
    """
    with reading_from(source) as stream:
        data = stream.read() if limit is None else stream.read(limit + 1)
    if limit is not None:
        refuse_size(len(data), limit, source)
    return data


def _bounded(stream: IO[bytes], source: Source) -> IO[bytes]:
    return cast("IO[bytes]", io.BufferedReader(_Bounded(stream, source), _BLOCK))


class _Bounded(io.RawIOBase):
    """An unpacked stream that ends in an error where it goes on for too long."""

    def __init__(self, stream: IO[bytes], source: Source) -> None:
        self._stream = stream
        self._source = source
        self._left = unpacked_limit(source.size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        with memoryview(buffer) as view:
            data = self._stream.read(len(view))
            view[: len(data)] = data
        self._left -= len(data)
        if self._left < 0:
            limit = unpacked_limit(self._source.size)
            raise BadDocument(
                self._source.place,
                f"unpacks to more than {limit:,} bytes (256 MiB and a hundred times its own size)",
                "Unpack it yourself if you trust it.",
            )
        return len(data)


def lines(stream: IO[bytes]) -> Iterator[Line]:
    """Lines of a stream with their ends, without a byte order mark; at most `LINE_LIMIT` bytes in memory."""
    data = stream.readline(LINE_LIMIT + 1)
    offset = _mark(data)
    number, data = 1, data[offset:]
    while data:
        whole = len(data) <= LINE_LIMIT
        yield Line(number, offset, data if whole else b"", whole)
        offset += len(data)
        while not whole and data and not data.endswith(b"\n"):
            data = stream.readline(_BLOCK)
            offset += len(data)
        number += 1
        data = stream.readline(LINE_LIMIT + 1)


def blocks(stream: IO[bytes]) -> Iterator[Line]:
    """A text in blocks of some 256 KiB that end at a paragraph, else at a line, else at a space, else at a character.

    A block knows the line it starts on, so that a bad byte in it can be placed.
    """
    data = stream.read(_BLOCK)
    offset = _mark(data)
    data, number = data[offset:], 1
    while data:
        more = stream.read(_BLOCK)
        cut = _cut(data) if more else len(data)
        yield Line(number, offset, data[:cut])
        number += data.count(b"\n", 0, cut)
        offset += cut
        data = data[cut:] + more


def _mark(data: bytes) -> int:
    """Length of the byte order mark."""
    return len(_BOM) if data.startswith(_BOM) else 0


def _cut(data: bytes) -> int:
    for end in (b"\n\n", b"\n", b" "):
        at = data.rfind(end)
        if at > 0:
            return at + len(end)
    for back in range(1, min(4, len(data))):
        if data[-back] >= 0xC0:  # a character begins here: is it whole?
            width = 2 if data[-back] < 0xE0 else 3 if data[-back] < 0xF0 else 4
            return len(data) if back >= width else len(data) - back
    return len(data)
