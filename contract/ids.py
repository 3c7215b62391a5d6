"""The form of every identifier."""

import hashlib
from typing import Annotated

from pydantic import StringConstraints

MAX_ID_LENGTH = 64
ID_PATTERN = rf"^[A-Za-z0-9_-]{{1,{MAX_ID_LENGTH}}}$"

Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
"""A user's or tweet's id: 1 to 64 of A-Z a-z 0-9 _ -, so that it is safe in a key, a path and a URL."""


def id_hash(id_: str) -> str:
    """SHA-256 of an id, 64 hex digits."""
    return hashlib.sha256(id_.encode()).hexdigest()
