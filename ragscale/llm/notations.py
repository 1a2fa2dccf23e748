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


_OWN = (
    r"(?:[a-z]{1,12}[:_]|ant)?"  # Seed-OSS: <seed:think>; LongCat: <longcat_think>; Claude's artifacts: <antThinking>
)
_KINDS = r"(?:scratchpad|analysis|inner_monologue|cot|thought_process)"  # of fine-tunes, and a server's own prompt
_NOTATIONS = (
    _Notation(rf"<{_OWN}think(?:ing)?(?:\s[^<>]*)?>", rf"</{_OWN}think(?:ing)?\s*>"),
    _Notation(rf"<{_KINDS}(?:\s[^<>]*)?>", rf"</{_KINDS}\s*>"),
    _Notation(r'<details type="reasoning"[^<>]*>', r"</details>", False),  # Open WebUI
    _Notation(r"<\|think\|>", r"<\|/think\|>|<\|end\|>\s*<\|begin\|>assistant\s*<\|content\|>"),  # Solar Open
    _Notation(r"<unused94>(?:thought)?", r"<unused95>"),  # MedGemma
    _Notation(r"Here are my reasoning steps:", r"\[BEGIN FINAL RESPONSE\]"),  # Apriel
    _Notation(r"<thoughts?(?:\s[^<>]*)?>", r"</thoughts?\s*>"),  # EXAONE Deep, Gemini
    _Notation(r"<reasoning(?:\s[^<>]*)?>", r"</reasoning\s*>"),
    _Notation(r"<reflection(?:\s[^<>]*)?>", r"</reflection\s*>"),
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
        r"<\|channel\|>final[^<]{0,40}(?:<\|constrain\|>[^<]{0,40})?<\|message\|>",
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
_CLOSING = (
    "<|END_RESPONSE|>", "<|end_of_solution|>", "[END FINAL RESPONSE]", "<|return|>", "<|end|>", "<|im_end|>",
    "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>", "<|END_OF_TURN_TOKEN|>", "<end_of_turn>", "<eos>", "</s>",
)  # fmt: skip
"""Ends of the wrapper of a reply, and of a turn, where the server knows them for text."""
_MARKS = 3  # that may follow each other
_NEXT = re.compile(
    r"<(?:\|im_end\||\|eot_id\||end_of_turn|/s)>\s*+<(?:\|im_start\||\|start_header_id\||start_of_turn|\|user\|)>"
)
_OPENING = re.compile(
    r"\s*+(?:<\|im_start\|>assistant|<\|start_header_id\|>assistant<\|end_header_id\|>|<start_of_turn>model|"
    r"<\|assistant\|>)\s*+"
)
_WRAPPED = re.compile(
    r"\s*+<(response|output)>(.*?)(?:</\1>\s*+)?\Z", re.IGNORECASE | re.DOTALL
)  # Granite, ERNIE, Marco
_BOX = re.compile(r"<\|(?:begin|end)_of_box\|>")  # GLM


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
    text = _OPENING.sub("", text, count=1) if _OPENING.match(text) else text
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
    return "".join([*parts, _reply(text[at:])])


def _reply(said: str) -> str:
    """A reply without what wraps it."""
    if following := _NEXT.search(said):  # a turn that the model wrote for somebody else
        said = said[: following.start()]
    for _ in range(_MARKS):
        bare = said.rstrip()
        mark = next((mark for mark in _CLOSING if bare.endswith(mark)), "")
        if not mark or len(bare) == len(mark) or (mark == "</s>" and "<s>" in bare):
            break
        said = bare.removesuffix(mark)
    if (wrapped := _WRAPPED.match(said)) and wrapped[2].strip():
        said = wrapped[2]
    return _BOX.sub("", said)
