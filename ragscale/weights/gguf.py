"""GGUF files: weights, tokenizer and settings of a model in one file, as llama.cpp and OpenVINO read it."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ragscale.errors import ModelFileError
from ragscale.paths import expanded

__all__ = ["gguf_file", "metadata", "unreadable", "without_weights"]

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_TENSORS = 8  # where the number of tensors stands, in eight bytes
_REMEDY = "Give the path of a GGUF file."


def gguf_file(path: str | os.PathLike[str]) -> Path:
    """The absolute path of a file that begins as GGUF files do.

    Raises:
        ModelFileError: It is absent, or not a GGUF file.
    """
    given = expanded(path)
    try:
        with given.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ModelFileError(f"Cannot read {given}: {error.strerror}", _REMEDY) from None
    if magic != b"GGUF":
        raise ModelFileError(f"{given} is not a GGUF file", _REMEDY)
    return given.absolute()


def metadata(path: Path, *names: str) -> dict[str, Any]:
    """Values of the file's metadata by their names, texts as bytes; names that it lacks are left out.

    Raises:
        ModelFileError: The metadata cannot be read.
    """
    with _opened(path) as data:
        return _Reader(data).values(set(names))


def without_weights(path: Path) -> bytes:
    """A GGUF file of the same metadata, with the tokenizer, and no weights.

    Raises:
        ModelFileError: The metadata cannot be read.
    """
    with _opened(path) as data:
        reader = _Reader(data)
        reader.values(None)
        return reader.read[:_TENSORS] + bytes(8) + reader.read[_TENSORS + 8 :]


@contextmanager
def _opened(path: Path) -> Iterator[mmap.mmap]:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: Exception) -> ModelFileError:
    """The error for metadata that is not what it should be."""
    return ModelFileError(
        f"{path}: the metadata cannot be read ({type(error).__name__}: {error})", "Give another GGUF file."
    )


class _Reader:
    """Reads GGUF metadata: little-endian, keys with typed values, one behind the other."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self._at = data, 0

    @property
    def read(self) -> bytes:
        """The file as far as it was read."""
        return self._data[: self._at]

    def values(self, wanted: set[str] | None) -> dict[str, Any]:
        """Values by their keys, up to the last of those that are wanted; None reads past all and keeps none."""
        magic, _, _, number = self._take("<4sIQQ")
        if magic != b"GGUF":
            raise ValueError("not a GGUF file")
        found: dict[str, Any] = {}
        for _ in range(number):
            key = self._string().decode("utf-8", "replace")
            value = self._value(self._take("<I")[0])
            if wanted and key in wanted:
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
