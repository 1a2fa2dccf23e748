"""`auto`: a first answer, and a policy that decides by it whether to go on, and in which mode (after RASER)."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

from langgraph.graph import END, START
from langgraph.types import Send

from ragscale.llm import ModelWarning
from ragscale.modes.auto.caveats import other_budget, other_settings
from ragscale.modes.auto.features import features
from ragscale.modes.auto.policy import PLAIN, Policy
from ragscale.modes.core import mode as mode_module
from ragscale.modes.core.costs import Cost, Costs, Forecast, Room
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.inner import inner_run
from ragscale.modes.core.mode import Mode
from ragscale.modes.core.moves import Moves, share
from ragscale.modes.core.nodes import node, send
from ragscale.modes.core.state import Outcome, State, Update
from ragscale.modes.core.voting import stopped
from ragscale.modes.sequential.chain import Chain
from ragscale.modes.sequential.once import Once
from ragscale.prompts.wording import informative
from ragscale.types import Choice, Spend, Status

__all__ = ["Auto"]


class _AutoState(State, total=False):
    then: str
    """Node of the mode that the run goes on with; empty where it stops."""


@dataclass(frozen=True, kw_only=True)
class Auto(Mode):
    """Answer by ``once``; a policy fitted on a run decides by that answer whether to go on, and in which mode.

    The gate looks at numbers that the first answer leaves behind (`ragscale.modes.auto.features`): no call is made to
    decide. What was retrieved for the question is used again by a mode that would retrieve it, too. The answer is that
    of the last run that has one. Limits are the run's own: each mode has what is left of them, and where the policy was
    fitted at others, the answer's caveat says so. Costs what ``once`` does, and where it goes on, what the chosen mode
    does besides: by default 14 calls, 7 retrievals and 7 rounds. Where the fit found no gain over the best fixed mode,
    that mode runs alone, and the trace and the caveat say so. Without a file nothing was learned: ``chain`` follows
    where ``once`` has no answer. Unlike RASER, which decides between two ways, the gate expects the gain of each mode
    and charges each its tokens.

    Raises:
        InvalidInput: The file cannot be read or is no policy, or a mode of it is unknown.
    """

    name: ClassVar[str] = "auto"
    source: ClassVar[str] = "after RASER, arXiv 2606.02488"
    pays: ClassVar[str] = "where a run has shown which questions need more than one retrieval"

    policy: str = ""
    """File that `ragscale fit` wrote; empty for the plain rule."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._modes  # noqa: B018  # a file that cannot be used is refused now

    # Two objects of one path are different modes once the file has changed: a run that is resumed must not go on by
    # another policy, nor a sweep mix two.
    def __repr__(self) -> str:
        mark = f", mark={self._policy.mark!r}" if self.policy else ""
        return f"Auto(k={self.k}, context={self.context}, policy={self.policy!r}{mark})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Auto) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    @functools.cached_property
    def _policy(self) -> Policy:
        return Policy.read(self.policy) if self.policy else PLAIN

    @functools.cached_property
    def _modes(self) -> dict[str, Mode]:
        """Modes of the policy's cells by the name of their nodes; the first one begins the run."""
        found: dict[str, Mode] = {}
        for cell in self._policy.cells:
            mode = mode_module.registry.get(cell.mode) if self.policy else _OF_PLAIN[cell.mode]
            number = sum(name == mode.name or name.startswith(f"{mode.name}-") for name in (*found, *_NODES))
            found[f"{mode.name}-{number + 1}" if number else mode.name] = mode
        return found

    @property
    def _first(self) -> Mode:
        return next(iter(self._modes.values()))

    @property
    def _further(self) -> dict[str, Mode]:
        return dict([*self._modes.items()][1:])

    @property
    def asks(self) -> dict[str, Any]:
        """As of the first mode, whose log-probabilities no other needs."""
        return {name: value for name, value in self._first.asks.items() if name != "logprobs"}

    @property
    def retrieves(self) -> bool:
        """Whether any of its modes does."""
        return any(mode.retrieves for mode in self._modes.values())

    @property
    def calls_tools(self) -> bool:
        """Whether any of its modes does."""
        return any(mode.calls_tools for mode in self._modes.values())

    @property
    def closes(self) -> bool:
        """False: its modes answer."""
        return False

    def cost(self, costs: Costs) -> tuple[Spend, Spend]:
        """The first mode at its least; that and the dearest other one in full."""
        least, full = self._first.cost(costs)
        further = [self._on(mode, costs)[1] for mode in self._further.values()]
        return least, full + max(further, key=lambda cost: cost.tokens, default=Cost())

    def course(self, costs: Costs, room: Room) -> Forecast:
        """The first mode and, where that can be paid, the dearest other one."""
        first = self._first.forecast(costs, room)
        left = room.less(first.spend)
        payable = [mode for mode in self._further.values() if left.pays(self._on(mode, costs)[0])]
        if not payable:
            return Forecast(first.spend, {"runs": 1, **first.shape})
        then = max(payable, key=lambda mode: self._on(mode, costs)[1].tokens)
        each = then.forecast(costs, left, looked=self._shares(then))
        return Forecast(first.spend + each.spend, {"runs": 2, **each.shape})

    def graph(self) -> ModeGraph:
        """begin -> first (-> gate -> another) -> select -> (answer)."""
        graph = ModeGraph(_AutoState, self.asks)
        first, *further = self._modes
        graph.add_node("begin", node(self._begin))
        graph.add_node("select", node(self._select))
        graph.add_node("answer", self.closing())
        for name, mode in self._modes.items():
            graph.add_node(name, inner_run(mode))
        graph.add_edge(START, "begin")
        graph.add_conditional_edges("begin", self._to_first, [first, "answer"])
        if further:
            graph.add_node("gate", node(self._gate))
            graph.add_edge(first, "gate")
            graph.add_conditional_edges("gate", self._to_further, [*further, "select"])
        else:
            graph.add_edge(first, "select")
        for name in further:
            graph.add_edge(name, "select")
        graph.add_conditional_edges("select", self._unless_answered, ["answer", END])
        graph.add_edge("answer", END)
        return graph

    async def _begin(self, moves: Moves, state: _AutoState) -> Update:
        """Say what the trace must tell of the policy, and give the first run all that is left."""
        moves.give_up_closing()
        policy, [cell, *_] = self._policy, self._policy.cells
        said = [f"the policy falls back to {cell.mode}: {policy.fallback}"] if policy.fallback else []
        if other := other_settings(policy.fitted.settings, moves.context):
            said.append(other)
            warnings.warn(f"{self.policy}: {other}", ModelWarning, stacklevel=2)
        status: Status = "fallback" if said else ""
        if self.policy and (other := other_budget(policy.cells, moves)):
            said.append(other)
        if said:
            moves.note("select", "; ".join(said), status=status, output=cell.mode)
        caveats = [f"{text[0].upper()}{text[1:]}." for text in said]
        return {"part": share(moves, 1), "typical": moves.costs(state).means, "caveats": caveats, "held": 0}

    async def _to_first(self, state: _AutoState) -> list[Send] | str:
        # It looks at the question's own passages in any case: their scores are features.
        return "answer" if state["stop"] else [send(next(iter(self._modes)), state, "0", seen=[])]

    async def _gate(self, moves: Moves, state: _AutoState) -> Update:
        """Decide whether to go on, and in which mode."""
        outcome, costs, room = state["outcomes"][0], moves.costs(state), moves.room
        own = [event for event in state["trace"] if event["branch"] == outcome["branch"]]
        found = features(state["question"], outcome["text"], outcome["citations"], own)
        values = dict(zip(self._further, self._policy.values(found), strict=True))
        worth = {name: value for name, value in values.items() if value > 0}
        payable = [name for name in worth if room.pays(self._on(self._modes[name], costs)[0])]
        then = max(payable, key=worth.__getitem__, default="")
        said = "gate: " + ", ".join(f"{name} {value:+.3f}" for name, value in values.items())
        unpaid = [name for name in worth if name not in payable]
        status: Status = "kept" if then else "narrowed" if unpaid else "enough"
        moves.note(
            "select", f"{said}; the budget does not pay {', '.join(unpaid)}" if unpaid else said, status=status,
            score=max(values.values()), input=[f"{name}={value:.6g}" for name, value in found.items()],
            output=dict(zip(self._modes, self._policy.cells, strict=True))[then].mode if then else "stop",
        )  # fmt: skip
        return {"then": then, "part": share(moves, 1) if then else {}, "typical": costs.means}

    async def _to_further(self, state: _AutoState) -> list[Send] | str:
        if state["stop"] or not state["then"]:
            return "select"
        mode = self._modes[state["then"]]
        seen = state["outcomes"][0]["passages"][: mode.looks] if self._shares(mode) else []
        return [send(state["then"], state, "1", seen=seen)]

    async def _select(self, moves: Moves, state: _AutoState) -> Update:
        """The answer of the last run that has one; else all that was found, for the closing answer."""
        outcomes = state["outcomes"]
        kept = max(reversed(outcomes), key=_worth)
        if not kept["text"]:
            return {**stopped(outcomes), "found": [outcome["passages"] for outcome in outcomes]}
        if len(outcomes) > 1:
            choices = [Choice(one["branch"], None, "kept" if one is kept else "pruned") for one in outcomes]
            moves.note(
                "select", status="kept", choices=choices, input=[one["text"] for one in outcomes], output=kept["text"]
            )
        return {name: kept[name] for name in ("stop", "reason", "text", "citations", "chain", "known")}

    def _shares(self, mode: Mode) -> bool:
        """Whether a further mode can use the first one's hits of the question instead of a look of its own."""
        return 0 < mode.looks <= self._first.looks

    def _on(self, mode: Mode, costs: Costs) -> tuple[Cost, Cost]:
        """Cost of going on with a mode, at its least and in full."""
        look = mode.look_cost(costs) if self._shares(mode) else Spend()
        least, full = (Cost.of(cost) - look for cost in mode.cost(costs))
        return least, full


_NODES = ("begin", "gate", "select", "answer")
_OF_PLAIN: dict[str, Mode] = {"once": Once(), "chain": Chain()}
"""Modes of the plain rule."""


def _worth(outcome: Outcome) -> tuple[bool, bool, bool]:
    return bool(outcome["text"]), outcome["stop"] != "failed", informative(outcome["text"])
