"""The files of a run are on the disk before anything rests on them: their bytes first, then their names."""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from ragscale.answer import AnswerSpend
from ragscale.budget import Budget
from ragscale.errors import InvalidInput, RagscaleError
from ragscale.measure import Cell, Row, Store
from ragscale.measure.store import CONFIG_FILE
from ragscale.modes import Chain, Once
from ragscale.types import Spend

Did = tuple[str, str]
ROW = Row(
    id="q", answer="A", em=1.0, f1=0.5, gold_recall=None, stop_reason="answered", reason="",
    spend=AnswerSpend(Spend(2, 30, 4, seconds=0.5), Spend(1, 20, 2)), paid=Spend(1, 10, 2), wall_seconds=1.25,
    code="abc", settings="def", trace=(20, 300),
)  # fmt: skip


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Did]:
    """Synced and renamed files, by name, in order."""
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
        store.pin({"seed": 1}, [Cell(Once())])
        assert done == [("sync", "config.part"), ("rename", "config.part"), ("sync", "run")]
        done.clear()
        store.pin({"seed": 1}, [Cell(Once())])
        assert done == []  # nothing new
        store.pin({"seed": 1}, [Cell(Chain())])
        assert done == [("sync", "config.part"), ("rename", "config.part"), ("sync", "run")]
    assert json.loads((tmp_path / "run" / CONFIG_FILE).read_text()) == {
        "version": 2,
        "seed": 1,
        "cells": {
            key: {"mode": key, "parameters": repr(mode), "budget": {}, "seed": 0}
            for key, mode in (("once", Once()), ("chain", Chain()))
        },
    }
    done.clear()
    with store.writing():
        assert done == []


def test_a_row_is_synced_and_the_name_of_a_new_file_too(tmp_path: Path, done: list[Did]) -> None:
    store = Store(tmp_path)
    for _ in range(2):
        store.append(Cell(Once()), ROW)
    assert done == [("sync", tmp_path.name), ("sync", "once.jsonl"), ("sync", "rows"), ("sync", "once.jsonl")]


def test_a_row_of_before_dollars_were_counted_has_unknown_ones() -> None:
    older = json.loads(ROW.to_json())
    for spend in (*older["spend"].values(), older["paid"]):
        del spend["usd"]
    row = Row.from_json(json.dumps(older).encode())
    assert (row.spend.total.usd, row.spend.serial.usd, row.paid.usd) == (None, None, None)
    assert row.spend.total.tokens == ROW.spend.total.tokens


def test_a_row_is_read_as_it_was_written(tmp_path: Path) -> None:
    store, cell = Store(tmp_path), Cell(Once(), Budget(tokens=500), 7)
    store.append(cell, ROW)
    store.append(cell, replace(ROW, id="r", answer="half a \ud800 pair", gold_recall=0.5))
    assert store.rows(cell) == {"q": ROW, "r": replace(ROW, id="r", answer="half a ? pair", gold_recall=0.5)}
    assert store.rows(Cell(Once(), Budget(tokens=500))) == {}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"em": "high"}, "em: Input should be a valid number"),
        ({"id": None}, "id: Input should be a valid string"),
        ({"spend": {"total": {}}}, "spend.serial: Field required"),
        ({"trace": [1]}, "trace.1: Field required"),
        ({"trace": "at the end"}, "trace: Input should be a valid array"),
        ({"f1": 7.0}, "f1: Input should be less than or equal to 1"),
        ({"em": float("nan")}, "em: Input should be less than or equal to 1"),
        ({"gold_recall": -0.5}, "gold_recall: Input should be greater than or equal to 0"),
        ({"wall_seconds": float("inf")}, "wall_seconds: Input should be a finite number"),
        ({"paid": {"prompt_tokens": 10**30}}, "paid"),
        ({"paid": {"completion_tokens": -5}}, "paid: Value error, completion_tokens is -5"),
        ({"spend": {"total": {"seconds": float("nan")}, "serial": {}}}, "spend: Value error, seconds is nan"),
    ],
)
def test_a_row_of_wrong_values_is_named(change: dict[str, object], problem: str, tmp_path: Path) -> None:
    store, cell = Store(tmp_path), Cell(Once())
    store.append(cell, ROW)
    with store.path(cell.key).open("a") as file:
        file.write(json.dumps({**json.loads(ROW.to_json()), **change}) + "\n")
    with pytest.raises(InvalidInput) as refused:
        store.rows(cell)
    assert f"once.jsonl:2: damaged ({problem}" in str(refused.value)


@pytest.mark.parametrize(
    "change",
    [
        {"cells": []}, {"cells": {"once": None}}, {"cells": {"once": {"mode": "once"}}}, {"price": "dear"},
        {"cells": {"once": {"mode": "once", "budget": {"tokens": "many"}, "seed": 0}}}, {"version": 1},
    ],
)  # fmt: skip
def test_settings_of_another_shape_are_refused(change: dict[str, object], tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.pin({"llm": "scripted", "price": None}, [Cell(Once())])
    known = json.loads((tmp_path / CONFIG_FILE).read_text())
    assert store.config() == known
    (tmp_path / CONFIG_FILE).write_text(json.dumps(known | change))
    with pytest.raises(InvalidInput, match=r"config\.json: damaged, or of another version"):
        store.config()


@pytest.mark.parametrize("looks", ["[{}]", '[{"questions": 16, "mark": "", "cells": [], "drops": [{}]}]', "3"])
def test_looks_of_another_shape_are_refused(looks: str, tmp_path: Path) -> None:
    (tmp_path / "race.json").write_text(f'{{"looks": {looks}}}')
    with pytest.raises(InvalidInput, match=r"race\.json: damaged"):
        Store(tmp_path).looks()


def test_what_a_kill_left_behind_is_cut_off(tmp_path: Path) -> None:
    """Half a line, half a trace, and a whole trace that has no row: the file of traces reads on as one."""
    store, cell = Store(tmp_path), Cell(Once())
    assert store.rows(cell) == {}
    places = [store.append_trace(cell, {"id": id}) for id in ("q", "lost")]
    store.append(cell, replace(ROW, trace=places[0]))
    for traces, data in ((False, b'{"id": "ha'), (True, gzip.compress(b"cut")[:9])):
        with store.path(cell.key, traces=traces).open("ab") as file:
            file.write(data)
    assert store.read_rows(cell.key) == store.rows(cell) == {"q": replace(ROW, trace=places[0])}
    assert store.append_trace(cell, {"id": "r"}) == (places[0][1], places[0][1])
    assert gzip.decompress(store.path(cell.key, traces=True).read_bytes()) == b'{"id":"q"}{"id":"r"}'


def test_a_sweep_that_was_broken_off_is_counted_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    with store.asking():
        assert store.broken() == 0, "it is under way"
    assert list(tmp_path.iterdir()) == [], "nothing is left of one that came to its end"
    for times in (1, 2):
        with pytest.raises(KeyboardInterrupt), store.asking():
            raise KeyboardInterrupt
        assert store.broken() == times - 1, "nothing is missing while nobody has gone on"
    with store.asking():
        assert store.broken() == 2
    with store.asking():
        pass
    assert store.broken() == 2
    monkeypatch.setattr(Path, "exists", lambda self: True)  # taken away by the sweep's end, right after that
    assert Store(tmp_path / "ended").broken() == 0
    monkeypatch.undo()
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(InvalidInput, match=r"broken\.json: damaged"):
        store.broken()


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    store, cell = Store(tmp_path), Cell(Once())
    store.append(cell, ROW)
    path, before = store.path(cell.key), resource.getrlimit(resource.RLIMIT_FSIZE)
    whole = path.read_bytes()
    for write in (lambda: store.append(cell, ROW), lambda: store.pin({"long": "x" * 9_000}, [cell])):
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 7, before[1]))
        try:
            with pytest.raises(
                RagscaleError, match=r"(once\.jsonl|config\.json): cannot be written .*Make room on its disk"
            ):
                write()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == whole
    assert not (tmp_path / CONFIG_FILE).exists()
