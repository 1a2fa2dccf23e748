"""Checksums: files of an index compared with its manifest; which are damaged, and which can be derived again."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath

from ragscale.errors import IndexDamaged
from ragscale.index.storage.layout import (
    DELETED_FILE,
    HASHES_FILE,
    IDS_FILE,
    LENGTHS_FILE,
    PASSAGES_FILE,
    TERMS_FILE,
    VOCABULARY_FILE,
    WORDS_FILE,
)
from ragscale.index.storage.manifest import REBUILD, FileInfo, Manifest
from ragscale.words import counted

__all__ = [
    "HASHED_FILE",
    "HASHED_TOTAL",
    "check_file",
    "check_files",
    "damaged_files",
    "recountable",
    "refuse_lost",
    "scan",
]

HASHED_FILE = 64 << 20
"""Largest file of which opening an index computes the checksum, in bytes."""
HASHED_TOTAL = 1 << 30
"""Most bytes of which opening an index computes checksums: about a second."""
_OTHER_CHECKSUM = "its checksum is not that of the manifest"
_checked: dict[tuple[int, int, int, int], str] = {}
_COUNTED = (HASHES_FILE, TERMS_FILE, LENGTHS_FILE, VOCABULARY_FILE, WORDS_FILE)


def scan(folder: Path, part: Path, known: Mapping[str, FileInfo]) -> dict[str, FileInfo]:
    """Size and checksum of every file in a part of an index, by sorted path relative to the index.

    Args:
        folder: The index.
        part: A folder in it.
        known: Checksums that are known already; these files are not read.
    """
    paths = sorted(path for path in part.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: known.get(name) or FileInfo(path.stat().st_size, _sha256(path)) for name, path in names.items()}


def check_files(
    folder: Path, manifest: Manifest, *, at_open: bool = False, known: Mapping[str, FileInfo] | None = None
) -> None:
    """Compare the files of an index with its manifest.

    Args:
        folder: The index.
        manifest: Its manifest.
        at_open: See `damaged_files`.
        known: See `damaged_files`.

    Raises:
        IndexDamaged: A file is missing, has another size or another checksum. Names one that cannot be derived again if
            there is any, else the command that derives them.
    """
    damaged = damaged_files(folder, manifest, at_open=at_open, known=known)
    refuse_lost(folder, manifest, damaged, but=recountable(damaged))
    for name, reason in damaged.items():
        raise IndexDamaged(f"{folder / name}: {reason}", _derive_again(folder))


def check_file(folder: Path, manifest: Manifest, path: Path) -> None:
    """Compare a file with the checksum in the manifest, unless this process has done it and the file is the same.

    For files of libraries that crash the process on a wrong number.

    Args:
        folder: The index.
        manifest: Its manifest.
        path: Of a derived file.

    Raises:
        IndexDamaged: It is another one.
    """
    info = manifest.files[path.relative_to(folder).as_posix()]
    stat = path.stat()
    # not its ctime, which changes as a commit takes the file over
    identity = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
    if _checked.get(identity) != info.sha256:
        if _sha256(path) != info.sha256:
            raise IndexDamaged(f"{path}: {_OTHER_CHECKSUM}", _derive_again(folder))
        _checked[identity] = info.sha256


def damaged_files(
    folder: Path, manifest: Manifest, *, at_open: bool = False, known: Mapping[str, FileInfo] | None = None
) -> dict[str, str]:
    """Damaged files: name in the manifest -> reason.

    Args:
        folder: The index.
        manifest: Its manifest.
        at_open: Whether to compute checksums only of files up to `HASHED_FILE` bytes, smallest first and `HASHED_TOTAL`
            bytes in all; sizes are always compared.
        known: Files whose checksum was found right before; only their size is compared.
    """
    found, read = {}, 0
    for name, info in sorted(manifest.files.items(), key=lambda item: (item[1].size, item[0])):
        path = folder / name
        if not path.is_file():
            found[name] = "missing"
            continue
        size = path.stat().st_size
        if size != info.size:
            found[name] = f"{counted(size, 'byte')}, the manifest says {info.size:,}"
            continue
        if known is not None and known.get(name) == info:
            continue
        read += size
        wanted = not at_open or (size <= HASHED_FILE and read <= HASHED_TOTAL)
        if wanted and _sha256(path) != info.sha256:
            found[name] = _OTHER_CHECKSUM
    return found


def _derive_again(folder: Path) -> str:
    return f"Derive it again, nothing is embedded: `ragscale index repair {folder}`."


def recountable(damaged: Collection[str]) -> list[str]:
    """Damaged files of segments that can be counted again from intact passages: hashes and terms."""
    names = [PurePosixPath(name) for name in damaged]
    return [str(name) for name in names if name.name in _COUNTED and str(name.with_name(PASSAGES_FILE)) not in damaged]


def refuse_lost(folder: Path, manifest: Manifest, damaged: Mapping[str, str], *, but: Collection[str] = ()) -> None:
    """Raise an `IndexDamaged` where one of some damaged files cannot be derived again.

    Segments cannot: everything else is derived from them. Deleted rows are recorded twice; either copy suffices.

    Args:
        folder: The index.
        manifest: Its manifest.
        damaged: Result of `damaged_files`.
        but: Files of segments that can: result of `recountable`.
    """
    for name in _lost(manifest, damaged):
        if name in but:
            continue
        raise IndexDamaged(f"{folder / name}: {damaged[name]}", f"It cannot be derived again. {REBUILD}")


def _lost(manifest: Manifest, damaged: Collection[str]) -> list[str]:
    derived = f"{manifest.generation_path(Path()).as_posix()}/"
    deleted = [derived + DELETED_FILE, derived + IDS_FILE]
    if all(name in damaged for name in deleted):
        return deleted
    return [name for name in damaged if not name.startswith(derived)]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
