"""What a store of pictures does with parts of pictures."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.blobs import BlobStore


def old_parts(folder: Path, count: int) -> None:
    for number in range(count):
        part = folder / ".partial" / f"part-{number}"
        part.write_bytes(b"half")
        os.utime(part, (0, 0))


@pytest.mark.parametrize("name", ["stat", "unlink"])
def test_a_part_that_vanishes_during_a_sweep_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Its writer, another process, renames it."""
    blobs = BlobStore(str(tmp_path))
    old_parts(tmp_path, 3)
    real: Callable[..., object] = getattr(Path, name)

    def after_its_writer(part: Path, *arguments: object, **more: object) -> object:
        if part.name == "part-1":
            os.remove(part)
        return real(part, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, name, after_its_writer)
        assert blobs.sweep() == 2
    assert list((tmp_path / ".partial").iterdir()) == []


def test_a_part_that_is_being_written_stays(tmp_path: Path) -> None:
    blobs = BlobStore(str(tmp_path))
    old_parts(tmp_path, 1)
    (tmp_path / ".partial" / "new").write_bytes(b"half")
    assert blobs.sweep() == 1
    assert [part.name for part in (tmp_path / ".partial").iterdir()] == ["new"]


@pytest.mark.parametrize("url", ["memory://pictures", "simplecache::memory://pictures", "{}/pictures"])
def test_a_store_in_a_folder_of_a_url(tmp_path: Path, url: str) -> None:
    url = url.format(tmp_path)
    key = BlobStore(url, "images").put(b"picture")
    assert BlobStore(f"{url}/images").get(key) == b"picture"
    assert not BlobStore(url).exists(key)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError("no space left")

    blobs = BlobStore(str(tmp_path))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        blobs.put(b"picture")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
