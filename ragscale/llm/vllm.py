"""vLLM beside this process: a server on a loopback port, started for it and spoken to like any other endpoint."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ragscale.endpoint.replies import ModelList, read
from ragscale.endpoint.transport import Transport, UnreachableError
from ragscale.errors import EndpointError, InvalidInput, MissingDependency, ModelError, ModelFileError
from ragscale.llm.process import ServerProcess
from ragscale.llm.shared import Servers, Sharing
from ragscale.paths import expanded

__all__ = ["VllmLLM"]

_OWNED = frozenset(
    ("model", "host", "port", "uds", "served_model_name", "root_path", "config", "ssl_keyfile", "ssl_certfile")
)
"""Options of the server that the way to it rests on."""
_SECRET = {"api_key": "the server needs none", "hf_token": "put it into HF_TOKEN"}
"""Options with keys, which everyone on the machine could read in the list of processes."""
_DEFAULTS = {"enable_prompt_tokens_details": True}  # or nobody knows how much of a prompt came from the cache


class VllmLLM(Sharing):
    """A model that vLLM serves on this machine, by a server that is started with it and stopped with its last user.

    Objects of the same settings share one server. One that ends while it serves is started again by the next call, up
    to three times an hour; what was under way is repeated like any call whose connection broke.

    Args:
        model: A name on the Hugging Face hub, or a folder.
        options: Of vLLM's server by their names, as ``{"max_model_len": 4096}``; those that it does not know are
            refused in its own words.
        python: Interpreter of the environment that has vLLM; None for the one that ``RAGSCALE_VLLM_PYTHON`` names, else
            this one.
        startup: Seconds in which the server must serve, the download of the model included.
        timeout: Seconds that one attempt may take.
        thinking: As for `OpenAILLM`.
        fields: As for `OpenAILLM`.

    Raises:
        InvalidInput: An option is one that is set here or would show a key, or a number is below its least.
        MissingDependency: The interpreter is absent or has no vLLM.
        ModelFileError: The folder is absent.
        EndpointError: The server ended before it served, or took too long; with the end of its log.
    """

    _servers: ClassVar[Servers[_Key, ServerProcess]] = Servers(ServerProcess.stop)

    def __init__(
        self,
        model: str | os.PathLike[str],
        options: Mapping[str, Any] | None = None,
        *,
        python: str | os.PathLike[str] | None = None,
        startup: float = 900.0,
        timeout: float = 600.0,
        thinking: int | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        if not startup > 0:
            raise InvalidInput(f"startup={startup} is not above 0", "Give seconds.")
        python = str(python or os.environ.get("RAGSCALE_VLLM_PYTHON", "").strip() or sys.executable)
        place, name = _located(str(model))
        given = {key.replace("-", "_") if "." not in key else key: value for key, value in (options or {}).items()}
        _check(given)
        words = tuple(_word(key, value) for key, value in sorted({**_DEFAULTS, **given}.items()) if value is not None)
        # Refused before a server is started for them.
        super().__init__("http://127.0.0.1", name, None, timeout, thinking=thinking, fields=fields)
        self._key = _Key(os.path.expanduser(python), place, name, words)
        self._server_process = _acquire(self._key, startup)
        self._open = True
        self.endpoint = f"{self._server_process.url}/v1"
        """The server's own address; other clients on this machine may use it too."""
        self._transport = _Watched(self._server_process, self.endpoint, timeout)

    def __repr__(self) -> str:
        return f"VllmLLM({self._model!r})"

    @property
    def started_in(self) -> float:
        """Seconds that the server took until it served."""
        return self._server_process.took


class _Watched(Transport):
    """The way to a server of this process, which is started again where it ended."""

    def __init__(self, server: ServerProcess, url: str, timeout: float) -> None:
        super().__init__(url, api_key_env=None, timeout=timeout)
        self._process = server

    async def _send(self, method: str, path: str, body: dict[str, Any] | None, largest: int) -> Any:
        await self._process.up()
        life = self._process.life
        try:
            return await super()._send(method, path, body, largest)
        except UnreachableError as error:
            if not await self._process.ends(life):
                raise ModelError(error.problem, "See its log.", retryable=True, spend=error.spend) from None
        await self._process.up()  # it ended a moment ago, and was sent nothing
        return await super()._send(method, path, body, largest)


@dataclass(frozen=True, slots=True)
class _Key:
    python: str
    place: str
    name: str
    words: tuple[str, ...]


def _located(model: str) -> tuple[str, str]:
    """The model as vLLM takes it, and the name that requests carry."""
    path = expanded(model)
    if path.is_dir():
        return str(path.absolute()), path.absolute().name
    if model.startswith((".", "/", "~")):
        raise ModelFileError(f"There is no folder {model}", "Give the folder of a model, or its name on the hub.")
    return model, model


def _check(options: Mapping[str, Any]) -> None:
    owned = sorted(_OWNED & set(options))
    if owned:
        raise InvalidInput(f"The option {owned[0]} of a vLLM server is set by ragscale", "Leave it out.")
    for name, instead in _SECRET.items():
        if name in options:
            raise InvalidInput(f"The option {name} would be seen in the process list", f"Leave it out: {instead}.")


def _word(name: str, value: Any) -> str:
    """An option on the command line; flags are on or off."""
    first, dot, rest = name.partition(".")
    first = first.replace("_", "-")
    if isinstance(value, bool) and not dot:
        return f"--{first}" if value else f"--no-{first}"
    text = value if isinstance(value, str) else json.dumps(value)
    return f"--{first}{dot}{rest}={text}"


def _acquire(key: _Key, startup: float) -> ServerProcess:
    server = VllmLLM._servers.acquire(key, lambda key: _server(key, startup))
    try:
        server.start()  # for which only others of the same settings wait
    except BaseException as error:
        VllmLLM._servers.release(key)
        if isinstance(error, EndpointError):
            raise _explained(error, key, server.log) from None
        raise
    return server


def _server(key: _Key, startup: float) -> ServerProcess:
    def command(port: int) -> list[str]:
        own = [f"--model={key.place}", f"--served-model-name={key.name}", "--host=127.0.0.1", f"--port={port}"]
        return [key.python, "-m", "vllm.entrypoints.openai.api_server", *key.words, *own]

    def serves(listed: Any) -> bool:
        return any(entry.id == key.name for entry in read(ModelList, listed).entries)

    # It is sent no key, so it must ask for none (VLLM_API_KEY); those of others are none of its business.
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    environment.setdefault("VLLM_NO_USAGE_STATS", "1")
    return ServerProcess(
        f"The vLLM server of {key.name}", command, environment=environment, serves=serves, patience=startup
    )


def _explained(error: EndpointError, key: _Key, log: Path | None) -> Exception:
    """A missing program in plain words, for which nobody needs the log."""
    if "exit code 127" in error.problem:
        known = MissingDependency(
            f"There is no interpreter {key.python}", "Correct ?python=PATH or RAGSCALE_VLLM_PYTHON."
        )
    elif re.search("No module named '?vllm", error.problem):
        known = MissingDependency(
            f"vLLM is not installed for {key.python}",
            f"Install it: {key.python} -m pip install vllm; or name the interpreter of an environment that has it "
            "(?python=PATH, or RAGSCALE_VLLM_PYTHON).",
        )
    else:
        return error
    if log is not None:
        log.unlink(missing_ok=True)
    return known
