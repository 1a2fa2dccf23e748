"""The files of a run are on the disk before anything rests on them: their bytes first, then their names."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ragscale.eval.store import CONFIG_FILE, Store

Did = tuple[str, str]


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Did]:
    """What is synced and renamed, by name, in order."""
    found: list[Did] = []
    fsync, replace = os.fsync, Path.replace

    def noting_fsync(descriptor: int) -> None:
        here = (tmp_path, *tmp_path.rglob("*"))
        found.append(("sync", next(path.name for path in here if os.path.samestat(path.stat(), os.fstat(descriptor)))))
        fsync(descriptor)

    def noting_replace(self: Path, target: Path) -> Path:
        found.append(("rename", self.name))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(Path, "replace", noting_replace)
    return found


def test_settings_are_synced_before_they_have_their_name_and_then_the_name(tmp_path: Path, done: list[Did]) -> None:
    store = Store(tmp_path / "run")
    with store.writing():
        assert done == [("sync", tmp_path.name)]  # the name of the folder itself
        done.clear()
        store.pin({"seed": 1}, {"once": "Once()"})
        assert done == [("sync", "config.part"), ("rename", "config.part"), ("sync", "run")]
        done.clear()
        store.pin({"seed": 1}, {"once": "Once()"})
        assert done == []  # nothing new
        store.pin({"seed": 1}, {"chain": "Chain()"})
        assert done == [("sync", "config.part"), ("rename", "config.part"), ("sync", "run")]
    assert json.loads((tmp_path / "run" / CONFIG_FILE).read_text())["modes"] == {"once": "Once()", "chain": "Chain()"}
    done.clear()
    with store.writing():
        assert done == []


def test_a_row_is_synced_and_the_name_of_a_new_file_too(tmp_path: Path, done: list[Did]) -> None:
    store = Store(tmp_path)
    for _ in range(2):
        store.append("once", {"id": "q"})
    assert done == [("sync", "once.jsonl"), ("sync", tmp_path.name), ("sync", "once.jsonl")]
