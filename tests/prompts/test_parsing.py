"""Reading model output: what real models write, what broken ones write, and what a fuzzer writes."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragscale.prompts import normalise, parse
from ragscale.prompts.thoughts import spoken
from ragscale.prompts.wording import says_none

# Brackets, quotes and escapes in every order, among words.
hostile = st.lists(
    st.sampled_from(
        ["[", "]", "{", "}", '"', "'", "\\", ",", ":", "\n", "```", "json", "queries", "answer", "documents"]
    )
    | st.text(max_size=5)
    | st.integers().map(str),
    max_size=40,
).map("".join)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["queries", "answer", "x"]), inner),
    max_leaves=12,
)
texts = hostile | st.text() | values.map(json.dumps)


def queries(text: str, most: int) -> list[str]:
    reply = parse.turn(text, most)
    return reply.queries if reply else []


def enough(text: str) -> bool:
    reply = parse.turn(text, 1)
    return reply is not None and reply.enough


def known(text: str) -> str:
    reply = parse.turn(text, 1)
    return reply.known if reply else ""


def answer(text: str) -> tuple[str, list[int]]:
    said = parse.closing(text)
    return said.text, said.numbers


class TestQueries:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ('["director of Jaws"]', ["director of Jaws"]),
            ('{"known": "a", "missing": "b", "queries": ["Ridley Scott", "Alien"]}', ["Ridley Scott", "Alien"]),
            ('{"queries": "Ridley Scott"}', ["Ridley Scott"]),
            ('{"next": ["Ridley Scott"]}', ["Ridley Scott"]),
            ('```json\n["Ridley Scott"]\n```', ["Ridley Scott"]),
            ('Sure! Here it is:\n["Ridley Scott"]\nAnything else?', ["Ridley Scott"]),
            ('Document [1] names him, [2, 3] do not. {"queries": ["Ridley Scott"]}', ["Ridley Scott"]),
            ("Who directed Jaws?\nWho directed Alien?", ["Who directed Jaws?", "Who directed Alien?"]),
            ("1. Who directed Jaws?\n2) Who directed Alien?", ["Who directed Jaws?", "Who directed Alien?"]),
            ("- Who directed Jaws?\n\u2022 Who directed Alien?", ["Who directed Jaws?", "Who directed Alien?"]),
            ("Intermediate query 3: Who directed Jaws?", ["Who directed Jaws?"]),
            ("Follow-up question: 'Who directed Jaws?'", ["Who directed Jaws?"]),
            ('["Query 1: Who directed Jaws?"]', ["Who directed Jaws?"]),
            ('"Who directed Jaws?"', ["Who directed Jaws?"]),
            ('["who", "WHO!", " who ", "when"]', ["who", "when"]),
            ('["population of Paris, France"]', ["population of Paris, France"]),
            ('["director of \\"Jaws\\""]', ['director of "Jaws"']),
            ('["two\\nlines\\tand  blanks"]', ["two lines and blanks"]),
            ('["caf\\u00e9 \\ud83d\\ude00", "half \\ud83d"]', ["caf\u00e9 \U0001f600", "half ?"]),
            ('["\u6771\u4eac \u4eba\u53e3"]', ["\u6771\u4eac \u4eba\u53e3"]),
            ('["a", 3, null, ["b"], {"c": "d"}, "e"]', ["a", "e"]),
            ('["", "  ", "?!", "x"]', ["x"]),
        ],
    )
    def test_as_models_write_them(self, text: str, found: list[str]) -> None:
        assert queries(text, 5) == found

    @pytest.mark.parametrize(
        "text",
        [
            "", "  \n", "[]", "{}", '{"queries": []}', '{"queries": null}', '{"queries": {"a": 1}}', "[1, 2]", "???",
            '["cut off', '{"queries": ["cut off', '```json\n["cut off', "[" * 5000, '{"a":' * 5000, '["a" "b"',
            "[NaN]", "[" + "1" * 5000 + "]",
        ],
    )  # fmt: skip
    def test_malformed_turns_give_none(self, text: str) -> None:
        assert queries(text, 5) == []

    def test_at_most_so_many_in_the_order_written(self) -> None:
        assert queries('["c", "a", "b"]', 2) == ["c", "a"]
        assert queries("c\na\nb", 1) == ["c"]

    @given(texts, st.integers(1, 4))
    def test_of_anything_are_few_distinct_single_lines_that_can_be_searched(self, text: str, most: int) -> None:
        found = queries(text, most)
        assert len(found) <= most
        assert len({normalise(query) for query in found}) == len(found)
        for query in found:
            assert normalise(query)
            assert query == query.strip()
            assert len(query.splitlines()) == 1
            query.encode()

    @given(st.lists(st.from_regex(r"[a-z]{2,8}( [a-z0-9]{2,8}){0,4}\??", fullmatch=True), min_size=1, max_size=4))
    def test_that_follow_the_schema_come_back_as_they_are(self, written: list[str]) -> None:
        written = [query for query in written if not says_none(query)]  # "none" is no query
        distinct = list({normalise(query): query for query in reversed(written)}.values())[::-1]
        turn = json.dumps({"known": "[1] {", "missing": "]", "queries": written})
        assert {normalise(query) for query in queries(turn, 4)} == set(map(normalise, distinct))

    def test_the_schema_bounds_their_number(self) -> None:
        array = parse.queries_schema(3)["properties"]["queries"]
        assert (array["minItems"], array["maxItems"], array["items"]["type"]) == (1, 3, "string")


class TestAnswers:
    @pytest.mark.parametrize(
        ("text", "said", "documents"),
        [
            ('{"answer": "Ridley Scott", "documents": [3, 1]}', "Ridley Scott", [3, 1]),
            ('{"documents": [2], "answer": " yes "}', "yes", [2]),
            ('```json\n{"answer": "1937", "documents": []}\n```', "1937", []),
            ('As [1] says: {"answer": "1937", "documents": [1]}', "1937", [1]),
            ('{"answer": 1937, "documents": 2}', "1937", [2]),
            ('{"answer": "x", "documents": ["1", 2.0, true, null, 4, 4, -1, 1e300]}', "x", [1, 2, 4]),
            ('{"answer": "x", "documents": ["[1]", "Doc 2", "(3)", "Jaws 2", "1975-1"]}', "x", [1, 2, 3]),
            ('{"answer": "x", "documents": "Documents 1, 2 and 4"}', "x", [1, 2, 4]),
            ('{"answer": NaN, "documents": [Infinity, 1]}', "", [1]),
            ('{"answer": null, "documents": [1]}', "", [1]),
            ('{"answer": "cut off at the', "cut off at the", []),
            ('{"documents": [1, 2], "answer": "Ridley', "Ridley", []),
            ('{"answer": "half \\ud83d"}', "half ?", []),
            ("Ridley Scott", "Ridley Scott", []),
            ("Answer: Ridley Scott", "Ridley Scott", []),
            ("  \n ", "", []),
            ("", "", []),
            ("[1, 2]", "[1, 2]", []),
        ],
    )
    def test_as_models_write_them(self, text: str, said: str, documents: list[int]) -> None:
        assert answer(text) == (said, documents)

    def test_a_number_too_long_to_read_is_no_crash(self) -> None:
        text = '{"documents": [' + "1" * 5000 + '], "answer": "x'
        assert answer(text) == ("x", [])

    @given(texts)
    def test_of_anything_are_a_stripped_text_and_whole_numbers(self, text: str) -> None:
        said, documents = answer(text)
        assert said == said.strip()
        assert all(type(number) is int for number in documents)
        said.encode()

    @given(st.text().map(str.strip), st.lists(st.integers(1, 99), max_size=4))
    def test_that_follow_the_schema_come_back_as_they_are(self, said: str, documents: list[int]) -> None:
        text = json.dumps({"answer": said, "documents": documents})
        numbers = [number for number in dict.fromkeys(documents) if 0 <= number < 10**6]
        assert answer(text) == (said.encode("utf-8", "replace").decode(), numbers)


class TestThoughts:
    """A reasoning model on an endpoint that does not constrain its output thinks first."""

    @pytest.mark.parametrize(
        "thought",
        [
            '<think>{"answer": "wrong", "queries": ["wrong"], "known": "wrong"}</think>',
            '\n<think>\nMaybe [1]? {"answer": "wrong", "queries": []}\n</think>\n\n',
            "<think>\n\n</think>\n",
            'The opening tag is in the template. {"answer": "wrong", "queries": ["wrong"]}\n</think>\n\n',
        ],
    )
    @pytest.mark.parametrize("fence", ["%s", "```json\n%s\n```", "So: %s"])
    def test_are_not_read(self, thought: str, fence: str) -> None:
        said = thought + fence % '{"answer": "right", "documents": [2], "queries": ["right"], "known": "it is right"}'
        assert answer(said) == ("right", [2])
        assert queries(said, 3) == ["right"]
        assert known(said) == "it is right"
        assert not enough(said)
        assert enough(thought + fence % '{"queries": []}')

    def test_before_lines_are_not_read(self) -> None:
        said = "<think>\nWho could it be?\n</think>\nRidley Scott\nAlien"
        assert queries(said, 3) == ["Ridley Scott", "Alien"]
        assert answer("<think>Hm.</think>\nAnswer: Ridley Scott") == ("Ridley Scott", [])
        assert spoken("<think>Hm.</think>Paris") == "Paris"

    def test_without_an_end_are_no_reply(self) -> None:
        cut = '<think>\nLet me see. {"answer": "wrong", "queries": ["wrong"]} or'
        assert (answer(cut), queries(cut, 3), known(cut)) == (("", []), [], "")
        assert not enough('<think> {"queries": []}')

    def test_the_tag_in_json_is_text(self) -> None:
        text = json.dumps({"answer": "<think> and </think>", "documents": [1]})
        assert answer(text) == ("<think> and </think>", [1])
        assert answer(f"```json\n{text}\n```") == ("<think> and </think>", [1])


class TestOddReplies:
    """Replies that repeat one thing up to the end: questions of a whole process wait while such a one is read."""

    @pytest.mark.parametrize(
        "text",
        [
            '{"answer":' + "[" * 100_000,
            "[" * 100_000,
            '{"a":' * 20_000,
            ("[" * 900 + "x") * 100,
            "[1," * 50_000,
            '["' + "'" * 6000 + 'x"]',
            "\"'`" * 3000 + "x",
            "query" + " " * 200_000 + "x",
            "question" + "\t" * 200_000 + "7",
            "answer" + " " * 200_000 + "x",
        ],
    )
    def test_of_any_length_are_read_at_once(self, text: str) -> None:
        started = time.process_time()
        queries(text, 3)
        answer(text)
        enough(text)
        known(text)
        assert time.process_time() - started < 6

    def test_short_ones_are_searched_to_the_end(self) -> None:
        assert queries("[" * 980 + '["Jaws"]', 1) == ["Jaws"]
        assert answer("{" * 5000 + '{"answer": "Jaws", "documents": [1]}') == ("Jaws", [1])

    def test_citations_do_not_tire_it(self) -> None:
        text = "As [1, 2] says, and [3]. " * 20_000 + '{"answer": "1937", "documents": [3]}'
        assert answer(text) == ("1937", [3])


class TestNormalise:
    @pytest.mark.parametrize(
        ("one", "other"), [("Who?", " who "), ("A-b, c", "a B c"), ("STRASSE", "stra\u00dfe"), ("x\ty", "X  y")]
    )
    def test_same_words_are_the_same(self, one: str, other: str) -> None:
        assert normalise(one) == normalise(other)

    def test_other_words_are_not(self) -> None:
        assert len({normalise(text) for text in ("ab c", "a bc", "abc", "c ab")}) == 4

    @given(st.text())
    def test_once_is_enough(self, text: str) -> None:
        assert normalise(normalise(text)) == normalise(text)
