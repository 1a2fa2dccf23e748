"""A run's folder: settings, questions, and for each cell its rows and its traces.

``config.json`` holds the settings and the cells, ``questions.jsonl`` each question once, ``rows/CELL.jsonl`` a small
line a finished question, ``traces/CELL.jsonl.gz`` its whole answer, and ``calls.sqlite`` the model calls
(`ragscale.llm.store`). ``race.json`` holds the looks of a race and what they dropped, ``broken.json`` how often a sweep
was broken off.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from ragscale.answer import AnswerSpend
from ragscale.errors import InvalidInput, RagscaleError
from ragscale.index.storage.durable import sync
from ragscale.measure.cell import Cell
from ragscale.measure.questions import LEFT_OUT, Question, load_questions
from ragscale.measure.racing import Drop
from ragscale.paths import expanded
from ragscale.types import Spend

__all__ = ["VERSION", "Row", "Store"]

VERSION: Literal[2] = 2
"""Version of a run's files."""
CONFIG_FILE = "config.json"
QUESTIONS_FILE = "questions.jsonl"
CALLS_FILE = "calls.sqlite"
RACE_FILE = "race.json"
BROKEN_FILE = "broken.json"
ROWS, TRACES = "rows", "traces"
LOCK_FILE = ".lock"
_OTHER = "Give another --out, or go back to the settings of this one."
_LONGEST = 120  # characters of a file's name: far below the limit of every file system


Share = Annotated[float, Field(ge=0, le=1)]
"""A number from 0 to 1, checked where rows are read; NaN is none."""


def _countable(spend: Spend) -> Spend:
    """Refuse what no call can have cost: the table of `Run.rows` could not hold it, or means would be none."""
    for name, value in spend.to_dict().items():
        if value is not None and not -1e-6 <= value < 2**63:  # a difference of seconds may be a hair below 0
            raise ValueError(f"{name} is {value!r}")
    return spend


def _all_countable(spend: AnswerSpend) -> AnswerSpend:
    for field in fields(AnswerSpend):
        _countable(getattr(spend, field.name))
    return spend


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A finished question of a cell: scores and costs, without texts beyond the answer."""

    id: str
    """Id of the question."""
    answer: str
    em: Share
    """Exact match, 0 or 1."""
    f1: Share
    """Token F1, 0 to 1."""
    gold_recall: Share | None
    """Share of gold passages among all that were retrieved; None where the question names none that the index knows."""
    stop_reason: str
    """As `Answer.stop_reason`; ``"failed"`` also where the run raised an error."""
    reason: str
    """Cause and remedy in plain words; empty for ``"answered"``."""
    spend: Annotated[AnswerSpend, AfterValidator(_all_countable)]
    """Charge of the last attempt."""
    paid: Annotated[Spend, AfterValidator(_countable)]
    """Cost of all attempts to this run: calls that its call store had are free."""
    wall_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Seconds from the question to its answer, waits included."""
    code: str
    """Mark of the source of modes and prompts: rows of different marks are not comparable."""
    settings: str
    """Mark of the run's settings."""
    trace: tuple[int, int] | None
    """Place of the whole answer in the cell's file of traces: its first byte and its length. None for a run that raised
    an error."""
    type: str | None = None
    """Kind of the question, as `Question.type`."""
    hops: int | None = None
    """As `Question.hops`."""
    gold_passages: int | None = None
    """Number of gold passages that the index knows; None in rows that were written before it was kept."""
    version: int = VERSION

    @property
    def failed(self) -> bool:
        """Whether the same command tries the question again. A failed question scores 0."""
        return self.stop_reason == "failed"

    @property
    def cut_short(self) -> bool:
        """Whether a limit of the budget ended it."""
        return self.stop_reason.startswith("budget:")

    def to_json(self) -> bytes:
        """The row as a line, without its end; zeros of its spends are left out, but for dollars: those are known."""
        spends = {field.name: getattr(self.spend, field.name) for field in fields(AnswerSpend)}
        needed = {name: spend for name, spend in spends.items() if name in ("total", "serial") or spend != Spend()}
        line = {
            **asdict(self),
            "spend": {name: _lean(spend) for name, spend in needed.items()},
            "paid": _lean(self.paid),
        }
        return json.dumps(line, ensure_ascii=False).encode("utf-8", "replace")

    @classmethod
    def from_json(cls, line: bytes) -> Self:
        """The inverse of `to_json`. Raises `ValueError` where the line is not a row."""
        row: Self = _READER.validate_json(line)
        if b'"usd"' in line:
            return row
        spend = AnswerSpend(*(replace(getattr(row.spend, field.name), usd=None) for field in fields(AnswerSpend)))
        return replace(row, spend=spend, paid=replace(row.paid, usd=None))  # written before dollars were counted


def _lean(spend: Spend) -> dict[str, Any]:
    return {name: value for name, value in spend.to_dict().items() if value or name == "usd"}


_READER: TypeAdapter[Any] = TypeAdapter(Row)


@dataclass(frozen=True)
class _Cell:
    """Of a cell in `config.json`, what is read of it."""

    mode: str
    budget: dict[str, float]
    seed: int


@dataclass(frozen=True)
class _Config:
    """Of `config.json`, what is read of it."""

    cells: dict[str, _Cell]
    price: dict[str, Any] | None = None
    version: Literal[2] = VERSION


@dataclass(frozen=True)
class _Look:
    """Of a race, as `Store.looks` has it."""

    questions: int
    mark: str
    cells: list[str]
    drops: list[Drop]


_CONFIG: TypeAdapter[Any] = TypeAdapter(_Config)
_LOOKS: TypeAdapter[Any] = TypeAdapter(list[_Look])


@dataclass(frozen=True)
class Store:
    """The files of one run. All are synced, so that a kill, or a power cut, loses at most the questions in flight.

    Every method that writes raises `RagscaleError` where the disk is full or does not let it.
    """

    folder: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", expanded(self.folder))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the run for this call alone: two would ask, and pay for, the same questions.

        Raises:
            InvalidInput: The folder holds something else, or cannot be written.
            RagscaleError: Another process or thread is writing the run.
        """
        from filelock import FileLock, Timeout

        try:
            self._refuse_others()  # no lock file is made in what is no run
            new = not self.folder.exists()
            self.folder.mkdir(parents=True, exist_ok=True)
            if new:
                sync(self.folder.parent, deep=False)
            held = FileLock(self.folder / LOCK_FILE).acquire(timeout=0)
        except Timeout as error:
            raise RagscaleError(
                f"{self.folder}: another process is writing this run", "Wait until it is done, or give another --out."
            ) from error
        except OSError as error:
            raise InvalidInput(f"{self.folder}: no run can be written here ({error})", "Give another --out.") from error
        with held:
            yield

    def check(self, settings: dict[str, Any], cells: Iterable[Cell], questions: Iterable[Question]) -> None:
        """Refuse what `writing`, `pin` and `add_questions` would refuse; nothing is written.

        Raises:
            InvalidInput: The folder holds something else, or a run with other settings or questions.
        """
        self._refuse_others()
        self._wanted(settings, cells)
        self._joined(questions)

    def _refuse_others(self) -> None:
        if not self.folder.exists() or (self.folder / CONFIG_FILE).exists():
            return
        # a start that was broken off before its settings were written may have left the file of calls alone
        ours = (LOCK_FILE, *(f"{CALLS_FILE}{end}" for end in ("", "-wal", "-shm", "-journal", "-lock")))
        if any(item.suffix != ".part" and item.name not in ours for item in self.folder.iterdir()):
            raise InvalidInput(f"{self.folder}: not empty and no run (no {CONFIG_FILE})", "Give another --out.")

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Note that questions are being asked: a later call then knows whether this one was broken off."""
        path = self.folder / BROKEN_FILE
        times, asking = self._broken()
        times += asking
        _write(path, _indented({"times": times, "asking": True}))
        yield
        if times:
            self._write_broken(times)
        else:
            with _writable(path):
                path.unlink()

    def broken(self) -> int:
        """Times that a sweep was broken off (killed, interrupted, ended by an error) and gone on with.

        Raises:
            InvalidInput: The file is damaged.
        """
        return self._broken()[0]

    def _broken(self) -> tuple[int, bool]:
        path = self.folder / BROKEN_FILE
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return int(found["times"]), bool(found["asking"])
        except FileNotFoundError:  # a sweep that ends takes it away, beside a reader too
            return 0, False
        except (ValueError, TypeError, KeyError) as error:
            raise InvalidInput(f"{path}: damaged ({error})", "Delete it: it counts broken sweeps.") from error

    def _write_broken(self, times: int) -> None:
        _write(self.folder / BROKEN_FILE, _indented({"times": times, "asking": False}))

    def pin(self, settings: dict[str, Any], cells: Iterable[Cell]) -> None:
        """Write `config.json`, or compare with the one that is there; further cells may be added to a run.

        Args:
            settings: Everything but its cell that a row depends on.
            cells: To be run.

        Raises:
            InvalidInput: The run was started with other settings, or its file is damaged.
        """
        path = self.folder / CONFIG_FILE
        known, wanted = self._wanted(settings, cells)
        if not path.exists() or known != wanted:
            _write(path, _indented(wanted))

    def _wanted(self, settings: dict[str, Any], cells: Iterable[Cell]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The settings that the run has, and those that it would have with these cells."""
        path = self.folder / CONFIG_FILE
        settings = {"version": VERSION, **settings}
        known = self._config(path) if path.exists() else {**settings, "cells": {}}
        wanted = {**settings, "cells": {**known["cells"], **{cell.key: cell.to_dict() for cell in cells}}}
        for key, old, new in _differences(known, wanted):
            raise InvalidInput(f"{self.folder}: a run with {key} {old!r}, not {new!r}", _OTHER)
        return known, wanted

    def rows(self, cell: Cell) -> dict[str, Row]:
        """The rows of a cell by question id, the last one where a failed question was tried again; to go on from.

        What a killed process had begun is cut off: a half-written last line, and traces that no row has, of which the
        last may be a half one.

        Raises:
            InvalidInput: A line in the middle is damaged.
        """
        path = self.path(cell.key)
        if path.exists():
            _cut(path, path.read_bytes().rfind(b"\n") + 1)
        rows = self.read_rows(cell.key)
        ends = (sum(row.trace) for row in rows.values() if row.trace)
        _cut(self.path(cell.key, traces=True), max(ends, default=0))
        return rows

    def read_rows(self, key: str) -> dict[str, Row]:
        """As `rows`, by the cell's key and without a change to the file."""
        path = self.path(key)
        data = path.read_bytes() if path.exists() else b""
        found: dict[str, Row] = {}
        for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), 1):
            try:
                row = Row.from_json(line)
            except ValidationError as error:
                first = error.errors(include_url=False, include_context=False, include_input=False)[0]
                place = ".".join(map(str, first["loc"]))
                raise InvalidInput(
                    f"{path}:{number}: damaged ({f'{place}: ' if place else ''}{first['msg']})",
                    "Delete the line; it is run again.",
                ) from error
            found[row.id] = row
        return found

    def append(self, cell: Cell, row: Row) -> None:
        """Add a row, safe on the disk before this returns."""
        _append(self.path(cell.key), row.to_json() + b"\n")

    def append_trace(self, cell: Cell, answer: dict[str, Any]) -> tuple[int, int]:
        """Add a whole answer to the traces, compressed by itself; its place there, for `Row.trace`."""
        text = json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        data = gzip.compress(text, mtime=0)
        return _append(self.path(cell.key, traces=True), data), len(data)

    def read_trace(self, key: str, place: tuple[int, int]) -> dict[str, Any]:
        """A whole answer, as `Answer.to_dict` gave it.

        Raises:
            InvalidInput: The file is absent or damaged, as where a run was copied without its traces.
        """
        path, (start, size) = self.path(key, traces=True), place
        try:
            with path.open("rb") as file:
                file.seek(start)
                return dict(json.loads(gzip.decompress(file.read(size))))
        except (OSError, EOFError, ValueError) as error:
            raise InvalidInput(f"{path}: the trace cannot be read ({error})", "Run the question again.") from None

    def questions(self) -> dict[str, Question]:
        """The questions that the run was ever given, by id."""
        path = self.folder / QUESTIONS_FILE
        return {question.id: question for question in load_questions(path)} if path.exists() else {}

    def add_questions(self, questions: Iterable[Question]) -> None:
        """Add those that are new to the run.

        Raises:
            InvalidInput: One has the id of another question, or the texts of the run were left out.
        """
        lines = [json.dumps(question.to_row(), ensure_ascii=True) for question in self._joined(questions)]
        _write(self.folder / QUESTIONS_FILE, "".join(f"{line}\n" for line in lines))

    def _joined(self, questions: Iterable[Question]) -> Iterable[Question]:
        """The questions of the run, then those that are new to it."""
        known = self.questions()
        textless = any(one.question == LEFT_OUT for one in known.values())
        for question in questions:
            if textless and question.question != LEFT_OUT:
                raise InvalidInput(
                    f"{self.folder}: the texts were left out when this run was kept, so it cannot be extended",
                    "Give another --out, or the folder that it was kept from.",
                )
            there = known.setdefault(question.id, question)
            if there != question:
                names = [field.name for field in fields(Question)]
                other = ", ".join(name for name in names if getattr(there, name) != getattr(question, name))
                raise InvalidInput(
                    f"{self.folder}: a run with another question {question.id!r} ({there.question!r}), by its {other}",
                    "Give another --out, or the questions of this run.",
                )
        return known.values()

    def copy(
        self,
        config: dict[str, Any],
        questions: Iterable[Question],
        rows: Mapping[str, Iterable[Row]],
        looks: Sequence[dict[str, Any]],
        broken: int,
    ) -> None:
        """Write a whole run at once, into a folder that is empty or not there; its settings last.

        Raises:
            InvalidInput: The folder holds something.
        """  # fmt: skip
        with _writable(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            if any(self.folder.iterdir()):
                raise InvalidInput(f"{self.folder}: not empty", "Give another folder, or delete it.")
            (self.folder / ROWS).mkdir()
        for key, lines in rows.items():
            _write(self.path(key), "".join(f"{row.to_json().decode()}\n" for row in lines))
        self.add_questions(questions)
        if looks:
            self._write_looks(looks)
        if broken:
            self._write_broken(broken)
        _write(self.folder / CONFIG_FILE, _indented(config))

    def looks(self) -> list[dict[str, Any]]:
        """The looks of the run's race, in order: ``questions`` (number), ``mark`` (of their ids), ``cells`` (keys of
        those compared) and ``drops`` (fields of `ragscale.measure.racing.Drop`).

        Raises:
            InvalidInput: The file is damaged.
        """
        path = self.folder / RACE_FILE
        try:
            looks: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["looks"] if path.exists() else []
            _LOOKS.validate_python(looks)
            return looks
        except (ValueError, TypeError, KeyError) as error:
            raise InvalidInput(f"{path}: damaged ({error})", "Delete it: the race decides anew.") from error

    def add_look(self, look: dict[str, Any]) -> None:
        """Add a look, all or nothing."""
        self._write_looks([*self.looks(), look])

    def _write_looks(self, looks: Sequence[dict[str, Any]]) -> None:
        _write(self.folder / RACE_FILE, _indented({"looks": looks}))

    def path(self, key: str, *, traces: bool = False) -> Path:
        """The file of a cell's rows or traces, named by its key, with a hash where that does not fit into a name."""
        told = key.replace(", ", ",").replace("'", "")
        name = re.sub(r"[^\w.=,()@+-]", "_", told)
        if name != told or len(name.encode()) > _LONGEST:
            name = f"{name[: _LONGEST // 4]}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
        return self.folder / TRACES / f"{name}.jsonl.gz" if traces else self.folder / ROWS / f"{name}.jsonl"

    def config(self) -> dict[str, Any]:
        """Settings of the run, with its cells by key.

        Raises:
            InvalidInput: The folder is no run, or its file is damaged.
        """
        path = self.folder / CONFIG_FILE
        if not path.exists():
            raise InvalidInput(f"{self.folder}: no run (no {CONFIG_FILE})", "Give the folder that --out named.")
        return self._config(path)

    def _config(self, path: Path) -> dict[str, Any]:
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            _CONFIG.validate_python(known)
            return dict(known)
        except ValueError as error:
            raise InvalidInput(f"{path}: damaged, or of another version of ragscale", "Give another --out.") from error


def _differences(known: dict[str, Any], wanted: dict[str, Any], inside: str = "") -> Iterator[tuple[str, Any, Any]]:
    for key in dict.fromkeys([*known, *wanted]):
        old, new = known.get(key), wanted.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{inside}{key}.")
        elif old != new and not (inside == "cells." and old is None):  # a cell that is new to the run
            yield f"{inside}{key}", old, new


def _append(path: Path, data: bytes) -> int:
    """Add data at the end of a file, all or nothing, safe on the disk before this returns; where it begins."""
    with _writable(path):
        new = not path.exists()
        if new and not path.parent.exists():
            path.parent.mkdir()
            sync(path.parent.parent, deep=False)
        with path.open("ab", buffering=0) as file:
            start = file.tell()
            try:
                left = memoryview(data)
                while left:
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
            except BaseException:  # what follows a torn line, in this process or the next one, would be lost with it
                file.truncate(start)
                raise
        if new:
            sync(path.parent, deep=False)  # its name too
    return start


def _cut(path: Path, length: int) -> None:
    """Drop what is behind the first `length` bytes of a file, if it is there."""
    with _writable(path):
        if path.exists() and path.stat().st_size > length:
            os.truncate(path, length)


def _indented(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _write(path: Path, text: str) -> None:
    with _writable(path):
        part = path.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        sync(part)
        part.replace(path)
        sync(path.parent, deep=False)


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    """Turn any `OSError` of the block into a `RagscaleError` about the file, which ends the run."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = "Make room on its disk" if full else "Check its permissions"
        raise RagscaleError(
            f"{path}: cannot be written ({error.strerror or error})",
            f"{remedy}, then give the same command again: it goes on with what is finished.",
        ) from error
