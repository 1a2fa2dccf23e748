"""README's notebook snippet runs as it stands."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from doubles import StubIndex, scripted

import ragscale as rs
from ragscale.answer import Answer, AnswerSpend
from ragscale.types import Event, Spend

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_snippet_can_be_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a model and an index in memory in place of the demo's."""
    make = rs.Agent
    monkeypatch.setattr(rs, "Agent", lambda index, llm, **options: make(StubIndex(), scripted(), **options))
    snippet = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    names: dict[str, Any] = {}
    exec(snippet, names)
    assert names["answer"].text
    assert len(names["answers"]) == len(names["questions"]) > 1


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(
    ("given", "gold"),
    [
        ([], "--gold 'Carlist War'"),
        (["QUESTION=Who?"], ""),
        (["QUESTION=Who?", "GOLD=Ann"], "--gold Ann"),
        (["GOLD="], ""),
    ],
)
def test_the_demo_judges_another_question_by_its_own_answer_only(given: list[str], gold: str) -> None:
    assert shlex.join(demo(*given)[6:]) == gold


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_the_demo_asks_what_was_given_letter_by_letter() -> None:
    question, gold = """Who said "it's six, `no`; not 5"?""", "O'Neil"
    _, asked, *_, judged = demo(f"QUESTION={question}", f"GOLD={gold}", "MODES=vote(of=chain)")
    assert (asked, judged) == (question, gold)


def demo(*given: str) -> list[str]:
    """The words of `make demo`'s command, from the index on."""
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # not that of make test
    command = ["make", "-n", "demo", *given]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=alone)
    words = shlex.split(run.stdout.rpartition("ragscale ask ")[2])
    assert [word for word in words if word.startswith("--")][:2] == ["--mode", "--tokens"]
    return words


def test_the_json_of_ask_is_described_key_by_key() -> None:
    """The tables have every key of `Answer.to_dict` and of an event, and every dimension of a spend."""
    table, _, of_events = README.partition("### The JSON of `ask`")[2].partition("\n## ")[0].partition("An event says")
    listed = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| .* \|$", of_events, re.MULTILINE)
    assert {key for row in listed for key in re.findall(r"`(\w+)`", row)} == set(Event("plan", "").to_dict())
    rows = dict(re.findall(r"^\| (`[^|]*`) \| (.*) \|$", table, re.MULTILINE))
    keys = {key.partition(".")[0] for row in rows for key in re.findall(r"`([^`]+)`", row)}
    assert keys == set(Answer("", [], "", "", AnswerSpend(Spend(), Spend()), []).to_dict())
    told = re.findall(r"`(\w+)`", rows["`spend.total`, `spend.serial`, `spend.lost`, `spend.stored`"])
    assert told == list(Spend().to_dict())
    assert len(told) == 11
    assert "Each sum has eleven numbers" in README
