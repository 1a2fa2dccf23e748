"""OpenVINO GenAI in a process beside this one: a GGUF model, read about twice as fast as llama.cpp does on cores with
AVX-512."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import itertools
import json
import os
import queue
import random
import secrets
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, ClassVar

from ragscale.endpoint.replies import Completion, read
from ragscale.errors import InvalidInput, MissingDependency, ModelError, ModelFileError
from ragscale.extras import pip_install
from ragscale.llm import openvino_worker
from ragscale.llm.answers import Asked, generation
from ragscale.llm.base import Capabilities, Generation, Score
from ragscale.llm.continuing import is_open
from ragscale.llm.notations import opens
from ragscale.llm.shared import Servers
from ragscale.llm.special import of_gguf
from ragscale.llm.tokens import CountMemo
from ragscale.text import encodable
from ragscale.types import Message, Spend, Tool
from ragscale.weights.gguf import gguf_file, metadata, without_weights
from ragscale.weights.telemetry import silent_openvino
from ragscale.words import counted

__all__ = ["OpenVinoLLM"]

_WINDOW = 8192  # tokens: OpenVINO's tokenizer of a GGUF file takes off the beginning of what is longer
_PIECE = _WINDOW // 4  # characters, none of which has more than four tokens
_ENDS = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<|endoftext|>", "<|end_of_text|>", "</s>")
"""Texts of tokens that end a turn in some model's template, beside the one that the file names."""
_SPACES = (" ", "\n")  # which the engine takes off behind a stop string, and so off its end


class OpenVinoLLM:
    """A GGUF model that OpenVINO GenAI runs on this machine's CPU, in a process of its own that ends with this one.

    Its requests are decoded together, and all of them read the attention states of any prompt that began in the same
    way. Sampled ones go one after the other, as the engine has one source of chance: so seeds repeat them. It neither
    scores a given text nor calls tools: modes go on without. A model that thinks before it replies is told not to.
    Objects of the same file and settings share one engine; the last to be closed stops it. One that breaks fails the
    calls in flight, and is started again by the next one.

    Args:
        path: The GGUF file, of an architecture that OpenVINO GenAI reads (Llama, Qwen, SmolLM).
        context_window: Most tokens of prompt and completion of one request; None for as many as can be: 8,192, or what
            the model was trained for where that is less.
        cpus: CPU threads; None for all that this process may use.

    Raises:
        MissingDependency: The extra ``openvino`` is not installed.
        InvalidInput: A number is below 1, or `context_window` is more than can be.
        ModelFileError: `path` is absent, not a GGUF file, cannot be loaded, or is a model that always thinks first.
    """

    runtime = "openvino"
    """Program that computes the model."""

    _engines: ClassVar[Servers[tuple[str, int | None], _Engine]] = Servers(lambda engine: engine.stop())

    def __init__(
        self, path: str | os.PathLike[str], *, context_window: int | None = None, cpus: int | None = None
    ) -> None:
        for setting, value in (("context_window", context_window), ("cpus", cpus)):
            if value is not None and value < 1:
                raise InvalidInput(f"{setting}={value} must be 1 or more", "Leave it out for the default.")
        self.path = gguf_file(path)
        most = min(_WINDOW, _trained_window(self.path))
        if context_window and context_window > most:
            raise InvalidInput(
                f"context_window={context_window}, and {self.path.name} has one of {most} tokens with OpenVINO",
                "Give no more, or use embedded:PATH.",
            )
        self._window = context_window or most
        self._special = of_gguf(self.path)
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
        return self._special

    async def capabilities(self, *, tools: bool = False) -> Capabilities:
        """All but scores and tools."""
        return Capabilities(json_schema=True, tokenizer=True, logprobs=True, samples=True, continues=True)

    async def count_tokens(self, messages: Sequence[Message], *, tools: Sequence[Tool] = ()) -> int:
        """Prompt tokens of `messages`, exactly; `tools` are not sent, so not counted.

        Raises:
            ModelError: The model's template refuses the messages.
        """
        known = self._counts.get(messages)
        if known is None:
            known = len(await asyncio.to_thread(self._engine.read, messages))
            self._counts.put(messages, known)
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
            ModelError: This attempt failed; the prompt does not fit into the window; the model's template refuses the
                messages, or the engine the schema.
        """
        if max_tokens < 1 or n < 1:
            raise InvalidInput(f"max_tokens={max_tokens} and n={n} must be 1 or more", "Ask for at least one token.")
        prompt = await asyncio.to_thread(self._engine.read, messages)
        size = len(prompt)
        if size >= self._window:
            raise ModelError(
                f"The prompt has {size} tokens, the window of {self.name} holds {self._window}, answer included",
                "Shorten the question or show fewer passages (k, context), or use embedded:PATH.",
                spend=Spend(),
            )
        sampled, stop = temperature > 0, [mark for mark in stop if mark]
        seed = secrets.randbits(32) if seed is None else seed % 2**32
        told = await self._engine.write(
            prompt,
            {
                "max_new_tokens": min(max_tokens, self._window - size),
                "logprobs": 1,
                "num_return_sequences": n if sampled else 1,
                "do_sample": sampled,
                "temperature": temperature if sampled else 1.0,
                "rng_seed": seed,
                "stop_strings": stop,
                # So that it is seen which one ended a sample, and nothing of it is left.
                "include_stop_str_in_output": not any(mark.endswith(_SPACES) for mark in stop),
            },
            schema,
        )
        if "refused" in told:
            raise ModelError(
                f"OpenVINO refuses the schema: {told['refused']}", "Ask with a simpler one, or without.", spend=Spend()
            )
        if "overflow" in told:
            raise ModelError(
                f"{counted(n, 'sample')} of up to {max_tokens} tokens behind a prompt of {size} do not fit into the "
                f"engine's memory of {openvino_worker.MEMORY} GiB",
                "Retrieve or keep fewer passages, ask for fewer samples, or use embedded:PATH.",
                spend=Spend(llm_calls=1, prompt_tokens=size, completion_tokens=told["tokens"]),
            )
        samples = told["samples"] * (1 if sampled else n)  # greedy ones are all the same, and written once
        random.Random(seed).shuffle(samples)  # the engine puts the most probable first
        answer = read(Completion, {
            "choices": [
                {
                    "message": {"content": self._engine.text(sample["ids"])},
                    "finish_reason": sample["end"],
                    "stop_reason": stop[0] if len(stop) == 1 and self._engine.stopped(sample) else None,
                    "logprobs": {"content": [{"logprob": value} for value in sample["logprobs"]]},
                }
                for sample in samples
            ],
            "usage": {"prompt_tokens": size, "completion_tokens": told["tokens"] * (1 if sampled else n)},
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
        """Stop the engine with its last user; calls in flight fail. Idempotent."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Like `aclose`, from synchronous code."""
        if self._open:
            self._open = False
            self._engines.release(self._key)


def _trained_window(path: Path) -> int:
    """Tokens that the model of a file was trained for; `_WINDOW` where it does not tell."""
    architecture = metadata(path, "general.architecture").get("general.architecture", b"")
    name = f"{architecture.decode('utf-8', 'replace')}.context_length" if isinstance(architecture, bytes) else ""
    length = metadata(path, name).get(name) if name else None
    return length if isinstance(length, int) and length > 0 else _WINDOW


class _Engine:
    """The tokenizer of a model, and the process that runs it."""

    def __init__(self, path: str, cpus: int | None) -> None:
        try:
            silent_openvino()
            import openvino_genai
        except ImportError:
            raise MissingDependency(
                "openvino:PATH needs openvino-genai", f"Install it: {pip_install('openvino')}."
            ) from None
        self._path = Path(path)
        self._settings = {"path": path, "cpus": cpus, "packages": str(Path(openvino_genai.__file__).parents[1])}
        self._lock = threading.Lock()
        self._stopped = False
        self._worker = _Worker(self._path, self._settings)
        try:  # while it loads the model
            self._tokenizer = self._read_tokenizer(openvino_genai)
            named = self._tokenizer.get_eos_token_id()
            others = [self._ids(token) for token in _ENDS if token in of_gguf(self._path)]
            self._ends = [named, *(ids[0] for ids in others if len(ids) == 1 and ids[0] != named)]
            self._worker.wait()
        except BaseException:
            self._worker.stop()
            raise

    def _read_tokenizer(self, genai: Any) -> Any:
        with tempfile.TemporaryDirectory(prefix="ragscale-") as folder:
            file = Path(folder, "tokenizer.gguf")  # it would read the weights as well, and keep some of their memory
            file.write_bytes(without_weights(self._path))
            try:
                tokenizer = genai.Tokenizer(str(file))
            except RuntimeError as error:
                raise _unloadable(self._path, openvino_worker.said(error)) from None
        written = self._rendered(tokenizer, [{"role": "user", "content": "a"}])
        if opens(written):
            raise ModelFileError(
                f"{self._path.name} always thinks before it replies, which openvino:PATH has no tokens for",
                "Use embedded:PATH, or another model.",
            )
        return tokenizer

    def read(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a prompt as the chat template writes it.

        Raises:
            ModelError: The template refuses the messages.
        """
        before, last = (messages[:-1], messages[-1]["content"]) if is_open(messages) else (messages, "")
        return self._ids(self._rendered(self._tokenizer, before) + encodable(last))

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return len(self._ids(encodable(text)))

    def text(self, ids: list[int]) -> str:
        """The text of token ids, special tokens left out."""
        return str(self._tokenizer.decode(ids)) if ids else ""

    def stopped(self, sample: dict[str, Any]) -> bool:
        """Whether a stop string ended a sample."""
        return sample["end"] == "stop" and not {*sample["ids"][-1:]} & {*self._ends}

    async def write(self, prompt: list[int], settings: dict[str, Any], schema: dict[str, Any] | None) -> dict[str, Any]:
        """The worker's answer to a request, which it drops where this task is cancelled. Raises `ModelError`."""
        settings = {**settings, "eos_token_id": self._ends[0], "stop_token_ids": self._ends}
        request = {"prompt": prompt, "settings": settings, "schema": json.dumps(schema) if schema else None}
        worker = self._worker if not self._worker.ended else await asyncio.to_thread(self._again)
        return await asyncio.wrap_future(worker.ask(request))

    def stop(self) -> None:
        """End the process; requests in flight fail."""
        with self._lock:
            self._stopped = True
            self._worker.stop()

    def _again(self) -> _Worker:
        """The process; a new one where it ended."""
        with self._lock:
            if self._stopped:
                raise ModelError(f"{self._path.stem} was closed", "Make another model.", spend=Spend())
            if self._worker.ended:
                self._worker = _Worker(self._path, self._settings)
                try:
                    self._worker.wait()
                except ModelFileError as error:
                    raise ModelError(error.problem, error.remedy, spend=Spend()) from None
            return self._worker

    def _rendered(self, tokenizer: Any, messages: Sequence[Message]) -> str:
        turns = [{"role": turn["role"], "content": encodable(turn["content"])} for turn in messages]
        try:
            return str(
                tokenizer.apply_chat_template(
                    turns, add_generation_prompt=True, extra_context={"enable_thinking": False}
                )
            )
        except RuntimeError as error:
            raise ModelError(
                f"The chat template of {self._path.stem} refuses the messages: {openvino_worker.said(error)}",
                "Ask otherwise, or use another model.",
                spend=Spend(),
            ) from None

    def _ids(self, text: str) -> list[int]:
        """Token ids of a text; of one that is longer than the window, some or all of about as many."""
        ids = self._encoded(text)
        if len(ids) < _WINDOW:
            return ids
        pieces = [self._encoded(text[at : at + _PIECE]) for at in range(0, len(text), _PIECE)]
        return max(ids, list(itertools.chain.from_iterable(pieces)), key=len)

    def _encoded(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).input_ids.data[0].tolist()
        return ids


class _Worker:
    """The process that runs a model, and its requests in flight; `wait` comes first.

    Safe for use from several threads.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self._path = path
        self._owner = os.getpid()
        self._closed = False
        self._broken = ""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - for as long as this object lives
        self._process = subprocess.Popen(
            [sys.executable, "-P", openvino_worker.__file__, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            encoding="utf-8",
            start_new_session=True,  # an interrupt is for this process to deal with
        )
        self._lock = threading.Lock()
        self._ended = False
        self._asked: dict[int, Future[dict[str, Any]]] = {}
        self._numbers = itertools.count()
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def wait(self) -> None:
        """Until it has loaded the model; `ModelFileError` where it cannot."""
        try:
            ready = "ready" in self._next()
        except BaseException:
            self.stop()
            raise
        if not ready:
            self._ended = True
            self.stop()
            raise _unloadable(self._path, self._how())
        for work in (self._send, self._receive):
            threading.Thread(target=work, name="openvino", daemon=True).start()

    @property
    def ended(self) -> bool:
        """Whether it takes no more requests; it takes none from a fork of the process that started it."""
        return self._ended or os.getpid() != self._owner

    def ask(self, request: dict[str, Any]) -> Future[dict[str, Any]]:
        """Send a request; cancelling its future takes it back."""
        done: Future[dict[str, Any]] = Future()
        number = next(self._numbers)
        with self._lock:
            if self._ended:
                raise self._failure()
            self._asked[number] = done
        self._lines.put(json.dumps({"number": number, **request}))
        done.add_done_callback(lambda done: self._forget(number) if done.cancelled() else None)
        return done

    def stop(self) -> None:
        """End it; requests in flight fail."""
        if os.getpid() == self._owner:
            self._closed = True
            self._process.kill()
            self._process.wait()

    def _forget(self, number: int) -> None:
        with self._lock:
            self._asked.pop(number, None)
        self._lines.put(json.dumps({"forget": number}))

    def _send(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError), self._process.stdin as requests:  # where it ended, `_receive` tells
            while line := self._lines.get():
                requests.write(f"{line}\n")
                requests.flush()

    def _receive(self) -> None:
        while answer := self._next():
            with self._lock:
                done = self._asked.pop(answer["number"], None)
            if done and done.set_running_or_notify_cancel():
                done.set_result(answer)
        self._process.wait()
        with self._lock:
            self._ended = True
            left = [*self._asked.values()]
            self._asked.clear()
        self._lines.put("")
        for done in left:
            if done.set_running_or_notify_cancel():
                done.set_exception(self._failure())

    def _next(self) -> dict[str, Any]:
        """The next answer; none where it ended, or said that it does."""
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline() or "{}")
        self._broken = answer.pop("broken", "")
        return answer

    def _failure(self) -> ModelError:
        if self._closed:
            return ModelError(f"{self._path.stem} was closed", "Make another model.")
        return ModelError(f"OpenVINO failed: {self._how()}", "The call may be repeated.", retryable=True)

    def _how(self) -> str:
        """Reason for its end."""
        if self._broken:
            return self._broken
        self._log.seek(0)
        last = self._log.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
        return f"its process ended with {self._process.returncode}{f': {last[-300:]}' if last else ''}"


def _unloadable(path: Path, why: str) -> ModelFileError:
    return ModelFileError(f"OpenVINO cannot load {path}: {why}", "Give another GGUF file, or use embedded:PATH.")


# An engine must end before the interpreter takes its modules apart.
atexit.register(OpenVinoLLM._engines.clear)
