"""Counts prompt tokens: with the endpoint's own tokenizer, or by an estimate that the endpoint's usage calibrates."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ragscale.endpoint import replies
from ragscale.endpoint.transport import RefusedError, Transport, UnreachableError
from ragscale.errors import InvalidInput, ModelError
from ragscale.llm.continuing import adapt, is_open
from ragscale.llm.notations import opens
from ragscale.llm.special import of_tokenizer
from ragscale.paths import expanded
from ragscale.types import Message, Tool

__all__ = [
    "SAMPLES",
    "CountMemo",
    "LlamaTokenizer",
    "LocalTokenizer",
    "Reports",
    "TokenEstimator",
    "Tokenizer",
    "VllmTokenizer",
    "find_tokenizer",
    "local_tokenizer",
    "offered",
    "with_margin",
    "written",
]

SAMPLES = {
    "long": "Hungarian physicist Leo Szilard and novelist Virginia Woolf never encountered each other although both "
    "frequented the Bloomsbury museum which Elizabeth Haverstock directed before moving to Edinburgh where her brother "
    "Theodore composed operas about Queen Guinevere and afterwards founded several conservatories near Aberystwyth",
    "short": "He was in on it, so to say, as far as we can see now. It is one of the few that did not go up or out of "
    "use by the end of the war, and she had to do it all on her own. If you ask me who is to do it, I say: he can, but "
    "as for the two of us, we may go on and try to get at it in a day or so.",
    "marks": '(1984), 27.5%; [12] 1,024/7 {"a": ["b-3", 46.0]} 2019-11-08: #5 & *9* 3:30 = 88 + 61_0 "7"?! 30,519.',
    "codes": "q7Rz0LxT+9vKpW3/nYb2HsUe5dMj8CfA1oGi4XtB6wZk d41d8cd98f00b204e9800998ecf8427e x9Fq-2Lp_7HnaQ0vTy3",
    "letters": "Москва стоит на реке Öğretmen güzel Łódź Θεσσαλονίκη Çağdaş München año señor Київ الرياض מוסד",
    "cjk": "東京都は日本の首都である。北京是中华人民共和国的首都、历史悠久。서울은 대한민국의 수도이다.",
    "others": "नई दिल्ली भारत की राजधानी है กรุงเทพมหานคร ঢাকা বাংলাদেশের 🎻🧭🏛 አዲስ አበባ თბილისი தமிழ்",
}
"""Texts whose tokens, as a server counts them, tell what its tokenizer makes of a character of each class, and of a
word."""

_CLASSES = {
    "marks": re.compile(r"[!-@\[-`{-~\x00-\x08\x0e-\x1f\x7f]+"),
    "letters": re.compile(r"[\u0080-\u07ff\u1e00-\u1fff]+"),
    "cjk": re.compile(r"[\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff00-\uffef]+"),
}
_WORD = re.compile(r"[A-Za-z]+")
_RUN = re.compile(r"[A-Za-z0-9+/=_-]{12,}")  # with a digit in it: a key, a hash, base64
# Tokens a character (for "word": a word), on the high side for the tokenizers in use.
_PRIOR = {"words": 0.18, "word": 0.5, "marks": 1.0, "codes": 0.75, "letters": 0.9, "cjk": 1.3, "others": 2.5}
# No tokenizer in use needs fewer: what reports less does not count what it was sent.
_FLOOR = {"word": 0.6, "other": 0.05}
_MESSAGE = 8  # tokens of a message's role markers, 4 to 8 in the templates in use
_PROMPT = 48  # tokens of a default system prompt that some templates add, until a usage tells
_LONG = 128  # tokens of a text long enough to lower rates by
_OFFER = 200  # tokens of what templates say around the tools on offer, until a usage tells
_SHORT = 64  # tokens of a prompt too short to correct rates by
_MARGIN = 1.03  # of a calibrated rate: texts differ from the samples
_MARGINS = {"marks": 1.1, "codes": 1.15, "letters": 1.25, "cjk": 1.25, "others": 1.25}  # of classes that vary more
_REPORTS = 1000  # that are remembered
_ALIKE, _APART = 3, 1.25
"""Prompts of one count, and how many times as long the longest is: no tokenizer makes them equal."""
_LOCAL_MARGIN = 1.02  # of a tokenizer named by the user: it may be of another version


def _sizes(text: str) -> dict[str, int]:
    """Characters of each class, and the number of words ("word"); "words" are letters of ASCII and white space."""
    rest = _RUN.sub(lambda run: "" if any(map(str.isdigit, run[0])) else run[0], text)
    codes = len(text) - len(rest)
    found = {"codes": codes, "word": len(_WORD.findall(rest)), "marks": sum(map(len, _CLASSES["marks"].findall(rest)))}
    if rest.isascii():
        return {**found, "words": len(rest) - found["marks"], "letters": 0, "cjk": 0, "others": 0}
    found |= {name: sum(map(len, _CLASSES[name].findall(rest))) for name in ("letters", "cjk")}
    found["words"] = sum(1 for char in rest if char < "\x80") - found["marks"]
    return {**found, "others": len(rest) - sum(found[name] for name in ("marks", "letters", "cjk", "words"))}


def floor(text: str) -> int:
    """The fewest tokens that `text` can have in any tokenizer in use: what reports less did not count."""
    return _fewest(_sizes(text))


def _fewest(sizes: Mapping[str, int]) -> int:
    other = sum(sizes[name] for name in ("letters", "cjk", "others"))
    return int(_FLOOR["word"] * sizes["word"] + _FLOOR["other"] * other)


def written(message: Message) -> str:
    """All text of a message: its content, and the tools that it calls."""
    calls = message.get("tool_calls")
    return f"{message['content']}{json.dumps(calls)}" if calls else str(message["content"])


def offered(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """Tools as a request declares them."""
    return [tool.to_dict() for tool in tools]


class TokenEstimator:
    """Estimator of tokens where the server has no tokenizer: by rates of classes of characters, on the high side.

    The rates are those of the tokenizers in use until `calibrate` is given what the server counted for `SAMPLES`. They
    then stay as they are, so that the same question is planned alike whenever it is asked, unless a prompt turns out to
    have more tokens than estimated: then all later estimates are higher (`learn`).

    Args:
        measure: A tokenizer's count of a text, instead of rates; see `local_tokenizer`.
    """

    def __init__(self, measure: Callable[[str], int] | None = None) -> None:
        self._measure = measure
        self._rates = dict(_PRIOR)
        self._base = _PROMPT
        self._offer = _OFFER
        self._scale = 1.0
        self._known: dict[str, int] = {}
        self._ratios: list[float] = []
        self.most_off: float | None = None
        """The largest difference between an estimate and what the server counted, as a share of the latter."""

    def text(self, text: str) -> int:
        """Tokens of `text` alone; exact for what it begins with, where that was counted before (`know`)."""
        for begin, count in self._known.items():
            if text.startswith(begin):
                return count + (self.text(text[len(begin) :]) if len(text) > len(begin) else 0)
        if self._measure is not None:
            return math.ceil(self._measure(text) * _LOCAL_MARGIN * self._scale)
        sizes, rates = _sizes(text), self._rates
        return max(_fewest(sizes), math.ceil(self._scale * sum(rates[name] * sizes[name] for name in rates)))

    def know(self, text: str, count: int) -> None:
        """Remember what the server counted for a text that prompts begin with.

        Where all long ones among them have fewer tokens than the rates say, the rates are lowered.
        """
        if count >= _LONG:
            self._ratios.append(count * self._scale / self.text(text))
            self._scale = min(1.0, max(self._ratios))
        self._known[text] = count

    def prompt(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> int:
        """Tokens of the prompt of `messages`, chat template and tools on offer included."""
        offer = self._offer + self.text(json.dumps(offered(tools))) if tools else 0
        return self._base + sum(self.text(written(m)) + _MESSAGE for m in messages) + offer

    def offer(self, messages: Sequence[Message], tools: Sequence[Tool], reported: int) -> None:
        """Learn what the template says around tools from the reported tokens of a prompt with some."""
        without = self.prompt(messages) + self.text(json.dumps(offered(tools)))
        self._offer = max(0, reported - without)

    def base(self, messages: Sequence[Message], reported: int) -> None:
        """Learn what the template adds from the reported tokens of a prompt of a few words."""
        words = sum(floor(m["content"]) for m in messages)
        self._base = max(0, reported - words - _MESSAGE * (len(messages) - 1))

    def calibrate(self, counts: Mapping[str, int], base: int) -> None:
        """Set the rates to what the server counted.

        Args:
            counts: By the names of `SAMPLES`: tokens of a prompt of one message that holds this sample alone.
            base: Tokens of a prompt of one message that holds next to nothing.
        """
        tokens = {name: max(1, count - base) for name, count in counts.items()}
        if self._measure is not None:
            self._scale = max(1.0, *(tokens[name] / max(1, self._measure(SAMPLES[name])) for name in ("long", "short")))
            return
        sizes = {name: _sizes(SAMPLES[name]) for name in SAMPLES}
        of_mark = tokens["marks"] / sizes["marks"]["marks"]
        of_char, of_word = _fit(
            [
                (sizes[name]["words"], sizes[name]["word"], max(1, tokens[name] - of_mark * sizes[name]["marks"]))
                for name in ("long", "short")
            ]
        )
        rates = {"words": of_char, "word": of_word, "marks": of_mark}
        for name in _MARGINS:
            plain = sum(rates[part] * sizes[name][part] for part in ("words", "word", "marks") if part != name)
            rates[name] = max(1, tokens[name] - plain) / sizes[name][name]
        self._rates = {name: _MARGINS.get(name, _MARGIN) * rate for name, rate in rates.items()}

    def learn(self, messages: Sequence[Message], reported: int, tools: Sequence[Tool] = ()) -> bool:
        """Compare the estimate of a prompt with what the server counted; whether that is beyond its margin.

        Later estimates are higher then.
        """
        estimate = self.prompt(messages, tools)
        if reported > 0:
            self.most_off = max(self.most_off or 0.0, abs(estimate - reported) / reported)
        if reported <= with_margin(estimate):
            return False
        texts = estimate - self._base - _MESSAGE * len(messages)
        if texts < _SHORT:  # the template's own tokens are the greater part
            self._base += reported - estimate + 1
        else:
            self._scale *= 1.01 * (texts + reported - estimate) / texts
        return True


class Reports:
    """Finds out a usage that counts nothing, where no trial did: the same tokens for prompts of different length."""

    def __init__(self) -> None:
        self.believed = True
        """Whether none was found out yet."""
        self._seen: dict[int, set[int]] = {}

    def see(self, messages: Sequence[Message], reported: int) -> bool:
        """Compare the tokens of a prompt with those of earlier ones; whether reports are still believed."""
        if len(self._seen) >= _REPORTS:
            self._seen.clear()
        characters = self._seen.setdefault(reported, set())
        characters.add(sum(len(written(m)) for m in messages))
        apart = sorted(characters)
        # Two may be equal by chance; a third one between them or beyond is not.
        if len(apart) >= _ALIKE and apart[-1] > _APART * apart[0]:
            self.believed = False
        return self.believed


def with_margin(count: int) -> int:
    """The most that a server may make of a prompt of `count` tokens, counted or estimated."""
    # Servers differ from their own tokenizers by a token or two (a template's first token, a space).
    return count + 8 + count // 32


def _fit(samples: Sequence[tuple[int, int, float]]) -> tuple[float, float]:
    """Tokens of a character and of a word, from (characters, words, tokens) of two texts; neither is negative."""
    (c1, w1, t1), (c2, w2, t2) = samples
    determinant = c1 * w2 - c2 * w1
    of_char, of_word = (t1 * w2 - t2 * w1) / determinant, (c1 * t2 - c2 * t1) / determinant
    if of_char < 0:
        return 0.0, max(t1 / w1, t2 / w2)
    if of_word < 0:
        return max(t1 / c1, t2 / c2), 0.0
    return of_char, of_word


@dataclass(frozen=True)
class LocalTokenizer:
    """A tokenizer on this machine."""

    count: Callable[[str], int]
    """Tokens of a text alone."""
    special: frozenset[str]
    """Texts that it reads as one token wherever they stand."""


def local_tokenizer(name: str) -> LocalTokenizer:
    """A tokenizer on this machine: a ``tokenizer.json``, a folder with one, or a name on the hub.

    Raises:
        InvalidInput: There is none of that name.
    """
    from tokenizers import Tokenizer as Fast

    path = expanded(name)
    path = path / "tokenizer.json" if path.is_dir() else path
    try:
        tokenizer = Fast.from_file(str(path)) if path.is_file() else Fast.from_pretrained(name)
    except Exception as error:  # the library raises bare Exceptions, the hub's client its own
        raise InvalidInput(
            f"tokenizer {name!r} cannot be loaded: {error}", "Give a tokenizer.json, a folder with one, or a hub name."
        ) from None
    tokenizer.no_truncation()  # a file may bring along that of its model
    tokenizer.no_padding()
    return LocalTokenizer(
        lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids), of_tokenizer(tokenizer)
    )


class Tokenizer(Protocol):
    """The tokenizer of a server; every method may raise `ModelError`."""

    async def prompt(self, messages: Sequence[Message], *, tools: Sequence[Tool] = ()) -> list[int]:
        """Ids of the prompt of `messages`, the tools on offer and the generation prompt included."""
        ...

    async def text(self, text: str) -> list[int]:
        """Ids of `text` alone, without special tokens."""
        ...


class VllmTokenizer:
    """vLLM's ``/tokenize``, which applies the chat template itself; `template` holds what the template is told."""

    def __init__(self, transport: Transport, model: str, template: Mapping[str, Any]) -> None:
        self._transport = transport
        self._model = model
        self._template = template

    async def _ids(self, **body: Any) -> list[int]:
        data = await self._transport.post(f"{self._transport.root}/tokenize", {"model": self._model, **body})
        answer = replies.read(replies.Tokens, data)
        # llama.cpp has a path of this name and ignores the messages: only vLLM reports a count.
        if answer.tokens is None or answer.count != len(answer.tokens):
            raise self._transport.broken("no token count")
        return answer.tokens

    async def prompt(
        self, messages: Sequence[Message], *, tools: Sequence[Tool] = (), closed: bool = False
    ) -> list[int]:
        """Ids of the prompt of `messages`, with the generation prompt, or open where an assistant turn is the last.

        `closed` ends that turn, too.
        """
        body = {"messages": list(messages), "add_generation_prompt": True, **self._template}
        body |= {"tools": offered(tools)} if tools else {}
        return await self._ids(**(adapt("fields", body) if is_open(messages) and not closed else body))

    async def text(self, text: str) -> list[int]:
        """Ids of `text` alone, without special tokens."""
        return _of(text, await self._ids(prompt=text, add_special_tokens=False), self._transport)

    async def end_of_turn(self) -> int:
        """Id of the token that ends an assistant turn in the chat template."""
        turn: list[Message] = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        body = {"messages": turn, "add_generation_prompt": False, **self._template}
        closed = await self._ids(**body)
        is_open = await self._ids(**body, continue_final_message=True)
        if closed[: len(is_open)] != is_open or len(closed) == len(is_open):
            raise self._transport.broken("a chat template without an end-of-turn token")
        return closed[len(is_open)]


class LlamaTokenizer:
    """llama.cpp's ``/apply-template`` and ``/tokenize``; `template` holds what the template is told."""

    def __init__(self, transport: Transport, template: Mapping[str, Any]) -> None:
        self._transport = transport
        self._template = template

    async def prompt(self, messages: Sequence[Message], *, tools: Sequence[Tool] = ()) -> list[int]:
        """Ids of the prompt of `messages`, with the generation prompt, or open where an assistant turn is the last."""
        text = await (self.opened(messages) if is_open(messages) else self.rendered(messages, tools))
        return await self._ids(content=text, add_special=True, parse_special=True)

    async def opened(self, messages: Sequence[Message]) -> str:
        """The prompt of a conversation that ends within an assistant turn, as the template writes it.

        Raises:
            ModelError: The template opens a thought, which the turn would become a part of.
        """
        last = str(messages[-1]["content"])
        try:
            text = await self.rendered(messages)
        except RefusedError:  # of models that think first: "Assistant response prefill is incompatible"
            text = ""
        if last and text.endswith(last):
            return text
        before = await self.rendered(messages[:-1])
        if opens(before):
            raise self._transport.broken("a chat template that opens a thought, and no turn can be continued behind it")
        return before + last

    async def rendered(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> str:
        """The prompt of `messages` as the template writes it. Raises `ModelError`."""
        body = {"messages": list(messages), "add_generation_prompt": True, **self._template}
        body |= {"tools": offered(tools)} if tools else {}
        answer = replies.read(
            replies.Template, await self._transport.post(f"{self._transport.root}/apply-template", body)
        )
        if answer.prompt is None:
            raise self._transport.broken("no prompt")
        return answer.prompt

    async def text(self, text: str) -> list[int]:
        """Ids of `text` alone, without special tokens."""
        return _of(text, await self._ids(content=text, add_special=False, parse_special=False), self._transport)

    async def _ids(self, **body: Any) -> list[int]:
        answer = replies.read(replies.Tokens, await self._transport.post(f"{self._transport.root}/tokenize", body))
        if not answer.tokens:
            raise self._transport.broken("no tokens")
        return answer.tokens


def _of(text: str, ids: list[int], transport: Transport) -> list[int]:
    """The ids of a text, of which there may be some for each of its characters: normalisation makes several of one."""
    if len(ids) > 64 * (len(text) + 1):
        raise transport.broken(f"{len(ids):,} tokens of {len(text):,} characters")
    return ids


async def find_tokenizer(
    transport: Transport, model: str, fields: Mapping[str, Any]
) -> VllmTokenizer | LlamaTokenizer | None:
    """The tokenizer that the endpoint answers with; None where it has none.

    Args:
        transport: The way to it.
        model: Name that requests carry.
        fields: Further fields of each request: what they tell the chat template changes the prompt.

    Raises:
        UnreachableError: The endpoint cannot be reached.
    """
    template = {name: value for name, value in fields.items() if name == "chat_template_kwargs"}
    for tokenizer in (VllmTokenizer(transport, model, template), LlamaTokenizer(transport, template)):
        try:
            await transport.patiently(tokenizer.prompt, [{"role": "user", "content": "Hello"}])
            return tokenizer
        except UnreachableError:
            raise
        except ModelError:
            continue  # no such path here, or another server's
    return None


class CountMemo:
    """Remembers counts by a digest of the messages, so that no prompt is kept; the oldest go first.

    Args:
        capacity: Counts to remember.
    """

    def __init__(self, capacity: int = 4096) -> None:
        self._capacity = capacity
        self._counts: OrderedDict[bytes, int] = OrderedDict()

    def get(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> int | None:
        """The remembered count, or None."""
        return self._counts.get(_digest(messages, tools))

    def put(self, messages: Sequence[Message], count: int, tools: Sequence[Tool] = ()) -> None:
        """Remember `count`."""
        self._counts[_digest(messages, tools)] = count
        while len(self._counts) > self._capacity:
            self._counts.popitem(last=False)


def _digest(messages: Sequence[Message], tools: Sequence[Tool]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    parts = [part for message in messages for part in (message["role"], written(message))]
    for part in (*parts, json.dumps(offered(tools))) if tools else parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.digest()
