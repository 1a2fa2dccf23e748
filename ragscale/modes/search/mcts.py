"""`mcts`: Monte Carlo tree search over chains of retrieval, after MCTS-RAG (arXiv 2503.20757)."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, field, replace
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
from ragscale.modes.core.state import State, Update
from ragscale.modes.core.voting import plurality, stopped
from ragscale.modes.search.uct import RolloutTree
from ragscale.modes.sequential.chain import Chain
from ragscale.prompts import Step
from ragscale.types import Spend

__all__ = ["Mcts"]


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
        while not done or self.deepest > 1:
            left = room.less(spend)
            width = min(self._side_by_side(costs, left, done), self.rollouts if done else self.expand)
            if not width:
                break
            layers, runs = self._dealt(costs, left, done, width)
            reward = score if done or runs > 1 else Spend()
            of = later.of if done else self.of
            each = of.forecast(costs, left.dealt(width, layers, runs).less(reward), looked=True)
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
        costs, room, done = moves.costs(state), moves.room, len(state["outcomes"])
        width, full = self._side_by_side(costs, room, done), min(self.width, self.rollouts - done)
        leaves = self._tree(state).leaves(width)
        if width < full:
            moves.note("select", f"{len(leaves)} of {full} rollouts", status="narrowed")
        if width and not leaves:
            moves.note("select", f"every path has ended: {done} of {self.rollouts} rollouts", status="enough")
        if any(leaves):
            moves.note(
                "select", "the further rollouts go on from", status="kept",
                output=[leaf[-1]["query"] if leaf else state["question"] for leaf in leaves],
            )  # fmt: skip
        branches = max(1, len(leaves))
        layers, runs = self._dealt(costs, room, done, branches)
        part = share(moves, branches, layers=layers, runs=runs)
        return {
            "leaves": leaves, "scored": bool(done) or runs > 1, "starts": [len(leaf) for leaf in leaves], "part": part,
            "typical": costs.means, "held": 0,
        }  # fmt: skip

    def _tree(self, state: _MctsState) -> RolloutTree:
        return RolloutTree(
            done=state["outcomes"], starts=state.get("starts", []), expand=self.expand, deepest=self.deepest,
            exploration=self.exploration,
        )  # fmt: skip

    async def _to_rollouts(self, state: _MctsState) -> list[Send] | str:
        if state["stop"]:
            return "vote" if state["outcomes"] else "answer"
        done, leaves = len(state["outcomes"]), state["leaves"]
        fewer = f"rollouts of {self.name}" if done or len(leaves) > 1 else ""
        return [
            send(
                "rollout", state, str(i), temperature=self.temperature if i else 0.0, fewer=fewer, chain=leaf,
                scored=state["scored"],
            )
            for i, leaf in enumerate(leaves, done)
        ] or "vote"  # fmt: skip

    async def _vote(self, moves: Moves, state: _MctsState) -> Update:
        return {**stopped(state["outcomes"]), **plurality(moves, state["outcomes"])}

    def _side_by_side(self, costs: Costs, room: Room, done: int) -> int:
        """Rollouts at once that `room` pays for, now that so many are done; one at least, if none is."""
        least, _ = self.inner_cost(costs)
        return max(room.branches(least, min(self.width, self.rollouts - done)), 0 if done else 1)

    def _dealt(self, costs: Costs, room: Room, done: int, branches: int) -> tuple[int, int]:
        """Batches of so many rollouts that `room` is shared by, none of which gets less than a rollout needs, and the
        rollouts of them all."""
        least, _ = self.inner_cost(costs)
        layers = room.layers(beside(least, branches), self._batches(done, branches))
        return layers, min(self.rollouts - done, branches * layers)

    def _batches(self, done: int, branches: int) -> int:
        """Batches to come, now that so many rollouts are done: one of so many, and full ones."""
        return 1 + math.ceil(max(0, self.rollouts - done - branches) / self.width)
