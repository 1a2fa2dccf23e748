"""Special tokens of a model, read from its own tokenizer, so that no passage or question can write one."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ragscale.weights.gguf import metadata, unreadable

__all__ = ["neutral", "of_gguf", "of_tokenizer", "special_tokens"]

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
        found = metadata(path, _TOKENS, _TYPES)
        return _telling(
            token.decode("utf-8", "replace")
            for token, kind in zip(found.get(_TOKENS, []), found.get(_TYPES, []), strict=False)
            if kind in (_CONTROL, _DEFINED)
        )
    except (TypeError, AttributeError) as error:
        raise unreadable(path, error) from None
