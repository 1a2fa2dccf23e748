"""`docs/worlds.md`: its examples are in the worlds that its commands make, and the dials do what it says."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

from ragscale.index import Index
from ragscale.worlds import World, flower, make

PAGE = (Path(__file__).parents[2] / "docs" / "worlds.md").read_text("utf-8")


@pytest.fixture(scope="module")
def world() -> World:
    """The world of the page."""
    return make()


def test_the_questions_of_the_page_are_asked(world: World) -> None:
    rows = re.findall(r"^\| (\d), (\d) \| (.+) \| (.+) \|$", PAGE, re.MULTILINE)
    asked = {(row["hops"], row["breadth"], row["question"], row["answers"][0]) for row in world.questions}
    assert len(rows) == 5
    assert {(int(depth), int(breadth), question, answer) for depth, breadth, question, answer in rows} <= asked


def test_the_passages_of_the_page_are_written(world: World) -> None:
    shown = re.findall(r"^> (.+)$", PAGE, re.MULTILINE)
    texts = [row["text"] for row in [*world.passages, *flower(petals=3, questions=1).passages]]
    assert len(shown) == 5
    assert set(shown) <= set(texts)


def test_one_search_finds_what_is_broad_and_not_what_is_deep(world: World, index: Index) -> None:
    whole: dict[tuple[int, int], list[bool]] = defaultdict(list)
    found = index.search([row["question"] for row in world.questions], k=10)
    for row, hits in zip(world.questions, found, strict=True):
        whole[row["hops"], row["breadth"]].append(set(row["supporting"]) <= {hit.passage.id for hit in hits})
    share = {cell: sum(each) / len(each) for cell, each in whole.items()}
    assert share[1, 1] == share[1, 2] == 1
    assert share[1, 4] >= 0.5
    assert max(share[cell] for cell in share if cell[0] > 1) <= 0.2


def test_a_search_for_a_step_of_the_gold_chain_finds_its_passage(world: World, index: Index) -> None:
    """So that a question is as hard as its chain is long, and not harder."""
    queries, gold = [], []
    for row in world.questions:
        answers = [step["answer"] for step in row["decomposition"]]
        for step in row["decomposition"]:
            queries.append(
                re.sub(r"#(\d+)", lambda found, answers=answers: answers[int(found[1]) - 1], step["question"])
            )
            gold.append(step["passage"])
    found = [[hit.passage.id for hit in hits] for hits in index.search(queries, k=5)]
    assert len(found) == 588
    assert [query for query, id, ids in zip(queries, gold, found, strict=True) if id not in ids] == []
