"""Building on Ray: files are read and slabs embedded by Ray Data, wherever there is room; all is written here.

The outcomes come in the order of a local build and go through the same writers and the same journal, so that the
index is the same, and a killed build goes on where it was. Tasks never raise what ragscale raises on purpose: they send
it as a row, and it is raised here as itself.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragscale import errors
from ragscale.corpus import STDIN, Chunking, Columns, FieldTypes, Piece, Problems, Reader, Record, checked, fitted
from ragscale.errors import BadDocument, InvalidInput, MissingDependency, RagscaleError
from ragscale.extras import pip_install
from ragscale.index.encoders.loading import is_endpoint
from ragscale.index.options import Backend
from ragscale.index.storage.manifest import EmbedderInfo
from ragscale.index.write.embedding import EncodeSlabs, Tell
from ragscale.index.write.ray_tasks import SlabEncoder, read_pieces, record_of, unpacked
from ragscale.index.write.segments import Slab

__all__ = ["connected", "encoder", "read"]

_READ_TASKS = 1000
"""A file a task up to here; more files share tasks."""
_CPUS_AN_ACTOR = 4
"""CPUs of an actor where there are no GPUs; PyTorch gains little from more for one copy of a model."""
_GO_ON = "Look at Ray's own logs (/tmp/ray/session_latest/logs); the same call goes on where this one was."


@contextmanager
def connected() -> Iterator[None]:
    """Ray, for as long as the block runs.

    It is what this process is connected to already, else the cluster at ``RAY_ADDRESS`` or on this machine, else one
    that is started on this machine and stopped in the end.

    Raises:
        MissingDependency: Ray is not installed.
        RagscaleError: No cluster answers, or none can be started.
    """
    try:
        import ray
        import ray.data  # has dependencies of its own
    except ImportError as error:
        raise MissingDependency(
            f"engine ray needs ray[data], which cannot be imported ({error})",
            f"Install it: {pip_install('ray')}; or use the engine local.",
        ) from error
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # of its own kinds, of sockets, and bare ones
        where = os.environ.get("RAY_ADDRESS")
        raise RagscaleError(
            f"Ray {f'at {where} does not answer' if where else 'cannot be started'} ({_line(error)})",
            "Check RAY_ADDRESS and the cluster (`ray status`), or use the engine local.",
        ) from error
    for handler in logging.getLogger("ray.data").handlers:
        if handler.get_name() == "console":
            handler.setLevel(logging.WARNING)  # it would write between our progress bars
    # and its first warning would be that its own bars are off
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def read(
    corpora: Sequence[str | Path],
    chunking: Chunking,
    *,
    columns: Columns,
    fields: FieldTypes,
    problems: Problems | None = None,
) -> Iterator[Record]:
    """`ragscale.corpus.read` on Ray: the same passages in the same order, read a file a task.

    All nodes must see the corpora under the same paths. Columns of csv files take their types from their file alone.

    Raises:
        InvalidInput: Standard input, which no other node can read.
        RagscaleError: See `ragscale.corpus.read`; or Ray lost a task.
    """
    if STDIN in map(str, corpora):
        raise InvalidInput("standard input (-) with the engine ray", "Write it to a file that all nodes see.")
    problems = problems or Problems()
    reader = Reader(chunking, columns, fields, problems)
    groups = [list(reader.pieces(str(corpus))) for corpus in corpora]
    items = [{**asdict(piece), "path": _absolute(piece)} for group in groups for piece in group]
    settings = {"chunking": chunking, "columns": columns, "keep_going": problems.keep_going}
    with closing(_stream(items, read_pieces, blocks=_READ_TASKS, batch_size=None, fn_kwargs=settings)) as found:
        yield from checked(corpora, (_records(found, len(group), fields, problems) for group in groups), problems)


def _absolute(piece: Piece) -> str:
    """Tasks run in another folder than this process."""
    return os.path.abspath(piece.path) if piece.name else piece.path


def _records(rows: Iterator[Any], pieces: int, fields: FieldTypes, problems: Problems) -> Iterator[Record]:
    """Replay the outcomes of the next `pieces` pieces: yield records, note problems and types, raise errors."""
    bad: Record | None = None
    while pieces:
        kind, *values = next(rows)
        if kind == "record":
            record = record_of(values)
            if bad is not None and _with(bad, record):
                continue
            try:
                record = fitted(record, fields, problems)
            except BadDocument as error:
                problems.add(error)
                bad = record
            else:
                yield record
        elif kind == "problem":
            problems.add(BadDocument(*values))
        elif kind == "left out":
            problems.left_out[values[0]] += values[1]
        elif kind == "error":
            raise _error(*values)
        else:
            pieces -= 1


def _with(bad: Record, record: Record) -> bool:
    """Whether a record is of the bad document, or of the bad row, that an earlier one was of."""
    one, other = bad.place, record.place
    return one == other or (one.unit == other.unit == "chunk" and one.file == other.file)


def encoder(info: EmbedderInfo, source: str | Path, batch_size: int, backend: Backend = "torch") -> EncodeSlabs:
    """An `EncodeSlabs` of Ray actors, each with a copy of the model: one a GPU, or one for every few CPUs.

    All nodes must see the index under the same path, and the model where it is a folder.

    Args:
        info: The embedder of the index.
        source: Name or folder of that model, or its endpoint.
        batch_size: Passages encoded at once.
        backend: Computes the vectors.
    """
    where = str(Path(source).resolve()) if Path(source).is_dir() else str(source)
    return partial(_encode, info, where, batch_size, backend)


def _encode(
    info: EmbedderInfo, source: str, batch_size: int, backend: Backend, slabs: Sequence[Slab], tell: Tell
) -> Iterator[NDArray[np.float32]]:
    items = [{"folder": str(slab.folder.resolve()), "start": slab.start, "stop": slab.stop} for slab in slabs]
    room = _actors(gpus=backend == "torch" and not is_endpoint(info.name)) if items else {}
    settings = (info, source, batch_size, backend)
    made = _stream(items, SlabEncoder, blocks=len(items), batch_size=1, fn_constructor_args=settings, **room)
    with closing(made) as rows:
        for slab, (kind, *values) in zip(slabs, rows, strict=True):
            if kind == "error":
                raise _error(*values)
            tell(slab.stop - slab.start)
            yield np.frombuffer(values[0], dtype=np.float32).reshape(slab.stop - slab.start, info.dimension)


def _actors(gpus: bool) -> dict[str, Any]:
    """Most actors, and the resources of each; Ray starts as many as there is room for."""
    import ray
    from ray.data import ActorPoolStrategy

    found: Any = ray.nodes  # untyped
    nodes = [node["Resources"] for node in found() if node["Alive"]]
    cards = int(sum(node.get("GPU", 0) for node in nodes)) if gpus else 0
    if cards:
        return {"num_gpus": 1, "compute": ActorPoolStrategy(min_size=1, max_size=cards)}
    cpus = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1] or [1]
    each = min(_CPUS_AN_ACTOR, *cpus)
    return {"num_cpus": each, "compute": ActorPoolStrategy(min_size=1, max_size=sum(n // each for n in cpus))}


def _stream(items: list[dict[str, Any]], task: Any, *, blocks: int, **options: Any) -> Generator[Any, None, None]:
    """The rows that tasks (or actors) make of some items, in the order of the items, while they are made.

    Args:
        items: Rows of plain values.
        task: Takes Arrow tables of items and returns or yields tables with one column of rows.
        blocks: Most tasks that the items are shared out to.
        options: Of Ray's `Dataset.map_batches`.

    Raises:
        RagscaleError: Ray lost a task, or a task raised what it should not have.
    """
    import ray.data
    from ray.exceptions import RayError

    if not items:
        return
    context = ray.data.DataContext.get_current().copy()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    with ray.data.DataContext.current(context):
        dataset = ray.data.from_items(items, override_num_blocks=min(blocks, len(items)))
        made = dataset.map_batches(task, batch_format="pyarrow", **options)
    try:
        for table in made.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield from unpacked(table)
    except RayError as error:
        raise RagscaleError(f"Ray gave up: {_line(error)}", _GO_ON) from error


def _error(kind: str, problem: str, remedy: str) -> RagscaleError:
    """The error that a task sent."""
    found = getattr(errors, kind)(problem, remedy)
    assert isinstance(found, RagscaleError)
    return found


def _line(error: BaseException) -> str:
    """The gist of an error whose message may be a page: of a task, what it raised itself."""
    text = str(error).partition("\nThe above exception was")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    gist = lines[-1] if "Traceback" in text or "ray::" in text else f"{type(error).__name__}: {lines[0]}"
    return gist[:500]
