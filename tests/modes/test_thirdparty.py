"""A mode of another package: installed by pip, found by its entry point, listed, and held to the conformance suite."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conformance import Conformance
from doubles import QUESTION, StubIndex, run, scripted

from ragscale import modes
from ragscale.errors import InvalidInput
from ragscale.modes import Mode
from ragscale.prompts import NO_INFORMATION

EXAMPLE = Path(__file__).parents[2] / "examples" / "thirdparty-mode"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, installed by pip into a folder of its own; nothing is fetched."""
    pytest.importorskip("setuptools", minversion="70.1")  # what builds it; torch brings one
    folder = tmp_path_factory.mktemp("thirdparty")
    source = shutil.copytree(EXAMPLE, folder / "source")  # pip builds beside the sources
    target = folder / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", "--target", str(target), str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def found(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Mode]]:
    """The mode's class, as `registered` finds it while the package is on the path."""
    monkeypatch.syspath_prepend(str(installed))
    importlib.invalidate_caches()
    yield modes.registered()["iter_retgen"]
    sys.modules.pop("iter_retgen", None)


class TestRegistration:
    def test_behind_the_built_in_modes_and_by_name(self, found: type[Mode]) -> None:
        assert list(modes.registered()) == [*modes.built_in(), "iter_retgen"]
        assert modes.get("iter_retgen") == found()
        with pytest.raises(InvalidInput, match=r"Did you mean 'iter_retgen'\?"):
            modes.get("iter_retgn")

    def test_not_without_the_package(self) -> None:
        assert "iter_retgen" not in modes.registered()

    def test_in_the_command_lines_list(self, installed: Path) -> None:
        paths = os.pathsep.join([str(installed), *sys.path])
        done = subprocess.run(
            [sys.executable, "-c", "from ragscale.cli import app; app()", "modes", "--json"],
            capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        listed = {mode["name"]: mode for mode in json.loads(done.stdout)["modes"]}
        parameters = {parameter["name"]: parameter["default"] for parameter in listed["iter_retgen"]["parameters"]}
        assert parameters["iterations"] == 2

    @pytest.mark.parametrize(
        ("body", "problem"),
        [
            ("class Wrong: pass", "is no Mode class"),
            ("from ragscale.modes import Once\nclass Wrong(Once): pass", "Two modes are called 'once'"),
            ("import no_such_thing", r"cannot be loaded \(ModuleNotFoundError: .*Update or uninstall wrong-mode"),
            ("Wrong = 1 / 0", r"cannot be loaded \(ZeroDivisionError"),
            ("from ragscale.modes import Mode\nclass Wrong(Mode): pass", "is a mode of the name None"),
            ("from ragscale.modes import Once\nclass Wrong(Once): name = '2 hops'", "a mode of the name '2 hops'"),
        ],
    )
    def test_of_something_else_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, problem: str
    ) -> None:
        (tmp_path / "wrong_mode.py").write_text(body)
        metadata = tmp_path / "wrong_mode-1.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: wrong-mode\nVersion: 1\n")
        (metadata / "entry_points.txt").write_text("[ragscale.modes]\nwrong = wrong_mode:Wrong\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        importlib.invalidate_caches()
        try:
            with pytest.raises(InvalidInput, match=problem):
                modes.registered()
        finally:
            sys.modules.pop("wrong_mode", None)


class TestInsideAnEnsemble(Conformance):
    """The same mode as the members of a vote."""

    @pytest.fixture
    def mode(self, found: type[Mode]) -> Mode:
        return modes.get("vote(of=iter_retgen, n=2)")


class TestIterRetGen(Conformance):
    @pytest.fixture
    def mode(self, found: type[Mode]) -> Mode:
        return found()

    @pytest.mark.parametrize("iterations", [1, 2, 4])
    def test_each_query_carries_the_answer_before(self, found: type[Mode], iterations: int) -> None:
        index = StubIndex()
        answer, _ = run(found(iterations=iterations), index=index)  # type: ignore[call-arg]
        total = answer.spend.total
        assert (total.llm_calls, total.queries, total.rounds) == (iterations + 1, iterations, iterations)
        answers = [event.output for event in answer.trace if event.move == "read"]
        assert index.searches == [[QUESTION], *([f"{QUESTION} {text}"] for text in answers[:-1])]

    def test_an_empty_answer_is_not_searched_for(self, found: type[Mode]) -> None:
        index = StubIndex()
        run(found(), index=index, llm=scripted(lambda messages, call: NO_INFORMATION))
        assert index.searches == [[QUESTION], [QUESTION]]
