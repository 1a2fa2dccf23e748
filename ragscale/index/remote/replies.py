"""The replies of an index server, as its client reads them: every field and its type, checked before any is used.

Strict: a number is not text, and ``true`` is not a number. Fields beyond these are a later server's, and ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, final

from pydantic import ConfigDict, Field, FiniteFloat, TypeAdapter, with_config
from typing_extensions import TypedDict  # that of Python 3.11 does not tell pydantic which fields are required

from ragscale.index.options import DESCRIPTION_LENGTH, How
from ragscale.types import Scalar

__all__ = [
    "ABOUT",
    "FAILURE",
    "KNOWN",
    "PASSAGES",
    "RESULTS",
    "About",
    "Failed",
    "Found",
    "Known",
    "Passages",
    "Results",
]

_strict = with_config(ConfigDict(strict=True))
_open = with_config(ConfigDict(strict=True, extra="allow"))
_Count = Annotated[int, Field(ge=1)]
_Fingerprint = Annotated[str, Field(min_length=1)]


@_open
class _Limits(TypedDict):
    queries: _Count
    hits: _Count
    pairs: _Count
    body: _Count
    characters: NotRequired[_Count]
    names: NotRequired[_Count]


@_open
class About(TypedDict):
    """``GET /v1/index``; other fields are kept."""

    fingerprint: _Fingerprint
    how: How
    passages: Annotated[int, Field(ge=0, lt=1 << 63)]
    limits: _Limits
    description: NotRequired[Annotated[str, Field(max_length=DESCRIPTION_LENGTH)]]
    rerankers: NotRequired[dict[str, str]]


@_strict
class _Passage(TypedDict):
    id: str
    title: str
    text: str
    document: str
    metadata: dict[str, Scalar]


@_strict
class _Hit(_Passage):
    score: FiniteFloat
    dense: NotRequired[_Count | None]
    bm25: NotRequired[_Count | None]


@_strict
class _Problem(TypedDict):
    problem: str
    remedy: str


@_strict
class _Failure(TypedDict):
    error: _Problem


@final
@_strict
class Failed(_Failure):
    """A search of a batch that failed."""

    status: int


@final
@_strict
class Found(TypedDict):
    """A search of a batch: for each query its hits."""

    hits: list[list[_Hit]]


@_strict
class Results(TypedDict):
    """``POST /v1/batch``: for each search its hits, or its error."""

    fingerprint: _Fingerprint
    results: list[Failed | Found]


@_strict
class Passages(TypedDict):
    """``GET /v1/passages``."""

    fingerprint: _Fingerprint
    passages: list[_Passage]


@_strict
class Known(TypedDict):
    """``POST /v1/known``."""

    fingerprint: _Fingerprint
    known: list[str]


ABOUT: TypeAdapter[About] = TypeAdapter(About)
RESULTS: TypeAdapter[Results] = TypeAdapter(Results)
PASSAGES: TypeAdapter[Passages] = TypeAdapter(Passages)
KNOWN: TypeAdapter[Known] = TypeAdapter(Known)
FAILURE: TypeAdapter[Any] = TypeAdapter(_Failure)
"""Every error of the server."""
