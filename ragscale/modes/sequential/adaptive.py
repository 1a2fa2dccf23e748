"""`adaptive`: Adaptive depth and width (SPARC-RAG, arXiv 2602.00083): complementary queries, shared notes, an exit."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from langgraph.graph import END, START
from langgraph.types import Send
from typing_extensions import TypedDict  # pydantic makes no schema of typing's before Python 3.12

from ragscale.errors import BudgetExceeded, ModelError
from ragscale.modes.core.asking import Planning
from ragscale.modes.core.costs import Cost, Costs, Forecast, Room, beside, series
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.moves import Moves, share
from ragscale.modes.core.nodes import branch, node, send, unless_stopped
from ragscale.modes.core.state import State, Update, failure, inside
from ragscale.modes.core.steps import note as take_note
from ragscale.prompts import NO_INFORMATION, Step, fresh, notes
from ragscale.types import Choice, Spend

__all__ = ["Adaptive"]

_TRIES = 2  # attempts at queries, where the first has none that is new


_FIRST = Cost.of(Spend(llm_calls=4, prompt_tokens=900, queries=1, rounds=1))
"""Least that a first round is tried with: its passages may be short, and a note is written from those that fit."""
_CONCLUDING = Spend(prompt_tokens=400)
"""Tokens that a branch keeps for its answer and its verdict while its note is written."""


class QueryBranch(TypedDict):
    """One query of a round, as state holds it."""

    round: int
    place: int
    query: str
    passages: list[str]
    note: str
    """That on its passages, which is added to the shared notes."""
    answer: str
    stop: bool
    """Whether the evaluator would stop with that answer."""


class _AdaptiveState(State, total=False):
    round: int
    """Rounds that were begun."""
    queries: list[str]
    """Those of the current round; empty where there is none to go on with."""
    asked: list[str]
    """Those of all rounds."""
    branches: Annotated[list[QueryBranch], operator.add]
    """Every branch that came to its end, over all rounds."""
    best: QueryBranch
    """The one that the manager chose last, and that has an answer."""
    first: int
    """Place of the current round's choice."""
    on: bool
    """Whether there is to be another round."""


@dataclass(frozen=True, kw_only=True)
class Adaptive(Planning):
    """Each round: `width` complementary queries; each branch retrieves, notes, answers and says whether to stop.

    Only notes are carried from round to round, no passages. A branch sees the shared notes and what its own passages
    add; a manager then chooses the best branch, whose answer is the run's if its evaluator says STOP or the rounds are
    used up, and otherwise merges the notes of all branches. With T rounds of W queries: C = T (1 + 3 W + 2 [W > 1])
    model calls, one less where W > 1, as the last round merges nothing (53 at the defaults), R = T W retrievals (12),
    S = T serial rounds (6). The round that a budget cannot pay is narrower, or not begun. Stops at the first STOP of a
    best branch, after `rounds`, or where the rewriter has nothing new to ask. A run without any answer writes the
    closing answer from what was found. Unlike SPARC-RAG, whose prompts are not public, nothing is fine-tuned; a verdict
    that cannot be read is CONTINUE; all but the rewriter are greedy; an unread choice falls to a branch that stops,
    else to the first.
    """

    name: ClassVar[str] = "adaptive"
    source: ClassVar[str] = "SPARC-RAG, arXiv 2602.00083"
    pays: ClassVar[str] = "where questions differ in depth, and passages would crowd out the facts"

    width: int = 2
    """Queries a round, each in a branch of its own (W)."""
    rounds: int = 6
    """Most rounds (D; 6 for 7B models, 8 for 32B in the paper)."""
    temperature: float = 0.5
    """Of the rewriter; everything else is greedy."""
    plan_tokens: int = 0
    """Most tokens of the rewriter's reply; 0: as the profile says (128; corag: 64)."""
    read_tokens: int = 0
    """Most tokens of a note; 0: as the profile says (128)."""

    @property
    def closes(self) -> bool:
        """False: the answer is a branch's; a closing answer is written only where there is none."""
        return False

    def ends_cost(self, costs: Costs) -> Spend:
        """Nothing: there is neither a look nor, where all goes well, a closing answer."""
        return Spend()

    def cost(self, costs: Costs) -> tuple[Spend, Spend]:
        """A round of one branch; `rounds` rounds of `width`."""
        full, last = self._round(costs, self.width), self._round(costs, self.width, merged=False)
        return self._round(costs, 1), series(full, full, self.rounds - 1) + last

    def course(self, costs: Costs, room: Room) -> Forecast:
        """Round by round, each as wide as it may be; the closing answer where not even one branch fits.

        Once there is an answer, nothing is kept for a closing one.
        """
        first, full = room.less(costs.kept(self.context, room.path_tokens)), self._round(costs, self.width)
        spend, done, wide = Cost(), 0, [0]
        while done < self.rounds:
            merge = self._merge(costs, wide[-1])
            wide.append(self._widest(costs, room.less(spend + merge)) if done else self._first(costs, first))
            if not wide[-1]:
                break
            spend, done = spend + merge + self._round(costs, wide[-1], merged=False), done + 1
            if wide[-1] == self.width:
                more = int(min(self.rounds - done, room.less(spend).turns(full)))
                spend, done = spend + series(full, full, more), done + more
        spend = room.within(spend)
        if done:
            return Forecast(spend, {"rounds": done, "width": wide[1]})
        look = costs.retrieve() if room.pays(costs.retrieve()) else Cost()
        return Forecast(look + room.within(costs.answer(self.k if look.queries else 0)), {"rounds": 0})

    def graph(self) -> ModeGraph:
        """rewrite -> branch x W -> select -> merge -> rewrite ... -> answer."""
        graph = ModeGraph(_AdaptiveState, self.asks)
        graph.add_node("rewrite", node(self._rewrite))
        graph.add_node("branch", branch(self._branch))
        graph.add_node("select", node(self._select))
        graph.add_node("merge", node(self._merged))
        graph.add_node("answer", self.closing())
        graph.add_edge(START, "rewrite")
        graph.add_conditional_edges("rewrite", self._to_branches, ["branch", "answer"])
        graph.add_edge("branch", "select")
        graph.add_conditional_edges("select", self._after_selecting, ["merge", "answer"])
        graph.add_conditional_edges("merge", unless_stopped("rewrite"), ["rewrite", "answer"])
        graph.add_edge("answer", END)
        return graph

    async def _rewrite(self, moves: Moves, state: _AdaptiveState) -> Update:
        """Size the round, then ask for its queries; none where the model says that nothing is missing."""
        asked = state.get("asked", [])
        costs, room = moves.costs(state), moves.room
        wide = self._widest(costs, room) if asked else self._first(costs, room)
        if not wide:  # this tells which limit it would pass
            moves.need(self._round(costs, 1, merged=False) if asked else _FIRST)
        prompt = notes.rewrite(moves.profile, state["question"], state["known"], asked, wide)
        new: list[str] = []
        for attempt in range(_TRIES):
            for reply in await moves.put(prompt, temperature=self.temperature, attempt=attempt):
                new = fresh(reply.queries, asked)
                if reply.enough:
                    return {"queries": []}
                if not new:
                    moves.note("plan", "discarded", status="repeat", input=reply.queries)
            if new:
                break
        part = share(moves, len(new) or 1)
        return {"queries": new, "asked": [*asked, *new], "round": state.get("round", 0) + 1, "part": part}

    async def _to_branches(self, state: _AdaptiveState) -> list[Send] | str:
        if state["stop"] or not state["queries"]:
            return "answer"
        at, fewer = state["round"], f"width of {self.name}" if len(state["queries"]) > 1 else ""
        return [
            send("branch", state, f"{at}.{place}", fewer=fewer, place=[at, place], query=query, known=state["known"])
            for place, query in enumerate(state["queries"])
        ]

    async def _branch(self, moves: Moves, state: Any) -> Update:
        """Retrieve, note, answer, evaluate: with the shared notes and this branch's own."""
        question, profile = state["question"], moves.profile
        [passages] = await moves.retrieve([state["query"]], self.k)
        later = moves.ledger.reserve(_CONCLUDING)
        try:
            said = await take_note(moves, question, [state["query"]], passages, state["known"])
        finally:
            later.refund()
        known = [*state["known"], *([said] if said != NO_INFORMATION else [])]
        answers = await moves.put(notes.conclusion(profile, question, known), input=state["query"])
        text = answers[0].text if answers else ""
        stops = await moves.put(notes.verdict(profile, question, known, text), input=text)
        at, place = state["place"]
        made = QueryBranch(
            round=at, place=place, query=state["query"], passages=passages, note=said, answer=text,
            stop=bool(text and stops and stops[0]),
        )  # fmt: skip
        return {"branches": [made]}

    async def _select(self, moves: Moves, state: _AdaptiveState) -> Update:
        """Choose the best branch, and whether to go on: not where it stops, nor where no round can be paid."""
        made = _of_round(state)
        if not made:
            return failure(state)
        first = next((n for n, one in enumerate(made) if one["stop"]), 0)
        if len(made) > 1:
            searches = [(one["query"], one["note"], one["answer"]) for one in made]
            try:
                chosen = await moves.put(notes.best(moves.profile, state["question"], searches))
            except (BudgetExceeded, ModelError) as error:
                moves.note("select", f"not asked: {error}", status="failed")
                chosen = []
            first = chosen[0] - 1 if chosen and chosen[0] <= len(made) else first
        best = made[first]
        names = [inside(state["scope"], f"{one['round']}.{one['place']}") for one in made]
        choices = [
            Choice(name, float(one["stop"]), "kept" if one is best else "pruned")
            for name, one in zip(names, made, strict=True)
        ]  # fmt: skip
        moves.note(
            "select", "STOP" if best["stop"] else "CONTINUE", status="kept", choices=choices, output=best["answer"],
            input=[one["query"] for one in made],
        )  # fmt: skip
        ordered = [best, *(one for one in made if one is not best)]
        chain = [Step(query=one["query"], passages=one["passages"], answer=one["note"]) for one in ordered]
        update: Update = {"first": best["place"], "chain": [*state["chain"], *chain], "on": False}
        if best["answer"]:  # so that no closing answer will be needed
            moves.give_up_closing()
            update |= {"best": best, "held": 0}
        if best["stop"] or state["round"] >= self.rounds:
            return update
        costs = moves.costs(state)
        try:  # notes that nobody would read are not merged
            moves.need(self._merge(costs, len(made)) + self._round(costs, 1, merged=False))
        except BudgetExceeded as limit:
            return {**update, "stop": f"budget:{limit.dimension}", "reason": str(limit)}
        return {**update, "on": True}

    async def _after_selecting(self, state: _AdaptiveState) -> str:
        return "merge" if state.get("on") and not state["stop"] else "answer"

    async def _merged(self, moves: Moves, state: _AdaptiveState) -> Update:
        """Merge the notes of all branches into the shared ones, the best branch's first; a lone one is added."""
        made = sorted(_of_round(state), key=lambda one: one["place"] != state["first"])
        found = [(one["query"], one["note"]) for one in made if one["note"] != NO_INFORMATION]
        if len(found) > 1:
            prompt = notes.merge(moves.profile, state["question"], state["known"], found)
            for said in await moves.put(prompt, input=[query for query, _ in found]):
                return {"known": [said] if said != NO_INFORMATION else state["known"]}
        return {"known": [*state["known"], *(said for _, said in found)]}

    async def _close(self, moves: Moves, state: Any) -> Update:
        """The best branch's answer; the closing answer where there is none."""
        best = state.get("best")
        if not best:
            return await super()._close(moves, state)
        found = [id for step in [*state["chain"]][::-1] for id in step["passages"]]
        shown = list(dict.fromkeys([*best["passages"], *found]))
        return {"text": best["answer"], "citations": moves.cite(best["answer"], [], shown)}

    def _widest(self, costs: Costs, room: Room) -> int:
        """Branches of a round that `room` pays, `width` at most."""
        return room.most(self.width, lambda wide: self._round(costs, wide, merged=False))

    def _first(self, costs: Costs, room: Room) -> int:
        """The same for the first round."""
        return self._widest(costs, room) or int(room.pays(_FIRST))

    def _round(self, costs: Costs, wide: int, *, merged: bool = True) -> Cost:
        """Cost of a round, with the merging of its notes."""
        each = costs.retrieve() + costs.read(self.k) + costs.answer(0) + costs.score()
        select = costs.score() if wide > 1 else Cost()
        return costs.plan() + beside(each, wide) + select + (self._merge(costs, wide) if merged else Cost())

    def _merge(self, costs: Costs, wide: int) -> Cost:
        """Cost of merging the notes of a round: about that of reading a passage for each."""
        return costs.read(wide) if wide > 1 else Cost()


def _of_round(state: _AdaptiveState) -> list[QueryBranch]:
    """Branches of the current round that came to their end, in the order of its queries."""
    made = [one for one in state.get("branches", []) if one["round"] == state["round"]]
    return sorted(made, key=lambda one: one["place"])
