"""Embedders: sentence-transformers models by name or folder, the packaged MiniLM by default, or an endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, cast

import numpy as np
from numpy.typing import NDArray

from ragscale.errors import IndexMismatch, InvalidInput, MissingDependency
from ragscale.index.encoders.backends import accelerate, check_backend
from ragscale.index.encoders.bert import may_have_gpu, plain_bert
from ragscale.index.encoders.loading import device, is_endpoint, load, locate, units
from ragscale.index.options import Backend, Dtype, QueryBackend
from ragscale.index.storage.manifest import EmbedderInfo
from ragscale.weights import pinned

__all__ = ["DEFAULT", "DEFAULT_NAME", "Embedder", "canonical_name", "refuse_other_name"]

DEFAULT = "default"
DEFAULT_NAME = "sentence-transformers/all-MiniLM-L6-v2"

_QUERY_PROMPTS = ("query",)
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")


def canonical_name(name: str | Path) -> str:
    """The name that the manifest records: hub names stay, the default model's aliases become its hub name."""
    text = str(name)
    return DEFAULT_NAME if text in (DEFAULT, DEFAULT_NAME, DEFAULT_NAME.rpartition("/")[2]) else text


def refuse_other_name(folder: Path, info: EmbedderInfo | None, embedder: str | Path | None) -> None:
    """Raise an `IndexMismatch` where `embedder` names another model than that of the index in `folder`.

    The weights of a folder, and the vectors of an endpoint, are compared when it is loaded.
    """
    built = None if info is None else info.name
    if embedder is None or (built and (Path(embedder).is_dir() or (is_endpoint(built) and is_endpoint(embedder)))):
        return
    if canonical_name(embedder) != built:
        raise IndexMismatch(
            f"{folder} was built with {'no embedder' if built is None else built}, not with {canonical_name(embedder)}",
            "Leave the embedder out, or build an index with the other one.",
        )


class Encoder(Protocol):
    """Protocol of the models that an `Embedder` runs."""

    lanes: int
    """Batches that it works on at once."""

    def encode(self, texts: Sequence[str], *, prompt: str, query: bool, batch_size: int) -> NDArray[np.float32]:
        """Vectors of any length, shape (len(texts), dimension)."""
        ...

    def close(self) -> None:
        """Release processes and connections."""
        ...


class Embedder:
    """A loaded model or an endpoint; not safe from several threads, its owner is the broker or a build.

    Queries and documents differ by prompt, and by number format: documents may be encoded in bfloat16 (twice as fast
    where the processor has the instructions, the stored vectors never change afterwards), queries are always encoded in
    float32, so that what a query is batched with moves its vector by 1e-7 and not by 1e-2. An endpoint chooses its own.

    A context manager; closing it stops the processes of `devices`.
    """

    def __init__(self, model: Encoder, info: EmbedderInfo) -> None:
        self._model = model
        self.info = info

    @property
    def lanes(self) -> int:
        """Batches that it works on at once: a call should bring a few times as many."""
        return self._model.lanes

    @classmethod
    def for_documents(
        cls,
        name: str | Path = DEFAULT,
        *,
        dtype: Dtype = "auto",
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        backend: Backend = "torch",
        devices: Sequence[str] = (),
        recorded: str | None = None,
    ) -> Embedder:
        """Load a model to encode passages with.

        Args:
            name: ``"default"``, a hub name, the folder of a local model, or ``"endpoint:URL#MODEL"``.
            dtype: ``"auto"`` is bfloat16 where the processor has instructions for it, else float32. An endpoint has
                its own, and only ``"auto"`` fits it.
            query_prompt: Put before queries; the model's own where None.
            document_prompt: Put before passages; the model's own where None.
            backend: Computes the vectors: ``"torch"``, ``"openvino"`` or ``"onnx"``; see `encoders.backends`.
            devices: Devices of worker processes that share the work, for instance ``["cuda:0", "cuda:1"]`` or
                ``["cpu", "cpu"]``; by default this process does it all. Each holds a copy of the model.
            recorded: Revision of a hub model to fetch; the newest where None.

        Raises:
            EndpointError: The endpoint cannot be reached.
            InvalidInput: Settings that exclude each other, or a device that is not there.
            ModelError: The vector of a fixed text is zero or not finite.
            ModelFileError: The model cannot be loaded or fetched.
            MissingDependency: sentence-transformers, or the package of a backend, is not installed.
        """
        if is_endpoint(name):
            _check_endpoint(dtype, backend, devices)
            return _served(str(name), query_prompt or "", document_prompt or "")
        chosen = _dtype(dtype, backend)
        if devices and backend != "torch":
            raise InvalidInput(f"backend {backend} runs in one process", "Leave devices out, or use torch.")
        _check_devices(devices)
        folder, revision = _locate(canonical_name(name), recorded)
        check_backend(backend)
        model = _load(folder)
        # measured before the cast, in case a model refuses short inputs in half precision
        dimension = int(_encode(_Local(model), ["dimension"], prompt="", query=False, batch_size=1).shape[1])
        info = EmbedderInfo(
            name=canonical_name(name),
            revision=revision,
            dtype=chosen,
            dimension=dimension,
            max_tokens=int(model.max_seq_length or 0),
            query_prompt=_prompt(model, _QUERY_PROMPTS) if query_prompt is None else query_prompt,
            document_prompt=_prompt(model, _DOCUMENT_PROMPTS) if document_prompt is None else document_prompt,
        )
        accelerate(model, backend, half=chosen == "bfloat16")
        return cls(_Local(model, devices), info)

    @classmethod
    def of(
        cls,
        info: EmbedderInfo,
        *,
        source: str | Path | None = None,
        backend: Backend = "torch",
        devices: Sequence[str] = (),
    ) -> Embedder:
        """Load the model of an index to encode more passages with, as the others were encoded.

        Args:
            info: The embedder of the index.
            source: Where the same model lies on this machine, or is served, if not under its recorded name.
            backend: Computes the vectors.
            devices: Devices of worker processes that share the work.

        Raises:
            IndexMismatch: The model found is another one.
            InvalidInput: Settings that exclude each other; an endpoint has its own backend and devices.
        """
        if is_endpoint(info.name):
            _check_endpoint("auto", backend, devices)
            return cls.for_queries(info, source=source)
        found = cls.for_documents(
            source or info.name,
            dtype=cast("Dtype", info.dtype),
            query_prompt=info.query_prompt,
            document_prompt=info.document_prompt,
            backend=backend,
            devices=devices,
            recorded=info.revision,
        )
        if not info.same_as(replace(found.info, name=info.name)):
            found.close()
            raise IndexMismatch(
                f"the index was built with {info.name} at {info.revision}, found {found.info.name} at "
                f"{found.info.revision}",
                "Restore that model, or build the index again with this one.",
            )
        return cls(found._model, info)

    @classmethod
    def for_queries(
        cls, info: EmbedderInfo, *, source: str | Path | None = None, backend: QueryBackend = "auto"
    ) -> Embedder:
        """Load the model of an index, in float32, to encode queries with.

        Args:
            info: The embedder of the index.
            source: Where the same model lies on this machine, or is served, if not under its recorded name.
            backend: Computes the vectors; ``"auto"`` is NumPy where that will do (see `encoders.bert`), else torch.

        Raises:
            EndpointError: The endpoint cannot be reached.
            IndexMismatch: The model found has other weights.
        """
        if is_endpoint(info.name):
            from ragscale.index.encoders.endpoint import Endpoint  # and with it the HTTP client

            served = Endpoint(str(source or info.name))
            served.check(info)
            return cls(served, info)
        folder, revision = _locate(canonical_name(source or info.name), info.revision)
        if revision != info.revision:
            raise IndexMismatch(
                f"the index was built with {info.name} at {info.revision}, found {revision} in {folder.name}",
                "Restore that model, or build the index again with this one.",
            )
        if backend == "auto":
            bert = None if may_have_gpu() else plain_bert(folder, info.max_tokens)
            if bert is not None:
                return cls(bert, info)
            backend = "torch"
        check_backend(backend)
        model = _load(folder)
        accelerate(model, backend, half=False)
        return cls(_Local(model), info)

    def encode_queries(self, texts: Sequence[str], *, batch_size: int = 64) -> NDArray[np.float32]:
        """Vectors of length 1, shape (len(texts), dimension). Raises `ModelError` for one that has no direction."""
        return _encode(self._model, texts, prompt=self.info.query_prompt, query=True, batch_size=batch_size)

    def encode_documents(self, texts: Sequence[str], *, batch_size: int = 64) -> NDArray[np.float32]:
        """Vectors of length 1, shape (len(texts), dimension); batches are formed by length, results in given order.

        Raises:
            ModelError: A vector has no direction: its length is 0, or beyond float32; or see `Endpoint.encode`.
        """
        return _encode(self._model, texts, prompt=self.info.document_prompt, query=False, batch_size=batch_size)

    def close(self) -> None:
        """Stop worker processes, close connections. Idempotent."""
        self._model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class _Local:
    """A sentence-transformers model, in this process or in one for each of some devices."""

    def __init__(self, model: Any, devices: Sequence[str] = ()) -> None:
        self._model = model
        self.lanes = max(1, len(devices))
        self._pool = model.start_multi_process_pool(list(devices)) if devices else None

    def encode(self, texts: Sequence[str], *, prompt: str, query: bool, batch_size: int) -> NDArray[np.float32]:
        call = self._model.encode_query if query else self._model.encode_document
        found: NDArray[np.float32] = call(
            list(texts),
            prompt=prompt,
            batch_size=batch_size,
            show_progress_bar=False,
            pool=self._pool,
            chunk_size=batch_size if self._pool else None,
        )
        return found

    def close(self) -> None:
        if self._pool is not None:
            self._model.stop_multi_process_pool(self._pool)
            self._pool = None


def _encode(model: Encoder, texts: Sequence[str], *, prompt: str, query: bool, batch_size: int) -> NDArray[np.float32]:
    vectors = model.encode(texts, prompt=prompt, query=query, batch_size=batch_size)
    return units(vectors, texts)  # here and not in the model: a bfloat16 norm is off by up to 1e-2


def _served(name: str, query_prompt: str, document_prompt: str) -> Embedder:
    from ragscale.index.encoders.endpoint import Endpoint

    served = Endpoint(name)
    return Embedder(served, served.info(query_prompt, document_prompt))


def _check_endpoint(dtype: str, backend: str, devices: Sequence[str]) -> None:
    for option, value, default in (("dtype", dtype, "auto"), ("backend", backend, "torch"), ("devices", devices, ())):
        if value != default and list(value) != list(default):
            raise InvalidInput(f"{option} {value!r} for an endpoint, which computes as it likes", "Leave it out.")


def _check_devices(devices: Sequence[str]) -> None:
    """Try each device: a worker that cannot have its device would die and leave this process waiting."""
    import torch

    for name in devices:
        try:
            torch.empty(0, device=name)
        except (RuntimeError, AssertionError) as error:  # the latter from a torch without CUDA
            raise InvalidInput(
                f"device {name!r} cannot be used ({str(error).partition(chr(10))[0]})",
                "Name devices that PyTorch has here, such as cpu or cuda:0, or leave them out.",
            ) from error


def _locate(name: str, recorded: str | None) -> tuple[Path, str]:
    return locate(
        str(pinned.path("embedder")) if name == DEFAULT_NAME else name,
        recorded,
        role="embedder",
        remedy="Check the path, or say where the model is now: Index.open(DIR, embedder=FOLDER).",
    )


def _load(folder: Path) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingDependency(f"sentence-transformers cannot be imported ({error})", "Reinstall ragscale.") from error
    return load(folder, "embedder", SentenceTransformer)


def _dtype(wanted: Dtype, backend: Backend) -> str:
    import torch

    if backend == "onnx" and wanted == "bfloat16":
        raise InvalidInput("dtype bfloat16 with backend onnx, which computes in float32", "Use openvino or torch.")
    if wanted in ("float32", "bfloat16"):
        return wanted
    if wanted != "auto":
        raise InvalidInput(f"unknown dtype {wanted!r}", "Choose one of: auto, float32, bfloat16.")
    if backend == "onnx":
        return "float32"
    if device() == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    # private, and the only name torch has for it: absent on other processors and maybe in later versions
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return "bfloat16" if probe() else "float32"


def _prompt(model: Any, names: Sequence[str]) -> str:
    return next((model.prompts[name] for name in names if name in model.prompts), "")
