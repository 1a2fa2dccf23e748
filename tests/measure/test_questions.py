"""Question files and what can be wrong with them."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import os
import threading
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ragscale.errors import InvalidInput
from ragscale.language.answers import NORMALISATIONS
from ragscale.measure.questions import Question, QuestionColumns, compared, load_questions, shuffled, without_texts

GOOD = '{"id": "q1", "question": "Who?", "answers": ["Curie", "Curie"], "supporting": ["p1"], "type": "bridge", "x": 1}'


def write(path: Path, *lines: str | bytes) -> Path:
    file = path / "questions.jsonl"
    file.write_bytes(b"\n".join(line.encode() if isinstance(line, str) else line for line in lines))
    return file


def test_reads_what_it_needs_and_ignores_the_rest(tmp_path: Path) -> None:
    file = write(
        tmp_path, "\ufeff" + GOOD, "", '{"id": "q2", "question": "Où?", "answers": ["Été"], "supporting": null}'
    )
    assert load_questions(file) == [
        Question("q1", "Who?", ("Curie",), ("p1",), "bridge"),
        Question("q2", "Où?", ("Été",)),
    ]


@pytest.mark.parametrize(
    "question",
    [
        Question("a", "Who?", ["Ann", "Bo"], ["p1"]),  # type: ignore[arg-type]
        Question("a", "Who?", (), ()),
        Question("a", "Who?", ("Ann",), aliases=((),)),
        Question("a", "Who?", ["Ann", "Bo"], all_answers=True, aliases=[["A"], []]),  # type: ignore[arg-type]
        Question(" a\n\u2028\0", '"Who"?', ("[1]", "5", "no answer"), type="", hops=0, breadth=1_000_000, cluster=" "),
        Question("a", "Who?", ("Ann",), normalisation="published"),
    ],
    ids=str,
)
def test_a_question_that_is_made_is_read_as_a_run_writes_it(question: Question, tmp_path: Path) -> None:
    """Else the run could be neither read nor gone on with."""
    assert load_questions(write(tmp_path, json.dumps(question.to_row()))) == [question]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"id": ""}, "id: '' is no text"),
        ({"id": 7}, "id: 7 is no text"),
        ({"question": " "}, "question: ' ' is no text"),
        ({"answers": "Ann"}, r"answers is one string \('Ann'\)"),  # would be three answers of a letter
        ({"answers": None}, "answers is no list"),
        ({"answers": [3]}, "answers holds 3"),
        ({"answers": ["Ann", ""]}, "answers: '' is no text"),
        ({"supporting": "p1"}, r"supporting is one string \('p1'\)\. Give a list of gold passages\."),
        ({"supporting": [1]}, "supporting holds 1"),
        ({"type": 5}, "type: 5 is no text"),
        ({"cluster": None}, "cluster: None is no text"),
        ({"hops": "2"}, "hops is '2', not a number from 0"),
        ({"hops": True}, "hops is True, not a number from 0"),
        ({"breadth": float("nan")}, "breadth is nan, not a number from 0"),
        ({"normalisation": "english"}, r"normalisation is 'english'\. Choose unicode or published"),
        ({"all_answers": "yes"}, "all_answers 'yes' is neither True nor False"),
        ({"aliases": (("A",),)}, "aliases without all_answers"),
        ({"aliases": (("A",), ("B",)), "all_answers": True}, "or not of each answer"),
    ],
    ids=str,
)
def test_a_question_that_no_run_could_read_is_not_made(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        Question(**{"id": "a", "question": "Who?", "answers": ("Ann",), **given})


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{", "not JSON"),
        (b"[1]", "a list, not an object"),
        (b"\xff{}", "invalid UTF-8, byte 0xff at offset 113 of the file"),
        (b'{"id": "", "question": "Who?", "answers": ["x"]}', "id is ''"),
        (b'{"id": 7.5, "question": "Who?", "answers": ["x"]}', r"id is 7\.5"),
        (b'{"id": "q2", "question": " ", "answers": ["x"]}', "question is ' '"),
        (b'{"id": "q2", "question": "Who?"}', "no column 'answers'; there are 'id', 'question'"),
        (b'{"id": "q2", "answers": ["x"]}', "no column 'question'; there are 'id', 'answers'"),
        (b'{"id": "q2", "question": "Who?", "answers": null}', r"answers is empty.*write \[\], or is_impossible"),
        (b'{"id": "q2", "question": "Who?", "answers": NaN}', "answers is "),
        (
            b'{"id": "q2", "question": "Who?", "answers": "[\'x\' \'y\']"}',
            "answers is .*neither JSON nor Python's.*Write lists",
        ),
        (b'{"id": "q2", "question": "Who?", "answers": " "}', r"answers is empty.*write \[\]"),
        (b'{"id": "q2", "question": "Who?", "answers": ["x", ""]}', r"answers is \['x', ''\]"),
        (b'{"id": "q2", "question": "Who?", "answers": {"x": 1}}', r"answers is \{'x': 1\}"),
        (b'{"id": "q2", "question": "Who?", "answers": ["x"], "supporting": [true]}', r"supporting is \[True\]"),
        (b'{"id": "q2", "question": "Who \\ud83d?", "answers": ["x"]}', r"'Who \\ud83d\?' holds half a surrogate pair"),
        (b'{"id": "\\ud83d", "question": "Who?", "answers": ["x"]}', "'.ud83d' holds half a surrogate pair"),
        (b'{"id": "q2", "question": "Who?", "answers": ["x"], "hops": -1}', "hops is -1, not a number from 0"),
        (b'{"id": "q2", "question": "Who?", "answers": ["x"], "breadth": 1%030d}' % 0, "breadth is 10+, not a number"),
        (GOOD.encode(), "id 'q1' is that of line 1"),
    ],
)
def test_a_bad_line_is_named_by_file_and_number(tmp_path: Path, line: bytes, problem: str) -> None:
    file = write(tmp_path, GOOD, "", line)
    with pytest.raises(InvalidInput, match=rf"questions\.jsonl, line 3: {problem}"):
        load_questions(file)


def test_an_absent_and_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"absent\.jsonl: cannot be read"):
        load_questions(tmp_path / "absent.jsonl")
    with pytest.raises(InvalidInput, match="no questions"):
        load_questions(write(tmp_path, "", "  "))


def test_what_else_is_known_is_read(tmp_path: Path) -> None:
    more = '"hops": 2, "breadth": 1, "cluster": "d1"'
    [question] = load_questions(write(tmp_path, f"{GOOD[:-1]}, {more}}}"))
    assert (question.type, question.hops, question.breadth, question.cluster) == ("bridge", 2, 1, "d1")
    for bad, problem in (
        ('"hops": "two"', "hops is 'two', not a whole number"),
        ('"cluster": [5]', r"cluster is \[5\], not a text"),
        ('"all_answers": 2', "all_answers is 2, not true or false"),
        ('"is_impossible": "maybe"', "is_impossible is 'maybe', not true or false"),
    ):
        with pytest.raises(InvalidInput, match=problem):
            load_questions(write(tmp_path, f"{GOOD[:-1]}, {bad}}}"))


SHAPES: list[tuple[str, str, Question]] = [
    ("flashrag.jsonl", '{"id":"t0","question":"Who?","golden_answers":["Ann"]}', Question("t0", "Who?", ("Ann",))),
    ("flashrag-hotpot.jsonl",
     '{"id":"t","question":"Who?","golden_answers":["Ann"],"metadata":{"type":"bridge","supporting_facts":{"title":'
     '["Rho","Pd"],"sent_id":[0,1]}}}', Question("t", "Who?", ("Ann",), ("Rho", "Pd"), "bridge")),
    ("own-and-metadata.jsonl",
     '{"id":"t","question":"Who?","answers":["Ann"],"type":"own","metadata":{"type":"other","id":"x"}}',
     Question("t", "Who?", ("Ann",), type="own")),
    ("text.jsonl", '{"id":"1","question":"Who?","answers":"Ann"}', Question("1", "Who?", ("Ann",))),
    ("numbers.jsonl", '{"id":1,"question":"When?","answers":[1804],"supporting":[3]}',
     Question("1", "When?", ("1804",), ("3",))),
    ("truth.jsonl", '{"id":1,"question":"Is it?","answer":true}', Question("1", "Is it?", ("yes",))),
    ("none.jsonl", '{"id":"1","question":"Who?","answers":[]}', Question("1", "Who?", ())),
    ("hotpot.json",
     '[{"_id":"5a","question":"Who?","answer":"Ann","supporting_facts":[["Rho",0],["Rho",1],["Pd",0]],"type":"bridge"}]',
     Question("5a", "Who?", ("Ann",), ("Rho", "Pd"), "bridge")),
    ("columns.json",
     '[{"id":"5a","question":"Who?","answer":"Ann","supporting_facts":{"title":["Rho","Pd"],"sent_id":[0,1]}}]',
     Question("5a", "Who?", ("Ann",), ("Rho", "Pd"))),
    ("musique.jsonl",
     '{"id":"2hop","question":"Who?","answer":"Ann","answer_aliases":["Anne"],"answerable":true,"paragraphs":'
     '[{"idx":0,"title":"Rho","is_supporting":true},{"idx":1,"title":"Pd","is_supporting":false}]}',
     Question("2hop", "Who?", ("Ann", "Anne"), ("Rho",))),
    ("musique-none.jsonl", '{"id":"2hop","question":"Who?","answer":"Ann","answerable":false,"paragraphs":[]}',
     Question("2hop", "Who?", ())),
    ("contexts.jsonl", '{"id":"1","question":"Who?","answer":"Ann","paragraphs":[{"title":"Rho","text":"It is."}]}',
     Question("1", "Who?", ("Ann",))),
    ("squad.json",
     '{"version":"v2.0","data":[{"title":"Rho","paragraphs":[{"context":"It is.","qas":[{"id":"a","question":"Who?",'
     '"answers":[{"text":"Ann","answer_start":0}],"is_impossible":false}]}]}]}',
     Question("a", "Who?", ("Ann",), cluster="Rho")),
    ("squad-none.json",
     '{"data":[{"title":"Rho","paragraphs":[{"qas":[{"id":"a","question":"Who?","answers":[],"is_impossible":true}]}]}]}',
     Question("a", "Who?", (), cluster="Rho")),
    ("squad-rows.jsonl", '{"id":"a","question":"Who?","answers":{"text":["Ann","Ann"],"answer_start":[1,2]}}',
     Question("a", "Who?", ("Ann",))),
    ("trivia.jsonl", '{"question_id":"a","question":"Who?","answer":{"value":"Ann","aliases":["Anne"],"type":"x"}}',
     Question("a", "Who?", ("Ann", "Anne"))),
    ("popqa.jsonl", r'{"id":9,"question":"Who?","possible_answers":"[\"Ann\", \"Anne\"]"}',
     Question("9", "Who?", ("Ann", "Anne"))),
    ("phantom.jsonl", '{"id":"p","question":"Who?","answers":["Ann","Bob"],"all_answers_required":true,"type":3,'
     '"hops":2}', Question("p", "Who?", ("Ann", "Bob"), type="3", hops=2, all_answers=True)),
    ("object.json", '{"questions":[{"id":"1","question":"Who?","answer":"Ann"}]}', Question("1", "Who?", ("Ann",))),
    ("array.jsonl", '\ufeff[\n{"id":"1","question":"Who?","answer":"Ann"}\n]', Question("1", "Who?", ("Ann",))),
    ("lines.json", '{"id":"1","question":"Who?","answer":"Ann"}\n', Question("1", "Who?", ("Ann",))),
    ("whole.jsonl", '{"id":3.0,"question":"When?","answers":1789.0,"supporting":[4.0],"hops":2.0,"type":NaN}',
     Question("3", "When?", ("1789",), ("4",), hops=2)),
    ("pandas.csv", 'id,question,answers,hops\n1,When?,1789.0,2.0\n', Question("1", "When?", ("1789",), hops=2)),
    ("list.csv", "id,question,answers,supporting\n1,Who?,\"['Lee, Ann', \"\"O'Hara\"\"]\",\"('p1', 'p2')\"\n",
     Question("1", "Who?", ("Lee, Ann", "O'Hara"), ("p1", "p2"))),
    ("squad.csv", "id,question,answers\n1,Who?,\"{'text': ['Ann'], 'answer_start': [3]}\"\n",
     Question("1", "Who?", ("Ann",))),
    ("header.csv", '"id, as text";id;question;answers\nx;1;Who?;Ann\n', Question("1", "Who?", ("Ann",))),
    ("none.csv", 'id,question,answers,is_impossible\n1,Who?,Ann,True\n', Question("1", "Who?", ())),
    ("none-1.csv", 'id,question,answers,is_impossible\n1,Who?,,1\n', Question("1", "Who?", ())),
    ("some.csv", 'id,question,answers,answerable\n1,Who?,Ann,true\n', Question("1", "Who?", ("Ann",))),
    ("empty.csv", 'id,question,answers\n1,Who?,[]\n', Question("1", "Who?", ())),
    ("qa.csv", "id,question,answers\n1,Who?,Ann Lee\n", Question("1", "Who?", ("Ann Lee",))),
    ("more.csv", 'id;question;answers;supporting;hops;all_answers\n1;"Who; and why?";"[""Ann"", ""Bob""]";p1;2;true\n',
     Question("1", "Who; and why?", ("Ann", "Bob"), ("p1",), hops=2, all_answers=True)),
    ("qa.tsv", 'question\tanswer\n"Who, then?"\tAnn\n',
     Question(hashlib.sha256(b"Who, then?").hexdigest()[:12], "Who, then?", ("Ann",))),
    ("bamboogle.csv", "ID,Question,Answer\n1,Who?,Ann\n", Question("1", "Who?", ("Ann",))),
    ("frames.tsv", "id\tPrompt\tAnswer\twiki_links\n0\tWho?\tAnn\t['https://x']\n", Question("0", "Who?", ("Ann",))),
    ("sheet.csv", "QID;Query;Expected Answer\n1;Who?;Ann\n", Question("1", "Who?", ("Ann",))),
    ("both.jsonl", '{"qid":"1","Question":"Whom?","question":"Who?","answer":"Ann"}', Question("1", "Who?", ("Ann",))),
    ("gaia.jsonl", '{"task_id":"t","Question":"Who?","Level":1,"Final answer":"Ann"}', Question("t", "Who?", ("Ann",))),
    ("trivia.json",
     '{"Data":[{"Answer":{"Aliases":["Anne"],"NormalizedValue":"ann","Value":"Ann"},"Question":"Who?",'
     '"QuestionId":"tc_1"}],"Domain":"x"}', Question("tc_1", "Who?", ("Ann", "Anne"))),
    ("narrative.jsonl", '{"id":"1","question":{"text":"Who?","tokens":[]},"answers":[{"text":"Ann"},{"text":"Bob"}]}',
     Question("1", "Who?", ("Ann", "Bob"))),
    ("kilt.jsonl",
     '{"id":"1","input":"Who?","output":[{"answer":"Ann","provenance":[{"title":"T"}]},{"provenance":[{"title":"U"}]}]}',
     Question("1", "Who?", ("Ann",))),
    ("marco.jsonl", '{"query":"who","query_id":5,"query_type":"PERSON","answers":["No Answer Present."]}',
     Question("5", "who", (), type="PERSON")),
    ("hover.json",
     '[{"uid":"u","claim":"A is b","supporting_facts":[["T",0]],"label":"SUPPORTED","num_hops":3}]',
     Question("u", "A is b", ("SUPPORTED",), ("T",), hops=3)),
    ("multihoprag.json",
     '[{"id":1,"query":"Who?","answer":"Ann","question_type":"inference_query","evidence_list":[{"title":"T","url":"u"}]}]',
     Question("1", "Who?", ("Ann",), ("T",), "inference_query")),
    ("multihoprag-none.json",
     '[{"id":1,"query":"Who?","answer":"Insufficient information.","question_type":"null_query","evidence_list":[]}]',
     Question("1", "Who?", (), type="null_query")),
    ("ragas.jsonl", '{"id":"1","user_input":"Who?","reference":"Ann","reference_contexts":["x"]}',
     Question("1", "Who?", ("Ann",))),
    ("llama.json", '{"examples":[{"id":"1","query":"Who?","query_by":null,"reference_answer":"Ann"}]}',
     Question("1", "Who?", ("Ann",))),
    ("drop.jsonl", '{"query_id":"q","question":"How many?","answers_spans":{"spans":["5"],"types":["number"]}}',
     Question("q", "How many?", ("5",))),
    ("simpleqa.csv", "id,metadata,problem,answer\n1,{},Who?,Ann\n", Question("1", "Who?", ("Ann",))),
    ("strategy.csv", "qid,question,answer\n1,Is it?,False\n", Question("1", "Is it?", ("no",))),
    ("phantom-own.json", '[{"id":"p","question":"Who?","answer":["Ann","Bob"],"prolog":{},"intermediate_answers":"[]",'
     '"type":3,"difficulty":2}]', Question("p", "Who?", ("Ann", "Bob"), type="3", all_answers=True)),
    ("pandas.json", '{"id":{"0":7},"question":{"0":"Who?"},"answer":{"0":"Ann"}}', Question("7", "Who?", ("Ann",))),
    ("columnwise.json", '{"id":[7],"question":["Who?"],"answer":["Ann"]}', Question("7", "Who?", ("Ann",))),
    ("server.json", '{"features":[],"rows":[{"row_idx":0,"row":{"id":"1","question":"Who?","answer":"Ann"}}]}',
     Question("1", "Who?", ("Ann",))),
    ("byid.json", '{"q1":{"question":"Who?","answer":"Ann"}}', Question("q1", "Who?", ("Ann",))),
    ("names.jsonl", '{"id":"1","question":"Who?","answers":[["Ann","Anne"],["Bob"]],"all_answers":true}',
     Question("1", "Who?", ("Ann", "Bob"), all_answers=True, aliases=(("Anne",), ()))),
    ("qampari.jsonl",
     '{"qid":"7__wikidata_simple__dev","question_text":"Who?","entities":[],"answer_list":[{"answer_text":"Ann","aid":'
     '"0","aliases":["Ann","Anne"],"proof":[{"found_in_url":"https://x","proof_text":"It is.","pid":"1"}]},'
     '{"answer_text":"Bob","aid":"1","aliases":[],"proof":[]}]}',
     Question("7__wikidata_simple__dev", "Who?", ("Ann", "Bob"), all_answers=True, aliases=(("Anne",), ()))),
    ("fanoutqa.json",
     '[{"id":"f","question":"Who, and how many?","decomposition":[{"id":"g","question":"Who?","decomposition":[],'
     '"answer":"Ann","depends_on":[],"evidence":null}],"answer":{"Ann":3,"Bob":true},"necessary_evidence":'
     '[{"pageid":1,"revid":2,"title":"Rho","url":"https://x"}],"categories":["science"]}]',
     Question("f", "Who, and how many?", ("Ann: 3", "Bob: yes"), ("Rho",), all_answers=True)),
    ("fanoutqa-list.json",
     '[{"id":"f","question":"Who?","decomposition":[],"answer":["Ann",2],"necessary_evidence":[],"categories":[]}]',
     Question("f", "Who?", ("Ann", "2"), all_answers=True)),
    ("fanoutqa-one.json",
     '[{"id":"f","question":"Is it?","decomposition":[],"answer":false,"necessary_evidence":[],"categories":[]}]',
     Question("f", "Is it?", ("no",))),
    ("asqa.json",
     '{"train":{},"dev":{"-5":{"ambiguous_question":"Who?","qa_pairs":[{"context":"It is.","question":"Who, in 1900?",'
     '"short_answers":["Ann","Anne"],"wikipage":"Rho"},{"context":"No","question":"Who, in 1950?","short_answers":'
     '["Bob"],"wikipage":null}],"wikipages":[{"title":"Rho","url":"https://x"}],"annotations":[{"knowledge":[],'
     '"long_answer":"Ann, then Bob."}]}}}', Question("-5", "Who?", ("Ann", "Anne", "Bob"))),
    ("asqa-rows.jsonl",
     '{"sample_id":"-5","ambiguous_question":"Who?","qa_pairs":{"context":["x","y"],"question":["a","b"],'
     '"short_answers":[["Ann"],["Bob"]],"wikipage":["Rho",null]},"annotations":[]}',
     Question("-5", "Who?", ("Ann", "Bob"))),
    ("ambignq.json",
     '[{"id":"-4","question":"Who?","annotations":[{"type":"multipleQAs","qaPairs":[{"question":"Who, in 1900?",'
     '"answer":["Ann","Anne"]},{"question":"Who, in 1950?","answer":["Bob"]}]},{"type":"singleAnswer","answer":'
     '["Cy"]}],"viewed_doc_titles":["Rho"],"nq_answer":["Di"]}]',
     Question("-4", "Who?", ("Ann", "Anne", "Bob", "Cy"))),
    ("ambignq-rows.jsonl",
     '{"id":"-4","question":"Who?","annotations":{"type":["multipleQAs","singleAnswer"],"answer":[[],["Cy"]],"qaPairs":'
     '[{"question":["a","b"],"answer":[["Ann"],["Bob"]]},{"question":[],"answer":[]}]}}',
     Question("-4", "Who?", ("Ann", "Bob", "Cy"))),
    ("grailqa.json",
     '[{"qid":21,"question":"who?","answer":[{"answer_type":"Entity","answer_argument":"m.01","entity_name":"Ann"},'
     '{"answer_type":"Value","answer_argument":"5"},{"answer_type":"Entity","answer_argument":"m.02","entity_name":""}],'
     '"function":"none","num_node":2,"num_edge":1,"graph_query":{},"sparql_query":"x","domains":["y"],"level":"i.i.d.",'
     '"s_expression":"z"},{"qid":22,"question":"whom?","answer":[{"answer_type":"Entity","answer_argument":"m.02"}],'
     '"s_expression":"z"}]',
     Question("21", "who?", ("Ann", "5"), type="i.i.d.", all_answers=True)),
    ("grailqa-rows.jsonl",
     '{"qid":"21","question":"who?","answer":{"answer_type":["Entity"],"answer_argument":["m.01"],"entity_name":["Ann"]},'
     '"level":"","s_expression":"z"}', Question("21", "who?", ("Ann",))),
    ("webqsp.json",
     '{"Version":"1","FreebaseVersion":"x","Questions":[{"QuestionId":"WebQTest-0","RawQuestion":"who?",'
     '"ProcessedQuestion":"who","Parses":[{"ParseId":"a","Answers":[]},{"ParseId":"b","Answers":[{"AnswerType":"Entity",'
     '"AnswerArgument":"m.01","EntityName":"Ann"},{"AnswerType":"Value","AnswerArgument":"1804","EntityName":null}]}]},'
     '{"QuestionId":"WebQTest-1","RawQuestion":"whom?","ProcessedQuestion":"whom","Parses":[{"Answers":[]}]}]}',
     Question("WebQTest-0", "who?", ("Ann", "1804"), all_answers=True)),
    ("mintaka.json",
     '[{"id":"a9","question":"Who?","translations":{"de":"Wer?"},"questionEntity":[],"answer":{"answerType":"entity",'
     '"answer":[{"name":"Q1","label":{"en":"Ann Lee","de":"Anna"}}],"mention":"Ann"},"category":"books",'
     '"complexityType":"multihop"}]', Question("a9", "Who?", ("Ann Lee", "Ann"), type="multihop")),
    ("mintaka-all.json",
     '[{"id":"a9","question":"Who?","answer":{"answerType":"entity","answer":[{"name":"Q1","label":"Ann"},{"name":"Q2",'
     '"label":"Bob"}],"mention":"Ann and Bob"},"complexityType":"intersection"}]',
     Question("a9", "Who?", ("Ann", "Bob"), type="intersection", all_answers=True)),
    ("mintaka-no.json",
     '[{"id":"a9","question":"Is it?","answer":{"answerType":"boolean","answer":[false],"mention":"Nope"},'
     '"complexityType":"yesno"}]', Question("a9", "Is it?", ("no", "Nope"), type="yesno")),
    ("mintaka-none.json",
     '[{"id":"a9","question":"Who?","answer":{"answerType":"entity","answer":null,"mention":"Ann"},"complexityType":'
     '"generic"}]', Question("a9", "Who?", ("Ann",), type="generic")),
    ("mintaka-rows.jsonl", '{"id":"a9","lang":"en","question":"Who?","answerText":"Ann","complexityType":"ordinal"}',
     Question("a9", "Who?", ("Ann",), type="ordinal")),
    ("drop.json",
     '{"nfl_1":{"passage":"It is.","qa_pairs":[{"question":"How many?","answer":{"number":"3","date":{"day":"","month":'
     '"","year":""},"spans":[]},"query_id":"q","validated_answers":[{"number":"","date":{},"spans":["three"]}]}],'
     '"wiki_url":"https://x"}}', Question("q", "How many?", ("3", "three"), cluster="nfl_1")),
    ("drop-all.json",
     '{"nfl_1":{"passage":"It is.","qa_pairs":[{"question":"Who?","answer":{"number":"","date":{},"spans":["Ann","Bob"]'
     '},"query_id":"q"}]}}', Question("q", "Who?", ("Ann", "Bob"), cluster="nfl_1", all_answers=True)),
    ("drop-date.json",
     '{"h_1":{"passage":"It is.","qa_pairs":[{"question":"When?","answer":{"number":"","date":{"day":"4","month":"May",'
     '"year":"1804"},"spans":[]},"query_id":"q"}]}}', Question("q", "When?", ("4 May 1804",), cluster="h_1")),
    ("own-annotations.jsonl", '{"id":"1","question":"Who?","answers":["Ann"],"annotations":[{"answer":["Bob"]}]}',
     Question("1", "Who?", ("Ann",))),
    ("own-query-id.jsonl", '{"query_id":"q","question":"Who?","answer":"Ann"}', Question("q", "Who?", ("Ann",))),
    ("quac-rewritten.jsonl", '{"id":"1","question":"Did Ann Lee sing?","answers":{"text":["CANNOTANSWER"]}}',
     Question("1", "Did Ann Lee sing?", ())),
]  # fmt: skip


IIRC = (
    '[{{"pid":"p_0","title":"Ann Lee","text":"It is.","links":[{{"target":"rho","indices":[0,2]}}],"questions":[{{'
    '"qid":"q_0","question":"How old?","answer":{},"question_links":["rho"],"context":[{{"text":"It","passage":"main",'
    '"indices":[0,2]}},{{"text":"is","passage":"rho","indices":[3,5]}}]}}]}}]'
)
SHAPES += [
    (f"iirc-{kind}.json", IIRC.format(f'{{"type":"{kind}"{answer}}}'),
     Question("q_0", "How old?", answers, ("Ann Lee", "rho"), kind, cluster="Ann Lee", all_answers=every))
    for kind, answer, answers, every in (
        ("none", "", (), False),
        ("value", ',"answer_value":"3","answer_unit":"years"', ("3", "3 years"), False),
        ("binary", ',"answer_value":"yes"', ("yes",), False),
        ("span", ',"answer_spans":[{"text":"three","passage":"rho","type":"answer"}]', ("three",), False),
        ("span", ',"answer_spans":[{"text":"three","passage":"rho"},{"text":"4","passage":"x"}]', ("three", "4"), True),
    )
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "columns", "problem"),
    [
        ("quac.json", '{"data":[{"title":"Ann","paragraphs":[{"context":"x","qas":[{"id":"C_0_q#0","question":'
         '"who was he?","followup":"y","yesno":"x","answers":[{"text":"Bob"}],"orig_answer":{}}]}]}]}',
         "question=question", "a turn of a conversation .*each question so that it can be understood alone"),
        ("quac.jsonl", '{"dialogue_id":"C_0","turn_ids":["C_0_q#0"],"questions":["who was he?"],"answers":{'
         '"texts":[["Bob"]]}}',
         None, "a turn of a conversation"),
        ("coqa.json", '{"data":[{"id":"c","story":"x","questions":[{"input_text":"who was he?","turn_id":1}],'
         '"answers":[]}]}',
         None, "a turn of a conversation"),
        ("ragbench.jsonl", '{"id":"1","question":"Who?","documents":["x"],"response":"Ann","documents_sentences":[],'
         '"generation_model_name":"x"}', "answers=response", "a row of RAGBench.*there is no gold answer"),
    ],
)  # fmt: skip
def test_sets_without_whole_questions_or_gold_answers_are_refused(
    tmp_path: Path, name: str, text: str, columns: str | None, problem: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidInput, match=rf"{name}, (row|line) 1: {problem}"):
        load_questions(tmp_path / name)
    if columns is not None:
        [question] = load_questions(tmp_path / name, QuestionColumns.parse(columns))
        assert question.answers


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("bad.jsonl", '{"question_text":"Who?","answer_list":[{"aliases":[]}]}', "no column 'answers'"),
        ("bad.jsonl", '{"question_text":"Who?","answer_list":[]}', "the answer is empty"),
        ("bad.jsonl", '{"question":"Who?","annotations":{"short_answers":[{"text":[]}]}}', "no column 'answers'"),
        (
            "bad.jsonl",
            '{"question":"Who?","query_id":"q","answer":{"number":"","date":{},"spans":[]}}',
            "the answer is empty",
        ),
        ("bad.json", '{"p":{"passage":"x","qa_pairs":[{"question":"Who?","query_id":"q"}]}}', "no column 'answers'"),
        ("bad.json", '[{"title":"x","questions":[7]}]', "no column 'question'"),
        ("bad.json", '{"Questions":[{"RawQuestion":"who?","Parses":[{"Answers":[]}]}]}', "no questions"),
        ("bad.json", IIRC.format('{"type":"bad"}'), "no questions"),
    ],
)
def test_what_only_looks_like_a_published_set_is_refused(tmp_path: Path, name: str, text: str, problem: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidInput, match=problem):
        load_questions(tmp_path / name)


def test_a_named_column_counts_in_a_published_set(tmp_path: Path) -> None:
    row = '{"qid":"7","question_text":"Who?","answer_list":[{"answer_text":"Ann"}],"mine":"Bob"}'
    assert load_questions(write(tmp_path, row), {"answers": "mine"}) == [Question("7", "Who?", ("Bob",))]
    nested = tmp_path / "frage.json"
    nested.write_text('[{"frage":"Wer?","answer":"Ann","id":1,"questions":[{"question":"Who?","answer":"Bob"}]}]')
    assert load_questions(nested, {"question": "frage"}) == [Question("1", "Wer?", ("Ann",))]


@pytest.mark.parametrize("aliases", [(), (("Anne", "A. Lee"), ())])
def test_a_question_is_read_as_it_was_written(tmp_path: Path, aliases: tuple[tuple[str, ...], ...]) -> None:
    question = Question("1", "Who?", ("Ann", "Bob"), ("p",), "bridge", 2, all_answers=True, aliases=aliases)
    assert load_questions(write(tmp_path, json.dumps(question.to_row()))) == [question]
    assert without_texts(question).names == [["(text left out)"]]


@pytest.mark.parametrize(("name", "text", "question"), SHAPES, ids=[name for name, _, _ in SHAPES])
def test_every_shape_of_the_field_is_read(tmp_path: Path, name: str, text: str, question: Question) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert load_questions(tmp_path / name) == [question]


def test_a_parquet_file(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {"id": 1, "question": "Who?", "golden_answers": ["Ann"]},
        {"id": 2, "question": "Who else?", "golden_answers": []},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "qa.parquet")
    assert load_questions(tmp_path / "qa.parquet") == [Question("1", "Who?", ("Ann",)), Question("2", "Who else?", ())]
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(InvalidInput, match=r"bad\.parquet: no parquet file"):
        load_questions(tmp_path / "bad.parquet")
    with pytest.raises(InvalidInput, match=r"absent\.parquet: cannot be read"):
        load_questions(tmp_path / "absent.parquet")


def test_dates_and_exact_numbers_of_a_parquet_file(tmp_path: Path) -> None:
    answers = [date(2020, 1, 5), datetime(2020, 1, 5), Decimal("3.50")]
    for number, answer in enumerate(answers):
        pq.write_table(pa.table({"question": ["When?"], "answer": [answer]}), tmp_path / f"{number}.parquet")
    found = [load_questions(tmp_path / f"{number}.parquet")[0].answers for number in range(3)]
    assert found == [("2020-01-05",), ("2020-01-05",), ("3.50",)]


def test_columns_are_named(tmp_path: Path) -> None:
    file = write(tmp_path, '{"key": 4, "text": "Who?", "gold": "Ann", "docs": ["p"], "answers": ["not these"]}')
    named = QuestionColumns.parse("id=key, question=text,answers=gold,supporting=docs")
    assert load_questions(file, named) == [Question("4", "Who?", ("Ann",), ("p",))]
    assert load_questions(file, {"id": "key", "question": "text"})[0].answers == ("not these",)
    with pytest.raises(
        InvalidInput, match=r"questions\.jsonl, line 1: no column 'label'; there are 'key', 'text', 'gold'"
    ):
        load_questions(file, {"question": "text", "answers": "label"})
    for wrong in ("gold", "gold=", "colour=gold"):
        with pytest.raises(InvalidInput, match=r"cannot read .* the fields are id, question, answers, supporting"):
            QuestionColumns.parse(wrong)
    with pytest.raises(InvalidInput, match="cannot read 'colour=gold'"):
        load_questions(file, {"colour": "gold"})


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("a.json", b"[{]", r"a\.json: not JSON \(.*line 1 column 3"),
        ("a.json", b'[{"id": 1},\n {"id": 2,}]', r"a\.json: not JSON \(.*line 2 column \d+"),
        ("a.json", b"[1]", r"a\.json, row 1: a int, not an object"),
        ("a.jsonl.gz", gzip.compress(GOOD.encode(), mtime=0)[:-9], r"a\.jsonl\.gz: damaged or unreadable"),
        ("a.csv.gz", b"no gzip", r"a\.csv\.gz: damaged or unreadable"),
        ("a.json", b"7", r"a\.json, row 1: a int, not an object"),
        (
            "a.jsonl",
            b'{"id": 1, "question": "Who?", "answers": ["x"]}\n{"id": 2,}',
            r"line 2: not JSON \(.* at column \d+",
        ),
        ("a.csv", b"id,question,answers\n1,Who?\n", r"a\.csv, line 2: 2 cells, the header has 3"),
        ("a.csv", b"id,question,answers\n1,Who?,a,b\n", r"a\.csv, line 2: 4 cells, the header has 3"),
        ("a.csv", b'id,question,answers\n1,"Who?\nIs it?",a\n2,"Who?,b\n', r"a\.csv, line 4: not csv"),
        ("a.csv", b"id,question,question\n1,Who?,a\n", r"two columns are named 'question'"),
        ("a.csv", b"id,question,answers\n1,Who?,\n", r"line 2: answers is empty.*write \[\]"),
        ("a.csv", b"id;Frage;Antwort\n1;Wo?;Bonn\n", r"line 2: no column 'question'; there are .*Frage"),
        ("a.csv", b"id,question,answers\n1,Who?,\"['Ann' 'Bob']\"\n", r"\['Ann' 'Bob'\].*neither JSON nor Python"),
        ("a.csv", b"id,question,answers\n1,Who?,\"array(['Ann'], dtype=object)\"\n", "neither JSON nor Python"),
        ("a.csv", b"id,question,answers,supporting\n1,Who?,Ann,\"['p1'\n 'p2']\"\n", "neither JSON nor Python"),
        ("a.csv", b"id,question,answers\n1,\xff,x\n", r"line 2: invalid UTF-8 in `question`, byte 0xff at character 0"),
    ],
)
def test_what_is_wrong_with_other_files_is_said(tmp_path: Path, name: str, data: bytes, problem: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InvalidInput, match=problem):
        load_questions(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl.gz", gzip.compress(GOOD.encode(), mtime=0)),
        ("a.json.bz2", bz2.compress(f"[{GOOD}]".encode())),
        ("a.jsonl", GOOD.encode("utf-16")),
        ("a.jsonl", f"[\n{GOOD}\n]".encode()),
        ("a.csv", '\ufeffid; question; answers; supporting; type\nq1; Who?; Curie; "p1"; bridge\n'.encode()),
        ("a.csv", b"sep=|\nid|question|answers|supporting|type\nq1|Who?|Curie|p1|bridge\n"),
    ],
)
def test_files_are_read_as_corpora_are(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    [question] = load_questions(tmp_path / name)
    assert (question.id, question.question, question.answers, question.type) == ("q1", "Who?", ("Curie",), "bridge")


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"question,answers\nWho?,Curie\n",))
    writer.start()
    [question] = load_questions(pipe)
    writer.join()
    assert question.answers == ("Curie",)


def test_numbers_with_a_point_are_whole_ones_where_the_whole_column_is_so(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("question,answers\nWhich version?,2.0\nWhich next?,Web 3\n", encoding="utf-8")
    assert [question.answers for question in load_questions(file)] == [("2.0",), ("Web 3",)]
    file.write_text("question,answers,is_impossible\nWhen?,1815.0,False\nWhich?,,True\n", encoding="utf-8")
    assert [question.answers for question in load_questions(file)] == [("1815",), ()]


def test_the_order_depends_on_the_ids_alone() -> None:
    questions = [Question(f"q{i}", "Who?", ("x",)) for i in range(200)]
    order = shuffled(questions)
    assert shuffled(questions[::-1]) == order != questions
    # a part of them keeps its order, and any first part is spread over all
    assert shuffled(questions[:100]) == [question for question in order if question in questions[:100]]
    assert 20 < sum(question in questions[:100] for question in order[:80]) < 60


@pytest.mark.parametrize(
    ("id", "type", "given", "expected"),
    [
        ("5a7d5c175542991319bc93b1", "comparison", None, "published"),
        ("b088d3ca08e211ebbda4ac1f6bf848b6", "bridge_comparison", None, "published"),
        ("2hop__574419_270105", None, None, "published"),
        ("4hop1__1_2_3_4", "4hop", None, "published"),
        ("5a7d5c175542991319bc93b1", None, None, "unicode"),  # the ids of many a database
        ("q1", "bridge", None, "unicode"),
        ("q1", None, "published", "published"),
        ("2hop__574419_270105", None, "unicode", "unicode"),
    ],
)
def test_published_sets_keep_their_normalisation(
    tmp_path: Path, id: str, type: str | None, given: str | None, expected: str
) -> None:
    row = {"id": id, "question": "Who?", "answers": ["Ann"], "type": type, "normalisation": given}
    path = tmp_path / "questions.jsonl"
    path.write_text(json.dumps(row))
    [question] = load_questions(path)
    assert (question.normalisation, compared([question])) == (expected, expected)
    for chosen in NORMALISATIONS:
        assert load_questions(path, normalisation=chosen)[0].normalisation == chosen
    with pytest.raises(InvalidInput, match="normalisation is 'squad'"):
        load_questions(path, normalisation="squad")  # type: ignore[arg-type]
    other = replace(question, id="other", normalisation="unicode" if expected == "published" else "published")
    assert set(compared([question, question, other]).split(", ")) == {f"{expected} (2)", f"{other.normalisation} (1)"}
