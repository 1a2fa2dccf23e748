"""A program that runs another one for as long as its standard input is open: ``python keeper.py COMMAND...``.

The kernel closes that pipe however its other end dies, SIGKILL included, so that no server outlives the process that it
was started for. Run as a file, with nothing but the standard library, beside whatever the command is.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading

__all__ = ["GRACE", "main"]

GRACE = 10.0
"""Seconds that the command has to end by itself."""
_PR_SET_PDEATHSIG = 1


def main(command: list[str]) -> int:
    """Run the command in a session of its own; its exit code, 128 and more where a signal ended it.

    What it leaves behind in its process group is killed.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # SIG_IGN would be the command's, too
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_end_with_parent)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 127
    threading.Thread(target=_watch, args=(child,), daemon=True).start()
    code = child.wait()
    _kill(child.pid)
    return code if code >= 0 else 128 - code


def _watch(child: subprocess.Popen[bytes]) -> None:
    while os.read(0, 4096):  # a buffered reader may not wait in a daemon thread at the end
        pass
    child.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(GRACE)
    _kill(child.pid)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS has the latter for a group of zombies
        os.killpg(group, signal.SIGKILL)


def _end_with_parent() -> None:
    """Let the kernel tell the command if the keeper itself is killed; Linux alone can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
