"""The front door: picks the reader of each corpus by its name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ragscale.corpus.folder import SUFFIXES, Chunking, read_folder, read_text
from ragscale.corpus.record import Record
from ragscale.corpus.tables import read_jsonl, read_parquet
from ragscale.errors import CorpusError

__all__ = ["read"]


def read(corpora: Sequence[Path], chunking: Chunking | None = None) -> Iterator[Record]:
    """Passages of all corpora in the order given, streamed.

    Ids are not compared here: who stores the passages finds duplicates without holding all ids as text.

    Args:
        corpora: Files ``.jsonl``, ``.jsonl.gz``, ``.parquet``, ``.md``, ``.txt``, or folders of the last two.
        chunking: How text files are cut; `Chunking()` where absent.

    Raises:
        CorpusError: A corpus is absent, of an unknown kind, without passages, or has a bad row (with file and line).
    """
    for path in corpora:
        found = False
        try:
            for record in _open(path, chunking or Chunking()):
                found = True
                yield record
        except OSError as error:
            raise CorpusError(f"{path}: cannot be read ({error})", "Check the file and its permissions.") from error
        if not found:
            kinds = f" A folder needs {' or '.join(SUFFIXES)} files." if path.is_dir() else ""
            raise CorpusError(f"{path}: the corpus is empty", f"Give a corpus with at least one passage.{kinds}")


def _open(path: Path, chunking: Chunking) -> Iterator[Record]:
    name = path.name.lower()
    if path.is_dir():
        return read_folder(path, chunking)
    if not path.exists():
        raise CorpusError(f"{path}: no such file or folder", "Check the path of the corpus.")
    if name.endswith((".jsonl", ".jsonl.gz")):
        return read_jsonl(path)
    if name.endswith(".parquet"):
        return read_parquet(path)
    if name.endswith(SUFFIXES):
        return read_text(path, path.name, chunking)
    raise CorpusError(
        f"{path}: unknown kind of corpus",
        "Known are .jsonl, .jsonl.gz, .parquet, .md, .txt and folders of .md and .txt.",
    )
