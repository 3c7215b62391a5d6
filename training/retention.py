"""What is deleted from disk after a retrain, and when: the one place that says so.

Vectors      of all versions that are not kept (contract/versions.py), when another one is published
Folders      of published versions but the newest FOLDERS and the kept ones, at MODELS_URL, too; what SQL knows of them
             stays
Runs         that were not finished, DAYS after they were last gone on with, with what they exported
Features     of pictures that no tweet shows, DAYS after they were computed: of deleted tweets, and of other data
"""

import logging
import re
import shutil
import time
from pathlib import Path

from sqlalchemy import select

from contract.environment import StoreSettings
from contract.ids import ID_PATTERN
from contract.shared_models import SharedModels
from contract.tables import Tweet
from contract.versions import kept_versions, known_versions
from training.stores import Stores

log = logging.getLogger(__name__)

VERSION = "version"
"""The file in a run's folder that has its version's name."""
FOLDERS = 5
DAYS = 7
_SECONDS_A_DAY = 86_400


async def forget_old(settings: StoreSettings, stores: Stores) -> list[str]:
    """Delete what the policy says; returns the names. Within the lock of retrains, so that no run is at work."""
    known = await known_versions(stores.engine)
    published = [row.version for row in known]
    async with stores.engine.connect() as connection:
        shown = set(await connection.scalars(select(Tweet.image_key).distinct()))
    return [
        *forget_shared(stores.models.shared, published, kept_versions(known)),
        *forget_folders(settings.models_dir, published, kept_versions(known)),
        *forget_runs(settings.var_dir / "runs", settings.models_dir, published),
        *forget_features(settings.var_dir / "features", shown),
    ]


def forget_features(cache: Path, shown: set[str]) -> list[str]:
    """Of pictures other than those that tweets show."""
    return _delete([path for path in cache.glob("*/*.npy") if path.stem not in shown and _untouched(path)])


def forget_folders(models_dir: Path, published: list[str], kept: set[str]) -> list[str]:
    """`published` versions come in the order of `latest_first`; of them the `kept` ones' folders stay."""
    return _delete([models_dir / version for version in published[FOLDERS:] if version not in kept])


def forget_shared(shared: SharedModels | None, published: list[str], kept: set[str]) -> list[str]:
    """The same where all machines have them; services follow (`ModelFolders.renew`)."""
    if shared is None:
        return []
    old = sorted(shared.versions() & set(published[FOLDERS:]) - kept)
    for version in old:
        shared.delete(version)
        log.info("deleted %s at MODELS_URL", version)
    return old


def forget_runs(runs: Path, models_dir: Path, published: list[str]) -> list[str]:
    """With what they exported, unless that was published; a run's folder is touched with every checkpoint."""
    old = [folder for folder in runs.iterdir() if folder.is_dir() and _untouched(folder)]
    named = [(run / VERSION).read_text("utf-8") for run in old if (run / VERSION).exists()]
    versions = [version for version in named if re.fullmatch(ID_PATTERN, version)]  # a crash can leave the file empty
    exported = [models_dir / version for version in versions if version not in published]
    drafts = [models_dir / f".{version}.draft" for version in versions]
    return _delete([*exported, *drafts, *old])


def _untouched(path: Path) -> bool:
    return path.stat().st_mtime < time.time() - DAYS * _SECONDS_A_DAY


def _delete(paths: list[Path]) -> list[str]:
    there = [path for path in paths if path.exists()]
    for path in there:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        log.info("deleted %s", path)
    return [path.name for path in there]
