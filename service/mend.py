"""Changes whose process died between Redis and SQL: what is online is made what SQL has, within seconds."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.graph import TimelineEntry, to_ms
from contract.rebuild import count_retweets, replace_users
from contract.tables import Hide, ModelVersion, Retweet, Tweet, TweetVector, User
from contract.transactions import hold_tweets
from contract.turns import take_turn
from contract.unsure import Doubt, Unsure
from service.ingest import Ingest

log = logging.getLogger(__name__)

_SETTLED_SECONDS = 1.0
"""Changes under way are waited for in any case: the row is held until they end."""


@dataclass(frozen=True)
class Mender:
    """The changes in doubt, and the stores that must agree on them."""

    unsure: Unsure
    parts: Ingest

    async def mend(self) -> None:
        """All that were not settled in time. Every process does it: once more does no harm."""
        for doubt in await self.unsure.older_than(_SETTLED_SECONDS):
            await take_turn(
                self.parts.database.engine, mend_user if doubt.kind == "user" else mend_tweet, doubt, self.parts
            )
            await self.unsure.settle(doubt)
            log.warning("what is online of %s %s is what SQL has again", doubt.kind, doubt.id_)


async def mend_user(connection: AsyncConnection, doubt: Doubt, parts: Ingest) -> None:
    """What is online of a user, and the vector that is folded in; of one who is not in SQL nothing is left."""
    await parts.fold_ins.changed([doubt.id_])
    if await replace_users(connection, parts.graph, [doubt.id_]):
        return
    try:
        async with connection.begin_nested() as attempt:  # so that nobody makes the same user meanwhile
            await connection.execute(insert(User).values(user_id=doubt.id_, created_at=datetime.now(UTC)))
            await parts.graph.remove_user(doubt.id_)
            await attempt.rollback()
    except IntegrityError:  # somebody did
        await replace_users(connection, parts.graph, [doubt.id_])


async def mend_tweet(connection: AsyncConnection, doubt: Doubt, parts: Ingest) -> None:
    """Its vectors, where it is not hidden, and what is online of its author and of who retweeted or hid it."""
    owners = set(await connection.scalars(select(Tweet.author_id).where(Tweet.tweet_id == doubt.id_)))
    for table in (Retweet, Hide):
        owners.update(await connection.scalars(select(table.user_id).where(table.tweet_id == doubt.id_)))
    await replace_users(connection, parts.graph, sorted(owners))
    await parts.fold_ins.changed(sorted(owners))
    await hold_tweets(connection, [doubt.id_])
    tweet = (await connection.execute(select(Tweet).where(Tweet.tweet_id == doubt.id_))).one_or_none()
    versions = set(await connection.scalars(select(ModelVersion.version)))
    vectors = select(TweetVector.version, TweetVector.vector).where(TweetVector.tweet_id == doubt.id_)
    shown = {row.version: row.vector for row in await connection.execute(vectors)}
    if tweet is None or tweet.hidden_at is not None:
        shown = {}
    await parts.vectors.forget_tweet(sorted(versions - shown.keys()), doubt.id_)
    for version, vector in shown.items():
        await parts.vectors.put_tweets(version, [doubt.id_], np.frombuffer(vector, dtype="<f2")[None])
    if tweet is not None:
        counts = await count_retweets(connection, [doubt.id_])
        entry = TimelineEntry(doubt.id_, tweet.author_id, to_ms(tweet.created_at))
        await parts.graph.add_recent([entry], {doubt.id_: counts.get(doubt.id_, 0)})
