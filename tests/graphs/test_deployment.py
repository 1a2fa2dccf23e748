"""Deployment: LangGraph's server can load and run all that `langgraph.json` names, and the drawings are current."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import json
import re
import sys
import typing
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.store.memory import InMemoryStore
from langgraph_sdk.runtime import ServerRuntime, _ExecutionRuntime, _ReadRuntime
from smallworld import build, script
from typing_extensions import TypedDict

import ragscale as rs
from ragscale import modes
from ragscale.answer import AnswerSpend
from ragscale.budget import Ledger
from ragscale.cli.modes import draw
from ragscale.errors import InvalidInput
from ragscale.llm.scripted import ScriptedLLM
from ragscale.modes.core.calls import Context
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.state import State

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "graphs"))
import generate  # noqa: E402  beside what it writes, in no package
from generate import files  # noqa: E402

CONFIG = json.loads((ROOT / "langgraph.json").read_text())
BUILT_IN = list(modes.built_in())
MADE = files()  # seconds: every mode is compiled and drawn
SUB_QUERIES = {
    "direct": 0,
    "once": 0,
    "chain": 1,
    "parallel": 1,
    "react": 2,
    "tree": 1,
}  # that the test's limits pay for
EMPTY = rs.Answer("", [], "once", "failed", AnswerSpend(rs.Spend(), rs.Spend()), [])
QUESTION = {"question": "Where was the discoverer of polonium born?"}


def load(place: str) -> Any:
    """The object that ``file.py:name`` names, from the file and not from a package."""
    path, _, name = place.partition(":")
    return getattr(_module(path), name)


@functools.cache
def _module(path: str) -> ModuleType:
    """The file's module; making it compiles every mode."""
    spec = importlib.util.spec_from_file_location("deployed", ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["deployed"] = module  # as LangGraph's server does; annotations are looked up there
    spec.loader.exec_module(module)
    return module


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
    _module("./graphs/modes.py")._opened.cache_clear()  # or the model of another test answers
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
    assert set(result) == set(EMPTY.to_dict())
    assert (result["mode"], bool(result["answer"])) == (name, True)
    assert result["spend"]["serial"]["rounds"] <= 2
    assert len(model.calls) == result["spend"]["total"]["llm_calls"] <= 6
    assert json.loads(json.dumps(result)) == result
    asked = [query for event in result["trace"] if event["move"] == "retrieve" for query in event["input"]]
    own = modes.get(name).retrieves and name not in ("adaptive", "react")  # whose queries are the model's alone
    assert asked[:own] == [QUESTION["question"]] * own
    assert {query[:15] for query in asked[own:]} <= {"capital number ", "Some sub-answer", QUESTION["question"][:15]}
    assert len(asked[own:]) == SUB_QUERIES.get(name, len(asked[own:]))


@pytest.mark.usefixtures("model")
async def test_the_steps_are_streamed_and_a_servers_checkpointer_holds_the_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = load(CONFIG["graphs"]["tree"])
    monkeypatch.setattr(graph, "checkpointer", InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    stream = graph.astream(QUESTION, config, context={"tokens": 4000}, stream_mode=["custom", "values"])
    chunks = [chunk async for chunk in stream]
    steps = [chunk for mode, chunk in chunks if mode == "custom"]
    final = chunks[-1][1]
    assert steps
    assert sorted(map(json.dumps, steps)) == sorted(map(json.dumps, final["trace"]))  # live: in the order of the clock
    saved = await graph.aget_state(config)
    assert saved.values["answer"] == final["answer"]


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_deployed_mode_tells_its_schemas(name: str) -> None:
    """Schemas of a mode, from which Studio makes its form and the server its MCP tool."""
    graph = load(CONFIG["graphs"][name])
    asked, told, context = graph.get_input_jsonschema(), graph.get_output_jsonschema(), graph.get_context_jsonschema()
    assert (asked["properties"]["question"]["type"], asked["required"]) == ("string", ["question"])
    assert list(told["properties"]) == list(told["required"]) == list(EMPTY.to_dict())
    assert told["properties"]["citations"] == {"items": {"type": "string"}, "title": "Citations", "type": "array"}
    assert set(context["properties"]) == {field.name for field in fields(rs.Budget)}
    assert "required" not in context
    assert context["properties"]["seconds"]["anyOf"] == [{"type": "number"}, {"type": "null"}]
    assert (context["additionalProperties"], context["type"]) == (False, "object")


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_modes_own_graph_tells_its_schemas(name: str) -> None:
    graph = modes.get(name).graph().compile()
    for schema in (graph.get_input_jsonschema(), graph.get_output_jsonschema()):
        assert schema["properties"]["question"]["type"] == "string"
        assert schema["properties"]["chain"]["items"] == {"$ref": "#/$defs/Step"}


WRONG_LIMITS = [
    ({"tokenz": 5}, r"unknown limit 'tokenz' of a budget. Did you mean 'tokens'\? There are: rounds, queries, tokens"),
    ({"tokens": 5, "max_queries": 1}, r"unknown limit 'max_queries' .* There are: rounds, queries, tokens, llm_calls"),
    ({"k": 3}, "unknown limit 'k' of a budget. There are: rounds"),
    ({"Tokens": 5}, r"unknown limit 'Tokens' of a budget. Did you mean 'tokens'"),
    ({"budget": {"tokens": 5}}, "unknown limit 'budget'"),
    ({"tokens": "5"}, "budget tokens='5' is not a number >= 0"),
    ({"tokens": -1}, "budget tokens=-1 is not a number >= 0"),
    ({"seconds": float("nan")}, "budget seconds=nan is not a number >= 0"),
    ({"llm_calls": True}, "budget llm_calls=True is not a number >= 0"),
    ({"rounds": [2]}, r"budget rounds=\[2\] is not a number >= 0"),
    ({"seconds": 10**400}, "budget seconds is above 1.79769e"),
]


@pytest.mark.parametrize(("context", "problem"), [*WRONG_LIMITS, ({1: 2}, "unknown limit '1' of a budget")])
async def test_a_context_that_would_limit_nothing_is_refused(
    context: dict[str, Any], problem: str, model: ScriptedLLM
) -> None:
    """Also where LangGraph's server leaves the unknown out before it runs the graph: it asks for the graph first."""
    graph = load(CONFIG["graphs"]["chain"])
    with pytest.raises(InvalidInput, match=problem):
        await graph.ainvoke(QUESTION, context=context)
    with pytest.raises(InvalidInput, match=problem):
        graph(server_runtime(context))
    assert not model.calls


def server_runtime(context: dict[str, Any]) -> Any:
    """Runtime that LangGraph's server hands to the function which makes the graph of a run."""
    return _ExecutionRuntime(access_context="threads.create_run", user=None, store=InMemoryStore(), context=context)


def test_the_server_gets_the_graph_for_a_context_that_limits() -> None:
    """The thread's id comes beside the limits from clients that send the former ``config["configurable"]``."""
    graph = load(CONFIG["graphs"]["once"])
    assert graph(server_runtime({"tokens": 500, "thread_id": "t", "__event_streaming_v2": True})) is graph
    assert graph(server_runtime({})) is graph
    assert graph(_ReadRuntime(access_context="threads.read", user=None, store=InMemoryStore())) is graph
    assert typing.get_type_hints(type(graph).__call__)["runtime"] is ServerRuntime  # how the server knows what to give


@pytest.mark.parametrize(
    "how",
    [
        {"context": {"llm_calls": 0}},
        {"context": rs.Budget(llm_calls=0)},
        {"config": {"configurable": {"llm_calls": 0}}},
        {"config": {"configurable": {"llm_calls": 0}}, "context": {}},
        {"config": {"configurable": {"llm_calls": 0}}, "context": {"seconds": 300}},
        {"config": {"configurable": {"llm_calls": 0, "seconds": 300}}, "context": {"llm_calls": 0, "seconds": None}},
    ],
)
async def test_every_way_to_give_a_limit_limits(how: dict[str, Any], model: ScriptedLLM) -> None:
    result = await load(CONFIG["graphs"]["tree"]).ainvoke(QUESTION, **how)
    assert (result["stop_reason"], model.calls) == ("budget:llm_calls", [])


async def test_a_limit_that_is_given_twice_is_one(model: ScriptedLLM) -> None:
    graph = load(CONFIG["graphs"]["once"])
    with pytest.raises(InvalidInput, match=r"tokens=700 in the context and tokens=800 in config\['configurable'\]"):
        await graph.ainvoke(QUESTION, {"configurable": {"tokens": 800}}, context={"tokens": 700})
    assert not model.calls
    result = await graph.ainvoke(QUESTION, {"configurable": {"tokens": 5000, "rounds": 3}}, context={"queries": 4})
    assert result["limits"] == {"tokens": 5000, "rounds": 3, "queries": 4}


@pytest.mark.parametrize(("former", "problem"), WRONG_LIMITS)
async def test_the_former_place_of_limits_is_as_strict(
    former: dict[str, Any], problem: str, model: ScriptedLLM
) -> None:
    with pytest.raises(InvalidInput, match=problem):
        await load(CONFIG["graphs"]["chain"]).ainvoke(QUESTION, {"configurable": former}, context={"seconds": 300})
    assert not model.calls


@pytest.mark.usefixtures("model")
async def test_what_langgraph_puts_beside_the_limits_is_none() -> None:
    """As its server of version 0.16 does (`models/run.py`, `utils/headers.py`)."""
    beside = {
        "thread_id": "t", "run_id": "r", "graph_id": "once", "assistant_id": "a", "user_id": "u", "cron_id": "c",
        "checkpoint_id": None, "checkpoint_ns": "", "langgraph_auth_user": None, "langgraph_auth_permissions": [],
        "langgraph_request_id": "q", "langsmith-trace": "l", "x-request-id": "x", "__after_seconds__": 0,
    }  # fmt: skip
    result = await load(CONFIG["graphs"]["once"]).ainvoke(QUESTION, {"configurable": {**beside, "tokens": 5000}})
    assert result["limits"] == {"tokens": 5000}


@pytest.mark.usefixtures("model")
async def test_a_deployed_mode_inside_another_graph_lets_that_have_keys_of_its_own() -> None:
    class Asked(TypedDict):
        question: str
        answer: str

    parent = StateGraph(Asked)
    parent.add_node("ask", load(CONFIG["graphs"]["once"]))
    parent.add_edge(START, "ask")
    config = {"configurable": {"tokens": 0, "voice": "low"}}
    assert (await parent.compile().ainvoke(QUESTION, config))["answer"] == ""


NO_QUESTION: list[tuple[Any, str]] = [
    (None, "was run with nothing, and has no run to go on with"),
    ("Who?", "was run with a str"),
    ([QUESTION], "was run with a list"),
]


@pytest.mark.parametrize(("given", "problem"), NO_QUESTION)
async def test_a_graph_that_is_given_no_dictionary_says_so(given: Any, problem: str, model: ScriptedLLM) -> None:
    for graph in (load(CONFIG["graphs"]["once"]), modes.get("once").graph().compile()):
        with pytest.raises(InvalidInput, match=rf'{problem}.*Give {{"question": "..."}}'):
            await graph.ainvoke(given)
    assert not model.calls


async def test_a_graph_that_may_not_take_its_steps_says_so(folder: str, model: ScriptedLLM) -> None:
    with rs.Index.open(folder) as index:
        capabilities = await model.capabilities()
        context = Context(index=index, llm=model, ledger=Ledger(), capabilities=capabilities)
        graph = modes.get("chain").graph().compile().with_config(recursion_limit=3)
        with pytest.raises(
            rs.errors.RagscaleError, match=r"has not ended: Recursion limit of 3.*Raise recursion_limit"
        ):
            await graph.ainvoke(QUESTION, context=context)


@pytest.mark.parametrize("question", [{"question": ""}, {"question": "\u200b"}, {"question": None}, {"answer": "x"}])
async def test_no_question_is_refused(question: dict[str, Any], model: ScriptedLLM) -> None:
    with pytest.raises(InvalidInput, match="The question is"):
        await load(CONFIG["graphs"]["once"]).ainvoke(question)
    assert not model.calls


@pytest.mark.usefixtures("model")
def test_a_graph_without_a_loop_says_what_to_call() -> None:
    graph = load(CONFIG["graphs"]["once"])
    for call in (graph.invoke, lambda question: list(graph.stream(question))):
        with pytest.raises(InvalidInput, match=r"'once' has asynchronous nodes only. Use ainvoke or astream"):
            call(QUESTION)


@pytest.mark.usefixtures("model")
async def test_a_deployed_mode_is_a_node_of_another_graph() -> None:
    class Asked(TypedDict):
        question: str
        answer: str

    parent = StateGraph(Asked, rs.Budget)
    parent.add_node("ask", load(CONFIG["graphs"]["once"]))
    parent.add_edge(START, "ask")
    result = await parent.compile().ainvoke(QUESTION, context={"tokens": 2000})
    assert result == {**QUESTION, "answer": "Warsaw, Poland"}


@pytest.mark.usefixtures("model")
async def test_each_question_on_a_thread_gets_its_own_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = load(CONFIG["graphs"]["chain"])
    config = {"configurable": {"thread_id": "1"}}
    alone = await graph.ainvoke({"question": "Does radium glow?"})
    monkeypatch.setattr(graph, "checkpointer", InMemorySaver())
    first = await graph.ainvoke(QUESTION, config)
    second = await graph.ainvoke({"question": "Does radium glow?"}, config)
    assert (first["answer"], second["answer"]) == ("Warsaw, Poland", "no")
    assert len(second["trace"]) == len(alone["trace"])


async def test_without_an_index_the_error_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAGSCALE_INDEX", raising=False)
    with pytest.raises(InvalidInput, match=r"RAGSCALE_INDEX is not set.*as in indexes/demo\."):
        await load(CONFIG["graphs"]["once"]).ainvoke(QUESTION)


@pytest.mark.parametrize("file", MADE)
def test_what_lists_the_modes_is_current(file: str) -> None:
    assert (ROOT / file).read_text("utf-8") == MADE[file], "out of date: run `make graphs`"


def test_there_is_a_drawing_for_every_built_in_mode_and_for_nothing_else() -> None:
    assert sorted(path.stem for path in (ROOT / "graphs").glob("*.mmd")) == sorted(BUILT_IN)


def test_generating_writes_what_is_stale_and_deletes_what_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    for folder in ("graphs", "docs"):
        (tmp_path / folder).mkdir()
    (tmp_path / "graphs" / "gone.mmd").write_text("")
    generate.main()
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")} == set(MADE)
    (tmp_path / "langgraph.json").write_text("{}")
    capsys.readouterr()
    generate.main()
    assert capsys.readouterr().out == "langgraph.json\n"


def test_a_new_mode_is_listed_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    class New(modes.Once):
        """Something `new`."""

        name = "brand-new"

    monkeypatch.setattr(generate, "built_in", lambda: {"once": modes.Once, "brand-new": New})
    made = files()
    assert list(made) == ["graphs/once.mmd", "graphs/brand-new.mmd", "langgraph.json", "docs/modes.md", "README.md"]
    assert json.loads(made["langgraph.json"])["graphs"]["brand-new"] == "./graphs/modes.py:brand_new"
    assert "## `brand-new`\n\nSomething `new`.\n" in made["docs/modes.md"]


def test_the_modes_of_the_makefile_exist() -> None:
    """`make demo` asks in some."""
    [asked] = re.findall(r"^MODES \?= (.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert set(asked.split(",")) < set(BUILT_IN)


class Inside(modes.Once):
    """Any mode, run inside another one the way LangGraph finds subgraphs: compiled, and held by a node's function."""

    name = "inside"

    def __init__(self, of: modes.Mode, *nodes: str) -> None:
        object.__setattr__(self, "of", of)
        object.__setattr__(self, "nodes", nodes)

    def graph(self) -> ModeGraph:
        graph = ModeGraph(State)
        for name in self.nodes:
            graph.add_node(name, self.member(self.of.graph().compile()))
        graph.add_node("answer", self.closing())
        for one, next in itertools.pairwise((START, *self.nodes, "answer", END)):
            graph.add_edge(one, next)
        return graph

    @staticmethod
    def member(inner: Any) -> Any:
        async def run(state: State) -> dict[str, Any]:
            return dict(await inner.ainvoke(state))

        return run


CHAIN_NODES = ["answer", "look", "plan", "read", "retrieve"]


@pytest.mark.parametrize(
    ("mode", "subgraphs", "labels"),
    [
        (Inside(modes.Chain(), "member"), ["member"], [*CHAIN_NODES, "answer"]),
        (
            Inside(Inside(modes.Chain(), "member"), "member"),
            ["member", "member_2"],
            [*CHAIN_NODES, "answer", "answer"],
        ),
        (Inside(modes.Once(), "one", "two"), ["one", "two"], ["answer", "retrieve"] * 2 + ["answer"]),
        (
            Inside(Inside(modes.Once(), "a", "b"), "a", "b"),
            ["a", "a_2", "b_2", "b", "a_3", "b_3"],
            ["answer", "retrieve"] * 4 + ["answer"] * 3,
        ),
    ],
    ids=["one", "nested", "in a row", "nested in rows"],
)
def test_modes_inside_modes_are_drawn(mode: modes.Mode, subgraphs: list[str], labels: list[str]) -> None:
    drawing = draw(mode)
    assert sorted(re.findall(r"^\tsubgraph (\S+)$", drawing, re.M)) == sorted(subgraphs)
    assert drawing.count("\tend\n") == len(subgraphs)
    drawn = re.findall(r"^\t([^\s(]+)\((\w+)\)$", drawing, re.M)
    assert sorted(label for _, label in drawn) == sorted(labels)
    ids = {id for id, _ in drawn}
    assert len(ids) == len(labels)
    ends = {end for pair in re.findall(r"^\t(\S+) -{1,2}\.?-?> (\S+);$", drawing, re.M) for end in pair}
    assert ends == ids | {"__start__", "__end__"}


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
