"""Thoughts in the text of a reply: each notation in use, begun, ended, cut, or opened by the chat template."""

from __future__ import annotations

import time

import pytest

from ragscale.llm.notations import begins, ends, one_form, opens
from ragscale.prompts.thoughts import spoken

HARMONY = ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>")
TAGS = [
    ("<think>", "</think>"), ("<THINK>", "</Think>"), ("<think lang='en'>", "</think >"),
    ("<thinking>", "</thinking>"), ("<think>", "</thinking>"), ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>\n"), ("<reflection>", "</reflection>"), ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"), ("\u25c1think\u25b7", "\u25c1/think\u25b7"), ("&lt;think&gt;", "&lt;/think&gt;"),
    ("<|channel>thought\n", "<channel|>"), ("<|START_THINKING|>", "<|END_THINKING|><|START_RESPONSE|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>\n\n<|begin_of_solution|>"),
    ("<antThinking>", "</antThinking>"), ("<longcat_think>\n", "</longcat_think>"), ("<mm:think>", "</mm:think>"),
    ("<scratchpad>", "</scratchpad>"), ("<inner_monologue>", "</inner_monologue>"), ("<cot>", "</cot>"),
    ("<|think|>", "<|end|><|begin|>assistant<|content|>"), ("<|think|>", "<|/think|>"),
    ("<unused94>thought\n", "<unused95>"), ("Here are my reasoning steps:\n", "[BEGIN FINAL RESPONSE]\n"),
]  # fmt: skip
JSON_HARMONY = (HARMONY[0], "<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>")
NOTATIONS = [
    *TAGS, HARMONY, JSON_HARMONY, ("<|start|>assistant" + HARMONY[0], HARMONY[1]),
    ("analysis<|message|>", HARMONY[1]), ("analysis", "assistantfinal"),
    ("Here is my thought process: ", "\nHere is my response: "),
    ('<details type="reasoning" done="true">', "</details>\n"),
]  # fmt: skip


@pytest.mark.parametrize("space", ["", "\n "])
@pytest.mark.parametrize(("begin", "end"), NOTATIONS)
def test_a_thought_is_told_from_the_reply(begin: str, end: str, space: str) -> None:
    text = f"{space}{begin}We see {{\n[1]{end}blue"
    assert begins(text)
    assert spoken(one_form(text)).strip() == "blue"
    assert one_form(text).lstrip().startswith("<think>")


@pytest.mark.parametrize(("begin", "end"), NOTATIONS)
def test_a_thought_that_was_cut_is_no_reply(begin: str, end: str) -> None:
    for text in (f"{begin}We see the colou", begin + "W"):
        assert begins(text)
        assert spoken(one_form(text)) == ""


@pytest.mark.parametrize(("begin", "end"), TAGS)
def test_the_template_may_have_opened_it(begin: str, end: str) -> None:
    assert opens(f"Assistant: {begin}\n")
    assert not opens(f"{begin}{end} Assistant:")
    assert ends(f"We see.{end}blue")
    assert spoken(one_form(f"We see.{end}blue", is_open=True)).strip() == "blue"
    assert spoken(one_form("We see.", is_open=True)) == ""


@pytest.mark.parametrize(
    "text",
    ["blue", "", " ", "analysis of blue", "Analysis: blue", "<b>blue</b>", "Use [THINK] to think", "thinking of blue",
     '{"answer": "</reasoning>"}', "<thinker>", "<rethink>", "<s>old</s>", "See <response> below", "</s>", "<analyst>x",
     "<details><summary>More</summary>blue</details>", "Here is my response: blue", "<|end|>"],
)  # fmt: skip
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert not begins(text)
    assert one_form(text) == text


def test_several_thoughts_before_a_reply_and_what_wraps_it() -> None:
    assert one_form("[THINK]a[/THINK]\n<THINK>b</THINK>c") == "<think>a</think>\n<think>b</think>c"
    assert one_form("<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>b<|END_RESPONSE|>\n") == "<think>a</think>b"
    assert one_form("<|channel|>final<|message|>b<|return|>") == "<think></think>b"


@pytest.mark.parametrize(
    "text",
    [
        "{}<|im_end|>", "{}</s>\n", "{}<|im_end|>\n<|endoftext|>",
        "{}<|eot_id|><|start_header_id|>user<|end_header_id|>\nHi",
        "{}<end_of_turn>\n<start_of_turn>user\nAnd green?<end_of_turn>", "<|im_start|>assistant\n{}<|im_end|>",
        "<|start_header_id|>assistant<|end_header_id|>\n\n{}", "<start_of_turn>model\n{}",
        "<|begin_of_box|>{}<|end_of_box|>", "<response>{}</response>", "<Output>{}</Output>\n", "<response>{}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("thought", ["", "<think>hm</think>\n", "<Thought>hm</Thought>"])
@pytest.mark.parametrize("reply", ["The sky is blue.", '{"answer": "blue"}'])
def test_a_reply_is_without_its_wrapper_and_without_marks_of_the_template(thought: str, text: str, reply: str) -> None:
    first = text.startswith(("<|im_start|>", "<|start_header_id|>", "<start_of_turn>"))  # of the turn, thought included
    whole = text.replace("{}", thought + reply) if first else thought + text.replace("{}", reply)
    assert spoken(one_form(whole)).strip() == reply


@pytest.mark.parametrize(
    "text",
    ["<think></think>", "[THINK]", "<think ", " ", "analysis", "<|end|>", "&lt;", "<response>", "</s>", "<|im_end|>\n"],
)
@pytest.mark.parametrize("end", ["", "x"])
def test_megabytes_take_no_time(text: str, end: str) -> None:
    started = time.process_time()
    one_form(text * (10**6 // len(text)) + end)
    assert time.process_time() - started < 1
