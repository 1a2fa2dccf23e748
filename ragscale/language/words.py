"""Words of a text in any script: the one definition that BM25, repeated queries and compared answers share.

Word boundaries are those of Unicode (UAX 29), over a normal form without case, composition and unseen characters
(Unicode 3.13, D146), with the tailoring that the annex leaves to its users:

- Letters of scripts that are written without spaces, and of Korean, whose particles join their nouns, are words each.
- ``U.S.A.`` is ``usa``, other letters are parted by a full stop; ``1,000`` is ``1000`` and ``.5`` is ``0.5``.
- A minus belongs to its number; ``C++``, ``C#``, ``A*``, ``AT&T`` and ``R&B`` are words.
- A small number at a figure is a word of its own, so that neither ``10⁶`` is 106 nor ``1½`` is 11/2.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import pairwise
from typing import Any

__all__ = ["folded", "pairs", "runs", "spelling", "together", "words"]

_APOSTROPHES = "\u2018\u2019\u02bb\u02bc\u05f3"
_REPLACED = {
    "\u2212": "-",
    "\u2044": "/",
    "\u05f4": '"',
    "\u066b": ".",
    "\u066c": ",",
    **dict.fromkeys(_APOSTROPHES, "'"),
}
_UNSEEN = r"[\p{Default_Ignorable_Code_Point}\p{Cf}]"
_SMALL = r"(?<=[\p{Nd}\p{No}])(?=[\u207b\u208b]\p{No})|(?<=\p{Nd})(?=\p{No})"
"""Between a figure and a small one: an exponent, a fraction, the mark of a note."""

_AROUND = ".,;:!?()[]\"'"
"""Punctuation that is no part of a word that it precedes or follows; a full stop may begin a number."""

# classes of characters in the normal form
_TOGETHER = (
    r"[[\p{Ideographic}\p{Hiragana}\p{Katakana}\p{WB=Katakana}\p{Hangul}\p{LB=SA}]--[\p{M}\p{Nd}\p{No}\p{S}\p{P}]]"
)
_LETTER = rf"[[\p{{WB=ALetter}}\p{{WB=Hebrew_Letter}}\p{{L}}]--[{_TOGETHER}\p{{S}}\p{{P}}]]"
_NUMBER = rf"[[\p{{WB=Numeric}}\p{{N}}]--[{_TOGETHER}\p{{P}}]]"
_ANY = rf"[{_LETTER}{_NUMBER}]"
_INSIDE = rf"[{_LETTER}{_NUMBER}{_TOGETHER}\p{{M}}]"
_BLANK = r"(?<![^\s\p{Ps}\p{Pi}\p{S}\"'])"
"""Before a word there is nothing, a space, an opening bracket or quote, or a symbol."""

_JOINED = rf"""(?:
    (?<=[{_LETTER}\p{{M}}])['\u00b7](?={_LETTER})
  | (?<=[0-9])[.,](?=[0-9])
  | (?<=\p{{WB=Hebrew_Letter}})"(?=\p{{WB=Hebrew_Letter}})
  | (?<=(?<!{_INSIDE}){_LETTER}\p{{M}}*)\.(?={_LETTER}\p{{M}}*+(?!{_INSIDE}))
  | (?<=(?<!{_INSIDE}){_ANY}\p{{M}}*)&(?={_ANY})
  | &(?={_ANY}\p{{M}}*+(?!{_INSIDE}))
  | \p{{Pc}}++(?={_ANY})
)"""
_SIGNED = rf"(?:{_BLANK}-)?+(?:(?<![{_INSIDE}.])\.)?+(?=[0-9])"
_NAMED = rf"""(?:
    (?<=[{_LETTER}\p{{M}}])(?:\+\+(?![{_LETTER}+#])|[+#](?![{_INSIDE}+#]))
  | (?<=(?<![{_INSIDE}*]){_LETTER}\p{{M}}*)\*(?![{_INSIDE}*])
)"""
_SPACED = rf"(?:{_ANY}\p{{M}}*+(?:{_JOINED})?+)++(?:{_NAMED})?+"
_RUN = rf"(?:{_TOGETHER}\p{{M}}*+)++"
_WORD = rf"(?:{_SIGNED})?+{_SPACED}|{_RUN}"
_SPELT = rf"(?:{_SIGNED}|{_BLANK}[.-])?+{_SPACED}|{_RUN}|[%&@/\#]|[\p{{S}}--[`\u00b4^|~\u00a8]]"
_CHARACTER = rf"{_TOGETHER}\p{{M}}*+"
_THOUSANDS = re.compile(r"-?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")


@cache
def _compiled(pattern: str) -> Any:
    """A pattern of Unicode's properties; most texts of ASCII alone need none, and to compile one takes a while."""
    import regex

    return regex.compile(pattern, regex.V1 | regex.X)


class _Characters(dict[int, str]):
    """The form of a character in the normal form; filled as characters are met."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        category = unicodedata.category(char)
        if _compiled(_UNSEEN).match(char):
            form = ""
        elif category == "Nd":
            form = str(unicodedata.decimal(char))
        elif category == "Pd":
            form = "-"
        else:
            form = _REPLACED.get(char, char)
        self[code] = form
        return form


_CHARACTERS = _Characters()


def folded(text: str) -> str:
    """A text without differences that readers do not see: case, composition, width, small figures, joiners.

    Decimal digits of all scripts become ASCII ones, dashes a hyphen, apostrophes straight ones.
    """
    if text.isascii():
        return text.lower()
    form = _compiled(_SMALL).sub(" ", unicodedata.normalize("NFD", text))
    for _ in range(3):  # twice is enough but where unseen characters part what composes
        before = form
        form = unicodedata.normalize("NFKC", form.casefold()).translate(_CHARACTERS)
        form = unicodedata.normalize("NFKC", form).replace("i\u0307", "i")  # of the Turkish capital
        if form == before:
            break
    return str(form)


def words(text: str) -> list[str]:
    """Words in their order and normal form; each has a letter or a digit.

    A text gives the same words in any composition (NFC, NFD), and joined by spaces they give themselves again.
    """
    return [word for run in runs(text) for word in characters(run)]


def runs(text: str) -> list[str]:
    """`words`, but neighbouring letters of a script without spaces stay together."""
    return [run for chunk in text.split() for run in _cut(chunk, _WORD)]


def spelling(text: str) -> list[str]:
    """`words` with the signs by which names differ: ``.net``, ``%`` of ``5%``, ``$`` of ``$5``."""
    found: list[str] = []
    for chunk in text.split():
        for run in _cut(chunk, _SPELT):
            found += characters(run)
    return found


def _cut(chunk: str, pattern: str) -> list[str]:
    bare = chunk.strip(_AROUND)
    if bare.isalnum() and bare.isascii() and "." not in chunk[: chunk.index(bare)]:
        return [bare.lower()]  # as below, in a tenth of the time
    return list(map(_plain, _compiled(pattern).findall(folded(chunk))))


def characters(run: str) -> list[str]:
    """The letters, with their marks, of a run of a script without spaces; any other word alone."""
    return _compiled(_CHARACTER).findall(run) if together(run) else [run]


def together(run: str) -> bool:
    """Whether a run is of a script without spaces."""
    return not run.isascii() and _compiled(_CHARACTER).match(run) is not None


def pairs(run: str) -> list[str]:
    """Letters and pairs of neighbouring letters of a run: the words of such scripts without a dictionary."""
    single = characters(run)
    return [*single, *map("".join, pairwise(single))]


def _plain(word: str) -> str:
    """A word as others write it: without the full stops of ``u.s.a`` and the commas of ``1,000``."""
    if word.isalpha():
        return word
    if "." in word:
        head = word.lstrip("-")
        if head[0] == "." and head[1:2].isdecimal():
            word = f"{word[: len(word) - len(head)]}0{head}"
        elif not any(char.isdecimal() for char in word) and word[0] != ".":
            word = word.replace(".", "")
    if "," in word and _THOUSANDS.fullmatch(word):
        word = word.replace(",", "")
    return word
