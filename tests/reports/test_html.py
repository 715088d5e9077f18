"""The page is one file: it loads nothing, runs nothing, and log text in it stays text. Seen in a real browser."""

import io
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from sample_diagnosis import make_fault, make_run

from holter import reports

CHROMIUM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--v=0",
    "--virtual-time-budget=2000",
]
LOADERS = {"src", "href", "srcset", "data", "poster", "action", "background"}


@pytest.fixture(scope="module")
def page():
    stream = io.StringIO()
    reports.write(make_fault(), make_run(), "html", stream)
    return stream.getvalue()


class Addresses(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.found += [value for name, value in attrs if name in LOADERS]


def test_page_names_no_address(page):
    parser = Addresses()
    parser.feed(page)
    assert parser.found == ["data:,"]
    assert "script" not in parser.tags
    assert "@import" not in page and "url(" not in page
    assert "http" not in re.sub(r"http-equiv", "", page)


def test_log_text_stays_text(page):
    assert "&lt;script&gt;alert(" in page
    assert "<script" not in page


def browse(file, tmp_path, *flags):
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *flags, file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def addresses_in(net_log):
    """Requests made for a page; the browser's own (updates, clock) have no origin as their initiator."""
    found = re.findall(r'"initiator":"([^"]*)".*?"url":"((?:https?|wss?|ftp)://[^"]+)"', net_log.read_text("utf-8"))
    return {url for initiator, url in found if initiator != "not an origin"}


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_in_a_browser(page, tmp_path):
    file, log = tmp_path / "report.html", tmp_path / "net.json"
    file.write_text(page, encoding="utf-8")
    seen = browse(file, tmp_path, "--dump-dom", f"--log-net-log={log}")
    assert seen.returncode == 0, seen.stderr
    assert "&lt;script&gt;alert(" in seen.stdout
    assert seen.stdout.count("<svg") == page.count("<svg")
    assert "CONSOLE" not in seen.stderr, seen.stderr
    assert addresses_in(log) == set()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_browser_test_can_fail(tmp_path):
    file, log = tmp_path / "bad.html", tmp_path / "net.json"
    body = '<img src="http://127.0.0.1:9/x.png"><script>console.error("heard")</script>'
    file.write_text(f"<!doctype html><title>x</title>{body}", encoding="utf-8")
    seen = browse(file, tmp_path, "--dump-dom", f"--log-net-log={log}")
    assert "heard" in seen.stderr and "CONSOLE" in seen.stderr
    assert addresses_in(log) == {"http://127.0.0.1:9/x.png"}


def test_same_input_same_bytes(page):
    again = io.StringIO()
    reports.write(make_fault(), make_run(), "html", again)
    assert again.getvalue() == page
