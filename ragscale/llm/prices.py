"""Prices of models: what a call costs in dollars, as given, as listed by `genai-prices`, or unknown."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ragscale.arguments import whole
from ragscale.errors import InvalidInput
from ragscale.paths import expanded
from ragscale.types import Usage

__all__ = ["Price", "Prices", "price_of", "read_prices"]

_MILLION = 1_000_000
_HOUR = 3600.0
_HOURLY = re.compile(r"\$?(\d+(?:\.\d+)?)\s*/\s*h(?:our)?")
_LISTED = re.compile(r"([a-z][a-z0-9_-]*):(\S+)")
_FORMS = (
    "Give 0.80/h (dollars an hour), PROVIDER:MODEL as the bundled list names it (openai:gpt-4o-mini), or a TOML file "
    "of models with input and output in dollars per million tokens. See docs/costs.md."
)
_UNPRICED = ("requests_kcount", "output_reasoning_mtok", "output_citation_mtok")
"""Charges of the list that the tokens of a call do not tell."""
_DEAREST = 1_000_000_000
"""Dollars: of a dearer price no row of a run could hold what a call costs."""
_KINDS = {"input": "input_mtok", "output": "output_mtok", "cached": "cache_read_mtok"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Price of a model: by the token, or by the hour for a model of one's own.

    Raises:
        InvalidInput: Neither or both are given, a number is negative, not finite or beyond a billion, or a tier is no
            price by the token for prompts that are longer still.
    """

    input: float | None = None
    """Dollars per million prompt tokens."""
    output: float | None = None
    """Dollars per million completion tokens; thoughts are among them."""
    cached: float | None = None
    """Dollars per million prompt tokens that the server read from its prefix cache. Default: as `input`."""
    hour: float | None = None
    """Dollars an hour, charged for the seconds of each call."""
    beyond: int = 0
    """Prompt tokens of a call from which on, exclusive, `longer` is its price."""
    longer: Price | None = None
    """Price of a call with a longer prompt, all of its tokens."""

    def __post_init__(self) -> None:
        by_token = self.input is not None and self.output is not None
        if by_token == (self.hour is not None) or (self.hour is not None and self.cached is not None):
            raise InvalidInput(f"{self} is no price", "Give input and output, or hour.")
        for name in ("input", "output", "cached", "hour"):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _DEAREST:
                raise InvalidInput(f"price {name}={value!r} is no number of dollars", f"Give 0 to {_DEAREST:,}.")
        whole("price beyond", self.beyond, "Give a number of prompt tokens.", least=0)
        longer = self.longer
        if longer is None and self.beyond:
            raise InvalidInput(f"price beyond={self.beyond} without longer", "Give the price of longer prompts, too.")
        if longer is not None and not (isinstance(longer, Price) and longer.by_token and self.by_token):
            raise InvalidInput(f"price longer={longer!r} is no price by the token of one", "Give input and output.")
        if longer is not None and longer.longer and longer.beyond <= self.beyond:
            raise InvalidInput(
                f"price beyond={longer.beyond} of the longer ones of beyond={self.beyond}", "Give tiers in order."
            )

    @property
    def by_token(self) -> bool:
        """Whether what a call costs at most is known before it is made; an hourly price needs its seconds."""
        return self.hour is None

    def usd(self, usage: Usage, seconds: float = 0.0) -> float:
        """Dollars of one call."""
        if self.hour is not None:
            return round(self.hour * seconds / _HOUR, 12)
        if self.longer and usage.prompt_tokens > self.beyond:
            return self.longer.usd(usage)
        rate, cached = self._input, self._input if self.cached is None else self.cached
        read = min(usage.cached_tokens, usage.prompt_tokens)
        whole = (usage.prompt_tokens - read) * rate + read * cached + usage.completion_tokens * self._output
        return round(whole / _MILLION, 12)

    def most(self, prompt: int, completion: int) -> float:
        """Dollars of a call of so many tokens at most. Raises `InvalidInput` for an hourly price."""
        rates = self._at(prompt)
        return round((prompt * rates._dearest + completion * rates._output) / _MILLION, 12)

    def completion(self, prompt: int, usd: float) -> float:
        """Completion tokens that `usd` pay behind a prompt; below zero where they do not pay the prompt."""
        left, rate = round(usd - self.most(prompt, 0), 12), self._at(prompt)._output
        if left < 0:
            return -1
        tokens = _whole(left, rate)
        return tokens - 1 if rate and self.most(prompt, int(tokens)) > usd else tokens

    def prompt(self, completion: int, usd: float) -> float:
        """Prompt tokens that `usd` pay beside a completion; below zero where they do not pay that."""
        left = round(usd - completion * self._output / _MILLION, 12)
        if left < 0:
            return -1
        tokens = _whole(left, self._dearest)
        if self.longer is None or tokens <= self.beyond:
            return tokens - 1 if self._dearest and self.most(int(tokens), completion) > usd else tokens
        return max(float(self.beyond), self.longer.prompt(completion, usd))

    def mean(self, prompt: int, completion: int) -> float:
        """Dollars a token in calls that are of prompt and completion in this proportion, none of it cached."""
        return self.most(prompt, completion) / (prompt + completion)

    def to_dict(self) -> dict[str, Any]:
        """The fields that are given, as JSON holds them."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        given |= {"longer": self.longer.to_dict(), "beyond": self.beyond} if self.longer else {"beyond": None}
        return {name: value for name, value in given.items() if value is not None}

    def __str__(self) -> str:
        if self.hour is not None:
            return f"${self.hour:g}/h"
        if self.input is None or self.output is None:
            return repr(self)
        cached = "" if self.cached is None else f" (${self.cached:g} cached)"
        return f"${self.input:g}{cached} in, ${self.output:g} out per million tokens"

    def _at(self, prompt: int) -> Price:
        return self.longer._at(prompt) if self.longer and prompt > self.beyond else self

    @property
    def _input(self) -> float:
        if self.input is None:
            raise InvalidInput(f"{self}: dollars of a call are known only once it was made", "Limit the seconds.")
        return self.input

    @property
    def _output(self) -> float:
        return self.output or 0.0

    @property
    def _dearest(self) -> float:
        return max(self._input, self.cached or 0.0)


def _whole(usd: float, rate: float) -> float:
    """Tokens at `rate` that dollars pay; both are whole picodollars but for what floats lose."""
    return math.floor(usd * _MILLION / rate + 1e-9) if rate else math.inf


Prices = Mapping[str, Price]
"""Prices by the model's name, or by a pattern as of shells (``Qwen/*``)."""


def read_prices(given: str | Path | Price | Mapping[str, Any] | None) -> Prices:
    """Read prices as `Agent` and ``--prices`` take them.

    Args:
        given: Dollars an hour (``"0.80/h"``), a model of the bundled list (``"openai:gpt-4o-mini"``), both for any
            model; a TOML file with a table a model; a `Price`; a mapping of names to prices or their fields; None for
            none.

    Raises:
        InvalidInput: It is none of these, or the file cannot be read or holds something else.
    """
    if given is None:
        return {}
    if isinstance(given, Price):
        return {"*": given}
    if isinstance(given, str):
        if hourly := _HOURLY.fullmatch(given.strip()):
            return {"*": Price(hour=float(hourly[1]))}
        if (named := _LISTED.fullmatch(given.strip())) and not Path(given).exists():
            price = _listed(named[2], provider_id=named[1])
            if price is None:
                raise InvalidInput(f"prices={given!r}: the bundled list has no such model", _FORMS)
            return {"*": price}
    where = ""
    if isinstance(given, str | Path):
        given, where = _table(expanded(given)), f"{given}: "
    if not isinstance(given, Mapping):
        raise InvalidInput(f"prices={given!r} are no prices", _FORMS)
    return {str(name): _price(f"{where}{name!r}", fields) for name, fields in given.items()}


def price_of(llm: Any, prices: Prices) -> Price | None:
    """Price of a model: the given one of its name, else of the first pattern that fits; else what `genai-prices` lists
    for the provider at its `url`; else None, unknown.

    The list is bundled with that package and nothing is fetched. It has the price at this moment.

    Args:
        llm: Asked for its name, for which some ask their endpoint and block.
        prices: As `read_prices` gives them.

    Raises:
        EndpointError: The endpoint cannot be asked for the model's name.
    """
    if list(prices) == ["*"]:
        return prices["*"]
    url = str(getattr(llm, "url", "") or "")
    host = urlsplit(url).hostname or ""
    if not prices and not _is_public(host):
        return None
    name = llm.name
    for pattern, price in prices.items():
        if pattern == name:
            return price
    for pattern, price in prices.items():
        if fnmatchcase(name, pattern):
            return price
    return _listed(name, provider_api_url=url) if _is_public(host) else None


def _is_public(host: str) -> bool:
    """Whether it can be the host of a provider that the list knows, which takes some 0.1 s to read."""
    return "." in host and not host.startswith("127.")


def _table(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"prices {str(path)!r} cannot be read ({error})", _FORMS) from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{path} is no TOML ({error})", _FORMS) from error


def _price(where: str, given: Any) -> Price:
    known = [field.name for field in fields(Price)]
    if isinstance(given, Price):
        return given
    if not isinstance(given, Mapping):
        raise InvalidInput(f"{where}: {given!r} is no price", _FORMS)
    if unknown := sorted(set(given) - set(known)):
        raise InvalidInput(f"{where}: unknown {', '.join(unknown)}", f"There are {', '.join(known)}.")
    values = dict(given)
    if values.get("longer") is not None:
        values["longer"] = _price(f"{where}: longer", values["longer"])
    try:
        return Price(**values)
    except InvalidInput as error:
        raise InvalidInput(f"{where}: {error.problem}", error.remedy) from None


def _listed(model: str, **provider: str) -> Price | None:
    """Price in the list of `genai-prices`; None where it has none that follows from tokens."""
    import genai_prices

    try:
        found = genai_prices.calc_price(genai_prices.Usage(input_tokens=1, output_tokens=1), model, **provider)  # type: ignore[call-overload]
    except (LookupError, ValueError):
        return None
    listed = {name: getattr(found.model_price, kind) for name, kind in _KINDS.items()}
    if listed["input"] is None or listed["output"] is None or any(getattr(found.model_price, n) for n in _UNPRICED):
        return None
    if found.provider.id == "openai" and (written := found.model_price.cache_write_mtok) is not None:
        listed["input"] = written  # its prompts go into the cache by themselves, at this price
    starts = sorted({tier.start for price in listed.values() for tier in getattr(price, "tiers", ())})
    price: Price | None = None
    beyond = 0
    for start in [*reversed(starts), -1]:
        rates = {name: _rate(tiered, start) for name, tiered in listed.items() if tiered is not None}
        price, beyond = Price(**rates, beyond=beyond, longer=price), start
    return price


def _rate(price: Any, start: int) -> float:
    """Dollars per million tokens in the tier of prompts that begins at `start`; -1 for the first one."""
    tiers = [tier.price for tier in getattr(price, "tiers", ()) if tier.start <= start]
    return float(tiers[-1] if tiers else getattr(price, "base", price))
