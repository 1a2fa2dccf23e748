"""Parts of a corpus that were left out: bad documents of a build that keeps going, and files of other kinds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from ragscale.errors import BadDocument

__all__ = ["Problem", "Problems"]

_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Problem:
    """A bad document that was skipped."""

    place: str
    """File, archive and member, with line or row."""
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


class Problems:
    """Decides whether a bad document stops the build, and remembers what was left out.

    Args:
        keep_going: Skip bad documents instead of stopping at the first.
        show: Called with each bad document as it is skipped.
        otherwise: Sentence added to the remedy of the document that stops the build: how to skip such documents.
    """

    def __init__(
        self, *, keep_going: bool = False, show: Callable[[Problem], None] | None = None, otherwise: str = ""
    ) -> None:
        self.keep_going = keep_going
        self.count = 0
        """Bad documents skipped."""
        self.first: list[Problem] = []
        """The first 1,000 of them."""
        self.left_out: Counter[str] = Counter()
        """Number left out without an error, by kind: files of unread kinds (``.png files``), pages without text."""
        self._show = show
        self._otherwise = otherwise

    def add(self, error: BadDocument) -> None:
        """Skip a bad document.

        Raises:
            BadDocument: Unless the build keeps going.
        """
        if not self.keep_going:
            if self._otherwise and not error.remedy.endswith(self._otherwise):
                raise BadDocument(error.place, error.reason, f"{error.remedy} {self._otherwise}".strip()) from error
            raise error
        problem = Problem(error.place, error.reason, error.remedy)
        self.count += 1
        if self.count <= _KEPT:
            self.first.append(problem)
        if self._show:
            self._show(problem)

    def leave_out(self, kind: str) -> None:
        """Count one thing that is left out without being an error."""
        self.left_out[kind] += 1
