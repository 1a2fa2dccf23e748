"""The runner: every cell over the same questions, several in flight, resumable after a kill, each call paid once."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import inspect
import json
import warnings
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, ParamSpec, Protocol

from ragscale import background, modes
from ragscale.agent import Agent
from ragscale.arguments import listed, whole
from ragscale.budget import Budget
from ragscale.errors import EndpointError, InvalidInput, RagscaleError
from ragscale.llm import ModelWarning
from ragscale.llm.base import fields_of, runtime
from ragscale.llm.prices import read_prices
from ragscale.llm.store import StoredLLM
from ragscale.measure.attempt import attempt
from ragscale.measure.cell import Cell
from ragscale.measure.plan import Planned, means, passage_tokens, plan
from ragscale.measure.questions import Question, load_questions, shuffled
from ragscale.measure.race import Race
from ragscale.measure.racing import rungs
from ragscale.measure.run import Run
from ragscale.measure.store import CALLS_FILE, CONFIG_FILE, Row, Store
from ragscale.modes.core.costs import Costs, check_priced
from ragscale.modes.spec import label
from ragscale.types import Spend
from ragscale.version import __version__
from ragscale.view.life import Life, in_notebook, life
from ragscale.words import counted

__all__ = ["Engine", "GoldWarning", "SweepProgress", "asweep", "dry_run", "sweep"]


class GoldWarning(UserWarning):
    """Gold passages that the index does not know."""


Engine = Literal["local", "ray"]

SweepProgress = Callable[[Cell, Row | None, int, int], None]
"""Called with a cell, the row that was just finished (None at the start), rows done and rows in all."""

P = ParamSpec("P")
_SHOWN = 5
_SEEDS = 2**63
HEALTH = 2
"""Questions of each cell that are asked before the bulk."""


async def asweep(
    agent: Agent,
    questions: Sequence[Question] | str | Path,
    chosen: Sequence[modes.Mode | str],
    out: str | Path,
    *,
    budgets: Sequence[Budget] | None = None,
    seeds: Sequence[int] | None = None,
    concurrency: int = 2,
    limit: int | None = None,
    skip: int = 0,
    health: bool = True,
    race: bool = False,
    baseline: modes.Mode | str | None = None,
    engine: Engine = "local",
    calls: str | Path | None = None,
    progress: SweepProgress | None = None,
) -> Run:
    """Answer the same questions with every mode at every budget and seed, and keep what it scored and cost.

    A mode, a budget and a seed are a cell. All cells see the same questions in the same shuffled order, so that a run
    that is stopped, or limited, has seen a random sample of them. Running it again, with the same or with further
    questions, modes, budgets and seeds, extends the run: finished questions are not run again, failed ones are. Model
    calls are kept in ``out/calls.sqlite`` (`ragscale.llm.store`): one that another cell made before is charged as it
    was then, and paid no more.

    With the engine ``"ray"`` the questions are asked by workers on a cluster, one for every four CPUs. Each opens the
    index and the model by what the agent was made of, so that all nodes must see the index under the same path, and
    reach the model. All cells of a question go to one worker. This process alone writes rows and traces, and one actor
    on its node the calls, which all workers read and write through it.

    In a race, questions come in rungs of 16, 32, 64 and so on. After each a cell is dropped where another one has a
    better F1 (by a bound that holds under repeated looks, `ragscale.measure.racing`) at no more total tokens, serial
    tokens, rounds and, where the model has a price, dollars. ``out/race.json`` keeps every look: one that was taken is
    not taken again, so that a run which was killed goes on as it was. Without a race, dropped cells are asked again.

    Args:
        agent: Index, model and search; its mode is not used. Pinned in ``out/config.json``.
        questions: Questions, or a file of them. Gold passages are ids of passages or documents of the index, or titles;
            names that it does not know are warned of, and left out of recall.
        chosen: The modes, as objects or by name, with parameters where needed (``"tree(expand=2)"``).
        out: Folder of the run.
        budgets: Limits of a question, one or more; None for the agent's.
        seeds: One or more; None for the agent's.
        concurrency: Questions in flight; of the engine ``"ray"``, in each worker.
        limit: Number of questions taken of the shuffled ones; None for all.
        skip: Number of shuffled questions left out at the beginning.
        health: Whether each cell is asked two questions before the bulk, which does not begin where a cell failed at
            both.
        race: Whether cells that are surely dominated get no further questions.
        baseline: Mode, one of `chosen`, whose cells a race never drops; None for the first.
        engine: Asks the questions: this process, or Ray on the cluster at ``RAY_ADDRESS``, else on this machine.
        calls: File of the calls instead of ``out/calls.sqlite``; several runs on one machine may share it.
        progress: Told about every finished question.

    Returns:
        The run, over the cells and the questions taken.

    Raises:
        InvalidInput: `out` is a run of something else or cannot be written, a number is out of range, or another
            argument is not what it should be.
        RagscaleError: Another process is writing the run. Or the health check failed, with the cells and the reasons.
            Or a file cannot be written, as on a full disk, or Ray gave up; what is finished is kept.
        MissingDependency: The engine is ``"ray"``, which is not installed.
        CallStoreError: The same of the file of calls. `CallMissing` is one: the agent's model is a replay, which lacks
            a call.
        ModelFileError: The reranker of the agent's search cannot be loaded.
        EndpointError: The model cannot be reached when the run begins, and something is left to ask. Where it goes
            away later, the questions left are recorded as failed, and the same call tries them again.
    """
    whole("concurrency", concurrency, "Use 1 or more.")
    if engine not in ("local", "ray"):
        raise InvalidInput(f"unknown engine {engine!r}", "Choose local or ray.")
    if calls is not None and isinstance(agent.llm, StoredLLM):
        raise InvalidInput(f"calls={str(calls)!r} and a model that keeps its calls in {agent.llm.path}", "Give one.")
    if baseline is not None and not race:
        raise InvalidInput(
            f"baseline {baseline!r} without a race", "Only a race drops cells: add --race, or leave it out."
        )
    cells, taken = _cells(agent, chosen, budgets, seeds), _taken(questions, limit, skip)
    kept = _baseline(cells, baseline)
    store = Store(Path(out))
    agent = await asyncio.to_thread(_at_the_price_of, store, agent)  # may ask the endpoint for the model's name
    usd = next((cell.budget.usd for cell in cells if cell.budget.usd is not None), None)
    if usd is not None:  # before the run is pinned to a model without a price
        with contextlib.suppress(EndpointError):  # nobody can tell the model's name: a finished run needs none
            check_priced(await asyncio.to_thread(lambda: agent.price), usd)
    with store.writing():
        try:
            settings = await asyncio.to_thread(_settings, agent)  # may load a reranker
        except EndpointError:
            if _is_finished(store, agent, cells, taken):  # the model's name is all that is missing
                return Run(store.folder, [cell.key for cell in cells], [question.id for question in taken])
            raise
        store.pin(settings, cells)
        store.add_questions(taken)
        asked = await asyncio.to_thread(_with_known_gold, taken, agent)  # may read the whole index
        mark = _mark_of(settings)
        async with _askers(agent, Path(calls or store.folder / CALLS_FILE), mark, engine, concurrency) as askers:
            sweep = _Sweep(askers, store, cells, asked, progress, Race(store, cells, taken, kept) if race else None)
            with store.asking():
                await sweep.work(concurrency, health)
    return Run(store.folder, [cell.key for cell in cells], [question.id for question in taken])


def dry_run(
    agent: Agent,
    questions: Sequence[Question] | str | Path,
    chosen: Sequence[modes.Mode | str],
    out: str | Path,
    *,
    budgets: Sequence[Budget] | None = None,
    seeds: Sequence[int] | None = None,
    concurrency: int = 2,
    limit: int | None = None,
    skip: int = 0,
    race: bool = False,
    baseline: modes.Mode | str | None = None,
) -> list[Planned]:
    """Expected cost of what a sweep with these arguments has left to do; nothing is asked, and nothing is written.

    Of a cell that has finished questions, by their means; of others, by the mode's own sizing. Calls that cells share
    are counted in each: they are charged, though not paid again. A race may ask less: only the cells that it has
    dropped by now are left out.

    Raises:
        InvalidInput: An argument is not what it should be, a budget limits dollars and the model has no price, or the
            sweep would be refused: `out` is a run of something else.
    """
    whole("concurrency", concurrency, "Use 1 or more.")
    cells, taken = _cells(agent, chosen, budgets, seeds), _taken(questions, limit, skip)
    kept = _baseline(cells, baseline)
    store = Store(Path(out))
    agent = _at_the_price_of(store, agent)
    known = (store.folder / CONFIG_FILE).exists()
    with contextlib.suppress(EndpointError):  # of a model whose name nobody can tell
        store.check(_settings(agent) if known else {}, cells, taken)
    run = Run(store.folder) if known else None
    done = {key: run.finished(key) for key in run.cells} if run else {}
    left = {cell.key: sum(question.id not in done.get(cell.key, ()) for question in taken) for cell in cells}
    if race and run:
        left |= dict.fromkeys(Race(store, cells, taken, kept).dropped, 0)
    measured = means(run.rows()) if run else {}
    folder = getattr(getattr(agent.index, "index", agent.index), "path", None)  # of one with search settings, too
    costs = Costs(passage=passage_tokens(folder)) if folder else Costs()
    return plan(cells, left, costs=costs, price=agent.price, concurrency=concurrency, means=measured)


def _like(work: Callable[P, Awaitable[Run]]) -> Callable[[Callable[..., Run]], Callable[P, Run]]:
    """Gives a function the parameters of another, and its documentation below its own: a notebook shows both."""

    def made(function: Callable[..., Run]) -> Callable[P, Run]:
        function.__signature__ = inspect.signature(work)  # type: ignore[attr-defined]
        function.__doc__ = f"{inspect.getdoc(function)}\n\n{inspect.getdoc(work)}"
        return function

    return made


@_like(asweep)
def sweep(*args: Any, **kwargs: Any) -> Run:
    """`asweep`, blocking, also beside a running loop, as in a notebook; an interrupt cancels what is in flight.

    In a notebook a line below the cell tells how far it is, unless `progress` is given.
    """
    with life("sweep: opening the index, starting the model") as shown:
        if in_notebook():
            kwargs.setdefault("progress", _Told(shown))
        work = asweep(*args, **kwargs)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(work)  # an interrupt lets its tasks come to an end
        return background.wait(work)


class _Told:
    """A `SweepProgress` that tells the questions done of all cells, and the cell that finished last."""

    def __init__(self, shown: Life) -> None:
        self._shown = shown
        self._counts: dict[str, tuple[int, int]] = {}

    def __call__(self, cell: Cell, row: Row | None, done: int, total: int) -> None:
        self._counts[cell.key] = (done, total)
        finished, everything = (sum(numbers) for numbers in zip(*self._counts.values(), strict=True))
        last = f" · {cell.key}: {row.stop_reason}" if row else ""
        self._shown.tell(f"{finished:,} of {everything:,} questions of all cells{last}")


def _taken(questions: Sequence[Question] | str | Path, limit: int | None, skip: int) -> list[Question]:
    """The shuffled questions that are asked. Raises `InvalidInput` where none are left, or something is none."""
    if limit is not None:
        whole("limit", limit, "Use 1 or more, or leave it out.")
    whole("skip", skip, "Use 0 or more.", least=0)
    given = load_questions(questions) if isinstance(questions, str | Path) else questions
    given = listed("questions", given)
    for question in given:
        if not isinstance(question, Question):
            raise InvalidInput(
                f"questions holds a {type(question).__name__}",
                "Read them by ragscale.measure.load_questions, or make them.",
            )
    for identity, number in Counter(question.id for question in given).items():
        if number > 1:
            raise InvalidInput(f"id {identity!r} is that of {number} questions", "Make ids unique.")
    taken = shuffled(given)[skip : None if limit is None else skip + limit]
    if not taken:
        raise InvalidInput(
            f"no questions left: skip {skip}, limit {limit}, {len(given)} in the file", "Take at least one."
        )
    return taken


def _is_finished(store: Store, agent: Agent, cells: Sequence[Cell], taken: Sequence[Question]) -> bool:
    """Whether a run of this index has every question of every cell, and nothing is left to ask."""
    if not (store.folder / CONFIG_FILE).exists() or store.config()["index"] != agent.index.fingerprint:
        return False
    known = store.questions()
    rows = [store.read_rows(cell.key) for cell in cells]
    return all(
        known.get(question.id) == question and not _is_open(cell, question) for question in taken for cell in rows
    )


def _is_open(rows: Mapping[str, Row], question: Question) -> bool:
    """Whether a cell with these rows is still to ask a question: it has not, or that failed."""
    row = rows.get(question.id)
    return row is None or row.failed


def _at_the_price_of(store: Store, agent: Agent) -> Agent:
    """The agent at the price that the run began with, where none is given: that of the bundled list is of this moment.

    Some change with the hour, others with the version of the list; rows of one run are at one price. Warns.
    """
    if agent.prices or not (store.folder / CONFIG_FILE).exists():
        return agent
    began, now = store.config().get("price"), None
    with contextlib.suppress(EndpointError):
        now = agent.price
    if began is None or now is None or asdict(now) == began:
        return agent
    price = read_prices({"*": began})["*"]
    warnings.warn(
        f"{store.folder}: the list has {now} for {agent.llm.name} by now; the run goes on at the price that it began "
        f"with, {price}. Give another --out for the new one.",
        ModelWarning,
        stacklevel=2,
    )
    return agent.with_price(price)


def _with_known_gold(taken: Sequence[Question], agent: Agent) -> list[Question]:
    """The questions with those gold passages that the index knows; others would count as missed by every search.

    Warns of the others, by name.
    """
    names = dict.fromkeys(name for question in taken for name in question.supporting)
    known = agent.index.known(names) if names else set()
    if known is None:
        warnings.warn(
            f"{agent.index!r} does not tell which passages it has: gold passages that it lacks count as missed in "
            "recall. Serve it with this version of ragscale, or measure on the folder of the index.",
            GoldWarning,
            stacklevel=2,
        )
        return list(taken)
    unknown = [name for name in names if name not in known]
    if not unknown:
        return list(taken)
    without = set(unknown)
    of = [question for question in taken if without.intersection(question.supporting)]
    shown = ", ".join(map(repr, unknown[:_SHOWN])) + ", ..." * (len(unknown) > _SHOWN)
    warnings.warn(
        f"the index has no passage, document or title {shown}: {counted(len(unknown), 'gold passage')} of "
        f"{counted(len(of), 'question')} {'does' if len(unknown) == 1 else 'do'} not count in recall.",
        GoldWarning,
        stacklevel=2,
    )
    return [
        replace(question, supporting=tuple(name for name in question.supporting if name not in without))
        for question in taken
    ]


def _cells(
    agent: Agent,
    chosen: Sequence[modes.Mode | str],
    budgets: Sequence[Budget] | None,
    seeds: Sequence[int] | None,
) -> list[Cell]:
    """Every mode at every budget and seed. Raises `InvalidInput` for an empty list, and for what is given twice."""
    given = [modes.get(mode) for mode in listed("modes", chosen)]
    if not given:
        raise InvalidInput("no modes", "Give at least one, as in ['once', 'chain'].")
    limits = [agent.budget] if budgets is None else [Budget.of(budget) for budget in listed("budgets", budgets)]
    numbers = [agent.seed] if seeds is None else list(listed("seeds", seeds))
    for name, values in (("mode", list(map(label, given))), ("budget", limits), ("seed", numbers)):
        if not values:
            raise InvalidInput(f"no {name}s", "Leave them out for the agent's.")
        for at, value in enumerate(values):
            if value in values[:at]:
                raise InvalidInput(f"{name} {value!r} is given twice", "Give it once.")
    for seed in numbers:
        if whole("seed", seed, "Give one, such as 0.", least=-_SEEDS) >= _SEEDS:  # rows have 64 bits for it
            raise InvalidInput(f"seed {seed}, the most is {_SEEDS - 1}", "Give one, such as 0.")
    return [Cell(mode, budget, seed) for mode in given for budget in limits for seed in numbers]


def _baseline(cells: Sequence[Cell], given: modes.Mode | str | None) -> set[str]:
    """Keys of the cells that a race never drops. Raises `InvalidInput` where there are none."""
    name = cells[0].label if given is None else label(modes.get(given))
    found = {cell.key for cell in cells if cell.label == name}
    if not found:
        raise InvalidInput(f"baseline {name!r} is not among the modes", "Give one of those that are run.")
    return found


class Asker(Protocol):
    """Asks questions of cells, here or elsewhere."""

    async def ready(self) -> None:
        """Wait until it can ask, which may be never while other work has its place."""
        ...

    async def ask(self, cell: Cell, question: Question) -> tuple[Row, dict[str, Any] | None]:
        """As `ragscale.measure.attempt.attempt`."""
        ...


class _Here:
    """Asks in this process."""

    def __init__(self, agent: Agent, settings: str) -> None:
        self._agent, self._settings = agent, settings

    async def ready(self) -> None:
        pass

    async def ask(self, cell: Cell, question: Question) -> tuple[Row, dict[str, Any] | None]:
        return await attempt(self._agent, cell, question, self._settings)


@contextlib.asynccontextmanager
async def _askers(
    agent: Agent, calls: Path, settings: str, engine: Engine, concurrency: int
) -> AsyncIterator[Sequence[Asker]]:
    if engine == "ray":
        from ragscale.measure.cluster import workers  # Ray is an extra

        with workers(agent, calls, settings, concurrency) as found:
            yield found
    elif isinstance(agent.llm, StoredLLM):  # a recording or a replay of the caller's
        yield [_Here(agent, settings)]
    else:
        with contextlib.closing(StoredLLM(calls, agent.llm)) as stored:
            yield [_Here(agent.with_model(stored), settings)]


class _Sweep:
    """One call of `asweep`: what is left to do of it."""

    def __init__(
        self,
        askers: Sequence[Asker],
        store: Store,
        cells: list[Cell],
        taken: Sequence[Question],
        progress: SweepProgress | None,
        race: Race | None,
    ) -> None:
        self.askers, self.store, self.cells, self.taken, self.progress = askers, store, cells, taken, progress
        self.race = race
        self.rows: dict[str, dict[str, Row]] = {cell.key: store.rows(cell) for cell in cells}
        self.asked: set[tuple[str, str]] = set()  # of which a failed one is left to the next call

    async def work(self, concurrency: int, health: bool) -> None:
        """All questions of all cells, cell by cell of each question, so that shared calls are near each other."""
        if self.progress:
            for cell in self.cells:
                self.progress(cell, None, self._done(cell), self._all(cell))
        first, rest = (self.taken[:HEALTH], self.taken[HEALTH:]) if health else ([], self.taken)
        await self._ask(first, concurrency)
        if first and rest:
            self._check_health(first)
        if self.race:
            for rung in rungs(len(self.taken))[:-1]:  # after the last one there is nothing to save
                await self._ask(self.taken[:rung], concurrency)
                for drop in self.race.look(rung, self.rows):
                    cell = next(cell for cell in self.cells if cell.key == drop.cell)
                    if self.progress:
                        self.progress(cell, None, self._done(cell), self._all(cell))
        await self._ask(rest, concurrency)

    def _check_health(self, part: Sequence[Question]) -> None:
        ill: dict[str, list[Cell]] = defaultdict(list)
        for cell in self._racing():
            if all(self.rows[cell.key][question.id].failed for question in part):
                ill[self.rows[cell.key][part[-1].id].reason].append(cell)
        if ill:
            told = "; ".join(
                f"{', '.join(cell.key for cell in cells)}: {why.rstrip('.')}" for why, cells in ill.items()
            )
            raise RagscaleError(
                f"each of the first {len(part)} questions failed in {told}",
                "Mend it, or leave those modes out. What is finished is kept; without the health check "
                "(--no-health) the run goes on as it is.",
            )

    def _racing(self) -> list[Cell]:
        """Cells that get further questions."""
        return [cell for cell in self.cells if not self.race or cell.key not in self.race.dropped]

    def _all(self, cell: Cell) -> int:
        """Questions that the cell will have been asked in the end."""
        return len(self.taken) if cell in self._racing() else self._done(cell)

    def _is_left(self, cell: Cell, question: Question) -> bool:
        """Whether this call is still to ask it."""
        return _is_open(self.rows[cell.key], question) and (cell.key, question.id) not in self.asked

    def _done(self, cell: Cell) -> int:
        return sum(not _is_open(self.rows[cell.key], question) for question in self.taken)

    async def _ask(self, questions: Sequence[Question], concurrency: int) -> None:
        cells = self._racing()
        every = [[(cell, question) for cell in cells if self._is_left(cell, question)] for question in questions]
        waiting = iter(every)
        left = sum(map(len, every))
        done = asyncio.Event()

        def tasks() -> Iterator[tuple[Cell, Question]]:
            """Tasks of an asker: all cells of a question, which share calls, then those of the next question."""
            own: deque[tuple[Cell, Question]] = deque()
            while own or (own := deque(next((some for some in waiting if some), ()))):
                yield own.popleft()

        async def work(asker: Asker, todo: Iterator[tuple[Cell, Question]]) -> None:
            nonlocal left
            await asker.ready()
            for cell, question in todo:
                self._keep(cell, question, *await asker.ask(cell, question))
                left -= 1
            if not left:
                done.set()

        if not left:
            return
        try:
            async with asyncio.TaskGroup() as group:
                at_work = []
                for asker in self.askers:
                    todo = tasks()
                    at_work += [group.create_task(work(asker, todo)) for _ in range(min(concurrency, left))]
                await done.wait()
                for task in at_work:  # of askers that have found no place yet
                    task.cancel()
        except* Exception as errors:
            # The first one tells; the others were cancelled or say the same.
            raise errors.exceptions[0] from None

    def _keep(self, cell: Cell, question: Question, row: Row, answer: dict[str, Any] | None) -> None:
        before = self.rows[cell.key].get(question.id)
        row = replace(
            row,
            trace=None if answer is None else self.store.append_trace(cell, answer),
            paid=row.paid + (before.paid if before else Spend()),
        )
        self.store.append(cell, row)
        self.rows[cell.key][question.id] = row
        self.asked.add((cell.key, question.id))
        if self.progress:
            self.progress(cell, row, self._done(cell), self._all(cell))


def _settings(agent: Agent) -> dict[str, Any]:
    return {
        "ragscale": __version__,
        "index": agent.index.fingerprint,
        "llm": agent.llm.name,
        **({"runtime": runtime(agent.llm)} if runtime(agent.llm) else {}),
        **({"fields": sent} if (sent := fields_of(agent.llm)) else {}),
        "how": agent.how or agent.index.how,
        "price": None if agent.price is None else asdict(agent.price),
        **({} if agent.about is None else {"about": agent.about}),
    }


def _mark_of(settings: dict[str, Any]) -> str:
    """Mark of a run's settings: rows of different marks are not comparable."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
