"""Whether all that was acknowledged is there, once, and nothing else is seen."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.embedded import open_store, redis_server
from contract.environment import StoreSettings
from contract.tables import Follow, Retweet, Tweet, User, open_database
from contract.transactions import STAYS
from contract.vectors import VectorStore
from service.database import Database
from tests.agreement import disagreements
from tests.chaos.load import Ledger, Stage, Unit

SETTLE_SECONDS = 60.0


TO_READER, TO_FAN, TO_NOBODY = (1, 0), (0, 1), (0, 0)
RIGHT: dict[Stage, set[tuple[int, ...]]] = {
    "posted": {TO_READER, TO_FAN},
    "retweeted": {TO_FAN},
    "unretweeting": {TO_FAN, TO_READER},
    "unretweeted": {TO_READER},
    "deleting": {TO_FAN, TO_NOBODY},
    "deleted": {TO_NOBODY},
    "leaving": {TO_FAN, TO_NOBODY},
    "left": {TO_NOBODY},
}
DOUBTFUL, GONE = ("deleting", "leaving"), ("deleted", "left")
"""How often a tweet is offered to whom, by how far it came."""


@dataclass(frozen=True)
class Verdict:
    """How many acknowledged writes are lost or there twice; what else is wrong, a line each."""

    lost: int
    duplicated: int
    wrong: list[str]


async def settled(stores: StoreSettings) -> list[str]:
    """Wait until no tweet is pending and Redis has what SQL has; what does not come to that, a line each."""
    started = time.monotonic()
    while True:
        differ = [*await pending(stores), *await disagreements(stores)]
        if not differ or time.monotonic() - started > SETTLE_SECONDS:
            return differ
        await asyncio.sleep(0.2)


async def pending(stores: StoreSettings) -> list[str]:
    """Tweets that are not encoded yet."""
    with redis_server(stores) as (redis_url, _):
        async with open_store(redis_url, stores) as redis, open_database(stores.sqlalchemy_url) as engine:
            version = await VectorStore(redis, stores.redis_namespace).active_version()
            if version is None:
                return ["Redis names no active version"]
            tweets = await Database(engine).pending_tweets(version, set(), 100)
            async with engine.connect() as connection:
                leaving = list(await connection.scalars(select(User.user_id).where(~STAYS)))
    return [f"tweet {tweet.tweet_id} is pending" for tweet in tweets] + [f"{user} is not erased" for user in leaving]


async def check(ledger: Ledger, stores: StoreSettings, url: str, headers: Mapping[str, str] | None = None) -> Verdict:
    """By SQL, by Redis, and by what users are recommended."""
    async with open_database(stores.sqlalchemy_url) as engine, engine.connect() as connection:
        lost, twice, wrong = await _in_sql(ledger, connection)
    async with httpx.AsyncClient(base_url=url, timeout=30, headers=headers) as client:
        for unit in ledger.units:
            lost += await _not_recommended(unit, client)
    return Verdict(len(lost), len(twice), [*ledger.wrong, *lost, *twice, *wrong])


async def _in_sql(ledger: Ledger, connection: AsyncConnection) -> tuple[list[str], list[str], list[str]]:
    users = set(await connection.scalars(select(User.user_id)))
    follows = {tuple(row) for row in await connection.execute(select(Follow.follower_id, Follow.followee_id))}
    retweets = {tuple(row) for row in await connection.execute(select(Retweet.user_id, Retweet.tweet_id))}
    texts = {row.tweet_id: row.text for row in await connection.execute(select(Tweet.tweet_id, Tweet.text))}
    lost: list[str] = []
    for unit in ledger.units:
        if unit.follows and not {unit.reader, unit.fan} <= users:
            lost.append(f"users of {unit.name}")
        if unit.follows and (unit.fan, unit.reader) not in follows:
            lost.append(f"follows of {unit.name}")
        if unit.follows and unit.stage != "leaving":
            left = unit.stage == "left"
            if (unit.author not in users) != left or ((unit.reader, unit.author) not in follows) != left:
                lost.append(f"the author of {unit.name}, or their deletion")
        text = None if unit.stage in GONE else unit.text
        if unit.tweet_id is not None and unit.stage not in DOUBTFUL and texts.get(unit.tweet_id) != text:
            lost.append(f"the tweet of {unit.name}, or its deletion")
        retweeted = (unit.reader, unit.tweet_id) in retweets
        if unit.stage in ("retweeted", "unretweeted") and retweeted != (unit.stage == "retweeted"):
            lost.append(f"the retweet of {unit.name}, or its end")
    times = Counter(texts.values())
    twice = [
        f"the tweet of {unit.name} is there {times[unit.text]} times" for unit in ledger.units if times[unit.text] > 1
    ]
    deleted = {unit.tweet_id for unit in ledger.units if unit.stage in (*DOUBTFUL, *GONE)}
    never = ledger.shown - texts.keys() - deleted
    return lost, twice, [f"{tweet_id} was recommended, and is no tweet" for tweet_id in never]


async def _not_recommended(unit: Unit, client: httpx.AsyncClient) -> list[str]:
    """A tweet is offered to the reader until they retweet it, to the fan from then on, once; a deleted one never."""
    if unit.tweet_id is None:
        return []
    times = []
    for user in (unit.reader, unit.fan):
        body = (await client.get(f"/users/{user}/recommendations", params={"k": 100})).json()
        ids = [item["tweet_id"] for item in body["items"]] if body["source"] == "followees" else []
        times.append(ids.count(unit.tweet_id))
    return [] if tuple(times) in RIGHT[unit.stage] else [f"{unit.tweet_id}, {unit.stage}, is offered {times} times"]
