"""The site is built strictly: every link leads somewhere, and pages fit a telephone and a desk."""

import os
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.test_readme import ROOT

pytestmark = pytest.mark.whole


def build(folder, **environment):
    pytest.importorskip("mkdocstrings")
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"} | environment,
        capture_output=True,
        text=True,
    )


def test_the_site_is_built_without_a_warning(tmp_path):
    done = build(tmp_path / "site", SEQJAX_SITE="quick")
    assert done.returncode == 0, done.stdout + done.stderr
    home = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "Two commands" in home
    api = (tmp_path / "site" / "api" / "cells" / "index.html").read_text(encoding="utf-8")
    for name in ("lstm_nig", "mamba", "tree_lstm", "zoneout"):
        assert name in api
    pages = list((tmp_path / "site").rglob("*.html"))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert "fonts.googleapis" not in text, page
    assert len(pages) > 35


@pytest.fixture
def served(tmp_path):
    """The whole site, notebooks run and demos made, at an address of this machine."""
    done = build(tmp_path / "site")
    assert done.returncode == 0, done.stdout + done.stderr
    handler = partial(Quiet, directory=str(tmp_path / "site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.mark.long
def test_pages_open_in_a_browser(served):
    """At 400 and 1,280 pixels: no error, nothing asked of others, nothing wider than the screen."""
    driver = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium")
    names = [
        "",
        "concepts/",
        "lectures/",
        "speed/",
        "api/cells/",
        "notebooks/odyssey/",
        "demos/beam/",
    ]
    with driver.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        complaints: list[str] = []
        asked: list[str] = []
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        for width in (400, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            for name in names:
                page.goto(served + name)
                page.wait_for_load_state("networkidle")
                assert page.evaluate("document.documentElement.scrollWidth") <= width, name
                assert page.evaluate("[...document.images].every(i => i.alt)"), name
                assert all(url.startswith((served, "data:", "blob:")) for url in asked), asked
        assert not complaints
        browser.close()
