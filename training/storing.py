"""A checked dataset into the stores, in short transactions, while a service may write to them.

Each transaction holds the rows that own what it writes, and Redis has it before the commit (contract/transactions.py).
What others stored meanwhile stays as it is. Killed at any point, the next import goes on: what is there is left alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import delete, inspect, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.blobs import blob_key
from contract.graph import OnlineGraph, TimelineEntry, to_ms
from contract.parts import in_parts
from contract.pending import PendingTweets
from contract.progress import Progress
from contract.tables import Base, DeletedTweet, Follow, Hide, Retweet, Tweet, User
from contract.transactions import STAYS, deleted_users, hold_picture, hold_users, keep_tweets, keep_users
from contract.turns import take_turn
from contract.waiting import WaitingUsers
from training.dataset.checks import (
    BadRow,
    Known,
    KnownTweet,
    refuse_change,
    still_there,
    user_was_deleted,
    was_deleted,
)
from training.dataset.folder import Dataset
from training.dataset.rejects import Rejects
from training.dataset.rows import DeletedTweetRow, FollowRow, HideRow, Key, RetweetRow, Row, TweetRow, UserRow
from training.errors import InputRejected
from training.stores import Stores

_ROWS_A_TURN = 100
_SLOW_ROWS_A_TURN = 10
"""Of tweets, whose pictures are stored with them, and hides, which take two round trips to Redis each."""

R = TypeVar("R", bound=Row)


@dataclass(frozen=True)
class Turn:
    """What came of some rows: the keys of those that are new, and why others cannot be stored."""

    added: set[Key]
    refused: dict[Key, BadRow] = field(default_factory=dict)


async def store_dataset(
    folder: Path, dataset: Dataset, known: Known, stores: Stores, rejects: Rejects, progress: Progress
) -> dict[str, int]:
    """Store what is not stored yet; returns the new rows by table.

    A row that others made impossible since the check goes to `rejects`, and so does what refers to it.
    """
    storing = Storing(folder, dataset, known, stores, rejects, progress)
    return {
        "users": await storing.table("users", _new(dataset.users, known.users), storing.users),
        "follows": await storing.table("follows", _new(dataset.follows, known.follows), storing.follows),
        "tweets": await storing.table("tweets", storing.tweets_to_store(), storing.tweets, _SLOW_ROWS_A_TURN),
        "deleted_tweets": await storing.table(
            "deleted_tweets", _new(dataset.deleted_tweets, known.deleted_tweets), storing.deleted_tweets
        ),
        "retweets": await storing.table("retweets", _new(dataset.retweets, known.retweets), storing.retweets),
        "hides": await storing.table("hides", _new(dataset.hides, known.hides), storing.hides, _SLOW_ROWS_A_TURN),
    }


class Storing:
    """An import at work: a method a table, each the work of one turn."""

    def __init__(
        self, folder: Path, dataset: Dataset, known: Known, stores: Stores, rejects: Rejects, progress: Progress
    ) -> None:
        self._folder, self._dataset, self._known = folder, dataset, known
        self._engine, self._blobs = stores.engine, stores.blobs
        self._graph = OnlineGraph(stores.redis, stores.namespace)
        self._pending = PendingTweets(stores.redis, stores.namespace)
        self._waiting = WaitingUsers(stores.redis, stores.namespace)
        self._rejects, self._progress = rejects, progress
        self._refused_tweets: dict[Key, str] = {}

    async def table(
        self,
        name: str,
        rows: list[R],
        work: Callable[[AsyncConnection, list[R]], Awaitable[Turn]],
        size: int = _ROWS_A_TURN,
    ) -> int:
        """Store rows turn by turn in the order of their keys, so that two imports cannot block each other."""
        rows = sorted(rows, key=lambda row: row.key)
        turns = in_parts(rows, size)
        added = 0
        for part in self._progress(turns, len(turns), f"store {name} (turns of {size})"):
            turn = await take_turn(self._engine, work, part)
            added += len(turn.added)
            if name == "tweets" and turn.added:
                await self._pending.announce()
            if name in ("follows", "retweets"):  # keys that begin with the user
                await self._waiting.add(sorted({user_id for user_id, _ in turn.added}))
            for key, bad in turn.refused.items():
                source = self._dataset.sources[name][key]
                if name == "tweets":
                    self._refused_tweets[key] = source.place
                self._rejects.add(source.reject(bad.field, bad.reason))
        return added

    def tweets_to_store(self) -> list[TweetRow]:
        """Those that are new, and stored ones whose picture was lost."""
        return [
            row
            for key, row in self._dataset.tweets.items()
            if key not in self._known.tweets or not self._blobs.exists(self._dataset.image_keys[key])
        ]

    async def users(self, connection: AsyncConnection, rows: list[UserRow]) -> Turn:
        """Make users known, but for those who were deleted meanwhile."""
        added = await _insert(connection, User, [row.model_dump() for row in rows])
        deleted = await deleted_users(connection, [row.user_id for row in rows])
        await connection.execute(delete(User).where(User.user_id.in_(deleted), STAYS))
        await self._graph.add_users(row.user_id for row in rows if row.user_id not in deleted)
        refused: dict[Key, BadRow] = {(id_,): BadRow("user_id", user_was_deleted(id_)) for id_ in deleted}
        return Turn(added - refused.keys(), refused)

    async def follows(self, connection: AsyncConnection, rows: list[FollowRow]) -> Turn:
        """Let users follow others."""
        await hold_users(connection, sorted({row.follower_id for row in rows}))
        refused = await _of_deleted(connection, rows, "follower_id", "followee_id")
        kept = [row for row in rows if row.key not in refused]
        added = await _insert(connection, Follow, [row.model_dump() for row in kept])
        await self._graph.add_follows((follower_id, followee_id) for follower_id, followee_id in added)
        return Turn(added, refused)

    async def tweets(self, connection: AsyncConnection, rows: list[TweetRow]) -> Turn:
        """Rows and pictures; the service encodes them.

        Inserting comes before the look for deleted ones, as when a tweet is posted: a deletion that holds the id is
        waited for then, and seen.
        """
        await hold_users(connection, sorted({row.author_id for row in rows}))
        orphans = await _of_deleted(connection, rows, "author_id")
        rows = [row for row in rows if row.key not in orphans]
        keys = {row.key: self._dataset.image_keys[row.key] for row in rows}
        for image_key in sorted(set(keys.values())):
            await hold_picture(connection, image_key)
        values = [row.model_dump(exclude={"image"}) | {"image_key": keys[row.key]} for row in rows]
        added = await _insert(connection, Tweet, values)
        ids = [row.tweet_id for row in rows]
        deleted = set(ids) - await keep_tweets(connection, ids) | await _those_of(connection, DeletedTweet, ids)
        refused: dict[Key, BadRow] = {(id_,): BadRow("tweet_id", was_deleted(id_)) for id_ in deleted}
        await connection.execute(delete(Tweet).where(Tweet.tweet_id.in_(deleted)))
        refused |= await self._changed(connection, [row for row in rows if row.key not in added])
        stored = [row for row in rows if row.key not in refused]
        await asyncio.gather(*(asyncio.to_thread(self._store_picture, row) for row in stored))
        added -= refused.keys()
        await self._graph.add_tweets(
            TimelineEntry(row.tweet_id, row.author_id, to_ms(row.created_at)) for row in stored if row.key in added
        )
        return Turn(added, refused | orphans)

    async def deleted_tweets(self, connection: AsyncConnection, rows: list[DeletedTweetRow]) -> Turn:
        """Take ids for good; on Postgres nobody posts meanwhile, so that none of them becomes a tweet's."""
        if connection.dialect.name == "postgresql":
            await connection.execute(text("LOCK TABLE tweets IN SHARE MODE"))
        there = await _those_of(connection, Tweet, [row.tweet_id for row in rows])
        free = [row.model_dump() for row in rows if row.tweet_id not in there]
        refused: dict[Key, BadRow] = {(id_,): BadRow("tweet_id", still_there(id_)) for id_ in there}
        return Turn(await _insert(connection, DeletedTweet, free), refused)

    async def retweets(self, connection: AsyncConnection, rows: list[RetweetRow]) -> Turn:
        """Let users pass tweets on."""
        kept, refused = await self._hold(connection, rows)
        added = await _insert(connection, Retweet, [row.model_dump() for row in kept])
        await self._graph.add_retweets(
            (row.user_id, TimelineEntry(row.tweet_id, self._author(row.tweet_id), to_ms(row.created_at)))
            for row in kept
            if row.key in added
        )
        return Turn(added, refused)

    async def hides(self, connection: AsyncConnection, rows: list[HideRow]) -> Turn:
        """Keep tweets from users."""
        kept, refused = await self._hold(connection, rows)
        added = await _insert(connection, Hide, [row.model_dump() for row in kept])
        for row in kept:
            if row.key in added:
                await self._graph.hide(row.user_id, row.tweet_id, to_ms(row.created_at))
        return Turn(added, refused)

    async def _changed(self, connection: AsyncConnection, rows: list[TweetRow]) -> dict[Key, BadRow]:
        """Those of some stored tweets that are stored with other content."""
        columns = Tweet.tweet_id, Tweet.author_id, Tweet.text, Tweet.image_key, Tweet.created_at
        found = await connection.execute(select(*columns).where(Tweet.tweet_id.in_([row.tweet_id for row in rows])))
        stored: dict[Key, KnownTweet] = {(row[0],): KnownTweet(*row[1:]) for row in found}
        refused = {}
        for row in rows:
            try:
                refuse_change(row, self._dataset.image_keys[row.key], stored.get(row.key))
            except BadRow as bad:
                refused[row.key] = bad
        return refused

    def _store_picture(self, row: TweetRow) -> None:
        """Raises InputRejected where the file is another one than was checked."""
        key = self._dataset.image_keys[row.key]
        if not self._blobs.exists(key):
            data = (self._folder / row.image).read_bytes()
            if blob_key(data) != key:
                raise InputRejected(
                    f"{self._folder / row.image} changed since it was checked: run the same command again"
                )
            self._blobs.put(data)

    async def _hold(self, connection: AsyncConnection, rows: list[R]) -> tuple[list[R], dict[Key, BadRow]]:
        """Rows of retweets or hides whose tweet is there to the end, their users held; and why not the others."""
        pairs = {row.key: row for row in rows}
        await hold_users(connection, sorted({user_id for user_id, _ in pairs}))
        there = await keep_tweets(connection, sorted({tweet_id for _, tweet_id in pairs}))
        refused = await _of_deleted(connection, rows, "user_id")
        for user_id, tweet_id in pairs.keys() - refused.keys():
            if place := self._refused_tweets.get((tweet_id,)):
                refused[user_id, tweet_id] = BadRow(
                    "tweet_id", f"{tweet_id} was rejected ({place}): mend that row first"
                )
            elif tweet_id not in there:
                refused[user_id, tweet_id] = BadRow("tweet_id", f"{tweet_id} was deleted meanwhile: remove the row")
        return [row for key, row in pairs.items() if key not in refused], refused

    def _author(self, tweet_id: str) -> str:
        key = (tweet_id,)
        return (self._dataset.tweets.get(key) or self._known.tweets[key]).author_id


def _new(rows: dict[Key, R], known: set[Key]) -> list[R]:
    return [row for key, row in rows.items() if key not in known]


async def _of_deleted(connection: AsyncConnection, rows: Sequence[Row], *fields: str) -> dict[Key, BadRow]:
    """Rows that name a user who was deleted since they were checked."""
    named = {getattr(row, field) for row in rows for field in fields}
    there = await keep_users(connection, named)
    return {
        row.key: BadRow(field, f"{user_id} was deleted meanwhile: remove the row")
        for row in rows
        for field in fields
        if (user_id := getattr(row, field)) not in there
    }


async def _those_of(
    connection: AsyncConnection, table: type[Tweet] | type[DeletedTweet], tweet_ids: Sequence[str]
) -> set[str]:
    """The ids that a table has."""
    return set(await connection.scalars(select(table.tweet_id).where(table.tweet_id.in_(tweet_ids))))


async def _insert(connection: AsyncConnection, table: type[Base], values: list[dict[str, Any]]) -> set[Key]:
    """Insert the rows whose key is free; returns their keys."""
    if not values:
        return set()
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    rows = dialect.insert(table).on_conflict_do_nothing().returning(*inspect(table).primary_key)
    return {tuple(row) for row in await connection.execute(rows, values)}
