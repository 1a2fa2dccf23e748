"""Reading what a model wrote, tolerantly and without ever looking at the prompt."""

from __future__ import annotations

import json
import re
from typing import Any

from ragscale.text import encodable

__all__ = [
    "ANSWER_SCHEMA",
    "answer",
    "enough",
    "informative",
    "known",
    "load",
    "normalise",
    "queries",
    "queries_schema",
    "spoken",
]

ANSWER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "answer": {"type": "string", "maxLength": 400},
        "documents": {"type": "array", "items": {"type": "integer"}, "maxItems": 4},
    },
    "required": ["answer", "documents"],
    "additionalProperties": False,
}
"""What the closing answer looks like where the endpoint constrains its output."""

_PREFIX = re.compile(
    r"^\s*(?:[-*\u2022]|\(?\d{1,2}[.)]"
    r"|(?:intermediate |next |follow-?up |sub-?)?(?:query|question|search)\s*(?:\d+\s*)?:)\s*",
    re.IGNORECASE,
)

_NOTHING = ("", "nothing", "nothing yet", "none", "unknown")

_QUOTED = re.compile(r"^([\"'`]{1,8})(.*?)\1,?$")  # a bound, as any number would take the cube of it
_THOUGHT = re.compile(r"<think>(?:(?!<think>).)*?(?:</think>|$)", re.DOTALL)
_FENCE = re.compile(r"^\s*```\w*\s")

# Characters that attempts at JSON may read in vain, as brackets in brackets take the square of their number, and those
# that an attempt itself counts as. A reply of up to 1,000 characters cannot reach it.
_PATIENCE, _ATTEMPT = 2_000_000, 300


def queries_schema(most: int, *, least: int = 1) -> dict[str, Any]:
    """JSON schema of a planner's turn: what is known, what is missing, and `least` to `most` sub-queries."""
    note = {"type": "string", "maxLength": 160}
    query = {"type": "string", "minLength": 2, "maxLength": 160}
    return {
        "type": "object",
        "properties": {
            "known": note,
            "missing": note,
            "queries": {"type": "array", "items": query, "minItems": least, "maxItems": most},
        },
        "required": ["known", "missing", "queries"],
        "additionalProperties": False,
    }


def normalise(query: str) -> str:
    """A sub-query reduced to its words, for telling duplicates."""
    return " ".join(re.findall(r"\w+", query.casefold()))


def spoken(text: str) -> str:
    """`text` without what a reasoning model thinks first, up to ``</think>``; the opening tag may be in its template.

    Nothing is left of a thought without an end. JSON may hold the tag. Thoughts further behind are left out too.
    """
    thought, closed, rest = text.partition("</think>")
    begin = thought.lstrip()
    if begin[:1] in ("[", "{", "`"):
        return text
    if begin.startswith("<think>") or (closed and "<think>" not in begin):
        return rest
    return _THOUGHT.sub("", text)


def load(text: str) -> Any:
    """The first JSON value in `text` that is no bare citation (``[1]``, ``[2, 3]``), or ``None``.

    Gives up after some two million characters that it read again and again, as in a reply of nothing but brackets.
    """
    decoder = json.JSONDecoder(strict=False)
    patience = _PATIENCE
    text = spoken(text)
    for match in re.finditer(r"[\[{]", text):
        try:
            value = decoder.raw_decode(text, match.start())[0]
        except (ValueError, RecursionError) as error:
            patience -= getattr(error, "pos", len(text)) - match.start() + _ATTEMPT
            if patience < 0:
                return None
            continue
        if not (value and isinstance(value, list) and all(type(item) is int for item in value)):
            return value
    return None


def queries(text: str, most: int) -> list[str]:
    """Sub-queries out of a model's turn: a JSON array, alone or under ``queries``, or one a line.

    Prefixes and quotes are stripped, duplicates left out.

    Returns:
        At most `most` queries in the order written; empty for a malformed turn.
    """
    value = load(text)
    if isinstance(value, dict):
        value = value.get("queries", next((v for v in value.values() if isinstance(v, list)), None))
    if isinstance(value, str):
        value = [value]
    found = [v for v in value if isinstance(v, str)] if isinstance(value, list) else _lines(text)
    distinct: dict[str, str] = {}
    for raw in found:
        query = _QUOTED.sub(r"\2", " ".join(encodable(_PREFIX.sub("", raw)).split())).strip()
        if normalise(query):
            distinct.setdefault(normalise(query), query)
    return list(distinct.values())[:most]


def enough(text: str) -> bool:
    """Whether a planner's turn has no queries, and so says that nothing is missing."""
    value = load(text)
    return isinstance(value, dict) and value.get("queries") == []


def known(text: str) -> str:
    """What a planner's turn says is known, on one line; empty where it says nothing."""
    value = load(text)
    said = value.get("known") if isinstance(value, dict) else None
    said = " ".join(encodable(said).split()) if isinstance(said, str) else ""
    return said if informative(said) else ""


def informative(text: str) -> bool:
    """Whether a sub-answer or a note says anything.

    Small models vary the sentence that they were told: "No relevant information was found", "Yes relevant information
    found".
    """
    return normalise(text) not in _NOTHING and "information found" not in text.casefold().replace(" was ", " ")


def _lines(text: str) -> list[str]:
    # A turn that started a JSON value and never finished it is malformed, not a list of lines.
    text = _FENCE.sub("", spoken(text))
    return [] if text.lstrip()[:1] in ("[", "{") else text.splitlines()


def answer(text: str) -> tuple[str, list[int]]:
    """The closing answer and the document numbers it names (1-based, as written); the whole text if it is not JSON."""
    text = spoken(text)
    value = load(text)
    if isinstance(value, dict) and "answer" in value:
        numbers = value.get("documents")
        numbers = [n for n in numbers if type(n) is int] if isinstance(numbers, list) else []
        return encodable(str(value["answer"] if value["answer"] is not None else "")).strip(), numbers
    cut = re.search(r'"answer"\s*:\s*"((?:[^"\\]|\\.)*)', text)
    if cut:  # an object that max_tokens cut off
        return cut.group(1).strip(), []
    return re.sub(r"^\s*answer\s*:\s*", "", text.strip(), flags=re.IGNORECASE), []
