"""Every registered mode, and small variants of the built-in ones, against the conformance suite."""

from __future__ import annotations

import pytest
from conformance import Conformance

from ragscale import modes
from ragscale.modes import Chain, Mode, Once, Parallel, Tree

VARIANTS: dict[str, Mode] = {
    **{name: cls() for name, cls in modes.registered().items()},
    "once-k1": Once(k=1, context=1),
    "chain-2": Chain(steps=2, question_k=0),
    "parallel-single": Parallel(max_queries=1),
    "parallel-tags": Parallel(profile="tags", rounds=2),
    "tree-small": Tree(steps=2, expand=2, samples=3, rollouts=2, rollout_steps=1),
    "tree-one": Tree(steps=2, expand=1, samples=1, question_k=0),
    "tree-wide": Tree(steps=1, expand=5, samples=2, rollouts=1, rollout_steps=0),
}


class TestEveryMode(Conformance):
    @pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
    def mode(self, request: pytest.FixtureRequest) -> Mode:
        mode: Mode = request.param
        return mode
