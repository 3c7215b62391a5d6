"""Users, their follows and several tweets as the API lists them, against what SQL has."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import delete

from contract.environment import StoreSettings
from contract.tables import Follow, Retweet, Tweet, TweetVector, User, create_engine
from service import leaving
from tests.conftest import KINDS, copied_stores
from tests.integration.running import Network, Service, changed, fields, new_user, png, problem, serving

pytestmark = pytest.mark.anyio


async def page(service: Service, url: str, **asked: Any) -> dict[str, Any]:
    answer = await service.client.get(url, params=asked)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def ids(service: Service, url: str, **asked: Any) -> list[str]:
    return [user["user_id"] for user in (await page(service, url, **asked))["users"]]


async def pages(service: Service, url: str, **asked: Any) -> AsyncIterator[list[dict[str, Any]]]:
    """All of them, page by page."""
    after: dict[str, str] = {}
    while True:
        body = await page(service, url, **asked, **after)
        yield body["users"]
        if body["next_after"] is None:
            return
        assert body["next_after"] == body["users"][-1]["user_id"]
        after = {"after": body["next_after"]}


async def in_pages(service: Service, url: str, **asked: Any) -> list[dict[str, Any]]:
    return [user async for users in pages(service, url, **asked) for user in users]


@pytest.mark.parametrize("limit", [1, 7, 20, 100])
async def test_pages_have_every_user_once_by_the_bytes_of_their_ids(service: Service, limit: int) -> None:
    for user_id in ("-dash", "0zero", "Capital", "_under", "small", "u", "z" * 64):
        await new_user(service, user_id)
    found = await in_pages(service, "/users", limit=limit)
    assert [user["user_id"] for user in found] == sorted(user for (user,) in await service.sql(User.user_id))
    sizes = [len(users) async for users in pages(service, "/users", limit=limit)]
    assert set(sizes[:-1]) <= {limit}
    assert 1 <= sizes[-1] <= limit


async def test_a_list_says_since_when_somebody_is_there(service: Service) -> None:
    made = (await service.client.post("/users", json={"user_id": "has-a-time"})).json()
    assert (await page(service, "/users", prefix="has-a-time"))["users"] == [made]


async def test_twenty_are_listed_where_nobody_says_how_many(service: Service) -> None:
    everybody = sorted(user for (user,) in await service.sql(User.user_id))
    assert await ids(service, "/users") == everybody[:20]


PREFIXED = ["pre-a", "preXa", "pre_", "pre_a", "pre_b", "pre_z", "prea", "pre_" + "z" * 60]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"prefix": "pre_"}, ["pre_", "pre_a", "pre_b", "pre_z", "pre_" + "z" * 60]),
        ({"prefix": "pre_a"}, ["pre_a"]),
        ({"prefix": "pre_z"}, ["pre_z", "pre_" + "z" * 60]),
        ({"prefix": "PRE_"}, []),
        ({"prefix": "p_e"}, []),
        ({"prefix": "pre_" + "z" * 60}, ["pre_" + "z" * 60]),
        ({"prefix": "pre"}, sorted(PREFIXED)),
        ({"prefix": "pre_", "after": "pre_a"}, ["pre_b", "pre_z", "pre_" + "z" * 60]),
        ({"prefix": "pre_", "after": "pre_"}, ["pre_a", "pre_b", "pre_z", "pre_" + "z" * 60]),
        ({"prefix": "pre_", "after": "pre_aa"}, ["pre_b", "pre_z", "pre_" + "z" * 60]),
        ({"prefix": "pre_", "after": "a"}, ["pre_", "pre_a", "pre_b", "pre_z", "pre_" + "z" * 60]),
        ({"prefix": "pre_", "after": "prea"}, []),
    ],
)
async def test_a_prefix_is_taken_by_the_letter(service: Service, asked: dict[str, str], expected: list[str]) -> None:
    for user_id in PREFIXED:
        await new_user(service, user_id)
    assert await ids(service, "/users", **asked) == sorted(expected)


async def test_an_empty_prefix_is_everybody(service: Service) -> None:
    assert await ids(service, "/users", prefix="") == await ids(service, "/users")


async def test_who_stays_is_told_once_whatever_changes_between_two_pages(service: Service) -> None:
    for user_id in ("turn-b", "turn-d", "turn-f", "turn-h"):
        await new_user(service, user_id)
    first = await page(service, "/users", prefix="turn-", limit=2)
    await new_user(service, "turn-a")
    await new_user(service, "turn-e")
    await changed(service, "DELETE", "/users/turn-d", 204)
    rest = await ids(service, "/users", prefix="turn-", limit=10, after=first["next_after"])
    assert ([user["user_id"] for user in first["users"]], rest) == (
        ["turn-b", "turn-d"],
        ["turn-e", "turn-f", "turn-h"],
    )


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_follows_are_listed_both_ways(service: Service, limit: int) -> None:
    follows = await service.sql(Follow.follower_id, Follow.followee_id, Follow.created_at)
    (followed, _), *_ = Counter(followee for _, followee, _ in follows).most_common()
    (follower, _), *_ = Counter(follower for follower, _, _ in follows).most_common()
    for url, expected in (
        (f"/users/{followed}/followers", {one: at for one, other, at in follows if other == followed}),
        (f"/users/{follower}/followees", {other: at for one, other, at in follows if one == follower}),
    ):
        assert len(expected) > 3
        found = await in_pages(service, url, limit=limit)
        times = {user_id: at.isoformat().replace("+00:00", "Z") for user_id, at in expected.items()}
        assert [(user["user_id"], user["created_at"]) for user in found] == sorted(times.items())


async def test_a_follow_is_listed_at_once_and_its_end_too(service: Service) -> None:
    fan, star = await new_user(service, "a-fan"), await new_user(service, "a-star")
    made = (await changed(service, "PUT", f"/users/{fan}/followees/{star}", 201)).json()
    follow = {"users": [{"user_id": star, "created_at": made["created_at"]}], "next_after": None}
    assert await page(service, f"/users/{fan}/followees") == follow
    assert await ids(service, f"/users/{star}/followers") == [fan]
    assert await ids(service, f"/users/{star}/followees") == []
    await changed(service, "DELETE", f"/users/{fan}/followees/{star}", 204)
    assert await ids(service, f"/users/{fan}/followees") == await ids(service, f"/users/{star}/followers") == []


async def test_a_user_s_numbers_are_those_of_sql(service: Service, network: Network) -> None:
    rows = await service.sql(Retweet.user_id)
    retweets = Counter(user for (user,) in rows)
    for user, joined in await service.sql(User.user_id, User.created_at):
        assert await page(service, f"/users/{user}") == {
            "user_id": user,
            "created_at": joined.isoformat().replace("+00:00", "Z"),
            "followees": len(network.followees.get(user, ())),
            "followers": sum(user in followees for followees in network.followees.values()),
            "tweets": list(network.authors.values()).count(user),
            "retweets": retweets[user],
        }


@pytest.mark.parametrize("url", ["/users/nobody", "/users/nobody/followees", "/users/nobody/followers"])
async def test_an_unknown_user_is_named(service: Service, url: str) -> None:
    assert "nobody" in problem(await service.client.get(url), 404, "unknown-user")["detail"]


async def several(service: Service, *tweet_ids: str) -> list[dict[str, Any]]:
    body = await page(service, "/tweets", tweet_id=tweet_ids)
    found: list[dict[str, Any]] = body["tweets"]
    return found


async def test_several_tweets_are_as_each_is_by_itself_in_the_order_asked_for(service: Service) -> None:
    for tweet_id in ("m-ready", "m-hidden", "m-pending", "m-deleted"):
        posted = await service.post(png(), author_id="u0001", tweet_id=tweet_id, text=tweet_id)
        assert posted.status_code == 201
    await changed(service, "PUT", "/tweets/m-hidden/hidden", 204)
    await changed(service, "DELETE", "/tweets/m-deleted", 204)
    await without_vector(service, "m-pending")
    asked = ["m-pending", "t0002", "m-deleted", "never", "m-ready", "t0001", "m-ready", "m-hidden"]
    found = await several(service, *asked)
    known = ["m-pending", "t0002", "m-ready", "t0001", "m-hidden"]
    assert found == [(await service.client.get(f"/tweets/{tweet_id}")).json() for tweet_id in known]
    assert [(tweet["status"], tweet["hidden"]) for tweet in found[::2]] == [
        ("pending", False),
        ("ready", False),
        ("ready", True),
    ]
    assert [tweet["version"] is None for tweet in found] == [True, False, False, False, False]


async def without_vector(service: Service, tweet_id: str) -> None:
    engine = create_engine(service.settings.sqlalchemy_url)
    async with engine.begin() as connection:
        await connection.execute(delete(TweetVector).where(TweetVector.tweet_id == tweet_id))
    await engine.dispose()


async def test_up_to_a_hundred_tweets_are_read_at_once(service: Service, network: Network) -> None:
    wanted = sorted(network.authors, reverse=True)[:70] + [f"{n:064}" for n in range(30)]
    assert [tweet["tweet_id"] for tweet in await several(service, *wanted)] == wanted[:70]
    assert await several(service, "never", "nor-this") == []


@pytest.mark.parametrize(
    ("url", "field"),
    [
        ("/users?limit=0", "limit"),
        ("/users?limit=101", "limit"),
        ("/users?limit=few", "limit"),
        ("/users?prefix=u%25", "prefix"),
        ("/users?prefix=u%00", "prefix"),
        ("/users?prefix=%C3%BC", "prefix"),
        (f"/users?prefix={'u' * 65}", "prefix"),
        ("/users?after=", "after"),
        ("/users?after=a.b", "after"),
        ("/users/a.b", "user_id"),
        ("/users/u0001/followees?limit=0", "limit"),
        ("/users/u0001/followers?after=%20", "after"),
        ("/users/a.b/followers", "user_id"),
        ("/tweets", "tweet_id"),
        ("/tweets?tweet_id=", "tweet_id.0"),
        ("/tweets?tweet_id=t0001&tweet_id=a.b", "tweet_id.1"),
        ("/tweets?" + "&".join(["tweet_id=t0001"] * 101), "tweet_id"),
    ],
)
async def test_a_bad_parameter_is_named(service: Service, url: str, field: str) -> None:
    assert fields(problem(await service.client.get(url), 422, "invalid-request")) == [field]


@pytest.fixture(params=KINDS)
def others(request: pytest.FixtureRequest) -> Iterator[StoreSettings]:
    """A test's own: who is deleted does not come back."""
    with copied_stores(request.getfixturevalue(f"trained_{request.param}")) as copied:
        yield copied


async def stalled(_user_id: str, _parts: object) -> bool:
    raise TimeoutError


LISTS = (
    "/users?limit=100",
    "/users/stays/followees",
    "/users/stays/followers",
    "/tweets?tweet_id=theirs&tweet_id=mine",
)


async def test_who_is_being_erased_is_on_no_list_and_in_no_number(
    others: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(others) as service:
        await new_user(service, "stays")
        await new_user(service, "leaves")
        for author_id, tweet_id in (("leaves", "theirs"), ("stays", "mine")):
            assert (await service.post(png(), author_id=author_id, tweet_id=tweet_id)).status_code == 201
        for url in (
            "/users/stays/followees/leaves",
            "/users/leaves/followees/stays",
            "/users/stays/followees/u0001",
            "/users/u0001/followees/stays",
            "/users/stays/retweets/theirs",
            "/users/stays/retweets/t0001",
        ):
            await changed(service, "PUT", url, 201)
        before = await numbers(service)
        answers = [await service.client.get(url) for url in LISTS]
        assert ["leaves" in answer.text for answer in answers] == [True] * 4
        monkeypatch.setattr(leaving, "_tweets", stalled)
        await changed(service, "DELETE", "/users/leaves", 202)
        assert ("theirs",) in await service.sql(Tweet.tweet_id)
        answers = [await service.client.get(url) for url in LISTS]
        assert ["leaves" in answer.text for answer in answers] == [False] * 4
        assert ["stays" in answer.text for answer in answers] == [True, False, False, True]
        for url in ("/users/leaves", "/users/leaves/followees", "/users/leaves/followers"):
            problem(await service.client.get(url), 404, "unknown-user")
        assert (before, await numbers(service)) == ([2, 2, 1, 2], [1, 1, 1, 1])


async def numbers(service: Service) -> list[int]:
    """Of the one who stays."""
    user = await page(service, "/users/stays")
    return [user[name] for name in ("followees", "followers", "tweets", "retweets")]


async def test_a_list_is_read_with_a_key_s_scope_read(others: StoreSettings) -> None:
    async with serving(others, api_key="a-key-for-lists") as service:
        for url in LISTS:
            problem(await service.client.get(url), 401, "unauthorized")
        key = httpx.Headers({"Authorization": "Bearer a-key-for-lists"})
        assert (await service.client.get("/users", headers=key)).status_code == 200
