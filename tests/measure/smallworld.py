"""A corpus of five passages, three questions about it, and a script for a model that answers them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ragscale.agent import Agent
from ragscale.index import Index
from ragscale.llm.scripted import Reply, Said, ScriptedCall
from ragscale.types import Message, ToolCall

PASSAGES = [
    {"id": "polonium", "title": "Polonium", "text": "Polonium is an element that Marie Curie named after Poland."},
    {"id": "warsaw", "title": "Warsaw", "text": "Warsaw is the capital of Poland, where Marie Curie was born."},
    {"id": "radium", "title": "Radium", "text": "Radium is a radioactive metal that glows."},
    {"id": "paris", "title": "Paris", "text": "Paris is the capital of France and lies on the river Seine."},
    {"id": "seine", "title": "Seine", "text": "The Seine flows through Paris to the English Channel."},
]
QUESTIONS = [
    {"id": "q1", "question": "Where was the discoverer of polonium born?", "answers": ["Warsaw"],
     "supporting": ["polonium", "warsaw"]},
    {"id": "q2", "question": "Which river flows through the capital of France?", "answers": ["the Seine", "Seine"],
     "supporting": ["paris", "polonium"]},
    {"id": "q3", "question": "Does radium glow?", "answers": ["yes"]},
]  # fmt: skip
ANSWERS = {"polonium": "Warsaw, Poland", "river": "The Seine", "radium": "no"}


def script(messages: Sequence[Message], call: ScriptedCall) -> Reply:
    """Reply that the call's schema asks for: new sub-queries, or the closing answer by `ANSWERS`; else a sub-answer."""
    last = messages[-1]["content"]
    wanted = call.schema["properties"] if call.schema else {}
    if call.tools:
        return Said("", [ToolCall("search", json.dumps({"queries": [f"capital number {call.index}"]}))])
    if "queries" in wanted:
        turn = {"known": f"Fact {call.index}.", "missing": "a capital"}
        return [json.dumps(turn | {"queries": [f"capital number {call.index} {i}"]}) for i in range(call.n)]
    if "answer" in wanted:
        question = last.rpartition("Question:")[2].casefold()
        said = next(answer for word, answer in ANSWERS.items() if word in question)
        return json.dumps({"facts": "", "documents": [1], "answer": said})
    return "Some sub-answer."


MakeAgent = Callable[..., Agent]


def build(base: Path) -> Path:
    """An index of `PASSAGES` without vectors."""
    corpus = base / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in PASSAGES))
    Index.build([corpus], base / "index", embedder=None).close()
    return base / "index"


def write_questions(base: Path) -> Path:
    """`QUESTIONS` as a file."""
    path = base / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    return path


@contextmanager
def serving(index: Index, **limits: int) -> Iterator[str]:
    """The URL of an index behind a real server in a thread of this process."""
    import uvicorn

    from ragscale.serve.app import Service
    from ragscale.serve.limits import Limits

    app = Service(index, limits=Limits(**limits), token=None, rerankers=()).app()
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
