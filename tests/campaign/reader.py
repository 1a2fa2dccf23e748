"""A fake model that answers the shipped questions from the passages in its prompt, and from nothing else.

So a score says what a budget had room for: a fact whose passage was dropped is not known.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fake_kinds import Asked

__all__ = ["CORPUS", "Reader", "questions"]

CORPUS = Path(__file__).resolve().parents[2] / "corpora" / "elements"
_NOTHING = "No relevant information found"


@functools.cache
def _rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (CORPUS / name).read_text(encoding="utf-8").splitlines()]


@functools.cache
def _text(identity: str) -> str:
    """The beginning of a passage, as it stands in prompts: whoever sees it sees the fact."""
    return next(" ".join(row["text"].split()[:12]) for row in _rows("passages.jsonl") if row["id"] == identity)


@dataclass(frozen=True)
class _Fact:
    query: str
    answer: str
    passage: str

    def shown(self, prompt: str) -> bool:
        return _text(self.passage) in prompt


def questions(most: int) -> list[dict[str, Any]]:
    """Questions of the shipped corpus, spread over its kinds."""
    rows = _rows("questions.jsonl")
    return [rows[i * len(rows) // most] for i in range(most)]


class Reader:
    """Simulated model: the text that it writes.

    Args:
        curious: Whether it goes on to look things up when it knows all, so that nothing but limits ends a run.
    """

    def __init__(self, *, curious: bool = False) -> None:
        self._curious = curious
        self._facts = {row["question"]: _facts(row) for row in _rows("questions.jsonl")}
        self._answers = {row["question"]: row["answers"][0] for row in _rows("questions.jsonl")}
        self._by_query = {fact.query: fact for facts in self._facts.values() for fact in facts}

    def __call__(self, asked: Asked) -> str:
        """The text of one sample."""
        if asked.move == "read":
            fact = self._by_query.get(asked.text.rpartition("Query: ")[2].strip())
            return fact.answer if fact and fact.shown(asked.last) else _NOTHING
        question = self._question(asked.text)
        if question is None:
            return json.dumps({"k": 7}, separators=(",", ":")) if asked.schema else "Hello there."
        facts = self._facts[question]
        seen = [fact for fact in facts if fact.shown(asked.text) or f"{fact.query} -> {fact.answer}" in asked.text]
        if asked.move == "answer":
            known = [fact for fact in facts if fact in seen or fact.answer in asked.last.partition("Notes:")[2]]
            text = self._answers[question] if known == facts else (known or facts)[-1].answer
            return json.dumps({"answer": text, "documents": [1]}, ensure_ascii=False)
        missing = [fact.query for fact in facts if fact not in seen]
        if not missing and self._curious:
            missing = [f"{facts[0].query} {len(asked.text)}"]
        if asked.move == "tags":
            if missing:
                return f"<think> something is missing </think> <search> {missing[0].replace(',', '')} </search>"
            return f"<think> all is known </think> <answer> {self._answers[question]} </answer>"
        note = "; ".join(f"{fact.query} {fact.answer}" for fact in seen)[-150:]
        queries = missing[: asked.most] if asked.move == "turn" else missing[:1]
        return json.dumps({"known": note or "nothing", "missing": "more", "queries": queries}, ensure_ascii=False)

    def _question(self, prompt: str) -> str | None:
        for asked in reversed(re.findall(r"(?:^| )Question: (.*)$", prompt, re.MULTILINE)):
            if asked.strip() in self._facts:
                return str(asked.strip())
        return None


def _facts(row: dict[str, Any]) -> list[_Fact]:
    """The single steps of a question, with earlier answers put in."""
    facts: list[_Fact] = []
    for step in row["decomposition"]:
        query = re.sub(r"#(\d+)(&#\d+)?", lambda m: facts[int(m[1]) - 1].answer, step["question"])
        answer = step["answer"] if isinstance(step["answer"], str) else ", ".join(step["answer"])
        facts.append(_Fact(query, answer, step["passage"]))
    return facts
