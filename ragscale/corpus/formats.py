"""Readers of html, pdf and docx documents; their libraries are the optional extra ``documents``."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from ragscale.corpus.archive import open_zip
from ragscale.corpus.documents import DOCUMENT_LIMIT, Part, markdown_part
from ragscale.corpus.problems import Problems
from ragscale.corpus.record import whole_text
from ragscale.corpus.source import Source
from ragscale.errors import BadDocument, MissingDependency, RagscaleError
from ragscale.words import counted

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

    from docx.oxml.table import CT_Tc
    from docx.table import Table
    from docx.text.paragraph import Paragraph
    from pypdf import PdfReader

__all__ = ["docx_parts", "html_parts", "pdf_parts"]

_BLOCK = 1 << 18
_SECONDS, _SECONDS_A_MIB = 30, 30
"""Most processor time for the pages of a pdf file, and for each MiB of it; a page of text takes 0.02 s."""
_NOT_TEXT = ["script", "style", "noscript", "template", "svg", "nav", "iframe", "button", "select", "dialog"]
_HTML_TAGS, _DOCX_TAGS = 2_000_000, 4_000_000
"""Most tags in a document: one or two gigabytes of memory, and a minute or two. Large manuals have half a million."""
_SHOWS = re.compile(rb"T[jJ]|['\"]|Do")
_XML = re.compile(r"\A\s*<\?xml[^>]*>")  # of xhtml; would be taken for text

_WRAPPERS = ["w:ins", "w:moveTo", "w:sdt", "w:sdtContent", "w:customXml", "w:smartTag", "w:fldSimple", "w:dir", "w:bdo"]
"""Elements of docx that wrap text: tracked changes, content controls, tags, fields, text of one direction."""
_NO_CONTENT = (  # of docx: what stands in a control that nobody filled in, and the table of contents
    "//w:sdt[w:sdtPr/w:showingPlcHdr or w:sdtPr/w:docPartObj/w:docPartGallery/@w:val='Table of Contents']"
)


@contextmanager
def _parsing(source: Source, kind: str) -> Iterator[None]:
    """Turns whatever a library raises on a hostile file into an error that names the file."""
    try:
        yield
    except ImportError as error:
        raise MissingDependency(
            f"{source.place}: reading {kind} needs {error.name}, which is not installed",
            "Install it: pip install 'ragscale[documents]'.",
        ) from error
    except (RagscaleError, MemoryError):
        raise
    except RecursionError as error:
        reason = f"its {kind} elements lie too deep within each other"
        raise BadDocument(source.place, reason, "Save it in a simpler form, for instance as text.") from error
    except Exception as error:
        raise BadDocument(
            source.place, f"damaged {kind} file ({type(error).__name__}: {error})", "Save or download it again."
        ) from error


def _refuse_tags(count: int, limit: int, source: Source) -> None:
    """Elements take a hundred times the room of their letters, so bytes do not measure a document."""
    if count > limit:
        reason = f"{count:,} tags, the limit is {limit:,}"
        raise BadDocument(source.place, reason, "Split it into several files, or save it as text.")


def html_parts(source: Source) -> Iterator[Part]:
    """An html page as Markdown without links and pictures: its ``<main>`` part if it has one, else its body; without
    navigation, scripts and, outside of articles, page headers and footers.

    Raises:
        BadDocument: Bytes that are not in the encoding that the page declares (UTF-8 where it declares none).
        MissingDependency: beautifulsoup4, lxml or markdownify is not installed.
    """
    with _parsing(source, "html"):
        from bs4 import BeautifulSoup

        from ragscale.corpus.markup import Converter

        text = _XML.sub("", _html_text(source), count=1)
        _refuse_tags(text.count("<"), _HTML_TAGS, source)
        page = BeautifulSoup(text, "lxml")
        title = page.title.get_text() if page.title else ""
        body = page.find("main") or page.find(None, {"role": "main"}) or page.body or page
        for tag in body.find_all([*_NOT_TEXT, "header", "footer"]):
            if tag.name not in ("header", "footer") or not tag.find_parent(["main", "article", "section"]):
                tag.decompose()
        for tag in body.find_all("a", class_="headerlink"):  # the paragraph signs of documentation
            tag.decompose()
        part = markdown_part(source, Converter(source.place, DOCUMENT_LIMIT).convert_soup(body).strip(), title)
    yield part


def _html_text(source: Source) -> str:
    from bs4.dammit import EncodingDetector

    data, marked = EncodingDetector.strip_byte_order_mark(source.read(DOCUMENT_LIMIT))
    declared = EncodingDetector.find_declared_encoding(data, is_html=True) or "utf-8"
    if declared.lower().startswith(("utf-16", "utf16")):
        declared = "utf-8"  # as the web has it: what can be read byte by byte is not in UTF-16
    encoding = marked or declared
    # as the web has it
    codec = "cp1252" if encoding.lower() in ("iso-8859-1", "latin-1", "latin1", "us-ascii", "ascii") else encoding
    try:
        return data.decode(codec)
    except LookupError:
        raise BadDocument(source.place, f"unknown encoding {encoding!r}", "Convert the file to UTF-8.") from None
    except UnicodeDecodeError as error:
        raise BadDocument(
            source.place,
            f"invalid {encoding}, byte 0x{data[error.start]:02x} at offset {error.start}",
            "Convert the file to UTF-8, or declare its encoding in a meta tag.",
        ) from error


def pdf_parts(source: Source, problems: Problems) -> Iterator[Part]:
    """Pages of a pdf file, each a part with its number (from 1) as ``page``; pages without text are counted.

    Raises:
        BadDocument: Encrypted, damaged, or without any text.
        MissingDependency: pypdf is not installed.
    """
    with _parsing(source, "pdf"), source.seekable() as stream:
        from pypdf import PdfReader

        logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # what stops it is our error, with the file's name
        reader = PdfReader(stream)
        _decrypt(reader, source)
        title = " ".join(str(reader.metadata.title or "").split()) if reader.metadata else ""
        title = whole_text(title, "title", source.place) or source.stem
        texts = [_pdf_text(text, number, source) for number, text in enumerate(_pages(reader, source), 1)]
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
            text = page.extract_text(visitor_operand_before=on_time) if shows else ""
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


def _pdf_text(text: str, number: int, source: Source) -> str:
    with suppress(UnicodeDecodeError):  # pypdf leaves the halves of characters beyond 16 bits apart
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    return whole_text(text.strip(), "text", f"{source.place}, page {number}")


def docx_parts(source: Source) -> Iterator[Part]:
    """A docx file as Markdown: headings by their styles, list items, tables row by row; no headers or footnotes.

    It is read as if all tracked changes were accepted.

    Raises:
        BadDocument: Encrypted, damaged, or unpacking to too much.
        MissingDependency: python-docx is not installed.
    """
    with _parsing(source, "docx"), source.seekable() as stream:
        import docx
        from docx.table import Table

        with open_zip(source, stream, "docx") as package:
            size = sum(info.file_size for info in package.infolist() if info.filename.endswith(".xml"))
            if size > DOCUMENT_LIMIT:
                reason = f"holds {size:,} bytes of XML, the limit is {DOCUMENT_LIMIT:,}"
                raise BadDocument(source.place, reason, "Split it into several files.")
            # of all members, as its own directory says which of them are XML
            _refuse_tags(sum(_tags(package, info) for info in package.infolist()), _DOCX_TAGS, source)
        stream.seek(0)
        document = docx.Document(stream)
        _unwrap(document.element)
        styles: dict[str | None, str] = {}
        blocks = [
            _table(block) if isinstance(block, Table) else _paragraph(block, styles)
            for block in document.iter_inner_content()
        ]
        title = document.core_properties.title
        part = markdown_part(source, "\n\n".join(block for block in blocks if block.strip()), title)
    yield part


def _unwrap(root: Any) -> None:
    """Take text out of the elements around it into which python-docx does not look."""
    from docx.oxml.ns import qn
    from lxml import etree

    for control in root.xpath(_NO_CONTENT):
        control.getparent().remove(control)
    etree.strip_tags(root, *map(qn, _WRAPPERS))


def _tags(package: ZipFile, info: ZipInfo) -> int:
    with package.open(info) as member:
        return sum(block.count(b"<") for block in iter(partial(member.read, _BLOCK), b""))


def _paragraph(paragraph: Paragraph, styles: dict[str | None, str]) -> str:
    """`styles` are the names of those that were looked up before, by id: each time is a search among all."""
    style = styles.get(paragraph._p.style)
    if style is None:
        style = styles[paragraph._p.style] = (paragraph.style.name if paragraph.style else None) or ""
    text = paragraph.text.strip()
    if style == "Title":
        return f"# {text}" if text else ""
    kind, _, level = style.rpartition(" ")
    if kind == "Heading" and level.isdigit() and text:
        return f"{'#' * min(int(level), 6)} {text}"
    return f"- {text}" if style.startswith("List") and text else text


def _table(table: Table) -> str:
    """Rows of cells; a cell that goes over several rows stands in each, once, and one over several columns once."""
    rows = []
    above: dict[int, tuple[Any, str]] = {}
    for row in table._tbl.tr_lst:
        column, here = row.grid_before, {}
        cells: dict[Any, str] = {}
        for cell in row.tc_lst:
            goes_on = cell.vMerge == "continue" and column in above
            here[column] = first, text = above[column] if goes_on else (cell, _cell(cell))
            cells[first] = text
            column += max(cell.grid_span, 1)
        rows.append(" | ".join(cells.values()))
        above = here
    return "\n".join(rows)


def _cell(cell: CT_Tc) -> str:
    """The words of a cell, those of tables in it too."""
    paragraphs = cell.xpath(".//w:p[not(ancestor::w:txbxContent)]")
    return " ".join(" ".join(paragraph.text for paragraph in paragraphs).split())
