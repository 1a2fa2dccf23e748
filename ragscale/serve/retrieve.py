"""``POST /retrieve``, the dialect of Search-R1, RAG-R1, verl and SkyRL, whose clients read nothing but the result.

One of them that gets an error ends its training run. So what they send is read leniently, long queries are cut, many
are worked through in slices, and a full queue or a failing embedder is waited for. What was changed or left out stands
in ``notes`` beside the result.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from ragscale.errors import EndpointError, InvalidInput, ModelError, RagscaleError
from ragscale.index import Index
from ragscale.index.query.request import work_of
from ragscale.serve.counters import Counters
from ragscale.serve.limits import Admission, Limits
from ragscale.serve.receive import attended
from ragscale.serve.responses import as_json, failure_reply, lists_as_json, log_failures
from ragscale.serve.searches import sliced
from ragscale.types import Hit, Passage

__all__ = ["Retrieval", "Wanted"]

_log = logging.getLogger(__name__)
T = TypeVar("T")
_TOPK = 3  # of Search-R1's own server
_PLAIN = 1 << 20  # bytes of a reply that is sent whole
_BEAT = 5.0  # seconds; the clients' own patience with a silent server is 30 and more
_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds between two attempts at an embedder that fails; they double
_NAMES = {
    "queries": ("queries", "query"),  # SkyRL sends one
    "topk": ("topk", "top_k", "k"),
    "return_scores": ("return_scores", "return_score"),
}
"""Names of what is read; the first of each that is given."""
_GIVEN_UP = "result: {count} of the lists empty, not searched: the time of {value} is over, or the server failed"
_ODD = "queries: {count} of them no texts; null finds nothing, others are taken as they are written in JSON"
_LONG = "queries: {count} of them longer than {value} characters, and cut to that"
_REFUSED = "result: {count} of the lists empty, as the server's embedder refused the query"
_MANY = "topk: {value} are more hits than a query may have here"
_NO_NUMBER = f"topk: {{value}} is no number of hits, {_TOPK} are taken"
_NOT_WHOLE = "topk: {value} is no whole number, the part before the point is taken"
_NO_FLAG = "return_scores: {value} is neither true nor false, which is taken"
_IGNORED = f"ignored: {{value}}; read are {', '.join(name for names in _NAMES.values() for name in names)}"
_YES = ("1", "on", "t", "true", "y", "yes")
_NO = ("", "0", "off", "f", "false", "n", "no", "none", "null")
_RIGHT = '{"queries": ["..."], "topk": 3, "return_scores": true}'


class Notes:
    """Notes on changed or ignored input, one for each kind."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, kind: str, count: int = 1, value: str = "") -> None:
        """Tell of something; the text of its kind may say ``{count}``, of all that were added, and ``{value}``."""
        known, first = self._found.get(kind, (0, value))
        self._found[kind] = known + count, first

    def kinds(self) -> Iterator[tuple[str, str]]:
        """Each kind, and what it says."""
        for kind, (count, value) in self._found.items():
            yield kind, kind.replace("{count}", f"{count:,}").replace("{value}", value)


@dataclass(frozen=True)
class Wanted:
    """A request as it was understood."""

    items: Sequence[Any]
    """The queries as they were sent: texts, and now and then something else."""
    topk: int
    scores: bool
    notes: Notes = field(default_factory=Notes)

    @classmethod
    def read(cls, body: dict[str, Any], limits: Limits) -> Self:
        """Read a request's JSON. Raises `InvalidInput` where it has no queries."""
        notes = Notes()
        used = {
            kind: next((name for name in names if body.get(name) is not None), kind) for kind, names in _NAMES.items()
        }
        items, topk, scores = (body.get(used[kind]) for kind in _NAMES)
        if items is None:
            raise InvalidInput("queries is missing or null", f"Send {_RIGHT}, or one text as query.")
        if not isinstance(items, list):
            items = [items]
        if left := [name for name in body if name not in used.values() and body[name] is not None]:
            notes.add(_IGNORED, value=_shown(left))
        return cls(items, _topk(topk, limits, notes), _flag(scores, notes), notes)

    def slices(self, limits: Limits) -> Iterator[list[str]]:
        """The queries as texts, in parts; a blank one finds nothing."""
        texts = (self._text(item, limits.characters) for item in self.items)
        return sliced(texts, lambda text: work_of(text, self.topk), limits.queries)

    def _text(self, item: Any, characters: int) -> str:
        text = item if isinstance(item, str) else _written(item)
        if not isinstance(item, str):
            self.notes.add(_ODD)
        if len(text) > characters:
            self.notes.add(_LONG, value=f"{characters:,}")
        return text[:characters]


class Retrieval:
    """The reply to one request, as an ASGI application: searches and sends it in slices.

    A short reply is sent whole. A long one begins before all of it was found, so that a client with a time-out sees
    that it comes, and its result is of full length whatever happens after that.

    Args:
        index: What is searched.
        wanted: The request.
        limits: Of the server.
        admission: Where each slice takes its place.
        counters: Where queries are counted.
        told: Kinds of notes that the log has; added to.
    """

    def __init__(
        self, index: Index, wanted: Wanted, limits: Limits, admission: Admission, counters: Counters, told: set[str]
    ) -> None:
        self._index = index
        self._wanted = wanted
        self._limits = limits
        self._admission = admission
        self._counters = counters
        self._told = told
        self._given_up = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Search and reply: an error beside empty lists where nothing can be searched.

        Raises:
            ClientDisconnect: The client went away, and nothing was sent yet.
        """
        reply = _Reply(send)
        try:
            await attended(Request(scope, receive), self._answer(reply), None)
        except ClientDisconnect:
            if not reply.begun:
                raise
        except Exception as error:
            if reply.begun:
                raise
            if not isinstance(error, RagscaleError):
                _log.error("/retrieve: failed", exc_info=error)
            # its status tells those who look at it; the others get a result of full length
            failure = failure_reply(error, self._index.path, result=[[]] * len(self._wanted.items))
            await failure(scope, receive, send)

    async def _answer(self, reply: _Reply) -> None:
        deadline = asyncio.get_running_loop().time() + self._limits.retrieve_seconds
        before = b'{"result":['
        for queries in self._wanted.slices(self._limits):
            await asyncio.sleep(0)  # a slice of blank queries waits for nothing else
            found = await self._found(queries, deadline, reply)
            await reply.write(before + await lists_as_json(found, _scored if self._wanted.scores else _document))
            before = b","
        await reply.end((b"" if before == b"," else before) + b"]" + self._ending())

    async def _found(self, queries: Sequence[str], deadline: float, reply: _Reply) -> list[list[Hit]]:
        """For each query its hits: none where it is blank, or where it could not be searched in time."""
        asked = [query for query in queries if query.strip()]
        hits: Iterator[list[Hit]] = iter(())
        if asked and not self._given_up:
            try:
                hits = iter(await self._beating(self._in_time(asked, deadline), reply))
                self._counters.searched(len(asked))
            except TimeoutError:
                self._given_up = True
                _log.error("/retrieve: not finished within %d s", self._limits.retrieve_seconds)
            except Exception as error:
                if not reply.begun:
                    raise
                self._given_up = True
                _log.error("/retrieve: failed after its reply had begun", exc_info=error)
        if asked and self._given_up:
            self._wanted.notes.add(_GIVEN_UP, len(asked), f"{self._limits.retrieve_seconds:,} s")
        return [next(hits, []) if query.strip() else [] for query in queries]

    async def _beating(self, work: Awaitable[T], reply: _Reply) -> T:
        """The result of `work`; blanks, which JSON allows, tell the client meanwhile that it comes."""
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({task}, timeout=_BEAT))[0]:
                await reply.beat()
        finally:
            task.cancel()
        return task.result()

    async def _in_time(self, queries: Sequence[str], deadline: float) -> list[list[Hit]]:
        async with asyncio.timeout_at(deadline):
            return await self._patiently(queries)

    async def _patiently(self, queries: Sequence[str]) -> list[list[Hit]]:
        """The hits of queries; repeats what an embedder failed at, until it is cancelled."""
        pause = _PAUSE
        while True:
            try:
                async with self._admission.wait(len(queries)):
                    return await self._index.asearch(queries, self._wanted.topk)
            except ModelError as error:
                log_failures([error])
                if not (error.retryable or isinstance(error, EndpointError)):
                    return await self._one_by_one(queries)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _one_by_one(self, queries: Sequence[str]) -> list[list[Hit]]:
        """The hits of queries of which the embedder refused one."""
        if len(queries) > 1:
            return [hits for query in queries for hits in await self._patiently([query])]
        self._wanted.notes.add(_REFUSED)
        return [[]]

    def _ending(self) -> bytes:
        """JSON after the result: the notes."""
        notes = []
        for kind, note in self._wanted.notes.kinds():
            notes.append(note)
            if kind not in self._told:
                self._told.add(kind)
                _log.warning("/retrieve: %s (told this once)", note)
        return b',"notes":%b}' % as_json(notes) if notes else b"}"


class _Reply:
    """A reply of JSON that is sent whole if it is short and soon done, and else by and by."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._held = bytearray()
        self.begun = False

    async def write(self, data: bytes) -> None:
        self._held += data
        if self.begun or len(self._held) > _PLAIN:
            await self._pass_on()

    async def beat(self) -> None:
        self._held += b" "
        await self._pass_on()

    async def end(self, data: bytes) -> None:
        self._held += data
        if not self.begun:
            await self._begin([(b"content-length", str(len(self._held)).encode())])
        await self._body(more=False)

    async def _pass_on(self) -> None:
        if not self.begun:
            await self._begin([])
        await self._body(more=True)

    async def _begin(self, headers: list[tuple[bytes, bytes]]) -> None:
        self.begun = True
        headers = [(b"content-type", b"application/json"), *headers]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _body(self, *, more: bool) -> None:
        body, self._held = bytes(self._held), bytearray()
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


def _topk(value: Any, limits: Limits, notes: Notes) -> int:
    try:
        number = math.nan if isinstance(value, bool) else float(value or _TOPK)
    except (TypeError, ValueError):
        number = math.nan
    except OverflowError:
        number = math.inf if value > 0 else -math.inf
    if number == 0:  # "0"
        number = _TOPK
    if number > limits.k:
        notes.add(_MANY, value=f"{limits.k:,} instead of {_shown(value)}, which")
        return limits.k
    if not number >= 1:
        notes.add(_NO_NUMBER, value=_shown(value))
        return min(_TOPK, limits.k)
    if number != int(number):
        notes.add(_NOT_WHOLE, value=_shown(value))
    return int(number)


def _flag(value: Any, notes: Notes) -> bool:
    word = value.strip().lower() if isinstance(value, str) else ""
    if isinstance(value, int | float):  # true and false as well
        return bool(value)
    if word in _YES:
        return True
    if value is not None and not (isinstance(value, str) and word in _NO):
        notes.add(_NO_FLAG, value=_shown(value))
    return False


def _written(item: Any) -> str:
    if item is None:
        return ""
    try:
        return json.dumps(item, ensure_ascii=False)
    except (ValueError, RecursionError):  # a number of thousands of digits; nested beyond measure
        return ""


def _shown(value: Any) -> str:
    text = _written(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _document(hit: Hit) -> dict[str, str]:
    return {"id": hit.passage.id, "contents": _contents(hit.passage)}


def _scored(hit: Hit) -> dict[str, Any]:
    return {"document": _document(hit), "score": hit.score}


def _contents(passage: Passage) -> str:
    """Quoted title, line break, text: clients cut at the first line break."""
    title = " ".join(passage.title.split())
    return f'"{title}"\n{passage.text}'
