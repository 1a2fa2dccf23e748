"""`RemoteIndex`: an index behind ``ragscale serve``, used like one on this machine."""

from __future__ import annotations

import asyncio
import functools
import json
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Unpack

from ragscale.errors import IndexMismatch, IndexServerError, InvalidInput, RagscaleError
from ragscale.index.options import How, SearchOptions
from ragscale.index.query.broker import Broker, Load
from ragscale.index.query.request import Size, cleaned
from ragscale.index.remote.client import Client, TooLargeError
from ragscale.index.remote.replies import ABOUT, KNOWN, PASSAGES, RESULTS, Failed, Found, Results
from ragscale.index.remote.wire import hit_from_json, passage_from_json
from ragscale.index.searchable import Searchable
from ragscale.text import encodable
from ragscale.types import Hit, Passage
from ragscale.words import counted

__all__ = ["RemoteIndex"]

_KEPT = 50_000  # passages, some 50 MB
_AROUND = len('{"searches":[]}')
_AROUND_NAMES = len('{"names":[]}')


class RemoteIndex(Searchable):
    """An index that another process serves, so that many notebooks share one embedder and one GPU.

    Searches like `Index`. Those that wait while a request is on its way make up the next one together. Safe from any
    number of threads and event loops. Pickled by its URL and arguments: another process opens it anew.

    Args:
        url: Of the server, as in ``http://127.0.0.1:8765``.
        token_env: Environment variable with the server's token; read at each request, never stored.
        timeout: Seconds that one request may take.
        attempts: How often a request is sent where the server is busy or the connection breaks; the waits in between
            double from a quarter of a second, and are never shorter than the server asks for (up to 30 s). The default
            waits 16 to 32 s in all, for a server that restarts.

    Raises:
        IndexServerError: Nothing answers there, the token is wrong, or it is not a ragscale server.
        InvalidInput: `url` is not an http(s) URL, or holds credentials; or a proxy or certificates that the environment
            names cannot be used.
        MissingDependency: The environment names a SOCKS proxy for it, and httpx cannot speak to one.
    """

    def __init__(
        self, url: str, *, token_env: str = "RAGSCALE_TOKEN", timeout: float = 120.0, attempts: int = 8
    ) -> None:
        client = Client(url, token_env=token_env, timeout=timeout, attempts=attempts)
        self._again = functools.partial(type(self), token_env=token_env, timeout=timeout, attempts=attempts)
        self.url = client.url
        """URL of the server."""
        self._served = _Served(client)
        self._broker: Broker[dict[str, Any], list[list[Hit]]] = Broker(self._served.run, name="ragscale-remote")
        # also when the index is forgotten, and at the end of the program
        self._finalizer = weakref.finalize(self, _close, self._broker, client)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the served index when this was opened or reloaded."""
        return self._served.fingerprint

    @property
    def how(self) -> How:
        """The kind of search where a call names none."""
        return self._served.how

    @property
    def description(self) -> str:
        """Subject of the corpus, as the server told then; empty where it told none."""
        return self._served.description

    @property
    def about(self) -> dict[str, Any]:
        """Reply of ``GET /v1/index``, about the index and the server, as it was then."""
        return self._served.about

    def reload(self) -> None:
        """Go on with what the server serves now; until then, a changed index is refused. Raises as opening does."""
        self._served.ask()

    def search(
        self, queries: Sequence[str], k: int = 10, how: How | None = None, **options: Unpack[SearchOptions]
    ) -> list[list[Hit]]:
        """Search for several queries at once; see `Searchable.search` for arguments and result.

        Raises:
            IndexMismatch: The server's index is not the one that was opened.
            IndexServerError: The server is gone, busy beyond patience, refuses the token or failed.
            InvalidInput: As in `Index.search`; or the search passes a limit of the server.
        """
        return self._submit(queries, k, how, options).result()

    async def asearch(
        self, queries: Sequence[str], k: int = 10, how: How | None = None, **options: Unpack[SearchOptions]
    ) -> list[list[Hit]]:
        """`search` without blocking the event loop; cancelling it drops the request if it was not sent."""
        return await asyncio.wrap_future(self._submit(queries, k, how, options))

    def reranker_revision(self, name: str | Path) -> str:
        """Revision of the weights of a cross-encoder of the server, as it told when this was opened or reloaded.

        Raises:
            InvalidInput: The server has no such cross-encoder.
        """
        revision = self._served.rerankers.get(str(name))
        if revision is None:
            raise InvalidInput(f"{self.url} serves no reranker {str(name)!r}", f"Serve it: --rerank {name}.")
        return revision

    @property
    def longest_query(self) -> int | None:
        """Most characters of a query that the server takes; None where it tells of no limit."""
        return self._served.longest_query

    def passage(self, identity: str) -> Passage:
        """The passage with this id; asks the server unless a search brought it. Raises `InvalidInput` as `Index`."""
        return self._served.passage(identity)

    def known(self, names: Collection[str]) -> set[str] | None:
        """Those of some names that the server knows; None where it takes no names: an older one, or a foreign one.

        Raises:
            IndexMismatch: The server's index is not the one that was opened.
            IndexServerError: See `search`.
        """
        return self._served.known(names)

    @property
    def load(self) -> Load:
        """Searches that wait here, and batches sent so far."""
        return self._broker.load

    def __len__(self) -> int:
        return self._served.length

    def __contains__(self, identity: object) -> bool:
        try:
            return isinstance(identity, str) and bool(self.passage(identity))
        except InvalidInput:
            return False

    def __reduce__(self) -> tuple[Callable[..., RemoteIndex], tuple[str]]:
        return self._again, (self.url,)

    def __repr__(self) -> str:
        return f"RemoteIndex({self.url!r}, {counted(len(self), 'passage')}, {self.how})"

    def close(self) -> None:
        """Finish the searches under way and close the connections; later searches are refused. Idempotent."""
        self._finalizer()

    def _refuse(self, how: How | None, options: SearchOptions) -> None:
        self.search([], 1, how, **options)

    def _submit(
        self, queries: Sequence[str], k: int, how: How | None, options: SearchOptions
    ) -> Future[list[list[Hit]]]:
        texts = cleaned(queries)
        rerank = options.get("rerank")
        if not isinstance(rerank, str | Path | None):
            raise InvalidInput(f"rerank {rerank!r} names no model", "Give a hub name or a folder, or leave it out.")
        settings = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
        settings |= {"k": k, "how": self.how if how is None else how}
        try:
            json.dumps(settings, allow_nan=False, ensure_ascii=False).encode()  # as the request will hold it
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"no search that JSON can carry ({error})", "Give numbers, texts and lists.") from None
        return self._broker.submit({"queries": list(texts), **settings})


class _Served:
    """The server as known here; apart from `RemoteIndex`, so that the broker does not keep a forgotten one alive.

    Args:
        client: Asked at once.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, Passage] = OrderedDict()
        self.ask(attempts=1)  # a wrong URL should not take seconds to be noticed

    def ask(self, attempts: int | None = None) -> None:
        """Ask the server about the index that it serves now; forget the passages that were seen."""
        about = self._client.get("/v1/index", ABOUT, attempts=attempts)
        limits = about["limits"]
        with self._lock:
            self._seen.clear()
            self.fingerprint = about["fingerprint"]
            self.how: How = about["how"]
            self.about = dict(about)
            self.description = about.get("description", "")
            self.rerankers = about.get("rerankers", {})
            self.length = about["passages"]
            self._most = Size(limits["queries"], limits["hits"], limits["pairs"])
            self._body = limits["body"]
            self.longest_query = limits.get("characters")
            self._names = limits.get("names")

    def passage(self, identity: str) -> Passage:
        """See `RemoteIndex.passage`."""
        with self._lock:
            known = self._seen.get(identity)
        if known is not None:
            return known
        answer = self._client.get("/v1/passages", PASSAGES, params={"id": identity})
        found = [passage_from_json(data) for data in answer["passages"]]
        if [passage.id for passage in found] != [identity]:
            raise self._client.odd(f"{counted(len(found), 'passage')} for the id {identity[:60]!r}, or another one")
        self._keep(answer["fingerprint"], found)
        return found[0]

    def known(self, names: Collection[str]) -> set[str] | None:
        """See `RemoteIndex.known`; as many requests as the server's limits ask for."""
        if self._names is None:
            return None
        # half a surrogate pair is in no index, and cannot be sent
        left = [name for name in dict.fromkeys(names) if name and encodable(name) == name]
        found: set[str] = set()
        while left:
            size, most = _AROUND_NAMES, 0
            for name in left[: self._names]:
                size += len(json.dumps(name)) + 1
                if most and size > self._body:
                    break
                most += 1
            asked, left = left[:most], left[most:]
            reply = self._client.post("/v1/known", {"names": asked}, KNOWN)
            if not set(reply["known"]) <= set(asked):
                raise self._client.odd("names that were not asked for")
            self._keep(reply["fingerprint"], [])
            found.update(reply["known"])
        return found

    def run(self, searches: Sequence[dict[str, Any]]) -> list[list[list[Hit]] | RagscaleError]:
        """Send what waits in as few requests as the server's limits allow."""
        answers: list[list[list[Hit]] | RagscaleError] = []
        while len(answers) < len(searches):
            answers += self._answered(self._fitting(searches[len(answers) :]))
        return answers

    def _answered(self, searches: Sequence[dict[str, Any]]) -> list[list[list[Hit]] | RagscaleError]:
        try:
            return self._send(searches)
        except TooLargeError as error:  # what happened to wait together need not fit into one reply
            if len(searches) == 1:
                return [error]
            half = len(searches) // 2
            return self._answered(searches[:half]) + self._answered(searches[half:])
        except RagscaleError as error:
            return [error] * len(searches)

    def _fitting(self, searches: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        """The first searches that together keep the server's limits; at least one, whose fault it then is."""
        size, body = Size(), _AROUND
        for number, search in enumerate(searches):
            size += Size.of(search)
            body += len(json.dumps(search))  # at least what is sent, which has no spaces and may have fewer escapes
            if number and (size.passes(self._most) or body > self._body):
                return searches[:number]
        return searches

    def _send(self, searches: Sequence[dict[str, Any]]) -> list[list[list[Hit]] | RagscaleError]:
        reply = self._client.post("/v1/batch", {"searches": list(searches)}, RESULTS, unsettled=_unsettled)
        answers = [_answer(result) for result in reply["results"]]
        if len(answers) != len(searches) or not all(
            isinstance(answer, RagscaleError) or len(answer) == len(search["queries"])
            for search, answer in zip(searches, answers, strict=True)
        ):
            raise self._client.odd("other numbers of results than of searches or queries")
        found = [answer for answer in answers if not isinstance(answer, RagscaleError)]
        self._keep(reply["fingerprint"], [hit.passage for lists in found for hits in lists for hit in hits])
        return answers

    def _keep(self, fingerprint: str, passages: Sequence[Passage]) -> None:
        """Remember passages, unless they are of another index than the one opened: then raise `IndexMismatch`."""
        with self._lock:  # `ask` may change the index at any moment
            if fingerprint != self.fingerprint:
                raise IndexMismatch(
                    f"{self._client.url} serves another index now ({fingerprint[:12]}, opened was "
                    f"{self.fingerprint[:12]})",
                    "Call reload() or open it again; runs under way would mix two indexes.",
                )
            for passage in passages:
                self._seen[passage.id] = passage
                self._seen.move_to_end(passage.id)
            while len(self._seen) > _KEPT:
                self._seen.popitem(last=False)


def _unsettled(reply: Results) -> bool:
    """Whether a search failed in a way that may pass; all are sent again, so that one reply is of one commit."""
    return any(result["status"] == 503 for result in reply["results"] if "error" in result)


def _answer(result: Failed | Found) -> list[list[Hit]] | RagscaleError:
    if "error" in result:
        kind = InvalidInput if result["status"] == 422 else IndexServerError
        return kind(result["error"]["problem"], result["error"]["remedy"])
    return [[hit_from_json(hit) for hit in hits] for hits in result["hits"]]


def _close(broker: Broker[Any, Any], client: Client) -> None:
    broker.close()
    client.close()
