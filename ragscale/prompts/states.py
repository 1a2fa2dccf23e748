"""Prompts about a search's chains: proposals, values and ballots of Tree of Thoughts, reports of ParallelMuse."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ragscale.prompts import parse
from ragscale.prompts.generic import plans
from ragscale.prompts.instructions import instruction
from ragscale.prompts.profile import Profile
from ragscale.prompts.prompt import Plan, Prompt, Step
from ragscale.prompts.text import glimpses, listed, numbered_pairs, one_line, pair
from ragscale.prompts.thoughts import spoken
from ragscale.text import encodable
from ragscale.types import Passage

__all__ = ["VALUES", "ballot", "proposals", "report", "value"]

VALUES = {"sure": 20.0, "likely": 1.0, "impossible": 0.001}
"""Worth of each judgement, as published."""

_PROPOSE = """You look up {corpus} to answer a question, one at a time. From the documents and what was looked up so \
far, say what is known, what is still missing, and {most} different things that could be looked up next, the best \
first: the name of a person, work, place or thing, never one that is already a document's title, never one that was \
looked up before. If nothing is missing, leave queries empty. Reply in JSON.

Question: Who is older, the singer of the album Parachutes or Ridley Scott?
[1] Parachutes: Parachutes is the debut album by the band Coldplay, released in 2000.
{"known": "Parachutes is by Coldplay", "missing": "the singer of Coldplay, his birth, the birth of Ridley Scott", \
"queries": ["Coldplay singer", "Ridley Scott"]}"""

_VALUE = """Say whether going on from what was looked up so far will answer the question: sure if what is known \
settles it or is one step from it, likely if it is about what the question asks, impossible if it is on a wrong track \
or found nothing. Reply in JSON: {"why": a short reason, "value": sure, likely or impossible}."""

_BALLOT = """Several searches were made to answer a question; each line has what one of them looked up and found. Say \
which of them is the most promising to go on from. Reply in JSON: {"why": a short reason, "best": the number of the \
search}."""

_REPORT = """A search looked things up to answer a question. Report on it in at most four sentences, for whoever \
weighs it against other searches: which facts it found that matter and what led from one to the next, which answer \
they lead to, and what is missing or doubtful. Leave out what does not bear on the answer. Reply with the report \
alone."""


_NUMBER = re.compile(r"(?<!\d)\d{1,9}(?!\d)")  # a longer one names no search, and takes time to be read


def worth(text: str) -> float | None:
    """The value in a reply, as JSON or as the exact last line, with or without a label; None where it has none."""
    found = parse.load(text)
    said = parse.field(found, "value") if isinstance(found, dict) else None
    last = spoken(text).strip().rpartition("\n")[2].rpartition(":")[2]
    return VALUES.get((said if isinstance(said, str) else last).strip(" \t.!*_\"'").casefold())


def chosen(text: str) -> int | None:
    """The number of the best: as JSON, or in words that of the last search that is named, or the last number; None
    where it has none from 1 on, or ends within its JSON."""
    found, words = parse.load(text), spoken(text)
    if isinstance(found, dict):
        best = parse.field(found, "best")
        number = next(iter(parse.numbers(best)), 0)
        # In words, the first: "2 of 3".
        return number or (None if isinstance(best, int) else _last(_NUMBER.findall(parse.worded(best))[:1]))
    if parse.bracket(words) == "{":
        return _last(re.findall(r"\"best\"\s*:\s*\"?(\d{1,9})(?!\d)", words))
    return _last(re.findall(r"\bsearch\W{0,3}(\d{1,9})(?!\d)", words[-1000:], re.I) or _NUMBER.findall(words[-1000:]))


def _last(numbers: Sequence[str]) -> int | None:
    return int(numbers[-1]) or None if numbers else None


def reported(text: str) -> str | None:
    """A report on one line; None where it says nothing."""
    return " ".join(encodable(spoken(text)).split()) or None


_PROPOSALS = instruction(
    "proposals", "plan", _PROPOSE, "Question: {question}{seen}{past}", plans, cap="plan", least=64,
    schema=parse.queries_schema(1, least=0),
)  # fmt: skip
_VALUED = instruction(
    "value", "score", _VALUE, "Question: {question}\n{past}", worth, cap=96, needs=("question", "past"), least=48,
    schema=parse.object_schema(why=parse.NOTE, value={"type": "string", "enum": [*VALUES]}),
)  # fmt: skip
_VOTED = instruction(
    "ballot", "score", _BALLOT, "Question: {question}\n{searches}", chosen, cap=96, needs=("question", "searches"),
    least=48, schema=parse.object_schema(why=parse.NOTE, best={"type": "integer", "minimum": 1}),
)  # fmt: skip


_REPORTED = instruction(
    "report", "read", _REPORT, "Question: {question}\n{past}", reported, cap=192, needs=("question", "past"), least=48
)


def proposals(
    profile: Profile, question: str, passages: Sequence[Passage], steps: Sequence[Step], most: int
) -> Prompt[list[Plan]]:
    """Ask for `most` different next sub-queries at once.

    Args:
        profile: Makes it.
        question: The user's.
        passages: Best first; their beginnings are shown.
        steps: The chain so far.
        most: Sub-queries a reply at most.
    """
    prompt = profile.make(
        _PROPOSALS,
        question=one_line(question),
        seen=f"\n{glimpses(passages)}" if passages else "",
        past="\n".join(["\nLooked up so far:", *numbered_pairs(steps)]) if steps else "",
        most=str(most),
    )
    return prompt.asking(most, parse.queries_schema(most, least=0), lambda text: plans(text, most))


def value(profile: Profile, question: str, steps: Sequence[Step], notes: Sequence[str]) -> Prompt[float]:
    """Ask whether a chain, with the notes of its planners, will answer the question; read as its worth in `VALUES`."""
    return profile.make(_VALUED, question=one_line(question), past=_past(steps, notes))


def report(profile: Profile, question: str, steps: Sequence[Step], notes: Sequence[str]) -> Prompt[str]:
    """Ask for a report on a chain, with the notes of its planners: what an answer can be told from."""
    return profile.make(_REPORTED, question=one_line(question), past=_past(steps, notes))


def _past(steps: Sequence[Step], notes: Sequence[str]) -> str:
    known = ["Notes:", *map(one_line, notes)] if notes else []
    return "\n".join(["Looked up so far:", *numbered_pairs(steps), *known])


def ballot(profile: Profile, question: str, chains: Sequence[Sequence[Step]]) -> Prompt[int]:
    """Ask which of several chains is the most promising; read as its number, from 1 on."""
    pairs = ["; ".join(pair(step["query"], step["answer"]) for step in one) for one in chains]
    searches = "\n".join(["Searches:", *listed(pairs)])
    return profile.make(_VOTED, question=one_line(question), searches=searches)
