"""Objects that are given to another process: agents, indexes, retrievers, answers and errors, through real pools."""

from __future__ import annotations

import inspect
import os
import pickle
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from fake_endpoint import FakeEndpoint, Vllm
from langgraph.checkpoint.memory import InMemorySaver
from smallworld import QUESTIONS, build, script, serving

import ragscale as rs
from ragscale.errors import BadDocument, BudgetExceeded, InvalidInput, ModelError, RagscaleError
from ragscale.index import Index
from ragscale.index.remote.index import RemoteIndex
from ragscale.llm.prices import Price
from ragscale.llm.scripted import ScriptedLLM
from ragscale.modes import Chain
from ragscale.types import Spend

ASKED = [row["question"] for row in QUESTIONS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index."""
    return build(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """A real process that inherits nothing."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        yield pool


def agent(index: Any, llm: Any = None, **options: Any) -> rs.Agent:
    return rs.Agent(index, llm or ScriptedLLM(script), Chain(steps=1), rs.Budget(tokens=4000), **options)


def test_an_agent_answers_in_another_process(folder: Path, pool: ProcessPoolExecutor) -> None:
    mine = agent(folder, seed=3)
    theirs = list(pool.map(mine.ask, ASKED))
    assert [answer.text for answer in theirs] == ["Warsaw, Poland", "The Seine", "no"]
    for answer, question in zip(theirs, ASKED, strict=True):
        own = mine.ask(question)
        assert (answer.citations, answer.passages, answer.limits) == (own.citations, own.passages, own.limits)
        assert [event.move for event in answer.trace] == [event.move for event in own.trace]


def test_an_agent_answers_in_joblibs_processes(folder: Path) -> None:
    joblib = pytest.importorskip("joblib")
    mine = agent(folder)
    answers = joblib.Parallel(n_jobs=2)(joblib.delayed(mine.ask)(question) for question in ASKED)
    assert [answer.text for answer in answers] == ["Warsaw, Poland", "The Seine", "no"]


@pytest.mark.slow
def test_an_agent_answers_in_rays_workers(folder: Path) -> None:
    """`pytest -m slow tests/test_processes.py`; a minute."""
    ray = pytest.importorskip("ray")
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    ray.init(num_cpus=1, include_dashboard=False, configure_logging=False, runtime_env={"env_vars": path})
    try:
        asked = [ray.remote(rs.Agent.ask).remote(agent(folder), question) for question in ASKED]
        assert [answer.text for answer in ray.get(asked)] == ["Warsaw, Poland", "The Seine", "no"]
    finally:
        ray.shutdown()


def test_a_model_that_was_named_goes_by_its_name(folder: Path, pool: ProcessPoolExecutor) -> None:
    """Its clients, with their locks and sockets, stay here."""
    with FakeEndpoint(Vllm()) as endpoint:
        mine = rs.Agent(folder, f"openai:{endpoint.url}#org/model", "once")
        assert mine.ask(ASKED[0]).text
        before = len(endpoint.sent("/chat/completions"))
        answer = pool.submit(mine.ask, ASKED[0]).result()
        assert (answer.text, answer.stop_reason) == (mine.ask(ASKED[0]).text, "answered")
        assert len(endpoint.sent("/chat/completions")) > before


def test_an_agent_keeps_what_it_was_made_of(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each argument goes along; paths are those of this working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ragscale.agent.load", lambda spec: ScriptedLLM(script) if isinstance(spec, str) else spec)
    given: dict[str, Any] = {
        "index": os.path.relpath(folder), "llm": "openai:http://localhost:1/v1#m", "mode": "once(k=2)",
        "budget": rs.Budget(rounds=2), "seed": 7, "how": "bm25", "about": "a manual", "checkpoints": "runs.sqlite",
        "keep_texts": False, "prices": "0.80/h",
    }  # fmt: skip
    assert set(given) == set(inspect.signature(rs.Agent).parameters), "a new argument must go along too"
    sent = pickle.dumps(rs.Agent(**given))
    monkeypatch.chdir("/")
    again = pickle.loads(sent)
    assert again.index.path.samefile(folder)
    assert (again.mode, again.budget) == (rs.modes.Once(k=2), rs.Budget(rounds=2))
    assert (again.seed, again.how, again.about, again._given[0]) == (7, "bm25", "a manual", given["llm"])
    assert not again.keep_texts
    assert again.price == Price(hour=0.8)
    assert again.ask(ASKED[0], thread_id="t").text == "Warsaw, Poland"
    assert (tmp_path / "runs.sqlite").exists()


class Locked(ScriptedLLM):
    """A model that holds what no process can give to another one, as a client does."""

    def __init__(self) -> None:
        super().__init__(script)
        self.client = threading.Lock()


@pytest.mark.parametrize("llm", [Locked(), ScriptedLLM(lambda messages, call: "x")], ids=["lock", "lambda"])
def test_a_model_that_cannot_go_along_is_named_with_the_remedy(folder: Path, llm: Any) -> None:
    with pytest.raises(
        RagscaleError, match=r"the agent's model, a (ScriptedLLM|Locked), cannot be given.* a specification"
    ):
        pickle.dumps(agent(folder, llm))


def test_a_saver_cannot_go_along(folder: Path) -> None:
    with pytest.raises(RagscaleError, match=r"InMemorySaver stays in its process. Give the path of an SQLite file"):
        pickle.dumps(agent(folder, checkpoints=InMemorySaver()))


def test_an_index_of_another_kind_is_named_where_it_cannot_go_along(folder: Path) -> None:
    class Own:
        asearch = passage = close = how = None

    # Local classes are no thing that another process could import.
    with pytest.raises(RagscaleError, match=r"the agent's index, a Own, cannot be given.* the folder of an index"):
        pickle.dumps(agent(Own()))


def test_indexes_search_in_another_process(folder: Path, pool: ProcessPoolExecutor) -> None:
    with Index.open(folder) as index:
        plain = index.search(["Paris"], 2)
        assert pool.submit(index.search, ["Paris"], 2).result() == plain
        view = index.searching(depth=7)
        assert pool.submit(view.search, ["Paris"], 2).result() == plain
        assert repr(pickle.loads(pickle.dumps(view))) == repr(view)
        found = pool.submit(index.as_retriever(k=2).invoke, "Paris").result()
        assert [document.id for document in found] == [hit.passage.id for hit in plain[0]]
        assert pool.submit(len, index).result() == len(index)


def test_an_index_keeps_how_it_was_opened(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    monkeypatch.setattr(Index, "__init__", lambda self, path, **settings: made.append((path, settings)))
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    for source, expected in (("model", tmp_path / "model"), (Path("model"), tmp_path / "model"), ("hub", "hub")):
        index = Index.__new__(Index)
        index.path, index._source, index._backend, index._gpus = Path("there"), source, "onnx", "shard"
        pickle.loads(pickle.dumps(index))
        assert made.pop() == (tmp_path / "there", {"embedder": expected, "backend": "onnx", "gpus": "shard"})


def test_a_remote_index_searches_in_another_process(
    folder: Path, pool: ProcessPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Index.open(folder) as index, serving(index) as url:
        remote = RemoteIndex(url, token_env="OTHER_TOKEN", timeout=9.0, attempts=3)
        assert pool.submit(remote.search, ["Paris"], 2).result() == remote.search(["Paris"], 2)
        again = pickle.loads(pickle.dumps(remote))
        assert (again.url, again._again.keywords) == (
            remote.url,
            {"token_env": "OTHER_TOKEN", "timeout": 9, "attempts": 3},
        )
        assert [answer.text for answer in pool.map(agent(url).ask, ASKED)] == ["Warsaw, Poland", "The Seine", "no"]


ERRORS = [
    RagscaleError("a problem", "A remedy."),
    InvalidInput("k 0, the least is 1"),
    BudgetExceeded("tokens", 10, 12),
    BadDocument("a.csv:3", "is no text", "Leave it out."),
    ModelError("busy", "Wait.", retryable=True, spend=Spend(llm_calls=1)),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_come_back_whole(error: RagscaleError, pool: ProcessPoolExecutor) -> None:
    """A pool whose worker raises what cannot be read breaks, or waits for ever."""
    with pytest.raises(type(error)) as caught:
        pool.submit(fail, error).result(30)
    assert (str(caught.value), vars(caught.value)) == (str(error), vars(error))


def fail(error: Exception) -> None:
    raise error
