"""What every request passes before it reaches an endpoint: the token, the host name, the clock."""

from __future__ import annotations

import hmac
import time
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ragscale.serve.metrics import Metrics
from ragscale.serve.replies import error_reply
from ragscale.urls import is_loopback

__all__ = ["Door"]

_OPEN = ("/health", "/health/live")  # without a token: they tell nothing


class Door:
    """Wraps an application: refuses who may not enter, and counts all.

    Args:
        app: What is behind it.
        metrics: Where requests are counted.
        paths: The paths that exist; all others are counted as ``other``.
        token: What clients must send as ``Authorization: Bearer TOKEN``. Without one, only requests that were
            addressed to this machine enter: a web page whose name was made to resolve to the loopback address is not
            let in.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, *, paths: Sequence[str], token: str | None) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = frozenset(paths)
        self._token = token.encode() if token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        started = time.perf_counter()
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await (self._refusal(scope) or self._app)(scope, receive, watched)
        finally:
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._metrics.answered(path, status, time.perf_counter() - started)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if self._token is None:
            host = _name(headers.get("host", ""))
            if not is_loopback(host):
                return error_reply(
                    421, f"the host {host[:100]!r} is not this machine", "Use the address that the server printed."
                )
        elif scope["path"] not in _OPEN and not self._knows(headers.get("authorization", "")):
            return error_reply(
                401,
                "the token is absent or wrong",
                "Send it as in `Authorization: Bearer TOKEN`; ragscale's client reads RAGSCALE_TOKEN.",
                {"WWW-Authenticate": "Bearer"},
            )
        return None

    def _knows(self, authorization: str) -> bool:
        scheme, _, token = authorization.partition(" ")
        assert self._token is not None
        return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), self._token)


def _name(host: str) -> str:
    """``"localhost:8765"`` -> ``"localhost"``; IPv6 addresses keep their brackets."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
