"""One HTTP attempt against an OpenAI-dialect endpoint, and the error and charge of a failure.

A client for each event loop, the key in nothing that is printed, bodies of bounded size, and each failure turned into a
`ModelError` that says what the attempt is charged: nothing but the call where the server refused it before it read the
prompt, and the most that it may have cost (``spend=None``) where its cost is unknown.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import weakref
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ParamSpec, TypeVar
from urllib.parse import quote

import httpx

from ragscale.endpoint.http import (
    BadEncoding,
    BodyTooLarge,
    aread_bounded,
    html_page,
    open_client,
    proxies_to,
    proxy_beside,
    proxy_variables,
    wait_told,
)
from ragscale.endpoint.replies import failure, said, status
from ragscale.endpoint.retry import attempts
from ragscale.endpoint.urls import server_url
from ragscale.errors import EndpointError, InvalidInput, ModelError
from ragscale.text import encodable, masked
from ragscale.types import Spend

__all__ = [
    "LARGEST",
    "THROTTLES",
    "BadKeyError",
    "BrokenAnswerError",
    "RefusedError",
    "ThrottledError",
    "Transport",
    "UnreachableError",
]

_PATIENCE = 2.0  # seconds between attempts at what can be done without
_CONNECT = 10.0  # seconds until a host that does not answer at all counts as absent
LARGEST = 4 * 2**20
"""Bytes of an answer by default, decoded; read in a quarter of a second."""
_LARGEST_ERROR = 2**16
THROTTLES = (429, 498, 503, 529)
"""HTTP statuses of a server that asks to slow down, or has no room now (498: Groq's, of its tier "flex")."""
_MOST_PARTS = 2**18  # lists and objects of an answer, which cost more than their bytes
_SENT = Spend(llm_calls=1)  # of a call that the server refused before it read the prompt
# What servers call an account without money: waiting does not help. Gemini says the same of a limit by the minute, and
# Groq and OpenAI name the page where one is raised, so that a wait that is told is believed first.
_POOR = re.compile(r"insufficient[_ ](?:quota|balance|credit|fund)", re.IGNORECASE)
_QUOTA = re.compile(
    r"exceeded[\w ]* quota|billing|credit|payment (?:is )?(?:required|needed|due)|balance|recharge|余额|欠费|充值",
    re.IGNORECASE,
)
_PAGE = re.compile(r"https?://\S+")
# What servers call a prompt that is longer than their window: OpenAI, vLLM, llama.cpp, Claude, Gemini, Groq; xAI
# ("maximum prompt length"), Claude with an answer ("exceed context limit"), TGI and Together ("`inputs` must have less
# than 1024 tokens", "`inputs` tokens + `max_new_tokens` must be <= 4097"), Cohere ("too many tokens: total number of
# tokens in the prompt cannot exceed"), Moonshot ("exceeded model token limit"), DashScope ("Range of input length").
_LENGTH = re.compile(
    r"context[_ -]?(?:length|window|size|limit)|maximum (?:model|sequence|input|prompt) length|"
    r"(?:prompt|input|messages?|request)\b.{0,40}\btoo (?:long|large)|"
    r"token (?:count|limit).{0,40}exceed|exceed\w* .{0,20}token limit|too many (?:input )?tokens|"
    r"inputs?`? (?:tokens|must have less)|range of input length|limited to [\d,]+ tokens|"
    r"reduce (?:the|your) (?:length|message|prompt|input)",
    re.IGNORECASE,
)
_STREAM = (b"data:", b"event:", b"id:", b"retry:", b":")  # lines of server-sent events, comments among them
# What servers say whose model answers in streams alone (https://github.com/infiniflow/ragflow/issues/8972).
_STREAMS = re.compile(
    r"non-?stream|stream\W{1,2}false|stream(?:ing)? (?:mode|parameter|only)|only supports? stream", re.IGNORECASE
)
_SENTENCE = 3  # words
# A token is a key's where the words say so: services count and moderate others by 403.
_KEY = re.compile(
    r"\b(?:api[-_ ]?)?key\b|credential|authenticat|unauthori[sz]ed|"
    r"\b(?:access|auth\w*|bearer|api|security|invalid|expired|missing)[-_ ]token\b|"
    r"\btoken\b.{0,40}\b(?:invalid|expired|missing|not valid)\b",
    re.IGNORECASE,
)
# What a service allows nobody, or nobody here, to ask: no parameter that is left out helps.
_POLICY = re.compile(
    r"moderation|flagged|content (?:management )?(?:policy|filter)|safety (?:system|filter|polic)|"
    r"\b(?:country|region|territory|location)\b",
    re.IGNORECASE,
)

_SECRET = re.compile(r"key|token|auth|secret|sig|pass|credential|cookie", re.IGNORECASE)  # names of such values
_LEAST_SECRET = 8  # characters
_FRAMING = ("connection", "content-length", "expect", "transfer-encoding", "upgrade")
_PLACE = 200  # characters of an address

T = TypeVar("T")
P = ParamSpec("P")


class ThrottledError(ModelError):
    """The endpoint asked to slow down, or has no room now (HTTP `THROTTLES`); it did no work.

    Args:
        problem: What went wrong.
        retry_after: Seconds that the endpoint asked to wait; None where it did not say.
        spend: What the attempt is charged.
    """

    def __init__(self, problem: str, *, retry_after: float | None, spend: Spend) -> None:
        remedy = "Wait, or lower the number of questions in flight."
        super().__init__(problem, remedy, retryable=True, spend=spend)
        self.retry_after = retry_after


class RefusedError(ModelError):
    """The endpoint refused the request as it stands (HTTP 400, 413, 422); `problem` holds what it said."""


class BrokenAnswerError(ModelError):
    """An answer with HTTP 200 that cannot be used."""


class UnreachableError(EndpointError):
    """Nothing listens at the address, the host is unknown, or the proxy does not lead there."""


class BadKeyError(EndpointError):
    """The endpoint refuses the key, or no request can carry it."""


class Transport:
    """Sends single requests; never repeats one.

    A server on the loopback interface is spoken to directly; others by the proxy that the environment names.

    Args:
        base_url: The endpoint with its path, as in ``http://localhost:8000/v1``.
        api_key_env: Name of the environment variable that holds the key; read at each call, never stored. None for an
            endpoint that is sent no key.
        key_header: Header that carries the key alone, as Azure's ``api-key``; None for ``Authorization: Bearer``.
        headers: Further headers of each request.
        query: Query parameters of each request, as Azure's ``api-version``.
        timeout: Seconds that one request may take.

    Raises:
        InvalidInput: `base_url` is not an http(s) URL, or holds credentials or a query; or a header cannot be sent.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key_env: str | None = "OPENAI_API_KEY",
        key_header: str | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        timeout: float = 180.0,
    ) -> None:
        self.shown = server_url(base_url, example="http://localhost:8000/v1", secret=api_key_env or "OPENAI_API_KEY")
        self.api_key_env = api_key_env
        self.timeout = timeout
        self.root = self.shown.removesuffix("/v1")
        self._key_header = key_header
        self._headers = dict(headers or {})
        for name, value in {**self._headers, **({key_header: "key"} if key_header else {})}.items():
            if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not (value.isascii() and value.isprintable()):
                raise InvalidInput(f"the header {name!r} cannot be sent", "Use printable ASCII for its name and value.")
            if name.lower() in _FRAMING:
                raise InvalidInput(f"the header {name!r} is the connection's own", "Leave it out.")
        self._query = dict(query or {})
        self._clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = (
            weakref.WeakKeyDictionary()
        )

    def __repr__(self) -> str:
        return f"Transport({self.shown!r})"

    def _client(self) -> httpx.AsyncClient:
        """The client of the running loop: a client's sockets belong to the loop that opened them."""
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client = self._clients[loop] = open_client(
                httpx.AsyncClient,
                self.shown,
                timeout=httpx.Timeout(self.timeout, connect=min(self.timeout, _CONNECT)),
                # Nothing outlives a call, so a loop may end without notice, and no call is lost to a connection that
                # the server closed while it was idle.
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
                headers={"Connection": "close"},
            )
        return client

    def _key(self) -> str:
        key = os.environ.get(self.api_key_env, "").strip() if self.api_key_env else ""
        if not key.isascii() or not (key.isprintable() or not key):
            raise BadKeyError(
                f"The key in {self.api_key_env} has characters that no HTTP header can carry",
                f"Put a key of letters, digits and punctuation of ASCII into {self.api_key_env}.",
                spend=Spend(),
            )
        return key

    def _authorised(self) -> dict[str, str]:
        key = self._key()
        if not key:
            return self._headers
        return {
            **self._headers,
            **({self._key_header: key} if self._key_header else {"Authorization": f"Bearer {key}"}),
        }

    async def get(self, path: str) -> Any:
        """The JSON at `path`; relative to the endpoint, or a whole URL. Raises `ModelError`."""
        return await self._send("GET", path, None, LARGEST)

    async def post(self, path: str, body: dict[str, Any], *, largest: int = LARGEST) -> Any:
        """The JSON that answers `body`.

        Args:
            path: Relative to the endpoint, or a whole URL.
            body: The request.
            largest: Bytes that the answer may have, decoded.

        Raises:
            ModelError: The attempt failed.
        """
        return await self._send("POST", path, body, largest)

    async def patiently(self, call: Callable[P, Awaitable[T]], *args: P.args, **named: P.kwargs) -> T:
        """The result of a call that spends no tokens, tried three times. Raises `ModelError`."""
        async for attempt in attempts(3, base=0.1, sleep=lambda seconds: asyncio.sleep(min(seconds, _PATIENCE))):
            with attempt:
                result = await call(*args, **named)
        return result

    async def _send(self, method: str, path: str, body: dict[str, Any] | None, largest: int) -> Any:
        url = path if "://" in path else f"{self.shown}/{path}"
        headers = self._authorised()
        client = self._client()
        request = client.build_request(method, url, json=body, headers=headers, params=self._query or None)
        try:
            # The client's own limit is one of silence: bytes that trickle would reset it for ever.
            async with asyncio.timeout(self.timeout):
                response = await client.send(request, stream=True)
                try:
                    data = await self._body(response, largest)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise self._late() from None
        except httpx.RequestError as error:
            raise self._connection_error(error) from None
        try:
            value = json.loads(data)
        except (ValueError, RecursionError) as error:
            if response.is_success:
                what = (
                    "JSON that is nested too deeply" if isinstance(error, RecursionError) else "a body that is not JSON"
                )
                if data.lstrip().startswith(_STREAM):
                    raise EndpointError(
                        f"{self.shown} answered with a stream, which was not asked for",
                        "Switch streaming off at the server or gateway.",
                    ) from None
                if page := html_page(data):
                    raise BrokenAnswerError(
                        f"{url} answered with {self._masked(page)}",
                        "Check that the URL is a model server's and ends in /v1: this may be a login or a web "
                        f"interface.{proxy_beside(url)}",
                        retryable=True,
                    ) from None
                raise self.broken(what) from None
            value = data.decode("utf-8", "replace") if b"<" not in data[:100] else None  # a page of HTML says little
        if not response.is_success:
            place = _bare(response.extensions.get("location", "another address"))
            raise self._failure(response.status_code, value, _wait(response, data), place)
        if (failed := failure(value)) is not None:
            raise self._told(failed, _wait(response, data))
        return value

    async def _body(self, response: httpx.Response, largest: int) -> bytes:
        """The body within its bounds; of a failure nothing where that cannot be read, so that its status is told."""
        try:
            data = await aread_bounded(response, largest if response.is_success else _LARGEST_ERROR)
        except BodyTooLarge:
            what = f"more than {largest:,} bytes"
        except BadEncoding as error:
            what = f"a body that cannot be decoded ({error})"
        else:
            most = max(_MOST_PARTS, largest // 64)
            if data.count(b"{") + data.count(b"[") <= most:
                return data
            what = f"JSON of more than {most:,} lists and objects"
        if response.is_success:
            raise self.broken(what)
        return b""

    def _late(self) -> ModelError:
        return ModelError(
            f"No answer from {self.shown} within {self.timeout:g} s",
            "Raise the timeout, or shorten the prompt or the answer.",
            retryable=True,
        )

    def broken(self, what: str, spend: Spend | None = None) -> BrokenAnswerError:
        """The error for an answer that came with HTTP 200 and cannot be used: retryable, and charged."""
        return BrokenAnswerError(
            f"{self.shown} answered with {self._masked(what)}",
            "See the server's log; the call may be repeated.",
            retryable=True,
            spend=spend,
        )

    def _connection_error(self, error: httpx.RequestError) -> ModelError:
        if isinstance(error, httpx.ProxyError):
            return UnreachableError(
                f"The proxy of {proxies_to(self.shown) or proxy_variables()} does not lead to {self.shown}",
                "Correct the variable, or put the host into NO_PROXY.",
                spend=_SENT,
            )
        if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
            return self._late()
        if isinstance(error, httpx.ConnectError) and re.search(r"SSL|certificate", str(error), re.IGNORECASE):
            return UnreachableError(
                f"No TLS with {self.shown}: {error}",
                "Write http:// where it speaks no TLS; SSL_CERT_FILE may name the certificate of its authority.",
                spend=_SENT,
            )
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol):
            proxy = proxies_to(self.shown)
            by, remedy = (
                (f" by the proxy of {proxy}", f" Or correct {proxy}: the proxy may be down.") if proxy else ("", "")
            )
            return UnreachableError(
                f"No model server at {self.shown}{by} (connection refused, or unknown host)",
                f"Start the server, or correct the URL; `ragscale doctor` checks it.{remedy}",
                spend=_SENT,
            )
        return ModelError(
            f"The connection to {self.shown} broke before the answer was complete",
            "See the server's log; the call may be repeated.",
            retryable=True,
        )

    def _told(self, value: dict[str, Any], wait: float | None) -> ModelError:
        """The failure that an answer with HTTP 200 tells: by the status in it, where there is one."""
        if code := status(value):
            error = self._failure(code, value, wait)
            if not isinstance(error, ThrottledError):
                error.spend = None  # the request was taken: nobody knows how far it came
            return error
        return self.broken(f"an error: {self.words(value) or 'it did not say which'}")

    def _failure(self, code: int, value: Any, wait: float | None, place: str = "") -> ModelError:
        words, kind = self.words(value), said(value)[1]
        proxy = self._proxy(code, value)
        error = self._proxy_error(code, proxy, wait) if proxy else self._status_error(code, words, kind, wait, place)
        error.said = words
        if isinstance(error, ThrottledError) and isinstance(value, dict) and value.get("usage"):
            error.spend = None  # it did some work first
        return error

    def _proxy(self, code: int, value: Any) -> str:
        """The variable of the proxy that may have answered in place of the server; empty where the server did.

        By TLS a proxy only opens the way; without, its refusals come as the server's, but never as JSON.
        """
        theirs = code == 407 or (code in (403, 502, 503, 504) and not isinstance(value, dict | list))
        return proxies_to(self.shown) if theirs and self.shown.startswith("http:") else ""

    def _proxy_error(self, code: int, proxy: str, wait: float | None) -> ModelError:
        either = f"The proxy of {proxy}, or {self.shown} behind it,"
        if code == 503:
            return ThrottledError(f"{either} refused the call for now (HTTP 503)", retry_after=wait, spend=_SENT)
        if code in (502, 504):
            return ModelError(
                f"{either} failed (HTTP {code})",
                "Start the server, or put its host into NO_PROXY; the call may be repeated.",
                retryable=True,
            )
        key = f", a valid key into {self.api_key_env}" if code == 403 and self.api_key_env else ""
        return UnreachableError(
            f"{either} refused the call (HTTP {code})",
            f"Put the host into NO_PROXY{key}, or name and password into the variable, as in "
            "http://NAME:PASSWORD@proxy.example:3128.",
            spend=_SENT,
        )

    def _status_error(self, code: int, words: str, kind: str, wait: float | None, place: str) -> ModelError:
        told = f": {words}" if words else ""
        poor = _POOR.search(f"{words} {kind}") is not None  # MiniMax says so by 500, too
        if code == 429 and wait is None:
            poor = poor or _QUOTA.search(_PAGE.sub("", f"{words} {kind}")) is not None
        if code in THROTTLES and not poor:
            return ThrottledError(
                f"{self.shown} refused the call for now (HTTP {code}){told}", retry_after=wait, spend=_SENT
            )
        if code == 402 or (poor and (code == 429 or code >= 500)):
            return EndpointError(
                f"{self.shown} refused the call (HTTP {code}){told}",
                "Check the account's quota and credit.",
                spend=_SENT,
            )
        # Services refuse parameters, plans and contents by 403, too, and say so.
        if code == 401 or (code == 403 and (len(words.split()) < _SENTENCE or _KEY.search(words))):
            state = "is set, but not accepted" if self._key() else "is not set"
            return BadKeyError(
                f"{self.shown} refused the key (HTTP {code}); the variable {self.api_key_env} {state}{told}",
                f"Put a valid key into {self.api_key_env}.",
                spend=_SENT,
            )
        if code == 404:
            return EndpointError(
                f"{self.shown} does not know the path or the model (HTTP 404){told}",
                "Check that the URL ends in /v1 and that the model is one it lists; `ragscale doctor` shows them.",
                spend=_SENT,
            )
        if 300 <= code < 400:
            place = self._masked(place)[:_PLACE]
            return EndpointError(f"{self.shown} has moved to {place} (HTTP {code})", "Use that URL.", spend=_SENT)
        if code in (405, 501):
            return EndpointError(
                f"{self.shown} has no such path (HTTP {code}){told}", "Check that the URL ends in /v1.", spend=_SENT
            )
        if code >= 500 or code in (408, 409, 425):
            return ModelError(
                f"{self.shown} failed (HTTP {code}){told}",
                "See the server's log; the call may be repeated.",
                retryable=True,
            )
        remedy = "?body.NAME=null in the model's specification leaves a parameter out; see docs/models.md."
        if _STREAMS.search(words):
            remedy = (
                "No streams are asked for here: use a model that answers without. DashScope's Qwen3 does with "
                "?body.enable_thinking=false in the model's specification."
            )
        if _POLICY.search(words):
            remedy = "The service does not allow this: ask otherwise, or use another model or service."
        if _LENGTH.search(words):
            remedy = (
                "Shorten the question or show fewer passages (k, context). With ?window=TOKENS in the model's "
                "specification prompts are kept within that."
            )
        return RefusedError(
            f"{self.shown} refused the request (HTTP {code}): {words or 'it did not say why'}", remedy, spend=_SENT
        )

    def words(self, value: Any) -> str:
        """The start of the server's own message, without a secret should the server echo it."""
        return said(value, self._secrets())[0]

    def _masked(self, text: str) -> str:
        return masked(text, self._secrets())

    def _secrets(self) -> list[str]:
        """Texts that requests carry and no message may hold: the key, and headers and parameters that are called so.

        A shorter one is none, as local servers are given "x" or "EMPTY", which stand in other words.
        """
        given = [value for name, value in [*self._headers.items(), *self._query.items()] if _SECRET.search(name)]
        held = [value for value in (self._key(), *given) if len(value) >= _LEAST_SECRET]
        return [form for value in held for form in dict.fromkeys((value, quote(value, safe="")))]

    async def aclose(self) -> None:
        """Close this loop's client; the others hold no connection between calls."""
        loop = asyncio.get_running_loop()
        client = self._clients.pop(loop, None)
        self._clients.clear()
        if client is not None:
            await client.aclose()


def _bare(place: str) -> str:
    """Target of a redirection, without what may be a secret of its server: credentials, query, fragment."""
    return re.sub(r"//[^/]*@", "//", re.split(r"[?#]", encodable(place), maxsplit=1)[0], count=1)


def _wait(response: httpx.Response, data: bytes) -> float | None:
    return wait_told(response.headers, data[:_LARGEST_ERROR].decode("utf-8", "replace"))
