"""Plain text and Markdown: streamed, decoded strictly, titled."""

from __future__ import annotations

import gzip
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made import passages

from ragscale.corpus import Chunking, lines, read
from ragscale.corpus.documents import DOCUMENT_LIMIT
from ragscale.errors import BadDocument, CorpusError
from ragscale.types import Passage


def test_text_and_markdown(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.md").write_text("intro\n\n## The *first* heading ##\n\n" + "word " * 100)
    (tmp_path / "a.TXT").write_bytes(b"# not a heading\r\nplain text")
    found = passages(tmp_path, chunking=Chunking(200, 20))
    assert found[0] == Passage("a.TXT#0", "a", "# not a heading\nplain text", "a.TXT", {"path": "a.TXT"})
    assert [p.id for p in found[1:]] == [f"sub/b.md#{n}" for n in range(len(found) - 1)]
    assert len(found) > 3
    assert {p.title for p in found[1:]} == {"The first heading"}
    assert {p.document for p in found[1:]} == {"sub/b.md"}
    assert all(len(p.text) <= 200 for p in found)


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
    st.integers(5, 300),
    st.integers(4, 20),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
def test_chunks_hold_every_word_of_a_file(tmp_path: Path, text: str, size: int, block: int) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(text.encode())
    with mock.patch.object(lines, "_BLOCK", block):  # files of many blocks
        try:
            found = passages(path, chunking=Chunking(size, 0))
        except CorpusError:
            assert not text.removeprefix("\ufeff").strip()
            return
    joined = "".join("".join(p.text.split()) for p in found)
    assert joined == "".join(text.removeprefix("\ufeff").split())


def test_a_text_is_read_block_by_block(tmp_path: Path) -> None:
    path = tmp_path / "t.txt.gz"
    line = "one line of a text that is repeated " * 3 + "\n"
    with gzip.open(path, "wt", compresslevel=1) as file:
        for _ in range(30_000):
            file.write(line)
    records = read([path], Chunking(len(line), 0))
    assert {next(records).passage.text for _ in range(2000)} == {line.strip()}
    assert sum(1 for _ in records) == 28_000


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("name", ["t.txt", "t.md"])
def test_invalid_utf8(tmp_path: Path, name: str, mark: bytes) -> None:
    (tmp_path / name).write_bytes(mark + b"one\ntw\xe9o\n")
    message = rf"{name}, line 2: invalid UTF-8, byte 0xe9 at offset {6 + len(mark)} "
    with pytest.raises(BadDocument, match=message):
        passages(tmp_path)


def test_invalid_utf8_far_in_a_text_makes_no_passage(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"good words\n" * 100_000 + b"\xff\n")
    with pytest.raises(BadDocument, match=r"t\.txt, line 100001: invalid UTF-8, byte 0xff at offset 1100000 "):
        next(read([tmp_path]))


@pytest.mark.parametrize("data", [b"", b" \r\n\t\n", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("name", ["t.txt", "t.md"])
def test_a_document_without_text_is_bad(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadDocument, match="no text in it"):
        passages(tmp_path)


def test_a_document_that_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "t.md").write_bytes(b" " * (DOCUMENT_LIMIT + 1))
    with pytest.raises(BadDocument, match=r"t\.md: more than 67,108,864 bytes in one document"):
        passages(tmp_path)
