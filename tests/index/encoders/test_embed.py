"""Embedders: prompts, number formats, weights told apart."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ragscale.errors import IndexMismatch, InvalidInput, ModelError, ModelFileError
from ragscale.index import Index
from ragscale.index.encoders.embedder import DEFAULT_NAME, Embedder, canonical_name
from ragscale.index.encoders.loading import locate
from ragscale.weights import pinned

MakeModel = Callable[..., Path]

TEXTS = ["a glacier is a slow river of ice", "bread", "the violin has four strings " * 5, "x"]


def test_the_models_own_prompts_are_used_and_recorded(model: Path) -> None:
    embedder = Embedder.for_documents(model, dtype="float32")
    assert (embedder.info.query_prompt, embedder.info.document_prompt) == ("question: ", "text: ")
    assert (embedder.info.dimension, embedder.info.max_tokens, embedder.info.name) == (32, 64, str(model))
    plain = Embedder.for_documents(model, dtype="float32", query_prompt="", document_prompt="")
    np.testing.assert_allclose(
        embedder.encode_queries(TEXTS), plain.encode_queries([f"question: {text}" for text in TEXTS]), atol=1e-6
    )
    np.testing.assert_allclose(
        embedder.encode_documents(TEXTS), plain.encode_documents([f"text: {text}" for text in TEXTS]), atol=1e-6
    )
    assert not np.allclose(embedder.encode_queries(TEXTS), plain.encode_queries(TEXTS), atol=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_vectors_have_length_one(model: Path, dtype: str) -> None:
    embedder = Embedder.for_documents(model, dtype=dtype)
    vectors = embedder.encode_documents(TEXTS, batch_size=2)
    assert vectors.dtype == np.float32
    assert vectors.shape == (4, 32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert embedder.info.dtype == dtype


def test_queries_are_encoded_in_float32_whatever_the_documents_were(model: Path) -> None:
    half = Embedder.for_documents(model, dtype="bfloat16")
    exact = Embedder.for_documents(model, dtype="float32")
    queries = Embedder.for_queries(half.info, backend="torch")
    np.testing.assert_array_equal(queries.encode_queries(TEXTS), exact.encode_queries(TEXTS))
    assert not np.array_equal(half.encode_documents(TEXTS), exact.encode_documents(TEXTS))


def test_company_in_a_batch_hardly_moves_a_query(minilm: Path) -> None:
    embedder = Embedder.for_queries(Embedder.for_documents(minilm, dtype="float32").info)
    alone = np.concatenate([embedder.encode_queries([text]) for text in TEXTS])
    together = embedder.encode_queries([*TEXTS, "padding " * 100])[:4]
    np.testing.assert_allclose(alone, together, atol=1e-6)


def test_a_vector_that_points_nowhere_is_refused(model: Path, tmp_path: Path) -> None:
    """As of a model whose last layer norm is all zeros: nothing would be near it, and it near nothing."""
    from safetensors.torch import load_file, save_file

    dead = shutil.copytree(model, tmp_path / "dead")
    tensors = load_file(dead / "model.safetensors")
    last = {name for name in tensors if name.endswith("layer.1.output.LayerNorm.weight")}
    last |= {name.replace(".weight", ".bias") for name in last}
    assert len(last) == 2
    (dead / "model.safetensors").unlink()
    save_file({name: tensor * (name not in last) for name, tensor in tensors.items()}, dead / "model.safetensors")
    with pytest.raises(ModelError, match="the vector of 'dimension' has length 0"):
        Embedder.for_documents(dead)


def test_the_default_model_has_no_path_in_its_name(minilm: Path) -> None:
    info = Embedder.for_documents(dtype="float32").info
    assert info.name == DEFAULT_NAME == canonical_name("all-MiniLM-L6-v2") == canonical_name("default")
    files = sorted([file.name, file.sha256] for file in pinned.MODELS["embedder"].files)
    assert info.revision == f"sha256:{hashlib.sha256(json.dumps(files).encode()).hexdigest()}"
    assert (info.dimension, info.max_tokens, info.query_prompt, info.document_prompt) == (384, 256, "", "")


def test_other_weights_are_refused(model: Path, make_model: MakeModel, tmp_path: Path) -> None:
    info = Embedder.for_documents(model).info
    copy = shutil.copytree(model, tmp_path / "copy")
    shutil.copytree(model, copy / "backup")  # stray files are not the model
    assert Embedder.for_queries(info, source=copy).info == info
    with pytest.raises(IndexMismatch, match=r"built with .* at sha256:.*, found sha256:"):
        Embedder.for_queries(info, source=make_model(1))


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


CHANGES: dict[str, Callable[[Path], object]] = {
    "pooling": lambda model: edit(model / "1_Pooling" / "config.json", pooling_mode="cls"),
    "modules": lambda model: (model / "modules.json").write_text(
        json.dumps(json.loads((model / "modules.json").read_text())[:1])
    ),
    "length": lambda model: edit(model / "sentence_bert_config.json", max_seq_length=8),
    "configuration": lambda model: edit(model / "config.json", hidden_act="relu"),
    "prompts": lambda model: edit(model / "config_sentence_transformers.json", prompts={"query": "q: "}),
    "tokenizer": lambda model: (model / "tokenizer.json").write_text(
        (model / "tokenizer.json").read_text().replace('"lowercase": true', '"lowercase": false')
    ),
    "settings of the tokenizer": lambda model: edit(model / "tokenizer_config.json", do_lower_case=False),
    "added tokens": lambda model: (model / "added_tokens.json").write_text('{"river": 3}'),
    "words": lambda model: (model / "vocab.txt").write_text("[UNK]\n"),
    "sentence pieces": lambda model: (model / "spiece.model").write_bytes(b"x"),
    "adapter": lambda model: (model / "adapter_config.json").write_text("{}"),
    "a file that has another's name": lambda model: (model / "config.json").rename(model / "other.json"),
    "weights of a module": lambda model: (model / "1_Pooling" / "model.safetensors").write_bytes(b"x"),
    "pickled weights of a module": lambda model: (model / "1_Pooling" / "pytorch_model.bin").write_bytes(b"x"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_decides_the_vectors_is_told_apart(model: Path, tmp_path: Path, what: str) -> None:
    _, revision = locate(str(model), role="embedder")
    copy = shutil.copytree(model, tmp_path / "copy")
    CHANGES[what](copy)
    assert locate(str(copy), role="embedder")[1] != revision


@pytest.mark.parametrize(
    "name",
    ["README.md", "LICENSE.txt", "pytorch_model.bin", "onnx/model.onnx", "openvino/config.json", "train_script.py",
     "data_config.json", "verified.json", "generation_config.json", ".gitattributes", "eval_results.json"],
)  # fmt: skip
def test_what_does_not_decide_them_is_no_part_of_the_revision(model: Path, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(model, tmp_path / "copy")
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_bytes(b"x")
    assert locate(str(copy), role="embedder")[1] == locate(str(model), role="embedder")[1]


def test_an_index_is_not_searched_with_another_pooling(corpus: Path, model: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model, tmp_path / "copy")
    with Index.build([corpus], tmp_path / "index", embedder=copy, dtype="float32") as index:
        assert index.search(["river"], 1, "dense")[0]
    CHANGES["pooling"](copy)
    with Index.open(tmp_path / "index") as index:
        with pytest.raises(IndexMismatch, match=r"built with .* at sha256:.*, found sha256:"):
            index.search(["river"], 1, "dense")
        assert index.search(["river"], 1, "bm25")[0]


def test_modules_that_are_made_of_others_or_lie_outside(model: Path, tmp_path: Path) -> None:
    router = tmp_path / "router"
    shutil.copytree(model, router / "query_0")
    (router / "router_config.json").write_text('{"types": {"query_0": "x.Transformer"}}')
    _, revision = locate(str(router), role="embedder")
    edit(router / "query_0" / "config.json", hidden_act="relu")
    assert locate(str(router), role="embedder")[1] != revision
    for place in ("../model", "/etc", "a/../.."):
        (router / "modules.json").write_text(json.dumps([{"path": place}]))
        with pytest.raises(ModelFileError, match=r"modules\.json: damaged \(.* leads out of the folder\)"):
            locate(str(router), role="embedder")


def test_models_that_are_not_there(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelFileError, match="no such model folder"):
        Embedder.for_documents(tmp_path / "absent")
    with pytest.raises(ModelFileError, match=r"no \.safetensors weights"):
        Embedder.for_documents(tmp_path)
    (tmp_path / "modules.json").write_text('["x"]')
    with pytest.raises(ModelFileError, match=r"modules\.json: damaged"):
        Embedder.for_documents(tmp_path)
    broken = shutil.copytree(model, tmp_path / "broken")
    (broken / "config.json").write_text("{}")
    with pytest.raises(ModelFileError, match="cannot be loaded"):
        Embedder.for_documents(broken)
    with pytest.raises(InvalidInput, match="neither a folder nor a hub name"):
        Embedder.for_documents("not a name")
    with pytest.raises(InvalidInput, match="unknown dtype 'int8'"):
        Embedder.for_documents(model, dtype="int8")  # type: ignore[arg-type]
    info = Embedder.for_documents(model).info
    shutil.move(model, tmp_path / "moved")
    try:
        with pytest.raises(ModelFileError, match="no such model folder") as caught:
            Embedder.for_queries(info)
        assert "embedder=FOLDER" in caught.value.remedy
    finally:
        shutil.move(tmp_path / "moved", model)


def test_a_hub_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    def refuse(*args: object, **kwargs: object) -> str:
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(ModelFileError, match="'some/model': no such folder, and the hub did not deliver it") as caught:
        Embedder.for_documents("some/model")
    assert "local model" in caught.value.remedy


def test_a_hub_model_is_known_by_its_commit(model: Path, hub: Callable[[Path], list[object]]) -> None:
    commit = "c" * 40
    asked = hub(model)
    info = Embedder.for_documents("some/model").info
    assert (info.name, info.revision) == ("some/model", commit)
    Embedder.for_queries(info)
    assert asked == [("some/model", None, True), ("some/model", commit, True)]
