"""Members of zip archives as sources: nothing is unpacked to a path, and a bomb is refused before it is read."""

from __future__ import annotations

import stat
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import PurePosixPath, PureWindowsPath
from typing import IO

from ragscale.corpus.problems import Problems
from ragscale.corpus.record import shown
from ragscale.corpus.source import Source, unpacked_limit
from ragscale.errors import BadDocument

__all__ = ["members", "open_zip"]

_NAME_LIMIT = 1024
"""Most bytes in a member's name, which stands in the id and the metadata of each of its chunks."""


@contextmanager
def open_zip(source: Source, stream: IO[bytes], kind: str) -> Iterator[zipfile.ZipFile]:
    """A zip file that does not unpack to more than 256 MiB and a hundred times its own size.

    The sizes are those that its directory states: `zipfile` never reads more of a member than that.

    Raises:
        BadDocument: No zip file, damaged, or a bomb.
    """
    try:
        archive = zipfile.ZipFile(stream)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        raise BadDocument(
            source.place, f"not a {kind} file, encrypted or damaged ({error})", "Check or save it again."
        ) from error
    with archive:
        unpacked = sum(info.file_size for info in archive.infolist())
        limit = unpacked_limit(source.size)
        if unpacked > limit:
            raise BadDocument(
                source.place,
                f"unpacks to {unpacked:,} bytes, the limit is {limit:,} (256 MiB and a hundred times its own size)",
                "Unpack it yourself if you trust it, and give the folder.",
            )
        yield archive


def members(source: Source, problems: Problems) -> Iterator[Source]:
    """Files of a zip archive by sorted name; folders and hidden files are left out.

    Names that climb are bad, and all members of a name that several have: it is unknown which of them is meant.

    Raises:
        BadDocument: The archive as a whole cannot be read.
    """
    with source.open() as stream, open_zip(source, stream, "zip") as archive:
        files = [info for info in sorted(archive.infolist(), key=lambda info: info.filename) if not info.is_dir()]
        counts = Counter(map(_name, files))
        for info in files:
            name = _name(info)
            if not name.parts or any(part.startswith(".") and part != ".." for part in name.parts):
                continue
            place = f"{source.place}, member {info.filename!r}"
            if name.is_absolute() or PureWindowsPath(info.filename).is_absolute() or ".." in name.parts:
                problems.add(BadDocument(place, "its name leads out of the archive", "Rename it."))
            elif len(info.filename.encode("utf-8", "replace")) > _NAME_LIMIT:
                reason = f"a name of {len(info.filename):,} characters, the limit is {_NAME_LIMIT:,} bytes"
                problems.add(BadDocument(f"{source.place}, member {shown(info.filename)}", reason, "Rename it."))
            elif counts[name] > 1:
                reason = f"the archive has {counts[name]} members of this name"
                problems.add(BadDocument(place, reason, "Remove or rename all but one."))
            elif info.flag_bits & 1:
                problems.add(BadDocument(place, "encrypted", "Unpack it with its password first."))
            else:
                opener = partial(_open, archive, info, place)
                yield Source(name.as_posix(), source.place / name, info.file_size, opener, on_disk=False)


def _name(info: zipfile.ZipInfo) -> PurePosixPath:
    return PurePosixPath(info.filename.replace("\\", "/"))


def _open(archive: zipfile.ZipFile, info: zipfile.ZipInfo, place: str) -> IO[bytes]:
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):  # what a link holds is where it leads
        raise BadDocument(place, "a link, or another thing that is no file", "Put the file itself into the archive.")
    try:
        return archive.open(info)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError) as error:
        raise BadDocument(place, f"cannot be unpacked ({error})", "Make the archive again.") from error
