"""The load test of `benchmarks/serve.py`, for seconds instead of a minute."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "serve.py"


def test_every_reply_is_a_documented_one(folder: Path, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("serve_benchmark", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    options = argparse.Namespace(index=folder, clients=16, seconds=3.0, k=5, how=None, queue=4)
    result = benchmark.measure(["who found gold", "tin mines", "camera lucida"], options, tmp_path)
    assert result["errors"] == []
    replies = result["replies"]
    for name in (
        "client: 200",
        "client: 429",
        "slow head: 408",
        "slow body: 408",
        "dead: left",
        "oversized: 413",
        "invalid: 400",
    ):
        assert replies[name] >= 1
