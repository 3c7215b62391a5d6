"""Folders that are written whole or not at all."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A draft beside it to write to, which becomes the folder at the end; where the block fails or is ended it goes."""
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}")  # no mkdtemp: told to end within, it would stay
    try:
        draft.mkdir(0o700)
        yield draft
        draft.chmod(0o755)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
