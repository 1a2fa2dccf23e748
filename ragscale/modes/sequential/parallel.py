"""`parallel`: RAG-R1's multi-query retrieval (arXiv 2507.02962): several queries a round, in one conversation."""

from __future__ import annotations

import contextlib
from bisect import bisect
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from langgraph.graph import END, START

from ragscale.errors import BudgetExceeded, InvalidInput, ModelError
from ragscale.modes.core.asking import Planning
from ragscale.modes.core.costs import Costs, Forecast, Room, series
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.moves import Moves
from ragscale.modes.core.nodes import node, unless_stopped
from ragscale.modes.core.state import State, Update, noted
from ragscale.modes.core.widths import Schedule, Width
from ragscale.prompts import PROFILES, Form, Turn, normalise
from ragscale.types import Spend

__all__ = ["Parallel"]

_TRIES = 2  # attempts at a turn, where the first is malformed
_RAG_R1 = {"k": 3, "rounds": 5, "question_k": 0, "turn_tokens": 1024, "temperature": 0.7}


class _ParallelState(State, total=False):
    turns: list[Turn]
    said: str
    """The model's last turn."""
    queries: list[str]
    """Its queries that are shown results; empty when it answered or had none."""
    new: list[str]
    """Those of them that are to be searched for."""
    told: bool
    """Whether the turn had neither queries nor answer, and is answered by a notice."""


@dataclass(frozen=True, kw_only=True)
class Parallel(Planning):
    """Up to `max_queries` queries a round, `rounds` rounds; the model answers when it has read enough.

    Costs a model call a round, one or two to end, and one more for each turn that is malformed. By default, the
    question itself is the first round, as a model without RAG-R1's training plans better once it has seen what that
    finds. A malformed turn is tried again or answered by a notice, and never searched; no query is searched for twice.
    Where the model has nothing new to ask, or rounds or budget run out, the reserved closing answer is written from all
    passages found. The profiles ``rag-r1``, ``rag-r1-sq`` and ``search-r1`` hold the published conversations; what the
    parameters from `stop` on change is left to the profile by ``None`` and ``"auto"``.
    """

    name: ClassVar[str] = "parallel"
    source: ClassVar[str] = "RAG-R1, arXiv 2507.02962"
    pays: ClassVar[str] = "where several independent facts are to be found, and rounds are slow"
    needs: ClassVar[tuple[str, ...]] = ("turn",)
    least: ClassVar[dict[str, float]] = {"question_k": 0, "turn_tokens": 0, "answer_tokens": 0}
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "rag-r1-paper": {"profile": "rag-r1", "max_queries": 3, **_RAG_R1},
        "rag-r1-sq-paper": {"profile": "rag-r1-sq", "max_queries": 1, **_RAG_R1},
        "search-r1": {
            "profile": "search-r1", "max_queries": 1, "k": 3, "rounds": 4, "question_k": 0, "turn_tokens": 500,
            "temperature": 0.0,
        },
    }  # fmt: skip

    k: int = 3
    """Passages retrieved a query."""
    question_k: int = 5
    """Passages retrieved for the question itself, in a round before the first turn, where `seed_question` is on."""
    rounds: int = 4
    """Most rounds of the model's queries; a turn that is answered by a notice counts as one."""
    max_queries: int = 3
    """Most queries a round, as the prompt says; with a schedule (`width`) their mean. The paper's profile ``rag-r1``
    searches for all that are written, 16 at most, where `width` is ``"free"``."""
    width: Width = "free"
    """Queries of each round: the model's choice up to `max_queries`, or as many as a schedule tells it. All schedules
    have `rounds` x `max_queries` queries, or those that the budget has: ``rounds=3, max_queries=2`` are 2, 2, 2
    (``"constant"``), 3, 2, 1 (``"descending"``) or 1, 2, 3 (``"ascending"``)."""
    temperature: float = 0.7
    """Of every turn in the published profiles; of a second try in ``generic``, where the first is greedy."""
    turn_tokens: int = 0
    """Longest turn; 0: as the profile says (1,024; search-r1: 500)."""
    stop: bool | None = None
    """Whether a turn ends at ``</search>``, so that the model cannot invent results. Default: in published profiles."""
    continued: bool | None = None
    """Whether all rounds are one assistant turn, which the endpoint must be able to continue; otherwise turns
    alternate. Default: in published profiles."""
    separator: Literal["auto", "none", ",", "##", ";\n"] = "auto"
    """Between the queries of one search; ``"none"``: everything between the tags is one query."""
    ending: Literal["auto", "turn", "call"] = "auto"
    """When the rounds are used up: a last turn of the conversation, or the closing answer's prompt, which also follows
    where the last turn has no answer."""
    invalid: Literal["auto", "notice", "retry"] = "auto"
    """After a turn without queries or answer: a notice, at the price of a round, or the same prompt again."""
    seed_question: bool | None = None
    """Whether the question itself is searched for first. Default: in ``generic`` alone."""

    @property
    def asks(self) -> dict[str, Any]:
        """As of `Asking`, with the form of the conversation."""
        asks = super().asks
        form: dict[str, Any] = {
            "continued": self.continued,
            "seed_question": self.seed_question,
            "closing": None if self.ending == "auto" else self.ending,
            "invalid": None if self.invalid == "auto" else self.invalid,
            "stop": None if self.stop is None else ["</search>"] * self.stop,
        }
        given = {name: value for name, value in form.items() if value is not None}
        if self.width != "free":
            given["capped"] = True
        if self.separator != "auto":
            given["separator"] = None if self.separator == "none" else self.separator
        return {**asks, "settings": {**asks["settings"], **given}}

    @property
    def looks(self) -> int:
        """`question_k`, where the question itself is searched for."""
        seeds = PROFILES["generic" if self.profile == "auto" else self.profile].form.seed_question
        return self.question_k if (seeds if self.seed_question is None else self.seed_question) else 0

    def _caps(self) -> tuple[str, ...]:
        return ("answer_tokens", "turn_tokens")

    def cost(self, costs: Costs) -> tuple[Spend, Spend]:
        """One round of one query; `rounds` rounds of `max_queries`."""
        ends = self.ends_cost(costs)
        least = ends + self._turn(costs, 0, 1)
        return least, ends + self._rounds(costs, self._schedule(Room()), self.rounds)

    def course(self, costs: Costs, room: Room) -> Forecast:
        """As many rounds as can be paid: each shows the passages of those before it."""
        plan = self._schedule(room)
        rounds = bisect(range(1, plan.rounds + 1), False, key=lambda n: not room.pays(self._rounds(costs, plan, n)))
        spend = self._rounds(costs, plan, rounds)
        left, short = room.less(spend), self._turn(costs, plan.asked(rounds), self.max_queries)
        few = int(min(left.queries, short.queries))
        if self.width == "free" and rounds < self.rounds and few and left.pays(replace(short, queries=few)):
            return Forecast(spend + replace(short, queries=few), {"rounds": rounds + 1})
        return Forecast(spend, {"rounds": rounds})

    def _schedule(self, room: Room, rounds: int = 0, asked: int = 0) -> Schedule:
        """The widths of all rounds, of which so many were made, with so many queries, before `room` was left."""
        most = int(min(self.rounds, rounds + room.turns(Spend(llm_calls=1, rounds=1))))
        queries = most * self.max_queries
        return Schedule.of(
            self.width, most, queries if self.width == "free" else int(min(queries, asked + room.queries))
        )

    def _rounds(self, costs: Costs, plan: Schedule, n: int) -> Spend:
        """Cost of the first rounds."""
        if not n:
            return Spend()
        last = plan.width(n - 1)
        first = self._turn(costs, 0, plan.width(0))
        return replace(series(first, self._turn(costs, plan.asked(n) - last, last), n), queries=plan.asked(n))

    def _turn(self, costs: Costs, asked: int, queries: int) -> Spend:
        """Cost of a turn and its queries; so many were asked before."""
        return costs.plan(self.looks + asked * self.k) + costs.retrieve(queries)

    def graph(self) -> ModeGraph:
        """look -> think -> retrieve -> think ... -> answer."""
        graph = ModeGraph(_ParallelState, self.asks)
        if self.looks:
            graph.add_node("look", node(self._look))
            graph.add_conditional_edges("look", unless_stopped("think"), ["think", "answer"])
        graph.add_node("think", node(self._think))
        graph.add_node("retrieve", node(self._retrieve))
        graph.add_node("answer", self.closing())
        graph.add_edge(START, "look" if self.looks else "think")
        graph.add_conditional_edges("think", self._after_thinking, ["retrieve", "think", "answer", END])
        graph.add_conditional_edges("retrieve", self._after_retrieving, ["think", "answer"])
        graph.add_edge("answer", END)
        return graph

    async def _look(self, moves: Moves, state: _ParallelState) -> Update:
        """Search for the question itself, unless the model's own profile (``auto``) does not."""
        if state["seen"] or not _form(moves).seed_question:
            return {}
        return {"seen": (await moves.retrieve([state["question"]], self.question_k))[0]}

    async def _think(self, moves: Moves, state: _ParallelState) -> Update:
        """Ask for the next turn; its queries, its answer, or the notice that it had neither."""
        form, turns, known = _form(moves), _turns(state), state["known"]
        shown, passages = _shown(moves, turns)
        asked = {normalise(query) for turn in turns for query in turn["queries"]}
        most, now = self._most(moves, state)
        # A turn whose queries cannot be sent is money lost.
        wanted = now or most
        moves.ledger.reserve(Spend(queries=max(1, wanted), rounds=1), clock=moves.clock).refund()
        for attempt in range(_TRIES):
            replies = await moves.ask(
                lambda _: moves.profile.turn(state["question"], turns, passages, most=most, now=now),
                temperature=self.temperature if attempt or form.sampled else 0.0, attempt=attempt, passages=shown,
            )  # fmt: skip
            if not replies:
                continue
            [reply] = replies
            known = noted(known, reply.known)
            if reply.answer:
                return {"text": reply.answer, "citations": moves.cite(reply.answer, [], shown), "known": known}
            new = [query for query in reply.queries if normalise(query) not in asked]
            queries = reply.queries if form.repeats else new
            if new and form.seed_question and not turns and len(new) < wanted:  # a free place
                seed = [] if normalise(state["question"]) in map(normalise, new) else [state["question"]]
                queries, new = [*seed, *queries], [*seed, *new]
            if queries:
                return {"said": reply.said, "queries": queries, "new": new, "known": known, "told": False}
            if reply.queries:
                moves.note("plan", "nothing left to look up", status="repeat", output=reply.queries)
            elif not reply.enough:
                moves.note("plan", "answered by a notice", status="malformed", output=reply.said)
                told = Turn(said=reply.said, queries=[], passages=[])
                return {"turns": [*state.get("turns", []), told], "queries": [], "known": known, "told": True}
            break
        return {"queries": [], "known": known, "told": False}

    def _most(self, moves: Moves, state: _ParallelState) -> tuple[int, int]:
        """Queries of the next turn: at most, and how many it is told to ask; 0 where that is the model's choice."""
        left = moves.ledger.left("queries")
        if self.width == "free":
            return int(min(self.max_queries, left)), 0
        rounds = len(state.get("turns", []))
        plan = self._schedule(Room.of(moves.ledger, moves.clock), rounds, len(state["found"]))
        return plan.widest, max(1, plan.width(rounds))

    async def _retrieve(self, moves: Moves, state: _ParallelState) -> Update:
        """Search for the new queries; repeated ones are shown again what they found."""
        turns = _turns(state)
        before = {
            normalise(query): ids
            for turn in turns
            for query, ids in zip(turn["queries"], turn["passages"], strict=True)
        }
        if state["new"]:
            found = await moves.retrieve(state["new"], self.k)
        else:
            found = []
            moves.note("plan", "shown again, not searched for", status="repeat", output=state["queries"])
        results = before | dict(zip(map(normalise, state["new"]), found, strict=True))
        seen = set() if _form(moves).anew else {id for turn in turns for ids in turn["passages"] for id in ids}
        passages: list[list[str]] = []
        for query in state["queries"]:
            passages.append([id for id in results[normalise(query)] if id not in seen])
            if not _form(moves).anew:
                seen.update(passages[-1])
        turn = Turn(said=state["said"], queries=state["queries"], passages=passages)
        return {"found": found, "turns": [*state.get("turns", []), turn]}

    async def _close(self, moves: Moves, state: _ParallelState) -> Update:
        """A last turn of the conversation, where the form has one; the closing answer's prompt where that has none."""
        used_up = len(state.get("turns", [])) >= self.rounds
        if used_up and not state["stop"] and state["scope"]["answers"] and _form(moves).closing == "turn":
            turns = _turns(state)
            shown, passages = _shown(moves, turns)
            with contextlib.suppress(BudgetExceeded, ModelError):
                for answer in await moves.ask(
                    lambda _: moves.profile.last(state["question"], turns, passages, most=self.max_queries),
                    temperature=self.temperature, passages=shown,
                ):  # fmt: skip
                    return {"text": answer.text, "citations": moves.cite(answer.text, [], shown)}
        return await super()._close(moves, state)

    async def _after_thinking(self, state: _ParallelState) -> str:
        if state["text"]:
            return END
        if state["stop"]:
            return "answer"
        if state.get("queries"):
            return "retrieve"
        return "think" if state.get("told") and len(state["turns"]) < self.rounds else "answer"

    async def _after_retrieving(self, state: _ParallelState) -> str:
        return "answer" if state["stop"] or len(state["turns"]) >= self.rounds else "think"


def _form(moves: Moves) -> Form:
    """The manner of the conversation.

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


def _shown(moves: Moves, turns: list[Turn]) -> tuple[list[str], dict[str, Any]]:
    """Ids of the passages in a conversation in the order shown, and the passages."""
    shown = [id for turn in turns for ids in turn["passages"] for id in ids]
    return shown, {id: moves.context.index.passage(id) for id in shown}


def _turns(state: _ParallelState) -> list[Turn]:
    """The rounds so far, the look at the question's own passages as one without a turn of the model."""
    look = [Turn(said="", queries=[state["question"]], passages=[state["seen"]])] if state["seen"] else []
    return [*look, *state.get("turns", [])]
