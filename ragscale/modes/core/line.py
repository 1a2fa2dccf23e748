"""Write-ahead log of a run that is kept: what its calls may cost is on the disk before they are made.

A checkpoint holds the cost of nodes that have ended. What a node had spent when its process died is in none, though the
server has counted it: the line has it, beside the checkpoints.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, Checkpoint
from langgraph.runtime import ExecutionInfo

from ragscale.types import Spend

__all__ = ["SaverError", "WriteAheadLog"]

_PLACE = "ragscale.line"
"""Checkpoint namespace and id of the line: one row, which each write replaces."""
_KEY = "ragscale_line"


class SaverError(Exception):
    """A failure of a saver, which is its cause; of no class that a mode goes on without, as of a model or an index."""


@dataclass
class _Entry:
    """Cost of a node that has not ended: its complete calls, and those in flight at the most that they may cost."""

    graph: str
    """Checkpoint namespace of the graph that the node is of."""
    checkpoint: str
    """The graph's checkpoint from which the node started."""
    spend: Spend


@dataclass
class WriteAheadLog:
    """Write-ahead log of one run: one line, which each write replaces.

    Args:
        saver: Where the run is kept.
        thread_id: Its name there.
        lost: Cost of calls that killed processes had made, and that no checkpoint holds.
    """

    saver: BaseCheckpointSaver[Any]
    thread_id: str
    lost: Spend = field(default_factory=Spend)
    _open: dict[str, _Entry] = field(default_factory=dict)
    """By task."""
    _changes: int = 0
    _written: int = 0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def read(self, unfinished: set[str]) -> None:
        """Read what killed processes left behind: the cost of tasks that are `unfinished` is lost.

        Raises:
            KeyError, TypeError, ValueError: The file does not hold a line.
        """
        saved = await self.saver.aget_tuple(self._config(checkpoint_id=_PLACE))
        if saved is None:
            return
        line = json.loads(str(dict(saved.metadata)[_KEY]))
        costs = [line["lost"], *(cost for task, cost in line["open"].items() if task in unfinished)]
        self.lost = sum(map(Spend.read, costs), Spend())
        if len(costs) > 1:  # once they have been run again these tasks are unfinished no more
            self._changes += 1
            await self._write(self._changes)

    async def ahead(self, task: ExecutionInfo, wanted: Spend) -> None:
        """Write down that a call of `task` is about to be made that may cost `wanted`."""
        graph = task.checkpoint_ns.rpartition("|")[0]
        for name, entry in list(self._open.items()):
            # The graph has a new checkpoint: nodes that started from an earlier one are in it.
            if entry.graph == graph and entry.checkpoint != task.checkpoint_id:
                del self._open[name]
        entry = self._open.setdefault(task.task_id, _Entry(graph, task.checkpoint_id, Spend()))
        entry.spend += wanted
        self._changes += 1
        await self._write(self._changes)

    def settle(self, task: ExecutionInfo, wanted: Spend, actual: Spend) -> None:
        """Replace what a call might have cost by what it did; the next write takes it along."""
        if entry := self._open.get(task.task_id):
            entry.spend += actual - wanted

    def ended(self, task: ExecutionInfo) -> None:
        """Forget the nodes of an inner run that `task` has run to its end: its own checkpoints have them."""
        for name, entry in list(self._open.items()):
            if f"{entry.graph}|".startswith(f"{task.checkpoint_ns}|"):
                del self._open[name]

    async def _write(self, change: int) -> None:
        async with self._lock:
            if self._written >= change:  # another call's write took it along
                return
            upto = self._changes
            line = {
                "lost": self.lost.to_dict(),
                "open": {task: entry.spend.to_dict() for task, entry in self._open.items()},
            }
            checkpoint = cast(Checkpoint, {
                "v": 1, "id": _PLACE, "ts": "", "channel_values": {}, "channel_versions": {_PLACE: "1"},
                "versions_seen": {}, "updated_channels": None,
            })  # fmt: skip
            metadata: Any = {"source": "update", "step": -1, "parents": {}, _KEY: json.dumps(line)}
            await self.saver.aput(self._config(), checkpoint, metadata, {})
            self._written = upto

    def _config(self, **place: str) -> RunnableConfig:
        return {"configurable": {"thread_id": self.thread_id, "checkpoint_ns": _PLACE, **place}}
