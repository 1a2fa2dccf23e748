"""Reading jsonl, Wikipedia and parquet files: good rows, and every bad one with its place in the message."""

from __future__ import annotations

import bz2
import datetime
import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made import jsonl, passages

from ragscale.corpus import Chunking, Columns, Problems, read
from ragscale.corpus.lines import LINE_LIMIT
from ragscale.errors import BadDocument, CorpusError
from ragscale.types import Passage

ROWS = [
    {"id": "a", "title": "Ada", "text": "Ada Lovelace wrote notes.", "year": 1843},
    {"id": 2, "text": "Zażółć gęślą jaźń 🦆"},
]
PASSAGES = [
    Passage("a", "Ada", "Ada Lovelace wrote notes.", metadata={"year": 1843}),
    Passage("2", "", "Zażółć gęślą jaźń 🦆"),
]
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def test_jsonl_with_blank_lines_and_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + jsonl(ROWS).replace(b"\n", b"\r\n\r\n") + b"\n\n")
    assert passages(path) == PASSAGES
    assert [str(record.place) for record in read([path])] == [f"{path}, line 1", f"{path}, line 3"]


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_compressed_jsonl(tmp_path: Path, suffix: str, pack: object) -> None:
    path = tmp_path / f"c.jsonl{suffix}"
    path.write_bytes(pack(jsonl(ROWS)))  # type: ignore[operator]
    assert passages(path) == PASSAGES


def test_ids_made_of_lines_and_rows(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.jsonl").write_bytes(b'{"id": "mine", "text": "x"}\n\n{"text": "y"}\n')
    pq.write_table(pa.table({"text": ["x", "y"]}), tmp_path / "b.parquet")
    found = passages(tmp_path, columns=Columns(id="#"))
    assert [passage.id for passage in found] == ["b.parquet#1", "b.parquet#2", "deep/a.jsonl#1", "deep/a.jsonl#3"]
    assert not any(passage.metadata for passage in found)


NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXT
RESERVED = {*Columns().names, "metadata"}
NAMES = TEXT.filter(lambda name: name not in RESERVED and Columns().among([name]) == Columns())  # nor another for one


@given(st.dictionaries(NAMES, SCALARS | st.lists(SCALARS), max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_scalar_columns_of_jsonl_come_back_as_metadata(tmp_path: Path, columns: dict[str, object]) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(jsonl([{"id": "a", "text": "x", **columns}]))
    kept = {name: value for name, value in columns.items() if value is not None and not isinstance(value, list)}
    found = passages(path)[0].metadata
    assert found == kept
    assert {name: type(value) for name, value in found.items()} == {name: type(value) for name, value in kept.items()}


def test_members_of_a_metadata_object_are_columns(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(jsonl([{"id": "a", "text": "x", "metadata": {"url": "u", "n": 1, "more": {}}, "n": 2}]))
    assert passages(path)[0].metadata == {"url": "u", "n": 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the corpus is empty"),
        (b"\n  \n", "the corpus is empty"),
        (b'{"id":"a","text":"x"}\n{"id":', "line 2: not JSON"),
        (b"[1]", "line 1: a JSON list, not an object"),
        (b"[" * 100_000, "line 1: not JSON"),
        (b'{"text":"x"}', "line 1: no id (there are: 'text')"),
        (b'{"id":true,"text":"x"}', "line 1: no id (True)"),
        (b'{"id":" ","text":"x"}', "line 1: no id (' ')"),
        (b'{"id":"a","note":"x"}', "line 1: the row with id 'a' has no text (there are: 'id', 'note')"),
        (b'{"id":"a","text":" \\n"}', "line 1: the row with id 'a' has no text (' \\n')"),
        (b'{"id":"a","text":["x",1]}', "has no text (['x', 1])"),
        (b'{"id":"a","text":[]}', "has no text ([])"),
        (b'{"id":"a","text":"x\\u0000"}', "line 1: `text` holds a NUL, which is no text, at character 1"),
        (b'{"id":"a","text":"x","n":"\\u0000"}', "line 1: `n` holds a NUL"),
        (b'[\n{"id":"a","text":"x"},\n{"id":\n]', "line 3: not JSON"),
        (b'{"id":"a","text":"x","title":[3]}', "the title of 'a' is not text ([3])"),
        (b'{"id":"a","text":"x","title":true}', "the title of 'a' is not text (True)"),
        (b'{"id":"a","text":[["x"],[1]]}', "has no text ([['x'], [1]])"),
        (b'{"id":"a","text":"x","document":[1]}', "the document of 'a' is no id ([1])"),
        (b'{"id":"a","text":"x\\ud83d"}', "line 1: `text` holds half a surrogate pair ('\\ud83d') at character 1"),
        (b'{"id":"a","text":"x","n":"\\ud83d"}', "line 1: `n` holds half a surrogate pair"),
        (b'{"id":"a","text":"x","\\ud83d":1}', "line 1: `name of a field` holds half a surrogate pair"),
        (b'{"id":"a","text":"x"}\n{"id":"b","text":"\xff"}', "line 2: invalid UTF-8, byte 0xff at offset 40 "),
        (b'\xef\xbb\xbf{"id":"a","text":"\xff"}', "line 1: invalid UTF-8, byte 0xff at offset 21 "),
    ],
)
def test_bad_jsonl_names_file_and_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    with pytest.raises(CorpusError) as caught:
        passages(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.remedy


def test_a_line_without_end(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b'{"id":"a","text":"')
        for _ in range(2 * LINE_LIMIT // (1 << 20)):
            file.write(b"x" * (1 << 20))
        file.write(b'"}\n{"id":"b","text":"short"}\n')
    problems = Problems(keep_going=True)
    assert [p.id for p in passages(path, problems=problems)] == ["b"]
    assert str(problems.first[0]) == f"{path}, line 1: a line of more than {LINE_LIMIT:,} bytes"


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_compressed_file_cut_short(tmp_path: Path, suffix: str, pack: object) -> None:
    path = tmp_path / f"c.jsonl{suffix}"
    whole = pack(b"".join(b'{"id":%d,"text":"%d"}\n' % (n, n * n) for n in range(40_000)))  # type: ignore[operator]
    path.write_bytes(whole[: len(whole) * 9 // 10])
    with pytest.raises(BadDocument, match=r"damaged or unreadable after line [1-9]"):
        passages(path)
    path.write_bytes(b"plain text")
    with pytest.raises(BadDocument, match="damaged or unreadable after line 0"):
        passages(path)


def test_wikipedia_articles_are_documents(tmp_path: Path) -> None:
    (tmp_path / "AA").mkdir()
    article = {"id": "12", "revid": "9", "url": "https://w?curid=12", "title": "A", "text": "one two\n\n" * 40}
    (tmp_path / "AA" / "wiki_00").write_bytes(jsonl([article, {**article, "id": "13", "text": ""}]))
    (tmp_path / "AA" / "wiki_01.bz2").write_bytes(bz2.compress(jsonl([{**article, "id": "14", "text": "short"}])))
    problems = Problems()
    found = passages(tmp_path, chunking=Chunking(100, 0), problems=problems)
    assert [p.id for p in found] == ["12#0", "12#1", "12#2", "12#3", "14#0"]
    assert found[-1] == Passage("14#0", "A", "short", "14", {"revid": "9", "url": "https://w?curid=12"})
    assert problems.left_out == {"articles without text": 1}


def test_parquet_with_and_without_titles(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    pq.write_table(pa.table({"text": ["x", "y"], "id": ["1", "2"], "title": ["T", None], "n": [1, None]}), path)
    assert passages(path) == [Passage("1", "T", "x", metadata={"n": 1}), Passage("2", "", "y")]
    pq.write_table(pa.table({"text": ["x"], "id": [7], "document": [3]}), path)
    assert passages(path) == [Passage("7", "", "x", "3")]


def test_types_of_parquet_columns(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    day = datetime.date(2020, 2, 3)
    table = {"id": ["1"], "text": ["x"], "on": [day], "blob": [b"\xff"], "tags": [["a"]], "nan": [float("nan")]}
    pq.write_table(pa.table({**table, "half": pa.array([0.5], pa.float32()), "ok": [True]}), path)
    assert passages(path)[0].metadata == {"on": "2020-02-03", "half": 0.5, "ok": True}


def test_members_of_a_metadata_struct_are_columns(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    rows = [{"id": "1", "text": "x", "metadata": {"url": "u", "n": 1, "more": {"m": 1}}, "n": 2, "other": {"k": 1}}]
    pq.write_table(pa.Table.from_pylist([*rows, {"id": "2", "text": "y"}]), path)
    assert [p.metadata for p in passages(path)] == [{"url": "u", "n": 2}, {}]


@pytest.mark.parametrize("times", [pa.array([2**31 - 1, 0], pa.date32()), pa.array([2**40, 0], pa.timestamp("s"))])
def test_times_beyond_the_calendar(tmp_path: Path, times: pa.Array) -> None:
    path = tmp_path / "c.parquet"
    pq.write_table(pa.table({"id": ["1", "2"], "text": ["x", "y"], "on": times}), path)
    with pytest.raises(BadDocument, match=r"row 1: `on` cannot be read \(.*Write it as text"):
        passages(path)
    problems = Problems(keep_going=True)
    assert [p.id for p in passages(path, problems=problems)] == ["2"]
    assert [problem.place for problem in problems.first] == [f"{path}, row 1"]


def test_bad_parquet(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    path.write_bytes(b"nothing of the sort")
    with pytest.raises(CorpusError, match="not a parquet file"):
        passages(path)
    pq.write_table(pa.table({"note": ["x"], "id": ["1"]}), path)
    with pytest.raises(CorpusError, match=r"no column 'text' \(there are: 'note', 'id'\).*--columns"):
        passages(path)
    assert passages(path, columns=Columns(text="note"))[0].text == "x"
    with pytest.raises(CorpusError, match="no column 'headline'"):
        passages(path, columns=Columns(text="note", title="headline"))
    pq.write_table(pa.table({"id": ["1"], "text": [[1, 2]]}), path)
    with pytest.raises(CorpusError, match=r"c\.parquet: `text` is list<.*int64>, not text\. Write it as"):
        passages(path)
    pq.write_table(pa.table({"key": [b"1"], "text": ["x"]}), path)
    with pytest.raises(CorpusError, match=r"c\.parquet: `key` is binary, not text"):
        passages(path, columns=Columns(id="key"))
    assert passages(path, columns=Columns(id="#"))[0].text == "x"
    pq.write_table(pa.table({"id": ["1", "2"], "text": ["x", None]}), path)
    with pytest.raises(CorpusError, match="row 2: the row with id '2' has no text"):
        passages(path)
    invalid = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xff"))
    pq.write_table(pa.table({"id": ["1"], "text": invalid}), path)
    with pytest.raises(CorpusError, match="row 1: invalid UTF-8 in `text`, byte 0xff at its offset 1"):
        passages(path)
    pq.write_table(pa.table({"id": pa.array([], pa.string()), "text": pa.array([], pa.string())}), path)
    with pytest.raises(CorpusError, match="the corpus is empty"):
        passages(path)


def test_damaged_pages_of_a_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    pq.write_table(pa.table({"id": [str(n) for n in range(5000)], "text": ["x" * 40] * 5000}), path)
    data = bytearray(path.read_bytes())
    data[100:2000] = bytes(1900)
    path.write_bytes(data)
    with pytest.raises(BadDocument, match="damaged parquet file after row 0"):
        passages(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b'[{"id": "1", "text": "x"}, {"id": "2", "text": "y"}]'),
        ("a.json", b'\xef\xbb\xbf{"version": 2, "data": [\n{"id": 1, "text": "x"},\n{"id": 2, "text": "y"}\n]}'),
        ("a.json", b'{"id": "1", "text": "x"}\n{"id": "2", "text": "y"}\n'),
        ("a.jsonl", b'[\n{"id": "1", "text": "x"},\n{"id": "2", "text": "y"}\n]\n'),
        ("a.jsonl", b'[{"id": "1", "text": "x"},\n\n{"id": "2", "text": "y"}]'),
        ("a.jsonl", b'{"_id": "1", "contents": "x"}\n{"docid": 2, "content": ["y"]}'),
        ("a.jsonl", '{"id": "1", "text": "x"}\n{"id": "2", "text": "y"}\n'.encode("utf-16")),
        ("a.json.gz", gzip.compress(b'[{"id": "1", "text": "x"}, {"id": "2", "text": "y"}]', mtime=0)),
        ("a.csv", b"_id,contents\n1,x\n2,y\n"),
        ("a.csv", b"sep=;\r\nid;text\r\n1;x\r\n2;y\r\n"),
        ("a.csv", '"sep=|"\nid|text\n1|x\n2|y\n'.encode("utf-16")),
        ("a.csv", b"ID;Passage Text\n1;x\n2;y\n"),
        ("a.json", b'{"id": {"0": 1, "1": 2}, "text": {"0": "x", "1": "y"}}'),
        ("a.json", b'{"id": [1.0, 2.0], "text": ["x", "y"]}'),
        ("a.json", b'{"1": {"text": "x"}, "2": {"body": "y"}}'),
        (
            "a.json",
            b'{"rows": [{"row_idx": 0, "row": {"id": 1, "text": "x"}}, {"row_idx": 1, "row": {"id": 2, "text": "y"}}],'
            b' "features": []}',
        ),
        (
            "a.json",
            b'{"docstore/metadata": {}, "docstore/data": {"1": {"__data__": {"text": "x"}, "__type__": "1"},'
            b' "2": {"__data__": {"text": "y"}, "__type__": "1"}}}',
        ),
        (
            "a.json",
            b'[{"lc": 1, "id": ["langchain"], "kwargs": {"id": "1", "page_content": "x"}}, {"id": 2, "text": "y"}]',
        ),
        ("a.jsonl", b'{"id_": "1", "text": "x"}\n{"docno": "2", "body": "y"}\n'),
        ("a.jsonl", b'{"pid": 1, "passage": "x"}\n{"corpus-id": "2", "article": "y"}\n'),
    ],
)
def test_shapes_of_other_tools(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert [(p.id, p.text) for p in passages(tmp_path / name)] == [("1", "x"), ("2", "y")]


def test_titles_and_metadata_of_other_tools(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    rows = [
        {"id": "1", "page_content": "x", "metadata": {"title": "T", "page": 3}},
        {"_id": "2", "wikipedia_title": "T", "text": ["y"]},
        {"id": "3", "content": "z", "meta": {"year": 1804}},
        {"id": "4", "title": "T", "text": "x", "metadata": {"title": "of the file"}},
    ]
    path.write_bytes(jsonl(rows))
    assert passages(path) == [
        Passage("1", "T", "x", metadata={"page": 3}),
        Passage("2", "T", "y"),
        Passage("3", "", "z", metadata={"year": 1804}),
        Passage("4", "T", "x"),
    ]
    pq.write_table(pa.table({"id": ["3"], "content": ["z"], "meta": [{"year": 1804}]}), tmp_path / "c.parquet")
    assert passages(tmp_path / "c.parquet") == [Passage("3", "", "z", metadata={"year": 1804})]


def test_lists_of_sentences_and_paragraphs(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(jsonl([{"id": 1, "text": ["A b.", " C d. ", ""]}, {"id": 2, "text": ["P\n", "Q\n"]}]))
    assert [p.text for p in passages(path)] == ["A b. C d.", "P\nQ"]
    nested = [["A b.", " C d."], ["E."]]
    path.write_bytes(jsonl([{"id": 1, "title": 1984, "text": nested}]))
    assert [(p.title, p.text) for p in passages(path)] == [("1984", "A b. C d.\nE.")]
    for name, texts in (("flat", [["A.", "B."], ["C."]]), ("nested", [nested, []])):
        table = tmp_path / f"{name}.parquet"
        pq.write_table(pa.table({"id": [1, 2], "title": [1984, 5], "text": texts}).slice(0, 1), table)
        assert [(p.title, p.text) for p in passages(table)] == [
            ("1984", "A. B." if name == "flat" else "A b. C d.\nE.")
        ]


def test_json_of_one_row(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"id": 7, "text": ["one", "two"], "tags": [1]}')
    assert [(p.id, p.text) for p in passages(path)] == [("7", "one two")]


@pytest.mark.parametrize("content", ['{"train": [{"id": 1}], "test": []}', '{"a": {"size": 1}, "b": {"size": 2}}'])
def test_json_whose_rows_are_not_told(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(
        CorpusError, match=r"empty \(left out: 1 json files of several arrays or of an object of objects"
    ):
        passages(path)


def test_json_that_holds_no_rows_is_counted(tmp_path: Path) -> None:
    for name, content in (("a.json", '{"name": "settings", "list": [1]}'), ("b.json", "3"), ("c.txt", "text")):
        (tmp_path / name).write_text(content)
    problems = Problems()
    assert [p.text for p in passages(tmp_path, problems=problems)] == ["text"]
    assert problems.left_out == {"json files without an array of objects": 2}
    (tmp_path / "d.json").write_text('{"a": ')
    with pytest.raises(BadDocument, match=r"d\.json: not JSON .*Write an array of objects"):
        passages(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json", "a.txt", "a.md", "a.html"])
def test_utf_16_without_a_mark_is_named(tmp_path: Path, name: str, encoding: str) -> None:
    (tmp_path / name).write_bytes("id,text\n1,Some words of English text.\n".encode(encoding))
    message = (
        rf"{name}.*: a NUL, which is no text, at offset [01]\. Convert .* iconv -f {encoding.replace('6-', '6')} -t"
    )
    with pytest.raises(BadDocument, match=message):
        passages(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html"])
def test_marks_of_encodings(tmp_path: Path, name: str, encoding: str) -> None:
    (tmp_path / name).write_bytes("zażółć\n\n铑 🦆".encode(encoding))
    assert passages(tmp_path)[0].text.split() == ["zażółć", "铑", "🦆"]
    (tmp_path / name).write_bytes("zażółć".encode(encoding)[:-1])
    with pytest.raises(BadDocument, match=r"a\..*(invalid utf|invalid UTF)"):
        passages(tmp_path)


def test_one_nul_is_of_one_row_or_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,text\n1,some words\n2,rho\0dium\n3,more words\n")
    problems = Problems(keep_going=True)
    assert [p.id for p in passages(tmp_path, problems=problems)] == ["1", "3"]
    assert problems.first[0].reason == "`text` holds a NUL, which is no text, at character 3"
    (tmp_path / "b.txt").write_bytes(b"some words\nand rho\0dium\n")
    with pytest.raises(BadDocument, match=r"b\.txt, line 2: a NUL, which is no text, at offset 18"):
        passages(tmp_path / "b.txt")
