"""Encodings of files: UTF-8, or what a byte order mark says. No other one is ever guessed, only named in a remedy."""

from __future__ import annotations

import codecs
import io
from typing import IO, TYPE_CHECKING, cast

from ragscale.errors import BadDocument

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["encoding_remedy", "marked", "refuse_nul", "utf8_stream"]

_MARKS = (  # that of UTF-16 begins that of UTF-32
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAMPLE = 1 << 13
_BLOCK = 1 << 16


def marked(data: bytes) -> tuple[str, int]:
    """The encoding that a byte order mark at the start says and the mark's length; ``("", 0)`` where there is none."""
    return next(((name, len(mark)) for mark, name in _MARKS if data.startswith(mark)), ("", 0))


def encoding_remedy(data: bytes, what: str = "the file") -> str:
    """The remedy for bytes that are not UTF-8. Names the encoding where it is one that is not taken for another.

    charset-normalizer knows UTF-16 and the encodings of Chinese, Japanese and Korean from some words; of those with a
    byte a letter it says one or another.
    """
    from charset_normalizer import from_bytes
    from charset_normalizer.utils import is_multi_byte_encoding

    found = from_bytes(data[:_SAMPLE]).best()
    name = found.encoding if found else ""
    likely = name not in ("", "utf_8", "utf_8_sig", "utf_7") and is_multi_byte_encoding(name)
    flag = f" -f {name.replace('_', '-').replace('6-', '6').replace('32-', '32')} -t utf-8" if likely else ""
    return f"Convert {what} to UTF-8, for instance with iconv{flag}."


def refuse_nul(data: bytes | str, place: object, offset: int = 0) -> None:
    """Raise a `BadDocument` where there is a NUL, which no text has: most likely it is UTF-16 without a mark."""
    at = data.find(b"\0") if isinstance(data, bytes) else data.find("\0")
    if at >= 0:
        remedy = encoding_remedy(data if isinstance(data, bytes) else data[:_SAMPLE].encode("utf-8", "replace"))
        raise BadDocument(place, f"a NUL, which is no text, at offset {offset + at}", remedy)


def utf8_stream(stream: IO[bytes], place: object) -> IO[bytes]:
    """The same text in UTF-8: a stream with a mark of UTF-16 or UTF-32 is converted, any other one is itself.

    Raises:
        BadDocument: There are many NULs near its beginning; when it is read, bytes that are not in its encoding.
    """
    buffered = stream if hasattr(stream, "peek") else io.BufferedReader(cast("io.RawIOBase", stream), _BLOCK)
    sample: bytes = buffered.peek(_SAMPLE)[:_SAMPLE]
    name, length = marked(sample)
    if not name.startswith(("utf-16", "utf-32")):
        if 8 * sample.count(0) > len(sample):  # a few are of some rows or lines, which are bad by themselves
            refuse_nul(sample, place)
        return buffered
    buffered.read(length)
    return cast("IO[bytes]", io.BufferedReader(_Converted(buffered, name, place), _BLOCK))


class _Converted(io.RawIOBase):
    def __init__(self, stream: IO[bytes], name: str, place: object) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(name)()
        self._name = name
        self._place = place
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        while not self._ready:
            data = self._stream.read(_BLOCK)
            try:
                self._ready = self._decoder.decode(data, final=not data).encode("utf-8")
            except UnicodeError as error:
                reason = f"invalid {self._name}, which its mark says it is ({error})"
                raise BadDocument(self._place, reason, "Save it again, as UTF-8.") from error
            if not data:
                break
        with memoryview(buffer) as view:
            piece = self._ready[: len(view)]
            view[: len(piece)] = piece
        self._ready = self._ready[len(piece) :]
        return len(piece)
