"""Prompts for any instruct model: JSON turns under fixed instructions with examples.

Each begins with a fixed system message, then the question, then what grows, so that a server's prefix cache pays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeVar

from ragscale.prompts import parse
from ragscale.prompts.instructions import Instruction, fill
from ragscale.prompts.prompt import NO_INFORMATION, Closing, ConversationFormat, Plan, Prompt, Reply, Step, Turn
from ragscale.prompts.text import beginning, documents, findings, glimpses, numbered, numbered_pairs, one_line, pair
from ragscale.prompts.thoughts import spoken
from ragscale.types import Message, Passage

__all__ = ["COLLECTION", "Generic"]

T = TypeVar("T")

COLLECTION = "documents of a collection"
"""Description of a corpus of which nothing is known."""

_PLAN = """You look up {corpus} to answer a question, one at a time. From the documents and what was \
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

_PAIRS = """Answer the question from the documents; what was looked up on the way and the notes may help and may be \
wrong. Reply in JSON: {"answer": "...", "documents": [...]}: the short answer only (a name, a date, a number, a short \
phrase, yes or no) and the numbers of the documents that tell."""

_TURN = """You look up {corpus} to answer a question, up to {n} at once. From the documents found so \
far, say what is known, what is still missing, and what to look up next: names of persons, works, places or things, \
never one that is already a document's title, never one that was looked up before. If nothing is missing, leave \
queries empty. Reply in JSON.

Question: Who is older, the singer of the album Parachutes or Ridley Scott?
[1] Parachutes: Parachutes is the debut album by the band Coldplay, released in 2000.
{"known": "Parachutes is by Coldplay", "missing": "the singer of Coldplay, his birth, the birth of Ridley Scott", \
"queries": ["Coldplay singer", "Ridley Scott"]}

Question: Who created the series in which "Winter Is Coming" is the first episode?
[1] Winter Is Coming: "Winter Is Coming" is the first episode of Game of Thrones, first aired in 2011.
{"known": "Winter Is Coming is an episode of Game of Thrones", "missing": "the creator of Game of Thrones", \
"queries": ["Game of Thrones creator"]}

Question: Who is older, Steven Spielberg or Ridley Scott?
[1] Steven Spielberg: Steven Spielberg is an American director, born in 1946.
Looked up: Ridley Scott
[2] Ridley Scott: Ridley Scott is an English director, born in 1937.
{"known": "Steven Spielberg was born in 1946, Ridley Scott in 1937", "missing": "nothing", "queries": []}"""

_ENOUGH = """Say whether what was looked up so far is enough to answer the question. Reply yes or no, nothing else."""

_BEST = 10
_JUDGE = f"""Rate how well the notes answer the question: {_BEST} if they settle it without a doubt, 0 if they do not \
help. A proposed answer that the notes do not support lowers the rating. Reply in JSON: {{"rating": 0 to {_BEST}}}."""

_YES_OR_NO: dict[str, Any] = {"type": "string", "enum": ["yes", "no"]}
_RATING = parse.object_schema(rating={"type": "integer", "minimum": 0, "maximum": _BEST})


@dataclass(frozen=True)
class Generic:
    """The profile ``generic``, and the forms of all moves that another profile does not have forms of its own for."""

    name: str = "generic"
    corpus: str = COLLECTION
    """Description of the corpus, as a planner is told that it looks up."""
    plan_tokens: int = 128
    read_tokens: int = 128
    answer_tokens: int = 96
    turn_tokens: int = 1024
    pairs: bool = False
    """Whether the closing answer's prompt has the chain's queries and sub-answers unless a mode says otherwise."""
    form: ConversationFormat = field(default_factory=ConversationFormat)
    hint: str = ""
    """Said below the question where it is planned for and answered: what an earlier run hands on. Each line clean."""

    def about(self, corpus: str) -> Self:
        """The same profile for a corpus of that description (``pages of an encyclopedia``); unchanged if empty."""
        said = one_line(corpus).strip()
        return replace(self, corpus=said) if said else self

    def instructions(self) -> tuple[str, ...]:
        """The fixed system messages, for a client that learns their sizes before the first question."""
        return (_PLAN.replace("{corpus}", self.corpus), _READ, _ANSWER)

    def plan(
        self, question: str, passages: Sequence[Passage], steps: Sequence[Step], *, most: int = 1
    ) -> Prompt[list[Plan]]:
        """Ask for the next sub-query: sees the question, the beginnings of a few passages, and the earlier pairs.

        Saying first what is known and missing is what makes a small model name the missing page: of 16 HotpotQA
        questions with a page missing it found the page for 8, without that for 1 to 3.

        Args:
            question: The user's question.
            passages: Best first.
            steps: The chain so far.
            most: Sub-queries a reply at most.
        """
        seen = f"\n{glimpses(passages)}" if passages else ""
        known = "\n".join(["\nLooked up so far:", *numbered_pairs(steps)]) if steps else ""
        return Prompt(
            "plan",
            _chat(_PLAN.replace("{corpus}", self.corpus), f"Question: {self._asked(question)}{seen}{known}"),
            lambda text: plans(text, most),
            schema=parse.queries_schema(most, least=0),
            queries=most,
            max_tokens=self.plan_tokens,
            least=max(1, self.plan_tokens // 2),
        )

    def read(self, query: str, passages: Sequence[Passage]) -> Prompt[str]:
        """Ask for a sub-answer: sees only this sub-query and its passages (best first; shown best last)."""
        user = f"{documents(passages[::-1])}\nQuery: {one_line(query)}"
        return Prompt("read", _chat(_READ, user), parse.sub_answer, max_tokens=self.read_tokens)

    def support(self, question: str, steps: Sequence[Step]) -> Prompt[str]:
        """The prompt under which `NO_INFORMATION` is scored: the chain's pairs stand in as documents."""
        pairs = "\n".join(f"[{n}] {one_line(s['query'])}: {one_line(s['answer'])}" for n, s in enumerate(steps, 1))
        user = f"<documents>\n{pairs}\n</documents>\nQuery: {one_line(question)}"
        return Prompt("score", _chat(_READ, user), parse.sub_answer, max_tokens=self.read_tokens)

    def answer(
        self, question: str, passages: Sequence[Passage], notes: Sequence[str] = (), steps: Sequence[Step] = ()
    ) -> Prompt[Closing]:
        """Ask for the final short answer and the numbers of the documents it rests on (1 is ``passages[0]``).

        The notes are what planners said is known. They have read the question; a sub-answer has not, and to a poor
        sub-query it is confidently wrong. So a mode leaves `steps` out unless told otherwise, unlike CoRAG, whose model
        was trained on its own chains. On the first 12 HotpotQA questions of one run of ``tree`` F1 was .45 with the
        last sub-answer beside the notes, .77 without notes, .80 with what a greedy planner said is known.
        """
        pairs = "\n".join(["Looked up on the way:", *numbered_pairs(steps), ""]) if steps else ""
        said = "\n".join(["Notes:", *map(one_line, notes), ""]) if notes else ""
        return Prompt(
            "answer",
            _chat(
                _PAIRS if steps else _ANSWER, f"{documents(passages)}\n{pairs}{said}Question: {self._asked(question)}"
            ),
            closing,
            schema=parse.ANSWER_SCHEMA,
            max_tokens=self.answer_tokens,
        )

    def turn(
        self, question: str, turns: Sequence[Turn], passages: Mapping[str, Passage], *, most: int = 3, now: int = 0
    ) -> Prompt[Reply]:
        """Ask for the next queries of a multi-query conversation; each round appends to the last one's prompt.

        One growing prompt without the model's own turns, which a small model copies instead of reading on.

        Args:
            question: The user's question.
            turns: The rounds so far.
            passages: Every passage of `turns` by id.
            most: Queries a turn at most.
            now: Queries that it is told to ask in this turn; 0 leaves their number to the model.
        """
        blocks = [f"Question: {self._asked(question)}"]
        number = 0
        for turn in turns:
            if turn["queries"] != [question]:
                blocks.append(f"Looked up: {one_line('; '.join(turn['queries']))}")
            for ids, note in findings(turn):
                for id in ids:
                    number += 1
                    blocks.append(numbered(number, beginning(passages[id])))
                if note:
                    blocks.append(f"Noted: {note}")
        if now:
            blocks.append(f"Now say exactly {now} to look up, or none if nothing is missing.")
        return Prompt(
            "plan",
            _chat(_TURN.replace("{corpus}", self.corpus).replace("{n}", str(most)), "\n".join(blocks)),
            lambda text: parse.turn(text, now or most),
            schema=parse.queries_schema(now or most, least=0),
            queries=now or most,
            max_tokens=self.turn_tokens,
            least=min(96, self.turn_tokens),
        )

    def last(
        self, question: str, turns: Sequence[Turn], passages: Mapping[str, Passage], *, most: int = 3
    ) -> Prompt[Closing]:
        """Ask for the answer in a last turn; here the closing answer's prompt, from all passages and notes shown."""
        found = [part for turn in turns for part in findings(turn)]
        shown = [passages[id] for id in dict.fromkeys(id for ids, _ in found for id in ids)]
        return self.answer(question, shown, [note for _, note in found if note])

    def enough(self, question: str, steps: Sequence[Step]) -> Prompt[bool]:
        """Ask whether the chain is enough to answer (CoRAG's learned stop, by prompt)."""
        user = "\n".join([f"Question: {one_line(question)}", "Looked up so far:", *numbered_pairs(steps)])
        return Prompt("score", _chat(_ENOUGH, user), yes_or_no, schema=_YES_OR_NO, max_tokens=8, least=1)

    def judge(self, question: str, steps: Sequence[Step], notes: Sequence[str] = (), answer: str = "") -> Prompt[float]:
        """Ask for a rating from 0 to 10 of a chain: its pairs, what planners said is known, and a proposed answer.

        It is never shown a gold answer.
        """
        pairs = [pair(step["query"], step["answer"]) for step in steps]
        said = "\n".join(["Notes:", *(pairs + [one_line(note) for note in notes] or ["none"])])
        proposed = f"\nProposed answer: {one_line(answer)}" if answer else ""
        user = f"Question: {one_line(question)}\n{said}{proposed}"
        return Prompt("score", _chat(_JUDGE, user), rating, schema=_RATING, max_tokens=32)

    def make(self, told: Instruction[T], **values: str) -> Prompt[T]:
        """Fill in an instruction.

        Args:
            told: Its texts and its reader.
            values: Texts by placeholder, each cleaned by the caller (`one_line`, `documents`).
        """
        values = {"corpus": self.corpus, **self._hinted(told, values)}
        most: int = told.cap if isinstance(told.cap, int) else getattr(self, f"{told.cap}_tokens")
        return Prompt(
            told.move, _chat(fill(told.system, **values), fill(told.user, **values)), told.read, schema=told.schema,
            max_tokens=most, least=min(told.least, most), stop=told.stop,
        )  # fmt: skip

    def _asked(self, question: str) -> str:
        """The question on a line, and the hint below it."""
        return "\n".join(filter(None, [one_line(question), self.hint]))

    def _hinted(self, told: Instruction[Any], values: Mapping[str, str]) -> dict[str, str]:
        """The values of an instruction, with the hint below the question of one that plans or answers."""
        asks = self.hint and told.move in ("plan", "answer") and "question" in values
        return {**values, "question": f"{values['question']}\n{self.hint}"} if asks else dict(values)


def plans(text: str, most: int = 1) -> list[Plan] | None:
    """A planner's reply as plans: one a sub-query, or one without a query where nothing is missing."""
    reply = parse.turn(text, most)
    return None if reply is None else [Plan(query, reply.known) for query in reply.queries or [""]]


def closing(text: str) -> Closing | None:
    """A closing answer; None for one that says nothing."""
    said = parse.closing(text)
    return said if said.text else None


def yes_or_no(text: str) -> bool | None:
    """The first yes or no; None where there is neither."""
    found = re.search(r"\b(yes|no|true|false)\b", spoken(text), re.IGNORECASE)
    return found[1].lower() in ("yes", "true") if found else None


def rating(text: str) -> float | None:
    """The rating in a reply; None where it has none from 0 to 10."""
    return parse.rated(text, "rating", _BEST)


def _chat(system: str, user: str) -> list[Message]:
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]
