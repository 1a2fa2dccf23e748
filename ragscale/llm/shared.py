"""Servers of this process that models share by their settings; the last model to be closed stops one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from ragscale.llm.openai import OpenAILLM

__all__ = ["Servers", "Sharing"]

Key = TypeVar("Key", bound=Hashable)
Server = TypeVar("Server")


@dataclass
class _Held(Generic[Server]):
    server: Server
    users: int = 0


class Servers(Generic[Key, Server]):
    """Servers by their settings, each with the number of its users.

    Args:
        stop: Stops a server that has no users left; None for one that stops when nothing refers to it.
    """

    def __init__(self, stop: Callable[[Server], object] | None = None) -> None:
        self._stop = stop
        self._held: dict[Key, _Held[Server]] = {}
        self._lock = threading.Lock()

    def acquire(self, key: Key, make: Callable[[Key], Server]) -> Server:
        """The server of these settings, with one user more; made where there is none, while others wait."""
        with self._lock:
            held = self._held.get(key)
            if held is None:
                held = self._held[key] = _Held(make(key))
            held.users += 1
        return held.server

    def release(self, key: Key) -> None:
        """One user less; the last one stops the server."""
        with self._lock:
            held = self._held.get(key)
            if held is None:
                return
            held.users -= 1
            if held.users:
                return
            del self._held[key]
        if self._stop:
            self._stop(held.server)

    def clear(self) -> None:
        """Stop all servers."""
        with self._lock:
            held = [*self._held.values()]
            self._held.clear()
        if self._stop:
            for one in held:
                self._stop(one.server)


class Sharing(OpenAILLM):
    """A model of a server of this process; a subclass names its `_servers`, and acquires one by its `_key`."""

    _servers: ClassVar[Servers[Any, Any]]
    _key: Hashable
    _open = False

    async def aclose(self) -> None:
        """Release the connections, and the server with its last user. Idempotent."""
        await super().aclose()
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Like `aclose`, from synchronous code."""
        if self._open:
            self._open = False
            self._servers.release(self._key)
