"""The pages where keys are needed, and where nothing is there yet."""

import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, expect

from contract.environment import StoreSettings
from tests.conftest import fresh_stores
from tests.e2e.browsing import accessible, opened, seen, settled
from tests.integration.hostile import Target, status
from tests.processes import Running, environment_of, service_process

KEY = "a key that may do all"


@pytest.fixture(scope="module")
def keyed(site: StoreSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    log = tmp_path_factory.mktemp("log") / "service.log"
    with service_process(environment_of(site, API_KEY=KEY), log) as started:
        yield started


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service before the first import: no user, no model."""
    with fresh_stores("embedded") as stores:
        log = tmp_path_factory.mktemp("log") / "service.log"
        with service_process(environment_of(stores), log, until="live") as started:
            yield started


def test_a_key_is_asked_for_until_one_fits_and_kept_for_the_tab(browser: Browser, keyed: Running) -> None:
    with opened(browser, keyed.url, refusals=True) as page:
        dialog = page.get_by_role("dialog", name="A key is needed")
        expect(dialog).to_be_visible()
        seen(page, "key")
        accessible(page)
        dialog.get_by_label("Key").fill("a wrong one")
        dialog.get_by_role("button", name="Use it").click()
        expect(dialog.get_by_label("Key")).to_have_value("")
        page.keyboard.press("Escape")
        expect(page.get_by_role("alert")).to_contain_text("key")
        assert page.locator(".card").count() == 0
        page.reload()
        dialog.get_by_label("Key").fill(KEY)
        dialog.get_by_label("Key").press("Enter")
        expect(dialog).to_have_count(0)
        settled(page)
        assert page.locator(".card").count() == 12
        assert str(page.locator(".card img").first.get_attribute("src")).startswith("blob:")
        page.reload()
        settled(page)
        assert page.locator(".card").count() == 12
        page.get_by_role("link", name="Operations").click()
        expect(page.locator("#versions tbody tr")).to_have_count(2)


def test_a_key_that_cannot_be_one_is_not_taken(browser: Browser, keyed: Running) -> None:
    with opened(browser, keyed.url, refusals=True) as page:
        dialog = page.get_by_role("dialog", name="A key is needed")
        dialog.get_by_label("Key").fill("\u201ca key that may do all\u201d")
        dialog.get_by_role("button", name="Use it").click()
        expect(dialog).to_be_visible()
        dialog.get_by_label("Key").fill(KEY)
        dialog.get_by_role("button", name="Use it").click()
        settled(page)
        assert page.locator(".card").count() == 12


def test_a_key_that_may_only_read_is_told_so(browser: Browser, keyed: Running, site: StoreSettings) -> None:
    key = new_key(site)
    with opened(browser, keyed.url, refusals=True) as page:
        dialog = page.get_by_role("dialog", name="A key is needed")
        dialog.get_by_label("Key").fill(key)
        dialog.get_by_label("Key").press("Enter")
        settled(page)
        page.locator(".card").first.get_by_role("button", name="Retweet").click()
        expect(dialog).to_contain_text("write")
        dialog.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("alert")).to_contain_text("write")
        page.locator(".card").first.get_by_role("button", name="Retweet").click()
        dialog.get_by_label("Key").fill(KEY)
        dialog.get_by_label("Key").press("Enter")
        expect(page.get_by_role("status")).to_contain_text("Retweeted")
        page.get_by_role("button", name="Undo").click()
        expect(page.get_by_role("status")).to_contain_text("Taken back")


def test_an_operator_s_key_is_needed_for_operations(browser: Browser, keyed: Running, site: StoreSettings) -> None:
    key = new_key(site)
    with opened(browser, f"{keyed.url}/ops", refusals=True) as page:
        dialog = page.get_by_role("dialog", name="A key is needed")
        dialog.get_by_label("Key").fill(key)
        dialog.get_by_label("Key").press("Enter")
        expect(dialog).to_contain_text("admin")
        expect(page.locator("#tiles")).to_be_empty()
        dialog.get_by_role("button", name="Cancel").click()
        expect(page.get_by_label("Look again every 5 seconds")).not_to_be_checked()
        expect(page.get_by_role("alert")).to_contain_text("admin")
        page.wait_for_timeout(6_000)
        expect(dialog).to_have_count(0)


def test_the_first_user_is_made_on_the_page(browser: Browser, empty: Running) -> None:
    with opened(browser, empty.url, refusals=True) as page:
        settled(page)
        expect(page.locator("#nobody")).to_contain_text("Nobody is here yet")
        seen(page, "nobody")
        accessible(page)
        page.get_by_label("Nobody is here yet. Make a user").fill("first")
        page.get_by_role("button", name="Make").click()
        expect(page.get_by_role("alert")).to_contain_text("no model serves yet: run `python -m training retrain`")
        assert httpx.get(f"{empty.url}/users/first").status_code == 200


def new_key(site: StoreSettings) -> str:
    """One with the scope read alone, as `keys create` makes it."""
    made = [sys.executable, "-m", "service", "keys", "create", "reader", "--scopes", "read"]
    ended = subprocess.run(made, env=environment_of(site), capture_output=True, text=True, check=True)
    return ended.stdout.split()[0]


def test_pages_have_a_policy_of_their_own_and_no_data(keyed: Running) -> None:
    for path in ("/", "/ops"):
        page = httpx.get(f"{keyed.url}{path}")
        assert page.status_code == 200
        assert "unsafe" not in page.headers["Content-Security-Policy"]
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
        assert page.headers["Cache-Control"] == "no-cache"
        assert "u0001" not in page.text
    script = httpx.get(f"{keyed.url}/web/feed.js")
    assert script.headers["Content-Type"].startswith("text/javascript")
    again = httpx.get(f"{keyed.url}/web/feed.js", headers={"If-None-Match": script.headers["ETag"]})
    assert again.status_code == 304
    assert httpx.get(f"{keyed.url}/web/no.js").status_code == 404


@pytest.mark.parametrize(
    "path", ["/web/../main.py", "/web/%2e%2e/main.py", "/web/..%2fmain.py", "/web//../../main.py", "/web/./../main.py"]
)
def test_no_path_leads_out_of_the_folder(keyed: Running, site: StoreSettings, path: str) -> None:
    """As bytes: an HTTP library would take the dots away first."""
    outside = Target(keyed, site, httpx.Client(), "", "", 0)
    answer = outside.raw(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    assert status(answer) == 404
    assert b"create_app" not in answer
    assert b"problem+json" in answer


@pytest.mark.parametrize("name", ["feed.html", "ops.html", "feed.HTML", "./ops.html", "ops.html/"])
def test_a_page_is_at_its_own_address_alone(keyed: Running, name: str) -> None:
    """Where its policy holds."""
    assert httpx.get(f"{keyed.url}/web/{name}").status_code == 404
