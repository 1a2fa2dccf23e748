"""The turns of multi-query retrieval (RAG-R1, arXiv 2507.02962) in two profiles: JSON and tags.

``tags`` is the conversation that the published RAG-R1 checkpoints were trained on. ``json`` suits any instruct model:
the same rounds as one growing prompt without the model's own turns, which a small model copies instead of reading on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ragscale.prompts import parse as parsing
from ragscale.prompts.generic import Generic
from ragscale.prompts.prompt import Turn
from ragscale.prompts.text import clean, numbered, one_line
from ragscale.types import Message, Passage

__all__ = ["Profile", "Reply", "Turn", "messages", "parse"]

Profile = Literal["json", "tags"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model wrote in one turn: queries, an answer or enough; none of these: malformed."""

    queries: list[str] = field(default_factory=list)
    answer: str = ""
    """Only in the tags profile; in the JSON profile the answer is a call of its own, as in every other mode."""
    enough: bool = False
    """Whether the model has nothing left to look up."""
    known: str = ""
    """What it says is known; only in the JSON profile."""


_TAGS = """Answer the question. Reason inside <think> and </think> first. If you need knowledge, search with \
<search> query 1, query 2 </search>, at most %d queries, one fact each; the results come between <information> and \
</information>. Search as often as you need. When you know enough, write the short answer inside <answer> and \
</answer>, for example <answer> Beijing </answer>."""


_OWN = re.compile(r"(</?(?:think|search|answer)>)")


def messages(
    question: str, turns: Sequence[Turn], passages: Mapping[str, Passage], *, most: int, profile: Profile = "json"
) -> list[Message]:
    """The prompt of the next turn; each round appends to the last one's.

    Args:
        question: The user's question.
        turns: The rounds so far.
        passages: Every passage of `turns` by id.
        most: Queries a turn at most.
        profile: Format.
    """
    if profile == "tags":
        return _dialogue(question, turns, passages, most)
    return Generic(corpus="pages of an encyclopedia").turn(question, turns, passages, most=most).messages


def _dialogue(question: str, turns: Sequence[Turn], passages: Mapping[str, Passage], most: int) -> list[Message]:
    chat = [{"role": "system", "content": _TAGS % most}, {"role": "user", "content": f"Question: {one_line(question)}"}]
    number = 0
    for turn in turns:
        found: list[str] = []
        for query, ids in zip(turn["queries"], turn["passages"], strict=True):
            docs = []
            for id in ids:
                number += 1
                docs.append(numbered(number, passages[id]))
            found.append("\n".join([f"{one_line(query)}:", *(docs or ["nothing new"])]))
        chat.append({"role": "assistant", "content": _said(turn["said"])})
        chat.append({"role": "user", "content": "\n".join(["<information>", *found, "</information>"])})
    return chat


def _said(text: str) -> str:
    """A turn as the model wrote it, but for chat-template tokens and markers that are not its own."""
    pieces = _OWN.split(text)
    return "".join(piece if number % 2 else clean(piece) for number, piece in enumerate(pieces))


def parse(text: str, *, most: int, profile: Profile = "json") -> Reply:
    """Read one turn of the model, and nothing but what it wrote."""
    if profile == "tags":
        return _parse_tags(text, most)
    value = parsing.load(text)
    if not isinstance(value, dict) or not isinstance(value.get("queries"), list):
        return Reply()
    return Reply(queries=parsing.queries(text, most), enough=parsing.enough(text), known=parsing.known(text))


def _parse_tags(text: str, most: int) -> Reply:
    # Beyond the last end of a thought none is looked for: it would be once for every beginning.
    last = re.match(r".*</think>", text, re.DOTALL | re.IGNORECASE)
    end = last.end() if last else 0
    said = re.sub(r"<think>.*?</think>", "", text[:end], flags=re.DOTALL | re.IGNORECASE) + text[end:]
    turn = re.search(r"<(search|answer)>(.*?)(?:</\1>|$)", said, re.DOTALL | re.IGNORECASE)
    if turn is None:
        return Reply()
    body = turn.group(2).strip()
    if turn.group(1).lower() == "answer":
        return Reply(answer=body)
    return Reply(queries=parsing.queries(json.dumps(_split(body)), most))


def _split(body: str) -> list[str]:
    """Queries out of a comma-separated list, without splitting "population of Paris, France"."""
    value = parsing.load(body)
    if isinstance(value, list):
        return [item for item in value if isinstance(item, str)]
    queries: list[str] = []
    for line in body.splitlines():
        pieces: list[str] = []
        for piece in line.split(","):
            if pieces and len(piece.split()) < 3:
                pieces[-1] += f",{piece}"
            else:
                pieces.append(piece)
        queries += pieces
    return queries
