"""The tokenizers that fake model servers count by, from sparse to dense.

Each splits a text into pieces that make it up again, so that a completion can be cut after any number of tokens.
"""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Callable
from itertools import pairwise

from tokenizers import Tokenizer as WordPiece

from ragscale.weights import pinned

__all__ = ["DENSE", "ORDINARY", "SPECIAL", "TOKENIZERS", "count", "ids", "pieces"]

SPECIAL = "\ue000\ue001\ue002\ue003\ue004\ue005"
"""Characters that stand for a template's special tokens, one each: begin, role, end of turn, and three to fill up."""


def _words(text: str) -> list[str]:
    """A token a word or a mark, the blanks before it included."""
    return re.findall(r"\s*(?:\w+|[^\w\s])|\s+", text)


def _quarters(text: str) -> list[str]:
    """Four bytes a token, begun anew with each word."""
    return [piece for word in re.findall(r"\s*\S+|\s+", text) for piece in _by_bytes(word, 4)]


def _characters(text: str) -> list[str]:
    """A token a character: the densest that letters get."""
    return list(text)


def _byte_pairs(text: str) -> list[str]:
    """As many models: digits one by one, words in pieces of five letters that end where the case changes, capitals two
    by two, and no more than two bytes of anything but ASCII a token."""
    found: list[str] = []
    for run in re.findall(r"[0-9]|\s*[A-Z]?[a-z]+|\s*[A-Z]+|[^\x00-\x7f]+|[^A-Za-z]", text):
        if not run.isascii():
            for char in run:  # the text of a character that takes two tokens is with the first of them
                found += [char, *[""] * (len(char.encode("utf-8", "replace")) > 2)]
        elif run[-1:].isalpha():
            size = 2 if run.isupper() else 5
            found += [run[at : at + size] for at in range(0, len(run), size)]
        else:
            found.append(run)
    return found


def _by_bytes(text: str, most: int) -> list[str]:
    """`text` in pieces of at most `most` bytes; a character is never divided, though it may hold more."""
    found: list[str] = []
    size = most
    for char in text:
        width = len(char.encode("utf-8", "replace"))
        if size + width > most:
            found.append("")
            size = 0
        found[-1] += char
        size += width
    return found


@functools.cache
def _wordpiece() -> WordPiece:
    tokenizer = WordPiece.from_file(str(pinned.path("embedder") / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _word_pieces(text: str) -> list[str]:
    """MiniLM's own WordPiece; what it skips belongs to the token before."""
    starts = [start for start, _ in _wordpiece().encode(text, add_special_tokens=False).offsets]
    cuts = sorted({0, *starts[1:], len(text)}) if text else []
    return [text[start:end] for start, end in pairwise(cuts)]


TOKENIZERS: dict[str, Callable[[str], list[str]]] = {
    "words": _words,
    "wordpiece": _word_pieces,
    "quarters": _quarters,
    "byte pairs": _byte_pairs,
    "characters": _characters,
}
ORDINARY = ("words", "wordpiece", "quarters")
"""Those as dense as usual: an estimate has to be above them."""
DENSE = ("byte pairs", "characters")


def pieces(tokenizer: str, text: str) -> list[str]:
    """`text` in tokens; special characters stand alone."""
    split = TOKENIZERS[tokenizer]
    found: list[str] = []
    for part in filter(None, re.split(f"([{SPECIAL}])", text)):
        found += [part] if part in SPECIAL else split(part)
    return found


@functools.lru_cache(maxsize=2_000)
def count(tokenizer: str, text: str) -> int:
    """Number of tokens of `text`."""
    return len(pieces(tokenizer, text))


def ids(tokenizer: str, text: str) -> list[int]:
    """Ids of the tokens of `text`: equal for equal pieces."""
    return [
        SPECIAL.index(piece) + 1
        if piece and piece in SPECIAL
        else 100 + zlib.crc32(piece.encode("utf-8", "replace")) % 10**6
        for piece in pieces(tokenizer, text)
    ]
