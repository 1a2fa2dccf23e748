"""Reader of html pages; its libraries are of the optional extra ``documents``."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ragscale.corpus.documents import DOCUMENT_LIMIT, Part, markdown_part
from ragscale.corpus.encoding import marked, refuse_nul
from ragscale.corpus.parsing import parsing, refuse_tags
from ragscale.corpus.source import Source
from ragscale.errors import BadDocument

__all__ = ["html_parts"]

_TAGS = 2_000_000
"""Most tags in a page: a gigabyte of memory. Large manuals have half a million."""
_HEAD = 4096
"""Bytes in which an encoding is declared; the web looks at 1,024."""
_DECLARED = re.compile(
    rb"""<\?xml\b[^>]*?\bencoding\s*=\s*["']?([\w.:-]+)|<meta\b[^>]*?\bcharset\s*=\s*["']?\s*([\w.:-]+)""",
    re.IGNORECASE,
)
_XML = re.compile(r"\A\s*<\?xml[^>]*>")  # of xhtml; would be taken for text


def html_parts(source: Source) -> Iterator[Part]:
    """An html page as Markdown; see `markdown_of` for what is kept of it.

    Raises:
        BadDocument: Bytes that are not in the encoding that the page declares (UTF-8 where it declares none).
        MissingDependency: lxml or html-to-markdown is not installed.
    """
    with parsing(source, "html"):
        from ragscale.corpus.markup import markdown_of, parsed

        text = _XML.sub("", _decoded(source), count=1)
        refuse_tags(text.count("<"), _TAGS, source)
        root = parsed(text, source.place)
        # drawings have titles, too
        title = next(iter(root.xpath("//title[not(ancestor::svg)]/text()")), "") if root is not None else ""
        body = markdown_of(root, source.place, DOCUMENT_LIMIT) if root is not None else ""
        part = markdown_part(source, body, title)
    yield part


def _codec(declared: str) -> str:
    """Python's name of an encoding as the web reads it: ``ascii`` is cp1252, ``gb2312`` is gb18030."""
    import webencodings

    found = webencodings.lookup(declared) or webencodings.lookup(declared.replace("-", ""))
    codec = str(found.codec_info.name) if found else declared
    return "gb18030" if codec == "gbk" else codec


def _decoded(source: Source) -> str:
    data = source.read(DOCUMENT_LIMIT)
    mark, length = marked(data)
    data = data[length:]
    declared = next(
        ((found[1] or found[2]).decode() for found in (_DECLARED.search(data[:_HEAD]),) if found), "utf-8"
    ).lower()
    if declared.startswith(("utf-16", "utf16")):
        declared = "utf-8"  # as the web has it: what can be read byte by byte is not in UTF-16
    encoding = mark or declared
    codec = mark or _codec(declared)
    if not mark:
        refuse_nul(data, source.place)
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
