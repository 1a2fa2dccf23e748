"""Profiles: chosen by name or model, to the letter as recorded, about a corpus, with settings of one's own."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import transcripts
from transcripts import FIRST, PASSAGES, QUESTION, STEPS, transcript, turns

from ragscale.errors import InvalidInput
from ragscale.prompts import PROFILES, Closing, Profile, Reply, Turn, profile

TAGGED = ("rag-r1", "rag-r1-sq", "search-r1", "parallel-search")


@pytest.mark.parametrize("name", PROFILES)
def test_prompts_are_to_the_letter_as_recorded(name: str) -> None:
    assert transcript(name) == (transcripts.GOLDEN / f"{name}.txt").read_text("utf-8")


@pytest.mark.parametrize("name", PROFILES)
def test_each_is_a_profile(name: str) -> None:
    made: Profile = PROFILES[name]
    assert made.name == name
    assert hash(made) == hash(profile(name))


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("corag/CoRAG-Llama3.1-8B-MultihopQA", "corag"),
        ("/models/corag-llama3.1-8b.Q4_K_M.gguf", "corag"),
        ("endertzw/RAG-R1-mq-7B", "rag-r1"),
        ("RAG-R1-sq-7b-it", "rag-r1-sq"),
        ("PeterJinGo/SearchR1-nq_hotpotqa_train-qwen2.5-7b-em-ppo", "search-r1"),
        ("search_r1-3b", "search-r1"),
        ("ParallelSearch-Qwen2.5-7B", "parallel-search"),
        ("dayoon/HybridDeepSearcher", "hybrid-deep-search"),
        ("Qwen2.5-7B-Instruct", "generic"),
        ("research-r1", "generic"),
        ("DeepSeek-R1", "generic"),
        ("", "generic"),
    ],
)
def test_a_model_is_asked_as_it_was_trained(model: str, name: str) -> None:
    assert profile(model=model).name == name
    assert profile("generic", model=model).name == "generic"


@pytest.mark.parametrize(
    ("given", "problem", "remedy"),
    [
        ({"name": "corg"}, "profile='corg'", "Did you mean 'corag'?"),
        ({"name": "corag", "colour": 1}, "setting 'colour'", "plan_tokens"),
        ({"name": "corag", "sections": {}}, "setting 'sections'", "separator"),
    ],
)
def test_unknown_names_are_refused_with_the_known_ones(given: dict[str, str], problem: str, remedy: str) -> None:
    with pytest.raises(InvalidInput, match=problem) as caught:
        profile(**given)
    assert remedy in str(caught.value)


def test_settings_reach_the_prompts() -> None:
    made = profile("rag-r1", turn_tokens=77, separator="##", stop=(), continued=False, plan_tokens=50)
    prompt = made.turn(QUESTION, turns("rag-r1"), PASSAGES)
    assert (prompt.max_tokens, prompt.stop, prompt.continued) == (77, (), False)
    assert prompt.read("<search> a, b ## c </search>") == Reply(["a, b", "c"], said="<search> a, b ## c </search>")
    assert made.plan(QUESTION, [], []).max_tokens == 50


@pytest.mark.parametrize(
    ("given", "stop"),
    [
        (True, ("</search>",)), (False, ()), ("</search>", ("</search>",)),
        (["</search>", "</answer>"], ("</search>", "</answer>")),
    ],
)  # fmt: skip
def test_stop_strings_of_a_turn(given: Any, stop: tuple[str, ...]) -> None:
    assert profile("rag-r1", stop=given).turn("Who?", [], {}).stop == stop


@pytest.mark.parametrize("name", PROFILES)
def test_a_corpus_is_described_as_told_and_neutrally_by_default(name: str) -> None:
    asked = [
        made.plan(QUESTION, [], []).messages[0]["content"] + made.turn(QUESTION, [], {}).messages[0]["content"]
        for made in (PROFILES[name], PROFILES[name].about("pages of a\nmanual <|x|>"), PROFILES[name].about(" "))
    ]
    assert not any("encyclopedia" in text for text in asked)
    assert asked[0] == asked[2]
    assert "pages of a manual < |x|>" in asked[1]


@pytest.mark.parametrize("name", TAGGED)
class TestOneTurn:
    def test_instructions_stand_in_one_user_message_and_all_rounds_in_one_assistant_turn(self, name: str) -> None:
        made = PROFILES[name]
        assert [m["role"] for m in made.turn(QUESTION, [], {}).messages] == ["user"]
        prompt = made.turn(QUESTION, turns(name), PASSAGES)
        assert [m["role"] for m in prompt.messages] == ["user", "assistant"]
        assert (prompt.continued, prompt.stop) == (True, ("</search>",))
        assert not made.turn(QUESTION, [], {}).continued

    def test_each_prompt_begins_with_the_one_before(self, name: str) -> None:
        made = [PROFILES[name].turn(QUESTION, turns(name)[:n], PASSAGES).messages for n in range(4)]
        flat = ["".join(message["content"] for message in messages) for messages in made]
        assert all(later.startswith(earlier) and later != earlier for earlier, later in itertools.pairwise(flat))

    def test_a_stopped_turn_comes_back_as_it_was_written(self, name: str) -> None:
        made = PROFILES[name]
        [cut] = FIRST.split("</search>")[:1]
        reply = made.turn(QUESTION, [], {}).read(cut)
        assert reply is not None
        assert reply.said == FIRST
        chat = made.turn(QUESTION, [Turn(said=reply.said, queries=["a"], passages=[[]])], {}).messages
        assert chat[1]["content"].startswith(f"{FIRST}\n")

    def test_what_was_invented_behind_the_queries_is_left_out(self, name: str) -> None:
        said = "<think>x</think><search> Jaws </search><information>Doc 1: Bob</information><answer> Bob </answer>"
        reply = PROFILES[name].turn(QUESTION, [], {}).read(said)
        assert reply == Reply(["Jaws"], said="<think>x</think><search> Jaws </search>")

    def test_the_last_turn_asks_the_same_and_only_an_answer_counts(self, name: str) -> None:
        made = PROFILES[name]
        last = made.last(QUESTION, turns(name), PASSAGES)
        assert last.messages == made.turn(QUESTION, turns(name), PASSAGES).messages
        assert last.read("<think> so </think><answer> Scott </answer>") == Closing("Scott", [])
        assert last.read("<search> more </search>") is None

    def test_where_nothing_is_continued_turns_alternate(self, name: str) -> None:
        made = profile(name, continued=False)
        prompt = made.turn(QUESTION, turns(name), PASSAGES)
        assert [m["role"] for m in prompt.messages] == ["user", *["assistant", "user"] * 3]
        assert not prompt.continued

    def test_a_search_for_the_question_itself_looks_like_one_of_the_models(self, name: str) -> None:
        chat = (
            PROFILES[name].turn(QUESTION, [Turn(said="", queries=[QUESTION], passages=[["jaws"]])], PASSAGES).messages
        )
        assert chat[1]["content"].startswith(f"<search> {QUESTION} </search>")


def test_corag_asks_in_one_user_message_with_pairs_and_reads_the_whole_reply() -> None:
    made = PROFILES["corag"]
    prompts = [
        made.plan(QUESTION, [], STEPS), made.read("q", []), made.support(QUESTION, STEPS),
        made.answer(QUESTION, [], [], STEPS),
    ]  # fmt: skip
    assert all([m["role"] for m in prompt.messages] == ["user"] and not prompt.schema for prompt in prompts)
    assert all("Intermediate answer 2: 1946" in prompts[i].messages[0]["content"] for i in (0, 3))
    assert made.plan(QUESTION, [], []).read('"Intermediate query 3: When was he born?"') == [("When was he born?", "")]
    assert made.answer(QUESTION, []).read("Ridley Scott") == Closing("Ridley Scott", [])
    assert made.enough(QUESTION, STEPS).read("Yes") is True


def test_generic_shows_pairs_only_where_told() -> None:
    made = PROFILES["generic"]
    assert "Intermediate" not in str(made.answer(QUESTION, []).messages)
    assert "2. birth of Steven Spielberg -> 1946" in str(made.answer(QUESTION, [], [], STEPS).messages)


def test_a_prompt_reads_malformed_replies_as_none() -> None:
    made = PROFILES["generic"]
    assert made.plan(QUESTION, [], []).read('["cut') is None
    assert made.turn(QUESTION, [], {}).read("") is None
    assert made.answer(QUESTION, []).read('{"answer": ""}') is None
    assert made.judge(QUESTION, STEPS, [], "Scott").read('{"rating": 10}') == 10
