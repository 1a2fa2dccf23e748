"""`adaptive`: Adaptive depth and width (SPARC-RAG, arXiv 2602.00083): complementary queries, shared notes, an exit."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from langgraph.graph import END, START
from langgraph.types import Send
from typing_extensions import TypedDict  # pydantic makes no schema of typing's before Python 3.12

from ragscale.errors import BudgetExceeded, ModelError
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.moves import Moves, share
from ragscale.modes.core.nodes import branch, node, send, unless_stopped
from ragscale.modes.core.state import State, Update, failure
from ragscale.modes.core.steps import note as take_note
from ragscale.modes.sequential.branching import Branching
from ragscale.prompts import NO_INFORMATION, Step, fresh, notes
from ragscale.types import Choice, Spend

__all__ = ["Adaptive"]

_TRIES = 2  # attempts at queries, where the first has none that is new
_CONCLUDING = Spend(prompt_tokens=400)
"""Tokens that a branch keeps for its answer and its verdict while its note is written."""


class QueryBranch(TypedDict):
    """One query of a round, as state holds it."""

    round: int
    name: str
    """Full name of its branch."""
    step: Step
    """Query, passages and the note on them, which is added to the shared notes."""
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
    """Every branch that came to its end, over all rounds, in the order of their queries."""
    best: QueryBranch
    """The one that the manager chose last, and that has an answer."""


@dataclass(frozen=True, kw_only=True)
class Adaptive(Branching):
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

    temperature: float = 0.5
    """Of the rewriter; everything else is greedy."""
    plan_tokens: int = 0
    """Most tokens of the rewriter's reply; 0: as the profile says (128; corag: 64)."""
    read_tokens: int = 0
    """Most tokens of a note; 0: as the profile says (128)."""

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
        """Size the round, then ask for its queries; none if the model says that nothing is missing, or repeats."""
        asked = state.get("asked", [])
        wide = self.next_width(moves, moves.costs(state), first=not asked)
        prompt = notes.rewrite(moves.profile, state["question"], state["known"], asked, wide)
        for attempt in range(_TRIES):
            for reply in await moves.put(prompt, temperature=self.temperature, attempt=attempt):
                if reply.enough:
                    return {"queries": []}
                if new := fresh(reply.queries, asked):
                    at, part = state.get("round", 0) + 1, share(moves, len(new))
                    return {"round": at, "queries": new, "asked": [*asked, *new], "part": part}
                moves.note("plan", "discarded", status="repeat", input=reply.queries)
        return {"queries": []}

    async def _to_branches(self, state: _AdaptiveState) -> list[Send] | str:
        if state["stop"] or not state["queries"]:
            return "answer"
        at, fewer = state["round"], f"width of {self.name}" if len(state["queries"]) > 1 else ""
        return [
            send("branch", state, f"{at}.{place}", fewer=fewer, round=at, query=query, known=state["known"])
            for place, query in enumerate(state["queries"])
        ]

    async def _branch(self, moves: Moves, state: Any) -> Update:
        """Retrieve, note, answer, evaluate: with the shared notes and this branch's own."""
        question, profile, query = state["question"], moves.profile, state["query"]
        [passages] = await moves.retrieve([query], self.k)
        later = moves.ledger.reserve(_CONCLUDING)
        try:
            said = await take_note(moves, question, [query], passages, state["known"])
        finally:
            later.refund()
        known = [*state["known"], *([said] if said != NO_INFORMATION else [])]
        answers = await moves.put(notes.conclusion(profile, question, known), input=query)
        text = answers[0].text if answers else ""
        stops = await moves.put(notes.verdict(profile, question, known, text), input=text)
        step, stop = Step(query=query, passages=passages, answer=said), bool(text and stops and stops[0])
        return {"branches": [QueryBranch(round=state["round"], name=moves.branch, step=step, answer=text, stop=stop)]}

    async def _select(self, moves: Moves, state: _AdaptiveState) -> Update:
        """Choose the best branch, and whether to go on: not where it stops, nor where no round can be paid."""
        made = _of_round(state)
        if not made:
            return failure(state)
        best = await _best(moves, state["question"], made)
        choices = [Choice(one["name"], float(one["stop"]), "kept" if one is best else "pruned") for one in made]
        moves.note(
            "select", "STOP" if best["stop"] else "CONTINUE", status="kept", choices=choices, output=best["answer"],
            input=[one["step"]["query"] for one in made],
        )  # fmt: skip
        ordered = [best, *(one for one in made if one is not best)]
        update: Update = {"chain": [*state["chain"], *(one["step"] for one in ordered)]}
        if best["answer"]:  # so that no closing answer will be needed
            moves.give_up_closing()
            update |= {"best": best, "held": 0}
        if not best["stop"] and state["round"] < self.rounds:
            try:  # notes that nobody would read are not merged
                moves.need(self.next_cost(moves.costs(state), len(made), 1))
            except BudgetExceeded as limit:
                update |= {"stop": f"budget:{limit.dimension}", "reason": str(limit)}
        return update

    async def _after_selecting(self, state: _AdaptiveState) -> str:
        best = state.get("best")
        return "answer" if state["stop"] or state["round"] >= self.rounds or (best and best["stop"]) else "merge"

    async def _merged(self, moves: Moves, state: _AdaptiveState) -> Update:
        """Merge the notes of all branches into the shared ones, the best branch's first; a lone one is added."""
        steps = state["chain"][-len(_of_round(state)) :]  # `_select` has put the best branch's first
        found = [(step["query"], step["answer"]) for step in steps if step["answer"] != NO_INFORMATION]
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
        steps = [best["step"], *state["chain"][::-1]]
        shown = list(dict.fromkeys(id for step in steps for id in step["passages"]))
        return {"text": best["answer"], "citations": moves.cite(best["answer"], [], shown)}


def _of_round(state: _AdaptiveState) -> list[QueryBranch]:
    """Branches of the current round that came to their end."""
    return [one for one in state.get("branches", []) if one["round"] == state["round"]]


async def _best(moves: Moves, question: str, made: list[QueryBranch]) -> QueryBranch:
    """The branch that the manager chooses; one that stops, or else the first, where it chooses none."""
    best = next((one for one in made if one["stop"]), made[0])
    if len(made) > 1:
        searches = [(one["step"]["query"], one["step"]["answer"], one["answer"]) for one in made]
        try:
            for number in await moves.put(notes.best(moves.profile, question, searches)):
                best = made[number - 1] if number <= len(made) else best
        except (BudgetExceeded, ModelError) as error:
            moves.note("select", f"not asked: {error}", status="failed")
    return best
