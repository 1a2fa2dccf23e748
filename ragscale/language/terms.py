"""Terms of a text for BM25: its words without stop words, stemmed by the language of the corpus.

A stop word that is written as a name stays: ``vitamin A``, ``IT department``, ``A-level``, ``vitamina E``. Capitals
that are there for another reason make no name: at the beginning of a sentence, in a title, in a line of capitals.

What others write in another way has further terms, so that all are found, the exact one first: a word that a sign or a
hyphen joins its parts and the whole (``get_user_name``, ``R&D``, ``e-mail``, ``node.js``, ``O'Brien``), letters at a
number both (``5kg``, ``RTX3090``, ``1990s``), numbers and initials that may be one the whole (``10 000``, ``J. R.``),
a number with a sign (``5%``, ``$5``) both, a word with accents the one without, a Greek letter its name, and a Hebrew
word the one without its prefixes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from itertools import chain
from pathlib import Path
from typing import Any
from unicodedata import name, normalize

from ragscale.errors import InvalidInput
from ragscale.language.words import amounts, closed, folded, grouped, pairs, runs, together

__all__ = ["AUTO", "CODES", "NO_LANGUAGE", "VERSION", "Terms", "known_language"]

VERSION = 5
"""Version of the rules that make terms: queries and passages must be cut by the same ones."""
AUTO = "auto"
NO_LANGUAGE = "none"
CODES = {
    "ar": "arabic", "hy": "armenian", "eu": "basque", "ca": "catalan", "zh": "chinese", "cs": "czech", "da": "danish",
    "nl": "dutch", "en": "english", "eo": "esperanto", "et": "estonian", "fi": "finnish", "fr": "french",
    "de": "german", "el": "greek", "hi": "hindi", "hu": "hungarian", "id": "indonesian", "ga": "irish",
    "it": "italian", "ja": "japanese", "km": "khmer", "ko": "korean", "lo": "lao", "lt": "lithuanian", "my": "burmese",
    "ne": "nepali", "no": "norwegian", "fa": "persian", "pl": "polish", "pt": "portuguese", "ro": "romanian",
    "ru": "russian", "sr": "serbian", "es": "spanish", "sv": "swedish", "ta": "tamil", "th": "thai", "tr": "turkish",
    "yi": "yiddish",
}  # fmt: skip
"""Languages by their codes (ISO 639-1): those of Snowball, and those whose letters are words."""
_UNSTEMMED = ("burmese", "chinese", "japanese", "khmer", "korean", "lao", "thai")
"""Their letters are words and need no stemmer; bm25s's stop words of two of them are words that nothing here finds."""
_STROKES = str.maketrans({"\u0142": "l", "\u00f8": "o", "\u0111": "d", "\u0131": "i", "\u00e6": "ae", "\u0153": "oe",
    "\u00fe": "th", "\u00f0": "d"})  # fmt: skip
_MEMORY = 1 << 17
_LONG = 40
_ENDS = (".", "?", "!", ":", ";", "\u2026", "\u3002")
_FOLLOWED = re.compile(r"\w[.,;:?!]+")
"""A letter with the punctuation of an ending after it: no article stands there."""
_OUTSIDE = re.compile(r"^[\W_]+|[\W_]+$")
_COMPOUND = re.compile(r"(?<![^\W_])[^\W_]+(?:[-\u2010\u2011][^\W_]+)+")
_DOTTED = re.compile(r"(?<![\w./@-])(?:[^\W\d_]{2,3}\.[^\W\d_]+|[^\W\d_]+\.[^\W\d_]{1,3})(?!\w|[./@]\w)")
_ELIDED = re.compile(r"(?<![^\W\d_])([^\W\d_]+)['`\u00b4\u2019\u02bb\u02bc]((?!s\b)[^\W\d_]+)")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_AT_NUMBER = re.compile(r"([^\W\d_]+)([0-9](?:[0-9.,]*[0-9])?)|([0-9](?:[0-9.,]*[0-9])?)(?:st|nd|rd|th|s|([^\W\d_]+))")
"""Letters before or behind a number, without the ending of an ordinal or a decade."""
_HEBREW = re.compile("([\u05d5\u05e9]?)[\u05d4\u05d5\u05d1\u05dc\u05db\u05de\u05e9]([\u05d0-\u05ea]{3,})")
"""Prefixes: and, that; the, in, to, as, from."""
_ARABIC = re.compile("^[\u0648\u0641](?=\u0627\u0644[^\\W_]{2})")
"""And, so, before an article."""
_BETWEEN = re.compile(r"[\W_]+")
_SIGN = re.compile(r"[&_]")
_PERSIAN = str.maketrans("\u0643\u064a", "\u06a9\u06cc")
"""Letters that Persian's stemmer knows, of those of the normal form."""


def known_language(name: str) -> str:
    """The name of a language that is given by name or code, such as ``de``; ``auto`` and ``none`` stay.

    Raises:
        InvalidInput: There is no stemmer for it.
    """
    given = name.strip().lower() if isinstance(name, str) else ""
    found = CODES.get(given, given)
    if found not in (AUTO, NO_LANGUAGE, *CODES.values()):
        choices = ", ".join(sorted(CODES.values()))
        raise InvalidInput(
            f"language {name!r} has no stemmer",
            f"Choose {AUTO}, {NO_LANGUAGE} (words as they stand) or one of: {choices}.",
        )
    return found


class Terms:
    """Makes the terms of texts; the same language gives the same terms in every process.

    Args:
        language: A name of `CODES`, or ``"none"`` for words as they stand.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._stopwords = stopwords_of(language)
        self._capitals = frozenset(word.upper() for word in self._stopwords if word.isalpha() and not word.isupper())
        # an English article comes before a word: at the end it is a letter
        self._last = "a" if language == "english" else None
        self._stemmer = _snowball(stemmer_of(language))
        self._known = _Known(self._made)

    def __call__(self, text: str) -> list[str]:
        """Terms in their order, repeated ones again."""
        text = grouped(closed(text), parts=True)
        # now no word goes across a space, and most chunks come again
        chunks = text.split()
        if self._capitals.isdisjoint(chunks) and chunks[-1:] != [self._last]:
            return list(chain.from_iterable(map(self._known.__getitem__, chunks)))
        return [term for line in text.splitlines() for term in self._of_line(line.split())]

    def _of_line(self, chunks: Sequence[str]) -> Iterator[str]:
        for at, chunk in enumerate(chunks):
            if chunk in self._capitals:
                yield from self._made(chunk, kept=_is_name(chunks, at))
            elif chunk == self._last and at + 1 == len(chunks):
                yield from self._made(chunk, kept=True)
            else:
                yield from self._known[chunk]

    def _made(self, chunk: str, *, kept: bool = False) -> tuple[str, ...]:
        # the Turkish I has another small letter
        text = chunk.replace("I", "\u0131").replace("\u0130", "i") if self.language == "turkish" else chunk
        parted = [word for run in runs(text) for word in _parted(run)]
        stopped = () if kept else self._stopwords.intersection(parted)
        stays = {word: self._is_part(word, chunk) for word in stopped}
        found = [term for word in parted if stays.get(word, True) for term in self._of(word)]
        if text.isalpha() and text.islower():
            return tuple(found)
        known = set(found)
        whole = [term for form in self._forms(text) for run in runs(form) for term in self._of(run)]
        return (*found, *dict.fromkeys(term for term in whole if term not in known), *amounts(text))

    def _forms(self, chunk: str) -> Iterator[str]:
        """Other ways to write parts of a chunk."""
        for found in chain(_COMPOUND.finditer(chunk), _DOTTED.finditer(chunk)):
            yield re.sub(r"[\W_]", "", found[0])
        if self._stemmer is None or self.language == "english":  # other stemmers know what is elided
            for found in _ELIDED.finditer(chunk):
                yield found[1] + found[2]
                yield found[2] if len(found[2]) > 2 else ""
        core = _OUTSIDE.sub("", chunk)
        if (chunk.startswith("#") or core[:1].islower()) and not core.islower() and core.isalnum():
            parts = _HUMP.split(core)
            yield from parts if len(parts) > 1 and min(map(len, parts)) > 2 else ()

    def _is_part(self, run: str, chunk: str) -> bool:
        """Whether a stop word is a name by the signs around it: ``A-level``, ``I.T.``, ``(IT)``, ``vitamin A,``."""
        capital = run.upper()
        if capital not in self._capitals:
            return False
        core = _OUTSIDE.sub("", chunk)
        if core != capital:
            parts = _BETWEEN.split(core.replace(".", ""))
            if len(core) > len(run) and capital in parts and run not in parts:
                return True
            return run == self._last and core == run and _FOLLOWED.fullmatch(chunk) is not None
        return chunk != core and (len(core) > 1 or chunk[-1] != core)  # a single letter after a quote or bracket begins

    def _of(self, run: str) -> Sequence[str]:
        if together(run):
            return pairs(run)
        bare = run.lstrip("-")  # who looks for a number does not write its sign
        if self.language == "english" and not bare.isascii():
            bare = _unaccented(bare)
        if self.language == "persian":
            bare = bare.translate(_PERSIAN)
        if self.language == "arabic":
            bare = _ARABIC.sub("", bare)
        term = bare if self._stemmer is None else self._stemmer.stemWord(bare)
        return (term,) if term.isascii() else tuple(dict.fromkeys((term, *self._plainer(term))))

    def _plainer(self, term: str) -> Iterator[str]:
        yield _unaccented(term)
        if len(term) == 1 and self.language != "greek" and name(term, "").startswith("GREEK SMALL LETTER"):
            yield name(term).rpartition(" ")[2].lower().replace("lamda", "lambda")
        prefixed = _HEBREW.fullmatch(term) if self.language != "yiddish" else None
        if prefixed:
            yield term[1:]
            if prefixed[1]:
                yield prefixed[2]


def _parted(run: str) -> tuple[str, ...]:
    """A word, and the parts that a sign joins in it, or that are letters and a number."""
    if run.isalpha() or run.isdecimal():
        return (run,)
    if "&" in run or "_" in run:
        parts = _SIGN.split(run)
        return (run, *parts, "".join(parts))
    found = _AT_NUMBER.fullmatch(run)
    return (run, *filter(None, found.groups())) if found else (run,)


def _is_name(chunks: Sequence[str], at: int) -> bool:
    """Whether a stop word in capitals is a name, by the words of its line."""
    before, after = chunks[at - 1] if at else "", chunks[at + 1] if at + 1 < len(chunks) else ""
    if len(chunks[at]) == 1:
        begins = not any(map(str.isalnum, before)) or before.rstrip("\"')]\u2019\u201d\u00bb").endswith(_ENDS)
        # before a capital it is the article of a title: Drive A Crooked Road
        return not after or not (begins or after[0].isupper())
    around = [word for word in (before, after) if word]
    return not around or not all(map(str.isupper, around))


class _Known(dict[str, Sequence[str]]):
    """Terms of the chunks that came last; long ones, as of scripts without spaces, are not kept."""

    def __init__(self, make: Callable[[str], Sequence[str]]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, chunk: str) -> Sequence[str]:
        made = self._make(chunk)
        if len(chunk) <= _LONG:
            if len(self) >= _MEMORY:
                self.clear()
            self[chunk] = made
        return made


def stemmer_of(language: str) -> str | None:
    """Snowball's algorithm for a language of `CODES`; None for words as they stand."""
    return None if language in (NO_LANGUAGE, *_UNSTEMMED) else language


def stopwords_of(language: str) -> frozenset[str]:
    """Stop words of a language, as bm25s has them, in the normal form; none for most languages."""
    listed = _listed().get(f"STOPWORDS_{'EN' if language == 'english' else language.upper()}", ())
    return frozenset() if stemmer_of(language) is None else frozenset(map(folded, listed))


@cache
def _listed() -> dict[str, Any]:
    """The lists of bm25s, by their file: to import bm25s loads SciPy and numba, which most searches do without."""
    package = find_spec("bm25s")
    assert package is not None
    assert package.submodule_search_locations
    spec = spec_from_file_location("stopwords", Path(package.submodule_search_locations[0]) / "stopwords.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return vars(module)


def _unaccented(word: str) -> str:
    """A word as it is typed on a keyboard without accents: those who search in English write ``Beyonce``."""
    import regex

    return normalize(
        "NFC", regex.sub(r"(?<=[\p{Latin}\p{Greek}]\p{M}*)\p{M}", "", normalize("NFD", word)).translate(_STROKES)
    )


def _snowball(algorithm: str | None) -> Any:
    if algorithm is None:
        return None
    from Stemmer import Stemmer

    return Stemmer(algorithm, maxCacheSize=0)
