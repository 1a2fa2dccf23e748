"""Reader of docx documents; its libraries are of the optional extra ``documents``."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_STORED, ZipFile

from ragscale.corpus.archive import open_zip
from ragscale.corpus.documents import DOCUMENT_LIMIT, Part, markdown_part
from ragscale.corpus.equations import gap, on_one_line
from ragscale.corpus.numbering import Numbering, value_at
from ragscale.corpus.parsing import parsing, refuse_tags
from ragscale.corpus.source import Source
from ragscale.errors import BadDocument

if TYPE_CHECKING:
    from zipfile import ZipInfo

__all__ = ["docx_parts"]

_TAGS = 1_000_000
"""Most tags in a document: a minute, and one or two gigabytes of memory. Large manuals have half a million."""
_BLOCK = 1 << 18
_HEADING = re.compile(r"heading ([1-9])", re.IGNORECASE)
_OUTLINE = "ragscale-outline-"
"""Beginning of the ids of styles for paragraphs that have a level of the outline of their own."""
_MOVED = 4
"""Half points above or below the line from which on text is an exponent or an index."""
_NAMESPACES = {
    "w": "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
    "m": "http://schemas.openxmlformats.org/officeDocument/2006/math",
}
_W, _M = (f"{{{name}}}" for name in _NAMESPACES.values())
_WRAPPERS = [f"{_W}{name}" for name in ("fldSimple", "customXml", "moveTo", "dir", "bdo")] + [f"{_M}oMathPara"]
"""Elements that wrap text, into which mammoth does not look."""
_NOT_TEXT = (
    # the hint in a control that nobody filled in, the table of contents, hidden text
    "//w:commentReference"
    " | //w:sdt[w:sdtPr/w:showingPlcHdr or w:sdtPr/w:docPartObj/w:docPartGallery/@w:val='Table of Contents']"
    " | //w:r[w:rPr/w:vanish[not(@w:val='0' or @w:val='false')]]"
)
_OPENS, _CLOSES = "\ue000", "\ue001"
"""Around the number of a paragraph, until it is known what becomes of the paragraph."""
_NUMBERED = re.compile(f"^{_OPENS}([^{_CLOSES}]*){_CLOSES}")
_PLAIN_NUMBER = re.compile(r"(0|[1-9][0-9]{0,8})[.)]?")
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
        if root is not None:
            _number(root)
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

    copy, styles = io.BytesIO(), _part(package, "/styles.xml")
    raised, numbering = _raised_styles(styles), Numbering(_part(package, "/numbering.xml"), styles)
    with ZipFile(copy, "w", ZIP_STORED) as made:
        for info in package.infolist():
            if not info.filename.endswith((".xml", ".rels")):
                continue  # pictures and fonts
            data = package.read(info)
            texts, styles = (any(name in data for name in names) for names in (_TEXTS, _STYLE_PARTS))
            if info.filename.endswith(".xml") and (texts or styles):
                root = _tree(data)
                _prepare(root, raised)
                if b":document " in data:
                    _write_numbers(root, numbering)
                if not texts:
                    _name_headings(root)  # mammoth takes most of its time for what is none of its business
                    for element in root.xpath(_LOOKS, namespaces=_NAMESPACES):
                        element.getparent().remove(element)
                data = etree.tostring(root, encoding="utf-8", xml_declaration=True)
            made.writestr(info.filename, data)
    copy.seek(0)
    return copy


def _part(package: ZipFile, end: str) -> Any:
    name = next((name for name in package.namelist() if name.endswith(end)), "")
    return _tree(package.read(name)) if name else None


def _write_numbers(document: Any, numbering: Numbering) -> None:
    """Write the number of each numbered paragraph before its text, between marks."""
    from lxml import etree

    for paragraph in document.iter(f"{_W}p"):
        label = numbering.label(paragraph)
        if label and next(paragraph.iter(f"{_W}t"), None) is not None:
            run = etree.Element(f"{_W}r")
            etree.SubElement(run, f"{_W}t").text = f"{_OPENS}{label}{_CLOSES}"
            paragraph.insert(int(paragraph.find("w:pPr", _NAMESPACES) is not None), run)


def _number(root: Any) -> None:
    """Give lists the numbers that were written into their items, and write those of other paragraphs as text."""
    for items in list(root.iter("ol")):
        own = items.xpath("./li")
        found = [_NUMBERED.match(item.text or "") for item in own]
        plain = [_PLAIN_NUMBER.fullmatch(mark[1]) if mark else None for mark in found]
        first = int(plain[0][1]) if plain and plain[0] else 0
        follow = all(number and int(number[1]) == first + at for at, number in enumerate(plain))
        if follow and next(items.iterancestors("td", "th"), None) is None:
            items.set("start", str(first))
            for item in own:
                item.text = _NUMBERED.sub("", item.text)
        elif any(found):
            items.tag = "ul"
    for element in root.iter():
        if element.text and element.text[0] == _OPENS:
            element.text = _NUMBERED.sub(r"\1 ", element.text)


def _raised_styles(styles: Any) -> dict[str, str]:
    """Styles of characters that raise or lower them: ids with ``superscript`` or ``subscript``."""
    found: dict[str, str] = {}
    for style in () if styles is None else styles.iter(f"{_W}style"):
        based = value_at(style, "w:basedOn")  # Word writes a style behind the one that it is based on
        kind = (
            value_at(style, "w:rPr/w:vertAlign") or _moved(value_at(style, "w:rPr/w:position")) or found.get(based, "")
        )
        if kind:
            found[style.get(f"{_W}styleId", "")] = kind
    return found


def _moved(position: str) -> str:
    points = int(position) if re.fullmatch(r"-?[0-9]{1,4}", position) else 0
    return "superscript" if points >= _MOVED else "subscript" if points <= -_MOVED else ""


def _name_headings(styles: Any) -> None:
    """Give styles of headings a name that mammoth knows: those with a level of the outline, or based on one of them."""
    from lxml import etree

    levels: dict[str, str] = {}
    for style in styles.iter(f"{_W}style"):
        name = style.find("w:name", _NAMESPACES)
        if style.get(f"{_W}type") != "paragraph" or name is None:
            continue
        known = _HEADING.fullmatch(name.get(f"{_W}val", ""))
        level = _outline(style) or (known[1] if known else levels.get(value_at(style, "w:basedOn"), ""))
        levels[style.get(f"{_W}styleId", "")] = level
        if level.isdigit() and not known:
            name.set(f"{_W}val", f"heading {level}")
    for level in range(1, 10) if styles.tag == f"{_W}styles" else ():
        added = etree.SubElement(styles, f"{_W}style", {f"{_W}type": "paragraph", f"{_W}styleId": f"{_OUTLINE}{level}"})
        etree.SubElement(added, f"{_W}name", {f"{_W}val": f"heading {level}"})


def _outline(element: Any) -> str:
    """Its level of the outline, from 1; ``body`` where it says that it has none, empty where it says nothing."""
    value = value_at(element, "w:pPr/w:outlineLvl")
    return "" if not value else str(int(value) + 1) if value in set("012345678") else "body"


def _prepare(root: Any, raised: Mapping[str, str]) -> None:
    from lxml import etree

    for element in root.xpath(_NOT_TEXT, namespaces=_NAMESPACES):
        element.getparent().remove(element)
    for properties in root.xpath("//w:r/w:rPr[(w:rStyle or w:position) and not(w:vertAlign)]", namespaces=_NAMESPACES):
        kind = _moved(value_at(properties, "w:position")) or raised.get(value_at(properties, "w:rStyle"))
        if kind:
            etree.SubElement(properties, f"{_W}vertAlign", {f"{_W}val": kind})
    for stop in list(root.iter(f"{_W}br", f"{_W}cr", f"{_W}ptab")):  # ends of pages and columns too
        stop.tag = f"{_W}tab" if stop.tag == f"{_W}ptab" else f"{_W}br"
        stop.attrib.clear()
    for skipped in root.xpath("//w:tr/w:trPr/w:gridBefore", namespaces=_NAMESPACES):
        cell = etree.Element(f"{_W}tc")
        span = etree.SubElement(etree.SubElement(cell, f"{_W}tcPr"), f"{_W}gridSpan")
        span.set(f"{_W}val", skipped.get(f"{_W}val", "1"))
        etree.SubElement(cell, f"{_W}p")
        skipped.getparent().addnext(cell)
    for paragraph in root.xpath("//w:p[w:pPr/w:outlineLvl][not(ancestor::w:tbl)]", namespaces=_NAMESPACES):
        level, properties = _outline(paragraph), paragraph.find("w:pPr", _NAMESPACES)
        if level.isdigit():
            for style in properties.findall("w:pStyle", _NAMESPACES):
                properties.remove(style)
            properties.insert(0, etree.Element(f"{_W}pStyle", {f"{_W}val": f"{_OUTLINE}{level}"}))
    for large in root.xpath(
        "//w:p[w:pPr/w:framePr[@w:dropCap]]", namespaces=_NAMESPACES
    ):  # the first letter of the next
        follows = large.getnext()
        if follows is not None and follows.tag == large.tag:
            at = int(follows.find("w:pPr", _NAMESPACES) is not None)
            follows[at:at] = [part for part in large if part.tag != f"{_W}pPr"]
            large.getparent().remove(large)
    etree.strip_tags(root, *_WRAPPERS)
    for element in list(root.iter(f"{_M}oMath")):
        line = on_one_line(element)
        beside = (element.getprevious(), element.getnext())
        before, after = ("" if run is None else "".join(run.itertext()) for run in beside)
        _become_run(element, f"{gap(before, line)}{line}{gap(line, after)}")
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
