"""Retrieval modes by name: the built-in ones, and those that other packages register by an entry point.

A third party adds a mode by a `Mode` subclass and an entry point in the group ``ragscale.modes``.
"""

from __future__ import annotations

import functools
import keyword
import re
import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ragscale.arguments import nearest
from ragscale.errors import InvalidInput
from ragscale.modes.auto.mode import Auto
from ragscale.modes.core import mode as mode_module
from ragscale.modes.core.mode import Mode
from ragscale.modes.ensemble.best_of_n import BestOfN
from ragscale.modes.ensemble.mixture import Mixture
from ragscale.modes.ensemble.multi_chain import MultiChain
from ragscale.modes.ensemble.retry import Retry
from ragscale.modes.ensemble.vote import Vote
from ragscale.modes.search.beam import Beam
from ragscale.modes.search.bidirectional import Bidirectional
from ragscale.modes.search.evolve import Evolve
from ragscale.modes.search.mcts import Mcts
from ragscale.modes.search.muse import Muse
from ragscale.modes.search.tot import Tot
from ragscale.modes.search.tree import Tree
from ragscale.modes.sequential.adaptive import Adaptive
from ragscale.modes.sequential.chain import Chain
from ragscale.modes.sequential.direct import Direct
from ragscale.modes.sequential.ircot import IRCoT
from ragscale.modes.sequential.iter_retgen import IterRetGen
from ragscale.modes.sequential.once import Once
from ragscale.modes.sequential.parallel import Parallel
from ragscale.modes.sequential.react import React
from ragscale.modes.sequential.revise import Revise
from ragscale.modes.sequential.self_ask import SelfAsk

__all__ = [
    "Adaptive",
    "Auto",
    "Beam",
    "BestOfN",
    "Bidirectional",
    "Chain",
    "Direct",
    "Evolve",
    "IRCoT",
    "IterRetGen",
    "Mcts",
    "Mixture",
    "Mode",
    "MultiChain",
    "Muse",
    "Once",
    "Parallel",
    "React",
    "Retry",
    "Revise",
    "SelfAsk",
    "Tot",
    "Tree",
    "Vote",
    "get",
    "registered",
]

_BUILT_IN: tuple[type[Mode], ...] = (
    Direct,
    Once,
    Chain,
    SelfAsk,
    IRCoT,
    IterRetGen,
    Revise,
    Parallel,
    React,
    Adaptive,
    Tree,
    Beam,
    Tot,
    Vote,
    BestOfN,
    MultiChain,
    Mixture,
    Retry,
    Mcts,
    Bidirectional,
    Muse,
    Evolve,
    Auto,
)
"""In the order in which they are listed everywhere."""

_NAME = re.compile(r"[^\W\d][\w.-]*")
"""Names that `ragscale.modes.spec` reads."""


@functools.lru_cache(maxsize=4)
def _points(path: tuple[str, ...]) -> list[EntryPoint]:
    """Entry points of modes by name, in the packages on `path`. To read the metadata of all of them takes longer than a
    question of `once` does beside its model: a package that is installed meanwhile is found by the next process."""
    return sorted(entry_points(group="ragscale.modes"), key=lambda point: point.name)


def registered() -> dict[str, type[Mode]]:
    """Every mode class by name: built-in modes first, then those of entry points by name.

    Raises:
        InvalidInput: An entry point cannot be loaded, is not a `Mode` class, has a name that a text of modes cannot
            have, or one that is taken.
    """
    modes: dict[str, type[Mode]] = {cls.name: cls for cls in _BUILT_IN}
    for point in _points(tuple(sys.path)):
        try:
            cls = point.load()
        except Exception as error:  # whatever the code of another package does
            raise InvalidInput(
                f"Entry point {point.value} cannot be loaded ({type(error).__name__}: {error})",
                f"Update or uninstall {point.dist.name if point.dist else 'its package'}.",
            ) from error
        if not (isinstance(cls, type) and issubclass(cls, Mode)):
            raise InvalidInput(f"Entry point {point.value} is no Mode class", "Subclass ragscale.modes.Mode.")
        name = getattr(cls, "name", None)
        if not isinstance(name, str) or not _NAME.fullmatch(name) or keyword.iskeyword(name):
            raise InvalidInput(
                f"Entry point {point.value} is a mode of the name {name!r}",
                "Give it a name of letters, digits and marks, that begins with a letter.",
            )
        if modes.setdefault(cls.name, cls) is not cls:
            raise InvalidInput(f"Two modes are called {cls.name!r}: {modes[cls.name]} and {cls}", "Rename one.")
    return modes


def get(mode: str | Mode | Any) -> Mode:
    """The mode of that name, with the parameters behind it (``"once(k=3)"``) or its defaults; a `Mode` passes through.

    Raises:
        InvalidInput: Unknown name or parameter, where the message suggests the nearest one, or no mode at all.
    """
    if isinstance(mode, Mode):
        return mode
    if isinstance(mode, type) and issubclass(mode, Mode):
        raise InvalidInput(f"mode={mode.__name__} is a class", f"Give an object: {mode.__name__}().")
    if not isinstance(mode, str):
        raise InvalidInput(f"mode={mode!r} is no mode", "Give a name, as in 'chain', or an object, as in Chain().")
    if "(" in mode:
        from ragscale.modes.spec import parse  # which looks the name up here

        return parse(mode)
    known, mode = registered(), mode.strip()
    if mode not in known:
        raise InvalidInput(f"Unknown mode {mode!r}", f"{nearest(mode, known)}Modes: {', '.join(known)}.")
    return known[mode]()


def built_in() -> dict[str, type[Mode]]:
    """The mode classes of ragscale itself, by name, in the order in which they are listed everywhere."""
    return {name: cls for name, cls in registered().items() if cls.__module__.startswith(f"{__name__}.")}


mode_module.registry = sys.modules[__name__]
