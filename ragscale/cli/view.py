"""Answers and traces on a terminal. Text from models and passages is printed as text: no markup, no control codes."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING

from ragscale.render import Branch, branches, cost, line
from ragscale.types import Answer, Event, Spend

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text
    from rich.tree import Tree

__all__ = ["event_text", "plain", "show_answer", "show_trace"]

Name = Callable[[str], str]
"""What to call a passage, given its id."""

_COLUMNS = {
    "llm_calls": "calls", "prompt_tokens": "prompt", "completion_tokens": "written", "cached_tokens": "cached",
    "queries": "queries", "passages": "passages", "rounds": "rounds", "seconds": "seconds",
}  # fmt: skip


def plain(text: str) -> str:
    """The text without characters that steer a terminal."""
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs") else "\ufffd" for c in text)


def event_text(event: Event, name: Name = str, *, with_branch: bool = True) -> Text:
    """One move as one line, however long."""
    from rich.text import Text

    text = Text()
    text.append(f"{event.move:<8} ", style="bold")
    text.append(f"{plain(event.branch)} " if event.branch and with_branch else "", style="cyan")
    text.append(plain(line(event, name)))
    text.append(f"  {plain(event.note)}" if event.note else "", style="yellow")
    spent = cost(event.spend)
    text.append(f"  {spent}" if spent else "", style="dim")
    return text


def show_answer(console: Console, answer: Answer) -> None:
    """The answer, what it cites, why it stopped and what it cost."""
    from rich.text import Text

    if answer.text:
        console.print(Text(plain(answer.text), style="bold"))
    for id in answer.citations:
        passage = answer.passages.get(id)
        console.print(Text(f"  [{plain(id)}] {plain(passage.title) if passage else ''}"))
    told = plain(f"{answer.reason} {answer.caveat}".strip())
    console.print(Text(f"\n{answer.mode}: {answer.stop_reason}. {told}".rstrip(), style="dim"))
    console.print(_spends(answer))


def show_trace(console: Console, answer: Answer, name: Name = str) -> None:
    """The trace as a tree by branch, whole texts included."""
    from rich.tree import Tree

    tree = Tree("trace")
    _grow(tree, branches(answer.trace), name)
    console.print(tree)


def _grow(tree: Tree, branch: Branch, name: Name) -> None:
    for item in branch.items:
        if isinstance(item, Branch):
            _grow(tree.add(plain(item.name), style="cyan"), item, name)
        else:
            tree.add(event_text(item, name, with_branch=False))


def _spends(answer: Answer) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("")
    for title in _COLUMNS.values():
        table.add_column(title, justify="right")
    for title, spend in (("total", answer.spend.total), ("serial", answer.spend.serial)):
        table.add_row(title, *(_cell(spend, column) for column in _COLUMNS))
    return table


def _cell(spend: Spend, column: str) -> str:
    return f"{spend.seconds:.1f}" if column == "seconds" else f"{getattr(spend, column):,}"
