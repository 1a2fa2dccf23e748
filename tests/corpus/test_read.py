"""Reading corpora: every format, and every bad input with its place in the message."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragscale.corpus import Chunking, read
from ragscale.errors import CorpusError, InvalidInput
from ragscale.types import Passage

ROWS = [
    {"id": "a", "title": "Ada", "text": "Ada Lovelace wrote notes.", "year": 1843},
    {"id": 2, "text": "Zażółć gęślą jaźń 🦆"},
]
PASSAGES = [Passage("a", "Ada", "Ada Lovelace wrote notes."), Passage("2", "", "Zażółć gęślą jaźń 🦆")]


def passages(*paths: Path, chunking: Chunking | None = None) -> list[Passage]:
    return [record.passage for record in read(paths, chunking)]


def lines(rows: list[dict[str, object]]) -> bytes:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


def test_jsonl_with_blank_lines_and_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + lines(ROWS).replace(b"\n", b"\r\n\r\n") + b"\n\n")
    assert passages(path) == PASSAGES
    assert [str(record.place) for record in read([path])] == [f"{path}, line 1", f"{path}, line 3"]


def test_gzipped_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl.gz"
    path.write_bytes(gzip.compress(lines(ROWS)))
    assert passages(path) == PASSAGES


def test_parquet_with_and_without_titles(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    pq.write_table(pa.table({"text": ["x", "y"], "id": ["1", "2"], "title": ["T", None], "n": [1, 2]}), path)
    assert passages(path) == [Passage("1", "T", "x"), Passage("2", "", "y")]
    pq.write_table(pa.table({"text": ["x"], "id": [7]}), path)
    assert passages(path) == [Passage("7", "", "x")]


def test_corpora_are_read_in_the_order_given(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_bytes(lines([{"id": name, "text": name}]))
    assert [p.id for p in passages(tmp_path / "b.jsonl", tmp_path / "a.jsonl")] == ["b", "a"]


def test_folder_is_cut_into_chunks_with_titles(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "no.txt").write_text("hidden")
    (tmp_path / "note.pdf").write_bytes(b"%PDF")
    (tmp_path / "empty.md").write_text("\n")
    (tmp_path / "sub" / "b.md").write_text("intro\n\n## The *first* heading ##\n\n" + "word " * 100)
    (tmp_path / "a.TXT").write_text("# not a heading\nplain text")
    found = passages(tmp_path, chunking=Chunking(200, 20))
    assert found[0] == Passage("a.TXT#0", "a", "# not a heading\nplain text")
    assert [p.id for p in found[1:]] == [f"sub/b.md#{n}" for n in range(len(found) - 1)]
    assert len(found) > 3
    assert {p.title for p in found[1:]} == {"The *first* heading"}
    assert all(len(p.text) <= 200 for p in found)
    assert passages(tmp_path / "sub" / "b.md")[0].id == "b.md#0"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.integers(5, 300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
def test_chunks_hold_every_word_of_a_file(tmp_path: Path, text: str, size: int) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(text.encode())
    if not text.strip():
        return
    try:
        found = passages(path, chunking=Chunking(size, 0))
    except CorpusError:
        assert not text.strip("\ufeff").strip()
        return
    joined = "".join("".join(p.text.split()) for p in found)
    assert joined == "".join(text.removeprefix("\ufeff").split())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the corpus is empty"),
        (b"\n  \n", "the corpus is empty"),
        (b'{"id":"a","text":"x"}\n{"id":', "line 2: not JSON"),
        (b"[1]", "line 1: a JSON list, not an object"),
        (b"[" * 100_000, "line 1: not JSON"),
        (b'{"text":"x"}', "line 1: no id (None)"),
        (b'{"id":true,"text":"x"}', "line 1: no id (True)"),
        (b'{"id":" ","text":"x"}', "line 1: no id (' ')"),
        (b'{"id":"a"}', "line 1: the row with id 'a' has no text (None)"),
        (b'{"id":"a","text":" \\n"}', "line 1: the row with id 'a' has no text (' \\n')"),
        (b'{"id":"a","text":["x"]}', "has no text (['x'])"),
        (b'{"id":"a","text":"x","title":3}', "the title of 'a' is not text (3)"),
        (b'{"id":"a","text":"x\\ud83d"}', "line 1: `text` holds half a surrogate pair ('\\ud83d') at character 1"),
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


def test_gzip_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl.gz"
    whole = gzip.compress(b"".join(b'{"id":%d,"text":"%d"}\n' % (n, n * n) for n in range(5000)))
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorpusError, match=r"damaged gzip file after line [1-9]"):
        passages(path)
    path.write_bytes(b"plain text")
    with pytest.raises(CorpusError, match="damaged gzip file after line 0"):
        passages(path)


def test_bad_parquet(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    path.write_bytes(b"nothing of the sort")
    with pytest.raises(CorpusError, match="not a parquet file"):
        passages(path)
    pq.write_table(pa.table({"body": ["x"], "id": ["1"]}), path)
    with pytest.raises(CorpusError, match=r"no column text \(there are: body, id\)"):
        passages(path)
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


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_invalid_utf8_in_a_text_file(tmp_path: Path, mark: bytes) -> None:
    (tmp_path / "t.txt").write_bytes(mark + b"one\ntw\xe9o\n")
    with pytest.raises(CorpusError, match=rf"t.txt, line 2: invalid UTF-8, byte 0xe9 at offset {6 + len(mark)} "):
        passages(tmp_path)


def test_paths_that_are_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such file"):
        passages(tmp_path / "absent.jsonl")
    (tmp_path / "c.csv").write_text("id,text")
    with pytest.raises(CorpusError, match=r"c\.csv: unknown kind of corpus"):
        passages(tmp_path / "c.csv")
    with pytest.raises(CorpusError, match=r"the corpus is empty.*\.md or \.txt"):
        passages(tmp_path)


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (10, 10), (10, -1)])
def test_chunking_out_of_range(size: int, overlap: int) -> None:
    with pytest.raises(InvalidInput, match="chunk"):
        Chunking(size, overlap)
