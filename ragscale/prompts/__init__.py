"""What the model is asked: one function a move, each returning chat messages.

Every prompt starts with a fixed system message (instructions and examples), then the question, then what grows, so
that a server's prefix cache pays. Passages are untrusted text: they stand between markers, cannot forge a marker or a
chat-template token, and are never used as a template. Questions and what a model wrote cannot either, nor can they
forge a line: each stands on one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from typing_extensions import TypedDict  # pydantic makes no schema of typing's before Python 3.12

from ragscale.types import Message, Passage

__all__ = [
    "INSTRUCTIONS",
    "NO_INFORMATION",
    "Plan",
    "Step",
    "answer",
    "beginning",
    "clean",
    "documents",
    "numbered",
    "one_line",
    "plan",
    "read",
    "support",
]

NO_INFORMATION = "No relevant information found"
"""What a sub-answer says when the passages do not help, word for word (CoRAG, arXiv 2501.14342)."""


class Step(TypedDict):
    """One link of a chain, as state holds it."""

    query: str
    passages: list[str]
    """Ids, best first."""
    answer: str
    """The sub-answer, or `NO_INFORMATION`."""


class Plan(NamedTuple):
    """What a planner wrote: the next sub-query, and what was known when it asked."""

    query: str
    """Empty where it says that nothing is missing."""
    known: str
    """A sentence on what the documents and earlier steps tell; may be empty."""


_PLAN = """You look up pages of an encyclopedia to answer a question, one at a time. From the documents and what was \
looked up so far, say what is known, what is still missing, and what to look up next: the name of a person, work, \
place or thing, never one that is already a document's title, never the same again. If nothing is missing, leave \
queries empty. Reply in JSON.

Question: What music school did the singer of the album Parachutes attend?
[1] Parachutes: Parachutes is the debut album by the band Coldplay, released in 2000.
{"known": "Parachutes is by Coldplay", "missing": "the singer of Coldplay, his school", "queries": ["Coldplay singer"]}

Question: Who created the series in which "Winter Is Coming" is the first episode?
[1] Winter Is Coming: "Winter Is Coming" is the first episode of Game of Thrones, first aired in 2011.
{"known": "Winter Is Coming is an episode of Game of Thrones", "missing": "the creator of Game of Thrones", \
"queries": ["Game of Thrones creator"]}

Question: Who is older, Steven Spielberg or Ridley Scott?
[1] Steven Spielberg: Steven Spielberg is an American director, born in 1946.
Looked up so far:
1. Ridley Scott -> an English director, born in 1937
{"known": "Steven Spielberg was born in 1946, Ridley Scott in 1937", "missing": "nothing", "queries": []}"""

_READ = f"""Answer the query from the documents, in a few words. If the documents do not tell, reply exactly: \
{NO_INFORMATION}

<documents>
[1] House of Lords: The Father of the House is the member with the longest service.
[2] Paul Smith: Paul Smith is an English fashion designer.
</documents>
Query: father of the singer Adele
{NO_INFORMATION}

<documents>
[1] Jaws (novel): Jaws is a 1974 novel by Peter Benchley.
[2] Jaws (film): Jaws is a 1975 film directed by Steven Spielberg.
</documents>
Query: Jaws director
Steven Spielberg

<documents>
[1] Lake Cushman: Lake Cushman is a lake and reservoir in Washington.
[2] Dam: A dam is a barrier that stops the flow of water.
</documents>
Query: height of the Hoover Dam
{NO_INFORMATION}"""

_ANSWER = """Answer the question from the documents; the notes may help and may be wrong. Reply in JSON: \
{"answer": "...", "documents": [...]}: the short answer only (a name, a date, a number, a short phrase, yes or no) and \
the numbers of the documents that tell."""

_GLIMPSE = 60

_MARKER = re.compile(
    r"<(?=\S)"  # <|im_start|>, </s>, <start_of_turn>, </documents>, also with bars in full width
    r"|[\uff1c\ufe64](?=[|\uff5c/A-Za-z])"  # the same in full width, which some tokenizers make one of
    r"|[\[\uff3b](?=[|\uff5c])"  # [|system|]
    # one word in brackets, of three capitals in a row, or in small letters and with a number or several underscores:
    # [INST], [gMASK], [UNUSED_TOKEN_146], [unused9], [start_header_id]
    r"|\[(?=/?(?:(?=\w*?[A-Z_]{3})|(?=[a-z]{3,}+(?:\d+\]|_[^\W_]*+(?:_|\d+\]))))\w++\])"
    r"|\](?=[^\s\[\]]{0,4}~[^\s\[\]]{0,4}[\[\]])|\[(?=[^\s\[\]]{0,4}~[^\s\[\]]{0,4}\[)"  # ]~b], [e~[
)
"""Where a token of a chat template may begin: by the shapes that they have, as each model has its own."""

INSTRUCTIONS = (_PLAN, _READ, _ANSWER)
"""The system messages of a planner, a sub-answer and a closing answer."""


def clean(text: str) -> str:
    """Text from outside, made unable to close its block or to write a chat-template token."""
    # a blank behind the bracket is enough
    return _MARKER.sub(lambda bracket: f"{bracket[0]} ", text)


def one_line(text: str) -> str:
    """Text from outside, cleaned, on one line of a prompt, as each line is a question, a document or a note."""
    rows = text.splitlines()
    return clean(text if rows == [text] else " ".join(filter(None, map(str.strip, rows))))


def numbered(number: int, passage: Passage) -> str:
    """A passage on a line of its own, so that no text can pass for another document."""
    return f"[{number}] {' '.join(clean(passage.title).split())}: {' '.join(clean(passage.text).split())}"


def documents(passages: Sequence[Passage]) -> str:
    """Passages as a delimited, numbered block, in the order given."""
    lines = [numbered(n, passage) for n, passage in enumerate(passages, 1)]
    return "\n".join(["<documents>", *lines, "</documents>"])


def beginning(passage: Passage) -> Passage:
    """The first 60 words: what a planner sees, as encyclopedia articles name what they are about at once."""
    return replace(passage, text=" ".join(passage.text.split()[:_GLIMPSE]))


def plan(question: str, passages: Sequence[Passage], steps: Sequence[Step]) -> list[Message]:
    """Ask for the next sub-query: sees the question, the beginnings of a few passages, and the earlier pairs.

    Saying first what is known and missing is what makes a small model name the missing page: of 16 HotpotQA questions
    with a page missing it found the page for 8, without that for 1 to 3.
    """
    seen = f"\n{documents([beginning(passage) for passage in passages])}" if passages else ""
    pairs = [f"{n}. {one_line(s['query'])} -> {one_line(s['answer'])}" for n, s in enumerate(steps, 1)]
    known = "\n".join(["\nLooked up so far:", *pairs]) if steps else ""
    return [
        {"role": "system", "content": _PLAN},
        {"role": "user", "content": f"Question: {one_line(question)}{seen}{known}"},
    ]


def read(query: str, passages: Sequence[Passage]) -> list[Message]:
    """Ask for a sub-answer: sees only this sub-query and its passages (best first; shown best last)."""
    return [
        {"role": "system", "content": _READ},
        {"role": "user", "content": f"{documents(passages[::-1])}\nQuery: {one_line(query)}"},
    ]


def support(question: str, steps: Sequence[Step]) -> list[Message]:
    """The prompt under which `NO_INFORMATION` is scored: the chain's pairs stand in as documents."""
    pairs = "\n".join(f"[{n}] {one_line(s['query'])}: {one_line(s['answer'])}" for n, s in enumerate(steps, 1))
    return [
        {"role": "system", "content": _READ},
        {"role": "user", "content": f"<documents>\n{pairs}\n</documents>\nQuery: {one_line(question)}"},
    ]


def answer(question: str, passages: Sequence[Passage], known: Sequence[str] = ()) -> list[Message]:
    """Ask for the final short answer and the numbers of the documents it rests on (1 is ``passages[0]``).

    The notes are what planners said is `known`. They have read the question; a sub-answer has not, and to a poor
    sub-query it is confidently wrong. So sub-answers reach the planner alone, not the answer, unlike CoRAG, whose model
    was trained on its own chains. On the first 12 HotpotQA questions of one run of ``tree`` F1 was .45 with the last
    sub-answer beside the notes, .77 without notes, .80 with what a greedy planner said is known.
    """
    notes = "\n".join(["Notes:", *map(one_line, known), ""]) if known else ""
    return [
        {"role": "system", "content": _ANSWER},
        {"role": "user", "content": f"{documents(passages)}\n{notes}Question: {one_line(question)}"},
    ]
