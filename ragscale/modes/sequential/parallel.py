"""`parallel`: RAG-R1's multi-query retrieval (arXiv 2507.02962): several queries a round, in one conversation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from langgraph.graph import END, START

from ragscale.errors import InvalidInput
from ragscale.modes.core.costs import Costs
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.mode import Mode
from ragscale.modes.core.moves import Moves
from ragscale.modes.core.nodes import node, unless_stopped
from ragscale.modes.core.state import State, Update, noted
from ragscale.prompts import conversation, parse
from ragscale.prompts.conversation import Profile, Turn
from ragscale.prompts.parse import normalise
from ragscale.types import Spend

__all__ = ["Parallel"]

_SHORTEST = 96  # tokens of the shortest turn worth paying for
_TRIES = 2  # attempts at a turn, where the first is malformed


class _ParallelState(State, total=False):
    turns: list[Turn]
    said: str
    """The model's last turn."""
    queries: list[str]
    """Its new queries; empty when it answered or had none."""


@dataclass(frozen=True, kw_only=True)
class Parallel(Mode):
    """Up to `max_queries` queries a round, `rounds` rounds; the model answers when it has read enough.

    ``max_queries=1`` is RAG-R1's single-query mode. Costs a model call a round, one or two to end, and one more for
    each turn that is malformed. The question itself is the first round, as a model without RAG-R1's training plans
    better once it has seen what that finds; in the tags profile the model's queries are, as published, with the
    question in a free place. A malformed turn is tried again and never searched; when a turn only repeats earlier
    queries, or rounds or budget run out, the reserved closing answer is written from all passages found.
    """

    name: ClassVar[str] = "parallel"
    least: ClassVar[dict[str, float]] = {"question_k": 0}

    k: int = 3
    """Passages retrieved a query."""
    question_k: int = 5
    """Passages retrieved for the question itself, in a round before the first turn; 0 as published."""
    rounds: int = 4
    """Most rounds of the model's queries."""
    max_queries: int = 3
    """Most queries a round."""
    temperature: float = 0.7
    """Of every turn in the tags profile; of a second try in the JSON profile, where the first is greedy."""
    turn_tokens: int = 1024
    """Longest turn."""
    profile: Profile = "json"
    """Format of a turn: ``"json"`` for any instruct model, ``"tags"`` for the published RAG-R1 checkpoints."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.profile not in ("json", "tags"):
            raise InvalidInput(f"parallel: profile={self.profile!r} is unknown", "Use 'json' or 'tags'.")

    @property
    def looks(self) -> int:
        """`question_k`; 0 in the tags profile, where the model's queries come first."""
        return self.question_k if self.profile == "json" else 0

    def cost(self, costs: Costs) -> tuple[Spend, Spend]:
        """One round of one query; `rounds` rounds of `max_queries`."""
        ends = (costs.retrieve() if self.looks else Spend()) + costs.answer(self.context)
        seen = range(self.looks, self.looks + self.rounds * self.max_queries * self.k, self.max_queries * self.k)
        rounds = [costs.plan(glimpses) + costs.retrieve(self.max_queries) for glimpses in seen]
        return ends + costs.plan(self.looks) + costs.retrieve(), sum(rounds, ends)

    def graph(self) -> ModeGraph:
        """look -> think -> retrieve -> think ... -> answer."""
        graph = ModeGraph(_ParallelState)
        if self.looks:
            graph.add_node("look", self.looking(self.question_k))
            graph.add_conditional_edges("look", unless_stopped("think"), ["think", "answer"])
        graph.add_node("think", node(self._think))
        graph.add_node("retrieve", node(self._retrieve))
        graph.add_node("answer", self.closing())
        graph.add_edge(START, "look" if self.looks else "think")
        graph.add_conditional_edges("think", self._after_thinking, ["retrieve", "answer", END])
        graph.add_conditional_edges("retrieve", self._after_retrieving, ["think", "answer"])
        graph.add_edge("answer", END)
        return graph

    async def _think(self, moves: Moves, state: _ParallelState) -> Update:
        turns, known = _turns(state), state["known"]
        shown = [id for turn in turns for ids in turn["passages"] for id in ids]
        passages = {id: moves.context.index.passage(id) for id in shown}
        chat = conversation.messages(state["question"], turns, passages, most=self.max_queries, profile=self.profile)
        schema = parse.queries_schema(self.max_queries, least=0) if self.profile == "json" else None
        asked = {normalise(query) for turn in turns for query in turn["queries"]}
        for attempt in range(_TRIES):
            [said] = await moves.write(
                "plan", chat, max_tokens=self.turn_tokens, least=min(_SHORTEST, self.turn_tokens),
                temperature=self.temperature if attempt or not schema else 0.0, schema=schema, attempt=attempt,
                passages=shown, thoughts=self.profile == "tags",
            )  # fmt: skip
            reply = conversation.parse(said, most=self.max_queries, profile=self.profile)
            if reply.answer:
                return {"text": reply.answer, "citations": moves.cite(reply.answer, [], shown)}
            known = noted(known, reply.known)
            new = [query for query in reply.queries if normalise(query) not in asked]
            if new:
                free = not turns and len(new) < self.max_queries
                free = free and normalise(state["question"]) not in map(normalise, new)
                return {"said": said, "queries": [state["question"], *new] if free else new, "known": known}
            if reply.enough:
                break
            if reply.queries:
                moves.note("plan", "only repeats earlier queries: nothing left to look up", output=said)
                break
            moves.note("plan", "malformed turn", output=said)
        return {"queries": [], "known": known}

    async def _retrieve(self, moves: Moves, state: _ParallelState) -> Update:
        found = await moves.retrieve(state["queries"], self.k)
        seen = {id for turn in _turns(state) for ids in turn["passages"] for id in ids}
        new: list[list[str]] = []
        for ids in found:
            new.append([id for id in ids if id not in seen])
            seen.update(ids)
        return {
            "found": found,
            "turns": [*state.get("turns", []), Turn(said=state["said"], queries=state["queries"], passages=new)],
        }

    async def _after_thinking(self, state: _ParallelState) -> str:
        if state["text"]:
            return END
        return "retrieve" if state.get("queries") and not state["stop"] else "answer"

    async def _after_retrieving(self, state: _ParallelState) -> str:
        return "answer" if state["stop"] or len(state["turns"]) >= self.rounds else "think"


def _turns(state: _ParallelState) -> list[Turn]:
    """The rounds so far, the look at the question's own passages as one without a turn of the model."""
    look = [Turn(said="", queries=[state["question"]], passages=[state["seen"]])] if state["seen"] else []
    return [*look, *state.get("turns", [])]
