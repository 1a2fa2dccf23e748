"""Other engines under the embedder: the same vectors, or a clear refusal; work shared by processes."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

from ragscale.errors import InvalidInput, MissingDependency, ModelFileError
from ragscale.extras import pip_install
from ragscale.index import Index
from ragscale.index.encoders import embedder
from ragscale.index.encoders.backends import accelerate
from ragscale.index.encoders.embedder import Embedder
from ragscale.index.options import Backend
from ragscale.index.storage.snapshot import open_vectors

TEXTS = ["a glacier is a slow river of ice", "bread", "the violin has four strings " * 5, "x"]
PACKAGES = {"openvino": ("openvino",), "onnx": ("onnx", "onnxruntime")}


def need(backend: str) -> None:
    for package in PACKAGES[backend]:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install '.[{backend}]'")


@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_backends_give_the_vectors_of_torch(model: Path, backend: Backend) -> None:
    need(backend)
    torch = Embedder.for_documents(model, dtype="float32")
    other = Embedder.for_documents(model, dtype="float32", backend=backend)
    assert other.info == torch.info
    np.testing.assert_allclose(other.encode_documents(TEXTS), torch.encode_documents(TEXTS), atol=1e-5)
    queries = Embedder.for_queries(torch.info, backend=backend)
    np.testing.assert_allclose(queries.encode_queries(TEXTS), torch.encode_queries(TEXTS), atol=1e-5)
    assert queries.encode_queries(["another length " * 3]).shape == (1, 32)


@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_an_index_grows_with_a_backend(
    model: Path, backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(backend)
    rows = tiny.rows_of(range(12))
    first, everything = (tiny.write_rows(tmp_path / f"{n}.jsonl", rows[:n]) for n in (6, 12))
    options: dict[str, Any] = {"embedder": model, "dtype": "float32", "backend": backend}
    used: list[str] = []
    monkeypatch.setattr(
        embedder, "accelerate", lambda model, backend, **how: (used.append(backend), accelerate(model, backend, **how))
    )
    with Index.build([first], tmp_path / "index", **options) as index:
        index.add([everything], backend=backend)
        vectors = open_vectors(index.path, index.manifest).take(np.arange(12))
    assert used == [backend, backend]
    with Index.build([everything], tmp_path / "torch", embedder=model, dtype="float32") as other:
        wanted = open_vectors(other.path, other.manifest).take(np.arange(12))
    np.testing.assert_allclose(vectors, wanted, atol=1e-5)


def test_openvino_reports_to_nobody() -> None:
    need("openvino")
    code = (
        "import sys; from ragscale.weights.telemetry import silent_openvino; silent = silent_openvino(); "
        "from openvino.tools.ovc import telemetry_utils; assert callable(silent.convert_model); "
        "print(telemetry_utils.tm.__name__, 'openvino_telemetry' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["openvino.tools.ovc.telemetry_stub", "False"]


def test_openvino_in_half_precision(minilm: Path) -> None:
    need("openvino")
    half = Embedder.for_documents(minilm, dtype="bfloat16", backend="openvino")
    exact = Embedder.for_documents(minilm, dtype="float32")
    assert half.info.dtype == "bfloat16"
    assert (half.encode_documents(TEXTS) * exact.encode_documents(TEXTS)).sum(axis=1).min() > 0.99


def test_absent_packages_are_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def absent(name: str, package: str | None = None) -> object:
        return None if name in ("openvino", "onnx", "onnxruntime") else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", absent)
    info = Embedder.for_documents(model, dtype="float32").info
    for backend in ("openvino", "onnx"):
        for load in (
            lambda b: Embedder.for_documents(model, backend=b),
            lambda b: Embedder.for_queries(info, backend=b),
        ):
            with pytest.raises(MissingDependency, match=f"backend {backend} needs") as caught:
                load(backend)
            assert pip_install(backend) in caught.value.remedy


def test_settings_that_exclude_each_other(model: Path) -> None:
    with pytest.raises(InvalidInput, match="unknown backend 'jax'"):
        Embedder.for_documents(model, backend="jax")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="bfloat16 with backend onnx"):
        Embedder.for_documents(model, backend="onnx", dtype="bfloat16")
    with pytest.raises(InvalidInput, match="runs in one process"):
        Embedder.for_documents(model, backend="openvino", devices=["cpu", "cpu"])


def test_a_model_that_cannot_be_traced() -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import BoW

    bag = SentenceTransformer(modules=[BoW(vocab=["a", "b"])], device="cpu")
    with pytest.raises(ModelFileError, match="BoW is no transformer"):
        accelerate(bag, "openvino", half=False)


@pytest.mark.slow
def test_processes_share_the_work(model: Path) -> None:
    """Two processes give what one gives; starting them takes half a minute."""
    alone = Embedder.for_documents(model, dtype="bfloat16")
    texts = [f"{text} {number}" for number in range(300) for text in TEXTS]
    with Embedder.for_documents(model, dtype="bfloat16", devices=["cpu", "cpu"]) as shared:
        assert shared.info == alone.info
        found = shared.encode_documents(texts)
    np.testing.assert_allclose(found, alone.encode_documents(texts), atol=0.02)
