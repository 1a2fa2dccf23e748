"""`tree`: CoRAG's tree search (arXiv 2501.14342): a beam of one chain, whose children are scored by rollouts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ragscale.modes.core.asking import CORAG
from ragscale.modes.search.beam import Beam

__all__ = ["Tree"]


@dataclass(frozen=True, kw_only=True)
class Tree(Beam):
    """At each of `steps` levels: `samples` sub-queries, `expand` distinct ones answered, each scored by `rollouts`.

    A child's score is the mean penalty of its rollouts (`penalty`: the log-likelihood of "No relevant information
    found"; lower is better). The best child becomes the chain's next step, ties to the earliest. With nothing repeated
    or malformed each level costs 1 + E + E R (2 D + 1) model calls and E + E R D retrievals, for E = `expand`, R =
    `rollouts` and D = `rollout_steps`, or the levels left where these are fewer; the last level has one score a child.
    With the answer the defaults cost 219 and 96, and one more retrieval for the question. A level that the budget
    cannot pay is made narrower until it can (`Shape`), down to a greedy step. The search ends early where most samples
    of a level say that nothing is missing. What differs from CoRAG's code (ancestors, lone children, the penalty's
    prompt): docs/architecture.md.
    """

    name: ClassVar[str] = "tree"
    source: ClassVar[str] = "CoRAG, arXiv 2501.14342"
    pays: ClassVar[str] = "where a wrong first step spoils a chain, and tokens are cheap"
    presets: ClassVar[dict[str, dict[str, Any]]] = {"corag-paper": CORAG}

    steps: int = 6
    beam: int = 1
    """Chains kept after each level (b), of which CoRAG has one."""
    expand: int = 4
    samples: int = 6
    rollouts: int = 2
    rollout_steps: int = 2
    temperature: float = 0.7
    """Of sampled sub-queries, in expansions and rollouts."""
