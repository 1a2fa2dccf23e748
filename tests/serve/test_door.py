"""Access control: tokens, names of this machine, programs and pages of the server's own origin may enter."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import httpx
import pytest
import requests
from servers import Served

from ragscale.errors import InvalidInput
from ragscale.index import Index
from ragscale.serve import Limits, read_token
from ragscale.serve.app import Service

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
            basic("me", f"{TOKEN}x"),
            basic(TOKEN, ""),
            basic("me", ""),
            f"Basic {base64.b64encode(TOKEN.encode()).decode()}",
            "Basic \xff\xfe",
            f"Digest {TOKEN}",
        ):
            response = await http.get(path, headers={"authorization": wrong.encode("latin-1")})
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
            assert response.json()["error"]["problem"] == "the token is absent or wrong"
            assert TOKEN not in response.text
        for right in (
            f"Bearer {TOKEN}",
            f"bearer  {TOKEN} ",
            basic("me", TOKEN),
            basic("", TOKEN),
            basic("me", TOKEN).replace("Basic", "basic "),
        ):
            response = await http.get(path, headers={"authorization": right.encode(), "host": "any.example"})
            assert response.status_code == (404 if path == "/nope" else 200)


async def test_health_needs_no_token(client: Client) -> None:
    async with client(token=TOKEN) as http:
        assert (await http.get("/health")).status_code == 200
        assert (await http.get("/health/live")).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8765", "127.0.0.1:1", "127.0.0.2:8765", "[::1]:8765", "LOCALHOST", "localhost.:8765",
     "0.0.0.0:8765", "[::]:8765", "[::ffff:127.0.0.1]"],
)  # fmt: skip
async def test_names_of_this_machine(client: Client, host: str) -> None:
    async with client() as http:
        assert (await http.get("/v1/index", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["rebound.example", "localhost.example:8765", "10.0.0.1", "", "127.0.0.1:80:80", "::1", "0.0.0.1",
     "0.0.0.0.example", "0.0.0.0:80:80", "[::2]"],
)  # fmt: skip
async def test_other_names_are_refused_without_a_token(client: Client, host: str) -> None:
    async with client() as http:
        response = await http.get("/v1/index", headers={"host": host})
    assert response.status_code == 421
    assert "is not this machine" in response.json()["error"]["problem"]


async def test_a_health_check_of_http_1_0_may_name_no_host(client: Client) -> None:
    """As HAProxy's; every browser names one."""
    async with client() as http:
        for path in ("/health", "/v1/index"):
            request = http.build_request("GET", path)
            del request.headers["host"]
            assert (await http.send(request)).status_code == 200


OWN = "http://localhost:8765"
FOREIGN = [
    {"origin": "http://evil.example"},
    {"origin": "https://localhost.evil.example"},
    {"origin": "http://localhost:3000"},  # another server of this machine
    {"origin": "http://evil.example", "host": "0.0.0.0:8765"},
    {"origin": "http://127.0.0.1:8765"},
    {"origin": "null"},  # of a file, a sandbox, or a page that hides where it is
    {"origin": ""},
    {"origin": "http://evil.example", "sec-fetch-site": "same-origin"},
    {"origin": "http://evil.example", "content-type": "text/plain"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "content-type": "text/plain"},
    {"referer": "http://evil.example/page"},
    {"referer": "http://localhost:8765.evil.example/"},
    {"content-type": "text/plain"},
    {"content-type": "Text/Plain; charset=UTF-8"},
    {"content-type": "multipart/form-data; boundary=x"},
    {"content-type": "application/x-www-form-urlencoded", "user-agent": "Mozilla/5.0 (X11; Linux x86_64)"},
]
WELCOME = [
    {},
    {"content-type": "application/json"},
    {"content-type": "application/x-www-form-urlencoded", "user-agent": "curl/8.5.0"},
    {"content-type": "application/octet-stream"},
    {"origin": OWN, "sec-fetch-site": "same-origin", "content-type": "application/json"},
    {"origin": OWN.upper()},
    {"origin": OWN.replace("http", "https")},  # behind a proxy with TLS
    {"sec-fetch-site": "none"},
    {"sec-fetch-mode": "cors", "content-type": "application/json"},  # Node
    {"referer": f"{OWN}/docs"},
]
ASKED = '{"queries": ["gold"]}'


@pytest.mark.parametrize("token", [None, TOKEN])
@pytest.mark.parametrize("headers", FOREIGN, ids=str)
async def test_pages_of_other_origins_send_nothing(client: Client, headers: dict[str, str], token: str | None) -> None:
    """With a token too: a browser that was once given a user and a password sends them along."""
    given = {"host": "localhost:8765", **({"authorization": basic("me", TOKEN)} if token else {}), **headers}
    async with client(token=token) as http:
        for path in ("/retrieve", "/v1/search", "/v1/batch"):
            response = await http.post(path, content=ASKED, headers=given)
            assert response.status_code == 403
            assert "--allow-origin" in response.json()["error"]["remedy"]
            assert "access-control-allow-origin" not in response.headers
        assert b"ragscale_queries_total 0.0" in (await http.get("/metrics", headers=bearer(token))).content


@pytest.mark.parametrize("token", [None, TOKEN])
@pytest.mark.parametrize("headers", WELCOME, ids=str)
async def test_programs_and_own_pages_are_welcome(client: Client, headers: dict[str, str], token: str | None) -> None:
    async with client(token=token) as http:
        given = {"host": "localhost:8765", **bearer(token), **headers}
        response = await http.post("/retrieve", content=ASKED, headers=given)
    assert response.status_code == 200


async def test_links_to_a_page_of_the_server_can_be_followed(client: Client) -> None:
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "referer": "http://wiki.example/"}
    async with client() as http:
        assert (await http.get("/metrics", headers=link)).status_code == 200
        assert (await http.get("/metrics", headers={**link, "sec-fetch-mode": "no-cors"})).status_code == 403
        assert (await http.get("/metrics", headers={"origin": "http://evil.example"})).status_code == 403


async def test_origins_that_the_operator_allows(index: Index) -> None:
    page = "http://localhost:3000"
    app = Service(index, limits=Limits(), token=TOKEN, origins=[f"{page}/"]).app()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=OWN) as http:
        asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
        allowed = await http.options("/retrieve", headers={"origin": page, **asks})
        refused = await http.options("/retrieve", headers={"origin": "http://evil.example", **asks})
        found = await http.post("/retrieve", content=ASKED, headers={"origin": page, **bearer(TOKEN)})
        foreign = await http.post(
            "/retrieve", content=ASKED, headers={"origin": "http://evil.example", **bearer(TOKEN)}
        )
        without = await http.post("/retrieve", content=ASKED, headers={"origin": page})
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == page
    assert (found.status_code, found.headers["access-control-allow-origin"]) == (200, page)
    assert (refused.status_code, foreign.status_code, without.status_code) == (400, 403, 401)
    assert "access-control-allow-origin" not in {**refused.headers, **foreign.headers}


@pytest.mark.parametrize(
    "origin", ["*", "localhost:3000", "http://", "ftp://h", "http://h/path", "http://me@h", "null"]
)
def test_origins_that_are_none(index: Index, origin: str) -> None:
    with pytest.raises(InvalidInput, match="is not the origin of a web page"):
        Service(index, limits=Limits(), origins=[origin])


def test_the_usual_programs_enter(served: Served) -> None:
    body = {"queries": ["gold"]}
    assert requests.post(f"{served.url}/retrieve", json=body).status_code == 200
    assert requests.post(f"{served.url}/retrieve", data=ASKED).status_code == 200
    assert httpx.post(f"{served.url}/retrieve", content=ASKED).status_code == 200
    curl = shutil.which("curl")
    if curl:
        words = [curl, "-s", "-o", "/dev/null", "-w", "%{http_code}", "-d", ASKED, f"{served.url}/retrieve"]
        assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "200"


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def bearer(token: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"} if token else {}


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
