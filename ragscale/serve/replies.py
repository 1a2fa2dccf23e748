"""JSON replies, and the reply to every error: ``{"error": {"problem", "remedy"}}``."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ragscale.errors import EndpointError, InvalidInput, ModelError, RagscaleError
from ragscale.serve.limits import RefusedRequest

__all__ = ["HANDLERS", "error_json", "error_reply", "json_reply", "log_failures", "told"]

_log = logging.getLogger(__name__)
_GONE = 499  # nobody reads it; the usual mark of a client that went away, for the metrics
_REMEDIES = {404: "The endpoints are in docs/serving.md.", 405: "See the header Allow."}


def json_reply(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A reply of JSON; half a surrogate pair, as a query in an error may hold, becomes a question mark."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return Response(text.encode("utf-8", "replace"), status, headers, "application/json")


def error_json(problem: str, remedy: str) -> dict[str, Any]:
    """The body of an error."""
    return {"error": {"problem": problem, "remedy": remedy}}


def error_reply(status: int, problem: str, remedy: str, headers: Mapping[str, str] | None = None) -> Response:
    """The reply to a request that failed."""
    return json_reply(error_json(problem, remedy), status, headers)


def log_failures(errors: Iterable[RagscaleError]) -> None:
    """Write what the operator should look into to the log, each once; what a client did wrong is not among it."""
    failures = (error for error in errors if not isinstance(error, InvalidInput | RefusedRequest))
    for line in dict.fromkeys(f"{type(error).__name__}: {error}" for error in failures):
        _log.error(line)


def told(error: RagscaleError, folder: Path) -> tuple[int, dict[str, Any], Mapping[str, str]]:
    """Status, body and further headers of an error of ours; where the index lies is not the client's business."""
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


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, RagscaleError)
    log_failures([error])
    status, body, headers = told(error, request.app.state.folder)
    return json_reply(body, status, headers)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    remedy = _REMEDIES.get(error.status_code, "")
    what = f"{request.method} {request.url.path[:100]}: {error.detail}"
    return error_reply(error.status_code, what, remedy, error.headers)


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=_GONE)


async def _unexpected(request: Request, error: Exception) -> Response:
    # the traceback goes to the server's log
    return error_reply(500, f"the server failed ({type(error).__name__})", "See the server's log, and report it.")


HANDLERS: dict[Any, Any] = {
    RagscaleError: _ours,
    HTTPException: _http,
    ClientDisconnect: _gone,
    Exception: _unexpected,
}
"""Exception handlers of the application."""
