"""Readers of replies in JSON or plain text: tolerant, and without ever looking at the prompt."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from ragscale.prompts import languages
from ragscale.prompts.prompt import NO_INFORMATION, Closing, Reply
from ragscale.prompts.repeats import normalise
from ragscale.prompts.thoughts import spoken
from ragscale.prompts.wording import informative, says_none, states
from ragscale.text import encodable

__all__ = [
    "ANSWER",
    "ANSWER_SCHEMA",
    "BRACED",
    "NOTE",
    "QUERY",
    "bracket",
    "closing",
    "distinct",
    "field",
    "in_list",
    "items",
    "load",
    "measured",
    "note",
    "numbers",
    "object_schema",
    "plain_words",
    "queries_schema",
    "query",
    "rated",
    "short",
    "sub_answer",
    "turn",
    "unboxed",
    "unfinished",
    "unnumbered",
    "worded",
]


def object_schema(**properties: Any) -> dict[str, Any]:
    """JSON schema of an object that has these properties, all of them and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }


QUERY: dict[str, Any] = {"type": "string", "minLength": 2, "maxLength": 160}
NOTE: dict[str, Any] = {"type": "string", "maxLength": 160}
ANSWER: dict[str, Any] = {"type": "string", "maxLength": 400}
"""Schemas of a sub-query, of a note and of an answer in words."""
ANSWER_SCHEMA = object_schema(answer=ANSWER, documents={"type": "array", "items": {"type": "integer"}, "maxItems": 4})
"""A closing answer, where the endpoint constrains its output."""

_LABEL = r"(?:(?:final|short|intermediate|next|new|simple|follow[- ]?up|sub-?)[ -]?){0,3}"
_ASKED = (
    rf"(?:\b{_LABEL}(?:query|queries|question|questions|search(?: query)?|action input|follow[- ]?up|q)(?![^\W\d])"
    rf"|{languages.ASKED})"
)
_PREFIX = re.compile(rf"^\s*(?:[-*\u2022]\s+|{_ASKED}\s*(?:\d{{1,3}}\s*)?[:\uff1a])\s*", re.IGNORECASE)
_NUMBER = re.compile(r"^\s*\(?(\d{1,2})[.)]\s+")
_ITEM = re.compile(r"^\s*(?:\(?\d{1,2}[.)]|[-*\u2022])\s+(?=\S)")
_BULLET = re.compile(r"^\s*[-*\u2022]\s+")
# "Sure! Here is the next sub-query: ..."
_OPENING = (
    r"(?:sure|certainly|okay|ok|of course|absolutely|great|alright|here(?:'s|\u2019s| is| are)|the|my|a|based on)\b"
)
_TITLE = r"(?:the|my|a) (?-i:[A-Z])"  # The Search for Spock, A Question of Love
_INTRODUCED = re.compile(
    rf"^\s*(?!{_TITLE})(?:{_OPENING}|{languages.OPENING})[^:\uff1a?\"\u201c]{{0,120}}?{_ASKED}[^:\uff1a?\"\u201c]{{0,40}}"
    r"[:\uff1a]\s*(?=\S)",
    re.IGNORECASE,
)
# Not "I, Robot", "We Were Soldiers"
_WE = r"(?:(?:next|first|then),? )?(?:i|we|let(?:'s|\u2019s| us| me))(?=['\u2019 ](?-i:[a-z]))"
_LEAD = re.compile(
    rf"^\s*(?:(?:sure|certainly|okay|ok|alright)[,!.:]\s+(?=\S)|"
    rf"{_WE}[^:\uff1a?\"\u201c]{{0,80}}[:\uff1a]\s*(?=\S))",
    re.IGNORECASE,
)
_SAYS_SO = re.compile(  # Let me search for "Jaws director".
    rf"^{_WE}[^\"\u201c]{{0,80}}[\"\u201c]([^\"\u201c\u201d]+)[\"\u201d]\W*$", re.IGNORECASE
)
_PREAMBLE = re.compile(
    rf"^\s*(?:{_OPENING}.*[.!:\uff1a]|(?:to (?:answer|find|determine)|in order to|let me|let'?s|let\u2019s|i need|"
    r"i will|i'll|i would|i can|we (?:need|should|can|must)|first,?|next,?|since|given|"
    r"this (?:\w+ )?(?:will|would|should|helps?)|"
    r"thinking|hmm|well|so)\b.*[.!:\uff1a]|.*[:\uff1a])\s*$",
    re.IGNORECASE,
)
_HEADING = re.compile(rf"^\s*(?:#{{1,6}}\s|[*_#\s]*{_ASKED}[*_#:\uff1a\s]*$)", re.IGNORECASE)  # of the line below it
_LABELLED = re.compile(rf"^\s*(?:[-*\u2022]\s+)?\**{_ASKED}[^:]{{0,6}}[:\uff1a]\s*\S", re.IGNORECASE)
_HEAD = re.compile(rf"^\s*(?:{_OPENING}.*|\W*(?:the )?(?:final |short )?answer(?: is)?\W*)[:\uff1a]\W*$", re.IGNORECASE)
_CALLED = re.compile(  # search("Jaws director"), search_query = "Jaws director"
    r"^\w*(?:search|query|look_?up|retrieve)\w*\s*[(=\[]\s*\[?\s*(?:\w+\s*=\s*)?\[?([\"'])((?:(?!\1).)+)\1\s*[\])]*;?$",
    re.IGNORECASE,
)
_STARS = r"(?:\*{1,3}|_{2})"
_ANSWERED = rf"(?:(?:so,? )?(?:the )?(?:(?:final|short|correct) )?answer(?: is)?|{languages.ANSWERED})"
_ANSWER_LABEL = re.compile(
    rf"^\s*+(?:{_STARS}\s*+)?(?:{_ANSWERED}\s*+(?:{_STARS}\s*+)?[:\uff1a]|"
    r"the (?:(?:final|short|correct) )?answer is\b)\s*(?:(?:\*{1,3}|__)(?=\s))?\s*",
    re.IGNORECASE,
)
# Reasons, and below them the answer.
_ANSWER_LINE = re.compile(rf"\n(?=\W{{0,4}}{_ANSWERED}\W{{0,4}}[:\uff1a])", re.IGNORECASE)
_HEADED = re.compile(  # a heading above the answer
    rf"\s*(?:#{{1,6}}\s*)?{_STARS}?\s*(?:the )?(?:(?:final|short|correct) )?answer\s*{_STARS}?\s*", re.IGNORECASE
)
_EMPHASISED = re.compile(r"(\*{1,3})(?=\S)([^*\n]+?)\1([.!]?)")
BRACED = r"\{((?:[^{}\n]|\{(?:[^{}\n]|\{[^{}\n]*+\})*+\})*+)\}"
"""A part in braces, of which some are in braces, too: ``{\\text{a_{n}}}``."""
_BOXED = re.compile(rf"\$?\\boxed{BRACED}\$?")
_FONT = re.compile(r"\\(?:text\w*|math(?:rm|bf|it|sf|tt)|mbox)\s*\{([^{}]*)\}")
_FENCED = re.compile(r"```(?:\w+\n)?([^`]+)```")
_FENCE = re.compile(r"^\s*```\w*\s")
_TAG = re.compile(r"</?(?:search|answer|query)>", re.IGNORECASE)

_QUOTES = {'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u201e": "\u201c\u201d", "\u2018": "\u2019",
           "\u00ab": "\u00bb", "\u300c": "\u300d", "\u300e": "\u300f", "\u201d": "\u201d"}  # fmt: skip
_AMOUNT = r"(?<![\w.,-])(-?[0-9]{1,9}(?:\.[0-9]{1,9})?)"
_OF_DOCUMENT = re.compile(r"\s*(?:doc(?:ument)?s?\s*)?[\[(#]?\s*([0-9]{1,6})\s*[\])]?\s*", re.IGNORECASE)
_STRAIGHT = str.maketrans({"\u201c": '"', "\u201d": '"', "\u201e": '"', "\u00ab": '"', "\u00bb": '"'})

# Characters that attempts at JSON may read in vain, as brackets in brackets take the square of their number, and those
# that an attempt itself counts as. A reply of up to 1,000 characters cannot reach it.
_PATIENCE, _ATTEMPT = 2_000_000, 300
_BEGUN = re.compile(r"(\{)\s*\"\w|^\s*(?:```\w*\s*)?(\[)\s*\"")  # JSON
_JSON = json.JSONDecoder(strict=False, parse_constant=lambda _: None)  # NaN and Infinity are no JSON
_BRACKET = re.compile(r"\s*(?:```)?(?:json)?\s*([\[{])", re.IGNORECASE)
_ANSWER_AT = re.compile(
    r"[{,]\s*[\"']?answer[\"']?\s*:\s*(?:\"((?:[^\"\\]|\\.?)*)|([^\s\",\[\]{}][^\",\[\]{}\n]*)[,}])", re.IGNORECASE
)
_ESCAPING = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?$")  # half an escape at the end
_ENDS = 8  # places tried
_SINGLE = re.compile(r"\{\s*'")  # its lists are JSON, and would be found alone
_LITERAL = 20_000  # characters of an object as Python writes it
_ESCAPE = re.compile(r"\\[^nrtu'\"\\]")  # Python warns of those that it does not know


def queries_schema(most: int, *, least: int = 1) -> dict[str, Any]:
    """JSON schema of a planner's turn: what is known, what is missing, and `least` to `most` sub-queries."""
    queries = {"type": "array", "items": QUERY, "minItems": least, "maxItems": most}
    return object_schema(known=NOTE, missing=NOTE, queries=queries)


def bracket(text: str) -> str:
    """The bracket with which a reply begins, also in a fence: it is JSON, whole or cut off. Else empty."""
    begins = _BRACKET.match(text)
    return begins[1] if begins else ""


def load(text: str) -> Any:
    """The first JSON value in `text` that is no bare citation (``[1]``, ``[2, 3]``), or ``None``.

    Where there is none, curly quotation marks are read as straight ones, and an object as Python writes it
    (``{'a': True}``) as one. Gives up after some two million characters that it read again and again, as in a reply of
    nothing but brackets.
    """
    text = spoken(text)
    readers = (_python, _first, _curly) if _SINGLE.search(text) else (_first, _curly, _python)
    return next((value for read in readers if (value := read(text)) is not None), None)


def _curly(text: str) -> Any:
    straight = text.translate(_STRAIGHT)
    return _first(straight) if straight != text else None


def _python(text: str) -> Any:
    """The one object or list in `text` as Python writes it, of values that JSON has; None where there is none."""
    spans = [text[text.find(begin) : text.rfind(end) + 1] for begin, end in ("{}", "[]")]
    span = max(spans, key=len)
    if not 2 < len(span) <= _LITERAL or _ESCAPE.search(span):
        return None
    try:
        value = ast.literal_eval(span)
        json.dumps(value)  # no sets, bytes or complex numbers
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, dict | list) and not all(type(item) is int for item in value) else None


def _first(text: str) -> Any:
    patience = _PATIENCE
    for match in re.finditer(r"[\[{]", text):
        try:
            value = _JSON.raw_decode(text, match.start())[0]
        except (ValueError, RecursionError) as error:
            patience -= getattr(error, "pos", len(text)) - match.start() + _ATTEMPT
            if patience < 0:
                return None
            continue
        if not (value and isinstance(value, list) and all(type(item) is int for item in value)):
            return value
    return None


def turn(text: str, most: int) -> Reply | None:
    """A planner's turn: JSON with ``queries``, a JSON array, or a query a line.

    Prefixes and quotation marks are stripped, duplicates, preambles and "none" in any spelling left out. A statement
    among the queries is no query but something known: a planner that answers has enough.

    Returns:
        At most `most` queries in the order written, or enough; None for a malformed turn.
    """
    value = load(text)
    if value is None and (begun := _BEGUN.search(spoken(text))):
        value = unfinished(begun.string[begun.start(begun.lastindex or 0) :], partial=False)
        if value is None:
            return None
    said: Any = None
    if isinstance(value, dict):
        value = next((value[key] for key in _ARGUMENTS if isinstance(value.get(key), dict)), value)
        said = field(value, "known")
        found = field(value, "queries", "query", "sub_queries", "subqueries", "next_query", "search", *_ARGUMENTS)
        if found is None and field(value, "answer", "final_answer") is not None and not _has(value, "queries"):
            known = note(said) or note(field(value, "answer", "final_answer"))
            return Reply(enough=True, known=known)
        if found is None and not _has(value, "queries", "query"):
            found = next((v for v in value.values() if isinstance(v, list)), _MISSING)
    elif isinstance(value, list):
        found = value
    else:
        lines = _lines(text)
        found = lines or _MISSING
    if isinstance(found, dict):
        found = [*found.values()] or _MISSING
    if found is _MISSING or isinstance(found, bool | int | float):
        return None
    if found is None or found == [] or (isinstance(found, str) and not found.strip()):
        return Reply(enough=True, known=note(said))
    items = found if isinstance(found, list) else [found]
    items = [field(item, *_ASKS, missing=_MISSING) if isinstance(item, dict) else item for item in items]
    texts = [item for item in items if isinstance(item, str)]
    ended = any(item is None for item in items) or any(not item.strip() or says_none(item) for item in texts)
    queries: dict[str, str] = {}
    stated: list[str] = []
    for raw in texts:
        asked = query(raw)
        same = normalise(asked)
        if not same or says_none(raw):
            continue
        if states(asked, said if isinstance(said, str) else ""):
            stated.append(asked)
        else:
            queries.setdefault(same, asked)
    if queries:
        return Reply(queries=list(queries.values())[:most], known=note(said))
    if stated or ended:
        return Reply(enough=True, known=note(said) or note("; ".join(stated)))
    return None


_MISSING = object()
_ANSWERS = ("answer", "final_answer", "short_answer", "response", "result")
_NO_ANSWERS = ("queries", "query", "search", "known", "missing", "reason", "reasoning", "thought", "think", "why")
_ASKS = ("query", "q", "question", "search", "search_query", "sub_query", "sub_question", "text")
_ARGUMENTS = ("arguments", "parameters", "input", "action_input", "args")


def query(raw: str) -> str:
    """A sub-query as it is searched: on one line, without labels, emphasis and outer quotation marks."""
    text = " ".join(encodable(_TAG.sub(" ", raw)).split())
    for _ in range(8):  # labels within quotation marks within emphasis; bounded, as each pass reads the text
        before = text
        text = _SAYS_SO.sub(r"\1", _LEAD.sub("", _INTRODUCED.sub("", _CALLED.sub(r"\2", _plain(text)))))
        text = _unquoted(_PREFIX.sub("", text)).strip()
        if text == before:
            break
    return text


def distinct(texts: Iterable[str]) -> list[str]:
    """Texts as the queries that they are (`query`), the first of equal ones; what says nothing is left out."""
    found: dict[str, str] = {}
    for raw in texts:
        asked = query(raw)
        if normalise(asked):
            found.setdefault(normalise(asked), asked)
    return list(found.values())


def _plain(text: str) -> str:
    """`text` without the stars of emphasis around it or its label."""
    text = re.sub(r"^\s*(\*{1,3}|_{2})(?=\S)([^*\n]{1,200}?)\1(?=\s|[:.\uff1a]|$)", r"\2", text)
    whole = len(text) > 2 and text[0] == text[-1] == "*" and "*" not in text.strip("*")
    return text.strip("*") if whole else text


def _unquoted(text: str) -> str:
    text = text[:-1].rstrip() if text[-2:-1] in ('"', "'", "\u201d") and text[-1:] == "," else text
    if len(text) > 2 and set(text[:3]) == {"`"} and text[-3:] == "```":
        return text.strip("`")
    end = _QUOTES.get(text[:1])
    if end is None or len(text) < 2 or text[-1] not in end:
        return text
    inside = text[1:-1]
    quotes = text[0] + end
    whole = not any(char in quotes for char in inside)
    if text[0] in "'\u2018":  # apostrophes
        whole = not re.search(r"(?:^|\s)['\u2018]|['\u2019](?:\s|$)", inside)
    doubled = inside[:1] == text[0] and inside[-1:] in end
    return inside if whole or doubled else text


def _lines(text: str) -> list[str]:
    """The lines of a plain reply that may be queries: without preambles, and without the numbers of a list."""
    text = spoken(text)
    if bracket(text):  # JSON that was never finished is malformed, not a list of lines
        return []
    text = _FENCE.sub("", text)
    lines = [line for line in text.splitlines() if line.strip() and not line.strip().startswith("```")]
    labelled = [line for line in lines if _LABELLED.match(line)]
    if labelled and len(labelled) < len(lines):
        lines = labelled
    headings = [at for at, line in enumerate(lines[:-1]) if _HEADING.match(line)]
    lines = lines[headings[-1] + 1 :] if headings else lines
    if len(lines) > 1:
        asked = [line for line in lines if not _PREAMBLE.match(line)]
        lines = asked or lines
    return unnumbered(lines)


def items(text: str) -> list[Any] | None:
    """A list that is no JSON: the whole items of one that the limit cut off, or numbered or dotted lines; else None."""
    said = spoken(text)
    if begun := re.search(r"\[\s*[\"{]", said):
        value = unfinished(said[begun.start() :], partial=False)
        return value if isinstance(value, list) else None
    lines = unnumbered([line for line in said.splitlines() if _ITEM.match(line)])
    return [_BULLET.sub("", line) for line in lines] or None


def unnumbered(lines: list[str]) -> list[str]:
    """Lines without the numbers of a list, but with those that are a query's own ("24) TV series", "1. FC Köln")."""
    numbers = [int(m[1]) if (m := _NUMBER.match(line)) else 0 for line in lines]
    bare = [_NUMBER.sub("", line) for line in lines]
    return [
        bare[at] if in_list(numbers, at) or (0 < numbers[at] < 10 and _is_item(bare[at])) else line
        for at, line in enumerate(lines)
    ]


def in_list(numbers: Sequence[int], at: int) -> bool:
    """Whether the number before a line is its place in a list: the next number above or below is its neighbour.

    Args:
        numbers: Of the lines, 0 for none.
        at: Which line.
    """
    if not numbers[at]:
        return False
    ways = (range(at - 1, -1, -1), range(at + 1, len(numbers)))
    beside = (next((numbers[place] for place in way if numbers[place]), 0) for way in ways)
    return any(other and abs(other - numbers[at]) == 1 for other in beside)


def _is_item(text: str) -> bool:
    """Whether what stands behind a lone number is written as a list's item is, and not as the rest of a name."""
    bare = " ".join(text.split())
    return bare.endswith("?") or bare[:1].islower() or says_none(bare) or query(bare) != bare


def note(value: Any) -> str:
    """The note on what is known, on one line; empty where it says nothing."""
    said = " ".join(worded(value).split())
    bare = re.sub(r"[^\w ]", " ", normalise(said)).split()
    nothing = bare in (["nothing"], ["none"], ["unknown"], ["nothing", "yet"], ["n", "a"]) or says_none(said)
    return said if said and not nothing and informative(said) else ""


def measured(value: Any, most: float) -> float | None:
    """A number from 0 to `most`, also as a text: "7", "7/10", "Rating: 7 out of 10"; None for any other value."""
    if isinstance(value, str):
        text = value[:1000]
        found = re.findall(rf"{_AMOUNT}\s*(?:/|(?:out )?of)\s*{most:g}\b", text) or re.findall(_AMOUNT, text)
        value = float(found[0]) if len(set(found)) == 1 else None
    valid = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most
    return float(value) if valid else None


def rated(text: str, name: str, most: float) -> float | None:
    """The number from 0 to `most` in a reply: the value of `name` in its JSON, or the only one in its words."""
    value = load(text)
    said = field(value, name) if isinstance(value, dict) else value
    return measured(spoken(text) if said is None else said, most)


def numbers(value: Any) -> list[int]:
    """Distinct numbers of documents or steps in a JSON value, in order: 3, 3.0, "3", "[3]", "Documents 1 and 2"."""
    found: dict[int, None] = {}
    for item in value if isinstance(value, list) else [value]:
        texts = re.split(r"[,;&]|\band\b", item[:200].strip(" []")) if isinstance(item, str) else []
        if isinstance(item, int | float) and not isinstance(item, bool) and 0 <= item < 10**6 and item == int(item):
            texts = [str(int(item))]
        for text in texts:
            if match := _OF_DOCUMENT.fullmatch(text):
                found.setdefault(int(match[1]))
    return list(found)


def field(values: dict[str, Any], *names: str, missing: Any = None) -> Any:
    """The value of the first of `names` that is there, in any case; else `missing`."""
    lower = {str(key).casefold().replace(" ", "_").replace("-", "_"): value for key, value in values.items()}
    return next((lower[name] for name in names if name in lower), missing)


def _has(values: dict[str, Any], *names: str) -> bool:
    return bool({str(key).casefold() for key in values} & set(names))


def short(text: str) -> str:
    """A short answer out of plain text: without preamble, label, emphasis and the tags of an answer."""
    text = _untagged(text)
    text = fenced[1].strip() if (fenced := _FENCED.fullmatch(text)) else text
    head, _, rest = text.partition("\n")
    if rest.strip() and len(head) < 200 and (_HEAD.match(head) or _HEADED.fullmatch(head)):
        text = rest.strip()
    labelled = [*_ANSWER_LINE.finditer(text)]
    text = text[labelled[-1].end() :] if labelled and text[labelled[-1].end() :].strip() else text
    return _unstarred(unboxed(_ANSWER_LABEL.sub("", _unstarred(text))))


def _unstarred(text: str) -> str:
    """`text` without the stars around all of it."""
    whole = _EMPHASISED.fullmatch(text.strip())
    return (whole[2] + whole[3] if whole else text).strip()


def unboxed(text: str) -> str:
    """`text` with the content of each ``\\boxed{...}`` in its place, in words: without ``\\text{...}`` and its like."""
    return _BOXED.sub(lambda found: plain_words(found[1]), text)


def plain_words(text: str) -> str:
    """Words out of TeX: without the commands of fonts, and braces around all."""
    said = _FONT.sub(r"\1", text).replace("\\%", "%").replace("\\$", "$").replace("\\&", "&").strip()
    return said[1:-1] if said[:1] == "{" and said.find("}") == len(said) - 1 else said


def _untagged(text: str) -> str:
    """The inside of the first answer tags, or the text without them."""
    lower = text.lower()
    end = lower.find("</answer>")
    begin = lower.rfind("<answer>", 0, max(end, 0))
    if begin >= 0 and text[begin + 8 : end].strip():
        text = text[begin + 8 : end]
    return re.sub(r"</?answer>", "", text, flags=re.IGNORECASE).strip()


def sub_answer(text: str) -> str:
    """A sub-answer on one line, or `NO_INFORMATION`."""
    said = encodable(spoken(text))
    said = closing(said).text if bracket(said) else short(said)
    said = " ".join(said.split())
    return said if informative(said) else NO_INFORMATION


def worded(value: Any) -> str:
    """A JSON value as an answer in words: ``yes`` and ``no``, lists and objects joined by commas, empty for null."""
    if isinstance(value, str):
        return encodable(value).strip()
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | dict):
        return _joined(value)
    return str(int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value)


def _joined(value: Any) -> str:
    """The scalars of a list or an object in order, however deep."""
    found: list[str] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            best = next((item[key] for key in ("answer", "text", "value", "name") if item.get(key) is not None), None)
            one = best is not None and len(item) > 1 and (not isinstance(best, bool) or "answer" in item)
            waiting += [best] if one else [*item.values()][::-1]
        elif isinstance(item, list):
            waiting += item[::-1]
        else:
            found.append(worded(item))
    return ", ".join(filter(None, found))


def closing(text: str) -> Closing:
    """The closing answer and the document numbers it names; the whole text if it is not JSON.

    Of an object that the limit cut off, what is there of its answer; nothing where that is not begun.
    """
    text = spoken(text)
    value = load(text)
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        [value] = value
    if isinstance(value, dict) and (said := _answered(value)) is not _MISSING:
        return Closing(short(worded(said)), numbers(field(value, "documents")))
    if isinstance(value, list) and text.strip()[:1] == "[" and all(isinstance(item, str) for item in value):
        return Closing(worded(value), [])
    if found := _ANSWER_AT.search(text):  # cut off, or no JSON
        said = found[2] or unfinished(f'["{found[1] or ""}', partial=True)
        return Closing(short(worded(said)), [])
    if value is None and bracket(text) and (begun := _BEGUN.search(text)):
        rest = unfinished(text[begun.start(begun.lastindex or 0) :], partial=True)
        said = _answered(rest) if isinstance(rest, dict) else None
        return Closing("" if said is _MISSING else short(worded(said)), [])
    return Closing(encodable(short(_scalar(text))), [])


def _answered(value: dict[str, Any]) -> Any:
    """The answer in an object, or the one value of an object without any; `_MISSING` where it has neither."""
    said = field(value, *_ANSWERS, missing=_MISSING)
    rest = [key for key in value if str(key).casefold() not in ("documents", *_NO_ANSWERS)]
    return value[rest[0]] if said is _MISSING and len(rest) == 1 and len(value) - len(rest) < 2 else said


def _scalar(text: str) -> str:
    """`text` without the quotation marks of a JSON string, or in words where it is a JSON boolean."""
    words = {"true": "yes", "false": "no", "null": ""}
    bare = text.strip()
    if bare[:1] == bare[-1:] == '"' and len(bare) > 2 and '"' not in bare[1:-1]:
        return bare[1:-1]
    return words.get(bare, text)


def unfinished(text: str, *, partial: bool) -> Any:
    """The JSON value that a limit cut off, as far as it goes; None where nothing of it can be read.

    Args:
        text: From the value's first bracket on.
        partial: Whether it may end in a part of a string; a part of anything else is left out.
    """
    ends: list[tuple[int, str]] = []  # places to end at, and what closes the value there
    opened: list[str] = []
    quoted = escaped = False
    for at, char in enumerate(text[:_LITERAL]):
        if quoted:
            quoted, escaped = char != '"' or escaped, char == "\\" and not escaped
        elif char == '"':
            quoted = True
        elif char in "[{":
            opened.append("]" if char == "[" else "}")
        elif char in "]}" and opened:
            opened.pop()
            ends.append((at + 1, "".join(reversed(opened))))
        elif char == ",":
            ends.append((at, "".join(reversed(opened))))
    closers = "".join(reversed(opened))
    tail = _ESCAPING.sub("", text) + '"' if quoted else text.rstrip("` \r\n")
    ended = [tail + closers] if tail[-1:] in ('"', "]", "}") and (partial or not quoted) else []
    for candidate in ended + [text[:at] + rest for at, rest in ends[: -_ENDS - 1 : -1]]:
        try:
            return json.loads(candidate, strict=False)
        except (ValueError, RecursionError):
            continue
    return None
