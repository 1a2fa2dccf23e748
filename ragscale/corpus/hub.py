"""Hugging Face data sets by name, streamed; the library is the optional extra ``datasets``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ragscale.corpus.record import Place
from ragscale.corpus.rows import Columns, Row
from ragscale.errors import CorpusError, MissingDependency
from ragscale.extras import pip_install
from ragscale.paths import expanded

__all__ = ["PREFIX", "DatasetName", "dataset_rows"]

PREFIX = "hf:"


@dataclass(frozen=True, slots=True)
class DatasetName:
    """Parts of ``hf:NAME[@REVISION][:CONFIG][:SPLIT]``."""

    name: str
    """Name on the hub, or a local folder: of data files, or one that ``Dataset.save_to_disk`` wrote."""
    revision: str | None = None
    """Branch, tag or commit; the newest where it is not given."""
    config: str | None = None
    split: str = "train"
    """Also a slice such as ``train[:1000]``, which is not streamed but fetched as a whole first."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of `str`.

        Raises:
            CorpusError: No name, or too many parts.
        """
        name, _, rest = text.removeprefix(PREFIX).partition(":")
        config, _, split = rest.partition(":")
        name, _, revision = name.partition("@")
        if not name or ":" in split.partition("[")[0]:
            raise CorpusError(
                f"{text}: no name of a data set", "Write hf:NAME, hf:NAME:CONFIG or hf:NAME:CONFIG:SPLIT."
            )
        return cls(name, revision or None, config or None, split or "train")


def dataset_rows(text: str, columns: Columns) -> Iterator[Row]:
    """Rows of a data set; columns of pictures, sound, lists and objects (but one named ``metadata``) are not read.

    Args:
        text: ``hf:NAME[@REVISION][:CONFIG][:SPLIT]``.
        columns: Which column means what.

    Raises:
        CorpusError: No such data set, configuration or split, or the stream broke off (after which row).
        MissingDependency: datasets is not installed.
    """
    wanted = DatasetName.parse(text)
    try:
        import datasets  # noqa: F401
    except ImportError as error:
        raise MissingDependency(
            f"{text} needs datasets, which is not installed", f"Install it: {pip_install('datasets')}."
        ) from error
    with _quiet():
        data = _load(wanted, text)
        present = list(data.features) if data.features else None
        if present is not None:
            columns.check(present, text)
            text_column = columns.among(present).text
            data = data.select_columns([name for name in present if _readable(name, data.features[name], text_column)])
        number = 0
        try:
            for number, row in enumerate(data, 1):
                yield Place(Path(text), "row", number), row
        except Exception as error:  # errors of its readers and of several HTTP libraries
            raise CorpusError(
                f"{text}: broke off after row {number} ({_line(error)})",
                "Check its files, or the network, and try again.",
            ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars and no warnings of the libraries, which would stand between our own; what fails in the end is raised."""
    import datasets
    from huggingface_hub import utils as hub

    logs = [(logging, logging.get_verbosity()) for logging in (datasets.logging, hub.logging)]
    bars = [library for library in (datasets, hub) if not library.are_progress_bars_disabled()]
    for logging, _ in logs:
        logging.set_verbosity_error()
    for library in bars:
        library.disable_progress_bars()
    try:
        yield
    finally:
        for logging, level in logs:
            logging.set_verbosity(level)
        for library in bars:
            library.enable_progress_bars()


def _load(wanted: DatasetName, text: str) -> Any:
    import datasets

    folder = expanded(wanted.name)
    try:
        if (folder / "dataset_dict.json").is_file():
            return datasets.load_from_disk(str(folder))[wanted.split]
        if (folder / "state.json").is_file():
            return datasets.load_from_disk(str(folder))
        return datasets.load_dataset(
            wanted.name, wanted.config, split=wanted.split, revision=wanted.revision, streaming="[" not in wanted.split
        )
    except Exception as error:  # as above
        raise CorpusError(
            f"{text}: cannot be loaded ({_line(error)})",
            "Check the name, the configuration, the split (hf:NAME:CONFIG:SPLIT) and the network.",
        ) from error


def _readable(name: str, feature: Any, text: str) -> bool:
    """Whether a column holds one plain value a row, or metadata as an object, or the text in sentences."""
    import datasets

    if isinstance(feature, dict):
        return name == "metadata"
    if isinstance(feature, datasets.Value):
        return "binary" not in feature.dtype
    if name == text:
        while hasattr(feature, "feature"):
            feature = feature.feature
        return isinstance(feature, datasets.Value) and "string" in feature.dtype
    return isinstance(feature, datasets.ClassLabel)


def _line(error: Exception) -> str:
    """A message of the library, which may have many lines, on one."""
    return " ".join(f"{type(error).__name__}: {error}".split())
