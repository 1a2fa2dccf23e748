"""Reads a request's body within bounds, and watches whether its client is still there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from ragscale.serve.limits import Limits, RefusedRequest

__all__ = ["attended", "declared", "read_json"]

T = TypeVar("T")


async def read_json(request: Request, limits: Limits, most: int | None = None) -> dict[str, Any]:
    """The JSON object in a request's body.

    Args:
        request: Not read yet.
        limits: Of the server.
        most: Bytes that the body may have; None for `Limits.body`.

    Raises:
        ClientDisconnect: The client went away.
        RefusedRequest: The body is too large (413), late (408) or no JSON object (400).
    """
    try:
        async with asyncio.timeout(limits.body_seconds):
            body = await _read(request, most or limits.body)
    except TimeoutError:
        raise RefusedRequest(
            408,
            f"the body did not arrive within {limits.body_seconds} s",
            "Send it at once.",
            {"Connection": "close"},
        ) from None
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedRequest(400, f"the body is not JSON ({_start(error)})", "Send a JSON object.") from None
    if not isinstance(data, dict):
        raise RefusedRequest(400, f"the body is a JSON {type(data).__name__}", "Send a JSON object.")
    return data


def declared(request: Request) -> int:
    """Bytes of a request's body as its head tells them; 0 where it does not."""
    size = request.headers.get("content-length", "0")
    return int(size) if size.isdigit() else 0


async def _read(request: Request, limit: int) -> bytearray:
    size = declared(request)
    parts = bytearray()
    if size <= limit:
        async for part in request.stream():
            parts += part
            size = len(parts)
            if size > limit:
                break
    if size > limit:
        raise RefusedRequest(
            413, f"the body has {size:,} bytes or more, the limit is {limit:,}", "Send fewer queries in a request."
        )
    return parts


def _start(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:200]


async def attended(request: Request, work: Coroutine[Any, Any, T], seconds: float | None) -> T:
    """The result of `work`, unless its client goes away or its time is over, if there is a limit: then it is cancelled.

    Raises:
        ClientDisconnect: The client went away.
        RefusedRequest: The time is over (504).
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        done, _ = await asyncio.wait({task, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        task.cancel()
        # given up by the time that the reply says so: the broker drops it before it can begin
        await asyncio.wait({task, gone})
    if task in done:
        return task.result()
    if gone in done:
        raise ClientDisconnect
    raise RefusedRequest(
        504, f"the search took longer than {seconds:g} s", "Try again later, with fewer queries or a smaller k."
    )


async def _disconnected(request: Request) -> None:
    # The body was read to its end, so the next messages can only be empty parts or the disconnect.
    while (await request.receive())["type"] != "http.disconnect":
        pass
