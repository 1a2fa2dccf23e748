"""Warnings about what an endpoint cannot do: each shown once, so that a degraded run is a visible one."""

from __future__ import annotations

import warnings

__all__ = ["ModelWarning", "Notices"]


class ModelWarning(UserWarning):
    """An endpoint lacks something, and ragscale goes on without it."""


class Notices:
    """Shows each notice once for one model."""

    def __init__(self) -> None:
        self._shown: set[str] = set()

    def once(self, key: str, text: str) -> None:
        """Warn with `text`, unless a notice of this `key` was shown before."""
        if key not in self._shown:
            self._shown.add(key)
            warnings.warn(text, ModelWarning, stacklevel=3)
