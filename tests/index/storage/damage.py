"""Damages files of an index that is opened as a large one, whose files are not read whole, and searches it.

Run by test_large_files.py in a process of its own, as what it looks for ends the process.
"""

from __future__ import annotations

import random
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import tiny

from ragscale.errors import RagscaleError
from ragscale.index import Index, Manifest
from ragscale.index.storage import checksums as files_module

NUMBERS = [0, 1, 255, 2**31 - 1, 2**32, 2**40, 2**62, 2**64 - 1]


def damaged(whole: bytes, rng: random.Random) -> bytes:
    """One to twenty places with other bits, bytes or numbers, more of them near both ends, where headers are."""
    data = bytearray(whole)
    for _ in range(rng.choice([1, 1, 3, 20])):
        near = min(len(data), 2000)
        at = rng.choice([rng.randrange(len(data)), rng.randrange(near), len(data) - 1 - rng.randrange(near)])
        kind, size = rng.randrange(4), min(len(data) - at, rng.choice([1, 4, 8, 64]))
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at : at + size] = bytes(size)
        elif kind == 2:
            data[at : at + size] = rng.randbytes(size)
        else:
            data[at : at + size] = (rng.choice(NUMBERS).to_bytes(8, "little") * 8)[:size]
    return bytes(data)


def use(folder: Path) -> None:
    """Every kind of search, filters, and passages by id and by row."""
    with Index.open(folder) as index:
        for how in ("dense", "bm25", "hybrid"):
            for where in (None, 'year > 2000 and kind like "a%"'):
                index.search(["river ice", "bread violin w7", "paris w1 w2 w3"], 30, how, where=where)  # type: ignore[arg-type]
        for identity in ("p7", "p119", "absent"):
            if identity in index:
                index.passage(identity)
        list(index._snapshot.passages.take(np.arange(120)))


def main(folder: Path, cases: int, seed: int) -> None:
    """Say on standard output what is damaged before it is used, and how it ended."""
    rng = random.Random(seed)
    names = sorted(Manifest.read(folder).files)
    with pytest.MonkeyPatch.context() as patch:
        tiny.install(patch)
        patch.setattr(files_module, "HASHED_FILE", -1)
        for case in range(cases):
            path = folder / names[case % len(names)]
            whole = path.read_bytes()
            path.write_bytes(damaged(whole, rng) if whole else b"x")
            print(case, path.name, end=" ", flush=True)
            try:
                use(folder)
                print("ok", flush=True)
            except RagscaleError as error:
                if not error.remedy:
                    raise
                print(type(error).__name__, flush=True)
            path.write_bytes(whole)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # numpy's about numbers that are none
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
