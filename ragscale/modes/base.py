"""What every mode is made of: a configuration, a state that carries the two spends, and nodes that charge them."""

from __future__ import annotations

import contextlib
import operator
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, Protocol

from langgraph.graph import StateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict  # pydantic makes no schema of typing's before Python 3.12

from ragscale.errors import BudgetExceeded, InvalidInput, RagscaleError
from ragscale.index.fusion import reciprocal_rank_fusion
from ragscale.modes.moves import Context, Moves
from ragscale.prompts import Step
from ragscale.types import Spend

__all__ = ["Mode", "State", "Update", "branch", "initial", "node", "unless_stopped"]

Update = dict[str, Any]
"""What a node returns: values for the state's keys."""

_NUMBERS: dict[str, Any] = {"int": int, "float": (int, float)}
_MOST = 10**9
"""Of any parameter: what is computed from it stays a number that a float can hold."""

Body = Callable[[Moves, Any], Awaitable[Update]]


class Node(Protocol):
    """What LangGraph calls: the parameter names tell it what to pass."""

    async def __call__(self, state: Any, runtime: Runtime[Context]) -> Update:
        """Run one superstep's task."""
        ...


def _add(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    return (Spend(**left) + Spend(**right)).to_dict()


def _maximum(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    return Spend(**left).maximum(Spend(**right)).to_dict()


def _first(left: str, right: str) -> str:
    return left or right


class State(TypedDict, total=False):
    """The part of the state that all modes share: plain values, so that any checkpointer can hold it."""

    question: str
    total: Annotated[dict[str, Any], _add]
    """Everything charged so far: deltas merged by sum."""
    serial: Annotated[dict[str, Any], _maximum]
    """The critical path: branch clocks merged by the maximum of each dimension."""
    trace: Annotated[list[dict[str, Any]], operator.add]
    """Events, in the order of the branches, not of the clock."""
    seen: list[str]
    """Hits of the question itself, best first: what the planner and the closing answer see first."""
    found: Annotated[list[list[str]], operator.add]
    """Further id rankings for the closing answer, beside those of `chain`: a list a query."""
    chain: list[Step]
    """The steps on which the closing answer rests."""
    known: list[str]
    """What planners said is known, in order; no sentence twice."""
    stop: Annotated[str, _first]
    """Why the run must close: ``"budget:<dimension>"`` or ``"failed"``; the first reason stays."""
    reason: Annotated[str, _first]
    """The same in plain words, with the remedy."""
    failed: Annotated[list[list[str]], operator.add]
    """(stop, reason) of every branch that failed: the run goes on with the others."""
    held: int
    """Tokens held for the closing answer, by the trunk's last node; 0 for the share that was cut at first."""
    text: str | None
    """The answer; None until the run's last node has written one, be it empty. Only then is the run done."""
    citations: list[str]


def initial(question: str) -> State:
    """The state that a run starts from."""
    zero = Spend().to_dict()
    return State(
        question=question, total=zero, serial=zero, trace=[], seen=[], found=[], chain=[], known=[], stop="", reason="",
        failed=[], held=0, text=None, citations=[],
    )  # fmt: skip


def node(body: Body) -> Node:
    """Turn ``async def body(moves, state) -> values`` into a LangGraph node of the trunk.

    First, what is held for the closing answer is made what that would need by now (`Moves.hold`): the rest is spent.

    The node charges what its moves cost to ``total`` and ``serial``, appends them to ``trace``, and turns a spent
    budget, a failed model or a lost index into ``stop`` and ``reason`` instead of an exception, so that no cost is ever
    lost and the graph can go on to its closing answer.
    """

    async def holding(moves: Moves, state: Any) -> Update:
        held = await moves.hold(state["question"], evidence(state), state["known"])
        return {**({"held": held} if held else {}), **await body(moves, state)}

    return _charging(holding, lambda stop, reason: {"stop": stop, "reason": reason})


def branch(body: Body) -> Node:
    """Like `node`, for a node that runs in parallel by `Send`: its failure is noted in ``failed`` and stops nothing."""
    return _charging(body, lambda stop, reason: {"failed": [[stop, f"In a branch, which has a share: {reason}"]]})


def _charging(body: Body, on_failure: Callable[[str, str], Update]) -> Node:
    async def run(state: Any, runtime: Runtime[Context]) -> Update:
        if not isinstance(runtime.context, Context):
            raise InvalidInput(
                f"a mode's graph was run with context={type(runtime.context).__name__}",
                "Give context=Context(index=..., llm=..., ledger=..., capabilities=...), or use Agent.",
            )
        moves = Moves.begin(state, runtime)
        try:
            values = await body(moves, state)
        except BudgetExceeded as limit:
            values = on_failure(f"budget:{limit.dimension}", str(limit))
        except (RagscaleError, OSError) as error:
            if isinstance(error, InvalidInput) and not moves.clock.llm_calls:
                raise  # a setting that the index refuses, before anything was paid for
            values = on_failure("failed", str(error))
        return {**moves.charged(), **values}

    # LangGraph resolves annotations in the function's own module.
    run.__annotations__ = {"state": Any, "runtime": Runtime[Context], "return": Update}
    return run


def evidence(state: State) -> list[str]:
    """Ids of all passages found, best first: what the closing answer is written from.

    The question's own hits come first, then those of the sub-queries by reciprocal rank fusion: fused with them, junk
    sub-queries pushed good passages out.
    """
    rankings = [*state["found"], *(step["passages"] for step in state["chain"])]
    return list(dict.fromkeys([*state["seen"], *(id for id, _ in reciprocal_rank_fusion(rankings))]))


def noted(known: list[str], said: str) -> list[str]:
    """`known` with what a planner said, unless it said nothing new."""
    return [*known, said] if said and said not in known else known


def unless_stopped(to: str) -> Callable[[State], Awaitable[str]]:
    """A router: `to`, or ``"answer"`` as soon as the run must close.

    Asynchronous like every router: LangGraph runs others in threads, at the price of a hop a step.
    """

    async def route(state: State) -> str:
        return "answer" if state["stop"] else to

    return route


@dataclass(frozen=True, kw_only=True)
class Mode(ABC):
    """A retrieval mode. The object *is* its configuration; `graph` wires it.

    Raises:
        InvalidInput: A number is below the least that `least` allows, above 1,000,000,000, or none at all.
    """

    name: ClassVar[str]
    """By which `Agent`, the command line and reports call it."""

    least: ClassVar[dict[str, float]] = {}
    """Smallest value of each numeric parameter; where none is given, 1 for whole numbers and 0 for others."""

    k: int = 5
    """Passages retrieved a sub-query."""
    context: int = 8
    """Passages shown to the closing answer at most; fewer where the budget or the context window is short."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            kind = str(getattr(field.type, "__name__", field.type))
            if kind not in _NUMBERS:
                continue
            least = self.least.get(field.name, 1 if kind == "int" else 0)
            if isinstance(value, bool) or not isinstance(value, _NUMBERS[kind]):
                raise InvalidInput(f"{self.name}: {field.name}={value!r} is no {kind}", "Give a number.")
            if not value >= least:
                raise InvalidInput(f"{self.name}: {field.name}={value!r} is below {least}", f"Use {least} or more.")
            if value > _MOST:
                raise InvalidInput(f"{self.name}: {field.name} is above {_MOST:,}", "Use a smaller number.")

    @abstractmethod
    def graph(self) -> StateGraph[Any, Context, Any, Any]:
        """The state machine, not compiled."""

    def looking(self, k: int) -> Node:
        """A first node that retrieves `k` passages for the question itself."""

        async def look(moves: Moves, state: State) -> Update:
            return {"seen": (await moves.retrieve([state["question"]], k))[0]}

        return node(look)

    def closing(self) -> Node:
        """The last node of every mode: answer from the best `evidence` that fits, whatever happened before."""

        async def answer(moves: Moves, state: State) -> Update:
            ids = evidence(state)
            if not ids and not state["found"] and not state["chain"]:
                # Nothing was retrieved (the first sub-query failed, or could not be paid): the question itself may do.
                with contextlib.suppress(BudgetExceeded):
                    [ids] = await moves.retrieve([state["question"]], self.k)
            ids = ids[: self.context]
            return await moves.close(state["question"], ids, state["chain"], state["known"], state["stop"])

        return node(answer)
