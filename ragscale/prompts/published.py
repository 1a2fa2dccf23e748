"""The layouts of published checkpoints, in words of our own; a template file brings the published words."""

from __future__ import annotations

from dataclasses import replace

from ragscale.prompts.prompt import NO_INFORMATION, ConversationFormat, Tags
from ragscale.prompts.templated import Templated

__all__ = ["CORAG", "HYBRID_DEEP_SEARCH", "PARALLEL_SEARCH", "RAG_R1", "RAG_R1_SINGLE", "SEARCH_R1"]

_TURNS = """Answer the question below. Whenever something new is known, reason inside <think> and </think> first. \
{rule} What it finds comes between <information> and </information>. Search as often as you need. When you know \
enough, write the short answer, and nothing more, inside <answer> and </answer>, for example <answer> Beijing \
</answer>. Question: {question}
"""
_ONE = "If you need knowledge, search by writing <search> a query </search>."
_SEVERAL = (
    "If you need knowledge, search by writing <search> first query, second query </search>: at most {n} queries, "
    "separated by commas, one fact each."
)

_PARTS = (
    "If you need knowledge, search by writing <search> a query </search>. Where it takes several facts that do not "
    "depend on one another, ask for all of them at once, separated by ##: <search> first query ## second query "
    "</search>."
)

_PAST = {
    "past_item": "Intermediate query {n}: {query}\nIntermediate answer {n}: {answer}",
    "past_empty": "None so far",
}

CORAG = Templated(
    name="corag",
    plan_tokens=64,
    read_tokens=128,
    answer_tokens=128,
    pairs=True,
    sections={
        "plan": {
            "user": """You answer a main query with the help of a search engine, one search after the other. From the \
queries and answers so far, write the next query: one short question that brings you nearer to the answer, as the \
search engine does not understand long ones. Where earlier answers did not help, rephrase the main query or take a \
part of it.

## Queries and answers so far
{past}

## Task
{task}

## Main query
{question}

Reply with the next question and nothing else.""",
            **_PAST,
        },
        "read": {
            "user": f"""Answer the query from the documents below, and from nothing else. If they do not tell, reply \
"{NO_INFORMATION}".

## Documents
{{documents}}

## Query
{{query}}

Reply with the short answer and nothing else.""",
            "document": "{title}\n{text}",
            "order": "best last",
        },
        "support": {"pair": "Q: {query}\nA: {answer}"},
        "answer": {
            "user": """Answer the main query from the documents and from the queries and answers that were gone \
through on the way. These answers are a model's, and some may be wrong.

## Documents
{documents}

## Queries and answers on the way
{past}

## Task
{task}

## Main query
{question}

Reply with the answer and nothing else.""",
            "document": "Doc {n0}: {title}\n{text}",
            "order": "best last",
        },
        "enough": {
            "user": """Are these queries and answers enough to answer the main query?

## Queries and answers
{past}

## Main query
{question}

Reply with Yes or No and nothing else.""",
        },
    },
)
"""CoRAG (arXiv 2501.14342): one user message a move, plain text, pairs in the answer's prompt."""

_ROUND = ConversationFormat(
    stop=("</search>",),
    continued=True,
    closing="turn",
    invalid="notice",
    seed_question=False,
    repeats=True,
    anew=True,
    sampled=True,
)
_NOTICE = """
That was neither a search nor an answer. To search, I write a query between <search> and </search>. To answer, I write \
the answer between <answer> and </answer>. I try again.
"""

RAG_R1 = Templated(
    name="rag-r1",
    form=replace(_ROUND, separator=",", capped=False),
    sections={
        "turn": {
            "user": _TURNS.replace("{rule}", _SEVERAL),
            "information": "\n<information>\n{results}\n</information>\n",
            "document": "Doc {n}: {title}   {text}",
            "results": "json",
            "invalid": _NOTICE,
        }
    },
)
"""RAG-R1 (arXiv 2507.02962) with several queries a round, separated by commas; results as JSON."""

RAG_R1_SINGLE = Templated(
    name="rag-r1-sq",
    form=_ROUND,
    sections={
        "turn": {
            **RAG_R1.sections["turn"],
            "user": _TURNS.replace("{rule}", _ONE),
            "results": "lines",
        }
    },
)
"""RAG-R1 with one query a round: everything between the tags; results as lines."""

SEARCH_R1 = Templated(
    name="search-r1",
    turn_tokens=500,
    form=replace(_ROUND, question_mark=True),
    sections={
        "turn": {
            "user": _TURNS.replace("{rule}", _ONE),
            "information": "\n\n<information>{results}</information>\n\n",
            "document": "Doc {n}(Title: {title}) {text}",
            "results": "lines",
            "invalid": _NOTICE,
        }
    },
)
"""Search-R1 (arXiv 2503.09516): one query a round; results as titled lines."""

PARALLEL_SEARCH = Templated(
    name="parallel-search",
    turn_tokens=500,
    form=replace(_ROUND, separator="##", capped=False, question_mark=True),
    sections={"turn": {**SEARCH_R1.sections["turn"], "user": _TURNS.replace("{rule}", _PARTS)}},
)
"""ParallelSearch (arXiv 2508.09303): Search-R1 with several queries between the tags, separated by ``##``; results
follow one another without a label."""

HYBRID_DEEP_SEARCH = Templated(
    name="hybrid-deep-search",
    turn_tokens=4096,
    read_tokens=2048,
    form=replace(
        _ROUND,
        stop=("<|end_search_queries|>",),
        tags=Tags(
            search=("<|begin_search_queries|>", "<|end_search_queries|>"),
            information=("<|begin_search_results|>", "<|end_search_results|>"),
            answer=("\\boxed{", "}"),
        ),
        separator=";\n",
        capped=False,
        invalid="retry",
    ),
    sections={
        "turn": {
            "user": """You answer questions by reasoning and with a search engine. Think about what you need to know, \
then write your queries like this:

<|begin_search_queries|>
first query;
second query
<|end_search_queries|>

Queries that do not depend on one another belong into one search, separated by ";" and a new line. What was found for \
each comes between <|begin_search_results|> and <|end_search_results|>. Search again for as long as something is \
missing. When you know enough, write the short answer inside \\boxed{ }.

Question: {question}""",
            "information": "\n\n<|begin_search_results|>\n{results}\n<|end_search_results|>\n\n<think>\n",
            "document": "Doc {n}: {title}: {text}",
            "results": "lines",
            "final": "\n</think>\n\n**Final Answer:**\n\\boxed{",
            "invalid": _NOTICE,
        }
    },
)
"""HybridDeepSearcher (its public code): several queries a search, each on a line; a reading of each query's passages in
their place (``aggregate="query"``); the last turn begins as the answer."""
