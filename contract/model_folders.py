"""The folders of exported versions on this machine, and how they come from other machines and get there."""

import fcntl
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from contract.artifact import MANIFEST, Manifest, read_manifest
from contract.environment import StoreSettings
from contract.errors import ArtifactInvalid
from contract.shared_models import SharedModels

LOCK = ".redaction.lock"
"""In MODELS_DIR: who puts another folder in the place of one, or needs that nobody does, holds it."""
_FETCHING = ".fetch.lock"
_DRAFT, _OLD = ".fetch", ".fetched-before"


class ModelFolders:
    """Versions are in `models_dir`; of those that are not, what is `shared` by all machines is fetched to `fetched`.

    Without `shared`, `models_dir` is all there is. Calls block. Raises what SharedModels does.
    """

    def __init__(self, models_dir: Path, shared: SharedModels | None = None, fetched: Path | None = None) -> None:
        self.models_dir, self.shared = models_dir, shared
        self._fetched = fetched or models_dir

    def path(self, version: str) -> Path:
        """Where a version is on this machine, or would be."""
        folder = self.models_dir / version
        return folder if self.shared is None or folder.exists() else self._fetched / version

    def has(self, version: str) -> bool:
        """Whether it is somewhere."""
        return self.path(version).exists() or (
            self.shared is not None and self.shared.manifest_bytes(version) is not None
        )

    def manifest(self, version: str) -> Manifest | None:
        """None where it is nowhere; nothing is fetched for it. Raises ArtifactInvalid."""
        if self.path(version).exists():
            return read_manifest(self.path(version))
        return None if self.shared is None else self.shared.manifest(version)

    def need(self, version: str) -> Path:
        """Its folder, fetched where it is missing: whole or not at all. Raises ArtifactInvalid where it is nowhere."""
        folder = self.path(version)
        if self.shared is not None and not folder.exists():
            with alone(self._fetched, _FETCHING):
                self._remove_left()
                if not folder.exists():  # another process may have been faster
                    self._download(version).rename(folder)
        return folder

    def share(self, version: str) -> None:
        """Have it where all machines find it, if it is not there. Raises ArtifactInvalid where it is nowhere."""
        if self.shared is not None and self.shared.manifest_bytes(version) is None:
            self._upload(self.shared, self.need(version))

    def share_anew(self, version: str) -> None:
        """Have it there as it is here, without users who were taken out of it just now."""
        if self.shared is not None and self.shared.manifest_bytes(version) != _read(self.need(version) / MANIFEST):
            self._upload(self.shared, self.need(version))

    def renew(self, serving: Collection[str]) -> None:
        """Of what was fetched here, what is another one there is fetched anew, and what is gone there is removed.

        What serves here stays. So a user who was deleted is on no machine for longer than it takes to come here.
        """
        if self.shared is None or not self._fetched.exists():
            return
        with alone(self._fetched, _FETCHING):
            self._remove_left()
            for folder in self._fetched.glob("[!.]*"):
                there = self.shared.manifest_bytes(folder.name)
                if there is None and folder.name not in serving:
                    shutil.rmtree(folder.rename(self._beside(folder.name, _OLD)))
                elif there not in (None, _read(folder / MANIFEST)):
                    draft, old = self._download(folder.name), self._beside(folder.name, _OLD)
                    folder.rename(old)
                    draft.rename(folder)
                    shutil.rmtree(old)

    def delete(self, version: str) -> None:
        """Everywhere; here last. Other machines follow (`renew`)."""
        if self.shared is not None:
            self.shared.delete(version)
        for folder in {self.models_dir / version, self._fetched / version}:
            if folder.exists():
                shutil.rmtree(folder)

    def _upload(self, shared: SharedModels, folder: Path) -> None:
        with alone(folder.parent):
            shared.upload(folder)

    def _download(self, version: str) -> Path:
        """To a draft, of which nothing is left where it fails."""
        assert self.shared is not None  # noqa: S101 - who calls it looked
        draft = self._beside(version, _DRAFT)
        try:
            self.shared.download(version, draft)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        return draft

    def _beside(self, version: str, ending: str) -> Path:
        return self._fetched / f".{version}{ending}"

    def _remove_left(self) -> None:
        """Of processes that were killed: who holds the lock is alone. A folder that was put aside is put back."""
        for old in self._fetched.glob(f".*{_OLD}"):
            folder = old.with_name(old.name.removeprefix(".").removesuffix(_OLD))
            shutil.rmtree(old) if folder.exists() else old.rename(folder)
        for draft in self._fetched.glob(f".*{_DRAFT}"):
            shutil.rmtree(draft)


def open_models(settings: StoreSettings, fetched: Path | None = None) -> ModelFolders:
    """As the environment says; fetched ones go to MODELS_DIR, or elsewhere. Raises StoreUnavailable."""
    shared = None if settings.models_url is None else SharedModels(settings.models_url)
    return ModelFolders(settings.models_dir, shared, fetched)


@contextmanager
def alone(folder: Path, lock: str = LOCK) -> Iterator[None]:
    """Wait for the lock; the kernel releases it however the process ends. A file, since NFS locks no folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / lock).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ArtifactInvalid(f"{path} is missing: no complete model is there") from error
