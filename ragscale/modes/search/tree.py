"""`tree`: CoRAG's tree search (arXiv 2501.14342): expand the chain, look ahead by rollouts, keep the best child."""

from __future__ import annotations

import math
import operator
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import Annotated, Any, ClassVar, NamedTuple

from langgraph.graph import END, START
from langgraph.types import Send

from ragscale.modes.core.asking import CAPS, CORAG, Stepwise
from ragscale.modes.core.costs import Costs, Forecast, Room, beside, series
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.moves import Moves, share
from ragscale.modes.core.nodes import branch, node, send, unless_stopped
from ragscale.modes.core.state import State, Update, inside, noted
from ragscale.modes.core.steps import penalty, take
from ragscale.prompts import Plan, Step, normalise
from ragscale.types import Choice, Spend

__all__ = ["Shape", "Tree"]


class Shape(NamedTuple):
    """How much of a level the budget pays for."""

    expand: int
    """Children."""
    rollouts: int
    """Rollouts a child; 0 with a single child, which needs no score."""
    depth: int
    """Further steps a rollout."""
    k: int
    """Passages read a sub-query."""


class _TreeState(State, total=False):
    shape: list[int]
    """The current level's `Shape`."""
    queries: list[str]
    """Its distinct new sub-queries."""
    children: Annotated[list[tuple[str, Step]], operator.add]
    """(name, step) of every child that was answered, over all levels."""
    penalties: Annotated[list[tuple[str, float]], operator.add]
    """(the child's name, penalty) of every rollout, over all levels."""


@dataclass(frozen=True, kw_only=True)
class Tree(Stepwise):
    """At each of `steps` levels: `samples` sub-queries, `expand` distinct ones answered, each scored by `rollouts`.

    A child's score is the mean penalty of its rollouts (`penalty`: the log-likelihood of "No relevant information
    found"; lower is better). The best child becomes the chain's next step, ties to the earliest. With nothing repeated
    or malformed the defaults cost 219 model calls and 96 retrievals; a level that the budget cannot pay is made
    narrower until it can (`Shape`), down to a greedy step. The search ends early where most samples of a level say that
    nothing is missing.
    """

    name: ClassVar[str] = "tree"
    least: ClassVar[dict[str, float]] = {**CAPS, "rollout_steps": 0, "question_k": 0, "plan_k": 0}
    presets: ClassVar[dict[str, dict[str, Any]]] = {"corag-paper": CORAG}

    steps: int = 6
    """Longest chain (L)."""
    expand: int = 4
    """Children a level (E)."""
    samples: int = 6
    """Sub-queries sampled to find `expand` distinct ones."""
    rollouts: int = 2
    """Rollouts a child (R)."""
    rollout_steps: int = 2
    """Further steps of a rollout at most; never beyond `steps`."""
    question_k: int = 5
    """Passages retrieved for the question itself, in a round before the first level; the answer sees them too."""
    plan_k: int = 2
    """How many of those the planner sees; 0 as published, where the planner was fine-tuned to do without."""
    temperature: float = 0.7
    """Of sampled sub-queries, in expansions and rollouts."""

    @property
    def looks(self) -> int:
        """`question_k`."""
        return self.question_k

    def cost(self, costs: Costs) -> tuple[Spend, Spend]:
        """One greedy level; `steps` levels in full."""
        ends = self.ends_cost(costs)
        return ends + self._cost(self._thin, costs), ends + self._levels(costs)

    def course(self, costs: Costs, room: Room) -> Forecast:
        """Level by level, each as wide as it may be."""
        first = shape = self._widest(costs, room, self.steps)
        if first is None:
            return Forecast(Spend(), {"levels": 0})
        spend, levels = self._levels(costs), self.steps
        if not room.pays(spend):
            spend, levels = Spend(), 0
            while levels < self.steps and shape is not None:
                spend, levels = spend + self._cost(shape, costs), levels + 1
                shape = self._widest(costs, room.less(spend), self.steps - levels)
        return Forecast(spend, {"levels": levels, "first": first._asdict()})

    def graph(self) -> ModeGraph:
        """look -> plan -> child x E -> spread -> rollout x E R -> select -> plan ... -> answer."""
        graph = ModeGraph(_TreeState, self.asks)
        graph.add_node("plan", node(self._plan))
        graph.add_node("child", branch(self._child))
        graph.add_node("spread", node(self._spread))
        graph.add_node("rollout", branch(self._rollout))
        graph.add_node("select", node(self._select))
        graph.add_node("answer", self.closing())
        if self.question_k:
            graph.add_node("look", self.looking(self.question_k))
            graph.add_conditional_edges("look", unless_stopped("plan"), ["plan", "answer"])
        graph.add_edge(START, "look" if self.question_k else "plan")
        graph.add_conditional_edges("plan", self._to_children, ["child", "answer"])
        graph.add_edge("child", "spread")
        graph.add_conditional_edges("spread", self._to_rollouts, ["rollout", "select", "answer"])
        graph.add_edge("rollout", "select")
        graph.add_conditional_edges("select", self._to_next, ["plan", "answer"])
        graph.add_edge("answer", END)
        return graph

    async def _plan(self, moves: Moves, state: _TreeState) -> Update:
        """Size the level, then sample its sub-queries and keep the distinct new ones that most samples ask."""
        chain, shape, notes = state["chain"], self._shape(moves, state), state["known"]
        known = {normalise(step["query"], self.match) for step in chain}
        distinct: dict[str, list[str]] = {}  # the spellings of each
        for attempt in range(2):
            hot = self.temperature if attempt or shape.expand > 1 else 0.0
            drawn = await moves.ask(
                lambda docs: moves.profile.plan(state["question"], docs, chain), state["seen"][: self.plan_k],
                temperature=hot, n=self._drawn(shape), attempt=attempt,
            )  # fmt: skip
            plans = [plan for sample in drawn for plan in sample]
            notes = noted(notes, _agreed(plans))
            if self.early and 2 * sum(not plan.query for plan in plans) > len(plans):
                moves.note("plan", "most of the samples", status="enough")
                return {"queries": [], "known": notes}
            for query, _ in plans:
                if query and normalise(query, self.match) not in known:
                    distinct.setdefault(normalise(query, self.match), []).append(query)
            if distinct:
                break
            moves.note("plan", "discarded", status="repeat", output=[plan.query for plan in plans])
        kept = [same[0] for same in sorted(distinct.values(), key=len, reverse=True)][: shape.expand]
        return {
            "shape": list(shape),
            "queries": kept,
            "part": share(moves.ledger, len(kept) or 1, moves.clock),
            "known": notes,
        }

    async def _to_children(self, state: _TreeState) -> list[Send] | str:
        if state["stop"] or not state["queries"]:
            return "answer"
        level = len(state["chain"])
        return [
            send("child", state, f"{level}.{i}", child=f"{level}.{i}", query=query, shape=state["shape"])
            for i, query in enumerate(state["queries"])
        ]

    async def _child(self, moves: Moves, state: Any) -> Update:
        """Answer one sub-query of the level."""
        step = await take(moves, state["query"], Shape(*state["shape"]).k)
        return {"children": [(state["child"], step)], "found": [step["passages"]] if self.evidence == "all" else []}

    async def _spread(self, moves: Moves, state: _TreeState) -> Update:
        """Join the children and share what is left among their rollouts; stop where no child came back."""
        children, shape = _of_level(state), Shape(*state["shape"])
        if not children:
            stop, reason = state["failed"][-1]
            return {"stop": stop, "reason": reason}
        return {"part": share(moves.ledger, len(children) * shape.rollouts or 1, moves.clock)}

    async def _to_rollouts(self, state: _TreeState) -> list[Send] | str:
        if state["stop"]:
            return "answer"
        children, shape = _of_level(state), Shape(*state["shape"])
        if len(children) == 1:
            return "select"
        return [
            send("rollout", state, f"{name}.{r}", child=name, chain=[*state["chain"], step], shape=state["shape"])
            for name, step in children
            for r in range(shape.rollouts)
        ]

    async def _rollout(self, moves: Moves, state: Any) -> Update:
        """Look ahead from a child by at most `rollout_steps` sampled steps and score where that leads."""
        chain, seen, shape = list(state["chain"]), state["seen"][: self.plan_k], Shape(*state["shape"])
        for _ in range(min(shape.depth, self.steps - len(chain))):
            drawn = await moves.ask(
                lambda docs: moves.profile.plan(state["question"], docs, chain), seen, temperature=self.temperature
            )
            known = {normalise(step["query"], self.match) for step in chain}
            plans = [plan for sample in drawn for plan in sample]
            new = [plan.query for plan in plans if plan.query and normalise(plan.query, self.match) not in known]
            if not new:
                asked = any(plan.query for plan in plans)
                moves.note("plan", "the rollout ends here", status="repeat" if asked else "enough" if plans else "")
                break
            chain.append(await take(moves, new[0], shape.k))
        return {"penalties": [(state["child"], await penalty(moves, state["question"], chain))]}

    async def _select(self, moves: Moves, state: _TreeState) -> Update:
        """Keep the child with the lowest mean penalty; children whose rollouts all failed come last."""
        children = _of_level(state)
        scores = {name: [p for child, p in state.get("penalties", []) if child == name] for name, _ in children}
        means = [fmean(scores[name]) if scores[name] else float("inf") for name, _ in children]
        best = min(range(len(children)), key=lambda i: means[i])
        name, step = children[best]
        if len(children) > 1:
            choices = [
                Choice(
                    inside(state["scope"], child), mean if math.isfinite(mean) else None,
                    "kept" if child == name else "pruned",
                )
                for (child, _), mean in zip(children, means, strict=True)
            ]  # fmt: skip
            moves.note(
                "select", status="kept", choices=choices, score=choices[best].score, output=step["query"],
                input=[child["query"] for _, child in children],
            )  # fmt: skip
        return {"chain": [*state["chain"], step]}

    async def _to_next(self, state: _TreeState) -> str:
        return "plan" if len(state["chain"]) < self.steps and not state["stop"] else "answer"

    def _shape(self, moves: Moves, state: _TreeState) -> Shape:
        """The widest level that leaves enough for one greedy level after it.

        Less depth and fewer children cost less, so the first that fits is found without trying every one.

        Raises:
            BudgetExceeded: Not even a greedy level fits.
        """
        costs = Costs.of(state, samples=moves.context.capabilities.samples)
        found = self._widest(costs, Room.of(moves.ledger, moves.clock), self.steps - len(state["chain"]))
        if found is not None:
            return found
        # Half a level is money lost. This tells which limit it would pass.
        moves.need(self._cost(self._thin, costs))
        return self._thin

    def _widest(self, costs: Costs, room: Room, levels: int) -> Shape | None:
        """The same for what `room` pays, with so many levels to go; None where not even a greedy level fits."""
        few, thin = min(self.k, 3), self._cost(self._thin, costs)

        def fits(shape: Shape) -> bool:
            return room.pays(self._cost(shape, costs) + (thin if levels > 1 else Spend()))

        def first(sizes: range, shape: Callable[[int], Shape]) -> Shape | None:
            at = bisect_left(sizes, True, key=lambda size: fits(shape(size)))
            return shape(sizes[at]) if at < len(sizes) else None

        depths, widths = range(min(self.rollout_steps, levels - 1), -1, -1), range(self.expand, 1, -1)
        return (
            first(depths, self._full)
            or first(widths, lambda expand: Shape(expand, 1, 0, self.k))
            or first(widths, lambda expand: Shape(expand, 1, 0, few))
            or next((shape for shape in (Shape(1, 0, 0, self.k), Shape(1, 0, 0, few)) if fits(shape)), None)
            or (self._thin if room.pays(thin) else None)
        )

    @property
    def _thin(self) -> Shape:
        """The least level."""
        return Shape(1, 0, 0, min(self.k, 2))

    def _levels(self, costs: Costs) -> Spend:
        """All levels in full: rollouts look ahead less and less as `steps` comes near, and not at all in the last."""
        deepest = min(self.rollout_steps, self.steps - 1)
        most, least = [self._cost(self._full(depth), costs) for depth in (deepest, min(deepest, 1))]
        last = self._cost(self._full(0), costs)
        return series(most, most, self.steps - 1 - deepest) + series(most, least, deepest) + last

    def _full(self, depth: int) -> Shape:
        """A level with all children; one rollout each where none looks ahead, as more would have the same score."""
        return Shape(self.expand, self.rollouts if depth else 1, depth, self.k)

    def _drawn(self, shape: Shape) -> int:
        """Sub-queries to sample for a level: as many more than children as the defaults have."""
        return 1 if shape.expand == 1 else shape.expand + max(0, self.samples - self.expand)

    def _cost(self, shape: Shape, costs: Costs) -> Spend:
        """A level of that shape."""
        seen = min(self.plan_k, self.looks)
        further = costs.plan(seen) + costs.step(shape.k)
        ahead = beside(series(further, further, shape.depth) + costs.score(), shape.rollouts)
        child = costs.step(shape.k) + (ahead if shape.expand > 1 else Spend())
        return costs.plan(seen, self._drawn(shape)) + beside(child, shape.expand)


def _agreed(plans: list[Plan]) -> str:
    """The sentence on what is known that most samples share; at least two of several, as a single one may invent."""
    said = Counter(plan.known for plan in plans if plan.known)
    [(known, count)] = said.most_common(1) or [("", 0)]
    return known if count > 1 or len(plans) == 1 else ""


def _of_level(state: _TreeState) -> list[tuple[str, Step]]:
    """Children of the current level, in branch order."""
    prefix = f"{len(state['chain'])}."
    return [(name, step) for name, step in state.get("children", []) if name.startswith(prefix)]
