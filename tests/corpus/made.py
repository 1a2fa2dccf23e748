"""Small corpora of every kind, made for the tests."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ragscale.corpus import Chunking, Columns, FieldTypes, Problems, read
from ragscale.errors import CorpusError
from ragscale.types import Passage

GUIDE = "intro\n\n# Guide\n\nwelcome\n\n## Install\n\nrun pip\n\n```\n# no heading\n```\n\n## Use\n\ncall it\n"


def passages(
    *corpora: Path | str,
    chunking: Chunking | None = None,
    columns: Columns | None = None,
    fields: FieldTypes | None = None,
    problems: Problems | None = None,
) -> list[Passage]:
    """All passages of some corpora."""
    records = read(corpora, chunking, columns=columns, fields=fields, problems=problems)
    return [record.passage for record in records]


def complaint(path: Path, problems: Problems | None = None) -> str:
    """Error of reading a corpus; empty where there is none."""
    try:
        passages(path, problems=problems)
    except CorpusError as error:
        return str(error)
    return ""


def jsonl(rows: Sequence[Mapping[str, Any]]) -> bytes:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


def pdf(pages: Sequence[str], title: str = "") -> bytes:
    """A pdf file with a page of text for each string; an empty one has a drawing instead."""
    from fpdf import FPDF

    made = FPDF()
    made.set_font("helvetica", size=12)
    if title:
        made.set_title(title)
    for text in pages:
        made.add_page()
        if text:
            made.multi_cell(0, 10, text)
        else:
            made.rect(20, 20, 50, 50, style="F")
    return bytes(made.output())


def docx(title: str = "") -> bytes:
    """A docx file with headings, a list and a table with a merged cell."""
    import docx as library

    made = library.Document()
    made.core_properties.title = title
    made.add_paragraph("before all")
    made.add_heading("Guide", level=1)
    made.add_paragraph("welcome")
    made.add_heading("Install", level=2)
    made.add_paragraph("first step", style="List Bullet")
    made.add_paragraph("")
    table = made.add_table(rows=2, cols=2)
    for at, text in enumerate(["name", "value", "both"]):
        table.cell(at // 2, at % 2).text = text
    table.cell(1, 0).merge(table.cell(1, 1))
    buffer = io.BytesIO()
    made.save(buffer)
    return buffer.getvalue()


def zipped(members: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()
