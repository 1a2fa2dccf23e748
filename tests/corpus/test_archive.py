"""Zip archives: their members in order, and hostile ones."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made import GUIDE, complaint, docx, jsonl, passages, pdf, zipped

from ragscale.corpus import Problems
from ragscale.errors import BadDocument


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    return path


def test_members_by_sorted_name(tmp_path: Path) -> None:
    members = {
        "z.md": GUIDE.encode(),
        "b/": b"",
        "b/a.pdf": pdf(["in a zip"]),
        "a.docx": docx(),
        ".hidden.txt": b"no",
        "__MACOSX/._z.md": b"no",
        "c.csv": b"id,text,year\n1,x,1990\n",
        "d.jsonl": jsonl([{"id": "d", "text": "x"}]),
        "e.png": b"no",
        "f.zip": zipped({"a.txt": b"no"}),
    }
    problems = Problems()
    path = written(tmp_path, zipped(members))
    found = passages(path, problems=problems)
    assert [p.id for p in found] == ["a.docx#0", "b/a.pdf#0", "1", "d", "z.md#0"]
    assert found[2].metadata == {"year": 1990}
    assert problems.left_out == {".png files": 1, "zip archives in archives": 1}


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, text in (("a.txt", "old"), ("./a.txt", "other"), ("b.txt", "text"), ("a.txt", "new")):
            archive.writestr(name, text)
    with pytest.raises(BadDocument, match=r"a\.zip, member '\./a\.txt': the archive has 3 members of this name"):
        passages(tmp_path / "a.zip")
    problems = Problems(keep_going=True)
    found = passages(tmp_path / "a.zip", problems=problems)
    assert [(p.id, p.text) for p in found] == [("b.txt#0", "text")]
    assert problems.count == 3


def test_odd_names_that_lead_nowhere(tmp_path: Path) -> None:
    names = [".", "./.", "Chapter 1: Intro.md", "Q: what.md", "C:notes/a.txt"]
    found = passages(written(tmp_path, zipped(dict.fromkeys(names, b"text"))))
    assert [p.document for p in found] == ["C:notes/a.txt", "Chapter 1: Intro.md", "Q: what.md"]


def test_a_name_that_is_not_what_the_directory_says(tmp_path: Path) -> None:
    data = bytearray(zipped({"caf\u00e9.txt": b"text", "z.txt": b"good"}))
    data[data.index("\u00e9".encode())] = 0xFF
    problems = Problems(keep_going=True)
    assert [p.id for p in passages(written(tmp_path, bytes(data)), problems=problems)] == ["z.txt#0"]
    assert "member 'caf\u00e9.txt': cannot be unpacked ('utf-8' codec" in str(problems.first[0])


@pytest.mark.parametrize(
    "name", ["../out.txt", "/etc/out.txt", "a/../../out.txt", "C:/out.txt", "..\\out.txt", "\\\\host\\out.txt"]
)
def test_names_that_lead_out_are_bad_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    path = written(inner, zipped({name: b"x", "z.txt": b"good"}))
    with pytest.raises(BadDocument, match=r"member .*out\.txt'?: its name leads out of the archive"):
        passages(path)
    problems = Problems(keep_going=True)
    assert [p.id for p in passages(path, problems=problems)] == ["z.txt#0"]
    assert problems.count == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.zip", "inner"]


def test_a_bomb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    data = zipped({"a.jsonl": bytes(1_234_567)}).replace(struct.pack("<I", 1_234_567), struct.pack("<I", 0xFFFFFFF0))
    with pytest.raises(BadDocument, match=r"a\.zip: unpacks to 4,294,967,280 bytes, the limit is [0-9,]+ \(256 MiB"):
        passages(written(tmp_path, data))


def test_a_bomb_that_lies_about_its_size_is_cut_at_what_it_says(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.txt": b"word " * 1_000_000}))
    size = struct.pack("<I", 5_000_000)
    assert data.count(size) == 2
    damaged = bytes(data).replace(size, struct.pack("<I", 1000))
    with pytest.raises(BadDocument, match=r"a\.zip/a\.txt: damaged or unreadable \(Bad CRC-32"):
        passages(written(tmp_path, damaged))


def test_a_docx_bomb(tmp_path: Path) -> None:
    path = tmp_path / "a.docx"
    zeros = bytes(100 << 20)
    path.write_bytes(zipped({f"word/{n}.xml": zeros for n in range(3)}))
    with pytest.raises(BadDocument, match=r"a\.docx: unpacks to 314,572,800 bytes"):
        passages(path)


def test_encrypted_members(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.txt": b"secret", "b.txt": b"open"}))
    # the flag of the first member, in its own header and in the directory
    for at in (data.index(b"PK\3\4") + 6, data.index(b"PK\1\2") + 8):
        data[at] |= 1
    problems = Problems(keep_going=True)
    assert [p.id for p in passages(written(tmp_path, bytes(data)), problems=problems)] == ["b.txt#0"]
    assert str(problems.first[0]).endswith("a.zip, member 'a.txt': encrypted")


def test_damaged_members_do_not_spoil_the_others(tmp_path: Path) -> None:
    rows = jsonl([{"id": str(n), "text": "x" * n} for n in range(1, 200)])
    members = {"a.jsonl": rows, "b.md": b"text " * 99, "c.pdf": pdf(["page"]), "d.txt": b"good"}
    data = bytearray(zipped(members, zipfile.ZIP_STORED))
    for content in (rows, b"text " * 99, members["c.pdf"]):
        at = bytes(data).index(content) + len(content) - 5
        data[at] ^= 1
    problems = Problems(keep_going=True)
    found = passages(written(tmp_path, bytes(data)), problems=problems)
    assert found[-1].id == "d.txt#0"
    reasons = {problem.place.rpartition("/")[2]: problem.reason for problem in problems.first}
    assert all("Bad CRC-32" in reasons[name] for name in ("a.jsonl", "b.md", "c.pdf")), reasons


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_no_damage_is_more_than_a_bad_document(tmp_path: Path, data: st.DataObject) -> None:
    whole = zipped({"a.jsonl": jsonl([{"id": "a", "text": "x"}]), "b.md": GUIDE.encode(), "c.csv": b"id,text\n1,x\n"})
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    message = complaint(written(tmp_path, bytes(damaged[:cut])), Problems(keep_going=True))
    assert not message or "a.zip" in message
