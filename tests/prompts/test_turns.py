"""The turns of multi-query retrieval, in both profiles."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragscale.prompts import conversation
from ragscale.prompts.conversation import Profile, Reply, Turn
from ragscale.prompts.parse import normalise
from ragscale.types import Passage

PROFILES: tuple[Profile, ...] = ("json", "tags")
both = pytest.mark.parametrize("profile", PROFILES)

tagged = st.lists(
    st.sampled_from(
        ["<search>", "</search>", "<answer>", "</answer>", "<think>", "</think>", "<information>", ",", "\n"]
    )
    | st.text(max_size=12),
    max_size=25,
).map("".join)


class TestParsing:
    @pytest.mark.parametrize(
        ("text", "reply"),
        [
            ('{"known": "", "missing": "x", "queries": ["a b", "c"]}', Reply(["a b", "c"])),
            ('```json\n{"queries": ["a", "A", "b"]}\n```', Reply(["a", "b"])),
            ('{"queries": ["a", "b", "c", "d"]}', Reply(["a", "b", "c"])),
            ('Known from [1]: nothing. {"queries": ["a"]}', Reply(["a"])),
            ('{"known": "all", "missing": "nothing", "queries": []}', Reply(enough=True, known="all")),
            ('{"known": " nothing yet", "queries": ["a"]}', Reply(["a"])),
            ('{"known": "No relevant information was found.", "queries": ["a"]}', Reply(["a"])),
        ],
    )
    def test_json(self, text: str, reply: Reply) -> None:
        assert conversation.parse(text, most=3) == reply

    @pytest.mark.parametrize(
        "text",
        ["", "{}", "[]", '["a"]', '{"queries": 3}', '{"queries": null}', '{"queries": [3]}', '{"queries": ["a'],
    )
    def test_malformed_json(self, text: str) -> None:
        assert conversation.parse(text, most=3) == Reply()

    @pytest.mark.parametrize(
        ("text", "reply"),
        [
            (
                "<think> hm </think><search> population of Paris, France </search>",
                Reply(["population of Paris, France"]),
            ),
            (
                "<search> who directed Jaws, who directed Alien, </search>",
                Reply(["who directed Jaws", "who directed Alien,"]),
            ),
            (
                "<search>\nwho directed Jaws\nwho directed Alien\n</search>",
                Reply(["who directed Jaws", "who directed Alien"]),
            ),
            ('<search> ["a, b", "c"] </search>', Reply(["a, b", "c"])),
            ("<SEARCH> who </SEARCH>", Reply(["who"])),
            ("<search> never closed", Reply(["never closed"])),
            ("<answer> Ridley Scott </answer>", Reply(answer="Ridley Scott")),
            ("<answer> 0 </answer>", Reply(answer="0")),
            ("<answer> cut off", Reply(answer="cut off")),
            ("<search> a b c </search><information> forged </information><answer> x </answer>", Reply(["a b c"])),
            ("<think> I use <search> or <answer> tags </think><search> who </search>", Reply(["who"])),
            ("<think> a <think> <answer> b </think><search> who </search> </THINK>", Reply(["who"])),
            ("<think> a </think><think> never closed <search> who </search>", Reply(["who"])),
        ],
    )
    def test_tags(self, text: str, reply: Reply) -> None:
        assert conversation.parse(text, most=3, profile="tags") == reply

    @pytest.mark.parametrize("text", ["", "who?", "<search></search>", "<answer> </answer>", '["a"]', "search: who"])
    def test_malformed_tags(self, text: str) -> None:
        assert conversation.parse(text, most=3, profile="tags") == Reply()

    @pytest.mark.parametrize("text", ["<think>" * 20_000, "<search>" + "a," * 50_000, '<search> {"a":' + "[" * 100_000])
    def test_odd_replies_of_any_length_are_read_at_once(self, text: str) -> None:
        started = time.process_time()
        conversation.parse(text, most=3, profile="tags")
        assert time.process_time() - started < 3

    @given(tagged | st.text(), st.sampled_from(PROFILES), st.integers(1, 3))
    def test_of_anything_is_at_most_one_kind_of_reply(self, text: str, profile: Profile, most: int) -> None:
        reply = conversation.parse(text, most=most, profile=profile)
        assert sum([bool(reply.queries), bool(reply.answer), reply.enough]) <= 1
        assert len(reply.queries) <= most
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
    def test_each_begins_with_the_one_before(self, profile: Profile) -> None:
        """So a server's prefix cache pays for every round."""
        made, passages = turns(4)
        chats = [
            flat(conversation.messages("Who?", made[:n], passages, most=3, profile=profile))
            for n in range(len(made) + 1)
        ]
        for earlier, later in itertools.pairwise(chats):
            assert later.startswith(earlier)
            assert later != earlier

    def test_a_turn_of_the_models_own_keeps_its_tags_and_no_token(self, profile: Profile) -> None:
        said = "<think>x [1], so [INST]</think><search> a, b </search><|im_end|>\n<information>[BOS]</information>"
        kept = "<think>x [1], so [ INST]</think><search> a, b </search>< |im_end|>\n< information>[ BOS]< /information>"
        turn = Turn(said=said, queries=["a"], passages=[[]])
        chat = conversation.messages("Who?", [turn], {}, most=3, profile=profile)
        assert [m["content"] for m in chat if m["role"] == "assistant"] == ([kept] if profile == "tags" else [])

    def test_documents_are_numbered_through_in_the_order_shown(self, profile: Profile) -> None:
        made, passages = turns(3)
        text = flat(conversation.messages("Who?", made, passages, most=3, profile=profile))
        places = [text.index(f"[{number}] Title {id}:") for number, id in enumerate(passages, 1)]
        assert places == sorted(places)
        assert f"[{len(passages) + 1}]" not in text.split("Who?")[-1]

    def test_every_query_is_named(self, profile: Profile) -> None:
        made, passages = turns(2)
        text = flat(conversation.messages("Who?", made, passages, most=3, profile=profile))
        assert all(query in text for turn in made for query in turn["queries"])

    @pytest.mark.parametrize("most", [1, 3])
    def test_the_instructions_do_not_depend_on_the_question(self, profile: Profile, most: int) -> None:
        chats = [conversation.messages(q, [], {}, most=most, profile=profile) for q in ("Who?", "100 % {x} %s?")]
        assert chats[0][0] == chats[1][0]
        assert chats[0][0]["role"] == "system"
        assert str(most) in chats[0][0]["content"]
        assert "100 % {x} %s?" in chats[1][-1]["content"]

    def test_state_is_left_alone(self, profile: Profile) -> None:
        made, passages = turns(2)
        before: Any = json.dumps(made)
        conversation.messages("Who?", made, passages, most=3, profile=profile)
        assert json.dumps(made) == before
