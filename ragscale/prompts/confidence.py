"""Prompts of runs that are tried again: how sure the model is of an answer, and what an attempt hands on to the next.

The manner is BrowseConf's (arXiv 2510.23458): a verbalised confidence in percent; a summary, or answers to avoid.
"""

from __future__ import annotations

from collections.abc import Sequence

from ragscale.prompts import parse
from ragscale.prompts.instructions import instruction
from ragscale.prompts.profile import Profile
from ragscale.prompts.prompt import NO_INFORMATION, Prompt, Step
from ragscale.prompts.text import documents, numbered_pairs, one_line
from ragscale.types import Passage

__all__ = ["CONFIDENCE", "SUMMARY", "confidence", "excluding", "summary", "with_summary"]

_PERCENT = parse.object_schema(confidence={"type": "integer", "minimum": 0, "maximum": 100})


def _percent(text: str) -> float | None:
    """The confidence in a reply; None where it has none from 0 to 100."""
    return parse.rated(text, "confidence", 100)


def _note(text: str) -> str | None:
    """A note on one line; None where it says nothing."""
    said = parse.sub_answer(text)
    return None if said == NO_INFORMATION else said


CONFIDENCE = instruction(
    "confidence", "score",
    "You check a proposed answer to a question. From the documents and from what was looked up, say how confident you "
    "are that the answer is right, from 0 (surely wrong) to 100 (certain). Be strict: if a part of the question is not "
    'told by the documents, stay below 50. Reply in JSON: {"confidence": 0 to 100}.',
    "Question: {question}\n{documents}\nLooked up:\n{steps}\nProposed answer: {answer}",
    _percent, cap=32, needs=("question", "answer"), schema=_PERCENT,
)  # fmt: skip
"""A verbalised confidence, in percent."""

SUMMARY = instruction(
    "summary", "read",
    "An attempt to answer a question ended in an answer that is doubtful. Write down in at most three sentences, for "
    "whoever tries next, what was found out for sure, what is still missing, and why the answer is doubtful. Reply "
    "with the sentences alone.",
    "Question: {question}\nKnown before: {before}\nLooked up:\n{steps}\nDoubtful answer: {answer}",
    _note, cap="read",
)  # fmt: skip
"""The findings of an attempt, for the next one."""


def confidence(
    profile: Profile, question: str, passages: Sequence[Passage], steps: Sequence[Step], notes: Sequence[str],
    answer: str,
) -> Prompt[float]:  # fmt: skip
    """Ask how sure the model is of an answer: from the passages it cites, the chain's pairs and the notes."""
    return profile.make(
        CONFIDENCE, question=one_line(question), documents=documents(passages), steps=_looked_up(steps, notes),
        answer=one_line(answer),
    )  # fmt: skip


def summary(
    profile: Profile, question: str, before: str, steps: Sequence[Step], notes: Sequence[str], answer: str
) -> Prompt[str]:
    """Ask for the findings of an attempt, beside those of the attempts `before`."""
    return profile.make(
        SUMMARY, question=one_line(question), before=one_line(before) or "nothing", steps=_looked_up(steps, notes),
        answer=one_line(answer) or "none",
    )  # fmt: skip


def with_summary(said: str) -> str:
    """The hint that hands a summary on."""
    return f"An earlier attempt at this question was not sure of its answer. It noted: {one_line(said)}"


def excluding(answers: Sequence[str]) -> str:
    """The hint that rules answers out."""
    return f"Answers that earlier attempts gave and that are probably wrong: {'; '.join(map(one_line, answers))}"


def _looked_up(steps: Sequence[Step], notes: Sequence[str]) -> str:
    return "\n".join([*numbered_pairs(steps), *map(one_line, notes)]) or "nothing"
