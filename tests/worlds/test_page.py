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


def test_one_search_finds_what_is_broad_and_not_what_is_deep(world: World, tmp_path: Path) -> None:
    world.save(tmp_path / "world")
    whole: dict[tuple[int, int], list[bool]] = defaultdict(list)
    with Index.build([tmp_path / "world" / "corpus.jsonl"], tmp_path / "index", embedder=None) as index:
        found = index.search([row["question"] for row in world.questions], k=10)
    for row, hits in zip(world.questions, found, strict=True):
        whole[row["hops"], row["breadth"]].append(set(row["supporting"]) <= {hit.passage.id for hit in hits})
    share = {cell: sum(each) / len(each) for cell, each in whole.items()}
    assert share[1, 1] == share[1, 2] == 1
    assert share[1, 4] >= 0.5
    assert max(share[cell] for cell in share if cell[0] > 1) <= 0.2
