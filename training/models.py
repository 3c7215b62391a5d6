"""python -m training models: which versions there are, and what is done with them."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from contract import artifact, versions
from contract.artifact import MANIFEST, Artifact
from contract.runtime import OnnxModel, verify_folder
from contract.transactions import changing
from contract.trial import Recommended
from contract.vectors import VectorStore
from contract.versions import (
    activate,
    has_user_vectors,
    hold_versions,
    kept_versions,
    known_versions,
    version_before,
)
from training.errors import InputRejected
from training.stores import Stores


@dataclass(frozen=True)
class KnownVersion:
    """A version as SQL, Redis and the folder of models have it; `created_at` is None of one that SQL does not know."""

    version: str
    created_at: datetime | None
    activated_at: datetime | None
    active: bool
    kept: bool
    on_disk: bool
    metrics: dict[str, Any]
    share: float | None = None
    """Of the users whom it serves on trial."""

    @property
    def status(self) -> str:
        """In a word or two."""
        if self.active:
            return "active"
        if self.created_at is None:
            return "not published"
        if self.share is not None:
            return f"trial, {100 * self.share:g} %"
        return "kept" if self.kept else "retired"


async def list_versions(stores: Stores, models_dir: Path) -> list[KnownVersion]:
    """All versions, the one activated last first; those that were only exported come last, the newest first."""
    vectors = VectorStore(stores.redis, stores.namespace)
    active = await vectors.active_version()
    known = await known_versions(stores.engine)
    kept = kept_versions(known)
    exported = exported_versions(models_dir)
    published = [
        KnownVersion(
            version=row.version,
            created_at=row.created_at,
            activated_at=row.activated_at,
            active=row.version == active,
            kept=row.version in kept,
            on_disk=row.version in exported,
            metrics=row.metrics,
            share=row.share,
        )
        for row in known
    ]
    others = sorted(exported - {row.version for row in known}, reverse=True)
    return published + [KnownVersion(version, None, None, False, False, True, {}) for version in others]


def exported_versions(models_dir: Path) -> set[str]:
    """Whose folders are complete."""
    return {path.parent.name for path in models_dir.glob(f"[!.]*/{MANIFEST}")}


async def find_version(version: str, stores: Stores, models_dir: Path) -> KnownVersion:
    """One of them. Raises InputRejected where there is no such version."""
    for known in await list_versions(stores, models_dir):
        if known.version == version:
            return known
    raise InputRejected(f"version {version} is not known: `python -m training models list` shows all")


def verify_version(folder: Path) -> float:
    """Load a version and compare its golden outputs in the ONNX Runtime that serves; returns the largest difference.

    Raises ArtifactInvalid, which says what is wrong.
    """
    _, worst = verify_folder(folder, "cpu")
    return worst


async def need_kept(version: str, stores: Stores, models_dir: Path, publish: str) -> None:
    """Raises InputRejected where a version is not known or has no vectors, which `publish` gives it."""
    if not (await find_version(version, stores, models_dir)).kept:
        raise InputRejected(f"version {version} has no vectors any more: run `{publish}`")


async def need_vectors(exported: Artifact, stores: Stores) -> None:
    """Raises InputRejected where Redis lost a version's user vectors."""
    if not await has_user_vectors(exported, VectorStore(stores.redis, stores.namespace)):
        version = exported.manifest.version
        raise InputRejected(f"Redis has no vectors of {version}: run `python -m training models rebuild-redis`")


async def activate_version(version: str, stores: Stores, models_dir: Path) -> None:
    """Let a version serve whose vectors are kept: every process goes over within a second.

    Raises InputRejected where it is not known or its vectors are gone, ArtifactInvalid where it does not verify.
    """
    await need_kept(version, stores, models_dir, f"python -m training publish {version}")
    await asyncio.to_thread(stores.models.share, version)
    exported = artifact.load(stores.models.need(version))
    OnnxModel(exported, device="cpu").verify_golden(exported)
    await need_vectors(exported, stores)
    vectors = VectorStore(stores.redis, stores.namespace)
    async with changing(stores.engine) as connection:
        if version not in kept_versions(await hold_versions(connection)):
            raise InputRejected(f"version {version} lost its vectors just now: `python -m training publish {version}`")
        await activate(connection, vectors, Recommended(stores.redis, stores.namespace), version)


async def roll_back(stores: Stores, models_dir: Path) -> str:
    """Let the version before the active one serve; returns its name. Raises InputRejected where there is none."""
    active = await VectorStore(stores.redis, stores.namespace).active_version()
    before = version_before(active, await known_versions(stores.engine))
    if before is None:
        raise InputRejected("there is no version before the active one")
    await activate_version(before, stores, models_dir)
    return before


async def delete_version(version: str, stores: Stores, models_dir: Path) -> None:
    """Remove a version: its vectors, what SQL knows of it, and its folder.

    Raises InputRejected where it is not known, VersionServes where it serves.
    """
    if not await asyncio.to_thread(stores.models.has, version):
        await find_version(version, stores, models_dir)
    vectors, recommended = VectorStore(stores.redis, stores.namespace), Recommended(stores.redis, stores.namespace)
    await versions.delete_version(stores.engine, vectors, recommended, stores.models, version)
