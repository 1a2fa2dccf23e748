"""docs/models.md says of each kind of endpoint what is found out about its fake, and names it as `load` takes it."""

from __future__ import annotations

import asyncio
import inspect
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from campaign import Shelf
from endpoints import ENDPOINTS
from fake_kinds import MODEL, Fakes, tagged
from test_kinds import EXPECTED, SWITCHES

from ragscale.agent import Agent
from ragscale.budget import Budget
from ragscale.errors import InvalidInput
from ragscale.llm import load
from ragscale.llm.openai import OpenAILLM
from ragscale.llm.spec import PROVIDERS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "models.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")


def table(first: str) -> dict[str, dict[str, str]]:
    """The table whose first row begins with this cell: its rows by their first cell, cells by the title."""
    lines = PAGE.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first} |"))
    titles = cells(lines[start])
    rows: dict[str, dict[str, str]] = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        values = cells(line)
        assert len(values) == len(titles), line
        rows[values[0]] = dict(zip(titles, values, strict=True))
    return rows


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def bare(cell: str) -> str:
    return cell.strip("`()")


NAMED = table("kind | specification")
CAN = table("kind | schema")
SWITCHED = {name: row["thoughts"] for name, row in NAMED.items() if row["thoughts"].startswith(("off: ", "fewer: "))}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_every_kind_has_its_line() -> None:
    assert set(NAMED) == set(CAN) == set(ENDPOINTS)


@pytest.mark.parametrize("name", ENDPOINTS)
def test_it_can_what_the_page_says(name: str) -> None:
    """Findings about the fakes are those of `EXPECTED`, as test_kinds.py shows."""
    wanted, row = EXPECTED[name], CAN[name]
    words = {True: "yes", False: "no"}
    assert row == {
        "kind": name,
        "schema": words[wanted.json_schema],
        "scoring": words[wanted.scoring],
        "counts": "exact" if wanted.tokenizer else "estimated",
        "log-probabilities": words[wanted.logprobs],
        "samples": words[wanted.samples],
        "continues": words[wanted.continues],
        "tools": words[wanted.tools],
        "window": words[wanted.window is not None],
        "thinks": words[wanted.thinks],
    }


@pytest.mark.parametrize("name", ENDPOINTS)
def test_its_specification_leads_to_it(name: str) -> None:
    kind, row = ENDPOINTS[name], NAMED[name]
    model = load(bare(row["specification"]))
    assert isinstance(model, OpenAILLM)
    url, named = re.fullmatch(r"OpenAILLM\('(.*)', model=(.*)\)", repr(model)).groups()  # type: ignore[union-attr]
    assert urlsplit(url).path == kind.prefix
    assert (urlsplit(url).hostname == "localhost") == (not kind.key or name.startswith("litellm"))
    if kind.model != MODEL:
        assert named == repr(kind.model)
    transport = model._transport
    assert transport.api_key_env == (None if row["key"] == "none" else bare(row["key"]))
    assert kind.key == (row["key"] != "none" and not row["key"].startswith("(")), "who wants a key"


def test_azure_is_sent_its_key_as_it_wants_it(fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fakes.add(ENDPOINTS["azure"])
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "sk-azure")
    spec = bare(NAMED["azure"]["specification"]).replace("https://RES.openai.azure.com/openai/v1", fake.url)
    asyncio.run(load(spec).capabilities())
    assert fake.headers["api-key"] == "sk-azure"
    assert "authorization" not in fake.headers


@pytest.mark.filterwarnings("ignore::ragscale.llm.ModelWarning")
@pytest.mark.parametrize("name", SWITCHED)
def test_its_switch_is_one_that_works(fakes: Fakes, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of those that test_kinds.py tries; one that only lessens thoughts is taken, and sent each time."""
    option = re.match(r"\w+: `\?([^`]+)`", SWITCHED[name])
    assert option is not None
    if name in SWITCHES:
        assert option[1] == SWITCHES[name]
        return
    fake = fakes.add(ENDPOINTS[name])
    monkeypatch.setenv("OPENAI_API_KEY", "sk-fake")
    asyncio.run(load(f"{fake.spec}?{option[1]}").capabilities())
    asked = [body for _, path, body in fake.requests if path.endswith("chat/completions")]
    assert asked
    assert all(body["reasoning_effort"] == "low" for body in asked)


def test_a_kind_that_thinks_has_a_switch_or_always_does() -> None:
    for name, row in NAMED.items():
        words = ("off: ", "fewer: ", "always") if EXPECTED[name].thinks else ("none", "as the model")
        assert row["thoughts"].startswith(words), name


def test_services_and_options_are_all_there() -> None:
    services = {bare(name): (bare(row["endpoint"]), bare(row["key"])) for name, row in table("name").items()}
    assert services == {name: (url, key or "none") for name, (url, key) in PROVIDERS.items()}
    with pytest.raises(InvalidInput) as caught:
        load("http://localhost/v1?nonsense=1")
    known = caught.value.remedy.removeprefix("Known: ").rstrip(".").split(", ")
    assert [bare(name) for name in table("option")] == known


def test_defaults_are_those_of_the_code() -> None:
    options = table("option")
    assert options["`timeout`"]["default"] == f"{inspect.signature(OpenAILLM).parameters['timeout'].default:g}"
    assert bare(options["`key_env`"]["default"].partition(",")[0]) == "OPENAI_API_KEY"


@pytest.mark.parametrize("text", [PAGE, README], ids=["models.md", "README"])
def test_every_specification_can_be_typed(text: str) -> None:
    kinds = "|".join(["openai", *PROVIDERS])
    found = re.findall(rf"([`'])((?:{kinds}):(?:(?!\1)\S)+)\1", text)
    specs = [spec for _, spec in found if "URL" not in spec]
    assert specs
    for spec in specs:
        load(spec.replace("key_env=...", "key_env=X"))


@pytest.mark.filterwarnings("ignore::ragscale.llm.ModelWarning")
@pytest.mark.parametrize("switched", [True, False])
def test_the_readmes_own_model_answers(fakes: Fakes, switched: bool) -> None:
    """With the command's mode and limits; without its switch, too, though thoughts then take most of the budget."""
    command = re.search(r"--mode (\w+) --rounds (\d+) --tokens (\d+) \\\s+--llm '([^']+)'", README)
    assert command is not None
    mode, rounds, tokens, spec = command.groups()
    address, _, options = spec.partition("?")
    fake = fakes.add(replace(ENDPOINTS["vllm qwen3"], model=address.partition("#")[2]))
    agent = Agent(Shelf(mixed=False), f"{fake.spec}?{options}" if switched else fake.spec)  # type: ignore[arg-type]
    budget = Budget(rounds=int(rounds), tokens=int(tokens))
    answer = asyncio.run(agent.aask(tagged("Which lamp is older", 1), mode=mode, budget=budget))
    assert answer.text
    assert answer.stop_reason in ("answered", "budget:rounds", "budget:tokens")
    assert (answer.spend.total.reasoning_tokens == 0) == switched
    assert fake.truth["zq000001"].tokens <= answer.spend.total.tokens <= budget.tokens  # type: ignore[operator]
