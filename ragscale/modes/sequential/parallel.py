"""`parallel`: Multi-query retrieval (RAG-R1, arXiv 2507.02962): several queries a round, in one conversation."""

from __future__ import annotations

import contextlib
import math
import operator
import re
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

from langgraph.graph import END
from langgraph.types import Send

from ragscale.errors import BudgetExceeded, InvalidInput, ModelError
from ragscale.modes.core.asking import CAPS, Planning
from ragscale.modes.core.costs import Cost, Costs, Forecast, Room, beside, series
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.moves import Moves, share
from ragscale.modes.core.nodes import branch, node, send, unless_stopped
from ragscale.modes.core.state import State, Update, noted
from ragscale.modes.core.steps import note as take_note
from ragscale.modes.core.widths import Schedule, Width
from ragscale.prompts import NO_INFORMATION, PROFILES, ConversationFormat, Turn, fresh, normalise
from ragscale.prompts.notes import REPEATED
from ragscale.prompts.text import findings
from ragscale.types import Spend

__all__ = ["Parallel"]

_TRIES = 2  # attempts at a turn, where the first is malformed
_FREE = Costs({"plan": [0, 0], "read": [0, 0]})
"""Costs of calls and queries without their tokens."""
_REMEMBERED = 60  # last words of each turn that a note is told
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
    notes: Annotated[list[tuple[int, int, str]], operator.add]
    """(round, place of the query in it, note) of all queries that were read in branches."""


@dataclass(frozen=True, kw_only=True)
class Parallel(Planning):
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
    least: ClassVar[dict[str, float]] = {**CAPS, "question_k": 0}
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
    aggregate: Literal["none", "round", "query"] = "none"
    """Content of the conversation for each round: its passages; a note on them, for a model call more (after
    SPARC-RAG); or a note a query, each by a call, side by side (HybridDeepSearcher). The look at the question itself
    stays as it is."""
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
            "continued": self.continued,
            "seed_question": self.seed_question,
            "closing": None if self.ending == "auto" else self.ending,
            "invalid": None if self.invalid == "auto" else self.invalid,
            "stop": self.stop,
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

    def cost(self, costs: Costs) -> tuple[Spend, Spend]:
        """One round of one query; `rounds` rounds of `max_queries`."""
        ends = self.ends_cost(costs)
        least = ends + self._turn(costs, 0, 1)
        return least, ends + self._rounds(costs, self._schedule(Room()), self.rounds)

    def course(self, costs: Costs, room: Room) -> Forecast:
        """As many rounds as can be paid: each shows the passages of those before it."""
        plan = self._schedule(room)
        rounds = room.most(plan.rounds, lambda n: self._rounds(costs, plan, n))
        spend = self._rounds(costs, plan, rounds)
        left = room.less(spend)
        most = self.max_queries if self.width == "free" and rounds < self.rounds else 0
        if few := self._payable(costs, left, plan.asked(rounds), most):
            return Forecast(spend + self._turn(costs, plan.asked(rounds), few), {"rounds": rounds + 1})
        return Forecast(spend, {"rounds": rounds})

    def _payable(self, costs: Costs, room: Room, asked: int, most: int) -> int:
        """Queries of the next turn, `most` at most, that can be sent and noted; so many were asked before."""
        return room.most(most, lambda n: self._turn(costs, asked, n))

    def _schedule(self, room: Room, rounds: int = 0, asked: int = 0) -> Schedule:
        """The widths of all rounds, of which so many were made, with so many queries, before `room` was left."""
        calls = room.llm_calls + self._calls(rounds, asked)
        along = 1 if self.aggregate == "none" else 2  # calls of a round that follow one another
        by_calls = calls / (along if self.aggregate != "query" else 1 + self.max_queries)
        most = min(self.rounds, rounds + room.rounds, rounds + room.serial_calls / along)
        most = int(min(most, math.ceil(min(most, by_calls)) if self.aggregate == "query" else by_calls))
        queries = most * self.max_queries
        if self.width == "free":
            return Schedule.of(self.width, most, queries)
        noted = calls - most if self.aggregate == "query" else queries
        return Schedule.of(self.width, most, int(min(queries, noted, asked + room.queries)))

    def _calls(self, rounds: int, asked: int) -> int:
        """Model calls of so many rounds with so many queries in all."""
        return rounds + {"none": 0, "round": rounds, "query": asked}[self.aggregate]

    def _rounds(self, costs: Costs, plan: Schedule, n: int) -> Cost:
        """Cost of the first rounds."""
        last, asked = plan.width(n - 1), plan.asked(n)
        spend = series(self._turn(costs, 0, plan.width(0)), self._turn(costs, max(0, asked - last), last), n)
        return replace(spend, queries=asked, llm_calls=self._calls(n, asked)) if n else Cost()

    def _turn(self, costs: Costs, asked: int, queries: int) -> Cost:
        """Cost of a turn, its queries and the notes on them; so many queries were asked before."""
        shown = asked * self.k if self.aggregate == "none" else asked
        spend = costs.plan(self.looks + shown) + costs.retrieve(queries)
        if self.aggregate == "query":
            return spend + beside(costs.read(self.k), queries)
        return spend + costs.read(queries * self.k) if self.aggregate == "round" else spend

    def graph(self) -> ModeGraph:
        """look -> think -> retrieve (-> note, or read x queries -> gather) -> think ... -> answer."""
        graph = ModeGraph(_ParallelState, self.asks)
        self.begin(graph, "think", node(self._look))
        graph.add_node("think", node(self._think))
        graph.add_node("retrieve", node(self._retrieve))
        graph.add_node("answer", self.closing())
        graph.add_conditional_edges("think", self._after_thinking, ["retrieve", "think", "answer", END])
        last = {"none": "retrieve", "round": "note", "query": "gather"}[self.aggregate]
        if self.aggregate == "round":
            graph.add_node("note", node(self._note))
            graph.add_conditional_edges("retrieve", unless_stopped("note"), ["note", "answer"])
        elif self.aggregate == "query":
            graph.add_node("read", branch(self._read))
            graph.add_node("gather", node(self._gather))
            graph.add_conditional_edges("retrieve", self._to_readers, ["read", "gather", "answer"])
            graph.add_edge("read", "gather")
        graph.add_conditional_edges(last, self._after_retrieving, ["think", "answer"])
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
        asked = [query for turn in turns for query in turn["queries"]]
        most, now = self._most(moves, state)
        prompt = moves.profile.turn(state["question"], turns, passages, most=most, now=now)
        for attempt in range(_TRIES):
            temperature = self.temperature if attempt or form.sampled else 0.0
            replies = await moves.put(prompt, temperature=temperature, attempt=attempt, passages=shown)
            if not replies:
                continue
            [reply] = replies
            known = noted(known, reply.known)
            if reply.answer:
                return {"text": reply.answer, "citations": moves.cite(reply.answer, [], _found(turns)), "known": known}
            new = fresh(reply.queries, asked)
            queries = reply.queries if form.repeats else new
            if new and form.seed_question and not turns and len(new) < (now or most):  # a free place
                seed = fresh([state["question"]], new)
                queries, new = [*seed, *queries], [*seed, *new]
            room = moves.room
            left = max(1, int(min(len(new), room.queries, room.llm_calls if self.aggregate == "query" else len(new))))
            queries, new = [query for query in queries if query not in new[left:]], new[:left]
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
        """Queries of the next turn: at most, and how many it is told to ask; 0 where that is the model's choice.

        Raises:
            BudgetExceeded: The budget cannot pay a turn with a query: one that cannot be sent is money lost.
        """
        room, rounds, asked = moves.room, len(state.get("turns", [])), len(state["found"])
        costs = moves.costs(state) if rounds and self.aggregate != "none" else _FREE
        moves.need(self._turn(costs, asked, 1))
        if self.width == "free":
            return self._payable(costs, room, asked, self.max_queries), 0
        plan = self._schedule(room, rounds, asked)
        return plan.widest, max(1, self._payable(costs, room, asked, plan.width(rounds)))

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
        anew = _form(moves).anew or self.aggregate == "query"
        seen = set() if anew else {id for turn in turns for ids in turn["passages"] for id in ids}
        passages: list[list[str]] = []
        for query in state["queries"]:
            passages.append([id for id in results[normalise(query)] if id not in seen])
            if not anew:
                seen.update(passages[-1])
        turn = Turn(said=state["said"], queries=state["queries"], passages=passages)
        part = share(moves, len(found) or 1) if self.aggregate == "query" else {}
        return {"found": found, "turns": [*state.get("turns", []), turn], "part": part}

    async def _note(self, moves: Moves, state: _ParallelState) -> Update:
        """One note on all that the round found."""
        *before, turn = state["turns"]
        ids = list(dict.fromkeys(id for ids in turn["passages"] for id in ids))
        said = REPEATED
        if state["new"]:
            said = await take_note(moves, state["question"], turn["queries"], ids, _so_far(state))
        known = noted(state["known"], said) if said not in (REPEATED, NO_INFORMATION) else state["known"]
        return {"turns": [*before, Turn(**{**turn, "notes": [said]})], "known": known}

    async def _to_readers(self, state: _ParallelState) -> list[Send] | str:
        if state["stop"]:
            return "answer"
        at, notes, turn = len(state["turns"]) - 1, _so_far(state), state["turns"][-1]
        found = enumerate(zip(turn["queries"], turn["passages"], strict=True))
        fewer = f"max_queries of {self.name}" if len(state["new"]) > 1 else ""
        return [
            send("read", state, f"{at}.{place}", fewer=fewer, place=[at, place], query=query, ids=ids, notes=notes)
            for place, (query, ids) in found
            if query in state["new"]
        ] or "gather"

    async def _read(self, moves: Moves, state: Any) -> Update:
        """The note on one query."""
        said = await take_note(moves, state["question"], [state["query"]], state["ids"], state["notes"])
        return {"notes": [(*state["place"], said)]}

    async def _gather(self, moves: Moves, state: _ParallelState) -> Update:
        """The notes of the round, by query; one that could not be written leaves its passages."""
        *before, turn = state["turns"]
        said = {place: note for at, place, note in state.get("notes", []) if at == len(before)}
        notes = [
            said.get(place, "") if query in state["new"] else REPEATED for place, query in enumerate(turn["queries"])
        ]
        known = state["known"]
        for query, note in zip(turn["queries"], notes, strict=True):
            if note and note not in (REPEATED, NO_INFORMATION):
                known = noted(known, f"{query}: {note}")
        return {"turns": [*before, Turn(**{**turn, "notes": notes})], "known": known}

    async def _close(self, moves: Moves, state: _ParallelState) -> Update:
        """A last turn of the conversation, where the form has one; the closing answer's prompt where that has none."""
        used_up = len(state.get("turns", [])) >= self.rounds
        if used_up and not state["stop"] and state["scope"]["answers"] and _form(moves).closing == "turn":
            turns = _turns(state)
            shown, passages = _shown(moves, turns)
            prompt = moves.profile.last(state["question"], turns, passages, most=self.max_queries)
            with contextlib.suppress(BudgetExceeded, ModelError):
                for answer in await moves.put(prompt, temperature=self.temperature, passages=shown):
                    return {"text": answer.text, "citations": moves.cite(answer.text, [], _found(turns))}
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


def _form(moves: Moves) -> ConversationFormat:
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
    shown = [id for turn in turns for ids, _ in findings(turn) for id in ids]
    return shown, {id: moves.passage(id) for id in shown}


def _found(turns: list[Turn]) -> list[str]:
    """Ids of all passages on which an answer may rest."""
    return [id for turn in turns for ids in turn["passages"] for id in ids]


def _so_far(state: _ParallelState) -> list[str]:
    """Known facts, and the ends of the model's turns, without tags: a note is written in view of them."""
    said = [re.sub(r"<[^<>]*>", " ", turn["said"]).split()[-_REMEMBERED:] for turn in state["turns"]]
    return [*state["known"], *(" ".join(words) for words in said if words)]


def _turns(state: _ParallelState) -> list[Turn]:
    """The rounds so far, the look at the question's own passages as one without a turn of the model."""
    look = [Turn(said="", queries=[state["question"]], passages=[state["seen"]])] if state["seen"] else []
    return [*look, *state.get("turns", [])]
