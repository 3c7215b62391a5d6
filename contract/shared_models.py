"""Published versions where every machine finds them (MODELS_URL), for machines that do not share MODELS_DIR.

    VERSION/NAME.SHA256      a file of the version, named by its content
    VERSION/manifest.json    which files these are; written last, removed first

A version that is written anew, as when a deleted user was taken out of it, has both files until its manifest names the
new ones, and these alone then: who reads it finds the one or the other, whole.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem
from pydantic import ValidationError

from contract import artifact
from contract.artifact import MANIFEST, Manifest
from contract.errors import ArtifactInvalid, StoreUnavailable
from contract.filesystems import exists, is_s3, on_disk, open_url, os_errors, put_whole, write_whole
from contract.ids import ID_PATTERN
from contract.passwords import without_passwords

_USER_IDS = "user_ids.json"
_TRIES = 3
_HERE = LocalFileSystem()


class SharedModels:
    """Calls block, and raise StoreUnavailable where the store does not answer or takes nothing."""

    def __init__(self, url: str) -> None:
        """Raises StoreUnavailable where fsspec cannot use it."""
        self._fs, self._root = open_url(url, "MODELS_URL")
        self._shown = without_passwords(url)

    def versions(self) -> set[str]:
        """Those of which there is something."""
        with self._answering():
            try:
                found = self._fs.ls(self._root, detail=False)
            except FileNotFoundError:
                return set()
        return {Path(path).name for path in found if re.fullmatch(ID_PATTERN, Path(path).name)}

    def manifest_bytes(self, version: str) -> bytes | None:
        """None where the version is not there as a whole."""
        return self._read(f"{version}/{MANIFEST}")

    def manifest(self, version: str) -> Manifest | None:
        """The same, read. Raises ArtifactInvalid."""
        data = self.manifest_bytes(version)
        return None if data is None else _manifest(data, f"{self._shown}/{version}/{MANIFEST}")

    def user_ids_bytes(self, version: str) -> bytes | None:
        """user_ids.json of a version; None where it is not there as a whole."""
        for _ in range(_TRIES):
            manifest = self.manifest(version)
            if manifest is None:
                return None
            if (data := self._read(_stored(version, _USER_IDS, manifest))) is not None:
                return data
        raise self._damaged(version, f"{_USER_IDS} is missing")

    def upload(self, folder: Path, whole: bool = False) -> None:
        """Put a version there, in the place of what is there of it. Nobody may change the folder meanwhile.

        Files that are there are not put again, but where it is to be `whole`: one of them may be damaged.
        """
        version, data = folder.name, (folder / MANIFEST).read_bytes()
        manifest = _manifest(data, str(folder / MANIFEST))
        with self._answering():
            self._put(folder, manifest, again=whole)
            write_whole(self._fs, self._path(f"{version}/{MANIFEST}"), data)
            self._put(folder, manifest, again=False)  # no manifest named them: who tidies removed them
        self.tidy(version)

    def tidy(self, version: str) -> None:
        """Remove what no manifest names, which one who was killed left. A manifest that is damaged names all."""
        there = self._files(version)  # before its manifest is read: what comes meanwhile is not looked at
        try:
            manifest = self.manifest(version)
        except ArtifactInvalid:
            return
        named = set() if manifest is None else {self._path(_stored(version, name, manifest)) for name in manifest.files}
        self._remove(there - named - {self._path(f"{version}/{MANIFEST}")})

    def download(self, version: str, draft: Path) -> None:
        """Make a folder of a version, verified and on the disk.

        Raises ArtifactInvalid where it is not there, or damaged.
        """
        for _ in range(_TRIES):
            draft.mkdir(parents=True)
            if self._download(version, draft):
                break
            shutil.rmtree(draft)  # it was written anew meanwhile
        else:
            raise self._damaged(version, "files that its manifest names are missing")
        try:
            artifact.load(draft)
        except ArtifactInvalid as error:
            raise self._damaged(version, str(error).partition(": ")[0]) from error
        for path in (*draft.iterdir(), draft):
            on_disk(_HERE, str(path))

    def delete(self, version: str) -> None:
        """One that is not there changes nothing."""
        with self._answering():
            manifest = self._path(f"{version}/{MANIFEST}")
            if exists(self._fs, manifest):
                self._fs.rm_file(manifest)
            self._remove(self._files(version))
            if not is_s3(self._fs) and self._fs.exists(self._path(version)):
                self._fs.rmdir(self._path(version))

    def _download(self, version: str, draft: Path) -> bool:
        """Whether all files were there that the manifest names."""
        data = self.manifest_bytes(version)
        if data is None:
            raise ArtifactInvalid(
                f"version {version} is not at {self._shown} (MODELS_URL): run `python -m training publish {version}` "
                "where its folder is"
            )
        manifest = _manifest(data, f"{self._shown}/{version}/{MANIFEST}")
        with self._answering():
            for name in manifest.files:
                try:
                    self._fs.get_file(self._path(_stored(version, name, manifest)), str(draft / name))
                except FileNotFoundError:
                    return False
        (draft / MANIFEST).write_bytes(data)
        return True

    def _put(self, folder: Path, manifest: Manifest, again: bool) -> None:
        for name in manifest.files:
            path = self._path(_stored(folder.name, name, manifest))
            if again or not exists(self._fs, path):
                put_whole(self._fs, path, folder / name)

    def _files(self, version: str) -> set[str]:
        """Paths of all there is of it."""
        with self._answering():
            try:
                found = self._fs.ls(self._path(version), detail=False)
            except FileNotFoundError:
                return set()
        return {self._path(f"{version}/{Path(path).name}") for path in found}

    def _remove(self, paths: set[str]) -> None:
        with self._answering():
            for path in paths:
                with suppress(FileNotFoundError):  # another process was faster
                    self._fs.rm_file(path)

    def _read(self, name: str) -> bytes | None:
        with self._answering():
            try:
                data: bytes = self._fs.cat_file(self._path(name))
            except FileNotFoundError:
                return None
        return data

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            with os_errors(self._fs):
                yield
        except OSError as error:
            reason = without_passwords(str(error))
            raise StoreUnavailable(f"MODELS_URL {self._shown} cannot be used now: {reason}") from error

    def _damaged(self, version: str, reason: str) -> ArtifactInvalid:
        advice = f"run `python -m training publish {version}` where its folder is"
        return ArtifactInvalid(f"what {self._shown} has of version {version} is damaged ({reason}): {advice}")


def _stored(version: str, name: str, manifest: Manifest) -> str:
    return f"{version}/{name}.{manifest.files[name]}"


def _manifest(data: bytes, shown: str) -> Manifest:
    """Raises ArtifactInvalid, also where it names files elsewhere."""
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise ArtifactInvalid(f"{shown} cannot be read: {error.errors()[0]['msg']}") from error
    if any(Path(name).name != name or not name for name in manifest.files):
        raise ArtifactInvalid(f"{shown} names files that are not in its folder")
    return manifest
