"""Servers that this process starts: a program on a loopback port, waited for, started again, and stopped."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import httpx

from ragscale.endpoint.http import open_client, read_bounded
from ragscale.endpoint.transport import LARGEST
from ragscale.errors import EndpointError
from ragscale.llm import keeper
from ragscale.llm.notices import ModelWarning
from ragscale.types import Spend

__all__ = ["ServerProcess"]

_PORTS = range(20_000, 32_000)  # below those that systems give out by themselves: nothing takes one while it starts
_SILENCE = 5.0  # seconds in which a look at a server that starts ends
_PAUSE = 0.1  # seconds between two looks at a server that starts
_TRIES = 3  # at a port that nobody else took in the meantime
_RESTARTS = 3  # in an hour: what always ends again is to be looked at
_LINES, _CHARACTERS = 25, 3_000  # of a log that are shown
_PREFIX = re.compile(r"^(\([^()]* pid=\d+\) )*((DEBUG|INFO|WARNING|ERROR|CRITICAL) [\d:. -]+(\[[^]]*\] )?)?")
_CAUSE = re.compile(r"^(\S*: )?([\w.]*(Error|Exception|Interrupt)|error): \S")
_FRAME = re.compile(r'\s*File "[^"]*", line \d+')


class ServerProcess:
    """A server that runs beside this process on a loopback port, and no longer than it.

    Safe for use from several threads and event loops; after a fork the parent alone looks after it.

    Args:
        what: Its name in messages.
        command: Makes the words of its command line from a port.
        environment: Of the program.
        serves: Whether the JSON at ``/v1/models`` is that of this server.
        patience: Seconds in which it must serve.
    """

    def __init__(
        self,
        what: str,
        command: Callable[[int], list[str]],
        *,
        environment: Mapping[str, str],
        serves: Callable[[Any], bool],
        patience: float,
    ) -> None:
        self.what = what
        self.took = 0.0
        """Seconds until it served."""
        self._command = command
        self._environment = dict(environment)
        self._serves = serves
        self._patience = patience
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._log: Path | None = None
        self._began = 0  # bytes of the log that are of earlier starts
        self._owner = os.getpid()
        self._starting = threading.Lock()
        self._guard = threading.Lock()
        self._again: Future[None] | None = None
        self._restarts: list[float] = []
        self._lives = 0
        self._served = False
        self._stopped = False
        _all.add(self)

    @property
    def url(self) -> str:
        """Its address; the same after another start."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def log(self) -> Path | None:
        """The file of its log; removed when it is stopped, unless it had failed."""
        return self._log

    @property
    def life(self) -> int:
        """Number of its present life: a greater one later means that it ended meanwhile."""
        return self._lives

    @property
    def ended(self) -> bool:
        """Whether it runs no more, or not yet."""
        if os.getpid() != self._owner:
            return False
        return self._process is None or self._process.poll() is not None

    def start(self) -> None:
        """Start it, unless it runs, and wait until it serves. Raises `EndpointError`, with its log."""
        with self._starting:
            tries = _TRIES
            while self.ended:
                if self._stopped:
                    raise EndpointError(f"{self.what} was stopped", "Make another model.", spend=Spend())
                self._launch()
                try:
                    self._wait()
                except BaseException as error:
                    self._end()
                    tries -= 1
                    taken = isinstance(error, EndpointError) and "ddress already in use" in self._told()
                    if self._served or not taken or not tries:
                        raise
                    self._port = 0  # nobody knows it yet
            self._served = True

    async def ends(self, life: int, within: float = keeper.GRACE) -> bool:
        """Whether that life of it ends now: what listens no more may still have things to put away."""
        for _ in range(int(within / _PAUSE)):
            if self.ended or self.life != life:  # another caller may have started it again
                return True
            await asyncio.sleep(_PAUSE)
        return False

    async def up(self) -> None:
        """Start it again if it ended; callers wait for the same start. Raises `EndpointError`."""
        if self.ended or (self._again is not None and not self._again.done()):
            await asyncio.shield(asyncio.wrap_future(self._revival()))

    def _revival(self) -> Future[None]:
        with self._guard:
            if self._again is None or self._again.done():
                done = self._again = Future()

                def work() -> None:
                    try:
                        self._restart()
                        done.set_result(None)
                    except BaseException as error:
                        done.set_exception(error)

                threading.Thread(target=work, name="ragscale server", daemon=True).start()
            return self._again

    def _restart(self) -> None:
        now = time.monotonic()
        self._restarts = [before for before in self._restarts if now - before < 3600]
        if self._served and not self._stopped and self._process is not None and self.ended:
            how = f"{self.what} ended while it served ({_code(self._process.returncode)})"
            if len(self._restarts) >= _RESTARTS:
                problem = f"{how}, for the {_RESTARTS + 1}th time in an hour"
                raise EndpointError(problem, self._shown(), spend=Spend())
            self._restarts.append(now)
            warnings.warn(f"{how}: it is started again. {self._shown()}", ModelWarning, stacklevel=2)
        self.start()

    def _launch(self) -> None:
        self._port = self._port or _free_port()
        if self._log is None:
            handle, name = tempfile.mkstemp(prefix="ragscale-server-", suffix=".log")
            os.close(handle)
            self._log = Path(name)
        words = [sys.executable, "-I", "-S", keeper.__file__, *self._command(self._port)]
        self._began = self._log.stat().st_size
        self._lives += 1
        with self._log.open("ab") as log:
            # A pipe that stays open as long as this process lives, and is no other program's.
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )

    def _wait(self) -> None:
        assert self._process is not None
        started = time.monotonic()
        with open_client(httpx.Client, self.url, timeout=_SILENCE) as client:
            while not self._answers(client):
                self.took = time.monotonic() - started
                if self._stopped:
                    self._end()  # by another thread, perhaps before it was launched
                if self._process.poll() is not None:
                    if self._stopped:
                        return  # the loop of `start` says so
                    how = f"{self.what} ended before it served ({_code(self._process.returncode)})"
                    cause = _cause(self._told())
                    raise EndpointError(f"{how}: {cause}" if cause else how, self._shown(), spend=Spend())
                if self.took > self._patience:
                    problem = f"{self.what} does not serve after {self._patience:g} s"
                    remedy = f"Give it more time (?startup=SECONDS), or see its log. {self._shown()}"
                    raise EndpointError(problem, remedy, spend=Spend())
                time.sleep(_PAUSE)
        self.took = time.monotonic() - started

    def _answers(self, client: httpx.Client) -> bool:
        deadline = time.monotonic() + _SILENCE
        with contextlib.suppress(httpx.HTTPError, ValueError, RecursionError, TimeoutError):
            with client.stream("GET", f"{self.url}/v1/models") as response:
                listed = read_bounded(response, LARGEST, deadline=deadline)
            return response.status_code == 200 and self._serves(json.loads(listed))
        return False

    def _told(self) -> str:
        """Its log so far, or the end of a long one."""
        assert self._log is not None
        with contextlib.suppress(OSError), self._log.open("rb") as file:
            file.seek(max(self._began, self._log.stat().st_size - 2**20))
            return file.read().decode("utf-8", "replace")
        return ""

    def _shown(self) -> str:
        text = "\n".join(_telling(self._told())[-_LINES:])[-_CHARACTERS:]
        return f"The end of its log (all of it is in {self._log}):\n{text}" if text else "It logged nothing."

    def stop(self) -> None:
        """End it and wait for its end; nothing where that was done before. It cannot be started again."""
        if os.getpid() != self._owner or self._stopped:
            return
        self._stopped = True
        failed = self._process is not None and self._process.poll() is not None
        self._end()
        if self._log is not None and not failed:
            self._log.unlink(missing_ok=True)

    def _end(self) -> None:
        if self._process is None:
            return
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # the keeper ends it
        try:
            self._process.wait(keeper.GRACE + 5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


_all: weakref.WeakSet[ServerProcess] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    for server in list(_all):
        server.stop()


def _free_port() -> int:
    for port in random.sample(_PORTS, 200):
        with socket.socket() as held, contextlib.suppress(OSError):
            held.bind(("127.0.0.1", port))
            return port
    raise EndpointError("No port of this machine is free for a server", "Stop some servers.", spend=Spend())


def _code(code: int | None) -> str:
    if code is not None and (code < 0 or code > 128):
        return f"signal {-code if code < 0 else code - 128}"
    return f"exit code {code}"


def _telling(log: str) -> list[str]:
    """The lines of a log without the frames of its tracebacks, and without who wrote them when."""
    kept: list[str] = []
    code = False
    for line in log.splitlines():
        line = _PREFIX.sub("", line).rstrip()
        frame = _FRAME.match(line) is not None
        quoted = code and line.startswith("    ")  # the line of a program behind its place
        if line.strip(" ^~") and not frame and not quoted:
            kept.append(line)
        code = frame
    return kept


def _cause(log: str) -> str:
    """The first error of a log: what follows is its consequence."""
    lines = _telling("\n".join(line for line in log.splitlines() if "WARNING" not in line and "INFO" not in line))
    found = next((place for place, line in enumerate(lines) if _CAUSE.match(line)), len(lines) - 1)
    if not lines:
        return ""
    # pydantic's first line only counts them
    more = lines[found + 1].strip() if "validation error" in lines[found] and found + 1 < len(lines) else ""
    return (more or lines[found])[:400]
