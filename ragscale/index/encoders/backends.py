"""Other engines than PyTorch under a sentence-transformers model: OpenVINO and ONNX Runtime.

sentence-transformers has such backends itself, by way of `optimum`, whose releases exclude the transformers that it
needs: pip refuses the one and downgrades for the other. So the transformer alone is traced and compiled here, and put
back under tokenizer, pooling and prompts of the model. Nothing but the engine's own package is needed.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ragscale.errors import InvalidInput, MissingDependency, ModelFileError
from ragscale.extras import pip_install
from ragscale.index.options import Backend
from ragscale.weights.telemetry import silent_openvino

__all__ = ["BACKENDS", "accelerate", "check_backend"]

BACKENDS: tuple[Backend, ...] = get_args(Backend)

_Run = Callable[[Sequence[NDArray[np.int64]]], NDArray[np.float32]]
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_OPSET = 17


def check_backend(backend: Backend) -> None:
    """Refuse an unknown backend, or one whose packages are not installed, before anything is loaded.

    Raises:
        InvalidInput: No such backend.
        MissingDependency: Its packages are not installed.
    """
    import importlib.util

    if backend not in BACKENDS:
        raise InvalidInput(f"unknown backend {backend!r}", f"Choose one of: {', '.join(BACKENDS)}.")
    for package in {"torch": (), "openvino": ("openvino",), "onnx": ("onnx", "onnxruntime")}[backend]:
        if importlib.util.find_spec(package) is None:
            raise MissingDependency(
                f"backend {backend} needs {package}, which is not installed",
                f"Install the extra: {pip_install(backend)}; or use the backend torch.",
            )


def accelerate(model: Any, backend: Backend, *, half: bool) -> None:
    """Let a sentence-transformers model compute with a backend, on the CPU where it is not torch.

    Tracing takes seconds and is done anew in each process: nothing is written beside the model.

    Args:
        model: As loaded, in float32; its first module is replaced.
        backend: Of `check_backend`.
        half: Whether to compute in bfloat16, which ONNX Runtime does not.

    Raises:
        ModelFileError: The model is of a kind that cannot be traced.
    """
    import torch

    if backend == "torch":
        if half:
            model.to(dtype=torch.bfloat16)
        return
    model.to("cpu")
    inner = getattr(model[0], "model", None)
    sample = {name: value for name, value in model.preprocess(["one text", "two"]).items() if name in _INPUTS}
    if inner is None or "input_ids" not in sample:
        raise ModelFileError(
            f"backend {backend}: {type(model[0]).__name__} is no transformer", "Use the backend torch."
        )
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # the tracers' own, on shapes and versions
            names, plain = tuple(sample), _plain(inner.eval(), tuple(sample))
            values = tuple(sample.values())
            run = _openvino(plain, values, half) if backend == "openvino" else _onnx(plain, values, names)
    except Exception as error:  # of two compilers, each with kinds of its own
        raise ModelFileError(
            f"backend {backend} cannot compile the model ({error})", "Use the backend torch."
        ) from error
    model[0].model = _compiled(inner.config, names, run)


def _plain(inner: Any, names: tuple[str, ...]) -> Any:
    """The transformer as tracers like it: tensors in, one tensor out."""
    import torch

    class Plain(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, *values: Any) -> Any:
            return self.inner(**dict(zip(names, values, strict=True)), return_dict=True).last_hidden_state

    return Plain()


def _openvino(plain: Any, sample: tuple[Any, ...], half: bool) -> _Run:
    openvino = silent_openvino()
    graph = openvino.convert_model(plain, example_input=sample)
    precision = {"INFERENCE_PRECISION_HINT": "bf16" if half else "f32"}
    compiled = openvino.Core().compile_model(graph, "CPU", precision)
    return lambda values: np.array(compiled(tuple(values))[0], dtype=np.float32)


def _onnx(plain: Any, sample: tuple[Any, ...], names: tuple[str, ...]) -> _Run:
    import onnxruntime
    import torch

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "model.onnx")
        torch.onnx.export(
            plain,
            sample,
            path,
            input_names=list(names),
            output_names=["hidden"],
            dynamic_axes={name: {0: "batch", 1: "length"} for name in (*names, "hidden")},
            opset_version=_OPSET,
            dynamo=False,  # the newer exporter needs two packages more
        )
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda values: np.asarray(session.run(None, dict(zip(names, values, strict=True)))[0])


def _compiled(config: Any, names: tuple[str, ...], run: _Run) -> Any:
    """The traced transformer, in place of the original."""
    import torch
    from transformers.modeling_outputs import BaseModelOutput

    class Compiled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config = config
            self.device = torch.device("cpu")
            self.dtype = torch.float32

        def forward(self, **inputs: Any) -> Any:
            found = run([inputs[name].numpy() for name in names])
            return BaseModelOutput(last_hidden_state=torch.from_numpy(found))

    return Compiled()
