"""Judging a chain and its answer: the prompt of a rating from 0 to 10, and how it is read back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ragscale.prompts import Step, one_line
from ragscale.prompts.parse import load, spoken
from ragscale.types import Message

__all__ = ["SCHEMA", "judge", "rating"]

MOST = 10

_JUDGE = f"""Rate how well the notes answer the question: {MOST} if they settle it without a doubt, 0 if they do not \
help. A proposed answer that the notes do not support lowers the rating. Reply in JSON: {{"rating": 0 to {MOST}}}."""

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"rating": {"type": "integer", "minimum": 0, "maximum": MOST}},
    "required": ["rating"],
    "additionalProperties": False,
}


def judge(question: str, steps: Sequence[Step], known: Sequence[str], text: str) -> list[Message]:
    """Ask for the rating of a chain: its pairs, what planners said is known, and a proposed answer."""
    pairs = [f"{one_line(step['query'])} -> {one_line(step['answer'])}" for step in steps]
    notes = "\n".join(["Notes:", *(pairs + [one_line(said) for said in known] or ["none"])])
    proposed = f"\nProposed answer: {one_line(text)}" if text else ""
    return [
        {"role": "system", "content": _JUDGE},
        {"role": "user", "content": f"Question: {one_line(question)}\n{notes}{proposed}"},
    ]


def rating(said: str) -> float | None:
    """The rating in a reply, as JSON or as its only number; None where it has none from 0 to 10."""
    value = load(said)
    number = value.get("rating") if isinstance(value, dict) else None
    if number is None:
        numbers = re.findall(r"\d+(?:\.\d+)?", spoken(said))
        number = float(numbers[0]) if len(numbers) == 1 else None
    valid = isinstance(number, int | float) and not isinstance(number, bool) and 0 <= number <= MOST
    return float(number) if valid and number is not None else None
