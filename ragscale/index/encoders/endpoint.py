"""Embeddings of an endpoint that speaks the OpenAI dialect (``/v1/embeddings``): vLLM, llama.cpp, hosted services.

An endpoint does not prove which weights it serves. So the index records the first numbers of the vector of a fixed
text; before the first search, and before passages are added, the text is embedded again, and a vector that points
elsewhere is refused.
"""

from __future__ import annotations

import asyncio
import re
import threading
import weakref
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ragscale.endpoint.replies import Entry, ModelList, read
from ragscale.endpoint.retry import attempts
from ragscale.endpoint.transport import RefusedError, Transport
from ragscale.errors import EndpointError, IndexMismatch, ModelError
from ragscale.index.encoders.loading import PREFIX, units
from ragscale.index.storage.manifest import EmbedderInfo
from ragscale.words import counted

__all__ = ["Endpoint"]

_PROBE = "The quick brown fox jumps over the lazy dog."
_NUMBERS = 32
_IN_FLIGHT = 8
_ATTEMPTS = 6
_LARGEST = 8 * 2**20  # bytes of an answer: what is read in a fraction of a second, as nothing else runs meanwhile
_MOST_NUMBERS = 2**18  # that are asked for at once, at up to 32 bytes each
_TOO_LONG = re.compile(r"length|too (?:long|large|many)|context|exceed|maximum", re.IGNORECASE)

T = TypeVar("T")


class Endpoint:
    """Embeds texts by requests of one batch each, some in flight at a time, each retried a few times.

    Works from any one thread, also beside a running event loop: it has a loop of its own.

    Args:
        name: ``"endpoint:URL#MODEL"``, as in ``"endpoint:http://localhost:8000/v1#BAAI/bge-m3"``; without ``#MODEL``
            the only model that the endpoint lists. The key is read from the environment variable `OPENAI_API_KEY`.
        timeout: Seconds that one request may take.

    Raises:
        InvalidInput: No URL.
    """

    lanes = _IN_FLIGHT
    """Batches at once."""

    def __init__(self, name: str, *, timeout: float = 180.0) -> None:
        url, _, model = name.removeprefix(PREFIX).partition("#")
        self._transport = Transport(url, timeout=timeout)
        self._model = model or None
        self._dimension: int | None = None  # until it was probed
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._loop.run_forever, name="ragscale-embeddings", daemon=True)
        thread.start()
        self._finalizer = weakref.finalize(self, _stop, self._loop, thread)

    def info(self, query_prompt: str, document_prompt: str) -> EmbedderInfo:
        """Description of the embedder for the manifest; asks the endpoint for its model and the vector of a fixed text.

        Raises:
            EndpointError: It cannot be reached, refuses the key, or serves no such model.
            ModelError: The vector is zero or not finite.
        """
        entry = self._wait(self._entry())
        model = self._model = entry.id or ""
        dimension, probe = self._probe()
        return EmbedderInfo(
            name=f"{PREFIX}{self._transport.shown}#{model}",
            revision=entry.root or model,
            dtype="served",
            dimension=dimension,
            max_tokens=entry.max_model_len or 0,
            query_prompt=query_prompt,
            document_prompt=document_prompt,
            probe=probe,
        )

    def check(self, info: EmbedderInfo) -> None:
        """Compare with what an index was built with.

        Raises:
            IndexMismatch: The vectors have another dimension or another direction.
        """
        if self._model is None:
            self._model = self._wait(self._entry()).id
        dimension, probe = self._probe()
        if not info.same_as(replace(info, dimension=dimension, probe=probe)):
            raise IndexMismatch(
                f"{self._transport.shown} embeds with {self._model} otherwise than {info.name} did when the index was "
                f"built: a fixed text has another vector (of {dimension} numbers, then {info.dimension})",
                "Serve the model that the index was built with, or build the index again with this one.",
            )

    def encode(self, texts: Sequence[str], *, prompt: str, query: bool, batch_size: int) -> NDArray[np.float32]:
        """Vectors as they come, shape (len(texts), dimension).

        A text that is too long for the model is cut in half until it is taken.

        Raises:
            EndpointError: The endpoint cannot be reached, refuses the key, or failed six times, then with a fixed text.
            ModelError: A request was refused, or failed six times, but not with a fixed text: it may be these.
        """
        try:
            return self._wait(self._all([prompt + text for text in texts], batch_size))
        except ModelError as error:
            if error.retryable and self._fails():
                raise EndpointError(error.problem, error.remedy) from error
            raise

    def close(self) -> None:
        """Stop the loop. Idempotent."""
        self._finalizer()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _fails(self) -> bool:
        """Whether a fixed text fails as well, so that it is not the texts."""
        try:
            self._wait(self._request([_PROBE]))
        except ModelError:
            return True
        return False

    def _probe(self) -> tuple[int, str]:
        """Dimension, and the first numbers of the unit vector of a fixed text."""
        vector = self.encode([_PROBE], prompt="", query=False, batch_size=1)[0]
        unit = units([vector], [_PROBE])[0]
        self._dimension = len(vector)
        return len(vector), ",".join(f"{value:.4f}" for value in unit[:_NUMBERS])

    async def _entry(self) -> Entry:
        """Entry of the model in the endpoint's list."""
        try:
            answer = await self._transport.get("models")
        except ModelError:
            if self._model is None:
                raise
            return Entry(id=self._model)  # some servers list nothing, whatever they say then
        entries = read(ModelList, {"data": answer} if isinstance(answer, list) else answer).entries
        if self._model is not None:
            return next((entry for entry in entries if entry.id == self._model), Entry(id=self._model))
        if len(entries) != 1:
            raise EndpointError(
                f"{self._transport.shown} lists {len(entries)} models, one must be named",
                f"Write {PREFIX}{self._transport.shown}#MODEL.",
            )
        return entries[0]

    async def _all(self, texts: Sequence[str], batch_size: int) -> NDArray[np.float32]:
        room = asyncio.Semaphore(_IN_FLIGHT)
        batch_size = max(1, min(batch_size, _MOST_NUMBERS // (self._dimension or 1)))

        async def one(start: int) -> list[NDArray[np.float32]]:
            async with room:
                return await self._batch(texts[start : start + batch_size])

        tasks = [asyncio.ensure_future(one(start)) for start in range(0, len(texts), batch_size)]
        try:
            parts = await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            raise
        return np.stack([vector for part in parts for vector in part])

    async def _batch(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        try:
            async for attempt in attempts(_ATTEMPTS):
                with attempt:
                    return await self._request(texts)
        except RefusedError as error:
            if not _TOO_LONG.search(error.problem):
                raise
            if len(texts) == 1 and len(texts[0]) < 2:
                raise RefusedError(
                    f"{error.problem}, even the text {texts[0]!r}",
                    "A text refused as too long is cut in half until it is taken; this endpoint takes none: "
                    "check its limits and its log.",
                    spend=error.spend,
                ) from error
        if len(texts) == 1:
            return await self._batch([texts[0][: len(texts[0]) // 2]])
        half = len(texts) // 2
        return [*await self._batch(texts[:half]), *await self._batch(texts[half:])]

    async def _request(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        body = {"model": self._model, "input": list(texts), "encoding_format": "float"}
        answer = await self._transport.post("embeddings", body, largest=_LARGEST)
        try:
            rows = sorted(answer["data"], key=lambda row: row["index"])
            with np.errstate(over="ignore"):  # 1e39 becomes inf, and is named below
                vectors = [np.array(row["embedding"], dtype=np.float32) for row in rows]
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise self._transport.broken("embeddings in an unknown form") from error
        fault = _fault([row["index"] for row in rows], vectors, len(texts), self._dimension)
        if fault:
            raise self._transport.broken(fault)
        return vectors


def _fault(
    indices: Sequence[Any], vectors: Sequence[NDArray[np.float32]], texts: int, dimension: int | None
) -> str | None:
    """Fault of the embeddings of some texts; the first one gives the dimension where it is not known."""
    if len(vectors) != texts:
        return f"{counted(len(vectors), 'embedding')} for {counted(texts, 'text')}"
    if list(indices) != list(range(texts)):
        shown = ", ".join(str(index)[:20] for index in indices[:5]) + (", ..." if texts > 5 else "")
        return f"embeddings of the indices {shown} for {counted(texts, 'text')}"
    for i, vector in enumerate(vectors):
        if vector.ndim != 1:
            return f"no plain list of numbers in embedding {i}"
        if not len(vector):
            return f"an empty list in embedding {i}"
        dimension = dimension or len(vector)
        if len(vector) != dimension:
            return f"{counted(len(vector), 'number')} in embedding {i}, not {dimension}"
        if not np.isfinite(vector).all():
            return f"{'NaN' if np.isnan(vector).any() else 'a number beyond float32'} in embedding {i}"
    return None


def _stop(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    loop.call_soon_threadsafe(loop.stop)
    if thread is not threading.current_thread():
        thread.join(5)
