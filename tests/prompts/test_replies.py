"""Replies of planners and closing answers in the shapes that models give them."""

from __future__ import annotations

import pytest

from ragscale.prompts import Reply, parse
from ragscale.prompts.generic import plans, rating, yes_or_no


class TestTurns:
    @pytest.mark.parametrize(
        ("text", "queries"),
        [
            ("Sure! Here is the next question:\nWho directed Jaws?", ["Who directed Jaws?"]),
            ("To answer this, we need to know who directed Jaws.\n\nWho directed Jaws?", ["Who directed Jaws?"]),
            ("Okay, let me think.\nJaws director\nThis will help us find him.", ["Jaws director"]),
            ("Sure, here is the query: Who directed Jaws?", ["Who directed Jaws?"]),
            ("The next simple follow-up question would be: Who directed Jaws?", ["Who directed Jaws?"]),
            ("We look for the director.\nNext query: Jaws director", ["Jaws director"]),
            ('I think the next question should be: "Who directed Jaws?"', ["Who directed Jaws?"]),
            ('Let me search for "Jaws director".', ["Jaws director"]),
            ("We need to find: director of Jaws", ["director of Jaws"]),
            ("Okay, Jaws director", ["Jaws director"]),
            ("Who directed Jaws?\n\nThis question will help us find the director.", ["Who directed Jaws?"]),
            ("The Matrix: Reloaded director", ["The Matrix: Reloaded director"]),
            ("I, Robot author", ["I, Robot author"]),
            ("I, Robot: author", ["I, Robot: author"]),
            ("We Were Soldiers: cast", ["We Were Soldiers: cast"]),
            ("Let\u2019s Dance: producer", ["Let\u2019s Dance: producer"]),
            ("The Search for Spock: director", ["The Search for Spock: director"]),
            ("A history of Iraq: author", ["A history of Iraq: author"]),
            ("I\u2019ll look up: Jaws director", ["Jaws director"]),
            ("The next query: Jaws director", ["Jaws director"]),
            ("We Were Soldiers cast", ["We Were Soldiers cast"]),
            ("OK Computer producer", ["OK Computer producer"]),
            ('{"queries": [{"query": "Jaws director"}]}', ["Jaws director"]),
            ("**Query:** Jaws director", ["Jaws director"]),
            ("\u201cWho directed Jaws?\u201d", ["Who directed Jaws?"]),
            ("\u00abWho directed Jaws?\u00bb", ["Who directed Jaws?"]),
            ("Question 2: \u2018Who\u2019s older?\u2019", ["Who\u2019s older?"]),
            ('"Jaws" director of "Alien"', ['"Jaws" director of "Alien"']),
            ("{\u201cqueries\u201d: [\u201cJaws director\u201d]}", ["Jaws director"]),
            ("### Query\nJaws director", ["Jaws director"]),
            ('Next sub-question\n"Jaws director"', ["Jaws director"]),
            ("**Reasoning**\nWe need him.\n**Query**\nJaws director", ["Jaws director"]),
            ("# Plan\nJaws director\nAlien director", ["Jaws director", "Alien director"]),
            ("Follow up: who directed Jaws?", ["who directed Jaws?"]),
            ("Q: Jaws director", ["Jaws director"]),
            ("Next question", ["Next question"]),
            (
                "{'known': 'it''s Jaws', 'queries': ['Jaws director', \"Alien's director\"]}",
                ["Jaws director", "Alien's director"],
            ),
            ('{"known": None, "queries": ["Jaws director"]}', ["Jaws director"]),
            ("['Jaws director']", ["Jaws director"]),
            ("24) TV series", ["24) TV series"]),
            ("(12) Monkeys cast", ["(12) Monkeys cast"]),
            ("2. Who directed Jaws?", ["Who directed Jaws?"]),
            ("3) Jaws\n4) Alien", ["Jaws", "Alien"]),
            ("1. Jaws\nby date\n2. Alien", ["Jaws", "by date", "Alien"]),
            ("1. FC Köln", ["1. FC Köln"]),
            ("1. FC Köln\n1. FSV Mainz 05", ["1. FC Köln", "1. FSV Mainz 05"]),
            ("2. Bundesliga champions", ["2. Bundesliga champions"]),
            ("Jaws\n2. Bundesliga champions", ["Jaws", "2. Bundesliga champions"]),
            ("1. 1. FC Köln\n2. 2. Bundesliga", ["1. FC Köln", "2. Bundesliga"]),
            ("1. director of Jaws", ["director of Jaws"]),
            ('1. "Jaws director"', ["Jaws director"]),
            ("1. Query: Jaws director", ["Jaws director"]),
            ("-196 degrees", ["-196 degrees"]),
            ('{"Queries": ["Jaws"]}', ["Jaws"]),
            ('{"query": "Jaws"}', ["Jaws"]),
            ('["Jaws", "N/A"]', ["Jaws"]),
            ('<think> a <think> b </think> ["wrong"] </think> ["right"]', ["right"]),
            ("<think> a <think> b </think> Who directed Jaws?", ["Who directed Jaws?"]),
        ],
    )
    def test_hold_their_queries(self, text: str, queries: list[str]) -> None:
        reply = parse.turn(text, 3)
        assert reply is not None
        assert reply.queries == queries

    @pytest.mark.parametrize(
        ("text", "known"),
        [
            ('{"queries": null}', ""),
            ('{"queries": ""}', ""),
            ('{"queries": [null], "known": "it is Paris"}', "it is Paris"),
            ("[]", ""),
            ('{"queries": [""]}', ""),
            ('{"known": "all", "missing": "nothing", "queries": ["", " "]}', "all"),
            ("{'known': 'it is Paris', 'queries': []}", "it is Paris"),
            ('{"answer": "Paris"}', "Paris"),
            ('{"answer": ["Paris", "Rome"], "documents": [1]}', "Paris, Rome"),
            ('{"known": "Jaws is by Spielberg", "queries": ["none"]}', "Jaws is by Spielberg"),
            ("No further questions needed.", ""),
        ],
    )
    def test_say_that_nothing_is_missing(self, text: str, known: str) -> None:
        assert parse.turn(text, 3) == Reply(enough=True, known=known)
        assert plans(text) == [("", known)]

    @pytest.mark.parametrize(
        "text", ["", '{"queries": 3}', '{"queries": {"a": 1}}', '{"queries": [3]}', "???", '["cut']
    )
    def test_are_malformed(self, text: str) -> None:
        assert parse.turn(text, 3) is None
        assert plans(text) is None


class TestAnswers:
    @pytest.mark.parametrize(
        ("text", "answer"),
        [
            ('{"answer": false}', "no"),
            ('{"answer": true, "documents": [1]}', "yes"),
            ('{"answer": ["Spain", "France"]}', "Spain, France"),
            ('{"answer": [["Spain"], {"name": "France"}]}', "Spain, France"),
            ('{"answer": {"name": "Paris", "country": "France"}}', "Paris"),
            ('{"answer": {"first": "Ann", "last": "Lee"}}', "Ann, Lee"),
            ('{"answer": {"answer": true}}', "yes"),
            ('{"answer": 1937}', "1937"),
            ('{"answer": []}', ""),
            ('{"Answer": "Paris"}', "Paris"),
            ('{"final_answer": "Paris"}', "Paris"),
            ('{"response": "Paris", "documents": [1]}', "Paris"),
            ("{'answer': 'Paris', 'documents': [1]}", "Paris"),
            ('{"answer": True, "documents": [1]}', "yes"),
            ("{'answer': \"the King's men\"}", "the King's men"),
            ('{"answer": "**Answer:** Paris"}', "Paris"),
            ('{"answer": 1937.0}', "1937"),
            ('{"answer": 19.5}', "19.5"),
            ("{'answer': 'Paris', 'documents': ['1']}", "Paris"),
            ("```\nParis\n```", "Paris"),
            ("```text\nNew York\n```", "New York"),
            (r"\boxed{\text{Paris}}", "Paris"),
            (r"\boxed{Paris}", "Paris"),
            ('["Spain", "France"]', "Spain, France"),
            ("**Answer:** Paris", "Paris"),
            ("**Answer**: Paris", "Paris"),
            ("Answer: **Paris**", "Paris"),
            ("**Paris**", "Paris"),
            ("__Final answer:__ Paris", "Paris"),
            ("The final answer is: Paris", "Paris"),
            ("Sure! Here is the answer:\nParis", "Paris"),
            ("<answer> No </answer>", "No"),
            ("<think> hm </think><answer> No", "No"),
            ("I think <answer> x <answer> No </answer>", "No"),
            ('{"answer": "<answer> No </answer>", "documents": []}', "No"),
            ("5 * 3 * 2", "5 * 3 * 2"),
            ("The Answer", "The Answer"),
        ],
    )
    def test_are_words(self, text: str, answer: str) -> None:
        assert parse.closing(text).text == answer

    def test_of_a_judge_and_of_a_check(self) -> None:
        assert [yes_or_no(text) for text in ("Yes", "**no**.", '"yes"', "maybe")] == [True, False, True, None]
        none = ("none", '{"rating": 11}', '{"rating": true}', "-1", "2 or 3", '{"rating": NaN}', "7/100", "")
        assert [rating(text) for text in none] == [None] * len(none)
        said = ('{"rating": 7}', '{"rating": "7"}', "7.0", "7/10", "Rating: 7 out of 10", "2 of 3 facts: **7 / 10**")
        assert [rating(text) for text in said] == [7] * len(said)


@pytest.mark.parametrize(
    ("text", "queries"),
    [
        ('{"known": "a", "missing": "b", "queries": ["Jaws director", "Ali', ["Jaws director"]),
        ('So: {"queries": ["Jaws director"', ["Jaws director"]),
        ('```json\n["Jaws director", "Alien director", "Gla', ["Jaws director", "Alien director"]),
        ('{"queries": [{"q": "Jaws director"}, {"question": "Who is he?"}]}', ["Jaws director", "Who is he?"]),
        ('{"queries": {"1": "Jaws director", "2": "Alien"}}', ["Jaws director", "Alien"]),
        ('{"name": "search", "arguments": {"query": "Jaws director"}}', ["Jaws director"]),
        ('<tool_call>{"name": "search", "arguments": {"queries": ["Jaws director"]}}</tool_call>', ["Jaws director"]),
        ('{"tool": "search", "input": "Jaws director"}', ["Jaws director"]),
        ('search("Jaws director")', ["Jaws director"]),
        ("search_query = 'Jaws director'", ["Jaws director"]),
        ("Thought: I need him.\nAction: search\nAction Input: Jaws director", ["Jaws director"]),
        ("Q1: Who directed Jaws?\nQ2: Who directed Alien?", ["Who directed Jaws?", "Who directed Alien?"]),
        ("N\u00e4chste Suchanfrage: Regisseur von Jaws", ["Regisseur von Jaws"]),
        ("Claro, la siguiente consulta es: director de Tibur\u00f3n", ["director de Tibur\u00f3n"]),
        ("Prochaine requ\u00eate : \u00ab Jaws r\u00e9alisateur \u00bb", ["Jaws r\u00e9alisateur"]),
        ("\u6b21\u306e\u691c\u7d22\u30af\u30a8\u30ea\uff1a\u300c\u6771\u4eac \u4eba\u53e3\u300d",
         ["\u6771\u4eac \u4eba\u53e3"]),
        ("\u597d\u7684,\u4e0b\u4e00\u4e2a\u67e5\u8be2:\u5317\u4eac", ["\u5317\u4eac"]),
        ("\ub124, \ub2e4\uc74c \uac80\uc0c9\uc5b4: \uc11c\uc6b8", ["\uc11c\uc6b8"]),
        ("\ub124\uc774\ubc84 \uac80\uc0c9: \uc5ed\uc0ac", ["\ub124\uc774\ubc84 \uac80\uc0c9: \uc5ed\uc0ac"]),
        ("Centre de recherche: CNRS", ["Centre de recherche: CNRS"]),
    ],
)  # fmt: skip
def test_queries_in_unfinished_json_calls_and_behind_labels(text: str, queries: list[str]) -> None:
    reply = parse.turn(text, 5)
    assert reply is not None
    assert reply.queries == queries


@pytest.mark.parametrize(
    "text",
    ['{"known": "a", "missing": "b", "queries": ["Jaws dir', 'Sure: {"queries": ["Ja', '{"queries": [42]}', "[["],
)
def test_nothing_whole_is_malformed(text: str) -> None:
    """Not a query cut off, and not "enough" either."""
    assert parse.turn(text, 3) is None


@pytest.mark.parametrize(
    ("text", "said", "documents"),
    [
        ('{"answer": "the \\"Jaws\\" shark, Beyonc\\u00e9", "docu', 'the "Jaws" shark, Beyonc\u00e9', []),
        ('{"answer": "Beyonc\\u00', "Beyonc", []),
        ('{"answer": ["Spain", "Fra', "Spain, Fra", []),
        ('{"answer": {"name": "Par', "Par", []),
        ('```json\n{"documents": [1], "answer": ["Spain"', "Spain", []),
        ('{"answer": 19', "", []),
        ('{"documents": [1, 2', "", []),
        ('{"answer": Paris, "documents": [1]}', "Paris", []),
        ("{answer: 1946}", "1946", []),
        ('[{"answer": "Paris", "documents": [2]}]', "Paris", [2]),
        ('{"answer": {"answer": false, "reason": "he is not"}}', "no", []),
        ('{"capital": "Paris", "documents": [1]}', "Paris", [1]),
        ("true", "yes", []),
        ('"Paris"', "Paris", []),
        ("null", "", []),
        ("**Answer: Paris**", "Paris", []),
        ("### Answer\nParis", "Paris", []),
        ("Final Answer\n\n**Paris**", "Paris", []),
        ("Thought: I know it now.\nFinal Answer: Paris", "Paris", []),
        ("It is in France.\n\n**Answer:** Paris", "Paris", []),
        ("Antwort: Paris", "Paris", []),
        ("R\u00e9ponse finale : Paris", "Paris", []),
        ("\u7b54\u6848\uff1a\u5df4\u9ece", "\u5df4\u9ece", []),
        ("$\\boxed{\\textbf{Paris}}$", "Paris", []),
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}", []),
        ("The answer key was found", "The answer key was found", []),
        ("Responsa: a book", "Responsa: a book", []),
    ],
)
def test_answers_cut_off_or_wrapped(text: str, said: str, documents: list[int]) -> None:
    assert parse.closing(text) == (said, documents)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"answer": "Steven Spielberg"}', "Steven Spielberg"),
        ('```json\n{"answer": ["Spain", "France"]}\n```', "Spain, France"),
        ('["Steven Spielberg"]', "Steven Spielberg"),
        ("[1] names Steven Spielberg", "[1] names Steven Spielberg"),
    ],
)
def test_sub_answers_in_json(text: str, said: str) -> None:
    assert parse.sub_answer(text) == said
