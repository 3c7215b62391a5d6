"""python -m training encode: the vectors of stored tweets, or of the rows of Parquet files, under a version."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from contract import artifact
from contract.artifact import Artifact
from contract.environment import StoreSettings
from contract.marks import writing
from contract.progress import Progress
from contract.rebuild import copy_tweet_vectors
from contract.runtime import OnnxModel
from contract.tables import TweetVector
from contract.vectors import VectorStore
from contract.versions import activated_last, kept_versions, known_versions
from training.dataset.rejects import Reject, Rejects
from training.dump import snapshot
from training.encoding.engines import Cluster, engine
from training.encoding.parquet_rows import need_apart, row_groups, rows_digest
from training.encoding.shards import Refused, Shard
from training.encoding.stored import encode_missing
from training.encoding.vector_files import VectorFolder
from training.errors import InputRejected
from training.registry import register
from training.stores import Stores, with_sql

_ROWS_A_FILE = 100_000


@dataclass(frozen=True)
class EncodeReport:
    """What was encoded now, what had a vector before, and the rows that cannot be, by file."""

    encoded: int
    known: int
    picture_bytes: int
    rejected: dict[str, int] = field(default_factory=dict)
    in_redis: bool = False


async def encode_stored(
    folder: Path, stores: Stores, cluster: Cluster | None, to: str | None, rejects: Rejects, progress: Progress
) -> EncodeReport:
    """Encode the tweets that have no vector under a version: into SQL and, where its vectors are kept, into Redis.

    `to`: a folder that gets all vectors of the version in Parquet, as SQL has them in the end. What an earlier call
    stored is not encoded again. Raises ArtifactInvalid, InputRejected.
    """
    exported, model = loaded(folder)
    version = exported.manifest.version
    files = VectorFolder(to, exported.manifest, "the database") if to is not None else None
    vectors = VectorStore(stores.redis, stores.namespace)
    await register(stores.engine, exported.manifest, None)
    async with writing(stores.redis, stores.namespace, version):
        known = await count_vectors(stores.engine, version)
        encode = engine(exported, model, cluster)
        missing = await encode_missing(stores, version, encode, progress, rejects.strict)
        if kept := version in kept_versions(await known_versions(stores.engine)):
            await copy_tweet_vectors(stores.engine, vectors, exported.manifest, progress=progress)
    for row in missing.refused:
        rejects.add(Reject(Path("tweets"), None, row.field, row.reason, row.raw))
    if files is not None:
        await dump_vectors(files, version, exported.manifest.dim, len(missing.refused), stores.engine)
    return EncodeReport(len(missing.stored), known, missing.picture_bytes, rejects.counts(), kept)


async def dump_vectors(files: VectorFolder, version: str, dim: int, refused: int, sql: AsyncEngine) -> None:
    """All vectors of a version as files: one snapshot, in the order of their ids; older ones are written anew."""
    files.clear()
    rows = select(TweetVector.tweet_id, TweetVector.vector).where(TweetVector.version == version)
    shards = written = 0
    async with snapshot(sql) as connection:
        ordered = rows.order_by(TweetVector.tweet_id).execution_options(yield_per=_ROWS_A_FILE)
        async with connection.stream(ordered) as result:
            async for part in result.partitions():
                z_KD = np.frombuffer(b"".join(row.vector for row in part), dtype="<f2").reshape(-1, dim)
                files.write(shards, [row.tweet_id for row in part], z_KD, [])
                shards, written = shards + 1, written + len(part)
    files.finish(shards, written, refused)


def encode_files(
    folder: Path, source: str, to: str, cluster: Cluster | None, rejects: Rejects, progress: Progress
) -> EncodeReport:
    """Encode the rows of Parquet files into a folder of vectors; no store is opened, and none has to be there.

    Shards that an earlier call wrote are not encoded again, but for those that lack a picture that is a file: it may
    be there by now. Raises ArtifactInvalid, InputRejected.
    """
    exported, model = loaded(folder)
    need_apart(source, to)
    groups = row_groups(source)
    files = VectorFolder(to, exported.manifest, {"row_groups": len(groups), "rows_sha256": rows_digest(groups)})
    found_before = {group.number: files.written(group.number) for group in groups}
    written = {number: one for number, one in found_before.items() if one is not None and not one.lacks_pictures}
    known, picture_bytes = sum(one.rows for one in written.values()), 0
    refused = {number: one.refused for number, one in written.items()}
    shards: list[Shard] = [group for group in groups if group.number not in written]
    paths = {group.number: Path(group.path) for group in groups}
    encoded = 0
    with closing(engine(exported, model, cluster)(shards)) as found:
        for one in progress(found, len(shards), "encode rows (shards are row groups)"):
            if rejects.strict:
                _reject(rejects, paths[one.shard], one.refused)
            files.write(one.shard, one.tweet_ids, one.z_KD, one.refused)
            encoded, picture_bytes = encoded + len(one.tweet_ids), picture_bytes + one.picture_bytes
            refused[one.shard] = one.refused
    for number, path in paths.items():
        _reject(rejects, path, refused[number])
    files.finish(len(groups), known + encoded, len(rejects.rows))
    return EncodeReport(encoded, known, picture_bytes, rejects.counts())


async def count_vectors(sql: AsyncEngine, version: str) -> int:
    """How many tweets have one under a version."""
    mine = select(func.count()).select_from(TweetVector).where(TweetVector.version == version)
    async with sql.connect() as connection:
        return await connection.scalar(mine) or 0


def serving_version(settings: StoreSettings) -> str:
    """By SQL. Raises InputRejected where none does."""
    active = activated_last(with_sql(settings, known_versions))
    if active is None:
        raise InputRejected("no version serves: name one, as `python -m training models list` shows it")
    return active


def loaded(folder: Path) -> tuple[Artifact, OnnxModel]:
    """A version whose files and golden outputs are as they should be. Raises ArtifactInvalid."""
    exported = artifact.load(folder)
    model = OnnxModel(exported)
    model.verify_golden(exported)
    return exported, model


def _reject(rejects: Rejects, path: Path, refused: Sequence[Refused]) -> None:
    """Raises InputRejected at the first one where they are strict."""
    for row in sorted(refused, key=lambda row: row.row):
        rejects.add(Reject(path, row.row, row.field, row.reason, row.raw))
