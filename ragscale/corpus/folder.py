"""Reader of folders of .md and .txt files, cut into chunks by langchain-text-splitters."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ragscale.corpus.record import Place, Record
from ragscale.errors import CorpusError, InvalidInput
from ragscale.types import Passage

if TYPE_CHECKING:
    from langchain_text_splitters import TextSplitter

__all__ = ["SUFFIXES", "Chunking", "read_folder", "read_text"]

SUFFIXES = (".md", ".txt")
_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(.+?)[ \t]*#*[ \t]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Chunking:
    """How text files are cut; rows of jsonl and parquet files are passages already and are never cut."""

    size: int = 1000
    """Most characters in a chunk; about 250 tokens of English, which is what the default embedder reads."""
    overlap: int = 100
    """Most characters that a chunk repeats from the end of the one before."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InvalidInput(f"chunk size {self.size}, the least is 1", "Give a number of characters such as 1000.")
        if not 0 <= self.overlap < self.size:
            raise InvalidInput(
                f"chunk overlap {self.overlap}, it must be at least 0 and below the chunk size {self.size}",
                "Lower the overlap or raise the size.",
            )


def read_folder(root: Path, chunking: Chunking) -> Iterator[Record]:
    """Chunks of every .md and .txt file under `root`, files by sorted path; ids are ``relative/path#n``, n from 0.

    Hidden files and folders, links to folders, other kinds of file and files without text are skipped.
    """
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                path = Path(folder, name)
                yield from read_text(path, path.relative_to(root).as_posix(), chunking)


def read_text(path: Path, name: str, chunking: Chunking) -> Iterator[Record]:
    """Chunks of one text file.

    Args:
        path: The file, UTF-8.
        name: What the ids start with.
        chunking: Sizes in characters.

    Raises:
        CorpusError: Invalid UTF-8, with line and byte offset.
    """
    text = _decode(path)
    markdown = path.suffix.lower() == ".md"
    heading = _HEADING.search(text) if markdown else None
    title = heading.group(1) if heading else path.stem
    for number, chunk in enumerate(_splitter(chunking, markdown).split_text(text)):
        yield Record(Passage(f"{name}#{number}", title, chunk), Place(path, "chunk", number))


def _splitter(chunking: Chunking, markdown: bool) -> TextSplitter:
    from langchain_text_splitters import MarkdownTextSplitter, RecursiveCharacterTextSplitter

    kind = MarkdownTextSplitter if markdown else RecursiveCharacterTextSplitter
    return kind(chunk_size=chunking.size, chunk_overlap=chunking.overlap)


def _decode(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # utf-8-sig reports positions after the byte order mark
        at = error.start + len(data) - len(error.object)
        line = data.count(b"\n", 0, at) + 1
        raise CorpusError(
            f"{path}, line {line}: invalid UTF-8, byte 0x{data[at]:02x} at offset {at} of the file",
            "Convert the file to UTF-8, for instance with iconv.",
        ) from error
