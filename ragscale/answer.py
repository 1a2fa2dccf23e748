"""`Answer`: the result of a run, with its two spends and its trace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ragscale.types import Event, Passage, Spend
from ragscale.view.notebook import answer_html

__all__ = ["Answer", "AnswerSpend"]


@dataclass(frozen=True, slots=True)
class AnswerSpend:
    """The two spends of a run."""

    total: Spend
    """Everything that was charged."""
    serial: Spend
    """The critical path: parallel branches count by their maximum in each dimension."""
    lost: Spend = field(default_factory=Spend)
    """Charged to the limits beside `total`: calls of killed processes, which the resumed run made again."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of every run: an answer or an explicit empty one, and why it stopped."""

    text: str
    """As the model wrote it, control characters included, which the command line leaves out.

    Empty where the run could not answer; `reason` then says why.
    """
    citations: list[str]
    """Ids of the passages that the answer rests on, most important first."""
    mode: str
    """Name of the mode that ran."""
    stop_reason: str
    """``"answered"``, ``"budget:<dimension>"`` or ``"failed"``."""
    spend: AnswerSpend
    trace: list[Event] = field(repr=False)
    reason: str = ""
    """In plain words, the cause of an early stop and its remedy; empty for ``"answered"``."""
    caveat: str = ""
    """Basis of the token limit where some tokens are estimates; empty where the server counted all of them."""
    question: str = ""
    passages: dict[str, Passage] = field(default_factory=dict, repr=False)
    """The cited passages by id, for display."""
    limits: dict[str, float] = field(default_factory=dict)
    """The budget of the run by dimension, for display; open dimensions are absent."""

    def to_dict(self) -> dict[str, Any]:
        """The stable JSON form that ``ragscale ask --json`` prints."""
        return {
            "answer": self.text,
            "citations": list(self.citations),
            "mode": self.mode,
            "stop_reason": self.stop_reason,
            "reason": self.reason,
            "caveat": self.caveat,
            "spend": {name: getattr(self.spend, name).to_dict() for name in ("total", "serial", "lost")},
            "trace": [event.to_dict() for event in self.trace],
        }

    def _repr_html_(self) -> str:
        """The answer as a notebook shows it."""
        return answer_html(
            self.text,
            question=self.question,
            ended=f"{self.mode} · {self.stop_reason}",
            notes=[note for note in (self.reason, self.caveat) if note],
            total=self.spend.total,
            serial=self.spend.serial,
            limits=self.limits,
            citations=self.citations,
            passages=self.passages,
            trace=self.trace,
        )
