"""Worlds of facts: deterministic, without shortcuts, and each answer follows from its gold passages and no fewer."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ragscale as rs
from ragscale.errors import InvalidInput, RagscaleError
from ragscale.measure import exact_match, load_questions
from ragscale.worlds import Facts, Form, World, check, make, possible
from ragscale.worlds.kinds import RELATIONS
from ragscale.worlds.passages import read


@pytest.fixture(scope="module")
def world() -> World:
    """A grid of nine cells, on 24 islands."""
    return make(questions=24, seed=1)


@pytest.mark.parametrize(("depth", "breadth"), [((1,), (1,)), ((4, 1), (2,)), ((8,), (8,)), ((3,), (1, 5))])
def test_every_cell_has_its_questions(depth: tuple[int, ...], breadth: tuple[int, ...]) -> None:
    made = make(depth=depth, breadth=breadth, questions=3)
    cells = Counter((row["hops"], row["breadth"]) for row in made.questions)
    assert cells == {(d, b): 3 for d in depth for b in breadth}
    for row in made.questions:
        assert len(row["supporting"]) == len(row["decomposition"]) == row["hops"] * row["breadth"]
        assert [step["passage"] for step in row["decomposition"]] == row["supporting"]


@settings(max_examples=15)
@given(st.integers(), st.sets(st.integers(1, 4), min_size=1, max_size=2), st.sets(st.integers(1, 5), min_size=1))
def test_any_seed_makes_a_world_that_passes_its_check(seed: int, depth: set[int], breadth: set[int]) -> None:
    made = make(depth=sorted(depth), breadth=sorted(breadth), questions=2, seed=seed)
    check(made.passages, made.questions)


@pytest.mark.parametrize(
    ("depth", "breadth", "questions", "seed"),
    [((7, 3, 5), (1, 2, 7, 3), 4, 270877312), ((8,), (1, 8, 2), 12, 6)],
)
def test_a_word_that_is_dealt_anew_tells_no_earlier_answer(
    depth: tuple[int, ...], breadth: tuple[int, ...], questions: int, seed: int
) -> None:
    """A count's words are dealt last: one of them was the answer of a question whose chain leads through its thing."""
    made = make(depth=depth, breadth=breadth, questions=questions, seed=seed)
    assert len(made.questions) == len(depth) * len(breadth) * questions
    check(made.passages, made.questions)


def test_the_answer_follows_from_the_chain_step_by_step(world: World) -> None:
    """By the decomposition alone: each step's answer stands in its passage, and the rule gives the answer."""
    texts = {row["id"]: row["text"] for row in world.passages}
    for row in world.questions:
        form, steps = row["form"], row["decomposition"]
        for number, step in enumerate(steps):
            said = step["answer"] if isinstance(step["answer"], list) else [step["answer"]]
            assert all(answer in texts[step["passage"]] for answer in said)
            if number % row["hops"]:
                assert f"#{number}" in step["question"]
                assert steps[number - 1]["answer"] in texts[step["passage"]]
        ends = [step["answer"] for step in steps[row["hops"] - 1 :: row["hops"]]]
        names = [anchor.partition(" (")[0] for anchor in form["anchors"]]
        expected = {
            "value": lambda ends=ends: ends[0],
            "list": lambda ends=ends: ", ".join(sorted(ends)),
            "count": lambda ends=ends, form=form: str(ends.count(form["word"])),
            "min": lambda ends=ends, names=names: min(zip(map(int, ends), names, strict=True))[1],
            "max": lambda ends=ends, names=names: max(zip(map(int, ends), names, strict=True))[1],
            "common": lambda ends=ends: next(name for name in ends[0] if all(name in end for end in ends)),
        }
        assert row["answers"][0] == expected[form["rule"]]()


def _without_gold(world: World) -> list[dict[str, Any]]:
    gold = world.questions[0]["supporting"][0]
    return [row for row in world.passages if row["id"] != gold]


def _told_elsewhere(world: World) -> list[dict[str, Any]]:
    """A second passage about the first question's last thing, which says something else."""
    row = world.questions[0]
    text = next(passage["text"] for passage in world.passages if passage["id"] == row["supporting"][-1])
    return [*world.passages, {"id": "again", "text": re.sub(re.escape(row["answers"][0]), "Someone Else", text)}]


def _told_twice(world: World) -> list[dict[str, Any]]:
    row = world.questions[0]
    text = next(passage["text"] for passage in world.passages if passage["id"] == row["supporting"][-1])
    return [*world.passages, {"id": "again", "text": text}]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_told_twice, "follows without the passage"),
        (_told_elsewhere, "by the corpus, possible answers are"),
        (_without_gold, "is not in the corpus"),
    ],
)
def test_the_check_finds_an_answer_that_needs_less_or_is_not_the_only_one(
    spoil: Callable[[World], list[dict[str, Any]]], said: str
) -> None:
    made = make(depth=(2,), breadth=(1,), questions=4, seed=5)
    asked = [row for row in made.questions if not row["answers"][0].isdigit() and row["answers"][0][0].isupper()]
    broken = World("facts", {}, made.passages, asked)
    with pytest.raises(RagscaleError, match=said):
        check(spoil(broken), asked)


@pytest.mark.parametrize("change", ["answers", "supporting", "question", "text"])
def test_the_check_finds_what_is_wrong_with_a_question(change: str) -> None:
    made = make(depth=(2,), breadth=(2,), questions=4)
    row = next(row for row in made.questions if row["type"] == "list")
    passages = made.passages
    if change == "answers":
        row["answers"] = ["Someone Else"]
    elif change == "supporting":
        row["supporting"] = [*row["supporting"][:-1], made.questions[0]["supporting"][0]]
    elif change == "question":
        row["question"] += f" Is it {row['answers'][0].split(', ')[0]}?"
    else:
        passages = [{**passages[0], "text": "It rains."}, *passages[1:]]
    with pytest.raises(RagscaleError):
        check(passages, made.questions)


@pytest.mark.parametrize(
    ("of", "change", "said"),
    [
        ("passage", {"id": None}, "id is None, no str"),
        ("passage", {"text": 7}, "text is 7, no str"),
        ("question", {"answers": "Ann"}, "answers is 'Ann', no list"),
        ("question", {"form": [1]}, r"form is \[1\], no dict"),
        ("question", {"hops": "2"}, "hops is '2', no int"),
        ("question", {"answers": []}, r"not \[\] alone"),
        ("question", {"form": {"rule": "min", "anchors": ["Al Bo"], "relations": ["home"]}}, "no numbers"),
    ],
)
def test_rows_of_another_shape_are_refused_by_the_check(of: str, change: dict[str, Any], said: str) -> None:
    passages = [
        {"id": "a", "text": "Al Bo lives in Old Tor. This player of the harp was born in 1950 and has a mentor, Cy Do."}
    ]
    row = {
        "id": "q", "question": "Where?", "answers": ["Old Tor"], "supporting": ["a"], "hops": 1, "breadth": 1,
        "form": {"rule": "value", "anchors": ["Al Bo"], "relations": ["home"]},
    }  # fmt: skip
    check(passages, [row])
    with pytest.raises(RagscaleError, match=said):
        check(
            [{**passages[0], **change}] if of == "passage" else passages,
            [{**row, **change} if of == "question" else row],
        )


def test_a_question_of_another_kind_of_world_is_refused() -> None:
    made = rs.worlds.flower(petals=1, questions=1)
    with pytest.raises(InvalidInput, match="none of a world of facts"):
        check([], made.questions)


def test_without_a_fact_the_solver_leaves_open_what_may_be(world: World) -> None:
    """The possible answers, by hand, where one of two chains is unknown."""
    passages = [
        {"id": "a", "text": "The Olba Library stands in Old Tor. It opened in 1900, and its director is Jo Ann."},
        {"id": "b", "text": "The Olba Museum stands in New Tor. It opened in 1950, and its director is Jo Mar."},
    ]
    facts = Facts(passages)
    anchors = ("Olba Library", "Olba Museum")
    assert possible(Form("min", anchors, ("opened",)), facts) == {"Olba Library"}
    assert possible(Form("min", anchors, ("opened",)), facts, without="a") == set(anchors)
    assert possible(Form("list", anchors, ("director",)), facts) == {"Jo Ann, Jo Mar"}
    assert possible(Form("list", anchors, ("director",)), facts, without="b") is None
    assert possible(Form("count", anchors, ("director",), "Jo Ann"), facts) == {"1"}
    assert possible(Form("count", anchors, ("director",), "Jo Ann"), facts, without="b") == {"1", "2"}
    equal = [passages[0], {**passages[1], "text": passages[1]["text"].replace("1950", "1900")}]
    assert possible(Form("max", anchors, ("opened",)), Facts(equal)) == set(anchors)


def test_names_are_shared_by_things_and_belong_to_nobody(world: World) -> None:
    """Each thing has a name of its own; each word of a name leads to wrong things, too."""
    things = [read(row["text"]) for row in world.passages]
    assert [thing.name for thing in things] == [row["title"] for row in world.passages]
    assert len({thing.name for thing in things}) == len({row["id"] for row in world.passages}) == len(things)
    firsts, lasts = (Counter(thing.name.split()[at] for thing in things if thing.kind == "person") for at in (0, 1))
    assert {2, 3} >= set(firsts.values()) | set(lasts.values()) - {1}
    bases = Counter(thing.name.split()[1] for thing in things if thing.kind == "town")
    assert Counter(bases.values())[2] > 0.9 * len(bases)


def test_passages_are_short_and_written_in_several_ways(world: World) -> None:
    words = [len(row["text"].split()) for row in world.passages]
    assert max(words) <= 40
    assert sum(words) / len(words) < 25
    begins: dict[str, set[str]] = defaultdict(set)
    for row in world.passages:
        thing = read(row["text"])
        shape = re.sub(r"\d+|[a-z]+(?=[.,])", "", re.sub(r"[A-Z]\w+", "N", row["text"]))
        begins[thing.kind].add(shape.split("N")[-1] + shape[:6])
    assert all(len(shapes) >= 3 for shapes in begins.values())


def test_each_cell_asks_in_several_ways(world: World) -> None:
    forms: dict[tuple[int, int], set[tuple[Any, ...]]] = defaultdict(set)
    types: dict[tuple[int, int], Counter[str]] = defaultdict(Counter)
    for row in world.questions:
        cell = row["hops"], row["breadth"]
        forms[cell].add((row["form"]["rule"], *row["form"]["relations"]))
        types[cell][row["type"]] += 1
    assert all(len(found) >= 6 for found in forms.values())
    for (_, breadth), found in types.items():
        assert found == ({"chain": 24} if breadth == 1 else dict.fromkeys(["compare", "intersect", "count", "list"], 6))


def test_questions_name_their_anchors_and_nothing_on_the_way(world: World) -> None:
    for row in world.questions:
        for anchor in row["form"]["anchors"]:
            assert anchor.partition(" (")[0] in row["question"]
        middle = {str(step["answer"]) for step in row["decomposition"]} - set(row["form"]["anchors"])
        if row["type"] != "count":
            assert not [name for name in middle if re.search(rf"\b{re.escape(name)}\b", row["question"])]
        assert len(row["question"].split()) < 100


def test_two_questions_with_the_same_words_are_the_same(world: World) -> None:
    forms: dict[str, Form] = {}
    for row in world.questions:
        form = Form.from_dict(row["form"])
        assert forms.setdefault(row["question"], form) == form


def test_no_answer_is_a_good_guess(world: World) -> None:
    """The most common answer of a type is right for few; of a comparison, any place in the list is as good."""
    for kind, about in world.card()["questions_by_type"].items():
        assert about["its_share"] <= (0.4 if kind == "count" else 0.06)
    numbers = Counter(row["answers"][0] for row in world.questions if row["type"] == "count" and row["breadth"] == 2)
    assert set(numbers) == {"0", "1", "2"}
    places = [
        [anchor.partition(" (")[0] for anchor in row["form"]["anchors"]].index(row["answers"][0]) / (row["breadth"] - 1)
        for row in make(depth=(1,), breadth=(2,), questions=200, seed=3).questions
        if row["type"] == "compare"
    ]
    assert 0.3 < sum(places) / len(places) < 0.7


def test_the_same_seed_makes_the_same_world_everywhere() -> None:
    """To the byte, on every version of Python; another seed makes another one."""
    card = make(depth=(1, 2), breadth=(1, 2), questions=4, seed=7).card()
    assert card["sha256"] == {
        "corpus.jsonl": "8cb2daa97a2d53353dc756065470a18288bc278b06380569999d0d06e2c9ce46",
        "questions.jsonl": "fe5a61dd15ca5267236671d31d907d6fb2da92790e8b8a442a22e29990e82d6d",
    }
    assert make(depth=(1, 2), breadth=(1, 2), questions=4, seed=8).card()["sha256"] != card["sha256"]


def test_a_world_of_more_questions_begins_with_the_smaller_one() -> None:
    small, large = (make(depth=(2,), breadth=(1, 2), questions=count, seed=2) for count in (2, 5))
    assert large.questions[: len(small.questions)] == small.questions
    assert large.passages[: len(small.passages)] == small.passages


def test_its_files_are_read_by_the_index_and_by_eval(tmp_path: Path) -> None:
    made = make(depth=(2,), breadth=(1, 2), questions=3)
    made.save(tmp_path / "world")
    questions = load_questions(tmp_path / "world" / "questions.jsonl")
    assert [question.id for question in questions] == [row["id"] for row in made.questions]
    assert all(exact_match(answer, question.answers) for question in questions for answer in question.answers)
    with rs.Index.build([tmp_path / "world" / "corpus.jsonl"], tmp_path / "index", embedder=None) as index:
        assert all(id in index for question in questions for id in question.supporting)
    card = json.loads((tmp_path / "world" / "world.json").read_text("utf-8"))
    for name, expected in card["sha256"].items():
        assert hashlib.sha256((tmp_path / "world" / name).read_bytes()).hexdigest() == expected
    again = rs.worlds.make(**card["settings"])
    assert again.card() == card


def test_a_folder_in_the_home_of_the_user_is_made_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    make(depth=(1,), breadth=(1,), questions=1).save("~/world")
    assert (tmp_path / "world" / "world.json").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InvalidInput, match="not empty"):
        make(depth=(1,), breadth=(1,), questions=1).save(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"depth": (0,)}, "depth=0"),
        ({"breadth": (9,)}, "breadth=9"),
        ({"depth": ()}, "has none"),
        ({"depth": (2, 2)}, "twice"),
        ({"questions": 0}, "questions=0"),
        ({"questions": 1001}, "1,000"),
        ({"depth": 2}, r"depth is no list \(2\)\. Give a list, as in depth=\[1, 2\]\."),
        ({"breadth": "12"}, r"breadth is one string \('12'\)\. Give a list, as in breadth=\[1, 2\]\."),
        ({"depth": (1.5,)}, "depth=1.5"),
        ({"depth": (True,)}, "depth=True"),
        ({"questions": "3"}, "questions='3'"),
        ({"seed": None}, "seed=None"),
        ({"seed": 1.5}, "seed=1.5"),
    ],
)
def test_values_out_of_range_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        make(**given)


def test_every_relation_is_stated_and_asked() -> None:
    """A relation that no passage states, or no question uses, would be dead."""
    made = make(questions=40, seed=11)
    stated = {relation for row in made.passages for relation in read(row["text"]).facts}
    asked = {relation for row in made.questions for relation in row["form"]["relations"]}
    assert stated == asked == set(RELATIONS)
