"""Hostile html, docx and pdf files against their text as a person reads it: words, numbers, names, order."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import pytest
from docx import Document
from docx.oxml import parse_xml
from made import passages, pdf, zipped
from test_bounds import FONT, cell, pdf_of, table
from test_formats import docx_of, run, written

from ragscale.corpus import Chunking
from ragscale.corpus.numbering import numeral
from ragscale.corpus.splitters import split
from ragscale.errors import BadDocument

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
    "headers of rows, as in an infobox": (
        "<table><tr><th>Name<td>Wollaston<tr><th>Born<td>1766</table>",
        "|  |  |\n| --- | --- |\n| Name | Wollaston |\n| Born | 1766 |",
    ),
    "questions and answers": (
        f"<table><tr><td>May I?<td>{'You may. ' * 12}<tr><td>Is there a warranty?<td>Two years.</table>",
        f"|  |  |\n| --- | --- |\n| May I? | {('You may. ' * 12).strip()} |\n| Is there a warranty? | Two years. |",
    ),
    "headers that are not marked": (
        "<table><tr><td>Name<td>Born<tr><td>Wollaston<td>1766</table>",
        "| Name | Born |\n| --- | --- |\n| Wollaston | 1766 |",
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
    "forms": (
        "<form><h2>Rhodium</h2><p>found 1804</p><fieldset>by <label>Wollaston<input></label></fieldset></form>"
        "<header>Menu</header><div class=nav>kept</div>",
        "## Rhodium\n\nfound 1804\n\nby Wollaston\n\nkept",
    ),
    "buttons that are headings, dialogs that are open": (
        "<h3><button>Warranty</button></h3><button>Buy</button><dialog open>Read this</dialog>"
        "<dialog>not this</dialog>",
        "### Warranty\n\nRead this",
    ),
    "powers of a number": (
        "<p>O(2<sup>n</sup>), 10<sup>x</sup>, 7<sup>2</sup>5<sup>3</sup>, la 2<sup>e</sup>, 3<sup>rd</sup>",
        "O(2^n), 10^x, 7^2 5^3, la 2e, 3rd",
    ),
    "bases of logarithms": (
        "<p>log<sub>2</sub>32 = 5, log<sub>b</sub>x, log<sub>10</sub>(100), <sup>12</sup><sub>6</sub>C",
        "log_2 32 = 5, log_b x, log_10(100), 12_6C",
    ),
    "marks of notes that are not raised": (
        '<p>in 1990<a href="#f2" role="doc-noteref">2</a> and 1991<a href="#f3">3</a>, see <a href="#c">4</a>',
        "in 1990[2] and 1991[3], see 4",
    ),
    "raised by style": (
        "<p>10<span style='font-size:70%;Vertical-Align: super'>6</span> H<span style='vertical-align:sub'>2</span>O",
        "10^6 H2O",
    ),
    "mathml of every shape": (
        "<p><math><mroot><mn>8</mn><mn>3</mn></mroot></math>, "
        "<math><mroot><mi>y</mi><mn>5</mn></mroot></math>, "
        "<math><msub><mn>101</mn><mn>2</mn></msub></math>, "
        "<math><msubsup><mi>x</mi><mn>1</mn><mn>2</mn></msubsup><mn>4</mn></math>, "
        "<math><msqrt><msup><mi>b</mi><mn>2</mn></msup><mo>-</mo><mn>4</mn><mi>a</mi><mi>c</mi></msqrt></math>, "
        "<math><mmultiscripts><mi>U</mi><mprescripts/><mn>92</mn><mn>238</mn></mmultiscripts></math>, "
        "<math><munderover><mo>\u2211</mo><mrow><mi>i</mi><mo>=</mo><mn>0</mn></mrow><mn>9</mn></munderover>"
        "<mn>5</mn></math>, "
        "<math><mo>(</mo><mtable><mtr><mtd><mn>1</mn></mtd><mtd><mn>2</mn></mtd></mtr>"
        "<mtr><mtd><mn>3</mn></mtd><mtd><mn>4</mn></mtd></mtr></mtable><mo>)</mo></math>, "
        "<math><mfenced open='['><mi>a</mi><mi>b</mi></mfenced></math>, "
        "7<math><mfrac><mn>1</mn><mn>2</mn></mfrac></math>",
        "\u221b8, y^(1/5), 101_2, x_1^2 4, \u221a(b^2-4ac), _92^238 U, \u2211_(i=0)^9 5, (1 2; 3 4), [a, b), 7 1/2",
    ),
    "scripts without spaces": (
        "<p>\u6c5f\u6d41\n  \u7ecf\u5341\u3002\n\u7701 in\nall</p><pre>\u6c5f\n\u6d41</pre>",
        "\u6c5f\u6d41\u7ecf\u5341\u3002\u7701 in\nall\n\n```\n\u6c5f\n\u6d41\n```",
    ),
    "rows that go on to the end of their group": (
        "<table><thead><tr><th rowspan=2>Metal<th>Year<tbody><tr><td>Rh<td>1804<tr><td rowspan=3>Pd<td>1803"
        "<tbody><tr><td>Os<td>1803</table>",
        "| Metal | Year |\n| --- | --- |\n| Rh | 1804 |\n| Pd | 1803 |\n| Os | 1803 |",
    ),
    "headers of groups of rows": (
        "<table><tr><th colspan=2>Squad<tr><th>Player<th>Age<tr><th colspan=2>Goalkeepers<tr><td>Ann<td>20"
        "<tr><th colspan=2>Defenders<tr><td>Bob<td>30</table>",
        "Squad\n\n| Player | Age |\n| --- | --- |\n| Goalkeepers |  |\n| Ann | 20 |\n| Defenders |  |\n| Bob | 30 |",
    ),
    "a box of facts": (
        "<table><tr><th colspan=2>Rhodium<tr><th>Symbol<td>Rh<tr><th colspan=2>History<tr><th>Found<td>1804</table>",
        "| Rhodium |  |\n| --- | --- |\n| Symbol | Rh |\n| History |  |\n| Found | 1804 |",
    ),
    "a heading in a summary": (
        "<details><summary><h3>Warranty</h3></summary>Covers parts</details>",
        "### Warranty\n\nCovers parts",
    ),
    "marks of emphasis at a combining mark": (
        "<p><b>\u0939\u093f</b>\u0928\u094d\u0926\u0940 <i>Cafe</i>\u0301 <b>\u06a9\u062a</b>\u200c\u0647\u0627",
        "\u0939\u093f\u0928\u094d\u0926\u0940 Cafe\u0301 \u06a9\u062a\u200c\u0647\u0627",
    ),
    "what wikis add to headings": (
        "<h2>History<span class=mw-editsection>[<a href='/w?action=edit'>edit</a>]</span></h2>text"
        "<div class='mw-heading'><h3>Use</h3><span class='mw-editsection'>[edit]</span></div>text",
        "## History\n\ntext\n\n### Use\n\ntext",
    ),
    "signs that link to headings": (
        "<h2>Install<a class=hash-link href='#x'>#</a></h2><h3><a href='#a'>#</a> Use</h3>"
        "<h4>Run<a class=headerlink href='#r'>\u00b6</a></h4><h4>Zero<a href='#z'>\u200b</a></h4>"
        "<h4><a href='#c'>C#</a></h4>",
        "## Install\n\n### Use\n\n#### Run\n\n#### Zero\n\n#### C#",
    ),
    "equations that are drawn again": (
        "<p>so <span class=katex><span class=katex-mathml><math><msup><mi>x</mi><mn>2</mn></msup></math></span>"
        "<span class=katex-html aria-hidden=true><span>x</span><span>2</span></span></span> and "
        "<span class=MathJax><nobr aria-hidden=true>y1</nobr><span><math><msub><mi>y</mi><mn>1</mn></msub></math>"
        "</span></span> is <span aria-hidden=true>\u2605</span>",
        "so x^2 and y_1 is \u2605",
    ),
    "raised by a class": (
        "<style>@media print{.c0{color:red}}.c1,p .x{vertical-align:super;font-size:8pt}\n.c2 { vertical-align : sub }"
        "</style><p>10<span class='c0 c1'>6</span> H<span class=c2>2</span>O <span class=c0>5</span>",
        "10^6 H2O 5",
    ),
    "parts by their roles": (
        "<div role=banner>Top</div><div role=navigation>Menu</div><div role=search>Find</div><p>text"
        "<article><div role=contentinfo>by Ann</div></article><div role=contentinfo>Foot</div>",
        "text\n\nby Ann",
    ),
    "numbers of lines of code": (
        "<table><tr><td class=linenos><pre>1\n2</pre></td><td class=code><pre>import os\nos.getcwd()</pre></td></table>"
        "<pre><span class=lineno>1 </span>x = 1\n</pre><pre class=line-numbers>y = 2</pre>",
        "```\nimport os\nos.getcwd()\n```\n\n```\nx = 1\n```\n\n```\ny = 2\n```",
    ),
    "several heads of a table": (
        "<table><thead><tr><th>A<th>B</thead><tbody><tr><td>1<td>2</tbody><thead><tr><th>C<th>D</thead>"
        "<tbody><tr><td>3<td>4</tbody></table>",
        "| A | B |\n| --- | --- |\n| 1 | 2 |\n| C | D |\n| 3 | 4 |",
    ),
    "shown in place of its element": (
        "<my-card><template shadowrootmode=open><p>Rhodium</p></template></my-card><template>gone</template>",
        "Rhodium",
    ),
    "numero": ("<p>n<sup>o</sup> 5, N<sup>os</sup> 6, 2<sup>n</sup>", "no 5, Nos 6, 2^n"),
    "equations in TeX that a script draws": (
        '<p>if <script type="math/tex">a^2</script> or <script type="math/tex; mode=display">b</script>, '
        '<span class=MathJax>c</span><script type="math/tex">c</script> and \\(10^6\\)',
        "if a^2 or b, c and \\(10^6\\)",
    ),
    "backslashes": (
        "<p>C:\\(new)\\ \\d+\\.\\d* a\\\\b</p><pre>C:\\\\(x)</pre><p><code>\\\\(</code>",
        "C:\\(new)\\ \\d+\\.\\d* a\\\\b\n\n```\nC:\\\\(x)\n```\n\n`\\\\(`",
    ),
    "boxes to tick": (
        "<ul><li><input type=checkbox checked>done<li><input type=checkbox> to do</ul>Paid<input type=checkbox>",
        "- [x] done\n- [ ] to do\n\nPaid [ ]",
    ),
    "values within a line": ("<p>in <output>3</output> days, <meter>70 %</meter> full", "in 3 days, 70 % full"),
    "elements of old for code": ("<xmp><b>x</b></xmp><listing>y</listing>", "```\n<b>x</b>\n```\n\n```\ny\n```"),
    "readings of the parts of a word": (
        "<p><ruby>日<rp>(</rp><rt>に</rt><rp>)</rp>本<rt>ほん</rt></ruby>の<ruby>漢<rb>字</rb><rt>kan</rt><rt>ji</rt></ruby>",
        "日本(にほん)の漢字(kanji)",
    ),
    "labels of items of several paragraphs": (
        "<ol type=A><li><p>one</p><p>more</p><li><div>two</div></ol><ol><li value=8><h3>Use</h3>x</ol>",
        "- A. one\n\n  more\n\n- B. two\n\n- ### 8. Use\n  x",
    ),
    "who is cited": (
        "<blockquote>To be<footer>Hamlet</footer></blockquote><aside><header>Box</header>x</aside>"
        "<footer>gone</footer>",
        "> To be\n>\n> Hamlet\n\nBox\n\nx",
    ),
    "a header with the title": (
        "<header><h1>Pumps</h1><p>by Ann, 3 May</p></header><p>text</p><header>gone</header>",
        "# Pumps\n\nby Ann, 3 May\n\ntext",
    ),
    "links back from notes": (
        "<ol><li><span class=mw-cite-backlink><a href='#r'>^</a></span> Smith</ol>",
        "1. Smith",
    ),
    "indices of several parts": (
        "<p>x<sub>n+1</sub>, a<sub>i,j</sub>, T<sub>1/2</sub>, NaCl<sub>(aq)</sub>, C<sub>60</sub>",
        "x_(n+1), a_(i,j), T_(1/2), NaCl(aq), C60",
    ),
    "charges and powers of letters": (
        "<p>Na<sup>+</sup>, Cl<sup>\u2212</sup>, e<sup>kt</sup>, M<sup>me</sup>, Fe<sup>3+</sup>, "
        "<sub>92</sub><sup>235</sup>U",
        "Na+, Cl\u2212, e^kt, Mme, Fe^3+, _92^235U",
    ),
    "cells that are pictures": (
        "<table><tr><th>Plan<th>Sign<tr><td><img alt='Free plan'><td><svg><title>No</title><path/></svg>"
        "<tr><td>Pro<img alt=x><td><i title=Yes></i></table>",
        "| Plan | Sign |\n| --- | --- |\n| Free plan | No |\n| Pro | Yes |",
    ),
    "cents": (
        "<p>$1,299<sup>00</sup>, €3<sup>50</sup>, 10<sup>50</sup>, $5<sup>2</sup>",
        "$1,299.00, €3.50, 10^50, $5^2",
    ),
    "boxes that open": ("<div role=dialog>We use cookies</div><div role=alertdialog>Sure?</div><p>text", "text"),
    "labels and links side by side": (
        "<p><label>Color</label>Red <label>Size</label><b>M</b></p><p><a href=x>One</a><a href=y>Two</a>, <a>f</a>()",
        "Color Red Size **M**\n\nOne Two, f()",
    ),
    "powers of sums": ("<p>(1+x)<sup>n</sup>, [a]<sup>kt</sup>, x<sup>2</sup>", "(1+x)^n, [a]^kt, x^2"),
    "numbers within numbered items": ("<ol><li>1. one<li>2) two</ol>", "1. 1. one\n2. 2) two"),
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


@pytest.mark.parametrize(
    ("page", "title"),
    [
        ("<h1><i>Alien</i> (film)</h1>", "Alien (film)"),
        ("<h1>Why <code>NaN != NaN</code> in <b>C</b></h1>", "Why NaN != NaN in C"),
        ("<svg><title>Icon</title></svg><h1>Pumps</h1>", "Pumps"),
        ("<title>Pumps</title><svg><title>Icon</title></svg>x", "Pumps"),
    ],
)
def test_titles_of_html(tmp_path: Path, page: str, title: str) -> None:
    (found,) = passages(written(tmp_path, "a.html", page.encode()))
    assert found.title == title


@pytest.mark.parametrize(
    "page", ["<details>one</details>", "<article>one</article>two<p>three", "<my-x>one</my-x><p>two"]
)
def test_html_without_body_tag(tmp_path: Path, page: str) -> None:
    (found,) = passages(written(tmp_path, "a.html", f"<title>t</title>{page}".encode()))
    assert (found.title, found.text.split()) == ("t", re.findall(r"\b(?:one|two|three)\b", page))


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


def part(text: str) -> str:
    return f"<m:e>{sign(text)}</m:e>"


def fraction(above: str, below: str) -> str:
    return f"<m:f><m:num>{sign(above)}</m:num><m:den>{sign(below)}</m:den></m:f>"


STOPS = ('br w:type="page"', 'br w:type="column"', "cr", "ptab")


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
    "equations of every shape": (
        [
            paragraph(run("7"), equation(fraction("1", "2")), run(" of "), equation(sign("7") + fraction("1", "2"))),
            paragraph(
                equation(f"<m:rad><m:deg>{sign('3')}</m:deg><m:e>{sign('8')}</m:e></m:rad>{sign('=2')}"),
                run(" and "),
                equation(
                    f"<m:func><m:fName><m:sSub><m:e>{sign('log')}</m:e><m:sub>{sign('2')}</m:sub></m:sSub></m:fName>"
                    f"<m:e>{sign('32')}</m:e></m:func>"
                ),
            ),
            paragraph(
                equation(
                    f"<m:d><m:dPr><m:begChr m:val='['/></m:dPr><m:e><m:m><m:mr>{part('1')}{part('2')}</m:mr>"
                    f"<m:mr>{part('3')}{part('4')}</m:mr></m:m></m:e></m:d>"
                )
            ),
            paragraph(
                equation(
                    f"<m:nary><m:naryPr><m:chr m:val='\u2211'/></m:naryPr><m:sub>{sign('i=0')}</m:sub>"
                    f"<m:sup>{sign('9')}</m:sup>{part('5')}</m:nary>"
                )
            ),
        ],
        "7 1/2 of 7 1/2\n\n\u221b8=2 and log_2 32\n\n[1 2; 3 4)\n\n\u2211_(i=0)^9 5",
    ),
    "ends of pages, columns and lines": (
        [paragraph(run("one"), *(f"<w:r><w:{stop}/></w:r>{run(stop[:2])}" for stop in STOPS))],
        "one\nbr\nbr\ncr\tpt",
    ),
    "raised and lowered by position": (
        [
            paragraph(
                *(
                    run("10"),
                    styled("6", 'position w:val="8"'),
                    run(" H"),
                    styled("2", 'position w:val="-6"'),
                    run("O"),
                ),
                *(run(" 199"), styled("1", 'position w:val="2"')),
            )
        ],
        "10^6 H2O 1991",
    ),
    "rows that begin later": (
        [
            table(
                cell("a") + cell("b") + cell("c"),
                f'<w:trPr><w:gridBefore w:val="1"/></w:trPr>{cell("y")}{cell("z")}',
            )
        ],
        "| a | b | c |\n| --- | --- | --- |\n|  | y | z |",
    ),
    "headings by their level": (
        [f'<w:p><w:pPr><w:pStyle w:val="Quote"/><w:outlineLvl w:val="1"/></w:pPr>{run("Use")}</w:p>', run("x", "p")],
        "## Use\n\nx",
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
    "marks of comments": (
        [paragraph(run("noted"), '<w:r><w:commentReference w:id="0"/></w:r>', run(" well"))],
        "noted well",
    ),
    "letters over several lines": (
        [
            f'<w:p><w:pPr><w:framePr w:dropCap="drop" w:lines="3"/></w:pPr>{run("D")}</w:p>',
            paragraph(run("ropped caps"), style="Quote"),
        ],
        "Dropped caps",
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


def page(content: bytes, font: bytes = FONT, more: bytes = b"/Contents") -> bytes:
    """A pdf file of one page."""
    whole = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Resources<</Font<</F 3 0 R>>>>%s 4 0 R>>" % more
    shown = b"BT " + content + b" ET"
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Count 1/Kids[5 0 R]>>", font]
    return pdf_of([*objects, b"<</Length %d>>stream\n%s\nendstream" % (len(shown), shown), whole])


LATIN = FONT.replace(b">>", b"/Encoding/WinAnsiEncoding>>")
NAMES = b"/Encoding<</Type/Encoding/BaseEncoding/WinAnsiEncoding/Differences[1/f_f_i/f_l/T_h]>>>>"
LETTERS = b"/uni05D0/uni05D1/uni05D2/uni05D3/uni06F1/uni06F3/uniFEDF/uniFE92/uniF001"
HEBREW = FONT.replace(b">>", b"/Encoding<</Type/Encoding/BaseEncoding/WinAnsiEncoding/Differences[1%s]>>>>" % LETTERS)
LIGATURE = FONT.replace(b">>", b"/Encoding<</Type/Encoding/Differences[1/ffi]>>>>")
RISING = b"10|6| J, 5 km|2|, x|n+1|, the 21|st| and 3|1|/|2| cups, log|2|32, 101|2| of H|2|O, 7|2|5"
RISES = (0, 5, 0, 5, 0, 5, 0, 5, 0, 5, 0, -3, 0, -3, 0, -3, 0, -3, 0, 5, 0)
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
    "raised and lowered by rise": (
        page(
            b"1 0 0 1 50 700 Tm "
            + b"".join(
                b"/F %d Tf %d Ts (%s) Tj " % (7 if rise else 12, rise, text)
                for rise, text in zip(RISES, RISING.split(b"|"), strict=True)
            )
        ),
        "10^6 J, 5 km^2, x^(n+1), the 21st and 3 1/2 cups, log_2 32, 101_2 of H2O, 7^2 5",
    ),
    "small capitals": (page(at(50, 700, b"R") + at(59, 700, b"HODIUM", 9)), "RHODIUM"),
    "hyphens of compounds": (
        page(
            lines(
                b"The pre-",
                b"and post-war lab, a state-",
                b"of-the-art mother-in-",
                b"law, UNESCO-",
                b"led, Nord-",
                b"und Ostsee, one-",
                b"to-one, and-",
                b"or, inter-",
                b"national",
            )
        ),
        "The pre- and post-war lab, a state-of-the-art mother-in-law, UNESCO-led, Nord- und Ostsee, one-to-one, "
        "and-or, international",
    ),
    "columns line by line": (
        page(
            at(50, 700, b"He lived in Lon-")
            + at(320, 700, b"Palladium, pal-")
            + at(50, 686, b"don for years")
            + at(320, 686, b"las of old")
        ),
        "He lived in Lon- Palladium, pal-\ndon for years las of old",
    ),
    "columns line by line, each with an end": (
        page(
            b"14 TL "
            + b"T* ".join(
                (
                    at(50, 700, b"He lived in Lon-"),
                    at(320, 700, b"Palladium, pal-"),
                    at(50, 686, b"don for years"),
                    at(320, 686, b"las of old"),
                )
            )
        ),
        "He lived in Lon-\nPalladium, pal-\ndon for years\nlas of old",
    ),
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
    "ligatures by the names of their letters": (
        page(lines(b"e\\001cient \\002uid \\003e"), FONT.replace(b">>", NAMES)),
        "efficient fluid The",
    ),
    "accents before their letters": (
        page(lines(b"G\xa8odel, Poincar\xb4e, fa\xb8cade fac\xb8ade, l\xb4amour, don\xb4t, 5\xb4a"), LATIN),
        "G\u00f6del, Poincar\u00e9, fa\u00e7ade fa\u00e7ade, l\u00b4amour, don\u00b4t, 5\u00b4a",
    ),
    "numbers of lines": (
        page(lines(b"1 Rhodium is a", b"2 metal found in Lon-", b"3 don by Wolla-", b"4 ston in the year", b"5 1804.")),
        "Rhodium is a\nmetal found in London by Wollaston in the year\n1804.",
    ),
    "numbers that begin lines": (
        page(lines(b"1 of them is a", b"2 metal", b"3 gas", b"4 salt", b"6 water")),
        "1 of them is a\n2 metal\n3 gas\n4 salt\n6 water",
    ),
    "steps within a line": (
        page(
            b"/F 12 Tf 1 0 0 1 50 700 Tm (Vi) Tj /F 11 Tf 1 0 0 1 50 700 Tm 10.67 0 Td (e) Tj "
            b"/F 12 Tf 1 0 0 1 50 700 Tm 16.8 0 Td (t Nam,) Tj 1 0 0 1 50 700 Tm 60 0 Td (ba) Tj 20 0 Td (na) Tj"
        ),
        "Viet Nam, ba na",
    ),
    "ligatures of Microsoft's fonts": (page(lines(b"\011ne"), HEBREW), "fine"),
    "forms of Arabic letters": (page(lines(b"\010\007"), HEBREW), "\u0644\u0628"),
    "figures of Arabic": (
        page(lines(b"\005\006", b"\005\006 \002\001"), HEBREW),
        "\u06f1\u06f3\n\u05d0\u05d1 \u06f1\u06f3",
    ),
    "lines from right to left": (
        page(
            at(50, 700, b".", 12)
            + at(53, 700, b"199$")
            + at(77, 700, b" \\(")
            + at(87, 700, b"\001\002")
            + at(106, 700, b"\\) ")
            + at(113, 700, b"PC 10")
            + at(150, 700, b" \003\004")
            + at(50, 686, b"left \001\002")
            + at(100, 686, b"and right"),
            HEBREW,
        ),
        "\u05d3\u05d2 PC 10 (\u05d1\u05d0) 199$.\nleft \u05d1\u05d0 and right",
    ),
    "text on its side": (page(b"/F 12 Tf 0 1 -1 0 100 100 Tm (Sideways text) Tj"), "Sideways text"),
}


@pytest.mark.parametrize("name", PDF)
def test_pdf(tmp_path: Path, name: str) -> None:
    data, text = PDF[name]
    (found,) = passages(written(tmp_path, "a.pdf", data))
    assert found.text == text


WIDGET = b"<</Subtype/Widget%s>>"
FIELDS = {
    b"/FT/Tx/T(name)/TU(Full name)/V(Ada Lovelace)": "Full name: Ada Lovelace",
    b"/FT/Tx/T(empty)": "",
    b"/FT/Tx/T(key)/Ff 8192/V(secret)": "",
    b"/FT/Tx/T(gone)/F 2/V(hidden)": "",
    b"/FT/Btn/T(gift)/AS/Yes": "[x] gift",
    b"/FT/Btn/T(wrapped)/AS/Off": "",
    b"/FT/Ch/T(colour)/V[(red)(blue)]": "colour: red, blue",
    b"/Parent<</FT/Tx/T(town)/V(Oslo)>>": "town: Oslo",
    b"/FT/Tx/T(odd)/V<</A 1>>/Parent 5": "",
}


def test_a_pdf_form_that_was_filled_in(tmp_path: Path) -> None:
    """Values of fields, ticked boxes and text typed onto the page; neither passwords nor what is hidden."""
    fields = b"".join(WIDGET % field for field in FIELDS)
    written_on = b"/Annots[%s<</Subtype/FreeText/Contents(as agreed)>><</Subtype/Link>>5]/Contents" % fields
    (found,) = passages(written(tmp_path, "a.pdf", page(lines(b"Order"), more=written_on)))
    assert found.text == "\n".join(["Order", *filter(None, FIELDS.values()), "as agreed"])


def test_a_pdf_whose_fonts_do_not_tell_their_letters(tmp_path: Path) -> None:
    font = (
        b"<</Type/Font/Subtype/Type0/BaseFont/F/Encoding/Identity-H/DescendantFonts[<</Type/Font/Subtype/CIDFontType2/"
    )
    font += b"BaseFont/F/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>>>]>>"
    path = written(tmp_path, "a.pdf", page(b"/F 12 Tf 1 0 0 1 50 700 Tm <00000000000000000000> Tj", font))
    with pytest.raises(BadDocument, match=r"no text on its 1 page; its fonts do not tell .*--force-ocr"):
        passages(path)


def test_chinese_lines_of_a_pdf(tmp_path: Path) -> None:
    """Full lines go on, short ones end."""
    cid = (
        "<</Type/Font/Subtype/Type0/BaseFont/F/Encoding/UniGB-UCS2-H/DescendantFonts[<</Type/Font/Subtype/CIDFontType0/"
    )
    cid += "BaseFont/F/CIDSystemInfo<</Registry(Adobe)/Ordering(GB1)/Supplement 2>>>>]>>"
    texts = ("\u6c5f\u6d41", "\u4e2d\u56fd\u6700\u957f\u7684\u6cb3", "\u6d41\u662f\u957f\u6c5f\u3002")
    shown = b"".join(
        b"/F 12 Tf 1 0 0 1 50 %d Tm <%s> Tj " % (700 - 14 * n, text.encode("utf-16-be").hex().encode())
        for n, text in enumerate(texts)
    )
    (found,) = passages(written(tmp_path, "a.pdf", page(shown, cid.encode())))
    assert found.text == f"{texts[0]}\n{texts[1]}{texts[2]}"


@pytest.mark.parametrize("title", ["untitled", "(anonymous)", "Microsoft Word - x.doc", "paper_v2.dvi", "Untitled-1"])
def test_titles_that_nobody_gave(tmp_path: Path, title: str) -> None:
    (found,) = passages(written(tmp_path, "rhodium.pdf", pdf(["text"], title=title)))
    assert found.title == "rhodium"


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


def test_no_heading_is_alone(tmp_path: Path) -> None:
    """Summaries, terms and lines of their own stay with the text below them, whatever its length."""
    long = "It covers all parts for two years. " * 40
    for page in (
        f"<details><summary>Warranty</summary>{long}</details>",
        f"<dl><dt>Rhodium<dd>{long}<dt>Iron<dd>{long}</dl>",
        f"<p><b>Note</b></p><p>{long}</p>",
        f"<h1>Guide</h1><hr><p>{long}</p>",
    ):
        path = written(tmp_path, "a.html", f"<title>t</title><body>{page}".encode())
        for size in (100, 113, 500):
            assert all(
                re.search("covers|parts|years", found.text) for found in passages(path, chunking=Chunking(size=size))
            )


def test_closing_headings_at_every_length() -> None:
    for words in range(1, 60):
        for size in (60, 61, 100):
            chunks = split(f"{'word ' * words}\n\n# End\n", size, 0, markdown=True)
            assert "# End" not in chunks


@pytest.mark.parametrize("margin", ["    ", "> ", "- "])
def test_tables_within_lists_and_quotations(tmp_path: Path, margin: str) -> None:
    """Each chunk begins with the header, as of any other table."""
    rows = [f"| metal{n} | {1800 + n} |" for n in range(40)]
    head = ["| Metal | Year |", "| --- | --- |"]
    inner = margin if margin != "- " else "  "
    text = "\n".join(
        [*(["- Metals"] if margin == "    " else []), margin + head[0], *(inner + row for row in [head[1], *rows])]
    )
    chunks = [p.text for p in passages(written(tmp_path, "a.md", text.encode()), chunking=Chunking(size=200))]
    tables = [chunk for chunk in chunks if "|" in chunk]
    assert len(tables) > 3
    assert all(chunk.startswith("\n".join(head)) for chunk in tables)
    assert [row for chunk in tables for row in chunk.split("\n")[2:]] == rows


NUMBERS = (
    ("decimal %1.", "lowerLetter %2)", "upperRoman %1.%3"),
    ("decimal %1", "decimal %1.%2"),
    ("decimal Article_%1",),
    ("upperRoman Article_%1", "decimal %1.%2", "decimalZero %3."),
    ("chineseCountingThousand \u7b2c%1\u6761", "russianLower %2)"),
)
LEGAL = "<w:isLgl/>"
"""Levels of lists: kind and text of the numbers."""


def numbered(paragraphs: list[tuple[str, int, int, str | None]]) -> bytes:
    """A docx of paragraphs with the number of their list, their level and style; list 0 is none."""
    made = Document()
    definitions = made.part.numbering_part.element
    names = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    for at, levels in enumerate(NUMBERS, 91):
        inner = "".join(
            f'<w:lvl w:ilvl="{depth}"><w:start w:val="{5 if at == 93 else 1}"/><w:numFmt w:val="{level.split()[0]}"/>'
            f"{LEGAL * (at == 94 and depth == 1)}"
            f'<w:lvlText w:val="{level.split()[1].replace("_", " ")}"/></w:lvl>'
            for depth, level in enumerate(levels)
        )
        definitions.insert(0, parse_xml(f'<w:abstractNum {names} w:abstractNumId="{at}">{inner}</w:abstractNum>'))
    again = '<w:lvlOverride w:ilvl="0"><w:startOverride w:val="1"/></w:lvlOverride>'
    for number, of, more in ((91, 91, ""), (92, 92, ""), (93, 93, ""), (94, 91, again), (95, 94, ""), (96, 95, "")):
        definitions.append(
            parse_xml(f'<w:num {names} w:numId="{number}"><w:abstractNumId w:val="{of}"/>{more}</w:num>')
        )
    for text, number, depth, style in paragraphs:
        properties = made.add_paragraph(text, style=style)._p.get_or_add_pPr()
        if number:
            ids = f'<w:ilvl w:val="{depth}"/><w:numId w:val="{number}"/>'
            properties.append(parse_xml(f"<w:numPr {names}>{ids}</w:numPr>"))
    stream = io.BytesIO()
    made.save(stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("paragraphs", "text"),
    [
        ([("one", 91, 0, None), ("x", 91, 1, None), ("y", 91, 1, None), ("two", 91, 0, None)],
         "1. one\n   - a) x\n   - b) y\n2. two"),
        ([("one", 91, 0, None), ("between", 0, 0, None), ("two", 91, 0, None)], "1. one\n\nbetween\n\n2. two"),
        ([("one", 91, 0, None), ("", 91, 0, None), ("three", 91, 0, None)], "- 1. one\n- 3. three"),
        ([("one", 91, 0, None), ("again", 94, 0, None), ("two", 94, 0, None)], "- 1. one\n- 1. again\n- 2. two"),
        ([("a", 91, 0, None), ("b", 91, 2, None), ("c", 91, 2, None)], "1. a\n   - - 1.I b\n     - 1.II c"),
        ([("x", 93, 0, None), ("y", 93, 0, None)], "- Article 5 x\n- Article 6 y"),
        ([("Scope", 95, 0, "Heading 1"), ("as is", 95, 1, None), ("x", 95, 2, None)],
         "# Article I Scope\n\n- - 1.1 as is\n    - 01. x"),
        ([("x", 96, 0, None), ("y", 96, 1, None)], "- \u7b2c\u4e00\u6761 x\n  - \u0430) y"),
        ([("Scope", 92, 0, "Heading 1"), ("Terms", 92, 1, "Heading 2"), ("as in 1.1", 0, 0, None),
          ("Use", 92, 0, "Heading 1"), ("text", 0, 0, None)],
         "# 1 Scope\n\n## 1.1 Terms\n\nas in 1.1\n\n# 2 Use\n\ntext"),
    ],
)  # fmt: skip
def test_numbers_of_a_docx(tmp_path: Path, paragraphs: list[tuple[str, int, int, str | None]], text: str) -> None:
    """Lists that go on or begin again, letters and Roman numerals, words, headings: as Word counts them."""
    (found,) = passages(written(tmp_path, "a.docx", numbered(paragraphs)))
    assert found.text == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (10, "\u5341"),
        (19, "\u5341\u4e5d"),
        (21, "\u4e8c\u5341\u4e00"),
        (101, "\u4e00\u767e\u96f6\u4e00"),
        (110, "\u4e00\u767e\u4e00\u5341"),
        (2005, "\u4e8c\u5343\u96f6\u4e94"),
        (10_000, "10000"),
    ],
)
def test_chinese_numbers(number: int, text: str) -> None:
    assert numeral(number, "\u4e00") == text


def test_headings_of_a_docx_and_its_title(tmp_path: Path) -> None:
    blocks = [paragraph(run(text), style=style) for text, style in (("Pumps", "Title"), ("Use", "Heading1"), ("x", ""))]
    found = passages(written(tmp_path, "a.docx", docx_of(*blocks)), chunking=Chunking(by="headings"))
    assert [(p.title, p.text) for p in found] == [("Use", "# Pumps\n\nx")]


def test_styles_of_a_docx(tmp_path: Path) -> None:
    """The base of a style tells that it makes headings, and exponents."""
    made = Document()
    for name, kind, base in (
        ("Kapitel", 1, "Heading 2"),
        ("Motto", 1, "Quote"),
        ("Hoch", 2, None),
        ("Hoch fett", 2, "Hoch"),
    ):
        style = made.styles.add_style(name, kind)
        style.base_style = made.styles[base] if base else None
    made.styles["Hoch"].font.superscript = True
    made.add_paragraph("Werte", style="Kapitel")
    made.add_paragraph("kurz", style="Motto")
    text = made.add_paragraph("10")
    text.add_run("6", style="Hoch fett")
    text.add_run(" J")
    made.save(tmp_path / "a.docx")
    (found,) = passages(tmp_path / "a.docx")
    assert (found.title, found.text) == ("Werte", "## Werte\n\nkurz\n\n10^6 J")
