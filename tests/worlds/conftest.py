"""The index of a world."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ragscale.index import Index
from ragscale.worlds import World


@pytest.fixture(scope="module")
def index(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """An index of the passages of the module's `world`, without vectors."""
    folder = tmp_path_factory.mktemp("world")
    world.save(folder / "world")
    with Index.build([folder / "world" / "corpus.jsonl"], folder / "index", embedder=None) as built:
        yield built
