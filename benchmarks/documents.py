"""Libraries that read html, docx and pdf, on the hostile files of `tests/corpus/test_as_read.py`, in one run.

Each library is called as its documentation says, with its defaults. A case is right where the words of what it gives
are, in their order, those that a person reads there; marks of Markdown, spaces and line ends do not count, so that a
library without headings and tables loses nothing by that. *ragscale* is the reader of this package: its library, and
what is put right around it. Milliseconds are those of the processor, the least of some runs; the files are small, so
it is mostly what a call costs.

Libraries that are not installed are named and left out. Beside this package's own extras and tests, in an environment
of their own:

    pip install '.[documents,dev]' trafilatura html2text inscriptis html-text selectolax beautifulsoup4 markdownify \
        resiliparse docx2python docx2txt pypdfium2 pdfminer.six pdfplumber pymupdf
    python benchmarks/documents.py --wrong
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import io
import json
import os
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Convert = Callable[[bytes], str]
"""The text of a file, as a library reads it."""
Cases = Mapping[str, tuple[bytes, str]]
"""Files with their texts as a person reads them, by name."""

_RULE = re.compile(r"^[\s|:+=-]*---[\s|:+=-]*$", re.MULTILINE)
_PICTURE = re.compile(r"!\[([^\]]*)\]\([^()]*\)")
_LINK = re.compile(r"\]\([^()\s]*\)")
_MARKS = re.compile(r"\\(?=[^\w\s])|[*|`]")
_BULLET = re.compile(r"[-+#>\u2022]+")
_SMALL = str.maketrans("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079", "0123456789")
_RAISED = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+")
_ALIKE = {
    **str.maketrans("\u201c\u201d", '""', "\u00ad\u200b"),
    **str.maketrans("\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089", "0123456789"),
}


@dataclass(frozen=True)
class Result:
    """A library on the cases of a kind."""

    kind: str
    library: str
    version: str
    right: int
    cases: int
    seconds: float
    wrong: list[str]
    """Names of the cases that it got wrong."""


def main() -> None:
    """Run all libraries that are there, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", default="html,docx,pdf", help="which (default: html,docx,pdf)")
    parser.add_argument("--runs", type=int, default=3, help="runs of the clock; the least counts (default: 3)")
    parser.add_argument("--wrong", action="store_true", help="name the cases that are wrong")
    parser.add_argument("--show", metavar="LIBRARY", help="print what one gives for the cases that it gets wrong")
    parser.add_argument("--json", action="store_true", help="for a machine")
    options = parser.parse_args()
    results: list[Result] = []
    for kind in options.kinds.split(","):
        cases = CASES[kind]()
        for library, (package, make) in LIBRARIES[kind].items():
            try:
                convert = make()
            except ImportError as error:
                print(f"{kind}: {library} is not installed ({error}), left out", file=sys.stderr)
                continue
            version = importlib.metadata.version(package) if package else "as it is here"
            results.append(measured(kind, library, version, convert, cases, options.runs))
            if library == options.show:
                show(convert, cases, results[-1].wrong)
    if options.json:
        print(json.dumps([asdict(one) for one in results], indent=1))
        return
    print("| kind | library | version | right | ms a file |\n| --- | --- | --- | --- | --- |")
    for one in results:
        each = 1_000 * one.seconds / one.cases
        print(f"| {one.kind} | {one.library} | {one.version} | {one.right} of {one.cases} | {each:.1f} |")
    for one in results if options.wrong else ():
        print(f"\n{one.kind}, {one.library}: {'; '.join(one.wrong) or 'all right'}")


def measured(kind: str, library: str, version: str, convert: Convert, cases: Cases, runs: int) -> Result:
    """A library on all cases; what raises is wrong."""
    wrong = [name for name, (data, text) in cases.items() if words(quietly(convert, data)) != words(text)]
    took = []
    for _ in range(runs):
        begun = time.process_time()
        for data, _text in cases.values():
            quietly(convert, data)
        took.append(time.process_time() - begun)
    return Result(kind, library, version, len(cases) - len(wrong), len(cases), min(took), wrong)


def show(convert: Convert, cases: Cases, names: Sequence[str]) -> None:
    """Print what a library gives beside what is there."""
    for name in names:
        print(f"--- {name}\n{words(quietly(convert, cases[name][0]))}\n{words(cases[name][1])}")


def quietly(convert: Convert, data: bytes) -> str:
    """Text that a library makes, without its prints; the error's name where it raises."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        try:
            return convert(data)
        except Exception as error:
            return f"({type(error).__name__})"


def words(text: str) -> list[str]:
    """The words of a text in their order, without marks of Markdown; soft hyphens and shapes of quotation marks."""
    text = _PICTURE.sub(r" \1 ", _RULE.sub(" ", text)).translate(_ALIKE)
    text = _MARKS.sub("", _LINK.sub("]", text)).replace("[[", "[").replace("]]", "]")
    text = _RAISED.sub(lambda found: f"^{found[0].translate(_SMALL)}", text)
    return [word for word in text.split() if not _BULLET.fullmatch(word)]


def html_cases() -> Cases:
    """Pages."""
    from test_as_read import HTML

    page = "<!doctype html><html><head><meta charset=utf-8></head><body>{}"
    return {name: (page.format(part).encode(), text) for name, (part, text) in HTML.items()}


def docx_cases() -> Cases:
    """Documents of Word."""
    from test_as_read import DOCX
    from test_formats import docx_of

    return {name: (docx_of(*blocks), text) for name, (blocks, text) in DOCX.items()}


def pdf_cases() -> Cases:
    """Pages of a pdf file."""
    from test_as_read import PDF

    return dict(PDF)


CASES = {"html": html_cases, "docx": docx_cases, "pdf": pdf_cases}


def here(kind: str) -> Callable[[], Convert]:
    """The reader of this package."""

    def make() -> Convert:
        from ragscale.corpus import read

        folder = tempfile.mkdtemp()

        def convert(data: bytes) -> str:
            path = Path(folder, f"a.{kind}")
            path.write_bytes(data)
            return "\n".join(record.passage.text for record in read([path]))

        return convert

    return make


def markdown_of_html() -> Convert:
    """html-to-markdown."""
    from html_to_markdown import convert

    def text(data: bytes) -> str:
        found: Any = convert(data.decode())
        return str(getattr(found, "content", found))

    return text


def markdownify() -> Convert:
    """markdownify."""
    from markdownify import markdownify as convert

    return lambda data: str(convert(data.decode()))


def html2text() -> Convert:
    """html2text."""
    from html2text import HTML2Text

    return lambda data: str(HTML2Text(bodywidth=0).handle(data.decode()))


def trafilatura() -> Convert:
    """trafilatura."""
    from trafilatura import extract

    return lambda data: str(extract(data.decode(), output_format="markdown", favor_recall=True) or "")


def inscriptis() -> Convert:
    """inscriptis."""
    from inscriptis import get_text

    return lambda data: str(get_text(data.decode()))


def html_text() -> Convert:
    """html-text."""
    from html_text import extract_text

    return lambda data: str(extract_text(data.decode()))


def selectolax() -> Convert:
    """selectolax."""
    from selectolax.lexbor import LexborHTMLParser

    def convert(data: bytes) -> str:
        body = LexborHTMLParser(data.decode()).body
        return "" if body is None else str(body.text(separator=" "))

    return convert


def beautifulsoup() -> Convert:
    """BeautifulSoup."""
    from bs4 import BeautifulSoup

    return lambda data: str(BeautifulSoup(data.decode(), "lxml").body.get_text(" "))  # type: ignore[union-attr]


def resiliparse() -> Convert:
    """Resiliparse."""
    from resiliparse.extract.html2text import extract_plain_text

    return lambda data: str(extract_plain_text(data.decode()))


def mammoth() -> Convert:
    """mammoth, and html-to-markdown of its page."""
    import mammoth as library

    page = markdown_of_html()
    return lambda data: page(library.convert_to_html(io.BytesIO(data)).value.encode())


def python_docx() -> Convert:
    """python-docx: paragraphs and tables in their order."""
    import docx as library
    from docx.table import Table

    def convert(data: bytes) -> str:
        found = []
        for block in library.Document(io.BytesIO(data)).iter_inner_content():
            rows = block.rows if isinstance(block, Table) else ()
            found += [" | ".join(cell.text for cell in row.cells) for row in rows]
            found += [] if isinstance(block, Table) else [block.text]
        return "\n\n".join(found)

    return convert


def docx2python() -> Convert:
    """docx2python."""
    from docx2python import docx2python as library

    def convert(data: bytes) -> str:
        with library(io.BytesIO(data)) as found:
            return str(found.text)

    return convert


def docx2txt() -> Convert:
    """docx2txt."""
    from docx2txt import process

    return lambda data: str(process(io.BytesIO(data)))


def pypdf() -> Convert:
    """pypdf."""
    from pypdf import PdfReader

    return lambda data: "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(data)).pages)


def pypdfium2() -> Convert:
    """pypdfium2."""
    from pypdfium2 import PdfDocument

    return lambda data: "\n".join(page.get_textpage().get_text_bounded() for page in PdfDocument(data))


def pdfminer() -> Convert:
    """pdfminer.six."""
    from pdfminer.high_level import extract_text

    return lambda data: str(extract_text(io.BytesIO(data)))


def pdfplumber() -> Convert:
    """pdfplumber."""
    from pdfplumber import open as opened

    def convert(data: bytes) -> str:
        with opened(io.BytesIO(data)) as file:
            return "\n".join(page.extract_text() for page in file.pages)

    return convert


def pymupdf() -> Convert:
    """PyMuPDF."""
    from pymupdf import Document

    return lambda data: "\n".join(page.get_text() for page in Document(stream=data))


LIBRARIES: dict[str, dict[str, tuple[str, Callable[[], Convert]]]] = {
    "html": {
        "ragscale": ("", here("html")),
        "html-to-markdown": ("html-to-markdown", markdown_of_html),
        "markdownify": ("markdownify", markdownify),
        "html2text": ("html2text", html2text),
        "trafilatura": ("trafilatura", trafilatura),
        "inscriptis": ("inscriptis", inscriptis),
        "html-text": ("html-text", html_text),
        "selectolax": ("selectolax", selectolax),
        "BeautifulSoup": ("beautifulsoup4", beautifulsoup),
        "Resiliparse": ("resiliparse", resiliparse),
    },
    "docx": {
        "ragscale": ("", here("docx")),
        "mammoth + html-to-markdown": ("mammoth", mammoth),
        "python-docx": ("python-docx", python_docx),
        "docx2python": ("docx2python", docx2python),
        "docx2txt": ("docx2txt", docx2txt),
    },
    "pdf": {
        "ragscale": ("", here("pdf")),
        "pypdf": ("pypdf", pypdf),
        "pypdfium2": ("pypdfium2", pypdfium2),
        "pdfminer.six": ("pdfminer.six", pdfminer),
        "pdfplumber": ("pdfplumber", pdfplumber),
        "PyMuPDF": ("pymupdf", pymupdf),
    },
}
"""Libraries by the kind of file: the package that tells the version, and what makes its converter."""


if __name__ == "__main__":
    tests = Path(__file__).resolve().parent.parent / "tests"
    sys.path[:0] = [os.fspath(tests / "corpus"), os.fspath(tests)]
    main()
