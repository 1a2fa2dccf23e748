"""The endpoints: the Search-R1 dialect to the letter, the native one, and what they refuse."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragscale.errors import InvalidInput
from ragscale.index import Index
from ragscale.index.remote.wire import hit_from_json, passage_from_json
from ragscale.serve.app import Service
from ragscale.serve.limits import Limits
from ragscale.serve.searches import parse_search
from ragscale.types import Passage

QUERIES = ["who discovered rhodium", "  ", "camera lucida", "half \ud83d a pair"]
Client = Callable[..., httpx.AsyncClient]


def error(response: httpx.Response) -> tuple[int, str]:
    """Status and problem; every error has this shape."""
    body = response.json()
    assert list(body) == ["error"]
    assert set(body["error"]) == {"problem", "remedy"}
    assert body["error"]["problem"]
    return response.status_code, body["error"]["problem"]


def passages2string(results: list[dict[str, Any]]) -> str:
    """Reader of a list of hits, as in the clients of Search-R1 and RAG-R1."""
    text = ""
    for number, item in enumerate(results):
        title, *rest = item["document"]["contents"].split("\n")
        text += f"Doc {number + 1}(Title: {title}) " + "\n".join(rest) + "\n"
    return text


async def test_retrieve_speaks_the_dialect(client: Client, index: Index) -> None:
    body = {"queries": QUERIES[:3], "topk": 2, "return_scores": True}
    async with client() as http:
        answer = (await http.post("/retrieve", json=body)).json()
    assert list(answer) == ["result"]
    first, blank, third = answer["result"]
    assert blank == []
    for hits, found in zip((first, third), index.search([QUERIES[0], QUERIES[2]], 2), strict=True):
        assert [hit["document"]["id"] for hit in hits] == [hit.passage.id for hit in found]
        assert [hit["score"] for hit in hits] == [hit.score for hit in found]
        assert hits
        assert all(set(hit["document"]) == {"id", "contents"} for hit in hits)
    assert passages2string(first).startswith('Doc 1(Title: "Rhodium") Rhodium, symbol Rh')


@pytest.mark.parametrize("extra", [{}, {"topk": None}, {"topk": 0, "return_scores": False}, {"user": "x"}])
async def test_retrieve_without_scores_gives_bare_documents(client: Client, extra: dict[str, Any]) -> None:
    async with client() as http:
        response = await http.post("/retrieve", json={"queries": ["gold silver"], **extra})
    (documents,) = response.json()["result"]
    assert len(documents) == 3
    assert [set(document) for document in documents] == [{"id", "contents"}] * 3


async def test_a_large_request_is_cut_and_put_together_again(client: Client, index: Index) -> None:
    queries = [f"gold {i}" if i % 7 else "" for i in range(700)]
    async with client() as http:
        answer = (await http.post("/retrieve", json={"queries": queries, "topk": 1})).json()["result"]
    assert len(answer) == 700
    assert [bool(hits) for hits in answer] == [bool(query) for query in queries]
    assert index.load.batches >= 3


async def test_search_is_that_of_the_index(client: Client, index: Index) -> None:
    async with client() as http:
        answer = (await http.post("/v1/search", json={"queries": ["gold", "lead"], "k": 4, "where": None})).json()
        empty = (await http.post("/v1/search", json={"queries": []})).json()
    assert answer["fingerprint"] == index.fingerprint
    assert answer["how"] == "bm25"
    assert [[hit_from_json(hit) for hit in hits] for hits in answer["results"]] == index.search(["gold", "lead"], 4)
    assert empty["results"] == []


async def test_a_failed_search_of_a_batch_leaves_the_others_alone(client: Client, index: Index) -> None:
    searches = [{"queries": ["gold"], "k": 1}, {"queries": ["gold"], "k": 0}, {"queries": ["lead", "tin"]}, {"qs": []}]
    async with client() as http:
        first, second, third, fourth = (await http.post("/v1/batch", json={"searches": searches})).json()["results"]
    assert [[hit_from_json(hit) for hit in hits] for hits in first["hits"]] == index.search(["gold"], 1)
    assert [[hit_from_json(hit) for hit in hits] for hits in third["hits"]] == index.search(["lead", "tin"])
    assert (second["status"], second["error"]["problem"]) == (422, "k is 0")
    assert fourth["error"]["problem"] == "unknown parameter 'qs'"


@pytest.mark.parametrize(
    ("searches", "told"),
    [
        ([{"queries": ["a"], "k": 10}] * 5, "5 queries, 50 candidates and 0 pairs in all"),
        ([{"queries": ["a"], "k": 1, "depth": 20}] * 3, "3 queries, 60 candidates and 0 pairs in all"),
        ([{"queries": ["a"] * 3, "k": 1}, *[{"queries": []}] * 4], "7 queries, 3 candidates and 0 pairs in all"),
    ],
)
async def test_a_batch_that_is_too_large(client: Client, searches: list[dict[str, Any]], told: str) -> None:
    async with client(queries=6, hits=40, pairs=30) as http:
        refused = error(await http.post("/v1/batch", json={"searches": searches}))
    assert refused == (422, f"{told}, the limits are 6, 40 and 30")


async def test_a_batch_that_reranks_too_much(client: Client, make_reranker: Callable[..., Path]) -> None:
    reranker = str(make_reranker())
    search = {"queries": ["gold"], "k": 1, "rerank": reranker, "depth": 5}
    async with client(hits=40, pairs=10, rerankers=(reranker,)) as http:
        fits = await http.post("/v1/batch", json={"searches": [search] * 2})
        refused = error(await http.post("/v1/batch", json={"searches": [search] * 3}))
    assert [len(result["hits"][0]) for result in fits.json()["results"]] == [1, 1]
    assert refused == (422, "3 queries, 15 candidates and 15 pairs in all, the limits are 4,096, 40 and 10")


async def test_what_the_queue_never_takes_is_refused_for_good(client: Client) -> None:
    asked = {"queries": ["gold"] * 5}
    async with client(queue=4) as http:
        assert error(await http.post("/v1/search", json=asked)) == (422, "5 queries, the limit is 4")
        batch = error(await http.post("/v1/batch", json={"searches": [{"queries": ["gold"] * 3}] * 2}))
        assert (await http.get("/v1/index")).json()["limits"]["queries"] == 4
    assert (batch[0], batch[1][:9]) == (422, "6 queries")


async def test_passages_by_id(client: Client, index: Index) -> None:
    async with client(ids=2) as http:
        ids = ["element-gold", "element-lead"]
        found = (await http.get("/v1/passages", params={"id": ids})).json()["passages"]
        absent = error(await http.get("/v1/passages", params={"id": "no/such ö"}))
        many = error(await http.get("/v1/passages", params={"id": ["a", "b", "c"]}))
        none = error(await http.get("/v1/passages"))
    assert [passage_from_json(passage) for passage in found] == [index.passage(identity) for identity in ids]
    assert absent == (404, "no passage 'no/such ö' among 415")
    assert (many, none) == ((422, "3 ids"), (422, "0 ids"))


async def test_names_that_the_index_knows(client: Client, index: Index) -> None:
    names = ["nobody", "Gold", "element-tin", "Gold", "", "\ud800"]
    async with client(names=6) as http:
        answer = (await http.post("/v1/known", content=json.dumps({"names": names}))).json()
        none = (await http.post("/v1/known", json={"names": []})).json()
        refused = [
            error(await http.post("/v1/known", json=body))
            for body in ({"names": ["a"] * 7}, {"names": "Gold"}, {"names": [1]}, {}, {"names": [], "where": "x"})
        ]
        limits = (await http.get("/v1/index")).json()["limits"]
    assert answer == {"fingerprint": index.fingerprint, "known": ["Gold", "element-tin"]}
    assert set(answer["known"]) == index.known(names)
    assert none["known"] == []
    assert limits["names"] == 6
    wrong = (422, "names is no list of texts")
    assert refused == [(422, "7 names, the limit is 6"), wrong, wrong, wrong, (422, "unknown parameter 'where'")]


async def test_names_wait_in_the_queue_as_searches_do(client: Client, index: Index) -> None:
    """One look-up at a time; those beyond the queue are sent away."""
    inside = most = 0
    known = index.known

    def slow(names: Collection[str]) -> set[str]:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.05)
        inside -= 1
        return known(names)

    index.known = slow  # type: ignore[method-assign]
    async with client(queue=3) as http:
        replies = await asyncio.gather(*(http.post("/v1/known", json={"names": ["Gold"]}) for _ in range(5)))
    assert sorted(reply.status_code for reply in replies) == [200, 200, 200, 429, 429]
    assert most == 1


async def test_passages_are_of_one_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus, out = tmp_path / "corpus.jsonl", tmp_path / "index"

    def write(text: str) -> Path:
        corpus.write_text(
            "".join(json.dumps({"id": name, "text": f"{name} {text}"}) + "\n" for name in ("tin", "gold"))
        )
        return corpus

    Index.build([write("is old")], out, embedder=None).close()
    with Index.open(out) as index:

        def overtaken(identity: str) -> Passage:
            found = Index.passage(index, identity)
            index.reload()  # as a signal has a thread do at any moment
            return found

        monkeypatch.setattr(index, "passage", overtaken)
        transport = httpx.ASGITransport(Service(index, limits=Limits()).app())
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            with Index.open(out) as writer:
                writer.update([write("is new")])
            answer = (await http.get("/v1/passages", params={"id": ["tin", "gold"]})).json()
        assert answer["fingerprint"] == index.fingerprint
    assert [passage["text"] for passage in answer["passages"]] == ["tin is new", "gold is new"]


async def test_an_index_in_the_working_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with Index.open(Path(".")) as index:
        transport = httpx.ASGITransport(Service(index, limits=Limits()).app())
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            assert (await http.get("/v1/index")).json()["name"] == folder.name
            refused = error(await http.post("/v1/search", json={"queries": ["gold"], "mmr": 1.5}))
    assert refused == (422, "mmr 1.5 is not between 0 and 1")


async def test_about(client: Client, index: Index) -> None:
    async with client() as http:
        about = (await http.get("/v1/index")).json()
        health = await http.get("/health")
    assert (about["passages"], about["how"], about["fingerprint"]) == (415, "bm25", index.fingerprint)
    assert about["limits"]["k"] == 1000
    assert str(index.path) not in json.dumps(about)
    assert (health.status_code, health.json()) == (200, {"status": "ok"})


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"queries": "gold"}, 'queries is "gold", not a list'),
    ({}, "queries is null"),
    ({"queries": ["a", 5]}, "query 1 is 5, not text"),
    ({"queries": ["a"] * 6}, "6 queries, the limit is 5"),
    ({"queries": ["a" * 21]}, "query 0 has 21 characters, the limit is 20"),
    ({"queries": ["a"], "k": 11}, "k is 11"),
    ({"queries": ["a"], "k": True}, "k is true"),
    ({"queries": ["a"], "k": "3"}, 'k is "3"'),
    ({"queries": ["a"], "k": 1e400}, "k is Infinity"),
    ({"queries": ["a"] * 5, "k": 10}, "5 queries with 10 candidates each, the limit is 40 in all"),
    ({"queries": ["a"], "depth": 41}, "1 query with 41 candidates each"),
    ({"queries": [" "]}, "query ' ' is blank"),
    ({"queries": ["a"], "how": "dense"}, "dense search needs vectors"),
    ({"queries": ["a"], "how": 7}, "unknown kind of search 7"),
    ({"queries": ["a"], "K": 7}, "unknown parameter 'K'"),
    ({"queries": ["a"], "where": "year >"}, "filter 'year >' cannot be read"),
    ({"queries": ["a"], "where": 'x = "\ud800"'}, "filter 'x = \"\\ud800\"' holds half a character"),
    ({"queries": ["a"], "where": "x" * 21}, "a filter of 21 characters"),
    ({"queries": ["a"], "rerank": "/etc"}, 'the reranker "/etc" is not served here'),
    ({"queries": ["a"], "rerank": []}, "the reranker [] is not served here"),
    ({"queries": ["a"], "rerank": {}}, "the reranker {} is not served here"),
    ({"queries": ["a"], "mmr": 3}, "mmr 3 is not between"),
]


@pytest.mark.parametrize(("body", "problem"), REFUSED, ids=lambda value: str(value)[:40])
async def test_refused_searches(client: Client, index: Index, body: dict[str, Any], problem: str) -> None:
    async with client(queries=5, characters=20, k=10, hits=40) as http:
        status, told = error(await http.post("/v1/search", content=json.dumps(body)))
    assert (status, told[: len(problem)]) == (422, problem)
    assert str(index.path) not in told


async def test_a_reranker_that_is_no_name_spares_the_company(client: Client) -> None:
    async with client() as http:
        searches = [{"queries": ["gold"], "rerank": ["a"]}, {"queries": ["gold"], "k": 1}]
        refused, found = (await http.post("/v1/batch", json={"searches": searches})).json()["results"]
    assert (refused["status"], refused["error"]["problem"]) == (422, 'the reranker ["a"] is not served here')
    assert found["hits"][0][0]["id"] == "element-gold"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[1]", b"null", b"[" * 100_000, b"1" * 5000])
async def test_what_is_no_json_object(client: Client, content: bytes) -> None:
    async with client() as http:
        for path in ("/retrieve", "/v1/search", "/v1/batch"):
            assert error(await http.post(path, content=content))[0] == 400


async def test_unknown_paths_and_methods(client: Client) -> None:
    async with client() as http:
        assert error(await http.get("/nope")) == (404, "GET /nope: Not Found")
        response = await http.get("/retrieve")
        assert error(response)[0] == 405
        assert response.headers["allow"] == "POST"
        metrics = (await http.get("/metrics")).text
    assert 'ragscale_requests_total{endpoint="other",status="404"} 1.0' in metrics
    assert 'ragscale_requests_total{endpoint="/retrieve",status="405"} 1.0' in metrics


async def test_metrics_count_what_was_done(client: Client) -> None:
    async with client() as http:
        await http.post("/v1/search", json={"queries": ["gold", "tin"]})
        await http.post("/retrieve", json={"queries": ["gold"]})
        response = await http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = response.text.splitlines()
    assert "ragscale_queries_total 3.0" in lines
    assert "ragscale_queries_in_flight 0.0" in lines
    assert "ragscale_queue_depth 0.0" in lines
    assert "ragscale_batches_total 2.0" in lines
    assert 'ragscale_request_seconds_count{endpoint="/v1/search"} 1.0' in lines


async def test_queries_that_failed_are_not_counted_as_answered(client: Client) -> None:
    searches = [
        {"queries": ["gold", "tin"]},
        {"queries": ["gold", " "]},
        {"queries": ["gold"], "k": 0},
        {"queries": []},
    ]
    async with client() as http:
        await http.post("/v1/batch", json={"searches": searches})
        await http.post("/v1/search", json={"queries": []})
        metrics = (await http.get("/metrics")).text.splitlines()
    assert "ragscale_queries_total 2.0" in metrics


async def test_a_server_error_tells_nothing_of_the_inside(client: Client, index: Index, monkeypatch: Any) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(index, "asearch", broken)
    transport = client()._transport
    transport.raise_app_exceptions = False  # type: ignore[attr-defined]
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        status, problem = error(await http.post("/v1/search", json={"queries": ["gold"]}))
    assert (status, problem) == (500, "the server failed (ZeroDivisionError)")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["queries", "k", "how", "searches"]), inner),
    max_leaves=12,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "queries": st.lists(st.text(max_size=10)) | JSON,
        "searches": st.lists(st.fixed_dictionaries({"queries": st.lists(st.text(max_size=5)) | JSON})) | JSON,
        **dict.fromkeys(("k", "topk", "how", "where", "rerank", "mmr", "depth", "weight", "return_scores"), JSON),
    },
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=FIELDS, path=st.sampled_from(["/retrieve", "/v1/search", "/v1/batch"]))
async def test_any_json_is_answered_or_refused(client: Client, body: dict[str, Any], path: str) -> None:
    async with client() as http:
        response = await http.post(path, content=json.dumps(body))
    assert response.status_code in (200, 422)
    if response.status_code == 422:
        error(response)


def test_a_search_that_looks_at_all_its_queries_together_is_bounded() -> None:
    """It is worked through as one piece, so that nobody else gets a turn meanwhile."""
    limits = Limits(characters=100)
    body: dict[str, Any] = {"queries": ["x" * 100] * 17, "mmr": 0.5}
    assert len(list(parse_search(body, limits, k=10).slices())) == 1
    with pytest.raises(InvalidInput, match=r"1,700 characters with mmr_union.* the limit is 1,600"):
        parse_search({**body, "mmr_union": True}, limits, k=10)
    fits = parse_search({**body, "mmr_union": True, "queries": ["x" * 100] * 16}, limits, k=10)
    assert [len(part) for part in fits.slices()] == [16]


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        ({"queries": ["x" * 4000] * 9, "k": 3}, [4, 4, 1]),
        ({"queries": ["gold"] * 600, "k": 3}, [256, 256, 88]),
        ({"queries": ["gold"] * 9, "k": 1000}, [4, 4, 1]),
        ({"queries": ["gold"] * 4, "k": 3, "rerank": "m"}, [3, 1]),
        ({"queries": ["gold"] * 3, "k": 3, "rerank": "m", "depth": 10}, [3]),
        ({"queries": ["gold"] * 3, "k": 3, "rerank": "m", "depth": "x"}, [3]),
        ({"queries": ["gold"] * 300, "k": 3, "weight": 0.5}, [256, 44]),
        ({"queries": []}, [0]),
    ],
)
def test_searches_are_sliced_by_their_work(body: dict[str, Any], parts: list[int]) -> None:
    search = parse_search(body, Limits(), k=10, rerankers=["m"])
    assert [len(part) for part in search.slices()] == parts
    assert [query for part in search.slices() for query in part] == body["queries"]


def test_rerankers_are_those_of_the_operator() -> None:
    limits = Limits(pairs=100, hits=1000)
    body = {"queries": ["a", "b"], "rerank": "mine", "depth": 50}
    assert parse_search(body, limits, k=10, rerankers=["mine"]).options == {"rerank": "mine", "depth": 50}
    for change, problem in (
        ({"rerank": "other"}, "other.* is not served here"),
        ({"depth": 51}, "51 candidates each, the limit is 100"),
        ({"queries": ["a"] * 3, "depth": None}, "3 queries with 50 candidates each"),
    ):
        with pytest.raises(InvalidInput, match=problem):
            parse_search({**body, **change}, limits, k=10, rerankers=["mine"])
