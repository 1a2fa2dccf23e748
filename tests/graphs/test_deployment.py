"""What `langgraph.json` names can be loaded and run as LangGraph's server does, and the drawings are current."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph.state import CompiledStateGraph
from smallworld import build, script

from ragscale import modes
from ragscale.cli.modes import draw
from ragscale.errors import InvalidInput
from ragscale.llm.scripted import ScriptedLLM

ROOT = Path(__file__).parents[2]
CONFIG = json.loads((ROOT / "langgraph.json").read_text())
BUILT_IN = ["once", "chain", "parallel", "tree"]
QUESTION = {"question": "Where was the discoverer of polonium born?"}


def load(place: str) -> Any:
    """The object that ``file.py:name`` names, from the file and not from a package."""
    path, _, name = place.partition(":")
    spec = importlib.util.spec_from_file_location("deployed", ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["deployed"] = module  # as LangGraph's server does; annotations are looked up there
    spec.loader.exec_module(module)
    return getattr(module, name)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The index."""
    return str(build(tmp_path_factory.mktemp("world")))


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, folder: str) -> ScriptedLLM:
    """The model that RAGSCALE_LLM means."""
    model = ScriptedLLM(script, score=lambda messages, text: -1.0)
    monkeypatch.setattr("ragscale.agent.load", lambda spec: model)
    monkeypatch.setenv("RAGSCALE_INDEX", folder)
    return model


def test_every_built_in_mode_is_deployed_under_its_name() -> None:
    assert list(CONFIG["graphs"]) == BUILT_IN
    for name, place in CONFIG["graphs"].items():
        graph = load(place)
        assert isinstance(graph, CompiledStateGraph)
        assert (graph.name, graph.checkpointer) == (name, None)


@pytest.mark.parametrize("name", BUILT_IN)
async def test_a_deployed_mode_answers_within_the_limits_of_its_context(name: str, model: ScriptedLLM) -> None:
    graph = load(CONFIG["graphs"][name])
    result = await graph.ainvoke(QUESTION, context={"tokens": 3000, "rounds": 2, "llm_calls": 6})
    assert set(result) == {"answer", "citations", "mode", "stop_reason", "reason", "caveat", "spend", "trace"}
    assert (result["mode"], bool(result["answer"])) == (name, True)
    assert result["spend"]["serial"]["rounds"] <= 2
    assert len(model.calls) == result["spend"]["total"]["llm_calls"] <= 6
    assert json.loads(json.dumps(result)) == result
    asked = [query for event in result["trace"] if event["move"] == "retrieve" for query in event["input"]]
    assert asked[0] == QUESTION["question"]
    assert [query[:15] for query in asked[1:]] == ["capital number "] * int(name != "once")


@pytest.mark.usefixtures("model")
async def test_the_steps_are_streamed_and_a_servers_checkpointer_holds_the_state() -> None:
    graph = load(CONFIG["graphs"]["tree"])
    graph.checkpointer = InMemorySaver()
    config = {"configurable": {"thread_id": "1"}}
    stream = graph.astream(QUESTION, config, context={"tokens": 4000}, stream_mode=["custom", "values"])
    chunks = [chunk async for chunk in stream]
    steps = [chunk for mode, chunk in chunks if mode == "custom"]
    final = chunks[-1][1]
    assert steps
    assert sorted(map(json.dumps, steps)) == sorted(map(json.dumps, final["trace"]))  # live: in the order of the clock
    saved = await graph.aget_state(config)
    assert saved.values["answer"] == final["answer"]


async def test_without_an_index_the_error_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAGSCALE_INDEX", raising=False)
    with pytest.raises(InvalidInput, match=r"RAGSCALE_INDEX is not set.*as in indexes/demo\."):
        await load(CONFIG["graphs"]["once"]).ainvoke(QUESTION)


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_drawings_are_current(name: str) -> None:
    drawing = (ROOT / "graphs" / f"{name}.mmd").read_text()
    assert drawing == draw(modes.get(name)), "out of date: run `ragscale modes --draw graphs`"


def test_there_is_a_drawing_for_every_built_in_mode_and_for_nothing_else() -> None:
    assert sorted(path.stem for path in (ROOT / "graphs").glob("*.mmd")) == sorted(BUILT_IN)


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_drawing_shows_every_node_on_a_way_from_start_to_end(name: str) -> None:
    graph = modes.get(name).graph().compile().get_graph()
    edges = [(edge.source, edge.target) for edge in graph.edges]

    def reached(start: str, pairs: list[tuple[str, str]]) -> set[str]:
        found, new = {start}, {start}
        while new:
            new = {target for source, target in pairs if source in new} - found
            found |= new
        return found

    assert reached("__start__", edges) == reached("__end__", [(b, a) for a, b in edges]) == set(graph.nodes)
