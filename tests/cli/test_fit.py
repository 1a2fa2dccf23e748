"""``ragscale fit``: a policy from a run, in words and as JSON."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from madeuprun import made_up, nothing_decides, one_mode_is_right
from typer.testing import CliRunner

from ragscale.cli import app
from ragscale.modes import Auto, get


@pytest.fixture(autouse=True)
def _no_waiting_for_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


def told(run: Path, out: Path, *options: str, columns: int = 80) -> tuple[str, list[str]]:
    """Output of a fit, as one line and as lines."""
    words = ["fit", str(run), "--out", str(out), *options]
    result = CliRunner().invoke(app, words, env={"COLUMNS": str(columns), "TERM": "dumb"})
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split()), result.output.splitlines()


def test_the_policy_is_written_used_and_told_of(tmp_path: Path) -> None:
    made_up(tmp_path / "run", one_mode_is_right, questions=120, each=2)
    out = tmp_path / "policy.json"
    said, lines = told(tmp_path / "run", out)
    assert get(f"auto(policy='{out}')").name == "auto"
    assert max(len(line) for line in lines if not line.startswith("Use it")) <= 80
    order = [
        "Learned from run run (llm made-up, how bm25): 120 questions of 60 documents.",
        "It answers by once, and stops or goes on with chain and parallel, all at tokens=4000.",
        "To be trusted with questions, documents and a model like these: F1 +.", "The gate, out of fold: each question",
        "fixed mode F1 tokens auto's F1 difference auto is",
        "oracle: the best mode of each question, by gold; a bound.",
        "Over the best that fixed modes reach at its mean tokens (", "Over the best fixed mode (parallel): +.",
        "better. Regret, F1 below the oracle: .", "; of parallel: .",
        "it chooses share questions F1 F1 had it stopped hops 1 hops 2", "stop 2", "chain 3", "parallel 3",
        "expected gain true gain questions", "Calibration: F1 that going on adds", "It looks at: spread",
        "Use it: --mode",
    ]  # fmt: skip
    places = [said.find(words) for words in order]
    assert -1 not in places, order[places.index(-1)]
    assert places == sorted(places)
    report = json.loads(out.read_text())["report"]
    beside = {one["cell"]: one for one in report["at_equal_tokens"]}
    for cell in report["cells"]:
        [line] = [line for line in lines if line.startswith(cell["cell"].partition("@")[0] + "  ") and "[" in line]
        other = beside[cell["cell"]]
        figures = [cell["f1"], other["f1"], other["difference"]]
        for figure in figures:
            assert f"{figure['value']:.2f}".removeprefix("0") in line
            assert f"{figure['high']:.2f}]".removeprefix("0") in line
        assert f" {cell['tokens']:,.0f} " in line
        assert line.endswith(other["verdict"])
    wide, _ = told(tmp_path / "run", out, columns=160)
    assert "fixed mode F1 tokens its tokens auto's F1 difference auto is" in wide


def test_json_has_all_that_was_measured(tmp_path: Path) -> None:
    made_up(tmp_path / "run", one_mode_is_right, questions=120)
    out = tmp_path / "policy.json"
    result = CliRunner().invoke(app, ["fit", str(tmp_path / "run"), "-o", str(out), "--tokens", "1500", "--json"])
    report = json.loads(result.stdout)
    assert report["tokens"] == 1_500
    assert report == json.loads(out.read_text())["report"]
    assert (report["run"], report["settings"]["llm"]) == ("run", "made-up")
    intervals = [
        report["f1"], report["oracle"]["f1"], report["oracle"]["regret"], report["oracle"]["regret_of_fixed"],
        report["beyond_fixed"]["difference"], report["against_fixed"]["difference"],
        *(one["f1"] for one in report["at_equal_tokens"]), *(one["difference"] for one in report["at_equal_tokens"]),
        *(part["gain"] for part in report["calibration"]),
    ]  # fmt: skip
    assert all(one["low"] <= one["value"] <= one["high"] for one in intervals)
    regret = report["oracle"]["regret_of_fixed"]["value"] - report["oracle"]["regret"]["value"]
    assert regret == pytest.approx(report["against_fixed"]["difference"]["value"])
    said, _ = told(tmp_path / "run", out, "--tokens", "1500")
    assert "It may spend 1,500 tokens a question on average." in said


@pytest.mark.parametrize("name", ["policy.json", "my policy.json", "o'neil.json", 'a $b "c" `d`.json', "\u00e9.json"])
def test_the_mode_that_it_prints_can_be_pasted_into_a_shell(tmp_path: Path, name: str) -> None:
    made_up(tmp_path / "run", one_mode_is_right, questions=20)
    said, _ = told(tmp_path / "run", tmp_path / name)
    command = said.rpartition("Use it: ")[2]
    pasted = subprocess.run(["sh", "-c", f"printf %s {command}"], capture_output=True, text=True, check=True).stdout
    mode = get(pasted.removeprefix("--mode"))
    assert isinstance(mode, Auto)
    assert mode.policy == str(tmp_path / name)


def test_a_mode_that_was_just_begun_is_left_out_and_named(tmp_path: Path) -> None:
    made_up(tmp_path / "run", one_mode_is_right, questions=60, further="iter-retgen")
    [path] = (tmp_path / "run" / "rows").glob("iter-retgen*")
    path.write_bytes(b"")
    said, _ = told(tmp_path / "run", tmp_path / "policy.json", "--tokens", "2k")
    assert "60 questions of 60 documents. It answers by once, and stops or goes on with chain and parallel" in said
    assert (
        "It may spend 2,000 tokens a question on average. Left out, as they have far fewer questions: iter-retg" in said
    )


def test_a_fallback_is_said_first(tmp_path: Path) -> None:
    made_up(tmp_path / "few", one_mode_is_right, questions=20)
    said, lines = told(tmp_path / "few", tmp_path / "policy.json")
    assert "Not to be trusted: it falls back to the best fixed mode, " in said
    assert "parallel: questions of 20 documents tell too little: 50 are the least." in said
    assert "auto's F1" not in said
    assert [line.split()[0] for line in lines if "[" in line] == ["once", "chain", "parallel"]
    made_up(tmp_path / "none", nothing_decides, questions=120)
    said, _ = told(tmp_path / "none", tmp_path / "policy.json")
    assert "Not to be trusted: it falls back to the best fixed mode, chain: no gain over fixed modes" in said
    assert "The gate, which is not used, out of fold" in said


def test_a_run_that_was_kept_without_traces_is_refused_with_what_it_lacks(tmp_path: Path) -> None:
    kept = made_up(tmp_path / "run", one_mode_is_right, questions=60).keep(tmp_path / "kept", texts=False)
    result = CliRunner().invoke(app, ["fit", str(kept.folder), "--out", str(tmp_path / "policy.json")])
    assert result.exit_code == 1
    said = " ".join(result.output.split())
    assert "its rows have no traces; a policy looks at hits and words of the answers of once" in said
    assert "not what report --rows kept of it" in said


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["fit", str(tmp_path), "--out", str(tmp_path / "policy.json")])
    assert result.exit_code == 1
    assert "no run" in result.output
    assert not (tmp_path / "policy.json").exists()
