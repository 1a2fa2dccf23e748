"""BERT in NumPy: the vectors of sentence-transformers without its imports, and nothing but a plain BERT."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ragscale.index import Index
from ragscale.index.encoders import embedder
from ragscale.index.encoders.bert import Bert, _gelu, may_have_gpu, plain_bert
from ragscale.index.encoders.embedder import Embedder
from ragscale.index.storage.manifest import EmbedderInfo

TEXTS = [
    "a glacier is a slow river of ice",
    "bread",
    "",
    "The Violin has four strings, and é " * 9,
    "x" * 400,
    "½ 中文",
]


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedder, "may_have_gpu", lambda: False)


def vectors(info: EmbedderInfo, backend: Any, kind: str) -> np.ndarray[Any, Any]:
    model = Embedder.for_queries(info, backend=backend)
    assert type(model._model).__name__ == kind
    return model.encode_queries(TEXTS, batch_size=4)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_vectors_are_those_of_torch(model: Path, tmp_path: Path, pooling: str) -> None:
    folder = shutil.copytree(model, tmp_path / "model")
    change(folder / "1_Pooling" / "config.json", pooling_mode=pooling)
    info = Embedder.for_documents(folder, dtype="bfloat16").info
    np.testing.assert_allclose(vectors(info, "auto", "Bert"), vectors(info, "torch", "_Local"), atol=1e-6)


def test_vectors_of_the_default_model_are_those_of_torch(minilm: Path) -> None:
    info = Embedder.for_documents().info
    np.testing.assert_allclose(vectors(info, "auto", "Bert"), vectors(info, "torch", "_Local"), atol=1e-6)


def test_company_in_a_batch_hardly_moves_a_vector(model: Path) -> None:
    bert = plain_bert(model, 64)
    assert bert is not None
    together = bert.encode(TEXTS, prompt="question: ", query=True, batch_size=64)
    alone = [bert.encode([text], prompt="question: ", query=True, batch_size=1)[0] for text in TEXTS]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert bert.encode([], prompt="", query=True, batch_size=1).shape == (0, 32)


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def half(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = {name: tensor.astype(np.float16) for name, tensor in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").unlink()
    save_file(tensors, folder / "model.safetensors")


def module(folder: Path, number: int, kind: str) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    modules[number:] = [{**modules[0], "type": f"sentence_transformers.models.{kind}", "path": "9_Other"}]
    (folder / "modules.json").write_text(json.dumps(modules))


@pytest.mark.parametrize(
    "other",
    [
        lambda folder: change(folder / "config.json", model_type="roberta"),
        lambda folder: change(folder / "config.json", hidden_act="gelu_new"),
        lambda folder: change(folder / "config.json", position_embedding_type="relative_key"),
        lambda folder: change(folder / "config.json", is_decoder=True),
        lambda folder: change(folder / "config.json", num_hidden_layers=3),
        lambda folder: change(folder / "1_Pooling" / "config.json", pooling_mode="max"),
        lambda folder: change(folder / "1_Pooling" / "config.json", pooling_mode_max_tokens=True),
        lambda folder: change(folder / "1_Pooling" / "config.json", include_prompt=False),
        lambda folder: change(folder / "sentence_bert_config.json", do_lower_case=True),
        lambda folder: change(folder / "sentence_bert_config.json", something="new"),
        lambda folder: change(folder / "tokenizer_config.json", do_lower_case=False),
        lambda folder: module(folder, 1, "Pooling"),
        lambda folder: module(folder, 2, "Dense"),
        lambda folder: (folder / "tokenizer.json").unlink(),
        lambda folder: (folder / "tokenizer.json").write_text("{}"),
        lambda folder: (folder / "model.safetensors").write_bytes(b"no tensors"),
        half,
    ],
)
def test_anything_else_is_left_to_torch(model: Path, tmp_path: Path, other: Callable[[Path], None]) -> None:
    folder = shutil.copytree(model, tmp_path / "model")
    assert isinstance(plain_bert(folder, 64), Bert)
    other(folder)
    assert plain_bert(folder, 64) is None


def test_the_longest_text_fits_the_model(model: Path) -> None:
    assert plain_bert(model, 513) is None
    assert plain_bert(model, 0) is None


def test_a_machine_with_a_gpu_keeps_torch(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedder, "may_have_gpu", lambda: True)
    info = Embedder.for_documents(model, dtype="float32").info
    vectors(info, "auto", "_Local")
    assert may_have_gpu() in (True, False)


def test_the_activation_is_that_of_the_error_function() -> None:
    values = np.linspace(-12, 12, 2001, dtype=np.float32)
    exact = [value * 0.5 * (1 + math.erf(value * 0.5**0.5)) for value in values.tolist()]
    np.testing.assert_allclose(_gelu(values), exact, atol=2e-6)


SEARCH = """
import sys
from ragscale.index.encoders import embedder
embedder.may_have_gpu = lambda: False
from ragscale.cli import app
sys.argv = ["ragscale", "search", *sys.argv[1:]]
app(standalone_mode=False)
heavy = {"torch", "transformers", "sentence_transformers", "langgraph", "langchain_core", "httpx"}
print(sorted(heavy & set(sys.modules)))
"""


@pytest.mark.parametrize("how", ["bm25", "hybrid"])
def test_a_search_imports_neither_torch_nor_langgraph(model: Path, corpus: Path, tmp_path: Path, how: str) -> None:
    with Index.build([corpus], tmp_path / "index", embedder=model):
        pass
    command = [sys.executable, "-c", SEARCH, str(tmp_path / "index"), "who discovered radium", "--how", how, "-k", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "[curie]" in done.stdout or how == "hybrid"  # a random model's vectors mean nothing
    assert done.stdout.splitlines()[-1] == "[]"
