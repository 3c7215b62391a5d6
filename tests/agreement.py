"""Whether Redis and the store of pictures have what SQL says, no more and no less, once all is settled."""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.blobs import BlobStore, blob_key
from contract.embedded import open_store, redis_server
from contract.environment import StoreSettings
from contract.graph import OnlineGraph
from contract.keyspace import Keyspace, RedisStore
from contract.rebuild import user_states
from contract.tables import Tweet, TweetVector, User, open_database
from contract.versions import kept_versions, known_versions


async def disagreements(stores: StoreSettings) -> list[str]:
    """What differs, a line each."""
    with redis_server(stores) as (url, _):
        async with open_database(stores.sqlalchemy_url) as engine, open_store(url, stores) as redis:
            kept = kept_versions(await known_versions(engine))
            async with engine.connect() as connection:
                return [
                    *await _of_users(connection, redis, stores.redis_namespace),
                    *await _of_vectors(connection, redis, stores.redis_namespace, kept),
                    *await _of_pictures(connection, BlobStore(stores.image_store_url)),
                ]


async def _of_users(connection: AsyncConnection, redis: RedisStore, namespace: str) -> list[str]:
    graph = OnlineGraph(redis, namespace)
    user_ids = sorted(await connection.scalars(select(User.user_id)))
    tweet_ids = set(await connection.scalars(select(Tweet.tweet_id)))
    online = await _ids(redis, namespace, "user")
    found = _differ("users", online, set(user_ids))
    for start in range(0, len(user_ids), 500):
        states = await user_states(connection, user_ids[start : start + 500])
        for state, timeline in zip(states, await graph.timelines([one.user_id for one in states]), strict=True):
            view = await graph.user(state.user_id)
            found += _differ(f"{state.user_id} follows", view.followee_ids, state.view.followee_ids)
            found += _differ(f"{state.user_id} saw", view.seen_tweet_ids, state.view.seen_tweet_ids)
            there = {entry for entry in timeline if entry.tweet_id in tweet_ids}  # a deleted one may stay, unseen
            found += _differ(f"{state.user_id} shows", map(str, there), map(str, state.timeline))
    return found


async def _of_vectors(
    connection: AsyncConnection, redis: RedisStore, namespace: str, versions: Iterable[str]
) -> list[str]:
    shown = select(TweetVector.tweet_id, TweetVector.version).join(Tweet, Tweet.tweet_id == TweetVector.tweet_id)
    rows = (await connection.execute(shown.where(Tweet.hidden_at.is_(None)))).all()
    found: list[str] = []
    for version in versions:
        online = await _ids(redis, namespace, "v", version, "t")
        found += _differ(f"tweets of {version}", online, (row.tweet_id for row in rows if row.version == version))
    return found


async def _of_pictures(connection: AsyncConnection, blobs: BlobStore) -> list[str]:
    keys = set(await connection.scalars(select(Tweet.image_key)))
    return [f"picture {key} is not what it was" for key in keys if not _is_whole(blobs, key)]


def _is_whole(blobs: BlobStore, key: str) -> bool:
    try:
        return blob_key(blobs.get(key)) == key
    except FileNotFoundError:
        return False


async def _ids(redis: RedisStore, namespace: str, *names: str) -> set[str]:
    """Whose keys there are of a family, each in the part that is its id's."""
    keys = Keyspace(redis, namespace)
    found = set()
    for part in keys.parts:
        async for key in part.redis.scan_iter(part.key(*names, "*"), count=1_000):
            id_ = key.decode().removeprefix(part.key(*names, ""))
            found.add(id_ if keys.of(id_) == part else f"{id_} in the wrong part {part.prefix}")
    return found


def _differ(what: str, online: Iterable[str], stored: Iterable[str]) -> list[str]:
    online, stored = set(online), set(stored)
    only = [f"{what}: {id_}, but not in SQL" for id_ in sorted(online - stored)]
    return only + [f"{what}: {id_} in SQL, but not online" for id_ in sorted(stored - online)]
