"""One HTTP attempt against an OpenAI-dialect endpoint, and what its failure means.

The `openai` client does the talking; this module makes it safe to use from several event loops, keeps the key out of
everything that is printed, and turns each failure into a `ModelError` that says what the attempt is charged.
"""

from __future__ import annotations

import asyncio
import json
import os
import weakref
from typing import TYPE_CHECKING, Any

from ragscale.errors import EndpointError, ModelError
from ragscale.types import Spend
from ragscale.urls import server_url

if TYPE_CHECKING:
    import openai

__all__ = ["BadKeyError", "BrokenAnswerError", "RefusedError", "ThrottledError", "Transport", "UnreachableError"]


_CONNECT = 10.0  # seconds until a host that does not answer at all counts as absent


class ThrottledError(ModelError):
    """The endpoint asked to slow down (HTTP 429).

    Args:
        problem: What went wrong.
        remedy: What to do.
        retry_after: Seconds that the endpoint asked to wait; None where it did not say.
        spend: What the attempt is charged.
    """

    def __init__(self, problem: str, remedy: str = "", *, retry_after: float | None, spend: Spend) -> None:
        super().__init__(problem, remedy, retryable=True, spend=spend)
        self.retry_after = retry_after


class RefusedError(ModelError):
    """The endpoint refused the request as it stands (HTTP 400, 413, 422); `problem` holds what it said."""


class BrokenAnswerError(ModelError):
    """An answer with HTTP 200 that cannot be used."""


class UnreachableError(EndpointError):
    """Nothing listens at the address, or the host is unknown."""


class BadKeyError(EndpointError):
    """The endpoint refuses the key, or no request can carry it."""


class Transport:
    """Sends single requests; never repeats one.

    Args:
        base_url: The endpoint with its path, as in ``http://localhost:8000/v1``.
        api_key_env: Name of the environment variable that holds the key; read at each call, never stored.
        timeout: Seconds that one request may take.

    Raises:
        InvalidInput: `base_url` is not an http(s) URL, or holds credentials or a query.
    """

    def __init__(self, base_url: str, *, api_key_env: str = "OPENAI_API_KEY", timeout: float = 180.0) -> None:
        self.shown = server_url(base_url, example="http://localhost:8000/v1", secret=api_key_env)
        self.api_key_env = api_key_env
        self.timeout = timeout
        self.root = self.shown.removesuffix("/v1")
        self._clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, openai.AsyncOpenAI] = (
            weakref.WeakKeyDictionary()
        )

    def __repr__(self) -> str:
        return f"Transport({self.shown!r})"

    def _client(self) -> openai.AsyncOpenAI:
        """The client of the running loop: a client's sockets belong to the loop that opened them."""
        import openai

        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client = self._clients[loop] = openai.AsyncOpenAI(
                base_url=self.shown,
                api_key=self._key,
                timeout=openai.Timeout(self.timeout, connect=min(self.timeout, _CONNECT)),
                max_retries=0,
                # Nothing outlives a call, so a loop may end without notice, and no call is lost to a connection that
                # the server closed while it was idle.
                default_headers={"Connection": "close"},
            )
        return client

    async def _key(self) -> str:
        key = os.environ.get(self.api_key_env, "").strip()
        if not key.isascii() or not key.isprintable():
            raise BadKeyError(
                f"The key in {self.api_key_env} has characters that no HTTP header can carry",
                f"Put a key of letters, digits and punctuation of ASCII into {self.api_key_env}.",
                spend=Spend(),
            )
        return key or "none"  # local servers take any key, the client insists on one

    async def get(self, path: str) -> Any:
        """The JSON at `path`; relative to the endpoint, or a whole URL. Raises `ModelError`."""
        return await self._send("GET", path, None, 0)

    async def post(self, path: str, body: dict[str, Any], *, prompt_tokens: int = 0) -> Any:
        """The JSON that answers `body`.

        Args:
            path: Relative to the endpoint, or a whole URL.
            body: The request.
            prompt_tokens: What a failure is charged, where the prompt may have been processed before it.

        Raises:
            ModelError: The attempt failed.
        """
        return await self._send("POST", path, body, prompt_tokens)

    async def _send(self, method: str, path: str, body: dict[str, Any] | None, prompt_tokens: int) -> Any:
        import openai

        client = self._client()
        try:
            # The client's own limit is one of silence: bytes that trickle would reset it for ever.
            async with asyncio.timeout(self.timeout):
                if method == "GET":
                    text = await client.get(path, cast_to=str)
                else:
                    text = await client.post(path, cast_to=str, body=body)
        except openai.APIStatusError as error:
            raise self._status_error(error, prompt_tokens) from None
        except TimeoutError:
            raise self._late(prompt_tokens) from None
        except openai.APIConnectionError as error:  # its subclass for time-outs included
            raise self._connection_error(error, prompt_tokens) from None
        except UnicodeDecodeError:
            raise self.broken("a body that is not UTF-8", prompt_tokens) from None
        try:
            return json.loads(text)
        except ValueError:
            raise self.broken("a body that is not JSON", prompt_tokens) from None
        except RecursionError:
            raise self.broken("JSON that is nested too deeply", prompt_tokens) from None

    def _late(self, prompt_tokens: int) -> ModelError:
        return ModelError(
            f"No answer from {self.shown} within {self.timeout:g} s",
            "Raise the timeout, or shorten the prompt or the answer.",
            retryable=True,
            spend=Spend(llm_calls=1, prompt_tokens=prompt_tokens),
        )

    def broken(self, what: str, prompt_tokens: int, completion_tokens: int = 0) -> BrokenAnswerError:
        """The error for an answer that came with HTTP 200 and cannot be used: retryable, and charged."""
        spend = Spend(llm_calls=1, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
        return BrokenAnswerError(
            f"{self.shown} answered with {what}",
            "See the server's log; the call may be repeated.",
            retryable=True,
            spend=spend,
        )

    def _connection_error(self, error: openai.APIConnectionError, prompt_tokens: int) -> ModelError:
        # By name: openai 1 and 2 raise httpx's errors, openai 3 those of httpx2.
        cause = type(error.__cause__).__name__
        if cause.endswith("Timeout") and cause != "ConnectTimeout":
            return self._late(prompt_tokens)
        if cause in ("ConnectError", "ConnectTimeout", "UnsupportedProtocol", "InvalidURL"):
            return UnreachableError(
                f"No model server at {self.shown} (connection refused, or unknown host)",
                "Start the server, or correct the URL; `ragscale doctor` checks it.",
                spend=Spend(llm_calls=1),
            )
        return ModelError(
            f"The connection to {self.shown} broke before the answer was complete",
            "See the server's log; the call may be repeated.",
            retryable=True,
            spend=Spend(llm_calls=1, prompt_tokens=prompt_tokens),
        )

    def _status_error(self, error: openai.APIStatusError, prompt_tokens: int) -> ModelError:
        code = error.status_code
        spend = Spend(llm_calls=1)
        if code == 429:
            return ThrottledError(
                f"{self.shown} refused the call for now (HTTP 429)",
                "Wait, or lower the number of questions in flight.",
                retry_after=_seconds(error.response.headers.get("retry-after")),
                spend=spend,
            )
        if code in (401, 403):
            state = "is set, but not accepted" if os.environ.get(self.api_key_env) else "is not set"
            return BadKeyError(
                f"{self.shown} refused the key (HTTP {code}); the variable {self.api_key_env} {state}",
                f"Put a valid key into {self.api_key_env}.",
                spend=spend,
            )
        if code == 404:
            return EndpointError(
                f"{self.shown} does not know the path or the model (HTTP 404)",
                "Check that the URL ends in /v1 and that the model is one it lists; `ragscale doctor` shows them.",
                spend=spend,
            )
        if code >= 500 or code in (408, 409):
            return ModelError(
                f"{self.shown} failed (HTTP {code})",
                "See the server's log; the call may be repeated.",
                retryable=True,
                spend=Spend(llm_calls=1, prompt_tokens=prompt_tokens),
            )
        return RefusedError(f"{self.shown} refused the request (HTTP {code}): {self._said(error)}", spend=spend)

    def _said(self, error: openai.APIStatusError) -> str:
        """The start of the server's own message, without the key should the server echo it."""
        body = error.body
        text = str(body.get("message", body)) if isinstance(body, dict) else str(body or "")
        key = os.environ.get(self.api_key_env, "").strip()
        text = " ".join(text.replace(key, "***").split() if key else text.split())
        return text[:300].rstrip(".") or "it did not say why"

    async def aclose(self) -> None:
        """Close this loop's client; the others hold no connection between calls."""
        loop = asyncio.get_running_loop()
        client = self._clients.pop(loop, None)
        self._clients.clear()
        if client is not None:
            await client.close()


def _seconds(header: str | None) -> float | None:
    """The seconds of a ``Retry-After`` header: a number, or a date."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
