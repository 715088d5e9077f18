"""Takes the picture of a report that the README shows. Needs Chromium.

Usage: python scripts/make_picture.py
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import holter
from holter.reports import write

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "samples" / "loss-scale"
PICTURE = ROOT / "docs" / "images" / "report.png"
WIDTH, HEIGHT = 900, 1560
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def main() -> int:
    """Write the picture; exit 1 where there is no browser."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        print("no Chromium found; the picture was left as it is", file=sys.stderr)
        return 1
    run = holter.read([SAMPLE])
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        page = Path(folder, "report.html")
        with page.open("w", encoding="utf-8") as stream:
            write(holter.diagnose(run), run, "html", stream)
        where = (f"--user-data-dir={folder}/profile", f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={PICTURE}")
        subprocess.run([browser, *FLAGS, *where, page.as_uri()], check=True, capture_output=True, timeout=120)
    print(f"wrote {PICTURE} ({PICTURE.stat().st_size:,} bytes)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
