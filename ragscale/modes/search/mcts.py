"""`mcts`: Monte Carlo tree search over chains of retrieval, after MCTS-RAG (arXiv 2503.20757)."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Annotated, Any, ClassVar

from langgraph.graph import END
from langgraph.types import Send

from ragscale.budget import ALONG
from ragscale.modes.core.costs import Costs, Forecast, Room, beside, series
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.inner import inner_run
from ragscale.modes.core.mode import Mode
from ragscale.modes.core.moves import Moves, share
from ragscale.modes.core.nesting import Continuing
from ragscale.modes.core.nodes import node, send
from ragscale.modes.core.scorers import SCORERS, Scorer, ScorerName
from ragscale.modes.core.state import Outcome, State, Update
from ragscale.modes.core.voting import plurality, stopped
from ragscale.modes.sequential.chain import Chain
from ragscale.prompts import Step, normalise
from ragscale.types import Spend

__all__ = ["Mcts"]

Path = tuple[str, ...]
"""A node of the tree: the sub-queries on the way to it, normalised. The root is ``()``."""


class _MctsState(State, total=False):
    starts: Annotated[list[int], operator.add]
    """Length of the chain that each rollout went on from, in the order of ``outcomes``."""
    leaves: list[list[Step]]
    """Chains that the next rollouts go on from."""
    scored: bool
    """Whether they are: a single one that the budget pays for has nothing to be compared with."""


@dataclass(frozen=True, kw_only=True)
class Mcts(Continuing):
    """`rollouts` inner runs of `of`, each from the node of the tree that the upper confidence bound (UCT) selects.

    A rollout goes on from the node's chain to an answer; its steps become nodes, and its reward (`scorer`) is added
    along its path. A node is expanded by up to `expand` rollouts before the search descends through it, `width`
    rollouts run side by side, and visits under way count. Where every path has come to its own end, the search ends
    before `rollouts`. The answer is the plurality of all rollouts, ties by reward.
    Costs at most `rollouts` runs of `of` and their scores, in the rounds of one for each batch: the first has at most
    `expand` rollouts, as all go on from the question, and later ones `width`; 3 batches by default. Unlike MCTS-RAG, a
    rollout samples its steps instead of expanding every action, and rewards are rescaled to 0 to 1.
    """

    name: ClassVar[str] = "mcts"
    source: ClassVar[str] = "MCTS-RAG, arXiv 2503.20757"
    pays: ClassVar[str] = "where rollouts differ much and tokens are plenty"

    of: Mode = field(default_factory=Chain)
    """The mode of the rollouts; one that goes on from a chain: ``chain``, ``tree``,
    ``beam`` or ``tot``."""
    rollouts: int = 8
    """Rollouts in all."""
    width: int = 4
    """Rollouts at once."""
    expand: int = 3
    """Rollouts that start at a node before the search descends through it."""
    exploration: float = 1.4
    """Weight of rarely visited nodes in UCT (c)."""
    scorer: ScorerName = "agreement"
    """The reward: as in ``best-of-n``."""
    temperature: float = 0.7
    """Least temperature of the planning and closing moves of all rollouts but the first."""

    @property
    def scoring(self) -> Scorer:
        """The reward."""
        return SCORERS[self.scorer]

    @property
    def several(self) -> bool:
        """Whether `rollouts` is more than one."""
        return self.rollouts > 1

    def cost(self, costs: Costs) -> tuple[Spend, Spend]:
        """One rollout at its least; `rollouts` rollouts in full."""
        look = self.look_cost(costs)
        least, full = self.inner_cost(costs)
        path = series(full, full, self._batches(0, min(self.width, self.expand)))
        along = {name: getattr(path, name) for name in ALONG}
        return look + least, look + replace(beside(full, self.rollouts), **along)

    def course(self, costs: Costs, room: Room) -> Forecast:
        """Batch by batch: the first goes on from the root, which `expand` rollouts may start at, others from its
        children."""
        score, later = self.score_cost(costs), self.going_on(1)
        spend, done, shape = Spend(), 0, dict[str, Any]()
        while done < self.rollouts and (not done or self.deepest > 1):
            left = room.less(spend)
            width = self._side_by_side(costs, left, done)
            if not width:
                break
            width = width if done else min(width, self.expand)
            layers = self._layers(costs, left, done, width)
            reward = score if done or width * layers > 1 else Spend()
            of = later.of if done else self.of
            part = left.dealt(width, layers, min(self.rollouts - done, width * layers)).less(reward)
            each = of.forecast(costs, part, looked=True)
            batch = beside(each.spend + reward, width)
            # All others at once where they can be paid: there may be any number of them.
            rest = (self.rollouts - done) // width if done else 1
            turns = rest if left.pays(series(batch, batch, rest)) else 1
            spend, done, shape = spend + series(batch, batch, turns), done + width * turns, shape or each.shape
        return Forecast(spend, {"rollouts": done, "each": shape})

    def graph(self) -> ModeGraph:
        """look -> select -> rollout x width -> select ... -> vote -> (answer)."""
        graph = ModeGraph(_MctsState, self.asks)
        self.begin(graph, "select")
        graph.add_node("select", node(self._select))
        graph.add_node("rollout", inner_run(self.of, scorer=self.scoring))
        graph.add_node("vote", node(self._vote))
        graph.add_node("answer", self.closing())
        graph.add_conditional_edges("select", self._to_rollouts, ["rollout", "vote", "answer"])
        graph.add_edge("rollout", "select")
        graph.add_conditional_edges("vote", self._unless_answered, ["answer", END])
        graph.add_edge("answer", END)
        return graph

    async def _select(self, moves: Moves, state: _MctsState) -> Update:
        """Choose the nodes that the next rollouts go on from; none where rollouts, budget or nodes are used up."""
        moves.give_up_closing()
        costs = moves.costs(state)
        done, room = state["outcomes"], moves.room
        width = self._side_by_side(costs, room, len(done))
        leaves: list[list[Step]] = []
        for _ in range(width):
            leaf = self._leaf(done, state.get("starts", []), [_path(leaf) for leaf in leaves])
            if leaf is None:
                break
            leaves.append(leaf)
        full = min(self.width, self.rollouts - len(done))
        if width < full:
            moves.note("select", f"{len(leaves)} of {full} rollouts", status="narrowed")
        if width and not leaves:
            moves.note("select", f"every path has ended: {len(done)} of {self.rollouts} rollouts", status="enough")
        if any(leaves):
            moves.note(
                "select", "the further rollouts go on from", status="kept",
                output=[leaf[-1]["query"] if leaf else state["question"] for leaf in leaves],
            )  # fmt: skip
        branches = max(1, len(leaves))
        layers = self._layers(costs, room, len(done), branches)
        part = share(moves, branches, layers=layers, runs=min(self.rollouts - len(done), branches * layers))
        return {
            "leaves": leaves,
            "scored": bool(done) or branches * layers > 1,
            "starts": [len(leaf) for leaf in leaves],
            "part": part,
            "typical": costs.means,
            "held": 0,
        }

    async def _to_rollouts(self, state: _MctsState) -> list[Send] | str:
        if state["stop"]:
            return "vote" if state["outcomes"] else "answer"
        first = len(state["outcomes"])
        return [
            send(
                "rollout",
                state,
                str(i),
                temperature=self.temperature if i else 0.0,
                fewer=f"rollouts of {self.name}" if first or len(state["leaves"]) > 1 else "",
                chain=leaf,
                scored=state["scored"],
            )
            for i, leaf in enumerate(state["leaves"], first)
        ] or "vote"

    async def _vote(self, moves: Moves, state: _MctsState) -> Update:
        return {**stopped(state["outcomes"]), **plurality(moves, state["outcomes"])}

    def _leaf(self, done: Sequence[Outcome], starts: Sequence[int], batch: list[Path]) -> list[Step] | None:
        """The chain of the node that the next rollout goes on from; None where every path has ended.

        The tree is a function of the rollouts done, of where they started, and of where those of the `batch` will.
        """
        paths = [_path(outcome["chain"]) for outcome in done]
        # A chain that was cut short can go on; one that came to its own end cannot.
        ended = {path for outcome, path in zip(done, paths, strict=True) if not outcome["stop"]}
        rewards = _rescaled([outcome["score"] for outcome in done])
        begun = [*(path[:start] for path, start in zip(paths, starts, strict=True)), *batch]
        chains: dict[Path, list[Step]] = {(): []}
        for outcome, path in zip(done, paths, strict=True):
            for length in range(1, len(path) + 1):
                chains.setdefault(path[:length], outcome["chain"][:length])

        def visits(at: Path) -> int:
            return sum(path[: len(at)] == at for path in [*paths, *batch])

        def bound(at: Path) -> float:
            mean = fmean(reward for path, reward in zip(paths, rewards, strict=True) if path[: len(at)] == at)
            return mean + self.exploration * math.sqrt(math.log(visits(at[:-1])) / visits(at))

        def descend(at: Path) -> Path | None:
            if begun.count(at) < self.expand and at not in ended and len(at) < self.deepest:
                return at
            children = [path for path in chains if path and path[:-1] == at]
            below = map(descend, sorted(children, key=bound, reverse=True))
            return next((leaf for leaf in below if leaf is not None), None)

        leaf = descend(())
        return None if leaf is None else chains[leaf]

    def _side_by_side(self, costs: Costs, room: Room, done: int) -> int:
        """Rollouts at once that `room` pays for, now that so many are done; one at least, if none is."""
        least, _ = self.inner_cost(costs)
        width = int(min(self.width, self.rollouts - done, room.times(least))) if room.reaches(least) else 0
        return max(width, 0 if done else 1)

    def _layers(self, costs: Costs, room: Room, done: int, branches: int) -> int:
        """Batches of so many rollouts that `room` is to be shared by: none gets less than a rollout needs."""
        least, _ = self.inner_cost(costs)
        return room.layers(beside(least, branches), self._batches(done, branches))

    def _batches(self, done: int, branches: int) -> int:
        """Batches to come, now that so many rollouts are done: one of so many, and full ones."""
        return 1 + math.ceil(max(0, self.rollouts - done - branches) / self.width)


def _path(chain: Sequence[Step]) -> Path:
    return tuple(normalise(step["query"]) for step in chain)


def _rescaled(scores: Sequence[float | None]) -> list[float]:
    """Rewards from 0 to 1, the worst and the best so far; 0 without a score, and 0.5 where all are equal."""
    known = [score for score in scores if score is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    return [0.0 if score is None else (score - low) / (high - low) if high > low else 0.5 for score in scores]
