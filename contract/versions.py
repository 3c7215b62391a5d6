"""Model versions: which there are, which serves, and which can serve at once."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contract.artifact import Artifact
from contract.errors import StoreUnavailable, VersionGone, VersionServes
from contract.graph import to_ms
from contract.marks import Mark
from contract.model_folders import ModelFolders
from contract.tables import ModelVersion, Retweet, TweetVector
from contract.transactions import changing
from contract.trial import Recommended, Trial
from contract.vectors import VectorStore

_PROBED = 100
KEPT_VERSIONS = 2
"""The one that serves and the one before it keep their vectors, and so does the one on trial."""


async def hold_versions(connection: AsyncConnection) -> Sequence[Any]:
    """All rows of model_versions as `latest_first` has them, held: nobody activates or forgets one meanwhile."""
    await connection.execute(select(ModelVersion.version).order_by(ModelVersion.version).with_for_update())
    return await latest_first(connection)


async def known_versions(engine: AsyncEngine) -> Sequence[Any]:
    """All rows of model_versions as `latest_first` has them, held by nobody."""
    async with engine.connect() as connection:
        return await latest_first(connection)


async def latest_first(connection: AsyncConnection) -> Sequence[Any]:
    """All rows of model_versions, the one activated last first; those that never were come last."""
    order = ModelVersion.activated_at.desc().nulls_last(), ModelVersion.created_at.desc()
    return (await connection.execute(select(ModelVersion).order_by(*order))).all()


def kept_versions(known: Sequence[Any]) -> set[str]:
    """Those that still have their vectors, of all versions as `latest_first` has them."""
    of_late = {row.version for row in known[:KEPT_VERSIONS] if row.activated_at is not None}
    return of_late | {row.version for row in known if row.share is not None}


def row_on_trial(known: Sequence[Any]) -> Any | None:
    """The row of the version on trial, of all versions as `latest_first` has them."""
    return next((row for row in known if row.share is not None), None)


def trial_of(known: Sequence[Any]) -> Trial | None:
    """The trial that runs, of all versions as `latest_first` has them."""
    row = row_on_trial(known)
    if row is None:
        return None
    return Trial(row.version, row.share, 0 if row.on_trial_since is None else to_ms(row.on_trial_since))


def activated_last(known: Sequence[Any]) -> str | None:
    """The one that serves, by SQL, of all versions as `latest_first` has them; None where none ever did."""
    return known[0].version if known and known[0].activated_at is not None else None


def version_before(active: str | None, known: Sequence[Any]) -> str | None:
    """The one that was activated last but for the active one, of all versions as `latest_first` has them."""
    return next((row.version for row in known if row.activated_at is not None and row.version != active), None)


async def delete_version(
    engine: AsyncEngine, vectors: VectorStore, recommended: Recommended, models: ModelFolders, version: str
) -> None:
    """Remove a version that does not serve: its vectors, what SQL knows of it, and its folders, these last.

    Killed in between, the same call goes on. Raises VersionServes.
    """
    async with changing(engine) as connection:
        known = await hold_versions(connection)
        if version in (activated_last(known), await vectors.active_version()):
            raise VersionServes(f"version {version} serves: activate another one first")
        if version in {trial.version for trial in (trial_of(known), await vectors.trial()) if trial is not None}:
            raise VersionServes(f"version {version} is on trial: end that first")
        if await vectors.upcoming() == version:  # left there by a publish that was killed
            await vectors.announce(None)
        await connection.execute(delete(TweetVector).where(TweetVector.version == version))
        await connection.execute(delete(ModelVersion).where(ModelVersion.version == version))
        await vectors.delete_version(version)
        await recommended.forget([version])
    await asyncio.to_thread(models.delete, version)


async def version_names(connection: AsyncConnection) -> list[str]:
    """Of all that SQL knows."""
    return list(await connection.scalars(select(ModelVersion.version)))


async def has_user_vectors(exported: Artifact, vectors: VectorStore) -> bool:
    """Whether Redis has a version's user vectors: some are looked at, of whom others may have been deleted."""
    found, _ = await vectors.users(exported.manifest.version, exported.user_ids[:_PROBED], exported.manifest.dim)
    return bool(found)


async def activate(
    connection: AsyncConnection,
    vectors: VectorStore,
    recommended: Recommended,
    version: str,
    mark: Mark | None = None,
) -> None:
    """Record it in SQL and move the pointer; within a transaction that holds the versions.

    Its own trial ends; another one goes on, and is counted anew beside this version. Where Redis had lost its contents,
    and only this version was written, the trial ends, too.
    Raises VersionGone where SQL has no such version, StoreUnavailable where Redis lost what it had.
    """
    before = await vectors.active_version()
    if before is None:
        await connection.execute(update(ModelVersion).values(share=None))
    await _set(connection, version, activated_at=datetime.now(UTC), share=None)
    await vectors.activate(version, mark)
    if before != version:
        await vectors.set_trial(await _count_anew(connection, recommended))


async def start_trial(
    connection: AsyncConnection,
    vectors: VectorStore,
    recommended: Recommended,
    version: str,
    share: float,
    mark: Mark | None = None,
) -> None:
    """Let a version serve a share of the users; another trial ends. Within a transaction that holds the versions.

    Raises VersionGone where it is not known or, without a mark, has no vectors; VersionServes where it serves
    everybody; StoreUnavailable where Redis lost its contents.
    """
    known = await latest_first(connection)
    if version == activated_last(known):
        raise VersionServes(f"version {version} serves everybody: put another one on trial")
    if mark is None and version not in kept_versions(known):
        raise VersionGone(f"version {version} has no vectors any more: publish it on trial")
    if await vectors.active_version() is None:
        raise StoreUnavailable("Redis lost its contents: run `python -m training models rebuild-redis`")
    before = trial_of(known)
    await connection.execute(update(ModelVersion).values(share=None))
    await _set(connection, version, share=share)
    trial = Trial(version, share, before.since_ms if before is not None and before.version == version else 0)
    await vectors.set_trial(trial if trial.since_ms else await _count_anew(connection, recommended), mark)


async def _count_anew(connection: AsyncConnection, recommended: Recommended) -> Trial | None:
    """The trial that runs, by SQL, counted from now on."""
    known, now = await latest_first(connection), datetime.now(UTC)
    trial = trial_of(known)
    if trial is None:
        return None
    await _set(connection, trial.version, on_trial_since=now)
    await recommended.forget(row.version for row in known)
    return replace(trial, since_ms=to_ms(now))


@dataclass(frozen=True)
class Arm:
    """What a version did in the trial: its answers by user, and retweets of what it had recommended, by user."""

    version: str
    answers: dict[str, int]
    retweets: dict[str, int]

    def by_user(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Answers and retweets of those whom it answered, float64 [U] each."""
        users = sorted(self.answers)
        answers_U, retweets_U = ([of.get(user, 0) for user in users] for of in (self.answers, self.retweets))
        return np.array(answers_U, dtype=np.float64), np.array(retweets_U, dtype=np.float64)


async def arm_of(connection: AsyncConnection, recommended: Recommended, version: str, since: datetime) -> Arm:
    """Of a trial that began then."""
    counted = select(Retweet.user_id, func.count()).where(
        Retweet.recommended_by == version, Retweet.created_at >= since
    )
    rows = await connection.execute(counted.group_by(Retweet.user_id))
    return Arm(version, await recommended.answers(version), {row[0]: row[1] for row in rows})


async def retweets_of(connection: AsyncConnection, version: str, since: datetime) -> int:
    """How many of what a version had recommended were made since then."""
    mine = Retweet.recommended_by == version, Retweet.created_at >= since
    return await connection.scalar(select(func.count()).select_from(Retweet).where(*mine)) or 0


async def point_anew(
    connection: AsyncConnection, vectors: VectorStore, recommended: Recommended, written: set[str], mark: Mark
) -> str | None:
    """Set both pointers to what SQL says, of versions that are written to Redis; returns the one that serves.

    A trial whose pointer was lost is counted anew, since its answers were, too; that of a version not written ends.
    Within a transaction that holds the versions. None, and nothing is set, where the one that serves is not written.
    Raises StoreUnavailable where Redis lost what was marked.
    """
    known = await latest_first(connection)
    active, trial = activated_last(known), trial_of(known)
    if active is None or active not in written:
        return None
    if trial is not None and trial.version not in written:
        await connection.execute(update(ModelVersion).values(share=None))
    if trial is None or trial != await vectors.trial() or trial.version not in written:
        await vectors.set_trial(await _count_anew(connection, recommended), mark)
    await vectors.activate(active, mark)
    return active


async def end_trial(connection: AsyncConnection, vectors: VectorStore) -> None:
    """Let the active version serve everybody again."""
    await connection.execute(update(ModelVersion).values(share=None))
    await vectors.set_trial(None)


async def _set(connection: AsyncConnection, version: str, **values: Any) -> None:
    changed = update(ModelVersion).where(ModelVersion.version == version).values(**values)
    if not (await connection.execute(changed)).rowcount:
        raise VersionGone(f"version {version} was deleted meanwhile: retrain, or publish its folder if that is there")
