"""``vllm:MODEL``: the server that is started for it, through real processes; the program is a fake."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ragscale.cli.doctor import check_model
from ragscale.errors import EndpointError, InvalidInput, MissingDependency, ModelError, ModelFileError
from ragscale.llm import ModelWarning, keeper, load, process, vllm
from ragscale.llm.vllm import VllmLLM

ASK = [{"role": "user", "content": "Name a colour."}]
CRASH = [{"role": "user", "content": "crash"}]
FAKE = Path(__file__).with_name("fake_vllm_server.py")


@pytest.fixture(autouse=True)
def interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment with the fake for vLLM."""
    found = tmp_path / "python"
    found.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" "$@"\n')
    found.chmod(0o755)
    monkeypatch.setenv("RAGSCALE_VLLM_PYTHON", str(found))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # for the logs of those that fail
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return found


@pytest.fixture(autouse=True)
def nothing_is_left(interpreter: Path) -> Iterator[None]:
    """Each test stops what it starts."""
    yield
    assert VllmLLM._servers._held == {}


def seen(model: VllmLLM) -> dict[str, Any]:
    told: dict[str, Any] = httpx.get(model.endpoint.removesuffix("/v1") + "/seen").json()
    return told


def alive(pid: int) -> bool:
    """Whether a process runs, or a thread of it that holds its sockets; one that nobody waited for does not."""
    try:
        threads = sorted(Path(f"/proc/{pid}/task").iterdir())
        return any((thread / "stat").read_text().rpartition(") ")[2][0] != "Z" for thread in threads)
    except OSError:
        return False


def gone(pids: list[int], within: float = 5.0) -> bool:
    ends = time.monotonic() + within
    while time.monotonic() < ends and any(map(alive, pids)):
        time.sleep(0.02)
    return not any(map(alive, pids))


def vllm_model(spec: str) -> VllmLLM:
    model = load(spec)
    assert isinstance(model, VllmLLM)
    return model


async def test_a_server_is_started_answers_and_is_stopped_with_its_last_user() -> None:
    """Its child, as vLLM's engine is one, ends with it."""
    first = vllm_model("vllm:slow?max_model_len=2048&dtype=bfloat16&enforce_eager")
    second = vllm_model("vllm:slow?max_model_len=2048&dtype=bfloat16&enforce_eager")
    assert (first.endpoint, first.name, repr(first)) == (second.endpoint, "slow", "VllmLLM('slow')")
    assert first.started_in >= 0.5
    assert first.context_window == 2048
    assert (await first.capabilities()).scoring
    assert (await first.generate(ASK, max_tokens=3)).usage.cached_tokens == 4
    pids, log = seen(first)["pids"], first._server_process.log
    await first.aclose()
    await first.aclose()
    assert (await second.generate(ASK, max_tokens=3)).texts == ["hello"]
    assert all(map(alive, pids))
    await second.aclose()
    assert gone(pids)
    assert log is not None
    assert not log.exists()
    with pytest.raises(EndpointError, match="was stopped"):
        await second.generate(ASK, max_tokens=3)


def test_options_are_those_of_the_server_and_no_key_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy either: none is asked for what is on this machine."""
    for name in ("VLLM_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "sk-secret")
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    spec = "vllm:org/well?window=1024&enforce-eager=false&timeout=9&thinking=5&body.top_k=20"
    model = vllm_model(spec)
    asyncio.run(model.generate(ASK, max_tokens=3))
    told = httpx.Client(trust_env=False).get(model.endpoint.removesuffix("/v1") + "/seen").json()
    model.close()
    words = [
        "--enable-prompt-tokens-details", "--no-enforce-eager", "--max-model-len=1024", "--model=org/well",
        "--served-model-name=org/well", "--host=127.0.0.1",
    ]  # fmt: skip
    assert told["words"][1:3] == ["-m", "vllm.entrypoints.openai.api_server"]
    assert sorted(told["words"][3:-1]) == sorted(words)
    assert "sk-secret" not in str(told)
    assert told["environment"]["VLLM_NO_USAGE_STATS"] == "1"
    assert not any("authorization" in map(str.lower, headers) for headers in told["headers"])


def test_values_go_to_the_server_as_they_are() -> None:
    options = {"hf_overrides": {"a": 1}, "speculative_config.num_tokens": 3, "max-num-seqs": 8, "quantization": None}
    words = vllm._word("hf_overrides", options["hf_overrides"]), vllm._word("speculative_config.num_tokens", 3)
    assert words == ('--hf-overrides={"a": 1}', "--speculative-config.num_tokens=3")


def test_a_folder_is_served_under_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "my model"
    folder.mkdir()
    model = vllm_model(f"vllm:{folder}")
    assert model.name == "my model"
    assert f"--model={folder}" in seen(model)["words"]
    model.close()


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("vllm:", InvalidInput, "Accepted: .*vllm:MODEL"),
        ("vllm:well?port=80", InvalidInput, "option port of a vLLM server is set by ragscale"),
        ("vllm:well?served-model-name=x", InvalidInput, "option served_model_name .* is set by ragscale"),
        ("vllm:well?api-key=sk-1", InvalidInput, "api_key would be seen in the process list"),
        ("vllm:well?hf_token=hf", InvalidInput, "put it into HF_TOKEN"),
        ("vllm:well?dtype=a&dtype=b", InvalidInput, "'dtype' of a model is given twice"),
        ("vllm:well?startup=soon", InvalidInput, "is not a number of seconds"),
        ("vllm:well?startup=0", InvalidInput, "startup=0.0 is not above 0"),
        ("vllm:well?timeout=0", InvalidInput, "timeout=0.0 is not above 0"),
        ("vllm:well?body.n=2", InvalidInput, "fields has n"),
        ("vllm:/nowhere/model", ModelFileError, "no folder /nowhere/model"),
        ("vllm:well?python=/nowhere/python", MissingDependency, "no interpreter /nowhere/python"),
        (f"vllm:well?python={sys.executable}", MissingDependency, r"vLLM is not installed .* -m pip install vllm"),
    ],
)
def test_settings_that_cannot_be_honoured_are_refused(
    spec: str, error: type[Exception], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        load(spec)
    assert not [*tmp_path.glob("*.log")]


def test_an_option_that_the_server_does_not_know_is_refused_in_its_own_words() -> None:
    with pytest.raises(EndpointError, match=r"ended before it served \(exit code 2\): .*error: unrecognized") as caught:
        load("vllm:well?max_modle_len=5")
    assert "--max-modle-len=5" in caught.value.problem


def log(error: EndpointError) -> Path:
    """The log that an error names."""
    return Path(error.remedy.partition("is in ")[2].partition(")")[0])


def test_a_server_that_dies_is_told_with_the_cause_and_the_end_of_its_log() -> None:
    with pytest.raises(EndpointError) as caught:
        load("vllm:dies")
    problem = "The vLLM server of dies ended before it served (exit code 1): ValueError: No memory left for the cache"
    assert caught.value.problem.startswith(problem)
    assert caught.value.remedy.endswith("See root cause above.")
    assert "Traceback" in log(caught.value).read_text()
    (found,) = check_model("vllm:dies")
    assert (found.state, found.detail) == ("problem", caught.value.problem)


PYDANTIC = """\
(APIServer pid=7) Traceback (most recent call last):
(APIServer pid=7)   File "arg_utils.py", line 1955, in create_model_config
(APIServer pid=7)     return ModelConfig(
(APIServer pid=7)            ^^^^^^^^^^^^
(APIServer pid=7) pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig
(APIServer pid=7)   Value error, User-specified max_model_len (99999) is greater than the derived one.
(APIServer pid=7)     For further information visit https://errors.pydantic.dev
"""


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        (PYDANTIC, "Value error, User-specified max_model_len (99999) is greater than the derived one."),
        ("usage: api_server.py [-h]\n\napi_server.py: error: unrecognized arguments: --x\n",
         "api_server.py: error: unrecognized arguments: --x"),
        ("INFO 11-29 04:02:30 [a.py:1] starting\nKilled\n", "Killed"),
        ("", ""),
    ],
)  # fmt: skip
def test_the_cause_is_the_first_error_of_the_log(log: str, cause: str) -> None:
    """The frames of tracebacks are not told."""
    assert process._cause(log) == cause
    assert not [line for line in process._telling(log) if "File" in line or "^" in line or "ModelConfig(" in line]


@pytest.mark.parametrize("odd", ["nested", "large", "endless"])
def test_an_odd_list_of_models_is_that_of_a_server_that_does_not_serve_yet(
    odd: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_SILENCE", 0.5)
    model = vllm_model(f"vllm:{odd}?timeout=9")
    assert asyncio.run(model.generate(ASK, max_tokens=3)).texts == ["hello"]
    model.close()


def test_a_server_that_hangs_is_ended_at_the_time_limit(tmp_path: Path) -> None:
    with pytest.raises(EndpointError, match=r"does not serve after 2 s.*\?startup=SECONDS") as caught:
        load(f"vllm:hangs?startup=2&started={tmp_path / 'started'}")
    told = log(caught.value).read_text()
    pids = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if str(tmp_path) in command(pid)]
    assert gone([*pids, *map(int, re.findall(r"engine (\d+)", told))])  # a busy machine may not have come that far


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_a_server_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hasty = tmp_path / "keeper.py"
    hasty.write_text(Path(keeper.__file__).read_text().replace("GRACE = 10.0", "GRACE = 0.2"))
    monkeypatch.setattr(keeper, "__file__", str(hasty))
    model = vllm_model("vllm:stubborn")
    pids = seen(model)["pids"]
    started = time.monotonic()
    model.close()
    assert gone(pids)
    assert time.monotonic() - started < 5


def test_another_port_is_taken_where_one_is_not_free(tmp_path: Path) -> None:
    started = tmp_path / "started"
    model = vllm_model(f"vllm:busy?started={started}")
    assert len(started.read_text().split()) == 2
    model.close()


def test_agents_that_start_together_share_one_server(tmp_path: Path) -> None:
    started = tmp_path / "started"
    spec, made = f"vllm:slow?started={started}", list[VllmLLM]()
    threads = [threading.Thread(target=lambda: made.append(vllm_model(spec))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(started.read_text().split()) == 1
    assert len({model.endpoint for model in made}) == 1
    for model in made:
        model.close()


def kill(pids: list[int]) -> None:
    os.kill(pids[0], signal.SIGKILL)
    assert gone(pids)


async def test_a_server_that_was_killed_is_started_again_for_all_that_wait(tmp_path: Path) -> None:
    """At the same address, since its clients know it; the fifth end in an hour is an error."""
    model = vllm_model(f"vllm:well?started={tmp_path / 'started'}")
    await model.capabilities()
    before = model.endpoint
    for _ in range(3):
        await asyncio.to_thread(kill, seen(model)["pids"])
        with pytest.warns(ModelWarning, match=r"ended while it served \(signal 9\): it is started again"):
            done = await asyncio.gather(*(model.generate(ASK, max_tokens=3) for _ in range(8)))
        assert [generation.texts for generation in done] == [["hello"]] * 8
    assert len((tmp_path / "started").read_text().split()) == 4
    assert before == model.endpoint
    await asyncio.to_thread(kill, seen(model)["pids"])
    with pytest.raises(EndpointError, match="for the 4th time in an hour"):
        await model.generate(ASK, max_tokens=3)
    await model.aclose()


async def test_calls_that_come_while_it_starts_again_wait_for_it() -> None:
    """Also those that were refused before another call started it again."""
    model = vllm_model("vllm:well")
    await model.capabilities()
    server = model._server_process
    life = server.life
    await asyncio.to_thread(kill, seen(model)["pids"])

    async def later(seconds: float) -> list[str]:
        await asyncio.sleep(seconds)
        return (await model.generate(ASK, max_tokens=3)).texts

    with pytest.warns(ModelWarning, match="started again"):
        done = await asyncio.gather(*(later(number / 40) for number in range(40)))
    assert done == [["hello"]] * 40
    assert await server.ends(life)
    assert not await server.ends(server.life, within=0.2)
    await model.aclose()


async def test_a_call_that_kills_the_server_may_be_repeated() -> None:
    """It is charged the most that it may have cost."""
    model = vllm_model("vllm:well")
    await model.capabilities()
    with pytest.raises(ModelError, match="broke before the answer") as caught:
        await model.generate(CRASH, max_tokens=3, n=2)
    assert caught.value.retryable
    assert caught.value.spend is None
    assert not isinstance(caught.value, EndpointError)
    with pytest.warns(ModelWarning, match="started again"):
        assert (await model.generate(ASK, max_tokens=3)).texts == ["hello"]
    await model.aclose()


PARENT = """
import signal, sys, time
from ragscale.llm import load
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in a shell's background
model = load("vllm:well?started=" + sys.argv[1])
print(model.endpoint, flush=True)
{then}
"""
ENDS: dict[str, Callable[[subprocess.Popen[str]], object]] = {
    "raise SystemExit(0)": lambda parent: None,
    "raise ValueError": lambda parent: None,
    "import os; os._exit(3)": lambda parent: None,
    "time.sleep(600)": lambda parent: parent.kill(),
    "time.sleep(601)": lambda parent: parent.terminate(),
    "time.sleep(602)": lambda parent: parent.send_signal(signal.SIGINT),
}


@pytest.mark.parametrize("then", ENDS)
def test_no_server_outlives_its_process(then: str, tmp_path: Path) -> None:
    """The server ends with its process in each of the ways in which that can end."""
    started = tmp_path / "started"
    command = [sys.executable, "-c", PARENT.format(then=then), str(started)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        pids = httpx.get(url.removesuffix("/v1") + "/seen").json()["pids"] if "sleep" in then else []
        ENDS[then](parent)
    assert gone([*pids, int(started.read_text())])


def test_no_server_outlives_its_keeper() -> None:
    model = vllm_model("vllm:well")
    pids = seen(model)["pids"]
    held = model._server_process._process
    assert held is not None
    held.kill()
    assert gone(pids[:1])
    model.close()


def test_a_forked_process_leaves_the_server_alone() -> None:
    model = vllm_model("vllm:well")
    child = os.fork()
    if not child:
        status = 1
        try:
            assert not model._server_process.ended
            model.close()
            process._stop_all()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert asyncio.run(model.generate(ASK, max_tokens=3)).texts == ["hello"]
    model.close()


def test_doctor_says_what_such_a_server_can() -> None:
    found = {finding.subject: finding for finding in check_model("vllm:well?max_model_len=4096")}
    assert found["model"].state == "ok"
    assert found["model"].detail.startswith("well, 4096 tokens; can: json schema, scoring")
    assert "server's tokenizer" in found["tokens"].detail
