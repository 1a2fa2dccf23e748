"""Chunking of documents: settings (`Chunking`) and the splitter that follows them (`Cutter`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, get_args

from ragscale.errors import InvalidInput

if TYPE_CHECKING:
    from ragscale.corpus.tokens import TokenCounter

__all__ = ["By", "Chunking", "Cutter"]

By = Literal["characters", "tokens", "sentences", "headings"]
"""Unit of chunking: the boundaries at which a document is cut."""

_CHARACTERS = 1000
_TOKENS = 250


@dataclass(frozen=True, slots=True)
class Chunking:
    """Settings for cutting documents into passages."""

    size: int | None = None
    """Most characters in a chunk; 1,000 by default, about 250 tokens of English, which is what the default embedder
    reads. By tokens: most tokens in a passage, its title among them; 250 by default. Never None once made."""
    overlap: int | None = None
    """Most characters (tokens) that a chunk repeats from the end of the one before; a tenth of the size by default.
    By sentences, only whole sentences are repeated. Never None once made."""
    by: By = "characters"
    """``"characters"`` and ``"tokens"`` cut at the last paragraph, line or word that fits; ``"sentences"`` keeps
    sentences whole; ``"headings"`` makes each section of a Markdown, html or docx document a chunk, or several where it
    is longer, titled with its path (``Guide > Install``)."""
    rows: bool = False
    """Whether the texts of rows (jsonl, csv, parquet, data sets) are cut too. Articles of Wikipedia always are."""
    tokenizer: str = ""
    """Model whose tokenizer counts in `by="tokens"`: a folder or hub name; the default embedder where empty."""

    def __post_init__(self) -> None:
        if self.by not in get_args(By):
            raise InvalidInput(f"unknown chunking {self.by!r}", f"Choose one of: {', '.join(get_args(By))}.")
        for name, value in (("size", self.size), ("overlap", self.overlap)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise InvalidInput(f"chunk {name} {value!r} is no whole number", "Give a number such as 1000.")
        size = (_TOKENS if self.by == "tokens" else _CHARACTERS) if self.size is None else self.size
        if size < 1:
            raise InvalidInput(f"chunk size {size}, the least is 1", "Give a number of characters such as 1000.")
        overlap = size // 10 if self.overlap is None else self.overlap
        if not 0 <= overlap < size:
            raise InvalidInput(
                f"chunk overlap {overlap}, it must be at least 0 and below the chunk size {size}",
                "Lower the overlap or raise the size.",
            )
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "overlap", overlap)

    def counted_by(self, embedder: str | Path | None) -> Self:
        """The same, with tokens counted by an embedder's tokenizer unless one is named already.

        Endpoints (names with ``://``) do not show theirs: the default embedder's stays.
        """
        if self.by != "tokens" or self.tokenizer or embedder is None or "://" in str(embedder):
            return self
        return replace(self, tokenizer=str(embedder))

    def __str__(self) -> str:
        unit = "tokens" if self.by == "tokens" else "characters"
        what = "documents and rows" if self.rows else "documents"
        return f"{what} by {self.by}, {self.size} {unit} at most, {self.overlap} shared"


class Cutter:
    """Cuts texts as a `Chunking` says.

    Args:
        chunking: How.

    Raises:
        InvalidInput: By tokens, a size that the tokenizer's model would cut off.
        ModelFileError: By tokens, the tokenizer cannot be loaded.
    """

    def __init__(self, chunking: Chunking) -> None:
        from ragscale.corpus.tokens import TokenCounter

        self.chunking = chunking
        self._size = chunking.size or 0
        self._overlap = chunking.overlap or 0
        self._count: TokenCounter | None = None
        if chunking.by == "tokens":
            self._count = TokenCounter(chunking.tokenizer)
            self._count.check(self._size)

    def cut(self, text: str, title: str, *, markdown: bool = False) -> Iterator[tuple[str, str]]:
        """Chunks of a text as pairs of heading path (empty except by headings) and text, none of them blank.

        Args:
            text: The whole text, or a part of a document that no chunk crosses.
            title: What the passages will be titled; its tokens are taken off the size.
            markdown: Whether the text is Markdown, which is cut at its headings and blocks first.
        """
        if self.chunking.by != "headings" or not markdown:
            yield from (("", chunk) for chunk in self._split(text, title, markdown))
            return
        from ragscale.corpus.headings import sections

        for path, body in sections(text):
            yield from ((path, chunk) for chunk in self._split(body, title, markdown))

    def _split(self, text: str, title: str, markdown: bool) -> list[str]:
        from ragscale.corpus.splitters import split, split_sentences

        if self.chunking.by == "sentences":
            return split_sentences(text, self._size, self._overlap, markdown=markdown)
        if self._count is None:
            return split(text, self._size, self._overlap, markdown=markdown)
        # at least half for the text: a title of that many tokens is none
        size = max(self._size - self._count(title + "\n"), (self._size + 1) // 2)
        return split(text, size, min(self._overlap, size - 1), markdown=markdown, length=self._count)
