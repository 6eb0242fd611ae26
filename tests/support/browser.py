"""Pages opened in Chromium: 400 pixels wide, nothing fetched, nothing complained of."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A page of Playwright's. At the end: no message, no error, no dialog, no request but for the page itself."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = pytest.importorskip("playwright.sync_api")
    if chromium is None:
        pytest.skip("no Chromium")
    with driver.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 400, "height": 800})
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda request: complaints.append(request.url))
        page.goto(path.as_uri())
        yield page
        browser.close()
    assert [text for text in complaints if not text.startswith("data:")] == [path.as_uri()]


def fits_a_telephone(page: Any) -> bool:
    """Whether nothing is wider than the screen, and every image has a text in its place."""
    narrow = page.evaluate("document.documentElement.scrollWidth") <= 400
    return narrow and page.evaluate("[...document.images].every(i => i.alt.length > 8)")


def has_two_themes(page: Any) -> bool:
    grounds = set()
    for _ in range(2):
        page.click("#theme")
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    return len(grounds) == 2


def evaluated(scripts: Sequence[Path], code: str, *, data: Any = None) -> Any:
    """What an expression is after some scripts, by Node; DATA is there for them."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node")
    text = f"const DATA = {json.dumps(data)};\n"
    text += "\n".join(path.read_text("utf-8") for path in scripts)
    text += f"\nconsole.log(JSON.stringify({code}));"
    done = subprocess.run([node, "-"], input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
