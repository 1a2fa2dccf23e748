"""Prompts of a search from both ends: candidate answers, what would make one of them true, and which one is."""

from __future__ import annotations

from collections.abc import Sequence

from ragscale.language.answers import normal_answer
from ragscale.prompts import parse
from ragscale.prompts.generic import closing, plans
from ragscale.prompts.instructions import instruction
from ragscale.prompts.profile import Profile
from ragscale.prompts.prompt import Closing, Plan, Prompt, Step
from ragscale.prompts.text import documents, glimpses, note_lines, numbered_pairs, one_line
from ragscale.prompts.wording import informative
from ragscale.types import Passage

__all__ = ["BACKWARD", "CANDIDATES", "VERIFY", "backward", "candidates", "verify"]

_MOST, _LONGEST = 16, 200  # candidates of a reply, characters of one
_ANSWERS = parse.object_schema(
    answers={"type": "array", "items": {"type": "string", "maxLength": _LONGEST}, "maxItems": _MOST}
)


def _answers(text: str) -> list[str] | None:
    """The distinct answers of a reply, in its order: a JSON list, wherever it stands, or a list of lines. None for a
    reply without any."""
    value = parse.load(text)
    if value is None:
        value = parse.items(text)
    if isinstance(value, dict):
        lists = (item for item in value.values() if isinstance(item, list))  # under whatever name
        value = parse.field(value, "answers", "answer") or next(lists, None)
    items = [*value.values()] if isinstance(value, dict) else value if isinstance(value, list) else [value]
    items = [parse.field(item, "answer", "name", "text", "value") if isinstance(item, dict) else item for item in items]
    texts = [parse.short(parse.worded(item))[:_LONGEST] for item in items[:_MOST] if not isinstance(item, list)]
    distinct = {normal_answer(said): said for said in reversed(texts) if informative(said)}
    return list(distinct.values())[::-1] or None


CANDIDATES = instruction(
    "candidates", "plan",
    "Name up to {n} different answers that the question may have, the likeliest first, each in a few words: a name, a "
    "date, a number, yes or no. Take them from the documents or from what you know: they are checked later. Reply in "
    'JSON: {"answers": ["...", "..."]}.',
    "Question: {question}\n{documents}",
    _answers, cap="plan", schema=_ANSWERS,
)  # fmt: skip
"""Candidate answers, likeliest first."""

BACKWARD = instruction(
    "backward", "plan",
    "You look up {corpus} to check a candidate answer to a question. Suppose that it is right: say what is known, what "
    "would then have to be told somewhere, and name what to look up to find the passages that would make it true: a "
    "person, work, place or thing, never the same again. If everything is checked, leave queries empty. Reply in JSON: "
    '{"known": "...", "missing": "...", "queries": ["..."]}.',
    "Question: {question}\nCandidate answer: {answer}\nLooked up so far:\n{past}",
    lambda text: plans(text, 1), cap="plan", needs=("question", "answer"), schema=parse.queries_schema(1, least=0),
)  # fmt: skip
"""A sub-query that starts from a candidate answer."""

VERIFY = instruction(
    "verify", "answer",
    "Answer the question from the documents. Below them is what was looked up for the question and, backward, for "
    "each candidate answer; it may be wrong. Take the candidate whose every part the documents tell; if they tell "
    'none, answer as they do. Reply in JSON: {"answer": "...", "documents": [...]}: the short answer only (a name, a '
    "date, a number, a short phrase, yes or no) and the numbers of the documents that tell.",
    "{documents}\nLooked up for the question:\n{forward}\n{backward}\nQuestion: {question}",
    closing, cap="answer", schema=parse.ANSWER_SCHEMA,
)  # fmt: skip
"""The closing answer, from the notes of both directions."""


def candidates(profile: Profile, question: str, passages: Sequence[Passage], most: int) -> Prompt[list[str]]:
    """Ask for candidate answers; shows the beginnings of a few passages."""
    return profile.make(CANDIDATES, question=one_line(question), documents=glimpses(passages), n=str(min(most, _MOST)))


def backward(profile: Profile, question: str, candidate: str, steps: Sequence[Step]) -> Prompt[list[Plan]]:
    """Ask what would make a candidate true and was not looked up yet."""
    past = "\n".join(numbered_pairs(steps)) or "nothing"
    return profile.make(BACKWARD, question=one_line(question), answer=one_line(candidate), past=past)


def verify(
    profile: Profile,
    question: str,
    passages: Sequence[Passage],
    forward: Sequence[str],
    checks: Sequence[tuple[str, Sequence[Step]]],
) -> Prompt[Closing]:
    """Ask for the answer, from notes of the forward direction and of each candidate's check."""
    checked = [
        line
        for candidate, steps in checks
        for line in (f"Looked up for the candidate {one_line(candidate)}:", *numbered_pairs(steps))
    ]
    return profile.make(
        VERIFY, question=one_line(question), documents=documents(passages),
        forward=note_lines(forward, "nothing"), backward="\n".join(checked),
    )  # fmt: skip
