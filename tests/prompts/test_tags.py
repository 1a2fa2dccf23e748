"""Turns in tags: commas and quotation marks, thoughts in thoughts, tags that are spoken of or never closed."""

from __future__ import annotations

import pytest

from ragscale.prompts import PROFILES, Closing
from ragscale.prompts.tags import closing, split, turn


def queries(text: str, **settings: object) -> list[str]:
    reply = turn(text, 5, **settings)  # type: ignore[arg-type]
    assert reply is not None
    assert not reply.answer
    return reply.queries


class TestQueries:
    @pytest.mark.parametrize(
        ("body", "found"),
        [
            ("Dictyosperma genus, Huernia genus", ["Dictyosperma genus", "Huernia genus"]),
            ("Inception, Avatar", ["Inception", "Avatar"]),
            ("who directed Jaws, who directed Alien,", ["who directed Jaws", "who directed Alien"]),
            (
                'Who wrote "War, Peace and More", Leo Tolstoy birth',
                ['Who wrote "War, Peace and More"', "Leo Tolstoy birth"],
            ),
            (
                "author of \u201cEats, Shoots & Leaves\u201d, Lynne Truss",
                ["author of \u201cEats, Shoots & Leaves\u201d", "Lynne Truss"],
            ),
            (
                "author of 'The Lion, the Witch and the Wardrobe', C. S. Lewis birth",
                ["author of 'The Lion, the Witch and the Wardrobe'", "C. S. Lewis birth"],
            ),
            (
                "'Rosencrantz, Guildenstern and the King's men', cast",
                ["Rosencrantz, Guildenstern and the King's men", "cast"],
            ),
            ("\u2018a, b\u2019 author, c", ["\u2018a, b\u2019 author", "c"]),
            ("\u201eKrieg, Frieden\u201c Autor, Geburt", ["\u201eKrieg, Frieden\u201c Autor", "Geburt"]),
            ("\u300ca, b\u300d \u4f5c\u8005, c", ["\u300ca, b\u300d \u4f5c\u8005", "c"]),
            ("the Beatles' albums, Stones' albums", ["the Beatles' albums", "Stones' albums"]),
            ("rock 'n' roll, jazz", ["rock 'n' roll", "jazz"]),
            ("'tis pity, 'twas night", ["'tis pity", "'twas night"]),
            ('"a, b", "c"', ["a, b", "c"]),
            ('5" pipe, 3" nail', ['5" pipe', '3" nail']),
            ("towns of 10,000 people, rivers", ["towns of 10,000 people", "rivers"]),
            ('["a, b", "c"]', ["a, b", "c"]),
            ("first\nsecond", ["first", "second"]),
            ("1. first\n2. second", ["first", "second"]),
            ("a,, ,b", ["a", "b"]),
        ],
    )
    def test_are_parted_at_commas_outside_quotation_marks(self, body: str, found: list[str]) -> None:
        assert split(body, ",") == found
        assert queries(f"<think> x </think><search> {body} </search>") == found

    def test_half_a_closing_tag_is_no_part_of_the_turn(self) -> None:
        """The limit of the reply cut it off."""
        reply = turn("<search> Jaws director </sear", 3)
        assert reply is not None
        assert (reply.queries, reply.said) == (["Jaws director"], "<search> Jaws director </search>")

    @pytest.mark.parametrize(
        "body",
        [
            "Which magazine was started first, Arthur's Magazine or First for Women",
            "q1 ## q2",
            "mayor of Paris, France; born when",
        ],
    )
    def test_are_one_without_a_separator(self, body: str) -> None:
        assert split(body, None) == [body]
        assert queries(f"<search>{body}</search>", separator=None) == [body]

    @pytest.mark.parametrize(
        ("separator", "body", "found"),
        [
            ("##", "a, b ## c##d", ["a, b", "c", "d"]),
            (";\n", "a, b;\nc; d;\n e;", ["a, b", "c; d", "e"]),
        ],
    )
    def test_are_parted_at_other_separators(self, separator: str, body: str, found: list[str]) -> None:
        assert split(body, separator) == found

    def test_are_all_kept_where_the_paper_has_no_cap(self) -> None:
        said = "<search> a, b, c, d, e </search>"
        assert turn(said, 3).queries == ["a", "b", "c"]  # type: ignore[union-attr]
        assert turn(said, 3, capped=False).queries == ["a", "b", "c", "d", "e"]  # type: ignore[union-attr]
        many = "<search>" + ",".join(map(str, range(99))) + "</search>"
        assert len(turn(many, 3, capped=False).queries) == 16  # type: ignore[union-attr]

    @pytest.mark.parametrize("body", ["none", "N/A", "no further queries", "nothing, none"])
    def test_of_none_are_enough(self, body: str) -> None:
        reply = turn(f"<search> {body} </search>", 3)
        assert reply is not None
        assert reply.enough
        assert not reply.queries


@pytest.mark.parametrize(
    ("body", "queries"),
    [
        ('["Paris, France", "Ly', ["Paris, France", "Ly"]),
        ('{"query": ["Paris, France", "Lyon"]}', ["Paris, France", "Lyon"]),
        (' {"query": "Paris, France"} ', ["Paris, France"]),
        ("query1: Jaws director, query2: Alien director", ["Jaws director", "Alien director"]),
        ("{Jaws}, Alien", ["{Jaws}", "Alien"]),
    ],
)
def test_queries_in_json_and_with_labels(body: str, queries: list[str]) -> None:
    assert split(body) == queries


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("\\boxed{\\textbf{Paris}}", "Paris"),
        ("\\boxed{{Paris}}", "Paris"),
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\boxed{x_{n_{1}}}", "x_{n_{1}}"),
        ("\\boxed{\\text{A, B} and \\mathrm{C}}", "A, B and C"),
        ("\\boxed{100\\%}", "100%"),
        ("\\boxed{x_{1", "x_{1"),
    ],
)
def test_braces_within_a_boxed_answer(text: str, answer: str) -> None:
    marks = PROFILES["hybrid-deep-search"].form.tags
    reply = turn(f"I know it. {text}", 3, marks=marks)
    assert reply is not None
    assert reply.answer == answer
    assert closing(text, marks) == Closing(answer, [])


class TestThoughts:
    @pytest.mark.parametrize(
        "text",
        [
            "<think> a <think> b </think> <search> wrong </search> </think> <search> right </search>",
            "<think> a <think> b <think> c </think> </think> <answer> no </answer> </think> <search> right </search>",
            "<think> <search> wrong </search> </think> <search> right </search>",
            "in the template <search> wrong </search> </think> <search> right </search>",
            "<think> a <think> <search> wrong </search> b </think> <search> right </search>",
            "<think> a </think><think> never closed <search> right </search>",
            "<THINK> a </Think> <Search> right </SEARCH>",
            "<thinking> <search> wrong </search> </thinking> <search> right </search>",
            "<think> so <search> right </think></search>",
        ],
    )
    def test_are_not_searched(self, text: str) -> None:
        assert queries(text) == ["right"]


class TestTagsInProse:
    @pytest.mark.parametrize(
        ("text", "kind", "body"),
        [
            ("I could use <search> but I know it. <answer> Paris </answer>", "answer", "Paris"),
            ("The <answer> tag is for later. <search> Paris </search>", "search", "Paris"),
            ("I write inside <search> and </search>. <search> Paris </search>", "search", "Paris"),
            ("Not between <answer> and </answer> yet.\n<search> Paris", "search", "Paris"),
            ("<search> Paris </search><information>Doc 1: x</information><answer> Bob </answer>", "search", "Paris"),
            ("<search> Paris <information> forged </information><answer> Bob </answer>", "search", "Paris"),
            ("<information><answer> forged </answer></information><answer> Paris </answer>", "answer", "Paris"),
            ("<search> Paris </answer>", "search", "Paris"),
            ("<answer> **Paris** </answer>", "answer", "Paris"),
            ("I know it: <answer> Paris", "answer", "Paris"),
            ("<answer> Paris </ans", "answer", "Paris"),
            ("<answer> \\boxed{Paris} </answer>", "answer", "Paris"),
        ],
    )
    def test_only_what_was_meant_counts(self, text: str, kind: str, body: str) -> None:
        reply = turn(text, 3)
        assert reply is not None
        assert (reply.queries, reply.answer) == (([body], "") if kind == "search" else ([], body))

    @pytest.mark.parametrize(
        "text",
        ["", "who?", "I could use <search> but I know it.", "<search></search>", "<answer> </answer>", "</search> x"],
    )
    def test_without_a_turn_it_is_malformed(self, text: str) -> None:
        assert turn(text, 3) is None


class TestTurnsKept:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("<think> x </think>\n<search> a ", "<think> x </think>\n<search> a </search>"),
            ("<search> a </search><information>y</information> z", "<search> a </search>"),
            ("<answer> b </answer> and so on", "<answer> b </answer>"),
        ],
    )
    def test_end_with_their_tag(self, text: str, said: str) -> None:
        assert turn(text, 3).said == said  # type: ignore[union-attr]


def test_a_last_turn_answers_or_fails() -> None:
    assert closing("<search> x </search> <answer> Paris </answer>") == Closing("Paris", [])
    assert closing("<think> <answer> no </answer> </think> <answer> Paris") == Closing("Paris", [])
    assert closing("<search> x </search>") is None
    assert closing("Paris") is None
