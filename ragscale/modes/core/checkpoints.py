"""Checkpoints of runs: in an SQLite file of plain values, or in a saver of the user's; one call at a time has a run."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, cast
from weakref import WeakKeyDictionary

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Send
from tenacity import AsyncRetrying

from ragscale.errors import InvalidInput, RagscaleError
from ragscale.llm.store import while_locked
from ragscale.modes.core.line import SaverError
from ragscale.text import encodable

__all__ = ["Checkpoints", "PlainSerializer"]

_FOREIGN = "A file with such a value was not written by ragscale: do not resume from it."
_SEND = 1  # the code by which LangGraph packs a constructor and its arguments; a `Send` is one
_ERROR = "__error__"  # LangGraph's channel of failures
_METHODS = ("aget_tuple", "aput", "aput_writes")


class PlainSerializer(JsonPlusSerializer):
    """LangGraph's serialiser held to plain values and `Send`: nothing that a file names is imported or called.

    What could not be read again is not written either.
    """

    def __init__(self) -> None:
        super().__init__(allowed_msgpack_modules=None)

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Pack a value. Raises `RagscaleError` where it is not plain."""
        try:
            packed = super().dumps_typed(repr(obj) if isinstance(obj, BaseException) else obj)
            self.loads_typed(packed)
        except (RagscaleError, TypeError, ValueError) as error:
            problem = error.problem if isinstance(error, RagscaleError) else str(error)
            raise RagscaleError(
                f"a state that no checkpoint can keep: {problem}",
                "A mode's state holds text, numbers, lists and dictionaries, and nothing else.",
            ) from error
        return packed

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Unpack a value. Raises `RagscaleError` where it is anything but plain values in msgpack."""
        kind, packed = data
        if kind not in ("null", "msgpack"):
            raise RagscaleError(f"the format {str(kind)[:40]!r} instead of msgpack", _FOREIGN)
        refused: list[str] = []  # ormsgpack drops what its hook raises
        try:
            value = _unpacking(lambda code, inner: _send(code, inner, refused)).loads_typed((kind, packed))
        except (TypeError, ValueError) as error:
            raise RagscaleError(refused[0] if refused else f"no msgpack: {error}", _FOREIGN) from error
        if isinstance(value, dict) and "channel_versions" in value:
            _check_versions(value)
        return value


def _unpacking(hook: Callable[[int, bytes], Any]) -> JsonPlusSerializer:
    return JsonPlusSerializer(allowed_msgpack_modules=None, __unpack_ext_hook__=hook)


def _send(code: int, packed: bytes, refused: list[str]) -> Send:
    """A value that msgpack marks as an object: a `Send` of plain values, or refused by name."""
    name, arguments = "", []
    with suppress(TypeError, ValueError):
        module, name, arguments = _unpacking(_nothing).loads_typed(("msgpack", packed))[:3]
        name = f"{module}.{name}"
    if (code, name) != (_SEND, "langgraph.types.Send"):
        refused.append(f"an object, {name[:100]!r}" if name else f"an object of kind {code}")
        raise ValueError
    node, state = arguments
    return Send(str(node), state)


def _nothing(code: int, packed: bytes) -> Any:
    raise ValueError


def _check_versions(checkpoint: dict[str, Any]) -> None:
    """LangGraph compares versions as it goes on, at places where nobody could tell what is wrong with them."""
    try:
        if not checkpoint["channel_versions"]:
            raise ValueError("there are none")
        for versions in (checkpoint["channel_versions"], *checkpoint["versions_seen"].values()):
            for version in versions.values():
                int(version.split(".")[0])
        set(checkpoint.get("updated_channels") or ())
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RagscaleError(f"no versions ({error})", _FOREIGN) from error


class _WholeWrites(AsyncSqliteSaver):
    """LangGraph's saver, which ends what it has begun to write, also where the call is cancelled.

    Cut off between a statement and its commit, its transaction would lock the file for every other call.
    """

    def __init__(self, conn: Any, **options: Any) -> None:
        super().__init__(conn, **options)
        self._writing: set[asyncio.Task[Any]] = set()

    async def setup(self) -> None:
        """As LangGraph's, but for a file that another call, or the remains of a killed one, holds for a moment."""
        await AsyncRetrying(**while_locked())(super().setup)

    async def aput(self, *arguments: Any, **options: Any) -> RunnableConfig:
        """As LangGraph's."""
        config: RunnableConfig = await self._whole(super().aput(*arguments, **options))
        return config

    async def aput_writes(self, *arguments: Any, **options: Any) -> None:
        """As LangGraph's."""
        await self._whole(super().aput_writes(*arguments, **options))

    async def drain(self) -> None:
        """Wait until nothing is being written any more."""
        await asyncio.gather(*self._writing, return_exceptions=True)

    async def _whole(self, write: Coroutine[Any, Any, Any]) -> Any:
        task = asyncio.create_task(write)
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return await asyncio.shield(task)


class _WholeTasks(BaseCheckpointSaver[Any]):
    """Reads of a task that was cut off, as by a cancellation, that it failed, and none of its writes; and raises what
    the saver fails at as `SaverError`.

    LangGraph keeps those which it had made by then, and takes it for done when the run goes on: a node that was cut off
    before its conditional edge would be the last one, and the run at its end without an answer.
    """

    async def aput(self, *arguments: Any, **options: Any) -> RunnableConfig:
        """As of the saver that this is made of."""
        with _failing(Exception):
            return await super().aput(*arguments, **options)

    async def aput_writes(self, *arguments: Any, **options: Any) -> None:
        """As of the saver that this is made of."""
        with _failing(Exception):
            await super().aput_writes(*arguments, **options)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """As of the saver that this is made of."""
        with _failing(OSError, sqlite3.Error):  # others may come of what it holds
            saved = await super().aget_tuple(config)
        if saved is None or not saved.pending_writes:
            return saved
        failed = {task for task, channel, _ in saved.pending_writes if channel == _ERROR}
        kept = [write for write in saved.pending_writes if write[0] not in failed or write[1] == _ERROR]
        return saved._replace(pending_writes=kept)


@contextmanager
def _failing(*kinds: type[Exception]) -> Iterator[None]:
    try:
        yield
    except RagscaleError:  # of the serialiser
        raise
    except kinds as error:
        raise SaverError(f"{type(error).__name__}: {error}") from error


def _whole_tasks(saver: BaseCheckpointSaver[Any]) -> BaseCheckpointSaver[Any]:
    """A saver with the same attributes and methods, which reads as `_WholeTasks`."""
    kind: type[BaseCheckpointSaver[Any]] = type(type(saver).__name__, (_WholeTasks, type(saver)), {})
    made = kind.__new__(kind)
    made.__dict__ = saver.__dict__  # shared, not copied: whatever a saver of the user's counts, it goes on counting
    return made


class Checkpoints:
    """Store of an agent's runs.

    Args:
        given: An SQLite file, made where there is none; or a LangGraph checkpoint saver with asynchronous methods,
            whose serialiser is its owner's choice.

    Raises:
        InvalidInput: It is neither, or a place that keeps nothing.
    """

    def __init__(self, given: str | Path | BaseCheckpointSaver[Any]) -> None:
        if isinstance(given, BaseCheckpointSaver):
            _refuse_blocking(given)
        elif not isinstance(given, str | Path) or str(given) in ("", ":memory:") or "\0" in str(given):
            raise InvalidInput(f"checkpoints={given!r} keeps no runs", "Give the path of an SQLite file.")
        self._saver = given if isinstance(given, BaseCheckpointSaver) else None
        self._path = "" if self._saver else os.path.realpath(cast(str, given))

    @asynccontextmanager
    async def of_run(self, thread_id: str) -> AsyncIterator[BaseCheckpointSaver[Any]]:
        """The saver, for one run that no other call has meanwhile.

        Another process that has it is noticed where the runs are in a file; where a saver was given, only other calls
        of this process are.

        Raises:
            InvalidInput: `thread_id` is no name; or the saver that was given belongs to another event loop.
            RagscaleError: Another call has the run; or the saver failed, or the file cannot be opened, read or written.
        """
        if not isinstance(thread_id, str) or not thread_id.strip() or encodable(thread_id) != thread_id:
            raise InvalidInput(
                f"thread_id={thread_id!r} names no run",
                "Give a text that is not blank and without halves of surrogates.",
            )
        if self._saver is not None:
            _check_loop(self._saver)
            try:
                async with _alone(id(self._saver), thread_id):
                    yield _whole_tasks(self._saver)
            except SaverError as error:
                raise RagscaleError(
                    f"thread_id={thread_id!r}: checkpoints={type(self._saver).__name__}(...) failed ({error})",
                    "The run is kept as far as it was written: the same call goes on from there.",
                ) from error.__cause__
            return
        async with _alone(self._path, thread_id):
            with _alone_on_disk(self._path, thread_id):
                try:
                    async with _WholeWrites.from_conn_string(self._path) as saver:
                        assert isinstance(saver, _WholeWrites)
                        saver.serde = PlainSerializer()
                        try:
                            yield _whole_tasks(saver)
                        finally:
                            await saver.drain()
                except (sqlite3.Error, SaverError) as error:
                    raise _unusable(self._path, error) from error


_loops: WeakKeyDictionary[BaseCheckpointSaver[Any], asyncio.AbstractEventLoop] = WeakKeyDictionary()
"""The event loop in which a saver was used first; for those that hold locks and connections of one."""


def _check_loop(saver: BaseCheckpointSaver[Any]) -> None:
    running = asyncio.get_running_loop()
    if hasattr(saver, "loop") and _loops.setdefault(saver, running) is not running:
        raise InvalidInput(
            f"checkpoints={type(saver).__name__}(...) belongs to the event loop in which it was used first, and this "
            "is another",
            "Use aask, astream and abatch there; ask, stream and batch have a loop of their own. Or give the path of "
            "an SQLite file, which works in all.",
        )


def _refuse_blocking(saver: BaseCheckpointSaver[Any]) -> None:
    from langgraph.checkpoint.sqlite import SqliteSaver  # its asynchronous methods only say that there are none

    for name in _METHODS:
        if getattr(type(saver), name) in (getattr(BaseCheckpointSaver, name), getattr(SqliteSaver, name)):
            raise InvalidInput(
                f"checkpoints={type(saver).__name__}(...) has no asynchronous methods, which every run needs",
                "Give the path of an SQLite file, or the saver's asynchronous kind (AsyncSqliteSaver, "
                "AsyncPostgresSaver).",
            )


_running: dict[tuple[str | int, str], asyncio.Task[Any]] = {}
"""Calls of this process that have a run, by the place where it is kept."""
_ENDING = 10.0  # seconds that a call which is cancelled may take to let go
_PAUSE = 0.005
_lock = threading.Lock()


def _forget() -> None:
    """A forked child has none of its parent's calls."""
    global _lock
    _lock = threading.Lock()
    _running.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget)


@asynccontextmanager
async def _alone(place: str | int, thread_id: str) -> AsyncIterator[None]:
    """The run for this call alone. A call that has it and is ending is waited for: one that was cancelled, or a stream
    that this very task left, which Python closes a moment later."""
    own = asyncio.current_task()
    assert own is not None
    until = time.monotonic() + _ENDING
    while (other := _take(place, thread_id, own)) is not None:
        if not (other is own or other.cancelling()) or time.monotonic() > until:
            raise _busy(thread_id)
        await asyncio.sleep(_PAUSE)
    try:
        yield
    finally:
        with _lock:
            del _running[place, thread_id]


def _take(place: str | int, thread_id: str, own: asyncio.Task[Any]) -> asyncio.Task[Any] | None:
    """The call that has a run; None where it is `own` from now on."""
    with _lock:
        other = _running.get((place, thread_id))
        if other is None:
            _running[place, thread_id] = own
        return other


@contextmanager
def _alone_on_disk(path: str, thread_id: str) -> Iterator[None]:
    """A lock file beside the checkpoints while the run goes on; the system drops the lock with its process."""
    from filelock import FileLock, Timeout

    name = hashlib.sha256(thread_id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    lock = f"{path}.{name}.lock"
    try:
        os.stat(os.path.dirname(path))  # filelock would make the folder
        held = FileLock(lock, thread_local=False).acquire(timeout=0)
    except Timeout as error:
        try:
            open(lock, "ab").close()  # filelock says the same of a folder that takes no file
        except OSError as refused:
            raise _unusable(path, refused) from refused
        raise _busy(thread_id) from error
    except OSError as error:
        raise _unusable(path, error) from error
    with held:
        try:
            yield
        finally:
            with suppress(OSError):  # Windows removes no open file
                os.unlink(lock)


def _busy(thread_id: str) -> RagscaleError:
    return RagscaleError(
        f"thread_id={thread_id!r}: another call is running it",
        "Wait until that has ended: the same call then returns its answer. Or use another id.",
    )


def _unusable(path: str, error: Exception) -> RagscaleError:
    return RagscaleError(
        f"checkpoints {path!r}: {error}",
        "Give a file of earlier checkpoints, or a new one in a folder that can be written.",
    )
