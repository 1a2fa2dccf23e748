"""Model files in the user's cache."""

from __future__ import annotations

import os
from pathlib import Path

from ragscale.errors import InvalidInput, ModelFileError

__all__ = ["cache_dir", "path"]

_FILES = {"llm": "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf", "embedder": "all-MiniLM-L6-v2"}


def cache_dir() -> Path:
    """The folder of the model files: ``$RAGSCALE_CACHE``, or the user's cache folder."""
    chosen = os.environ.get("RAGSCALE_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("ragscale"))


def path(name: str) -> Path:
    """Where the model is.

    Args:
        name: ``"llm"`` or ``"embedder"``.

    Raises:
        ModelFileError: It was not fetched.
    """
    if name not in _FILES:
        raise InvalidInput(f"Unknown model {name!r}", f"Known: {', '.join(_FILES)}.")
    found = cache_dir() / _FILES[name]
    if not found.exists():
        raise ModelFileError(f"The packaged {name} is not in {found.parent}", "Run: ragscale model fetch")
    return found
