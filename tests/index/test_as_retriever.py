"""`Index.as_retriever` through LangChain's own interface."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_core.tools import create_retriever_tool
from langchain_tests.integration_tests import RetrieversIntegrationTests
from smallworld import serving

from ragscale.errors import InvalidInput
from ragscale.index import Index
from ragscale.index.langchain import RagscaleRetriever

ROWS = [
    {"id": "gold", "title": "Gold", "text": "Gold is a yellow metal.", "year": 1000},
    {"id": "tin", "title": "Tin", "text": "Tin is a white metal.", "year": 2000},
    {"id": "lead", "title": "", "text": "Lead is a grey metal."},
]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    import json

    folder: Path = tmp_path_factory.mktemp("retriever")
    corpus = folder / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return Index.build([corpus], folder / "index", embedder=None)


def test_documents_hold_what_the_passage_holds(index: Index) -> None:
    retriever = index.as_retriever(k=1)
    assert isinstance(retriever, BaseRetriever)
    (document,) = retriever.invoke("yellow metal")
    (hit,) = index.search(["yellow metal"], 1)[0]
    assert (document.id, document.page_content) == ("gold", "Gold is a yellow metal.")
    assert document.metadata == {"id": "gold", "title": "Gold", "document": hit.passage.document,
                                 "score": hit.score, "year": 1000}  # fmt: skip


async def test_every_way_to_call_finds_the_same(index: Index) -> None:
    retriever = index.as_retriever(k=2)
    alone = [retriever.invoke(query) for query in ("metal", "white")]
    assert [len(documents) for documents in alone] == [2, 1]
    assert retriever.batch(["metal", "white"]) == alone
    assert [await retriever.ainvoke(query) for query in ("metal", "white")] == alone
    assert await retriever.abatch(["metal", "white"]) == alone


async def test_settings_of_the_retriever_and_of_a_call(index: Index) -> None:
    retriever = index.as_retriever(k=3, how="bm25", where="year >= 1500")
    assert [document.id for document in retriever.invoke("metal")] == ["tin"]
    assert [document.id for document in retriever.invoke("metal", where="year < 1500")] == ["gold"]
    assert [document.id for document in await retriever.ainvoke("metal", where=None, k=1)] == ["lead"]
    assert "where" in repr(retriever)


@pytest.mark.parametrize("options", [{"k": 0}, {"how": "dense"}, {"where": "year >"}, {"colour": "red"}])
def test_wrong_settings_are_refused_at_once(index: Index, options: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        index.as_retriever(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"), [({"k": 0}, "k 0, the least is 1"), ({"how": ""}, "unknown kind of search ''")]
)
async def test_wrong_settings_of_a_call_are_refused(index: Index, options: dict[str, Any], message: str) -> None:
    retriever = index.as_retriever(k=2)
    with pytest.raises(InvalidInput, match=message):
        retriever.invoke("metal", **options)
    with pytest.raises(InvalidInput, match=message):
        await retriever.ainvoke("metal", **options)


async def test_in_a_chain(index: Index) -> None:
    def shown(documents: list[Document]) -> str:
        return "; ".join(f"{document.metadata['title']}: {document.page_content}" for document in documents)

    chain = {"context": index.as_retriever(k=1) | shown, "question": RunnablePassthrough()} | RunnableLambda(
        lambda parts: f"{parts['context']} {parts['question']}"
    )
    assert chain.invoke("white") == "Tin: Tin is a white metal. white"
    assert await chain.ainvoke("yellow") == "Gold: Gold is a yellow metal. yellow"


BLANK = ["", " ", "\n\t", "\u00a0", "\u2003 \u3000"]


@pytest.fixture(scope="module")
def remote(index: Index) -> Iterator[Index]:
    """The same index behind a server that takes 40 characters."""
    with serving(index, characters=40) as url:
        yield Index.open(url)


@pytest.fixture(params=["local", "searching", "remote", "remote searching"])
def any_index(request: pytest.FixtureRequest, index: Index, remote: Index) -> Any:
    chosen = remote if "remote" in request.param else index
    return chosen.searching(depth=9) if "searching" in request.param else chosen


def retriever_of(index: Any, k: int = 2) -> RagscaleRetriever:
    return RagscaleRetriever(index=index, k=k)


@pytest.mark.parametrize("query", BLANK)
async def test_a_blank_query_finds_nothing(any_index: Any, query: str) -> None:
    """A model that calls a tool with nothing is no reason for its agent to end."""
    retriever = retriever_of(any_index)
    assert retriever.invoke(query) == await retriever.ainvoke(query) == []
    assert [len(found) for found in retriever.batch([query, "metal"])] == [0, 2]
    with pytest.raises(InvalidInput, match="is blank"):
        any_index.search([query])


LONG = ["metal " * 5_000, f"{' ' * 99}yellow metal {'and so on ' * 999}", "white metal" + "x" * 100_000]


@pytest.mark.parametrize("query", LONG, ids=[0, 1, 2])
async def test_a_very_long_query_is_searched_by_its_beginning(any_index: Any, query: str) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        retriever = retriever_of(any_index)
        alone = retriever.invoke(query)
        assert alone
        assert await retriever.ainvoke(query) == alone
    cut = [str(warning.message) for warning in said if "characters" in str(warning.message)]
    told = f"a query has {len(query.strip()):,} characters, the server takes 40: cut"
    assert cut == ([told] if hasattr(getattr(any_index, "index", any_index), "url") else [])  # once


@pytest.mark.parametrize("query", ["", "who " * 20_000, "yellow"])
async def test_as_a_tool(any_index: Any, query: str) -> None:
    made = create_retriever_tool(retriever_of(any_index), "look_up", "Searches metals.")
    call = {"name": "look_up", "args": {"query": query}, "id": "1", "type": "tool_call"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mine = retriever_of(any_index).as_tool(name="metals", description="Searches metals.")
        assert isinstance(mine.invoke(query), list)
        for message in (made.invoke(call), await made.ainvoke(call)):
            assert message.status == "success"
            assert ("Gold is a yellow metal." in message.content) == (query == "yellow")


@pytest.mark.parametrize("query", [None, 5, ["yellow"]])
def test_what_is_no_text_is_refused(any_index: Any, query: Any) -> None:
    with pytest.raises(InvalidInput, match="is blank or not text"):
        retriever_of(any_index).invoke(query)


class TestByLangChainsOwnSuite(RetrieversIntegrationTests):
    """Of its package `langchain-tests`."""

    @pytest.fixture(autouse=True)
    def _opened(self, index: Index) -> None:
        self._index = index

    @property
    def retriever_constructor(self) -> type[RagscaleRetriever]:
        return RagscaleRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"index": self._index}

    @property
    def retriever_query_example(self) -> str:
        return "metal"


class TestByLangChainsOwnSuiteBehindAServer(TestByLangChainsOwnSuite):
    @pytest.fixture(autouse=True)
    def _opened(self, remote: Index) -> None:
        self._index = remote
