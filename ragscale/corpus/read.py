"""Dispatch: picks the reader of each corpus by its name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from ragscale.corpus.archive import members
from ragscale.corpus.chunks import Chunking, Cutter
from ragscale.corpus.documents import (
    LONG_TITLES,
    Part,
    document_records,
    markdown_parts,
    refuse_lines,
    text_parts,
)
from ragscale.corpus.hub import PREFIX, dataset_rows
from ragscale.corpus.lines import DAMAGE, LINE_LIMIT
from ragscale.corpus.metadata import FieldTypes, fitted
from ragscale.corpus.pdf import pdf_parts
from ragscale.corpus.problems import Problems
from ragscale.corpus.record import TITLE_LIMIT, Place, Record, shortened
from ragscale.corpus.rows import Columns, Row, passage_of
from ragscale.corpus.separated import csv_rows
from ragscale.corpus.source import Source, file_source, nameable, stays_inside, walk
from ragscale.corpus.tables import json_rows, jsonl_rows, parquet_rows, wikipedia_rows
from ragscale.corpus.webpage import html_parts
from ragscale.corpus.word import docx_parts
from ragscale.errors import BadDocument, CorpusError, InvalidInput
from ragscale.types import Passage
from ragscale.words import counted

__all__ = ["KINDS", "STDIN", "Piece", "Reader", "checked", "kind_of", "read", "refuse_unknown"]

STDIN = "-"
"""Name of the corpus that is jsonl on standard input."""

_SUFFIXES = {
    "jsonl": (".jsonl", ".ndjson"),
    "json": (".json",),
    "csv": (".csv", ".tsv"),
    "txt": (".txt",),
    "parquet": (".parquet",),
    "md": (".md", ".markdown"),
    "html": (".html", ".htm", ".xhtml"),
    "pdf": (".pdf",),
    "docx": (".docx",),
    "zip": (".zip",),
}
_COMPRESSED = ("jsonl", "json", "csv", "txt", "wikipedia")
_WIKIPEDIA = re.compile(r"wiki_[0-9]+")

KINDS = (
    ".jsonl, .json, .csv, .tsv, .txt and wikiextractor's wiki_00 (all also .gz or .bz2), .parquet, .md, .html, .pdf, "
    ".docx, .zip of these, folders of these, - (jsonl on standard input), hf:NAME (a Hugging Face data set)"
)
"""Kinds of corpora that can be read, in words."""


def kind_of(name: str) -> str | None:
    """Kind of a file by its name, which decides its reader; None for an unknown kind."""
    last = name.lower().rpartition("/")[2]
    bare = re.sub(r"\.(gz|bz2)$", "", last)
    kind = next((kind for kind, suffixes in _SUFFIXES.items() if bare.endswith(suffixes)), None)
    if kind is None and _WIKIPEDIA.fullmatch(bare):
        kind = "wikipedia"
    return kind if bare == last or kind in _COMPRESSED else None


def refuse_unknown(corpus: str) -> None:
    """Raise a `CorpusError` where a corpus is absent or of an unknown kind; nothing is read."""
    path = Path(corpus)
    try:
        if corpus == STDIN or corpus.startswith(PREFIX) or path.is_dir():
            return
        found = path.exists()
    except OSError as error:
        raise CorpusError(
            f"{path}: cannot be read ({error.strerror})", "Check the path and its permissions."
        ) from error
    if not found:
        raise CorpusError(f"{path}: no such file or folder", "Check the path of the corpus.")
    if kind_of(path.name) is None:
        raise CorpusError(f"{path}: unknown kind of corpus", f"Read are {KINDS}.")


def read(
    corpora: Sequence[str | Path],
    chunking: Chunking | None = None,
    *,
    columns: Columns | None = None,
    fields: FieldTypes | None = None,
    problems: Problems | None = None,
) -> Iterator[Record]:
    """Passages of all corpora in the order given, streamed: the same corpora give the same passages in the same order.

    Ids are not compared here: who stores the passages finds duplicates without holding all ids as text.

    Args:
        corpora: Files, folders or names; see `KINDS`.
        chunking: How documents are cut; `Chunking()` where absent.
        columns: Which columns of tables mean what; `Columns()` where absent.
        fields: Metadata fields known already; grows by those of the corpora. One type a field holds over all of it.
        problems: Whether bad documents stop the reading, which is the default, and what was left out.

    Raises:
        BadDocument: A bad file, archive member or row, unless `problems` keeps going.
        CorpusError: A corpus is absent, of an unknown kind or without passages; none has one.
        InvalidInput: A chunk size beyond what the tokenizer's model reads.
        MissingDependency: A library for one of the documents is not installed.
        ModelFileError: The tokenizer that chunks are counted with cannot be loaded.
    """
    problems = problems or Problems()
    fields = FieldTypes() if fields is None else fields
    reader = Reader(chunking or Chunking(), columns or Columns(), fields, problems)
    yield from checked(corpora, (reader.corpus(str(corpus)) for corpus in corpora), problems)


def checked(corpora: Sequence[str | Path], found: Iterable[Iterator[Record]], problems: Problems) -> Iterator[Record]:
    """The records of some corpora, none of which is empty.

    Args:
        corpora: Their names.
        found: The records of each.
        problems: What was left out so far; a corpus with nothing but bad documents is not empty.

    Raises:
        CorpusError: A corpus, or all of them together, has no passage.
    """
    found_any = False
    for corpus, records in zip(corpora, found, strict=True):
        empty, skipped, left_out = True, problems.count, problems.left_out.copy()
        for record in records:
            empty, found_any = False, True
            yield record
        if empty and problems.count == skipped:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in (problems.left_out - left_out).items())
            reason = f"the corpus is empty{f' (left out: {kinds})' if kinds else ''}"
            raise CorpusError(f"{corpus}: {reason}", f"Give one with at least one passage. Read are {KINDS}.")
    if not found_any and problems.count:
        raise CorpusError(
            f"no passage in all: {counted(problems.count, 'bad document')} skipped", str(problems.first[0])
        )


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a corpus that is read by itself: a file, or a whole corpus that is not a file."""

    path: str
    """Path of the file, or name of the corpus."""
    name: str = ""
    """Name of the file within its corpus; empty where the corpus is not a file."""
    prefix: str = ""
    """Prefix of the names of an archive's members."""


class Reader:
    """Reads corpora, or pieces of them one by one.

    Args:
        chunking: How documents are cut.
        columns: Which columns of tables mean what.
        fields: Metadata fields known already; grows.
        problems: Whether bad documents stop the reading, and what was left out.

    Raises:
        InvalidInput: A chunk size beyond what the tokenizer's model reads, or `columns` of another type.
        ModelFileError: The tokenizer that chunks are counted with cannot be loaded.
    """

    def __init__(self, chunking: Chunking, columns: Columns, fields: FieldTypes, problems: Problems) -> None:
        if not isinstance(columns, Columns):
            raise InvalidInput(
                f"columns {columns!r} is no Columns", 'Give for instance Columns(id="key", text="body").'
            )
        self.cutter = Cutter(chunking)
        self.columns = columns
        self.fields = fields
        self.problems = problems

    def corpus(self, name: str) -> Iterator[Record]:
        """Passages of a file, a folder or a data set."""
        for piece in self.pieces(name):
            yield from self.piece(piece)

    def pieces(self, name: str) -> Iterator[Piece]:
        """The pieces of a corpus, in their order.

        Raises:
            CorpusError: A corpus is absent or of an unknown kind.
        """
        refuse_unknown(name)
        path = Path(name)
        if name == STDIN or name.startswith(PREFIX):
            yield Piece(name)
        elif path.is_dir():
            for file, inner in walk(path, self.problems):
                if self._wanted(inner) and stays_inside(file, path, self.problems):
                    yield Piece(str(file), inner, f"{inner}/")
        elif nameable(path, path.name, self.problems):
            yield Piece(name, path.name)

    def piece(self, piece: Piece) -> Iterator[Record]:
        """Passages of a piece."""
        path = Path(piece.path)
        if piece.path == STDIN:
            # the descriptor itself, so that whoever reads from sys.stdin later still can
            return self._source(Source("stdin", path, 0, lambda: open(0, "rb", closefd=False)), "jsonl")
        if not piece.name:
            return self._rows(dataset_rows(piece.path, self.columns), piece.path.removeprefix(PREFIX))
        try:
            source = file_source(path, piece.name)
        except BadDocument as error:
            self.problems.add(error)
            return iter(())
        return self._source(source, kind_of(piece.name) or "", piece.prefix)

    def _wanted(self, name: str, *, inside: bool = False) -> str | None:
        """The kind of a file, or None and a count of those that are left out."""
        kind = kind_of(name)
        if kind == "zip" and inside:
            self.problems.leave_out("zip archives in archives")
            return None
        if kind is None:
            self.problems.leave_out(f"{PurePosixPath(name).suffix.lower() or 'other'} files")
        return kind

    def _source(self, source: Source, kind: str, prefix: str = "") -> Iterator[Record]:
        """Passages of one file; `prefix` goes before the names of an archive's members."""
        try:
            if kind == "zip":
                yield from self._archive(source, prefix)
            elif kind in ("jsonl", "json", "csv", "parquet", "wikipedia"):
                yield from self._rows(self._table(source, kind), source.name, articles=kind == "wikipedia")
            else:
                parts = self._parts(source, kind)
                yield from document_records(source, parts, self.cutter, self.fields, self.problems)
        except BadDocument as error:
            self.problems.add(error)
        except DAMAGE as error:
            reason = f"damaged or unreadable ({error})"
            self.problems.add(BadDocument(source.place, reason, "Check the file and its permissions."))

    def _archive(self, source: Source, prefix: str) -> Iterator[Record]:
        for member in members(source, self.problems):
            kind = self._wanted(member.name, inside=True)
            if kind:
                yield from self._source(replace(member, name=prefix + member.name), kind)

    def _table(self, source: Source, kind: str) -> Iterator[Row]:
        if kind == "csv":
            return csv_rows(source, self.columns, self.fields)
        if kind == "parquet":
            return parquet_rows(source, self.columns)
        if kind == "jsonl":
            return jsonl_rows(source)
        if kind == "json":
            return json_rows(source, self.columns, self.problems)
        return wikipedia_rows(source, self.problems)

    def _parts(self, source: Source, kind: str) -> Iterator[Part]:
        if kind == "pdf":
            return pdf_parts(source, self.problems)
        return {"txt": text_parts, "md": markdown_parts, "html": html_parts, "docx": docx_parts}[kind](source)

    def _rows(self, rows: Iterable[Row], name: str, *, articles: bool = False) -> Iterator[Record]:
        """Passages of the rows of a table; long ones in chunks where that is asked for, and always for articles."""
        for place, row in rows:
            try:
                passage = passage_of(row, place, self.columns, name)
                pieces = self._cut(passage, place, articles) if articles or self.cutter.chunking.rows else [passage]
                records = [fitted(Record(piece, place), self.fields, self.problems) for piece in pieces]
            except BadDocument as error:
                self.problems.add(error)
            else:
                yield from records

    def _cut(self, whole: Passage, place: Place, articles: bool) -> list[Passage]:
        """Chunks of a row, which becomes their document unless it names another.

        Raises:
            BadDocument: What each chunk would repeat is too much in all.
        """
        if self.cutter.chunking.by == "headings" and not articles:
            refuse_lines(whole.text, place)
        document, short = whole.document or whole.id, shortened(whole.title)
        each = len(whole.id) + len(document) + sum(len(f"{name}{value}") for name, value in whole.metadata.items())
        found: list[Passage] = []
        long = False
        for number, (heading, text) in enumerate(self.cutter.cut(whole.text, short, markdown=not articles)):
            if number * each > LINE_LIMIT:
                reason = f"id, document and metadata of {each:,} characters in each of more than {number:,} chunks"
                raise BadDocument(place, reason, f"Shorten them: {LINE_LIMIT:,} characters in all chunks together fit.")
            title = " > ".join(part for part in (whole.title, heading) if part)
            long |= len(title) > TITLE_LIMIT
            metadata = {**whole.metadata, "heading": shortened(heading)} if heading else whole.metadata
            found.append(Passage(f"{whole.id}#{number}", shortened(title), text, document, metadata))
        if long:
            self.problems.leave_out(LONG_TITLES)
        return found
