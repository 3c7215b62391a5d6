"""Deleted users, taken out of exported models: their ids and vectors; all else of a folder stays as it is.

A folder is written anew beside itself and put in its place, so that whoever loads it finds it whole.
"""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from contract import artifact
from contract.artifact import MANIFEST, sha256
from contract.errors import ArtifactInvalid
from contract.ids import id_hash
from contract.tables import DeletedUser

log = logging.getLogger(__name__)

USER_FILES = ("user_ids.json", "user_vectors.npy")


async def redact(models_dir: Path, engine: AsyncEngine) -> list[str]:
    """Take deleted users out of all exported models; returns the versions that had some, a folder each.

    Within the lock of retrains, so that no other is at it. A folder that cannot be loaded is said, and left.
    """
    _finish_killed(models_dir)
    deleted = await _deleted(engine)
    redacted = []
    for folder in _with_some(models_dir, deleted):
        try:
            take_out(folder, deleted)
        except ArtifactInvalid as error:
            log.error("%s names deleted users, and cannot be loaded: delete it (%s)", folder, error)
        else:
            redacted.append(folder.name)
    return redacted


async def any_to_redact(models_dir: Path, engine: AsyncEngine) -> bool:
    """Whether an exported model names a deleted user."""
    return bool(_with_some(models_dir, await _deleted(engine)))


def take_out(folder: Path, deleted: set[str]) -> None:
    """Take users with these hashes out of a folder. Raises ArtifactInvalid where it cannot be loaded."""
    exported = artifact.load(folder)
    stays_U = np.array([id_hash(user_id) not in deleted for user_id in exported.user_ids], dtype=bool)
    draft, old = _draft(folder), _old(folder)
    for left in (draft, old):
        shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(folder, draft, ignore=shutil.ignore_patterns(*USER_FILES, MANIFEST))
    kept = [user_id for user_id, stays in zip(exported.user_ids, stays_U, strict=True) if stays]
    (draft / "user_ids.json").write_text(json.dumps(kept), "utf-8")
    np.save(draft / "user_vectors.npy", exported.user_vectors_UD[stays_U], allow_pickle=False)
    files = exported.manifest.files | {name: sha256(draft / name) for name in USER_FILES}
    manifest = exported.manifest.model_copy(update={"files": files})
    (draft / MANIFEST).write_text(manifest.model_dump_json(indent=2), "utf-8")
    artifact.load(draft)
    folder.rename(old)
    draft.rename(folder)
    shutil.rmtree(old)


def _finish_killed(models_dir: Path) -> None:
    """Put a folder in its place that was killed while it had none."""
    for old in models_dir.glob(".*.old"):
        folder = old.with_name(old.name.removeprefix(".").removesuffix(".old"))
        if not folder.exists():
            _draft(folder).rename(folder)
        shutil.rmtree(old)


async def _deleted(engine: AsyncEngine) -> set[str]:
    async with engine.connect() as connection:
        return set(await connection.scalars(select(DeletedUser.user_sha256)))


def _with_some(models_dir: Path, deleted: set[str]) -> list[Path]:
    """Folders that name some of them."""
    found = sorted(models_dir.glob("[!.]*/user_ids.json")) if deleted else []
    return [path.parent for path in found if not deleted.isdisjoint(map(id_hash, json.loads(path.read_text("utf-8"))))]


def _draft(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.redacted")


def _old(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")
