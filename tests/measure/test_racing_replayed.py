"""`benchmarks/racing.py`: a race over the rows of a finished run says what it saves and whether it errs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from madeup import Made, questions, write

from ragscale.errors import InvalidInput
from ragscale.measure import Run

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "racing.py"


@pytest.fixture(scope="module")
def racing() -> ModuleType:
    """`benchmarks/racing.py`."""
    spec = importlib.util.spec_from_file_location("racing", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """40 questions: `chain` is always right, `tree` never, and dearer; `once` is cheap."""
    cells = [Made("once", [0.0, 1.0] * 20, 500), Made("chain", [1.0] * 40, 1000), Made("tree", [0.0] * 40, 8500)]
    return write(tmp_path / "run", questions(40), cells)


def test_what_racing_saves_is_known(racing: ModuleType, run: Run) -> None:
    found = racing.raced(run, orders=4)
    assert (found["questions"], found["looks"], found["best"], found["kept"]) == (40, [16, 32], "chain", ["once"])
    # tree is dropped after 16 of 40 questions: 24 x 8,500 of 40 x 10,000 tokens
    assert found["saved"] == {"mean": pytest.approx(0.51), "low": pytest.approx(0.51), "high": pytest.approx(0.51)}
    assert (found["same"]["share"], found["front_lost"]["share"], found["dropped"]) == (1.0, 0.0, {"tree": 1.0})
    assert found["own_order"] == {
        "saved": pytest.approx(0.51), "same": True, "dropped": ["tree after 16 by chain"]
    }  # fmt: skip
    assert found["same"]["low"] == pytest.approx(4 / (4 + 1.959964**2), abs=1e-6)  # Wilson, 4 of 4


def test_orders_by_chance_differ(racing: ModuleType, tmp_path: Path) -> None:
    """A cell that is worse on a quarter of the questions is dropped in some orders only, and after 16 or 32."""
    cells = [
        Made("once", [0.0] * 40, 900), Made("chain", [1.0] * 40, 1000), Made("tree", [1.0] * 25 + [0.0] * 15, 1100),
    ]  # fmt: skip
    found = racing.raced(write(tmp_path / "run", questions(40), cells), orders=12)
    assert found["saved"]["low"] < found["saved"]["mean"] < found["saved"]["high"]
    assert 0 < found["dropped"]["tree"] <= 1
    assert found["same"]["share"] == 1.0


def test_what_cannot_be_raced(racing: ModuleType, run: Run) -> None:
    with pytest.raises(InvalidInput, match="no cell of mode 'parallel'"):
        racing.raced(run, orders=1, baseline="parallel")
    few = racing.raced(Run(run.folder, questions=list(run.questions)[:9]), orders=2)
    assert (few["looks"], few["saved"]["mean"], few["dropped"]) == ([], 0.0, {})


def test_it_prints_figures(
    racing: ModuleType, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["racing.py", str(run.folder), "--orders", "3"])
    racing.main()
    printed = capsys.readouterr().out
    assert "3 cells x 40 questions, looks after [16, 32]" in printed
    assert "saved 51.0% [51.0%, 51.0%] of the charged tokens (3 orders, 95 % of them)" in printed
    assert "same recommendation (chain): 100.0% [" in printed
    assert "in the run's own order: saved 51.0%; tree after 16 by chain" in printed
