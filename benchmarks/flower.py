"""Depth against breadth where it can be proved: scripted policies on the flower task (`ragscale world flower`).

Every chain makes real searches in a real BM25 index, one place a search; each is reserved and settled in the chain's
own ledger, below that of its instance, and a chain ends when its ledger refuses. For D petals, short sides of s = 3:

- *votes*: K chains of fewer than s * D retrievals each. No view joins the start to a target, so any vote is a coin's;
- *merged*: the same chains, those from the start and those from the targets; their notes together do join them;
- *one chain* that goes depth-first, remembers, and may go on as long as it likes;
- *the walk at s * D retrievals*: it succeeds with (1/3) (1/4)^(D-1), one turn of three, then one of four a junction.

    python benchmarks/flower.py --petals 2,3,4,5 --instances 2000

Ends with 1 where a claim does not hold. That no view decides, and that the ledgers are right, is exact. A rate that
must be an expected one is tested by an exact binomial test, at 5 % for all such tests of the command together: of forty
intervals of 95 % two miss by chance. The policies are here and not in `ragscale.worlds`, which makes corpora and knows
neither index nor ledger.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import random
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from ragscale import worlds
from ragscale.budget import Budget, Ledger
from ragscale.errors import BudgetExceeded, RagscaleError
from ragscale.index import Index
from ragscale.types import Passage, Spend
from ragscale.worlds.flower import SHORT, paths_from

ONE = Spend(queries=1, rounds=1, passages=1)
"""Cost of a retrieval."""
BATCH = 100  # instances whose chains search together

View = dict[str, list[str]]
"""Places that were looked up, and the places around each."""
Policy = Callable[[str, random.Random], Generator[str, list[str], None]]
"""Begins at a place; yields the place to look up next and is sent the places around it."""


def walk(start: str, rng: random.Random) -> Generator[str, list[str], None]:
    """A random walk that does not turn back; a dead end ends it. Remembers the place before, and no more."""
    place, before = start, ""
    while True:
        near = yield place
        onward = [other for other in near if other != before]
        if not onward:
            return
        place, before = rng.choice(onward), place


def depth_first(start: str, rng: random.Random) -> Generator[str, list[str], None]:
    """Depth-first search with memory: no place is looked up twice, and going back costs nothing."""
    view: View = {}
    trail = [start]
    while trail:
        place = trail[-1]
        if place not in view:
            view[place] = yield place
        new = [other for other in view[place] if other not in view]
        trail.append(rng.choice(new)) if new else trail.pop()


def joined(view: Mapping[str, Sequence[str]], start: str, targets: Sequence[str]) -> str | None:
    """The target that the view joins to the start; None where it joins neither."""
    around: dict[str, set[str]] = {}
    for place, near in view.items():
        for other in near:
            around.setdefault(place, set()).add(other)
            around.setdefault(other, set()).add(place)
    seen, todo = {start}, [start]
    while todo:
        for other in around.get(todo.pop(), ()):
            if other not in seen:
                seen.add(other)
                todo.append(other)
    return next((target for target in targets if target in seen), None)


@dataclass
class Chain:
    """A policy at work: its ledger, its clock and what it has seen."""

    question: Mapping[str, Any]
    ledger: Ledger
    moves: Generator[str, list[str], None]
    wants: str | None
    """The place to look up next; None once it has seen its goal or has nowhere to go."""
    goals: frozenset[str]
    coin: str
    """The target that it names where its view joins neither."""
    view: View = field(default_factory=dict)
    clock: Spend = field(default_factory=Spend)
    looked: int = 0
    """Retrievals, counted beside the ledger."""
    refused: bool = False

    def see(self, passage: Passage) -> None:
        """Takes in the passage of the place that it wanted."""
        place, near = paths_from(passage.text)
        if place != self.wants:
            raise RagscaleError(f"a search for {self.wants} found {place}", "The index does not fit the task.")
        self.looked += 1
        self.view[place] = near
        self.wants = None
        if self.goals.isdisjoint(near):
            with contextlib.suppress(StopIteration):
                self.wants = self.moves.send(near)

    @functools.cached_property
    def decided(self) -> str | None:
        """The answer that its own view gives, after its run."""
        return joined(self.view, self.question["form"]["start"], self.question["form"]["targets"])


def run(index: Index, chains: Sequence[Chain]) -> None:
    """Run chains side by side: in each round one search with the wishes of all, every one of them charged."""
    live = list(chains)
    while live:
        held = []
        for chain in live:
            try:
                held.append((chain, chain.ledger.reserve(ONE, clock=chain.clock)))
            except BudgetExceeded:
                chain.refused = True
        found = index.search([str(chain.wants) for chain, _ in held], k=1, how="bm25") if held else []
        for (chain, reservation), hits in zip(held, found, strict=True):
            reservation.settle(ONE)
            chain.clock += ONE
            chain.see(hits[0].passage)
        live = [chain for chain, _ in held if chain.wants is not None]


Instance = tuple[Ledger, list[Chain]]


def instances(
    index: Index, questions: Sequence[Mapping[str, Any]], policy: Policy, count: int, limit: int | None, *, ends: bool
) -> Iterator[Instance]:
    """Chains of every question after they ran, and the ledger above them.

    Args:
        index: Of the world.
        questions: Of the world.
        policy: Of all chains.
        count: Chains a question.
        limit: Retrievals of each chain; None for no limit.
        ends: Whether chains begin at the start and at both targets in turn, or all at the start.
    """
    for begin in range(0, len(questions), BATCH):
        batch = []
        for question in questions[begin : begin + BATCH]:
            ledger = Ledger(Budget(queries=limit and limit * count))
            chains = []
            for number in range(count):
                rng = random.Random(f"{question['id']}/{policy.__name__}/{number}/{limit}/{ends}")
                start, targets = question["form"]["start"], question["form"]["targets"]
                place = [start, *targets][number % 3] if ends else start
                goals = frozenset(targets if place == start else [start])
                moves = policy(place, rng)
                own = ledger.child(Budget(queries=limit, rounds=limit))
                chains.append(Chain(question, own, moves, next(moves), goals, rng.choice(targets)))
            batch.append((ledger, chains))
        run(index, [chain for _, chains in batch for chain in chains])
        yield from batch


def vote(chains: Sequence[Chain]) -> str:
    """The answer of most chains; of an odd number there is one."""
    return Counter(chain.decided or chain.coin for chain in chains).most_common(1)[0][0]


def merged(chains: Sequence[Chain]) -> str:
    """The answer of the views of all chains taken as one; the first chain's coin where it joins neither target."""
    view = {place: near for chain in chains for place, near in chain.view.items()}
    form = chains[0].question["form"]
    return joined(view, form["start"], form["targets"]) or chains[0].coin


def charged(runs: Sequence[Instance], limit: int | None) -> list[str]:
    """Faults of the ledgers: what was seen, what was charged and what was allowed must be one number."""
    faults = []
    for ledger, chains in runs:
        if ledger.spent.queries != sum(chain.ledger.spent.queries for chain in chains) or ledger.held != Spend():
            faults.append("an instance's ledger is not the sum of its chains'")
        for chain in chains:
            if not chain.looked == chain.ledger.spent.queries == chain.clock.rounds:
                faults.append(f"a chain made {chain.looked} retrievals and was charged {chain.ledger.spent.queries}")
            if limit is not None and (chain.looked > limit or (chain.refused and chain.looked < limit)):
                faults.append(f"a chain with a limit of {limit} ended at {chain.looked}")
    return faults


TESTS = 10  # of rates, a size


def is_near(right: Sequence[bool], expected: float, level: float) -> bool:
    """Whether an exact binomial test does not tell a rate from the expected one."""
    return bool(binomtest(sum(right), len(right), expected).pvalue >= level)


def row(what: str, right: Sequence[bool], holds: bool | None = None, **more: Any) -> dict[str, Any]:
    """A figure: a rate with its 95 % interval (Wilson)."""
    low, high = binomtest(sum(right), len(right)).proportion_ci(method="wilson")
    rate = {"rate": sum(right) / len(right), "low": float(low), "high": float(high), "n": len(right)}
    return {"what": what, **rate, **more, "holds": holds}


def spent(runs: Sequence[Instance], count: int) -> dict[str, float]:
    """Mean retrievals of the first chains of each instance: in total, and one after another."""
    total = statistics.mean(sum(chain.clock.queries for chain in chains[:count]) for _, chains in runs)
    serial = statistics.mean(max(chain.clock.rounds for chain in chains[:count]) for _, chains in runs)
    return {"retrievals": round(total, 2), "serial": round(serial, 2)}


def measure(
    index: Index, questions: Sequence[Mapping[str, Any]], petals: int, most: int, level: float = 0.05 / TESTS
) -> list[dict[str, Any]]:
    """All figures of a size.

    Args:
        index: Of the world.
        questions: Of the world.
        petals: The size.
        most: Chains of the largest vote, an odd number; the smaller ones are its first chains.
        level: Significance level of each of the tests.
    """
    depth = SHORT * petals
    answers = [question["answers"][0] for question in questions]
    rows = []
    for policy, ends in ((walk, False), (depth_first, False), (depth_first, True)):
        runs = list(instances(index, questions, policy, most, depth - 1, ends=ends))
        faults = charged(runs, depth - 1)
        blind = not any(chain.decided for _, chains in runs for chain in chains)
        name = f"{policy.__name__}{', from both ends' if ends else ''}"
        for count in sorted({1, 5, most}) if not ends else [most]:
            right = [vote(chains[:count]) == answer for (_, chains), answer in zip(runs, answers, strict=True)]
            figure = row(f"vote of {count}: {name}", right, limit=depth - 1, **spent(runs, count), faults=faults)
            half = is_near(right, 0.5, level)
            rows.append({**figure, "blind": blind, "holds": blind and half and not faults})
        right = [merged(chains) == answer for (_, chains), answer in zip(runs, answers, strict=True)]
        figure = row(f"merged notes of {most}: {name}", right, limit=depth - 1, **spent(runs, most), faults=faults)
        rows.append({**figure, "holds": figure["low"] > 0.5 if ends else is_near(right, 0.5, level)})

    runs = list(instances(index, questions, depth_first, 1, None, ends=False))
    right = [chains[0].decided == answer for (_, chains), answer in zip(runs, answers, strict=True)]
    steps = sorted(chains[0].clock.queries for _, chains in runs)
    faults = charged(runs, None)
    late = steps[int(0.95 * (len(steps) - 1))]
    rows.append(
        row("one depth_first chain", right, all(right) and not faults, **spent(runs, 1), late=late, faults=faults)
    )

    runs = list(instances(index, questions, walk, most, depth, ends=False))
    chance = (1 / 3) * (1 / 4) ** (petals - 1)
    reached = [chain.decided is not None for _, chains in runs for chain in chains]
    faults = charged(runs, depth)
    figure = row("the walk reaches a target", reached, limit=depth, expected=chance, faults=faults)
    rows.append({**figure, "holds": is_near(reached, chance, level) and not faults})
    right = [vote(chains) == answer for (_, chains), answer in zip(runs, answers, strict=True)]
    rows.append(row(f"vote of {most}: walk", right, None, limit=depth, **spent(runs, most)))
    return rows


def main() -> None:
    """Print a table, or JSON, a size after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--petals", default="2,3,4,5", help="sizes, comma-separated")
    parser.add_argument("--instances", type=int, default=2000, help="questions a size")
    parser.add_argument("--chains", type=int, default=9, help="chains of the largest vote, an odd number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.chains < 7 or options.chains % 2 == 0:
        parser.error("--chains must be odd and 7 at least")
    report = []
    sizes = [int(size) for size in options.petals.split(",")]
    for petals in sizes:
        with tempfile.TemporaryDirectory() as folder:
            world = worlds.flower(petals=petals, questions=options.instances, seed=options.seed)
            world.save(Path(folder) / "world")
            with Index.build([Path(folder) / "world" / "corpus.jsonl"], Path(folder) / "index", embedder=None) as index:
                rows = measure(index, world.questions, petals, options.chains, 0.05 / TESTS / len(sizes))
        report.append({"petals": petals, "depth": SHORT * petals, "passages": len(world.passages), "rows": rows})
        if not options.json:
            show(report[-1])
    if options.json:
        print(json.dumps(report, indent=1))
    sys.exit(any(row["holds"] is False for size in report for row in size["rows"]))


def show(size: Mapping[str, Any]) -> None:
    """Print the table of a size."""
    print(f"\n{size['petals']} petals, s * D = {size['depth']}, {size['passages']:,} passages")
    for figure in size["rows"]:
        rate = f"{100 * figure['rate']:7.2f} % [{100 * figure['low']:.2f}, {100 * figure['high']:.2f}]"
        cost = f"{figure.get('retrievals', ''):>7} {figure.get('serial', ''):>6}"
        notes = [f"limit {figure['limit']}"] if "limit" in figure else []
        notes += [f"expected {100 * figure['expected']:.3f} %"] if "expected" in figure else []
        notes += [f"95th percentile {figure['late']}"] if "late" in figure else []
        verdict = {True: "holds", False: "DOES NOT HOLD", None: ""}[figure["holds"]]
        print(f"{figure['what']:<48}{rate} n={figure['n']:<6} {cost}  {', '.join(notes)}  {verdict}")


if __name__ == "__main__":
    main()
