"""Finds out what an endpoint really does, with a handful of tiny calls.

Servers ignore fields they do not know and answer with HTTP 200 all the same, so each capability is believed only when
its effect was seen: constrained output that obeyed, two samples, log-probabilities of the very tokens that were forced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ragscale.errors import EndpointError, ModelError
from ragscale.llm.answers import parse_usage, token_logprobs
from ragscale.llm.base import Capabilities, Usage
from ragscale.llm.scoring import GrammarScorer, PromptScorer, Scorer
from ragscale.llm.tokens import LlamaTokenizer, VllmTokenizer
from ragscale.llm.transport import BrokenAnswerError, Transport
from ragscale.types import Message, Spend

__all__ = ["Probe"]

_MESSAGES: list[Message] = [{"role": "user", "content": "Say hello."}]
_SCHEMA = {
    "type": "object",
    "properties": {"k": {"type": "integer", "enum": [7]}},
    "required": ["k"],
    "additionalProperties": False,
}
_OBEYED = '{"k":7}'


class Probe:
    """The trial of one endpoint and its outcome.

    Args:
        transport: The way to it.
        model: Name that requests carry.
        tokenizer: Its tokenizer, if it has one.
    """

    def __init__(self, transport: Transport, model: str, tokenizer: VllmTokenizer | LlamaTokenizer | None) -> None:
        self._transport = transport
        self._model = model
        self._tokenizer = tokenizer
        self.spend = Spend()
        """What the trial cost."""
        self.capabilities = Capabilities()
        """What was seen."""
        self.scorer: Scorer | None = None
        """The way of scoring that was seen to work."""
        self.schema_fields: Callable[[dict[str, Any]], dict[str, Any]] = _openai_fields
        """Makes the request fields that constrain an answer to a schema here."""
        self.counts_one_sample = False
        """Whether the usage of a call with n samples leaves out all but one of them (llama.cpp)."""

    async def run(self) -> None:
        """Try everything out.

        Raises:
            EndpointError: The endpoint cannot be reached, refuses the key or does not know the model.
            ModelError: It failed in a way that another attempt may not; nothing is remembered.
        """
        exact, logprobs, samples = await self._basics()
        schema = await self._schema()
        self.scorer = await self._scorer()
        self.capabilities = Capabilities(
            json_schema=schema, scoring=self.scorer is not None, tokenizer=exact, logprobs=logprobs, samples=samples
        )

    async def _call(self, **fields: Any) -> dict[str, Any] | None:
        """One tiny call, charged; None if the endpoint refuses these fields."""
        body = {"model": self._model, "messages": _MESSAGES, "temperature": 0, "max_tokens": 2, **fields}
        try:
            answer = await self._transport.post("chat/completions", body)
        except EndpointError:
            raise
        except ModelError as error:
            self._charge(None)
            if error.retryable:
                raise
            return None
        self._charge(parse_usage(answer))
        return answer if isinstance(answer, dict) else None

    def _charge(self, usage: Usage | None) -> None:
        usage = usage or Usage()
        self.spend = self.spend + Spend(
            llm_calls=1,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=usage.cached_tokens,
        )

    async def _basics(self) -> tuple[bool, bool, bool]:
        """Whether the count agrees with the usage, log-probabilities come back, and n=2 gives two samples."""
        both = await self._call(n=2, logprobs=True, temperature=1)
        tried = [both] if both else [await self._call(logprobs=True), await self._call(n=2, temperature=1)]
        answers = [answer for answer in tried if answer] or [await self._call() or {}]
        choices = [_choices(answer) for answer in answers]
        written = [sum(len(token_logprobs(choice)) for choice in found) for found in choices]
        usage = parse_usage(answers[0])
        if both and usage:
            self.counts_one_sample = usage.completion_tokens < written[0]
        exact = False
        if self._tokenizer is not None and usage is not None:
            exact = len(await self._tokenizer.prompt(_MESSAGES)) == usage.prompt_tokens
        return exact, any(written), any(len(found) == 2 for found in choices)

    async def _schema(self) -> bool:
        """Whether output can be constrained; keeps the first way that was seen to work."""
        ways = (_vllm_fields, _openai_fields) if isinstance(self._tokenizer, VllmTokenizer) else (_openai_fields,)
        for way in ways:
            answer = await self._call(max_tokens=16, **way(_SCHEMA))
            choices = _choices(answer)
            text = choices[0].get("message", {}).get("content") if choices else None
            written = "".join(text.split()) if isinstance(text, str) else ""
            # A beginning is enough: some servers put endless white space between the tokens of the JSON.
            if written and _OBEYED.startswith(written):
                self.schema_fields = way
                return True
        return False

    async def _scorer(self) -> Scorer | None:
        scorer: Scorer
        if isinstance(self._tokenizer, LlamaTokenizer):
            scorer = GrammarScorer(self._transport, self._model, self._tokenizer)
        elif self._tokenizer is not None:
            scorer = PromptScorer(self._transport, self._model, self._tokenizer)
        else:
            return None
        try:
            self._charge((await scorer.score(_MESSAGES, "k7", prompt_tokens=0)).usage)
        except EndpointError:
            return None
        except ModelError as error:
            self._charge(None)
            if error.retryable and not isinstance(error, BrokenAnswerError):
                raise
            return None
        return scorer


def _openai_fields(schema: dict[str, Any]) -> dict[str, Any]:
    form = {"name": "answer", "schema": schema, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": form}}


def _vllm_fields(schema: dict[str, Any]) -> dict[str, Any]:
    # The same constraint; the backends that heed the flag then write no endless white space.
    return {"structured_outputs": {"json": schema, "disable_any_whitespace": True}}


def _choices(answer: dict[str, Any] | None) -> Sequence[dict[str, Any]]:
    choices = answer.get("choices") if answer else None
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
