"""The splitters of langchain-text-splitters that we use, and one of whole sentences; imported at the first use."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from langchain_text_splitters import MarkdownTextSplitter, RecursiveCharacterTextSplitter
from langchain_text_splitters.base import TextSplitter
from syntok import segmenter

__all__ = ["sentences", "split", "split_sentences"]


def split(
    text: str, size: int, overlap: int, *, markdown: bool = False, length: Callable[[str], int] = len
) -> list[str]:
    """Chunks of at most `size`, cut at the coarsest border that fits: headings and blocks of Markdown, paragraphs,
    lines, words, characters.

    Args:
        text: What is cut.
        size: Most of what `length` counts.
        overlap: Most that neighbours share.
        markdown: Whether to cut at the borders of Markdown first.
        length: Counts.
    """
    kind = MarkdownTextSplitter if markdown else RecursiveCharacterTextSplitter
    return kind(chunk_size=size, chunk_overlap=overlap, length_function=length).split_text(text)


def split_sentences(text: str, size: int, overlap: int) -> list[str]:
    """Chunks of whole sentences, at most `size` characters; a longer sentence is cut between words."""
    return _Sentences(chunk_size=size, chunk_overlap=overlap).split_text(text)


def sentences(text: str) -> list[str]:
    """Sentences with the white space behind them: joined, they are the text."""
    starts = [found[0].offset for paragraph in segmenter.analyze(text) for found in paragraph if found]
    borders = [0, *starts[1:], len(text)]
    return [text[start:stop] for start, stop in pairwise(borders)]


class _Sentences(TextSplitter):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._words = RecursiveCharacterTextSplitter(
            chunk_size=self._chunk_size, chunk_overlap=0, strip_whitespace=False
        )

    def split_text(self, text: str) -> list[str]:
        pieces = [piece for sentence in sentences(text) for piece in self._pieces(sentence)]
        return self._merge_splits(pieces, "")

    def _pieces(self, sentence: str) -> list[str]:
        return [sentence] if len(sentence) <= self._chunk_size else self._words.split_text(sentence)
