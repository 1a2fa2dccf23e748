"""Hugging Face data sets, from local folders that the library loads; no hub is asked."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import utils as hub
from made import jsonl, passages

from ragscale.corpus import Chunking, Columns, Problems, read
from ragscale.corpus.hub import DatasetName, dataset_rows
from ragscale.errors import BadDocument, CorpusError
from ragscale.types import Passage

CARD = """---
configs:
- config_name: en
  data_files:
  - split: train
    path: en/train.jsonl
  - split: test
    path: en/test.jsonl
- config_name: de
  data_files: de.jsonl
---
"""


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set of two configurations, one of them with two splits."""
    root = tmp_path / "data"
    (root / "en").mkdir(parents=True)
    (root / "README.md").write_text(CARD)
    rows = [{"id": str(n), "title": "T", "text": f"text {n}", "year": 1990 + n, "tags": ["a"]} for n in range(3)]
    (root / "en" / "train.jsonl").write_bytes(jsonl(rows))
    (root / "en" / "test.jsonl").write_bytes(jsonl([{**rows[0], "id": "test"}]))
    (root / "de.jsonl").write_bytes(jsonl([{"id": "de1", "text": "Text"}]))
    return root


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hf:a/b", DatasetName("a/b")),
        ("hf:a/b:c", DatasetName("a/b", config="c")),
        ("hf:a/b::test", DatasetName("a/b", split="test")),
        ("hf:a/b@main:20231101.en:train", DatasetName("a/b", "main", "20231101.en")),
        ("hf:a/b::train[:10]", DatasetName("a/b", split="train[:10]")),
    ],
)
def test_names(text: str, name: DatasetName) -> None:
    assert DatasetName.parse(text) == name


@pytest.mark.parametrize("text", ["hf:", "hf::c", "hf:@main", "hf:a:b:c:d"])
def test_no_names(text: str) -> None:
    with pytest.raises(CorpusError, match="Write hf:NAME"):
        passages(text)


def test_configurations_and_splits(folder: Path) -> None:
    found = passages(f"hf:{folder}:en")
    assert found[0] == Passage("0", "T", "text 0", "", {"year": 1990})
    assert len(found) == 3
    assert [p.id for p in passages(f"hf:{folder}:en:test")] == ["test"]
    assert [p.id for p in passages(Path(f"hf:{folder}:de"))] == ["de1"]
    assert [p.id for p in passages(f"hf:{folder}:en:train[1:]")] == ["1", "2"]
    assert str(next(read([f"hf:{folder}:en"])).place) == f"hf:{folder}:en, row 1"


def test_what_is_streamed_is_not_copied(folder: Path, tmp_path: Path) -> None:
    passages(f"hf:{folder}:en")
    assert not list(tmp_path.glob("cache/**/*.arrow"))


def test_folders_of_save_to_disk(tmp_path: Path) -> None:
    made = datasets.Dataset.from_dict({"id": ["a"], "text": ["x"], "label": [1]})
    made.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": made, "dev": made}).save_to_disk(tmp_path / "two")
    for name in ("one", "two", "two::dev"):
        assert passages(f"hf:{tmp_path}/{name}") == [Passage("a", "", "x", "", {"label": 1})]


def test_the_libraries_are_quiet_while_rows_are_read(folder: Path) -> None:
    def noisy() -> tuple[bool, bool, bool, bool]:
        return (
            logging.getLogger("datasets.load").isEnabledFor(logging.WARNING),
            logging.getLogger("huggingface_hub.utils._http").isEnabledFor(logging.WARNING),
            not datasets.are_progress_bars_disabled(),
            not hub.are_progress_bars_disabled(),
        )

    before = noisy()
    rows = dataset_rows(f"hf:{folder}:en", Columns())
    next(rows)
    assert not any(noisy())
    assert logging.getLogger("datasets.load").isEnabledFor(logging.ERROR)
    rows.close()  # type: ignore[attr-defined]
    assert noisy() == before == (True, True, True, True)
    with pytest.raises(CorpusError):
        next(dataset_rows("hf:nobody/nothing", Columns()))
    assert noisy() == before


def test_pictures_and_bytes_are_not_read(tmp_path: Path) -> None:
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["no", "yes"]),
            "image": datasets.Image(),
            "blob": datasets.Value("binary"),
        }
    )
    rows = {"text": ["x"], "label": ["yes"], "image": [{"bytes": b"no picture", "path": None}], "blob": [b"\xff"]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "d")
    (found,) = passages(f"hf:{tmp_path}/d", columns=Columns(id="#"))
    assert found == Passage(f"{tmp_path}/d#1", "", "x", "", {"label": 1})


def test_members_of_a_metadata_object_are_columns(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl([{"id": "a", "text": "x", "metadata": {"url": "u"}, "other": {"k": 1}}]))
    assert passages(f"hf:{tmp_path}") == [Passage("a", "", "x", "", {"url": "u"})]


def test_rows_of_a_data_set_are_cut_when_asked(folder: Path) -> None:
    found = passages(f"hf:{folder}:en:test", chunking=Chunking(4, 0, rows=True))
    assert [(p.id, p.document, p.text) for p in found] == [("test#0", "test", "text"), ("test#1", "test", "0")]


def test_bad_rows(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.jsonl").write_bytes(jsonl([{"id": "a", "text": ""}, {"id": "b", "text": "x"}]))
    name = f"hf:{tmp_path}/d"
    with pytest.raises(BadDocument, match=rf"{name}, row 1: the row with id 'a' has no text"):
        passages(name)
    problems = Problems(keep_going=True)
    assert [p.id for p in passages(name, problems=problems)] == ["b"]
    assert problems.first[0].place == f"{name}, row 1"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("{}", r"cannot be loaded \(ValueError.*'en', 'de'"),
        ("{}:fr", "cannot be loaded .*'fr'"),
        ("{}:en:dev", r"cannot be loaded \(.*dev.*Check the name, the configuration, the split"),
        ("{}/absent", "cannot be loaded"),
        ("nobody/nothing-at-all", "cannot be loaded"),
        ("{}/two::dev", "cannot be loaded .*dev"),
    ],
)
def test_what_cannot_be_loaded(folder: Path, name: str, message: str) -> None:
    made = datasets.Dataset.from_dict({"id": ["a"], "text": ["x"]})
    datasets.DatasetDict({"train": made}).save_to_disk(folder / "two")
    for problems in (None, Problems(keep_going=True)):
        with pytest.raises(CorpusError, match=rf"^hf:.*{message}"):
            passages(f"hf:{name.format(folder)}", problems=problems)


def test_no_text_column(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    pq.write_table(pa.table({"id": ["1"], "remark": ["x"]}), tmp_path / "d" / "a.parquet")
    with pytest.raises(CorpusError, match=r"no column 'text' \(there are: 'id', 'remark'\).*--columns"):
        passages(f"hf:{tmp_path}/d")
    assert passages(f"hf:{tmp_path}/d", columns=Columns(text="remark"))[0].text == "x"


def test_a_stream_that_breaks_off(tmp_path: Path) -> None:
    rows = [json.dumps({"id": str(n), "text": "x" * 50_000}) for n in range(500)]
    (tmp_path / "a.jsonl").write_text("\n".join([*rows, '{"id": broken']))
    with pytest.raises(CorpusError, match=r"broke off after row [1-9][0-9]* \("):
        passages(f"hf:{tmp_path}", problems=Problems(keep_going=True))
