"""Text of prompts: cleaning of what comes from outside, and documents as lines.

Passages are untrusted text: they stand between markers, cannot forge a marker or a chat-template token, and are never
used as a template. Questions and what a model wrote cannot either, nor can they forge a line: each stands on one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ragscale.prompts.prompt import Step, Turn
from ragscale.types import Passage

__all__ = [
    "beginning",
    "clean",
    "documents",
    "findings",
    "glimpses",
    "listed",
    "note_lines",
    "numbered",
    "numbered_pairs",
    "one_line",
    "pair",
]

_GLIMPSE = 60

_MARKER = re.compile(
    r"<(?=\S)"  # <|im_start|>, </s>, <start_of_turn>, </documents>, also with bars in full width
    r"|[\uff1c\ufe64](?=[|\uff5c/A-Za-z])"  # the same in full width, which some tokenizers make one of
    r"|[\[\uff3b](?=[|\uff5c])"  # [|system|]
    # one word in brackets, of three capitals in a row, or in small letters and with a number or several underscores:
    # [INST], [gMASK], [UNUSED_TOKEN_146], [unused9], [start_header_id]
    r"|\[(?=/?(?:(?=\w*?[A-Z_]{3})|(?=[a-z]{3,}+(?:\d+\]|_[^\W_]*+(?:_|\d+\]))))\w++\])"
    r"|\](?=[^\s\[\]]{0,4}~[^\s\[\]]{0,4}[\[\]])|\[(?=[^\s\[\]]{0,4}~[^\s\[\]]{0,4}\[)"  # ]~b], [e~[
)
"""Beginnings of chat-template tokens, by the shapes that they have, as each model has its own."""


def clean(text: str) -> str:
    """Text from outside, made unable to close its block or to write a chat-template token."""
    # a blank behind the bracket is enough
    return _MARKER.sub(lambda bracket: f"{bracket[0]} ", text)


def one_line(text: str) -> str:
    """Text from outside, cleaned, on one line of a prompt, as each line is a question, a document or a note."""
    rows = text.splitlines()
    return clean(text if rows == [text] else " ".join(filter(None, map(str.strip, rows))))


def numbered(number: int, passage: Passage) -> str:
    """A passage on a line of its own, so that no text can pass for another document."""
    return f"[{number}] {' '.join(clean(passage.title).split())}: {' '.join(clean(passage.text).split())}"


def pair(query: str, answer: str) -> str:
    """A query and what was found for it, on a line."""
    return f"{one_line(query)} -> {one_line(answer)}"


def listed(lines: Iterable[str]) -> list[str]:
    """Clean lines as a numbered list."""
    return [f"{n}. {line}" for n, line in enumerate(lines, 1)]


def numbered_pairs(steps: Sequence[Step]) -> list[str]:
    """The queries and sub-answers of a chain, a line each."""
    return listed(pair(step["query"], step["answer"]) for step in steps)


def note_lines(notes: Sequence[str], none: str = "none") -> str:
    """Notes, a line each, or a word for `none`."""
    return "\n".join(map(one_line, notes)) or none


def findings(turn: Turn) -> list[tuple[list[str], str]]:
    """Content of a round, in the order shown: the ids of passages, or a line of notes in their place."""
    queries, notes = turn["queries"], turn.get("notes", [])
    if len(notes) != len(queries):  # a single one on all
        return [([], one_line(note)) for note in notes] or [(ids, "") for ids in turn["passages"]]
    return [
        ([], f"{one_line(query)}: {one_line(note)}") if note else (ids, "")
        for query, ids, note in zip(queries, turn["passages"], notes, strict=True)
    ]


def documents(passages: Sequence[Passage]) -> str:
    """Passages as a delimited, numbered block, in the order given."""
    lines = [numbered(n, passage) for n, passage in enumerate(passages, 1)]
    return "\n".join(["<documents>", *lines, "</documents>"])


def beginning(passage: Passage) -> Passage:
    """The first 60 words: what a planner sees, as encyclopedia articles name what they are about at once."""
    return replace(passage, text=" ".join(passage.text.split()[:_GLIMPSE]))


def glimpses(passages: Sequence[Passage]) -> str:
    """The beginnings of passages as `documents`."""
    return documents([beginning(passage) for passage in passages])
