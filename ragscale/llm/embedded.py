"""llama.cpp in this process: a server on a loopback port, spoken to like any other endpoint."""

from __future__ import annotations

import atexit
import os
import platform
import warnings
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ragscale.errors import InvalidInput, MissingDependency, ModelFileError
from ragscale.extras import pip_install
from ragscale.llm.notices import ModelWarning
from ragscale.llm.semaphore import WeightedSemaphore
from ragscale.llm.shared import Servers, Sharing
from ragscale.llm.special import of_gguf
from ragscale.weights import threads
from ragscale.weights.gguf import gguf_file

__all__ = ["EmbeddedLLM"]

_WINDOW = 8192
_SLOTS = 8  # of the server: the most samples of one call
_SHARE = 4  # windows that fit into the memory which the slots share
_SPARE = 1024  # tokens of that memory kept free for calls that are not announced: probes, rounding
_CACHE_MIB = 2048  # of prompts that lost their slot


class EmbeddedLLM(Sharing):
    """A GGUF model that runs on this machine's CPU, without a server of its own to look after.

    Objects of the same file and settings share one server; the last to be closed stops it.

    Args:
        path: The GGUF file.
        context_window: Most tokens of prompt and completion of one request.
        slots: Samples that are decoded together, and the most that one call may ask for; more calls wait.
        cpus: CPU threads; None for all that this process may use.
        timeout: Seconds that one attempt may take, waiting for a slot included.

    Raises:
        MissingDependency: The extra ``embedded`` is not installed.
        InvalidInput: A number is below 1.
        ModelFileError: `path` is absent, not a GGUF file, or cannot be loaded.
    """

    runtime = "llama.cpp"
    """Program that computes the model."""

    _servers: ClassVar[Servers[_Key, _Running]] = Servers()

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        context_window: int = _WINDOW,
        slots: int = _SLOTS,
        cpus: int | None = None,
        timeout: float = 1800.0,
    ) -> None:
        for setting, value in (("context_window", context_window), ("slots", slots), ("cpus", cpus)):
            if value is not None and value < 1:
                raise InvalidInput(f"{setting}={value} must be 1 or more", "Leave it out for the default.")
        self.path = gguf_file(path)
        self._key = (str(self.path), context_window, slots, cpus or _cores())
        running = self._servers.acquire(self._key, _start)
        self._open = True
        self._semaphore = running.semaphore
        self.endpoint = f"{running.server.listening_address}/v1"
        """The server's own address; other clients on this machine may use it too."""
        super().__init__(self.endpoint, model=self.path.stem, api_key_env=None, timeout=timeout)
        try:
            self._special = of_gguf(self.path)
        except ModelFileError:
            self._special = frozenset()

    def __repr__(self) -> str:
        return f"EmbeddedLLM({self.path.name!r})"

    @property
    def special_tokens(self) -> frozenset[str]:
        """Texts that the model's tokenizer reads as one token wherever they stand, from the file's metadata.

        Empty where it cannot be read, which llama.cpp may still be able to: prompts then rely on the shapes that such
        tokens have (`ragscale.prompts.clean`).
        """
        return self._special

    def _admit(self, prompt_tokens: int, max_tokens: int, n: int) -> AbstractAsyncContextManager[None]:
        # The server fails every request in its memory when that overflows.
        window = self.context_window
        return self._semaphore.admit(min(prompt_tokens + max_tokens, window) + (n - 1) * min(max_tokens, window))


# The server's threads must end before the interpreter takes its modules apart.
atexit.register(EmbeddedLLM._servers.clear)

_Key = tuple[str, int, int, int]


@dataclass
class _Running:
    server: Any
    semaphore: WeightedSemaphore


def _cores() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory(key: _Key) -> int:
    _, window, slots, _ = key
    return window * min(slots, _SHARE) + _SPARE


def _start(key: _Key) -> _Running:
    path, window, slots, cpus = key
    if not threads.in_time:
        warnings.warn(
            "PyTorch was imported before ragscale, so its threads spin while they wait: the embedded model may be slow "
            "on a busy machine. Import ragscale first, or set OMP_WAIT_POLICY=passive and GOMP_SPINCOUNT=0.",
            ModelWarning,
            stacklevel=4,  # whoever made the model
        )
    try:
        import xllamacpp
    except ImportError:
        raise MissingDependency(
            "The embedded model needs xllamacpp", f"Install it: {pip_install('embedded')}."
        ) from None
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.model_alias = {Path(path).stem}
    params.port = 0
    params.n_parallel = slots
    params.kv_unified = True
    params.n_ctx = _memory(key)
    params.kv_unified_per_slot = window
    params.cache_ram_mib = _CACHE_MIB
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = cpus
    # On x86, weights as they are in the file prefill a fifth faster than repacked ones, decode a single request as
    # fast, and are mapped from the file instead of copied.
    params.no_extra_bufts = platform.machine() in ("x86_64", "AMD64")
    params.warmup = False  # the first call does it
    params.verbosity = 0  # errors only
    params.ui = False
    params.fit_params = False
    try:
        server = xllamacpp.Server(params)
    except (RuntimeError, ValueError) as error:
        raise ModelFileError(f"llama.cpp cannot load {path}: {error}", "Give another GGUF file.") from None
    return _Running(server, WeightedSemaphore(_memory(key) - _SPARE))
