"""``ragscale doctor`` and its checks."""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from endpoints import ENDPOINTS
from fake_endpoint import Body, FakeEndpoint, Reply, Vllm
from fake_kinds import Fakes, Kind
from test_kinds import EXPECTED
from typer.testing import CliRunner

from ragscale.cli import app, doctor
from ragscale.cli.doctor import (
    Finding,
    check_faiss,
    check_model,
    check_openvino,
    check_runtime,
    check_torch,
    check_weights,
)
from ragscale.endpoint.retry import attempts
from ragscale.extras import pip_install
from ragscale.llm import Capabilities
from ragscale.llm.scripted import ScriptedLLM
from ragscale.types import Spend
from ragscale.weights import pinned
from ragscale.weights.pinned import PackagedModel, PinnedFile

CPU = SimpleNamespace()
GPU_BUILD = SimpleNamespace(StandardGpuResources=object, get_num_gpus=lambda: 0)
TWO_GPUS = SimpleNamespace(StandardGpuResources=object, get_num_gpus=lambda: 2)


def fail(error: Exception) -> Callable[[str], Any]:
    def load(name: str) -> Any:
        raise error

    return load


@pytest.mark.parametrize(
    ("wheels", "load", "state", "detail", "remedy"),
    [
        ({}, lambda name: CPU, "problem", "not installed", "[cpu]"),
        ({"faiss-cpu": "1", "faiss-gpu": "2"}, lambda name: CPU, "problem", "overwrite each other", "pip uninstall"),
        ({"faiss-cpu": "1"}, lambda name: CPU, "ok", "faiss-cpu 1", ""),
        ({"faiss-gpu": "2"}, lambda name: TWO_GPUS, "ok", "faiss-gpu 2, 2 GPU", ""),
        ({"faiss-gpu": "2"}, lambda name: GPU_BUILD, "warning", "sees no GPU", "nvidia-smi"),
        ({"faiss-gpu": "2"}, lambda name: CPU, "warning", "sees no GPU", "nvidia-smi"),
        ({"faiss-cpu": "1"}, fail(ImportError("libblas")), "problem", "does not load: libblas", "--force-reinstall"),
    ],
)
def test_faiss(wheels: dict[str, str], load: Callable[[str], Any], state: str, detail: str, remedy: str) -> None:
    found = check_faiss(wheels.get, load)
    assert found.state == state
    assert detail in found.detail
    assert remedy in found.remedy
    assert (found.remedy == "") == (state == "ok")


def test_torch() -> None:
    cuda = SimpleNamespace(is_available=lambda: True, device_count=lambda: 3)
    assert check_torch(lambda name: SimpleNamespace(__version__="9", cuda=cuda)) == Finding("torch", "ok", "9, 3 GPU")
    none = SimpleNamespace(is_available=lambda: False)
    assert check_torch(lambda name: SimpleNamespace(__version__="9", cuda=none)).detail == "9, CPU"
    assert check_torch(fail(OSError("libc10.so"))).state == "problem"


def test_a_missing_runtime_is_a_problem_where_it_is_needed() -> None:
    assert check_runtime(True, lambda name: "1").state == "ok"
    assert check_runtime(True, lambda name: None).state == "problem"
    assert check_runtime(False, lambda name: None).state == "warning"


def test_missing_weights_are_a_problem_where_they_are_needed_and_damage_always(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = PinnedFile("tiny.gguf", 4, hashlib.sha256(b"good").hexdigest())
    model = PackagedModel("Tiny", "MIT", "tiny", (file,), file.name, "org/tiny", "main", ())
    monkeypatch.setattr(pinned, "MODELS", MappingProxyType({"llm": model, "embedder": model}))
    monkeypatch.setenv("RAGSCALE_CACHE", str(tmp_path))
    assert check_weights("llm", needed=True).state == "problem"
    assert check_weights("llm", needed=False).state == "warning"
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / file.name).write_bytes(b"evil")
    damaged = check_weights("llm", needed=False)
    assert damaged.state == "problem"
    assert "SHA-256" in damaged.detail
    assert damaged.remedy == "ragscale model fetch --only llm"
    (tmp_path / "tiny" / file.name).write_bytes(b"good")
    assert check_weights("llm", needed=True).state == "ok"


def test_a_dead_endpoint_is_a_problem_with_a_remedy() -> None:
    (found,) = check_model("openai:http://127.0.0.1:9/v1#m")
    assert found.state == "problem"
    assert "No model server at http://127.0.0.1:9/v1" in found.detail
    assert "Start the server" in found.remedy
    assert check_model("nonsense")[0].remedy.startswith("Accepted: openai:URL#MODEL")


def scripted(monkeypatch: pytest.MonkeyPatch, model: ScriptedLLM) -> ScriptedLLM:
    monkeypatch.setattr("ragscale.llm.load", lambda spec: model)
    return model


def test_a_model_is_shown_with_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    model = scripted(monkeypatch, ScriptedLLM(lambda m, c: "x", score=lambda m, t: 0.0))
    (found,) = check_model("any")
    assert (found.state, found.remedy) == ("ok", "")
    assert (
        found.detail
        == "scripted, 8192 tokens; can: json schema, scoring, tokenizer, logprobs, samples, continues, tools"
    )
    assert model.closed
    model.probe_spend = Spend(llm_calls=3, prompt_tokens=40, completion_tokens=5)  # type: ignore[attr-defined]
    assert check_model("any")[0].detail == f"{found.detail} (found out by 3 calls: 40 + 5 tokens)"
    scripted(monkeypatch, ScriptedLLM(lambda m, c: "x", capabilities=Capabilities(tokenizer=True)))
    (weak,) = check_model("any")
    assert weak.state == "warning"
    assert "cannot: json schema, scoring, logprobs, samples, continues" in weak.detail


def test_a_model_that_does_not_answer_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(ScriptedLLM):
        async def capabilities(self, *, tools: bool = False) -> Capabilities:
            await self._sleep(60)
            return Capabilities()

    model = scripted(monkeypatch, Slow(lambda m, c: "x"))
    (found,) = check_model("any?header.x=secret", patience=0.05)
    assert found.detail == "any did not answer within 0.05 s"
    assert model.closed


# -- endpoints of every kind


@pytest.mark.parametrize("name", ENDPOINTS)
def test_what_is_said_of_an_endpoint_is_what_it_can(fakes: Fakes, name: str) -> None:
    kind, wanted = ENDPOINTS[name], EXPECTED[name]
    found = {finding.subject: finding for finding in check_model(fakes.add(kind).spec)}
    facts = found["model"].facts
    can = ("json_schema", "scoring", "tokenizer", "logprobs", "samples")
    assert {key: facts[key] for key in can} == {key: getattr(wanted, key) for key in can}
    yes, _, no = found["model"].detail.partition("; cannot: ")
    for key in can:
        words = key.replace("_", " ")
        assert (words in yes, words in no) == (getattr(wanted, key), not getattr(wanted, key))
    assert yes.startswith(f"{kind.model}, ")
    assert facts["probe_spend"]["llm_calls"] > 0
    assert f"found out by {facts['probe_spend']['llm_calls']} call" in yes

    window = found["window"]
    assert facts["window"] == (wanted.window or 8192)
    assert facts["window_from"] == ("told" if wanted.window else "assumed")
    assert window.detail.startswith(f"{facts['window']} tokens")
    assert (window.state, "?window=" in window.remedy) == (("ok", False) if wanted.window else ("warning", True))

    assert found["tokens"].state == "ok"
    assert ("counted by the server" in found["tokens"].detail) == wanted.tokenizer
    assert ("estimated, calibrated" in found["tokens"].detail) != wanted.tokenizer

    assert (found["thoughts"].state == "warning") == wanted.thinks == (facts["thinking"] == 1024)
    assert ("1,024 tokens" in found["thoughts"].detail) == wanted.thinks
    assert ("?thinking=N" in found["thoughts"].remedy) == wanted.thinks

    refused = sorted({"temperature", "seed"} & {*kind.refuses})
    assert [name for name in ("temperature", "seed") if name in facts["refused"]] == refused
    assert ("requests" in found) == bool(facts["refused"])


@pytest.mark.parametrize(
    ("kind", "subject", "state", "words"),
    [
        (Kind(usage="absent"), "tokens", "warning", "prompts are estimated; the server reports no usage that can be"),
        (Kind(usage="zeros"), "tokens", "warning", "calls are charged by an estimate"),
        (Kind(usage="absent", route="vllm"), "tokens", "ok", "by the server's tokenizer; the server reports no"),
        (Kind(system=False, route="llama"), "requests", "ok", "its chat template has no system role"),
        (Kind(system=False), "requests", "ok", "its chat template has no system role"),
        (Kind(least=32), "requests", "ok", "it takes no limit of a reply below 32 tokens"),
        (Kind(refuses=("temperature",)), "requests", "ok", "it refuses temperature: calls go on without"),
    ],
)
def test_what_goes_another_way_is_said(fakes: Fakes, kind: Kind, subject: str, state: str, words: str) -> None:
    found = next(finding for finding in check_model(fakes.add(kind).spec) if finding.subject == subject)
    assert found.state == state
    assert words in found.detail
    assert (found.remedy == "") == (state == "ok")


@pytest.mark.parametrize(
    ("options", "subject", "words"),
    [
        ("window=4096", "window", "4096 tokens, as given"),
        ("thinking=77", "thoughts", "77 tokens more"),
        ('chat_template_kwargs={"enable_thinking":false}', "thoughts", "none before a reply"),
    ],
)
def test_options_are_shown_as_they_are_honoured(fakes: Fakes, options: str, subject: str, words: str) -> None:
    found = check_model(f"{fakes.add(ENDPOINTS['vllm qwen3']).spec}?{options}")
    assert words in next(finding.detail for finding in found if finding.subject == subject)


def test_a_parameter_that_is_sent_by_its_newer_name_is_none_that_is_missed(fakes: Fakes) -> None:
    facts = check_model(fakes.add(Kind(limit_field="max_completion_tokens")).spec)[0].facts
    assert facts["refused"] == ()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (replace(ENDPOINTS["openrouter"], refuses=("messages",), said={"messages": (402, "Insufficient credits")}),
         "HTTP 402): Insufficient credits"),
        (replace(ENDPOINTS["groq"], refuses=("model",), said={"model": (404, "The model does not exist")}),
         "HTTP 404): The model does not exist"),
        (Kind(refuses=("messages",), said={"messages": (500, "CUDA out of memory")}), "CUDA out of memory"),
    ],
)  # fmt: skip
def test_a_problem_is_told_in_the_servers_words(fakes: Fakes, kind: Kind, words: str) -> None:
    (found,) = check_model(fakes.add(kind).spec)
    assert found.state == "problem"
    assert words in found.detail
    assert found.remedy


@pytest.mark.parametrize("bad", [Reply({}, 500), Reply({}, 429), Reply(b"<html>")], ids=["500", "429", "html"])
def test_what_fails_now_and_then_is_tried_again(bad: Reply, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragscale.endpoint.retry.attempts", functools.partial(attempts, base=0.0))
    fake, number = Vllm(), [0]

    def flaky(path: str, body: Body) -> Reply:
        number[0] += path.endswith("completions")
        return bad if path.endswith("completions") and number[0] % 2 else fake(path, body)

    with FakeEndpoint(flaky) as server:
        facts = check_model(f"openai:{server.url}")[0].facts
    assert all(facts[name] for name in ("json_schema", "samples", "continues"))


def test_a_throttle_beyond_the_patience_is_named_at_once() -> None:
    far = Reply({"error": {"message": "Rate limit reached"}}, 429, headers={"retry-after": "3600"})
    fake = Vllm()
    with FakeEndpoint(lambda path, body: far if path.endswith("completions") else fake(path, body)) as server:
        started = time.monotonic()
        (found,) = check_model(f"openai:{server.url}", patience=40)
    assert time.monotonic() - started < 20
    assert (found.state, "Rate limit reached" in found.detail) == ("problem", True)


def test_the_same_as_json(fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "check_torch", lambda: Finding("torch", "ok", "9, CPU"))
    kind = ENDPOINTS["gemini"]
    done = CliRunner().invoke(app, ["doctor", "--json", "--llm", fakes.add(kind).spec])
    assert (done.exit_code, done.stderr) == (0, "")
    found = {finding["subject"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert found["torch"] == {"subject": "torch", "state": "ok", "detail": "9, CPU", "remedy": "", "facts": {}}
    facts = found["model"]["facts"]
    assert (facts["name"], facts["counts"], facts["usage"], facts["thinking"]) == (kind.model, "estimated", True, 1024)
    assert facts["refused"] == ["seed"]

    done = CliRunner().invoke(app, ["doctor", "--json", "--llm", "openai:http://127.0.0.1:9/v1#m"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["findings"][-1]["state"] == "problem"


# -- what is tried, and how it is shown


@pytest.mark.parametrize(
    ("can", "words"),
    [
        (frozenset({"avx2", "avx512_vnni"}), "this CPU has AVX-512 VNNI: openvino reads prompts nearly twice as fast"),
        (frozenset({"avx2", "avx512f"}), "this CPU has no AVX-512 VNNI"),
        (None, "depends on the CPU"),
    ],
)
def test_which_runtime_is_the_faster_one(can: frozenset[str] | None, words: str) -> None:
    there = check_openvino(True, lambda name: "2026.4", lambda: can)
    assert (there.state, there.remedy) == ("ok", "")
    assert there.detail.startswith("2026.4; ")
    assert words in there.detail
    for needed, state in ((True, "problem"), (False, "ok")):
        absent = check_openvino(needed, lambda name: None, lambda: can)
        assert (absent.state, absent.remedy) == (state, pip_install("openvino"))
        assert words in absent.detail


def test_flags_of_this_cpu_are_words() -> None:
    flags = doctor.cpu_flags()
    assert flags is None or ("fpu" in flags and all(flag == flag.strip() for flag in flags))


@pytest.mark.parametrize(("states", "code"), [(["ok"], 0), (["ok", "warning"], 0), (["problem", "ok"], 1)])
def test_the_exit_code_tells_of_problems(states: list[Any], code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    findings = [Finding(f"part {n}", state, "found this", "do that") for n, state in enumerate(states)]
    monkeypatch.setattr(doctor, "examine", lambda llm: findings)
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == code
    for finding in findings:
        for text in (finding.subject, finding.state, finding.detail, finding.remedy):
            assert text in done.output


def test_control_codes_of_a_server_do_not_reach_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "examine", lambda llm: [Finding("model", "ok", "na\x1b[2Jme", "re\x1b[2Jmedy")])
    shown = CliRunner().invoke(app, ["doctor"]).output
    assert "na\ufffd[2Jme" in shown
    assert "re\ufffd[2Jmedy" in shown


@pytest.mark.parametrize(
    ("llm", "ready", "tried"),
    [
        (None, True, ["embedded"]),
        (None, False, []),
        ("embedded", False, []),
        ("embedded", True, ["embedded"]),
        ("openvino", False, []),
        ("openvino", True, ["openvino"]),
        ("embedded:x.gguf", False, ["embedded:x.gguf"]),
        ("openvino:x.gguf", False, ["openvino:x.gguf"]),
        ("openai:http://h/v1", False, ["openai:http://h/v1"]),
    ],
)
def test_which_model_is_tried(llm: str | None, ready: bool, tried: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    ok = Finding("x", "ok", "")
    monkeypatch.setattr(doctor, "check_faiss", lambda: ok)
    monkeypatch.setattr(doctor, "check_torch", lambda: ok)
    monkeypatch.setattr(doctor, "check_runtime", lambda needed: ok)
    monkeypatch.setattr(doctor, "check_openvino", lambda needed: ok)
    monkeypatch.setattr(doctor, "check_weights", lambda name, needed: ok if ready else Finding(name, "problem", ""))
    monkeypatch.setattr(doctor, "check_model", lambda spec: (seen.append(spec), [ok])[1])
    doctor.examine(llm)
    assert seen == tried
