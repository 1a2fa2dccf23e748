"""Files to read, wherever they lie: on disk, in a folder, in an archive."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ragscale.corpus.problems import Problems
from ragscale.errors import BadDocument

__all__ = ["Source", "file_source", "nameable", "refuse_size", "stays_inside", "unpacked_limit", "walk"]

_SPOOL = 16 << 20
_FREE = 256 << 20
_RATIO = 100


def unpacked_limit(size: int) -> int:
    """Most bytes that a packed file of `size` bytes may unpack to: 256 MiB and a hundred times its own size."""
    return _FREE + _RATIO * size


@dataclass(frozen=True, slots=True)
class Source:
    """One file of a corpus."""

    name: str
    """Path within the corpus, ``/`` between parts: the document's id, and the prefix of its chunks' ids."""
    place: Path
    """Path that errors name."""
    size: int
    """Bytes; 0 where it is not known."""
    open: Callable[[], IO[bytes]]
    """A stream from the start of the file."""
    on_disk: bool = True
    """Whether that stream can seek at no cost."""

    @property
    def stem(self) -> str:
        """The last part of the name without its suffix."""
        return Path(self.name).stem

    def read(self, limit: int) -> bytes:
        """The whole file.

        Raises:
            BadDocument: It has more than `limit` bytes.
        """
        with self.open() as stream:
            data = stream.read(limit + 1)
        refuse_size(len(data), limit, self)
        return data

    @contextmanager
    def seekable(self) -> Iterator[IO[bytes]]:
        """A stream to jump about in; what lies in an archive is copied to a temporary file that has no name."""
        with self.open() as stream:
            if self.on_disk:
                yield stream
                return
            with tempfile.SpooledTemporaryFile(max_size=_SPOOL) as copy:
                shutil.copyfileobj(stream, copy)
                copy.seek(0)
                yield copy


def refuse_size(size: int, limit: int, source: Source) -> None:
    """Raise a `BadDocument` where a document that is taken apart as a whole has more than `limit` bytes."""
    if size > limit:
        raise BadDocument(source.place, f"more than {limit:,} bytes in one document", "Split it into several files.")


def file_source(path: Path, name: str) -> Source:
    """A file on disk.

    Raises:
        BadDocument: It is gone, or no regular file.
    """
    if not path.is_file():
        raise BadDocument(path, "not a regular file", "Remove it, or what the link points to is missing.")
    return Source(name, path, path.stat().st_size, lambda: path.open("rb"))


def walk(root: Path, problems: Problems) -> Iterator[tuple[Path, str]]:
    """Files under `root` with their names relative to it, those of a folder before its subfolders, sorted.

    Hidden files and folders, links to folders, and indexes are left out, the last two counted; a folder that cannot be
    listed is a bad document, and so is a file whose name is not UTF-8.
    """

    def unreadable(error: OSError) -> None:
        reason = f"cannot be listed ({error.strerror})"
        problems.add(BadDocument(error.filename, reason, "Check its permissions."))

    for folder, folders, files in os.walk(root, onerror=unreadable):
        if "manifest.json" in files and {"segments", "generations"} <= set(folders):
            problems.leave_out("indexes")
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if os.path.islink(os.path.join(folder, name)):  # which `os.walk` names and does not enter
                problems.leave_out("links to folders")
        for name in sorted(files):
            if name.startswith("."):
                continue
            path = Path(folder, name)
            inner = path.relative_to(root).as_posix()
            if nameable(path, inner, problems):
                yield path, inner


def stays_inside(path: Path, root: Path, problems: Problems) -> bool:
    """Whether a file found under `root` is not a link, or a link to a file that is read there under its own name too.

    Any other link is a bad document: writers of a corpus must not get to choose among the other files of the user
    who indexes it.
    """
    if not path.is_symlink():
        return True
    target = Path(os.path.realpath(path))
    try:
        hidden = any(part.startswith(".") for part in target.relative_to(os.path.realpath(root)).parts)
    except ValueError:
        reason = f"a link to {target}, outside of the corpus folder {root}"
    else:
        if not hidden:
            return True
        reason = f"a link to the hidden file {target}"
    remedy = "Remove it, put a copy in its place, or name the file itself as a corpus."
    problems.add(BadDocument(path, reason, remedy))
    return False


def nameable(path: Path, name: str, problems: Problems) -> bool:
    """Whether ids can be made of a file's name within its corpus; a file whose name is not UTF-8 is a bad document."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode("utf-8", "replace")
        problems.add(BadDocument(shown, "its name is not UTF-8, so no id can be made of it", "Rename it."))
        return False
    return True
