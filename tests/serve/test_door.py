"""Who may enter: tokens, and names of this machine."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import httpx
import pytest

from ragscale.errors import InvalidInput
from ragscale.serve import Limits, read_token

TOKEN = "a-token-of-some-length"
Client = Callable[..., httpx.AsyncClient]
PATHS = ["/v1/index", "/metrics", "/nope", "/v1/passages?id=element-gold"]


@pytest.mark.parametrize("path", PATHS)
async def test_a_token_opens_everything_and_nothing_else_does(client: Client, path: str) -> None:
    async with client(token=TOKEN) as http:
        for wrong in (
            "",
            "Bearer",
            "Bearer wrong",
            TOKEN,
            f"Basic {TOKEN}",
            f"Bearer {TOKEN}x",
            f"Bearer {TOKEN[:-1]}",
        ):
            response = await http.get(path, headers={"authorization": wrong.encode()})
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
            assert response.json()["error"]["problem"] == "the token is absent or wrong"
            assert TOKEN not in response.text
        for right in (f"Bearer {TOKEN}", f"bearer  {TOKEN} "):
            response = await http.get(path, headers={"authorization": right.encode(), "host": "any.example"})
            assert response.status_code == (404 if path == "/nope" else 200)


async def test_health_needs_no_token(client: Client) -> None:
    async with client(token=TOKEN) as http:
        assert (await http.get("/health")).status_code == 200
        assert (await http.get("/health/live")).status_code == 200


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8765", "127.0.0.1:1", "127.0.0.2:8765", "[::1]:8765", "LOCALHOST"]
)
async def test_names_of_this_machine(client: Client, host: str) -> None:
    async with client() as http:
        assert (await http.get("/v1/index", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "host", ["rebound.example", "localhost.example:8765", "10.0.0.1", "", "127.0.0.1:80:80", "::1"]
)
async def test_other_names_are_refused_without_a_token(client: Client, host: str) -> None:
    async with client() as http:
        response = await http.get("/v1/index", headers={"host": host})
    assert response.status_code == 421
    assert "is not this machine" in response.json()["error"]["problem"]


def test_tokens_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECRET", raising=False)
    assert all(read_token("SECRET", host) is None for host in ("127.0.0.1", "localhost", "::1", "127.8.8.8"))
    for host in ("0.0.0.0", "::", "10.0.0.1", "example.org"):
        with pytest.raises(InvalidInput, match="SECRET holds no token"):
            read_token("SECRET", host)
    monkeypatch.setenv("SECRET", "short")
    with pytest.raises(InvalidInput, match="5 characters, the least is 16") as caught:
        read_token("SECRET", "127.0.0.1")
    assert "short" not in str(caught.value)
    monkeypatch.setenv("SECRET", "sixteen characters")
    with pytest.raises(InvalidInput, match="holds a space"):
        read_token("SECRET", "127.0.0.1")
    monkeypatch.setenv("SECRET", f" {TOKEN}\n")
    assert read_token("SECRET", "0.0.0.0") == TOKEN


def test_the_page_names_every_limit_with_its_default() -> None:
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text("utf-8")
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| ([\d, ]+) \|", page, re.MULTILINE)
    told: dict[str, int] = {}
    for names, values in rows:
        told |= zip(re.findall(r"\w+", names), (int(v.replace(",", "")) for v in values.split(", ")), strict=True)
    assert told == asdict(Limits())


def test_limits_from_words() -> None:
    assert Limits.parse({"queue": "5", "k": "7"}) == Limits(queue=5, k=7)
    for words, problem in (({"size": "1"}, "unknown limit 'size'"), ({"k": "x"}, "'x'"), ({"k": "0"}, "k=0")):
        with pytest.raises(InvalidInput, match=problem):
            Limits.parse(words)
