"""Reads corpora into passages, one at a time, and says where each came from."""

from __future__ import annotations

from ragscale.corpus.chunks import By, Chunking
from ragscale.corpus.metadata import FieldTypes, fitted
from ragscale.corpus.problems import Problem, Problems
from ragscale.corpus.read import KINDS, STDIN, Piece, Reader, checked, read, refuse_unknown
from ragscale.corpus.record import Place, Record
from ragscale.corpus.rows import Columns

__all__ = [
    "KINDS",
    "STDIN",
    "By",
    "Chunking",
    "Columns",
    "FieldTypes",
    "Piece",
    "Place",
    "Problem",
    "Problems",
    "Reader",
    "Record",
    "checked",
    "fitted",
    "read",
    "refuse_unknown",
]
