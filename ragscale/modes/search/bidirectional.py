"""`bidirectional`: Search from both ends, derived from "Thinking Forward and Backward" (arXiv 2411.01790): one chain
from the question, others from candidate answers, and a verification."""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Annotated, Any, ClassVar, cast

from langgraph.graph import END
from langgraph.types import Send

from ragscale.errors import BudgetExceeded, ModelError, RagscaleError
from ragscale.modes.core.costs import Costs, Forecast, Room, abreast, beside, floored, series
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.inner import inner_run
from ragscale.modes.core.mode import Mode
from ragscale.modes.core.moves import Moves, share
from ragscale.modes.core.nesting import Nesting
from ragscale.modes.core.nodes import branch, node, send
from ragscale.modes.core.state import State, Update
from ragscale.modes.core.steps import take
from ragscale.modes.sequential.chain import Chain
from ragscale.prompts import Closing, Prompt, Step, fresh, numbered_pairs
from ragscale.prompts.backward import backward, candidates, verify
from ragscale.types import Passage, Spend

__all__ = ["Bidirectional"]

_SHOWN = 3  # passages whose beginnings the candidates are taken from
_DEALT = ("tokens", "llm_calls", "queries", "usd")


class _BothState(State, total=False):
    candidates: list[str]
    """Answers that are checked backward."""
    forward: dict[str, float]
    """Share of the forward direction; ``part`` is that of each check."""
    checks: Annotated[list[tuple[str, list[Step]]], operator.add]
    """(candidate, steps) of every check that came back."""


@dataclass(frozen=True, kw_only=True)
class Bidirectional(Nesting):
    """A chain forward from the question and, beside it, one backward from each of `candidates` answers; then a check.

    A call proposes the candidates; backward, `checks` steps each look up what would make a candidate true. The notes
    of both directions are merged, and one call verifies and answers. With L_f steps forward, n candidates and L_b
    steps backward it costs C = 2 L_f + 1 + n 2 L_b + 1 model calls and R = L_f + n L_b retrievals, in max(L_f, L_b)
    rounds; a retrieval and a round more for the question itself: 14, 7 and 4 by default. A budget has fewer candidates,
    down to the forward chain alone. This is our derivation: the paper plans without retrieval, forward or from the goal
    of a flipped problem, until it has 4 distinct plans, of which a verifier picks one.
    """

    name: ClassVar[str] = "bidirectional"
    source: ClassVar[str] = "derived from Thinking Forward and Backward, arXiv 2411.01790"
    pays: ClassVar[str] = (
        "where candidate answers are easily named, and passages about them tell what the question's do not"
    )
    members_answer: ClassVar[bool] = False
    most: ClassVar[dict[str, float]] = {"candidates": 16}

    k: int = 3
    """Passages retrieved a backward sub-query."""
    of: Mode = field(default_factory=lambda: Chain(steps=3))
    """The mode of the forward direction: an object, or the text of one."""
    candidates: int = 3
    """Answers that are checked backward (n); 16 at most."""
    checks: int = 1
    """Steps of each check (L_b)."""

    def cost(self, costs: Costs) -> tuple[Spend, Spend]:
        """The forward direction at its least; both in full."""
        ends = self.ends_cost(costs)
        least, full = self.inner_cost(costs)
        return ends + least, ends + self._propose(costs) + abreast(full, beside(self._check(costs), self.candidates))

    def course(self, costs: Costs, room: Room) -> Forecast:
        """The forward direction, and as many checks as the budget pays for."""
        checks = self._checks(costs, room)
        propose = self._propose(costs) if checks else Spend()
        left = room.less(propose)
        ahead, _ = self._dealt(costs, left, checks)
        forward = self.of.forecast(costs, replace(left, **ahead), looked=True, answers=False)
        back = beside(self._check(costs), checks) if checks else Spend()
        return Forecast(propose + abreast(forward.spend, back), {"candidates": checks, "forward": forward.shape})

    def graph(self) -> ModeGraph:
        """look -> propose -> forward and backward x n -> merge -> answer."""
        graph = ModeGraph(_BothState, self.asks)
        self.begin(graph, "propose")
        graph.add_node("propose", node(self._candidates))
        graph.add_node("forward", inner_run(self.of, answers=False))
        graph.add_node("backward", branch(self._backward))
        graph.add_node("merge", node(self._merge))
        graph.add_node("answer", self.closing())
        graph.add_conditional_edges("propose", self._to_both, ["forward", "backward", "answer"])
        graph.add_edge("forward", "merge")
        graph.add_edge("backward", "merge")
        graph.add_edge("merge", "answer")
        graph.add_edge("answer", END)
        return graph

    async def _candidates(self, moves: Moves, state: _BothState) -> Update:
        """Propose as many answers as the budget has checks for, and share what is left."""
        costs = moves.costs(state)
        most = self._checks(costs, moves.room)
        if most < self.candidates:
            moves.note("select", f"{most} of {self.candidates} candidates", status="narrowed")
        found: list[str] = []
        if most:
            with contextlib.suppress(BudgetExceeded, ModelError):  # the forward direction can do without
                for said in await moves.ask(
                    lambda docs: candidates(moves.profile, state["question"], docs, most), state["seen"][:_SHOWN]
                ):
                    found = said[:most]
        whole = share(moves, 1)
        left = Room(rate=moves.room.rate, **{name: whole[name] for name in _DEALT if name in whole})
        ahead, back = self._dealt(costs, left, len(found))
        return {"candidates": found, "forward": whole | ahead, "part": whole | back, "typical": costs.means}

    async def _to_both(self, state: _BothState) -> list[Send] | str:
        if state["stop"]:
            return "answer"
        fewer = f"candidates of {self.name}" if state["candidates"] else ""
        ahead = send("forward", cast(State, {**state, "part": state["forward"]}), "forward", fewer=fewer)
        checks = [
            send("backward", state, f"backward.{i}", fewer=fewer, candidate=candidate)
            for i, candidate in enumerate(state["candidates"])
        ]  # fmt: skip
        return [ahead, *checks]

    async def _backward(self, moves: Moves, state: Any) -> Update:
        """Look up what would make a candidate true."""
        steps: list[Step] = []
        try:
            while len(steps) < self.checks:
                prompt = backward(moves.profile, state["question"], state["candidate"], steps)
                plans = await moves.put(prompt, input=state["candidate"])
                asked = [plan.query for plan in chain.from_iterable(plans) if plan.query]
                new = fresh(asked, [step["query"] for step in steps])
                if not new:
                    break
                steps.append(await take(moves, new[0], self.k))
        except (RagscaleError, OSError) as error:
            if not steps:
                raise
            moves.note("plan", f"the check ends here: {error}", status="failed", input=state["candidate"])
        return {"checks": [(state["candidate"], steps)]}

    async def _merge(self, moves: Moves, state: _BothState) -> Update:
        """One chain of the notes of both directions, the forward ones first."""
        [ahead] = state["outcomes"]
        back = [step for _, steps in state["checks"] for step in steps]
        update: Update = {"chain": [*ahead["chain"], *back], "known": ahead["known"]}
        if not ahead["chain"]:
            update["found"] = [ahead["passages"]]
        return update if back else {**update, **{name: ahead[name] for name in ("stop", "reason")}}

    def _asking(self, moves: Moves, state: Any) -> Callable[[list[Passage]], Prompt[Closing]] | None:
        """Verify and answer from the notes of both directions; as any run does where no check came back."""
        checks = state.get("checks")
        if not checks:
            return None
        [ahead] = state["outcomes"]
        notes = [*numbered_pairs(ahead["chain"]), *ahead["known"], *([ahead["text"]] if ahead["text"] else [])]
        return lambda docs: verify(moves.profile, state["question"], docs, notes, checks)

    def _propose(self, costs: Costs) -> Spend:
        """A call that names the candidates."""
        return costs.plan(min(_SHOWN, self.looks))

    def _check(self, costs: Costs) -> Spend:
        """A check in full."""
        step = costs.plan() + costs.step(self.k)
        return series(step, step, self.checks)

    def _checks(self, costs: Costs, room: Room) -> int:
        """Checks in full that `room` pays for beside a forward direction at its least; 0 where it pays for none."""
        least, _ = self.inner_cost(costs)
        check, first = self._check(costs), self._propose(costs)
        if not room.pays(first + abreast(least, check)):
            return 0
        return int(min(self.candidates, room.less(first + least).times(check)))

    def _dealt(self, costs: Costs, room: Room, checks: int) -> tuple[dict[str, float], dict[str, float]]:
        """Shares of what `room` limits for the forward direction and for each check, by what they cost in full, in
        dollars as it expects it; a check can always be paid."""
        _, full = self.inner_cost(costs)
        check = self._check(costs)
        parts = checks + max(1, round(full.llm_calls / check.llm_calls))
        needs = {name: getattr(check, name) for name in _DEALT} | {"usd": room.dollars(check)}
        amounts = {name: left for name in _DEALT if (left := getattr(room, name)) < math.inf}
        back = {name: max(floored(left / parts, name), needs[name]) for name, left in amounts.items()}
        return {name: max(0, round(left - checks * back[name], 12)) for name, left in amounts.items()}, back
