"""Whether all that was acknowledged is there, once, and nothing else is seen."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass

import httpx
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.embedded import open_redis, redis_server
from contract.environment import StoreSettings
from contract.tables import Follow, Retweet, Tweet, User, open_database
from contract.vectors import VectorStore
from service.database import Database
from tests.agreement import disagreements
from tests.chaos.load import Ledger, Unit

SETTLE_SECONDS = 60.0


@dataclass(frozen=True)
class Verdict:
    """How many acknowledged writes are lost or there twice; what else is wrong, a line each."""

    lost: int
    duplicated: int
    wrong: list[str]


async def settled(stores: StoreSettings) -> float:
    """Wait until no tweet is pending and no change in doubt, and say how long that took."""
    started = time.monotonic()
    with redis_server(stores) as (redis_url, _):
        async with open_redis(redis_url) as redis, open_database(stores.sqlalchemy_url) as engine:
            while True:
                doubts = await redis.zcard(f"{stores.redis_namespace}:unsure")
                version = await VectorStore(redis, stores.redis_namespace).active_version()
                pending = await Database(engine).pending_tweets(version, set(), 1) if version else ["all"]
                if not doubts and not pending:
                    return time.monotonic() - started
                if time.monotonic() - started > SETTLE_SECONDS:
                    raise AssertionError(f"not settled: {doubts} changes in doubt, pending: {pending}")
                await asyncio.sleep(0.1)


async def check(ledger: Ledger, stores: StoreSettings, url: str) -> Verdict:
    """By SQL, by Redis, and by what users are recommended."""
    async with open_database(stores.sqlalchemy_url) as engine, engine.connect() as connection:
        lost, twice, wrong = await _in_sql(ledger, connection)
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        for unit in ledger.units:
            lost += await _not_recommended(unit, client)
    return Verdict(len(lost), len(twice), [*ledger.wrong, *lost, *twice, *wrong, *await disagreements(stores)])


async def _in_sql(ledger: Ledger, connection: AsyncConnection) -> tuple[list[str], list[str], list[str]]:
    users = set(await connection.scalars(select(User.user_id)))
    follows = {tuple(row) for row in await connection.execute(select(Follow.follower_id, Follow.followee_id))}
    retweets = {tuple(row) for row in await connection.execute(select(Retweet.user_id, Retweet.tweet_id))}
    texts = {row.tweet_id: row.text for row in await connection.execute(select(Tweet.tweet_id, Tweet.text))}
    lost: list[str] = []
    for unit in ledger.units:
        if unit.follows and not {unit.author, unit.reader, unit.fan} <= users:
            lost.append(f"users of {unit.name}")
        if unit.follows and not {(unit.reader, unit.author), (unit.fan, unit.reader)} <= follows:
            lost.append(f"follows of {unit.name}")
        if unit.tweet_id is not None and texts.get(unit.tweet_id) != unit.text:
            lost.append(f"the tweet of {unit.name}")
        if unit.retweeted and (unit.reader, unit.tweet_id) not in retweets:
            lost.append(f"the retweet of {unit.name}")
    times = Counter(texts.values())
    twice = [
        f"the tweet of {unit.name} is there {times[unit.text]} times" for unit in ledger.units if times[unit.text] > 1
    ]
    return lost, twice, [f"{tweet_id} was recommended, and is no tweet" for tweet_id in ledger.shown - texts.keys()]


async def _not_recommended(unit: Unit, client: httpx.AsyncClient) -> list[str]:
    """An acknowledged tweet is offered to the reader until they retweet it, and to the fan from then on; once."""
    if unit.tweet_id is None:
        return []
    times = {}
    for user in (unit.reader, unit.fan):
        body = (await client.get(f"/users/{user}/recommendations", params={"k": 100})).json()
        ids = [item["tweet_id"] for item in body["items"]] if body["source"] == "followees" else []
        times[user] = ids.count(unit.tweet_id)
    right = [{unit.reader: 0, unit.fan: 1}, {unit.reader: 1, unit.fan: 0}]
    return [] if times in right[: 1 if unit.retweeted else 2] else [f"{unit.tweet_id} is recommended so often: {times}"]
