"""Prices: what a call costs, what it costs at most, and what is unknown; from a file, the bundled list, or the hour."""

from __future__ import annotations

import math
import socket
from pathlib import Path
from typing import Any

import genai_prices
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ragscale.errors import InvalidInput
from ragscale.llm import load
from ragscale.llm.prices import Price, price_of, read_prices
from ragscale.types import Usage

LONGER = {"input": 1, "output": 1, "beyond": 9, "longer": {"input": 2, "output": 2}}
MINI = Price(input=0.15, output=0.6, cached=0.075)
OPENAI = "https://api.openai.com/v1"

listed = st.integers(0, 10**8).map(lambda millionths: millionths / 10**6)
"""Dollars per million tokens, of which a token costs whole picodollars."""
rates = listed | st.floats(0, 100)
flat = st.builds(Price, input=listed, output=listed, cached=st.none() | listed)
prices = flat | st.builds(Price, input=listed, output=listed, beyond=st.integers(1, 3000), longer=flat)
odd = st.builds(Price, input=rates, output=rates, cached=st.none() | rates)
tokens = st.integers(0, 5000)


class Model:
    """Stand-in for a model: the two fields that a price is looked up by."""

    def __init__(self, name: str, url: str = "") -> None:
        self.name, self.url = name, url


def test_cached_tokens_have_their_own_price_and_thoughts_that_of_completions() -> None:
    usage = Usage(1000, 100, cached_tokens=400, reasoning_tokens=90)
    assert MINI.usd(usage) == 0.00018  # 600 at .15, 400 at .075, 100 at .6 per million
    assert Price(input=0.15, output=0.6).usd(usage) == 0.00021


def test_a_price_by_the_hour_needs_the_seconds_alone() -> None:
    own = Price(hour=0.8)
    assert own.usd(Usage(10**6, 10**6), 90.0) == 0.02
    assert not own.by_token
    with pytest.raises(InvalidInput, match="known only once it was made"):
        own.most(1, 1)


@given(prices | odd, tokens, tokens, tokens)
def test_no_call_costs_more_than_its_most(price: Price, prompt: int, completion: int, cached: int) -> None:
    usage = Usage(prompt, completion, cached_tokens=min(cached, prompt))
    assert price.usd(usage) <= price.most(prompt, completion)


@given(prices, tokens, tokens)
def test_what_dollars_pay_they_do_pay_and_nothing_beyond(price: Price, prompt: int, completion: int) -> None:
    usd = price.most(prompt, completion)
    bought = price.completion(prompt, usd)
    assert bought >= completion
    if bought < math.inf:
        assert price.most(prompt, int(bought)) <= usd < price.most(prompt, int(bought) + 1)


@given(odd, tokens, tokens)
def test_odd_prices_buy_no_more_than_dollars_pay_either(price: Price, prompt: int, completion: int) -> None:
    usd = price.most(prompt, completion)
    for bought, most in (
        (price.completion(prompt, usd), lambda tokens: price.most(prompt, tokens)),
        (price.prompt(completion, usd), lambda tokens: price.most(tokens, completion)),
    ):
        if 0 <= bought < 10**9:
            assert most(int(bought)) <= usd


@given(prices, tokens, tokens)
def test_a_prompt_beside_a_completion_is_as_long_as_dollars_pay(price: Price, prompt: int, completion: int) -> None:
    assume(price.longer is None or prompt <= price.beyond)
    usd = price.most(prompt, completion)
    bought = price.prompt(completion, usd)
    assert bought >= prompt
    if price.longer is None and bought < math.inf:
        assert price.most(int(bought), completion) <= usd < price.most(int(bought) + 1, completion)
    elif bought < math.inf:
        assert price.most(int(bought), completion) <= usd


def test_a_prompt_that_dollars_do_not_pay_buys_no_completion() -> None:
    assert MINI.completion(1000, 0.0001) == -1
    assert MINI.prompt(1000, 0.0005) == -1


@pytest.mark.parametrize("tokens", [(1000, 100, 0), (200_000, 5, 100), (200_001, 50, 0), (300_000, 50, 1000)])
def test_tiers_of_the_list_are_charged_as_its_library_charges_them(tokens: tuple[int, int, int]) -> None:
    price = price_of(Model("gemini-2.5-pro", "https://generativelanguage.googleapis.com/v1beta/openai"), {})
    assert price is not None
    assert price.longer is not None
    prompt, completion, cached = tokens
    usage = genai_prices.Usage(input_tokens=prompt, output_tokens=completion, cache_read_tokens=cached)
    theirs = genai_prices.calc_price(usage, "gemini-2.5-pro", provider_id="google").total_price
    assert price.usd(Usage(prompt, completion, cached)) == float(theirs)


def test_a_provider_is_known_by_its_url_and_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert price_of(load(f"openai:{OPENAI}#gpt-4o-mini"), {}) == MINI
    assert price_of(load("groq:llama-3.3-70b-versatile"), {}) is not None


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("gpt-4o-mini", ""),  # of a model object
        ("gpt-4o-mini", "http://localhost:8000/v1"),
        ("gpt-4o-mini", "http://127.0.0.1:8000/v1"),
        ("gpt-4o-mini", "https://models.example.org/v1"),
        ("a-model-that-nobody-lists", OPENAI),
        ("sonar", "https://api.perplexity.ai"),  # charges requests as well
    ],
)
def test_a_model_of_ones_own_or_one_that_is_not_listed_has_no_price(name: str, url: str) -> None:
    assert price_of(Model(name, url), {}) is None


def test_prompts_that_a_provider_caches_unasked_are_charged_as_written_to_its_cache() -> None:
    price = price_of(Model("gpt-6-cyber", OPENAI), {})
    assert price is not None
    assert (price.input, price.cached) == (25, 2)


class TestGiven:
    def test_a_file_names_models_and_patterns(self, tmp_path: Path) -> None:
        file = tmp_path / "prices.toml"
        file.write_text(
            '["Qwen/*"]\nhour = 0.8\n["Qwen/Qwen3-8B"]\ninput = 0.1\noutput = 0.4\ncached = 0.05\n'
            "[gpt-4o-mini]\ninput = 0\noutput = 1\nbeyond = 1000\nlonger = {input = 2, output = 3}\n"
        )
        read = read_prices(str(file))
        assert price_of(Model("Qwen/Qwen3-8B"), read) == Price(input=0.1, output=0.4, cached=0.05)
        assert price_of(Model("Qwen/Qwen3-4B"), read) == Price(hour=0.8)
        assert price_of(Model("Llama"), read) is None
        own = price_of(Model("gpt-4o-mini", OPENAI), read)
        assert own is not None
        assert own.usd(Usage(1001, 10)) == 0.002032
        assert read_prices({name: price.to_dict() for name, price in read.items()}) == read
        assert price_of(Model("gpt-4o", OPENAI), read) == price_of(Model("gpt-4o", OPENAI), {})

    @pytest.mark.parametrize("given", ["0.80/h", " $0.8 / hour ", Price(hour=0.8), {"*": {"hour": 0.8}}])
    def test_one_price_is_that_of_any_model(self, given: Any) -> None:
        assert price_of(Model("anything"), read_prices(given)) == Price(hour=0.8)

    def test_a_model_of_the_list_can_stand_for_another(self) -> None:
        assert price_of(Model("mine", "http://localhost/v1"), read_prices("openai:gpt-4o-mini")) == MINI

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            ("nowhere.toml", "cannot be read"),
            ("openai:no-such-model-at-all", "has no such model"),
            ("free", "cannot be read"),
            (0.8, "are no prices"),
            ({"m": 3}, "3 is no price"),
            ({"m": {"input": 1}}, "is no price"),
            ({"m": {"input": 1, "output": 1, "hour": 1}}, "is no price"),
            ({"m": {"input": -1, "output": 1}}, "input=-1 is no number of dollars"),
            ({"m": {"input": float("nan"), "output": 1}}, "is no number of dollars"),
            ({"m": {"input": True, "output": 1}}, "is no number of dollars"),
            ({"m": {"inptu": 1, "output": 1}}, "unknown inptu"),
            ({"m": {"input": 1e10, "output": 1}}, r"is no number of dollars\. Give 0 to 1,000,000,000"),
            ("1" + "0" * 10 + "/h", "hour=10000000000.0 is no number of dollars"),
            ({"m": {**LONGER, "beyond": "many"}}, "price beyond 'many' is no whole number"),
            ({"m": {**LONGER, "beyond": 1.5}}, r"price beyond 1\.5 is no whole number"),
            ({"m": {**LONGER, "beyond": -5}}, "price beyond -5, the least is 0"),
            ({"m": {"input": 1, "output": 1, "beyond": 9}}, "beyond=9 without longer"),
            ({"m": {**LONGER, "longer": {"hour": 3}}}, "is no price by the token of one"),
            ({"m": {"hour": 1, "longer": LONGER["longer"]}}, "is no price by the token of one"),
            ({"m": {**LONGER, "longer": LONGER}}, "beyond=9 of the longer ones of beyond=9"),
        ],
    )
    def test_anything_else_is_refused(self, given: Any, told: str) -> None:
        with pytest.raises(InvalidInput, match=told):
            read_prices(given)

    def test_a_file_that_is_no_toml_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "prices.toml").write_text("gpt: 3")
        with pytest.raises(InvalidInput, match="is no TOML"):
            read_prices(tmp_path / "prices.toml")
