"""An answer as HTML, for notebooks: text, cited passages, the trace as a tree by branch, the spends as bars.

Everything that comes from outside (question, answer, passages, texts of the model) is escaped; there are no scripts
and no links. Colours are mixed from those of the page, so that dark and light themes both work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from ragscale.types import Event, Passage, Spend
from ragscale.view.trace import Branch, branches, cost, line, remark
from ragscale.words import counted, dollars

__all__ = ["answer_html"]

_FAINT = "opacity:.65"
_BOX = "border:1px solid rgba(128,128,128,.35);border-radius:6px;padding:.7em 1em;max-width:60em;line-height:1.45"
_NESTED = "margin:.15em 0 .15em .4em;padding-left:.8em;border-left:2px solid rgba(128,128,128,.3)"
_TEXT = "white-space:pre-wrap;overflow-wrap:anywhere;margin:.2em 0"
_TRACK = "background:rgba(128,128,128,.18);border-radius:3px;height:.45em;margin:.15em 0"
_BARS = {"total": "rgba(70,130,180,.9)", "serial": "rgba(218,145,40,.9)"}
_ROWS = (("tokens", "tokens"), ("llm_calls", "model calls"), ("queries", "queries"), ("rounds", "rounds"),
         ("seconds", "seconds"))  # fmt: skip


def answer_html(
    text: str,
    *,
    question: str,
    ended: str,
    notes: Sequence[str],
    total: Spend,
    serial: Spend,
    limits: Mapping[str, float],
    citations: Sequence[str],
    passages: Mapping[str, Passage],
    trace: Sequence[Event],
) -> str:
    """An answer as a piece of HTML that stands by itself.

    Args:
        text: The answer; may be empty.
        question: Shown above it.
        ended: Mode and stop reason, shown below it.
        notes: Reasons and caveats, shown as warnings.
        total: Spend of the run.
        serial: Spend along its critical path.
        limits: Budget by dimension; open dimensions are absent.
        citations: Ids of the passages cited, in order.
        passages: Passages by id; a cited one that is absent is shown by its id.
        trace: Moves of the run.
    """
    answer = escape(text) if text else f'<span style="{_FAINT}">no answer</span>'
    told = "".join(f'<div style="{_TEXT}">⚠ {escape(note)}</div>' for note in notes)
    return (
        f'<div style="{_BOX}">'
        f'<div style="{_FAINT}">{escape(question)}</div>'
        f'<div style="font-size:1.25em;font-weight:600;{_TEXT}">{answer}</div>'
        f'<div style="{_FAINT}">{escape(ended)}</div>'
        f"{told}{_bars(total, serial, limits)}{_citations(citations, passages)}{_trace(trace)}</div>"
    )


def _bars(total: Spend, serial: Spend, limits: Mapping[str, float]) -> str:
    head = "".join(
        f'<span style="color:{colour}">■</span> <span style="{_FAINT}">{name}</span> &nbsp; '
        for name, colour in _BARS.items()
    )
    shown = (*_ROWS, ("usd", "dollars")) if total.usd else _ROWS
    rows = [_bar_row(total, serial, limits.get(key), key, name) for key, name in shown]
    cells = "".join(
        f'<div style="{_FAINT}">{name}</div><div>{bars}</div><div>{text}</div>' for name, bars, text in rows
    )
    grid = "display:grid;grid-template-columns:max-content minmax(5em,20em) auto;gap:.1em .8em;align-items:center"
    return f'<div style="margin:.6em 0 .2em">{head}</div><div style="{grid}">{cells}</div>'


def _bar_row(total: Spend, serial: Spend, limit: float | None, key: str, name: str) -> tuple[str, str, str]:
    values = {"total": getattr(total, key), "serial": getattr(serial, key)}
    scale = max(values["total"], limit or 0) or 1
    bars = "".join(
        f'<div style="{_TRACK}"><div style="height:100%;border-radius:3px;background:{_BARS[which]};'
        f'width:{100 * value / scale:.1f}%"></div></div>'
        for which, value in values.items()
    )
    shown = {"seconds": "{:.1f}".format, "usd": dollars}.get(key, "{:,}".format)
    spent = " / ".join(map(shown, values.values()))
    of = f' <span style="{_FAINT}">limit {limit:,g}</span>' if limit is not None else ""
    return name, bars, f"{spent}{of}"


def _citations(citations: Sequence[str], passages: Mapping[str, Passage]) -> str:
    if not citations:
        return ""
    shown = []
    for id in citations:
        passage = passages.get(id)
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
    odd = escape(remark(event))
    note = f'<div style="font-style:italic">{odd}</div>' if odd else ""
    return (
        f'<div style="{_TEXT}"><b>{escape(event.move)}</b> {escape(line(event))} '
        f'<span style="{_FAINT}">{cost(event.spend)}</span>{note}</div>'
    )
