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
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, Any

from ragscale.corpus.documents import DOCUMENT_LIMIT, Part
from ragscale.corpus.equations import SLASHES, gap, lowered, raised
from ragscale.corpus.parsing import parsing
from ragscale.corpus.problems import Problems
from ragscale.corpus.record import whole_text
from ragscale.corpus.source import Source
from ragscale.corpus.wrapping import unwrapped
from ragscale.errors import BadDocument
from ragscale.words import counted

if TYPE_CHECKING:
    from pypdf import PdfReader

__all__ = ["pdf_parts"]

_SECONDS, _SECONDS_A_MIB = 30, 30
"""Most processor time for the pages of a file, and for each MiB of it; a page of text takes 0.02 s."""
_SMALL, _LEAST, _RAISED, _TWICE = 0.85, 0.4, 0.1, 0.1
"""Of the size of the text: an exponent is smaller than that, but no letter beside an initial, and so far off the line;
layers of bold text are nearer to each other."""
_WIDTH = 0.6
"""Of a letter, in sizes: a little more than most."""
_LONG = 8
"""Most characters of an exponent."""
_EXPONENT = re.compile(r"[+\-\u2212]?[0-9]+")
_COLUMN = "\x02"
"""Stands behind the end of a line that the next text does not go on with."""
_UNNAMED = re.compile(
    r"\W*(?:untitled|anonymous|unknown|unspecified|no title|title)\W*\d*"
    r"|microsoft (?:word|powerpoint|excel)\b.*|.*\.(?:docx?|rtf|odt|pptx?|xlsx?|dvi|tex|indd|qxd|ps|eps|pdf)",
    re.IGNORECASE,
)
"""Titles that programs write where nobody gave one."""
_CONJUNCTIONS = {"and", "or", "und", "oder", "bzw", "sowie", "et", "ou", "och", "og"}
_BREAK = re.compile(r"([-\u2010\u00ad])[ \t]*\n[ \t]*")
_BROKEN = re.compile(rf"\w+(?:{_BREAK.pattern}\w+)+")
_HYPHENED = re.compile(r"\w+-\w+")
_SPACES = re.compile(r"[ \t]{2,}")
_SHAPES = (range(0xFB00, 0xFB50), range(0xFB50, 0xFE00), range(0xFE70, 0xFEFD))
"""Ligatures, and the forms that letters of Arabic and Hebrew take within words."""
_LETTERS = {code: unicodedata.normalize("NFKC", chr(code)).strip() for codes in _SHAPES for code in codes}
_OWN = {0xF001: "fi", 0xF002: "fl"}  # where fonts of Microsoft and Apple have them
_UNSEEN = {**_LETTERS, **_OWN, 0xAD: None, ord(_COLUMN): None}
_NAMED = re.compile(r"/((?:f_)?f_[bfhijklt]|T_h|c_t|s_t|t_t)")
"""Names of ligatures that pypdf writes as they are."""
_ACCENTS = dict(
    zip(
        "\u00b4\u00a8\u02c6\u02dc\u02dd\u02c7\u02d8\u02da",
        "\u0301\u0308\u0302\u0303\u030b\u030c\u0306\u030a",
        strict=True,
    )
)
_ACCENTED = re.compile(rf"(?<![0-9])(?<!\b[cdjlmnst])([{''.join(_ACCENTS)}])((?<=\w.) )?([A-Za-z\u0131])")
"""An accent that TeX draws before its letter; behind one such letter it may be an apostrophe: l\u00b4amour."""
_CEDILLA = re.compile(r"([CcSsTt])\u00b8 ?|\u00b8 ?([CcSsTt])")
_NUMBERED = re.compile(r"([0-9]{1,5})[ \t]+(?=\S)")
_FEW, _MOST = 5, 0.8
"""Fewest lines with numbers one after the other, and of all lines, by which they are numbers of the lines; of the signs
of a page, unknown ones, by which it has no text."""
_INNER = 3
"""Most letters of a word within a compound: mother-in-law, state-of-the-art."""
_RIGHT_TO_LEFT = re.compile("[\u0590-\u065f\u066e-\u06ef\u06fa-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_LEFT_TO_RIGHT = re.compile("(?![_\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc])\\w")
_NUMBER = re.compile("[\u0660-\u0669\u06f0-\u06f9]+(?:[.,/:\u066b\u066c][\u0660-\u0669\u06f0-\u06f9]+)*")
"""A number in figures of Arabic, which pypdf may turn as it turns letters."""
_MIRRORED = str.maketrans("()[]\u00ab\u00bb", ")(][\u00bb\u00ab")
_UNKNOWN = "\ufffd"
"""A sign for which the font names no letter."""
_WRITTEN = 10_000
"""Most annotations of a page that are looked at."""
_HIDDEN, _SECRET = 1 << 1, 1 << 13
"""Flags of an annotation that is not shown, and of a field for a password."""
_TEXT = (b"Tj", b"TJ", b"'", b'"')
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
        title = whole_text("" if _UNNAMED.fullmatch(title) else title, "title", source.place) or source.stem
        texts = [_whole(text, number, source) for number, text in enumerate(_pages(reader, source), 1)]
    unknown = sum(map(_is_unknown, texts))
    texts = list(_rejoined(["" if _is_unknown(text) else text for text in texts]))
    if not any(texts):
        why = "its fonts do not tell which letters their signs are" if unknown else "it may be scanned"
        force = "--force-ocr " if unknown else ""
        raise BadDocument(
            source.place,
            f"no text on its {counted(len(texts), 'page')}; {why}",
            f"Recognize its text first, for instance with `ocrmypdf {force}in.pdf out.pdf`.",
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
    from pypdf.generic import NameObject

    remedy = "Split it into several files, or make it a text file, for instance with `pdftotext`."
    seconds = _SECONDS + _SECONDS_A_MIB * source.size / (1 << 20)
    begun, number, size, rise = time.thread_time(), 0, 0, _Rise()

    def on_time(operator: bytes = b"", operands: Any = (), *matrices: Any) -> None:
        if time.thread_time() - begun > seconds:
            raise _Late
        rise.follow(operator, operands)

    try:
        for number, page in enumerate(reader.pages, 1):
            on_time()
            content = page.get_contents()
            # figures are long: where no operator shows text, or a thing that may have some, none is looked at
            shows = content is not None and _SHOWS.search(content.get_data())
            pieces: list[_Piece] = []
            rise = _Rise()
            if shows:
                contents = NameObject("/Contents")
                own, page[contents] = page.raw_get(contents), _placed(page[contents].get_object(), reader)
                page.extract_text(visitor_operand_before=on_time, visitor_text=partial(_add_piece, pieces, rise))
                page[contents] = own  # the reader holds all pages
            text = "\n".join(filter(None, [_joined(_in_order(pieces)), *_filled_in(page)]))
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


def _filled_in(page: Any) -> Iterator[str]:
    """Text written onto a page: values of its form's fields, with their names, and text beside its own."""
    from pypdf.errors import PyPdfError

    with suppress(PyPdfError):  # the page is read all the same
        annotations = _at(page, "/Annots")
        for each in annotations[:_WRITTEN] if isinstance(annotations, list) else ():
            found = each.get_object()
            flags = _at(found, "/F")
            if isinstance(flags, int) and flags & _HIDDEN:
                continue
            if _at(found, "/Subtype") == "/FreeText":
                yield _told(_at(found, "/Contents"))
            elif _at(found, "/Subtype") == "/Widget":
                yield _field(found)


def _field(widget: Any) -> str:
    fields = widget, _at(widget, "/Parent")
    kind, flags, value, shown, name = (
        next((_at(field, key) for field in fields if _at(field, key) is not None), None)
        for key in ("/FT", "/Ff", "/V", "/TU", "/T")
    )
    named, told = _told(shown) or _told(name), _told(value)
    if kind == "/Btn":
        return f"[x] {named}" if _at(widget, "/AS") not in (None, "/Off") else ""
    secret = isinstance(flags, int) and flags & _SECRET
    return f"{named}: {told}" if told and not secret and kind in ("/Tx", "/Ch") else ""


def _told(value: Any) -> str:
    values = [each.get_object() for each in value] if isinstance(value, list) else [value]
    return ", ".join(str(each).strip() for each in values if isinstance(each, str | int | float))


def _at(thing: Any, key: str) -> Any:
    """A value of a dictionary, not the reference to it; None where there is none."""
    return thing[key] if isinstance(thing, dict) and key in thing else None


def _placed(contents: Any, reader: PdfReader) -> Any:
    """The contents of a page with one step for two of a text: the line begins here, and this text is so far from there.

    Browsers write so behind each change of the font. pypdf forgets at the first step how wide the text before is, and
    finds a space at the second, in the middle of words.
    """
    from pypdf.generic import ContentStream

    stream = ContentStream(contents, reader, "bytes")
    placed: list[tuple[Any, bytes]] = []
    for operands, operator in stream.operations:
        before = placed[-1] if placed else ([], b"")
        if (operator, before[1]) == (b"Td", b"Tm") and _are_numbers(operands, 2) and _are_numbers(before[0], 6):
            (x, y), (a, b, c, d, e, f) = map(float, operands), map(float, before[0])
            placed[-1] = [a, b, c, d, e + x * a + y * c, f + x * b + y * d], b"Tm"
        else:
            placed.append((operands, operator))
    stream.operations = placed
    return stream


def _are_numbers(operands: Any, count: int) -> bool:
    return len(operands) == count and all(isinstance(operand, int | float) for operand in operands)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Text that stands in one place in one size."""

    text: str
    x: float
    y: float
    size: float

    def beside(self, other: _Piece) -> bool:
        return (other.size, other.y) == (self.size, self.y)

    def right_of(self, other: _Piece) -> bool:
        return abs(self.y - other.y) < other.size / 2 and self.x > other.x

    def reach(self) -> float:
        """About as far to the right as it and a space may go."""
        return self.x + self.size * (_WIDTH * len(self.text) + 1)

    def moved_from(self, line: _Piece) -> bool:
        """Whether it is small, and above or below that text."""
        small = _LEAST * line.size < self.size < _SMALL * line.size
        return small and abs(self.y - line.y) > _RAISED * line.size


class _Rise:
    """Height of a text above its line, which pypdf does not tell."""

    def __init__(self) -> None:
        self._set = 0.0
        self.shown = 0.0
        """That of the text that was shown last."""

    def follow(self, operator: bytes, operands: Any) -> None:
        if operator == b"Ts":
            self._set = float(operands[0]) if operands and isinstance(operands[0], int | float) else 0.0
        elif operator in _TEXT:
            self.shown = self._set


def _add_piece(pieces: list[_Piece], rise: _Rise, text: str, around: Any, matrix: Any, font: Any, size: Any) -> None:
    """A visitor of pypdf, which gives positions by two matrices, one within the other."""
    if text:
        x = matrix[4] * around[0] + matrix[5] * around[2] + around[4]
        y = matrix[4] * around[1] + matrix[5] * around[3] + around[5]
        scale = math.hypot(matrix[2], matrix[3]) * math.hypot(around[2], around[3])
        pieces.append(_Piece(text, x, y + rise.shown * scale, (size or 0) * scale))


def _in_order(pieces: list[_Piece]) -> list[_Piece]:
    """The pieces as they are read: lines from right to left that were written from left to right, turned around.

    pypdf turns each piece with letters from right to left, and those behind it until letters from left to right come.
    """
    found: list[_Piece] = []
    line: list[tuple[_Piece, bool]] = []
    turned = False
    for piece in pieces:
        if _RIGHT_TO_LEFT.search(piece.text):
            turned = True
        elif turned and _LEFT_TO_RIGHT.search(piece.text):
            turned = False
        if turned and _NUMBER.search(piece.text):
            piece = replace(piece, text=_NUMBER.sub(lambda number: number[0][::-1], piece.text))
        line.append((piece, turned))
        if piece.text.endswith("\n"):
            found += _turned(line)
            line = []
    return found + _turned(line)


def _turned(line: list[tuple[_Piece, bool]]) -> list[_Piece]:
    shown = [piece for piece, _ in line if piece.text.strip()]
    text = "".join(piece.text for piece in shown)
    rising = len(shown) > 1 and all(after.x >= before.x for before, after in pairwise(shown))
    words = sum(map(str.isalpha, _LEFT_TO_RIGHT.findall(text)))
    if not rising or len(_RIGHT_TO_LEFT.findall(text)) <= words:
        return [piece for piece, _ in line]
    groups: list[list[_Piece]] = []  # from left to right: words and numbers that follow each other are one
    spaced = before = False
    for piece, turned in line:
        text = piece.text.strip()
        inward = _LEFT_TO_RIGHT.search(text) is not None
        left, right = (piece.text[at].isspace() for at in ((-1, 0) if turned else (0, -1)))
        gap, spaced = spaced or left, right or (spaced and not text)
        if not text:
            continue
        if inward and before:
            groups[-1].append(replace(piece, text=f"{' ' * gap}{text}"))
        else:
            text = text if inward else text.translate(_MIRRORED)
            if groups and gap and text[-1] not in "([" and groups[-1][0].text[0] not in ")]":
                groups[-1][0] = replace(groups[-1][0], text=f" {groups[-1][0].text}")
            groups.append([replace(piece, text=text)])
        before = inward
    found = [piece for group in reversed(groups) for piece in group]
    return [*found, replace(found[-1], text="\n")] if line[-1][0].text.endswith("\n") else found


def _joined(pieces: list[_Piece]) -> str:
    """The text of a page: small text off the line is an exponent or an index, letters printed twice stand once."""
    found: list[str] = []
    line = before = None  # line: the last text that is neither raised nor lowered
    at, aside = 0, False
    while at < len(pieces):
        piece, text = pieces[at], pieces[at].text
        at += 1
        script = False
        if before is not None and line is not None and text.strip():
            if text == before.text and abs(piece.x - before.x) < _TWICE * piece.size and piece.y == before.y:
                continue  # bold, made of two layers
            ended = found[-1].endswith("\n")
            beside = piece.right_of(before) and (ended or piece.x > before.reach())
            if beside or (ended and aside and piece.x < before.x):
                found.append(_COLUMN)
            aside = beside or (aside and not ended)
            script = not ended and piece.moved_from(line) and not line.text[-1:].isspace()
            if script:
                more = [other.text for other in takewhile(piece.beside, pieces[at : at + _LONG])]
                at += len(more)
                text = _on_line(found[-1], "".join([text, *more]), pieces[at : at + 1], piece.y > line.y)
        found.append(text)
        if text.strip():
            before = piece
            line = line if script else piece
    return "".join(found)


def _on_line(before: str, text: str, behind: list[_Piece], above: bool) -> str:
    """Raised or lowered text as it is written on one line."""
    body, after = text.strip(), behind[0].text if behind and not text.endswith("\n") else ""
    if len(body) > _LONG or " " in body:
        return text
    if above and body.isdigit() and after.strip() in SLASHES:
        return f" {body}" if before[-1:].isdigit() else body
    if above and _EXPONENT.fullmatch(body):
        made = f"^{body}{gap(body, after)}"
    else:
        made = (raised if above else lowered)(before, body, after)
    return made + text[len(text.rstrip()) :]


def _rejoined(pages: list[str]) -> Iterator[str]:
    """The pages with the words whole that are broken at the ends of lines.

    A hyphen stays where the file has the word with it elsewhere, before a capital, behind capitals alone, before and
    behind a digit, within a compound of three words, and before a conjunction.
    """
    pages = [_CEDILLA.sub(_with_cedilla, _ACCENTED.sub(_composed, _unnumbered(page))) for page in pages]
    known = Counter(word for page in pages for word in _HYPHENED.findall(page))

    def whole(broken: re.Match[str]) -> str:
        text, (word, *rest) = broken.string, _BREAK.split(broken.group())
        goes_on = text[broken.end() : broken.end() + 1] == "-"
        compound = text[max(broken.start() - 1, 0) : broken.start()] == "-" and len(word) <= _INNER
        for at, (hyphen, part) in enumerate(zip(rest[::2], rest[1::2], strict=True), 1):
            last = 2 * at == len(rest)
            if hyphen == "\u00ad":
                word += part
            elif last and not goes_on and part in _CONJUNCTIONS and word not in _CONJUNCTIONS:
                word += f"- {part}"  # pre- and post-war
            else:
                letters = word[-1].isalpha() and part[0].islower() and not (len(word) > 1 and word.isupper())
                kept = not letters or compound or (last and goes_on) or f"{word}-{part}" in known
                word += f"-{part}" if kept or word in _CONJUNCTIONS else part
        return word

    for page in pages:
        text = _SPACES.sub(" ", _BROKEN.sub(whole, page)).translate(_UNSEEN)
        yield unwrapped(text, short=False)


def _unnumbered(page: str) -> str:
    """A page without the numbers of its lines, as manuscripts and laws have them in the margin."""
    page = _NAMED.sub(lambda name: name[1].replace("_", ""), page)
    lines = page.split("\n")
    found = [(at, int(mark[1])) for at, mark in enumerate(map(_NUMBERED.match, lines)) if mark]
    follow = all(after[1] == before[1] + 1 for before, after in pairwise(found))
    if len(found) < _FEW or len(found) < _MOST * len(lines) or not follow:
        return page
    return "\n".join(_NUMBERED.sub("", line, count=1) if _NUMBERED.match(line) else line for line in lines)


def _composed(found: re.Match[str]) -> str:
    letter = "i" if found[3] == "\u0131" else found[3]
    made = unicodedata.normalize("NFC", letter + _ACCENTS[found[1]])
    return made if len(made) == 1 else found[0]


def _with_cedilla(found: re.Match[str]) -> str:
    return unicodedata.normalize("NFC", f"{found[1] or found[2]}\u0327")


def _is_unknown(page: str) -> bool:
    """Whether most of its signs are of fonts that do not name their letters."""
    return page.count(_UNKNOWN) > _MOST * len("".join(page.split()))


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
    text = text.replace("\0", _UNKNOWN)
    return whole_text(text.strip(), "text", f"{source.place}, page {number}")
