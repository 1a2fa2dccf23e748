"""Every mode on a model that neither scores given texts nor calls tools, as those of OpenVINO GenAI."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from conformance import check
from doubles import of, run, scripted
from test_conformance import VARIANTS, marks

from ragscale.budget import Budget
from ragscale.llm.base import Capabilities
from ragscale.modes import Mode

ABLE = Capabilities(
    json_schema=True, scoring=True, tokenizer=True, logprobs=True, samples=True, continues=True, tools=True
)
UNABLE = replace(ABLE, scoring=False, tools=False)


@pytest.mark.parametrize("mode", [pytest.param(m, id=name, marks=marks(name)) for name, m in VARIANTS.items()])
def test_every_mode_answers_and_says_what_it_does_without(mode: Mode) -> None:
    able, unable = scripted(capabilities=ABLE), scripted(capabilities=UNABLE)
    run(mode, llm=able)
    answer, ledger = run(mode, llm=unable)
    check(answer, ledger, Budget())
    assert answer.text
    assert not [call for call in unable.calls if call.continuation is not None or call.tools]
    without = [event for event in of(answer, "score") if event.status == "fallback"]
    assert bool(without) == any(call.continuation is not None for call in able.calls)
    assert all("endpoint cannot score" in event.note for event in without)
    fallback = [event for event in answer.trace if event.status == "fallback" and event not in without]
    assert bool(fallback) == any(call.tools for call in able.calls)


@pytest.mark.parametrize("mode", ["direct", "once", "chain", "parallel"])
def test_a_question_longer_than_the_window_says_by_how_much(mode: str) -> None:
    """Its length, the window and what to do; and a question as short as it says is answered."""
    question = "Who discovered tin? " + "And what of all the others? " * 800
    answer, _ = run(mode, llm=scripted(context_window=1500), question=question)
    assert answer.stop_reason == "failed"
    told = re.search(
        r"the prompt has [\d,]+ tokens, and the context window of scripted has 1,500, \d+ of them for the reply\. "
        rf"The question has {len(question.strip()):,} characters: shorten it to some ([\d,]+); or use a model with a",
        answer.reason,
    )
    assert told, answer.reason
    most = int(told[1].replace(",", ""))
    assert 2000 < most < 7000
    shorter, _ = run(mode, llm=scripted(context_window=1500), question=question[: most - 100])
    if mode != "parallel":  # whose conversation grows with each round
        assert shorter.stop_reason == "answered"


def test_a_window_too_small_for_anything_does_not_blame_the_question() -> None:
    answer, _ = run("once", llm=scripted(context_window=40), question="Who discovered tin?")
    assert "context window of scripted has 40" in answer.reason
    assert "Show fewer passages (k, context) or take fewer steps; or use a model with a larger window" in answer.reason
