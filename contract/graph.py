"""The online view of the network in Redis: who is followed, what was retweeted, what is on each timeline.

Everything here can be rebuilt from SQL. Keys (ns is the namespace) and their bounds:
    {ns}:user:{user}          the user exists; one a user
    {ns}:follow:{user}        ids of followees; one member a follow
    {ns}:seen:{user}          tweets retweeted, by time; the newest SEEN_LIMIT
    {ns}:hidden:{user}        tweets that the user does not want to see, by time of hiding; the newest SEEN_LIMIT
    {ns}:timeline:{author}    what an author posted or retweeted, by time; the newest TIMELINE_LIMIT
    {ns}:recent               the newest tweets of the whole service; RECENT_LIMIT
    {ns}:retweets             how often each of these was retweeted; RECENT_LIMIT
A tweet on a timeline is a candidate only where the active version has a vector of it (`VectorStore.forget_tweet`).
Every write but the counting of retweets is noted in the log of changes (contract/changelog.py).
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from contract.changelog import note
from contract.keyspace import Keyspace, Part, RedisStore, at_once

TIMELINE_LIMIT = 200
SEEN_LIMIT = 10_000
RECENT_LIMIT = 1_000
MOST_FOLLOWEES = 10_000
"""Of one user: service and importer refuse more."""

Command = tuple[object, ...]
"""A command's name, its key, and what follows."""
_CHUNK = 1_000
_FEWEST_ENTRIES = 5


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """A tweet on a timeline; `at_ms` is when it was posted or, on a retweeter's timeline, retweeted (Unix ms)."""

    tweet_id: str
    author_id: str
    at_ms: int

    @property
    def at(self) -> datetime:
        """The same moment as a UTC datetime."""
        return datetime.fromtimestamp(self.at_ms / 1000, tz=UTC)


@dataclass(frozen=True, slots=True)
class UserView:
    """What the online view knows of one user."""

    exists: bool
    followee_ids: list[str]
    seen_tweet_ids: set[str]
    """Retweeted or hidden."""


@dataclass(frozen=True, slots=True)
class UserState:
    """All that is online of one user, within the bounds above; `seen` and `hidden` tweets with times (Unix ms)."""

    user_id: str
    followee_ids: list[str]
    seen: dict[str, int]
    hidden: dict[str, int]
    timeline: list[TimelineEntry]

    @property
    def view(self) -> UserView:
        """What `OnlineGraph.user` reads of it."""
        return UserView(exists=True, followee_ids=sorted(self.followee_ids), seen_tweet_ids={*self.seen, *self.hidden})


def entries_per_followee(followees: int, in_all: int, most: int = TIMELINE_LIMIT) -> int:
    """How much of each timeline is read: up to `most` of it, and the newest few entries for who follows thousands."""
    return min(most, max(_FEWEST_ENTRIES, in_all // max(1, followees)))


def to_ms(moment: datetime) -> int:
    """Unix time in ms."""
    return round(moment.timestamp() * 1000)


class OnlineGraph:
    """Redis errors pass through as redis.exceptions.RedisError."""

    def __init__(self, redis: RedisStore, namespace: str) -> None:
        self._keys = Keyspace(redis, namespace)
        self._home = self._keys.home

    async def add_users(self, user_ids: Iterable[str]) -> None:
        """Make users known."""
        await self._write(("set", self._key("user", id_), b"1") for id_ in user_ids)

    async def add_follows(self, edges: Iterable[tuple[str, str]]) -> None:
        """Add (follower_id, followee_id) edges."""
        await self._write(("sadd", self._key("follow", follower), followee) for follower, followee in edges)

    async def add_tweets(self, entries: Iterable[TimelineEntry], retweets: dict[str, int] | None = None) -> None:
        """Put tweets on their authors' timelines and among the recent ones."""
        entries = list(entries)
        if not entries:
            return
        on_timelines = self._onto_timelines([(entry.author_id, entry) for entry in entries])
        await self._write_recent([*on_timelines, *self._among_recent(entries, retweets)])

    async def add_retweets(self, retweets: Iterable[tuple[str, TimelineEntry]]) -> None:
        """Put (user_id, retweeted entry at the retweet's time) on the users' timelines and into what they have seen."""
        retweets = list(retweets)
        seen = [("zadd", self._key("seen", user), {entry.tweet_id: entry.at_ms}) for user, entry in retweets]
        users = {user for user, _ in retweets}
        await self._write([*self._onto_timelines(retweets), *seen, *self._trimmed("seen", users, SEEN_LIMIT)])

    async def remove_follow(self, follower_id: str, followee_id: str) -> None:
        """Take an edge away; one that is not there changes nothing."""
        await self._write([("srem", self._key("follow", follower_id), followee_id)])

    async def remove_retweet(self, user_id: str, entry: TimelineEntry) -> None:
        """Take a retweet away."""
        await self._write(
            [
                ("zrem", self._key("seen", user_id), entry.tweet_id),
                ("zrem", self._key("timeline", user_id), _member(entry)),
            ]
        )

    async def remove_tweet(self, post: TimelineEntry, owner_ids: Iterable[str]) -> None:
        """Take a tweet from what is online of its author and of who retweeted or hid it, and from the recent ones."""
        member, owner_ids = _member(post), list(owner_ids)
        await self._write([("zrem", self._key("recent"), member), ("zrem", self._key("retweets"), post.tweet_id)])
        await self._write(("zrem", self._key("timeline", id_), member) for id_ in owner_ids)
        for family in ("seen", "hidden"):
            await self._write(("zrem", self._key(family, id_), post.tweet_id) for id_ in owner_ids)

    async def remove_user(self, user_id: str) -> None:
        """Take away all that is online of a user."""
        families = ("user", "follow", "seen", "hidden", "timeline")
        await self._write(("unlink", self._key(family, user_id)) for family in families)

    async def hide(self, user_id: str, tweet_id: str, at_ms: int) -> None:
        """Do not recommend a tweet to this user."""
        hidden = ("zadd", self._key("hidden", user_id), {tweet_id: at_ms})
        await self._write([hidden, *self._trimmed("hidden", {user_id}, SEEN_LIMIT)])

    async def unhide(self, user_id: str, tweet_id: str) -> None:
        """Recommend it again."""
        await self._write([("zrem", self._key("hidden", user_id), tweet_id)])

    async def replace_users(self, users: Iterable[UserState]) -> None:
        """Make what is online of some users what is given, each user in one step for every reader."""
        for state in users:
            await self._write(self._replacement(state))

    async def add_recent(self, entries: Iterable[TimelineEntry], retweets: dict[str, int] | None = None) -> None:
        """Put tweets among the newest ones of the whole service, with their retweets where these are known."""
        await self._write_recent(self._among_recent(entries, retweets))

    async def user_ids(self) -> AsyncIterator[str]:
        """Who is online; every key is looked at, and one may come twice."""
        for part in self._keys.parts:
            start = len(part.key("user", ""))
            async for key in part.scan("user", "*"):
                yield key.decode()[start:]

    async def user(self, user_id: str) -> UserView:
        """One round trip. Followees come in the order of their ids."""
        pipeline = self._keys.of(user_id).redis.pipeline(transaction=False)
        pipeline.exists(self._key("user", user_id))
        pipeline.smembers(self._key("follow", user_id))
        pipeline.zrange(self._key("seen", user_id), 0, -1)
        pipeline.zrange(self._key("hidden", user_id), 0, -1)
        exists, followees, seen, hidden = await pipeline.execute()
        return UserView(
            exists=bool(exists),
            followee_ids=sorted(member.decode() for member in followees),
            seen_tweet_ids={member.decode() for member in (*seen, *hidden)},
        )

    async def timelines(self, author_ids: Sequence[str], limit: int = TIMELINE_LIMIT) -> list[list[TimelineEntry]]:
        """Each author's timeline, newest first, at most `limit` entries. A round trip a thousand authors."""
        timelines: list[list[TimelineEntry]] = []
        for start in range(0, len(author_ids), _CHUNK):
            asked = [
                (part := self._keys.of(id_), part.key("timeline", id_)) for id_ in author_ids[start : start + _CHUNK]
            ]
            found = await self._keys.read(
                asked, lambda pipeline, key: pipeline.zrevrange(key, 0, limit - 1, withscores=True)
            )
            timelines += [[_entry(member, score) for member, score in timeline] for timeline in found]
        return timelines

    async def recent(self) -> list[TimelineEntry]:
        """The newest tweets of the whole service, newest first."""
        pipeline = self._home.redis.pipeline(transaction=False)
        pipeline.zrevrange(self._key("recent"), 0, RECENT_LIMIT - 1, withscores=True)
        (timeline,) = await pipeline.execute()
        return [_entry(member, score) for member, score in timeline]

    async def retweet_counts(self, tweet_ids: Sequence[str]) -> list[int]:
        """How often each tweet was retweeted; 0 for one that is not among the newest of the service."""
        if not tweet_ids:
            return []
        counts = await self._home.redis.zmscore(self._key("retweets"), list(tweet_ids))
        return [int(count or 0) for count in counts]

    async def count_retweet(self, tweet_id: str, by: int) -> None:
        """One more (1) or one less (-1), where the tweet is among the newest of the service."""
        await self._home.redis.zadd(self._key("retweets"), {tweet_id: by}, xx=True, incr=True)

    def _onto_timelines(self, entries: Sequence[tuple[str, TimelineEntry]]) -> Iterator[Command]:
        for owner, entry in entries:
            yield "zadd", self._key("timeline", owner), {_member(entry): entry.at_ms}
        yield from self._trimmed("timeline", {owner for owner, _ in entries}, TIMELINE_LIMIT)

    def _among_recent(self, entries: Iterable[TimelineEntry], retweets: dict[str, int] | None) -> Iterator[Command]:
        for entry in entries:
            known = (retweets or {}).get(entry.tweet_id)
            yield "zadd", self._key("recent"), {_member(entry): entry.at_ms}
            yield "zadd", self._key("retweets"), {entry.tweet_id: known or 0}, known is None  # nx: one there stays

    def _trimmed(self, family: str, owners: Iterable[str], limit: int) -> Iterator[Command]:
        for owner in owners:
            yield "zremrangebyrank", self._key(family, owner), 0, -limit - 1

    async def _write_recent(self, commands: Iterable[Command]) -> None:
        """What is over the bound goes, with its counts."""
        recent, counts = self._key("recent"), self._key("retweets")
        old: list[bytes] = await self._write([*commands, ("zrange", recent, 0, -RECENT_LIMIT - 1)])
        if old:
            gone = [_entry(member, 0).tweet_id for member in old]
            await self._write([("zrem", recent, *old), ("zrem", counts, *gone)])

    def _replacement(self, state: UserState) -> Iterator[Command]:
        yield "set", self._key("user", state.user_id), b"1"
        follow = self._key("follow", state.user_id)
        yield "delete", follow
        if state.followee_ids:
            yield "sadd", follow, *state.followee_ids
        timeline = {_member(entry): entry.at_ms for entry in state.timeline}
        for family, scores in (("seen", state.seen), ("hidden", state.hidden), ("timeline", timeline)):
            key = self._key(family, state.user_id)
            yield "delete", key
            if scores:
                yield "zadd", key, scores

    async def _write(self, commands: Iterable[Command]) -> Any:
        """Run commands, at most _CHUNK of a part of the keys in one MULTI with their note; the last one's reply."""
        commands, reply = iter(commands), None
        while chunk := list(islice(commands, _CHUNK)):
            groups = self._keys.grouped(chunk, self._part_of)
            replies = await at_once([_write(part, some) for part, some in groups.items()])
            reply = dict(zip(groups, replies, strict=True))[self._part_of(chunk[-1])]
        return reply

    def _part_of(self, command: Command) -> Part:
        return self._keys.having(str(command[1]))

    def _key(self, family: str, id_: str | None = None) -> str:
        return self._home.key(family) if id_ is None else self._keys.key(family, id_)


async def _write(part: Part, commands: Sequence[Command]) -> Any:
    pipeline = part.redis.pipeline(transaction=True)
    for name, *arguments in commands:
        getattr(pipeline, str(name))(*arguments)
    note(pipeline, part, (str(key) for _, key, *_ in commands))
    *_, reply, _noted = await pipeline.execute()
    return reply


def _member(entry: TimelineEntry) -> str:
    return f"{entry.tweet_id}/{entry.author_id}"


def _entry(member: bytes, score: float) -> TimelineEntry:
    tweet_id, author_id = member.decode().split("/")
    return TimelineEntry(tweet_id, author_id, int(score))
