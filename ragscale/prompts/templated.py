"""Profiles made of texts with placeholders: the published layouts, and a user's template file over any of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self, TypeVar

from ragscale.prompts import tags
from ragscale.prompts.generic import Generic, closing, plans, yes_or_no
from ragscale.prompts.instructions import Instruction, fill
from ragscale.prompts.parse import sub_answer
from ragscale.prompts.prompt import Closing, Plan, Prompt, Reply, Step, Turn
from ragscale.prompts.templates import Sections, published
from ragscale.prompts.text import beginning, clean, findings, one_line
from ragscale.text import encodable
from ragscale.types import Message, Passage

__all__ = ["Templated"]

T = TypeVar("T")

_DEFAULTS: dict[str, dict[str, str]] = {
    "plan": {
        "past_item": "{n}. {query} -> {answer}",
        "past_empty": "nothing so far",
        "document": "[{n}] {title}: {text}",
    },
    "read": {"document": "{title}\n{text}", "order": "best last"},
    "support": {"pair": "Q: {query}\nA: {answer}"},
    "answer": {"document": "[{n}] {title}: {text}", "order": "best first"},
    "turn": {
        "information": "\n<information>\n{results}\n</information>\n",
        "document": "Doc {n}: {title}: {text}",
        "results": "lines",
        "final": "",
        "invalid": "\nThat was neither a search nor an answer. Write queries between <search> and </search>, or the "
        "answer between <answer> and </answer>.\n",
    },
}


@dataclass(frozen=True)
class Templated(Generic):
    """Prompts by `sections`; the moves without one are asked as `Generic` does. Replies are plain text or tags."""

    task: str = "answer a question that takes several steps"
    """Description of the task, for texts with ``{task}``."""
    sections: Sections = field(default_factory=dict, hash=False)

    def over(self, file: Sections) -> Self:
        """The same profile with a template file's texts in place of its own, key by key."""
        given = file.get("profile", {})
        merged = {
            name: {**self.sections.get(name, {}), **file.get(name, {})}
            for name in (self.sections.keys() | file.keys()) - {"profile"}
        }
        profile = replace(self, sections=merged, task=given.get("task", self.task))
        return profile.about(given.get("corpus", ""))

    def covers(self, move: str) -> bool:
        """Whether the profile has its own form of a move (``plan``, ``turn``); elsewhere `Generic`'s is used."""
        return self.name == "generic" or move in self.sections

    def published(self) -> dict[str, str]:
        """Sections whose text is a published one, word for word, and the paper."""
        found = {name: published(name, keys["user"]) for name, keys in self.sections.items() if "user" in keys}
        return {name: paper for name, paper in found.items() if paper}

    def instructions(self) -> tuple[str, ...]:
        """The fixed system messages; a profile may have none."""
        own = dict(zip(("plan", "read", "answer"), super().instructions(), strict=True))
        made = [own[name] if name not in self.sections else self._system(name) for name in own]
        return tuple(filter(None, made))

    def plan(
        self, question: str, passages: Sequence[Passage], steps: Sequence[Step], *, most: int = 1
    ) -> Prompt[list[Plan]]:
        """Ask for the next sub-query; see `Generic.plan`."""
        made = super().plan(question, passages, steps, most=most)
        if "plan" not in self.sections:
            return made
        shown = [beginning(passage) for passage in passages]
        chat = self._chat("plan", question=self._asked(question), past=self._past("plan", steps),
                          documents=self._documents("plan", shown))  # fmt: skip
        return replace(made, messages=chat, schema=None, read=lambda text: plans(text, most), least=16)

    def read(self, query: str, passages: Sequence[Passage]) -> Prompt[str]:
        """Ask for a sub-answer; see `Generic.read`."""
        made = super().read(query, passages)
        if "read" not in self.sections:
            return made
        return replace(
            made, messages=self._chat("read", query=one_line(query), documents=self._documents("read", passages))
        )

    def support(self, question: str, steps: Sequence[Step]) -> Prompt[str]:
        """The prompt under which `NO_INFORMATION` is scored: that of `read`, with pairs for documents."""
        if "read" not in self.sections:
            return super().support(question, steps)
        pairs = "\n\n".join(_pairs(self._text("support", "pair"), steps))
        chat = self._chat("read", query=one_line(question), documents=pairs)
        return Prompt("score", chat, sub_answer, max_tokens=self.read_tokens)

    def answer(
        self, question: str, passages: Sequence[Passage], notes: Sequence[str] = (), steps: Sequence[Step] = ()
    ) -> Prompt[Closing]:
        """Ask for the final answer; see `Generic.answer`. Documents are numbered in the order they are shown."""
        made = super().answer(question, passages, notes, steps)
        if "answer" not in self.sections:
            return made
        chat = self._chat(
            "answer", question=self._asked(question), past=self._past("answer", steps),
            documents=self._documents("answer", passages), notes="\n".join(map(one_line, notes)),
        )  # fmt: skip
        return replace(made, messages=chat, schema=None, read=closing)

    def turn(
        self, question: str, turns: Sequence[Turn], passages: Mapping[str, Passage], *, most: int = 3, now: int = 0
    ) -> Prompt[Reply]:
        """Ask for the next turn: one assistant turn that is continued, or alternating ones, by `Generic.form`."""
        if "turn" not in self.sections:
            return super().turn(question, turns, passages, most=most, now=now)
        form, most = self.form, now or most

        def read(text: str) -> Reply | None:
            reply = tags.turn(text, most, separator=form.separator, capped=form.capped, marks=form.tags)
            return Reply(said=encodable(text)) if reply is None and form.invalid == "notice" else reply

        return Prompt(
            "plan",
            self._conversation(question, turns, passages, most),
            read,
            max_tokens=self.turn_tokens,
            least=min(96, self.turn_tokens),
            stop=form.stop,
            thoughts=True,
            queries=most,
        )

    def last(
        self, question: str, turns: Sequence[Turn], passages: Mapping[str, Passage], *, most: int = 3
    ) -> Prompt[Closing]:
        """Ask for one more turn of the conversation, of which only an answer counts."""
        if "turn" not in self.sections:
            return super().last(question, turns, passages, most=most)
        turn, final = self.turn(question, turns, passages, most=most), ""
        if turn.continued:
            final = self._text("turn", "final")
            turn.messages[-1]["content"] += final
        return Prompt(
            "answer", turn.messages, lambda text: tags.closing(final + text, self.form.tags),
            max_tokens=turn.max_tokens, least=turn.least, stop=turn.stop, thoughts=True,
        )  # fmt: skip

    def enough(self, question: str, steps: Sequence[Step]) -> Prompt[bool]:
        """Ask whether the chain is enough to answer; see `Generic.enough`."""
        made = super().enough(question, steps)
        if "enough" not in self.sections:
            return made
        chat = self._chat("enough", question=one_line(question), past=self._past("enough", steps))
        return replace(made, messages=chat, schema=None, read=yes_or_no)

    def make(self, told: Instruction[T], **values: str) -> Prompt[T]:
        """Fill in an instruction; see `Generic.make`. One with texts of a template file has no schema."""
        made = super().make(told, **values)
        if told.section not in self.sections:
            return made
        return replace(made, messages=self._chat(told.section, **self._hinted(told, values)), schema=None)

    def _text(self, section: str, key: str) -> str:
        if key in self.sections.get(section, {}):
            return self.sections[section][key]
        if key.startswith("past_") and section != "plan":  # said once for all
            return self._text("plan", key)
        return _DEFAULTS[section][key]

    def _system(self, section: str, **values: object) -> str:
        return fill(self.sections[section].get("system", ""), task=self.task, corpus=self.corpus, **values)

    def _chat(self, section: str, **values: object) -> list[Message]:
        user = fill(self.sections[section]["user"], task=self.task, corpus=self.corpus, **values)
        system = self._system(section, **values)
        return [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": user}]

    def _past(self, section: str, steps: Sequence[Step]) -> str:
        made = "\n".join(_pairs(self._text(section, "past_item"), steps))
        return made or self._text(section, "past_empty")

    def _documents(self, section: str, passages: Sequence[Passage]) -> str:
        """Passages in the section's order and form, numbered as they stand, a blank line between blocks of lines."""
        form = self._text(section, "document")
        last = section != "plan" and self._text(section, "order") == "best last"
        made = _shown(form, passages[::-1] if last else passages)
        return ("\n\n" if "\n" in form.strip("\n") else "\n").join(made)

    def _conversation(
        self, question: str, turns: Sequence[Turn], passages: Mapping[str, Passage], most: int
    ) -> list[Message]:
        question = one_line(question)
        if self.form.question_mark and not question.rstrip().endswith(("?", "\uff1f")):
            question = f"{question.strip()}?"
        chat = self._chat("turn", question="\n".join(filter(None, [question, self.hint])), n=most)
        rounds = []
        for turn in turns:
            begin, end = self.form.tags.search
            asked = f"{begin} {one_line('; '.join(turn['queries']))} {end}" if turn["queries"] else ""
            said = turn["said"] or asked
            results = self._information(turn, passages) if turn["queries"] else self._text("turn", "invalid")
            rounds.append((tags.written(said, self.form.tags), results))
        if self.form.continued:
            if rounds:
                chat.append({"role": "assistant", "content": "".join(said + results for said, results in rounds)})
            return chat
        for said, results in rounds:
            chat += [{"role": "assistant", "content": said}, {"role": "user", "content": results.strip()}]
        return chat

    def _information(self, turn: Turn, passages: Mapping[str, Passage]) -> str:
        form = self._text("turn", "document")
        nothing = "" if self.form.anew else "nothing new"
        found = [
            note or "\n".join(_shown(form, [passages[id] for id in ids])) or nothing for ids, note in findings(turn)
        ]
        if self._text("turn", "results") == "json":
            queries = [one_line(query) for query in turn["queries"]]
            results = json.dumps({"query": queries, "documents": found}, indent=2)
        else:
            results = "\n".join(found)
        return fill(self._text("turn", "information"), results=results)


def _shown(form: str, passages: Sequence[Passage]) -> list[str]:
    return [
        fill(form, n=n + 1, n0=n, title=_flat(passage.title), text=_flat(passage.text)).strip("\n")
        for n, passage in enumerate(passages)
    ]


def _pairs(form: str, steps: Sequence[Step]) -> list[str]:
    return [
        fill(form, n=n + 1, n0=n, query=one_line(step["query"]), answer=one_line(step["answer"])).strip("\n")
        for n, step in enumerate(steps)
    ]


def _flat(text: str) -> str:
    return " ".join(clean(text).split())
