"""Reader of docx documents; its libraries are of the optional extra ``documents``."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_STORED, ZipFile

from ragscale.corpus.archive import open_zip
from ragscale.corpus.documents import DOCUMENT_LIMIT, Part, markdown_part
from ragscale.corpus.parsing import parsing, refuse_tags
from ragscale.corpus.source import Source
from ragscale.errors import BadDocument

if TYPE_CHECKING:
    from zipfile import ZipInfo

__all__ = ["docx_parts"]

_TAGS = 1_000_000
"""Most tags in a document: a minute, and one or two gigabytes of memory. Large manuals have half a million."""
_BLOCK = 1 << 18
_SIMPLE = re.compile(r"-?\w+(?:[.,]\w+)*")
_NAMESPACES = {
    "w": "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
    "m": "http://schemas.openxmlformats.org/officeDocument/2006/math",
}
_W, _M = (f"{{{name}}}" for name in _NAMESPACES.values())
_WRAPPERS = [f"{_W}{name}" for name in ("fldSimple", "customXml", "moveTo", "dir", "bdo")] + [f"{_M}oMathPara"]
"""Elements that wrap text, into which mammoth does not look."""
_NOT_TEXT = (
    # the hint in a control that nobody filled in, the table of contents, hidden text
    "//w:sdt[w:sdtPr/w:showingPlcHdr or w:sdtPr/w:docPartObj/w:docPartGallery/@w:val='Table of Contents']"
    " | //w:r[w:rPr/w:vanish[not(@w:val='0' or @w:val='false')]]"
)
_TEXTS = (b":document ", b":footnotes ", b":endnotes ")
"""Beginnings of the parts of a package that hold text."""
_STYLE_PARTS = (b":styles ", b":numbering ")
_LOOKS = (
    "//w:latentStyles | //w:docDefaults | //w:rPr | //w:pPr[not(w:numPr)] | //w:pPr/*[not(self::w:numPr)]"
    " | //w:style/*[not(self::w:name or self::w:pPr)]"
)
_RUBY = ("./w:rubyBase//w:t/text()", "./w:rt//w:t/text()")
_STYLES = """
p[style-name='Title'] => h1:fresh
p[style-name='Subtitle'] => p:fresh
p[style-name='Heading 7'] => h6:fresh
p[style-name='Heading 8'] => h6:fresh
p[style-name='Heading 9'] => h6:fresh
comment-reference =>
"""


def docx_parts(source: Source) -> Iterator[Part]:
    """A docx file as Markdown: headings by their styles, lists, tables, notes, text boxes; no page headers or footers.

    It is read as if all tracked changes were accepted. Equations become one line (``10^6``, ``(a+b)/2``).

    Raises:
        BadDocument: Encrypted, damaged, or unpacking to too much.
        MissingDependency: mammoth, lxml or html-to-markdown is not installed.
    """
    with parsing(source, "docx"), source.seekable() as stream:
        import mammoth

        from ragscale.corpus.markup import markdown_of, parsed

        with open_zip(source, stream, "docx") as package:
            size = sum(info.file_size for info in package.infolist() if info.filename.endswith(".xml"))
            if size > DOCUMENT_LIMIT:
                reason = f"holds {size:,} bytes of XML, the limit is {DOCUMENT_LIMIT:,}"
                raise BadDocument(source.place, reason, "Split it into several files.")
            # of all members, as its own directory says which of them are XML
            refuse_tags(sum(_tags(package, info) for info in package.infolist()), _TAGS, source)
            title, prepared = _title(package), _prepared(package)
        made = mammoth.convert_to_html(prepared, style_map=_STYLES, convert_image=lambda image: [])
        root = parsed(made.value, source.place)
        for link in root.xpath("//a[starts-with(@href, '#') and .='\u2191']") if root is not None else ():
            link.drop_tree()  # from a note back to its mark
        text = markdown_of(root, source.place, DOCUMENT_LIMIT) if root is not None else ""
        part = markdown_part(source, text, title)
    yield part


def _tags(package: ZipFile, info: ZipInfo) -> int:
    with package.open(info) as member:
        return sum(block.count(b"<") for block in iter(partial(member.read, _BLOCK), b""))


def _title(package: ZipFile) -> str:
    if "docProps/core.xml" not in package.namelist():
        return ""
    return _tree(package.read("docProps/core.xml")).findtext("{http://purl.org/dc/elements/1.1/}title") or ""


def _tree(data: bytes) -> Any:
    from lxml import etree

    return etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True))


def _prepared(package: ZipFile) -> io.BytesIO:
    """The document without what is no text, and with what mammoth passes over as text."""
    from lxml import etree

    copy = io.BytesIO()
    with ZipFile(copy, "w", ZIP_STORED) as made:
        for info in package.infolist():
            if not info.filename.endswith((".xml", ".rels")):
                continue  # pictures and fonts
            data = package.read(info)
            texts, styles = (any(name in data for name in names) for names in (_TEXTS, _STYLE_PARTS))
            if info.filename.endswith(".xml") and (texts or styles):
                root = _tree(data)
                _prepare(root)
                if not texts:  # mammoth takes most of its time for what is none of its business
                    for element in root.xpath(_LOOKS, namespaces=_NAMESPACES):
                        element.getparent().remove(element)
                data = etree.tostring(root, encoding="utf-8", xml_declaration=True)
            made.writestr(info.filename, data)
    copy.seek(0)
    return copy


def _prepare(root: Any) -> None:
    from lxml import etree

    for element in root.xpath(_NOT_TEXT, namespaces=_NAMESPACES):
        element.getparent().remove(element)
    etree.strip_tags(root, *_WRAPPERS)
    for element in list(root.iter(f"{_M}oMath")):
        _become_run(element, _line(element))
    for element in list(root.iter(f"{_W}ruby")):  # characters with their reading above
        base, above = ("".join(element.xpath(path, namespaces=_NAMESPACES)) for path in _RUBY)
        _become_run(element, f"{base}({above})" if above else base, run=False)


def _become_run(element: Any, text: str, *, run: bool = True) -> None:
    from lxml import etree

    for child in list(element):
        element.remove(child)
    element.text = None
    inner = etree.SubElement(element, f"{_W}t") if run else element
    element.tag, inner.tag = (f"{_W}r", f"{_W}t") if run else (f"{_W}t", f"{_W}t")
    inner.text = text


def _line(element: Any) -> str:
    """An equation on one line."""
    tag = element.tag.removeprefix(_M)
    if tag == "t":
        return element.text or ""
    parts = [_line(child) for child in element if isinstance(child.tag, str) and child.tag.startswith(_M)]
    if tag in ("sup", "sub"):
        return ("^" if tag == "sup" else "_") + _grouped("".join(parts))
    if tag == "f":
        return "/".join(_grouped(part) for part in parts if part)
    if tag == "rad":
        return f"\u221a{_grouped(parts[-1] if parts else '')}"  # the sign of a root
    if tag == "d":
        return f"({', '.join(parts)})"
    return (" " if tag == "mr" else "").join(parts)


def _grouped(text: str) -> str:
    return text if _SIMPLE.fullmatch(text) else f"({text})"
