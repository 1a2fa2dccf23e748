"""Inner runs: a mode runs inside another one, as a LangGraph subgraph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from langgraph.graph import StateGraph
from langgraph.runtime import Runtime

from ragscale.errors import RagscaleError
from ragscale.modes.core.calls import Context
from ragscale.modes.core.costs import Costs, dollars_a_token
from ragscale.modes.core.mode import Mode
from ragscale.modes.core.moves import Moves, closing_share
from ragscale.modes.core.nodes import Node
from ragscale.modes.core.scorers import Scorer
from ragscale.modes.core.state import Scope, Update, initial, outcome
from ragscale.types import Spend

__all__ = ["inner_run"]

_GOES_ON_FROM = ("seen", "chain", "known")


def inner_run(mode: Mode, *, answers: bool = True, scorer: Scorer | None = None) -> Node:
    """A node that runs `mode` on the question, with the share of its branch; start it by `send`.

    The run is a real subgraph: it is checkpointed and resumed at its failed node, its events are streamed and traced
    under its branch's name, its spends merge into those of the run around it. It goes on from ``seen``, ``chain`` and
    ``known`` where the branch is given them. Its `Outcome` is appended to ``outcomes``.

    A branch with the value ``scored=False`` is not scored: there is nothing to choose from. One with a ``hint`` says
    that below the question where its run plans and answers (`Generic.hint`), in runs inside it, too, each of which may
    add a hint of its own.

    Args:
        mode: Any mode.
        answers: Whether it is to end in an answer, for which it keeps a share of its share.
        scorer: Scores the outcome within the branch, at the branch's cost, which is kept for it.
    """
    # Compiled as LangGraph's own class, so that it takes the checkpointer of the run around it. The node's function
    # holds it, which is how LangGraph finds subgraphs, in drawings too.
    graph = StateGraph.compile(mode.graph())

    async def run(state: Any, runtime: Runtime[Context]) -> Update:
        context, outer = runtime.context, state["scope"]
        clock, thinking = Spend.from_dict(state["serial"]), context.capabilities.thinking
        share, scored = outer["share"], scorer if state.get("scored", True) else None
        closing = closing_share(share, clock, thinking, context.price) if answers else {}
        if scored:
            cost = scored.cost(Costs.by(outer["typical"], samples=context.capabilities.samples), mode.context)
            share = _less(share, cost, closing, dollars_a_token(context.price, Spend()))
        told = [*mode.asks.get("logprobs", ()), *outer["asks"].get("logprobs", ())]
        handed: dict[str, Any] = {"logprobs": list(dict.fromkeys(told))} if told else {}
        hint = "\n".join(filter(None, [outer["asks"].get("hint", ""), state.get("hint", "")]))
        handed |= {"hint": hint} if hint else {}
        asks = {**mode.asks, **handed}
        scope = Scope(
            branch=outer["branch"], share=share, reserve=closing, answers=answers, temperature=outer["temperature"],
            shown=mode.context, typical=outer["typical"], asks=asks, fewer=outer["fewer"],
            after=outer["after"], events=outer["events"],
        )  # fmt: skip
        given = {key: state[key] for key in _GOES_ON_FROM if key in state}
        start = {**initial(state["question"], scope, state["serial"]), **given}
        context = replace(context, emit=context.emit or runtime.stream_writer)
        async for values in graph.astream(start, context=context, stream_mode="values"):
            end = values
        if context.line and runtime.execution_info:
            context.line.ended(runtime.execution_info)
        result = outcome(end)
        update: Update = {name: end[name] for name in ("total", "serial", "trace", "caveats")}
        if scored and not _lost(end):
            place = {"scope": {**outer, "shown": mode.context}, "held": None}
            moves = Moves.begin({**end, **place}, replace(runtime, context=context))
            try:
                result["score"] = await scored(moves, state["question"], result)
            except (RagscaleError, OSError) as error:
                moves.note("score", f"not scored: {error}", status="failed")
            last = moves.charged()
            total = (Spend.from_dict(update["total"]) + Spend.from_dict(last["total"])).to_dict()
            update |= {"total": total, "serial": last["serial"], "trace": update["trace"] + last["trace"]}
        return {**update, "outcomes": [result]}

    # LangGraph resolves annotations in the function's own module.
    run.__annotations__ = {"state": Any, "runtime": Runtime[Context], "return": Update}
    return run


def _lost(end: Mapping[str, Any]) -> bool:
    """Whether a run has nothing that could be scored."""
    return not end["chain"] and not end["text"] and not end["seen"] and not end["found"]


def _less(share: Mapping[str, float], cost: Spend, closing: Mapping[str, float], rate: float) -> dict[str, float]:
    """The part of a share that is left beside what a scorer will cost, at `rate` dollars a token; never less than the
    closing answer needs."""
    kept = {"tokens": cost.tokens, "llm_calls": cost.llm_calls, "usd": round(cost.tokens * rate, 12)}
    kept |= {"serial_tokens": cost.tokens, "serial_calls": cost.llm_calls}
    return {name: max(min(limit, closing.get(name, 0)), limit - kept.get(name, 0)) for name, limit in share.items()}
