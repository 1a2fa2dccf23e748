"""The prompts themselves: stable prefixes, one line a document, nothing formatted twice, no forged markers."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragscale import prompts
from ragscale.prompts import NO_INFORMATION, Step
from ragscale.types import Message, Passage

SHOWN = [Passage("a", "Jaws", "A film by Steven Spielberg."), Passage("b", "", "{x} %s {} 100 %")]
STEPS = [Step(query=f"query {i}", passages=["a"], answer=f"fact {i}") for i in range(4)]

fragments = st.sampled_from(
    ["<", "</", "|", "<|", "documents", "information", ">", "[INST]", "s", " ", "\n", "[1] ", "/"]
)
texts = st.text(max_size=30) | st.lists(fragments, max_size=12).map("".join)


def user(messages: list[Message]) -> str:
    assert [message["role"] for message in messages] == ["system", "user"]
    return messages[1]["content"]


class TestClean:
    @pytest.mark.parametrize(
        ("text", "cleaned"),
        [
            ("plain text, 3 < 4 and a <- b", "plain text, 3 < 4 and a < - b"),
            ("</documents>", "< /documents>"),
            ("<|im_end|>", "< |im_end|>"),
            ("<<SYS>>", "< < SYS>>"),
            ("[INST] x [/INST] [1] [sic]", "[ INST] x [ /INST] [1] [sic]"),
            ("<", "<"),
        ],
    )
    def test_puts_a_blank_behind_what_could_open_a_marker(self, text: str, cleaned: str) -> None:
        assert prompts.clean(text) == cleaned

    @given(texts)
    def test_leaves_no_marker_and_changes_nothing_but_blanks(self, text: str) -> None:
        cleaned = prompts.clean(text)
        assert not re.search(r"<\S|\[/?[A-Z_]{3,}\]", cleaned)
        assert cleaned.replace(" ", "") == text.replace(" ", "")
        assert prompts.clean(cleaned) == cleaned


class TestDocuments:
    @given(st.lists(st.builds(Passage, st.just("id"), texts, texts), max_size=4))
    def test_are_one_numbered_line_each_between_the_markers(self, passages: list[Passage]) -> None:
        lines = prompts.documents(passages).splitlines()
        assert (lines[0], lines[-1]) == ("<documents>", "</documents>")
        assert [line.split(" ")[0] for line in lines[1:-1]] == [f"[{n}]" for n in range(1, len(passages) + 1)]
        assert not any("<documents>" in line or "</documents>" in line for line in lines[1:-1])


class TestPrefixes:
    def test_each_plan_begins_with_the_one_before(self) -> None:
        plans = [user(prompts.plan("Who?", SHOWN, STEPS[:n])) for n in range(len(STEPS) + 1)]
        for earlier, later in itertools.pairwise(plans):
            assert later.startswith(earlier)

    @given(texts)
    def test_instructions_come_first_and_depend_on_nothing(self, text: str) -> None:
        shown = [Passage("id", text, text)]
        steps = [Step(query=text, passages=[], answer=text)]
        pairs = [
            (prompts.plan(text, shown, steps), prompts.plan("", [], [])),
            (prompts.read(text, shown), prompts.read("", [])),
            (prompts.answer(text, shown, [text]), prompts.answer("", [])),
            (prompts.support(text, steps), prompts.read("", [])),
        ]
        for one, other in pairs:
            assert one[0] == other[0]
            assert one[0]["role"] == "system"


class TestWhatEachMoveSees:
    def test_the_planner_sees_question_beginnings_and_pairs(self) -> None:
        long = Passage("c", "Long", " ".join(f"w{i}" for i in range(500)))
        text = user(prompts.plan("Who?", [long], STEPS[:2]))
        assert "Question: Who?" in text
        assert "w10 " in text
        assert "w400" not in text
        assert text.index("query 0") < text.index("fact 0") < text.index("query 1")

    def test_a_reader_sees_its_query_and_passages_best_last_and_never_the_question(self) -> None:
        text = user(prompts.read("query", SHOWN))
        assert text.index("[2] Jaws") > text.index("{x} %s {} 100 %")
        assert text.endswith("Query: query")
        assert NO_INFORMATION in prompts.read("query", SHOWN)[0]["content"]

    def test_the_answer_sees_numbered_passages_and_what_planners_know(self) -> None:
        text = user(prompts.answer("Who?", SHOWN, ["Jaws is by <|Spielberg|>", "so is E.T."]))
        assert "[1] Jaws: A film" in text
        assert "{x} %s {} 100 %" in text
        assert text.endswith("</documents>\nNotes:\nJaws is by < |Spielberg|>\nso is E.T.\nQuestion: Who?")
        assert user(prompts.answer("Who?", SHOWN)).endswith("</documents>\nQuestion: Who?")

    def test_support_shows_the_chain_as_documents_under_the_readers_instructions(self) -> None:
        text = user(prompts.support("Who?", STEPS[:2]))
        assert text.splitlines() == [
            "<documents>", "[1] query 0: fact 0", "[2] query 1: fact 1", "</documents>", "Query: Who?",
        ]  # fmt: skip
        assert prompts.support("Who?", [])[0] == prompts.read("q", SHOWN)[0]
