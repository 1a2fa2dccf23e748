"""A made world, and its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ragscale.errors import InvalidInput, RagscaleError
from ragscale.paths import expanded
from ragscale.version import __version__

__all__ = ["CARD", "CORPUS", "QUESTIONS", "World", "check_seed", "within"]

CORPUS, QUESTIONS, CARD = "corpus.jsonl", "questions.jsonl", "world.json"
"""Names of a world's files."""


@dataclass(frozen=True, slots=True)
class World:
    """A synthetic corpus with its questions."""

    kind: Literal["facts", "flower"]
    settings: dict[str, Any]
    """Arguments that make it again."""
    passages: list[dict[str, Any]]
    """Rows with ``id``, ``title`` and ``text``, as ``ragscale index build`` reads them."""
    questions: list[dict[str, Any]]
    """Rows with ``id``, ``question``, ``answers``, ``supporting``, ``type``, ``hops``, ``breadth``, ``cluster``,
    ``decomposition`` (the gold chains) and ``form``."""
    about: dict[str, Any] = field(default_factory=dict)
    """More for its card."""

    def card(self) -> dict[str, Any]:
        """Settings, counts and the SHA-256 of both files."""
        files = self._files()
        words = sum(len(row["text"].split()) for row in self.passages)
        return {
            "kind": self.kind,
            "ragscale": __version__,
            "settings": self.settings,
            "passages": len(self.passages),
            "words_a_passage": round(words / len(self.passages), 1),
            "questions": len(self.questions),
            **self.about,
            "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        }

    def save(self, out: str | Path) -> None:
        """Write ``corpus.jsonl``, ``questions.jsonl`` and, when both are whole, the card ``world.json``.

        Args:
            out: The folder; made where there is none.

        Raises:
            InvalidInput: The folder holds something.
            RagscaleError: It cannot be written.
        """
        folder = expanded(out)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise InvalidInput(f"{folder} is not empty", "Give the path of a new folder.")
            card = json.dumps(self.card(), indent=1, ensure_ascii=False).encode() + b"\n"
            for name, content in (*self._files().items(), (CARD, card)):
                (folder / name).write_bytes(content)
        except OSError as error:
            raise RagscaleError(f"{folder} cannot be written ({error.strerror})", "Choose another folder.") from error

    def _files(self) -> dict[str, bytes]:
        return {CORPUS: _lines(self.passages), QUESTIONS: _lines(self.questions)}


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def within(name: str, value: Any, most: int) -> None:
    """Check a whole number from 1 on. Raises `InvalidInput`."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InvalidInput(f"{name}={value!r} is not a whole number from 1 to {most:,}", "Choose one in that range.")


def check_seed(seed: Any) -> None:
    """Check a seed, which any whole number may be. Raises `InvalidInput`."""
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InvalidInput(f"seed={seed!r} is not a whole number", "Give one: the same seed makes the same world.")
