"""A picture of a page: ``python tests/view/picture.py PAGE.html OUT.png [--width 1280] [--height 900] [--dark]``."""

from __future__ import annotations

import argparse
import base64
import tempfile
from pathlib import Path

from browser import Browser, started

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=900)
    parser.add_argument("--dark", action="store_true")
    given = parser.parse_args()
    driver = started()
    try:
        with tempfile.TemporaryDirectory() as folder:
            tab = Browser(driver, Path(folder) / "pages")
            tab.open(given.page.read_text("utf-8"), width=given.width, dark=given.dark)
            clip = {"x": 0, "y": 0, "width": given.width, "height": given.height, "scale": 1}
            taken = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
            given.out.write_bytes(base64.b64decode(taken["data"]))
    finally:
        driver.quit()
