"""Reader of pdf documents; its library is of the optional extra ``documents``."""

from __future__ import annotations

import logging
import math
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ragscale.corpus.documents import DOCUMENT_LIMIT, Part
from ragscale.corpus.parsing import parsing
from ragscale.corpus.problems import Problems
from ragscale.corpus.record import whole_text
from ragscale.corpus.source import Source
from ragscale.errors import BadDocument
from ragscale.words import counted

if TYPE_CHECKING:
    from pypdf import PdfReader

__all__ = ["pdf_parts"]

_SECONDS, _SECONDS_A_MIB = 30, 30
"""Most processor time for the pages of a file, and for each MiB of it; a page of text takes 0.02 s."""
_SMALL, _RAISED, _TWICE = 0.85, 0.15, 0.1
"""Of the size of the text: an exponent is smaller than that, and higher by that; layers of bold text are nearer."""
_EXPONENT = re.compile(r"[+\-\u2212]?[0-9]+")
_BREAK = re.compile(r"([-\u2010\u00ad])[ \t]*\n[ \t]*")
_BROKEN = re.compile(rf"\w+(?:{_BREAK.pattern}\w+)+")
_HYPHENED = re.compile(r"\w+-\w+")
_SPACES = re.compile(r"[ \t]{2,}")
_LIGATURES = {code: unicodedata.normalize("NFKC", chr(code)) for code in range(0xFB00, 0xFB07)}  # ff to st
_SHOWS = re.compile(rb"T[jJ]|['\"]|Do")


def pdf_parts(source: Source, problems: Problems) -> Iterator[Part]:
    """Pages of a pdf file, each a part with its number (from 1) as ``page``; pages without text are counted.

    Raises:
        BadDocument: Encrypted, damaged, or without any text.
        MissingDependency: pypdf is not installed.
    """
    with parsing(source, "pdf"), source.seekable() as stream:
        from pypdf import PdfReader

        logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # what stops it is our error, with the file's name
        reader = PdfReader(stream)
        _decrypt(reader, source)
        title = " ".join(str(reader.metadata.title or "").split()) if reader.metadata else ""
        title = whole_text(title, "title", source.place) or source.stem
        texts = [_whole(text, number, source) for number, text in enumerate(_pages(reader, source), 1)]
    texts = list(_rejoined(texts))
    if not any(texts):
        raise BadDocument(
            source.place,
            f"no text on its {counted(len(texts), 'page')}; it may be scanned",
            "Recognize its text first, for instance with `ocrmypdf in.pdf out.pdf`.",
        )
    for number, text in enumerate(texts, 1):
        if text:
            yield Part(title, text, metadata={"page": number})
        else:
            problems.leave_out("pdf pages without text")


def _pages(reader: PdfReader, source: Source) -> Iterator[str]:
    """Texts of the pages, for as long as they take no more time and room than a file of that size may.

    pypdf bounds each step, but a page may be made of many, or be there many times.
    """
    from pypdf.errors import LimitReachedError

    remedy = "Split it into several files, or make it a text file, for instance with `pdftotext`."
    seconds = _SECONDS + _SECONDS_A_MIB * source.size / (1 << 20)
    begun, number, size = time.thread_time(), 0, 0

    def on_time(*operation: Any) -> None:
        if time.thread_time() - begun > seconds:
            raise _Late

    try:
        for number, page in enumerate(reader.pages, 1):
            on_time()
            content = page.get_contents()
            # figures are long: where no operator shows text, or a thing that may have some, none is looked at
            shows = content is not None and _SHOWS.search(content.get_data())
            pieces: list[_Piece] = []
            if shows:
                page.extract_text(visitor_operand_before=on_time, visitor_text=partial(_add_piece, pieces))
            text = _joined(pieces)
            size += len(text)
            if size > DOCUMENT_LIMIT:
                reason = f"{size:,} characters of text up to page {number:,}, the limit is {DOCUMENT_LIMIT:,}"
                raise BadDocument(source.place, reason, remedy)
            yield text
    except LimitReachedError as error:
        raise BadDocument(source.place, str(error).rstrip("."), remedy) from error
    except _Late:
        reason = f"page {number:,} of {len(reader.pages):,} is not read after {seconds:,.0f} s, the most for its size"
        raise BadDocument(source.place, reason, remedy) from None


@dataclass(frozen=True, slots=True)
class _Piece:
    """Text that stands in one place in one size."""

    text: str
    x: float
    y: float
    size: float


def _add_piece(pieces: list[_Piece], text: str, around: Any, matrix: Any, font: Any, size: Any) -> None:
    """A visitor of pypdf, which gives positions by two matrices, one within the other."""
    if text:
        x = matrix[4] * around[0] + matrix[5] * around[2] + around[4]
        y = matrix[4] * around[1] + matrix[5] * around[3] + around[5]
        scale = math.hypot(matrix[2], matrix[3]) * math.hypot(around[2], around[3])
        pieces.append(_Piece(text, x, y, (size or 0) * scale))


def _joined(pieces: list[_Piece]) -> str:
    """The text of a page: small raised numbers behind digits are exponents, letters printed twice stand once."""
    found: list[str] = []
    before: _Piece | None = None
    for piece in pieces:
        text = piece.text
        if before is not None and text.strip():
            if text == before.text and abs(piece.x - before.x) < _TWICE * piece.size and piece.y == before.y:
                continue  # bold, made of two layers
            small = 0 < piece.size < _SMALL * before.size
            raised = small and piece.y > before.y + _RAISED * before.size
            if raised and _EXPONENT.fullmatch(text.strip()) and not before.text[-1:].isspace():
                text = "^" + text.lstrip()
        found.append(text)
        before = piece if text.strip() else before
    return "".join(found)


def _rejoined(pages: list[str]) -> Iterator[str]:
    """The pages with the words whole that are broken at the ends of lines.

    A hyphen stays where the file has the word with it elsewhere, and before a capital, before and behind a digit.
    """
    known = Counter(word for page in pages for word in _HYPHENED.findall(page))

    def whole(broken: re.Match[str]) -> str:
        word, *rest = _BREAK.split(broken.group())
        for hyphen, part in zip(rest[::2], rest[1::2], strict=True):
            letters = word[-1].isalpha() and part[0].islower()
            kept = hyphen != "\u00ad" and (not letters or f"{word}-{part}" in known)
            word += f"-{part}" if kept else part
        return word

    for page in pages:
        yield _SPACES.sub(" ", _BROKEN.sub(whole, page)).replace("\u00ad", "").translate(_LIGATURES)


class _Late(BaseException):
    """No `Exception`: pypdf goes on after those in what a page is made of."""


def _decrypt(reader: PdfReader, source: Source) -> None:
    from pypdf.errors import DependencyError

    remedy = "Decrypt it first, for instance with `qpdf --decrypt in.pdf out.pdf`."
    try:
        if reader.is_encrypted and not reader.decrypt(""):
            raise BadDocument(source.place, "encrypted with a password", remedy)
    except DependencyError as error:
        raise BadDocument(source.place, f"encrypted ({error})", f"Install that package. {remedy}") from error


def _whole(text: str, number: int, source: Source) -> str:
    with suppress(UnicodeDecodeError):  # pypdf leaves the halves of characters beyond 16 bits apart
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    text = text.replace("\0", "\ufffd")  # a sign that the font has no meaning for
    return whole_text(text.strip(), "text", f"{source.place}, page {number}")
