"""The memory section of `benchmarks/retrieval.py`, with passages for seconds: its embedder is none of ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "retrieval_memory.py"

HELD_ONCE = """
import pathlib, runpy, sys
bytearray(500_000_000)
sys.argv = sys.argv[1:]
sys.path.insert(0, str(pathlib.Path(sys.argv[0]).parent))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_it_builds_and_reports(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARK), "200", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["passages"], found["factory"]) == (200, "Flat")
    assert found["peak_mb"] > 0
    assert found["index_mb"] > 200 * 384 * 4 / 1e6


def test_what_the_process_held_once_is_no_part_of_the_peak(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HELD_ONCE, str(BENCHMARK), "200", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 0 < json.loads(done.stdout.splitlines()[-1])["peak_mb"] < 400
