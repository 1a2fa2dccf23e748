"""The endpoints of an index server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ragscale.errors import InvalidInput, RagscaleError
from ragscale.index import HOWS, Index
from ragscale.index.query.request import Size
from ragscale.index.remote.wire import hit_to_json, passage_to_json
from ragscale.serve.counters import CONTENT_TYPE, Counters
from ragscale.serve.door import Door, checked_origin
from ragscale.serve.limits import Admission, Limits, RefusedRequest
from ragscale.serve.receive import attended, declared, read_json
from ragscale.serve.responses import (
    HANDLERS,
    as_json,
    failure_reply,
    json_reply,
    lists_as_json,
    log_failures,
    results_reply,
    told,
)
from ragscale.serve.retrieve import Retrieval, Wanted
from ragscale.serve.searches import PARAMETERS, SearchCall, parse_search, refuse_unknown, sliced
from ragscale.types import Hit
from ragscale.version import __version__
from ragscale.words import counted

__all__ = ["Service"]

T = TypeVar("T")
_K = 10  # of `Index.search`
_PASSING = (408, 413)  # of /retrieve: a batch that is too much, not a client that is wrong
_LARGE = 4  # times `Limits.retrieve_body`: of large bodies in work at once
_RELOADS = 3  # a search that a reload overtook is repeated, so that no reply mixes two commits


class Service:
    """The application: all endpoints over one index.

    Args:
        index: Open; searches of all requests meet in its broker.
        limits: Bounds of requests.
        token: What clients must send, or None for a server on the loopback interface.
        rerankers: Models that clients may name in `rerank`; loaded here.
        origins: Of web pages that may send requests besides the server's own.

    Raises:
        InvalidInput: An origin is malformed.
    """

    def __init__(
        self,
        index: Index,
        *,
        limits: Limits,
        token: str | None = None,
        rerankers: Sequence[str] = (),
        origins: Sequence[str] = (),
    ) -> None:
        self._origins = [checked_origin(origin) for origin in origins]
        self.index = index
        # what the admission never lets in is refused as too large, and not to be sent again and again
        self.limits = replace(limits, queries=min(limits.queries, limits.queue))
        self._admission = Admission(limits.queue)
        self._large = Admission(_LARGE * max(limits.body, limits.retrieve_body))  # bytes
        self.counters = Counters(index, self._admission)
        """Counters of ``/metrics``; the server adds connections that never become a request."""
        self._name = Path(os.path.abspath(index.path)).name  # "." has none of its own
        self._token = token
        self._filters = asyncio.Lock()
        # to look names up reads two columns of all passages: one request at a time, and one given up before is dropped
        self._lookups = ThreadPoolExecutor(1, thread_name_prefix="ragscale-names")
        self._told_once: set[str] = set()
        self._rerankers = {name: index.reranker_revision(name) for name in rerankers}

    def app(self) -> ASGIApp:
        """The ASGI application."""
        routes = [
            Route("/retrieve", self.retrieve, methods=["POST"]),
            Route("/v1/search", self.search, methods=["POST"]),
            Route("/v1/batch", self.batch, methods=["POST"]),
            Route("/v1/passages", self.passages, methods=["GET"]),
            Route("/v1/known", self.known, methods=["POST"]),
            Route("/v1/index", self.about, methods=["GET"]),
            Route("/health", self.health, methods=["GET"]),
            Route("/health/live", self.health, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
        ]
        inner = Starlette(routes=routes, exception_handlers=HANDLERS)
        inner.state.folder = self.index.path
        paths = [route.path for route in routes]
        door = Door(inner, self.counters, paths=paths, token=self._token, origins=self._origins)
        if not self._origins:
            return door
        # outside the door: a browser asks for permission without the token
        return CORSMiddleware(
            door, allow_origins=self._origins, allow_methods=["GET", "POST"], allow_headers=["Authorization"]
        )

    async def retrieve(self, request: Request) -> ASGIApp:
        """The dialect of Search-R1 and RAG-R1; see `Retrieval`."""
        return self._retrieved

    async def _retrieved(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, limits = Request(scope, receive), self.limits
        size, whole = declared(request), max(limits.body, limits.retrieve_body)
        large = limits.body < size <= whole
        async with self._large.wait(size) if large else nullcontext():
            answer: ASGIApp
            try:
                body = await read_json(request, limits, whole if size > limits.body else limits.body)
                wanted = Wanted.read(body, limits)
                answer = Retrieval(self.index, wanted, limits, self._admission, self.counters, self._told_once)
            except RefusedRequest as error:
                if error.status not in _PASSING:
                    raise
                answer = failure_reply(error, self.index.path, result=[])
            await answer(scope, receive, send)

    async def search(self, request: Request) -> Response:
        """Everything that `Index.search` can do, by the same names."""
        body = await read_json(request, self.limits)
        search = self._parse(body)
        fingerprint, found = await self._admitted(request, search.size.queries, partial(self._search, search))
        self.counters.searched(len(found))
        how = search.how or self.index.how
        return results_reply({"fingerprint": fingerprint, "how": how}, [await lists_as_json(found, hit_to_json)])

    async def batch(self, request: Request) -> Response:
        """Several searches, each with settings of its own, in one request; one that fails leaves the others alone."""
        body = await read_json(request, self.limits)
        refuse_unknown(body, ("searches",))
        bodies = body.get("searches")
        if not isinstance(bodies, list) or not all(isinstance(item, dict) for item in bodies):
            raise InvalidInput("searches is no list of objects", 'Send {"searches": [{"queries": ["..."]}]}.')
        if len(bodies) > self.limits.queries:
            raise InvalidInput(f"{len(bodies):,} searches, the limit is {self.limits.queries:,}", "Send fewer.")
        searches = [self._parsed(item) for item in bodies]
        size = sum((search.size for search in searches if isinstance(search, SearchCall)), Size())
        most = self.limits.size
        if size.passes(most):
            raise InvalidInput(
                f"{counted(size.queries, 'query')}, {counted(size.hits, 'candidate')} and "
                f"{counted(size.pairs, 'pair')} in all, "
                f"the limits are {most.queries:,}, {most.hits:,} and {most.pairs:,}",
                "Send several requests.",
            )
        fingerprint, answers = await self._admitted(request, size.queries, partial(self._all, searches))
        self.counters.searched(sum(len(answer) for answer in answers if not isinstance(answer, RagscaleError)))
        return results_reply({"fingerprint": fingerprint}, [await self._result(answer) for answer in answers])

    async def _all(self, searches: Sequence[SearchCall | RagscaleError]) -> list[list[list[Hit]] | RagscaleError]:
        answers: list[list[list[Hit]] | RagscaleError] = []
        for part in sliced(searches, lambda search: search.work if isinstance(search, SearchCall) else 0):
            answers += await asyncio.gather(*(self._one(search) for search in part))
        log_failures(answer for answer in answers if isinstance(answer, RagscaleError))
        return answers

    async def _one(self, search: SearchCall | RagscaleError) -> list[list[Hit]] | RagscaleError:
        if isinstance(search, RagscaleError):
            return search
        try:
            return await self._search(search)
        except RagscaleError as error:
            return error

    async def _result(self, answer: list[list[Hit]] | RagscaleError) -> bytes:
        if isinstance(answer, RagscaleError):
            status, body, _ = told(answer, self.index.path)
            return as_json({**body, "status": status})
        return b'{"hits":[%b]}' % await lists_as_json(answer, hit_to_json)

    def _parsed(self, body: dict[str, Any]) -> SearchCall | RagscaleError:
        try:
            return self._parse(body)
        except RagscaleError as error:
            return error

    def _parse(self, body: dict[str, Any]) -> SearchCall:
        refuse_unknown(body, PARAMETERS)
        return parse_search(body, self.limits, k=_K, rerankers=self._rerankers)

    async def _search(self, search: SearchCall) -> list[list[Hit]]:
        where = search.options.get("where")
        if where is not None:
            # kept once it was read. One after the other: to read one holds the interpreter, so that several at once
            # would be no faster, and only keep the event loop from it
            async with self._filters:
                await asyncio.to_thread(self.index.searching, search.how, where=where)
        found: list[list[Hit]] = []
        for part in search.slices():
            found += await self.index.asearch(part, search.k, search.how, **search.options)
        return found

    async def _admitted(
        self, request: Request, queries: int, work: Callable[[], Coroutine[Any, Any, T]]
    ) -> tuple[str, T]:
        """`_of_one_commit`, if there is room in the queue, until its client leaves or the time is over."""
        with self._admission.admit(queries):
            return await self._of_one_commit(lambda: attended(request, work(), self.limits.search_seconds))

    async def _of_one_commit(self, work: Callable[[], Coroutine[Any, Any, T]]) -> tuple[str, T]:
        """Fingerprint of the commit that `work` ran against, and its result; run again if a reload came between."""
        for _ in range(_RELOADS):
            fingerprint = self.index.fingerprint
            result = await work()
            if fingerprint == self.index.fingerprint:
                return fingerprint, result
        raise RefusedRequest(503, "the index changes all the time", "Try again later.", {"Retry-After": "5"})

    async def passages(self, request: Request) -> Response:
        """Passages by id, in the order asked for."""
        ids = request.query_params.getlist("id")
        if not 1 <= len(ids) <= self.limits.ids:
            raise InvalidInput(f"{len(ids)} ids", f"Ask for 1 to {self.limits.ids}: /v1/passages?id=...&id=...")
        try:
            fingerprint, found = await self._of_one_commit(partial(self._passages, ids))
        except InvalidInput as error:
            raise RefusedRequest(404, error.problem, error.remedy) from None
        return json_reply({"fingerprint": fingerprint, "passages": found})

    async def _passages(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        return [passage_to_json(self.index.passage(identity)) for identity in ids]

    async def known(self, request: Request) -> Response:
        """Those of some names that are the id, the document or the title of a passage, in the order sent."""
        body = await read_json(request, self.limits)
        refuse_unknown(body, ("names",))
        names = body.get("names")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InvalidInput("names is no list of texts", 'Send {"names": ["...", "..."]}.')
        if len(names) > self.limits.names:
            raise InvalidInput(f"{len(names):,} names, the limit is {self.limits.names:,}", "Send several requests.")
        fingerprint, found = await self._admitted(request, 1, partial(self._known, names))
        return json_reply(
            {"fingerprint": fingerprint, "known": [name for name in dict.fromkeys(names) if name in found]}
        )

    async def _known(self, names: Sequence[str]) -> set[str]:
        return await asyncio.get_running_loop().run_in_executor(self._lookups, self.index.known, names)

    async def about(self, request: Request) -> Response:
        """Description of the index for clients: fingerprint, kinds of search, parameters, limits."""
        manifest = self.index.manifest  # of one commit, whatever a reload does meanwhile
        return json_reply(
            {
                "ragscale": __version__,
                "name": self._name,
                "fingerprint": manifest.fingerprint,
                "passages": manifest.passages,
                "description": manifest.description,
                "how": self.index.how,
                "hows": list(HOWS) if self.index.how != "bm25" else ["bm25"],
                "parameters": list(PARAMETERS),
                "rerankers": self._rerankers,
                "limits": asdict(self.limits),
            }
        )

    async def health(self, request: Request) -> Response:
        """Health check: the port is open exactly while the server can search."""
        return json_reply({"status": "ok"})

    async def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        return Response(self.counters.text(), media_type=CONTENT_TYPE)
