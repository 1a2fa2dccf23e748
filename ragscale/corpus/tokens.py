"""Counts tokens as an embedder does, from its tokenizer alone: no model is loaded."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from ragscale.errors import InvalidInput, ModelFileError
from ragscale.paths import expanded
from ragscale.weights import pinned

__all__ = ["TokenCounter"]

_DEFAULTS = ("", "default", "all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2")
_SHORT = 64
_FILES = ("sentence_bert_config.json", "tokenizer_config.json")


class TokenCounter:
    """Number of tokens in a text, those that a model adds at its ends not counted.

    Args:
        name: The folder or the hub name of a model; the default embedder where empty or ``"default"``.

    Raises:
        ModelFileError: It has no ``tokenizer.json``, or cannot be fetched.
    """

    def __init__(self, name: str = "") -> None:
        from tokenizers import Tokenizer

        self.name = name or "default"
        path = _file(name, "tokenizer.json")
        if path is None:
            raise ModelFileError(f"{name}: no tokenizer.json", "Name another model to count tokens with.")
        try:
            self._tokenizer: Any = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare exceptions
            raise ModelFileError(f"{path}: not a tokenizer ({error})", "Fetch the model again.") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.special: int = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        """Tokens that the model puts around a text."""
        # words and line ends come again and again, each a call of its own
        self._short = lru_cache(maxsize=1 << 16)(self._encode)

    def __call__(self, text: str) -> int:
        """Tokens of a text."""
        return self._short(text) if len(text) <= _SHORT else self._encode(text)

    def check(self, size: int) -> None:
        """Compare a size with what the model reads.

        Raises:
            InvalidInput: Longer texts are cut by the model, so that their ends would not be found.
        """
        limit = self._limit()
        if limit is not None and size + self.special > limit:
            raise InvalidInput(
                f"chunk size {size} tokens, the model {self.name} reads {limit - self.special}"
                f" ({limit} less {self.special} of its own)",
                "Lower the chunk size, or take an embedder that reads more.",
            )

    def _encode(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def _limit(self) -> int | None:
        for name in _FILES:
            path = _file("" if self.name == "default" else self.name, name)
            values = json.loads(path.read_text(encoding="utf-8")) if path else {}
            limit = values.get("max_seq_length") or values.get("model_max_length")
            if isinstance(limit, int) and 0 < limit < 1_000_000:  # a huge number stands for none
                return limit
        return None


def _file(model: str, name: str) -> Path | None:
    folder = pinned.path("embedder") if model in _DEFAULTS else expanded(model)
    if folder.is_dir():
        return folder / name if (folder / name).is_file() else None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(model, name))
    except Exception as error:  # the hub client raises errors of several HTTP libraries
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            return None  # the model is there, without such a file
        raise ModelFileError(
            f"tokenizer {model!r}: no such folder, and the hub did not deliver it ({type(error).__name__}: {error})",
            "Check the name and the network, or give the folder of a local model.",
        ) from error
