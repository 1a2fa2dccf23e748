"""`RemoteIndex` against a real server: the same results as the index itself, for searches, agents and commands."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from doubles import move_of, never_repeating, scripted
from servers import Served, StartServer
from typer.testing import CliRunner

import ragscale as rs
from ragscale.cli import app
from ragscale.errors import IndexMismatch, IndexServerError, InvalidInput
from ragscale.index import Index
from ragscale.llm.scripted import ScriptedCall
from ragscale.measure.questions import Question
from ragscale.measure.runner import GoldWarning

TOKEN = "a-token-of-some-length"
WORDS = "gold silver discovered by camera lucida German chemist mine symbol".split()  # noqa: SIM905


@pytest.fixture
def remote(served: Served) -> Iterator[rs.RemoteIndex]:
    """A client of the module's server."""
    with rs.Index.open(served.url) as opened:
        assert isinstance(opened, rs.RemoteIndex)
        yield opened


def test_it_is_the_index(remote: rs.RemoteIndex, index: Index, served: Served) -> None:
    assert (len(remote), remote.how, remote.fingerprint) == (len(index), index.how, index.fingerprint)
    for queries, k in ((["gold"], 3), (["gold", "who found tin"], 10), ([], 5)):
        assert remote.search(queries, k) == index.search(queries, k)
    assert remote.search(["gold"], how="bm25", depth=7) == index.search(["gold"])
    assert remote.passage("element-tin") == index.passage("element-tin")
    assert "element-tin" in remote
    assert "element-none" not in remote
    assert served.url in repr(remote)


def test_a_passage_that_was_seen_is_not_asked_for(remote: rs.RemoteIndex, served: Served) -> None:
    counter = 'ragscale_requests_total{endpoint="/v1/passages",status="200"}'
    before = served.counts().get(counter, 0)
    (hits,) = remote.search(["gold"], 5)
    assert [remote.passage(hit.passage.id) for hit in hits] == [hit.passage for hit in hits]
    assert served.counts().get(counter, 0) == before


def test_searches_that_wait_travel_together(remote: rs.RemoteIndex, index: Index, served: Served) -> None:
    rng = random.Random(0)
    jobs = [
        ([" ".join(rng.sample(WORDS, 2)) for _ in range(rng.randint(1, 3))], rng.choice([1, 4])) for _ in range(200)
    ]

    async def all_at_once() -> list[list[list[rs.Hit]]]:
        return await asyncio.gather(*(remote.asearch(queries, k) for queries, k in jobs))

    before = served.counts()['ragscale_requests_total{endpoint="/v1/batch",status="200"}']
    with ThreadPoolExecutor(8) as pool:
        threads = pool.map(lambda job: remote.search(*job), jobs)
        assert asyncio.run(all_at_once()) == [index.search(queries, k) for queries, k in jobs] == list(threads)
    assert served.counts()['ragscale_requests_total{endpoint="/v1/batch",status="200"}'] - before < 200


def test_deep_searches_do_not_fail_for_travelling_together(remote: rs.RemoteIndex, index: Index) -> None:
    async def many() -> list[list[list[rs.Hit]]]:
        return await asyncio.gather(*(remote.asearch([f"gold {word}"], 2, depth=500) for word in WORDS * 7))

    assert asyncio.run(many()) == [index.search([f"gold {word}"], 2, depth=500) for word in WORDS * 7]


def test_errors_are_those_of_the_index_and_spare_the_company(remote: rs.RemoteIndex, index: Index) -> None:
    async def both() -> list[object]:
        wrong = [remote.asearch(["gold"], 0), remote.asearch(["gold"], how="dense"), remote.asearch([" "])]
        return await asyncio.gather(remote.asearch(["gold"]), *wrong, return_exceptions=True)

    right, *errors = asyncio.run(both())
    assert right == index.search(["gold"])
    for error, problem in zip(errors, ("k is 0", "dense search needs vectors", "query ' ' is blank"), strict=True):
        assert isinstance(error, InvalidInput)
        assert problem in error.problem
        assert error.remedy
    for bad in ({"where": "year >"}, {"rerank": Path("models/x")}, {"colour": "red"}):
        with pytest.raises(InvalidInput):
            remote.search(["gold"], **bad)  # type: ignore[arg-type]
    for options in ({"where": 'x = "\udce9"'}, {"rerank": "\udce9"}):
        with pytest.raises(InvalidInput, match="no search that JSON can carry"):
            remote.search(["gold"], **options)
    with pytest.raises(InvalidInput, match=r"rerank \['a'\] names no model"):
        remote.search(["gold"], rerank=["a"])  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="queries is no list"):
        remote.search(None)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="queries is one string"):
        remote.search("gold")
    with pytest.raises(InvalidInput, match="no passage 'nobody'"):
        remote.passage("nobody")


def test_an_agent_over_a_server_does_the_same(served: Served, index: Index) -> None:
    answers = []
    for source in (served.url, index):
        agent = rs.Agent(source, llm=scripted(), mode="parallel", seed=3)
        answers.append([agent.ask(question).to_dict() for question in ("Who found tin?", "Where is gold mined?")])
    for answer in (answer for both in answers for answer in both):
        assert answer["index"].pop("source") in (served.url, str(index.path))
        for timed in (*answer["spend"].values(), *(event["spend"] for event in answer["trace"]), answer):
            del timed["seconds"]
        for event in answer["trace"]:
            del event["start"]
        del answer["started"], answer["ended"]
    assert answers[0] == answers[1]


def test_gold_passages_that_a_server_lacks_are_named(
    served: Served, remote: rs.RemoteIndex, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on the folder: by id and by title, left out of recall; a server that cannot tell is said, once."""
    names = ["element-tin", "Gold", "nowhere"]
    assert remote.known(names) == index.known(names) == {"element-tin", "Gold"}
    assert remote.searching(depth=20).known(["Gold", "no"]) == {"Gold"}
    asked = [Question("q1", "Who found tin?", ("nobody",), ("Tin", "nowhere"))]
    agent = rs.Agent(served.url, llm=scripted())
    with pytest.warns(GoldWarning, match="no passage, document or title 'nowhere'") as told:
        run = rs.sweep(agent, asked, ["once"], tmp_path / "run")
    assert [row["gold_passages"] for row in run.rows().to_pylist()] == [1]
    assert len(told) == 1
    monkeypatch.setattr(remote._served, "_names", None)
    old = rs.Agent(remote, llm=scripted())
    with pytest.warns(GoldWarning, match=r"does not tell which passages it has: gold passages .* count as m") as told:
        run = rs.sweep(old, asked, ["once", "direct"], tmp_path / "old")
    assert [row["gold_passages"] for row in run.rows().to_pylist()] == [2, 2]
    assert len(told) == 1


def test_settings_for_an_agent(remote: rs.RemoteIndex, index: Index) -> None:
    there, here = (one.searching(how="bm25", depth=20) for one in (remote, index))
    assert there.search(["gold"]) == here.search(["gold"])
    assert there.fingerprint == here.fingerprint
    with pytest.raises(InvalidInput, match="needs vectors"):
        remote.searching(how="dense")


def test_the_command_takes_a_url(served: Served, folder: Path) -> None:
    found = [CliRunner().invoke(app, ["search", str(source), "gold", "--json"]) for source in (served.url, folder)]
    assert [result.exit_code for result in found] == [0, 0]
    assert json.loads(found[0].stdout) == json.loads(found[1].stdout)


def test_what_the_server_tells(served: Served, index: Index) -> None:
    shouted = served.url.replace("http", "HTTP")
    told = CliRunner().invoke(app, ["index", "info", shouted])
    assert told.exit_code == 0, told.output
    rows = dict(line.split(maxsplit=1) for line in told.stdout.replace("searched by", "how").splitlines())
    assert (rows["passages"], rows["how"], rows["fingerprint"]) == (str(len(index)), index.how, index.fingerprint)
    found = CliRunner().invoke(app, ["index", "info", served.url, "--json"])
    assert json.loads(found.stdout)["limits"]["k"] == 1000


def test_a_server_serves_no_server(served: Served) -> None:
    result = CliRunner().invoke(app, ["serve", served.url])
    assert result.exit_code == 1
    assert f"{served.url} is a URL, and this takes the folder of an index" in result.output


def test_a_closed_client_refuses(served: Served) -> None:
    remote = rs.RemoteIndex(served.url + "/")
    remote.close()
    remote.close()
    with pytest.raises(InvalidInput, match="the index is closed"):
        remote.search(["gold"])


def test_the_token(monkeypatch: pytest.MonkeyPatch, start: StartServer, folder: Path) -> None:
    monkeypatch.delenv("RAGSCALE_TOKEN", raising=False)
    with start(folder, RAGSCALE_TOKEN=TOKEN) as served:
        with pytest.raises(IndexServerError, match="wants a token, and the variable RAGSCALE_TOKEN is not set"):
            rs.Index.open(served.url)
        monkeypatch.setenv("RAGSCALE_TOKEN", "another")
        with pytest.raises(IndexServerError, match="RAGSCALE_TOKEN holds another token"):
            rs.Index.open(served.url)
        monkeypatch.setenv("MINE", TOKEN)
        with rs.RemoteIndex(served.url, token_env="MINE") as remote:
            assert remote.search(["gold"], 1)[0]


def test_an_index_that_changes_under_its_clients(start: StartServer, tmp_path: Path) -> None:
    """SIGHUP moves the server to the newest commit; a client goes on with it only when it is told to."""
    rows = [{"id": name, "title": name, "text": f"{name} is a metal"} for name in ("gold", "tin", "lead")]
    corpus, out = tmp_path / "corpus.jsonl", tmp_path / "index"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows[:2]))
    with Index.build([corpus], out, embedder=None) as local, start(out) as served, rs.RemoteIndex(served.url) as remote:
        assert len(remote.search(["metal"])[0]) == 2
        assert remote.passage("tin").text == "tin is a metal"
        corpus.write_text(json.dumps(rows[2]) + "\n")
        local.add([corpus])
        assert len(remote.search(["metal"])[0]) == 2
        batches = served.counts()["ragscale_batches_total"]
        served.process.send_signal(signal.SIGHUP)
        with rs.RemoteIndex(served.url) as other:
            while other.fingerprint == remote.fingerprint:
                time.sleep(0.05)
                other.reload()
            assert len(other) == 3
        deadline = time.monotonic() + 20
        while served.counts()["ragscale_batches_total"] == batches:  # loaded, and no client asked for it
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for call in (lambda: remote.search(["metal"]), lambda: remote.passage("lead")):
            with pytest.raises(IndexMismatch, match="serves another index now"):
                call()
        remote.reload()
        assert remote.search(["metal"]) == local.search(["metal"])
        local.remove(["tin"])
    with start(out, "--watch", "1") as served, rs.RemoteIndex(served.url) as remote:
        with Index.open(out) as local:
            local.remove(["gold"])
        while len(remote) == 2:
            time.sleep(0.05)
            remote.reload()
        assert [hit.passage.id for hit in remote.search(["metal"])[0]] == ["lead"]


def test_a_server_that_goes_away_in_mid_run(start: StartServer, folder: Path) -> None:
    """The run ends with an answer, from what was found before, and says why."""
    with start(folder) as served, rs.Index.open(served.url) as opened:

        def script(messages: list[dict[str, str]], call: ScriptedCall) -> list[str]:
            if move_of(call) == "plan":
                served.process.kill()
                served.process.wait()
            return never_repeating(messages, call)

        answer = rs.Agent(opened, scripted(script), "chain(steps=2)").ask("Who found tin?")
        assert answer.stop_reason == "failed"
        assert f"no index server at {served.url} " in answer.reason
        assert answer.text
        assert answer.citations
        assert (answer.spend.total.queries, answer.spend.total.llm_calls) == (2, 2)
        assert [event.spend.queries for event in answer.trace if event.move == "retrieve"] == [1, 1]


def test_a_server_that_went_away(start: StartServer, folder: Path) -> None:
    with start(folder) as served:
        remote = rs.RemoteIndex(served.url, attempts=2)
    for call in (lambda: remote.search(["gold"]), lambda: remote.passage("element-gold"), remote.reload):
        with pytest.raises(IndexServerError, match=r"no index server at .*connection refused"):
            call()
    with pytest.raises(IndexServerError, match="Start it with `ragscale serve DIR`"):
        rs.Index.open(served.url)
