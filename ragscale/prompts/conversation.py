"""The conversation of multi-query retrieval (RAG-R1, arXiv 2507.02962) in two profiles: JSON and tags.

``json`` suits any instruct model; ``tags`` is the format that the published RAG-R1 checkpoints were trained on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

from ragscale.prompts import clean, numbered
from ragscale.prompts import parse as parsing
from ragscale.types import Message, Passage

__all__ = ["Profile", "Reply", "Turn", "messages", "parse", "schema"]

Profile = Literal["json", "tags"]


class Turn(TypedDict):
    """One round, as state holds it."""

    said: str
    """The model's turn, as it wrote it."""
    queries: list[str]
    passages: list[list[str]]
    """Ids that each query returned and no earlier query had: what the model is shown."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model wrote in one turn. Neither queries nor an answer: malformed."""

    queries: list[str] = field(default_factory=list)
    answer: str = ""
    documents: list[int] = field(default_factory=list)
    """Numbers of the documents that the answer names."""


_JSON = """Answer the question with facts from an encyclopedia. Each turn you either search or answer, in JSON.
- Search: {"think": "...", "queries": ["...", "..."]}: up to %d different queries, searched at once. \
Each asks for one fact about one person, work or place, by its full name.
- As soon as the documents name someone or something that the question asks more about, search for it by that name.
- Answer: {"think": "...", "documents": [numbers used], "answer": "..."}: only when the documents tell. As short as \
possible: a name, a date, a number, yes or no."""

_JSON_EXAMPLE = """Example
Question: Who is older, the director of Jaws or the director of Alien?
{"think": "I need both directors.", "queries": ["director of the film Jaws", "director of the film Alien"]}
(documents name Steven Spielberg and Ridley Scott)
{"think": "Now their dates of birth.", "queries": ["Steven Spielberg date of birth", "Ridley Scott date of birth"]}
(documents 4 and 7 give 1946 and 1937)
{"think": "1937 is earlier.", "documents": [7, 4], "answer": "Ridley Scott"}"""

_TAGS = """Answer the question. Reason inside <think> and </think> first. If you need knowledge, search with \
<search> query 1, query 2 </search>, at most %d queries, one fact each; the results come between <information> and \
</information>. Search as often as you need. When you know enough, write the short answer inside <answer> and \
</answer>, for example <answer> Beijing </answer>."""


def messages(
    question: str, turns: Sequence[Turn], passages: Mapping[str, Passage], *, most: int, profile: Profile = "json"
) -> list[Message]:
    """The conversation up to now; each round appends to the last one's prompt.

    Args:
        question: The user's question.
        turns: The rounds so far.
        passages: Every passage of `turns` by id.
        most: Queries a turn at most.
        profile: Format.
    """
    system = f"{_JSON % most}\n\n{_JSON_EXAMPLE}" if profile == "json" else _TAGS % most
    chat = [{"role": "system", "content": system}, {"role": "user", "content": f"Question: {clean(question)}"}]
    number = 0
    for turn in turns:
        found: list[str] = []
        for query, ids in zip(turn["queries"], turn["passages"], strict=True):
            docs = []
            for id in ids:
                number += 1
                docs.append(numbered(number, passages[id]))
            found.append("\n".join([f"{clean(query)}:", *(docs or ["nothing new"])]))
        chat.append({"role": "assistant", "content": turn["said"]})
        chat.append({"role": "user", "content": "\n".join(["<information>", *found, "</information>"])})
    return chat


def schema(*, most: int, may_answer: bool) -> dict[str, Any]:
    """JSON schema of a turn: a search, or (if it may) an answer."""
    think = {"type": "string", "maxLength": 240}
    search = {
        "type": "object",
        "properties": {"think": think, "queries": parsing.queries_schema(most)},
        "required": ["think", "queries"],
        "additionalProperties": False,
    }
    answer = {
        "type": "object",
        "properties": {"think": think, **{k: parsing.ANSWER_SCHEMA["properties"][k] for k in ("documents", "answer")}},
        "required": ["think", "documents", "answer"],
        "additionalProperties": False,
    }
    return {"anyOf": [search, answer]} if may_answer else search


def parse(text: str, *, most: int, profile: Profile = "json") -> Reply:
    """Read one turn of the model, and nothing but what it wrote."""
    if profile == "tags":
        return _parse_tags(text, most)
    value = parsing.load(text)
    if not isinstance(value, dict):
        return Reply()
    if value.get("answer"):
        answer, documents = parsing.answer(json.dumps(value))
        return Reply(answer=answer, documents=documents)
    asked = value.get("queries")
    return Reply(queries=parsing.queries(json.dumps(asked), most) if isinstance(asked, list | str) else [])


def _parse_tags(text: str, most: int) -> Reply:
    turn = re.search(r"<(search|answer)>(.*?)(?:</\1>|$)", text, re.DOTALL | re.IGNORECASE)
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
