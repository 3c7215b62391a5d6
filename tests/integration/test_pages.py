"""Where recommendations come from, why, and page by page."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contract.environment import StoreSettings
from contract.graph import OnlineGraph
from contract.tables import Retweet
from service import explain, recommend
from tests.integration.running import Network, Service, ask, changed, new_user, offered, png, problem, serving

pytestmark = pytest.mark.anyio


async def pages(service: Service, user_id: str, k: int, **parameters: Any) -> list[list[str]]:
    """Every page's tweets, to the last."""
    found: list[list[str]] = []
    more: dict[str, str] = {}
    while True:
        body = await ask(service, user_id, k=k, **parameters, **more)
        found.append([item["tweet_id"] for item in body["items"]])
        if body["next_cursor"] is None:
            return found
        more = {"cursor": body["next_cursor"]}


async def put(service: Service, url: str) -> None:
    answer = await service.client.put(url)
    assert answer.status_code in (200, 201, 204), answer.text


async def test_pages_are_the_whole_ranking_in_order(service: Service, reader: str) -> None:
    whole = [item["tweet_id"] for item in (await ask(service, reader, k=100))["items"]]
    assert len(whole) > 10
    found = await pages(service, reader, 4)
    assert [len(page) for page in found[:-1]] == [4] * (len(found) - 1)
    assert [tweet for page in found for tweet in page] == whole


async def test_nothing_is_repeated_or_skipped_whatever_happens_between_pages(
    service: Service, network: Network, reader: str, author: str
) -> None:
    whole = [item["tweet_id"] for item in (await ask(service, reader, k=100))["items"]]
    first = await ask(service, reader, k=3)
    shown = [item["tweet_id"] for item in first["items"]]
    arrived = (await service.post(png("lime"), author_id=author)).json()["tweet_id"]
    fan = next(user for user in sorted(network.followees[reader]) if network.authors[whole[5]] != user)
    before = (fan, whole[5]) in await service.sql(Retweet.user_id, Retweet.tweet_id)
    await put(service, f"/users/{fan}/retweets/{whole[5]}")  # an old candidate is at the top of a timeline again
    await put(service, f"/users/{reader}/retweets/{shown[1]}")
    await put(service, f"/users/{reader}/hidden/{whole[4]}")
    cursor = first["next_cursor"]
    while cursor is not None:
        body = await ask(service, reader, k=3, cursor=cursor)
        shown += [item["tweet_id"] for item in body["items"]]
        cursor = body["next_cursor"]
    assert sorted(shown) == sorted(set(whole) - {whole[4]})
    fresh = {item["tweet_id"] for item in (await ask(service, reader, k=100))["items"]}
    assert arrived in fresh
    for url in (f"/users/{reader}/retweets/{shown[1]}", f"/users/{reader}/hidden/{whole[4]}"):
        assert (await service.client.delete(url)).status_code == 204
    if not before:
        assert (await service.client.delete(f"/users/{fan}/retweets/{whole[5]}")).status_code == 204


async def test_a_follow_between_pages_repeats_nothing(service: Service, network: Network, reader: str) -> None:
    first = await ask(service, reader, k=3)
    new = next(user for user in sorted(network.followees) if user not in network.followees[reader] | {reader})
    await put(service, f"/users/{reader}/followees/{new}")
    second = await ask(service, reader, k=100, cursor=first["next_cursor"])
    assert (await service.client.delete(f"/users/{reader}/followees/{new}")).status_code == 204
    tweets = [item["tweet_id"] for item in (*first["items"], *second["items"])]
    assert len(tweets) == len(set(tweets))
    assert network.offered(reader) <= set(tweets)


async def test_a_cursor_of_a_retired_version_is_gone(service: Service, reader: str) -> None:
    cursors = service.parts.online.cursors
    cursor = (await ask(service, reader, k=3))["next_cursor"]
    version = await service.parts.ingest.vectors.active_version()
    page = cursors.read(cursor, reader, "followees", str(version))
    old = cursors.write(replace(page, version="retired"))
    answer = await service.client.get(f"/users/{reader}/recommendations", params={"cursor": old})
    assert "retired" in problem(answer, 410, "cursor-expired")["detail"]


@pytest.mark.parametrize("cursor", ["", "x", "ä.b"])
async def test_what_is_no_cursor_is_refused(service: Service, reader: str, cursor: str) -> None:
    answer = await service.client.get(f"/users/{reader}/recommendations", params={"cursor": cursor})
    problem(answer, 422, "invalid-cursor")


async def test_discover_ranks_what_others_post(service: Service, network: Network, reader: str) -> None:
    body = await ask(service, reader, k=100, scope="discover")
    assert (body["scope"], body["source"], body["degraded"]) == ("discover", "discover", False)
    scores = [item["score"] for item in body["items"]]
    assert scores == sorted(scores, reverse=True)
    assert not {item["author_id"] for item in body["items"]} & (network.followees[reader] | {reader})
    expected = {tweet for tweet, author in network.authors.items() if author not in network.followees[reader]}
    seen = {tweet for tweet, users in network.retweeters.items() if reader in users}
    own = {tweet for tweet, author in network.authors.items() if author == reader}
    recent = {entry.tweet_id for entry in await service.parts.ingest.graph.recent()}
    assert {item["tweet_id"] for item in body["items"]} == (expected - seen - own) & recent


async def test_a_known_user_without_followees_gets_the_personal_facet_on_discover(
    service: Service, network: Network, reader: str
) -> None:
    followees = sorted(network.followees[reader])
    for followee in followees:
        assert (await service.client.delete(f"/users/{reader}/followees/{followee}")).status_code == 204
    body = await ask(service, reader, k=100)
    for followee in followees:
        await put(service, f"/users/{reader}/followees/{followee}")
    assert (body["scope"], body["source"], body["degraded"], body["missing"]) == ("followees", "discover", True, [])
    assert {item["social"] for item in body["items"]} == {0.0}
    assert all(item["score"] == pytest.approx(item["personal"], abs=1e-5) for item in body["items"])


async def test_an_unknown_user_with_followees_gets_the_social_facet(
    service: Service, network: Network, reader: str
) -> None:
    user = await new_user(service, "cold-with-followees")
    for followee in sorted(network.followees[reader]):
        await put(service, f"/users/{user}/followees/{followee}")
    body = await ask(service, user, k=100)
    assert (body["source"], body["degraded"], body["missing"]) == ("followees", False, ["user_vector"])
    for followee in sorted(network.followees[reader]):
        assert (await service.client.delete(f"/users/{user}/followees/{followee}")).status_code == 204
    assert {item["personal"] for item in body["items"]} == {0.0}
    assert len({item["social"] for item in body["items"]}) > 1


async def test_a_brand_new_user_gets_what_is_popular(service: Service) -> None:
    user = await new_user(service, "brand-new")
    body = await ask(service, user, k=100)
    assert (body["source"], body["degraded"], body["missing"]) == ("popular", True, ["user_vector"])
    scores = [item["score"] for item in body["items"]]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0
    assert {item["personal"] for item in body["items"]} == {None}
    tweet = body["items"][-1]["tweet_id"]
    fans = [await new_user(service, f"fan-{number}") for number in range(3)]
    for fan in fans:
        await put(service, f"/users/{fan}/retweets/{tweet}")
    after = {item["tweet_id"]: item["score"] for item in (await ask(service, user, k=100))["items"]}
    assert after[tweet] > scores[-1]
    for fan in fans:
        assert (await service.client.delete(f"/users/{fan}/retweets/{tweet}")).status_code == 204
    again = {item["tweet_id"]: item["score"] for item in (await ask(service, user, k=100))["items"]}
    assert again[tweet] == pytest.approx(scores[-1], rel=1e-3)


async def test_where_nobody_retweeted_anything_the_newest_come_first(service: Service) -> None:
    user = await new_user(service, "all-quiet")
    graph: OnlineGraph = service.parts.ingest.graph
    tweets = [entry.tweet_id for entry in await graph.recent()]
    counts = await graph.retweet_counts(tweets)
    assert any(counts)
    for tweet, count in zip(tweets, counts, strict=True):
        await graph.count_retweet(tweet, -count)
    body = await ask(service, user, k=100)
    for tweet, count in zip(tweets, counts, strict=True):
        await graph.count_retweet(tweet, count)
    assert (body["source"], body["degraded"]) == ("recent", True)
    times = [item["active_at"] for item in body["items"]]
    assert times == sorted(times, reverse=True)
    assert {item["score"] for item in body["items"]} == {None}


@pytest.mark.parametrize("scope", ["followees", "discover"])
async def test_pages_of_a_fallback_stay_with_it(service: Service, scope: str) -> None:
    user = await new_user(service, "pages-of-popular")
    whole = [item["tweet_id"] for item in (await ask(service, user, k=100, scope=scope))["items"]]
    found = await pages(service, user, 30, scope=scope)
    assert len(found) > 1
    tweets = [tweet for page in found for tweet in page]
    assert len(tweets) == len(set(tweets))
    assert tweets[:100] == whole


async def test_an_explanation_names_followees_their_shares_and_parts(
    service: Service, network: Network, reader: str
) -> None:
    body = await ask(service, reader, k=100, explain="true")
    shares = [followee["share"] for followee in body["followees"]]
    known = network.followees[reader] & set(service.parts.ingest.models.required().artifact.user_ids)
    assert len(known) > 50
    assert shares == sorted(shares, reverse=True)
    followees = {followee["user_id"] for followee in body["followees"]}
    carriers = {one["user_id"] for item in body["items"] for one in item["because"]}
    assert carriers <= followees <= known
    assert 50 <= len(shares) == len(followees) <= 50 + len(carriers)
    assert 0 < sum(shares) <= 1 + 1e-5
    for item in body["items"]:
        parts = [one["part"] for one in item["because"]]
        assert len(parts) == 3
        assert parts == sorted(parts, reverse=True)
        assert len(known) * max(parts) >= item["social"]
    assert len({item["because"][0]["user_id"] for item in body["items"]}) > 1
    plain = await ask(service, reader, k=100)
    assert (plain["followees"], {item["because"] for item in plain["items"]}) == (None, {None})
    assert plain["items"] == [item | {"because": None} for item in body["items"]]


async def test_where_the_model_knows_no_followee_nobody_is_the_reason(
    service: Service, network: Network, reader: str
) -> None:
    stranger = await new_user(service, "knows-nobody")
    body = await ask(service, stranger, explain="true")
    assert (body["source"], body["followees"]) == ("popular", [])
    assert [item["because"] for item in body["items"]] == [[]] * 3
    followees = sorted(network.followees[reader])
    for followee in followees:
        assert (await service.client.delete(f"/users/{reader}/followees/{followee}")).status_code == 204
    body = await ask(service, reader, explain="true")
    for followee in followees:
        await put(service, f"/users/{reader}/followees/{followee}")
    assert (body["source"], body["followees"]) == ("discover", [])
    assert [item["because"] for item in body["items"]] == [[]] * 3


async def test_a_part_is_of_the_vector_that_the_score_is_of(
    service: Service, network: Network, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A followee's vector changes between attention and candidates, as by a fold-in."""
    monkeypatch.setattr(explain, "MOST_REASONS", 1_000)
    model, store, find = service.parts.ingest.models.required(), service.parts.ingest.vectors, recommend.find_pool
    changes = min(network.followees[reader] & set(model.artifact.user_ids))
    _, kept_KD = await store.users(model.version, [changes], model.manifest.dim)

    async def change_and_find(*asked: Any) -> recommend.Pool:
        await store.put_users(model.version, [changes], -2 * kept_KD)
        await service.parts.online.network.look()
        return await find(*asked)

    before = await ask(service, reader, k=100, explain="true")
    monkeypatch.setattr(recommend, "find_pool", change_and_find)
    after = await ask(service, reader, k=100, explain="true")
    monkeypatch.undo()
    await store.put_users(model.version, [changes], kept_KD)
    assert {item["tweet_id"]: item["social"] for item in before["items"]} != {
        item["tweet_id"]: item["social"] for item in after["items"]
    }
    largest = max(abs(item["social"]) for item in after["items"])
    for item in after["items"]:
        assert sum(one["part"] for one in item["because"]) == pytest.approx(item["social"], abs=1e-5 * largest)


@pytest.mark.parametrize(("name", "value"), [("scope", "everyone"), ("explain", "perhaps"), ("cursor", "a" * 8_001)])
async def test_a_bad_parameter_is_named(service: Service, reader: str, name: str, value: str) -> None:
    answer = await service.client.get(f"/users/{reader}/recommendations", params={name: value})
    body = problem(answer, 422, "invalid-request")
    assert [error["field"] for error in body["errors"]] == [name]


async def test_a_tweet_stamped_ahead_of_the_clock_is_on_a_page(service: Service, reader: str, author: str) -> None:
    ahead = (datetime.now(UTC) + timedelta(minutes=4)).isoformat()
    tweet = (await service.post(png("wheat"), author_id=author, created_at=ahead)).json()["tweet_id"]
    found = await pages(service, reader, 2)
    assert tweet in {tweet for page in found for tweet in page}
    assert (await service.client.delete(f"/tweets/{tweet}")).status_code == 204


async def test_what_a_followee_posts_between_pages_hides_nothing_of_the_ranking(trained: StoreSettings) -> None:
    async with serving(trained, max_per_followee=5) as service:
        for user in ("pages-on", "posts-on"):
            await new_user(service, user)
        await changed(service, "PUT", "/users/pages-on/followees/posts-on", 201)
        first = {f"first-{number}" for number in range(5)}
        for tweet in first:
            assert (await service.post(png("khaki"), author_id="posts-on", tweet_id=tweet)).status_code == 201
        page = (await service.client.get("/users/pages-on/recommendations", params={"k": 2})).json()
        shown = [item["tweet_id"] for item in page["items"]]
        for number in range(5):
            await service.post(png("khaki"), author_id="posts-on", tweet_id=f"between-{number}")
        parameters = {"k": 10, "cursor": page["next_cursor"]}
        page = (await service.client.get("/users/pages-on/recommendations", params=parameters)).json()
        assert first == {*shown, *(item["tweet_id"] for item in page["items"])}
        assert await offered(service, "pages-on") == {f"between-{number}" for number in range(5)}
        await changed(service, "DELETE", "/users/pages-on/followees/posts-on", 204)
