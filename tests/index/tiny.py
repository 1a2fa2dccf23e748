"""A deterministic embedder without weights, and corpora that are written in a line: for tests of the storage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragscale.index.encoders.embedder import Embedder
from ragscale.index.storage.manifest import EmbedderInfo

INFO = EmbedderInfo("tiny", "sha256:0", "float32", 16, 0, "", "")
WORDS = [
    "river",
    "ice",
    "bread",
    "violin",
    "paris",
    "radium",
    "glacier",
    "chain",
    "yeast",
    "string",
    "capital",
    "metal",
    "wheel",
    "poland",
    "salt",
]

Row = dict[str, Any]


class TinyModel:
    """A text's vector is the sum of its words' directions: the same in any batch, on any machine."""

    lanes = 1

    def __init__(self, log: Path | None = None) -> None:
        self._log = log

    def encode(self, texts: Sequence[str], *, prompt: str, query: bool, batch_size: int) -> NDArray[np.float32]:
        if self._log and not query:
            with self._log.open("a") as file:
                file.write(f"{len(texts)}\n")
        return np.stack([sum((_direction(word) for word in text.split()), np.zeros(16)) for text in texts])

    def close(self) -> None:
        """Nothing to give back."""


def _direction(word: str) -> NDArray[np.float64]:
    digest = hashlib.blake2b(word.lower().encode(), digest_size=16).digest()
    return np.frombuffer(digest, dtype=np.uint8).astype(np.float64) - 127.5


def install(patch: Any, *, revision: str = INFO.revision, log: Path | None = None) -> None:
    """Make every embedder the tiny one; `patch` has the ``setattr`` of pytest's monkeypatch.

    Args:
        patch: Sets attributes.
        revision: What the weights are said to be.
        log: File that gets a line with their number whenever documents are encoded.
    """
    info = EmbedderInfo(**{**{name: getattr(INFO, name) for name in INFO.__slots__}, "revision": revision})
    made = classmethod(lambda cls, *args, **options: cls(TinyModel(log), info))
    patch.setattr(Embedder, "for_documents", made)
    patch.setattr(Embedder, "for_queries", made)


def text_of(number: int, version: int = 0) -> str:
    """A text of six words that another version shares in part."""
    return " ".join(WORDS[(number * 7 + step * (3 + version)) % len(WORDS)] for step in range(6)) + f" w{number}"


def write_rows(path: Path, rows: Iterable[Row]) -> Path:
    """Write a jsonl corpus."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def rows_of(numbers: Iterable[int], version: int = 0) -> list[Row]:
    """Rows with ids by number; of each version the texts differ."""
    return [{"id": f"p{n}", "title": f"Title {n}", "text": text_of(n, version)} for n in numbers]
