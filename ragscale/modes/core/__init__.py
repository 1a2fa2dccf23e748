"""Building blocks of modes: what a mode of another package is made of comes from here."""

from ragscale.modes.core.asking import CAPS, CORAG, Asking, Planning, Stepwise
from ragscale.modes.core.calls import Context
from ragscale.modes.core.costs import Cost, Costs, Forecast, Room, beside, series
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.inner import inner_run
from ragscale.modes.core.mode import Mode
from ragscale.modes.core.moves import Moves, share
from ragscale.modes.core.nesting import Nesting
from ragscale.modes.core.nodes import branch, node, send, unless_stopped
from ragscale.modes.core.state import Outcome, Scope, State, Update, evidence, noted
from ragscale.modes.core.steps import penalty, read, take

__all__ = [
    "CAPS",
    "CORAG",
    "Asking",
    "Context",
    "Cost",
    "Costs",
    "Forecast",
    "Mode",
    "ModeGraph",
    "Moves",
    "Nesting",
    "Outcome",
    "Planning",
    "Room",
    "Scope",
    "State",
    "Stepwise",
    "Update",
    "beside",
    "branch",
    "evidence",
    "inner_run",
    "node",
    "noted",
    "penalty",
    "read",
    "send",
    "series",
    "share",
    "take",
    "unless_stopped",
]
