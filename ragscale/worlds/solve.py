"""The solver: answers that facts leave possible, and the check of a world by them.

A fact that no passage states may be anything. So an answer follows from some passages if it is the only possible one.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from ragscale.errors import InvalidInput, RagscaleError
from ragscale.worlds.kinds import Fact
from ragscale.worlds.passages import read

__all__ = ["Facts", "Form", "Rule", "check", "possible"]

Rule = Literal["value", "min", "max", "count", "list", "common"]
"""Rule from the chains' ends to the answer: the one end itself; the anchor whose end is the smallest or largest
number; the number of ends that equal a word; all ends in alphabetical order; the one name that all ends have."""


@dataclass(frozen=True, slots=True)
class Form:
    """A question without words: chains of equal relations from several anchors, and the rule that joins their ends."""

    rule: Rule
    anchors: tuple[str, ...]
    """Names of things, a chain each: the breadth is their number."""
    relations: tuple[str, ...]
    """Names of relations, from the anchor on: the depth is their number."""
    word: str = ""
    """The word that ``count`` counts."""

    def to_dict(self) -> dict[str, Any]:
        """The form as JSON holds it."""
        counted = {"word": self.word} if self.word else {}
        return {"rule": self.rule, "anchors": [*self.anchors], "relations": [*self.relations], **counted}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
            InvalidInput: It is not what `to_dict` gives.
        """
        if not {"rule", "anchors", "relations"} <= row.keys():
            raise InvalidInput(
                f"form {dict(row)} is none of a world of facts", "Take questions of `ragscale world make`."
            )
        return cls(row["rule"], tuple(row["anchors"]), tuple(row["relations"]), row.get("word", ""))


class Facts:
    """Facts that passages state, read from their texts.

    Args:
        passages: Rows of a corpus, with ``id`` and ``text``.

    Raises:
        InvalidInput: A text is not one of a world.
    """

    def __init__(self, passages: Iterable[Mapping[str, Any]]) -> None:
        self._stated: dict[tuple[str, str], list[tuple[Fact, str]]] = defaultdict(list)
        for row in passages:
            entity = read(_of(row, "text"))
            for relation, fact in entity.facts.items():
                self._stated[entity.name, relation].append((fact, row["id"]))

    def ends(self, anchor: str, relations: Iterable[str], *, without: str = "") -> set[Fact]:
        """All ends of a chain; none where a fact on the way is not stated, several where it is stated differently.

        Args:
            anchor: Name of the thing that the chain begins with.
            relations: Relations to follow.
            without: Id of a passage that is taken for missing.
        """
        ends: set[Fact] = {anchor}
        for relation in relations:
            stated = [self._stated.get((end, relation), []) for end in ends if isinstance(end, str)]
            ends = {fact for facts in stated for fact, passage in facts if passage != without}
        return ends


def possible(form: Form, facts: Facts, *, without: str = "") -> set[str] | None:
    """The answers that the facts leave open, or None where it may be anything.

    Args:
        form: The question.
        facts: What is known.
        without: Id of a passage that is taken for missing.
    """
    ends = [facts.ends(anchor, form.relations, without=without) for anchor in form.anchors]
    match form.rule:
        case "value" | "list":
            return {", ".join(sorted(map(str, chosen))) for chosen in itertools.product(*ends)} if all(ends) else None
        case "min" | "max":
            try:
                years = [[float(str(end)) for end in found] or [-math.inf, math.inf] for found in ends]
            except ValueError as error:
                remedy = "Take questions of `ragscale world make`."
                raise InvalidInput(f"{form} compares what are no numbers", remedy) from error
            best = min if form.rule == "min" else max
            pairs = [(some, zip(form.anchors, some, strict=True)) for some in itertools.product(*years)]
            return {anchor for some, named in pairs for anchor, year in named if year == best(some)}
        case "count":
            fits = [{end == form.word for end in found} or {True, False} for found in ends]
            return {str(sum(some)) for some in itertools.product(*fits)}
        case "common":
            known = [found for found in ends if found]
            lists = itertools.product(*known)
            return {name for some in lists for name in set.intersection(*map(set, some))} if known else None


def check(passages: Iterable[Mapping[str, Any]], questions: Iterable[Mapping[str, Any]]) -> None:
    """Check that every answer follows from the corpus and from nothing less.

    For each question: its gold passages leave one answer, the gold one; so does the whole corpus; and the corpus
    without any one of the gold passages does not. An answer that is the end of a chain stands neither in the question
    nor in a passage before the last.

    Args:
        passages: Rows of ``corpus.jsonl``.
        questions: Rows of ``questions.jsonl``.

    Raises:
        RagscaleError: One does not hold; names the question.
        InvalidInput: A passage, a question or a form cannot be read.
    """
    texts = {_of(row, "id"): row for row in passages}
    facts = Facts(texts.values())
    for row in questions:
        for name, kind in _QUESTION.items():
            _of(row, name, kind)
        fault = _fault(row, texts, facts)
        if fault:
            raise RagscaleError(f"question {row['id']}: {fault}", "The world is not as it was made: make it anew.")


_QUESTION = {"id": str, "question": str, "answers": list, "supporting": list, "hops": int, "breadth": int, "form": dict}
"""Keys of a question that `check` reads, with their types."""


def _of(row: Any, name: str, kind: type = str) -> Any:
    """A value of a row of a world's files. Raises `InvalidInput` where it has none, or one of another type."""
    value = row.get(name) if isinstance(row, Mapping) else None
    if not isinstance(value, kind):
        remedy = "Give rows of corpus.jsonl and questions.jsonl, as `ragscale world make` writes them."
        raise InvalidInput(f"{str(row)[:200]}: {name} is {value!r}, no {kind.__name__}", remedy)
    return value


def _fault(row: Mapping[str, Any], texts: Mapping[str, Mapping[str, Any]], facts: Facts) -> str:
    """The first thing that is wrong with a question; empty where nothing is."""
    form, gold = Form.from_dict(row["form"]), row["supporting"]
    if not (form.relations and len(gold) == len(set(gold)) == row["hops"] * row["breadth"]):
        return f"{len(gold)} gold passages, not {row['hops']} x {row['breadth']} different ones"
    if missing := [id for id in gold if id not in texts]:
        return f"its gold passage {missing[0]} is not in the corpus"
    for name, known in (("its gold passages", Facts(texts[id] for id in gold)), ("the corpus", facts)):
        answers = possible(form, known)
        if answers is None or [name_of(answer) for answer in answers] != row["answers"][:1]:
            return f"by {name}, possible answers are {answers}, not {row['answers'][:1]} alone"
    for id in gold:
        left = possible(form, facts, without=id)
        if left is not None and len(left) == 1:
            return f"{left} follows without the passage {id}"
    return _leak(row, form, texts)


def _leak(row: Mapping[str, Any], form: Form, texts: Mapping[str, Mapping[str, Any]]) -> str:
    """A place where the answer stands besides the last passage of its chain."""
    if form.rule not in ("value", "list", "common"):
        return ""
    depth = row["hops"]
    ends = row["supporting"][depth - 1 :: depth]
    before = [id for id in row["supporting"] if id not in ends]
    for answer in row["answers"][0].split(", "):
        word = re.compile(rf"\b{re.escape(answer)}\b")
        if word.search(row["question"]):
            return f"the answer {answer!r} stands in the question"
        if leaky := [id for id in before if word.search(texts[id]["text"])]:
            return f"the answer {answer!r} stands in the passage {leaky[0]}, too"
    return ""


def name_of(answer: str) -> str:
    """A name as an answer spells it: that of a work without its genre."""
    return answer.partition(" (")[0]
