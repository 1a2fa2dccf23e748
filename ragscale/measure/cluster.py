"""A sweep on Ray: workers ask the questions, one actor keeps the calls, and the sweep's own process writes the rows.

SQLite's files can be shared by the processes of one machine and no further, so the file of the calls is opened by an
actor on the node of the sweep's process, and workers read and write it through that actor. A reply is there before the
row that rests on it is sent, as in one process.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from ragscale import background
from ragscale.agent import Agent
from ragscale.errors import CallStoreError, InvalidInput, RagscaleError
from ragscale.index.write.ray import connected
from ragscale.llm.store import CallFile, StoredLLM, UnderWay
from ragscale.measure.attempt import attempt
from ragscale.measure.cell import Cell
from ragscale.measure.questions import Question
from ragscale.measure.store import Row

__all__ = ["workers"]

_CPUS = 4
"""CPUs of a worker, or those of the smallest node."""
_TRIES = 3
"""Times that a question is asked again when its worker died."""
_KEPT = ("only", "facts", "tell", "reply", "keep", "count", "keep_count")
T = TypeVar("T")


@contextlib.contextmanager
def workers(agent: Agent, calls: Path, settings: str, concurrency: int) -> Iterator[Sequence[_There]]:
    """Askers on a cluster, as many as it has room for.

    Args:
        agent: Opened anew by each worker, by what it was made of.
        calls: File of the calls.
        settings: Mark of the run's settings.
        concurrency: Questions in flight in each worker.

    Raises:
        MissingDependency: Ray is not installed.
        RagscaleError: No cluster answers, or the agent cannot be given to another process.
    """
    with connected():
        ray: Any = importlib.import_module("ray")  # half of it is typed, and not as it is used
        client: Any = importlib.import_module("ray.util.client").ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        if client.is_connected():
            raise InvalidInput(
                "a cluster at a ray:// address", "Run it on a node of the cluster: RAY_ADDRESS=HOST:6379."
            )
        recorded = agent.llm if isinstance(agent.llm, StoredLLM) else None
        path = (recorded.path if recorded else calls).absolute()
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        keeper = (
            ray.remote(_Keeper)
            .options(num_cpus=0, scheduling_strategy=here, max_restarts=-1, max_task_retries=-1)
            .remote(str(path), new=recorded is None or recorded.model is not None)
        )
        _value(ray.get(keeper.ready.remote()))
        if recorded:
            agent = agent.with_model(recorded.model or StoredLLM(path, file=cast(CallFile, _File(path, keeper))))
        given = ray.put(ray.cloudpickle.dumps(agent))
        cpus = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
        each = min([_CPUS, *(number for number in cpus if number)])
        made = [
            ray.remote(_Worker)
            .options(
                num_cpus=each, max_concurrency=concurrency, scheduling_strategy="SPREAD", max_restarts=-1,
                max_task_retries=_TRIES,
            )
            .remote(given, str(path), keeper, settings, os.getcwd())
            for _ in range(max(1, sum(number // each for number in cpus)))
        ]  # fmt: skip
        try:
            yield [_There(worker) for worker in made]
        finally:
            for actor in (*made, keeper):  # a calling process that lives on would leave them
                ray.kill(actor)


class _There:
    """Asks in a worker."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker

    async def ready(self) -> None:
        await _awaited(self._worker.ready.remote())

    async def ask(self, cell: Cell, question: Question) -> tuple[Row, dict[str, Any] | None]:
        return cast(tuple[Row, dict[str, Any] | None], await _awaited(self._worker.ask.remote(cell, question)))


async def _awaited(reference: Any) -> Any:
    from ray.exceptions import RayError

    try:
        return _value(await reference)
    except RayError as error:
        gist = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise RagscaleError(
            f"Ray gave up: {gist[0][:500]}",
            "Look at Ray's own logs (/tmp/ray/session_latest/logs); the same command goes on with what is finished.",
        ) from error


def _outcome(work: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """A value or the error in its place: Ray would wrap an error into one of its own, with a page of text."""
    try:
        return work(), None
    except (RagscaleError, CallStoreError) as error:
        return None, error


def _value(outcome: tuple[Any, Exception | None]) -> Any:
    value, error = outcome
    if error is not None:
        raise error
    return value


class _Keeper:
    """An actor that has the file of the calls open."""

    def __init__(self, path: str, *, new: bool) -> None:
        self._path, self._new = Path(path), new
        self._file: CallFile | None = None

    def ready(self) -> Any:
        return _outcome(lambda: self._opened() and None)

    def do(self, name: str, *values: Any) -> Any:
        return _outcome(lambda: getattr(self._opened(), name)(*values))

    def _opened(self) -> CallFile:
        self._file = self._file or CallFile(self._path, new=self._new)
        return self._file


class _File:
    """A `CallFile` that an actor has open."""

    def __init__(self, path: Path, keeper: Any) -> None:
        self.path = path
        self._keeper = keeper

    def __reduce__(self) -> Any:
        return _File, (self.path, self._keeper)

    @property
    def under_way(self) -> UnderWay:
        """Calls of this worker; others never ask the same question."""
        self._under_way = getattr(self, "_under_way", None) or UnderWay(None)
        return self._under_way

    def __getattr__(self, name: str) -> Any:
        if name not in _KEPT:
            raise AttributeError(name)
        return lambda *values: self._do(name, *values)

    def _do(self, name: str, *values: Any) -> Any:
        import ray

        return _value(ray.get(self._keeper.do.remote(name, *values)))

    def close(self) -> None:
        pass


class _Worker:
    """An actor with an index and a model of its own; its methods run in threads."""

    def __init__(self, agent: bytes, calls: str, keeper: Any, settings: str, folder: str) -> None:
        with contextlib.suppress(OSError):  # paths of models and templates may be relative
            os.chdir(folder)
        self._given, self._path, self._keeper, self._settings = agent, Path(calls), keeper, settings
        self._lock = threading.Lock()
        self._agent: Agent | None = None

    def ready(self) -> Any:
        return _outcome(lambda: self._opened() and None)

    def ask(self, cell: Cell, question: Question) -> Any:
        return _outcome(lambda: background.wait(attempt(self._opened(), cell, question, self._settings)))

    def _opened(self) -> Agent:
        with self._lock:
            if self._agent is None:
                agent: Agent = importlib.import_module("ray.cloudpickle").loads(self._given)
                if not isinstance(agent.llm, StoredLLM):
                    file = cast(CallFile, _File(self._path, self._keeper))
                    agent = agent.with_model(StoredLLM(self._path, agent.llm, file=file))
                self._agent = agent
            return self._agent
