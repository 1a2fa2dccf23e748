"""`Index.as_retriever` through LangChain's own interface."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from ragscale.errors import InvalidInput
from ragscale.index import Index

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
