"""Conversation of several rounds as a value: in each a model asks queries, and is shown what was found for them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from ragscale.errors import InvalidInput
from ragscale.modes.core.moves import Moves
from ragscale.prompts import ConversationFormat, Turn, fresh, normalise
from ragscale.prompts.text import findings
from ragscale.types import Passage

__all__ = ["Conversation", "form_of"]

_REMEMBERED = 60  # words at the end of each turn that the writer of a note is shown


class Conversation(NamedTuple):
    """The rounds of a run so far."""

    look: list[Turn]
    """The look at the question's own passages, as a round without a turn of the model; empty where there was none."""
    turns: list[Turn]
    """The model's turns, each with what was found for it: nothing yet for a last one that is to be searched for."""

    @classmethod
    def of(cls, state: Any) -> Conversation:
        """That of a state with ``turns``."""
        look = Turn(said="", queries=[state["question"]], passages=[state["seen"]])
        return cls([look] if state["seen"] else [], state.get("turns", []))

    @property
    def rounds(self) -> list[Turn]:
        """All rounds, in order."""
        return [*self.look, *self.turns]

    @property
    def asked(self) -> list[str]:
        """The queries of all rounds."""
        return [query for turn in self.rounds for query in turn["queries"]]

    @property
    def new(self) -> list[str]:
        """The queries of the last turn that none before it has asked."""
        return fresh(self.turns[-1]["queries"], self._before.asked)

    @property
    def found(self) -> list[str]:
        """Ids of all passages on which an answer may rest."""
        return [id for turn in self.rounds for ids in turn["passages"] for id in ids]

    @property
    def shown(self) -> list[str]:
        """Ids of the passages in the conversation, in the order shown; not of those in whose place a note is shown."""
        return [id for turn in self.rounds for ids, _ in findings(turn) for id in ids]

    def passages(self, moves: Moves) -> dict[str, Passage]:
        """The passages shown, by their ids."""
        return {id: moves.passage(id) for id in self.shown}

    def told(self, known: Sequence[str]) -> list[str]:
        """Known facts, and the ends of the model's turns, without tags: a note is written in view of them."""
        said = [re.sub(r"<[^<>]*>", " ", turn["said"]).split()[-_REMEMBERED:] for turn in self.turns]
        return [*known, *(" ".join(words) for words in said if words)]

    def with_turn(self, said: str, queries: list[str]) -> list[Turn]:
        """The turns with one more, whose queries are to be shown results."""
        return [*self.turns, Turn(said=said, queries=queries, passages=[])]

    def with_passages(self, found: Sequence[list[str]], *, anew: bool) -> list[Turn]:
        """The turns with the passages of the last one: its new queries' are `found`, others are shown theirs again.

        Without `anew`, passages that are in the conversation already are left out.
        """
        before = self._before
        pairs = [pair for turn in before.rounds for pair in zip(turn["queries"], turn["passages"], strict=True)]
        results = {normalise(query): ids for query, ids in [*pairs, *zip(self.new, found, strict=True)]}
        seen = set[str]() if anew else set(before.found)
        passages: list[list[str]] = []
        for query in self.turns[-1]["queries"]:
            passages.append([id for id in results[normalise(query)] if id not in seen])
            seen |= set() if anew else {*passages[-1]}
        return [*before.turns, Turn(**{**self.turns[-1], "passages": passages})]

    def with_notes(self, notes: list[str]) -> list[Turn]:
        """The turns with notes on the last one, which are shown in place of its passages."""
        return [*self._before.turns, Turn(**{**self.turns[-1], "notes": notes})]

    @property
    def _before(self) -> Conversation:
        """The conversation without its last turn."""
        return Conversation(self.look, self.turns[:-1])


def form_of(moves: Moves) -> ConversationFormat:
    """Format of the conversation, by the profile and the mode's parameters.

    Raises:
        InvalidInput: It continues one assistant turn, which the model's endpoint cannot.
    """
    form = moves.profile.form
    if form.continued and not moves.context.capabilities.continues:
        raise InvalidInput(
            f"profile {moves.profile.name!r} continues one assistant turn, which {moves.context.llm.name} cannot",
            "Give continued=False, so that turns alternate, or use an endpoint that continues (docs/models.md).",
        )
    return form
