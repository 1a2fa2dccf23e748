"""JSON replies, and the reply to every error: ``{"error": {"problem", "remedy"}}``."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ragscale.errors import EndpointError, InvalidInput, ModelError, RagscaleError
from ragscale.serve.limits import RefusedRequest
from ragscale.types import Hit

__all__ = [
    "HANDLERS",
    "as_json",
    "error_json",
    "error_reply",
    "failure_reply",
    "json_reply",
    "lists_as_json",
    "log_failures",
    "results_reply",
    "told",
]

_log = logging.getLogger(__name__)
_TURN = 512  # hits, some milliseconds
_GONE = 499  # nobody reads it; the usual mark of a client that went away, for the metrics
_REMEDIES = {404: "The endpoints are in docs/serving.md.", 405: "See the header Allow."}


def as_json(data: Any) -> bytes:
    """The JSON of a value; half a surrogate pair, as a query in an error may hold, becomes a question mark."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def json_reply(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A reply of JSON."""
    return Response(as_json(data), status, headers, "application/json")


async def lists_as_json(found: Sequence[Sequence[Hit]], row: Callable[[Hit], Any]) -> bytes:
    """The JSON of the hits of several queries, without the brackets around; now and then others get their turn.

    Args:
        found: Hits of each query.
        row: What stands for a hit.
    """
    lists: list[bytes] = []
    written = 0
    for hits in found:
        lists.append(as_json([row(hit) for hit in hits]))
        written += len(hits)
        if written >= _TURN:
            written = 0
            await asyncio.sleep(0)
    return b",".join(lists)


def results_reply(head: Mapping[str, Any], results: Iterable[bytes]) -> Response:
    """A reply of JSON: the fields of `head`, and a list ``results`` of what is JSON already."""
    return Response(b'%b,"results":[%b]}' % (as_json(head)[:-1], b",".join(results)), media_type="application/json")


def error_json(problem: str, remedy: str) -> dict[str, Any]:
    """The body of an error."""
    return {"error": {"problem": problem, "remedy": remedy}}


def error_reply(status: int, problem: str, remedy: str, headers: Mapping[str, str] | None = None) -> Response:
    """The reply to a request that failed."""
    return json_reply(error_json(problem, remedy), status, headers)


def log_failures(errors: Iterable[RagscaleError]) -> None:
    """Log errors that the operator should look into, each once; errors of clients are not logged."""
    failures = (error for error in errors if not isinstance(error, InvalidInput | RefusedRequest))
    for line in dict.fromkeys(f"{type(error).__name__}: {error}" for error in failures):
        _log.error(line)


def told(error: RagscaleError, folder: Path) -> tuple[int, dict[str, Any], Mapping[str, str]]:
    """Status, body and further headers of a `RagscaleError`, without the path of the index."""
    error = _public(error)
    # "." names no folder, and is in every number
    problem = error.problem.replace(str(folder), folder.name) if folder.name else error.problem
    body = {"error": {"problem": problem, "remedy": error.remedy}}
    if isinstance(error, RefusedRequest):
        return error.status, body, error.headers
    return (422 if isinstance(error, InvalidInput) else 500), body, {}


def _public(error: RagscaleError) -> RagscaleError:
    """The error for clients: which endpoint embeds the queries, and how it failed, is for the log alone."""
    if not isinstance(error, ModelError):
        return error
    if error.retryable or isinstance(error, EndpointError):
        return RefusedRequest(
            503, "the server's embedder failed", "Try again later; its log says more.", {"Retry-After": "5"}
        )
    return InvalidInput("the server's embedder refused a query", "Shorten or change it; the server's log says more.")


def failure_reply(error: Exception, folder: Path, **more: Any) -> Response:
    """The reply to a request that failed; a `RagscaleError` goes to the log if the operator should look into it.

    Args:
        error: A `RagscaleError` or any other.
        folder: Of the index.
        more: Further fields of the body.
    """
    if isinstance(error, RagscaleError):
        log_failures([error])
        status, body, headers = told(error, folder)
        return json_reply({**body, **more}, status, headers)
    problem, remedy = f"the server failed ({type(error).__name__})", "See the server's log, and report it."
    return json_reply({**error_json(problem, remedy), **more}, 500)


async def _failed(request: Request, error: Exception) -> Response:
    # Starlette raises what is not ours again, so that the traceback goes to the server's log
    return failure_reply(error, request.app.state.folder)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    remedy = _REMEDIES.get(error.status_code, "")
    what = f"{request.method} {request.url.path[:100]}: {error.detail}"
    return error_reply(error.status_code, what, remedy, error.headers)


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=_GONE)


HANDLERS: dict[Any, Any] = {
    RagscaleError: _failed,
    HTTPException: _http,
    ClientDisconnect: _gone,
    Exception: _failed,
}
"""Exception handlers of the application."""
