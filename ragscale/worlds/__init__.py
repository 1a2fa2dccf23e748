"""Worlds: synthetic corpora with questions whose answers follow from them, and from nothing that a model knows."""

from __future__ import annotations

from ragscale.worlds.facts import make
from ragscale.worlds.flower import flower
from ragscale.worlds.solve import Facts, Form, check, possible
from ragscale.worlds.world import World

__all__ = ["Facts", "Form", "World", "check", "flower", "make", "possible"]
