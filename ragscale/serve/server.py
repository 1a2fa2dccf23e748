"""Process of the server: socket, signals, shutdown."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import uvicorn

from ragscale.endpoint.urls import is_loopback
from ragscale.errors import InvalidInput, RagscaleError
from ragscale.index import Index
from ragscale.serve.app import Service
from ragscale.serve.connection import bounded
from ragscale.serve.limits import Limits
from ragscale.words import counted

__all__ = ["read_token", "serve"]

_SHORTEST_TOKEN = 16
_NEW_TOKEN = 'python -c "import secrets; print(secrets.token_urlsafe(32))"'


def read_token(variable: str, host: str) -> str | None:
    """The token in an environment variable; needed wherever others than this machine can reach the server.

    Args:
        variable: Name of the environment variable.
        host: Address that the server listens on.

    Raises:
        InvalidInput: No token for a host that is not the loopback interface, or one that is short or no ASCII.
    """
    token = os.environ.get(variable, "").strip()
    if not token:
        if is_loopback(host):
            return None
        raise InvalidInput(
            f"{host} can be reached from other machines, and {variable} holds no token",
            f"Put one into the variable {variable}, for instance from: {_NEW_TOKEN}",
        )
    if len(token) < _SHORTEST_TOKEN:
        raise InvalidInput(
            f"the token in {variable} has {counted(len(token), 'character')}, the least is {_SHORTEST_TOKEN}",
            f"Make one with: {_NEW_TOKEN}",
        )
    if not all("!" <= letter <= "~" for letter in token):
        raise InvalidInput(
            f"the token in {variable} holds a space or something else that no HTTP header takes",
            f"Make one with: {_NEW_TOKEN}",
        )
    return token


def serve(
    index: Index,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    token: str | None = None,
    limits: Limits | None = None,
    rerankers: Sequence[str] = (),
    origins: Sequence[str] = (),
    watch: int | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> None:
    """Serve an index until SIGINT or SIGTERM; what is in flight then is finished, in `shutdown_seconds` at most.

    SIGHUP moves to its newest commit.

    Call it in the main thread. The port is taken first, as models may take minutes to load. It is opened when the index
    was searched once, so that a missing model is an error here, and no client waits for its loading. The index stays
    open at the end.

    Args:
        index: Open.
        host: Address to listen on.
        port: Port to listen on; 0 for any free one.
        token: What clients must send; see `read_token`.
        limits: Bounds of requests.
        rerankers: Models that clients may name in `rerank`: folders or hub names.
        origins: Of web pages that may send requests, as ``http://localhost:3000``; those of others are refused.
        watch: Seconds after which to look for a newer commit of the index, again and again; None for SIGHUP alone.
        tell: Called with a line about the server before it loads, when it listens and when it moved to another commit.

    Raises:
        InvalidInput: The address cannot be listened on, or an origin is malformed.
        RagscaleError: The index cannot be searched.
    """
    limits = limits or Limits()
    with _taken(host, port) as listener:
        embedder = index.manifest.embedder
        models = [*([embedder.name] if embedder else []), *rerankers]
        tell(f"{index.path}: loading {', '.join(['the index', *models])}; {_url(listener)} opens when that is done")
        service = Service(index, limits=limits, token=token, rerankers=rerankers, origins=origins)
        for rerank in (None, *rerankers):
            index.search(["ready?"], 1, rerank=rerank)
        config = uvicorn.Config(
            service.app(),
            http=bounded(limits, service.counters),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=limits.idle_seconds,
            timeout_graceful_shutdown=limits.shutdown_seconds,
            h11_max_incomplete_event_size=1 << 16,
        )
        with _refusing(host, port):
            listener.listen(1024)
        tell(f"{index.path}: {counted(len(index), 'passage')} at {_url(listener)}")
        _Server(config, service, watch, tell).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Reloads its index, and ends in a return, not in the signal that stopped it."""

    def __init__(
        self, config: uvicorn.Config, service: Service, watch: int | None, tell: Callable[[str], None]
    ) -> None:
        super().__init__(config)
        self._service = service
        self._watch = watch
        self._tell = tell
        self._looked = time.monotonic()
        self._wanted = False
        self._reloading: asyncio.Task[None] | None = None

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second."""
        due = self._watch is not None and time.monotonic() >= self._looked + self._watch
        if (self._wanted or due) and (self._reloading is None or self._reloading.done()):
            self._wanted = False
            self._looked = time.monotonic()
            self._reloading = asyncio.create_task(self._reload())
        return await super().on_tick(counter)

    async def _reload(self) -> None:
        index = self._service.index
        failed = "not reloaded"
        try:
            if await asyncio.to_thread(index.reload):
                failed = "reloaded, but not to be searched"
                # loads what searches need, before a client has to wait; a thread that waits for a hung embedder here
                # would keep the process from its end
                await index.asearch([], 1)
                self._tell(f"{index.path}: reloaded, {counted(len(index), 'passage')}")
        except RagscaleError as error:
            self._tell(f"{index.path}: {failed}: {error}")

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        handlers = {signal.SIGINT: self._stop, signal.SIGTERM: self._stop}
        if hasattr(signal, "SIGHUP"):  # not on Windows
            handlers[signal.SIGHUP] = self._want_reload
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _want_reload(self, number: int, frame: object) -> None:
        self._wanted = True

    def _stop(self, number: int, frame: object) -> None:
        self.force_exit = self.should_exit and number == signal.SIGINT  # Ctrl-C twice waits for nobody
        self.should_exit = True


@contextmanager
def _taken(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that has the port; clients are refused until it listens."""
    with _refusing(host, port):
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family)
    with listener:
        with _refusing(host, port):
            if os.name == "posix":  # elsewhere it would let two servers have the port
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address[:2])
        yield listener


@contextmanager
def _refusing(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except (OSError, OverflowError) as error:
        raise InvalidInput(
            f"cannot listen on {host}:{port} ({error})", "Choose another --port, or an address of this machine."
        ) from None


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
