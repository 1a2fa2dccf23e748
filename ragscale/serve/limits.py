"""Limits of a server on sizes and times, the errors beyond them, and admission to its queue."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, fields

from ragscale.arguments import nearest
from ragscale.errors import InvalidInput, RagscaleError
from ragscale.index.query.request import Size
from ragscale.words import counted

__all__ = ["Admission", "Limits", "RefusedRequest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a server. All are at least 1."""

    queue: int = 8_192
    """Queries waiting or being searched, of all requests together; beyond it 429, but ``/retrieve`` waits."""
    connections: int = 1_000
    """Open connections; beyond it 503."""
    body: int = 5 << 20
    """Bytes of a request's body; beyond it 413, but ``/retrieve`` takes more."""
    retrieve_body: int = 64 << 20
    """Bytes of a body for ``/retrieve``, where its head tells them; the larger of this and `body` counts. Bodies above
    `body` may have four times as many in work together, and wait for that, so that memory stays bounded."""
    queries: int = 4_096
    """Queries in a request; a server takes no more than `queue`, which would have no room for them. Those of
    ``/retrieve`` are worked through in slices."""
    k: int = 1_000
    """Hits a query."""
    hits: int = 16_384
    """Queries times k (or depth, where that is more) of a request."""
    pairs: int = 2_048
    """Queries times k (or depth, where that is more) of the searches of a request that rerank."""
    characters: int = 4_000
    """Characters of a query or a filter."""
    ids: int = 256
    """Passages that one request may ask for."""
    names: int = 4_096
    """Names of passages, documents and titles that one request may look up."""
    head_seconds: int = 10
    """For a request's head to arrive whole, from its first byte or from the start of the connection."""
    body_seconds: int = 30
    """For a request's body to arrive whole; beyond it 408."""
    search_seconds: int = 60
    """For a search, its wait in the queue included; beyond it 504."""
    retrieve_seconds: int = 600
    """For a request to ``/retrieve``, all waits included; what was not searched then finds nothing."""
    reply_seconds: int = 30
    """For the client to take a reply; beyond it the connection is cut."""
    idle_seconds: int = 30
    """Between requests on one connection."""
    shutdown_seconds: int = 60
    """For what is in flight, once the server was told to stop."""

    def __post_init__(self) -> None:
        for name in NAMES:
            value = getattr(self, name)
            if value < 1:
                raise InvalidInput(f"limit {name}={value}, the least is 1", "Give a whole number of 1 or more.")

    @property
    def size(self) -> Size:
        """The most that a request may count for."""
        return Size(self.queries, self.hits, self.pairs)

    @classmethod
    def parse(cls, settings: Mapping[str, str]) -> Limits:
        """Limits from words like those of ``--limit queue=512``.

        Raises:
            InvalidInput: An unknown name, or no whole number.
        """
        values: dict[str, int] = {}
        for name, value in settings.items():
            if name not in NAMES:
                raise InvalidInput(
                    f"unknown limit {name!r}", f"{nearest(name, NAMES)}Choose one of: {', '.join(NAMES)}."
                )
            try:
                values[name] = int(value)
            except ValueError:
                raise InvalidInput(f"limit {name}={value!r} is no whole number", f"As in {name}=100.") from None
        return cls(**values)


NAMES = tuple(f.name for f in fields(Limits))


class RefusedRequest(RagscaleError):
    """A request that is answered with an HTTP error.

    Args:
        status: HTTP status.
        problem: What is wrong.
        remedy: What the client can do.
        headers: Further headers of the reply.
    """

    def __init__(self, status: int, problem: str, remedy: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(problem, remedy)
        self.status = status
        self.headers = dict(headers or {})


class Admission:
    """Admission control: counts queries in and refuses those beyond the limit, so that the queue stays bounded.

    Used by one event loop only, so it needs no lock.

    Args:
        limit: Queries that may be inside.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.inside = 0
        """Queries admitted and not answered yet."""
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @contextmanager
    def admit(self, queries: int) -> Iterator[None]:
        """Hold room for the queries of a request. Raises `RefusedRequest` (429) where there is none."""
        if self.inside + queries > self.limit:
            raise RefusedRequest(
                429,
                f"{counted(self.inside, 'query')} waiting or in flight: {queries} more pass the limit of {self.limit}",
                "Send them again after the seconds in Retry-After, or fewer at a time.",
                {"Retry-After": "1"},
            )
        self.inside += queries
        try:
            yield
        finally:
            self._leave(queries)

    @asynccontextmanager
    async def wait(self, queries: int) -> AsyncIterator[None]:
        """Hold room for queries, `limit` of them at most, as soon as there is some; first come, first served."""
        if self._waiting or self.inside + queries > self.limit:
            room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((queries, room))
            try:
                await room
            except asyncio.CancelledError:
                if room.cancelled():
                    self._let_in()  # it may have stood before others that fit
                else:  # let in at the same moment
                    self._leave(queries)
                raise
        else:
            self.inside += queries
        try:
            yield
        finally:
            self._leave(queries)

    def _leave(self, queries: int) -> None:
        self.inside -= queries
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting:
            queries, room = self._waiting[0]
            if not room.done():  # else its client went away
                if self.inside + queries > self.limit:
                    return
                self.inside += queries
                room.set_result(None)
            self._waiting.popleft()
