"""uvicorn's HTTP connection, with the time-outs that it lacks: clients that send or read too slowly are cut off."""

from __future__ import annotations

import asyncio
import http
import json
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from ragscale.serve.counters import Counters
from ragscale.serve.limits import Limits
from ragscale.serve.responses import error_json
from ragscale.words import counted

__all__ = ["bounded"]


def bounded(limits: Limits, counters: Counters) -> type[H11Protocol]:
    """The protocol class of a server with these limits; what it refuses is counted."""
    return type("BoundedConnection", (_Connection,), {"limits": limits, "counters": counters})


class _Connection(H11Protocol):
    limits: Limits
    counters: Counters
    _surplus = False
    _head: asyncio.TimerHandle | None = None
    _reply: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # any byte that the client has not taken counts as paused, so that one timer sees them all
        transport.set_write_buffer_limits(high=0)
        # they are told when they have sent something: a reply to what was not read yet may be lost
        self._surplus = len(self.connections) > self.limits.connections
        if len(self.connections) > 2 * self.limits.connections:
            transport.abort()
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head()
        self._stop_reply()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._surplus:
            # whose clients read nothing but the result
            more: dict[str, Any] = {"result": []} if data.startswith(b"POST /retrieve") else {}
            self._refuse(503, f"more than {counted(self.limits.connections, 'connection')}", "Try again later.", **more)
            return
        super().data_received(data)
        # what comes after a reply is the next head, or the rest of a body that nobody wants
        if self.cycle is None or self.cycle.response_complete:
            self._await_head()
        else:
            self._stop_head()

    def _await_head(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(self.limits.head_seconds, self._late)

    def _late(self) -> None:
        self._head = None
        if self.cycle is None or self.cycle.response_complete:
            self._refuse(408, f"no request within {self.limits.head_seconds} s", "Send its head at once.")

    def _stop_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._reply is None:
            self._reply = self.loop.call_later(self.limits.reply_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_reply()
        super().resume_writing()

    def _stop_reply(self) -> None:
        if self._reply is not None:
            self._reply.cancel()
            self._reply = None

    def send_400_response(self, msg: str) -> None:
        """Replaces uvicorn's plain text."""
        self._refuse(400, "the request is not HTTP/1.1", "Send HTTP, not HTTPS; a head may have 64 KiB.")

    def _refuse(self, status: int, problem: str, remedy: str, **more: Any) -> None:
        """Answer outside any request, with further fields, and close."""
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()  # in the middle of a reply
            return
        self.counters.refused(status)
        body = json.dumps({**error_json(problem, remedy), **more}).encode()
        head: dict[str, Any] = {"Content-Type": "application/json", "Content-Length": len(body), "Connection": "close"}
        if status == 503:
            head["Retry-After"] = 1
        lines = [f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}", *(f"{name}: {head[name]}" for name in head)]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        self.transport.close()
