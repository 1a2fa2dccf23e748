"""Middleware of every request: origin, token and host name are checked, time and status are counted."""

from __future__ import annotations

import base64
import binascii
import hmac
import time
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ragscale.endpoint.urls import is_loopback, is_unspecified
from ragscale.errors import InvalidInput
from ragscale.serve.counters import Counters
from ragscale.serve.responses import error_reply

__all__ = ["Door", "checked_origin"]

_OPEN = ("/health", "/health/live")  # without a token: they tell nothing


class Door:
    """Wraps an application: refuses requests that are not allowed, and counts all of them.

    Args:
        app: The application.
        counters: Count the requests.
        paths: The paths that exist; all others are counted as ``other``.
        token: What clients must send as ``Authorization: Bearer TOKEN``, or as the password of HTTP Basic. Without
            one, only requests that were addressed to this machine enter: a web page whose name was made to resolve to
            the loopback address is not let in.
        origins: Of web pages that may send requests, as ``http://localhost:3000``. A browser sends those of any other
            page as well; they are refused.
    """

    def __init__(
        self,
        app: ASGIApp,
        counters: Counters,
        *,
        paths: Sequence[str],
        token: str | None,
        origins: Sequence[str] = (),
    ) -> None:
        self._app = app
        self._counters = counters
        self._paths = frozenset(paths)
        self._token = token.encode() if token else None
        self._origins = frozenset(origins)

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
            self._counters.answered(path, status, time.perf_counter() - started)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        # the address of all interfaces, which many servers print, leads here as well; without any, as HTTP/1.0 allows
        # and health checks of load balancers do it, no browser has sent the request
        if self._token is None and "host" in headers and not (is_loopback(_name(host)) or is_unspecified(_name(host))):
            return error_reply(
                421, f"the host {_name(host)[:100]!r} is not this machine", "Use the address that the server printed."
            )
        if self._foreign(scope["method"], headers, host):
            return error_reply(
                403,
                "a web page of another origin sent this request, or a browser that does not say which",
                "Start the server with --allow-origin ORIGIN to let that page in; programs send no Origin, "
                "and JSON as application/json.",
            )
        if self._token and scope["path"] not in _OPEN and not self._knows(headers.get("authorization", "")):
            return error_reply(
                401,
                "the token is absent or wrong",
                "Send it as in `Authorization: Bearer TOKEN`; ragscale's client reads RAGSCALE_TOKEN.",
                {"WWW-Authenticate": "Bearer"},
            )
        return None

    def _foreign(self, method: str, headers: Headers, host: str) -> bool:
        """Whether a browser sends this for a page of another origin, which needs no permission for simple requests."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        if origin is None and site in ("same-origin", "none") and "referer" in headers and method != "GET":
            origin = "/".join(headers["referer"].split("/")[:3])  # of browsers that do not send the others
        if origin is not None:
            return origin.lower() not in (f"http://{host}", f"https://{host}", *self._origins)
        if site == "none" and method == "POST":
            # what a page can send without asking, and no client of this server does; curl's -d says it is a form
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            form = kind == "application/x-www-form-urlencoded" and headers.get("user-agent", "").startswith("Mozilla/")
            return form or kind in ("text/plain", "multipart/form-data")
        followed = method == "GET" and headers.get("sec-fetch-mode") == "navigate"  # a link to /metrics
        return site not in ("same-origin", "none") and not followed

    def _knows(self, authorization: str) -> bool:
        scheme, _, given = authorization.partition(" ")
        token = given.strip().encode()
        if scheme.lower() == "basic":  # as of a URL with a user and a password
            try:
                _, _, token = base64.b64decode(token, validate=True).partition(b":")
            except binascii.Error:
                return False
        elif scheme.lower() != "bearer":
            return False
        assert self._token is not None
        return hmac.compare_digest(token, self._token)


def checked_origin(origin: str) -> str:
    """An origin as browsers write it. Raises `InvalidInput` for one that is malformed."""
    scheme, mark, host = origin.lower().rstrip("/").partition("://")
    if scheme not in ("http", "https") or not mark or not host or set(host) & set("/*?#@ ,"):
        raise InvalidInput(
            f"{origin!r} is not the origin of a web page", "Write it as in http://localhost:3000, without a path."
        )
    return f"{scheme}://{host}"


def _name(host: str) -> str:
    """``"localhost:8765"`` -> ``"localhost"``; IPv6 addresses keep their brackets."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
