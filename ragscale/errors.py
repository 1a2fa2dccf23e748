"""Error types of ragscale.

Each message names the offending value, the limit it broke and what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ragscale.types import Spend

__all__ = [
    "BadDocument",
    "BudgetExceeded",
    "CallMissing",
    "CallStoreError",
    "CorpusError",
    "EndpointError",
    "IndexBusy",
    "IndexDamaged",
    "IndexMismatch",
    "IndexServerError",
    "InvalidInput",
    "MissingDependency",
    "ModelError",
    "ModelFileError",
    "RagscaleError",
]


class RagscaleError(RuntimeError):
    """Root of ragscale's errors: a problem and its remedy.

    Derives from ``RuntimeError`` because LangGraph's default retry policy runs a node again on any other
    custom exception, which would repeat (and charge) work that cannot succeed.

    Args:
        problem: What is wrong, with the value and the limit; no final full stop.
        remedy: What the reader can do about it, as a sentence.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}. {remedy}".strip() if remedy else problem)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        # Exceptions are otherwise made again by a call with their text alone, which not all of these classes take.
        return BaseException.__new__, (type(self), *self.args), self.__dict__


class InvalidInput(RagscaleError):
    """An argument, option or name that is out of range or unknown."""


class MissingDependency(RagscaleError):
    """An optional package is not installed, or two packages exclude each other."""


class CorpusError(RagscaleError):
    """A corpus that cannot be indexed: absent, empty, of an unknown kind, with duplicate ids or a bad document."""


class BadDocument(CorpusError):
    """A file, an archive member or a row that cannot be read; a build that keeps going reports it and skips it.

    Args:
        place: Where it stands: file, archive and member, with line or row.
        reason: What is wrong with it; no final full stop.
        remedy: What to do about it, as a sentence.
    """

    def __init__(self, place: object, reason: str, remedy: str = "") -> None:
        self.place = str(place)
        self.reason = reason
        super().__init__(f"{place}: {reason}", remedy)


class IndexBusy(RagscaleError):
    """An index that another process or thread is writing."""


class IndexDamaged(RagscaleError):
    """A file of an index is missing, truncated or does not have the checksum of its manifest."""


class IndexMismatch(RagscaleError):
    """An index that is whole but not the one asked for: other format version, other embedder, other dimension."""


class IndexServerError(RagscaleError):
    """An index server that cannot be reached, is busy, refuses the token or failed."""


class ModelFileError(RagscaleError):
    """Model weights that are absent, incomplete or do not have the pinned SHA-256."""


class BudgetExceeded(RagscaleError):
    """A reservation that does not fit in what is left.

    Args:
        dimension: The limit that was reached: a field name of `Budget`.
        limit: That limit, as it was given.
        wanted: Spend that the refused reservation would have led to.
        closing: Whether that includes what is kept for the closing answer.
        branch: The branch that has a share of the limit; empty for a run's trunk.
        share: That share; None where the whole limit is there for it.
        fewer: Parameters that would leave the branch more if they were lower, in words; empty for none.
        total: Whether the limit is one of all questions together.
        after: The failures before, which made another attempt necessary; no final full stop.
    """

    def __init__(
        self,
        dimension: str,
        limit: float,
        wanted: float,
        *,
        closing: bool = False,
        branch: str = "",
        share: float | None = None,
        fewer: str = "",
        total: bool = False,
        after: str = "",
    ) -> None:
        self.dimension = dimension
        self.limit = limit
        self.wanted = wanted
        self._told: dict[str, Any] = {
            "closing": closing, "branch": branch, "share": share, "fewer": fewer, "total": total
        }  # fmt: skip
        spent, whole = _amount(wanted, dimension), _amount(limit, dimension)
        beyond = f"{dimension}: {spent} would be spent{' with the closing answer' if closing else ''}"
        beyond += f" in branch {branch}" if branch else ""
        if share is not None:
            beyond += f", whose share is {_amount(share, dimension)} of your limit of {whole}"
        else:
            beyond += f", the limit {'of all questions together ' if total else ''}is {whole}"
        lower = f", or lower {fewer}" if share is not None and fewer else ""
        remedy = f"Raise {dimension} in the {'total ' if total else ''}budget{lower}."
        super().__init__(f"{beyond}; before: {after}" if after else beyond, remedy)

    def since(self, failures: str) -> BudgetExceeded:
        """The same, of another attempt after those failures."""
        return BudgetExceeded(self.dimension, self.limit, self.wanted, **self._told, after=failures)


def _amount(amount: float, dimension: str) -> str:
    if dimension == "usd":  # small: 0.00006 rather than 6e-05
        return f"{amount:.12f}".rstrip("0").rstrip(".")
    return f"{amount:,.0f}" if amount % 1 == 0 else f"{amount:,.2f}"


class ModelError(RagscaleError):
    """One attempt at a model call that failed.

    Args:
        problem: What went wrong, without keys or prompts.
        remedy: What to do.
        retryable: Whether another attempt may succeed (429, 5xx, time-out, broken response).
        spend: Charge of this attempt, the call included; None where its cost is unknown, so that it is charged the most
            that it may have cost.
    """

    def __init__(self, problem: str, remedy: str = "", *, retryable: bool = False, spend: Spend | None = None) -> None:
        super().__init__(problem, remedy)
        self.retryable = retryable
        self.spend = spend
        self.said = ""
        """The server's own words within `problem`, where it refused the call and said why."""
        self.found = 0
        """Number of findings by then, where a model was being tried out: another attempt goes on from that."""


class EndpointError(ModelError):
    """A model endpoint that cannot be reached, refuses the key or does not speak the OpenAI dialect."""


class CallStoreError(LookupError):
    """A file of model calls that cannot be read or written during a run: its disk is full, or a call is damaged.

    No `RagscaleError`: a mode goes on without what a model or an index fails to give, and would pay for calls that
    nobody keeps, or go on without one that a replay lacks.

    Args:
        problem: What is wrong, and with which file; no final full stop.
        remedy: What to do about it, as a sentence.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}. {remedy}")

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return type(self), (self.problem, self.remedy)


class CallMissing(CallStoreError):
    """A model call that a replay needs and its file lacks."""
