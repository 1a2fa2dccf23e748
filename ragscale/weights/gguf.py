"""GGUF files: weights, tokenizer and settings of a model in one file, as llama.cpp and OpenVINO read it."""

from __future__ import annotations

import os
from pathlib import Path

from ragscale.errors import ModelFileError

__all__ = ["gguf_file"]


def gguf_file(path: str | os.PathLike[str]) -> Path:
    """The absolute path of a file that begins as GGUF files do.

    Raises:
        ModelFileError: It is absent, or not a GGUF file.
    """
    given = Path(path).expanduser()
    try:
        with given.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ModelFileError(f"Cannot read {given}: {error.strerror}", "Give the path of a GGUF file.") from None
    if magic != b"GGUF":
        raise ModelFileError(f"{given} is not a GGUF file", "Give the path of a GGUF file.")
    return given.absolute()
