"""A line below a notebook's cell that tells what a call is doing, while its cell has nothing else to show."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

__all__ = ["Life", "in_notebook", "life"]


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and hasattr(shell, "kernel")


class Life:
    """The line; `tell` replaces it. Outside a notebook nothing is shown."""

    def __init__(self, text: str) -> None:
        self._handle: Any = None
        if in_notebook():
            from IPython.display import display

            self._handle = display(_line(text), raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def tell(self, text: str) -> None:
        """Show another text."""
        if self._handle is not None:
            self._handle.update(_line(text), raw=True)

    def end(self) -> None:
        """Leave nothing behind but an empty line's place."""
        if self._handle is not None:
            self._handle.update({"text/html": "", "text/plain": ""}, raw=True)


def _line(text: str) -> dict[str, str]:
    return {"text/html": f'<div style="opacity:.65">⏳ {escape(text)}</div>', "text/plain": text}


@contextmanager
def life(text: str) -> Iterator[Life]:
    """A line that is gone when the call ends, also by an error."""
    line = Life(text)
    try:
        yield line
    finally:
        line.end()
