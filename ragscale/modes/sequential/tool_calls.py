"""Tool calls of an agent, checked before any is done: repeats, more queries than can be sent, numbers of no passage."""

from __future__ import annotations

from collections.abc import Sequence

from ragscale.prompts import Act, Acted, fresh, react

__all__ = ["checked", "searched"]


def searched(acts: Sequence[Act]) -> list[str]:
    """The queries of calls."""
    return [query for act in acts for query in act["queries"]]


def checked(acts: Sequence[Act], turns: Sequence[Acted], most: int) -> list[Act]:
    """The calls of a turn as they are to be done, with notes in words on those parts that are not done.

    Args:
        acts: As they were read.
        turns: The turns before, whose passages have numbers from 1 on.
        most: Queries that may be sent, by all calls together.
    """
    before, ids = [act for turn in turns for act in turn["acts"]], react.shown(turns)
    asked = searched(before)
    opened = {id for act in before if act["opens"] for listed in act["passages"] for id in listed}
    done: list[Act] = []
    for act in acts:
        new = fresh(act["queries"], asked)
        sent = new[: most - len(searched(done))]
        numbers = [number for number in act["opens"] if 1 <= number <= len(ids)]
        full = [number for number in numbers if ids[number - 1] not in opened]
        asked += sent
        opened |= {ids[number - 1] for number in full}
        notes = [
            act["note"],
            "What was looked up before is not looked up again." if len(new) < len(act["queries"]) else "",
            f"Of these, {len(new) - len(sent)} were not looked up: {most} at once is the most." if new != sent else "",
            "There is no document of that number." if len(numbers) < len(act["opens"]) else "",
            "It is shown in full above." if len(full) < len(numbers) else "",
        ]
        passages, note = [[ids[number - 1]] for number in full], " ".join(filter(None, notes))
        done.append(Act(tool=act["tool"], queries=sent, passages=passages, opens=full, note=note))
    return done
