"""`revise`: self-revision (after Self-Refine and CRITIC): draft, critique, retrieve what is missing, rewrite."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from langgraph.graph import END

from ragscale.modes.core.asking import Planning
from ragscale.modes.core.costs import Cost, Costs, Forecast, Room, series
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.moves import Moves
from ragscale.modes.core.nodes import node, unless_stopped
from ragscale.modes.core.state import State, Update, evidence
from ragscale.prompts import fresh, reasoning
from ragscale.types import Spend

__all__ = ["Revise"]


class _ReviseState(State, total=False):
    draft: dict[str, Any]
    """The last draft: its ``text`` and ``citations``; empty where more was retrieved since."""
    last: dict[str, Any]
    """The same, also where more was retrieved since."""
    queries: list[str]
    """New queries of the last critique; empty for a clean one."""
    asked: list[str]
    """All queries so far, the question included."""
    revisions: int
    """Retrievals after a critique."""


@dataclass(frozen=True, kw_only=True)
class Revise(Planning):
    """Draft an answer, criticise it against the passages, retrieve what is missing, answer again: `rounds` times.

    A clean critique makes the draft the answer: C = 2 i in round i. Otherwise C = 1 + 2 t, R = 1 + q t, S = 1 + t for t
    revisions of q queries, `rounds` and `max_queries` at most: 7, 7 and 4 by default; fewer on a budget, that begins no
    draft which it cannot criticise and revise. The last answer is not criticised. Stops at a clean critique, at one
    that wants nothing new, and after `rounds`. Unlike Self-Refine, critique and answer are two calls, and the critique
    has passages; unlike CRITIC, it asks several queries at once, and one that was asked is not searched further down.
    """

    name: ClassVar[str] = "revise"
    source: ClassVar[str] = "after Self-Refine, arXiv 2303.17651, and CRITIC, arXiv 2305.11738"
    pays: ClassVar[str] = "where a first answer is often right, and the model can tell when it is not"

    rounds: int = 3
    """Most revisions (3 in CRITIC, 4 in Self-Refine)."""
    max_queries: int = 2
    """Most queries a critique."""
    plan_tokens: int = 0
    """Most tokens of a critique; 0: as the profile says (128; corag: 64)."""

    @property
    def looks(self) -> int:
        """`k`: the first draft is that of ``once``."""
        return self.k

    def cost(self, costs: Costs) -> tuple[Spend, Spend]:
        """One revision of one query; `rounds` of `max_queries`."""
        ends = self.ends_cost(costs)
        return ends + self._revision(costs, 0, 1), ends + self._revisions(costs, self.rounds)

    def course(self, costs: Costs, room: Room) -> Forecast:
        """As many revisions as can be paid, the last with fewer queries."""
        spend, rounds = room.in_turn(
            self.rounds, self.max_queries, partial(self._revisions, costs), partial(self._revision, costs)
        )
        return Forecast(spend, {"rounds": rounds})

    def graph(self) -> ModeGraph:
        """look -> draft -> critique -> retrieve -> draft ... -> (answer)."""

        @node
        async def write(moves: Moves, state: _ReviseState) -> Update:
            question, profile, ids = state["question"], moves.profile, evidence(state)[: self.context]
            costs = moves.costs(state)
            # A draft that is not revised is the closing answer, for which more passages may fit.
            moves.need(costs.answer(len(ids)) + costs.reason(len(ids)) + costs.retrieve())
            said = await moves.ask(lambda docs: profile.answer(question, docs, state["known"]), ids)
            draft = {"text": said[0].text, "citations": moves.cite(*said[0], ids)} if said else {}
            return {"draft": draft, "last": draft or state.get("last", {})}

        @node
        async def criticise(moves: Moves, state: _ReviseState) -> Update:
            question, profile, draft = state["question"], moves.profile, state["draft"]
            most = int(min(self.max_queries, moves.ledger.left("queries")))
            moves.need(Spend(queries=max(1, most), rounds=1))
            critiques = await moves.ask(
                lambda docs: reasoning.critique(profile, question, docs, draft["text"], most),
                evidence(state)[: self.context], input=draft["text"],
            )  # fmt: skip
            asked = state.get("asked", [question])
            for critique in critiques:
                new = fresh(critique.queries, asked)
                if critique.queries and not new:
                    moves.note("plan", "nothing new to look up", status="repeat", input=critique.queries)
                lacking = [f"Not settled by an earlier answer, {draft['text']}: {critique.known}"]
                return {"queries": new, "asked": [*asked, *new], "known": lacking if critique.known and new else []}
            return {"queries": []}

        @node
        async def retrieve(moves: Moves, state: _ReviseState) -> Update:
            found = await moves.retrieve(state["queries"], self.k)
            return {"found": found, "draft": {}, "revisions": state.get("revisions", 0) + 1}

        async def after_retrieving(state: _ReviseState) -> str:
            return "answer" if state["stop"] or state["revisions"] >= self.rounds else "draft"

        graph = ModeGraph(_ReviseState, self.asks)
        self.begin(graph, "draft")
        graph.add_node("draft", write)
        graph.add_node("critique", criticise)
        graph.add_node("retrieve", retrieve)
        graph.add_node("answer", self.closing())
        graph.add_conditional_edges("draft", unless_stopped("critique", given="draft"), ["critique", "answer"])
        graph.add_conditional_edges("critique", unless_stopped("retrieve", given="queries"), ["retrieve", "answer"])
        graph.add_conditional_edges("retrieve", after_retrieving, ["draft", "answer"])
        graph.add_edge("answer", END)
        return graph

    async def _close(self, moves: Moves, state: Any) -> Update:
        """The draft, where nothing was retrieved since; else the last answer, or the draft where that cannot be."""
        if state.get("draft"):
            return dict(state["draft"])
        update = await super()._close(moves, state)
        return {**update, **state["last"]} if "stop" in update and state.get("last") else update

    def _revision(self, costs: Costs, before: int, queries: int) -> Cost:
        """Cost of a draft, its critique and what that wants looked up, after so many revisions."""
        shown = min(self.context, self.k * (1 + before * self.max_queries))
        return costs.answer(shown) + costs.reason(shown) + costs.retrieve(queries)

    def _revisions(self, costs: Costs, n: int) -> Cost:
        """Cost of `n` revisions with all their queries; from the second on, what is shown is all that may be."""
        first, more = (self._revision(costs, before, self.max_queries) for before in (0, 1))
        return series(first, first, min(n, 1)) + series(more, more, max(0, n - 1))
