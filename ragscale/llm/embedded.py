"""llama.cpp in this process: a server on a loopback port, spoken to like any other endpoint."""

from __future__ import annotations

import atexit
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragscale.errors import MissingDependency, ModelFileError
from ragscale.llm.openai import OpenAILLM

__all__ = ["EmbeddedLLM"]

_SLOTS = 4
_WINDOW = 8192


class EmbeddedLLM(OpenAILLM):
    """A GGUF model that runs on this machine's CPU, without a server of its own to look after.

    Objects of the same file and settings share one server; the last to be closed stops it.

    Args:
        path: The GGUF file.
        context_window: Most tokens of prompt and completion of one request.
        slots: Requests that are decoded together; more wait.
        threads: CPU threads; None for all that this process may use.
        timeout: Seconds that one attempt may take, waiting for a slot included.

    Raises:
        MissingDependency: The extra ``embedded`` is not installed.
        ModelFileError: `path` is absent, not a GGUF file, or cannot be loaded.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        context_window: int = _WINDOW,
        slots: int = _SLOTS,
        threads: int | None = None,
        timeout: float = 1800.0,
    ) -> None:
        self.path = Path(path).expanduser().absolute()
        _check_file(self.path)
        self._key = (str(self.path), context_window, slots, threads or len(os.sched_getaffinity(0)))
        url = _acquire(self._key)
        self._open = True
        super().__init__(f"{url}/v1", model=self.path.stem, timeout=timeout)

    def __repr__(self) -> str:
        return f"EmbeddedLLM({self.path.name!r})"

    async def aclose(self) -> None:
        """Release the connections, and the server with its last user. Idempotent."""
        await super().aclose()
        if self._open:
            self._open = False
            _release(self._key)


_Key = tuple[str, int, int, int]


@dataclass
class _Running:
    server: Any
    users: int


_running: dict[_Key, _Running] = {}
_lock = threading.Lock()


def _check_file(path: Path) -> None:
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ModelFileError(f"Cannot read {path}: {error.strerror}", "Give the path of a GGUF file.") from None
    if magic != b"GGUF":
        raise ModelFileError(f"{path} is not a GGUF file", "Give the path of a GGUF file.")


def _acquire(key: _Key) -> str:
    with _lock:
        running = _running.get(key)
        if running is None:
            running = _running[key] = _Running(_start(key), 0)
        running.users += 1
        return str(running.server.listening_address)


def _release(key: _Key) -> None:
    with _lock:
        running = _running.get(key)
        if running is None:
            return
        running.users -= 1
        if running.users == 0:
            del _running[key]


@atexit.register
def _stop_all() -> None:
    # The server's threads must end before the interpreter takes its modules apart.
    with _lock:
        _running.clear()


def _start(key: _Key) -> Any:
    path, window, slots, threads = key
    # Read when the library loads. Its threads otherwise spin while they wait and, on busy cores, starve each other.
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import xllamacpp
    except ImportError:
        raise MissingDependency(
            "The embedded model needs xllamacpp", "Install it with: pip install 'ragscale[embedded]'"
        ) from None
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.model_alias = {Path(path).stem}
    params.port = 0
    params.n_parallel = slots
    params.kv_unified = True
    params.n_ctx = window * slots
    params.kv_unified_per_slot = window
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.verbosity = 0
    params.ui = False
    params.fit_params = False
    try:
        return xllamacpp.Server(params)
    except (RuntimeError, ValueError) as error:
        raise ModelFileError(f"llama.cpp cannot load {path}: {error}", "Give another GGUF file.") from None
