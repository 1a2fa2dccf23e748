"""The fake servers themselves: what they call the truth is true, and what they misreport is no accident."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import fake_tokens
import pytest
from campaign import draw
from fake_kinds import BLIND, HARD, MODEL, PARTLY, Fake, Fakes, Kind, tagged

TEXTS = [
    "", "Hello there.", "  two  blanks ", "1847 3.14159", "鉄道の歴史", "naïve café №5", "🚂🚃 x🚃", "a\n\nb\tc",
    "x" * 99, "Ωmega\u0301 \u2028 end", '{"queries": ["a", 1]}', "भारत में", "<think> hm </think>",
]  # fmt: skip
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": tagged("Who", 7)}]


@pytest.fixture(scope="module")
def fakes() -> Iterator[Fakes]:
    with Fakes() as served:
        yield served


@pytest.mark.parametrize("name", fake_tokens.TOKENIZERS)
def test_pieces_make_up_the_text(name: str) -> None:
    for text in TEXTS:
        marked = f"\ue000{text}\ue001{text}"
        assert "".join(fake_tokens.pieces(name, marked)) == marked
        assert len(fake_tokens.ids(name, marked)) == fake_tokens.count(name, marked) <= len(marked.encode())


def test_the_tokenizers_differ_in_density() -> None:
    text = "Rhodium was found in 1803 by William Hyde Wollaston, who sold platinum by the ounce."
    counts = {name: fake_tokens.count(name, text) for name in fake_tokens.TOKENIZERS}
    assert counts == {"words": 17, "wordpiece": 21, "quarters": 26, "byte pairs": 27, "characters": 84}
    assert fake_tokens.count("byte pairs", "1803") == 4
    assert fake_tokens.count("byte pairs", "鉄道é") == 5


@pytest.mark.parametrize("route", ["vllm", "llama"])
@pytest.mark.parametrize("tokenizer", fake_tokens.TOKENIZERS)
def test_a_tokenizer_route_counts_as_the_usage_does(fakes: Fakes, route: str, tokenizer: str) -> None:
    fake = fakes.add(Kind(route=route, tokenizer=tokenizer, head=6, preamble=9))
    if route == "vllm":
        counted = len(post(fake, "/tokenize", {"messages": MESSAGES})["tokens"])
    else:
        prompt = post(fake, "/apply-template", {"messages": MESSAGES})["prompt"]
        counted = len(post(fake, "/tokenize", {"content": prompt})["tokens"])
    assert chat(fake)["usage"]["prompt_tokens"] == counted == fake.truth["zq000007"].prompt


@pytest.mark.parametrize("tokenizer", fake_tokens.TOKENIZERS)
@pytest.mark.parametrize("limit", [1, 2, 5, 30, 400])
@pytest.mark.parametrize("thought", [0, 20])
def test_the_limit_is_honoured(fakes: Fakes, tokenizer: str, limit: int, thought: int) -> None:
    fake = fakes.add(Kind(tokenizer=tokenizer, thought=thought))
    reply = chat(fake, max_tokens=limit, n=3)
    truth = fake.truth["zq000007"]
    assert reply["usage"]["completion_tokens"] == truth.completion <= 3 * limit
    for choice in reply["choices"]:
        message = choice["message"]
        texts = [message["content"] or "", message.get("reasoning_content", "")]
        assert sum(fake_tokens.count(tokenizer, text) for text in texts) <= limit
        if message["content"] is None:
            assert choice["finish_reason"] == "length"


def test_one_that_ignores_the_limit_says_so_in_the_truth(fakes: Fakes) -> None:
    fake = fakes.add(Kind(overshoot=50))
    chat(fake, max_tokens=10)
    truth = fake.truth["zq000007"]
    assert truth.completion == 60
    assert truth.overshoots == [50]


@pytest.mark.parametrize("usage", [*HARD, *PARTLY, *BLIND])
def test_every_report_is_another(fakes: Fakes, usage: str) -> None:
    fake = fakes.add(Kind(usage=usage, thought=10, thought_in="hidden"))
    truth, reply = fake.truth["zq000007"], chat(fake)
    said = reply.get("usage") or reply["choices"][0].get("usage")
    honest = {"prompt_tokens": truth.prompt, "completion_tokens": truth.completion, "total_tokens": truth.tokens}
    assert usage in ("honest", "first_sample", "choice") or repr(said) != repr(honest)
    if usage == "hidden":
        assert said["prompt_tokens"] + said["completion_tokens"] < said["total_tokens"] == truth.tokens


@pytest.mark.parametrize("failure", ["500", "cut", "gone", "few", "error200", "none", "html"])
def test_a_spoiled_reply_was_paid(fakes: Fakes, failure: str) -> None:
    fake = fakes.add(Kind(failure=failure, rate=1.0))
    with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
        chat(fake)
    assert fake.truth["zq000007"].completion > 0


def test_one_that_turned_the_call_away_was_not_paid(fakes: Fakes) -> None:
    fake = fakes.add(Kind(failure="429", rate=1.0))
    with pytest.raises(urllib.error.HTTPError) as caught:
        chat(fake)
    caught.value.close()
    assert (fake.truth["zq000007"].calls, fake.truth["zq000007"].tokens) == (1, 0)


def test_a_case_is_the_same_every_time_and_all_manners_are_drawn() -> None:
    assert draw(5) == draw(5)
    names = " ".join(draw(seed).kind.name for seed in range(1_500))
    for manner in ("usage", "thought", "overshoot", "failure", "route", "models", "system", "off", "garbled", "slow"):
        assert re.search(rf"\b{manner}=", names), manner
    assert {usage for usage in (*HARD, *PARTLY, *BLIND) if f"usage={usage}" in names} >= {*HARD[1:], *PARTLY, *BLIND}


# -- helpers


def post(fake: Fake, path: str, body: dict[str, Any]) -> Any:
    data = json.dumps({"model": MODEL, **body}).encode()
    request = urllib.request.Request(fake.root + path, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def chat(fake: Fake, **fields: Any) -> Any:
    return post(fake, "/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 200, **fields})
