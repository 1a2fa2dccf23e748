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


_JSON = """Answer a question by looking up pages of an encyclopedia. Each turn, say in JSON what is known and what is \
still missing. Then
- look up: up to %d different queries, searched at the same time, each the name of one person, work, place or thing; \
never the same again; or
- answer, once the documents tell: as short as possible (a name, a date, a number, a short phrase, yes or no), with \
the numbers of the documents that tell.

Question: Who is older, the singer of the album Parachutes or Ridley Scott?
{"known": "nothing yet", "missing": "the singer of Parachutes, the birth of both", "queries": ["Parachutes album", \
"Ridley Scott"]}
(documents: [1] Parachutes is by Coldplay. [4] Ridley Scott was born in 1937.)
{"known": "Parachutes is by Coldplay, Ridley Scott was born in 1937", "missing": "the singer of Coldplay, his birth", \
"queries": ["Coldplay singer"]}
(documents: [7] Chris Martin, born in 1977, is the singer of Coldplay.)
{"known": "Chris Martin was born in 1977, Ridley Scott in 1937", "missing": "nothing", "answer": "Ridley Scott", \
"documents": [7, 4]}"""

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
    system = (_JSON if profile == "json" else _TAGS) % most
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
    search = parsing.queries_schema(most)
    if not may_answer:
        return search
    notes = {key: search["properties"][key] for key in ("known", "missing")}
    answer = {
        "type": "object",
        "properties": {**notes, **parsing.ANSWER_SCHEMA["properties"]},
        "required": [*notes, "answer", "documents"],
        "additionalProperties": False,
    }
    return {"anyOf": [search, answer]}


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
