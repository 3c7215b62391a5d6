"""Deleted users, taken out of exported models: their ids and vectors; all else of a folder stays as it is.

A folder is written anew beside itself and put in its place, so that whoever loads it finds it whole.
"""

import json
import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from fsspec.implementations.local import LocalFileSystem
from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from contract import artifact
from contract.artifact import MANIFEST, Artifact, sha256
from contract.errors import ArtifactInvalid
from contract.filesystems import on_disk
from contract.ids import id_hash
from contract.model_folders import ModelFolders, alone
from contract.tables import DeletedUser

log = logging.getLogger(__name__)

USER_FILES = ("user_ids.json", "user_vectors.npy")
_DRAFT, _OLD = ".*.redacted", ".*.old"
_IDS = TypeAdapter(list[str])
_HERE = LocalFileSystem()


@dataclass(frozen=True)
class Redacted:
    """Versions that had deleted users, and those that may still have some."""

    versions: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


async def redact(models: ModelFolders, engine: AsyncEngine) -> list[str]:
    """Take deleted users out of all exported models, also at MODELS_URL; returns the versions that had some.

    A version that they cannot be taken out of is logged, and left. Raises StoreUnavailable; here it is done then.
    """
    return (await redact_all(models, engine)).versions


async def redact_all(models: ModelFolders, engine: AsyncEngine) -> Redacted:
    """The same, with those that failed."""
    deleted = await _deleted(engine)
    here = _redact_here(models.models_dir, deleted)
    there = _redact_there(models, deleted, here.failed)
    return Redacted(sorted({*here.versions, *there.versions}), sorted({*here.failed, *there.failed}))


def _redact_here(models_dir: Path, deleted: set[str], version: str = "[!.]*") -> Redacted:
    """One at a time of all who share the folder of models: the others wait."""
    if not (_left(models_dir) or _with_some(models_dir, deleted, version)):
        return Redacted()
    with alone(models_dir):  # nothing is awaited in it: a second task of this process would wait for ever
        _finish_killed(models_dir)
        return _redact_each(_with_some(models_dir, deleted, version), deleted)


def _redact_there(models: ModelFolders, deleted: set[str], failed_here: list[str]) -> Redacted:
    """The same at MODELS_URL: what is in MODELS_DIR is done already, and the rest is fetched for it."""
    redacted = Redacted()
    if models.shared is None or not deleted:
        return redacted
    models.tidy()
    for version in sorted(models.shared.versions() - {*failed_here}):
        try:
            data = models.shared.user_ids_bytes(version)
            if data is None or not _names(data, deleted):
                continue
            models.need(version)
            if version in _redact_here(models.models_dir, deleted, version).failed:
                redacted.failed.append(version)
                continue
            models.share_anew(version)
        except ArtifactInvalid as error:
            log.error("version %s at MODELS_URL may have deleted users, who cannot be taken out: %s", version, error)
            redacted.failed.append(version)
        else:
            redacted.versions.append(version)
    return redacted


def take_out(folder: Path, deleted: set[str]) -> None:
    """Take users with these hashes out of a folder.

    Raises ArtifactInvalid where it cannot be loaded, or where its golden vectors are theirs.
    """
    exported = artifact.load(folder)
    stays_U = np.array([id_hash(user_id) not in deleted for user_id in exported.user_ids], dtype=bool)
    _need_made_golden(exported, ~stays_U)
    draft, old = _draft(folder), _old(folder)
    _write(draft, exported, stays_U)
    artifact.load(draft)
    for path in (*draft.iterdir(), draft):
        on_disk(_HERE, str(path))
    folder.rename(old)
    draft.rename(folder)
    on_disk(_HERE, str(folder.parent))
    shutil.rmtree(old)


def _redact_each(folders: list[Path], deleted: set[str]) -> Redacted:
    redacted = Redacted()
    for folder in folders:
        try:
            take_out(folder, deleted)
        except (ArtifactInvalid, ValueError, OSError) as error:
            advice = f"mend that, or run `python -m training models delete {folder.name}`"
            log.error("%s may have deleted users, who cannot be taken out (%s): %s", folder, error, advice)
            redacted.failed.append(folder.name)
            _finish_killed(folder.parent)
        else:
            redacted.versions.append(folder.name)
    return redacted


def _need_made_golden(exported: Artifact, leaves_U: npt.NDArray[np.bool_]) -> None:
    """Versions of old had vectors of real users as golden inputs. Raises ArtifactInvalid where one of these leaves."""
    golden_GD = np.vstack([exported.golden[name] for name in ("user_vector", "followee_vectors")])
    leaving_LD = exported.user_vectors_UD[leaves_U]
    if (golden_GD[:, None] == leaving_LD).all(axis=2).any():
        version = exported.manifest.version
        raise ArtifactInvalid(
            f"{exported.folder}/golden.npz has a deleted user's vector: run `python -m training retrain`, and "
            f"`python -m training models delete {version}` then"
        )


def _write(draft: Path, exported: Artifact, stays_U: npt.NDArray[np.bool_]) -> None:
    shutil.copytree(exported.folder, draft, ignore=shutil.ignore_patterns(*USER_FILES, MANIFEST))
    kept = [user_id for user_id, stays in zip(exported.user_ids, stays_U, strict=True) if stays]
    (draft / "user_ids.json").write_text(json.dumps(kept), "utf-8")
    np.save(draft / "user_vectors.npy", exported.user_vectors_UD[stays_U], allow_pickle=False)
    files = exported.manifest.files | {name: sha256(draft / name) for name in USER_FILES}
    manifest = exported.manifest.model_copy(update={"files": files})
    (draft / MANIFEST).write_text(manifest.model_dump_json(indent=2), "utf-8")


def _left(models_dir: Path) -> bool:
    """Whether a redaction is at work, or was killed."""
    return any(next(models_dir.glob(pattern), None) for pattern in (_OLD, _DRAFT))


def _finish_killed(models_dir: Path) -> None:
    """Put a folder in its place that had none when it was killed; remove what else is left, of deleted versions too."""
    for old in models_dir.glob(_OLD):
        folder = old.with_name(old.name.removeprefix(".").removesuffix(".old"))
        if not folder.exists() and _draft(folder).exists():
            _draft(folder).rename(folder)
        shutil.rmtree(old)
    for draft in models_dir.glob(_DRAFT):
        shutil.rmtree(draft)


async def _deleted(engine: AsyncEngine) -> set[str]:
    async with engine.connect() as connection:
        return set(await connection.scalars(select(DeletedUser.user_sha256)))


def _with_some(models_dir: Path, deleted: set[str], version: str) -> list[Path]:
    """Folders that name some of them, or may. `version`: one, or a pattern."""
    found = sorted(models_dir.glob(f"{version}/user_ids.json")) if deleted else []
    return [path.parent for path in found if _may_name(path, deleted)]


def _may_name(path: Path, deleted: set[str]) -> bool:
    """Also where it cannot be read: to load the folder says what is wrong."""
    try:
        return _names(path.read_bytes(), deleted)
    except OSError:
        return True


def _names(user_ids_json: bytes, deleted: set[str]) -> bool:
    try:
        return not deleted.isdisjoint(map(id_hash, _IDS.validate_json(user_ids_json)))
    except ValueError:
        return True


def _draft(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.redacted")


def _old(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")
