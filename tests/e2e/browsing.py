"""Debian's Chromium, driven by Playwright: a page that fails on any error of its scripts, and what is seen of it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.conftest import ROOT, unavailable, wait_until
from tests.processes import Running

SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
PICTURES = Path(os.environ.get("SCREENSHOTS", ROOT / "var" / "screenshots"))
"""Where screenshots go; nothing of it is in the repository."""

_SECONDS = 20
_REFUSED = "Failed to load resource"
"""Chromium logs every answer from 400 on as an error; a test that means one says so."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser that TEST_CHROMIUM names, or the one that is installed."""
    path = os.environ.get("TEST_CHROMIUM") or shutil.which("chromium")
    if path is None:
        unavailable("there is no Chromium: apt-get install chromium, or name one by TEST_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Browser, url: str, size: str = "desktop", refusals: bool = False, hosts: str = "", **more: Any
) -> Iterator[Page]:
    """A new page at a URL, in a browser without a past. In the end no script failed and no other host was asked."""
    context = browser.new_context(viewport=SIZES[size], locale="en-GB", timezone_id="UTC", **more)  # type: ignore[arg-type]
    context.set_default_timeout(1_000 * _SECONDS)
    page = context.new_page()
    errors: list[str] = []
    asked: set[str] = set()

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not (refusals and message.text.startswith(_REFUSED)):
            errors.append(f"{message.type}: {message.text}")

    page.on("console", hear)
    page.on("pageerror", lambda error: errors.append(f"not caught: {error}"))
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    try:
        page.goto(url)
        yield page
        assert not errors, errors
        assert asked <= {urlsplit(hosts or url).netloc, ""}, asked  # "": pictures that are held by the page itself
    finally:
        context.close()


_IN_SIGHT = """() => [...document.images].filter((image) => {
  const { top, bottom } = image.getBoundingClientRect();
  return image.checkVisibility() && bottom > 0 && top < innerHeight;
}).every((image) => image.complete && image.naturalWidth > 0)"""


def settled(page: Page) -> None:
    """Until the feed is there, with the pictures that are in sight."""
    page.locator('#feed[aria-busy="false"]').wait_for(state="attached")
    wait_until(lambda: page.evaluate(_IN_SIGHT), _SECONDS)


def accessible(page: Page) -> None:
    """Nothing that axe objects to, of WCAG 2.2 A and AA and of good practice."""
    found = Axe().run(page)
    assert not found.violations_count, found.generate_report()


def answer(running: Running, path: str, **parameters: Any) -> dict[str, Any]:
    """What the API answers beside the page."""
    found = httpx.get(f"{running.url}{path}", params=parameters)
    assert found.status_code == 200, found.text
    body: dict[str, Any] = found.json()
    return body


def seen(page: Page, name: str, whole: bool = False) -> None:
    """Keep a screenshot for people to look at."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    if whole:
        page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=PICTURES / f"{name}.png", full_page=whole)
