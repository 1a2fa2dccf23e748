"""`RolloutTree`: the tree of a Monte Carlo tree search over chains, and the choice of its nodes by UCT."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from ragscale.modes.core.state import Outcome
from ragscale.prompts import Step, normalise

__all__ = ["RolloutTree"]

Path = tuple[str, ...]
"""A node of the tree: the sub-queries on the way to it, normalised. The root is ``()``."""


@dataclass(frozen=True, kw_only=True)
class RolloutTree:
    """Tree of rollouts: a pure function of those that are done, and of where they started."""

    done: Sequence[Outcome]
    starts: Sequence[int]
    """Length of the chain that each of them went on from."""
    expand: int
    """Rollouts that start at a node before the search descends through it."""
    deepest: float
    """Longest chain: no rollout starts at a node of so many steps."""
    exploration: float
    """Weight of rarely visited nodes (c)."""

    def leaves(self, most: int) -> list[list[Step]]:
        """Chains of the nodes that the next rollouts go on from, `most` at most: fewer where every path has ended.

        Visits under way count, so that rollouts side by side do not all take the same way.
        """
        leaves: list[Path] = []
        while len(leaves) < most and (leaf := self._open((), leaves)) is not None:
            leaves.append(leaf)
        return [self._chain(leaf) for leaf in leaves]

    def _open(self, at: Path, under_way: Sequence[Path]) -> Path | None:
        """The node below `at`, or itself, that another rollout may start at: the first one down the highest bounds."""
        begun = [*self._begun, *under_way].count(at)
        if begun < self.expand and at not in self._ended and len(at) < self.deepest:
            return at
        below = dict.fromkeys(path[: len(at) + 1] for path in self._paths if path[: len(at)] == at != path)
        children = sorted(below, key=lambda child: self._bound(child, under_way), reverse=True)
        return next(filter(None, (self._open(child, under_way) for child in children)), None)

    def _bound(self, node: Path, under_way: Sequence[Path]) -> float:
        """Upper confidence bound: the mean reward through a node, and the more the rarer it is visited."""
        mean = fmean(
            reward for path, reward in zip(self._paths, self._rewards, strict=True) if path[: len(node)] == node
        )
        visits, around = (sum(path[: len(at)] == at for path in (*self._paths, *under_way)) for at in (node, node[:-1]))
        return mean + self.exploration * math.sqrt(math.log(around) / visits)

    def _chain(self, node: Path) -> list[Step]:
        """The chain to a node, in the words of the first rollout through it."""
        through = (one for one, path in zip(self.done, self._paths, strict=True) if path[: len(node)] == node)
        return next((one["chain"][: len(node)] for one in through), [])

    @cached_property
    def _paths(self) -> list[Path]:
        """Each rollout's, from the root to its last step."""
        return [tuple(normalise(step["query"]) for step in one["chain"]) for one in self.done]

    @cached_property
    def _begun(self) -> list[Path]:
        """Node that each rollout started at."""
        return [path[:start] for path, start in zip(self._paths, self.starts, strict=True)]

    @cached_property
    def _ended(self) -> set[Path]:
        """Paths that came to their own end. A chain that was cut short can go on."""
        return {path for one, path in zip(self.done, self._paths, strict=True) if not one["stop"]}

    @cached_property
    def _rewards(self) -> list[float]:
        """From 0 to 1, the worst and the best so far; 0 without a score, and 0.5 where all are equal."""
        scores = [one["score"] for one in self.done]
        known = [score for score in scores if score is not None]
        low, high = min(known, default=0.0), max(known, default=0.0)
        return [0.0 if score is None else (score - low) / (high - low) if high > low else 0.5 for score in scores]
