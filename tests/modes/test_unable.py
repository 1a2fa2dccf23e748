"""Every mode on a model that neither scores given texts nor calls tools, as those of OpenVINO GenAI."""

from __future__ import annotations

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
