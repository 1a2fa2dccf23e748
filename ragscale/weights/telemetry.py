"""OpenVINO without its telemetry."""

from __future__ import annotations

import sys
from typing import Any, cast

__all__ = ["silent_openvino"]


def silent_openvino() -> Any:
    """The module openvino, with the stub that it takes where `openvino_telemetry` is not installed.

    With that package it tells its makers of each import and each conversion, unasked, by processes that it forks. A
    fork of a process with threads may never end, and keeps its pipes open.
    """
    name, modules = "openvino_telemetry", cast("dict[str, Any]", sys.modules)
    hidden = name not in modules
    if hidden:
        modules[name] = None  # an import of it fails
    try:
        import openvino
        import openvino.tools.ovc
    finally:
        if hidden:
            del modules[name]
    return openvino
