"""An answer as HTML, for notebooks: text, cited passages, the trace as a tree by branch, the spends as bars.

Everything that comes from outside (question, answer, passages, what the model wrote) is escaped; there are no scripts
and no links. Colours are mixed from those of the page, so that dark and light themes both work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

from ragscale.types import Answer, Event, Spend
from ragscale.words import counted

__all__ = ["Branch", "answer_html", "branches", "cost", "line"]

_FAINT = "opacity:.65"
_BOX = "border:1px solid rgba(128,128,128,.35);border-radius:6px;padding:.7em 1em;max-width:60em;line-height:1.45"
_NESTED = "margin:.15em 0 .15em .4em;padding-left:.8em;border-left:2px solid rgba(128,128,128,.3)"
_TEXT = "white-space:pre-wrap;overflow-wrap:anywhere;margin:.2em 0"
_TRACK = "background:rgba(128,128,128,.18);border-radius:3px;height:.45em;margin:.15em 0;min-width:14em"
_BARS = {"total": "rgba(70,130,180,.9)", "serial": "rgba(218,145,40,.9)"}
_ROWS = (("tokens", "tokens"), ("llm_calls", "model calls"), ("queries", "queries"), ("rounds", "rounds"),
         ("seconds", "seconds"))  # fmt: skip


@dataclass
class Branch:
    """A branch of a trace: its events and the branches that left it, where they left it."""

    name: str
    """As the events have it; ``""`` is the trunk."""
    items: list[Event | Branch] = field(default_factory=list)

    def events(self) -> Iterator[Event]:
        """All events of the branch and of the branches in it."""
        for item in self.items:
            yield from item.events() if isinstance(item, Branch) else (item,)


def branches(trace: Sequence[Event]) -> Branch:
    """The trace as a tree. A branch ``"2.0"`` lies in branch ``"2"`` if there is one, else in the trunk."""
    names = {event.branch for event in trace}
    nodes = {"": Branch("")}

    def node(name: str) -> Branch:
        if name not in nodes:
            parent = name
            while parent:
                parent = parent.rpartition(".")[0]
                if parent in names or not parent:
                    break
            nodes[name] = Branch(name)
            node(parent).items.append(nodes[name])
        return nodes[name]

    for event in trace:
        node(event.branch).items.append(event)
    return nodes[""]


def line(event: Event, name: Callable[[str], str] = str) -> str:
    """What went into a move and what came of it, as one line of plain text.

    Args:
        event: The move.
        name: What to call a passage, given its id.
    """
    parts = []
    if event.input:
        parts.append(_joined(event.input))
    if event.move == "retrieve":
        parts.append(f"{counted(len(event.passages), 'passage')}: {'; '.join(map(name, event.passages))}")
    elif event.output:
        parts.append(_joined(event.output))
    if event.score is not None:
        parts.append(f"{event.score:.3f}")
    return " → ".join(" ".join(part.split()) for part in parts)


def cost(spend: Spend) -> str:
    """A spend in a few words; empty where nothing was spent."""
    parts = []
    if spend.llm_calls:
        cached = f" ({spend.cached_tokens:,} cached)" if spend.cached_tokens else ""
        thought = f" ({spend.reasoning_tokens:,} thought)" if spend.reasoning_tokens else ""
        parts.append(f"{spend.prompt_tokens:,}{cached} + {spend.completion_tokens:,}{thought} tokens")
    if spend.queries:
        parts.append(f"{counted(spend.queries, 'query')}")
    if spend.seconds:
        parts.append(f"{spend.seconds:.1f} s")
    return ", ".join(parts)


def answer_html(answer: Answer) -> str:
    """The answer as a piece of HTML that stands by itself."""
    text = escape(answer.text) if answer.text else f'<span style="{_FAINT}">no answer</span>'
    told = "".join(f'<div style="{_TEXT}">⚠ {escape(text)}</div>' for text in (answer.reason, answer.caveat) if text)
    return (
        f'<div style="{_BOX}">'
        f'<div style="{_FAINT}">{escape(answer.question)}</div>'
        f'<div style="font-size:1.25em;font-weight:600;{_TEXT}">{text}</div>'
        f'<div style="{_FAINT}">{escape(answer.mode)} · {escape(answer.stop_reason)}</div>'
        f"{told}{_bars(answer)}{_citations(answer)}{_trace(answer.trace)}</div>"
    )


def _bars(answer: Answer) -> str:
    head = "".join(
        f'<span style="color:{colour}">■</span> <span style="{_FAINT}">{name}</span> &nbsp; '
        for name, colour in _BARS.items()
    )
    rows = [_bar_row(answer, key, name) for key, name in _ROWS]
    cells = "".join(
        f'<div style="{_FAINT}">{name}</div><div>{bars}</div><div>{text}</div>' for name, bars, text in rows
    )
    grid = (
        "display:grid;grid-template-columns:max-content minmax(8em,20em) max-content;gap:.1em .8em;align-items:center"
    )
    return f'<div style="margin:.6em 0 .2em">{head}</div><div style="{grid}">{cells}</div>'


def _bar_row(answer: Answer, key: str, name: str) -> tuple[str, str, str]:
    values = {"total": getattr(answer.spend.total, key), "serial": getattr(answer.spend.serial, key)}
    limit = answer.limits.get(key)
    scale = max(values["total"], limit or 0) or 1
    bars = "".join(
        f'<div style="{_TRACK}"><div style="height:100%;border-radius:3px;background:{_BARS[which]};'
        f'width:{100 * value / scale:.1f}%"></div></div>'
        for which, value in values.items()
    )
    total, serial = (f"{value:.1f}" if key == "seconds" else f"{value:,}" for value in values.values())
    of = f' <span style="{_FAINT}">limit {limit:,g}</span>' if limit is not None else ""
    return name, bars, f"{total} / {serial}{of}"


def _citations(answer: Answer) -> str:
    if not answer.citations:
        return ""
    shown = []
    for id in answer.citations:
        passage = answer.passages.get(id)
        title = f"{escape(passage.title)} " if passage and passage.title else ""
        label = f'{title}<span style="{_FAINT}">[{escape(id)}]</span>'
        body = f'<div style="{_NESTED};{_TEXT}">{escape(passage.text)}</div>' if passage else ""
        shown.append(f"<details><summary>{label}</summary>{body}</details>")
    return f'<div style="margin-top:.7em;font-weight:600">Passages cited</div>{"".join(shown)}'


def _trace(trace: Sequence[Event]) -> str:
    if not trace:
        return ""
    root = branches(trace)
    summary = f'<summary style="font-weight:600">Trace ({counted(len(trace), "move")})</summary>'
    return f'<details style="margin-top:.7em">{summary}{_branch(root)}</details>'


def _branch(branch: Branch) -> str:
    inside = "".join(_event(item) if isinstance(item, Event) else _folded(item) for item in branch.items)
    return f'<div style="{_NESTED}">{inside}</div>'


def _folded(branch: Branch) -> str:
    events = list(branch.events())
    spent = cost(sum((event.spend for event in events), Spend()))
    told = f'<span style="{_FAINT}">{counted(len(events), "move")}, {spent or "no cost"}</span>'
    return f"<details><summary>branch {escape(branch.name)} {told}</summary>{_branch(branch)}</details>"


def _event(event: Event) -> str:
    note = f'<div style="font-style:italic">{escape(event.note)}</div>' if event.note else ""
    return (
        f'<div style="{_TEXT}"><b>{escape(event.move)}</b> {escape(line(event))} '
        f'<span style="{_FAINT}">{cost(event.spend)}</span>{note}</div>'
    )


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else " | ".join(text)
