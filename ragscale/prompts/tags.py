"""Reader of turns in tags: thoughts, then either queries between search tags or an answer between answer tags."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import chain
from typing import Any

from ragscale.prompts.parse import BRACED, distinct, load, plain_words, short, unfinished, unnumbered
from ragscale.prompts.prompt import TAGS, Closing, Reply, Tags
from ragscale.prompts.repeats import normalise
from ragscale.prompts.text import clean
from ragscale.prompts.thoughts import versions
from ragscale.prompts.wording import says_none
from ragscale.text import encodable

__all__ = ["closing", "split", "turn", "written"]

_MOST = 16
_TAG = re.compile(r"<\s*(/?)\s*(search|answer|information)\s*>", re.IGNORECASE)
_HALF = re.compile(r"<\s*/?\s*[a-z]{0,6}$")  # of a closing tag, which the limit cut off
_INVENTED = re.compile(r"<\s*/\s*information\s*>", re.IGNORECASE)
_THOUSANDS = re.compile(r"\d,\d{3}(?!\d)")
_OWN = re.compile(r"(</?(?:think|search|answer)>)")
_TALKED_OF = frozenset(["and", "or", "query", "answer", "your query", "your answer", "the query", "the answer"])
"""Between two tags where a turn speaks of tags: "inside <search> and </search>"."""
_BEGINS = re.compile(r"(?:^|[\n>.!?:,;)\"\u201d\u2019'*-])\s*$")
_QUOTED = re.compile(
    r"(?<![^\s(\[,;])(?:\"[^\"\n]*\"|\u201c[^\u201d\n]*\u201d|\u00ab[^\u00bb\n]*\u00bb|\u201e[^\u201c\u201d\n]*[\u201c\u201d]|"
    r"\u300c[^\u300d\n]*\u300d|'(?:[^'\n]|(?<=\w)'(?=\w))*'|\u2018(?:[^\u2018\u2019\n]|(?<=\w)\u2019(?=\w))*\u2019)"
    r"(?![^\s)\],;.?!:])"
)


def turn(text: str, most: int, *, separator: str | None = ",", capped: bool = True, marks: Tags = TAGS) -> Reply | None:
    """One turn of the model: the first queries or answer that it finished, outside its thoughts.

    What follows is left out: results that it invented, and all that rests on them. A tag that is never closed counts
    where it begins a line or a sentence, as a stop string or the limit may have cut it off; within a sentence the model
    speaks of the tag.

    Args:
        text: The reply, without what the turn began with.
        most: Queries at most.
        separator: See `ConversationFormat.separator`.
        capped: See `ConversationFormat.capped`.
        marks: See `ConversationFormat.tags`.

    Returns:
        None for a turn with neither.
    """
    if marks != TAGS:
        reply = turn(_plain(text, marks), most, separator=separator, capped=capped)
        return replace(reply, said=_renamed(reply.said, marks), answer=plain_words(reply.answer)) if reply else None
    text = encodable(text)
    for said in versions(text):
        kind, body, end = _first(said)
        if kind == "answer":
            return Reply(answer=short(body), said=_upto(text, said, end, "answer"))
        if kind == "search":
            found = [asked for asked in split(body, separator) if not says_none(asked)]
            kept = _upto(text, said, end, "search")
            return Reply(queries=found[: most if capped else _MOST], enough=not found, said=kept)
    return None


def closing(text: str, marks: Tags = TAGS) -> Closing | None:
    """The answer of a last turn, which may not search any more: the first in answer tags; None where there is none."""
    for said in versions(encodable(_plain(text, marks))):
        found = _first(said)
        while found[0] == "search":  # written in vain
            found = _first(said, found[2])
        if found[0] == "answer":
            return Closing(short(found[1] if marks == TAGS else plain_words(found[1])), [])
    return None


def split(body: str, separator: str | None = ",") -> list[str]:
    """The queries of one search.

    Args:
        body: The text between the tags. A JSON array of strings is one query an item.
        separator: Parts queries wherever it stands outside quotation marks and numbers (1,000), as a new line does.
            None: all is one query. ``";\\n"`` is a semicolon where all stands on one line.
    """
    value = _in_json(body)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        pieces = value if separator is not None or len(value) == 1 else [" ".join(value)]
    elif separator is None:
        pieces = [body]
    else:
        lines = "\n" in separator and "\n" in body.strip()
        mark = re.escape(separator.strip()) + (r"\s*\n" if lines else "")
        quoted = [match.span() for match in _QUOTED.finditer(body)]
        pieces, begin, number = [], 0, 0
        for match in re.finditer(rf"{mark}|\n", body):
            while number < len(quoted) and quoted[number][1] <= match.start():
                number += 1
            within = number < len(quoted) and quoted[number][0] < match.start()
            if within or _THOUSANDS.match(body, match.start() - 1):
                continue
            pieces.append(body[begin : match.start()])
            begin = match.end()
        pieces.append(body[begin:].rstrip().removesuffix(separator.strip()))
        pieces = unnumbered(pieces)
    return distinct(pieces)


def _in_json(body: str) -> Any:
    """A list in JSON, whole or cut off, or that of an object; None for another text."""
    if body.lstrip()[:1] not in ("[", "{"):
        return None
    value = load(body)
    value = unfinished(body.lstrip(), partial=True) if value is None else value
    if isinstance(value, dict):
        value = next((value[key] for key in ("query", "queries") if key in value), None)
        value = [value] if isinstance(value, str) else value
    return value


def written(text: str, marks: Tags = TAGS) -> str:
    """A turn as the model wrote it, but for chat-template tokens and markers that are not its own."""
    pieces = enumerate(_OWN.split(_plain(text, marks)))
    return _renamed("".join(piece if number % 2 else clean(piece) for number, piece in pieces), marks)


def _plain(text: str, marks: Tags) -> str:
    """`text` with tags in place of a paper's marks."""
    if marks == TAGS:
        return text
    begin, end = map(re.escape, marks.answer)
    answer = re.compile(rf"{begin}((?:{BRACED}|(?!{end})[^\n])*+)(?:{end})?")
    text = answer.sub(lambda found: f"<answer>{found[1]}</answer>", text)
    for tag, own in zip((*TAGS.search, *TAGS.information), (*marks.search, *marks.information), strict=True):
        text = text.replace(own, tag)
    return text


def _renamed(text: str, marks: Tags) -> str:
    """The reverse."""
    for tag, own in zip(chain.from_iterable(TAGS), chain.from_iterable(marks), strict=True):
        text = text.replace(tag, own)
    return text


def _first(said: str, at: int = 0) -> tuple[str, str, int]:
    """The first search or answer that says anything: its kind, body and end; an empty kind where there is none."""
    kind, begin, open_at = "", at, at
    cut: tuple[str, str, int] = ("", "", 0)
    invented, endless = at, False
    for tag in _TAG.finditer(said, at):
        closes, name = bool(tag[1]), tag[2].lower()
        if tag.start() < invented:
            continue
        if closes and kind and name != "information" and _says(said[begin : tag.start()]):
            return kind, said[begin : tag.start()], tag.end()
        if kind and not closes:
            cut = _cut(said, kind, open_at, begin, tag.start()) or cut
            if cut[0] and name == "information":
                return cut
        kind = ""
        if name == "information" and not closes and not endless:
            end = _INVENTED.search(said, tag.end())
            invented, endless = end.start() if end else at, end is None
        elif name != "information" and not closes:
            kind, begin, open_at = name, tag.end(), tag.start()
    return (_cut(said, kind, open_at, begin, len(said)) if kind else None) or cut


def _cut(said: str, kind: str, open_at: int, begin: int, end: int) -> tuple[str, str, int] | None:
    """A search or answer that was never closed, if it is one."""
    body = _HALF.sub("", said[begin:end])
    return (kind, body, end) if _says(body) and _BEGINS.search(said[max(0, open_at - 8) : open_at]) else None


def _says(body: str) -> bool:
    return bool(normalise(body)) and normalise(body) not in _TALKED_OF


def _upto(text: str, said: str, end: int, kind: str) -> str:
    """`text` up to the place in `said` that is `end`, closed."""
    rest = said[end:]
    kept = text[: len(text) - len(rest)] if text.endswith(rest) else said[:end]
    return kept if re.search(rf"</\s*{kind}\s*>\s*$", kept, re.IGNORECASE) else f"{_HALF.sub('', kept)}</{kind}>"
