"""The endpoints of an index server."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ragscale import __version__
from ragscale.errors import InvalidInput
from ragscale.index import HOWS, Index
from ragscale.index.wire import hit_to_json, passage_to_json
from ragscale.serve.door import Door
from ragscale.serve.limits import Gate, Limits, RefusedRequest
from ragscale.serve.metrics import CONTENT_TYPE, Metrics
from ragscale.serve.replies import HANDLERS, json_reply
from ragscale.serve.requests import attended, checked_k, checked_queries, read_json, refuse_unknown
from ragscale.types import Hit, Passage

__all__ = ["Service"]

_TOPK = 3  # of Search-R1's own server
_SLICE = 256  # queries that go to the broker together, so that one large request leaves room for others


class Service:
    """What the endpoints share.

    Args:
        index: Open; searches of all requests meet in its broker.
        limits: Bounds of requests.
        token: What clients must send, or None for a server on the loopback interface.
    """

    def __init__(self, index: Index, *, limits: Limits, token: str | None = None) -> None:
        self.index = index
        self.limits = limits
        self.stopping = False
        """Set when the server is told to stop; it is not ready any more then."""
        self._gate = Gate(limits.queue)
        self._metrics = Metrics(index, self._gate)
        self._options = _keywords(index)
        self._token = token

    def app(self) -> ASGIApp:
        """The ASGI application."""
        routes = [
            Route("/retrieve", self.retrieve, methods=["POST"]),
            Route("/v1/search", self.search, methods=["POST"]),
            Route("/v1/passages", self.passages, methods=["GET"]),
            Route("/v1/index", self.about, methods=["GET"]),
            Route("/health", self.health, methods=["GET"]),
            Route("/health/live", self.live, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
        ]
        inner = Starlette(routes=routes, exception_handlers=HANDLERS)
        inner.state.folder = self.index.path
        return Door(inner, self._metrics, paths=[route.path for route in routes], token=self._token)

    async def retrieve(self, request: Request) -> Response:
        """The dialect of Search-R1 and RAG-R1: as lenient as its servers, since its clients read no errors."""
        body = await read_json(request, self.limits)
        queries = checked_queries(body.get("queries"), self.limits)
        k = checked_k(body.get("topk") or _TOPK, len(queries), self.limits)
        asked = [query for query in queries if query.strip()]  # a model may write an empty query: it finds nothing
        found = iter(await self._search(request, asked, k, None, {}))
        lists = [next(found) if query.strip() else [] for query in queries]
        row = _scored if body.get("return_scores") else _document
        return json_reply({"result": [[row(hit) for hit in hits] for hits in lists]})

    async def search(self, request: Request) -> Response:
        """Everything that `Index.search` can do, by the same names."""
        body = await read_json(request, self.limits)
        refuse_unknown(body, ("queries", "k", "how", *self._options))
        queries = checked_queries(body.get("queries"), self.limits)
        k = checked_k(body.get("k", 10), len(queries), self.limits)
        how = body.get("how") or self.index.how
        options = {name: body[name] for name in self._options if name in body}
        fingerprint = self.index.fingerprint
        found = await self._search(request, queries, k, how, options)
        results = [[hit_to_json(hit) for hit in hits] for hits in found]
        return json_reply({"fingerprint": fingerprint, "how": how, "results": results})

    async def _search(
        self, request: Request, queries: Sequence[str], k: int, how: Any, options: dict[str, Any]
    ) -> list[list[Hit]]:
        size = len(queries) or 1 if options else _SLICE  # an option may look at all queries of a request together

        async def work() -> list[list[Hit]]:
            found: list[list[Hit]] = []
            for start in range(0, len(queries), size):
                found += await self.index.asearch(queries[start : start + size], k, how, **options)
            return found

        with self._gate.admit(len(queries)):
            found = await attended(request, work(), self.limits.search_seconds)
        self._metrics.searched(len(queries))
        return found

    async def passages(self, request: Request) -> Response:
        """Passages by id, in the order asked for."""
        ids = request.query_params.getlist("id")
        if not 1 <= len(ids) <= self.limits.ids:
            raise InvalidInput(f"{len(ids)} ids", f"Ask for 1 to {self.limits.ids}: /v1/passages?id=...&id=...")
        try:
            found = [passage_to_json(self.index.passage(identity)) for identity in ids]
        except InvalidInput as error:
            raise RefusedRequest(404, error.problem, error.remedy) from None
        return json_reply({"fingerprint": self.index.fingerprint, "passages": found})

    async def about(self, request: Request) -> Response:
        """What a client needs to know before it searches."""
        return json_reply(
            {
                "ragscale": __version__,
                "name": self.index.path.name,
                "fingerprint": self.index.fingerprint,
                "passages": len(self.index),
                "how": self.index.how,
                "hows": list(HOWS) if self.index.how != "bm25" else ["bm25"],
                "parameters": ["queries", "k", "how", *self._options],
                "limits": asdict(self.limits),
            }
        )

    async def health(self, request: Request) -> Response:
        """Whether searches are taken: the readiness of an orchestrator."""
        return json_reply({"status": "stopping" if self.stopping else "ok"}, 503 if self.stopping else 200)

    async def live(self, request: Request) -> Response:
        """Whether the process answers at all."""
        return json_reply({"status": "ok"})

    async def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        return Response(self._metrics.text(), media_type=CONTENT_TYPE)


def _keywords(index: Index) -> tuple[str, ...]:
    """Parameters of a search beyond queries, k and how; the index checks their values."""
    return tuple(name for name in inspect.signature(index.search).parameters if name not in ("queries", "k", "how"))


def _document(hit: Hit) -> dict[str, str]:
    return {"id": hit.passage.id, "contents": _contents(hit.passage)}


def _scored(hit: Hit) -> dict[str, Any]:
    return {"document": _document(hit), "score": hit.score}


def _contents(passage: Passage) -> str:
    """Quoted title, line break, text: clients cut at the first line break."""
    title = " ".join(passage.title.split())
    return f'"{title}"\n{passage.text}'
