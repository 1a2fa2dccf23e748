"""The front door: which reader a corpus gets, in which order, and what stops it or is left out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from made import GUIDE, docx, jsonl, passages, pdf, zipped

from ragscale.corpus import Chunking, Columns, FieldTypes, Problem, Problems, read
from ragscale.corpus.read import kind_of
from ragscale.errors import BadDocument, CorpusError
from ragscale.index import Index
from ragscale.types import Passage


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jsonl", "jsonl"),
        ("a.json.gz", "json"),
        ("A.JSONL.GZ", "jsonl"),
        ("a.ndjson.bz2", "jsonl"),
        ("a.csv", "csv"),
        ("a.tsv.gz", "csv"),
        ("a.parquet", "parquet"),
        ("a.parquet.gz", None),
        ("a.md", "md"),
        ("a.md.gz", None),
        ("a.txt.bz2", "txt"),
        ("x/a.htm", "html"),
        ("AA/wiki_00", "wikipedia"),
        ("wiki_07.bz2", "wikipedia"),
        ("wiki_notes", None),
        ("a.doc", None),
        ("jsonl", None),
    ],
)
def test_kinds_by_name(name: str, kind: str | None) -> None:
    assert kind_of(name) == kind


def test_corpora_are_read_in_the_order_given(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_bytes(jsonl([{"id": name, "text": name}]))
    assert [p.id for p in passages(tmp_path / "b.jsonl", str(tmp_path / "a.jsonl"))] == ["b", "a"]


def everything(folder: Path) -> Path:
    """A folder with a file of each kind."""
    (folder / "sub").mkdir(parents=True)
    files = {
        "a.md": GUIDE.encode(),
        "b.docx": docx(),
        "c.pdf": pdf(["page one"]),
        "d.html": b"<h1>Head</h1><p>body",
        "e.csv": b"id,text,year\ne1,csv row,1990\n",
        "f.jsonl": jsonl([{"id": "f1", "text": "json row", "year": 2000.5}]),
        "sub/g.TXT": b"plain",
        "sub/h.zip": zipped({"i/j.txt": b"in a zip", "k.jsonl": jsonl([{"id": "k1", "text": "row in a zip"}])}),
        "sub/l.png": b"no text",
        "sub/wiki_00": jsonl([{"id": "7", "url": "u", "title": "T", "text": "article"}]),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def test_a_folder_of_all_kinds(tmp_path: Path) -> None:
    fields, problems = FieldTypes(), Problems()
    found = passages(everything(tmp_path / "all"), fields=fields, problems=problems)
    assert [p.id for p in found] == [
        *("a.md#0", "b.docx#0", "c.pdf#0", "d.html#0", "e1", "f1"),
        *("sub/g.TXT#0", "sub/h.zip/i/j.txt#0", "k1", "7#0"),
    ]
    documents = {p.id: p.document for p in found}
    assert documents["a.md#0"] == "a.md"
    assert documents["sub/h.zip/i/j.txt#0"] == "sub/h.zip/i/j.txt"
    assert documents["e1"] == ""
    assert documents["7#0"] == "7"
    text, number = "large_string", "double"
    assert fields.types == {"path": text, "page": "int64", "year": number, "url": text}
    assert problems.left_out == {".png files": 1}
    assert problems.count == 0


def test_reading_twice_gives_the_same(tmp_path: Path) -> None:
    folder = everything(tmp_path / "all")
    assert list(read([folder])) == list(read([folder]))


def test_hidden_files_and_linked_folders_are_left_out(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / ".git").mkdir(parents=True)
    (root / ".git" / "no.txt").write_text("hidden")
    (root / ".no.txt").write_text("hidden")
    (root / "yes.txt").write_text("shown")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "no.txt").write_text("behind a link")
    (root / "link").symlink_to(tmp_path / "other")
    assert [p.id for p in passages(root)] == ["yes.txt#0"]


def test_names_of_a_single_file(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("text")
    assert passages(tmp_path / "b.md") == [Passage("b.md#0", "b", "text", "b.md", {"path": "b.md"})]


def test_paths_that_are_no_corpus(tmp_path: Path) -> None:
    keep_going = Problems(keep_going=True)
    for problems in (None, keep_going):
        with pytest.raises(CorpusError, match="no such file"):
            passages(tmp_path / "absent.jsonl", problems=problems)
        (tmp_path / "c.doc").write_text("id,text")
        with pytest.raises(CorpusError, match=r"c\.doc: unknown kind of corpus.*\.docx"):
            passages(tmp_path / "c.doc", problems=problems)
        with pytest.raises(CorpusError, match=r"the corpus is empty.*\.md"):
            passages(tmp_path, problems=problems)
    assert keep_going.count == 0


@pytest.fixture
def half_bad(tmp_path: Path) -> Path:
    """Ten bad documents and two good ones."""
    files = {
        "a.pdf": b"%PDF-1.4 nothing of the sort",
        "b.docx": b"PK nothing",
        "c.txt": b"caf\xe9",
        "d.md": b" \n",
        "e.jsonl": b'{"id":"e1","text":"good"}\n{"id":\n{"id":"e3","text":""}\n{"id":"e4","text":"\xff"}\n[]',
        "f.zip": b"no zip",
        "g.parquet": b"no parquet",
        "h.csv": b"id,text\nh1,good\nh2\n",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


BAD = ["a.pdf", "b.docx", "c.txt, line 1", "d.md", *(f"e.jsonl, line {n}" for n in (2, 3, 4, 5)), "f.zip", "g.parquet"]
BAD += ["h.csv, line 3"]


def test_keep_going_reports_what_it_skips(half_bad: Path) -> None:
    shown: list[Problem] = []
    problems = Problems(keep_going=True, show=shown.append)
    assert [p.id for p in passages(half_bad, problems=problems)] == ["e1", "h1"]
    assert [problem.place for problem in shown] == [f"{half_bad}/{place}" for place in BAD]
    assert all(problem.reason and problem.remedy for problem in shown)
    assert (problems.count, problems.first) == (len(BAD), shown)
    assert str(shown[2]).endswith("c.txt, line 1: invalid UTF-8, byte 0xe9 at offset 3 of the file")


@pytest.mark.parametrize("place", BAD)
def test_one_bad_document_stops_the_reading(half_bad: Path, place: str) -> None:
    path = half_bad / place.split(",")[0]
    with pytest.raises(BadDocument) as caught:
        passages(path)
    assert caught.value.place.startswith(str(path))
    assert caught.value.remedy


def test_nothing_but_bad_documents(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff")
    (tmp_path / "b.txt").write_bytes(b"")
    with pytest.raises(CorpusError, match=r"no passage in all: 2 bad documents skipped.*a\.txt, line 1: invalid UTF-8"):
        passages(tmp_path, problems=Problems(keep_going=True))


def test_the_first_thousand_problems_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id":"a","text":"good"}\n' + b"bad\n" * 1500)
    problems = Problems(keep_going=True)
    assert len(passages(path, problems=problems)) == 1
    assert (problems.count, len(problems.first)) == (1500, 1000)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_without_permission(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "a.txt").chmod(0)
    with pytest.raises(BadDocument, match=r"a\.txt: damaged or unreadable \(.*Permission denied"):
        passages(tmp_path)


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "gone.md").symlink_to(tmp_path / "absent")
    problems = Problems(keep_going=True)
    with pytest.raises(CorpusError, match="no passage in all"):
        passages(tmp_path, problems=problems)
    assert [problem.reason for problem in problems.first] == ["not a regular file"] * 2


def test_rows_are_cut_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    row = {"id": "r", "title": "T", "text": "# One\n\nfirst\n\n# Two\n\nsecond", "year": 1990}
    path.write_bytes(jsonl([row, {**row, "id": "s", "document": "d"}]))
    assert [p.id for p in passages(path)] == ["r", "s"]
    fields = FieldTypes()
    found = passages(path, chunking=Chunking(by="headings", rows=True), fields=fields)
    assert found[0] == Passage("r#0", "T > One", "first", "r", {"year": 1990, "heading": "One"})
    assert [(p.id, p.document) for p in found] == [("r#0", "r"), ("r#1", "r"), ("s#0", "d"), ("s#1", "d")]
    assert fields.types == {"year": "int64", "heading": "large_string"}


def test_a_field_keeps_one_type_over_all_corpora(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl([{"id": "a", "text": "x", "year": 1990}]))
    (tmp_path / "b.jsonl").write_bytes(jsonl([{"id": "b", "text": "x", "year": "MCMXC"}, {"id": "c", "text": "x"}]))
    problems = Problems()
    found = passages(tmp_path, problems=problems)
    assert [(p.id, dict(p.metadata)) for p in found] == [("a", {"year": 1990}), ("b", {}), ("c", {})]
    assert problems.left_out == {"values of `year` that are text, not a whole number": 1}
    assert passages(tmp_path / "b.jsonl", fields=FieldTypes({"year": "int64"}))[0].metadata == {}


def test_columns_with_other_names(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl([{"_id": "x", "contents": "body", "lang": "en"}]))
    assert passages(path, columns=Columns(id="_id", text="contents"))[0] == Passage("x", "", "body", "", {"lang": "en"})
    assert passages(path, columns=Columns(id="#", text="contents"))[0].id == "a.jsonl#1"


def test_standard_input() -> None:
    code = "from ragscale.corpus import read\nfor r in read(['-']): print(r.passage.id, r.place)"
    rows = jsonl([{"id": n, "text": "x"} for n in range(3)])
    done = subprocess.run([sys.executable, "-c", code], input=rows, capture_output=True, check=True)
    assert done.stdout.decode().splitlines() == [f"{n} -, line {n + 1}" for n in range(3)]


def test_an_index_among_the_documents_is_left_out(tmp_path: Path) -> None:
    Index.build([_note(tmp_path, "a.md")], tmp_path / "index", embedder=None).close()
    problems = Problems()
    found = [record.passage.id for record in read([tmp_path], problems=problems)]
    assert found == ["a.md#0"]
    assert problems.left_out["indexes"] == 1


def test_a_file_name_that_is_no_text_is_a_bad_document(tmp_path: Path) -> None:
    _note(tmp_path, "good.md")
    os.rename(_note(tmp_path, "bad.md"), os.fsencode(tmp_path) + b"/bad\xff.md")
    with pytest.raises(BadDocument, match="name is not UTF-8"):
        list(read([tmp_path]))
    problems = Problems(keep_going=True)
    assert [record.passage.id for record in read([tmp_path], problems=problems)] == ["good.md#0"]
    alone = Problems(keep_going=True)
    named = [tmp_path / os.fsdecode(b"bad\xff.md"), tmp_path / "good.md"]
    assert [record.passage.id for record in read(named, problems=alone)] == ["good.md#0"]
    assert alone.first == problems.first


def _note(folder: Path, name: str) -> Path:
    (folder / name).write_text("some words")
    return folder / name
