"""From a folder on disk to what serves: vectors written beside the old version's, then one pointer moved."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from contract import artifact
from contract.artifact import Artifact, Manifest
from contract.graph import OnlineGraph
from contract.runtime import OnnxModel, encode_tweets
from contract.tables import ModelVersion, Tweet, TweetVector
from contract.vectors import VectorStore
from training.features import read_image
from training.online import rebuild_graph
from training.progress import Progress
from training.stores import Stores

_BATCH = 16
_KEPT_VERSIONS = 2


@dataclass(frozen=True)
class Published:
    """What serves now, and how many tweets had to be encoded for it."""

    manifest: Manifest
    encoded_tweets: int


async def publish(folder: Path, stores: Stores, progress: Progress) -> Published:
    """Make an exported model the one that serves.

    Safe to run again after a kill at any point, and for a version that serves already: what is stored is not encoded
    again, and everything of it in Redis is written anew.
    """
    exported = artifact.load(folder)
    version, vectors = exported.manifest.version, VectorStore(stores.redis, stores.namespace)
    model = OnnxModel(exported)
    model.verify_golden(exported)
    await register(stores.engine, exported)
    await vectors.put_users(version, exported.user_ids, exported.user_vectors_UD)
    encoded = await encode_missing(stores, exported, model, progress)
    await copy_tweet_vectors(stores.engine, vectors, exported)
    await rebuild_graph(stores.engine, OnlineGraph(stores.redis, stores.namespace))
    await activate(stores.engine, vectors, version)
    await forget_old_versions(stores.engine, vectors)
    return Published(exported.manifest, encoded)


async def register(engine: AsyncEngine, exported: Artifact) -> None:
    """A row in model_versions, not active yet."""
    manifest = exported.manifest
    async with engine.begin() as connection:
        known = await connection.scalar(select(ModelVersion.version).where(ModelVersion.version == manifest.version))
        if known is None:
            values = {"version": manifest.version, "created_at": manifest.created_at, "metrics": manifest.metrics}
            await connection.execute(insert(ModelVersion), values)


async def encode_missing(stores: Stores, exported: Artifact, model: OnnxModel, progress: Progress) -> int:
    """Encode the stored tweets that have no vector under this version, a committed batch at a time."""
    version, preprocessing = exported.manifest.version, exported.manifest.preprocessing
    has_vector = select(TweetVector.tweet_id).where(TweetVector.version == version)
    missing = select(Tweet.tweet_id, Tweet.text, Tweet.image_key).where(Tweet.tweet_id.not_in(has_vector))
    async with stores.engine.connect() as connection:
        tweets = (await connection.execute(missing.order_by(Tweet.tweet_id))).all()
    batches = [tweets[start : start + _BATCH] for start in range(0, len(tweets), _BATCH)]
    for batch in progress(batches, len(batches), f"encode tweets (batches of {_BATCH})"):
        images = [read_image(stores.blobs, tweet.image_key, preprocessing.image_size) for tweet in batch]
        z_BD = encode_tweets(model, exported.tokenizer, preprocessing, images, [tweet.text for tweet in batch])
        rows = [
            {"version": version, "tweet_id": tweet.tweet_id, "vector": z_D.astype("<f2").tobytes()}
            for tweet, z_D in zip(batch, z_BD, strict=True)
        ]
        async with stores.engine.begin() as connection:
            await connection.execute(insert(TweetVector), rows)
    return len(tweets)


async def copy_tweet_vectors(engine: AsyncEngine, vectors: VectorStore, exported: Artifact) -> None:
    """All tweet vectors of this version from SQL to Redis."""
    manifest = exported.manifest
    query = select(TweetVector.tweet_id, TweetVector.vector).where(TweetVector.version == manifest.version)
    async with engine.connect() as connection, connection.stream(query) as result:
        async for rows in result.partitions(1_000):
            data = b"".join(row.vector for row in rows)
            vectors_KD = np.frombuffer(data, dtype="<f2").reshape(len(rows), manifest.dim)
            await vectors.put_tweets(manifest.version, [row.tweet_id for row in rows], vectors_KD)


async def activate(engine: AsyncEngine, vectors: VectorStore, version: str) -> None:
    """Record it in SQL, then move the pointer."""
    async with engine.begin() as connection:
        await connection.execute(
            update(ModelVersion).where(ModelVersion.version == version).values(activated_at=datetime.now(UTC))
        )
    await vectors.activate(version)


async def forget_old_versions(engine: AsyncEngine, vectors: VectorStore) -> None:
    """Delete the vectors of all versions but the active one and the one before it; their folders stay."""
    async with engine.begin() as connection:
        newest_first = select(ModelVersion.version).order_by(ModelVersion.activated_at.desc().nulls_last())
        versions = list(await connection.scalars(newest_first))
        old = versions[_KEPT_VERSIONS:]
        await connection.execute(delete(TweetVector).where(TweetVector.version.in_(old)))
    for version in old:
        await vectors.delete_version(version)
