"""The manifest of an index: its settings, and the checksum of every file."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass, field, fields, replace
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

from ragscale.errors import IndexDamaged, IndexMismatch, InvalidInput
from ragscale.index.options import DESCRIPTION_LENGTH
from ragscale.index.storage.durable import sync
from ragscale.index.storage.layout import GENERATIONS, MANIFEST_FILE, SEGMENTS, numbered, unfinished
from ragscale.text import encodable

__all__ = [
    "FORMAT",
    "REBUILD",
    "DenseInfo",
    "EmbedderInfo",
    "FileInfo",
    "Manifest",
    "Segment",
    "described",
]

FORMAT = 3
"""Version of the index layout; another one is refused."""
_LEAST_COSINE = 0.99
REBUILD = "Build the index again with `ragscale index build ... --force`, or restore it from a copy."
"""Remedy where nothing can be derived again."""


@dataclass(frozen=True, slots=True)
class FileInfo:
    """Size and checksum of one file."""

    size: int
    """Bytes."""
    sha256: str
    """Lower-case hex."""


@dataclass(frozen=True, slots=True)
class EmbedderInfo:
    """The embedder of an index: enough to make a query's vector comparable with the stored ones."""

    name: str
    """Hub name, or the path of a local model as it was given; never a path for the default model."""
    revision: str
    """The commit of a hub model, ``sha256:...`` of the files of a local one: see `encoders.loading.locate`."""
    dtype: str
    """Number format in which the *documents* were encoded; queries are always encoded in float32."""
    dimension: int
    """Numbers in a vector."""
    max_tokens: int
    """Longer texts are cut by the model."""
    query_prompt: str
    """Put before each query."""
    document_prompt: str
    """Put before each passage."""
    probe: str = ""
    """First numbers of the vector of a fixed text, for an endpoint, which does not prove its weights; else empty."""

    def same_as(self, other: EmbedderInfo) -> bool:
        """Whether the vectors of both are comparable: equal, up to the numerical noise of a served model."""
        if replace(self, probe="") != replace(other, probe=""):
            return False
        return self.probe == other.probe or _agree(self.probe, other.probe)


def _agree(one: str, other: str) -> bool:
    """Whether two probes point the same way; batches move them by a thousandth, another model by far more."""
    if not (one and other):
        return False
    a, b = ([float(value) for value in probe.split(",")] for probe in (one, other))
    product = sum(x * y for x, y in zip(a, b, strict=False))
    return len(a) == len(b) and product >= _LEAST_COSINE * max(math.hypot(*a) * math.hypot(*b), 1e-12)


@dataclass(frozen=True, slots=True)
class DenseInfo:
    """Settings of the dense index."""

    factory: str
    """FAISS factory string, never ``"auto"``; ``"Flat"`` searches the stored vectors themselves."""
    rows: int
    """Rows, from the first on, that `VECTORS_FILE` covers; 0 for Flat. Later rows are searched exactly."""
    refine: int
    """Candidates a wanted hit that are scored again from the stored vectors; 1 for Flat."""
    settings: dict[str, int]
    """Search parameters of FAISS: ``nprobe`` or ``efSearch``; empty where there are none."""
    reason: str
    """Why this factory, in words."""
    memory: int | None = None
    """The limit in bytes within which ``"auto"`` chose it; None where none was given, or it was named."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A folder of rows that never changes again."""

    name: str
    """Name of its folder under `SEGMENTS`: six digits."""
    rows: int

    def path(self, folder: Path) -> Path:
        """Folder of the segment in the index at `folder`."""
        return folder / SEGMENTS / self.name


@dataclass(frozen=True, slots=True)
class Manifest:
    """A commit: everything that decides what a search returns, and every file in use."""

    generation: int
    """Number of the folder with the derived files; grows with each commit."""
    segments: tuple[Segment, ...]
    """In row order."""
    passages: int
    """Live passages: rows that are not deleted."""
    content: str
    """SHA-256 over the content hashes of the live rows in their order."""
    lexical: dict[str, Any]
    """Library, variant, parameters and number of terms of the lexical index."""
    chunking: dict[str, Any]
    """Chunking of the documents; see `ragscale.corpus.Chunking`."""
    fields: dict[str, str]
    """Type of each metadata field, by Arrow's names."""
    embedder: EmbedderInfo | None = None
    """None for a lexical-only index."""
    dense: DenseInfo | None = None
    """Settings of the dense index; None for a lexical-only index."""
    metric: str | None = None
    """``"inner_product"`` on vectors of length 1, that is the cosine."""
    description: str = ""
    """Subject of the corpus, for prompts; empty where its builder gave none."""
    files: dict[str, FileInfo] = field(default_factory=dict)
    """By path relative to the folder, ``/`` between parts."""
    format: int = FORMAT
    ragscale: str = field(default_factory=lambda: metadata.version("ragscale"))
    """Version that wrote it; for the reader, not checked."""

    @property
    def rows(self) -> int:
        """Rows of all segments, deleted ones included."""
        return sum(segment.rows for segment in self.segments)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what was indexed and how: equal fingerprints mean equal search results up to rounding.

        The history does not count: neither generation nor segments, and deleted rows only where an approximate index
        was trained with them.
        """
        dense = None if self.dense is None else {**asdict(self.dense), "reason": ""}
        lexical = {name: value for name, value in self.lexical.items() if name not in ("terms", "chosen")}
        embedder = None if self.embedder is None else asdict(self.embedder)
        trained = self.rows if self.dense is not None and self.dense.rows else 0
        if dense is not None:
            del dense["memory"]  # it only led to the factory
        parts = [self.format, self.passages, self.content, lexical, self.chunking, embedder, dense, trained]
        if self.description:  # prompts hold it, so what is asked of the index depends on it
            parts.append(self.description)
        return _sha256_of(parts)

    def generation_path(self, folder: Path) -> Path:
        """Folder of the derived files in the index at `folder`."""
        return folder / GENERATIONS / numbered(self.generation)

    def segment_paths(self, folder: Path) -> list[Path]:
        """Folders of the segments, in row order."""
        return [segment.path(folder) for segment in self.segments]

    def to_dict(self) -> dict[str, Any]:
        """Content of `manifest.json`: with the fingerprint, and a checksum of all the rest."""
        values = {**asdict(self), "fingerprint": self.fingerprint}
        if self.dense is not None and self.dense.memory is None:
            del values["dense"]["memory"]  # as it was before there was such a value
        if not self.description:
            del values["description"]  # likewise
        return {**values, "checksum": _sha256_of(values)}

    def write(self, folder: Path) -> None:
        """Replace `manifest.json` in one step: this is the commit."""
        work = unfinished(folder / MANIFEST_FILE)
        work.write_text(self._text(), encoding="utf-8")
        sync(work)
        work.replace(folder / MANIFEST_FILE)
        sync(folder, deep=False)

    def _text(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read and check the manifest of an index folder.

        Raises:
            InvalidInput: No index there.
            IndexDamaged: The manifest is cut short, was changed, or is missing beside segments.
            IndexMismatch: Another format version.
        """
        path = folder / MANIFEST_FILE
        if not path.is_file():
            _refuse_url(folder)
            if (folder / SEGMENTS).is_dir():
                raise IndexDamaged(
                    f"{folder}: its {MANIFEST_FILE} is missing, the passages and vectors are still there",
                    f"Restore {MANIFEST_FILE} from a copy, or move the folder away and build the index again.",
                )
            documents = folder.is_dir() and any(folder.iterdir())
            command = f"index build {folder} --out INDEX" if documents else f"index build CORPUS --out {folder}"
            raise InvalidInput(f"{folder}: not an index (no {MANIFEST_FILE})", f"Build one: `ragscale {command}`.")
        try:
            text = path.read_bytes().decode("utf-8")
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise IndexDamaged(f"{path}: damaged ({error})", REBUILD) from error
        version = data.get("format") if isinstance(data, dict) else None
        if isinstance(version, int) and version != FORMAT:
            raise IndexMismatch(
                f"{folder}: index format {version}, this ragscale reads {FORMAT}",
                "Build the index again, or use the ragscale version that wrote it.",
            )
        try:
            manifest = cls._from_dict(data)
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise IndexDamaged(f"{path}: damaged ({error})", REBUILD) from error
        if manifest._text() != text:
            raise IndexDamaged(f"{path}: damaged (its content does not have its checksum)", REBUILD)
        return manifest

    @classmethod
    def _from_dict(cls, data: dict[str, Any]) -> Manifest:
        values = {f.name: data[f.name] for f in fields(cls) if f.name in data or f.name != "description"}
        values["segments"] = tuple(Segment(**segment) for segment in values["segments"])
        for name, kind in (("embedder", EmbedderInfo), ("dense", DenseInfo)):
            if values[name] is not None:
                values[name] = kind(**values[name])
        values["files"] = {name: FileInfo(**info) for name, info in values["files"].items()}
        for name in values["files"]:
            part = PurePosixPath(name)
            if part.is_absolute() or ".." in part.parts:
                raise KeyError(name)
        return cls(**values)


def described(text: str) -> str:
    """A description for the manifest, on one line.

    Raises:
        InvalidInput: It is not text, or has more than `DESCRIPTION_LENGTH` characters.
    """
    if not isinstance(text, str):
        raise InvalidInput(f"description {text!r} is not text", "Give a sentence or two, or leave it out.")
    line = " ".join(encodable(text).split())
    if len(line) > DESCRIPTION_LENGTH:
        raise InvalidInput(
            f"a description of {len(line):,} characters, the limit is {DESCRIPTION_LENGTH:,}",
            "Give a sentence or two: many prompts hold it.",
        )
    return line


def _refuse_url(folder: Path) -> None:
    """Raise `InvalidInput` for a URL; made a path, it has lost one of its slashes."""
    url = re.sub(r"^(https?:)/", r"\1//", str(folder), flags=re.IGNORECASE)
    if url != str(folder):
        raise InvalidInput(
            f"{url} is a URL, and this takes the folder of an index",
            "Give the folder, on the machine where it lies; `search`, `ask`, `eval` and `index info` take a URL.",
        )


def _sha256_of(value: Any) -> str:
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
