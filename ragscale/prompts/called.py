"""Tool calls as text: a turn that calls tools, put down for the trace and its reader, and taken up from any reply.

The notation is that of Hermes, which many models write by themselves where their server does not read it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ragscale.prompts import parse
from ragscale.prompts.thoughts import spoken
from ragscale.text import encodable
from ragscale.types import ToolCall

__all__ = ["arguments", "put_down", "take_up"]

_BEGIN, _END = "<tool_call>", "</tool_call>"
_MOST = 100  # calls of a turn
_NAME = 100  # characters of a name


def put_down(text: str, calls: Sequence[ToolCall], most: int) -> str:
    """A turn with its tool calls behind its text, `most` characters of arguments at most; plain text without any."""
    blocks = []
    for name, arguments in calls[:_MOST]:
        given = arguments[:most]
        most -= len(given)
        # A closing tag within the arguments ends nothing.
        block = json.dumps({"name": name[:_NAME], "arguments": given}).replace("<", "\\u003c")
        blocks.append(f"{_BEGIN}{block}{_END}")
    return "\n".join(filter(None, [text, *blocks]))


def take_up(text: str) -> tuple[str, list[ToolCall]]:
    """The text and the tool calls of a turn, as `put_down` or the model itself wrote them."""
    rest, blocks = text.rstrip(), list[str]()
    while rest.endswith(_END) and (begin := rest.rfind(_BEGIN)) >= 0 and len(blocks) < _MOST:
        blocks.insert(0, rest[begin + len(_BEGIN) : -len(_END)])
        rest = rest[:begin].rstrip()
    if not blocks:
        rest, *parts = spoken(text).split(_BEGIN, _MOST)
        blocks = [part.partition(_END)[0] for part in parts]
    if blocks:
        return rest, [_call(block) for block in blocks]
    value = parse.load(text)
    written = [_named(item) for item in (value if isinstance(value, list) else [value])[:_MOST]]
    calls = [call for call in written if call is not None]
    return ("", calls) if calls and len(calls) == len(written) else (text, [])


def arguments(call: ToolCall) -> dict[str, Any] | None:
    """The arguments of a call; None where they are no JSON object."""
    value = _strictly(call.arguments)
    return value if isinstance(value, dict) else None


def _strictly(text: str) -> Any:
    """A JSON value that is the whole text. There may be many, so that nothing else is tried."""
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def _call(block: str) -> ToolCall:
    return _named(_strictly(block)) or ToolCall("", encodable(block))


def _named(value: Any) -> ToolCall | None:
    """A call written as JSON; None for another value."""
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    given = value.get("arguments", value.get("parameters"))
    if given is None:
        return None
    name = encodable(value["name"][:_NAME])
    try:
        return ToolCall(name, given if isinstance(given, str) else json.dumps(given))
    except RecursionError:  # it could just be read
        return ToolCall(name, "")
