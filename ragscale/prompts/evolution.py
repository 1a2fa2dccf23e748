"""Prompts of an evolution of retrieval plans: critic and author in one reply, the evaluator, the pick of elites.

The roles are Mind Evolution's (arXiv 2501.09891).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ragscale.prompts import parse
from ragscale.prompts.instructions import instruction
from ragscale.prompts.profile import Profile
from ragscale.prompts.prompt import Prompt, Step
from ragscale.prompts.text import documents, listed, one_line, pair
from ragscale.types import Passage

__all__ = ["ELITES", "EVALUATE", "REFINE", "Refinement", "Told", "Verdict", "elites", "evaluate", "refine"]

_MOST, _LONGEST, _BEST = 16, 200, 10  # items of a list in a reply, characters of a note, the highest rating
_NOTE = {"type": "string", "maxLength": _LONGEST}
_NUMBERS = {"type": "array", "items": {"type": "integer"}, "maxItems": _MOST}


class Told(NamedTuple):
    """A plan, its outcome and the evaluator's feedback, as prompts show them."""

    steps: Sequence[Step]
    answer: str
    support: float
    missing: str


class Refinement(NamedTuple):
    """The reply of critic and author: a plan."""

    keep: list[int] | None
    """Numbers of the steps to keep, from 1 on, over all plans shown; None where the reply does not say."""
    queries: list[str]
    """New things to look up."""


@dataclass(frozen=True)
class Verdict:
    """The evaluator's reply."""

    answer: str
    numbers: list[int]
    """Documents that tell, from 1 on."""
    found: list[str]
    """Finding of each step."""
    missing: str
    """Feedback for the critic."""
    support: float
    """Fitness: evidence support of the answer, from 0 to 10; 0 where the reply does not say."""


def _list(value: Any, name: str) -> list[Any] | None:
    items = value.get(name) if isinstance(value, dict) else None
    return items[:_MOST] if isinstance(items, list) else None


def _whole(items: Sequence[Any]) -> list[int]:
    return [number for number in parse.numbers(list(items)) if number]


def _refinement(text: str) -> Refinement | None:
    """The numbers to keep and the new queries; None for a reply with neither."""
    keep, reply = _list(parse.load(text), "keep"), parse.turn(text, _MOST)
    queries = reply.queries if reply else []
    if keep is None and not queries:
        return None
    return Refinement(None if keep is None else _whole(keep), queries)


def _verdict(text: str) -> Verdict | None:
    """The answer and what is said of it; None for a reply without an answer."""
    said, value = parse.closing(text), parse.load(text)
    if not said.text:
        return None
    fields = value if isinstance(value, dict) else {}
    missing = " ".join(parse.worded(fields.get("missing")).split())[:_LONGEST]
    found = [parse.sub_answer(parse.worded(item))[:_LONGEST] for item in _list(value, "found") or []]
    return Verdict(said.text, said.numbers, found, missing, parse.measured(fields.get("support"), _BEST) or 0.0)


def _picked(text: str) -> list[int] | None:
    """Numbers in a reply; None where there are none."""
    value = parse.load(text)
    items = value if isinstance(value, list) else _list(value, "picked")
    return _whole(items[:_MOST]) or None if items else None


REFINE = instruction(
    "refine", "plan",
    "You improve plans of what to look up in {corpus} to answer a question. First be the critic: say what is missing "
    "in the plans below, what was looked up in vain, and which answer is doubtful and why. Then be the author of a "
    "better plan: the numbers of the steps that are worth keeping, of any plan, and up to {n} new things to look up: "
    "names of persons, works, places or things, never one that was looked up before. Reply in JSON: "
    '{"critique": "...", "keep": [1, 2], "queries": ["..."]}.',
    "Question: {question}\n{plans}",
    _refinement, cap=256, least=64, needs=("question", "plans"),
    schema=parse.object_schema(
        critique={"type": "string", "maxLength": 400}, keep=_NUMBERS,
        queries={"type": "array", "items": parse.QUERY, "maxItems": 4},
    ),
)  # fmt: skip
"""Critic and author, two roles in one reply."""

EVALUATE = instruction(
    "evaluate", "answer",
    "You check what was looked up to answer a question. From the documents alone, say in a few words what each step "
    "found and what is still missing, answer the question, and rate how well the documents support the answer: 10 if "
    "every part of the question is told by them, 5 if a part is only guessed, 0 if they do not help. Reply in JSON: "
    '{"found": ["..."], "missing": "...", "answer": "...", "documents": [...], "support": 0 to 10}: the short answer '
    "only (a name, a date, a number, a short phrase, yes or no) and the numbers of the documents that tell.",
    "{documents}\nSteps:\n{steps}\nQuestion: {question}",
    _verdict, cap=256, least=64, needs=("question", "documents"),
    schema=parse.object_schema(
        found={"type": "array", "items": _NOTE, "maxItems": _MOST}, missing=_NOTE, answer=_NOTE, documents=_NUMBERS,
        support={"type": "integer", "minimum": 0, "maximum": _BEST},
    ),
)  # fmt: skip
"""The evaluator: it answers by a plan's passages, rates the support and says what is missing."""

ELITES = instruction(
    "elites", "score",
    "These are plans of what to look up to answer a question, with the answer that each led to and how well documents "
    "support it. Pick the numbers of the {n} best that differ from one another, good ones first. Reply in JSON: "
    '{"picked": [1, 2]}.',
    "Question: {question}\n{plans}",
    _picked, cap=64, needs=("question", "plans"), schema=parse.object_schema(picked=_NUMBERS),
)  # fmt: skip
"""The pick of good and different plans."""


def refine(profile: Profile, question: str, plans: Sequence[Told], most: int) -> Prompt[Refinement]:
    """Ask for a critique of the parents and for their child, with up to `most` new queries."""
    blocks, number = [], 0
    for n, plan in enumerate(plans, 1):
        blocks.append(f"Plan {n}, supported {plan.support:g} of {_BEST}:")
        for step in plan.steps:
            number += 1
            blocks.append(f"{number}. {pair(step['query'], step['answer'])}")
        blocks.append(f"Answer: {one_line(plan.answer) or 'none'}")
        blocks += [f"Missing: {one_line(plan.missing)}"] if plan.missing else []
    return profile.make(REFINE, question=one_line(question), plans="\n".join(blocks), n=str(most)).asking(most)


def evaluate(profile: Profile, question: str, passages: Sequence[Passage], queries: Sequence[str]) -> Prompt[Verdict]:
    """Ask for the answer of a plan, its support and what is missing, from the passages that it found."""
    steps = "\n".join(listed(map(one_line, queries))) or "none"
    return profile.make(EVALUATE, question=one_line(question), documents=documents(passages), steps=steps)


def elites(profile: Profile, question: str, plans: Sequence[Told], most: int) -> Prompt[list[int]]:
    """Ask for the `most` best plans that differ."""
    lines = [
        f"{'; '.join(one_line(step['query']) for step in plan.steps) or 'nothing'} -> {one_line(plan.answer)} "
        f"({plan.support:g} of {_BEST})"
        for plan in plans
    ]
    return profile.make(ELITES, question=one_line(question), plans="\n".join(listed(lines)), n=str(most))
