"""HTTP client of an index server: one request, its retries, and the errors of its failure."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, retry_if_result, stop_after_attempt

from ragscale.endpoint.http import (
    BadEncoding,
    BodyTooLarge,
    UnknownEncoding,
    html_page,
    open_client,
    proxy_beside,
    proxy_variables,
    read_bounded,
    retry_after,
)
from ragscale.endpoint.urls import server_url
from ragscale.errors import IndexServerError, InvalidInput
from ragscale.index.remote.replies import FAILURE
from ragscale.text import masked

__all__ = ["Client", "TooLargeError"]

T = TypeVar("T")
_CONNECT = 10.0  # seconds
_LONGEST_WAIT = 30.0  # of what a server may ask for
_REFUSED = (400, 404, 413, 422)
_LARGEST = 64 << 20  # bytes of a reply: 16,384 hits, the most of a request, may have 4,000 each
_LARGEST_FAILURE = 1 << 20


class _BusyError(IndexServerError):
    """A failure worth a retry: every request only reads, so repeating it is harmless."""

    retry_after = 0.0


class TooLargeError(IndexServerError):
    """A reply beyond what is read; one of fewer searches may be shorter."""


class Client:
    """Sends requests to one server; safe from many threads.

    Args:
        url: Of the server.
        token_env: Environment variable with its token; read at each request.
        timeout: Seconds that one request may take.
        attempts: Attempts at a request in all.

    Raises:
        InvalidInput: `url` is not an http(s) URL, or holds credentials or a query; `attempts` is below 1; a proxy or
            certificates of the environment cannot be used.
        MissingDependency: The environment names a SOCKS proxy, and httpx cannot speak to one.
    """

    def __init__(self, url: str, *, token_env: str, timeout: float, attempts: int) -> None:
        self.url = server_url(url, example="http://127.0.0.1:8765", secret=token_env)
        if attempts < 1:
            raise InvalidInput(f"attempts={attempts}, the least is 1", "1 means no second attempt.")
        self._token_env = token_env
        self._attempts = attempts
        self._timeout = timeout
        limit = httpx.Timeout(timeout, connect=min(timeout, _CONNECT))
        self._http = open_client(httpx.Client, self.url, base_url=self.url, timeout=limit)

    def get(
        self, path: str, reply: TypeAdapter[T], *, params: dict[str, str] | None = None, attempts: int | None = None
    ) -> T:
        """GET `path`; see `post`."""
        return self._repeated("GET", path, reply, attempts=attempts, params=params)

    def post(
        self,
        path: str,
        body: dict[str, Any],
        reply: TypeAdapter[T],
        *,
        unsettled: Callable[[T], bool] = lambda answer: False,
    ) -> T:
        """POST `body`; return the checked reply.

        Args:
            path: Of the endpoint.
            body: The request.
            reply: Schema of the reply.
            unsettled: Whether an answer is worth another attempt; the last one is returned whatever it says.

        Raises:
            IndexServerError: All attempts failed, or one in a way that another would too.
            InvalidInput: The server refuses the request as it stands.
        """
        return self._repeated("POST", path, reply, unsettled=unsettled, json=body)

    def _repeated(
        self,
        method: str,
        path: str,
        reply: TypeAdapter[T],
        *,
        attempts: int | None = None,
        unsettled: Callable[[T], bool] = lambda answer: False,
        **content: Any,
    ) -> T:
        retrying = Retrying(
            stop=stop_after_attempt(attempts or self._attempts),
            wait=_wait,
            retry=retry_if_exception_type(_BusyError) | retry_if_result(unsettled),
            retry_error_callback=_last,
        )
        try:
            answer: T = retrying(self._once, method, path, reply, content)
            return answer
        except _BusyError as error:
            raise IndexServerError(error.problem, error.remedy) from None

    def _once(self, method: str, path: str, reply: TypeAdapter[T], content: dict[str, Any]) -> T:
        token = os.environ.get(self._token_env, "").strip()
        if not token.isascii() or not token.isprintable():
            raise IndexServerError(
                f"the token in {self._token_env} has characters that no HTTP header can carry",
                "Use letters, digits and punctuation of ASCII, on the server too.",
            )
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        deadline = time.monotonic() + self._timeout
        try:
            with self._http.stream(method, path, headers=headers, **content) as response:
                good = response.status_code == 200
                body = read_bounded(response, _LARGEST if good else _LARGEST_FAILURE, deadline=deadline)
        except httpx.ProxyError as error:
            raise _BusyError(
                f"the proxy that {proxy_variables()} names does not let {self.url} be reached ({error})",
                "Correct it, or put the server's name into NO_PROXY.",
            ) from None
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise _BusyError(
                f"no index server at {self.url} (connection refused, or unknown host)",
                f"Start it with `ragscale serve DIR`, or correct the URL.{proxy_beside(self.url)}",
            ) from None
        except (httpx.TimeoutException, TimeoutError):
            raise IndexServerError(
                f"no answer from {self.url} within {self._timeout:g} s",
                "Send fewer queries at once, or look at the server's /metrics.",
            ) from None
        except BodyTooLarge as error:
            raise TooLargeError(
                f"{self.url} answers with {error}", "Ask for fewer hits at once, and check that it is ragscale's."
            ) from None
        except UnknownEncoding as error:
            raise IndexServerError(
                f"{self.url} answers with {error}", "Take out the proxy or the setting that compresses it so."
            ) from None
        except BadEncoding as error:
            raise _BusyError(
                f"the connection to {self.url} broke (DecodingError): {error}", "See the server's log."
            ) from None
        except httpx.RequestError as error:
            raise _BusyError(
                f"the connection to {self.url} broke ({type(error).__name__})", "See the server's log."
            ) from None
        if not good:
            raise self._failure(response, body)
        try:
            return reply.validate_json(body)
        except ValidationError as error:
            if page := html_page(body):
                raise IndexServerError(
                    f"{self.url}{path} answered with {masked(page, [token] if token else [])}",
                    "Check that the URL is an index server's: this may be a login or another web page."
                    f"{proxy_beside(self.url)}",
                ) from None
            raise self.odd(_first(error)) from None

    def _failure(self, response: httpx.Response, body: bytes) -> IndexServerError | InvalidInput:
        status = response.status_code
        if status == 401:
            state = "holds another token" if os.environ.get(self._token_env) else "is not set"
            return IndexServerError(
                f"{self.url} wants a token, and the variable {self._token_env} {state}",
                f"Put the server's token into {self._token_env}.",
            )
        try:
            told = FAILURE.validate_json(body)["error"]
            problem, remedy, ours = f"{self.url}: {told['problem']}", told["remedy"], True
        except ValidationError:
            problem, ours = f"{self.url} answered with HTTP {status}", False
            remedy = f"Check that it is ragscale's.{proxy_beside(self.url)}"
        if status in (408, 429, 502, 503):
            busy = _BusyError(problem, remedy)
            busy.retry_after = retry_after(response.headers.get("retry-after")) or 0.0
            return busy
        return InvalidInput(problem, remedy) if status in _REFUSED and ours else IndexServerError(problem, remedy)

    def odd(self, what: str) -> IndexServerError:
        """Error about a reply that an index server does not send."""
        return IndexServerError(
            f"{self.url} answered with something that this ragscale does not understand ({what})",
            "Check the URL, and that server and client are of one version.",
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def _first(error: ValidationError) -> str:
    """First place where a reply breaks its schema, and the reason: ``"results.0: Input should be an object"``."""
    found = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part)[:40] for part in found["loc"][:8])
    return f"{place}: {found['msg'][:200]}" if place else found["msg"][:200]


def _last(state: RetryCallState) -> Any:
    assert state.outcome
    return state.outcome.result()  # or raises, as the last attempt did


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, _BusyError) else 0.0
    backoff: float = 0.25 * 2 ** (state.attempt_number - 1) * random.uniform(0.5, 1.0)
    return max(backoff, min(asked, _LONGEST_WAIT))
