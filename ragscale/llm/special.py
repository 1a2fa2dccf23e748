"""Special tokens of a model, read from its own tokenizer, so that no passage or question can write one."""

from __future__ import annotations

import functools
import mmap
import re
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ragscale.errors import ModelFileError

__all__ = ["neutral", "of_gguf", "of_tokenizer", "special_tokens"]

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_TOKENS, _TYPES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
_CONTROL, _DEFINED = 3, 4  # types of tokens: those of the template, and further ones that are never split
_PASSES = 4


def special_tokens(model: Any) -> frozenset[str]:
    """The texts that a model's tokenizer reads as one token wherever they stand; empty where no tokenizer is at hand.

    At hand are those of the embedded model and of a tokenizer that was named (``?tokenizer=``). Another model object
    tells its own by a property `special_tokens`.
    """
    return frozenset(getattr(model, "special_tokens", ()))


def neutral(text: str, tokens: frozenset[str]) -> str:
    """A text from outside in which each of `tokens` is broken by a blank behind its first character."""
    pattern = _pattern(tokens)
    for _ in range(_PASSES if pattern else 0):  # what is left of one may be another
        broken = pattern.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
        if broken == text:
            break
        text = broken
    return text


@functools.lru_cache(maxsize=16)
def _pattern(tokens: frozenset[str]) -> Any:
    written = sorted(tokens, key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, written))) if written else None


def _telling(tokens: Iterable[str]) -> frozenset[str]:
    """Those that no plain text needs: blanks and single characters are among a model's special tokens, too."""
    return frozenset(token for token in tokens if len(token) > 2 and token.split() == [token])


def of_tokenizer(tokenizer: Any) -> frozenset[str]:
    """Special tokens of a `tokenizers.Tokenizer`."""
    return _telling(token.content for token in tokenizer.get_added_tokens_decoder().values())


@functools.lru_cache(maxsize=16)
def of_gguf(path: Path) -> frozenset[str]:
    """Special tokens of a GGUF file, from its metadata.

    Raises:
        ModelFileError: The metadata cannot be read.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = _Reader(data).values({_TOKENS, _TYPES})
        tokens, types = found.get(_TOKENS, []), found.get(_TYPES, [])
        return _telling(
            token.decode("utf-8", "replace")
            for token, kind in zip(tokens, types, strict=False)
            if kind in (_CONTROL, _DEFINED)
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise ModelFileError(
            f"{path}: the metadata cannot be read ({type(error).__name__}: {error})", "Give another GGUF file."
        ) from None


class _Reader:
    """Reads GGUF metadata: little-endian, keys with typed values, one behind the other."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self._at = data, 0

    def values(self, wanted: set[str]) -> dict[str, Any]:
        magic, _, _, number = self._take("<4sIQQ")
        if magic != b"GGUF":
            raise ValueError("not a GGUF file")
        found: dict[str, Any] = {}
        for _ in range(number):
            key = self._string().decode("utf-8", "replace")
            value = self._value(self._take("<I")[0])
            if key in wanted:
                found[key] = value
            if found.keys() == wanted:
                break
        return found

    def _take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return values

    def _string(self) -> bytes:
        (size,) = self._take("<Q")
        self._at += size
        if self._at > len(self._data):
            raise ValueError("it ends too early")
        return self._data[self._at - size : self._at]

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._take(f"<{_SCALARS[kind]}")[0]
        inner, size = self._take("<IQ")
        if inner in _SCALARS:
            if size > len(self._data):
                raise ValueError("it ends too early")
            return self._take(f"<{size}{_SCALARS[inner]}")
        return [self._value(inner) for _ in range(size)]
