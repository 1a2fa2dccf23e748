"""A mode object is its configuration: bad values are refused, the seed decides the samples."""

from __future__ import annotations

import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conformance import story
from doubles import run, scripted

from ragscale.errors import InvalidInput
from ragscale.modes import Auto, Chain, Mode, Once, Parallel, Tree, Vote, built_in
from ragscale.modes.core.asking import CAPS
from ragscale.modes.spec import label, parse


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
        (Chain, {"early": 0}),
        (Once, {"logprobs": 1}),
        (Parallel, {"stop": "true"}),
        (Chain, {"prompts": None}),
        (Chain, {"prompts": 3}),
        (Auto, {"policy": None}),
    ],
)
def test_bad_values_are_refused_by_name(cls: type[Mode], values: dict[str, Any]) -> None:
    ((name, value),) = values.items()
    with pytest.raises(InvalidInput, match=re.escape(f"{cls.name}: {name}={value!r}")):
        cls(**values)


@pytest.mark.parametrize(
    ("cls", "given", "plain"),
    [
        (Chain, {"prompts": Path("a-b.toml")}, {"prompts": "a-b.toml"}),
        (Chain, {"steps": np.int64(3)}, {"steps": 3}),
        (Chain, {"temperature": np.float32(0.5)}, {"temperature": 0.5}),
        (Vote, {"of": " chain(steps=2) ", "n": np.int8(2)}, {"of": Chain(steps=2), "n": 2}),
    ],
    ids=str,
)
def test_values_are_made_plain_so_that_labels_read_back(cls: Any, given: Any, plain: Any) -> None:
    mode = cls(**given)
    assert repr(mode) == repr(cls(**plain))
    assert parse(label(mode)) == mode


@pytest.mark.parametrize("mode", [Chain(steps=3), Parallel(rounds=3), Tree(steps=2)], ids=lambda mode: mode.name)
def test_other_seed_other_samples(mode: Mode) -> None:
    stories = [story(run(mode, seed=seed)[0]) for seed in (0, 1)]
    assert stories[0] != stories[1]


@pytest.mark.parametrize(
    ("name", "cap"),
    [(name, cap) for name, cls in built_in().items() for cap in CAPS if cap in cls.__dataclass_fields__],
)
def test_every_cap_of_tokens_reaches_the_model(name: str, cap: str) -> None:
    """A parameter that is a cap limits some call."""
    further = {"aggregate": "round"} if (name, cap) == ("parallel", "read_tokens") else {}
    mode = built_in()[name](**{cap: 41}, **further)
    assert mode.asks["settings"] == {cap: 41}
    llm = scripted()
    run(mode, llm=llm)
    if (name, cap) != (
        "evolve",
        "answer_tokens",
    ):  # the evaluator answers there
        assert any(call.max_tokens == 41 for call in llm.calls)


@pytest.mark.parametrize(("cls", "name", "near"), [(Chain, "step", "steps"), (Parallel, "max_query", "max_queries")])
def test_a_parameter_that_does_not_exist_is_named(cls: type[Mode], name: str, near: str) -> None:
    with pytest.raises(
        InvalidInput,
        match=rf"unknown parameter '{name}' of the mode {cls.name}\. Did you mean '{near}'\? There are: k, c",
    ):
        cls(**{name: 3})
    with pytest.raises(InvalidInput, match=rf"unknown parameter '{name}'"):
        replace(cls(), **{name: 3})
    assert pickle.loads(pickle.dumps(cls(k=3))) == cls(k=3) == replace(cls(), k=3)
