"""A run's folder: what it was made with, and a line of JSON for every finished question."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragscale.errors import InvalidInput, RagscaleError
from ragscale.index.storage.durable import sync

__all__ = ["Row", "Store"]

Row = dict[str, Any]
"""A finished question: what was asked and answered, its scores, why it stopped, both spends and the whole trace."""

CONFIG_FILE = "config.json"
LOCK_FILE = ".lock"
_OTHER = "Give another --out, or go back to the settings of this one."


@dataclass(frozen=True)
class Store:
    """The files of one run. All are synced, so that a kill, or a power cut, loses at most the questions in flight."""

    folder: Path

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the run for this call alone: two would ask, and pay for, the same questions.

        Raises:
            InvalidInput: The folder holds something else, or cannot be written.
            RagscaleError: Another process or thread is writing the run.
        """
        from filelock import FileLock, Timeout

        try:
            new = not self.folder.exists()
            self.folder.mkdir(parents=True, exist_ok=True)
            if new:
                sync(self.folder.parent, deep=False)
            others = [item for item in self.folder.iterdir() if item.suffix != ".part" and item.name != LOCK_FILE]
            if others and not (self.folder / CONFIG_FILE).exists():  # no lock file is made in what is no run
                raise InvalidInput(f"{self.folder}: not empty and no run (no {CONFIG_FILE})", "Give another --out.")
            held = FileLock(self.folder / LOCK_FILE).acquire(timeout=0)
        except Timeout as error:
            raise RagscaleError(
                f"{self.folder}: another process is writing this run", "Wait until it is done, or give another --out."
            ) from error
        except OSError as error:
            raise InvalidInput(f"{self.folder}: no run can be written here ({error})", "Give another --out.") from error
        with held:
            yield

    def pin(self, settings: dict[str, Any], modes: dict[str, str]) -> None:
        """Write `config.json`, or compare with the one that is there; further modes may be added to a run.

        Args:
            settings: What every row depends on.
            modes: The modes by label, each with its `repr`.

        Raises:
            InvalidInput: The run was started with other settings, or its file is damaged.
        """
        path = self.folder / CONFIG_FILE
        known = self._config(path) if path.exists() else {**settings, "modes": {}}
        wanted = {**settings, "modes": {**known["modes"], **modes}}
        for key, old, new in _differences(known, wanted):
            raise InvalidInput(f"{self.folder}: a run with {key} {old!r}, not {new!r}", _OTHER)
        if not path.exists() or known != wanted:
            _write(path, json.dumps(wanted, indent=2, ensure_ascii=False) + "\n")

    def rows(self, mode: str) -> dict[str, Row]:
        """The rows of a mode by question id, the last one where a failed question was tried again.

        A half-written last line is dropped, from the file too.

        Raises:
            InvalidInput: A line in the middle is damaged.
        """
        path = self.path(mode)
        if not path.exists():
            return {}
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            with path.open("r+b") as file:
                file.truncate(whole)
        found: dict[str, Row] = {}
        for number, line in enumerate(data[:whole].splitlines(), 1):
            try:
                row = json.loads(line)
                found[row["id"]] = row
            except (ValueError, TypeError, KeyError) as error:
                raise InvalidInput(
                    f"{path}:{number}: damaged ({error!r})", "Delete the line; it is run again."
                ) from error
        return found

    def append(self, mode: str, row: Row) -> None:
        """Add a row, safe on the disk before this returns."""
        line = json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        path = self.path(mode)
        new = not path.exists()
        with path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        if new:
            sync(self.folder, deep=False)  # its name too

    def path(self, mode: str) -> Path:
        """The file of a mode's rows."""
        name = re.sub(r"[^\w.=,()-]", "_", mode.replace(", ", ",").replace("'", ""))
        return self.folder / f"{name}.jsonl"

    def _config(self, path: Path) -> dict[str, Any]:
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(known["modes"], dict):
                return dict(known)
        except (ValueError, TypeError, KeyError):
            pass
        raise InvalidInput(f"{path}: damaged", "Give another --out.")


def _differences(known: dict[str, Any], wanted: dict[str, Any]) -> Iterable[tuple[str, Any, Any]]:
    for key in dict.fromkeys([*known, *wanted]):
        old, new = known.get(key), wanted.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            # A mode that is new to the run is no difference.
            yield from ((f"{key}.{k}", old[k], new.get(k)) for k in old if old[k] != new.get(k))
        elif old != new:
            yield key, old, new


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    sync(part)
    part.replace(path)
    sync(path.parent, deep=False)
