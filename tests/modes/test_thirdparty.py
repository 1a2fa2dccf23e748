"""A mode of another package: found by its entry point and held to the same conformance suite."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from conformance import Conformance
from doubles import run
from typer.testing import CliRunner

from ragscale import modes
from ragscale.modes import Mode

EXAMPLE = Path(__file__).parents[2] / "examples" / "thirdparty-mode"


def test_without_the_package_the_name_is_unknown() -> None:
    # First in this file: the fixture below stays for the rest of it.
    assert "iter_retgen" not in modes.registered()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The example as pip leaves it: importable, with its entry points in a dist-info folder."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text("utf-8"))["project"]
    site = tmp_path_factory.mktemp("site")
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = [f"{name} = {value}" for name, value in project["entry-points"]["ragscale.modes"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[ragscale.modes]", *points, ""]))
    (site / "iter_retgen.py").write_bytes((EXAMPLE / "iter_retgen.py").read_bytes())
    sys.path.insert(0, str(site))
    try:
        yield
    finally:
        sys.path.remove(str(site))
        sys.modules.pop("iter_retgen", None)


@pytest.mark.usefixtures("installed")
class TestIterRetgen(Conformance):
    """The whole suite, on a mode that this package does not know."""

    @pytest.fixture
    def mode(self) -> Mode:
        return modes.get("iter_retgen")


@pytest.mark.usefixtures("installed")
def test_it_is_registered_and_listed() -> None:
    from ragscale.cli import app

    assert list(modes.registered())[-1] == "iter_retgen"
    listed = CliRunner().invoke(app, ["modes"])
    assert listed.exit_code == 0
    assert "iter_retgen" in listed.output


@pytest.mark.usefixtures("installed")
def test_the_second_query_carries_the_first_answer() -> None:
    answer, _ = run("iter_retgen")
    first, second = (event.input for event in answer.trace if event.move == "retrieve")
    [read, _] = (event.output for event in answer.trace if event.move == "read")
    assert second == [f"{first[0]} {read}"]
