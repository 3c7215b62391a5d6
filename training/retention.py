"""What is deleted from disk after a retrain, and when: the one place that says so.

Vectors      of all versions but the active one and the one before it (contract/versions.py), when another is published
Folders      of published versions but the newest FOLDERS; what SQL knows of them stays
             of versions that were never published, DAYS after they were exported
Runs         that were not finished, DAYS after they were last gone on with
"""

import logging
import shutil
import time
from pathlib import Path

from contract.artifact import MANIFEST
from contract.versions import latest_first
from training.stores import Stores

log = logging.getLogger(__name__)

FOLDERS = 5
DAYS = 7
_SECONDS_A_DAY = 86_400


async def forget_old(models_dir: Path, runs: Path, stores: Stores) -> list[str]:
    """Delete what the policy says; returns the names. Within the lock of retrains, so that no run is at work."""
    async with stores.engine.connect() as connection:
        published = [row.version for row in await latest_first(connection)]
    return forget_folders(models_dir, published) + forget_runs(runs)


def forget_folders(models_dir: Path, published: list[str]) -> list[str]:
    """`published` versions come in the order of `latest_first`."""
    old = [models_dir / version for version in published[FOLDERS:]]
    never = [path.parent for path in models_dir.glob(f"*/{MANIFEST}") if path.parent.name not in published]
    return _delete([*old, *(folder for folder in never if _untouched(folder / MANIFEST))])


def forget_runs(runs: Path) -> list[str]:
    """A run's folder is touched with every checkpoint."""
    return _delete([folder for folder in runs.iterdir() if folder.is_dir() and _untouched(folder)])


def _untouched(path: Path) -> bool:
    return path.stat().st_mtime < time.time() - DAYS * _SECONDS_A_DAY


def _delete(folders: list[Path]) -> list[str]:
    there = [folder for folder in folders if folder.exists()]
    for folder in there:
        shutil.rmtree(folder)
        log.info("deleted %s", folder)
    return [folder.name for folder in there]
