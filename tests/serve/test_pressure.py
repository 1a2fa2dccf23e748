"""A bounded queue, time-outs and clients that go away, in this process and with the broker held at will."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
import pytest

from ragscale.index import Index
from ragscale.index.query import filters
from ragscale.index.query.filters import Filter, compile_filter
from ragscale.serve.app import Service
from ragscale.serve.limits import Admission, Limits, RefusedRequest

Client = Callable[..., httpx.AsyncClient]


class Held:
    """Keeps the broker's worker in its batch until it is let go, and notes what was searched."""

    def __init__(self, index: Index) -> None:
        self.searched: list[str] = []
        self.go = threading.Event()
        self._run = index._broker._run
        index._broker._run = self  # type: ignore[assignment]

    def __call__(self, requests: Sequence[Any]) -> Any:
        self.searched += [query for request in requests for query in request.queries]
        assert self.go.wait(30)
        return self._run(requests)


@pytest.fixture
def held(index: Index) -> Iterator[Held]:
    held = Held(index)
    yield held
    held.go.set()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - of another thread
            await asyncio.sleep(0.002)


async def post(http: httpx.AsyncClient, *queries: str) -> httpx.Response:
    return await http.post("/v1/search", json={"queries": queries})


async def test_what_does_not_fit_is_refused_at_once(client: Client, index: Index, held: Held) -> None:
    async with client(queue=4, queries=4) as http:
        first = asyncio.create_task(post(http, "gold"))
        await until(lambda: held.searched == ["gold"])
        second = asyncio.create_task(post(http, "tin", "lead"))
        await until(lambda: index.load.waiting == 1)
        refused = await post(http, "zinc", "iron")
        third = asyncio.create_task(post(http, "zinc"))
        await until(lambda: index.load.waiting == 2)
        also_refused = await post(http, "iron")
        metrics = (await http.get("/metrics")).text.splitlines()
        held.go.set()
        answered = await asyncio.gather(first, second, third)
        after = await post(http, "zinc", "iron")
    assert [response.status_code for response in answered] == [200, 200, 200]
    for response in (refused, also_refused):
        assert response.status_code == 429
        assert response.headers["retry-after"] == "1"
    assert refused.json()["error"]["problem"] == ("3 queries waiting or in flight: 2 more pass the limit of 4")
    assert "ragscale_queries_in_flight 4.0" in metrics
    assert "ragscale_queue_depth 2.0" in metrics
    assert 'ragscale_requests_total{endpoint="/v1/search",status="429"} 2.0' in metrics
    assert after.status_code == 200


async def test_a_search_without_queries_takes_room_too(client: Client, index: Index, held: Held) -> None:
    async with client(queue=2) as http:
        waiting = [asyncio.create_task(post(http, "gold"))]
        await until(lambda: held.searched == ["gold"])
        waiting.append(asyncio.create_task(post(http)))
        await until(lambda: index.load.waiting == 1)
        batch = http.post("/v1/batch", json={"searches": [{"queries": []}]})
        refused = await asyncio.gather(post(http), batch)
        held.go.set()
        answered = await asyncio.gather(*waiting)
    assert [response.status_code for response in refused] == [429, 429]
    assert [response.status_code for response in answered] == [200, 200]


@pytest.mark.parametrize("path", ["/retrieve", "/v1/search", "/v1/batch"])
async def test_others_get_their_turn_between_the_slices(client: Client, index: Index, held: Held, path: str) -> None:
    """A request of 20 long queries is underway; a short one is searched next, and not after all of them."""
    long = [f"{number} ".ljust(4000, "x") for number in range(20)]
    body = {"searches": [{"queries": [query]} for query in long]} if path == "/v1/batch" else {"queries": long}
    async with client() as http:
        first = asyncio.create_task(http.post(path, json=body))
        await until(lambda: bool(held.searched))
        second = asyncio.create_task(post(http, "gold"))
        await until(lambda: index.load.waiting > 0)
        held.go.set()
        assert (await second).status_code == 200
        assert (await first).status_code == 200
    assert sorted(held.searched) == sorted([*long, "gold"])
    assert held.searched.index("gold") <= 8


async def test_filters_are_read_one_after_the_other_and_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reading: list[str] = []
    read: list[str] = []
    most = 0

    def slow(text: str, schema: Any) -> Any:
        nonlocal most
        reading.append(text)
        read.append(text)
        most = max(most, len(reading))
        time.sleep(0.01)
        reading.remove(text)
        return compiled(text, schema)

    compiled = filters._compiled.__wrapped__
    monkeypatch.setattr(filters, "_compiled", lru_cache(256)(slow))
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"id": "a", "text": "gold", "year": 1990}\n')
    with Index.build([corpus], tmp_path / "index", embedder=None) as index:
        transport = httpx.ASGITransport(Service(index, limits=Limits()).app())
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            searches = [{"queries": ["gold"], "where": f"year > {number}"} for number in range(20)]
            replies = await asyncio.gather(*(http.post("/v1/batch", json={"searches": searches}) for _ in range(3)))
    assert all(result["hits"][0] for reply in replies for result in reply.json()["results"])
    assert (most, sorted(read)) == (1, sorted(search["where"] for search in searches))


async def test_who_waits_for_room_is_let_in_in_turn() -> None:
    admission = Admission(4)
    order: list[str] = []
    go = {name: asyncio.Event() for name in "abcde"}

    async def enter(name: str, queries: int) -> None:
        async with admission.wait(queries):
            order.append(name)
            await go[name].wait()

    tasks = {}
    for name, queries in (("a", 3), ("b", 4), ("c", 1), ("d", 1), ("e", 2)):
        tasks[name] = asyncio.create_task(enter(name, queries))
        await asyncio.sleep(0)
    assert (order, admission.inside) == (["a"], 3)  # "c" would fit, but "b" came first
    with pytest.raises(RefusedRequest, match="2 more pass the limit of 4"), admission.admit(2):
        pass
    tasks["b"].cancel()
    await asyncio.sleep(0.01)
    assert (order, admission.inside) == (["a", "c"], 4)
    go["a"].set()
    await asyncio.sleep(0.01)
    assert (order, admission.inside) == (["a", "c", "d", "e"], 4)
    for event in go.values():
        event.set()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    assert admission.inside == 0


async def test_a_place_that_is_given_and_given_up_at_once_is_free_again() -> None:
    """Cancelled after it was let in, and before it knows."""
    admission = Admission(1)
    async with admission.wait(1):
        task = asyncio.create_task(waits(admission))
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert (admission.inside, len(admission._waiting)) == (0, 0)


async def waits(admission: Admission) -> None:
    async with admission.wait(1):
        await asyncio.Event().wait()


async def test_health_is_answered_while_a_filter_is_read(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    healthy = threading.Event()

    def slow(text: str, schema: Any) -> Filter:
        assert healthy.wait(10)
        return compile_filter(text, schema)

    monkeypatch.setattr("ragscale.index.query.request.compile_filter", slow)
    async with client() as http:
        filtered = {"queries": [], "where": "year > 1900"}
        waiting = asyncio.create_task(http.post("/v1/batch", json={"searches": [filtered] * 3}))
        await asyncio.sleep(0.05)
        assert (await http.get("/health")).status_code == 200
        healthy.set()
        results = (await waiting).json()["results"]
    assert ["no field 'year'" in result["error"]["problem"] for result in results] == [True] * 3


async def test_health_is_answered_under_load(client: Client, held: Held) -> None:
    async with client(queue=1, queries=1) as http:
        waiting = asyncio.create_task(post(http, "gold"))
        await until(lambda: held.searched == ["gold"])
        assert (await http.get("/health")).status_code == 200
        held.go.set()
        assert (await waiting).status_code == 200


async def test_a_search_that_takes_too_long_is_given_up(client: Client, held: Held) -> None:
    async with client(search_seconds=3) as http:
        running = asyncio.create_task(post(http, "gold"))
        await until(lambda: held.searched == ["gold"])
        second = await post(http, "tin")
        first = await running
        metrics = (await http.get("/metrics")).text.splitlines()
        held.go.set()
        assert (await post(http, "lead")).status_code == 200
    assert [first.status_code, second.status_code] == [504, 504]
    assert first.json()["error"]["problem"] == "the search took longer than 3 s"
    assert "ragscale_queries_in_flight 0.0" in metrics
    # what had not begun was dropped
    assert held.searched == ["gold", "lead"]


class Dead:
    """A client at the level of ASGI that goes away when told."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.sent: list[Any] = []
        self.gone = asyncio.Event()
        self._messages = iter([{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}])

    async def receive(self) -> Any:
        for message in self._messages:
            return message
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)


SCOPE = {
    "type": "http", "method": "POST", "path": "/v1/search", "raw_path": b"/v1/search", "root_path": "",
    "query_string": b"", "headers": [(b"host", b"localhost")], "http_version": "1.1", "scheme": "http",
    "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 81),
}  # fmt: skip


async def test_a_client_that_goes_away_takes_its_search_with_it(index: Index, held: Held) -> None:
    service = Service(index, limits=Limits())
    app = service.app()
    alive, dead = Dead({"queries": ["gold"]}), Dead({"queries": ["tin"]})
    tasks = []
    for client in (alive, dead):
        tasks.append(asyncio.create_task(app(dict(SCOPE), client.receive, client.send)))
        await until(lambda: service._admission.inside == len(tasks))
        await until(lambda: held.searched == ["gold"])
    dead.gone.set()
    await tasks[1]
    assert service._admission.inside == 1
    held.go.set()
    await tasks[0]
    assert (alive.sent[0]["status"], dead.sent[0]["status"]) == (200, 499)
    assert held.searched == ["gold"]
    assert b'endpoint="/v1/search",status="499"} 1.0' in service.counters.text()


async def chunks(size: int, count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * size


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize(
    ("path", "limits", "most"),
    [
        ("/v1/search", {"body": 1000, "retrieve_body": 2000}, 1000),
        ("/retrieve", {"body": 500, "retrieve_body": 1000}, 1000),
        ("/retrieve", {"body": 1000, "retrieve_body": 1}, 1000),
    ],
)
async def test_a_large_body_is_refused(
    client: Client, declared: bool, path: str, limits: dict[str, int], most: int
) -> None:
    """One whose head does not tell its length is held to `body`, whatever it is for."""
    most = most if declared else min(most, limits["body"])
    async with client(**limits) as http:
        content = b" " * (most + 1) if declared else chunks(most * 2 // 5, 3)
        response = await http.post(path, content=content)
        fits = await http.post(path, content=b'{"queries": []}'.ljust(most))
    assert response.status_code == 413
    assert response.json()["error"]["problem"].endswith(f"bytes or more, the limit is {most:,}")
    assert response.json().get("result") == ([] if path == "/retrieve" else None)
    assert fits.status_code == 200


async def test_large_bodies_wait_for_room_and_small_ones_pass_them(client: Client, held: Held) -> None:
    """Four of the largest are in work at once; the fifth is not even read."""
    body = b'{"queries": ["gold"]}'
    async with client(body=100, retrieve_body=400) as http:
        large = [asyncio.create_task(http.post("/retrieve", content=body.ljust(400))) for _ in range(5)]
        await until(lambda: bool(held.searched))
        small = asyncio.create_task(http.post("/retrieve", content=body))
        in_flight = "ragscale_queries_in_flight 5.0"  # four large ones and the small one
        async with asyncio.timeout(30):
            while in_flight not in (await http.get("/metrics")).text:  # noqa: ASYNC110 - as a client sees it
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert in_flight in (await http.get("/metrics")).text
        held.go.set()
        replies = await asyncio.gather(*large, small)
    assert [response.status_code for response in replies] == [200] * 6
    assert len(held.searched) == 6
