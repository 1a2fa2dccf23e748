"""`Search`: base of searches over chains by levels: expand the kept chains, score the longer ones, keep the best."""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from statistics import fmean
from typing import Annotated, Any

from langgraph.graph import END
from langgraph.types import Send
from typing_extensions import TypedDict  # pydantic makes no schema of typing's before Python 3.12

from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.moves import Moves, share
from ragscale.modes.core.nodes import branch, node, send
from ragscale.modes.core.state import State, Update, failure, inside, noted
from ragscale.modes.core.steps import take
from ragscale.modes.search.levels import Levels, Shape
from ragscale.prompts import Plan, Step, normalise
from ragscale.types import Choice

__all__ = ["Kept", "Search"]


class Kept(TypedDict):
    """A chain of the beam."""

    chain: list[Step]
    known: list[str]
    """Sentences that its planners said are known."""
    score: float | None
    """None where it had nothing to be compared with, or its scores failed."""
    ended: bool
    """Whether its planner has nothing more to ask: it is not expanded, and stays as long as its score does."""


class _SearchState(State, total=False):
    beam: list[Kept]
    """Kept chains, best first; those that go on have a step for every level so far."""
    shape: list[int]
    """The current level's `Shape`."""
    asked: Annotated[list[tuple[int, int, list[str], list[str]]], operator.add]
    """(level, place in the beam, its distinct new sub-queries, its ``known``) of every chain that was planned for."""
    queries: list[tuple[str, str, list[int]]]
    """(branch, sub-query, places of the chains that ask it) of the current level."""
    children: Annotated[list[tuple[str, Step]], operator.add]
    """(branch, step) of every sub-query that was answered, over all levels."""
    scores: Annotated[list[tuple[str, int, float]], operator.add]
    """(branch of the step, place of the chain before it, score) of every score, over all levels."""


@dataclass(frozen=True, kw_only=True)
class Search(Levels):
    """Base of searches by levels: a planner's turn for each chain of the `beam`, its children side by side, scores.

    Equal sub-queries of several chains are searched and read once, and of chains with the same sub-queries in another
    order only the first is kept. The search ends early where the best chain has nothing more to ask, and the closing
    answer is written from the best chain alone.
    """

    @property
    def lower(self) -> bool:
        """Whether lower scores are better."""
        return False

    @abstractmethod
    async def score(self, moves: Moves, state: Any) -> float:
        """Score ``state["chain"]``, within its branch."""

    def graph(self) -> ModeGraph:
        """look -> plan -> (ask x b) -> join -> child x b E -> spread -> score x ... -> select -> plan ... -> answer."""
        graph = ModeGraph(_SearchState, self.asks)
        self.begin(graph, "plan")
        graph.add_node("plan", node(self._plan))
        graph.add_node("join", node(self._join))
        graph.add_node("child", branch(self._child))
        graph.add_node("spread", node(self._spread))
        graph.add_node("score", branch(self._score))
        graph.add_node("select", node(self._select))
        graph.add_node("answer", self.closing())
        if self.beam > 1:
            graph.add_node("ask", branch(self._ask))
            graph.add_edge("ask", "join")
        graph.add_conditional_edges("plan", self._to_chains, [*(["ask"] if self.beam > 1 else []), "join", "answer"])
        graph.add_conditional_edges("join", self._to_children, ["child", "answer"])
        graph.add_edge("child", "spread")
        graph.add_conditional_edges("spread", self._to_scores, ["score", "select", "answer"])
        graph.add_edge("score", "select")
        graph.add_conditional_edges("select", self._to_next, ["plan", "answer"])
        graph.add_edge("answer", END)
        return graph

    async def _plan(self, moves: Moves, state: _SearchState) -> Update:
        """Size the level; plan for a lone chain here, and for several in a branch each."""
        given = Kept(chain=state["chain"], known=state["known"], score=None, ended=False)
        beam = state.get("beam") or [given]
        going = [kept for kept in beam if not kept["ended"]]
        costs = moves.costs(state)
        room, levels = moves.room, self.steps - len(state["chain"])
        chains = self._chains(costs, room, levels, len(going))
        shape = self._shape(moves, costs, room, levels, chains)
        if chains < len(going):
            moves.note("select", f"{chains} of {len(going)} chains", status="narrowed")
        # A single child is not scored, so there is nothing that an ended chain could be compared with.
        beam = [*going[:chains], *(kept for kept in beam if kept["ended"] and shape.expand > 1)]
        update: Update = {"beam": beam, "shape": list(shape)}
        if chains > 1:
            return {**update, "part": share(moves, chains)}
        queries, known = await self._sampled(moves, state["question"], state["seen"], beam[0], shape)
        return {**update, "asked": [(len(state["chain"]), 0, queries, known)], "known": known}

    async def _to_chains(self, state: _SearchState) -> list[Send] | str:
        if state["stop"]:
            return "answer"
        going = [kept for kept in state["beam"] if not kept["ended"]]
        if len(going) == 1:
            return "join"
        return [
            send(
                "ask", state, f"{len(state['chain'])}.{at}", fewer=f"beam of {self.name}", place=at, kept=kept,
                shape=state["shape"],
            )
            for at, kept in enumerate(going)
        ]  # fmt: skip

    async def _ask(self, moves: Moves, state: Any) -> Update:
        """Plan for one of several chains."""
        kept, shape = state["kept"], Shape(*state["shape"])
        queries, known = await self._sampled(moves, state["question"], state["seen"], kept, shape)
        return {"asked": [(len(kept["chain"]), state["place"], queries, known)]}

    async def _sampled(
        self, moves: Moves, question: str, seen: Sequence[str], kept: Kept, shape: Shape
    ) -> tuple[list[str], list[str]]:
        """The distinct new sub-queries that most samples ask, and what is known by now; none where it has enough."""
        chain, notes = kept["chain"], kept["known"]
        known = {normalise(step["query"], self.match) for step in chain}
        distinct: dict[str, list[str]] = {}  # the spellings of each
        for attempt in range(2):
            hot = self.temperature if attempt or shape.expand > 1 else 0.0
            plans = await self.propose(
                moves, question, seen[: self.plan_k], chain, shape.expand, temperature=hot, attempt=attempt
            )
            notes = noted(notes, _agreed(plans))
            if self.early and 2 * sum(not plan.query for plan in plans) > len(plans):
                moves.note("plan", "most of the samples", status="enough")
                return [], notes
            for query, _ in plans:
                if query and normalise(query, self.match) not in known:
                    distinct.setdefault(normalise(query, self.match), []).append(query)
            if distinct:
                break
            moves.note("plan", "discarded", status="repeat", output=[plan.query for plan in plans])
        most = sorted(distinct.values(), key=len, reverse=True)
        return [same[0] for same in most][: shape.expand], notes

    async def propose(
        self, moves: Moves, question: str, seen: Sequence[str], chain: Sequence[Step], expand: int, **call: Any
    ) -> list[Plan]:
        """Sub-queries for a chain: the samples of one planner's turn."""
        drawn = await moves.ask(
            lambda docs: moves.profile.plan(question, docs, chain), seen, n=self._drawn(expand), **call
        )
        return [plan for sample in drawn for plan in sample]

    async def _join(self, moves: Moves, state: _SearchState) -> Update:
        """Share what is left among the distinct sub-queries of all chains; stop where no chain could be planned for."""
        level, beam = len(state["chain"]), list(state["beam"])
        asked = [(at, queries, known) for depth, at, queries, known in state["asked"] if depth == level]
        if not asked:
            return {**failure(state), "queries": []}
        several = sum(not kept["ended"] for kept in beam) > 1
        wanted: dict[str, tuple[str, str, list[int]]] = {}
        states: set[frozenset[str]] = set()
        for at, queries, known in asked:
            beam[at] = {**beam[at], "known": known, "ended": not queries}
            before = {normalise(step["query"], self.match) for step in beam[at]["chain"]}
            place = f"{level}.{at}" if several else f"{level}"
            for i, query in enumerate(queries):
                key = normalise(query, self.match)
                if frozenset({*before, key}) in states:
                    moves.note("plan", "a chain of the same sub-queries", status="repeat", input=query)
                    continue
                states.add(frozenset({*before, key}))
                if key in wanted:
                    moves.note("plan", "searched once for several chains", status="repeat", input=query)
                wanted.setdefault(key, (f"{place}.{i}", query, []))[2].append(at)
        if beam[0]["ended"]:
            wanted = {}
        return {
            "beam": beam,
            "known": beam[0]["known"],
            "queries": [*wanted.values()],
            "part": share(moves, len(wanted) or 1),
        }

    async def _to_children(self, state: _SearchState) -> list[Send] | str:
        if state["stop"]:
            return "answer"
        children = [(name, query) for name, query, _ in state["queries"]]
        fewer = f"expand of {self.name}" if len(children) > 1 else ""
        return [
            send("child", state, n, fewer=fewer, child=n, query=q, shape=state["shape"]) for n, q in children
        ] or "answer"  # fmt: skip

    async def _child(self, moves: Moves, state: Any) -> Update:
        """Answer one sub-query of the level."""
        step = await take(moves, state["query"], Shape(*state["shape"]).k)
        return {"children": [(state["child"], step)], "found": [step["passages"]] if self.evidence == "all" else []}

    async def _spread(self, moves: Moves, state: _SearchState) -> Update:
        """Join the children and share what is left among their scores; stop where no child came back."""
        children = self._candidates(state)
        if not children:
            return failure(state)
        return {"part": share(moves, len(children) * Shape(*state["shape"]).rollouts or 1)}

    async def _to_scores(self, state: _SearchState) -> list[Send] | str:
        if state["stop"]:
            return "answer"
        children, rollouts = self._candidates(state), Shape(*state["shape"]).rollouts
        rivals = len(children) > 1 or any(kept["ended"] for kept in state["beam"])
        if self.compares or not rivals:
            return "select"
        numbers: defaultdict[str, count[int]] = defaultdict(count)
        return [
            send(
                "score", state, f"{name}.{next(numbers[name])}", fewer=f"expand of {self.name}", child=name, place=at,
                shape=state["shape"], chain=[*state["beam"][at]["chain"], step], known=state["beam"][at]["known"],
            )
            for at, name, step in children
            for _ in range(rollouts)
        ] or "select"  # fmt: skip

    async def _score(self, moves: Moves, state: Any) -> Update:
        return {"scores": [(state["child"], state["place"], await self.score(moves, state))]}

    async def _select(self, moves: Moves, state: _SearchState) -> Update:
        """Keep the best chains by their mean scores; those whose scores all failed come last, ties to the earliest."""
        children, beam = self._candidates(state), state["beam"]
        scores = state.get("scores", [])
        means = [
            fmean(values) if (values := [score for *one, score in scores if one == [name, at]]) else None
            for at, name, _ in children
        ]
        candidates = [
            *(
                Kept(chain=[*beam[at]["chain"], step], known=beam[at]["known"], score=mean, ended=False)
                for (at, _, step), mean in zip(children, means, strict=True)
            ),
            *(kept for kept in beam if kept["ended"]),
        ]
        if len(candidates) > 1 and self.compares:
            candidates = await self.compared(moves, state["question"], candidates)
        ranked = sorted(candidates, key=self._rank)
        kept = ranked[: self.beam if len(ranked[0]["chain"]) < self.steps else 1]
        if len(children) > 1:
            choices = [
                Choice(inside(state["scope"], name), one["score"], "kept" if one in kept else "pruned")
                for (_, name, _), one in zip(children, candidates, strict=False)
            ]
            queries = [one["chain"][-1]["query"] for one in kept if one["chain"]]
            moves.note(
                "select", status="kept", choices=choices, score=kept[0]["score"],
                output=queries[0] if len(queries) == 1 else queries, input=[step["query"] for _, _, step in children],
            )  # fmt: skip
        return {"beam": kept, "chain": kept[0]["chain"], "known": kept[0]["known"]}

    @property
    def compares(self) -> bool:
        """Whether all chains are `compared` at once, instead of a score of each in a branch of its own."""
        return False

    async def compared(self, moves: Moves, question: str, chains: list[Kept]) -> list[Kept]:
        """The same with scores by one comparison of all."""
        return chains

    def _rank(self, kept: Kept) -> float:
        score = kept["score"]
        return float("inf") if score is None else score if self.lower else -score

    async def _to_next(self, state: _SearchState) -> str:
        going = len(state["chain"]) < self.steps and not state["stop"] and not state["beam"][0]["ended"]
        return "plan" if going else "answer"

    def _candidates(self, state: _SearchState) -> list[tuple[int, str, Step]]:
        """(place of the chain before it, branch, step) of the current level's children, chain by chain."""
        steps = dict(state.get("children", []))
        found = [(at, name, steps[name]) for name, _, places in state["queries"] for at in places if name in steps]
        return sorted(found, key=lambda child: child[0])


def _agreed(plans: list[Plan]) -> str:
    """The sentence on what is known that most samples share; at least two of several, as a single one may invent."""
    said = Counter(plan.known for plan in plans if plan.known)
    [(known, count)] = said.most_common(1) or [("", 0)]
    return known if count > 1 or len(plans) == 1 else ""
