"""Nodes of a mode's graph: they bind moves to the run's ledger, and turn failures into state instead of exceptions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from langgraph.runtime import Runtime
from langgraph.types import Send

from ragscale.errors import BudgetExceeded, InvalidInput, RagscaleError
from ragscale.modes.core.calls import Context
from ragscale.modes.core.moves import Moves
from ragscale.modes.core.state import Scope, State, Update, inside, place

__all__ = ["Body", "Node", "branch", "node", "send", "unless_stopped"]

Body = Callable[[Moves, Any], Awaitable[Update]]


class Node(Protocol):
    """Signature that LangGraph calls: the parameter names tell it what to pass."""

    async def __call__(self, state: Any, runtime: Runtime[Context]) -> Update:
        """Run one superstep's task."""
        ...


def node(body: Body) -> Node:
    """Turn ``async def body(moves, state) -> values`` into a LangGraph node of the trunk.

    First, what is held for the closing answer is made what that would need by now (`Moves.hold`): the rest is spent.

    The node charges what its moves cost to ``total`` and ``serial``, appends them to ``trace``, and turns a spent
    budget, a failed model or a lost index into ``stop`` and ``reason`` instead of an exception, so that no cost is ever
    lost and the graph can go on to its closing answer.
    """

    async def holding(moves: Moves, state: Any) -> Update:
        held = await moves.hold(state)
        return {**({} if held is None else {"held": held}), **await body(moves, state)}

    return charging(holding, lambda stop, reason: {"stop": stop, "reason": reason})


def branch(body: Body) -> Node:
    """Like `node`, for a node that runs in parallel by `send`: its failure is noted in ``failed`` and stops nothing."""
    return charging(body, lambda stop, reason: {"failed": [[stop, reason]]})


def charging(body: Body, on_failure: Callable[[str, str], Update]) -> Node:
    """Turn `body` into a node that charges its moves; `on_failure` makes an update of a stop reason and its words."""

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


def send(to: str, state: State, name: str, *, temperature: float = 0.0, fewer: str = "", **values: Any) -> Send:
    """Start a branch: node `to` with a share of its own, ``state["part"]``.

    Args:
        to: The node, made by `branch` or by `inner_run`.
        state: Of the node or router that sends.
        name: Of the branch, within this run: no other that runs at the same time has it. The seeds of its calls and the
            ids of its events depend on its full name.
        temperature: Least temperature of its planning and closing moves.
        fewer: Parameter that would leave each branch more if it were lower (``"n of vote"``), which the reason of one
            that runs out of its share says; empty where there is no other branch.
        values: Further keys of the branch's state.
    """
    outer = state["scope"]
    branch = inside(outer, name)
    after, events = place(outer, state["trace"], branch)
    scope = Scope(
        branch=branch, share=state["part"], reserve={}, answers=True,
        temperature=max(temperature, outer["temperature"]), shown=outer["shown"], typical=state["typical"],
        asks=outer["asks"], fewer=" or ".join(filter(None, [outer["fewer"], fewer])), after=after, events=events,
    )  # fmt: skip
    shared = {key: state[key] for key in ("question", "serial", "seen")}
    return Send(to, {**shared, "scope": scope, **values})


def unless_stopped(to: str, given: str = "") -> Callable[[Any], Awaitable[str]]:
    """A router: `to`, or ``"answer"`` as soon as the run must close, or where the state's key `given` is empty.

    Asynchronous like every router: LangGraph runs others in threads, at the price of a hop a step.
    """

    async def route(state: Any) -> str:  # of a `State`, LangGraph would hand it no key of the mode's own
        return "answer" if state["stop"] or (given and not state[given]) else to

    return route
