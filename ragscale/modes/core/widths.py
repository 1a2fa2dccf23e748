"""Width schedules: how the queries of a run are dealt out to its rounds (W&D, arXiv 2602.07359)."""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["Schedule", "Width"]

Width = Literal["free", "constant", "descending", "ascending"]


class Schedule(NamedTuple):
    """So many queries over so many rounds: whatever the slope, they are the same in number.

    A slope is a straight line from nearly twice the mean down to one query (``descending``; 3, 2, 1 are six queries in
    three rounds), or up from it. Closed formulas, as a schedule may have a milliard of rounds.
    """

    slope: Width
    rounds: int
    queries: int

    @classmethod
    def of(cls, slope: Width, rounds: int, queries: int) -> Schedule:
        """The same, with fewer rounds where there are not as many queries: no round is without one."""
        return cls(slope, min(rounds, queries), queries)

    def width(self, at: int) -> int:
        """Queries of a round, counted from 0; 0 behind the last."""
        if not 0 <= at < self.rounds:
            return 0
        if self.slope == "ascending":
            at = self.rounds - 1 - at
        mean, more = divmod(self.queries, self.rounds)
        # How far the round is before the middle. Rounded alike on both sides of it, so that the sum is exact.
        before = self.rounds - 1 - 2 * at
        steep = 0 if self.slope in ("free", "constant") or not before else (mean - 1) * abs(before)
        offset = (2 * steep + self.rounds - 1) // (2 * (self.rounds - 1)) if steep else 0
        return mean + (offset if before > 0 else -offset) + (at < more)

    def asked(self, rounds: int) -> int:
        """Queries of the first rounds; between the first and all, as if no width were rounded."""
        if rounds >= self.rounds:
            return self.queries
        return min(self.queries, (self.width(0) + self.width(rounds - 1)) * rounds // 2)

    @property
    def widest(self) -> int:
        """Queries of the widest round."""
        return max(self.width(0), self.width(self.rounds - 1))
