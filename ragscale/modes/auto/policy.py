"""`Policy`: a fitted allocation as plain numbers: which answer to go on from, by which mode, at which price.

The file is JSON that holds boosted trees as arrays, checked when it is read. Nothing in it is run, and scikit-learn is
not needed to use it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ragscale.budget import Budget
from ragscale.errors import InvalidInput
from ragscale.modes.auto.features import FEATURES
from ragscale.paths import expanded

__all__ = [
    "FORMAT",
    "PLAIN",
    "VERSION",
    "Action",
    "CellOf",
    "Fitted",
    "Gain",
    "Policy",
    "RegressionTree",
    "within_auto",
]

FORMAT = "ragscale policy"
VERSION = 1
_LARGEST = 4 * 2**20
"""Bytes of a file: far above what `ragscale fit` writes."""
_AUTO = re.compile(r"\bauto\s*\(|(?<!['\"\w])auto(?!['\"\w])")
_AGAIN = "Write it anew: ragscale fit RUN --out policy.json."
_LIMITS = {field.name for field in fields(Budget)}

Amount = Annotated[float, Field(ge=0)]
_MOST = 1e9
"""Largest number that a gate reckons with: sums of such are numbers, too."""
Number = Annotated[float, Field(ge=-_MOST, le=_MOST)]


class _Part(BaseModel):
    """A part of a policy file: of exactly these fields, with finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class RegressionTree(_Part):
    """A regression tree as arrays, a place a node; the root is node 0, and children stand behind their parent."""

    feature: Annotated[list[int], Field(min_length=1, max_length=255)]
    """Number of the feature that a node looks at; any number in a leaf."""
    threshold: list[float]
    """A node's left child is for values up to this one."""
    left: list[int]
    """-1 in a leaf."""
    right: list[int]
    value: list[Number]
    """Of a leaf."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        n = len(self.feature)
        if any(len(column) != n for column in (self.threshold, self.left, self.right, self.value)):
            raise ValueError("arrays of different lengths")
        for at, (feature, left, right) in enumerate(zip(self.feature, self.left, self.right, strict=True)):
            if left == right == -1:
                continue
            if not (at < left < n and at < right < n and 0 <= feature < len(FEATURES)):
                raise ValueError(f"node {at} leads nowhere")
        return self

    def __call__(self, values: list[float]) -> float:
        """The value of the leaf that the features lead to."""
        at = 0
        while self.left[at] >= 0:
            at = self.left[at] if values[self.feature[at]] <= self.threshold[at] else self.right[at]
        return self.value[at]


class Gain(_Part):
    """Expected gain of going on: F1 of the further mode less that of the first answer, by boosted trees."""

    base: Number
    trees: Annotated[list[RegressionTree], Field(max_length=1_000)]

    def __call__(self, features: Mapping[str, float]) -> float:
        """The gain, from about -1 to 1."""
        # Single precision, as scikit-learn compares.
        values = [float(np.float32(features[name])) for name in FEATURES]
        return self.base + math.fsum(tree(values) for tree in self.trees)


class CellOf(_Part):
    """A mode at a budget, as the run had it."""

    mode: Annotated[str, Field(min_length=1, max_length=2_000)]
    """As `ragscale.modes.get` takes it."""
    budget: dict[str, Amount]
    """Limits by dimension; open dimensions are absent."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        if within_auto(self.mode):
            raise ValueError("auto within auto")
        if unknown := set(self.budget) - _LIMITS:
            raise ValueError(f"no limit is called {unknown.pop()!r}")
        return self


class Action(CellOf):
    """A mode to go on with."""

    tokens: Annotated[Amount, Field(le=_MOST)]
    """Its mean tokens in the run."""
    gain: Gain


class Fitted(_Part):
    """The run that a policy was fitted on."""

    questions: Annotated[int, Field(ge=0)]
    documents: Annotated[int, Field(ge=0)]
    """Source documents of the questions."""
    settings: dict[str, str]
    """``llm``, ``index`` (its fingerprint), ``how`` it was searched, ``ragscale`` (version)."""


class Policy(_Part):
    """When to go on from a first answer, and how.

    The gate's value of an action is its expected gain less the price of its tokens. The run goes on by the action of
    the highest value where that is above 0, else it stops.
    """

    format: Literal["ragscale policy"] = "ragscale policy"
    version: int = VERSION
    features: list[str] = Field(default_factory=lambda: [*FEATURES])
    """Names of the features, in the order of the trees' numbers."""
    first: CellOf
    """The mode of the first answer."""
    actions: Annotated[list[Action], Field(max_length=100)]
    """Ways to go on."""
    price: Annotated[Amount, Field(le=_MOST)]
    """F1 that 1,000 tokens must be worth."""
    fixed: CellOf
    """The best fixed mode, which runs alone where the gate is not used."""
    fallback: str
    """Reason, in words, why the gate is not used; empty where it is."""
    fitted: Fitted
    report: dict[str, Any]
    """Figures of the fit, out of fold."""

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The policy of a file.

        Raises:
            InvalidInput: The file cannot be read, is no policy, is damaged, is of another version, or has other
                features than this version of ragscale.
        """
        path = expanded(path)
        try:
            size = path.stat().st_size
            if size > _LARGEST:
                raise InvalidInput(f"{path}: {size:,} bytes, a policy has at most {_LARGEST:,}", _AGAIN)
            data = path.read_bytes()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise InvalidInput(f"policy={str(path)!r} cannot be read ({why})", _AGAIN) from error
        try:
            head = json.loads(data)
            if not isinstance(head, dict) or head.get("format") != FORMAT:
                raise InvalidInput(f"{path}: no policy", _AGAIN)
            if head.get("version") != VERSION:
                raise InvalidInput(f"{path}: version {head.get('version')!r}, this one reads {VERSION}", _AGAIN)
            if head.get("features") != [*FEATURES]:
                raise InvalidInput(
                    f"{path}: features {str(head.get('features'))[:200]}, this version has {', '.join(FEATURES)}",
                    _AGAIN,
                )
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise InvalidInput(f"{path}: damaged ({f'{place}: ' if place else ''}{first['msg']})", _AGAIN) from None
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"{path}: no JSON ({error})", _AGAIN) from None

    def save(self, path: str | Path) -> Path:
        """Write the file, which is complete or not there; its path.

        Raises:
            InvalidInput: It is a folder, or cannot be written.
        """
        path = expanded(path)
        if path.is_dir():
            remedy = "Give the policy's file, as in policy.json."
            raise InvalidInput(f"{str(path)!r} cannot be written: it is a folder", remedy)
        part = path.with_name(f"{path.name}.part")
        try:
            part.write_text(f"{self.model_dump_json()}\n", encoding="utf-8")
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise InvalidInput(
                f"{path}: cannot be written ({error.strerror or error})", "Give another file."
            ) from error
        return path

    @property
    def cells(self) -> list[CellOf]:
        """Those that a run is made of: the first and the ways to go on, or the best fixed one alone."""
        return [self.fixed] if self.fallback else [self.first, *self.actions]

    @property
    def mark(self) -> str:
        """Tells policies apart: 12 hexadecimal digits of all but the report."""
        return hashlib.sha256(self.model_dump_json(exclude={"report"}).encode()).hexdigest()[:12]

    def values(self, features: Mapping[str, float]) -> list[float]:
        """The gate's value of each action."""
        return [action.gain(features) - self.price * action.tokens / 1_000 for action in self.actions]


def within_auto(mode: str) -> bool:
    """Whether a mode, as text, is ``auto`` or has it inside: a policy chooses no policy."""
    return bool(_AUTO.search(mode))


PLAIN = Policy(
    first=CellOf(mode="once", budget={}),
    actions=[
        Action(
            mode="chain", budget={}, tokens=0.0,
            gain=Gain(base=0.0, trees=[RegressionTree(
                feature=[[*FEATURES].index("answered"), 0, 0], threshold=[0.5, 0.0, 0.0], left=[1, -1, -1],
                right=[2, -1, -1], value=[0.0, 1.0, -1.0],
            )]),
        )
    ],
    price=0.0,
    fixed=CellOf(mode="once", budget={}),
    fallback="",
    fitted=Fitted(questions=0, documents=0, settings={}),
    report={},
)  # fmt: skip
"""The rule of ``auto`` without a file, learned from nothing: ``chain`` where ``once`` has no answer."""
