"""Comparing two sets of documents, against the same comparison with dictionaries."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ragscale.index.storage.hashes import ABSENT, ADDED, CHANGED, COLUMNS, UNCHANGED, Hashes, compare, row_hashes
from ragscale.types import Passage

# few documents and few texts, so that equal ones are frequent, and documents lie scattered
ROWS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("xyz")), max_size=12)


def hashes(rows: list[tuple[str, str]]) -> Hashes:
    found = [row_hashes(Passage("same", "", text, document)) for document, text in rows]
    return np.array(found, dtype=np.uint64).reshape(-1, COLUMNS)


def documents(rows: list[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for document, text in rows:
        found.setdefault(document, []).append(text)
    return found


@given(ROWS, ROWS)
def test_compare(old: list[tuple[str, str]], new: list[tuple[str, str]]) -> None:
    before, after = documents(old), documents(new)

    def state(document: str) -> int:
        if document not in after:
            return ABSENT
        if document not in before:
            return ADDED
        return UNCHANGED if before[document] == after[document] else CHANGED

    old_states, new_states, counts = compare(hashes(old), hashes(new))
    assert old_states.tolist() == [state(document) for document, _ in old]
    assert new_states.tolist() == [state(document) for document, _ in new]
    states = [state(document) for document in {**before, **after}]
    assert counts == tuple(states.count(kind) for kind in (ADDED, CHANGED, UNCHANGED, ABSENT))
