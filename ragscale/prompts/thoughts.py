"""Thoughts of a reasoning model, told apart from its reply: nested, unclosed, or opened by the chat template."""

from __future__ import annotations

import re

__all__ = ["spoken", "versions"]

_TAG = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE)
_JSON = re.compile(r"\s*[\[{`]")
_BLANK = re.compile(r"\s*")


def spoken(text: str) -> str:
    """`text` without its thoughts, for a reply that is JSON or plain.

    The opening tag may stand in the chat template. Nothing is left of a thought without an end. JSON may hold the tags.
    """
    at = 0
    while not _JSON.match(text, at):
        tag = _TAG.search(text, at)
        if tag is None:
            return text[at:]
        if tag[1]:
            at = tag.end()
        elif tag.start() == _BLANK.match(text, at).end():  # type: ignore[union-attr]  # it matches nothing, too
            at = _behind(text, tag)
        else:
            return _left(text[at:], cut=True)[0]
    return text[at:]


def versions(text: str) -> list[str]:
    """`text` without its thoughts, in the ways that it may be meant, likeliest first, as tags may be missing.

    A thought within a thought ends where its own tag is closed. Where tags do not match, the first end is the end of
    all that were begun. Last comes the text with nothing but the tags left out.
    """
    balanced, matched = _left(text)
    shallow, _ = _left(text, nested=False)
    order = [balanced, shallow] if matched else [shallow, balanced]
    return list(dict.fromkeys([*order, _TAG.sub("", text)]))


def _behind(text: str, first: re.Match[str]) -> int:
    """End of the thought that `first` opens; that of the text if it is never closed."""
    depth, end = 0, len(text)
    for tag in _TAG.finditer(text, first.start()):
        depth += -1 if tag[1] else 1
        if tag[1] and end == len(text):
            end = tag.end()
        if depth == 0:
            # a reply that stands within its own thought was meant as one
            return tag.end() if text[tag.end() :].strip() else end
    return end


def _left(text: str, *, cut: bool = False, nested: bool = True) -> tuple[str, bool]:
    """`text` without thoughts, and whether every tag had its other half; `cut` drops a thought that is never closed."""
    kept: list[str] = []
    opened: list[int] = []  # places in `kept` where the thoughts under way begin
    matched, at = True, 0
    for tag in _TAG.finditer(text):
        kept.append(text[at : tag.start()])
        at = tag.end()
        if not tag[1]:
            opened.append(len(kept))
        elif opened:
            del kept[opened.pop() if nested else opened[0] :]
            if not nested:
                opened.clear()
        else:  # the chat template opened it, or an earlier call of the same turn
            kept.clear()
            matched = False
    kept.append(text[at:])
    if opened and cut:
        del kept[opened[0] :]
    return "".join(kept), matched and not opened
