"""Notes in place of passages (SPARC-RAG's memory, HybridDeepSearcher's reader), and what SPARC-RAG does with them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ragscale.prompts import parse
from ragscale.prompts.generic import closing
from ragscale.prompts.instructions import instruction
from ragscale.prompts.parse import sub_answer
from ragscale.prompts.profile import Profile
from ragscale.prompts.prompt import NO_INFORMATION, Closing, Prompt, Reply
from ragscale.prompts.states import chosen
from ragscale.prompts.text import documents, listed, note_lines, one_line, pair
from ragscale.prompts.thoughts import spoken
from ragscale.types import Passage

__all__ = ["REPEATED", "best", "conclusion", "merge", "note", "rewrite", "verdict"]

REPEATED = "Looked up before: see what was found then."
"""The note on a query that was asked before."""

_NOTE = instruction(
    "note",
    "read",
    "You keep the notes of somebody who looks up {corpus} to answer a question. Write down what the documents add to "
    "the notes: facts that answer the question or tell what to look up next, names, dates and numbers, in one to three "
    "short sentences. Leave out what the notes have already, and never write what the documents do not say. If they "
    f"add nothing, reply exactly: {NO_INFORMATION}",
    "Question: {question}\nNotes so far:\n{notes}\nLooked up: {queries}\n{documents}",
    sub_answer,
    needs=("question", "documents"),
)


_REWRITE = """You look up {corpus} to answer a question, several things side by side. From the notes, say what is \
known and what is still missing, and write {most} queries that complement one another: each for something else that is \
missing and can be looked up now, without the result of another one; never one that was looked up before. If nothing \
is missing, leave queries empty. Reply in JSON.

Question: Who is older, the singer of the album Parachutes or Ridley Scott?
Notes:
Parachutes is by Coldplay.
Looked up before: Parachutes album
{"known": "Parachutes is by Coldplay", "missing": "the singer of Coldplay, the birth of Ridley Scott", "queries": \
["Coldplay singer", "Ridley Scott"]}"""

_CONCLUDE = """Answer the question from the notes, and from nothing else. Reply in JSON: {"answer": "..."}: the short \
answer only (a name, a date, a number, a short phrase, yes or no)."""

_VERDICT = """Say whether to stop looking things up. STOP only if the notes tell the answer, it is what the question \
asks for, and no part of the question is open. In any doubt, CONTINUE. Reply in JSON: {"verdict": STOP or CONTINUE}."""

_BEST = """Several searches were made to answer a question; each has a query, what its notes add, and an answer. Say \
which one answers the question best by what its notes tell. Reply in JSON: {"best": the number of the search}."""

_MERGE = f"""You keep the notes of somebody who looks up {{corpus}} to answer a question. Several searches were made \
side by side; merge what they found with the notes so far into one note of a few short sentences: every fact that \
helps to answer the question, once, those of the first search first. Leave out what does not help and never add \
anything. If there is nothing, reply exactly: {NO_INFORMATION}"""


def stops(text: str) -> bool | None:
    """Whether a verdict is to stop: by the last of the two words; None where it has neither."""
    value = parse.load(text)
    said = parse.worded(parse.field(value, "verdict")) if isinstance(value, dict) else ""
    words = re.findall(r"\b(STOP|CONTINUE)\b", said or spoken(text), re.IGNORECASE)
    return words[-1].upper() == "STOP" if words else None


_REWRITTEN = instruction(
    "rewrite", "plan", _REWRITE, "Question: {question}\nNotes:\n{notes}\nLooked up before: {queries}",
    lambda text: parse.turn(text, 1), cap="plan", least=64, schema=parse.queries_schema(1, least=0),
)  # fmt: skip
_CONCLUDED = instruction(
    "conclude", "answer", _CONCLUDE, "Notes:\n{notes}\nQuestion: {question}", closing, cap="answer",
    needs=("question", "notes"), schema=parse.object_schema(answer=parse.ANSWER),
)  # fmt: skip
_JUDGED = instruction(
    "verdict", "score", _VERDICT, "Question: {question}\nNotes:\n{notes}\nAnswer: {answer}", stops, cap=32,
    needs=("question", "notes", "answer"),
    schema=parse.object_schema(verdict={"type": "string", "enum": ["STOP", "CONTINUE"]}),
)  # fmt: skip
_CHOSEN = instruction(
    "best", "score", _BEST, "Question: {question}\n{searches}", chosen, cap=32, needs=("question", "searches"),
    schema=parse.object_schema(best={"type": "integer", "minimum": 1}),
)  # fmt: skip
_MERGED = instruction(
    "merge", "read", _MERGE, "Question: {question}\nNotes so far:\n{notes}\n{searches}", sub_answer, cap=256,
    needs=("question", "notes", "searches"),
)  # fmt: skip


def note(
    profile: Profile, question: str, queries: Sequence[str], passages: Sequence[Passage], notes: Sequence[str]
) -> Prompt[str]:
    """Ask what passages add to the notes, or `NO_INFORMATION`.

    Args:
        profile: Makes the prompt.
        question: The user's question.
        queries: What found the passages.
        passages: Best first.
        notes: What is known so far.
    """
    return profile.make(
        _NOTE, question=one_line(question), queries=one_line("; ".join(queries)), documents=documents(passages),
        notes=note_lines(notes),
    )  # fmt: skip


def rewrite(profile: Profile, question: str, notes: Sequence[str], queries: Sequence[str], most: int) -> Prompt[Reply]:
    """Ask for `most` complementary queries, none of which needs the result of another (SPARC-RAG's rewriter).

    Args:
        profile: Makes the prompt.
        question: The user's question.
        notes: What is known so far.
        queries: Those that were looked up before.
        most: Queries a reply.
    """
    before = one_line("; ".join(queries)) or "nothing"
    prompt = profile.make(
        _REWRITTEN, question=one_line(question), notes=note_lines(notes), queries=before, most=str(most)
    )
    return prompt.asking(most, parse.queries_schema(most, least=0), lambda text: parse.turn(text, most))


def conclusion(profile: Profile, question: str, notes: Sequence[str]) -> Prompt[Closing]:
    """Ask for the answer that notes tell."""
    return profile.make(_CONCLUDED, question=one_line(question), notes=note_lines(notes))


def verdict(profile: Profile, question: str, notes: Sequence[str], answer: str) -> Prompt[bool]:
    """Ask whether to stop with that answer, which notes are to tell (SPARC-RAG's evaluator)."""
    return profile.make(
        _JUDGED, question=one_line(question), notes=note_lines(notes), answer=one_line(answer) or "none"
    )


def best(profile: Profile, question: str, searches: Sequence[tuple[str, str, str]]) -> Prompt[int]:
    """Ask which search answers best: (query, note, answer) of each; read as its number, from 1 on."""
    lines = [f"{pair(query, note)} -> answer: {one_line(answer) or 'none'}" for query, note, answer in searches]
    shown = "\n".join(["Searches:", *listed(lines)])
    return profile.make(_CHOSEN, question=one_line(question), searches=shown)


def merge(profile: Profile, question: str, notes: Sequence[str], found: Sequence[tuple[str, str]]) -> Prompt[str]:
    """Ask for one note from those so far and what searches added to them: (query, note) of each, the best first."""
    shown = "\n".join(["Searches:", *listed(pair(query, note) for query, note in found)])
    return profile.make(_MERGED, question=one_line(question), notes=note_lines(notes), searches=shown)
