"""Progress bars: passages a second and the time, from the first batch on."""

from __future__ import annotations

import re
import time

import pytest

from ragscale.cli.progress import progress_bars


def test_a_length_that_is_not_known_is_not_invented(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars() as report:
        report("read", 0, 0)
        report("read", 8000, 0)
    assert re.search(r"Reading\s+━+ 8000/\?", shown := capsys.readouterr().err), shown


@pytest.mark.parametrize("before", [0, 900])
def test_a_single_batch_has_a_rate_and_a_time(before: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Work of an earlier, killed process does not count for this one's speed. All fits into a narrow terminal."""
    with progress_bars() as report:
        report("embed", before, before + 100)
        time.sleep(1)
        report("embed", before + 100, before + 100)
    shown = capsys.readouterr().err
    row = re.search(rf"Embedding ━+ {before + 100}/{before + 100}\s+(\d+) passages/s\s+0:00:0(\d)", shown)
    assert row, shown
    assert 0 < int(row[1]) <= 100
    assert int(row[2]) >= 1
