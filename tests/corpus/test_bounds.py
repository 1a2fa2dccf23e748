"""Inputs that cost far more than their bytes: spans, packed text, long titles, repeats. Each ends soon, and is said."""

from __future__ import annotations

import bz2
import gzip
import json
import resource
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made import jsonl, passages, pdf, zipped
from test_formats import docx_of, run, written

from ragscale.corpus import Chunking, Columns, Problems
from ragscale.corpus import source as sources
from ragscale.corpus.lines import LINE_LIMIT
from ragscale.corpus.record import TITLE_LIMIT
from ragscale.errors import BadDocument


@pytest.fixture(autouse=True)
def little() -> Iterator[None]:
    """Each of these ends within seconds of work, and takes a few hundred megabytes at most."""
    begun, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - begun < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 800_000


def table(*rows: str) -> str:
    return f"<w:tbl><w:tblPr/><w:tblGrid/>{''.join(f'<w:tr>{row}</w:tr>' for row in rows)}</w:tbl>"


def cell(text: str, *properties: str) -> str:
    return f"<w:tc><w:tcPr>{''.join(properties)}</w:tcPr>{run(text, 'p')}</w:tc>"


class TestDocx:
    @pytest.mark.parametrize("span", [1, 2, 1_000_000, 2_000_000_000])
    def test_a_cell_over_any_number_of_columns_is_one(self, tmp_path: Path, span: int) -> None:
        rows = [cell("wide", f'<w:gridSpan w:val="{span}"/>') + cell("next")] * 2
        path = written(tmp_path, "a.docx", docx_of(table(*rows)))
        assert passages(path)[0].text == "| wide | next |\n| --- | --- |\n| wide | next |"

    @pytest.mark.parametrize("name", ["gridBefore", "gridAfter"])
    def test_columns_that_are_left_out(self, tmp_path: Path, name: str) -> None:
        row = f'<w:trPr><w:{name} w:val="1000000000"/></w:trPr>{cell("x")}'
        assert passages(written(tmp_path, "a.docx", docx_of(table(row))))[0].text == "x"

    def test_a_huge_grid(self, tmp_path: Path) -> None:
        grid = f"<w:tblGrid>{'<w:gridCol/>' * 50_000}</w:tblGrid>"
        block = table(cell("x") + cell("y")).replace("<w:tblGrid/>", grid)
        assert passages(written(tmp_path, "a.docx", docx_of(block)))[0].text == "| x | y |\n| --- | --- |"

    def test_a_cell_over_any_number_of_rows(self, tmp_path: Path) -> None:
        """Each row has it once, under the columns that it began in; one that begins nowhere is its own."""
        merged = ["<w:vMerge/>", '<w:vMerge w:val="continue"/>']
        rows = [cell("first", '<w:vMerge w:val="restart"/>', '<w:gridSpan w:val="3"/>') + cell("0")]
        rows += [cell("", merged[n % 2], '<w:gridSpan w:val="3"/>') + cell(str(n)) for n in range(1, 3000)]
        rows += [cell("alone") + cell("lost", "<w:vMerge/>")]
        path = written(tmp_path, "a.docx", docx_of(table(*rows)))
        lines = "\n".join(p.text for p in passages(path, chunking=Chunking(overlap=0))).split("\n")
        assert lines[:2] == ["| first |  | 0 |", "| --- | --- | --- |"]
        chunks = [line for line in lines[2:] if line not in lines[:2]]  # each chunk begins with the header
        assert chunks == [f"| first |  | {n} |" for n in range(1, 3000)] + ["| alone | lost |  |"]

    def test_thousands_of_paragraphs_in_one_look_at_the_styles(self, tmp_path: Path) -> None:
        styled = '<w:p><w:pPr><w:pStyle w:val="Heading2"/></w:pPr>' + run("head") + "</w:p>"
        path = written(tmp_path, "a.docx", docx_of(*([styled, run("text", "p")] * 5000)))
        assert "".join(p.text + "\n\n" for p in passages(path, chunking=Chunking(overlap=0))).count("## head\n") == 5000

    def test_more_tags_than_a_document_has(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ragscale.corpus.word._TAGS", 20_000)
        path = written(tmp_path, "a.docx", docx_of("<w:p/>" * 20_000))
        with pytest.raises(BadDocument, match=r"a\.docx: [0-9,]+ tags, the limit is 20,000\. Split it"):
            passages(path)
        # under another name than .xml too
        assert "limit is 20,000" in str(refused(written(tmp_path, "b.docx", zipped({"a.bin": b"<" * 20_001}))))


class TestHtml:
    @pytest.mark.parametrize("count", [5, 1000, 10**9, 10**30])
    @pytest.mark.parametrize("name", ["colspan", "rowspan"])
    def test_spans(self, tmp_path: Path, name: str, count: int) -> None:
        page = f"<table><tr><td {name}={count}>wide<td>next<tr><td>x<td>y</table>".encode()
        text = " ".join(p.text for p in passages(written(tmp_path, "a.html", page)))
        assert {"wide", "next", "x", "y"} <= set(text.split())
        assert len(text) < 20_000

    def test_spans_that_add_up(self, tmp_path: Path) -> None:
        page = b"<table>" + b"<tr>" + b"<td colspan=1000>x" * 3000
        with pytest.raises(BadDocument, match=r"a\.html: the cells of its tables go over more than 2,000,000 columns"):
            passages(written(tmp_path, "a.html", page))

    def test_lines_within_a_hundred_lists(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ragscale.corpus.markup._INDENT", 1_000_000)
        page = b"<blockquote><dl><dd>" * 50 + b"a<br>" * 6000
        with pytest.raises(
            BadDocument,
            match=r"a\.html: its lists and quotations indent lines by 1,[0-9,]+ characters in all, the",
        ):
            passages(written(tmp_path, "a.html", page))

    def test_cells_over_many_rows_that_repeat_too_much(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ragscale.corpus.webpage.DOCUMENT_LIMIT", 1_000_000)
        page = b"<table><tr><td rowspan=0>" + b"x" * 10_000 + b"<td>y" + b"<tr><td>z" * 200
        with pytest.raises(BadDocument, match=r"a\.html: cells over several rows repeat 1,0[0-9,]+ characters, the"):
            passages(written(tmp_path, "a.html", page))

    @pytest.mark.parametrize(
        ("page", "found"),
        [
            (b"<ol>" + b"<li>x" * 20_000, "20000. x"),
            (b"<ol start=7>" + b"<li>x" * 3 + b"<li><li>y<ol><li>in</ol>", "7. x\n8. x\n9. x\n10.\n11. y\n    1. in"),
            (b"<table><thead>" + b"<tr><td>x<td>y" * 20_000, "| x | y |"),
            (b"<table><thead>" + b"<tr><th>x" * 3000 + b"</thead><tbody>" + b"<tr><td>y" * 3000, "| y |"),
        ],
    )
    def test_long_lists_and_heads_of_tables(self, tmp_path: Path, page: bytes, found: str) -> None:
        text = "\n".join(p.text for p in passages(written(tmp_path, "a.html", page), chunking=Chunking(overlap=0)))
        assert found in text

    @pytest.mark.parametrize("start", [b"9" * 4000, b"9" * 10_000, b"-5", b"\xc2\xbd", b"x", b""])
    def test_lists_that_begin_anywhere(self, tmp_path: Path, start: bytes) -> None:
        page = b"<ol start='" + start + b"'><li>x" + b"<br>y" * 3000
        assert len("".join(p.text for p in passages(written(tmp_path, "a.html", page)))) < 60_000

    @pytest.mark.parametrize(
        ("tag", "depth"),
        [("div", 100_000), ("b", 20_000), ("ul><li", 10_000), ("table><tr><td", 5000), ("dl><dd", 5000)],
    )
    def test_nested_deep(self, tmp_path: Path, tag: str, depth: int) -> None:
        page = f"<{tag}>".encode() * depth + b"needle"
        message = str(refused(written(tmp_path, "a.html", page)))
        assert "a.html: its html elements lie too deep within each other. Save it" in message

    def test_more_tags_than_a_document_has(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ragscale.corpus.webpage._TAGS", 1000)
        with pytest.raises(BadDocument, match=r"a\.html: 1,001 tags, the limit is 1,000\. Split it"):
            passages(written(tmp_path, "a.html", b"<p>x" * 1001))

    @pytest.mark.parametrize("quote", ["", "'", '"'])
    def test_an_element_of_any_number_of_attributes(self, tmp_path: Path, quote: str) -> None:
        page = "<p " + " ".join(f"a{n}={quote}>{quote}" if quote else f"a{n}" for n in range(50_000)) + ">x"
        with pytest.raises(BadDocument, match=r"a\.html: an element of 50,000 attributes, the limit is 5,000\. Save"):
            passages(written(tmp_path, "a.html", page.encode()))
        page = "<p class='" + "c " * 100_000 + f"' style={'x' * 100_000}>x"
        assert passages(written(tmp_path, "a.html", page.encode()))[0].text == "x"


class TestMarkdown:
    def test_more_lines_than_a_document_has(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ragscale.corpus.documents.LINES_LIMIT", 1000)
        text = b"# a\n" * 1001
        with pytest.raises(BadDocument, match=r"a\.md: 1,001 lines of Markdown, the limit is 1,000\. Split it"):
            passages(written(tmp_path, "a.md", text))
        rows = written(tmp_path, "a.jsonl", jsonl([{"id": "x", "text": text.decode()}]))
        assert len(passages(rows)) == 1
        with pytest.raises(BadDocument, match=r"a\.jsonl, line 1: 1,001 lines of Markdown"):
            passages(rows, chunking=Chunking(by="headings", rows=True))
        page = b"<p>x<br>" * 1001
        assert "lines of Markdown" in str(refused(written(tmp_path, "a.html", page)))


class TestPdf:
    def test_a_page_that_is_there_many_times(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ragscale.corpus.pdf._SECONDS", 0.5)
        page = pages_of(b"5 0 R " * 5000, b"(a) Tj 0 1 Td " * 5000)
        with pytest.raises(BadDocument, match=r"a\.pdf: page [0-9,]+ of 5,000 is not read after [0-9] s, the most for"):
            passages(written(tmp_path, "a.pdf", page))

    def test_forms_within_forms(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A page of ten, each of ten, and so on: stopped within it, though pypdf goes on after errors in forms."""
        monkeypatch.setattr("ragscale.corpus.pdf._SECONDS", 0.5)
        with pytest.raises(BadDocument, match=r"a\.pdf: page 1 of 1 is not read after [0-9] s"):
            passages(written(tmp_path, "a.pdf", forms(8, 10)))

    def test_a_tree_of_pages_of_one_page(self, tmp_path: Path) -> None:
        objects = [b"<</Type/Catalog/Pages 2 0 R>>"]
        objects += [b"<</Type/Pages/Kids[" + b"%d 0 R " % (n + 3) * 100 + b"]>>" for n in range(4)]
        objects += [b"<</Type/Page/MediaBox[0 0 9 9]>>"]
        with pytest.raises(
            BadDocument, match=r"a\.pdf: Maximum page tree entry limit reached: 100001 > 100000\. Split"
        ):
            passages(written(tmp_path, "a.pdf", pdf_of(objects)))

    def test_a_number_of_pages_that_is_made_up(self, tmp_path: Path) -> None:
        (found,) = passages(written(tmp_path, "a.pdf", pages_of(b"5 0 R", b"(a) Tj", count=10**12)))
        assert (found.text, found.metadata["page"]) == ("a", 1)

    def test_more_text_than_a_document_has(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ragscale.corpus.pdf.DOCUMENT_LIMIT", 10_000)
        page = pages_of(b"5 0 R " * 20, b"(" + b"a" * 999 + b") Tj")
        with pytest.raises(
            BadDocument, match=r"a\.pdf: 10,[0-9]+ characters of text up to page 11, the limit is 10,000"
        ):
            passages(written(tmp_path, "a.pdf", page))

    def test_a_stream_that_unpacks_to_too_much(self, tmp_path: Path) -> None:
        page = pages_of(b"5 0 R", b" " * 80_000_000 + b"(a) Tj")
        with pytest.raises(BadDocument, match=r"a\.pdf: .*[Ll]imit"):
            passages(written(tmp_path, "a.pdf", page))


def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_FREE", 1 << 16)


class TestPacked:
    @pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
    @pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "wiki_00"])
    def test_files_that_unpack_to_too_much(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, suffix: str, pack: Callable[[bytes], bytes]
    ) -> None:
        small_limit(monkeypatch)
        row = {"a.txt": b"word " * 9, "a.csv": b'1,"text"\n', "a.jsonl": b'{"id": "1", "text": "x"}\n'}
        data = pack((b"id,text\n" if name == "a.csv" else b"") + row.get(name, row["a.jsonl"]) * 100_000)
        path = written(tmp_path, name + suffix, data)
        limit = (1 << 16) + 100 * len(data)
        with pytest.raises(BadDocument, match=rf"{name}{suffix}: unpacks to more than {limit:,} bytes \(256 MiB and"):
            passages(path, columns=Columns(id="#"))
        problems = Problems(keep_going=True)
        assert passages(
            written(tmp_path, "b.zip", zipped({f"{name}{suffix}": data, "z.txt": b"good"})), problems=problems
        )
        assert problems.count == 1

    def test_files_that_unpack_to_less_are_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        small_limit(monkeypatch)
        path = written(tmp_path, "a.txt.gz", gzip.compress(b"word " * 10_000))
        assert sum(len(p.text) for p in passages(path, chunking=Chunking(overlap=0))) > 49_000


BIG = "x" * (4 << 20)


def repeated(rows: int) -> pa.Array:
    """A text of four megabytes in each of some rows, as parquet holds it: once."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), [BIG])


class TestParquet:
    @pytest.mark.parametrize("where", ["text", "title", "more", "metadata"])
    def test_a_text_that_stands_in_each_row(self, tmp_path: Path, where: str) -> None:
        columns = {"id": pa.array([str(n) for n in range(1024)]), "text": pa.array(["t"] * 1024)}
        struct = pa.StructArray.from_arrays([repeated(1024)], ["more"])
        columns[where] = struct if where == "metadata" else repeated(1024)
        path = tmp_path / "a.parquet"
        pq.write_table(pa.table(columns), path, compression="zstd", store_schema=False)
        assert path.stat().st_size < 20_000
        with pytest.raises(
            BadDocument, match=r"a\.parquet, row 65: its rows unpack to 27[0-9,]+ bytes, the limit is 268,"
        ):
            passages(path)
        problems = Problems(keep_going=True)
        assert len(passages(path, problems=problems)) == 64
        assert problems.count == 1

    def test_a_text_that_is_packed_well(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        small_limit(monkeypatch)
        pq.write_table(pa.table({"id": ["1"], "text": ["x" * (8 << 20)]}), tmp_path / "a.parquet", compression="zstd")
        with pytest.raises(
            BadDocument, match=r"a\.parquet: its rows unpack to 8,[0-9,]+ bytes, the limit is [0-9]{3},"
        ):
            passages(tmp_path / "a.parquet")

    def test_rows_without_end(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        small_limit(monkeypatch)
        pq.write_table(pa.table({"text": ["a"] * 100_000}), tmp_path / "a.parquet", compression="zstd")
        with pytest.raises(BadDocument, match=r"a\.parquet, row [0-9,]+: its rows unpack to [0-9,]+ bytes, the limit"):
            passages(tmp_path / "a.parquet", columns=Columns(id="#"))

    def test_lists_in_metadata_are_not_read(self, tmp_path: Path) -> None:
        lists = pa.ListArray.from_arrays(list(range(1025)), repeated(1024))
        struct = pa.StructArray.from_arrays([lists, pa.array(range(1024))], ["names", "year"])
        columns = {"id": [str(n) for n in range(1024)], "text": ["t"] * 1024, "metadata": struct}
        pq.write_table(pa.table(columns), tmp_path / "a.parquet", store_schema=False)
        assert [p.metadata for p in passages(tmp_path / "a.parquet")] == [{"year": n} for n in range(1024)]

    def test_texts_of_every_encoding_are_the_same(self, tmp_path: Path) -> None:
        rows = {
            "id": [str(n) for n in range(3000)],
            "text": [f"text {n % 7}" for n in range(3000)],
            "n": [1.5, None] * 1500,
        }
        rows["metadata"] = [{"lang": "en", "more": None if n % 3 else "x"} for n in range(3000)]
        found = []
        for number, settings in enumerate(
            ({}, {"use_dictionary": False}, {"row_group_size": 100}, {"store_schema": False})
        ):
            pq.write_table(pa.table(rows), tmp_path / f"{number}.parquet", **settings)
            found.append(passages(tmp_path / f"{number}.parquet"))
        assert found[0] == found[1] == found[2] == found[3]
        assert found[0][3].metadata == {"lang": "en", "more": "x"}


class TestTitles:
    LONG = "long title " * 30_000

    @pytest.mark.parametrize("name", ["a.html", "a.md", "b.md", "a.pdf", "a.docx"])
    @pytest.mark.parametrize("by", ["characters", "headings"])
    def test_of_documents_are_cut_and_counted(self, tmp_path: Path, name: str, by: str) -> None:
        body = "word " * 2000
        data: dict[str, Callable[[], bytes]] = {
            "a.html": lambda: f"<title>{self.LONG}</title><h1>x</h1><p>{body}".encode(),
            "a.md": lambda: f"# {self.LONG}\n\n{body}\n\n## {self.LONG}\n\n{body}".encode(),
            "b.md": lambda: f"# short\n\n## {self.LONG}\n\n{body}\n\n## {self.LONG}\n\n{body}".encode(),
            "a.pdf": lambda: pdf([body, "more"], title=self.LONG),
            "a.docx": lambda: docx_of(*(f"<w:p>{run(text)}</w:p>" for text in (self.LONG, body))),
        }
        problems = Problems()
        path = written(tmp_path, name, data[name]())
        found = passages(path, chunking=Chunking(by=by), problems=problems)  # type: ignore[arg-type]
        carried = [len(p.title) + len(str(p.metadata.get("heading", ""))) for p in found]
        assert len(found) > 10
        assert max(carried) <= 2 * TITLE_LIMIT
        has_one = name in ("a.html", "a.md", "a.pdf") or by == "headings"
        has_one &= name != "a.docx" and not (name == "a.html" and by == "headings")
        assert problems.left_out == ({f"ends of titles over {TITLE_LIMIT:,} characters": 1} if has_one else {})

    def test_of_rows_are_cut_where_the_rows_are(self, tmp_path: Path) -> None:
        path = written(tmp_path, "a.jsonl", jsonl([{"id": "r", "title": self.LONG, "text": "word " * 2000}]))
        assert passages(path)[0].title == self.LONG
        problems = Problems()
        found = passages(path, chunking=Chunking(rows=True), problems=problems)
        assert {p.title for p in found} == {self.LONG[: TITLE_LIMIT - 3] + "..."}
        assert problems.left_out == {"ends of titles over 1,000 characters": 1}

    @pytest.mark.parametrize("column", ["id", "document", "more"])
    def test_of_all_else_that_each_chunk_of_a_row_repeats_there_may_be_so_much(
        self, tmp_path: Path, column: str
    ) -> None:
        row = {"id": "r", "document": "d", "text": "word " * 20_000, column: "x" * 3_000_000}
        path = written(tmp_path, "a.jsonl", jsonl([row]))
        assert len(passages(path)) == 1
        message = (
            r"a\.jsonl, line 1: id, document and metadata of [36],000,0\d\d characters in each of more than \d+ chunks"
        )
        with pytest.raises(BadDocument, match=message):
            passages(path, chunking=Chunking(rows=True))


class TestCsv:
    def test_a_row_of_too_many_lines(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ragscale.corpus.separated.LINE_LIMIT", 10_000)
        cells = ",".join(['"' + "word\n" * 300 + '"'] * 9)
        path = written(tmp_path, "a.csv", f"id,text,{','.join('cdefghi')}\ngood,1{',x' * 7}\n{cells}\n".encode())
        problems = Problems(keep_going=True)
        assert [p.id for p in passages(path, problems=problems)] == ["good"]
        assert problems.first[0].reason == "a row of more than 10,000 bytes"
        # many rows of fewer are no such row
        rows = "".join(f'{n},"{"word " * 100}"\n' for n in range(100))
        assert len(passages(written(tmp_path, "b.csv", f"id,text\n{rows}".encode()))) == 100

    def test_a_header_of_any_number_of_columns(self, tmp_path: Path) -> None:
        header = "id,text," + ",".join(f"column{n}" for n in range(500_000))
        with pytest.raises(BadDocument, match=r"a\.csv, line 1: 500,002 columns, the limit is 10,000\. Is the first"):
            passages(written(tmp_path, "a.csv", f"{header}\n".encode()))
        few = ",".join(f"column{n}" for n in range(9000))
        with pytest.raises(BadDocument) as caught:
            passages(written(tmp_path, "b.csv", f"{few}\n".encode()))
        assert "'column19', ...)" in caught.value.reason

    def test_a_cell_of_any_length(self, tmp_path: Path) -> None:
        data = b'id,text\n1,"' + b"x" * (LINE_LIMIT + 1) + b'"\n'
        with pytest.raises(BadDocument, match=r"a\.csv, line 2: a line of more than 67,108,864 bytes"):
            passages(written(tmp_path, "a.csv", data))


@pytest.mark.parametrize("start", ["[", '{"a":', '{"id": "1", "text": "x", "more": [', "[[1,", '"'])
def test_json_of_any_depth(tmp_path: Path, start: str) -> None:
    problems = Problems(keep_going=True)
    good = json.dumps({"id": "g", "text": "good"})
    path = written(tmp_path, "a.jsonl", f"{start * 100_000}\n{good}\n".encode())
    assert [p.id for p in passages(path, problems=problems)] == ["g"]
    assert problems.first[0].reason.startswith("not JSON (")


def refused(path: Path) -> BadDocument:
    with pytest.raises(BadDocument) as caught:
        passages(path)
    return caught.value


def pdf_of(objects: Sequence[bytes]) -> bytes:
    """A pdf file of these objects, the first of which is the catalogue."""
    data, offsets = b"%PDF-1.5\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    lines = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    head = b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, lines)
    trailer = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(data))
    return data + head + trailer


def stream(content: bytes, more: bytes = b"") -> bytes:
    packed = zlib.compress(content)
    return b"<</Filter/FlateDecode/Length %d%s>>stream\n%s\nendstream" % (len(packed), more, packed)


FONT = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"


def pages_of(kids: bytes, content: bytes, count: int = 1) -> bytes:
    """A pdf file of one page (object 5) that is named as often as `kids` says."""
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Resources<</Font<</F 3 0 R>>>>/Contents 4 0 R>>"
    tree = b"<</Type/Pages/Count %d/Kids[%s]>>" % (count, kids)
    text = stream(b"BT /F 12 Tf 1 1 Td " + content + b" ET")
    return pdf_of([b"<</Type/Catalog/Pages 2 0 R>>", tree, FONT, text, page])


def forms(depth: int, width: int) -> bytes:
    """A pdf file of a page that shows a form `width` times, which shows another one as often, and so on."""
    resources = b"/Resources<</Font<</F 4 0 R>>/XObject<</X %d 0 R>>>>"
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 5 0 R%s>>" % (resources % 6)
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Count 1/Kids[3 0 R]>>", page, FONT]
    objects.append(stream(b"/X Do " * width))
    kind = b"/Type/XObject/Subtype/Form"
    objects += [stream(b"/X Do " * width, kind + resources % (n + 7)) for n in range(depth)]
    text = b"BT /F 12 Tf " + b"(b) Tj " * 5000 + b"ET"
    return pdf_of([*objects, stream(text, kind + resources % 99)])
