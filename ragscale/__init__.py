"""ragscale: every test-time scaling strategy for multi-hop QA on one index, one model and one honest ledger.

    import ragscale as rs

    agent = rs.Agent("indexes/demo", llm="embedded", mode="chain", budget=rs.Budget(rounds=6, tokens=16_000))
    answer = agent.ask("Which of the two directors was born first?")

Heavy parts (torch, faiss, LangGraph) load when they are first used.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from typing import TYPE_CHECKING, Any

from ragscale.answer import Answer
from ragscale.errors import RagscaleError
from ragscale.extras import pip_install
from ragscale.types import Event, Hit, Passage, Spend
from ragscale.version import __version__

if TYPE_CHECKING:
    from ragscale import modes, worlds
    from ragscale.agent import Agent
    from ragscale.budget import Budget, Ledger
    from ragscale.index import Index
    from ragscale.index.remote.index import RemoteIndex
    from ragscale.llm.prices import Price
    from ragscale.measure import Run, fit, sweep

__all__ = [
    "Agent",
    "Answer",
    "Budget",
    "Event",
    "Hit",
    "Index",
    "Ledger",
    "Passage",
    "Price",
    "RagscaleError",
    "RemoteIndex",
    "Run",
    "Spend",
    "__version__",
    "fit",
    "modes",
    "sweep",
    "worlds",
]


if importlib.util.find_spec("faiss") is None:
    # No error: indexes of BM25 alone, and those that a server shares, need none.
    warnings.warn(
        "No faiss is installed: indexes with vectors can neither be built nor opened. Install one of the extras: "
        f"{pip_install('cpu')}, or [gpu] instead of [cpu] with an NVIDIA GPU.",
        stacklevel=2,
    )

_LAZY = {
    "Agent": "ragscale.agent",
    "Budget": "ragscale.budget",
    "Index": "ragscale.index",
    "Ledger": "ragscale.budget",
    "Price": "ragscale.llm.prices",
    "RemoteIndex": "ragscale.index.remote.index",
    "Run": "ragscale.measure",
    "fit": "ragscale.measure",
    "sweep": "ragscale.measure",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    if name in ("modes", "worlds"):
        return importlib.import_module(f"ragscale.{name}")
    raise AttributeError(f"module 'ragscale' has no attribute {name!r}")
