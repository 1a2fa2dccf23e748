"""The turns of multi-query retrieval, in the profiles that hold it as JSON and in tags."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragscale.prompts import PROFILES, Reply, Turn, normalise
from ragscale.types import Passage

NAMES = ("generic", "rag-r1")
both = pytest.mark.parametrize("name", NAMES)

tagged = st.lists(
    st.sampled_from(
        ["<search>", "</search>", "<answer>", "</answer>", "<think>", "</think>", "<information>", ",", "\n"]
    )
    | st.text(max_size=12),
    max_size=25,
).map("".join)


def read(text: str, name: str = "generic", most: int = 3) -> Reply | None:
    return PROFILES[name].turn("Who?", [], {}, most=most).read(text)


class TestParsing:
    @pytest.mark.parametrize(
        ("text", "reply"),
        [
            ('{"known": "", "missing": "x", "queries": ["a b", "c"]}', Reply(["a b", "c"])),
            ('```json\n{"queries": ["a", "A", "b"]}\n```', Reply(["a", "b"])),
            ('{"queries": ["a", "b", "c", "d"]}', Reply(["a", "b", "c"])),
            ('Known from [1]: nothing. {"queries": ["a"]}', Reply(["a"])),
            ('["a"]', Reply(["a"])),
            ('{"known": "all", "missing": "nothing", "queries": []}', Reply(enough=True, known="all")),
            ('{"known": " nothing yet", "queries": ["a"]}', Reply(["a"])),
            ('{"known": "No relevant information was found.", "queries": ["a"]}', Reply(["a"])),
        ],
    )
    def test_json(self, text: str, reply: Reply) -> None:
        assert read(text) == reply

    @pytest.mark.parametrize("text", ["", "{}", '{"queries": 3}', '{"queries": [3]}', '{"queries": ["a'])
    def test_malformed_json(self, text: str) -> None:
        assert read(text) is None

    @given(tagged | st.text(), st.sampled_from(NAMES), st.integers(1, 3))
    def test_of_anything_is_at_most_one_kind_of_reply(self, text: str, name: str, most: int) -> None:
        reply = read(text, name, most)
        if reply is None:
            return
        assert sum([bool(reply.queries), bool(reply.answer), reply.enough]) <= 1
        assert len(reply.queries) <= (most if name == "generic" else 16)
        assert len({normalise(query) for query in reply.queries}) == len(reply.queries)
        assert reply.answer == reply.answer.strip()


def turns(count: int) -> tuple[list[Turn], dict[str, Passage]]:
    made = [
        Turn(
            said=f"turn {i}",
            queries=[f"query {i}a", f"query {i}b"],
            passages=[[f"p{i}a", f"p{i}b"], [] if i == 1 else [f"p{i}c"]],
        )
        for i in range(count)
    ]
    ids = [id for turn in made for found in turn["passages"] for id in found]
    return made, {id: Passage(id, f"Title {id}", f"text of {id}") for id in ids}


def flat(chat: list[dict[str, str]]) -> str:
    """The conversation as a chat template lays it out, without the last turn's end, which what follows continues."""
    return "".join(f"\n{message['role']}: {message['content']}" for message in chat)


@both
class TestPrompts:
    def test_each_begins_with_the_one_before(self, name: str) -> None:
        """So a server's prefix cache pays for every round."""
        made, passages = turns(4)
        chats = [flat(PROFILES[name].turn("Who?", made[:n], passages).messages) for n in range(len(made) + 1)]
        for earlier, later in itertools.pairwise(chats):
            assert later.startswith(earlier)
            assert later != earlier

    def test_a_turn_of_the_models_own_keeps_its_tags_and_no_token(self, name: str) -> None:
        said = "<think>x [1], so [INST]</think><search> a, b </search><|im_end|>\n<information>[BOS]</information>"
        kept = "<think>x [1], so [ INST]</think><search> a, b </search>< |im_end|>\n< information>[ BOS]< /information>"
        chat = PROFILES[name].turn("Who?", [Turn(said=said, queries=["a"], passages=[[]])], {}).messages
        assert [kept in m["content"] for m in chat if m["role"] == "assistant"] == ([True] if name == "rag-r1" else [])

    def test_documents_are_numbered_in_the_order_shown(self, name: str) -> None:
        made, passages = turns(3)
        text = flat(PROFILES[name].turn("Who?", made, passages).messages)
        if name == "generic":
            places = [text.index(f"[{number}] Title {id}:") for number, id in enumerate(passages, 1)]
        else:  # anew for each query
            places = [text.index(f"Doc {1 if id[-1] in 'ac' else 2}: Title {id} ") for id in passages]
        assert places == sorted(places)

    def test_every_query_is_named(self, name: str) -> None:
        made, passages = turns(2)
        text = flat(PROFILES[name].turn("Who?", made, passages).messages)
        assert all(query in text for turn in made for query in turn["queries"])

    @pytest.mark.parametrize("most", [1, 3])
    def test_the_instructions_do_not_depend_on_the_question(self, name: str, most: int) -> None:
        texts = [flat(PROFILES[name].turn(q, [], {}, most=most).messages) for q in ("Who?", "100 % {x} %s?")]
        assert texts[0].replace("Who?", "100 % {x} %s?") == texts[1]
        assert str(most) in texts[0]

    def test_state_is_left_alone(self, name: str) -> None:
        made, passages = turns(2)
        before: Any = json.dumps(made)
        PROFILES[name].turn("Who?", made, passages)
        assert json.dumps(made) == before
