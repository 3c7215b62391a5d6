"""The feed page, as people use it: what it shows is what the API answers, and what they do changes it at once."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.e2e.browsing import SIZES, accessible, answer, opened, seen, settled
from tests.integration.running import png
from tests.processes import Running

USER = "u0001"


def ranking(running: Running, user: str = USER, k: int = 12, **parameters: Any) -> dict[str, Any]:
    return answer(running, f"/users/{user}/recommendations", k=k, explain=True, **parameters)


def ids(body: dict[str, Any]) -> list[str]:
    return [item["tweet_id"] for item in body["items"]]


def cards(page: Page) -> list[str]:
    settled(page)
    return [str(card.get_attribute("data-tweet")) for card in page.locator(".card").all()]


def number(text: str) -> Any:
    """What a number on the page may come from: three digits of it are there."""
    return pytest.approx(float(text.replace("\u2212", "-")), rel=0.005)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_how_it_looks(browser: Browser, running: Running, size: str, scheme: str) -> None:
    with opened(browser, running.url, size, color_scheme=scheme) as page:
        assert len(cards(page)) == 12
        seen(page, f"feed-{size}-{scheme}")
        accessible(page)
        page.locator(".card").first.get_by_role("button", name="Why?", exact=True).click()
        seen(page, f"why-{size}-{scheme}")
        accessible(page)
        page.get_by_role("button", name="Close").click()
        page.get_by_role("combobox", name="Compare with").select_option(index=1)
        page.locator(".ranking .picture").last.wait_for()
        settled(page)
        seen(page, f"compare-{size}-{scheme}")
        accessible(page)
        page.get_by_role("combobox", name="Compare with").select_option("")
        page.locator("summary", has_text="Post a picture").click()
        seen(page, f"post-{size}-{scheme}")
        accessible(page)


def test_a_narrow_page_is_not_cut(browser: Browser, running: Running) -> None:
    with opened(browser, running.url, "phone") as page:
        page.set_viewport_size({"width": 320, "height": 640})
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_the_first_user_s_feed_is_what_the_api_answers(browser: Browser, running: Running) -> None:
    body = ranking(running)
    with opened(browser, running.url) as page:
        assert cards(page) == ids(body)
        expect(page.get_by_role("heading", level=1)).to_have_text(f"What {USER} will retweet")
        for card, item in zip(page.locator(".card").all(), body["items"], strict=True):
            tweet = answer(running, f"/tweets/{item['tweet_id']}")
            expect(card.locator(".words")).to_have_text(tweet["text"])
            expect(card.locator(".by a")).to_have_text(item["author_id"])
            expect(card.locator("time")).to_have_attribute("datetime", tweet["created_at"])
            assert item["personal"] == number(card.locator(".personal .value").inner_text())
            assert item["social"] == number(card.locator(".social .value").inner_text())
            names = ", ".join(one["user_id"] for one in item["because"])
            expect(card.locator(".because")).to_have_text(f"Carried by {names}")
            assert card.locator(".because svg").count() == len(item["because"])
            assert f"/tweets/{item['tweet_id']}/image" in str(card.locator("img").get_attribute("src"))
        expect(page.locator("#facts")).to_contain_text(f"{body['candidates']} candidates, from followees")


def test_a_user_is_found_by_keyboard(browser: Browser, running: Running) -> None:
    users = [user["user_id"] for user in answer(running, "/users", prefix="u002", limit=8)["users"]]
    with opened(browser, running.url) as page:
        settled(page)
        field = page.get_by_role("combobox", name="User")
        field.press_sequentially("u002")
        expect(page.locator("#picker-list [role=option]")).to_have_text(users)
        field.press("ArrowDown")
        field.press("ArrowDown")
        field.press("ArrowUp")
        expect(page.locator("#picker-list [aria-selected=true]")).to_have_text(users[0])
        accessible(page)
        field.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text(f"What {users[0]} will retweet")
        assert page.url == f"{running.url}/?user={users[0]}"
        assert cards(page) == ids(ranking(running, users[0]))
        page.go_back()
        expect(page.get_by_role("heading", level=1)).to_have_text(f"What {USER} will retweet")
        field.fill("u00")
        expect(page.locator("#picker-list")).to_be_visible()
        field.press("Escape")
        expect(page.locator("#picker-list")).to_be_hidden()


def test_a_face_leads_to_its_feed(browser: Browser, running: Running) -> None:
    with opened(browser, running.url) as page:
        settled(page)
        link = page.locator(".followees a").first
        name = link.inner_text()
        link.click()
        expect(page.get_by_role("heading", level=1)).to_have_text(f"What {name} will retweet")
        expect(page.get_by_role("heading", level=1)).to_be_focused()


def test_a_user_who_is_not_there_is_told_of(browser: Browser, running: Running) -> None:
    with opened(browser, running.url, refusals=True) as page:
        settled(page)
        page.get_by_role("combobox", name="User").fill("nobody")
        page.get_by_role("combobox", name="User").press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("user_id nobody is not known")
        assert cards(page) == []
        seen(page, "unknown-user")


def test_more_comes_page_by_page_and_ends(browser: Browser, running: Running) -> None:
    whole = ids(ranking(running, k=100))
    assert len(whole) > 24
    with opened(browser, running.url) as page:
        assert cards(page) == whole[:12]
        page.get_by_role("button", name="Show more").click()
        expect(page.locator(".card")).to_have_count(24)
        assert cards(page) == whole[:24]
        expect(page.locator(".card").nth(12)).to_be_focused()
        expect(page.locator(".card").nth(12).locator(".rank")).to_have_text("13")
        page.keyboard.press("PageDown")
        expect(page.locator(".card").nth(13)).to_be_focused()
        page.keyboard.press("PageUp")
        expect(page.locator(".card").nth(12)).to_be_focused()
        while page.get_by_role("button", name="Show more").is_visible():
            count = page.locator(".card").count()
            page.get_by_role("button", name="Show more").click()
            expect(page.locator(".card").nth(count)).to_be_attached()
        assert cards(page) == whole
        expect(page.locator("#end")).to_have_text("That is all there is.")


@pytest.mark.parametrize("act", ["Retweet", "Not for me"])
def test_what_is_done_with_a_tweet_changes_the_feed_and_can_be_undone(
    browser: Browser, running: Running, act: str
) -> None:
    before = ids(ranking(running))
    retweets = answer(running, f"/users/{USER}")["retweets"]
    with opened(browser, running.url) as page:
        assert cards(page) == before
        page.locator(".card").nth(1).get_by_role("button", name=act).click()
        expect(page.locator(f'[data-tweet="{before[1]}"]')).to_have_count(0)
        expect(page.get_by_role("status")).to_contain_text(before[1])
        assert cards(page) == ids(ranking(running))
        assert before[1] not in ids(ranking(running, k=100))
        assert answer(running, f"/users/{USER}")["retweets"] == retweets + (act == "Retweet")
        page.get_by_role("button", name="Undo").click()
        expect(page.locator(f'[data-tweet="{before[1]}"]')).to_have_count(1)
        assert cards(page) == before
        assert answer(running, f"/users/{USER}")["retweets"] == retweets


def test_following_and_unfollowing_change_the_answer(browser: Browser, running: Running) -> None:
    followees = [user["user_id"] for user in answer(running, f"/users/{USER}/followees")["users"]]
    with opened(browser, f"{running.url}/?user={USER}&scope=discover") as page:
        stranger = next(item["author_id"] for item in ranking(running, scope="discover")["items"])
        assert stranger not in followees
        settled(page)
        page.get_by_role("button", name=f"Follow {stranger}", exact=True).first.click()
        expect(page.get_by_role("status")).to_contain_text(f"{USER} follows {stranger}")
        expect(page.locator(".followees li")).to_have_count(len(followees) + 1)
        assert cards(page) == ids(ranking(running, scope="discover"))
        page.get_by_label("Followees", exact=True).check()
        settled(page)
        assert stranger in {one["user_id"] for one in ranking(running)["followees"]}
        page.get_by_role("button", name=f"Unfollow {stranger}").click()
        expect(page.locator(".followees li")).to_have_count(len(followees))
        assert stranger not in {one["user_id"] for one in ranking(running)["followees"]}
        field = page.get_by_role("combobox", name="Follow somebody")
        field.fill(stranger)
        field.press("Enter")
        expect(page.locator(".followees li")).to_have_count(len(followees) + 1)
        page.get_by_role("button", name=f"Unfollow {stranger}").click()
        expect(page.locator(".followees li")).to_have_count(len(followees))


def test_following_oneself_is_refused_in_words(browser: Browser, running: Running) -> None:
    with opened(browser, running.url, refusals=True) as page:
        settled(page)
        page.get_by_role("combobox", name="Follow somebody").fill(USER)
        page.get_by_role("combobox", name="Follow somebody").press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("themselves")


DROP = """(place, bytes) => {
  const carried = new DataTransfer();
  carried.items.add(new File([new Uint8Array(bytes)], "drawn.png", { type: "image/png" }));
  for (const name of ["dragenter", "dragover", "drop"]) {
    const event = new DragEvent(name, { dataTransfer: carried, bubbles: true, cancelable: true });
    place.dispatchEvent(event);
    if (!event.defaultPrevented) throw new Error("the browser would leave the page");
  }
}"""
PASTE = """(place, bytes) => {
  const carried = new DataTransfer();
  carried.items.add(new File([new Uint8Array(bytes)], "", { type: "image/png" }));
  place.dispatchEvent(new ClipboardEvent("paste", { clipboardData: carried, bubbles: true, cancelable: true }));
}"""


def test_a_dropped_picture_shows_up_in_a_follower_s_feed(browser: Browser, running: Running) -> None:
    followers = [user["user_id"] for user in answer(running, f"/users/{USER}/followers", limit=3)["users"]]
    words = "Calm <b>lake</b> <img src=x onerror=document.title=1>"
    with opened(browser, running.url) as page:
        settled(page)
        page.locator("#feed").evaluate(DROP, list(png("teal")))  # anywhere on the page
        expect(page.get_by_alt_text("The picture to post")).to_be_visible()
        page.get_by_label("Words").fill(words)
        seen(page, "dropped")
        page.get_by_role("button", name="Post", exact=True).click()
        expect(page.get_by_role("status")).to_contain_text("Posted. See it in the feed of")
        expect(page.get_by_role("status").get_by_role("link")).to_have_text(followers)
        seen(page, "posted")
        page.get_by_role("status").get_by_role("link").first.click()
        expect(page.get_by_role("heading", level=1)).to_have_text(f"What {followers[0]} will retweet")
        pointed = page.locator(".card.pointed")
        expect(pointed).to_be_focused()
        expect(pointed.locator(".words")).to_have_text(words)
        expect(page.get_by_role("status")).to_contain_text("is at place")
        tweet_id = str(pointed.get_attribute("data-tweet"))
        place = ids(ranking(running, followers[0], k=100)).index(tweet_id) + 1
        expect(pointed.locator(".rank")).to_have_text(str(place))
        settled(page)
        seen(page, "in-a-follower-s-feed")
        assert httpx.get(f"{running.url}/tweets/{tweet_id}/image").content == png("teal")


def test_a_file_that_is_no_picture_is_refused_and_the_words_stay(
    browser: Browser, running: Running, tmp_path: Path
) -> None:
    (tmp_path / "notes.png").write_text("no picture")
    (tmp_path / "lake.png").write_bytes(png("navy"))
    tweets = answer(running, f"/users/{USER}")["tweets"]
    with opened(browser, running.url, refusals=True) as page:
        settled(page)
        page.locator("summary", has_text="Post a picture").click()
        expect(page.get_by_role("button", name="Post", exact=True)).to_be_disabled()
        page.locator("#compose-file").set_input_files(tmp_path / "notes.png")
        page.get_by_label("Words").fill("Worth keeping")
        page.get_by_role("button", name="Post", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("image")
        expect(page.get_by_label("Words")).to_have_value("Worth keeping")
        assert answer(running, f"/users/{USER}")["tweets"] == tweets
        page.locator("#compose-file").set_input_files(tmp_path / "lake.png")
        page.get_by_role("button", name="Post", exact=True).click()
        expect(page.get_by_role("status")).to_contain_text("Posted.")
        expect(page.get_by_role("alert")).to_be_hidden()
        assert answer(running, f"/users/{USER}")["tweets"] == tweets + 1


def test_why_a_tweet_is_there(browser: Browser, running: Running) -> None:
    body = ranking(running)
    item, shares = body["items"][0], body["followees"]
    with opened(browser, running.url) as page:
        settled(page)
        why = page.locator(".card").first.get_by_role("button", name="Why?", exact=True)
        why.focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name=f"Why {item['tweet_id']} for {USER}")
        expect(dialog.get_by_role("button", name="Close")).to_be_focused()
        expect(dialog.get_by_role("img", name=f"{USER} and")).to_be_visible()
        assert dialog.locator("svg.graph line").count() == min(16, len(shares))
        assert dialog.locator("svg.graph .ring").count() == len(item["because"])
        rows = [row.inner_text().split("\t") for row in dialog.locator("tbody tr").all()]
        assert [row[:2] for row in rows] == [[one["user_id"], f"{100 * one['share']:.1f} %"] for one in shares]
        parts = {one["user_id"]: one["part"] for one in item["because"]}
        assert parts == {row[0]: number(row[2]) for row in rows if row[2]}
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
        expect(why).to_be_focused()


def test_two_versions_side_by_side(browser: Browser, running: Running) -> None:
    models = answer(running, "/models")
    other = next(model["version"] for model in models["models"] if model["version"] != models["active"])
    with opened(browser, running.url) as page:
        settled(page)
        page.get_by_role("combobox", name="Compare with").select_option(other)
        for version in (models["active"], other):
            side = page.get_by_role("region", name=version)
            body = ranking(running, version=version)
            texts = [answer(running, f"/tweets/{tweet}")["text"] for tweet in ids(body)]
            expect(side.locator(".words")).to_have_text(texts)
        expect(page.locator(".card").first).to_be_hidden()
        assert f"beside={other}" in page.url
        page.reload()
        expect(page.get_by_role("region", name=other).locator("li")).to_have_count(12)
        page.go_back()
        expect(page.locator(".card").first).to_be_visible()


def test_a_user_whom_the_model_does_not_know_gets_what_is_popular(browser: Browser, running: Running) -> None:
    httpx.post(f"{running.url}/users", json={"user_id": "u0000-new"}).raise_for_status()
    with opened(browser, f"{running.url}/?user=u0000-new") as page:
        settled(page)
        expect(page.locator("#facts")).to_contain_text("by popularity")
        expect(page.locator(".card").first).to_contain_text("Popular:")
        expect(page.locator("#profile")).to_contain_text("None yet: follow somebody")
        accessible(page)
        page.locator(".card").first.get_by_role("button", name="Retweet").click()
        expect(page.get_by_role("status")).to_contain_text("Retweeted")
    httpx.delete(f"{running.url}/users/u0000-new").raise_for_status()


def test_a_service_that_does_not_answer_is_told_of(browser: Browser, running: Running) -> None:
    with opened(browser, running.url, refusals=True) as page:
        settled(page)
        page.route(re.compile("/users/"), lambda route: route.abort())
        page.get_by_label("Discover").check()
        expect(page.get_by_role("alert")).to_contain_text("The service does not answer")
        page.unroute_all()
        page.get_by_label("Followees", exact=True).check()
        expect(page.locator(".card").first).to_be_visible()
        expect(page.get_by_role("alert")).to_be_hidden()


def test_an_address_that_makes_no_sense_is_told_of(browser: Browser, running: Running) -> None:
    for user in ("../models", "a%20b", "%00", "x" * 100):
        with opened(browser, f"{running.url}/?user={user}&scope=nowhere", refusals=True) as page:
            expect(page.get_by_role("alert")).to_contain_text("user_id")


@pytest.fixture
def other(running: Running) -> Iterator[str]:
    """Another version than the one that serves, which serves again afterwards."""
    models = answer(running, "/models")
    yield next(model["version"] for model in models["models"] if model["version"] != models["active"])
    httpx.post(f"{running.url}/models/{models['active']}:activate").raise_for_status()


def test_a_feed_goes_on_where_another_version_serves_meanwhile(browser: Browser, running: Running, other: str) -> None:
    with opened(browser, running.url, refusals=True) as page:
        settled(page)
        httpx.post(f"{running.url}/models/{other}:activate").raise_for_status()
        page.get_by_role("button", name="Show more").click()
        expect(page.get_by_role("status")).to_contain_text("Another model version serves now")
        assert cards(page) == ids(ranking(running))
        expect(page.locator("#facts")).to_contain_text(other)


def test_more_is_read_once_however_often_one_asks(browser: Browser, running: Running) -> None:
    with opened(browser, running.url) as page:
        settled(page)
        page.get_by_role("button", name="Show more").dblclick()
        expect(page.locator(".card").nth(12)).to_be_focused()
        assert cards(page) == ids(ranking(running, k=24))


def test_nothing_of_another_user_stays_where_one_cannot_be_shown(browser: Browser, running: Running) -> None:
    with opened(browser, running.url, refusals=True) as page:
        settled(page)
        page.get_by_role("combobox", name="User").fill("nobody")
        page.get_by_role("combobox", name="User").press("Enter")
        expect(page.get_by_role("alert")).to_be_visible()
        expect(page.locator("#profile")).to_be_hidden()
        expect(page.locator(".compose")).to_have_count(0)
        page.go_back()
        expect(page.locator("#profile")).to_be_visible()
        expect(page.locator(".compose")).to_have_count(1)


def test_the_ranking_is_shown_where_the_database_is_away(browser: Browser, running: Running) -> None:
    away = {"type": "/problems/store-down", "title": "", "status": 503, "detail": "the database does not answer"}
    with opened(browser, "about:blank", refusals=True, hosts=running.url) as page:
        for path in (r"/users/u0001$", r"/followees\?", r"/tweets\?", r"/models$"):
            page.route(re.compile(path), lambda route: route.fulfill(status=503, json=away))
        page.goto(f"{running.url}/?user={USER}")
        assert cards(page) == ids(ranking(running))
        expect(page.get_by_role("alert")).to_have_text("the database does not answer")
        expect(page.locator("#profile")).to_be_hidden()
        expect(page.locator(".card").first.get_by_role("button", name="Follow")).to_have_count(0)


def test_who_follows_many_is_shown_whom(browser: Browser, running: Running) -> None:
    """More than a page of the list: those who post are known to be followed, and stand first."""
    body = ranking(running, "u0003")
    made = [f"aa{n:03}" for n in range(101)]
    for name in made:
        httpx.post(f"{running.url}/users", json={"user_id": name}).raise_for_status()
        httpx.put(f"{running.url}/users/u0003/followees/{name}").raise_for_status()
    with opened(browser, f"{running.url}/?user=u0003") as page:
        settled(page)
        follows = {
            user["user_id"] for user in answer(running, "/users/u0003/followees", limit=100, after="aa100")["users"]
        }
        for card, item in zip(page.locator(".card").all(), body["items"], strict=True):
            name = "Following" if item["author_id"] in follows else "Follow"
            expect(card.get_by_role("button", name=f"{name} {item['author_id']}", exact=True)).to_be_visible()
        listed = page.locator(".followees .person").all_inner_texts()
        attended = [
            one["user_id"] for one in answer(running, "/users/u0003/recommendations", explain=True)["followees"]
        ]
        assert set(listed[: len(set(attended))]) == set(attended)
        expect(page.locator("#profile")).to_contain_text("more")
    for name in made:
        httpx.delete(f"{running.url}/users/{name}").raise_for_status()


def test_following_by_keyboard_keeps_one_s_place(browser: Browser, running: Running) -> None:
    with opened(browser, running.url) as page:
        settled(page)
        name = page.locator(".followees .person").first.inner_text()
        page.get_by_role("button", name=f"Unfollow {name}").press("Enter")
        expect(page.get_by_role("status")).to_contain_text("no more")
        expect(page.get_by_role("heading", level=1)).to_be_focused()
        field = page.get_by_role("combobox", name="Follow somebody")
        field.press_sequentially(name)
        field.press("ArrowDown")
        field.press("Enter")
        expect(page.get_by_role("status")).to_contain_text(f"follows {name}")


def test_a_pasted_picture_is_posted_once_even_where_the_answer_was_lost(browser: Browser, running: Running) -> None:
    tweets = answer(running, f"/users/{USER}")["tweets"]
    with opened(browser, running.url, refusals=True) as page:
        settled(page)
        page.locator("summary", has_text="Post a picture").click()
        page.get_by_label("Words").fill("Pasted")
        page.get_by_label("Words").evaluate(PASTE, list(png("olive")))

        def lose_the_answer(route: Route) -> None:
            route.fetch()
            route.abort()

        page.route(re.compile("/tweets$"), lose_the_answer)
        page.get_by_role("button", name="Post", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("does not answer")
        page.unroute_all()
        page.get_by_role("button", name="Post", exact=True).click()
        expect(page.get_by_role("status")).to_contain_text("Posted.")
        assert answer(running, f"/users/{USER}")["tweets"] == tweets + 1


def test_a_tweet_that_was_pointed_at_is_not_pointed_at_again(browser: Browser, running: Running) -> None:
    last = ids(ranking(running, k=20))[-1]
    with opened(browser, f"{running.url}/?user={USER}&show={last}") as page:
        expect(page.locator(".card.pointed")).to_be_focused()
        assert "show=" not in page.url
        page.locator(".card").first.get_by_role("button", name="Not for me").click()
        expect(page.get_by_role("button", name="Undo")).to_be_visible()
        expect(page.locator(".card.pointed")).to_have_count(0)
        page.get_by_role("button", name="Undo").click()
        expect(page.get_by_role("status")).to_contain_text("Taken back")
