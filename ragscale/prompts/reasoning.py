"""Prompts of strategies that reason in plain text between retrievals: drafts, sentences, follow-up questions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from ragscale.prompts import parse
from ragscale.prompts.instructions import instruction
from ragscale.prompts.profile import Profile
from ragscale.prompts.prompt import Plan, Prompt, Reply, Step
from ragscale.prompts.repeats import normalise
from ragscale.prompts.text import documents, note_lines, one_line
from ragscale.prompts.thoughts import spoken
from ragscale.prompts.wording import says_none
from ragscale.types import Passage

__all__ = ["critique", "draft", "follow_up", "inferential", "keywords", "sentence"]

_END = re.compile(r"[.!?\u3002\uff01\uff1f][\"'\u201d\u2019)\]]*(?=\s|$)|(?<=[\u3002\uff01\uff1f])|\n")
# What stands before a full stop that ends no sentence: a title, an initial, letters with a full stop each, an ordinal
# number ("of 1. FC Köln", "am 3. Oktober").
_SHORT = re.compile(
    r"(?:^|[\s(\"])(?:Mrs?|Ms|Dr|St|Mt|Ft|Jr|Sr|Prof|Gen|Col|Capt|Lt|Sgt|Rev|Hon|Gov|Sen|Rep|Pres|Inc|Ltd|Corp|Bros|No|"
    r"Vol|vs|etc|ca|approx|e\.g|i\.e|[A-Z]|(?:[A-Za-z]\.)+[A-Za-z]|"
    r"(?i:against|by|for|from|is:|of|the|with|am|beim|dem|den|der|des|die|im|ist:|vom|zum) \d{1,2})$"
)
_LABEL = re.compile(
    r"^\W*(?:(?:next |first )?(?:sentence|thought|reasoning|step)\b[ \d]*[:.]\s*|\d{1,2}[.)]\s+|[-*]\s+)", re.I
)
_CONCLUDES = re.compile(r"\banswer is\b|^\W*(?:final )?answer\W*:", re.IGNORECASE)
_INFERS = re.compile(r"(?:thus|so|that is)[ ,]|therefore|hence", re.IGNORECASE)
_SUM = re.compile(r"\d[\d,.]* [+\u2212-] \d[\d,.]* = \d")
_ASKING = frozenset(["who", "what", "when", "where", "why", "which", "how", "does", "is"])


def whole(text: str) -> str | None:
    """All that a reply says, on one line; None where that is nothing."""
    return " ".join(spoken(text).split()) or None


_FOLLOW_UP = re.compile(
    r"follow[- ]?ups?(?: questions?)?[ \d*]*[:\uff1a][ *]*(?:\n\s*(?!.*final answer))?([^\n]*)", re.IGNORECASE
)
_FINAL = re.compile(r"final answer(?: is)?[ *]*[:\uff1a]?\s*([^\n]*)", re.IGNORECASE)
_HALF_STARRED = re.compile(r"^\*\*\s*|\s*\*\*$")  # where the label is within the emphasis, or the colon
_GIVEN = "Intermediate answer:"
_NO_TITLE = r"(?! (?-i:[A-Z]))"  # as in "Right Said Fred", "Wrong Turn", "No Doubt"
_SUPPORTED = re.compile(
    rf"\W*(?:verdict\W+)?(?:(?:fully )?supported|(?:correct|right|yes){_NO_TITLE})\b", re.IGNORECASE
)
_UNSUPPORTED = re.compile(
    r"\A[^\w{]*(?:verdict\W+)?(?:the (?:proposed )?answer (?:is|was) )?"
    rf"(?:unsupported|(?:not|partially|only partly) (?:\w+ )?supported|(?:incorrect|wrong|no){_NO_TITLE})\b"
    r"[^\n:]*(?:[:.]|\n|\Z)",
    re.IGNORECASE,
)


def first(text: str) -> str | None:
    """The first sentence of a reply, on one line and without a label; None where there is none."""
    text = _LABEL.sub("", spoken(text).strip()).strip()
    for end in _END.finditer(text):
        before = text[: end.start()]
        if end[0][:1] != "." or not _SHORT.search(before[-24:]):
            text = text[: end.end()]
            break
    said = " ".join(text.split())
    return said if any(map(str.isalnum, said)) else None


def inferential(said: str) -> bool:
    """Whether a sentence draws a conclusion or does a sum: there is nothing in it to look up (IRCoT)."""
    return bool(_INFERS.match(said) or _SUM.search(said))


def keywords(said: str) -> str:
    """A sentence as a query: without "who", "what" and the like, "does" and "is" (IRCoT)."""
    return " ".join(word for word in said.split() if word.lower() not in _ASKING) or said


def thought(text: str) -> list[Plan] | None:
    """A sentence of reasoning and its query, which is empty where it says what the answer is; None for none."""
    said = first(text)
    return (said and [Plan("" if _CONCLUDES.search(said) else keywords(said), said)]) or None


def asked(text: str) -> Reply | None:
    """A follow-up question or the final answer, whichever is first; None for a reply with neither.

    An intermediate answer and all behind it is the model's own invention, and left out.
    """
    said = re.split(_GIVEN, spoken(text), maxsplit=1, flags=re.IGNORECASE)[0]
    question, final = _FOLLOW_UP.search(said), _FINAL.search(said)
    if question and not (final and final.start() < question.start()):
        query = parse.query(_unstarred(question[1]))
        return Reply(queries=[query]) if normalise(query) and not says_none(query) else None
    answer = parse.short(_unstarred(final[1])) if final else ""
    return Reply(answer=answer) if answer else None


def _unstarred(line: str) -> str:
    """`line` without half an emphasis."""
    return _HALF_STARRED.sub("", line) if line.count("**") == 1 else line


def criticised(text: str, most: int = 3) -> Reply | None:
    """A critique: enough where the draft is supported, else queries and what is missing; None for neither."""
    value = parse.load(text)
    verdict = parse.worded(parse.field(value, "verdict")) if isinstance(value, dict) else spoken(text)
    if _SUPPORTED.match(verdict):
        return Reply(enough=True)
    # A verdict in words is nothing to look up.
    reply = parse.turn(text if value is not None else _UNSUPPORTED.sub("none\n", verdict, count=1), most)
    missing = parse.field(value, "missing") if isinstance(value, dict) else ""
    return reply and replace(reply, known=" ".join(parse.worded(missing).split()))


def drafted(text: str) -> list[Plan] | None:
    """A draft, which is the query and what is known at once; None for an empty one."""
    said = whole(text)
    return [Plan(said, said)] if said else None


_DRAFT = instruction(
    "iter-retgen", "plan",
    "Answer the question from the documents in one to three sentences. Reason step by step: name every person, work, "
    "place and date on the way, and end with the answer. Where the documents do not tell, say what you believe.",
    "Question: {question}\n{documents}", drafted, cap="plan", needs=("question", "documents"),
)  # fmt: skip


def draft(profile: Profile, question: str, passages: Sequence[Passage]) -> Prompt[list[Plan]]:
    """Ask for a reasoned answer, searched for behind the question: its guesses name the pages that are missing."""
    made = profile.make(_DRAFT, question=one_line(question), documents=documents(passages))

    def read(text: str) -> list[Plan] | None:
        plans = made.read(text)
        return plans and [Plan(f"{question} {said}", known) for said, known in plans]

    return replace(made, read=read)


_SENTENCE = instruction(
    "ircot", "plan",
    """Answer the question from the documents, one sentence of reasoning at a time. Write the next sentence and \
nothing else: a fact that is needed, with the names of the persons, works and places that it is about. They are looked \
up before the sentence after it. Once the facts are there, write: So the answer is: ...

Question: Who created the series in which "Winter Is Coming" is the first episode?
"Winter Is Coming" is the first episode of the series Game of Thrones.
The series Game of Thrones was created by David Benioff and D. B. Weiss.
So the answer is: David Benioff and D. B. Weiss.""",
    "Question: {question}\n{documents}\nReasoning so far:\n{sentences}", thought, cap="plan",
    needs=("question", "documents", "sentences"),
)  # fmt: skip


def sentence(
    profile: Profile, question: str, passages: Sequence[Passage], sentences: Sequence[str]
) -> Prompt[list[Plan]]:
    """Ask for the next sentence of a chain of thought, after those so far."""
    return profile.make(
        _SENTENCE, question=one_line(question), documents=documents(passages), sentences=note_lines(sentences)
    )


_FOLLOW = instruction(
    "self-ask", "plan",
    f"""Answer the question by asking simpler follow-up questions, one at a time; each is looked up in {{corpus}}, and \
its answer is given to you. Reply with one line: the next follow-up question, never the same again, or the final answer.

Question: Who created the series in which "Winter Is Coming" is the first episode?
Follow up: In which series is "Winter Is Coming" the first episode?
{_GIVEN} Game of Thrones
Follow up: Who created the series Game of Thrones?
{_GIVEN} David Benioff and D. B. Weiss
So the final answer is: David Benioff and D. B. Weiss

Question: Who is older, Steven Spielberg or Ridley Scott?
Follow up: When was Steven Spielberg born?
{_GIVEN} 1946
Follow up: When was Ridley Scott born?
{_GIVEN} 1937
So the final answer is: Ridley Scott""",
    "Question: {question}{pairs}", asked, cap="plan", needs=("question", "pairs"), stop=(_GIVEN,),
)  # fmt: skip


def follow_up(profile: Profile, question: str, steps: Sequence[Step]) -> Prompt[Reply]:
    """Ask for the next follow-up question, below those so far and their answers, or for the final answer."""
    pairs = "".join(f"\nFollow up: {one_line(step['query'])}\n{_GIVEN} {one_line(step['answer'])}" for step in steps)
    return profile.make(_FOLLOW, question=one_line(question), pairs=pairs)


_CRITIQUE = instruction(
    "revise", "plan",
    """Check a proposed answer to a question against the documents. It is supported if they tell every fact that it \
rests on; otherwise it is unsupported: say which fact is missing or wrong, and what to look up in {corpus}, up to {n} \
at once: names of persons, works, places or things, never one that is already a document's title. Reply in JSON.

Question: Who created the series in which "Winter Is Coming" is the first episode?
[1] Winter Is Coming: "Winter Is Coming" is the first episode of Game of Thrones, first aired in 2011.
Proposed answer: HBO
{"verdict": "unsupported", "missing": "the creator of Game of Thrones", "queries": ["Game of Thrones creator"]}

Question: Who is older, Steven Spielberg or Ridley Scott?
[1] Steven Spielberg: Steven Spielberg is an American director, born in 1946.
[2] Ridley Scott: Ridley Scott is an English director, born in 1937.
Proposed answer: Ridley Scott
{"verdict": "supported", "missing": "nothing", "queries": []}""",
    "Question: {question}\n{documents}\nProposed answer: {answer}", criticised, cap="plan",
    needs=("question", "documents", "answer"), schema=parse.queries_schema(1), least=48,
)  # fmt: skip


def critique(profile: Profile, question: str, passages: Sequence[Passage], answer: str, most: int) -> Prompt[Reply]:
    """Ask whether the passages support an answer, and for up to `most` queries where they do not."""
    values = {"question": one_line(question), "documents": documents(passages), "answer": one_line(answer)}
    made = profile.make(_CRITIQUE, **values, n=str(most))
    verdict = {"type": "string", "enum": ["supported", "unsupported"]}
    queries = {"type": "array", "items": parse.QUERY, "minItems": 0, "maxItems": most}
    schema = parse.object_schema(verdict=verdict, missing=parse.NOTE, queries=queries)
    return made.asking(most, schema, lambda text: criticised(text, most))
