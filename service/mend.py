"""Changes whose process died between Redis and SQL: what is online is made what SQL has, within seconds."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contract.graph import TimelineEntry, to_ms
from contract.parts import in_parts
from contract.rebuild import USERS_AT_A_TIME, count_retweets, forget_user_unless_there, replace_users
from contract.tables import Tweet
from contract.transactions import hold_tweets
from contract.turns import take_turn
from contract.unsure import Doubt, Unsure
from contract.versions import version_names
from service.ingest import Ingest
from service.removal import put_vectors, retweeters_and_hiders, vectors_of

log = logging.getLogger(__name__)

_SOON_SECONDS = 1.0
_SETTLED_SECONDS = 120.0
"""No change goes on for so long (service/deadline.py), and no command is so long on its way to Redis."""


@dataclass(frozen=True)
class Mender:
    """The changes in doubt, and the stores that must agree on them."""

    unsure: Unsure
    parts: Ingest
    _mended: set[Doubt] = field(default_factory=set)
    """Once already: the change may not have begun yet, and is settled later."""

    async def mend(self) -> None:
        """All that were not settled in a second; again, and for the last time, when none of them can go on any more.

        Every process does it: once more does no harm.
        """
        doubts = await self.unsure.older_than(_SOON_SECONDS)
        self._mended.intersection_update(doubts)
        for doubt, seconds in doubts.items():
            over = seconds >= _SETTLED_SECONDS
            if over or doubt not in self._mended:
                await self._mend(doubt, settle=over)

    async def _mend(self, doubt: Doubt, *, settle: bool) -> None:
        engine = self.parts.database.engine
        try:
            if doubt.kind == "user":
                await take_turn(engine, mend_user, doubt.id_, self.parts)
            else:
                await mend_tweet(engine, doubt.id_, self.parts)
            if settle:
                await self.unsure.settle(doubt)
        except Exception:  # whatever it was, the others must not wait for this one
            log.exception("what is online of %s %s cannot be mended yet", doubt.kind, doubt.id_)
            return
        self._mended.add(doubt)
        log.warning("what is online of %s %s is what SQL has", doubt.kind, doubt.id_)


async def mend_user(connection: AsyncConnection, user_id: str, parts: Ingest) -> None:
    """What is online of a user, and the vector that is folded in; of one who is not in SQL nothing is left."""
    await parts.fold_ins.changed([user_id])
    if await replace_users(connection, parts.graph, [user_id]):
        return
    if not await forget_user_unless_there(connection, parts.graph, parts.vectors, user_id):  # somebody made them
        await replace_users(connection, parts.graph, [user_id])


async def mend_tweet(engine: AsyncEngine, tweet_id: str, parts: Ingest) -> None:
    """Its vectors, and what is online of its author and of who retweeted or hid it; of these again if it is gone."""
    owners = await owners_of(engine, tweet_id)
    await mend_owners(engine, owners, parts)
    if not await take_turn(engine, mend_vectors, tweet_id, parts):
        await mend_owners(engine, owners, parts)


async def owners_of(engine: AsyncEngine, tweet_id: str) -> list[str]:
    """Of whom something online names the tweet."""
    async with engine.connect() as connection:
        author = await connection.scalars(select(Tweet.author_id).where(Tweet.tweet_id == tweet_id))
        return sorted({*author, *await retweeters_and_hiders(connection, tweet_id)})


async def mend_owners(engine: AsyncEngine, owners: Sequence[str], parts: Ingest) -> None:
    """Some at a time: those of a popular tweet are many."""
    for some in in_parts(owners, USERS_AT_A_TIME):
        await parts.fold_ins.changed(some)
        await take_turn(engine, replace_users, parts.graph, some)


async def mend_vectors(connection: AsyncConnection, tweet_id: str, parts: Ingest) -> bool:
    """Those of a tweet that is there and not hidden, and its place among the newest; whether it is there."""
    await hold_tweets(connection, [tweet_id])
    tweet = (await connection.execute(select(Tweet).where(Tweet.tweet_id == tweet_id))).one_or_none()
    versions = set(await version_names(connection))
    shown = {} if tweet is None or tweet.hidden_at is not None else await vectors_of(connection, tweet_id)
    await parts.vectors.forget_tweet(sorted(versions - shown.keys()), tweet_id)
    await put_vectors(tweet_id, shown, parts)
    if tweet is not None:
        counts = await count_retweets(connection, [tweet_id])
        entry = TimelineEntry(tweet_id, tweet.author_id, to_ms(tweet.created_at))
        await parts.graph.add_recent([entry], {tweet_id: counts.get(tweet_id, 0)})
    return tweet is not None
