"""Hostile html, docx and pdf files against their text as a person reads it: words, numbers, names, order."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from made import passages, zipped
from test_bounds import FONT, cell, pdf_of, table
from test_formats import docx_of, run, written

from ragscale.corpus import Chunking

HTML = {
    "exponents": (
        "<p>10<sup>6</sup> people, 10<sup>\u22123</sup> m, 5 m<sup>2</sup>, x<sup>n+1</sup>, "
        "2<sup>10<sup>3</sup></sup>",
        "10^6 people, 10^\u22123 m, 5 m^2, x^(n+1), 2^(10^3)",
    ),
    "raised letters": (
        "<p>the 21<sup>st</sup> of the XIX<sup>e</sup> siècle, <sup>14</sup>C, Mac<sup>®</sup>",
        "the 21st of the XIXe siècle, 14C, Mac®",
    ),
    "marks of notes": (
        '<p>in 1990<sup><a href="#n2">2</a></sup> and 1991<a href="#n3"><sup>[3]</sup></a>',
        "in 1990[2] and 1991[3]",
    ),
    "lowered text": ("<p>H<sub>2</sub>O, x<sub>i</sub>, 101<sub>2</sub> is five", "H2O, xi, 101_2 is five"),
    "fractions": (
        "<p>3<sup>1</sup>/<sub>2</sub> cups, <sup>2</sup>\u2044<sub>3</sub> of it",
        "3 1/2 cups, 2\u20443 of it",
    ),
    "mathml": (
        "<p><math><mn>3</mn><mfrac><mn>1</mn><mn>2</mn></mfrac></math> of "
        "<math><msup><mn>10</mn><mn>6</mn></msup></math>",
        "3 1/2 of 10^6",
    ),
    "bold spaces": ("<p>Hello<b> </b>world, <i>two </i>words", "Hello world, *two* words"),
    "marks within words": ("<p><b>O</b>nce, H<i>2</i>O, sub<b>mar</b>ine", "Once, H2O, submarine"),
    "words that may break": ("<p>inter<wbr>national and inter&shy;national", "international and international"),
    "summary": (
        "<details><summary>Warranty</summary>Covers parts</details>",
        "**Warranty**\n\nCovers parts",
    ),
    "boxes without paragraphs": (
        "<fieldset><legend>Pay</legend>by card</fieldset><address>Box 5</address>Town<center>End</center>",
        "**Pay**\n\nby card\n\nBox 5\n\nTown\n\nEnd",
    ),
    "blocks by style": (
        "<span style='display:block'>one</span><span style='Display : flex'>two</span>three",
        "one\n\ntwo\n\nthree",
    ),
    "hidden": (
        "<p>1<span style='display:none'>5</span>7 units</p><p hidden>gone</p><div style='display: none'>off</div>",
        "17 units",
    ),
    "two main parts": ("<div>ads</div><main>First</main><div>ads</div><main><p>Second</main>", "First\n\nSecond"),
    "a main part in another": ("<main>one<div role=main>two</div></main>", "one\n\ntwo"),
    "rows that go on": (
        "<table><tr><th>Name<th>Found<tr><td rowspan=2>Wollaston<td>palladium<tr><td>rhodium"
        "<tr><td rowspan=0>Tennant<td>osmium<tr><td>iridium</table>",
        "| Name | Found |\n| --- | --- |\n| Wollaston | palladium |\n| Wollaston | rhodium |\n"
        "| Tennant | osmium |\n| Tennant | iridium |",
    ),
    "headers in two rows": (
        "<table><thead><tr><th rowspan=2>City<th colspan=2>People<tr><th>1990<th>2000"
        "<tbody><tr><td>Oslo<td>1<td>2</table>",
        "| City | People 1990 | People 2000 |\n| --- | --- | --- |\n| Oslo | 1 | 2 |",
    ),
    "columns that go on": (
        "<table><tr><th>Year<th>Jan<th>Feb<tr><td>1990<td colspan=2>none<tr><td>1991<td>1<td>2</table>",
        "| Year | Jan | Feb |\n| --- | --- | --- |\n| 1990 | none |  |\n| 1991 | 1 | 2 |",
    ),
    "cells of several lines": (
        "<table><tr><th>op<th>is<tr><td>a|b<br>c<td><p>or</p><p>and</p><ul><li>1<li>2</ul></table>",
        "| op | is |\n| --- | --- |\n| a\\|b c | or and 1 2 |",
    ),
    "a foot before the body": (
        "<table><caption>Sums</caption><thead><tr><th>a<th>b<tfoot><tr><td>all<td>3<tbody><tr><td>x<td>3</table>",
        "Sums\n\n| a | b |\n| --- | --- |\n| x | 3 |\n| all | 3 |",
    ),
    "tables for the looks": (
        "<table><tr><td><h2>Head</h2>left<td><table><tr><th>k<th>v<tr><td>1<td>2</table></table>",
        "## Head\n\nleft\n\n| k | v |\n| --- | --- |\n| 1 | 2 |",
    ),
    "numbers of items": (
        "<ol start=5><li>five</ol><ol><li value=10>ten<li>eleven</ol><ol reversed><li>two<li>one</ol>"
        "<ol type=a><li>x</ol><ol type=i start=4><li>y</ol>",
        "5. five\n\n- 10. ten\n- 11. eleven\n\n- 2. two\n- 1. one\n\n- a. x\n\n- iv. y",
    ),
    "paragraphs with numbers": ("<p>1. Scope</p><p>2) Terms</p><p>- 5 °C</p>", "1. Scope\n\n2) Terms\n\n- 5 °C"),
    "text that looks like a heading": ("<p># of units: 5", "\\# of units: 5"),
    "readings and quotes": (
        "<p><ruby>漢<rp>(</rp><rt>kan</rt><rp>)</rp></ruby>字 <q>yes</q>",
        '漢(kan)字 "yes"',
    ),
    "pictures of text": (
        '<p>if <img class="mwe-math-fallback-image-inline" alt="x^2"> is<img src=a.png>small',
        "if x^2 is small",
    ),
    "nothing raised, bold bases, roots": (
        "<p>a<sup></sup>b, <b>10</b><sup>6</sup>, <math><mi>x</mi><msqrt><mn>2</mn></msqrt></math>",
        "ab, 10^6, x\u221a2",
    ),
    "cells without a table": ("<tr><td>a<td>b", "a\n\nb"),
    "words parted by boxes": ("<p>from<input value=5>to<svg><text>x</text></svg>end", "from to end"),
    "labels of controls": (
        "<label>Size</label><select><option>S<option>M</select><button>Buy</button> big",
        "Size big",
    ),
}


@pytest.mark.parametrize("name", HTML)
def test_html(tmp_path: Path, name: str) -> None:
    page, text = HTML[name]
    (found,) = passages(written(tmp_path, "a.html", f"<!doctype html><title>t</title><body>{page}".encode()))
    assert found.text == text


def styled(text: str, property: str) -> str:
    """A run in docx with one property."""
    return f"<w:r><w:rPr><w:{property}/></w:rPr><w:t>{text}</w:t></w:r>"


def paragraph(*runs: str, style: str = "") -> str:
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{properties}{''.join(runs)}</w:p>"


MATH = 'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
RAISED = 'vertAlign w:val="superscript"'
BOX = (
    '<w:r><mc:AlternateContent xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006">{}{}'
    "</mc:AlternateContent></w:r>"
)
START, GOES_ON = '<w:vMerge w:val="restart"/>', "<w:vMerge/>"


def equation(inner: str) -> str:
    return f"<m:oMath {MATH}>{inner}</m:oMath>"


def sign(text: str) -> str:
    return f"<m:r><m:t>{text}</m:t></m:r>"


def boxed(text: str) -> str:
    """A text box, which Word writes twice: for itself, and for older programs."""
    content = f"<w:txbxContent>{run(text, 'p')}</w:txbxContent>"
    shape = '<v:shape xmlns:v="urn:schemas-microsoft-com:vml"><v:textbox>{}</v:textbox></v:shape>'
    other = f'<mc:Choice Requires="wps"><w:drawing>{content}</w:drawing></mc:Choice>'
    return BOX.format(other, f"<mc:Fallback><w:pict>{shape.format(content)}</w:pict></mc:Fallback>")


DOCX = {
    "exponents": (
        [paragraph(run("10"), styled("6", RAISED), run(" people, the 21"), styled("st", RAISED))],
        "10^6 people, the 21st",
    ),
    "rows that go on": (
        [
            table(
                cell("Name") + cell("Found"),
                cell("Wollaston", START) + cell("palladium"),
                cell("", GOES_ON) + cell("rhodium"),
            )
        ],
        "| Name | Found |\n| --- | --- |\n| Wollaston | palladium |\n| Wollaston | rhodium |",
    ),
    "paragraphs in a cell": (
        [table(f"<w:tc>{run('one', 'p')}{run('two', 'p')}</w:tc>{cell('x')}")],
        "| one two | x |\n| --- | --- |",
    ),
    "words in pieces": (
        [paragraph(run("inter"), styled("nat", "b"), "<w:r><w:lastRenderedPageBreak/><w:t>ional</w:t></w:r>")],
        "international",
    ),
    "bold spaces": (
        [paragraph(run("Hello"), styled(" ", "b").replace("<w:t>", '<w:t xml:space="preserve">'), run("world"))],
        "Hello world",
    ),
    "hidden text": ([paragraph(run("1"), styled("5", "vanish"), run("7 units"))], "17 units"),
    "hyphens": (
        [paragraph("<w:r><w:t>inter</w:t><w:softHyphen/><w:t>national</w:t></w:r>")],
        "international",
    ),
    "fields": (
        [
            paragraph(
                '<w:r><w:fldChar w:fldCharType="begin"/><w:instrText> PAGEREF x </w:instrText>'
                '<w:fldChar w:fldCharType="separate"/></w:r>',
                run("12"),
                '<w:r><w:fldChar w:fldCharType="end"/></w:r>',
                f'<w:fldSimple w:instr="NUMPAGES">{run(" of 30")}</w:fldSimple>',
            )
        ],
        "12 of 30",
    ),
    "text boxes": ([paragraph(boxed("in the box"), run("beside"))], "beside\n\nin the box"),
    "equations": (
        [
            paragraph(
                run("E = "),
                equation(f"<m:sSup><m:e>{sign('10')}</m:e><m:sup>{sign('6')}</m:sup></m:sSup>"),
                run(" J or "),
                equation(f"<m:f><m:num>{sign('a+b')}</m:num><m:den>{sign('2')}</m:den></m:f>"),
            )
        ],
        "E = 10^6 J or (a+b)/2",
    ),
    "numbered items": (
        [paragraph(run("first"), style="ListNumber"), paragraph(run("second"), style="ListNumber")],
        "1. first\n2. second",
    ),
    "readings": (
        [
            paragraph(
                f"<w:r><w:ruby><w:rt>{run('kan')}</w:rt><w:rubyBase>{run('漢')}</w:rubyBase></w:ruby></w:r>", run("字")
            )
        ],
        "漢(kan)字",
    ),
    "rows and paragraphs that were deleted": (
        [
            f"<w:p><w:pPr><w:rPr><w:del/></w:rPr></w:pPr>{run('one ')}</w:p>",
            run("two", "p"),
            table(f"<w:trPr><w:del/></w:trPr>{cell('gone')}{cell('too')}", cell("a") + cell("b")),
        ],
        "one two\n\n| a | b |\n| --- | --- |",
    ),
}


@pytest.mark.parametrize("name", DOCX)
def test_docx(tmp_path: Path, name: str) -> None:
    blocks, text = DOCX[name]
    (found,) = passages(written(tmp_path, "a.docx", docx_of(*blocks)))
    assert found.text == text


def at(x: float, y: float, text: bytes, size: float = 12) -> bytes:
    """Operators that show a text at a point of a page."""
    return b"/F %g Tf 1 0 0 1 %g %g Tm (%s) Tj " % (size, x, y, text)


def lines(*texts: bytes) -> bytes:
    return b"".join(at(50, 700 - 14 * n, text) for n, text in enumerate(texts))


def page(content: bytes, font: bytes = FONT) -> bytes:
    """A pdf file of one page."""
    whole = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Resources<</Font<</F 3 0 R>>>>/Contents 4 0 R>>"
    shown = b"BT " + content + b" ET"
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Count 1/Kids[5 0 R]>>", font]
    return pdf_of([*objects, b"<</Length %d>>stream\n%s\nendstream" % (len(shown), shown), whole])


LATIN = FONT.replace(b">>", b"/Encoding/WinAnsiEncoding>>")
LIGATURE = FONT.replace(b">>", b"/Encoding<</Type/Encoding/Differences[1/ffi]>>>>")
PDF = {
    "words broken at the ends of lines": (
        page(lines(b"The inter-", b"national in-", b"ter-", b"planetary office")),
        "The international interplanetary office",
    ),
    "soft hyphens": (page(lines(b"inter\xad", b"national"), LATIN), "international"),
    "hyphens that stay": (
        page(
            lines(
                b"A well-known man, a well-", b"known dog, the Jean-", b"Paul school, COVID-", b"19 and 1990-", b"2000."
            )
        ),
        "A well-known man, a well-known dog, the Jean-Paul school, COVID-19 and 1990-2000.",
    ),
    "dashes and lists": (page(lines(b"He paused -", b"then left.", b"- item")), "He paused -\nthen left.\n- item"),
    "exponents": (
        page(
            at(50, 700, b"10")
            + at(63.5, 705, b"6", 7)
            + at(68, 700, b" J, 10")
            + at(103, 705, b"-3", 7)
            + at(111, 700, b" m")
        ),
        "10^6 J, 10^-3 m",
    ),
    "marks of notes": (
        page(at(50, 700, b"in 1990.") + at(95, 705, b"12", 7) + at(104, 700, b"Then")),
        "in 1990.^12 Then",
    ),
    "lowered numbers": (page(at(50, 700, b"H") + at(58.7, 697, b"2", 7) + at(62.7, 700, b"O")), "H2O"),
    "words one by one": (
        page(at(50, 700, b"Hello") + at(83, 700, b"world") + at(120, 700, b"again")),
        "Hello world again",
    ),
    "letters moved together and apart": (
        page(b"/F 12 Tf 1 0 0 1 50 700 Tm [(W)80(ater)-300(flows)-250(3)-50(.)-50(14)] TJ"),
        "Water flows 3.14",
    ),
    "bold in two layers": (page(at(50, 700, b"bold") + at(50.3, 700, b"bold")), "bold"),
    "two columns": (
        page(lines(b"left one", b"left two") + at(320, 700, b"right one") + at(320, 686, b"right two")),
        "left one\nleft two\nright one\nright two",
    ),
    "ligatures": (page(lines(b"o\\001ce"), LIGATURE), "office"),
    "text on its side": (page(b"/F 12 Tf 0 1 -1 0 100 100 Tm (Sideways text) Tj"), "Sideways text"),
}


@pytest.mark.parametrize("name", PDF)
def test_pdf(tmp_path: Path, name: str) -> None:
    data, text = PDF[name]
    (found,) = passages(written(tmp_path, "a.pdf", data))
    assert found.text == text


def test_notes_of_a_docx(tmp_path: Path) -> None:
    """They stand at its end, under the numbers in the text."""
    note = '<w:r><w:footnoteReference w:id="2"/></w:r>'
    with zipfile.ZipFile(io.BytesIO(docx_of(paragraph(run("In 1990"), note, run(" he"))))) as package:
        parts = {name: package.read(name) for name in package.namelist()}
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml"
    part = f'<Override PartName="/word/footnotes.xml" ContentType="{kind}"/></Types>'
    parts["[Content_Types].xml"] = parts["[Content_Types].xml"].replace(b"</Types>", part.encode())
    names = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    text = paragraph(run("Some say 199"), styled("1", RAISED))
    parts["word/footnotes.xml"] = (
        f'<w:footnotes {names}><w:footnote w:id="2">{text}</w:footnote></w:footnotes>'.encode()
    )
    (found,) = passages(written(tmp_path, "a.docx", zipped(parts)))
    assert found.text == "In 1990[1] he\n\n1. Some say 199^1"


def test_headings_of_a_docx_and_its_title(tmp_path: Path) -> None:
    blocks = [paragraph(run(text), style=style) for text, style in (("Pumps", "Title"), ("Use", "Heading1"), ("x", ""))]
    found = passages(written(tmp_path, "a.docx", docx_of(*blocks)), chunking=Chunking(by="headings"))
    assert [(p.title, p.text) for p in found] == [("Use", "# Pumps\n\nx")]
