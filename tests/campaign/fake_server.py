"""An HTTP server in a thread, as fast as a test of thousands of calls needs it, that can break off where it is told."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Request", "Response", "Server"]

_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 429: "Too Many Requests", 500: "Internal Server Error"}


@dataclass(frozen=True)
class Request:
    """Request, as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: Any
    """Decoded JSON; None where there was none."""


@dataclass
class Response:
    """Response, as it goes out."""

    body: Any = None
    """Sent as JSON unless it is bytes."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    kind: str = "application/json"
    sent: float = 1.0
    """Share of the bytes that are sent before the connection is closed; below 0 not even the head is."""
    delay: float = 0.0
    """Seconds before it is sent; the call was made by then."""
    raw: Iterable[bytes | float] | None = None
    """Head and body as they go out, instead of all the above; a number is a pause in seconds."""


class Server:
    """Answers on a loopback port until the block ends.

    Args:
        answer: Called in the server's thread, one request at a time.
    """

    def __init__(self, answer: Callable[[Request], Response]) -> None:
        self._answer = answer
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="fake-model-server")
        self.url = ""
        """Without a path."""

    def __enter__(self) -> Server:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**24))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client gave up, or the server ends
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its response; whether the connection stays open."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        response = self._answer(Request(method, path, headers, json.loads(raw) if raw else None))
        if response.delay:
            await asyncio.sleep(response.delay)
        if response.raw is not None:
            for part in response.raw:
                if isinstance(part, bytes):
                    writer.write(part)
                    await writer.drain()
                else:
                    await asyncio.sleep(part)
            return False
        if response.sent < 0:
            return False
        data = response.body if isinstance(response.body, bytes) else json.dumps(response.body).encode()
        stay = headers.get("connection", "").lower() != "close" and response.sent == 1.0
        lines = [f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Other')}"]
        lines += [f"content-type: {response.kind}", f"content-length: {len(data)}"]
        lines += [f"{name}: {value}" for name, value in response.headers.items()]
        lines += [f"connection: {'keep-alive' if stay else 'close'}", "", ""]
        writer.write("\r\n".join(lines).encode() + data[: int(len(data) * response.sent)])
        await writer.drain()
        return stay
