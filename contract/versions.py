"""Model versions: which there are, which serves, and which can serve at once."""

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contract.artifact import Artifact
from contract.errors import VersionGone, VersionServes
from contract.marks import Mark
from contract.tables import ModelVersion, Retweet, TweetVector
from contract.transactions import changing
from contract.trial import Recommended, Trial
from contract.vectors import VectorStore

_PROBED = 10
KEPT_VERSIONS = 2
"""The one that serves and the one before it keep their vectors, and so does the one on trial."""


async def hold_versions(connection: AsyncConnection) -> Sequence[Any]:
    """All rows of model_versions as `latest_first` has them, held: nobody activates or forgets one meanwhile."""
    await connection.execute(select(ModelVersion.version).order_by(ModelVersion.version).with_for_update())
    return await latest_first(connection)


async def latest_first(connection: AsyncConnection) -> Sequence[Any]:
    """All rows of model_versions, the one activated last first; those that never were come last."""
    order = ModelVersion.activated_at.desc().nulls_last(), ModelVersion.created_at.desc()
    return (await connection.execute(select(ModelVersion).order_by(*order))).all()


def kept_versions(known: Sequence[Any]) -> set[str]:
    """Those that still have their vectors, of all versions as `latest_first` has them."""
    of_late = {row.version for row in known[:KEPT_VERSIONS] if row.activated_at is not None}
    return of_late | {row.version for row in known if row.share is not None}


def trial_of(known: Sequence[Any]) -> Trial | None:
    """The trial that runs, of all versions as `latest_first` has them."""
    return next((Trial(row.version, row.share) for row in known if row.share is not None), None)


def activated_last(known: Sequence[Any]) -> str | None:
    """The one that serves, by SQL, of all versions as `latest_first` has them; None where none ever did."""
    return known[0].version if known and known[0].activated_at is not None else None


def version_before(active: str | None, known: Sequence[Any]) -> str | None:
    """The one that was activated last but for the active one, of all versions as `latest_first` has them."""
    return next((row.version for row in known if row.activated_at is not None and row.version != active), None)


async def delete_version(engine: AsyncEngine, vectors: VectorStore, models_dir: Path, version: str) -> None:
    """Remove a version that does not serve: its vectors, what SQL knows of it, and its folder, that last.

    Killed in between, the same call goes on. Raises VersionServes.
    """
    async with changing(engine) as connection:
        known = await hold_versions(connection)
        if version in (activated_last(known), await vectors.active_version()):
            raise VersionServes(f"version {version} serves: activate another one first")
        if (trial := trial_of(known)) is not None and trial.version == version:
            raise VersionServes(f"version {version} is on trial: end that first")
        await connection.execute(delete(TweetVector).where(TweetVector.version == version))
        await connection.execute(delete(ModelVersion).where(ModelVersion.version == version))
        await vectors.delete_version(version)
    if (models_dir / version).exists():
        await asyncio.to_thread(shutil.rmtree, models_dir / version)


async def has_user_vectors(exported: Artifact, vectors: VectorStore) -> bool:
    """Whether Redis has a version's user vectors: some are looked at."""
    some = exported.user_ids[:_PROBED]
    found, _ = await vectors.users(exported.manifest.version, some, exported.manifest.dim)
    return found == some


async def activate(connection: AsyncConnection, vectors: VectorStore, version: str, mark: Mark | None = None) -> None:
    """Record it in SQL and move the pointer; within a transaction that holds the versions.

    Raises VersionGone where SQL has no such version, StoreUnavailable where Redis lost what it had.
    """
    await _set(connection, version, activated_at=datetime.now(UTC), share=None)
    await vectors.activate(version, mark)
    trial = await vectors.trial()
    if trial is not None and trial.version == version:
        await vectors.set_trial(None)


async def start_trial(
    connection: AsyncConnection, vectors: VectorStore, recommended: Recommended, trial: Trial, mark: Mark | None = None
) -> None:
    """Let a version serve a share of the users; another trial ends. Within a transaction that holds the versions.

    Raises VersionGone where SQL has no such version, VersionServes where it serves everybody, StoreUnavailable where
    Redis lost what was marked.
    """
    known = await latest_first(connection)
    if trial.version == activated_last(known):
        raise VersionServes(f"version {trial.version} serves everybody: put another one on trial")
    before = trial_of(known)
    await connection.execute(update(ModelVersion).values(share=None))
    if before is None or before.version != trial.version:
        await _set(connection, trial.version, on_trial_since=datetime.now(UTC))
        await recommended.begin()
    await _set(connection, trial.version, share=trial.share)
    await vectors.set_trial(trial, mark)


@dataclass(frozen=True)
class Arm:
    """What a version did in the trial: its answers by user, and retweets of what it had recommended, by user."""

    version: str
    answers: dict[str, int]
    retweets: dict[str, int]

    def told(self) -> dict[str, int]:
        """In numbers."""
        answers, retweets = sum(self.answers.values()), sum(self.retweets.values())
        return {"users": len(self.answers), "answers": answers, "retweets": retweets}


async def arm_of(connection: AsyncConnection, recommended: Recommended, version: str, since: datetime) -> Arm:
    """Of a trial that began then."""
    counted = select(Retweet.user_id, func.count()).where(
        Retweet.recommended_by == version, Retweet.created_at >= since
    )
    rows = await connection.execute(counted.group_by(Retweet.user_id))
    return Arm(version, await recommended.answers(version), {row[0]: row[1] for row in rows})


async def end_trial(connection: AsyncConnection, vectors: VectorStore) -> None:
    """Let the active version serve everybody again."""
    await connection.execute(update(ModelVersion).values(share=None))
    await vectors.set_trial(None)


async def _set(connection: AsyncConnection, version: str, **values: Any) -> None:
    changed = update(ModelVersion).where(ModelVersion.version == version).values(**values)
    if not (await connection.execute(changed)).rowcount:
        raise VersionGone(f"version {version} was deleted meanwhile: retrain, or publish its folder if that is there")
