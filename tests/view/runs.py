"""Runs to be shown: real modes under a scripted model whose calls take time, and texts that attack a page."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

from doubles import StubIndex, move_of, never_repeating, run, scripted
from test_conformance import SMALL

from ragscale.answer import Answer
from ragscale.budget import Budget
from ragscale.errors import ModelError
from ragscale.llm.scripted import ScriptedCall
from ragscale.modes import Chain, Mcts, Mode, Parallel, Vote
from ragscale.types import Message

HOSTILE = (
    "</script><script>document.title='hacked'</script><!-- <img src=x onerror=\"document.title='hacked'\">"
    " \u202egnp.exe\u202c \u0000 \u2028 {{7*7}} javascript:alert(1) "
)
MODES: dict[str, Mode] = {
    "chain": Chain(steps=2),
    "tree": SMALL,
    "vote": Vote(of=Chain(steps=2), n=3),
    "mcts": Mcts(of=Chain(steps=2), rollouts=3, width=2, expand=1, scorer="penalty"),
    "parallel": Parallel(rounds=2),
}


def shown(mode: Mode, budget: Budget | None = None, **options: Any) -> Answer:
    """A run whose calls and searches take some time."""
    source = random.Random(str(mode))
    llm = scripted(options.pop("script", never_repeating), delay=lambda call: source.uniform(0.2, 2.0))
    answer, _ = run(mode, llm=llm, index=options.pop("index", StubIndex(delay=0.2)), budget=budget, **options)
    return answer


def failing(messages: Sequence[Message], call: ScriptedCall) -> Any:
    """Reads nothing."""
    if move_of(call) == "read":
        raise ModelError("the endpoint replied 503", "Wait.", retryable=True)
    return never_repeating(messages, call)


def hostile(messages: Sequence[Message], call: ScriptedCall) -> Any:
    """Attacks wherever a model can write."""
    said = {
        "plan": json.dumps({"known": HOSTILE, "missing": HOSTILE, "queries": [HOSTILE]}),
        "read": HOSTILE + "w" * 100_000,
        "answer": json.dumps({"documents": [1], "answer": HOSTILE}),
    }
    return [said.get(move_of(call), HOSTILE)] * call.n
