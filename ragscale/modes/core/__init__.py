"""Building blocks of modes: what a mode of another package is made of comes from here."""

from ragscale.modes.core.calls import Context
from ragscale.modes.core.costs import Costs, beside
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.inner import inner_run
from ragscale.modes.core.mode import Mode
from ragscale.modes.core.moves import Moves, share
from ragscale.modes.core.nodes import branch, node, send, unless_stopped
from ragscale.modes.core.state import Outcome, Scope, State, Update, evidence, noted

__all__ = [
    "Context",
    "Costs",
    "Mode",
    "ModeGraph",
    "Moves",
    "Outcome",
    "Scope",
    "State",
    "Update",
    "beside",
    "branch",
    "evidence",
    "inner_run",
    "node",
    "noted",
    "send",
    "share",
    "unless_stopped",
]
