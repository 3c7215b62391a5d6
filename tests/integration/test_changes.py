"""What users do beside posting, over HTTP; every change shows in the very next recommendation."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from contract.environment import StoreSettings
from contract.rebuild import rebuild_graph
from contract.tables import Follow, Hide, Retweet, Tweet, User
from tests.integration.running import Network, Service, changed, fields, new_user, offered, png, problem, serving

pytestmark = pytest.mark.anyio


async def test_a_user_is_made_once(service: Service) -> None:
    first = await changed(service, "POST", "/users", 201, json={"user_id": "made-once"})
    second = await changed(service, "POST", "/users", 200, json={"user_id": "made-once"})
    assert first.json() == second.json()
    assert first.json()["user_id"] == "made-once"


async def test_a_user_without_an_id_gets_one(service: Service) -> None:
    answer = await changed(service, "POST", "/users", 201, json={})
    assert (answer.json()["user_id"],) in await service.sql(User.user_id)


@pytest.mark.parametrize(
    ("body", "field"),
    [("x", "body"), ("[]", "body"), ('"u"', "body"), ('{"user_id": "a b"}', "user_id"), ('{"user_id": 3}', "user_id")],
)
async def test_a_user_that_is_no_user_is_refused(service: Service, body: str, field: str) -> None:
    headers = {"content-type": "application/json"}
    answer = await service.client.post("/users", content=body, headers=headers)
    assert fields(problem(answer, 422, "invalid-request")) == [field]


async def test_the_same_user_at_the_same_time_is_one(service: Service) -> None:
    answers = await asyncio.gather(*(service.client.post("/users", json={"user_id": "rush"}) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["created_at"] for answer in answers}) == 1


async def test_a_follow_changes_the_very_next_answer(service: Service, network: Network, author: str) -> None:
    user = await new_user(service, "follows")
    url = f"/users/{user}/followees/{author}"
    first = await changed(service, "PUT", url, 201)
    again = await changed(service, "PUT", url, 200)
    assert first.json() == again.json()
    answer = await service.client.get(f"/users/{user}/recommendations", params={"k": 100})
    assert answer.json()["source"] == "followees"
    offers = replace(network, followees={user: {author}}).offered(user)
    assert {item["tweet_id"] for item in answer.json()["items"]} == offers
    await changed(service, "DELETE", url, 204)
    await changed(service, "DELETE", url, 204)
    answer = await service.client.get(f"/users/{user}/recommendations", params={"k": 100})
    assert answer.json()["source"] != "followees"
    assert (user, author) not in await service.sql(Follow.follower_id, Follow.followee_id)


async def test_who_is_followed_weighs_in_at_once(service: Service, network: Network, reader: str) -> None:
    before = await service.recommended(reader, 100)
    known = service.parts.ingest.models.required().artifact.user_ids
    stranger = next(user for user in known if user not in network.followees[reader] | {reader})
    await changed(service, "PUT", f"/users/{reader}/followees/{stranger}", 201)
    social = {item["tweet_id"]: item["social"] for item in await service.recommended(reader, 100)}
    await changed(service, "DELETE", f"/users/{reader}/followees/{stranger}", 204)
    assert any(social[item["tweet_id"]] != item["social"] for item in before if item["tweet_id"] in social)
    assert await service.recommended(reader, 100) == before


async def test_a_retweet_reaches_followers_and_leaves_the_retweeter(service: Service, author: str) -> None:
    await new_user(service, "retweets")
    await new_user(service, "looks-on")
    tweet = (await service.post(png("navy"), author_id=author)).json()["tweet_id"]
    await changed(service, "PUT", f"/users/retweets/followees/{author}", 201)
    await changed(service, "PUT", "/users/looks-on/followees/retweets", 201)
    assert tweet in await offered(service, "retweets")
    url = f"/users/retweets/retweets/{tweet}"
    first = await changed(service, "PUT", url, 201)
    again = await changed(service, "PUT", url, 200, json={"created_at": "2026-01-01T00:00:00Z"})
    assert first.json() == again.json()
    assert tweet not in await offered(service, "retweets")
    assert await offered(service, "looks-on") == {tweet}
    await changed(service, "DELETE", url, 204)
    await changed(service, "DELETE", url, 204)
    assert tweet in await offered(service, "retweets")
    assert tweet not in {item["tweet_id"] for item in await followees_items(service, "looks-on")}
    assert ("retweets", tweet) not in await service.sql(Retweet.user_id, Retweet.tweet_id)


async def followees_items(service: Service, user_id: str) -> list[dict[str, Any]]:
    body = (await service.client.get(f"/users/{user_id}/recommendations", params={"k": 100})).json()
    return body["items"] if body["source"] == "followees" else []


async def test_nobody_retweets_their_own(service: Service) -> None:
    await new_user(service, "self")
    await new_user(service, "fan")
    await changed(service, "PUT", "/users/fan/followees/self", 201)
    tweet = (await service.post(png("teal"), author_id="self")).json()["tweet_id"]
    before = await followees_items(service, "fan")
    body = problem(await service.client.put(f"/users/self/retweets/{tweet}"), 422, "invalid-change")
    assert tweet in body["detail"]
    await changed(service, "DELETE", f"/users/self/retweets/{tweet}", 204)
    assert [item["tweet_id"] for item in before] == [tweet]
    assert await followees_items(service, "fan") == before


async def test_a_retweet_before_its_tweet_is_refused(service: Service, reader: str, author: str) -> None:
    sent = {"author_id": author, "created_at": "2026-02-03T04:05:06Z"}
    tweet = (await service.post(png("olive"), **sent)).json()["tweet_id"]
    url, early = f"/users/{reader}/retweets/{tweet}", {"created_at": "2026-02-03T04:05:05Z"}
    body = problem(await service.client.put(url, json=early), 422, "invalid-change")
    assert "created_at" in body["detail"]
    assert (reader, tweet) not in await service.sql(Retweet.user_id, Retweet.tweet_id)
    await changed(service, "PUT", url, 201, json={"created_at": "2026-02-03T04:05:06Z"})
    await changed(service, "DELETE", url, 204)


async def test_a_tweet_that_a_user_hides_is_gone_for_that_user(service: Service, reader: str, author: str) -> None:
    tweet = (await service.post(png("maroon"), author_id=author)).json()["tweet_id"]
    other = await new_user(service, "sees-it")
    await changed(service, "PUT", f"/users/{other}/followees/{author}", 201)
    url = f"/users/{reader}/hidden/{tweet}"
    first = await changed(service, "PUT", url, 201)
    assert (await changed(service, "PUT", url, 200)).json() == first.json()
    assert tweet not in await offered(service, reader)
    assert tweet in await offered(service, other)
    await changed(service, "DELETE", url, 204)
    await changed(service, "DELETE", url, 204)
    assert tweet in await offered(service, reader)
    assert (reader, tweet) not in await service.sql(Hide.user_id, Hide.tweet_id)


async def test_a_stored_tweet_is_read(service: Service, author: str) -> None:
    posted = (await service.post(png("azure"), author_id=author, text="Read me.")).json()
    read = await service.client.get(f"/tweets/{posted['tweet_id']}")
    assert (read.status_code, read.json()) == (200, posted | {"hidden": False})


@pytest.mark.parametrize(
    ("method", "url", "slug"),
    [
        ("PUT", "/users/nobody/followees/{user}", "unknown-user"),
        ("PUT", "/users/{user}/followees/nobody", "unknown-user"),
        ("DELETE", "/users/nobody/followees/{user}", "unknown-user"),
        ("DELETE", "/users/{user}/followees/nobody", "unknown-user"),
        ("PUT", "/users/nobody/retweets/{tweet}", "unknown-user"),
        ("PUT", "/users/{user}/retweets/nothing", "unknown-tweet"),
        ("DELETE", "/users/nobody/retweets/{tweet}", "unknown-user"),
        ("DELETE", "/users/{user}/retweets/nothing", "unknown-tweet"),
        ("PUT", "/users/nobody/hidden/{tweet}", "unknown-user"),
        ("PUT", "/users/{user}/hidden/nothing", "unknown-tweet"),
        ("DELETE", "/users/nobody/hidden/{tweet}", "unknown-user"),
        ("DELETE", "/users/{user}/hidden/nothing", "unknown-tweet"),
        ("GET", "/tweets/nothing", "unknown-tweet"),
        ("GET", "/tweets/nothing/image", "unknown-tweet"),
        ("DELETE", "/tweets/nothing", "unknown-tweet"),
        ("PUT", "/tweets/nothing/hidden", "unknown-tweet"),
        ("DELETE", "/tweets/nothing/hidden", "unknown-tweet"),
    ],
)
async def test_what_is_not_known_is_named(
    service: Service, network: Network, author: str, method: str, url: str, slug: str
) -> None:
    state = await service.state()
    path = url.format(user=author, tweet=min(network.authors))
    body = problem(await service.client.request(method, path), 404, slug)
    assert ("nobody" if slug == "unknown-user" else "nothing") in body["detail"]
    assert await service.state() == state


async def test_nobody_follows_themselves(service: Service, author: str) -> None:
    problem(await service.client.put(f"/users/{author}/followees/{author}"), 422, "invalid-change")


@pytest.mark.parametrize(
    ("url", "body", "field"),
    [
        ("/users/u/retweets/t", {"created_at": "2999-01-01T00:00:00Z"}, "created_at"),
        ("/users/u/retweets/t", {"created_at": "soon"}, "created_at"),
        ("/users/u/retweets/a.b", {}, "tweet_id"),
        ("/users/u/followees/a.b", {}, "followee_id"),
        ("/users/a.b/hidden/t", {}, "user_id"),
    ],
)
async def test_a_bad_field_is_named(service: Service, url: str, body: dict[str, str], field: str) -> None:
    assert fields(problem(await service.client.put(url, json=body), 422, "invalid-request")) == [field]


async def test_changes_at_once_leave_redis_as_sql_is(service: Service, author: str) -> None:
    """Follows and unfollows of one user at the same time: whatever came last is in both."""
    user = await new_user(service, "wavers")
    url = f"/users/{user}/followees/{author}"
    for _ in range(5):
        await asyncio.gather(
            *(service.client.request(method, url) for method in ("PUT", "DELETE", "PUT", "DELETE", "PUT"))
        )
        stored = (user, author) in await service.sql(Follow.follower_id, Follow.followee_id)
        online = (await service.parts.ingest.graph.user(user)).followee_ids
        assert online == ([author] if stored else [])


async def test_redis_rebuilt_from_sql_is_what_it_was(service: Service, network: Network, author: str) -> None:
    user = await new_user(service, "rebuilt")
    tweet = (await service.post(png("ivory"), author_id=author)).json()["tweet_id"]
    await changed(service, "PUT", f"/users/{user}/followees/{author}", 201)
    await changed(service, "PUT", f"/users/{user}/hidden/{tweet}", 201)
    other = next(iter(sorted(await offered(service, user))))
    await changed(service, "PUT", f"/users/{user}/retweets/{other}", 201)
    users = sorted(user_id for (user_id,) in await service.sql(User.user_id))
    graph = service.parts.ingest.graph

    async def online() -> list[Any]:
        return [await graph.timelines(users), [await graph.user(user_id) for user_id in users]]

    before = await online()
    await graph.add_follows([(user, stranger) for stranger in sorted(network.followees)])  # what SQL does not have
    assert await online() != before
    await rebuild_graph(service.parts.ingest.database.engine, graph)
    assert await online() == before
    await changed(service, "DELETE", f"/users/{user}/hidden/{tweet}", 204)


async def test_a_user_s_own_changes_survive_a_restart(trained: StoreSettings) -> None:
    async with serving(trained) as service:
        await new_user(service, "stays")
        ((author,), *_) = await service.sql(Tweet.author_id)
        await changed(service, "PUT", f"/users/stays/followees/{author}", 201)
        before = await service.recommended("stays", 100)
    async with serving(trained) as service:
        assert await service.recommended("stays", 100) == before


async def test_who_follows_thousands_is_answered(service: Service) -> None:
    user = await new_user(service, "follows-thousands")
    graph = service.parts.ingest.graph
    await graph.add_follows((user, f"ghost-{number}") for number in range(5_000))
    answer = await service.client.get(f"/users/{user}/recommendations")
    assert (answer.status_code, answer.json()["degraded"]) == (200, True)
    for number in range(5_000):
        await graph.remove_follow(user, f"ghost-{number}")
