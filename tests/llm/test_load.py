"""Specifications of models."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ragscale.errors import InvalidInput, MissingDependency, ModelFileError
from ragscale.llm import embedded, load, weights
from ragscale.llm.openai import OpenAILLM


@pytest.mark.parametrize("spec", ["", "gpt-4", "openai", "openai:", "ollama:llama3", "http://localhost/v1", 7, None])
def test_unknown_specifications_are_answered_with_the_known_ones(spec: object) -> None:
    with pytest.raises(InvalidInput, match="Accepted: openai:URL#MODEL") as caught:
        load(spec)
    assert repr(spec) in caught.value.problem or "is no model" in caught.value.problem


def test_model_names_may_hold_slashes_and_colons() -> None:
    model = load(" openai:http://localhost:8000/v1#Qwen/Qwen3-8B:free ")
    assert isinstance(model, OpenAILLM)
    assert model.name == "Qwen/Qwen3-8B:free"


def test_absent_weights_come_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("RAGSCALE_CACHE", str(tmp_path))
    with pytest.raises(ModelFileError, match="ragscale model fetch"):
        load("embedded")


def test_a_missing_runtime_comes_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_check_file", lambda path: None)
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(MissingDependency, match=r"ragscale\[embedded\]"):
        load("embedded:some.gguf")


def test_the_import_loads_nothing_heavy() -> None:
    heavy = ["openai", "xllamacpp", "huggingface_hub", "langchain_core", "torch", "httpx"]
    code = f"import sys, ragscale.llm; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_threads_are_calmed_before_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import os, ragscale.llm; print(os.environ['OMP_WAIT_POLICY'], os.environ['GOMP_SPINCOUNT'])"
    env = {"PATH": "", "OMP_WAIT_POLICY": "active"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.split() == ["active", "0"]  # what the user set is left alone


def test_names_of_packaged_models() -> None:
    assert list(weights.MODELS) == ["llm", "embedder"]
    with pytest.raises(InvalidInput, match="Unknown model 'gpt'"):
        weights.path("gpt")
