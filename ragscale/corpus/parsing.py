"""Guards around the libraries that take documents apart: their errors, and what a document may cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ragscale.corpus.source import Source
from ragscale.errors import BadDocument, MissingDependency, RagscaleError
from ragscale.extras import pip_install

__all__ = ["parsing", "refuse_tags"]


@contextmanager
def parsing(source: Source, kind: str) -> Iterator[None]:
    """Turns whatever a library raises on a hostile file into an error that names the file.

    Raises:
        BadDocument: The file is damaged, or its elements lie too deep within each other.
        MissingDependency: A library of the extra ``documents`` is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise MissingDependency(
            f"{source.place}: reading {kind} needs {error.name}, which is not installed",
            f"Install it: {pip_install('documents')}.",
        ) from error
    except (RagscaleError, MemoryError):
        raise
    except RecursionError as error:
        reason = f"its {kind} elements lie too deep within each other"
        raise BadDocument(source.place, reason, "Save it in a simpler form, for instance as text.") from error
    except Exception as error:
        raise BadDocument(
            source.place, f"damaged {kind} file ({type(error).__name__}: {error})", "Save or download it again."
        ) from error


def refuse_tags(count: int, limit: int, source: Source) -> None:
    """Elements take a hundred times the room of their letters, so bytes do not measure a document."""
    if count > limit:
        reason = f"{count:,} tags, the limit is {limit:,}"
        raise BadDocument(source.place, reason, "Split it into several files, or save it as text.")
