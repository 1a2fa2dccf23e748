"""Words of a text in any script: the one definition that BM25, repeated queries and compared answers share.

Word boundaries are those of Unicode (UAX 29), over a normal form without case, composition and unseen characters
(Unicode 3.13, D146), with the tailoring that the annex leaves to its users:

- Letters of scripts that are written without spaces, and of Korean, whose particles join their nouns, are words each.
- ``U.S.A.`` is ``usa``, other letters are parted by a full stop; ``1,000`` is ``1000`` and ``.5`` is ``0.5``;
  so are ``1'000`` and ``1.000.000``, and ``O`Brien`` is ``O'Brien``.
- A minus belongs to its number; ``C++``, ``C#``, ``A*``, ``AT&T`` and ``R&B`` are words.
- A small number at a figure is a word of its own, so that neither ``10⁶`` is 106 nor ``1½`` is 11/2; at a unit (up to
  three letters) it belongs to it: ``km²`` and ``km^2`` are ``km2``.
- Signs that stand for letters are apart (``Kinect™``, ``№5``, ``①Open``); marks that only help to read aloud are none:
  Russian stress, Hebrew points, Arabic vowels. Arabic letters of Persian and Urdu are those of Arabic,
  alef is without hamza. A nasal of Devanagari before its consonant is anusvara, as it is mostly written.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import pairwise
from typing import Any

__all__ = ["amounts", "closed", "folded", "grouped", "pairs", "runs", "spelling", "together", "valued", "words"]

_APOSTROPHES = "\u2018\u2019\u02bb\u02bc\u05f3"
_REPLACED = {
    "\u2212": "-",
    "\u2044": "/",
    "\u05f4": '"',
    "\u066b": ".",
    "\u066c": ",",
    **dict.fromkeys(_APOSTROPHES, "'"),
    "\u0450": "\u0435",  # Cyrillic letters with a grave, which is a stress
    "\u045d": "\u0438",
    "\u06a9": "\u0643",  # letters of Persian and Urdu, often typed with an Arabic keyboard
    "\u06cc": "\u064a",
    "\u06c1": "\u0647",
    "\u0623": "\u0627",  # alef with hamza, which most writers leave out, and what Egypt writes for a final yeh
    "\u0625": "\u0627",
    "\u0671": "\u0627",
    "\u0649": "\u064a",
    "\u0901": "\u0902",  # chandrabindu, for which anusvara is written where there is no room
}
_READ_ALOUD = re.compile(
    "[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"
    "\u0640\u064b-\u0652\u0656-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed]"
)
"""Hebrew points and accents, Arabic vowels and the stroke that makes a word longer."""
_STRESS = re.compile(
    "(?<=[\u0430\u0435\u0438\u043e\u0443\u044b\u044d\u044e\u044f\u0451\u0454\u0456\u0457\u0463])[\u0300\u0301]"
)
"""An accent over a Cyrillic vowel; that over a consonant is a letter of Macedonian."""
_NASAL = re.compile(
    "\u0919\u094d(?=[\u0915-\u0918])|\u091e\u094d(?=[\u091a-\u091d])|\u0923\u094d(?=[\u091f-\u0922])"
    "|\u0928\u094d(?=[\u0924-\u0927])|\u092e\u094d(?=[\u092a-\u092d])"
)
"""A nasal of Devanagari before a consonant of its class: anusvara may be written for it."""
_UNSEEN = r"[\p{Default_Ignorable_Code_Point}\p{Cf}]"
_RAISED = r"[\u00b2\u00b3\u00b9\u2070\u2074-\u2079]"
_SMALL = rf"""
    (?<=[\p{{Nd}}\p{{No}}])(?=[\u207b\u208b]\p{{No}}) | (?<=\p{{Nd}})(?=\p{{No}})
  | (?<=(?:\p{{L}}\p{{M}}*){{4}})(?=\u207b?{_RAISED})
"""
"""Between a figure, or a word that is no unit, and a small figure: an exponent, a fraction, the mark of a note."""
_POWER = re.compile(r"(?<![^\W\d_])([^\W\d_]{1,3})\^(?:\{([-+]?[0-9]+)\}|([-+]?[0-9]+))")
"""A power of a unit, as it is typed."""
_PICTURED = r"[\p{So}\p{No}]"
_SPACES = " \u00a0\u2009\u202f"
_CURRENCY = "$\u00a2-\u00a5\u058f\u060b\u09f2\u09f3\u0e3f\u17db\u20a0-\u20c0"
_OPEN = re.compile(rf"(?<=[0-9])[{_SPACES}](?=[%\u2030{_CURRENCY}](?!\w))")
"""A space before the sign of a number."""
_SIGNED_NUMBER = re.compile(rf"[0-9][%\u2030\uff05\uff04{_CURRENCY}]|[\uff04{_CURRENCY}][0-9.]")
_AMPERSAND = re.compile(r"\b([a-z]{1,3}) & ([a-z]{1,3})\b", re.IGNORECASE)
_GROUPED = re.compile(rf"[0-9][{_SPACES}][0-9]")
_GROUPS = re.compile(rf"(?<![0-9.,])(?<![0-9][{_SPACES}])[0-9]{{1,3}}(?:[{_SPACES}][0-9]{{3}})+(?![0-9])")

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
    (?<=[{_LETTER}\p{{M}}])['`\u00b7](?={_LETTER})
  | (?<=[0-9])[.,](?=[0-9]) | (?<=[0-9])'(?=[0-9]{{3}}(?![0-9]))
  | (?<=\p{{WB=Hebrew_Letter}})"(?=\p{{WB=Hebrew_Letter}})
  | (?<=(?<!{_INSIDE}){_LETTER}\p{{M}}*)\.(?={_LETTER}\p{{M}}*+(?!{_INSIDE}))
  | (?<=(?<!{_INSIDE}){_ANY}\p{{M}}*)&(?={_ANY})
  | &(?={_ANY}\p{{M}}*+(?!{_INSIDE}))
  | \p{{Pc}}++(?={_ANY})
)"""
_SIGNED = rf"(?:{_BLANK}-)?+(?:(?<![{_INSIDE}.])\.)?+(?=[0-9])"
_NAMED = rf"""(?:
    (?<=[{_LETTER}\p{{M}}])(?:\+\+(?![{_LETTER}+#])|[+#](?![{_INSIDE}+#]))
  | (?<=(?<![{_INSIDE}*.]){_LETTER}\p{{M}}*)\*(?![{_INSIDE}*])
)"""
_SPACED = rf"(?:{_ANY}\p{{M}}*+(?:{_JOINED})?+)++(?:{_NAMED})?+"
_RUN = rf"(?:{_TOGETHER}\p{{M}}*+)++"
_WORD = rf"(?:{_SIGNED})?+{_SPACED}|{_RUN}"
_MINUS = rf"-(?<=(?<![{_INSIDE}&])(?:(?:{_LETTER}\p{{M}}*){{1,2}}|a{{3}}|b{{3}}|c{{3}})-)(?![{_INSIDE}-])"
"""Of a blood group, a mark or a rating: behind one or two letters, or three that are the same."""
_SPELT = rf"(?:{_SIGNED}|{_BLANK}[.-])?+{_SPACED}(?:{_MINUS})?+|{_RUN}|[%&@/\#]|[\p{{S}}--[`\u00b4^|~\u00a8]]"
_VALUED = rf"(?:{_SIGNED})?+{_SPACED}(?:{_MINUS})?+|{_RUN}|[%\u2030\p{{Sc}}]"
_FLAT = re.compile("(?<=[A-Ga-g])\u266d")
_GREEK_ACCENT = r"(?<=\p{Greek}\p{M}*)[\u0300\u0301\u0308\u0313\u0314\u0342]"
"""Accents, breathings and the diaeresis, which Greek capitals do without or move."""
_CHARACTER = rf"{_TOGETHER}\p{{M}}*+"
_TORN = rf"(?<={_TOGETHER}\p{{M}}*)[^\S\n]*\n[^\S\n]*(?={_TOGETHER})"
"""A line end within a run of a script without spaces."""
_THOUSANDS = re.compile(
    r"-?(?:[0-9]{1,3}(?:(?:,[0-9]{3})+|(?:'[0-9]{3})+)|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3})(?:\.[0-9]+)?"
    r"|-?[0-9]{1,3}(?:\.[0-9]{3}){2,}(?:,[0-9]+)?"
)
"""Numbers in groups: ``1,000``, of Switzerland (``1'000``), of India (``1,00,000``), of most others (``1.000.000``)."""
_INITIALS = re.compile(r"(?<![^\W_])(?:[^\W\d_]\. ){1,4}[^\W\d_]\.(?=\s|$|[,;:)])")
"""Letters, each with a full stop, that spaces part: ``J. R. R.``."""


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
        if _compiled(_UNSEEN).match(char) or _READ_ALOUD.match(char):
            form = ""
        elif category == "Nd":
            form = str(unicodedata.decimal(char))
        elif category == "Pd":
            form = "-"
        elif category == "Pc":
            form = "_"
        else:
            form = _REPLACED.get(char, char)
        self[code] = form
        return form


_CHARACTERS = _Characters()


_CHILLUS = dict(zip("\u0d23\u0d28\u0d30\u0d32\u0d33\u0d15", "\u0d7a\u0d7b\u0d7c\u0d7d\u0d7e\u0d7f", strict=True))
_CHILLU = re.compile("([\u0d23\u0d28\u0d30\u0d32\u0d33\u0d15])\u0d4d\u200d")
"""Malayalam's consonants without a vowel, as they were written before Unicode 5.1."""


def folded(text: str) -> str:
    """A text without differences that readers do not see: case, composition, width, small figures, joiners.

    Decimal digits of all scripts become ASCII ones, dashes a hyphen, apostrophes straight ones.
    """
    if text.isascii():
        return _with_powers(text.lower())
    text = text.replace("\u00b4", "`")  # which would become a space
    form = _compiled(_SMALL).sub(" ", unicodedata.normalize("NFD", text))
    if "\u200d" in form:
        form = _CHILLU.sub(lambda found: _CHILLUS[found[1]], form)
    form = _compiled(_PICTURED).sub(lambda found: _apart(found[0]), form)
    for _ in range(3):  # twice is enough but where unseen characters part what composes
        before = form
        form = unicodedata.normalize("NFKC", form.casefold()).translate(_CHARACTERS)
        form = unicodedata.normalize("NFKC", _STRESS.sub("", form)).replace("i\u0307", "i")  # of the Turkish capital
        if form == before:
            break
    return _with_powers(_NASAL.sub("\u0902", str(form)))


def _apart(char: str) -> str:
    """A sign that is drawn of letters or figures, not to be read as part of the word beside it; of others, itself."""
    kind = unicodedata.decomposition(char).partition(" ")[0]
    if kind == "<super>" and unicodedata.category(char) == "So":  # trade mark, service mark
        return " "
    return f" {char} " if kind in ("<circle>", "<compat>") else char


def _with_powers(form: str) -> str:
    return _POWER.sub(r"\1\2\3", form) if "^" in form else form


def closed(text: str) -> str:
    """A text without the white space that is within its words.

    Of ``AT & T`` and ``5 %``, and line ends between two letters of a script that is written without spaces.
    """
    if "\n" in text and not text.isascii():
        text = _compiled(_TORN).sub("", text)
    if " & " in text:
        text = _AMPERSAND.sub(
            lambda found: f"{found[1]}&{found[2]}" if 1 in map(len, found.groups()) else found[0], text
        )
    return _OPEN.sub("", text)


def grouped(text: str, *, parts: bool = False) -> str:
    """A text with numbers such as ``10 000``, and initials such as ``J. R. R.``, in one.

    With `parts`, after what stands there: it may be two numbers.
    """

    def whole(found: re.Match[str]) -> str:
        joined = "".join(found[0].split())
        return f"{found[0]} {joined}" if parts else joined

    if ". " in text:
        text = _INITIALS.sub(whole, text)
    return _GROUPS.sub(whole, text) if _GROUPED.search(text) else text


def words(text: str) -> list[str]:
    """Words in their order and normal form; each has a letter or a digit.

    A text gives the same words in any composition (NFC, NFD), and joined by spaces they give themselves again.
    """
    return [word for run in runs(text) for word in characters(run)]


def runs(text: str) -> list[str]:
    """`words`, but neighbouring letters of a script without spaces stay together."""
    return [run for chunk in text.split() for run in _cut(chunk, _WORD)]


def spelling(text: str) -> list[str]:
    """`words` with the signs by which names differ: ``.net``, ``%`` of ``5%``, ``$`` of ``$5``, ``A-``.

    As in `valued`, ``C♯`` is ``C#``, ``B♭`` is ``Bb``, and Greek has no accents.
    """
    found: list[str] = []
    for chunk in _typed(text).split():
        for run in _cut(chunk, _SPELT):
            found += characters(_unaccented(run))
    return found


def valued(text: str) -> list[str]:
    """`words` with the signs that make another value of them: ``5 %``, ``5 $`` (of ``$5`` too), ``A-``.

    A sign stands after its number. Signs of notes are as they are typed (``C♯`` is ``C#``, ``B♭`` is ``Bb``), and Greek
    is without its accents: capitals have none.
    """
    found = [_unaccented(run) for chunk in grouped(closed(_typed(text))).split() for run in _cut(chunk, _VALUED)]
    for at, sign in enumerate(found[:-1]):
        if unicodedata.category(sign[0]) == "Sc" and found[at + 1][-1].isdecimal():
            found[at : at + 2] = [found[at + 1], sign]
    return [word for run in found for word in characters(run)]


def _typed(text: str) -> str:
    """A text with signs of notes as a keyboard has them."""
    return text if text.isascii() else _FLAT.sub("b", text.replace("\u266f", "#"))


def _unaccented(run: str) -> str:
    """A run of the normal form without Greek accents."""
    if run.isascii():
        return run
    return unicodedata.normalize("NFC", _compiled(_GREEK_ACCENT).sub("", unicodedata.normalize("NFD", run)))


def amounts(text: str) -> list[str]:
    """Numbers of a text together with their signs, as ``5%`` and ``5$``; those without one are left out."""
    found = valued(text) if _SIGNED_NUMBER.search(text) else []
    return [number.lstrip("-") + sign for number, sign in pairwise(found) if _is_sign(sign) and number[-1].isdecimal()]


def _is_sign(word: str) -> bool:
    return len(word) == 1 and (word in "%\u2030" or unicodedata.category(word) == "Sc")


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
    word = word.replace("`", "'")
    if "." in word:
        head = word.lstrip("-")
        if head[0] == "." and head[1:2].isdecimal():
            word = f"{word[: len(word) - len(head)]}0{head}"
        elif not any(char.isdecimal() for char in word) and word[0] != ".":
            word = word.replace(".", "")
    if not word.isdecimal() and _THOUSANDS.fullmatch(word):
        if word.count(".") > 1:  # the full stop parts groups, and a comma the fraction
            return word.replace(".", "").replace(",", ".")
        word = word.replace(",", "").replace("'", "")
    return word
