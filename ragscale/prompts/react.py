"""Prompts of `react`: a conversation with tools, and the same in JSON turns for endpoints without."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ragscale.prompts import parse
from ragscale.prompts.called import arguments, take_up
from ragscale.prompts.instructions import instruction
from ragscale.prompts.profile import Profile
from ragscale.prompts.prompt import Act, Acted, Prompt, Reply
from ragscale.prompts.text import beginning, clean, numbered, one_line
from ragscale.prompts.thoughts import spoken
from ragscale.prompts.wording import says_none
from ragscale.types import Message, Passage, Tool, ToolCall

__all__ = ["SEARCH_FIRST", "acted", "in_json", "shown", "tools", "with_tools"]

SEARCH_FIRST = "Nothing has been looked up yet. Search first, then answer."
"""Words behind an answer that rests on no search."""

_ANSWER = """{"answer": "...", "documents": [...]}: the short answer only (a name, a date, a number, a short phrase, \
yes or no) and the numbers of the documents that tell"""

_CALLING = f"""You look up {{corpus}} to answer a question. Call the tools until you know the answer: what can be \
looked up at once, look up at once; the names of persons, works, places or things, never the same again. Of a document \
that was found you see the beginning; open it to read on. When the documents tell the answer, call no tool and reply \
in JSON: {_ANSWER}."""

_JSON = """You look up {corpus} to answer a question. Each turn is JSON: what is known, what is still missing, and one \
of three things: search for names of persons, works, places or things, up to {n} at once, never one that is already a \
document's title, never the same again; or open documents by their numbers, of which you see the beginning, to read \
on; or, when the documents tell it, the short answer.

Question: Who is older, the singer of the album Parachutes or Ridley Scott?
[1] Parachutes: Parachutes is the debut album by the band Coldplay, released in 2000.
{"known": "Parachutes is by Coldplay", "missing": "the singer of Coldplay, his birth, the birth of Ridley Scott", \
"search": ["Coldplay singer", "Ridley Scott"], "open": [], "answer": ""}

Question: What school did the painter of The Night Cafe leave?
[1] The Night Cafe: The Night Cafe is a painting by Vincent van Gogh.
Looked up: Vincent van Gogh
[2] Vincent van Gogh: Vincent van Gogh was a Dutch painter. As a boy he was sent away to ...
{"known": "The Night Cafe is by Vincent van Gogh", "missing": "the school that he left", "search": [], "open": [2], \
"answer": ""}

Question: Who is older, Steven Spielberg or Ridley Scott?
[1] Steven Spielberg: Steven Spielberg is an American director, born in 1946.
Looked up: Ridley Scott
[2] Ridley Scott: Ridley Scott is an English director, born in 1937.
{"known": "Steven Spielberg was born in 1946, Ridley Scott in 1937", "missing": "nothing", "search": [], "open": [], \
"answer": "Ridley Scott"}"""

_ACTION = re.compile(  # Action: search, Action Input: Jaws director; search[Jaws director]; search("Jaws director")
    r"\baction\W{1,5}(search|open)\s*\n\W*action input\W{0,3}[:\uff1a]\W{0,3}?([^\n]+)"
    r"|(?:^(?=\w+[\[(])|\baction\W{1,5})(search|open)\s?[\[(]([^\n]+?)[\])]\s*$",
    re.IGNORECASE | re.MULTILINE,
)
_CALLS = 16  # of a turn: the conversation has no more of it
_QUERIES = 64  # of a turn
_OPENED = 8  # documents of a turn
_NOTHING = "Nothing was found."
_NO_OBJECT = "The arguments are no JSON object."


def tools(width: int) -> tuple[Tool, ...]:
    """The tools on offer, with up to `width` queries a search."""
    query = {"type": "string", "description": "The name of a person, a work, a place or a thing"}
    queries = {"type": "array", "items": query, "minItems": 1, "maxItems": width}
    number = {"type": "integer", "description": "Its number"}
    looks = "Looks up queries, several at once. Shows the beginnings of documents."
    return (
        Tool("search", looks, parse.object_schema(queries=queries)),
        Tool("open", "Shows a document that was found in full.", parse.object_schema(passage=number)),
    )


def _schema(width: int) -> dict[str, Any]:
    """Schema of a JSON turn."""
    return parse.object_schema(
        known=parse.NOTE, missing=parse.NOTE, search={"type": "array", "items": parse.QUERY, "maxItems": width},
        open={"type": "array", "items": {"type": "integer"}, "maxItems": 2}, answer=parse.ANSWER,
    )  # fmt: skip


# -- reading


def acted(text: str) -> Reply | None:
    """A turn: tools that it calls, or the answer; enough where it does neither in JSON; None for a malformed one.

    A call that cannot be read or done is an act with a note, which the model is told as its result. Calls and queries
    beyond any sensible number are left out.
    """
    said, calls = take_up(text)
    if calls:
        return _calling(spoken(said).strip(), calls[:_CALLS])
    value = parse.load(text)
    if isinstance(value, list):
        value = {"search": value}
    if isinstance(value, dict):
        return _from_json({str(key).casefold(): item for key, item in value.items()}, text)
    if parse.bracket(spoken(text)):  # never finished
        return None
    if called := _ACTION.search(spoken(text)):
        tool, given = (called[1], called[2]) if called[1] else (called[3], called[4])
        name = "queries" if tool.casefold() == "search" else "passage"
        return _calling("", [ToolCall(tool, json.dumps({name: parse.query(given)}))])
    closing = parse.closing(text)
    if not closing.text:
        return None
    return Reply(answer=closing.text, numbers=closing.numbers, said=spoken(text).strip())


def _calling(said: str, calls: Sequence[ToolCall]) -> Reply:
    acts = [_act(call) for call in calls]
    return Reply([query for act in acts for query in act["queries"]], said=said, acts=acts)


def _act(call: ToolCall) -> Act:
    name, given = call.name.strip().casefold().rpartition(".")[2], arguments(call)
    if name not in ("search", "open"):
        return _told(call.name, "There is no such tool. Use search or open.")
    if given is None:
        return _told(name, _NO_OBJECT)
    if name == "search":
        queries = _queries([item for value in given.values() for item in _items(value)])
        return Act(tool=name, queries=queries, passages=[], opens=[], note="") if queries else _told(name, "No query.")
    opens = parse.numbers([item for value in given.values() for item in _items(value)])[:_OPENED]
    return Act(tool=name, queries=[], passages=[], opens=opens, note="") if opens else _told(name, "No number.")


def _told(name: str, note: str) -> Act:
    return Act(tool=re.sub(r"[^a-z0-9_-]", "_", name.casefold())[:40] or "unknown", queries=[], passages=[], opens=[],
               note=note)  # fmt: skip


def _from_json(value: Mapping[str, Any], text: str) -> Reply | None:
    asked = [value.get(key) for key in ("search", "queries", "query")]
    asked = [item for given in asked for item in ([*given.values()] if isinstance(given, dict) else [given])]
    queries = [query for query in _queries([item for given in asked for item in _items(given)]) if not says_none(query)]
    opens = parse.numbers(_items(value.get("open")))[:_OPENED]
    known = parse.note(value.get("known"))
    acts = [Act(tool="search", queries=queries, passages=[], opens=[], note="")] if queries else []
    acts += [Act(tool="open", queries=[], passages=[], opens=opens, note="")] if opens else []
    if acts:
        return Reply(queries, known=known, acts=acts)
    closing = parse.closing(text) if "answer" in value or "final_answer" in value else None
    if closing is not None and closing.text:
        return Reply(answer=closing.text, known=known, numbers=closing.numbers, said=spoken(text).strip())
    return Reply(enough=True, known=known) if "search" in value and value["search"] in ([], None, "") else None


def _items(value: Any) -> list[Any]:
    """A value or the items of a list, which may be written as text."""
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        read = parse.load(value)
        value = read if isinstance(read, list) else value
    return value[:_QUERIES] if isinstance(value, list) else [value]


def _queries(items: Sequence[Any]) -> list[str]:
    """Distinct queries among the items, in order."""
    return parse.distinct(item for item in items if isinstance(item, str))[:_QUERIES]


# -- asking


_REACT = instruction("react", "plan", _CALLING, "Question: {question}", acted, cap="turn", least=96)
_REACT_JSON = instruction(
    "react-json", "plan", _JSON, "Question: {question}{found}", acted, cap="turn", least=96,
    needs=("question", "found"), schema=_schema(1),
)  # fmt: skip


def with_tools(
    profile: Profile, question: str, turns: Sequence[Acted], passages: Mapping[str, Passage], *, width: int
) -> Prompt[Reply]:
    """Ask for the next turn of a conversation with tools.

    The calls are numbered and written anew, by what was read of them: servers leave their ids out or repeat them, and
    refuse a conversation whose arguments are no JSON.

    Args:
        profile: Fills in the instruction.
        question: The user's question.
        turns: The turns so far.
        passages: Every passage of `turns` by id.
        width: Queries a turn at most.
    """
    made = profile.make(_REACT, question=one_line(question))
    messages: list[Message] = []
    number = 0
    for turn, results in zip(turns, _results(turns, passages), strict=True):
        if turn["told"]:
            messages.append({"role": "assistant", "content": clean(turn["said"])})
            messages.append({"role": "user", "content": turn["told"]})
            continue
        ids = [f"call{number + i:05d}" for i in range(1, len(results) + 1)]  # nine characters: Mistral's template
        number += len(results)
        calls = [
            {"id": id, "type": "function", "function": {"name": act["tool"], "arguments": json.dumps(_arguments(act))}}
            for id, act in zip(ids, turn["acts"], strict=True)
        ]
        messages.append({"role": "assistant", "content": clean(turn["said"]), "tool_calls": calls})
        messages += [
            {"role": "tool", "tool_call_id": id, "content": "\n".join(lines)}
            for id, lines in zip(ids, results, strict=True)
        ]
    return replace(made, messages=[*made.messages, *messages], tools=tools(width), queries=width)


def in_json(
    profile: Profile, question: str, turns: Sequence[Acted], passages: Mapping[str, Passage], *, width: int
) -> Prompt[Reply]:
    """Ask for the next turn in JSON, by one prompt that grows; see `with_tools`.

    The model's own turns are left out, as a small one copies them instead of reading on.
    """
    lines: list[str] = []
    for turn, results in zip(turns, _results(turns, passages), strict=True):
        lines += [turn["told"]] if turn["told"] else []
        for act, result in zip(turn["acts"], results, strict=True):
            if act["queries"]:
                lines.append(f"Looked up: {one_line('; '.join(act['queries']))}")
            lines += result
    found = "".join(f"\n{line}" for line in lines)
    made = profile.make(_REACT_JSON, question=one_line(question), found=found, n=str(width))
    return made.asking(width, _schema(width))


def _arguments(act: Act) -> dict[str, Any]:
    if act["queries"]:
        return {"queries": [one_line(query) for query in act["queries"]]}
    return {"passage": act["opens"][0] if len(act["opens"]) == 1 else act["opens"]} if act["opens"] else {}


def shown(turns: Sequence[Acted]) -> list[str]:
    """Ids of all passages of a conversation in the order of their numbers, which begin with 1."""
    return list(dict.fromkeys(id for turn in turns for act in turn["acts"] for ids in act["passages"] for id in ids))


def _results(turns: Sequence[Acted], passages: Mapping[str, Passage]) -> Iterator[list[list[str]]]:
    """The lines of the result of each call, for each turn.

    A passage is shown by its beginning where it is found first, by its title from then on, and in full where it is
    opened.
    """
    numbers: dict[str, int] = {}

    def line(id: str, *, full: bool) -> str:
        passage, seen = passages[id], id in numbers
        number = numbers.setdefault(id, len(numbers) + 1)
        if full:
            return numbered(number, passage)
        if seen:
            return f"[{number}] {one_line(passage.title)} (shown above)"
        short = beginning(passage)
        return numbered(number, short) + (" ..." if len(short.text.split()) < len(passage.text.split()) else "")

    def result(act: Act) -> list[str]:
        lines: list[str] = []
        for i, ids in enumerate(act["passages"]):
            if len(act["passages"]) > 1 and act["queries"]:
                lines.append(f"{one_line(act['queries'][i])}:")
            lines += [line(id, full=act["tool"] == "open") for id in ids] or [_NOTHING]
        return [*lines, *([one_line(act["note"])] if act["note"] else [])] or [_NOTHING]

    for turn in turns:
        yield [result(act) for act in turn["acts"]]
