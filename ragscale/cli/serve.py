"""``ragscale serve``: an index for many clients."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ragscale.errors import InvalidInput, MissingDependency
from ragscale.extras import pip_install
from ragscale.index.options import Backend, Gpus

__all__ = ["serve"]

_LAST_SECONDS = 1.0  # for a batch whose clients are gone already: an endpoint that hangs would take minutes


def serve(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The index.")],
    host: Annotated[str, typer.Option(help="Address to listen on; any but the loopback one needs a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free port.")] = 8765,
    token_env: Annotated[
        str, typer.Option(metavar="NAME", help="Environment variable that holds the token clients must send.")
    ] = "RAGSCALE_TOKEN",
    backend: Annotated[Backend, typer.Option(help="What computes the vectors of queries.")] = "torch",
    gpus: Annotated[
        Gpus | None, typer.Option(help="How several GPUs share the vectors: a part each, or a copy each.")
    ] = None,
    rerank: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL", help="A cross-encoder that clients may ask for: folder or hub name; repeatable."),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN", help="Let web pages of this origin in, as in http://localhost:3000; repeatable."
        ),
    ] = None,
    watch: Annotated[
        int | None,
        typer.Option(metavar="SECONDS", min=1, help="Look for changes of the index so often. Default: upon SIGHUP."),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A bound, as in queue=512; repeatable. docs/serving.md lists them."),
    ] = None,
) -> None:
    """Serve an index over HTTP: POST /retrieve (Search-R1, RAG-R1), /v1 (ragscale's client), /health, /metrics."""
    try:
        from ragscale.serve import Limits, read_token
        from ragscale.serve import serve as run
    except ImportError as error:
        raise MissingDependency(f"the server needs {error.name}", f"Install it: {pip_install('serve')}.") from None
    from ragscale.index import Index

    limits = Limits.parse(dict(_setting(word) for word in limit or []))
    token = read_token(token_env, host)
    index = Index.open(folder, backend=backend, gpus=gpus)
    try:
        run(
            index,
            host=host,
            port=port,
            token=token,
            limits=limits,
            rerankers=rerank or [],
            origins=allow_origin or [],
            watch=watch,
            tell=partial(typer.echo, err=True),
        )
    finally:
        index.close(_LAST_SECONDS)


def _setting(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals:
        raise InvalidInput(f"--limit {word!r} has no value", "Write it as in --limit queue=512.")
    return name, value
