"""The call store: model calls are paid once, and can be replayed without the model.

A call that was made before, here or in another run, returns what it returned then: its text, its tokens and its
seconds, so that it is charged as it was then and paid no more.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar
from weakref import WeakValueDictionary, finalize

from pydantic import TypeAdapter, ValidationError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from ragscale.errors import CallMissing, CallStoreError, InvalidInput, RagscaleError
from ragscale.llm.base import LLM, Capabilities, Generation, Score, fields_of, runtime
from ragscale.llm.memo import Memo
from ragscale.paths import expanded
from ragscale.types import Message, Tool

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["CallFile", "StoredLLM", "UnderWay", "while_locked"]

VERSION = 1
"""Version of the file."""
_APPLICATION = 0x72616773  # SQLite's mark of a program's own files
_ANY = 0
"""Room of a reply that ended by itself: it serves every call with room for it."""
_BUSY = 60.0  # seconds that a writer waits for another one
_LOOK = 0.05  # seconds between two looks at a call that another process is making
_R = TypeVar("_R", bound=Generation | Score)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS models (model TEXT PRIMARY KEY, facts TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS calls (
    key BLOB NOT NULL, room INTEGER NOT NULL, needed INTEGER NOT NULL, reply BLOB NOT NULL, PRIMARY KEY (key, room)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counts (key BLOB PRIMARY KEY, tokens INTEGER NOT NULL) WITHOUT ROWID;
"""


class StoredLLM:
    """A model whose calls are kept in a file.

    Greedy calls are shared, and sampled ones with the same seed; sampled ones without a seed are made anew each time.
    A completion that ended by itself serves any call with room for it, one that was cut only calls with the same room.
    A model is known by its name, its fields and its runtime (`ragscale.llm.base.runtime`), so servers with a model of
    one name share calls. A call that two questions make at the same time is made once. Failures are not kept. Several
    processes of a machine may share a file, also at the same time; on Windows, a call that two of them make at the same
    time is made twice.

    Args:
        path: SQLite file of the calls, made where it is absent.
        model: Makes the calls that the file lacks; None for a replay, in which such a call is an error.
        file: The opened file, where it is not opened here: another process has it.

    Raises:
        InvalidInput: `path` is not a file of calls, or is one of another version; its calls of this model do not tell
            which runtime made them; for a replay: it is absent, or holds
            calls of no model or of several.
        RagscaleError: The file cannot be read or written. Later calls raise `CallStoreError` for that.
    """

    def __init__(self, path: str | Path, model: LLM | None = None, *, file: CallFile | None = None) -> None:
        self.path = expanded(path)
        self.model = model
        self._file = file or CallFile(self.path, new=model is not None)
        self._facts: dict[str, Any] | None = self._file.only() if model is None else None
        self._counted: set[tuple[bytes, int]] = set()
        if model is not None and self.runtime and "runtime" not in self._file.facts(_identity(model), {"runtime": ""}):
            raise InvalidInput(
                f"{self.path}: its calls of {model.name} do not tell which program made them, {self.runtime} or "
                "another: an earlier ragscale kept them",
                "Give another file, or move this one away: a run keeps its rows, and makes further calls anew. "
                "A replay (--replay) still reads it.",
            )

    def __repr__(self) -> str:
        return f"StoredLLM({str(self.path)!r}, {self.model!r})"

    def __getattr__(self, name: str) -> Any:
        # What a model may have beside the protocol, as `probe_spend`; a replay has none of it.
        if name.startswith("_") or self.model is None:
            raise AttributeError(name)
        return getattr(self.model, name)

    @property
    def name(self) -> str:
        """As of the model; in a replay, as it was then."""
        return self.model.name if self.model else str(self._known()["name"])

    @property
    def context_window(self) -> int:
        """As of the model; in a replay, as it was then."""
        return self.model.context_window if self.model else int(self._known()["context_window"])

    @property
    def special_tokens(self) -> frozenset[str]:
        """As of the model; in a replay, as they were then."""
        return frozenset(getattr(self.model, "special_tokens", ()) if self.model else self._known()["special_tokens"])

    @property
    def runtime(self) -> str:
        """Program that computes the model, where it is known (`ragscale.llm.base.runtime`); in a replay, as it was."""
        return runtime(self.model) if self.model else str(self._known().get("runtime", ""))

    @property
    def fields(self) -> dict[str, Any]:
        """Further fields of each request; in a replay, as they were then."""
        return fields_of(self.model) if self.model else dict(json.loads(self._known()["identity"])[1])

    @property
    def url(self) -> str:
        """Endpoint of the model, by which its price is found; in a replay, as it was then."""
        return str(getattr(self.model, "url", "") if self.model else self._known().get("url", ""))

    async def capabilities(self, *, tools: bool = False) -> Capabilities:
        """As of the model, which is tried out; in a replay, as they were found then."""
        name = "tools" if tools else "capabilities"
        if self.model is None:
            try:
                return _CAPABILITIES.validate_python(self._known()[name])
            except KeyError:
                raise CallMissing(f"{self.path}: no trial of the model's {name}", _RECORD) from None
        found = await self.model.capabilities(**({"tools": True} if tools else {}))
        if isinstance(found, Capabilities):  # else the caller says what is wrong
            known = self._facts or {
                "name": self.model.name,
                "context_window": self.model.context_window,
                "special_tokens": sorted(self.special_tokens),
                "url": self.url,
                "runtime": self.runtime,
            }
            if known.get(name) != asdict(found):
                self._facts = {**known, name: asdict(found)}
                self._file.tell(self._identity(), self._facts)
        return found

    async def generate(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        n: int = 1,
        temperature: float = 0.0,
        seed: int | None = None,
        **options: Any,
    ) -> Generation:
        """As `LLM.generate`; of a call that was made before, `Generation.seconds` is what it took then.

        Raises:
            ModelError: As of the model, whose failures are not kept.
            CallMissing: In a replay, the file lacks the call.
            CallStoreError: The file cannot be read or written.
        """

        async def make() -> Generation:
            assert self.model is not None
            given = {"max_tokens": max_tokens, "n": n, "temperature": temperature, "seed": seed, **options}
            return await self.model.generate(messages, **given)

        sampled = temperature > 0
        if sampled and seed is None and self.model:
            return await make()
        asked = {
            "messages": messages, "n": n, "temperature": temperature, "seed": seed if sampled else None,
            **{name: value for name, value in options.items() if value},
        }  # fmt: skip
        return await self._shared("generate", asked, max_tokens, _GENERATION, make)

    async def score(self, messages: Sequence[Message], continuation: str) -> Score:
        """As `LLM.score`; of a call that was made before, `Score.seconds` is what it took then.

        Raises:
            ModelError: As of the model, whose failures are not kept.
            CallMissing: In a replay, the file lacks the call.
        """

        async def make() -> Score:
            assert self.model is not None
            return await self.model.score(messages, continuation)

        return await self._shared("score", {"messages": messages, "continuation": continuation}, 0, _SCORE, make)

    async def count_tokens(self, messages: Sequence[Message], *, tools: Sequence[Tool] = ()) -> int:
        """As `LLM.count_tokens`; in a replay, the last count of then.

        Raises:
            CallMissing: In a replay, the file lacks the count.
        """
        key = self._key("count", {"messages": messages, **({"tools": tools} if tools else {})})
        if self.model is None:
            found = self._file.count(key)
            if found is None:
                raise CallMissing(f"{self.path}: no count of the tokens of {_shown(messages)}", _RECORD)
            return found
        count = await self.model.count_tokens(messages, **({"tools": tools} if tools else {}))
        # A prompt is counted several times. The caller says what is wrong with a count that is none.
        if isinstance(count, int) and (key, count) not in self._counted:
            self._counted.add((key, count))
            self._file.keep_count(key, count)
        return count

    def close(self) -> None:
        """Close the file alone. Idempotent."""
        self._file.close()

    async def aclose(self) -> None:
        """Close the file and the model. Idempotent."""
        self.close()
        if self.model is not None:
            await self.model.aclose()

    async def _shared(
        self, kind: str, asked: dict[str, Any], room: int, form: TypeAdapter[_R], make: Callable[[], Awaitable[_R]]
    ) -> _R:
        key = self._key(kind, asked)
        found = self._file.reply(key, room)
        if found is None and self.model is None:
            given = "".join(f", {name}={value!r}" for name, value in asked.items() if name != "messages" and value)
            what = f"{kind}({_shown(asked['messages'])}{given})"
            raise CallMissing(f"{self.path}: no call {what} with room for {room} tokens", _RECORD)
        if found is not None:
            return _read(found, form, self.path)
        mine: _Asked[_R] = self._file.under_way.asked(key, room)
        first = False

        async def compute() -> _R:
            nonlocal first
            async with self._file.under_way.turn(key):
                again = self._file.reply(key, room)  # another process may have made it meanwhile
                if again is not None:
                    return _read(again, form, self.path)
                first = True
                started = time.perf_counter()
                reply = await make()
                if isinstance(reply, Generation | Score):  # else the caller says what is wrong
                    took = replace(reply, seconds=time.perf_counter() - started)
                    self._file.keep(key, *_rooms(reply, room), form.dump_json(took))
                    mine.seconds = took.seconds
                return reply

        reply: _R = await mine.memo.get(compute)
        return reply if first or mine.seconds is None else replace(reply, seconds=mine.seconds)

    def _key(self, kind: str, asked: dict[str, Any]) -> bytes:
        text = json.dumps([self._identity(), kind, asked], sort_keys=True, default=_plain)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()

    def _identity(self) -> str:
        """Name of the model, the fields that are sent along with each call, and the program that computes it, where it
        is known: they may change what it replies."""
        if self.model is None:
            return str(self._known()["identity"])
        return _identity(self.model, *[self.runtime] * bool(self.runtime))

    def _known(self) -> dict[str, Any]:
        assert self._facts is not None
        return self._facts


class _Asked(Generic[_R]):
    """A call under way."""

    def __init__(self) -> None:
        self.memo: Memo[_R] = Memo()
        self.seconds: float | None = None


class UnderWay:
    """The calls under way of all who share a file: two who reach the same call at the same moment would pay it twice.

    Other processes hold a lock on a byte of a file beside it, which the system releases when a process dies.

    Args:
        path: The file; None where no other process has it.
    """

    _of: ClassVar[WeakValueDictionary[Path, UnderWay]] = WeakValueDictionary()
    _lock: ClassVar = threading.Lock()

    def __init__(self, path: Path | None) -> None:
        self._asked: WeakValueDictionary[tuple[bytes, int], _Asked[Any]] = WeakValueDictionary()
        self._taken: set[bytes] = set()
        self._descriptor: int | None = None
        if fcntl is not None and path is not None:
            self._descriptor = os.open(path.with_name(f"{path.name}-lock"), os.O_RDWR | os.O_CREAT, 0o666)
            finalize(self, os.close, self._descriptor)

    @classmethod
    def of(cls, path: Path) -> UnderWay:
        """One a file and process: a process's locks on a file are gone when it closes any descriptor of it."""
        with cls._lock:
            found = cls._of.get(path.resolve())
            if found is None:
                found = cls._of[path.resolve()] = cls(path)
            return found

    def asked(self, key: bytes, room: int) -> _Asked[Any]:
        """The call, by itself and by its room."""
        with self._lock:
            return self._asked.get((key, room)) or self._asked.setdefault((key, room), _Asked())

    @asynccontextmanager
    async def turn(self, key: bytes) -> AsyncIterator[None]:
        """Wait until nobody else is at the call, with whatever room, and keep others from it while the block runs."""
        while not self._take(key):  # noqa: ASYNC110 - by another process, perhaps
            await asyncio.sleep(_LOOK)
        try:
            yield
        finally:
            with self._lock:
                self._taken.remove(key)
                self._lock_byte(key, take=False)

    def _take(self, key: bytes) -> bool:
        with self._lock:
            if key in self._taken or not self._lock_byte(key, take=True):
                return False
            self._taken.add(key)
            return True

    def _lock_byte(self, key: bytes, *, take: bool) -> bool:
        """Take or release the lock; False where another process has it."""
        if self._descriptor is not None:
            byte = int.from_bytes(key[:7])  # the file itself has none
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if take else fcntl.LOCK_UN, 1, byte)
            except (BlockingIOError, PermissionError):
                return False
            except OSError:  # a file system without locks
                pass
        return True


def while_locked() -> dict[str, Any]:
    """Settings of `tenacity.Retrying` for what SQLite refuses at once, its time-out notwithstanding.

    Changing the journal of a file is such a statement: two processes that open a new file at once both try.
    """
    return {
        "retry": retry_if_exception(
            lambda error: isinstance(error, sqlite3.OperationalError) and "locked" in str(error)
        ),
        "stop": stop_after_delay(_BUSY),
        "wait": wait_random(0, 0.05),
        "reraise": True,
    }


class CallFile:
    """The SQLite file. Its methods take microseconds and are safe from several threads and processes."""

    def __init__(self, path: Path, *, new: bool) -> None:
        self.path = path
        if not new and not path.exists():
            raise InvalidInput(f"{path}: no such file", "Record one first: --record FILE.")
        self._lock = threading.Lock()
        try:
            with self._sound():
                path.parent.mkdir(parents=True, exist_ok=True)
                self._db = sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
                self._prepare()
                if new:
                    self.under_way = UnderWay.of(path)
        except CallStoreError as error:
            raise RagscaleError(error.problem, error.remedy) from error

    def _prepare(self) -> None:
        self._db.execute("BEGIN")  # one view of all three: another process may be making the file
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        self._db.execute("COMMIT")
        if tables and (application, version) != (_APPLICATION, VERSION):
            raise InvalidInput(
                f"{self.path}: not a file of model calls, or of another version of ragscale", "Give another file."
            )
        Retrying(**while_locked())(self._db.execute, "PRAGMA journal_mode = WAL")
        # A killed process loses nothing; a machine that loses its power may pay its last calls again.
        self._db.execute("PRAGMA synchronous = NORMAL")
        marks = f"PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {VERSION};"
        self._db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {marks} COMMIT;")

    @contextmanager
    def _sound(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, sqlite3.DatabaseError) and "not a database" in str(error):
                raise InvalidInput(
                    f"{self.path}: not a file of model calls", "Give another file, or move this one away."
                ) from None
            remedy = "Make room on its disk, or give another file; the same command goes on with the calls that it has."
            if "malformed" in str(error):
                remedy = (
                    "It is damaged: move it away, or give another file. A run keeps its rows, and makes calls anew."
                )
            raise CallStoreError(f"{self.path}: model calls cannot be kept ({error})", remedy) from error

    def _run(self, statement: str, *values: Any) -> list[Any]:
        with self._lock, self._sound():
            return self._db.execute(statement, values).fetchall()

    def only(self) -> dict[str, Any]:
        """The facts of the only model whose calls it holds. Raises `InvalidInput` for none or several."""
        models = self._run("SELECT model, facts FROM models ORDER BY model")
        if len(models) != 1:
            names = ", ".join(_named(*json.loads(model)) for model, _ in models)
            raise InvalidInput(
                f"{self.path}: calls of {f'several models ({names})' if models else 'no model'}",
                "Replay a file of the calls of one model.",
            )
        return {"identity": models[0][0], **json.loads(models[0][1])}

    def facts(self, model: str, absent: dict[str, Any]) -> dict[str, Any]:
        """Facts of a model; `absent` where it has none of its calls."""
        found = self._run("SELECT facts FROM models WHERE model = ?", model)
        return dict(json.loads(found[0][0])) if found else absent

    def tell(self, model: str, facts: dict[str, Any]) -> None:
        """Keep the facts of a model."""
        self._run("INSERT OR REPLACE INTO models VALUES (?, ?)", model, json.dumps(facts))

    def reply(self, key: bytes, room: int) -> bytes | None:
        """The reply that serves a call with room for so many tokens; None where there is none."""
        found = self._run(
            "SELECT reply FROM calls WHERE key = ? AND (room = ? OR room = ? AND needed <= ?) ORDER BY room",
            key, room, _ANY, room,
        )  # fmt: skip
        return found[0][0] if found else None

    def keep(self, key: bytes, room: int, needed: int, reply: bytes) -> None:
        """Keep a reply."""
        self._run("INSERT OR IGNORE INTO calls VALUES (?, ?, ?, ?)", key, room, needed, zlib.compress(reply))

    def count(self, key: bytes) -> int | None:
        """Tokens of a prompt, if they were counted."""
        found = self._run("SELECT tokens FROM counts WHERE key = ?", key)
        return int(found[0][0]) if found else None

    def keep_count(self, key: bytes, tokens: int) -> None:
        """Keep the tokens of a prompt."""
        self._run("INSERT OR REPLACE INTO counts VALUES (?, ?)", key, tokens)

    def close(self) -> None:
        """Close it."""
        with self._lock:
            self._db.close()


_RECORD = (
    "Record the run anew with the same settings: another question, prompt, seed or budget makes other calls. "
    "Calls that failed, or that a limit of seconds broke off, are not kept."
)
_GENERATION: TypeAdapter[Generation] = TypeAdapter(Generation)
_SCORE: TypeAdapter[Score] = TypeAdapter(Score)
_CAPABILITIES: TypeAdapter[Capabilities] = TypeAdapter(Capabilities)


def _identity(model: LLM, *more: str) -> str:
    return json.dumps([model.name, fields_of(model), *more], sort_keys=True)


def _rooms(reply: Generation | Score, room: int) -> tuple[int, int]:
    """Room of the calls that a reply serves (`_ANY` where it ended by itself), and the tokens that one sample needs."""
    if isinstance(reply, Score):
        return _ANY, 0
    ended = len(reply.finish_reasons) == len(reply.texts) and "length" not in reply.finish_reasons
    if not ended:
        return room, room
    # Only the sum is known: the longest of several samples needs what the others, of a token each, leave of it.
    return _ANY, max(0, min(room, reply.usage.completion_tokens - len(reply.texts) + 1))


def _named(name: str, fields: Any, runtime: str = "") -> str:
    return f"{name} by {runtime}" if runtime else name


def _read(reply: bytes, form: TypeAdapter[_R], path: Path) -> _R:
    try:
        return form.validate_json(zlib.decompress(reply))
    except (ValidationError, zlib.error):
        raise CallStoreError(f"{path}: a call is damaged", "Give another file.") from None


def _plain(value: Any) -> Any:
    return value.to_dict() if isinstance(value, Tool) else list(value)


def _shown(messages: Sequence[Message]) -> str:
    last = " ".join(str(messages[-1]["content"]).split()) if messages else ""
    return repr(last if len(last) <= 160 else f"{last[:60]} ... {last[-100:]}")
