"""The manifest of an index: what it was made with, and the checksum of every file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

from ragscale.errors import IndexDamaged, IndexMismatch, InvalidInput

__all__ = ["FORMAT", "MANIFEST_FILE", "EmbedderInfo", "FileInfo", "Manifest", "check_files", "scan"]

FORMAT = 1
"""Version of the index layout; another one is refused."""
MANIFEST_FILE = "manifest.json"
_REBUILD = "Build the index again with `ragscale index build ... --force`, or restore it from a copy."


@dataclass(frozen=True, slots=True)
class FileInfo:
    """Size and checksum of one file."""

    size: int
    """Bytes."""
    sha256: str
    """Lower-case hex."""


@dataclass(frozen=True, slots=True)
class EmbedderInfo:
    """What the vectors were made with: enough to make a query's vector comparable with them."""

    name: str
    """Hub name, or the path of a local model as it was given; never a path for the default model."""
    revision: str
    """``sha256:...`` of the weights of a local model, the commit of a hub model."""
    dtype: str
    """Number format in which the *documents* were encoded; queries are always encoded in float32."""
    dimension: int
    max_tokens: int
    """Longer texts are cut by the model."""
    query_prompt: str
    """Put before each query."""
    document_prompt: str
    """Put before each passage."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that decides what a search returns."""

    passages: int
    """Number of passages."""
    lexical: dict[str, Any]
    """Library, variant, parameters and number of terms of the lexical index."""
    chunking: dict[str, Any]
    """With what documents were cut: the fields of `Chunking`."""
    embedder: EmbedderInfo | None = None
    """None for a lexical-only index."""
    factory: str | None = None
    """FAISS factory string of the vectors."""
    metric: str | None = None
    """``"inner_product"`` on vectors of length 1, that is the cosine."""
    files: dict[str, FileInfo] = field(default_factory=dict)
    """By path relative to the folder, ``/`` between parts."""
    format: int = FORMAT
    ragscale: str = field(default_factory=lambda: metadata.version("ragscale"))
    """Version that built it; for the reader, not checked."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all of the above: equal fingerprints mean equal search results."""
        canonical = json.dumps(asdict(self), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """As `manifest.json` holds it."""
        return {**asdict(self), "fingerprint": self.fingerprint}

    def write(self, folder: Path) -> None:
        """Write `manifest.json`: the last file of a build."""
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False)
        (folder / MANIFEST_FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read and check the manifest of an index folder.

        Raises:
            InvalidInput: No index there.
            IndexDamaged: The manifest is cut short or was changed.
            IndexMismatch: Another format version.
        """
        path = folder / MANIFEST_FILE
        if not path.is_file():
            raise InvalidInput(
                f"{folder}: not an index (no {MANIFEST_FILE})",
                f"Build one: `ragscale index build CORPUS --out {folder}`.",
            )
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise IndexDamaged(f"{path}: damaged ({error})", _REBUILD) from error
        version = data.get("format") if isinstance(data, dict) else None
        if isinstance(version, int) and version != FORMAT:
            raise IndexMismatch(
                f"{folder}: index format {version}, this ragscale reads {FORMAT}",
                "Build the index again, or use the ragscale version that wrote it.",
            )
        try:
            manifest = cls._from_dict(data)
        except (TypeError, KeyError, AttributeError) as error:
            raise IndexDamaged(f"{path}: damaged ({error})", _REBUILD) from error
        if manifest.fingerprint != data["fingerprint"]:
            raise IndexDamaged(f"{path}: its content does not have its fingerprint", _REBUILD)
        return manifest

    @classmethod
    def _from_dict(cls, data: dict[str, Any]) -> Manifest:
        values = {f.name: data[f.name] for f in fields(cls)}
        if values["embedder"] is not None:
            values["embedder"] = EmbedderInfo(**values["embedder"])
        values["files"] = {name: FileInfo(**info) for name, info in values["files"].items()}
        for name in values["files"]:
            part = PurePosixPath(name)
            if part.is_absolute() or ".." in part.parts:
                raise KeyError(name)
        return cls(**values)


def scan(folder: Path) -> dict[str, FileInfo]:
    """Size and checksum of every file in a folder, the manifest left out, by sorted relative path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST_FILE)
    return {path.relative_to(folder).as_posix(): FileInfo(path.stat().st_size, _sha256(path)) for path in paths}


def check_files(folder: Path, manifest: Manifest, *, hash_up_to: int | None = None) -> None:
    """Compare the files of an index with its manifest.

    Args:
        folder: The index.
        manifest: Its manifest.
        hash_up_to: Largest file, in bytes, whose checksum is computed; None for all. Sizes are always compared.

    Raises:
        IndexDamaged: A file is missing, has another size or another checksum.
    """
    for name, info in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise IndexDamaged(f"{path}: missing", _REBUILD)
        size = path.stat().st_size
        if size != info.size:
            raise IndexDamaged(f"{path}: {size:,} bytes, the manifest says {info.size:,}", _REBUILD)
        if (hash_up_to is None or size <= hash_up_to) and _sha256(path) != info.sha256:
            raise IndexDamaged(f"{path}: its checksum is not that of the manifest", _REBUILD)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
