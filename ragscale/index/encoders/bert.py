"""BERT in NumPy: vectors of a few queries in the tenth of a second in which PyTorch has not been imported yet.

A process that asks one question would spend seconds on importing PyTorch, transformers and sentence-transformers, and
half a gigabyte, for a matrix product of milliseconds. The most usual embedder is a plain BERT: its forward pass is
below, on the same weights and the same tokenizer, within 1e-6 of sentence-transformers. Any model that is not exactly
that is left to PyTorch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bert", "may_have_gpu", "plain_bert"]

_Array = NDArray[np.float32]

_WORDS = "embeddings.word_embeddings.weight"
_PREFIX = "bert."
_SETTINGS = ("max_seq_length", "do_lower_case", "transformer_task", "modality_config", "module_output_name")
"""Settings of sentence-transformers' first module that are known here; another one may change vectors."""
_MODULES = ["Transformer", "Pooling", "Normalize"]
_GPUS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""Devices of NVIDIA, of Windows' subsystem for Linux, of AMD."""


def may_have_gpu() -> bool:
    """Whether PyTorch may see a GPU here; answered without importing it, True where that is not known."""
    return not sys.platform.startswith(("linux", "darwin")) or any(Path(device).exists() for device in _GPUS)


def plain_bert(folder: Path, max_tokens: int) -> Bert | None:
    """Load a sentence-transformers model that is a plain BERT in float32, with mean or first-token pooling.

    Args:
        folder: The model.
        max_tokens: Longest text, in tokens; the rest is cut off.

    Returns:
        None where the model is anything else, or its files are not as expected: PyTorch then loads it, or says why not.
    """
    try:
        pooling = _pooling(folder)
        config = _read(folder / "config.json")
        known = config["model_type"] == "bert" and config["hidden_act"] == "gelu" and not config.get("is_decoder")
        known = known and config.get("position_embedding_type", "absolute") == "absolute"
        if pooling is None or not known or not 2 < max_tokens <= config["max_position_embeddings"]:
            return None
        return Bert(folder, config, pooling, max_tokens)
    except Exception:  # of files that may hold anything, and of the Rust under both readers
        return None


def _pooling(folder: Path) -> str | None:
    """Pooling of token vectors, ``"mean"`` or ``"cls"``; None where a module does something else on the way."""
    modules = _read(folder / "modules.json")
    kinds = [module["type"].rpartition(".")[2] for module in modules]
    own = _read(folder / "sentence_bert_config.json")
    modality = own.get("modality_config", {"text": {"method_output_name": "last_hidden_state"}})
    known = set(own) <= set(_SETTINGS) and not own.get("do_lower_case") and set(modality) == {"text"}
    known = known and modality["text"]["method_output_name"] == "last_hidden_state" and _one_reading(folder)
    if not known or modules[0]["path"] or kinds not in (_MODULES, _MODULES[:2]):
        return None
    settings = _read(folder / modules[1]["path"] / "config.json")
    if not settings.get("include_prompt", True):
        return None
    old = {name: f"pooling_mode_{name}_token{'s' if name == 'mean' else ''}" for name in ("mean", "cls")}
    chosen = [name for name, setting in old.items() if settings.get(setting) or settings.get("pooling_mode") == name]
    every = [setting for setting, value in settings.items() if setting.startswith("pooling_mode") and value]
    return chosen[0] if len(chosen) == len(every) == 1 else None


def _one_reading(folder: Path) -> bool:
    """Whether the tokenizer's file and its settings agree on capitals: transformers goes by the settings."""
    normalizer = _read(folder / "tokenizer.json")["normalizer"]
    settings = _read(folder / "tokenizer_config.json")
    pairs = (("lowercase", "do_lower_case"), ("strip_accents", "strip_accents"))
    same = [settings.get(setting, normalizer[name]) == normalizer[name] for name, setting in pairs]
    return bool(normalizer["type"] == "BertNormalizer") and all(same)


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


class Bert:
    """A BERT of which only the words in use are read; an `Encoder`, for queries."""

    lanes = 1

    def __init__(self, folder: Path, config: Mapping[str, Any], pooling: str, max_tokens: int) -> None:
        from safetensors import safe_open
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(max_tokens)
        self._tokenizer.enable_padding(pad_id=config.get("pad_token_id") or 0)
        opened: Any = safe_open  # untyped
        self._file = opened(str(folder / "model.safetensors"), "np")
        names = set(self._file.keys())
        self._prefix = _PREFIX if _PREFIX + _WORDS in names else ""
        self._words = self._file.get_slice(self._prefix + _WORDS)  # half of the file: rows are read as they are needed
        self._heads = int(config["num_attention_heads"])
        self._epsilon = np.float32(config["layer_norm_eps"])
        self._mean = pooling == "mean"
        self._positions = self._weight("embeddings.position_embeddings.weight")
        self._type = self._weight("embeddings.token_type_embeddings.weight")[0]
        self._first = self._pair("embeddings.LayerNorm")
        self._layers = [self._layer(f"encoder.layer.{number}") for number in range(config["num_hidden_layers"])]
        self._vectors: dict[int, _Array] = {}

    def encode(self, texts: Sequence[str], *, prompt: str, query: bool, batch_size: int) -> _Array:
        """Vectors of any length, shape (len(texts), dimension)."""
        found = np.zeros((len(texts), len(self._type)), dtype=np.float32)
        longest_first = sorted(range(len(texts)), key=lambda place: -len(texts[place]))  # little is padded
        for start in range(0, len(texts), batch_size):
            places = longest_first[start : start + batch_size]
            found[places] = self._batch([prompt + texts[place] for place in places])
        return found

    def close(self) -> None:
        """Nothing is held that has to be released."""

    def _weight(self, name: str) -> _Array:
        found: _Array = self._file.get_tensor(self._prefix + name)
        if found.dtype != np.float32:
            raise ValueError(f"{name} is {found.dtype}")  # PyTorch would compute in that
        return found

    def _pair(self, name: str) -> tuple[_Array, _Array]:
        return self._weight(f"{name}.weight"), self._weight(f"{name}.bias")

    def _layer(self, name: str) -> dict[str, tuple[_Array, _Array]]:
        own = ("self.query", "self.key", "self.value", "output.dense", "output.LayerNorm")
        parts = {part: f"attention.{part}" for part in own}
        parts |= {"intermediate": "intermediate.dense", "dense": "output.dense", "norm": "output.LayerNorm"}
        return {part: self._pair(f"{name}.{place}") for part, place in parts.items()}

    def _batch(self, texts: Sequence[str]) -> _Array:
        read = self._tokenizer.encode_batch(list(texts))
        ids = np.array([one.ids for one in read])
        mask = np.array([one.attention_mask for one in read], dtype=np.float32)
        rows, length = ids.shape
        hidden = np.stack([self._word(number) for number in ids.ravel().tolist()]).reshape(rows, length, -1)
        hidden = self._normed((hidden + self._positions[:length] + self._type).reshape(rows * length, -1), self._first)
        hide = np.where(mask, np.float32(0), np.finfo(np.float32).min)[:, None, None, :]
        for layer in self._layers:
            seen = self._attended(hidden, layer, hide, (rows, length))
            hidden = self._normed(_linear(seen, layer["output.dense"]) + hidden, layer["output.LayerNorm"])
            wide = _gelu(_linear(hidden, layer["intermediate"]))
            hidden = self._normed(_linear(wide, layer["dense"]) + hidden, layer["norm"])
        tokens = hidden.reshape(rows, length, -1)
        if not self._mean:
            return tokens[:, 0]
        found: _Array = np.einsum("rtd,rt->rd", tokens, mask) / mask.sum(axis=1, keepdims=True)
        return found

    def _word(self, number: int) -> _Array:
        found = self._vectors.get(number)
        if found is None:
            row = self._words[number : number + 1][0]
            if row.dtype != np.float32:
                raise ValueError(f"{_WORDS} is {row.dtype}")
            found = self._vectors[number] = row
        return found

    def _attended(self, hidden: _Array, layer: Mapping[str, Any], hide: _Array, shape: tuple[int, int]) -> _Array:
        """Each token's mixture of the values of all tokens of its text, a head at a time."""
        width = hidden.shape[1] // self._heads
        query, key, value = (
            _linear(hidden, layer[f"self.{part}"]).reshape(*shape, self._heads, width).transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) / np.sqrt(np.float32(width)) + hide
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        mixed: _Array = (weights @ value).transpose(0, 2, 1, 3).reshape(hidden.shape)
        return mixed

    def _normed(self, values: _Array, by: tuple[_Array, _Array]) -> _Array:
        centred = values - values.mean(axis=1, keepdims=True)
        variance = np.einsum("td,td->t", centred, centred)[:, None] / np.float32(values.shape[1])
        found: _Array = centred / np.sqrt(variance + self._epsilon) * by[0] + by[1]
        return found


def _linear(values: _Array, by: tuple[_Array, _Array]) -> _Array:
    found: _Array = values @ by[0].T + by[1]
    return found


_ABOVE = (-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05,
          -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02)  # fmt: skip
_BELOW = (-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03,
          -1.42647390514189e-02)  # fmt: skip


def _gelu(values: _Array) -> _Array:
    """x times the share of a normal distribution below x, by the error function.

    As a quotient of polynomials in float32 (Eigen's), right to 3e-7 of x: SciPy takes a fifth of a second to import.
    """
    x = np.clip(values * np.float32(0.5**0.5), -4, 4)
    square = x * x
    error = x * _polynomial(square, _ABOVE) / _polynomial(square, _BELOW)
    found: _Array = values * np.float32(0.5) * (error + np.float32(1))
    return found


def _polynomial(values: _Array, factors: Sequence[float]) -> _Array:
    found = np.full_like(values, factors[0])
    for factor in factors[1:]:
        found *= values
        found += np.float32(factor)
    return found
