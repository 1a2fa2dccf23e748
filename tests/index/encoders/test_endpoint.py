"""Embeddings over HTTP: a server on this machine that answers with a model's vectors, or misbehaves."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ragscale.errors import EndpointError, IndexMismatch, InvalidInput, ModelError, ModelFileError
from ragscale.index import Index
from ragscale.index.encoders.embedder import Embedder
from ragscale.index.encoders.endpoint import Endpoint

Status = int
TEXTS = [f"text number {i} " + "word " * (i % 7) for i in range(50)]


class Server:
    """Fake embedding server: the models that it serves, and the requests that it got."""

    def __init__(self, model: Path) -> None:
        self.embedder = Embedder.for_documents(model, dtype="float32", query_prompt="", document_prompt="")
        self.models: list[dict[str, Any]] = [{"id": "small", "root": "org/small", "max_model_len": 64}]
        self.longest = 10_000
        self.failures: list[Status] = []
        self.fails: Callable[[list[str]], bool] = lambda texts: False
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.spoil: Callable[[dict[str, Any]], Any] = lambda answer: answer
        self.lock = threading.Lock()

    def embed(self, body: dict[str, Any]) -> tuple[Status, Any]:
        with self.lock:
            self.requests.append(body)
            if self.failures:
                return self.failures.pop(0), {"error": {"message": "not now"}}
            if self.fails(body["input"]):
                return 500, {"error": {"message": "out of order"}}
            if max(map(len, body["input"])) > self.longest:
                return 400, {"error": {"message": "maximum context length exceeded"}}
            vectors = self.embedder.encode_documents(body["input"]) * 3
        rows = [{"index": i, "embedding": vector.tolist()} for i, vector in enumerate(vectors)]
        return 200, self.spoil({"data": rows[::-1], "model": body["model"]})  # order is by index

    def asked(self, word: str) -> int:
        """Requests for texts with this word."""
        return sum(any(word in text for text in body["input"]) for body in self.requests)

    def answer(self, path: str, body: dict[str, Any] | None) -> tuple[Status, Any]:
        if path == "/v1/models":
            return 200, {"data": self.models}
        return self.embed(body or {}) if path == "/v1/embeddings" else (404, {})


@pytest.fixture
def server(model: Path) -> Iterator[tuple[Server, str]]:
    state = Server(model)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(None)

        def do_POST(self) -> None:
            self.reply(json.loads(self.rfile.read(int(self.headers["content-length"]))))

        def reply(self, body: dict[str, Any] | None) -> None:
            state.keys.append(self.headers["authorization"])
            status, answer = state.answer(self.path, body)
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield state, f"http://127.0.0.1:{http.server_address[1]}/v1"
        http.shutdown()
        thread.join(10)


def test_vectors_are_those_of_the_model(server: tuple[Server, str], monkeypatch: pytest.MonkeyPatch) -> None:
    state, url = server
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with Embedder.for_documents(f"endpoint:{url}#small", document_prompt="text: ") as embedder:
        info = embedder.info
        assert (info.name, info.dimension, info.max_tokens) == (f"endpoint:{url}#small", 32, 64)
        assert (info.revision, len(info.probe.split(","))) == ("org/small", 32)
        found = embedder.encode_documents(TEXTS, batch_size=8)
    np.testing.assert_allclose(found, state.embedder.encode_documents([f"text: {t}" for t in TEXTS]), atol=1e-5)
    asked = state.requests[1:]  # after the probe
    assert sorted(len(body["input"]) for body in asked) == [2, 8, 8, 8, 8, 8, 8]
    assert {body["model"] for body in asked} == {"small"}
    assert set(state.keys) == {"Bearer secret"}


def test_an_index_over_an_endpoint(server: tuple[Server, str], corpus: Path, tmp_path: Path) -> None:
    _, url = server
    with Index.build([corpus], tmp_path / "index", embedder=f"endpoint:{url}") as index:
        found = index.search(["Paris and the river Seine"], k=12, how="dense")[0]
        assert len(found) == 12
        assert "secret" not in (tmp_path / "index" / "manifest.json").read_text()
    moved = f"endpoint:{url.replace('127.0.0.1', 'localhost')}#small"
    with Index.open(tmp_path / "index", embedder=moved) as index:
        assert index.search(["Paris and the river Seine"], k=12, how="dense")[0] == found
    with pytest.raises(IndexMismatch, match="was built with endpoint:"):
        Index.open(tmp_path / "index", embedder="default")


def test_another_model_behind_the_same_name_is_refused(
    server: tuple[Server, str], make_model: Callable[..., Path]
) -> None:
    state, url = server
    info = Embedder.for_documents(f"endpoint:{url}").info
    Embedder.for_queries(info).close()
    state.embedder = Embedder.for_documents(make_model(5), dtype="float32")
    with pytest.raises(IndexMismatch, match=r"embeds with small otherwise than .* another vector"):
        Embedder.for_queries(info)
    state.embedder = Embedder.for_documents(make_model(5, hidden=16), dtype="float32")
    with pytest.raises(IndexMismatch, match="of 16 numbers, then 32"):
        Embedder.for_queries(info)


def test_a_servers_noise_is_no_other_model(server: tuple[Server, str]) -> None:
    info = Embedder.for_documents(f"endpoint:{server[1]}").info
    numbers = [float(number) for number in info.probe.split(",")]
    moved = replace(info, probe=",".join(str(number + 0.003 * (-1) ** i) for i, number in enumerate(numbers)))
    assert info.same_as(moved)
    assert moved.same_as(info)
    assert not info.same_as(replace(info, probe=",".join(str(-number) for number in numbers)))
    assert not info.same_as(replace(info, probe=""))
    assert not info.same_as(replace(info, probe=info.probe.rpartition(",")[0]))
    assert not info.same_as(replace(moved, revision="other"))


def test_more_passages_come_from_the_same_model(
    server: tuple[Server, str], corpus: Path, tmp_path: Path, make_model: Callable[..., Path]
) -> None:
    state, url = server
    more = tmp_path / "more.jsonl"
    more.write_text('{"id": "new", "title": "", "text": "A lighthouse on a cliff."}\n')
    with Index.build([corpus], tmp_path / "index", embedder=f"endpoint:{url}") as index:
        with pytest.raises(InvalidInput, match="backend 'onnx' for an endpoint"):
            index.add([more], backend="onnx")
        index.add([more])
        assert index.search(["A lighthouse on a cliff."], k=1, how="dense")[0][0].passage.id == "new"
        state.embedder = Embedder.for_documents(make_model(5), dtype="float32")
        more.write_text('{"id": "newer", "title": "", "text": "A lamp."}\n')
        with pytest.raises(IndexMismatch, match="another vector"):
            index.add([more])


def test_failures_are_retried(server: tuple[Server, str]) -> None:
    state, url = server
    embedder = Embedder.for_documents(f"endpoint:{url}")
    state.failures = [500, 503]
    assert embedder.encode_queries(["again"]).shape == (1, 32)
    assert len(state.requests) == 4
    state.failures = [401]
    with pytest.raises(EndpointError, match="refused the key"):
        embedder.encode_queries(["again"])
    assert len(state.requests) == 5
    state.failures = [422]
    with pytest.raises(ModelError, match=r"refused the request .* not now"):
        embedder.encode_queries(["again"])


def searched_together(index: Index, state: Server, searches: Sequence[tuple[str, dict[str, Any]]]) -> list[Any]:
    """Results or errors of searches that become one batch: they wait while the query "first" is embedded."""
    index.search(["loaded"], how="dense")
    with ThreadPoolExecutor(len(searches) + 1) as pool:
        with state.lock:
            before = index.load.batches
            first = pool.submit(index.search, ["first"], 1, "dense")
            while index.load.batches == before:
                time.sleep(0.001)
            found = [pool.submit(index.search, [query], 3, **options) for query, options in searches]
            while index.load.waiting < len(searches):
                time.sleep(0.001)
        assert first.result(60)
        return [future.exception(60) or future.result() for future in found]


def test_an_endpoint_that_fails_is_tried_once_for_all_searches_that_wait(
    server: tuple[Server, str], corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ragscale.index.encoders.endpoint._ATTEMPTS", 2)
    state, url = server
    searches: list[tuple[str, dict[str, Any]]] = [(f"query {i}", {"how": "hybrid"}) for i in range(6)]
    searches += [("Paris", {"how": "bm25"}), ("Paris", {"how": "bm25", "rerank": tmp_path})]
    with Index.build([corpus], tmp_path / "index", embedder=f"endpoint:{url}") as index:
        state.fails = lambda texts: "query" in texts[0] or state.asked("query") > 0
        *errors, found, bad = searched_together(index, state, searches)
        assert state.asked("query") == 2
        assert {(type(error), error.problem) for error in errors} == {
            (EndpointError, f"{url} failed (HTTP 500): out of order")
        }
        assert found == index.search(["Paris"], 3, "bm25")
        assert isinstance(bad, ModelFileError)
    with Index.open(tmp_path / "index") as index:  # the embedder cannot be loaded now
        wanted = [index._check([query], 3, "dense", {}) for query in ("one", "two")]
        before = len(state.requests)
        assert [type(error) for error in index._current.run(wanted)] == [EndpointError] * 2
        assert len(state.requests) - before == 3


def test_a_query_that_breaks_an_endpoint_does_not_spoil_the_others(
    server: tuple[Server, str], corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ragscale.index.encoders.endpoint._ATTEMPTS", 1)
    state, url = server
    state.fails = lambda texts: any("poison" in text for text in texts)
    with Index.build([corpus], tmp_path / "index", embedder=f"endpoint:{url}") as index:
        one, poison, other = searched_together(
            index, state, [(query, {"how": "dense"}) for query in ("Paris", "poison", "radium")]
        )
        assert [one, other] == [index.search([query], 3, "dense") for query in ("Paris", "radium")]
    assert type(poison) is ModelError


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
def test_a_model_that_is_named_needs_no_list(
    server: tuple[Server, str], status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, url = server
    answer = state.answer
    monkeypatch.setattr(
        state, "answer", lambda path, body: (status, {}) if path == "/v1/models" else answer(path, body)
    )
    with Embedder.for_documents(f"endpoint:{url}#small") as embedder:
        assert embedder.info.dimension == 32
    with pytest.raises(ModelError):
        Embedder.for_documents(f"endpoint:{url}")


def test_long_vectors_are_asked_for_in_smaller_batches(
    server: tuple[Server, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no answer is larger than what is read."""
    monkeypatch.setattr("ragscale.index.encoders.endpoint._MOST_NUMBERS", 100)
    state, url = server
    with Embedder.for_documents(f"endpoint:{url}#small") as embedder:
        found = embedder.encode_documents(TEXTS, batch_size=64)
    np.testing.assert_allclose(found, state.embedder.encode_documents(TEXTS), atol=1e-5)
    assert {len(body["input"]) for body in state.requests[1:]} == {3, 2}


def test_texts_that_are_too_long_are_cut(server: tuple[Server, str]) -> None:
    state, url = server
    embedder = Embedder.for_documents(f"endpoint:{url}")
    state.longest = 40
    texts = ["short", "long " * 20, "also short"]
    found = embedder.encode_documents(texts)
    wanted = state.embedder.encode_documents(["short", ("long " * 20)[:25], "also short"])
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_an_endpoint_that_calls_everything_too_long(server: tuple[Server, str]) -> None:
    state, url = server
    embedder = Embedder.for_documents(f"endpoint:{url}")
    state.longest = 0
    with pytest.raises(ModelError, match="maximum context length exceeded, even the text 'T'") as caught:
        embedder.encode_documents(["Too long?"])
    assert "this endpoint takes none" in caught.value.remedy


def spoiled(change: Callable[[int, list[float]], Any]) -> Callable[[dict[str, Any]], Any]:
    """Embeddings changed by their index."""

    def spoil(answer: dict[str, Any]) -> dict[str, Any]:
        return {"data": [{**row, "embedding": change(row["index"], row["embedding"])} for row in answer["data"]]}

    return spoil


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no data": (lambda answer: [], "embeddings in an unknown form"),
    "no embedding": (lambda answer: {"data": [{"index": 0}, {"index": 1}]}, "embeddings in an unknown form"),
    "text": (spoiled(lambda i, row: "text"), "embeddings in an unknown form"),
    "huge": (spoiled(lambda i, row: [10**400, *row[1:]]), "embeddings in an unknown form"),
    "one too few": (lambda answer: {"data": answer["data"][:-1]}, "1 embedding for 2 texts"),
    "no index": (lambda answer: {"data": [{"embedding": [1.0]}] * 2}, "embeddings in an unknown form"),
    "one index": (
        lambda a: {"data": [{**row, "index": 0} for row in a["data"]]},
        "embeddings of the indices 0, 0 for 2 texts",
    ),
    "shifted": (
        lambda a: {"data": [{**row, "index": row["index"] + 1} for row in a["data"]]},
        "embeddings of the indices 1, 2 for 2 texts",
    ),
    "empty": (spoiled(lambda i, row: row if i else []), "an empty list in embedding 0"),
    "short": (spoiled(lambda i, row: row[:-1]), "31 numbers in embedding 0, not 32"),
    "ragged": (spoiled(lambda i, row: row[i:]), "31 numbers in embedding 1, not 32"),
    "nested": (spoiled(lambda i, row: [row]), "no plain list of numbers in embedding 0"),
    "null": (spoiled(lambda i, row: None), "no plain list of numbers in embedding 0"),
    "NaN": (spoiled(lambda i, row: [float("nan")] * 32 if i else row), "NaN in embedding 1"),
    "beyond": (spoiled(lambda i, row: [*row[:-1], 1e39]), "a number beyond float32 in embedding 0"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_broken_answers(server: tuple[Server, str], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragscale.index.encoders.endpoint._ATTEMPTS", 1)
    spoil, said = BROKEN[name]
    state, url = server
    with Embedder.for_documents(f"endpoint:{url}") as embedder:
        state.spoil = spoil
        with pytest.raises(ModelError, match=f"answered with {said}"):
            embedder.encode_queries(["one", "two"])


@pytest.mark.parametrize(
    ("row", "said"), [([], "an empty list in embedding 0"), ([[1.0, 2.0]], "no plain list of numbers in embedding 0")]
)
def test_broken_from_the_start(
    server: tuple[Server, str], row: list[Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ragscale.index.encoders.endpoint._ATTEMPTS", 1)
    state, url = server
    state.spoil = spoiled(lambda i, _: row)
    with pytest.raises(EndpointError, match=f"answered with {said}"):
        Embedder.for_documents(f"endpoint:{url}")


@pytest.mark.parametrize(("factor", "norm"), [(0.0, "0"), (1e30, "inf")])
def test_vectors_that_point_nowhere(
    server: tuple[Server, str], corpus: Path, tmp_path: Path, factor: float, norm: str
) -> None:
    state, url = server

    def spoil(answer: dict[str, Any]) -> Any:
        rows = [{**row, "embedding": [factor * value for value in row["embedding"]]} for row in answer["data"]]
        return {"data": rows}

    with Index.build([corpus], tmp_path / "index", embedder=f"endpoint:{url}") as index:
        index.search(["loaded"], how="dense")
        state.spoil, long = spoil, "radium " * 20
        with pytest.raises(ModelError, match=rf"the vector of 'radium .{{40,60}}' has length {norm}\b"):
            index.search([long], how="dense")
        assert index.search(["Paris"], how="bm25")[0]
        state.spoil = lambda answer: spoil(answer) if len(answer["data"]) > 1 else answer
        with pytest.raises(ModelError, match=f"has length {norm}"):
            Index.build([corpus], tmp_path / "other", embedder=f"endpoint:{url}")
    state.spoil = spoil
    with pytest.raises(ModelError, match=rf"the vector of 'The quick brown fox .* has length {norm}\b"):
        Embedder.for_documents(f"endpoint:{url}")


def test_which_model(server: tuple[Server, str]) -> None:
    state, url = server
    state.models = []
    assert Embedder.for_documents(f"endpoint:{url}#small").info.revision == "small"
    state.models = [{"id": "one"}, {"id": "two"}]
    with pytest.raises(EndpointError, match="lists 2 models") as caught:
        Embedder.for_documents(f"endpoint:{url}")
    assert "#MODEL" in caught.value.remedy


def test_what_does_not_fit_an_endpoint() -> None:
    for options in ({"dtype": "bfloat16"}, {"backend": "onnx"}, {"devices": ["cpu"]}):
        with pytest.raises(InvalidInput, match="for an endpoint"):
            Embedder.for_documents("endpoint:http://127.0.0.1:9/v1#m", **options)  # type: ignore[arg-type]
    for url in ("somewhere", "http://[::1", "http://localhost:abc/v1#m", "http://localhost:999999/v1"):
        with pytest.raises(InvalidInput, match="not a URL"):
            Embedder.for_documents(f"endpoint:{url}")
    with pytest.raises(EndpointError, match="No model server"):
        Embedder.for_documents("endpoint:http://127.0.0.1:9/v1#m")


async def test_beside_a_running_loop(server: tuple[Server, str]) -> None:
    endpoint = Endpoint(f"endpoint:{server[1]}#small")
    assert endpoint.encode(["x"], prompt="", query=True, batch_size=4).shape == (1, 32)
    endpoint.close()
    endpoint.close()
