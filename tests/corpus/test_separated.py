"""Reading csv and tsv files: separators, types of columns, and bad rows with their line."""

from __future__ import annotations

import csv
import gzip
import io
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made import passages

from ragscale.corpus import Columns, FieldTypes, Problems, read
from ragscale.errors import BadDocument
from ragscale.types import Passage

CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"))
FILLED = CELLS.filter(str.strip)


def written(tmp_path: Path, data: str | bytes, name: str = "c.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@given(st.lists(st.tuples(FILLED, FILLED, CELLS), min_size=1, max_size=5), st.sampled_from(",;\t|"))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
def test_what_csv_writes_is_read_back(tmp_path: Path, rows: list[tuple[str, str, str]], separator: str) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=separator)
    writer.writerows([("id", "text", "note"), *rows])
    found = passages(written(tmp_path, buffer.getvalue()))
    assert [(p.id, p.text) for p in found] == [(identity, text) for identity, text, _ in rows]
    for passage, (_, _, note) in zip(found, rows, strict=True):
        assert str(passage.metadata.get("note", "")).lower() == note.lower() or float(note) == passage.metadata["note"]


def test_rows_and_their_places(tmp_path: Path) -> None:
    path = written(tmp_path, '\ufeffid,title,text\n1,T,"two\nlines"\n\n02,,x\n')
    assert passages(path) == [Passage("1", "T", "two\nlines"), Passage("02", "", "x")]
    assert [record.place.number for record in read([path])] == [2, 5]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1990", "-3", ""], [1990, -3]),
        (["1990", "2.5"], [1990.0, 2.5]),
        (["1e3", ".5"], [1000.0, 0.5]),
        (["true", "FALSE", "True"], [True, False, True]),
        (["true", "1"], ["true", "1"]),
        (["1990", "n/a"], ["1990", "n/a"]),
        (["012", "13"], ["012", "13"]),
        (["-", "+1", "e5", "."], ["-", "+1", "e5", "."]),
        (["0", "-0.5"], [0.0, -0.5]),
        (["1234567890123456789", "1"], ["1234567890123456789", "1"]),
        (["E10", "e14"], ["E10", "e14"]),
        ([".e5", "1e5"], [".e5", "1e5"]),
        (["1e400", "1"], ["1e400", "1"]),
        (["1.10", "2."], ["1.10", "2."]),
        (["1.10", "9.99"], [1.1, 9.99]),
        (["NaN", "inf", "1_000", "\u0661"], ["NaN", "inf", "1_000", "\u0661"]),
        (["", ""], []),
    ],
)
def test_the_type_of_a_column_fits_all_its_cells(tmp_path: Path, cells: list[str], values: list[object]) -> None:
    rows = "".join(f"{at},x,{cell}\n" for at, cell in enumerate(cells))
    found = [p.metadata["v"] for p in passages(written(tmp_path, f"id,text,v\n{rows}")) if p.metadata]
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


def test_known_text_columns_stay_text(tmp_path: Path) -> None:
    path = written(tmp_path, "id,text,zip\n1,x,12345\n")
    assert passages(path)[0].metadata == {"zip": 12345}
    assert passages(path, fields=FieldTypes({"zip": "large_string"}))[0].metadata == {"zip": "12345"}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("c.csv", "id;text\n1;a,b\n"),
        ("c.tsv", "id\ttext\n1\ta,b\n"),
        ("c.csv", "id|text\n1|a,b\n"),
        ("c.csv", 'id,text\n1,"a,b"\n'),
    ],
)
def test_the_separator_is_the_one_of_the_header(tmp_path: Path, name: str, data: str) -> None:
    assert passages(written(tmp_path, data, name)) == [Passage("1", "", "a,b")]
    packed = written(tmp_path, gzip.compress(data.encode()), f"{name}.gz")
    assert passages(packed) == [Passage("1", "", "a,b")]


def test_blank_lines_before_the_header(tmp_path: Path) -> None:
    path = written(tmp_path, "\n\r\nid;text;n\n\n1;foo;3\n2;bar;4\n")
    assert passages(path) == [Passage("1", "", "foo", "", {"n": 3}), Passage("2", "", "bar", "", {"n": 4})]
    assert [record.place.number for record in read([path])] == [5, 6]


def test_a_cell_beyond_the_limit_of_the_csv_module(tmp_path: Path) -> None:
    code = "import sys\nfrom ragscale.corpus import read\nprint([r.passage.id for r in read(sys.argv[1:])])"
    path = written(tmp_path, f"id,text,{'x' * 200_000}\n1,foo,\n")
    # the limit holds for a whole process
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=True)
    assert done.stdout == b"['1']\n"


def test_rows_before_the_place_where_a_file_breaks_off(tmp_path: Path) -> None:
    rows = "".join(f"{n},{n * n},{n}\n" for n in range(40_000))
    packed = gzip.compress(f"id,text,n\n{rows}".encode())
    path = written(tmp_path, packed[: len(packed) * 9 // 10], "c.csv.gz")
    with pytest.raises(BadDocument, match=r"c\.csv\.gz: damaged or unreadable"):
        passages(path)
    problems = Problems(keep_going=True)
    found = passages(path, problems=problems)
    assert len(found) > 1000
    assert found[-1].metadata == {"n": len(found) - 1}
    assert [problem.place for problem in problems.first] == [str(path)]


def test_rows_before_a_line_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragscale.corpus.lines.LINE_LIMIT", 100)
    path = written(tmp_path, f"id,text,n\n1,foo,3\n2,{'x' * 200},4\n")
    problems = Problems(keep_going=True)
    assert passages(path, problems=problems) == [Passage("1", "", "foo", "", {"n": 3})]
    assert [problem.place for problem in problems.first] == [f"{path}, line 3"]


def test_other_columns_and_numbered_rows(tmp_path: Path) -> None:
    path = written(tmp_path, ",headline,body\n0,H,x\n1,,y\n")
    columns = Columns(id="#", title="headline", text="body")
    assert passages(path, columns=columns) == [Passage("c.csv#2", "H", "x"), Passage("c.csv#3", "", "y")]


def test_spaces_around_the_names_of_columns(tmp_path: Path) -> None:
    path = written(tmp_path, " id ; text\t;a, b; \n 1; x ;2;3\n")
    assert passages(path) == [Passage(" 1", "", " x ", metadata={"a, b": 2})]


def test_spaces_behind_each_separator(tmp_path: Path) -> None:
    path = written(tmp_path, 'id, title, text\n1, "A, B", x\n2, C, "y ""z"""\n')
    assert passages(path) == [Passage("1", "A, B", "x"), Passage("2", "C", 'y "z"')]


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        ('id\ttext\tn\n1\t"Yes," he said\t1\n2\t"open\t2\n3\tx\t3\n', ['"Yes," he said', '"open', "x"]),
        ('id\ttext\tn\n1\t"a\tb"\t1\n2\t"c ""d"""\t2\n', ["a\tb", 'c "d"']),
    ],
)
def test_quotes_between_tabs(tmp_path: Path, data: str, texts: list[str]) -> None:
    """They are signs of texts where rows are bad with them and good without."""
    for name in ("c.tsv", "c.csv"):
        found = passages(written(tmp_path, data, name))
        assert [p.text for p in found] == texts
        assert [p.metadata["n"] for p in found] == list(range(1, len(texts) + 1))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", r"line 1: no column 'id' and no column 'text' \(there are: \)"),
        ("key,text\n", r"line 1: no column 'id' \(there are: 'key', 'text'\)"),
        ('id,"text body"\n', r"line 1: no column 'text' \(there are: 'id', 'text body'\)"),
        ("id,text,a, a\n", "line 1: two columns are named 'a'"),
        ("id,text,a,a\n", "line 1: two columns are named 'a'"),
        ('"id,text\n', "line 1: not csv"),
        (b"id,text,\xff\n", "line 1: invalid UTF-8, byte 0xff at offset 8 of the file"),
        ("id,text\n1,x,y\n", "line 2: 3 cells, the header has 2"),
        ("id,text\n1\n", "line 2: 1 cell, the header has 2"),
        ("id,text\r1,x\r", "line 1: not csv .*new-line"),
        ("\n\r\nkey,text\n", r"line 3: no column 'id' \(there are: 'key', 'text'\)"),
        ('id,text\n1,"x"y\n', "line 2: not csv"),
        ('id,text\n1,"x\ny\n', "line 2: not csv"),
        ("id,text\n1,\n", "line 2: the row with id '1' has no text"),
        (b"id,text\n1,caf\xe9\n", "line 2: invalid UTF-8 in `text`, byte 0xe9 at character 3"),
        (b"id,text,n\n1,x,\xe9\n", "line 2: invalid UTF-8 in `n`, byte 0xe9 at character 0"),
    ],
)
def test_bad_csv_names_the_line(tmp_path: Path, data: str | bytes, message: str) -> None:
    path = written(tmp_path, data)
    with pytest.raises(BadDocument, match=message) as caught:
        passages(path)
    assert caught.value.place.startswith(str(path))
    assert caught.value.remedy


def test_rows_after_a_bad_one_are_read(tmp_path: Path) -> None:
    data = b'id,text,n\n1,a,1\n2,"b"x,2\n3,c,3\n4,d\n5,\xff,5\n6,"f\nf",6\n'
    problems = Problems(keep_going=True)
    found = passages(written(tmp_path, data), problems=problems)
    assert [(p.id, p.metadata["n"]) for p in found] == [("1", 1), ("3", 3), ("6", 6)]
    assert [problem.place.rpartition(" ")[2] for problem in problems.first] == ["3", "5", "6"]
