"""Answers and traces on a terminal. Text from models and passages is printed as text: no markup, no control codes.

Nor does it show otherwise than it reads: characters that turn the direction of writing, and those that take no room,
are kept only where words and emoji of some script need them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len

from ragscale.answer import Answer
from ragscale.types import Event, Spend
from ragscale.view.columns import Column, FittedTable
from ragscale.view.trace import Branch, branches, cost, parts, remark
from ragscale.words import dollars

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

__all__ = ["escaped", "event_text", "plain", "show_answer", "show_trace", "side_by_side"]

_COLUMNS = {
    "llm_calls": "calls", "prompt_tokens": "prompt", "completion_tokens": "written", "cached_tokens": "cached",
    "queries": "queries", "passages": "passages", "rounds": "rounds", "seconds": "seconds",
}  # fmt: skip


_STEERING = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control codes, directions of writing (overrides, embeddings, isolates), and halves of surrogate pairs."""
_UNSEEN = re.compile(
    "[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u2065\u206a-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Characters without width: marks of direction, joiners, blanks, tags, variants."""
_VARIANTS = re.compile("[\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_BREAKS = str.maketrans({"\u2028": "\n", "\u2029": "\n"})
_JOINED = re.compile(
    "[\u0590-\u10ff\u1700-\u1cff\ua800-\uabff\ufb1d-\ufdff\ufe70-\ufefe\U00010a00-\U00011fff\U0001e900-\U0001e95f]"
)
"""Letters of scripts that join their neighbours: from Hebrew and Arabic to Mongolian."""
_TONES = range(0x1F3FB, 0x1F400)
_FLAG = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,6}\U000e007f")


def plain(text: str) -> str:
    """The text without characters that steer a terminal, or hide or turn what is read.

    Control codes and directions of writing become U+FFFD. Characters without width are left out, but for joiners
    between letters of the scripts that need them (Arabic, Persian, Indic ones), joiners and tags within emoji, and one
    variation selector behind a character.
    """
    text = _STEERING.sub("\ufffd", text).translate(_BREAKS)
    flags = _flags(text)
    return _UNSEEN.sub(lambda found: found[0] if _is_needed(found, flags) else "", text)


def escaped(text: str) -> str:
    """JSON of the same value in which what `plain` replaces or leaves out is written ``\\uXXXX``."""
    flags = _flags(text)
    text = _UNSEEN.sub(lambda found: found[0] if _is_needed(found, flags) else _escape(found), text)
    return re.sub("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", _escape, text)


def _flags(text: str) -> set[int]:
    """Positions of the tags in flags such as Scotland's."""
    return {at for found in _FLAG.finditer(text) for at in range(found.start() + 1, found.end())}


def _is_needed(found: re.Match[str], flags: set[int]) -> bool:
    text, at = found.string, found.start()
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    if found[0] in "\u200c\u200d" and _JOINED.match(before) and unicodedata.category(before)[0] in "LM":
        return True
    if found[0] == "\u200d":
        picture = text[at - 2 : at - 1] if before == "\ufe0f" else before
        return _is_emoji(picture) and _is_emoji(after)
    if _VARIANTS.match(found[0]):
        return bool(before.strip()) and not _UNSEEN.match(before)
    return at in flags


def _is_emoji(character: str) -> bool:
    return bool(character) and (unicodedata.category(character) == "So" or ord(character) in _TONES)


def _escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


_LEAST = 12
"""Cells that a part of a move has before its cost has to go."""
_WAYS = {"retrieve": 1 / 2, "read": 1 / 2}
"""Share of a line that belongs to what was asked; of other moves only the result tells."""


def event_text(event: Event, *, with_branch: bool = True, width: int | None = None) -> Text:
    """One move as one line, however long, or in `width` cells: question and result are cut, score and cost are kept."""
    from rich.text import Text

    head = f"{plain(event.branch)} " if event.branch and with_branch else ""
    odd, spent = plain(remark(event)), cost(event.spend)
    shown = [plain(part) for part in parts(event)]
    if width is not None:
        odd = _cut(odd, max(_LEAST, width // 3))
        room = width - 9 - cell_len(head) - (2 + cell_len(odd) if odd else 0)
        if room - 2 - cell_len(spent) < (_LEAST + 3) * len(shown):
            spent = ""
        room -= 2 + cell_len(spent) if spent else 0
        shown = _fitted(shown, room, _WAYS.get(event.move, 1 / 3), scored=event.score is not None)
    text = Text()
    text.append(f"{event.move:<8} ", style="bold")
    text.append(head, style="cyan")
    text.append(" → ".join(shown))
    text.append(f"  {odd}" if odd else "", style="yellow")
    text.append(f"  {spent}" if spent else "", style="dim")
    return text


def _fitted(shown: list[str], room: int, share: float, *, scored: bool) -> list[str]:
    """The parts of a line in `room` cells; the last one is kept where it is a score."""
    room -= 3 * (len(shown) - 1) + (cell_len(shown[-1]) if scored else 0)
    texts = shown[:-1] if scored else shown
    if len(texts) == 2:
        first = max(_LEAST, int(room * share), room - cell_len(texts[1]))
        texts = [_cut(texts[0], first), texts[1]]
        room -= cell_len(texts[0])
    if texts:
        texts = [*texts[:-1], _cut(texts[-1], max(_LEAST, room))]
    return [*texts, shown[-1]] if scored else texts


def _cut(text: str, room: int) -> str:
    from rich.cells import set_cell_size

    return text if cell_len(text) <= room else set_cell_size(text, room - 1).rstrip() + "…"


def show_answer(console: Console, answer: Answer) -> None:
    """The answer, what it cites, why it stopped and what it cost; lines of texts are whole where it is no terminal."""
    from rich.text import Text

    whole = not console.is_terminal
    if answer.text:
        console.print(Text(plain(answer.text), style="bold"), soft_wrap=whole)
    for id in answer.citations:
        passage = answer.passages.get(id)
        title = plain(" ".join(passage.title.split())) if passage else ""
        console.print(Text(f"  [{plain(id)}] {title}"), soft_wrap=whole)
    told = plain(f"{answer.reason} {answer.caveat}".strip())
    console.print(Text(f"\n{answer.mode}: {answer.stop_reason}. {told}".rstrip(), style="dim"), soft_wrap=whole)
    console.print(_spends(answer))


def side_by_side(answers: Sequence[Answer], right: Sequence[bool] = ()) -> FittedTable:
    """The answers of several modes to one question, a row a mode.

    Args:
        answers: One a mode.
        right: Whether each is right; empty where that is not known.
    """
    branched = any(answer.spend.serial.tokens != answer.spend.total.tokens for answer in answers)
    columns = [
        Column("mode", kind="name"), Column("answer", kind="words", least=16),
        *([Column("right", kind="label")] if right else []), Column("calls", 2), Column("tokens", 1),
        *([Column("serial", 5)] if branched else []), Column("rounds", 4), Column("s", 3),
        Column("ended", kind="label"),
    ]  # fmt: skip
    rows = []
    for number, answer in enumerate(answers):
        total, serial = answer.spend.total, answer.spend.serial
        told = [answer.mode, plain(answer.text) or "-", *(["yes" if right[number] else "no"] if right else [])]
        costs = (total.llm_calls, total.tokens, *([serial.tokens] if branched else []), serial.rounds)
        rows.append([*told, *(f"{cost:,}" for cost in costs), f"{serial.seconds:.1f}", answer.stop_reason])
    return FittedTable(columns, rows)


def show_trace(console: Console, answer: Answer) -> None:
    """The trace as a tree by branch, whole texts included."""
    from rich.tree import Tree

    tree = Tree("trace")
    _grow(tree, branches(answer.trace))
    console.print(tree)


def _grow(tree: Tree, branch: Branch) -> None:
    for item in branch.items:
        if isinstance(item, Branch):
            _grow(tree.add(plain(item.name), style="cyan"), item)
        else:
            tree.add(event_text(item, with_branch=False))


def _spends(answer: Answer) -> FittedTable:
    total = answer.spend.total
    names = {**_COLUMNS, "usd": "dollars"} if total.usd else _COLUMNS
    leaves = {"cached_tokens": 3, "passages": 2, "queries": 1}
    return FittedTable(
        [Column("", kind="label"), *(Column(title, leaves.get(name, 0)) for name, title in names.items())],
        [
            [title, *(_cell(spend, name) for name in names)]
            for title, spend in (("total", total), ("serial", answer.spend.serial))
        ],
    )


def _cell(spend: Spend, column: str) -> str:
    if column == "usd":
        return "" if spend.usd is None else dollars(spend.usd)
    return f"{spend.seconds:.1f}" if column == "seconds" else f"{getattr(spend, column):,}"
