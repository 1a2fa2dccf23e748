"""The prompts of a run: exact messages by digest, with each line held once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

from ragscale.types import Message

__all__ = ["Sent"]


class Sent(Mapping[str, list[Message]]):
    """Messages of each prompt by `Event.prompt`.

    The prompts of a run share most of their lines (instructions, passages, the steps so far), so that a line is held
    once: 30 prompts of a chain take the room of three.
    """

    def __init__(self) -> None:
        self._lines: dict[str, int] = {}
        self._prompts: dict[str, list[dict[str, Any]]] = {}

    def keep(self, digest: str, messages: list[Message]) -> None:
        """Add a prompt; one that is there already stays as it is."""
        if digest not in self._prompts:
            self._prompts[digest] = [
                {**message, "content": [self._line(line) for line in str(message["content"]).split("\n")]}
                for message in messages
            ]

    def to_dict(self) -> dict[str, Any]:
        """``{"lines": [text, ...], "messages": {digest: [message, ...]}}``.

        The content of each message is a list of places in ``lines``, to be joined by line feeds.
        """
        return {"lines": list(self._lines), "messages": dict(self._prompts)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises `KeyError`, `TypeError` or `IndexError` where it is not what that gives."""
        sent, lines = cls(), list(data["lines"])
        for digest, messages in data["messages"].items():
            sent.keep(digest, [{**m, "content": "\n".join(lines[at] for at in m["content"])} for m in messages])
        return sent

    def __getitem__(self, digest: str) -> list[Message]:
        lines = list(self._lines)
        return [{**m, "content": "\n".join(lines[at] for at in m["content"])} for m in self._prompts[digest]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._prompts)

    def __len__(self) -> int:
        return len(self._prompts)

    def _line(self, line: str) -> int:
        return self._lines.setdefault(line, len(self._lines))
