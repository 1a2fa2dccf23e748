"""``/retrieve`` and clients that read nothing but its result: odd requests, long waits, and no error for any of it."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers import Served, StartServer

from ragscale.errors import EndpointError, IndexDamaged, ModelError
from ragscale.index import Index
from ragscale.serve.app import Service
from ragscale.serve.limits import Limits

TOKEN = "a-token-of-some-length"
Client = Callable[..., httpx.AsyncClient]


# The clients, as the projects that they are named after send requests and read replies.


def search_r1(url: str, queries: list[Any], topk: Any = 3) -> list[str]:
    """Search-R1 and RAG-R1: no time-out, no look at the status, the result or nothing."""
    reply = requests.post(url, json={"queries": queries, "topk": topk, "return_scores": True}).json()["result"]
    texts = []
    for hits in reply:
        text = ""
        for number, hit in enumerate(hits):
            title, *rest = hit["document"]["contents"].split("\n")
            text += f"Doc {number + 1}(Title: {title}) {' '.join(rest)}\n"
        texts.append(text)
    return texts


def verl(url: str, queries: list[str], topk: int = 3, timeout: float = 30) -> list[list[Any]]:
    """verl's search tool: 30 s of silence at most; a status 4xx is the end, a 5xx is tried again ten times."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    body = {"queries": queries, "topk": topk, "return_scores": True}
    response = requests.post(url, headers=headers, json=body, timeout=timeout)
    response.raise_for_status()
    result = response.json().get("result", [])
    assert all(hit["document"]["contents"].partition("\n")[2] for hits in result for hit in hits)
    return result  # type: ignore[no-any-return]


def skyrl(session: requests.Session, url: str, query: str) -> str:
    """SkyRL's search tool: one text as ``query``, and a shared session."""
    response = session.post(url, json={"query": query.strip(), "topk": 3, "return_scores": True}, timeout=30)
    response.raise_for_status()
    return "\n---\n".join(
        "".join(f"Doc {i + 1}: {hit['document']['contents'].strip()}\n" for i, hit in enumerate(hits))
        for hits in response.json().get("result", [])
    )


async def slime(http: httpx.AsyncClient, query: str) -> list[str]:
    """The asynchronous ones (slime, rLLM): one query, bare documents, the first list."""
    response = await http.post("/retrieve", json={"queries": [query], "topk": 3, "return_scores": False})
    response.raise_for_status()
    return [document["contents"] for document in response.json()["result"][0]]


def flashrag(url: str, queries: list[str], topk: int) -> tuple[list[list[str]], list[list[float]]]:
    """A retriever of FlashRAG behind a URL: documents and scores apart."""
    result = requests.post(url, json={"queries": queries, "topk": topk, "return_scores": True}, timeout=60).json()
    return (
        [[hit["document"]["id"] for hit in hits] for hits in result["result"]],
        [[float(hit["score"]) for hit in hits] for hits in result["result"]],
    )


LONG = "who discovered rhodium " * 400  # 9,200 characters
ODD = [LONG, "", " ", None, 5, 2.5, True, {"query": "gold"}, ["tin", "lead"], "half \ud83d a pair", "nul \0", "\u202e"]


def test_the_clients_of_training_runs(served: Served, index: Index) -> None:
    url = f"{served.url}/retrieve"
    texts = search_r1(url, ["gold", LONG, "  "])
    assert [bool(text) for text in texts] == [True, True, False]
    assert texts[0].startswith("Doc 1(Title: ")
    assert "Doc 3(Title: " in texts[1]
    assert [len(hits) for hits in verl(url, ["gold", LONG] * 20, 5)] == [5] * 40
    with requests.Session() as session:
        assert skyrl(session, url, "gold").startswith('Doc 1: "Gold"\n')
        assert skyrl(session, url, " ") == ""
    ids, scores = flashrag(url, ["gold", "tin"], 2)
    found = index.search(["gold", "tin"], 2)
    assert ids == [[hit.passage.id for hit in hits] for hits in found]
    assert scores == [[hit.score for hit in hits] for hits in found]


async def test_the_asynchronous_clients(client: Client, index: Index) -> None:
    async with client() as http:
        found = await asyncio.gather(*(slime(http, query) for query in ["gold", LONG, ""]))
    assert [len(documents) for documents in found] == [3, 3, 0]


def test_a_server_with_a_token(start: StartServer, folder: Path) -> None:
    """A URL with a user and a password is all that some clients can be given."""
    with start(folder, RAGSCALE_TOKEN=TOKEN) as served:
        url = f"{served.url}/retrieve".replace("http://", f"http://anyone:{TOKEN}@")
        assert search_r1(url, ["gold"])[0]
        assert requests.post(f"{served.url}/retrieve", json={"query": "gold"}, auth=("", TOKEN)).status_code == 200
        for wrong in (("anyone", "wrong"), (TOKEN, ""), ("", f"{TOKEN}x")):
            assert requests.post(f"{served.url}/retrieve", json={"query": "gold"}, auth=wrong).status_code == 401


async def test_every_query_has_its_list(client: Client, index: Index, caplog: pytest.LogCaptureFixture) -> None:
    async with client() as http:
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                answer = (await http.post("/retrieve", content=json.dumps({"queries": ODD, "topk": 2}))).json()
    sizes = [len(documents) for documents in answer["result"]]
    assert len(sizes) == len(ODD)
    assert [sizes[i] for i in (0, 1, 2, 3)] == [2, 0, 0, 0]
    ids = [[document["id"] for document in documents] for documents in answer["result"]]
    assert ids[0] == [hit.passage.id for hit in index.search([LONG[:4000]], 2)[0]]
    assert ids[7] == [hit.passage.id for hit in index.search(['{"query": "gold"}'], 2)[0]]
    assert answer["notes"] == [
        "queries: 1 of them longer than 4,000 characters, and cut to that",
        "queries: 6 of them no texts; null finds nothing, others are taken as they are written in JSON",
    ]
    # once, and not for each request
    assert [record.message.partition(":")[0] for record in caplog.records] == ["/retrieve"] * 2


@pytest.mark.parametrize(
    ("topk", "hits", "note"),
    [
        (3, 3, ""), ("3", 3, ""), (3.0, 3, ""), (" 3 ", 3, ""), ("3.0", 3, ""), (None, 3, ""), (0, 3, ""), ("0", 3, ""),
        ("", 3, ""), (5, 5, ""), ("1e1", 10, ""), (2.7, 2, "topk: 2.7 is no whole number"),
        (-1, 3, "topk: -1 is no number"), (True, 3, "topk: true is no number"),
        (0.5, 3, "topk: 0.5 is no number"), ("many", 3, 'topk: "many" is no number'),
        ([3], 3, "topk: [3] is no number"), ({}, 3, ""), ({"a": 1}, 3, "topk: "), (float("nan"), 3, "topk: NaN is no"),
        (21, 20, "topk: 20 instead of 21"), (10**400, 20, "topk: 20 instead of 1000"), (float("inf"), 20, "topk: 20"),
        ("1e400", 20, "topk: 20"), (-(10**400), 3, "topk: -1000"), ("9" * 5000, 20, "topk: 20"),
    ],
)  # fmt: skip
async def test_topk_may_be_anything(client: Client, topk: Any, hits: int, note: str) -> None:
    async with client(k=20) as http:
        answer = (await http.post("/retrieve", content=json.dumps({"queries": ["gold metal"], "topk": topk}))).json()
    assert [len(documents) for documents in answer["result"]] == [hits]
    assert "".join(answer.get("notes", [])).startswith(note)
    assert ("notes" in answer) == bool(note)


@pytest.mark.parametrize(
    ("value", "scores", "note"),
    [
        (True, True, False), ("true", True, False), ("True", True, False), (1, True, False), ("1", True, False),
        ("yes", True, False), (False, False, False), ("false", False, False), ("False ", False, False),
        (0, False, False), (None, False, False), ("", False, False), ("no", False, False), ("maybe", False, True),
        ([], False, True), ({"x": 1}, False, True),
    ],
)  # fmt: skip
async def test_return_scores_may_be_anything(client: Client, value: Any, scores: bool, note: bool) -> None:
    async with client() as http:
        answer = (await http.post("/retrieve", json={"queries": ["gold"], "return_scores": value})).json()
    ((first, *_),) = answer["result"]
    assert set(first) == ({"document", "score"} if scores else {"id", "contents"})
    assert ("notes" in answer) == note


@pytest.mark.parametrize(
    ("body", "lists"),
    [
        ({"queries": "gold"}, 1), ({"query": "gold"}, 1), ({"query": ["gold", "tin"]}, 2),
        ({"queries": None, "query": "gold"}, 1), ({"queries": ["gold"], "query": "tin and lead"}, 1),
        ({"queries": 7}, 1), ({"queries": {"a": "gold"}}, 1), ({"queries": False}, 1), ({"queries": ""}, 1),
        ({"queries": []}, 0), ({"queries": [[]]}, 1), ({"queries": [[["gold"]] * 3, None]}, 2),
    ],
)  # fmt: skip
async def test_where_queries_may_stand(client: Client, body: Any, lists: int) -> None:
    async with client() as http:
        response = await http.post("/retrieve", json=body)
    assert (response.status_code, len(response.json()["result"])) == (200, lists)


@pytest.mark.parametrize(
    ("other", "hits", "scores", "note"),
    [
        ({"top_k": 1}, 1, False, ""), ({"k": "2"}, 2, False, ""), ({"topk": None, "k": 2}, 2, False, ""),
        ({"return_score": True}, 3, True, ""), ({"return_scores": False, "return_score": None}, 3, False, ""),
        ({"topk": 1, "top_k": 2}, 1, False, 'ignored: ["top_k"]; read are queries, query, topk, top_k, k, '),
        ({"top_n": 1, "rerank": "x", "n": None}, 3, False, 'ignored: ["top_n", "rerank"]; read are'),
        ({"": 1}, 3, False, 'ignored: [""]'), ({"x" * 999: 1}, 3, False, 'ignored: ["xxx'),
    ],
)  # fmt: skip
async def test_other_names_are_read_or_noted(
    client: Client, other: dict[str, Any], hits: int, scores: bool, note: str
) -> None:
    async with client() as http:
        answer = (await http.post("/retrieve", json={"queries": ["gold metal"], **other})).json()
    assert [len(documents) for documents in answer["result"]] == [hits]
    assert ("score" in answer["result"][0][0]) == scores
    [told] = answer.get("notes", [""])
    assert told.startswith(note)
    assert bool(note) == bool(told)
    assert len(told) < 200


@pytest.mark.parametrize(
    ("content", "status", "problem"),
    [
        (b"{}", 422, "queries is missing"), (b'{"queries": null}', 422, "queries is missing"),
        (b'{"k": 3, "topk": 3}', 422, "queries is missing"), (b"", 400, "the body is not JSON"),
        (b'["gold"]', 400, "the body is a JSON list"), (b'{"queries": ["gold"', 400, "the body is not JSON"),
    ],
)  # fmt: skip
async def test_what_cannot_be_answered_is_named(client: Client, content: bytes, status: int, problem: str) -> None:
    async with client() as http:
        response = await http.post("/retrieve", content=content)
    assert response.status_code == status
    assert response.json()["error"]["problem"].startswith(problem)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["queries", "query", "topk"]), inner),
    max_leaves=8,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(queries=st.lists(JSON), topk=JSON, scores=JSON, query=JSON)
async def test_no_list_of_queries_is_refused(client: Client, queries: Any, topk: Any, scores: Any, query: Any) -> None:
    body = {"queries": queries, "topk": topk, "return_scores": scores, "query": query, "other": query}
    async with client() as http:
        response = await http.post("/retrieve", content=json.dumps(body))
    assert response.status_code == 200
    assert len(response.json()["result"]) == len(queries)


@pytest.mark.parametrize("queries", [[f"gold {'x' * 5_500}"] * 1_200, ["金" * 350 + " gold"] * 2_560])
async def test_the_batches_of_a_training_run(client: Client, queries: list[str]) -> None:
    """Of long queries, and of such as `requests` escapes: 6.6 and 5.4 MB."""
    async with client() as http:
        response = await http.post("/retrieve", content=json.dumps({"queries": queries, "topk": 1}))
    assert response.status_code == 200
    assert [hits[0]["id"] for hits in response.json()["result"]] == ["element-gold"] * len(queries)


async def test_others_get_their_turn_among_blank_queries(client: Client) -> None:
    """Nothing is searched for them, so nothing else would be waited for: 2,000,000 held the server up for 20 s."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with client() as http:
        counting = asyncio.create_task(count())
        response = await http.post("/retrieve", content=json.dumps({"queries": [""] * 200_000}))
        counting.cancel()
    assert response.json()["result"] == [[]] * 200_000
    assert turns > 100


async def test_more_than_a_request_may_have_is_worked_through(client: Client, index: Index) -> None:
    """More queries than the server's limit and queue, and more hits than a request of /v1 may have."""
    queries = ["element", "", "metal", None] * 40
    async with client(queries=8, queue=4, hits=50) as http:
        answer = (await http.post("/retrieve", json={"queries": queries, "topk": 30})).json()
        refused = await http.post("/v1/search", json={"queries": ["gold"] * 9})
    assert [len(documents) for documents in answer["result"]] == [30, 0, 30, 0] * 40
    assert refused.status_code == 422


@pytest.mark.parametrize("topk", [1, 400])
async def test_a_long_reply_is_the_same_as_many_short_ones(client: Client, index: Index, topk: int) -> None:
    queries = [f"gold {number} mine" for number in range(300)]
    asked = {"queries": queries, "topk": topk}
    async with client() as http, http.stream("POST", "/retrieve", json=asked) as response:
        raw = b"".join([part async for part in response.aiter_raw()])
    result = json.loads(raw)["result"]
    # in one piece where it is short
    assert ("content-length" in response.headers) == (topk == 1)
    expected = index.search(queries, topk)
    assert [[document["id"] for document in hits] for hits in result] == [
        [hit.passage.id for hit in hits] for hits in expected
    ]


class Broken:
    """Has an index fail a number of times, or for some queries."""

    def __init__(self, index: Index, monkeypatch: pytest.MonkeyPatch, fail: Callable[[list[str]], Exception | None]):
        self.asked: list[list[str]] = []

        async def asearch(queries: list[str], *rest: Any, **options: Any) -> Any:
            self.asked.append(list(queries))
            error = fail(queries)
            if error is not None:
                raise error
            return await Index.asearch(index, queries, *rest, **options)

        monkeypatch.setattr(index, "asearch", asearch)


async def test_an_embedder_that_fails_for_a_while_is_waited_for(
    client: Client, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[Exception] = [EndpointError("gone"), ModelError("busy", retryable=True)]
    monkeypatch.setattr("ragscale.serve.retrieve._PAUSE", 0.01)
    broken = Broken(index, monkeypatch, lambda queries: failures.pop() if failures else None)
    async with client() as http:
        answer = (await http.post("/retrieve", json={"queries": ["gold", "tin"]})).json()
    assert [len(documents) for documents in answer["result"]] == [3, 3]
    assert "notes" not in answer
    assert len(broken.asked) == 3


async def test_a_query_that_the_embedder_refuses_spares_the_others(
    client: Client, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    Broken(index, monkeypatch, lambda queries: ModelError("refused") if "bad" in queries else None)
    async with client() as http:
        answer = (await http.post("/retrieve", json={"queries": ["gold", "bad", "tin"]})).json()
    assert [len(documents) for documents in answer["result"]] == [3, 0, 3]
    assert answer["notes"] == ["result: 1 of the lists empty, as the server's embedder refused the query"]


async def test_time_has_an_end_and_the_result_its_length(
    client: Client, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    Broken(index, monkeypatch, lambda queries: EndpointError("gone") if "bad" in queries else None)
    queries = ["gold"] * 256 + ["bad"] + ["tin"] * 300
    async with client(retrieve_seconds=3) as http:
        began = time.monotonic()
        answer = (await http.post("/retrieve", json={"queries": queries, "topk": 1})).json()
        seconds = time.monotonic() - began
        metrics = (await http.get("/metrics")).text
    assert [len(documents) for documents in answer["result"]] == [1] * 256 + [0] * 301
    assert answer["notes"] == [
        "result: 301 of the lists empty, not searched: the time of 3 s is over, or the server failed"
    ]
    assert 3 <= seconds < 30
    assert "ragscale_queries_in_flight 0.0" in metrics


async def test_an_index_that_cannot_be_searched_is_an_error(
    client: Client, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its status tells those who look at it, and those who do not find a result of full length."""
    errors = iter([IndexDamaged(f"{index.path}: broken"), ZeroDivisionError("secret")])
    Broken(index, monkeypatch, lambda queries: next(errors))
    async with client() as http:
        replies = [await http.post("/retrieve", json={"queries": ["gold", "", "tin"]}) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [500, 500]
    assert [reply.json()["result"] for reply in replies] == [[[], [], []]] * 2
    problems = [reply.json()["error"]["problem"] for reply in replies]
    assert problems == [f"{index.path.name}: broken", "the server failed (ZeroDivisionError)"]


async def test_a_failure_in_the_middle_of_a_reply(
    client: Client, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Broken(index, monkeypatch, lambda queries: ZeroDivisionError("bug") if "late" in queries else None)
    monkeypatch.setattr("ragscale.serve.retrieve._PLAIN", 1000)
    async with client() as http:
        answer = (await http.post("/retrieve", json={"queries": ["gold"] * 300 + ["late"] * 100, "topk": 1})).json()
    assert [len(documents) for documents in answer["result"]] == [1] * 256 + [0] * 144
    assert len(broken.asked) == 2
    assert answer["notes"][0].startswith("result: 144 of the lists empty")


async def test_a_full_queue_is_waited_for(client: Client, index: Index) -> None:
    service_limits = {"queue": 4, "queries": 4}
    async with client(**service_limits) as http:
        asked = [http.post("/retrieve", json={"queries": ["gold"] * 9, "topk": 1}) for _ in range(30)]
        replies = await asyncio.gather(*asked)
        metrics = (await http.get("/metrics")).text
    assert {reply.status_code for reply in replies} == {200}
    assert {len(reply.json()["result"]) for reply in replies} == {9}
    assert "ragscale_queries_in_flight 0.0" in metrics


async def test_a_client_that_waits_sees_that_something_comes(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blank now and then: JSON allows it, and a client's limit of silence begins anew."""
    monkeypatch.setattr("ragscale.serve.retrieve._BEAT", 0.05)
    go = asyncio.Event()

    async def asearch(queries: list[str], *rest: Any, **options: Any) -> Any:
        await go.wait()
        return await Index.asearch(index, queries, *rest, **options)

    monkeypatch.setattr(index, "asearch", asearch)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)
        if len(sent) == 4:
            go.set()

    await Service(index, limits=Limits()).app()(scope(), receive({"queries": ["gold"]}), send)
    assert sent[0]["status"] == 200
    assert [message["body"] for message in sent[1:4]] == [b" "] * 3
    body = b"".join(message["body"] for message in sent[1:])
    assert len(json.loads(body)["result"][0]) == 3


@pytest.mark.parametrize("begun", [False, True])
async def test_a_client_that_goes_away_leaves_its_place(
    index: Index, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    monkeypatch.setattr("ragscale.serve.retrieve._BEAT", 0.05 if begun else 60)
    searching, gone = asyncio.Event(), asyncio.Event()

    async def asearch(*_: Any, **__: Any) -> Any:
        searching.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(index, "asearch", asearch)
    service = Service(index, limits=Limits(queue=2))
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    first = receive({"queries": ["gold", "tin"]}, gone)
    second = receive({"queries": ["lead"]}, gone)  # waits for room
    running = [asyncio.create_task(service.app()(scope(), incoming, send)) for incoming in (first, second)]
    await searching.wait()
    while begun and len(sent) < 4:  # noqa: ASYNC110 - of two replies
        await asyncio.sleep(0.01)
    assert service._admission.inside == 2
    gone.set()
    await asyncio.wait_for(asyncio.gather(*running), 10)
    assert service._admission.inside == 0
    assert not service._admission._waiting
    assert [message["status"] for message in sent if "status" in message] == [200 if begun else 499] * 2


def test_no_client_of_many_is_refused(start: StartServer, folder: Path) -> None:
    """64 clients for some seconds, large and odd batches, a queue that is too small for them."""
    words = "gold silver tin lead rhodium camera lucida chemist mine symbol discovered".split()  # noqa: SIM905
    replies: list[tuple[int, bool]] = []

    def batch(chance: random.Random) -> dict[str, Any]:
        def item() -> Any:
            text = " ".join(chance.choices(words, k=chance.choice([1, 5, 20, 900])))
            return chance.choice([text] * 8 + ["", None, 7, 1.5, [text], {"query": text}, text * 3, "\ud83d"])

        name = chance.choice(["queries"] * 5 + ["query"])
        topk = chance.choice([1, 2, 3, "3", 3.0, None, 0, -1, 20, 5000, "x", True])
        queries = [item() for _ in range(chance.choice([0, 1, 2, 10, 30]))]
        return {name: queries, "topk": topk, "return_scores": chance.choice([True, False, "false", None])}

    def ask(number: int) -> None:
        chance = random.Random(number)
        with requests.Session() as session:
            while time.monotonic() < end:
                body = batch(chance)
                response = session.post(f"{served.url}/retrieve", data=json.dumps(body), timeout=30)
                (queries,) = [body[name] for name in ("queries", "query") if name in body]
                whole = response.status_code == 200 and len(response.json()["result"]) == len(queries)
                replies.append((response.status_code, whole))

    with start(folder, "--limit", "queue=128", "--limit", "queries=64", "--limit", "hits=100") as served:
        end = time.monotonic() + 4
        with ThreadPoolExecutor(64) as pool:
            for task in [pool.submit(ask, number) for number in range(64)]:
                task.result()
        assert served.counts()["ragscale_queries_in_flight"] == 0
    assert set(replies) == {(200, True)}
    assert len(replies) >= 64


def scope() -> dict[str, Any]:
    return {
        "type": "http", "method": "POST", "path": "/retrieve", "raw_path": b"/retrieve", "root_path": "",
        "query_string": b"", "headers": [(b"host", b"localhost")], "http_version": "1.1", "scheme": "http",
        "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 81),
    }  # fmt: skip


def receive(body: Any, gone: asyncio.Event | None = None) -> Callable[[], Any]:
    messages = iter([{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}])

    async def receive() -> Any:
        for message in messages:
            return message
        await (gone or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    return receive
