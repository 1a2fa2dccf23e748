"""``ragscale search``: filters, metadata in the JSON, and options that do not fit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from ragscale.cli import index as commands
from ragscale.errors import InvalidInput
from ragscale.weights import pinned

root = typer.Typer()
root.add_typer(commands.app, name="index")
root.command("search")(commands.search)

ROWS = [
    {"id": "bread", "title": "Bread", "text": "Bread is baked from flour.", "year": 1990, "lang": "en"},
    {"id": "rye", "title": "Rye", "text": "Rye bread is dark.", "year": 2001, "lang": "en"},
    {"id": "toast", "title": "Toast", "text": "Toast is bread, browned."},
]


def run(*words: object) -> Result:
    return CliRunner().invoke(root, [str(word) for word in words])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search")
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    assert run("index", "build", folder / "corpus.jsonl", "-o", folder / "index", "--embedder", "none").exit_code == 0
    return folder / "index"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("options", [["--json"], []])
def test_output_that_cannot_be_written(built: Path, options: list[str]) -> None:
    command = [sys.executable, "-c", "from ragscale.cli import app; app()", "search", built, "bread", *options]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1:]) == (
        1, ["The output cannot be written (No space left on device)."],
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_filters_and_metadata(built: Path) -> None:
    found = json.loads(run("search", built, "bread", "--json").stdout)["hits"]
    metadata = {hit["id"]: hit.get("metadata") for hit in found}
    assert metadata == {"bread": {"year": 1990, "lang": "en"}, "rye": {"year": 2001, "lang": "en"}, "toast": None}
    assert all(list(hit)[:4] == ["id", "title", "text", "score"] for hit in found)
    for where, wanted in (('year > 1990 and lang = "en"', ["rye"]), ("year is null", ["toast"]), ("year = 1", [])):
        hits = json.loads(run("search", built, "bread", "--json", "--where", where).stdout)["hits"]
        assert [hit["id"] for hit in hits] == wanted


@pytest.mark.parametrize("title", ["Bread\n1. Rye [rye] 9.9", ""])
def test_a_hit_takes_one_line_whatever_its_id(tmp_path: Path, title: str) -> None:
    row = {"id": "a\n2. Rye [rye] 9.9", "title": title, "text": "bread"}
    (tmp_path / "c.jsonl").write_text(json.dumps(row))
    assert run("index", "build", tmp_path / "c.jsonl", "--out", tmp_path / "i", "--embedder", "none").exit_code == 0
    shown = run("search", tmp_path / "i", "bread").stdout.splitlines()
    assert len(shown) == 2
    assert "[a 2. Rye [rye] 9.9]" in shown[0]


def test_control_codes_of_passages_do_not_reach_the_terminal(tmp_path: Path) -> None:
    row = {"id": "a\x1b[1m", "title": "T\x9b2J", "text": "bread \x1b[2J is baked"}
    (tmp_path / "corpus.jsonl").write_text(json.dumps(row))
    made = run("index", "build", tmp_path / "corpus.jsonl", "-o", tmp_path / "index", "--embedder", "none")
    assert made.exit_code == 0, made.output
    shown = run("search", tmp_path / "index", "bread").stdout
    assert shown.startswith("1. T\ufffd2J [a\ufffd[1m] ")
    assert shown.endswith("\n   bread \ufffd[2J is baked\n")
    (hit,) = json.loads(run("search", tmp_path / "index", "bread", "--json").stdout)["hits"]
    assert {name: hit[name] for name in row} == row


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--where", "yaer = 1"], "no field 'yaer'"),
        (["--weight", "0.5"], "weight is of hybrid search"),
        (["--mmr", "0.5"], "mmr needs vectors"),
        (["--mmr-union"], "mmr_union without mmr"),
        (["--depth", "0"], "depth 0"),
    ],
)
def test_options_that_do_not_fit(built: Path, words: list[str], message: str) -> None:
    result = run("search", built, "bread", *words)
    assert isinstance(result.exception, InvalidInput)
    assert message in str(result.exception)


FACTS = """The violin has four strings and is played with a bow.
Bread is baked from flour, water and yeast.
The kitten slept on the sofa all afternoon.
Paris lies on both banks of the Seine.
A telescope gathers light from distant stars.
The surgeon washed her hands before the operation.
Iron rusts when it meets water and oxygen.
The lawyer spoke for an hour before the court.
Penguins cannot fly but swim very well.
Mount Everest stands on the border of Nepal.
The goalkeeper caught the ball with one hand.
Honey is made by insects from nectar.
A glacier is a slow river of ice.
The novel was translated into forty languages.
Sharks breathe through gills.
The steam locomotive pulled twelve wagons.
Olives are pressed for their oil.
The Sahara covers much of northern Africa.
An earthquake shook the town at dawn.
The painter mixed blue with yellow.
Chess is played on sixty-four squares.
The vaccine was tested on volunteers.
Camels store fat in their humps.
A sundial tells the hour by a shadow.
The carpenter sawed the oak board in two.
Volcanoes throw out ash and molten rock.
The election was decided by ninety votes.
Tea came to Europe by ship from China.
The Moon takes a month to circle the Earth.
Glass is made from molten sand.""".splitlines()


@pytest.fixture(scope="module")
def with_vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of `FACTS` with vectors of the packaged embedder."""
    if pinned.damage("embedder"):
        pytest.skip("the default embedder is not in the cache: ragscale model fetch")
    folder = tmp_path_factory.mktemp("vectors")
    rows = [{"id": f"f{n}", "title": "", "text": text} for n, text in enumerate(FACTS)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = run("index", "build", folder / "corpus.jsonl", "-o", folder / "index")
    assert made.exit_code == 0, made.output
    return folder / "index"


def test_dense_and_hybrid_search_with_the_packaged_embedder(with_vectors: Path) -> None:
    def search(query: str, *words: object) -> dict[str, float]:
        result = run("search", with_vectors, query, "--json", "-k", 30, *words)
        assert result.exit_code == 0, result.output
        hits = json.loads(result.stdout)["hits"]
        assert all(hit["text"] == FACTS[int(hit["id"][1:])] for hit in hits)
        scores = {hit["id"]: hit["score"] for hit in hits}
        assert list(scores.values()) == sorted(scores.values(), reverse=True)
        return scores

    # By meaning alone: no word of the query is in the passage, so BM25 finds nothing there.
    for query, fact in (("musical instruments", 0), ("a young cat", 2), ("which animals live in hives", 11)):
        dense = search(query, "--how", "dense")
        assert len(dense) == len(FACTS)
        assert next(iter(dense)) == f"f{fact}"
        assert 1 >= dense[f"f{fact}"] > 0.2
        assert f"f{fact}" not in search(query, "--how", "bm25")
    # Reciprocal rank fusion of the two, which is the default.
    dense, words = search("water for bread", "--how", "dense"), search("water for bread", "--how", "bm25")
    assert set(words) < set(dense)
    fused = {id: sum(1 / (61 + list(ranking).index(id)) for ranking in (dense, words) if id in ranking) for id in dense}
    hybrid = search("water for bread", "--how", "hybrid")
    assert hybrid == pytest.approx(fused, abs=1e-6)
    assert hybrid == search("water for bread")
    assert next(iter(hybrid)) == "f1"
    assert hybrid not in (dense, words)


def test_a_query_without_a_word_for_bm25_is_told(built: Path) -> None:
    done = run("search", built, "C++", "the", "bread", "quartz", "--json")
    assert done.exit_code == 0
    assert [len(row["hits"]) for row in json.loads(done.stdout)["queries"]] == [0, 0, 3, 0]
    assert done.stderr.splitlines() == [
        "'the' has no word that BM25 looks for: a letter or a digit, and no stop word.",
    ]
