"""Wait policy of the worker threads of native libraries, set by importing this module.

By default OpenMP's threads spin while they wait, and on cores that others use too they starve the threads they wait
for: llama.cpp decodes several times slower. OpenMP reads the settings when the first library that uses it loads, and
PyTorch shares its copy with llama.cpp; so `ragscale.weights` imports this module before anything heavy.
"""

from __future__ import annotations

import os
import sys

__all__ = ["in_time"]

_SETTINGS = {"GOMP_SPINCOUNT": "0", "OMP_WAIT_POLICY": "passive"}


def _set() -> bool:
    late = "torch" in sys.modules and not any(name in os.environ for name in _SETTINGS)
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    return not late


in_time: bool = _set()
"""Whether the settings were made, here or by the user, before PyTorch was imported."""
