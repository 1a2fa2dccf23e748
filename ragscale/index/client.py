"""HTTP with an index server: one request, its repetitions, and what its failure means."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, retry_if_result, stop_after_attempt

from ragscale.errors import IndexServerError, InvalidInput
from ragscale.urls import is_loopback, server_url

__all__ = ["Client"]

_CONNECT = 10.0  # seconds
_LONGEST_WAIT = 30.0  # of what a server may ask for
_REFUSED = (400, 404, 413, 422)


class _BusyError(IndexServerError):
    """Worth another attempt: every request only reads, so none does harm twice."""

    retry_after = 0.0


class Client:
    """Sends requests to one server; safe from many threads.

    Args:
        url: Of the server.
        token_env: Environment variable with its token; read at each request.
        timeout: Seconds that one request may take.
        attempts: Attempts at a request in all.

    Raises:
        InvalidInput: `url` is not an http(s) URL, or holds credentials or a query; `attempts` is below 1.
    """

    def __init__(self, url: str, *, token_env: str, timeout: float, attempts: int) -> None:
        self.url = server_url(url, example="http://127.0.0.1:8765", secret=token_env)
        if attempts < 1:
            raise InvalidInput(f"attempts={attempts}, the least is 1", "1 means no second attempt.")
        self._token_env = token_env
        self._attempts = attempts
        address = httpx.URL(self.url)
        # a proxy cannot reach this machine's own loopback interface
        direct = is_loopback(address.host)
        limit = httpx.Timeout(timeout, connect=min(timeout, _CONNECT))
        # without TLS there is nothing to verify, and reading the certificates takes its time
        verify = address.scheme == "https"
        self._http = httpx.Client(base_url=self.url, timeout=limit, trust_env=not direct, verify=verify)

    def get(self, path: str, *, params: dict[str, str] | None = None, attempts: int | None = None) -> dict[str, Any]:
        """The JSON object at `path`; see `post`."""
        return self._repeated("GET", path, attempts=attempts, params=params)

    def post(self, path: str, body: dict[str, Any], *, unsettled: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The JSON object that answers `body`.

        Args:
            path: Of the endpoint.
            body: The request.
            unsettled: Whether an answer is worth another attempt; the last one is returned whatever it says.

        Raises:
            IndexServerError: All attempts failed, or one in a way that another would too.
            InvalidInput: The server refuses the request as it stands.
        """
        return self._repeated("POST", path, unsettled=unsettled, json=body)

    def _repeated(
        self,
        method: str,
        path: str,
        *,
        attempts: int | None = None,
        unsettled: Callable[[dict[str, Any]], bool] = lambda answer: False,
        **content: Any,
    ) -> dict[str, Any]:
        retrying = Retrying(
            stop=stop_after_attempt(attempts or self._attempts),
            wait=_wait,
            retry=retry_if_exception_type(_BusyError) | retry_if_result(unsettled),
            retry_error_callback=_last,
        )
        try:
            return retrying(self._once, method, path, content)
        except _BusyError as error:
            raise IndexServerError(error.problem, error.remedy) from None

    def _once(self, method: str, path: str, content: dict[str, Any]) -> dict[str, Any]:
        token = os.environ.get(self._token_env, "").strip()
        if not token.isascii() or not token.isprintable():
            raise IndexServerError(
                f"the token in {self._token_env} has characters that no HTTP header can carry",
                "Use letters, digits and punctuation of ASCII, on the server too.",
            )
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            response = self._http.request(method, path, headers=headers, **content)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise _BusyError(
                f"no index server at {self.url} (connection refused, or unknown host)",
                "Start it with `ragscale serve DIR`, or correct the URL.",
            ) from None
        except httpx.TimeoutException:
            raise IndexServerError(
                f"no answer from {self.url} within {self._http.timeout.read:g} s",
                "Send fewer queries at once, or look at the server's /metrics.",
            ) from None
        except httpx.RequestError as error:  # a body that cannot be decoded included
            raise _BusyError(
                f"the connection to {self.url} broke ({type(error).__name__})", "See the server's log."
            ) from None
        if response.status_code != 200:
            raise self._failure(response)
        with self.reading():
            return dict(response.json())

    def _failure(self, response: httpx.Response) -> IndexServerError | InvalidInput:
        status = response.status_code
        if status == 401:
            state = "holds another token" if os.environ.get(self._token_env) else "is not set"
            return IndexServerError(
                f"{self.url} wants a token, and the variable {self._token_env} {state}",
                f"Put the server's token into {self._token_env}.",
            )
        try:
            told = response.json()["error"]
            problem, remedy, ours = f"{self.url}: {told['problem']}", str(told["remedy"]), True
        except (ValueError, KeyError, TypeError, RecursionError):
            problem, remedy, ours = f"{self.url} answered with HTTP {status}", "Check that it is ragscale's.", False
        if status in (408, 429, 502, 503):
            busy = _BusyError(problem, remedy)
            busy.retry_after = _seconds(response.headers.get("retry-after", ""))
            return busy
        return InvalidInput(problem, remedy) if status in _REFUSED and ours else IndexServerError(problem, remedy)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turns whatever goes wrong while a reply is read into an `IndexServerError`."""
        try:
            yield
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
            raise IndexServerError(
                f"{self.url} answered with something that this ragscale does not understand",
                "Check the URL, and that server and client are of one version.",
            ) from None

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def _last(state: RetryCallState) -> Any:
    assert state.outcome
    return state.outcome.result()  # or raises, as the last attempt did


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, _BusyError) else 0.0
    backoff: float = 0.25 * 2 ** (state.attempt_number - 1) * random.uniform(0.5, 1.0)
    return max(backoff, min(asked, _LONGEST_WAIT))


def _seconds(header: str) -> float:
    try:
        return max(0.0, float(header))
    except ValueError:
        return 0.0  # a date, as a proxy may send it
