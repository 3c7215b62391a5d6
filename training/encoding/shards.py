"""What is to be encoded, cut into shards, and what comes of a shard. Both travel between processes.

Shape suffixes: K tweets, D dimensions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from contract.blobs import BlobStore


@dataclass(frozen=True, slots=True)
class Post:
    """An image tweet; `image` is the picture's bytes, or the name by which its shard reads them."""

    row: int
    tweet_id: str
    text: str
    image: bytes | str


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that cannot be encoded, and why; `field` is None where the row as a whole is wrong."""

    row: int
    field: str | None
    reason: str
    raw: dict[str, Any]
    """What was read there, but for a picture's bytes."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """What came of the shard of this number."""

    shard: int
    tweet_ids: list[str]
    z_KD: npt.NDArray[np.float16]
    refused: list[Refused]
    picture_bytes: int
    """Read of pictures."""


class Shard(Protocol):
    """Some rows, and where their pictures are."""

    @property
    def number(self) -> int:
        """Among all of a call."""

    def posts(self) -> Iterator[Post | Refused]:
        """The rows in their order."""

    def picture(self, image: str, /) -> bytes:
        """Raises FileNotFoundError."""

    def place(self, image: str, /) -> str:
        """Where a picture is, in words."""


@dataclass(frozen=True)
class StoredShard:
    """Tweets of the database, whose pictures are in the blob store."""

    number: int
    tweets: list[Post]
    blobs: BlobStore

    def posts(self) -> Iterator[Post | Refused]:
        return iter(self.tweets)

    def picture(self, image: str) -> bytes:
        return self.blobs.get(image)

    def place(self, image: str) -> str:
        return self.blobs.place(image)
