"""`ircot`: interleaved retrieval and chain of thought (arXiv 2212.10509): each sentence is the next query."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import chain
from typing import ClassVar

from langgraph.graph import END, START

from ragscale.modes.core.asking import Planning
from ragscale.modes.core.costs import Cost, Costs, Forecast, Room, series
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.moves import Moves
from ragscale.modes.core.nodes import node, unless_stopped
from ragscale.modes.core.state import State, Update
from ragscale.prompts import Step, normalise, reasoning
from ragscale.types import Spend

__all__ = ["IRCoT"]

_ALIKE = 0.9
_LONGEST = 600  # words


class _IRCoTState(State, total=False):
    query: str
    """The one by which the next sentence's passages are found."""
    hits: list[str]
    """Its hits; empty where it was not sent."""
    new: bool
    """Whether it is to be sent."""
    ended: bool
    """Whether the reasoning has ended."""


@dataclass(frozen=True, kw_only=True)
class IRCoT(Planning):
    """Retrieve for the question; then write a sentence of reasoning, search for it, and so on; a reader answers.

    The query is the last sentence that infers nothing ("so", "thus", a sum), without its question words. Passages are
    collected in the order found, `context` of them at most: none of more than 600 words, and none of which title and
    text are 90 % like another's. Costs C = s + 1, R = S = s for s sentences, `steps` at most: 11 and 10 by default;
    fewer on a budget. Stops at "answer is", at `steps` sentences, at an empty sentence or one that was written before.
    Unlike the paper, instructions stand in for examples, a query that was sent is not sent again (so a sentence that
    infers costs no retrieval), and the reader is the closing answer, which does not reason anew.
    """

    name: ClassVar[str] = "ircot"
    source: ClassVar[str] = "IRCoT, arXiv 2212.10509"
    pays: ClassVar[str] = "where the model reasons well in plain text and names what it needs next"

    evidence: ClassVar[str] = "question"
    """The closing answer is shown the passages collected, which take the place of the question's own."""

    k: int = 4
    """Passages retrieved a sub-query (2, 4, 6 or 8 in the paper)."""
    context: int = 15
    """Passages collected at most, for the sentences and the closing answer; what is found after that is left out."""
    steps: int = 10
    """Most sentences."""
    plan_tokens: int = 0
    """Most tokens of a sentence; 0: as the profile says (128; corag: 64)."""

    @property
    def looks(self) -> int:
        """`k`: the question itself is the first query."""
        return self.k

    def cost(self, costs: Costs) -> tuple[Spend, Spend]:
        """A sentence and its search between both ends; `steps` sentences, the last of which is not searched for."""
        ends = self.ends_cost(costs)
        return ends + self._sentences(costs, 1), ends + self._sentences(costs, self.steps)

    def course(self, costs: Costs, room: Room) -> Forecast:
        """As many sentences as can be paid: each is written from the passages of those before it."""
        n = room.most(self.steps, lambda n: self._sentences(costs, n))
        return Forecast(self._sentences(costs, n), {"steps": n})

    def graph(self) -> ModeGraph:
        """look -> reason -> retrieve -> reason ... -> answer."""

        @node
        async def look(moves: Moves, state: _IRCoTState) -> Update:
            hits = state["seen"] or (await moves.retrieve([state["question"]], self.k))[0]
            return {"seen": self._collected(moves, [], hits) or hits, "query": state["question"], "hits": hits}

        @node
        async def reason(moves: Moves, state: _IRCoTState) -> Update:
            question, profile, steps = state["question"], moves.profile, state["chain"]
            said = [step["answer"] for step in steps]
            # A sentence that cannot be searched for is money lost; the last one may say what the answer is.
            costs, last = moves.costs(state), len(steps) + 1 >= self.steps
            moves.need(costs.reason(len(state["seen"])) + costs.retrieve(0 if last else 1))
            plans = await moves.ask(lambda docs: reasoning.sentence(profile, question, docs, said), state["seen"])
            for query, sentence in chain.from_iterable(plans):
                if normalise(sentence) in map(normalise, said):
                    moves.note("plan", "the same sentence again", status="repeat", input=sentence)
                    break
                step = Step(query=state["query"], passages=state["hits"], answer=sentence)
                told = [text for text in (sentence, *said[::-1]) if not reasoning.inferential(text)]
                wanted = reasoning.keywords(told[0]) if told else question
                new = normalise(wanted) not in {normalise(step["query"]) for step in (*steps, step)}
                if query and not new:
                    moves.note("plan", "was searched for", status="repeat", input=wanted)
                return {"chain": [*steps, step], "query": wanted, "hits": [], "new": new, "ended": not query}
            return {"ended": True}

        @node
        async def retrieve(moves: Moves, state: _IRCoTState) -> Update:
            [hits] = await moves.retrieve([state["query"]], self.k)
            return {"seen": self._collected(moves, state["seen"], hits), "hits": hits}

        async def after_reasoning(state: _IRCoTState) -> str:
            if state["stop"] or state["ended"] or len(state["chain"]) >= self.steps:
                return "answer"
            return "retrieve" if state["new"] else "reason"

        graph = ModeGraph(_IRCoTState, self.asks)
        graph.add_node("look", look)
        graph.add_node("reason", reason)
        graph.add_node("retrieve", retrieve)
        graph.add_node("answer", self.closing())
        graph.add_edge(START, "look")
        graph.add_conditional_edges("look", unless_stopped("reason"), ["reason", "answer"])
        graph.add_conditional_edges("reason", after_reasoning, ["retrieve", "reason", "answer"])
        graph.add_conditional_edges("retrieve", unless_stopped("reason"), ["reason", "answer"])
        graph.add_edge("answer", END)
        return graph

    def _collected(self, moves: Moves, before: list[str], hits: list[str]) -> list[str]:
        """`before` with those of `hits` that are short enough and unlike all others, `context` in all."""
        passages = {id: moves.context.index.passage(id) for id in (*before, *hits)}
        kept = list(before)
        for id in hits:
            title, text = passages[id].title, passages[id].text
            others = (passages[other] for other in kept)
            if len(kept) >= self.context:
                break
            if len(text.split()) <= _LONGEST and not any(
                _alike(title, other.title) and _alike(text, other.text) for other in others
            ):
                kept.append(id)
        return kept

    def _sentences(self, costs: Costs, n: int) -> Cost:
        """Cost of `n` sentences and of the searches after them."""
        growing = min(n, max(1, self.context // self.k))
        first, last = (costs.reason(min(turn * self.k, self.context)) for turn in (1, growing))
        rest, search = costs.reason(self.context), costs.retrieve()
        searches = series(search, search, min(n, self.steps - 1))
        return series(first, last, growing) + series(rest, rest, n - growing) + searches


def _alike(one: str, other: str) -> bool:
    """Whether nine tenths of the words of both are the same ones, in whatever order."""
    return SequenceMatcher(None, one.split(), other.split()).quick_ratio() >= _ALIKE
