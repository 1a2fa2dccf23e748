"""A program that runs a GGUF model by OpenVINO GenAI: ``python -P openvino_worker.py SETTINGS``.

Requests come as lines of JSON on standard input, answers go as lines of JSON to standard output. A step of the engine
holds Python's lock, for seconds where it reads a long prompt: an event loop in the same process would stand still. The
kernel closes standard input however the process at its other end dies, and this program ends with it. Run as a file,
with nothing but the standard library and OpenVINO; ``-P``, as this folder has an ``openvino.py``.
"""

from __future__ import annotations

import json
import os
import queue
import re
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

__all__ = ["MEMORY", "BatchingEngine", "main"]

MEMORY = 2
"""GiB of attention states: some 140,000 tokens of a model of 1.5 billion weights."""
_TOGETHER = 512  # tokens that one step reads, of all requests: a longer one would keep short answers waiting

_PLACE = re.compile(r"^.*\.(c|cc|cpp|h|hpp):\d+:?\s*")  # in its source

Line = dict[str, Any]


@dataclass(slots=True)
class Request:
    """A request, as it came."""

    number: int
    prompt: list[int]
    settings: dict[str, Any]
    schema: str | None
    alone: bool = False

    @property
    def sampled(self) -> bool:
        """Whether it takes from the engine's only source of chance."""
        return bool(self.settings["do_sample"])


class BatchingEngine:
    """Continuous batching: steps, each of all requests together.

    A schema is tried out before its first request, alone: one that the engine refuses would break every later step.
    Sampled requests go one after the other, so that a seed repeats them. Where one outgrows the memory, the engine
    drops all: then they run once more, one at a time, so that this one alone fails.

    Args:
        settings: ``path`` of the model, ``cpus`` or None.
        say: Sends an answer.
    """

    def __init__(self, settings: Line, say: Callable[[Line], None]) -> None:
        import numpy
        import openvino
        import openvino_genai

        self._genai, self._openvino, self._numpy = openvino_genai, openvino, numpy
        self._say = say
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.cache_size = MEMORY
        scheduler.max_num_batched_tokens = _TOGETHER
        scheduler.enable_prefix_caching = True
        threads = {"INFERENCE_NUM_THREADS": settings["cpus"]} if settings["cpus"] else {}
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(settings["path"], scheduler, "CPU", threads)
        self._waiting: list[Request] = []
        self._running: dict[int, tuple[Request, Any]] = {}
        self._refusals: dict[str | None, str] = {None: ""}

    @property
    def idle(self) -> bool:
        """Whether nothing is to be done."""
        return not self._waiting and not self._pipeline.has_non_finished_requests()

    def take(self, line: Line) -> None:
        """A request, or the number of one that nobody waits for any more."""
        if "forget" not in line:
            self._waiting.append(Request(**line))
            return
        self._waiting = [request for request in self._waiting if request.number != line["forget"]]
        if line["forget"] in self._running:
            self._running.pop(line["forget"])[1].cancel()  # the next step frees its memory

    def step(self) -> None:
        """One token more of each request, or some of its prompt."""
        self._admit()
        if self._pipeline.has_non_finished_requests():
            self._pipeline.step()
        for number, (request, handle) in list(self._running.items()):
            status = handle.get_status()
            if status == self._genai.GenerationStatus.RUNNING:
                continue
            del self._running[number]
            if status == self._genai.GenerationStatus.IGNORED and not request.alone:
                self._waiting.append(replace(request, alone=True))
            else:
                self._say({"number": number, **self._answer(handle)})

    def _admit(self) -> None:
        untried = [request for request in self._waiting if request.schema not in self._refusals]
        alone = [request for request in self._waiting if request.alone]
        running = [request for request, _ in self._running.values()]
        busy = self._pipeline.has_non_finished_requests()
        if busy and (untried or alone or any(request.alone for request in running)):
            return
        for request in untried:
            self._refusals[request.schema] = self._refusal(request)
        sampling = any(request.sampled for request in running)
        later = []
        for request in self._waiting:
            if refusal := self._refusals[request.schema]:
                self._say({"number": request.number, "tokens": 0, "refused": refusal})
            elif (request.sampled and sampling) or (alone and request is not alone[0]):
                later.append(request)
            else:
                sampling = sampling or request.sampled
                handle = self._pipeline.add_request(request.number, self._tensor(request.prompt), self._config(request))
                self._running[request.number] = request, handle
        self._waiting = later

    def _refusal(self, request: Request) -> str:
        """Words of the engine against a schema; none for one that it takes."""
        one = replace(request, settings={**request.settings, "max_new_tokens": 1, "num_return_sequences": 1})
        try:
            # Unlike a step, this leaves nothing behind where it fails.
            self._pipeline.generate([self._tensor(request.prompt[:1])], [self._config(one)])
        except RuntimeError as error:
            return said(error) or "no reason"
        return ""

    def _tensor(self, ids: list[int]) -> Any:
        return self._openvino.Tensor(self._numpy.array([ids], dtype=self._numpy.int64))

    def _config(self, request: Request) -> Any:
        config = self._genai.GenerationConfig()
        if request.schema is not None:
            config.structured_output_config = self._genai.StructuredOutputConfig(json_schema=request.schema)
        for name, value in request.settings.items():
            setattr(config, name, set(value) if isinstance(value, list) else value)
        return config

    def _answer(self, handle: Any) -> Line:
        outputs = handle.read_all()
        tokens = handle.get_perf_metrics().get_num_generated_tokens()
        if handle.get_status() != self._genai.GenerationStatus.FINISHED:
            return {"tokens": tokens, "overflow": True}
        # The first tokens of several samples are counted as one.
        tokens = max(tokens + len(outputs) - 1, sum(len(output.generated_ids) for output in outputs))
        return {"tokens": tokens, "samples": [self._sample(output) for output in outputs]}

    def _sample(self, output: Any) -> Line:
        cut = output.finish_reason == self._genai.GenerationFinishReason.LENGTH
        return {
            "ids": list(output.generated_ids),
            "logprobs": list(output.generated_log_probs),
            "end": "length" if cut else "stop",
        }


def said(error: Exception) -> str:
    """The words of an error of OpenVINO, without where in its source it was raised."""
    return _PLACE.sub("", " ".join(str(error).split()))[-300:]


def main(settings: Line) -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    lines: queue.SimpleQueue[Line] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()

    def say(answer: Line) -> None:
        answers.write(f"{json.dumps(answer)}\n")

    try:
        engine = BatchingEngine(settings, say)
        say({"ready": True})
        while True:
            while engine.idle or not lines.empty():
                engine.take(lines.get())
            engine.step()
    except Exception as error:
        say({"broken": said(error)})
        os._exit(1)  # the engine's state is unknown


def _listen(lines: queue.SimpleQueue[Line]) -> None:
    for line in sys.stdin:
        lines.put(json.loads(line))
    os._exit(0)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    sys.path.append(given["packages"])
    cast("dict[str, Any]", sys.modules)["openvino_telemetry"] = None  # an import of it fails: see weights/telemetry.py
    main(given)
