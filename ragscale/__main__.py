"""The ``ragscale`` command, also as ``python -m ragscale``."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; Ctrl-C ends it without a traceback from the first import on."""
    try:
        from ragscale.cli import app
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        sys.exit(130)
    app(prog_name="ragscale")


if __name__ == "__main__":
    main()
