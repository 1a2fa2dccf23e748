"""Makes the test doubles of `tests/modes` and `tests/eval` importable from every test folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

for folder in ("modes", "eval"):
    sys.path.insert(0, str(Path(__file__).parent / folder))
pytest.register_assert_rewrite("conformance", "doubles")
