"""Specifications of models."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fake_endpoint import FakeEndpoint, plain

from ragscale.errors import InvalidInput, MissingDependency, ModelFileError
from ragscale.llm import ModelWarning, embedded, load, openvino
from ragscale.llm.openai import OpenAILLM
from ragscale.weights import pinned


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "spec", ["", "gpt-4", "openai", "openai:", "ollama:", "nobody:llama3", "ftp://host/v1", 7, None]
)
def test_unknown_specifications_are_answered_with_the_known_ones(spec: object) -> None:
    with pytest.raises(InvalidInput, match="Accepted: openai:URL#MODEL") as caught:
        load(spec)
    assert repr(spec) in caught.value.problem or "is no model" in caught.value.problem


@pytest.mark.parametrize(
    ("spec", "url", "model"),
    [
        ("openai:gpt-4o", "https://api.openai.com/v1", "gpt-4o"),
        ("http://localhost:8000/v1", "http://localhost:8000/v1", None),
        ("https://host/v1#m?timeout=5", "https://host/v1", "m"),
        ("ollama:llama3.2:3b", "http://localhost:11434/v1", "llama3.2:3b"),
        ("openrouter:deepseek/deepseek-r1:free", "https://openrouter.ai/api/v1", "deepseek/deepseek-r1:free"),
    ],
)
def test_short_forms(spec: str, url: str, model: str | None) -> None:
    assert repr(load(spec)) == f"OpenAILLM({url!r}, model={model!r})"


@pytest.mark.parametrize(
    "address",
    ["localhost:8000", "localhost/v1#m", "127.0.0.1:8000/v1", "[::1]:8000/v1#m", "gpu-7:8000/v1", "llm.example/v1",
     "api.example/openai/v1?window=8", "192.168.0.7", "gateway#m"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["", "openai:"])
def test_an_address_is_no_model_of_openais(address: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions meant for a server of one's own would be sent there, with the key."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    with pytest.raises(InvalidInput, match="names a server without http://") as caught:
        load(kind + address)
    assert caught.value.remedy == f"Write openai:http://{address}."


@pytest.mark.parametrize(
    "name", ["ft:gpt-4o:org::8000", "org/model-v1", "llama3.1:70b", "qwen2.5:14", "a/v1.5", "m:8000"]
)
def test_names_with_colons_and_slashes_are_models(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://gateway:4000/v1")
    assert repr(load(f"openai:{name}")) == f"OpenAILLM('http://gateway:4000/v1', model={name!r})"


@pytest.mark.parametrize("options", ["window=8&window=9", "body.n=1&timeout=5&body.n=1", "window=8&window=8"])
def test_an_option_is_given_once(options: str) -> None:
    with pytest.raises(InvalidInput, match="is given twice"):
        load(f"http://localhost/v1?{options}")


def test_a_bare_name_is_a_model_where_the_environment_names_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://gateway:4000/v1")
    for spec in ("gpt-4o", "openai:gpt-4o"):
        assert repr(load(spec)) == "OpenAILLM('http://gateway:4000/v1', model='gpt-4o')"
    assert repr(load("openai")) == "OpenAILLM('http://gateway:4000/v1', model=None)"
    monkeypatch.delenv("OPENAI_BASE_URL")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    assert repr(load("gpt-4o")) == "OpenAILLM('https://api.openai.com/v1', model='gpt-4o')"
    with pytest.raises(InvalidInput, match="Unknown model 'ollama:'"):
        load("ollama:")


async def test_options_reach_the_server_as_they_are_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_KEY", "secret")
    with FakeEndpoint(plain) as server:
        model = load(
            f"openai:{server.url}#m?window=4096&thinking=77&timeout=9&key_env=AZURE_KEY&key_header=api-key&body.top_k=20"
            '&reasoning_effort=low&chat_template_kwargs={"enable_thinking":false}&header.x-team=a&query.api-version=v1'
        )
        assert model.context_window == 4096
        await model.generate([{"role": "user", "content": "Hello"}], max_tokens=3)
        path, body = server.requests[-1]
        assert path == "/v1/chat/completions?api-version=v1"
        assert (body["top_k"], body["reasoning_effort"]) == (20, "low")
        assert body["chat_template_kwargs"] == {"enable_thinking": False}
        assert (server.headers[-1]["api-key"], server.headers[-1]["x-team"]) == ("secret", "a")
        assert server.keys[-1] is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("windw=5", "Unknown option 'windw'.*Known: window, thinking"),
        ("body.=5", "Unknown option 'body.'"),
        ("window=many", "window='many' of a model is not a whole number"),
        ("window=0", "context_window=0 is below 1"),
        ("body.max_tokens=9", "fields has max_tokens.*leave it out"),
        ("timeout=0", "timeout=0.0 is not above 0"),
        ("timeout=-1", "is not a number of seconds"),
        ("chat_template_kwargs=5", "is not a JSON object"),
        ("header.Content-Length=5", "'Content-Length' is the connection's own"),
        ("header.transfer-encoding=chunked", "is the connection's own"),
        ("header.Connection=keep-alive", "is the connection's own"),
        ("tokenizer=/nowhere/tokenizer.json", "tokenizer '/nowhere/tokenizer.json' cannot be loaded"),
    ],
)
def test_options_that_cannot_be_honoured_are_refused(options: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        load(f"openai:http://localhost:8000/v1#m?{options}")


def test_model_names_may_hold_slashes_and_colons() -> None:
    model = load(" openai:http://localhost:8000/v1#Qwen/Qwen3-8B:free ")
    assert isinstance(model, OpenAILLM)
    assert model.name == "Qwen/Qwen3-8B:free"


def test_absent_weights_come_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("RAGSCALE_CACHE", str(tmp_path))
    for spec in ("embedded", "openvino"):
        with pytest.raises(ModelFileError, match="ragscale model fetch"):
            load(spec)


def test_a_missing_runtime_comes_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "gguf_file", Path)
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(MissingDependency, match=r"pip install .*\[embedded\]"):
        load("embedded:some.gguf")


def test_another_missing_runtime_comes_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "gguf_file", Path)
    monkeypatch.setattr(openvino, "metadata", lambda path, *names: {})
    monkeypatch.setattr(openvino, "of_gguf", lambda path: frozenset())
    monkeypatch.setitem(sys.modules, "openvino_genai", None)
    with pytest.raises(MissingDependency, match=r"pip install .*\[openvino\]"):
        load("openvino:some.gguf")


def test_a_warning_of_slow_threads_points_to_the_line_that_makes_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "gguf_file", Path)
    monkeypatch.setattr(embedded.threads, "in_time", False)
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.warns(ModelWarning, match="Import ragscale first") as warned, pytest.raises(MissingDependency):
        embedded.EmbeddedLLM("some.gguf")
    assert [warning.filename for warning in warned] == [__file__]


def test_the_import_loads_nothing_heavy() -> None:
    heavy = ["openai", "xllamacpp", "openvino", "openvino_genai", "huggingface_hub", "langchain_core", "torch", "httpx"]
    code = f"import sys, ragscale.llm; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_threads_are_calmed_before_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import os, ragscale.llm; print(os.environ['OMP_WAIT_POLICY'], os.environ['GOMP_SPINCOUNT'])"
    env = {"PATH": "", "OMP_WAIT_POLICY": "active"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.split() == ["active", "0"]  # what the user set is left alone


def test_names_of_packaged_models() -> None:
    assert list(pinned.MODELS) == ["llm", "embedder"]
    with pytest.raises(InvalidInput, match="Unknown model 'gpt'"):
        pinned.path("gpt")
