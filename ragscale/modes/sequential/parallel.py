"""`parallel`: Multi-query retrieval (RAG-R1, arXiv 2507.02962): several queries a round, in one conversation."""

from __future__ import annotations

import contextlib
import operator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from langgraph.graph import END

from ragscale.errors import BudgetExceeded, ModelError
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.moves import Moves, share
from ragscale.modes.core.nodes import node
from ragscale.modes.core.state import State, Update, noted
from ragscale.modes.sequential.conversation import Conversation, form_of
from ragscale.modes.sequential.notes import noting
from ragscale.modes.sequential.rounds import Rounds
from ragscale.prompts import PROFILES, Turn, fresh

__all__ = ["Parallel"]

_TRIES = 2  # attempts at a turn, where the first is malformed
_RAG_R1 = {"k": 3, "rounds": 5, "question_k": 0, "turn_tokens": 1024, "temperature": 0.7}


class _ParallelState(State, total=False):
    turns: list[Turn]
    """The model's; the last one has no passages yet where its queries are to be searched for."""
    ended: bool
    """Whether the model has nothing new to ask, or only malformed turns."""
    notes: Annotated[list[tuple[int, int, str]], operator.add]
    """(turn, place of the query in it, note) of all queries that were read in branches."""


@dataclass(frozen=True, kw_only=True)
class Parallel(Rounds):
    """Up to `max_queries` queries a round, `rounds` rounds; the model answers when it has read enough.

    With T rounds of q queries: C = T + 1 model calls (5), 2T + 1 with a note a round and T + 1 + Tq with one a query
    (`aggregate`), R = Tq retrievals (12), S = T serial rounds (4); one more retrieval and round for the question itself
    first, as a model without RAG-R1's training plans better once it has seen what that finds (`question_k`). Each turn
    that is malformed costs a call more, and a last turn without an answer, too. A malformed turn is tried again or
    answered by a notice, and never searched; no query is searched for twice. Stops where the model answers or has
    nothing new to ask, or rounds or budget run out: then the reserved closing answer is written from all passages and
    notes. The profiles ``rag-r1``, ``rag-r1-sq``, ``search-r1``, ``parallel-search`` and ``hybrid-deep-search`` hold
    the published conversations; what the parameters from `stop` on change is left to the profile by ``None`` and
    ``"auto"``. Unlike HybridDeepSearcher's code, two questions never share a reading, and a query that was asked before
    costs none.
    """

    name: ClassVar[str] = "parallel"
    source: ClassVar[str] = "RAG-R1, arXiv 2507.02962"
    pays: ClassVar[str] = "where several independent facts are to be found, and rounds are slow"
    needs: ClassVar[tuple[str, ...]] = ("turn",)
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "rag-r1-paper": {"profile": "rag-r1", "max_queries": 3, **_RAG_R1},
        "rag-r1-sq-paper": {"profile": "rag-r1-sq", "max_queries": 1, **_RAG_R1},
        "search-r1": {
            "profile": "search-r1", "max_queries": 1, "k": 3, "rounds": 4, "question_k": 0, "turn_tokens": 500,
            "temperature": 0.0,
        },
        "parallel-search": {
            "profile": "parallel-search", "k": 3, "rounds": 4, "question_k": 0, "turn_tokens": 500, "temperature": 0.0,
        },
        "hybrid-deep-search": {
            "profile": "hybrid-deep-search", "aggregate": "query", "k": 10, "rounds": 10, "question_k": 0,
            "turn_tokens": 4096, "read_tokens": 2048, "temperature": 0.6,
        },
    }  # fmt: skip

    temperature: float = 0.7
    """Of every turn in the published profiles; of a second try in ``generic``, where the first is greedy."""
    turn_tokens: int = 0
    """Longest turn; 0: as the profile says (1,024; search-r1: 500)."""
    read_tokens: int = 0
    """Longest note; 0: as the profile says (128; hybrid-deep-search: 2,048)."""
    stop: bool | None = None
    """Whether a turn ends with its search (``</search>``), so that the model cannot invent results. Default: in
    published profiles."""
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
            "continued": self.continued, "seed_question": self.seed_question, "closing": self.ending,
            "invalid": self.invalid, "stop": self.stop, "capped": self.width != "free" or None,
            "separator": self.separator,
        }  # fmt: skip
        given = {
            name: None if value == "none" else value for name, value in form.items() if value not in (None, "auto")
        }
        return {**asks, "settings": {**asks["settings"], **given}}

    @property
    def looks(self) -> int:
        """`question_k`, where the question itself is searched for."""
        seeds = PROFILES["generic" if self.profile == "auto" else self.profile].form.seed_question
        return self.question_k if (seeds if self.seed_question is None else self.seed_question) else 0

    def graph(self) -> ModeGraph:
        """look -> think -> retrieve (-> note, or read x queries -> gather) -> think ... -> answer."""
        graph = ModeGraph(_ParallelState, self.asks)
        self.begin(graph, "think", node(self._look))
        graph.add_node("think", node(self._think))
        graph.add_node("retrieve", node(self._retrieve))
        graph.add_node("answer", self.closing())
        last = noting(graph, self.aggregate, f"max_queries of {self.name}")
        graph.add_conditional_edges("think", self._after_thinking, ["retrieve", "think", "answer", END])
        graph.add_conditional_edges(last, self._after_retrieving, ["think", "answer"])
        graph.add_edge("answer", END)
        return graph

    async def _look(self, moves: Moves, state: _ParallelState) -> Update:
        """Search for the question itself, unless the model's own profile (``auto``) does not."""
        if state["seen"] or not form_of(moves).seed_question:
            return {}
        return {"seen": (await moves.retrieve([state["question"]], self.question_k))[0]}

    async def _think(self, moves: Moves, state: _ParallelState) -> Update:
        """Ask for the next turn: its answer, its queries, or neither, which is answered by a notice."""
        form, talk, known = form_of(moves), Conversation.of(state), state["known"]
        most, now = self.next_width(moves, state, len(talk.turns))
        prompt = moves.profile.turn(state["question"], talk.rounds, talk.passages(moves), most=most, now=now)
        for attempt in range(_TRIES):
            temperature = self.temperature if attempt or form.sampled else 0.0
            for reply in await moves.put(prompt, temperature=temperature, attempt=attempt, passages=talk.shown):
                known = noted(known, reply.known)
                if reply.answer:
                    cited = moves.cite(reply.answer, [], talk.found)
                    return {"text": reply.answer, "citations": cited, "known": known}
                queries = self._chosen(moves, state["question"], talk, reply.queries, now or most)
                if queries:
                    return {"turns": talk.with_turn(reply.said, queries), "known": known}
                if reply.queries:
                    moves.note("plan", "nothing left to look up", status="repeat", output=reply.queries)
                elif not reply.enough:
                    moves.note("plan", "answered by a notice", status="malformed", output=reply.said)
                    return {"turns": talk.with_turn(reply.said, []), "known": known}
                return {"ended": True, "known": known}
        return {"ended": True, "known": known}

    def _chosen(self, moves: Moves, question: str, talk: Conversation, queries: list[str], places: int) -> list[str]:
        """The queries of a turn that are shown results: new ones, as many as can be paid, and repeats where the form
        shows them again. The question itself is the first where nothing was looked up before and a place is free."""
        form, room = moves.profile.form, moves.room
        if queries and form.seed_question and not talk.rounds and len(queries) < places:
            queries = [*fresh([question], queries), *queries]
        new = fresh(queries, talk.asked)
        paid = min(len(new), room.queries, room.llm_calls if self.aggregate == "query" else len(new))
        unpaid = new[max(1, int(paid)) :]  # one is tried at least: its refusal tells which limit it is
        return [query for query in (queries if form.repeats else new) if query not in unpaid]

    async def _retrieve(self, moves: Moves, state: _ParallelState) -> Update:
        """Search for the new queries; repeated ones are shown again what they found."""
        talk, by_query = Conversation.of(state), self.aggregate == "query"
        new = talk.new
        if not new:
            moves.note("plan", "shown again, not searched for", status="repeat", output=talk.turns[-1]["queries"])
        found = await moves.retrieve(new, self.k) if new else []
        turns = talk.with_passages(found, anew=by_query or moves.profile.form.anew)
        return {"found": found, "turns": turns, "part": share(moves, len(found) or 1) if by_query else {}}

    async def _close(self, moves: Moves, state: _ParallelState) -> Update:
        """A last turn of the conversation, where the form has one; the closing answer's prompt where that has none."""
        talk, answers = Conversation.of(state), state["scope"]["answers"] and not state["stop"]
        if answers and len(talk.turns) >= self.rounds and moves.profile.form.closing == "turn":
            prompt = moves.profile.last(state["question"], talk.rounds, talk.passages(moves), most=self.max_queries)
            with contextlib.suppress(BudgetExceeded, ModelError):
                for answer in await moves.put(prompt, temperature=self.temperature, passages=talk.shown):
                    return {"text": answer.text, "citations": moves.cite(answer.text, [], talk.found)}
        return await super()._close(moves, state)

    async def _after_thinking(self, state: _ParallelState) -> str:
        if state["text"]:
            return END
        if state["stop"] or state.get("ended"):
            return "answer"
        # A turn without queries was answered by a notice, which ends a round, too.
        return "retrieve" if state["turns"][-1]["queries"] else await self._after_retrieving(state)

    async def _after_retrieving(self, state: _ParallelState) -> str:
        return "answer" if state["stop"] or len(state["turns"]) >= self.rounds else "think"
