"""Coined names: pronounceable words, of which hardly any is in a dictionary.

A generator of our own, since libraries such as Faker draw from lists of real given names and surnames: some of their
people exist, and a model may know them. About one word of two syllables in a hundred is a real one by chance.
"""

from __future__ import annotations

import random
from collections import Counter

__all__ = ["NameGenerator"]

_STARTS = (
    "b", "br", "d", "dr", "f", "g", "h", "j", "k", "kr", "l", "m", "n", "p", "r", "s", "t", "tr", "v", "w", "z",
)  # fmt: skip
_VOWELS = "aeiou"
_MIDDLES = "bdgklmnrstvz"
_CLUSTERS = (  # seldom in short real words
    "lb", "ld", "lg", "lk", "lm", "lv", "mb", "nd", "rb", "rd", "rg", "rk", "rm", "rn", "rv", "sk", "st", "zd", "zm",
)  # fmt: skip
_ENDS = ("d", "k", "l", "m", "n", "nd", "r", "rn", "s", "st", "t")
_PATIENCE = 20


class NameGenerator:
    """Source of coined words, each given once.

    Args:
        rng: Source of chance; the same state gives the same words.
    """

    def __init__(self, rng: random.Random) -> None:
        from Stemmer import Stemmer

        self._stemmer = Stemmer("english")
        self._rng = rng
        self._given: set[str] = set()
        self._more: Counter[int] = Counter()

    def word(self, syllables: int = 2) -> str:
        """A new word with a capital letter, such as ``Mirel``, that differs from all before in its stem.

        Stems are those of the lexical index, so that no two words are one term there. Once words of so many syllables
        are rare, it has more.

        Args:
            syllables: At least so many.
        """
        word, tried = self._coined(syllables + self._more[syllables]), 0
        while (stem := self._stemmer.stemWord(word)) in self._given:
            tried += 1
            if tried % _PATIENCE == 0:
                self._more[syllables] += 1
            word = self._coined(syllables + self._more[syllables])
        self._given.add(stem)
        return word.capitalize()

    def _coined(self, syllables: int) -> str:
        pick = self._rng.choice
        middles = [pick(_VOWELS) + pick(_CLUSTERS if place == 0 else _MIDDLES) for place in range(syllables - 1)]
        return pick(_STARTS) + "".join(middles) + pick(_VOWELS) + pick(_ENDS)
