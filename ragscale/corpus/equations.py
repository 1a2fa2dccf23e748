"""Equations of MathML and of Word on one line, as they are written in plain text: ``10^6``, ``3 1/2``, ``log_2 8``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["SLASHES", "gap", "grouped", "lowered", "on_one_line", "raised"]

_SIMPLE = re.compile(r"[+\-\u2212]?[\u221a-\u221c]?\w+(?:[.,]\w+)*[+\-\u2212]?|[+\-\u2212]")  # \u2212: the minus sign
_BASE = re.compile(r"[\w)\]]+\Z")
_LOGARITHM = re.compile(r"\b(?:log|lg)\Z")
_ORDINALS = "aeo"
_SUM = re.compile(r"\w+(?:[+\-\u2212=/,] ?\w+)+")
"""An index of more than one part."""
_PRICE = re.compile(r"[$\u00a3\u00a5\u20ac][ \u00a0]?[0-9][0-9,]*\Z")
_CHARGES = ("+", "-", "\u2212")
SLASHES = ("/", "\u2044")
"""Between raised and lowered text they make a fraction."""
_ROOTS = {"": "\u221a", "2": "\u221a", "3": "\u221b", "4": "\u221c"}
_OPENS, _CLOSES = "\x02", "\x03"
"""Stand around what is more than letters side by side, until the equation is whole."""
_GLUED = re.compile(rf"(?<=\w){_CLOSES}[{_OPENS}{_CLOSES}]*(?=\w)|(?<=\w){_OPENS}+(?=\d)")
_UNSEEN = {0x2061: " ", 0x2062: None, 0x2063: ",", 0x2064: None, 2: None, 3: None}
"""Signs of MathML that are not shown: applied to, times, comma, plus."""
_ENDS = (("begChr", "("), ("sepChr", "|"), ("endChr", ")"))
_LEAVES = {"mi", "mn", "mo", "mtext", "ms", "t"}
_SHOWN_NOT = {"mphantom", "annotation", "annotation-xml"}


def on_one_line(equation: Any) -> str:
    """The text of an equation: the element ``math``, or ``m:oMath`` of Word; nothing in it is changed."""
    made: dict[Any, str] = {}
    inner = [element for element in equation.iter() if isinstance(element.tag, str)]
    for element in reversed(inner):  # those within others first
        parts = [(_name(child), made.pop(child) + (child.tail or "").strip()) for child in element if child in made]
        made[element] = _line(element, _name(element), parts)
    return _whole(made[equation])


def grouped(text: str) -> str:
    """A text in parentheses, unless it is one word or number."""
    return text if not text or _SIMPLE.fullmatch(text) else f"({text})"


def raised(before: str, text: str, after: str) -> str:
    """Raised text on the line: ``^2``, or as it is where it belongs to a word or a number (``st``, ``e``)."""
    if len(text) == 2 and text.isdigit() and _PRICE.search(before):
        return f".{text}"  # cents
    base = _BASE.search(before)
    if base is None or not (text[:1].isalnum() or text[:1] in "+-\u2212"):
        return text
    if text in _CHARGES or (text in ("o", "os") and base.group() in "nN"):
        return text  # Na+, No 5
    if (
        text.isalpha()
        and base.group()[-1] not in ")]"
        and not (len(text) > 1 and len(base.group()) == 1 and base.group().islower())
    ):  # e^kt
        number = before[-1].isdigit()
        if len(text) > 1 or (text in _ORDINALS if number else len(base.group()) > 1):
            return text  # 21st, 2e, XIXe, Mme
    return f"^{grouped(text)}{gap(grouped(text), after)}"


def lowered(before: str, text: str, after: str) -> str:
    """Lowered text on the line: as it is (``H2O``), but ``_2`` beside a number, and for the base of a logarithm.

    An index of several parts is ``_(n+1)``.
    """
    logarithm = bool(_LOGARITHM.search(before))
    number = text[:1].isdigit() and (before[-1:].isdigit() or after[:1].isdigit())
    if after.startswith("^") and not before[-1:].isalnum():
        return f"_{text}"  # both are before their letter
    if before[-1:].isalpha() and _SUM.fullmatch(text):
        return f"_({text})"
    if not before[-1:].isalnum() or not (logarithm or number):
        return text
    return f"_{text}{' ' if logarithm and after[:1].isalnum() else gap(text, after)}"


def gap(before: str, after: str) -> str:
    """A space where two numbers would become one, else nothing."""
    return " " if before[-1:].isalnum() and after[:1].isdigit() else ""


def _name(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def _whole(text: str) -> str:
    """Numbers and powers side by side are apart: ``3 1/2``, ``2^3 5^2``."""
    return _GLUED.sub(" ", text).replace(_OPENS, "").replace(_CLOSES, "")


def _line(element: Any, name: str, parts: list[tuple[str, str]]) -> str:
    if name in _LEAVES:
        return (element.text or "").strip("\n").translate(_UNSEEN)
    if name in _SHOWN_NOT:
        return ""
    if name not in _SHAPES:
        return (element.text or "").strip() + "".join(part for _, part in parts)
    parts = [(part, _whole(text).strip()) for part, text in parts]
    value = dict(parts)
    if name in _PLACES:  # of MathML, parts are known by their places
        value = dict(zip(_PLACES[name], (text for _, text in parts), strict=False))
    made = _SHAPES[name](element, [text for _, text in parts], value)
    return f"{_OPENS}{made}{_CLOSES}" if made else ""


Shape = Callable[[Any, list[str], Mapping[str, str]], str]


def _scripts(element: Any, parts: list[str], value: Mapping[str, str]) -> str:
    """A base with what stands below and above it, behind or before it."""
    base = value.get("e") or _property(element, "chr", "\u222b" if _name(element) == "nary" else "")
    lim = {"limLow": "sub", "limUpp": "sup"}.get(_name(element))
    below, above = (grouped(value.get("lim" if lim == name else name, "")) for name in ("sub", "sup"))
    scripts = (f"_{below}" if below else "") + (f"^{above}" if above else "")
    return f"{scripts} {base}".lstrip() if _name(element) == "sPre" else base + scripts


def _sum(element: Any, parts: list[str], value: Mapping[str, str]) -> str:
    """A sum, product or integral of Word: its sign, its limits, and what it is of."""
    signed = _scripts(element, parts, {**value, "e": ""})
    return f"{signed} {value.get('e', '')}".rstrip()


def _multiple(element: Any, parts: list[str], value: Mapping[str, str]) -> str:
    """A base of MathML with pairs of scripts behind it, and before it from ``mprescripts`` on."""
    names = [_name(child) for child in element if isinstance(child.tag, str)]
    border = names.index("mprescripts") if "mprescripts" in names else len(names)
    behind, before = ("".join(map(_mark, range(len(some)), some)) for some in (parts[1:border], parts[border + 1 :]))
    return f"{before} {parts[0] if parts else ''}{behind}".strip()


def _mark(number: int, script: str) -> str:
    return f"{'^' if number % 2 else '_'}{grouped(script)}" if script else ""


def _accent(element: Any, parts: list[str], value: Mapping[str, str]) -> str:
    base, over = value.get("e", ""), value.get("sup", "")
    over = over or (_property(element, "chr", "\u0302") if _name(element) == "acc" else "")
    return f"{base}^{grouped(over)}" if over[:1].isalnum() and base else base + over


def _fraction(element: Any, parts: list[str], value: Mapping[str, str]) -> str:
    return "/".join(grouped(part) for part in parts if part)


def _root(element: Any, parts: list[str], value: Mapping[str, str]) -> str:
    degree = value.get("deg", "")
    base = grouped("".join(parts) if _name(element) == "msqrt" else value.get("e", ""))
    return f"{_ROOTS[degree]}{base}" if degree in _ROOTS else f"{base}^(1/{grouped(degree)})"


def _braces(element: Any, parts: list[str], value: Mapping[str, str]) -> str:
    if _name(element) == "mfenced":
        opens, between, closes = element.get("open", "("), ",", element.get("close", ")")
    else:
        opens, between, closes = (_property(element, name, sign) for name, sign in _ENDS)
    inner = (", " if between == "," else f" {between} ").join(parts[1:] if "dPr" in value else parts)
    return f"{opens}{inner}{closes}"


def _row(element: Any, parts: list[str], value: Mapping[str, str]) -> str:
    return " ".join(filter(None, parts))


def _rows(element: Any, parts: list[str], value: Mapping[str, str]) -> str:
    return "; ".join(filter(None, parts))


def _property(element: Any, name: str, otherwise: str) -> str:
    """A sign that Word names in the properties of an element; one that is there and empty is none."""
    for properties in element:
        for found in properties if _name(properties).endswith("Pr") else ():
            if _name(found) == name:
                return next((str(value) for key, value in found.items() if key.endswith("val")), "")
    return otherwise


_SHAPES: dict[str, Shape] = {
    **dict.fromkeys(("msup", "msub", "msubsup", "munder", "munderover", "sSup", "sSub", "sSubSup", "sPre"), _scripts),
    **dict.fromkeys(("limLow", "limUpp"), _scripts),
    **dict.fromkeys(("mfrac", "f"), _fraction),
    **dict.fromkeys(("msqrt", "mroot", "rad"), _root),
    **dict.fromkeys(("mover", "acc"), _accent),
    **dict.fromkeys(("mtr", "mlabeledtr", "mr", "func"), _row),
    **dict.fromkeys(("mtable", "m", "eqArr"), _rows),
    "mmultiscripts": _multiple,
    "nary": _sum,
    **dict.fromkeys(("mfenced", "d"), _braces),
}
_PLACES = {
    **dict.fromkeys(("msup", "mover"), ("e", "sup")),
    **dict.fromkeys(("msub", "munder"), ("e", "sub")),
    **dict.fromkeys(("msubsup", "munderover"), ("e", "sub", "sup")),
    "mroot": ("e", "deg"),
}
