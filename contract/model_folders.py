"""The folders of exported versions on this machine, and how they come from other machines and get there."""

import fcntl
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from contract.artifact import MANIFEST, Manifest, read_manifest
from contract.environment import StoreSettings
from contract.errors import ArtifactInvalid
from contract.shared_models import SharedModels

LOCK = ".redaction.lock"
"""In a folder of versions: who puts one in the place of another or of none, or needs that nobody does, holds it."""
_DRAFT, _OLD = ".fetch", ".fetched-before"
_DAMAGED_SECONDS = 1_800.0
"""How long what is damaged there, and was fetched in vain, is not fetched again by `renew`."""


class ModelFolders:
    """Versions are in `models_dir`; of those that are not, what is `shared` by all machines is fetched to `fetched`.

    Without `shared`, `models_dir` is all there is. Calls block. Raises what SharedModels does.
    """

    def __init__(self, models_dir: Path, shared: SharedModels | None = None, fetched: Path | None = None) -> None:
        self.models_dir, self.shared = models_dir, shared
        self._fetched = fetched or models_dir
        self._damaged: dict[str, float] = {}
        """Versions, by when to try again."""

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
            with alone(self._fetched):
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

    def share_whole(self, version: str) -> None:
        """The same of every file, also where one with its name is there: that may be damaged."""
        if self.shared is not None:
            self._upload(self.shared, self.need(version), whole=True)

    def tidy(self) -> None:
        """Remove what processes that were killed left here and there of versions. Raises StoreUnavailable."""
        if self.shared is not None:
            with alone(self._fetched):
                self._remove_left()
                for version in self.shared.versions():
                    self.shared.tidy(version)

    def renew(self, serving: Collection[str]) -> None:
        """Of what was fetched here, what is another one there is fetched anew, and what is gone there is removed.

        What serves here stays. So a user who was deleted is on no machine for longer than it takes to come here.
        Raises ArtifactInvalid once it did all that can be done, where one is damaged there.
        """
        if self.shared is None or not self._fetched.exists():
            return
        damaged: list[ArtifactInvalid] = []
        with alone(self._fetched):
            self._remove_left()
            for folder in self._fetched.glob("[!.]*"):
                try:
                    self._renew(folder, self.shared.manifest_bytes(folder.name), serving)
                except ArtifactInvalid as error:
                    self._damaged[folder.name] = time.monotonic() + _DAMAGED_SECONDS
                    damaged.append(error)
        if damaged:
            raise damaged[0]

    def delete(self, version: str) -> None:
        """Everywhere; here last. Other machines follow (`renew`)."""
        if self.shared is not None:
            self.shared.delete(version)
        for folder in {self.models_dir / version, self._fetched / version}:
            if folder.exists():
                shutil.rmtree(folder)

    def _renew(self, folder: Path, there: bytes | None, serving: Collection[str]) -> None:
        if there is None and folder.name not in serving:
            shutil.rmtree(folder.rename(self._beside(folder.name, _OLD)))
        elif there not in (None, _read(folder / MANIFEST)) and time.monotonic() >= self._damaged.get(folder.name, 0.0):
            draft, old = self._download(folder.name), self._beside(folder.name, _OLD)
            folder.rename(old)
            draft.rename(folder)
            shutil.rmtree(old)

    def _upload(self, shared: SharedModels, folder: Path, whole: bool = False) -> None:
        with alone(folder.parent):
            shared.upload(folder, whole)

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
def alone(folder: Path) -> Iterator[None]:
    """Wait for the lock; the kernel releases it however the process ends. A file, since NFS locks no folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ArtifactInvalid(f"{path} is missing: no complete model is there") from error
