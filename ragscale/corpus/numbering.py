"""Numbers of the paragraphs of docx documents, which Word does not write but counts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

__all__ = ["Numbering", "numeral", "value_at"]

_NAMES = {"w": "http://schemas.openxmlformats.org/wordprocessingml/2006/main"}
_W = f"{{{_NAMES['w']}}}"
_PLACE = re.compile(r"%([1-9])")
_DEPTH = 9
"""Levels of a list, as Word has them."""
_LABEL = 100
"""Most characters of a label."""
_ROMAN = [(1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl")]
_ROMAN += [(10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i")]
_CHINESE = "\u96f6\u4e00\u4e8c\u4e09\u56db\u4e94\u516d\u4e03\u516b\u4e5d"  # 0 to 9
_TENS = ("", "\u5341", "\u767e", "\u5343")
_RUSSIAN = "".join(letter for letter in map(chr, range(0x430, 0x450)) if letter not in "\u0439\u044a\u044b\u044c")
_COUNTED = ("chineseCounting", "chineseCountingThousand", "japaneseCounting", "taiwaneseCounting",
    "taiwaneseCountingThousand", "ideographDigital", "japaneseDigitalTenThousand")  # fmt: skip
_KINDS = {"lowerLetter": "a", "upperLetter": "A", "lowerRoman": "i", "upperRoman": "I"}
_KINDS |= dict.fromkeys(_COUNTED, _CHINESE[1]) | {"russianLower": _RUSSIAN[0], "russianUpper": _RUSSIAN[0].upper()}
_KINDS |= {"decimalZero": "01"}


class _Level(NamedTuple):
    start: int
    kind: str
    text: str
    style: str
    legal: bool
    """Whether the numbers above it are in figures, whatever they are themselves."""


def numeral(number: int, kind: str) -> str:
    """A number as ``a``, ``A``, ``i`` or ``I`` count, Russian or Chinese; in figures by any other kind.

    So beyond the last letter and 3999, and beyond 9999 in Chinese.
    """
    if kind in ("a", "A") and 0 < number <= 26:
        return chr(ord(kind) + number - 1)
    if kind in (_RUSSIAN[0], _RUSSIAN[0].upper()) and 0 < number <= len(_RUSSIAN):
        return _RUSSIAN[number - 1] if kind == _RUSSIAN[0] else _RUSSIAN[number - 1].upper()
    if kind == _CHINESE[1] and 0 < number < 10_000:
        return _in_chinese(number)
    if kind == "01":
        return f"{number:02}"
    if kind in ("i", "I") and 0 < number < 4000:
        made = ""
        for value, letters in _ROMAN:
            made += letters * (number // value)
            number %= value
        return made if kind == "i" else made.upper()
    return str(number)


def _in_chinese(number: int) -> str:
    digits = [int(digit) for digit in str(number)][::-1]
    made = "".join(_CHINESE[digit] + (_TENS[at] if digit else "") for at, digit in reversed(list(enumerate(digits))))
    made = re.sub(f"{_CHINESE[0]}+", _CHINESE[0], made).rstrip(_CHINESE[0])
    return made.removeprefix(_CHINESE[1]) if 10 <= number < 20 else made


class Numbering:
    """Counts the numbered paragraphs of a document, in their order.

    Args:
        numbering: The root of its definitions of lists; None where it has none.
        styles: The root of its styles; None where it has none.
    """

    def __init__(self, numbering: Any, styles: Any) -> None:
        lists = {} if numbering is None else {_id(each): each for each in numbering.iter(f"{_W}abstractNum")}
        linked = {value_at(each, "w:styleLink"): key for key, each in lists.items()}
        linked.pop("", None)
        self._lists = {key: dict(_levels(each)) for key, each in lists.items()}
        self._of: dict[str, tuple[str, Mapping[int, int]]] = {}
        for number in () if numbering is None else numbering.iter(f"{_W}num"):
            key = value_at(number, "w:abstractNumId")
            key = linked.get(value_at(lists[key], "w:numStyleLink"), key) if key in lists else key
            restarts = {
                _whole(over.get(f"{_W}ilvl"), 0): _whole(value_at(over, "w:startOverride"), 1)
                for over in number.iterfind("w:lvlOverride[w:startOverride]", _NAMES)
            }
            self._of[number.get(f"{_W}numId", "")] = key, restarts
        self._styles: dict[str, tuple[str, str]] = {}
        for style in () if styles is None else styles.iter(f"{_W}style"):
            above = self._styles.get(value_at(style, "w:basedOn"), ("", ""))
            own = (value_at(style, "w:pPr/w:numPr/w:numId"), value_at(style, "w:pPr/w:numPr/w:ilvl"))
            self._styles[style.get(f"{_W}styleId", "")] = own[0] or above[0], own[1] or above[1]
        self._counts: dict[str, dict[int, int]] = {}
        self._restarted: set[tuple[str, int]] = set()

    def label(self, paragraph: Any) -> str:
        """The number of the next paragraph as Word shows it: ``3.``, ``b)``, ``1.2``; empty where it has none."""
        style = value_at(paragraph, "w:pPr/w:pStyle")
        number, at = self._styles.get(style, ("", ""))
        number = value_at(paragraph, "w:pPr/w:numPr/w:numId") or number
        key, restarts = self._of.get(number, ("", {}))
        levels = self._lists.get(key, {})
        depth = next((depth for depth, level in levels.items() if level.style and level.style == style), _whole(at, 0))
        depth = _whole(value_at(paragraph, "w:pPr/w:numPr/w:ilvl"), depth)
        if depth not in levels:
            return ""
        counts = self._counts.setdefault(key, {})
        if depth in restarts and (number, depth) not in self._restarted:
            self._restarted.add((number, depth))
            counts[depth] = restarts[depth]
        else:
            counts[depth] = counts.get(depth, levels[depth].start - 1) + 1
        for deeper in [each for each in counts if each > depth]:
            del counts[deeper]
        level = levels[depth]
        if level.kind in ("bullet", "none"):
            return ""

        def shown(found: re.Match[str]) -> str:
            place = int(found[1]) - 1
            start, kind = (levels[place].start, levels[place].kind) if place in levels else (1, "decimal")
            kind = "decimal" if level.legal and place != depth else kind
            return numeral(counts.get(place, start), _KINDS.get(kind, ""))

        return _PLACE.sub(shown, level.text)[:_LABEL]


def _levels(definition: Any) -> Iterator[tuple[int, _Level]]:
    for level in definition.iterfind("w:lvl", _NAMES):
        depth = _whole(level.get(f"{_W}ilvl"), 0)
        if depth >= _DEPTH:
            continue
        yield (
            depth,
            _Level(
                _whole(value_at(level, "w:start"), 1),
                value_at(level, "w:numFmt") or "decimal",
                value_at(level, "w:lvlText")[:_LABEL],
                value_at(level, "w:pStyle"),
                _is_on(level.find("w:isLgl", _NAMES)),
            ),
        )


def _id(definition: Any) -> str:
    return str(definition.get(f"{_W}abstractNumId", ""))


def value_at(element: Any, path: str) -> str:
    """The ``w:val`` of the element at a path below another; empty where there is none."""
    found = element.find(path, _NAMES)
    return "" if found is None else str(found.get(f"{_W}val", ""))


def _is_on(switch: Any) -> bool:
    return switch is not None and switch.get(f"{_W}val") not in ("0", "false", "off")


def _whole(text: str | None, otherwise: int) -> int:
    return int(text) if text and re.fullmatch(r"[0-9]{1,6}", text) else otherwise
