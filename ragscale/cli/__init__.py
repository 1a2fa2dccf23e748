"""The ``ragscale`` command: parses, calls and renders; everything heavy is imported by the command that needs it."""

from __future__ import annotations

import errno
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from ragscale.cli import ask, doctor, fit, index, model, modes, plan, report, serve, sweep, trace, tune, world
from ragscale.cli.progress import Terminated
from ragscale.cli.terminal import plain
from ragscale.errors import CallStoreError, RagscaleError
from ragscale.version import __version__

__all__ = ["app"]


_OF_HOME = re.compile(r"\A(--[a-z-]+=)~(?=/|\Z)")


class _Root(TyperGroup):
    """Turns ragscale's own errors into a message and an exit code, and its warnings into a line."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # shells leave the ~ of --out=~/index as it stands, and a folder of that name would be made
        return super().parse_args(
            ctx, [_OF_HOME.sub(lambda found: found[1] + os.path.expanduser("~"), arg) for arg in args]
        )

    def invoke(self, ctx: Any) -> Any:
        try:
            with _warnings_as_lines():
                return super().invoke(ctx)
        except (CallStoreError, RagscaleError) as error:
            if ctx.params.get("debug"):
                raise
            _complain(str(error), error)
            raise typer.Exit(1) from error
        except OSError as error:
            if error.errno != errno.ENOSPC or error.filename is not None or ctx.params.get("debug"):
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else Python tries again at its end, and tells
            _complain(f"The output cannot be written ({error.strerror}).", error)
            raise typer.Exit(1) from error
        except Terminated as error:
            _complain("Terminated.", error)
            raise typer.Exit(143) from error
        except KeyboardInterrupt as error:
            _complain("Interrupted.", error)
            raise typer.Exit(130) from error


def _complain(message: str, error: BaseException) -> None:
    """Show a message in a line, with what the error notes about work that is kept."""
    _say(" ".join([message, *getattr(error, "__notes__", ())]), "red")


def _say(text: str, style: str) -> None:
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True).print(Text(plain(text), style=style), soft_wrap=True)


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Show a warning of ragscale as a line, above whatever is live; its place in the source tells the user nothing."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if category.__module__.startswith("ragscale."):
                _say(f"Warning: {message}", "yellow")
            else:
                usual(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


app = typer.Typer(
    cls=_Root,
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},  # of every command below, too
    pretty_exceptions_show_locals=False,  # a local variable may hold a key
    help="Retrieval-augmented multi-hop question answering, every strategy on one ledger.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ragscale {__version__}")
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every command."""


app.command("ask")(ask.ask)
app.command("trace")(trace.trace)
app.command("search")(index.search)
app.command("eval")(sweep.evaluate)
app.command("sweep")(sweep.sweep)
app.command("report")(report.report)
app.command("fit")(fit.fit)
app.command("serve")(serve.serve)
app.command("modes")(modes.modes)
app.command("plan")(plan.plan)
app.command("doctor")(doctor.doctor)
index.app.command("tune")(tune.tune)
index.app.command("reindex")(tune.reindex)
app.add_typer(index.app, name="index")
app.add_typer(model.app, name="model")
app.add_typer(world.app, name="world")
