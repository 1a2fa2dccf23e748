"""`Answer`: the result of a run, with its two spends and its trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from ragscale.errors import InvalidInput
from ragscale.types import Event, Message, Passage, Spend, brief
from ragscale.version import __version__
from ragscale.view import page
from ragscale.view.notebook import answer_html
from ragscale.view.sent import Sent
from ragscale.words import counted

__all__ = ["Answer", "AnswerSpend", "TraceForm"]

TraceForm = Literal["full", "moves", "none"]
"""Form of the trace in JSON: whole events, events without texts, or none."""


@dataclass(frozen=True, slots=True, repr=False)
class AnswerSpend:
    """The two spends of a run."""

    total: Spend
    """Everything that was charged."""
    serial: Spend
    """The critical path: parallel branches count by their maximum in each dimension."""
    lost: Spend = field(default_factory=Spend)
    """Charged to the limits beside `total`: calls of killed processes, which the resumed run made again."""
    stored: Spend = field(default_factory=Spend)
    """The part of `total` that calls from a call store are charged: what they had cost when they were made."""

    def __repr__(self) -> str:
        return brief(self)

    @property
    def paid(self) -> Spend:
        """The part of `total` that this run paid."""
        return self.total - self.stored


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """The result of every run: an answer or an explicit empty one, and why it stopped."""

    text: str
    """As the model wrote it, control characters included, which the command line leaves out.

    Empty where the run could not answer; `reason` then says why.
    """
    citations: list[str]
    """Ids of the passages that the answer rests on, most important first."""
    mode: str
    """The mode that ran, as `Agent` and the command line take it: its name, and parameters that are not defaults."""
    stop_reason: str
    """``"answered"``, ``"budget:<dimension>"`` or ``"failed"``."""
    spend: AnswerSpend
    trace: list[Event]
    reason: str = ""
    """In plain words, the cause of an early stop and its remedy; for ``"answered"`` empty, unless the server ended the
    closing answer by itself, as a filter of contents does: it may be a part then."""
    caveat: str = ""
    """Basis of the token limit where some tokens are estimates, and of the mode's policy where it was fitted for
    another run (``auto``); empty where the server counted all tokens and nothing else is to be said."""
    question: str = ""
    passages: dict[str, Passage] = field(default_factory=dict)
    """The cited passages by id, for display."""
    retrieved: dict[str, Passage] = field(default_factory=dict)
    """Passages that this process retrieved for the run, by id, where the agent keeps texts."""
    prompts: Mapping[str, list[Message]] = field(default_factory=Sent)
    """Exact messages of the model calls by `Event.prompt`, where the agent keeps texts."""
    limits: dict[str, float] = field(default_factory=dict)
    """The budget of the run by dimension; open dimensions are absent."""
    model: str = ""
    """Name of the model; empty where the budget did not even pay for finding out what it can do."""
    index: dict[str, str] = field(default_factory=dict)
    """``fingerprint`` and ``source`` (folder or URL) of the index, and ``how`` it was searched."""
    seed: int = 0
    started: str = ""
    """When the run began, in UTC as of ISO 8601; of one that was resumed, when it first began."""
    ended: str = ""
    """When it ended."""

    @property
    def seconds(self) -> float:
        """Seconds from the start to the end, those in which a resumed run did not run included."""
        if not self.started or not self.ended:
            return 0.0
        return (datetime.fromisoformat(self.ended) - datetime.fromisoformat(self.started)).total_seconds()

    def __repr__(self) -> str:
        cited = f", cites {self.citations}" if self.citations else ""
        why = f" ({self.reason})" if self.reason else ""
        spent = f"{counted(self.spend.total.llm_calls, 'call')}, {counted(self.spend.total.tokens, 'token')}"
        return f"Answer({self.text!r}{cited}; {self.mode}: {self.stop_reason}{why}; {spent}, {self.seconds:.1f} s)"

    def to_dict(self, *, trace: TraceForm = "full") -> dict[str, Any]:
        """The stable JSON form that ``ragscale ask --json`` prints.

        Args:
            trace: ``"moves"`` leaves the texts out of the events, so that one has a few hundred bytes, and with them
                passages and prompts; ``"none"`` leaves the list empty, too.

        Raises:
            InvalidInput: `trace` is none of the three.
        """
        if trace not in get_args(TraceForm):
            raise InvalidInput(f"trace={trace!r} is unknown", f"Use {', '.join(get_args(TraceForm))}.")
        sent = Sent()
        for digest, messages in self.prompts.items() if trace == "full" else ():
            sent.keep(digest, messages)
        shown = {**self.retrieved, **self.passages} if trace == "full" else {}
        return {
            "version": __version__,
            "question": self.question,
            "answer": self.text,
            "citations": list(self.citations),
            "mode": self.mode,
            "model": self.model,
            "index": dict(self.index),
            "seed": self.seed,
            "limits": dict(self.limits),
            "started": self.started,
            "ended": self.ended,
            "seconds": self.seconds,
            "stop_reason": self.stop_reason,
            "reason": self.reason,
            "caveat": self.caveat,
            "spend": {name: getattr(self.spend, name).to_dict() for name in ("total", "serial", "lost", "stored")},
            "trace": [] if trace == "none" else [event.to_dict(texts=trace == "full") for event in self.trace],
            "passages": {id: {"title": passage.title, "text": passage.text} for id, passage in shown.items()},
            "prompts": sent.to_dict(),
        }

    def save(self, path: str | Path, *, gold: Sequence[str] = ()) -> Path:
        """Write the run as a page: one HTML file that needs nothing else, for a browser or an e-mail.

        Args:
            path: Of the file, ``a.html``; one that is there is overwritten.
            gold: Right answers, where they are known, shown beside the answer.

        Returns:
            The path.

        Raises:
            InvalidInput: The file cannot be written.
        """
        return page.save(page.trace_page(self._shown(gold)), path)

    def show(self, *, gold: Sequence[str] = ()) -> None:
        """Show the run as a page: in the output of a notebook's cell, else in the browser.

        Where no browser can be opened, a warning says which file the page is.

        Args:
            gold: Right answers, where they are known.
        """
        page.show(page.trace_page(self._shown(gold)))

    def _shown(self, gold: Sequence[str]) -> dict[str, Any]:
        answers = [gold] if isinstance(gold, str) else list(gold)
        return {**self.to_dict(), **({"gold": {"answers": answers}} if answers else {})}

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
