"""OpenVINO GenAI in this process: a GGUF model, read about twice as fast as llama.cpp does on cores with AVX-512."""

from __future__ import annotations

import asyncio
import atexit
import itertools
import json
import os
import queue
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, ClassVar

from ragscale.endpoint.replies import Completion, read
from ragscale.errors import InvalidInput, MissingDependency, ModelError, ModelFileError
from ragscale.llm.answers import Asked, generation
from ragscale.llm.base import Capabilities, Generation, Score
from ragscale.llm.continuing import is_open
from ragscale.llm.shared import Servers
from ragscale.llm.special import of_gguf
from ragscale.llm.tokens import CountMemo
from ragscale.types import Message, Spend, Tool
from ragscale.weights.gguf import gguf_file

__all__ = ["OpenVinoLLM"]

_WINDOW = 8192
_MEMORY = 2  # GiB of attention states: some 140,000 tokens of a model of 1.5 billion weights
_TOGETHER = 512  # tokens that one step reads, of all requests: a longer one would keep short answers waiting


class OpenVinoLLM:
    """A GGUF model that OpenVINO GenAI runs on this machine's CPU.

    Its requests are decoded together, and all of them read the attention states of any prompt that began in the same
    way. Sampled ones go one after the other, as the engine has one source of chance: so seeds repeat them. It neither
    scores a given text nor calls tools: modes go on without. Objects of the same file and settings share one engine;
    the last to be closed stops it.

    Args:
        path: The GGUF file, of an architecture that OpenVINO GenAI reads (Llama, Qwen, SmolLM).
        context_window: Most tokens of prompt and completion of one request.
        cpus: CPU threads; None for all that this process may use.

    Raises:
        MissingDependency: The extra ``openvino`` is not installed.
        InvalidInput: A number is below 1.
        ModelFileError: `path` is absent, not a GGUF file, or cannot be loaded.
    """

    _engines: ClassVar[Servers[tuple[str, int | None], _Engine]] = Servers(lambda engine: engine.stop())

    def __init__(self, path: str | os.PathLike[str], *, context_window: int = _WINDOW, cpus: int | None = None) -> None:
        for setting, value in (("context_window", context_window), ("cpus", cpus)):
            if value is not None and value < 1:
                raise InvalidInput(f"{setting}={value} must be 1 or more", "Leave it out for the default.")
        self.path = gguf_file(path)
        self._window = context_window
        self._key = (str(self.path), cpus)
        self._engine = self._engines.acquire(self._key, lambda key: _Engine(*key))
        self._open = True
        self._counts = CountMemo()
        self.probe_spend = Spend()
        """Cost of finding out the capabilities: nothing, as they are known."""

    def __repr__(self) -> str:
        return f"OpenVinoLLM({self.path.name!r})"

    @property
    def name(self) -> str:
        """Name of the file, without its ending."""
        return self.path.stem

    @property
    def context_window(self) -> int:
        """Most tokens that prompt and completion may have together."""
        return self._window

    @property
    def special_tokens(self) -> frozenset[str]:
        """Texts that the model's tokenizer reads as one token wherever they stand, from the file's metadata."""
        return of_gguf(self.path)

    async def capabilities(self, *, tools: bool = False) -> Capabilities:
        """All but scores and tools."""
        return Capabilities(json_schema=True, tokenizer=True, logprobs=True, samples=True, continues=True)

    async def count_tokens(self, messages: Sequence[Message], *, tools: Sequence[Tool] = ()) -> int:
        """Prompt tokens of `messages`, exactly; `tools` are not sent, so not counted."""
        known = self._counts.get(messages, ())
        if known is None:
            known = (await asyncio.to_thread(self._engine.read, messages)).shape[1]
            self._counts.put(messages, known, ())
        return known

    async def generate(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        n: int = 1,
        temperature: float = 0.0,
        seed: int | None = None,
        stop: Sequence[str] = (),
        schema: dict[str, Any] | None = None,
        logprobs: bool = False,
        tools: Sequence[Tool] = (),
    ) -> Generation:
        """Write n samples of the next assistant turn; `tools` are ignored. See `LLM.generate`.

        Raises:
            ModelError: This attempt failed, or the prompt does not fit into the window.
        """
        if max_tokens < 1 or n < 1:
            raise InvalidInput(f"max_tokens={max_tokens} and n={n} must be 1 or more", "Ask for at least one token.")
        prompt = await asyncio.to_thread(self._engine.read, messages)
        size = prompt.shape[1]
        if size >= self._window:
            raise ModelError(
                f"The prompt has {size} tokens, the window of {self.name} holds {self._window}, answer included",
                "Retrieve or keep fewer passages, or give a larger context_window.",
                spend=Spend(),
            )
        samples, tokens = await self._engine.write(
            prompt,
            {
                "max_new_tokens": min(max_tokens, self._window - size),
                "logprobs": 1,
                "num_return_sequences": n if temperature > 0 else 1,
                "do_sample": temperature > 0,
                "temperature": temperature or 1.0,
                "rng_seed": seed or 0,
                "stop_strings": set(filter(None, stop)),
            },
            schema,
        )
        samples *= 1 if temperature > 0 else n  # greedy ones are all the same, and written once
        answer = read(Completion, {
            "choices": [
                {
                    "message": {"content": sample.text},
                    "finish_reason": sample.end,
                    "logprobs": {"content": [{"logprob": value} for value in sample.logprobs]},
                }
                for sample in samples
            ],
            "usage": {"prompt_tokens": size, "completion_tokens": tokens},
        })  # fmt: skip
        asked = Asked(
            prompt=size, exact=True, fewest=size, max_tokens=max_tokens, n=n, measure=self._engine.count, measured=True
        )
        return generation(
            answer, asked, logprobs=logprobs, thinks=False, stop=stop, broken=self._broken, name=self.name
        )

    async def score(self, messages: Sequence[Message], continuation: str) -> Score:
        """Always raises `ModelError`: OpenVINO GenAI gives no log-probabilities of a given text."""
        raise ModelError(
            f"{self.name} cannot score a given text", "Use a mode without scores, or embedded:PATH.", spend=Spend()
        )

    def _broken(self, what: str, spend: Spend | None) -> ModelError:
        return ModelError(f"{self.name} answered with {what}", "The call may be repeated.", retryable=True, spend=spend)

    async def aclose(self) -> None:
        """Stop the engine with its last user. Idempotent."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Like `aclose`, from synchronous code."""
        if self._open:
            self._open = False
            self._engines.release(self._key)


@dataclass(frozen=True, slots=True)
class _Sample:
    text: str
    end: str
    logprobs: list[float]


_Written = tuple[list[_Sample], int]
"""Samples of a request, and the tokens of all of them, also of stop strings that are cut off."""


@dataclass(slots=True)
class _Request:
    prompt: Any
    config: Any
    done: Future[_Written]
    handle: Any = None


class _Engine:
    """Continuous batching: one thread makes the steps, each of all requests together."""

    def __init__(self, path: str, cpus: int | None) -> None:
        try:
            import openvino_genai
        except ImportError:
            raise MissingDependency(
                "openvino:PATH needs openvino-genai", "Install it with: pip install 'ragscale[openvino]'"
            ) from None
        self._genai = openvino_genai
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.cache_size = _MEMORY
        scheduler.max_num_batched_tokens = _TOGETHER
        scheduler.enable_prefix_caching = True
        threads = {"INFERENCE_NUM_THREADS": cpus} if cpus else {}
        try:
            self._pipeline = openvino_genai.ContinuousBatchingPipeline(path, scheduler, "CPU", threads)
        except RuntimeError as error:
            said = " ".join(str(error).split())[-300:]
            raise ModelFileError(f"OpenVINO cannot load {path}: {said}", "Give another GGUF file.") from None
        self._tokenizer = self._pipeline.get_tokenizer()
        self._waiting: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._numbers = itertools.count()
        self._thread = threading.Thread(target=self._run, name="openvino", daemon=True)
        self._thread.start()

    def read(self, messages: Sequence[Message]) -> Any:
        """Token ids of a prompt as the chat template writes it, of shape (1, tokens)."""
        goes_on = is_open(messages)
        turns = [
            {"role": turn["role"], "content": turn["content"]} for turn in (messages[:-1] if goes_on else messages)
        ]
        text = self._tokenizer.apply_chat_template(turns, add_generation_prompt=True)
        text += messages[-1]["content"] if goes_on else ""
        return self._tokenizer.encode(text, add_special_tokens=False).input_ids

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return int(self._tokenizer.encode(text, add_special_tokens=False).input_ids.shape[1])

    async def write(self, prompt: Any, settings: dict[str, Any], schema: dict[str, Any] | None) -> _Written:
        """The samples of a request; a task that is cancelled takes its request out of the next step."""
        config = self._genai.GenerationConfig()
        if schema is not None:
            config.structured_output_config = self._genai.StructuredOutputConfig(json_schema=json.dumps(schema))
        for name, value in settings.items():
            setattr(config, name, value)
        config.set_eos_token_id(self._tokenizer.get_eos_token_id())
        done: Future[_Written] = Future()
        self._waiting.put(_Request(prompt, config, done))
        return await asyncio.wrap_future(done)

    def stop(self) -> None:
        """End the thread; requests in flight fail."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        running: list[_Request] = []
        drawn: deque[_Request] = deque()  # sampled ones that wait for their turn
        while True:
            while not (running or drawn) or not self._waiting.empty():
                request = self._waiting.get()
                if request is None:
                    return self._fail([*running, *drawn], "the model was closed")
                if request.config.do_sample:
                    drawn.append(request)
                elif self._begin(request):
                    running.append(request)
            while drawn and not any(request.config.do_sample for request in running):
                request = drawn.popleft()
                if self._begin(request):
                    running.append(request)
            if not running:
                continue
            try:
                self._pipeline.step()
            except RuntimeError as error:
                self._fail(running, " ".join(str(error).split())[-300:])
                running = []
                continue
            running = [request for request in running if not self._ended(request)]

    def _begin(self, request: _Request) -> bool:
        if request.done.cancelled():
            return False
        try:
            request.handle = self._pipeline.add_request(next(self._numbers), request.prompt, request.config)
        except RuntimeError as error:
            self._fail([request], " ".join(str(error).split())[-300:])
            return False
        return True

    def _fail(self, requests: Sequence[_Request], why: str) -> None:
        for request in requests:
            if request.done.set_running_or_notify_cancel():
                error = ModelError(f"OpenVINO failed: {why}", "The call may be repeated.", retryable=True)
                request.done.set_exception(error)

    def _ended(self, request: _Request) -> bool:
        """Whether a request is over, as nobody waits for it or its samples are there; those are handed on then."""
        if request.done.cancelled():
            request.handle.cancel()
            return True
        if request.handle.get_status() == self._genai.GenerationStatus.RUNNING:
            return False
        if request.done.set_running_or_notify_cancel():
            outputs = request.handle.read_all()
            metered = request.handle.get_perf_metrics().get_num_generated_tokens()
            tokens = max(metered, sum(len(output.generated_ids) for output in outputs))
            request.done.set_result(([self._sample(output) for output in outputs], tokens))
        return True

    def _sample(self, output: Any) -> _Sample:
        text = self._tokenizer.decode(list(output.generated_ids))
        end = "length" if output.finish_reason == self._genai.GenerationFinishReason.LENGTH else "stop"
        return _Sample(text, end, list(output.generated_log_probs))


# The engines' threads must end before the interpreter takes its modules apart.
atexit.register(OpenVinoLLM._engines.clear)
