"""html, pdf and docx: what is kept of them, and broken, encrypted and scanned ones."""

from __future__ import annotations

import builtins
import io
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made import complaint, docx, passages, pdf, zipped

from ragscale.corpus import Chunking, Problems
from ragscale.corpus.documents import DOCUMENT_LIMIT
from ragscale.errors import BadDocument, MissingDependency

PAGE = """<!doctype html><html><head><title>The
 page</title><style>p {}</style></head><body><nav>menu</nav><header>site name</header>
<h1>Guide<a class="headerlink" href="#guide">¶</a></h1><p>one <b>bold</b> <a href="/x">link</a> snake_case 2 * 3<p>two
<article><header><h2>Install &amp; run</h2></header><ul><li>x<li>y</ul>
<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>
<pre><code># no heading
  indented</code></pre></article><footer>imprint</footer><script>evil()</script></body></html>"""


def written(tmp_path: Path, name: str, data: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def test_html_is_its_text_with_headings(tmp_path: Path) -> None:
    (found,) = passages(written(tmp_path, "a.html", PAGE.encode()))
    assert found.title == "The page"
    assert found.text.startswith("# Guide\n\none **bold** link snake_case 2 * 3\n\ntwo")
    for kept in ("## Install & run", "- x\n- y", "| 1 | 2 |", "# no heading\n  indented"):
        assert kept in found.text
    for gone in ("menu", "site name", "imprint", "evil", "¶", "p {}", "/x"):
        assert gone not in found.text


def test_html_sections(tmp_path: Path) -> None:
    found = passages(written(tmp_path, "a.html", PAGE.encode()), chunking=Chunking(by="headings"))
    assert [p.title for p in found] == ["Guide", "Guide > Install & run"]


def test_html_of_a_page_with_a_main_part(tmp_path: Path) -> None:
    page = b"<title></title><div>ads</div><main><header><h1>Head</h1></header>text</main><div>more ads</div>"
    (found,) = passages(written(tmp_path, "a.html", page))
    assert (found.title, found.text) == ("Head", "# Head\n\ntext")


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<p>zażółć".encode(), "zażółć"),
        ('<meta charset="iso-8859-2"><p>zażółć'.encode("iso-8859-2"), "zażółć"),
        ('<meta charset="iso-8859-1"><p>“café”'.encode("cp1252"), "“café”"),
        ('<?xml version="1.0" encoding="windows-1251"?><p>да'.encode("cp1251"), "да"),
        ("<p>é".encode("utf-16"), "é"),
        ("<p>é".encode("utf-8-sig"), "é"),
        ('<meta charset="utf-16"><p>é'.encode(), "é"),
        ('<meta charset="UTF-16LE"><p>éé'.encode(), "éé"),
        ('<?xml version="1.0" encoding="utf16"?><p>é'.encode(), "é"),
        ('<meta charset="utf-16"><p>é'.encode("utf-16"), "é"),
        ('<meta charset="gb2312"><p>镕€'.encode("gb18030"), "镕€"),
        ('<meta charset="shift_jis"><p>①髙'.encode("cp932"), "①髙"),
        ('<meta charset="x-sjis"><p>①'.encode("cp932"), "①"),
        ('<meta charset="euc-kr"><p>똠방'.encode("cp949"), "똠방"),
        ('<meta charset="latin-1"><p>“'.encode("cp1252"), "“"),
        (b"<p>&#55357; &euro;", "\ufffd €"),
    ],
)
def test_html_in_the_encoding_that_it_declares(tmp_path: Path, page: bytes, text: str) -> None:
    (found,) = passages(written(tmp_path, "a.html", page))
    assert found.text == text


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (b"<p>caf\xe9", "invalid utf-8, byte 0xe9 at offset 6"),
        (b'<meta charset="klingon"><p>x', "unknown encoding 'klingon'"),
        (b'<meta charset="utf-8"><p>\xff', "invalid utf-8, byte 0xff"),
        (b"<nav>menu</nav>", "no text in it"),
        (b"", "no text in it"),
    ],
)
def test_bad_html(tmp_path: Path, page: bytes, message: str) -> None:
    with pytest.raises(BadDocument, match=rf"a\.html: {message}"):
        passages(written(tmp_path, "a.html", page))


def test_deep_html_loses_nothing_silently(tmp_path: Path) -> None:
    path = written(tmp_path, "a.html", b"<div>" * 20_000 + b"needle")
    message = complaint(path)
    assert "a.html" in message if message else "needle" in passages(path)[0].text


def test_pages_of_a_pdf(tmp_path: Path) -> None:
    path = written(tmp_path, "a.pdf", pdf(["First page.", "", "Third page. " * 30], title="A paper"))
    problems = Problems()
    found = passages(path, chunking=Chunking(200, 0), problems=problems)
    assert [(p.id, p.metadata["page"]) for p in found] == [("a.pdf#0", 1), ("a.pdf#1", 3), ("a.pdf#2", 3)]
    assert found[0].text == "First page."
    assert {(p.title, p.document, p.metadata["path"]) for p in found} == {("A paper", "a.pdf", "a.pdf")}
    assert problems.left_out == {"pdf pages without text": 1}


def encrypted(password: str, algorithm: str) -> bytes:
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf(["secret"]))))
    writer.encrypt(password, owner_password="owner", algorithm=algorithm)
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def test_encrypted_pdf(tmp_path: Path) -> None:
    with pytest.raises(BadDocument, match=r"a\.pdf: encrypted with a password.*qpdf"):
        passages(written(tmp_path, "a.pdf", encrypted("word", "RC4-128")))
    # protected against changes alone: anyone may read it
    assert passages(written(tmp_path, "a.pdf", encrypted("", "RC4-128")))[0].text == "secret"


def test_scanned_pdf_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadDocument, match=r"a\.pdf: no text on its 2 pages; it may be scanned.*ocrmypdf"):
        passages(written(tmp_path, "a.pdf", pdf(["", ""])))


def test_docx_is_its_text_with_headings(tmp_path: Path) -> None:
    path = written(tmp_path, "a.docx", docx())
    (found,) = passages(path)
    table = "| name | value |\n| --- | --- |\n| both |  |"
    text = f"before all\n\n# Guide\n\nwelcome\n\n## Install\n\n- first step\n\n{table}"
    assert (found.title, found.text) == ("Guide", text)
    assert [p.title for p in passages(path, chunking=Chunking(by="headings"))] == ["Guide", "Guide", "Guide > Install"]
    assert passages(written(tmp_path, "a.docx", docx("Manual")))[0].title == "Manual"


def run(text: str, *around: str) -> str:
    """A run of text in a docx file, within elements."""
    inner = f'<w:r><w:t xml:space="preserve">{text}</w:t></w:r>'
    for tag in reversed(around):
        inner = f"<w:{tag}>{inner}</w:{tag}>"
    return inner


def docx_of(*blocks: str) -> bytes:
    """A docx file whose body is these elements."""
    import docx as library
    from docx.oxml import parse_xml
    from docx.oxml.ns import nsdecls

    made = library.Document()
    body = parse_xml(f"<w:body {nsdecls('w')}>{''.join(blocks)}</w:body>")
    made.element.body.extend(list(body))
    buffer = io.BytesIO()
    made.save(buffer)
    return buffer.getvalue()


def test_docx_under_tracked_changes_is_as_if_all_were_accepted(tmp_path: Path) -> None:
    deleted = run("gone", "del").replace("w:t", "w:delText")
    pieces = run("kept, "), deleted, run("inserted, ", "ins"), f"<w:ins>{deleted}</w:ins>"
    moved = run("left", "moveFrom"), run("moved, ", "moveTo"), run("linked", "hyperlink", "ins")
    path = written(tmp_path, "a.docx", docx_of(f"<w:p>{''.join([*pieces, *moved])}</w:p>"))
    assert passages(path)[0].text == "kept, inserted, moved, linked"


def test_docx_in_content_controls_and_fields(tmp_path: Path) -> None:
    control = "<w:sdt><w:sdtPr>{}</w:sdtPr><w:sdtContent>{}</w:sdtContent></w:sdt>"
    contents = '<w:docPartObj><w:docPartGallery w:val="Table of Contents"/></w:docPartObj>'
    row = "<w:tr><w:tc>{}</w:tc></w:tr>"
    blocks = [
        control.format("", run("block", "p")),
        f"<w:p>{control.format('', run('inline '))}{run('field', 'fldSimple')}{run(' tag', 'smartTag')}</w:p>",
        f"<w:tbl>{control.format('', row.format(run('row', 'p')))}</w:tbl>",
        f"<w:p>{control.format('<w:showingPlcHdr/>', run('Click here'))}</w:p>",
        control.format(contents, run("1 Install ... 3", "p")),
    ]
    assert passages(written(tmp_path, "a.docx", docx_of(*blocks)))[0].text == "block\n\ninline field tag\n\nrow"


def test_docx_tables_in_tables(tmp_path: Path) -> None:
    table = "<w:tbl><w:tr><w:tc>{}</w:tc><w:tc>{}</w:tc></w:tr></w:tbl>"
    inner = table.format(run("in", "p"), run("ner", "p"))
    path = written(tmp_path, "a.docx", docx_of(table.format(run("outer", "p") + inner, run("next", "p"))))
    assert passages(path)[0].text == "outer\n\n| in | ner |\n| --- | --- |\n\nnext"


def test_docx_that_unpacks_to_too_much(tmp_path: Path) -> None:
    path = tmp_path / "a.docx"
    path.write_bytes(zipped({"word/document.xml": bytes(DOCUMENT_LIMIT + 1)}))
    with pytest.raises(
        BadDocument, match=r"a\.docx: holds 67,108,865 bytes of XML, the limit is 67,108,864\. Split it"
    ):
        passages(path)


@pytest.mark.parametrize("data", [b"", b"PK\3\4 broken", zipped({"a.txt": b"x"}), b"\xd0\xcf\x11\xe0 encrypted"])
def test_bad_docx(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BadDocument, match=r"a\.docx: (not a|damaged) docx"):
        passages(written(tmp_path, "a.docx", data))


MADE = {"a.pdf": pdf(["some page", "another"]), "a.docx": docx(), "a.html": PAGE.encode()}


@given(st.sampled_from(sorted(MADE)), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_no_damage_is_more_than_a_bad_document(tmp_path: Path, name: str, data: st.DataObject) -> None:
    whole = MADE[name]
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 8))):
        damaged[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    message = complaint(written(tmp_path, name, bytes(damaged[: data.draw(st.integers(0, len(whole)))])))
    assert not message or name in message


@pytest.mark.parametrize(("name", "library"), [("a.pdf", "pypdf"), ("a.docx", "mammoth"), ("a.html", "lxml")])
def test_missing_libraries_stop_even_what_keeps_going(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, library: str
) -> None:
    real = builtins.__import__

    def without(wanted: str, *rest: Any, **named: Any) -> Any:
        if wanted.partition(".")[0] == library:
            raise ModuleNotFoundError(f"No module named {library!r}", name=library)
        return real(wanted, *rest, **named)

    path = written(tmp_path, name, MADE[name])
    monkeypatch.delitem(sys.modules, "ragscale.corpus.markup", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependency, match=rf"{name}.* needs {library}.*pip install .*\[documents\]"):
        passages(path, problems=Problems(keep_going=True))
