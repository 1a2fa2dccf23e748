"""Notations of a thought within the text of a reply: one table, to find out that a model thinks and to read it."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["begins", "ends", "one_form", "opens"]


class _Notation(NamedTuple):
    begin: str
    """Pattern of its beginning, without regard to case; a tag in angle brackets may have attributes."""
    end: str
    """Pattern of its end, with the beginning of a wrapper of the reply behind it."""
    is_tag: bool = True
    """Whether the end is one wherever it stands, so that the beginning may be missing."""


_NOTATIONS = (
    _Notation(r"<think(?:ing)?(?:\s[^<>]*)?>", r"</think(?:ing)?\s*>"),
    _Notation(r"<thoughts?(?:\s[^<>]*)?>", r"</thoughts?\s*>"),  # EXAONE Deep, Gemini
    _Notation(r"<reasoning(?:\s[^<>]*)?>", r"</reasoning\s*>"),
    _Notation(r"<reflection(?:\s[^<>]*)?>", r"</reflection\s*>"),
    _Notation(r"<seed:think>", r"</seed:think>"),  # Seed-OSS
    _Notation(r"<\|channel>thought", r"<channel\|>"),  # Gemma 4
    _Notation(r"\[THINK\]", r"\[/THINK\]"),  # Magistral
    _Notation("\u25c1think\u25b7", "\u25c1/think\u25b7"),  # Kimi
    _Notation(r"&lt;think(?:ing)?&gt;", r"&lt;/think(?:ing)?&gt;"),
    _Notation(r"<\|START_THINKING\|>", r"<\|END_THINKING\|>(?:\s*<\|START_RESPONSE\|>)?"),  # Command A
    _Notation(r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>(?:\s*<\|begin_of_solution\|>)?"),  # OpenThinker
    _Notation(r"Here(?: is|'s|\u2019s) my thought process:", r"Here(?: is|'s|\u2019s) my response:", False),  # Granite
    # harmony of gpt-oss: the first channel may be the reply's own
    _Notation(
        r"(?:<\|start\|>assistant)?(?=<\|channel\|>)|analysis<\|message\|>",
        r"<\|channel\|>final[^<]{0,40}<\|message\|>",
        False,
    ),
    # harmony where the server leaves its special tokens out: "analysisWe need ...assistantfinalBlue."
    _Notation(r"(?-i:analysis(?=[A-Z0-9\"'(]))", r"(?-i:assistantfinal)", False),
)
_BEGIN = re.compile(r"\s*+(?:" + "|".join(f"({notation.begin})" for notation in _NOTATIONS) + ")", re.IGNORECASE)
_ENDS = [re.compile(notation.end, re.IGNORECASE) for notation in _NOTATIONS]
_END = re.compile("|".join(notation.end for notation in _NOTATIONS if notation.is_tag), re.IGNORECASE)
_OPENED = re.compile("(?:" + "|".join(n.begin for n in _NOTATIONS if n.is_tag) + r")\Z", re.IGNORECASE)
_LONGEST = 40  # characters of a tag
_CLOSING = ("<|END_RESPONSE|>", "<|end_of_solution|>", "<|return|>", "<|end|>")
"""Ends of the wrapper of a reply."""


def begins(text: str) -> bool:
    """Whether `text` begins with a thought."""
    return _BEGIN.match(text) is not None


def ends(text: str) -> bool:
    """Whether a thought ends in `text`, whose beginning may stand in the chat template."""
    return _END.search(text) is not None


def opens(prompt: str) -> bool:
    """Whether a prompt ends with the beginning of a thought, which the chat template wrote."""
    return _OPENED.search(prompt.rstrip()[-_LONGEST:]) is not None


def one_form(text: str, *, is_open: bool = False) -> str:
    """The reply with each thought before it as ``<think>...</think>``; one that was cut has no end.

    Args:
        text: As the model wrote it.
        is_open: Whether it begins within a thought, which the chat template opened.
    """
    parts: list[str] = []
    at = 0
    if is_open and not begins(text):
        end = _END.search(text)
        if end is None:
            return f"<think>{text}"
        parts += ["<think>", text[: end.start()], "</think>"]
        at = end.end()
    while begin := _BEGIN.match(text, at):
        number = begin.lastindex or 1
        end = _ENDS[number - 1].search(text, begin.end())
        parts += [text[at : begin.start(number)], "<think>"]
        if end is None:
            return "".join([*parts, text[begin.end() :]])
        parts += [text[begin.end() : end.start()], "</think>"]
        at = end.end()
    if not parts:
        return text
    said = text[at:]
    closing = next((mark for mark in _CLOSING if said.rstrip().endswith(mark)), "")
    return "".join([*parts, said.rstrip().removesuffix(closing) if closing else said])
