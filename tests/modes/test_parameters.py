"""A mode object is its configuration: bad values are refused, the seed decides the samples."""

from __future__ import annotations

import re
from typing import Any

import pytest
from conformance import story
from doubles import run

from ragscale.errors import InvalidInput
from ragscale.modes import Chain, Mode, Once, Parallel, Tree


@pytest.mark.parametrize(
    ("cls", "values"),
    [
        (Once, {"k": 0}),
        (Chain, {"steps": 0}),
        (Chain, {"temperature": -0.1}),
        (Chain, {"question_k": -1}),
        (Parallel, {"rounds": 0}),
        (Parallel, {"max_queries": 0}),
        (Parallel, {"profile": "xml"}),
        (Tree, {"expand": 0}),
        (Tree, {"rollouts": 0}),
        (Tree, {"rollout_steps": -1}),
        (Tree, {"steps": float("nan")}),
        (Chain, {"steps": 2.5}),
        (Chain, {"steps": "6"}),
        (Parallel, {"k": None}),
        (Parallel, {"k": True}),
    ],
)
def test_bad_values_are_refused_by_name(cls: type[Mode], values: dict[str, Any]) -> None:
    ((name, value),) = values.items()
    with pytest.raises(InvalidInput, match=re.escape(f"{cls.name}: {name}={value!r}")):
        cls(**values)


@pytest.mark.parametrize("mode", [Chain(steps=3), Parallel(rounds=3), Tree(steps=2)], ids=lambda mode: mode.name)
def test_other_seed_other_samples(mode: Mode) -> None:
    stories = [story(run(mode, seed=seed)[0]) for seed in (0, 1)]
    assert stories[0] != stories[1]
