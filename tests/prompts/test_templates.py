"""Template files: what they replace, what stays text, and what is refused with file, key and remedy."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from ragscale.errors import InvalidInput
from ragscale.prompts import PROFILES, Plan, Step, Turn, profile, templates
from ragscale.types import Passage

STEPS = [Step(query="q{task}", passages=[], answer="a{question}"), Step(query="r", passages=[], answer="b")]
BRACES = Passage("b", "{title}", "{question} {0} {{x}} {past} %s")

FILE = '''
[profile]
task = "find it"

[plan]
user = """Past: {past}
Task: {task}
Question: {question}"""
past_item = "{n0}/{n}: {query} = {answer}"
past_empty = "none"

[read]
user = "{documents}|{query}"
document = "{n}. {title}: {text}"
order = "best first"

[answer]
system = "You answer."
user = "{documents}|{past}|{question}"
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(FILE, "utf-8")
    return path


@pytest.mark.parametrize("name", ["generic", "corag"])
def test_replaces_texts_in_one_pass_so_that_braces_stay_text(file: Path, name: str) -> None:
    made = profile(name, file=file)
    [plan] = made.plan("Who {past}?", [], STEPS).messages
    assert plan == {
        "role": "user",
        "content": "Past: 0/1: q{task} = a{question}\n1/2: r = b\nTask: find it\nQuestion: Who {past}?",
    }
    assert made.plan("Who?", [], []).messages[0]["content"].startswith("Past: none\n")
    assert made.read("q", [BRACES]).messages[0]["content"] == "1. {title}: {question} {0} {{x}} {past} %s|q"
    answer = made.answer("Who?", [], [], STEPS).messages
    assert [m["role"] for m in answer] == ["system", "user"]
    assert answer[1]["content"] == "|0/1: q{task} = a{question}\n1/2: r = b|Who?"


def test_moves_without_a_section_are_the_profiles(file: Path) -> None:
    generic, mine = PROFILES["generic"], profile("generic", file=file)
    assert mine.turn("Who?", [], {}).messages == generic.turn("Who?", [], {}).messages
    assert mine.turn("Who?", [], {}).schema is not None
    assert mine.plan("Who?", [], []).schema is None
    assert mine.plan("Who?", [], []).read("Jaws director") == [Plan("Jaws director", "")]
    assert "Q: r\nA: b" in mine.support("Who?", STEPS).messages[0]["content"]


def test_turns_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_text('[turn]\nuser = "{n}: {question}"\ninformation = "<r>{results}</r>"\ndocument = "{n0}:{text}"\n'
                    'results = "lines"\ninvalid = "again"\n')  # fmt: skip
    made = profile("rag-r1", file=path)
    turns = [Turn(said="<search>x</search>", queries=["x"], passages=[["b"]]), Turn(said="hm", queries=[], passages=[])]
    chat = made.turn("Who?", turns, {"b": BRACES}, most=2).messages
    assert [m["content"] for m in chat] == ["2: Who?", f"<search>x</search><r>0:{BRACES.text}</r>hmagain"]


@pytest.mark.parametrize(
    ("text", "problem", "remedy"),
    [
        ("[plan", "is not TOML", "Write sections"),
        ("[paln]\nuser = 'x'", "section 'paln' is unknown", "Did you mean 'plan'?"),
        ("plan = 'x'", "plan is a str", "[plan]"),
        ("[plan]\nusr = '{question}'", "[plan] key 'usr' is unknown", "Did you mean 'user'?"),
        ("[plan]\nuser = 3", "[plan] user is a int", "string"),
        ("[plan]\npast_empty = 'x'", "[plan] has no key user", "user message"),
        ("[plan]\nuser = 'x'", "[plan] user has no {question}", "Put {question}"),
        ("[read]\nuser = '{query}'", "[read] user has no {documents}", "Put {documents}"),
        ("[plan]\nuser = '{question} {qestion}'", "[plan] user has the unknown placeholder {qestion}", "{question}"),
        ("[read]\nuser = '{query}{documents}'\norder = 'worst'", "[read] order is 'worst'", "'best last'"),
        ("[turn]\nuser = '{question}'\nresults = 'xml'", "[turn] results is 'xml'", "'json'"),
        ("[profile]\ntask = 'do {x}'", "[profile] task has the unknown placeholder {x}", "none"),
        ("[profile]\ntask = 'find it'", "no effect has [profile] task, as no text has {task}", "leave the key out"),
        ("[plan]\nuser = '{question}'\npast_empty = 'x'", "no effect has [plan] past_empty", "leave the key out"),
        ("[plan]\nuser = '{question}'\ndocument = '{text}'", "no effect has [plan] document", "leave the key out"),
        ("[answer]\nuser = '{question}'\norder = 'best last'", "no effect has [answer] order", "leave the key out"),
        ("[support]\npair = '{query} {answer}'", "[support] pair, as there is no [read]", "leave the key out"),
    ],
)
def test_mistakes_are_refused_with_file_key_and_remedy(tmp_path: Path, text: str, problem: str, remedy: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(InvalidInput) as caught:
        profile("generic", file=path)
    assert str(path) in str(caught.value)
    assert problem in str(caught.value)
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "[plan]\nuser = '{question}'\npast_item = '{query} {answer}'\n[answer]\nuser = '{question} {past}'",
        "[profile]\ntask = 'find it'\n[read]\nsystem = '{task}'\nuser = '{query} {documents}'\norder = 'best last'",
        "\ufeff[read]\nuser = '{query} {documents}'\n[support]\npair = '{query} {answer}'",
    ],
)
def test_what_another_section_shows_has_an_effect(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text, "utf-8")
    assert profile("generic", file=path).sections


def test_a_key_that_the_profile_shows_needs_no_text_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[profile]\ntask = 'find it'\n[support]\npair = '{query} {answer}'", "utf-8")
    assert "find it" in profile("corag", file=path).plan("Who?", [], []).messages[0]["content"]


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"cannot be read .*No such file"):
        profile(file=tmp_path / "none.toml")
    with pytest.raises(InvalidInput, match="cannot be read"):
        profile(file=tmp_path)
    with pytest.raises(InvalidInput, match=r"cannot be read .*null"):
        profile(file="\0.toml")
    (tmp_path / "latin.toml").write_bytes(b"[plan]\nuser = '\xe9'")
    with pytest.raises(InvalidInput, match="not UTF-8"):
        profile(file=tmp_path / "latin.toml")


def test_a_file_that_changes_is_read_again(file: Path) -> None:
    assert profile(file=file).task == "find it"
    file.write_text("[profile]\ntask = 'find it again'\n[plan]\nuser = '{task}: {question}'", "utf-8")
    os.utime(file, ns=(1, 1))
    assert profile(file=file).task == "find it again"


def test_the_published_texts_are_known_by_their_digests(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    assert all(not made.published() for made in PROFILES.values())  # we ship none
    source = "Past: {past or 'Nothing yet'}\nTask: {task_desc}\nQuestion: {query}"
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    monkeypatch.setitem(templates._PUBLISHED, digest, "A paper")
    assert profile("corag", file=file).published() == {"plan": "A paper"}
    assert templates.published("plan", "anything else {question}") == ""
