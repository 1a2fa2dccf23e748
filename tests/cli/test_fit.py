"""``ragscale fit``: a policy from a run, in words and as JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from madeuprun import made_up, one_mode_is_right
from typer.testing import CliRunner

from ragscale.cli import app
from ragscale.modes import get


@pytest.fixture(autouse=True)
def _no_waiting_for_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


def test_the_policy_is_written_used_and_told_of(tmp_path: Path) -> None:
    made_up(tmp_path / "run", one_mode_is_right, questions=120)
    out = tmp_path / "policy.json"
    result = CliRunner().invoke(app, ["fit", str(tmp_path / "run"), "--out", str(out)], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    assert get(f"auto(policy='{out}')").name == "auto"
    said = " ".join(result.output.split())
    for words in (
        "120 questions of 120 documents, out of fold", "difference: at the tokens of the line",
            "oracle: a limit, chosen with gold",
        "Over fixed modes at equal mean tokens", "It chooses: stop", "It looks at: spread", "Use it: --mode",
    ):  # fmt: skip
        assert words in said
    assert "Falls back" not in said
    result = CliRunner().invoke(app, ["fit", str(tmp_path / "run"), "-o", str(out), "--tokens", "1500", "--json"])
    report = json.loads(result.stdout)
    assert report["tokens"] == 1_500
    assert report == json.loads(out.read_text())["report"]


def test_a_fallback_is_said(tmp_path: Path) -> None:
    made_up(tmp_path / "run", one_mode_is_right, questions=20)
    result = CliRunner().invoke(app, ["fit", str(tmp_path / "run"), "--out", str(tmp_path / "policy.json")])
    assert result.exit_code == 0, result.output
    assert "auto at these tokens" not in result.output
    assert "@tokens=4000: questions of 20 documents tell too little: 50 are the least." in " ".join(
        result.output.split()
    )


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["fit", str(tmp_path), "--out", str(tmp_path / "policy.json")])
    assert result.exit_code == 1
    assert "no run" in result.output
    assert not (tmp_path / "policy.json").exists()
