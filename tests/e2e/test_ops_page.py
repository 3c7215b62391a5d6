"""The operator's page: what it shows is what the API answers, and another version serves only where one says yes."""

from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.browsing import SIZES, accessible, answer, opened, seen
from tests.processes import Running


def models(running: Running) -> dict[str, Any]:
    return answer(running, "/models")


def state(running: Running) -> dict[str, Any]:
    return answer(running, "/ops/state")


@pytest.fixture
def busy(running: Running) -> Running:
    """It was asked for something."""
    for _ in range(20):
        httpx.get(f"{running.url}/users/u0001/recommendations").raise_for_status()
        httpx.get(f"{running.url}/users/u0002/recommendations?scope=discover").raise_for_status()
    httpx.get(f"{running.url}/users/nobody/recommendations")
    return running


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_how_it_looks(browser: Browser, busy: Running, size: str, scheme: str) -> None:
    with opened(browser, f"{busy.url}/ops", size, color_scheme=scheme) as page:
        page.get_by_role("button", name="Curves of").first.click()
        expect(page.locator("#curves svg")).to_have_count(2)
        seen(page, f"ops-{size}-{scheme}", whole=True)
        accessible(page)
        page.get_by_role("button", name="Roll back").click()
        seen(page, f"confirm-{size}-{scheme}")
        accessible(page)


def test_it_shows_what_the_api_says(browser: Browser, busy: Running) -> None:
    with opened(browser, f"{busy.url}/ops") as page:
        tile = page.locator(".tile")
        expect(tile.filter(has_text="Service")).to_contain_text("ready")
        expect(tile.filter(has_text="Redis").first).to_contain_text("ok")
        expect(tile.filter(has_text="Queue")).to_contain_text(f"0 of {state(busy)['process']['queue']['size']}")
        expect(tile.filter(has_text="Pending")).to_contain_text("0")
        known = models(busy)
        rows = page.locator("#versions tbody tr")
        expect(rows.locator("th")).to_have_text([model["version"] for model in known["models"]])
        active = rows.filter(has_text=known["active"])
        expect(active.locator(".state")).to_have_text("active")
        auc = next(model for model in known["models"] if model["version"] == known["active"])["metrics"]["amnl"]["auc"]
        expect(active).to_contain_text(f"{auc:.3f}")
        asked = next(kind for kind in state(busy)["process"]["requests"] if kind["kind"] == "recommend")
        row = page.locator("#requests tbody tr").filter(has_text="recommend")
        expect(row.locator("td").nth(1)).to_have_text(str(asked["answered"]))
        expect(row.locator("td").nth(2)).to_have_text(str(asked["refused"]))
        answers = {one["source"]: one["count"] for one in state(busy)["process"]["answers"]}
        expect(page.locator("#answers li").filter(has_text="discover")).to_contain_text(str(answers["discover"]))


def test_it_looks_again_by_itself_unless_told_not_to(browser: Browser, busy: Running) -> None:
    with opened(browser, f"{busy.url}/ops") as page:
        cell = page.locator("#requests tbody tr").filter(has_text="recommend").locator("td").nth(1)
        before = int(cell.inner_text())
        httpx.get(f"{busy.url}/users/u0001/recommendations").raise_for_status()
        expect(cell).to_have_text(str(before + 1), timeout=15_000)
        expect(page.locator("#requests tbody tr").first.locator("td").first).not_to_be_empty()
        page.get_by_label("Look again every 5 seconds").uncheck()
        httpx.get(f"{busy.url}/users/u0001/recommendations").raise_for_status()
        page.wait_for_timeout(6_000)
        expect(cell).to_have_text(str(before + 1))


def test_another_version_serves_once_one_says_yes(browser: Browser, running: Running) -> None:
    first = models(running)["active"]
    other = next(model["version"] for model in models(running)["models"] if model["version"] != first)
    with opened(browser, f"{running.url}/ops") as page:
        page.get_by_role("button", name=f"Activate {other}").click()
        dialog = page.get_by_role("dialog", name=f"Activate {other}?")
        expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
        page.keyboard.press("Enter")
        expect(dialog).to_have_count(0)
        assert models(running)["active"] == first
        page.get_by_role("button", name=f"Activate {other}").click()
        dialog.get_by_role("button", name="Yes, do it").click()
        expect(page.get_by_role("status")).to_have_text(f"{other} serves now.")
        assert models(running)["active"] == other
        expect(page.locator("#versions tr.active th")).to_have_text(other)
        page.get_by_role("button", name="Roll back").click()
        page.get_by_role("dialog", name="Roll back?").get_by_role("button", name="Yes, do it").click()
        expect(page.get_by_role("status")).to_have_text(f"{first} serves now.")
        assert models(running)["active"] == first


AWAY: dict[str, Any] = {
    "type": "/problems/store-down",
    "title": "",
    "status": 503,
    "detail": "the database does not answer",
}


def test_what_can_be_told_is_told_while_the_database_is_away(browser: Browser, running: Running) -> None:
    with opened(browser, "about:blank", refusals=True, hosts=running.url) as page:
        page.route("**/models", lambda route: route.fulfill(status=503, json=AWAY))
        page.goto(f"{running.url}/ops")
        expect(page.locator(".tile").filter(has_text="Service")).to_contain_text("ready")
        expect(page.get_by_role("alert")).to_have_text(AWAY["detail"])
        expect(page.locator("#asof")).to_contain_text("Not all of it")
        page.unroute_all()
        expect(page.get_by_role("alert")).to_be_hidden(timeout=15_000)
        expect(page.locator("#versions tbody tr")).to_have_count(2)


def test_a_look_keeps_the_focus_and_what_went_wrong_before(browser: Browser, running: Running) -> None:
    unfit = AWAY | {
        "type": "/problems/version-unfit",
        "status": 409,
        "detail": "its files are not those of its manifest",
    }
    with opened(browser, f"{running.url}/ops", refusals=True) as page:
        page.route("**:activate", lambda route: route.fulfill(status=409, json=unfit))
        button = page.get_by_role("button", name="Activate")
        button.click()
        page.get_by_role("button", name="Yes, do it").click()
        expect(page.get_by_role("alert")).to_have_text(unfit["detail"])
        button.focus()
        with page.expect_response("**/models"):
            pass
        page.wait_for_timeout(500)
        expect(button).to_be_focused()
        expect(page.get_by_role("alert")).to_have_text(unfit["detail"])
