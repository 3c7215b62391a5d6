"""From a folder on disk to what serves: vectors written beside the old version's, then one pointer moved."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from contract import artifact
from contract.artifact import Artifact, Manifest
from contract.errors import ArtifactInvalid, StoreUnavailable
from contract.fold_in import FoldInStores, fit_user, put_fitted
from contract.graph import OnlineGraph
from contract.marks import is_written, writing
from contract.parts import in_parts
from contract.progress import Progress
from contract.rebuild import (
    copy_tweet_vectors,
    copy_user_vectors,
    forget_the_deleted,
    rebuild_graph,
    write_vectors,
)
from contract.runtime import OnnxModel
from contract.tables import ModelVersion, Retweet, TweetVector
from contract.transactions import changing
from contract.trial import Recommended
from contract.turns import take_turn
from contract.vectors import VectorStore
from contract.versions import (
    KEPT_VERSIONS,
    activate,
    activated_last,
    hold_versions,
    kept_versions,
    known_versions,
    point_anew,
    start_trial,
    trial_of,
)
from training.computed import Vectors
from training.encoding.engines import Cluster, engine
from training.encoding.stored import encode_missing, store_vectors
from training.errors import InputRejected
from training.gate import Verdict
from training.redaction import redact
from training.registry import register
from training.stores import Stores, fetch_kept

_VECTORS_A_TURN = 200
_LATE_ROUNDS = 5


@dataclass(frozen=True)
class Published:
    """What serves now, and how many tweets got a vector for it."""

    manifest: Manifest
    new_vectors: int


async def publish(
    folder: Path,
    stores: Stores,
    progress: Progress,
    verdict: Verdict | None = None,
    share: float | None = None,
    computed: Vectors | None = None,
    cluster: Cluster | None = None,
) -> Published:
    """Make an exported model the one that serves; how it did beside the one before is kept with its metrics.

    With a share of the users (0 to 1) it is put on trial instead. Tweets whose vectors are `computed` already are not
    encoded; the others are by the workers of a cluster (None: by this process).

    Safe to run again after a kill at any point, and for a version that serves already: what is stored is not encoded
    again, and everything of it in Redis is written anew.
    Users who were deleted are taken out of it, and of all exported models beside it. With MODELS_URL it is there before
    any service hears of it.
    Raises ArtifactInvalid; InputRejected where a trial has nothing beside it; StoreUnavailable where Redis lost
    meanwhile what was written.
    """
    await redact(stores.models, stores.engine)
    exported = artifact.load(folder)
    version, vectors = exported.manifest.version, VectorStore(stores.redis, stores.namespace)
    if share is not None:
        await need_active(stores, version)
    model = OnnxModel(exported)
    model.verify_golden(exported)
    await register(stores.engine, exported.manifest, None if verdict is None else verdict.told())
    await asyncio.to_thread(stores.models.share_whole, version)
    async with writing(stores.redis, stores.namespace, version) as mark, announced(version, vectors):
        await copy_user_vectors(stores.engine, vectors, exported, progress)
        stored = await store_computed(stores.engine, version, computed or {}, progress)
        missing = await encode_missing(stores, version, engine(exported, model, cluster), progress, strict=True)
        stored += len(missing.stored)
        await copy_tweet_vectors(stores.engine, vectors, exported.manifest, progress=progress)
        graph = OnlineGraph(stores.redis, stores.namespace)
        await rebuild_graph(stores.engine, graph, progress)
        await forget_the_deleted(stores.engine, graph, vectors)
        await fold_in_untrained(exported, model, FoldInStores(stores.engine, graph, vectors), progress)
        for _ in range(_LATE_ROUNDS):  # what was posted meanwhile: too little to call workers for
            late = await encode_missing(stores, version, engine(exported, model, None), progress, strict=True)
            if not late.stored:
                break
            await copy_tweet_vectors(stores.engine, vectors, exported.manifest, late.stored)
            stored += len(late.stored)
        async with changing(stores.engine) as connection:
            await hold_versions(connection)
            recommended = Recommended(stores.redis, stores.namespace)
            if share is None:
                await activate(connection, vectors, recommended, version, mark)
            else:
                await start_trial(connection, vectors, recommended, version, share, mark)
    await forget_old_versions(stores)
    return Published(exported.manifest, stored)


async def need_active(stores: Stores, version: str | None = None) -> None:
    """A trial needs another version that serves. Raises InputRejected; StoreUnavailable where Redis lost it."""
    active = activated_last(await known_versions(stores.engine))
    if active is None or active == version:
        raise InputRejected("--trial: there is no other version that serves: leave it out")
    if await VectorStore(stores.redis, stores.namespace).active_version() is None:
        raise StoreUnavailable("Redis lost its contents: run `python -m training models rebuild-redis`")


@asynccontextmanager
async def announced(version: str, vectors: VectorStore) -> AsyncIterator[None]:
    """Services have it loaded while the block goes on, and encode what is posted meanwhile under it, too."""
    await vectors.announce(version)
    try:
        yield
    finally:
        if await vectors.upcoming() == version:
            await vectors.announce(None)


async def rebuild_redis(models_dir: Path, stores: Stores, progress: Progress) -> dict[str, str | None]:
    """Write all of Redis anew from SQL and the exported models: the online graph, the active version, the one before.

    Vectors of versions that SQL does not know are removed. Returns the kept versions, the active one first, and why one
    before it could not be written. Raises InputRejected where no version was ever activated, ArtifactInvalid where the
    active one cannot be loaded, StoreUnavailable where Redis lost meanwhile what was written.
    """
    await fetch_kept(stores.models, stores.engine)
    known = await known_versions(stores.engine)
    active, *before = [row.version for row in known if row.version in kept_versions(known)] or [None]
    if active is None:
        raise InputRejected("no version was ever activated: run `python -m training retrain`")
    vectors, graph = VectorStore(stores.redis, stores.namespace), OnlineGraph(stores.redis, stores.namespace)
    written: dict[str, str | None] = {active: None}
    async with writing(stores.redis, stores.namespace, "everything") as mark:
        await rebuild_graph(stores.engine, graph, progress)
        await write_version(models_dir / active, stores, progress)
        for version in before:
            try:
                await write_version(models_dir / version, stores, progress)
                written[version] = None
            except ArtifactInvalid as error:
                written[version] = str(error)
        await forget_the_deleted(stores.engine, graph, vectors)
        async with changing(stores.engine) as connection:
            known = await hold_versions(connection)
            if (trial := trial_of(known)) is not None and trial.version not in written:
                raise InputRejected("another version was put on trial meanwhile: run the same command again")
            whole = {version for version, fault in written.items() if fault is None}
            recommended = Recommended(stores.redis, stores.namespace)
            if await point_anew(connection, vectors, recommended, whole, mark) is None:
                raise InputRejected("another version was activated meanwhile: run the same command again")
            for unknown in await vectors.versions() - {row.version for row in known}:
                await vectors.delete_version(unknown)
    return written


async def write_version(folder: Path, stores: Stores, progress: Progress) -> None:
    """A version's vectors, those of users who are folded in, too. Raises ArtifactInvalid."""
    exported = artifact.load(folder)
    vectors, graph = VectorStore(stores.redis, stores.namespace), OnlineGraph(stores.redis, stores.namespace)
    await write_vectors(stores.engine, vectors, exported, progress)
    await fold_in_untrained(exported, OnnxModel(exported), FoldInStores(stores.engine, graph, vectors), progress)


async def store_computed(engine: AsyncEngine, version: str, computed: Vectors, progress: Progress) -> int:
    """Store those of tweets that are there still and have none; how many these were."""
    turns = in_parts(list(computed), _VECTORS_A_TURN)
    stored = 0
    for part in progress(turns, len(turns), f"store computed vectors (turns of {_VECTORS_A_TURN})"):
        vectors = {tweet_id: computed[tweet_id].astype("<f2").tobytes() for tweet_id in part}
        stored += len(await take_turn(engine, store_vectors, version, vectors))
    return stored


async def fold_in_untrained(exported: Artifact, model: OnnxModel, stores: FoldInStores, progress: Progress) -> None:
    """Give a vector to everyone who retweeted and whom the version was not trained on.

    Who retweets meanwhile is seen to by the service, once the version serves.
    """
    async with stores.engine.connect() as connection:
        retweeters = await connection.scalars(select(Retweet.user_id).distinct().order_by(Retweet.user_id))
        untrained = [user_id for user_id in retweeters if user_id not in exported.trained_users]
    for user_id in progress(untrained, len(untrained), "fold in users"):
        fitted = await fit_user(user_id, exported, model, stores)
        await take_turn(stores.engine, put_fitted, user_id, fitted, exported.manifest.version, stores)


async def forget_old_versions(stores: Stores) -> None:
    """Delete the vectors of all versions that are not kept, nor being published elsewhere; their folders stay."""
    vectors = VectorStore(stores.redis, stores.namespace)
    async with changing(stores.engine) as connection:
        known = await hold_versions(connection)
        old = [row.version for row in known[KEPT_VERSIONS:] if row.share is None]
        old = [version for version in old if not await is_written(stores.redis, stores.namespace, version)]
        await connection.execute(delete(TweetVector).where(TweetVector.version.in_(old)))
        retired = update(ModelVersion).where(ModelVersion.version.in_(old)).values(activated_at=None)
        await connection.execute(retired)
        for version in old:
            await vectors.delete_version(version)
