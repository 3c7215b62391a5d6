"""A shard's vectors: read, decode, encode. The same function in this process and in a worker of a Ray cluster.

Shape suffixes: K tweets, D dimensions, H height, W width, C colours.
"""

import errno
import logging
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from contract.artifact import Artifact
from contract.errors import ImageRejected
from contract.preprocessing import decode_image
from contract.runtime import OnnxModel, encode_tweets
from training.encoding.shards import Encoded, Post, Refused, Shard

log = logging.getLogger(__name__)

BATCH = 16
_OF_THE_NAME = (errno.EISDIR, errno.ENOTDIR, errno.EACCES, errno.ENAMETOOLONG, errno.ELOOP)
"""Errors of one picture, not of the place where all of them are."""
_AHEAD = 1
"""Batches that are read while one is encoded."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A row whose picture is there, at the encoder's size, uint8 [H, W, C]; it was so many bytes."""

    post: Post
    pixels_HWC: npt.NDArray[np.uint8]
    size: int


class Encoder:
    """An exported model at work on shards, a batch at a time; pictures are read and decoded in threads meanwhile."""

    def __init__(self, exported: Artifact, model: OnnxModel, readers: int) -> None:
        """`readers`: threads that read and decode."""
        self._exported, self._model = exported, model
        self._readers = ThreadPoolExecutor(readers, "reader")

    def encode(self, shard: Shard) -> Encoded:
        """The vectors of a shard's rows, in their order; rows that cannot be encoded are named with the reason.

        Raises RuntimeError where the encoder gives values that are not finite in fp16.
        """
        began = time.monotonic()
        refused: list[Refused] = []
        parts_KD = [np.empty((0, self._exported.manifest.dim), dtype=np.float16)]
        tweet_ids: list[str] = []
        picture_bytes = 0
        for batch in self._read_ahead(shard):
            found = [row.result() for row in batch]
            refused += [row for row in found if isinstance(row, Refused)]
            if good := [row for row in found if isinstance(row, _Read)]:
                parts_KD.append(self._encode(good))
                tweet_ids += [row.post.tweet_id for row in good]
                picture_bytes += sum(row.size for row in good)
        log.info("encoded shard %d: %d tweets in %.2f s", shard.number, len(tweet_ids), time.monotonic() - began)
        return Encoded(shard.number, tweet_ids, np.concatenate(parts_KD), refused, picture_bytes)

    def close(self) -> None:
        """End the threads; what was not begun is left."""
        self._readers.shutdown(cancel_futures=True)

    def _encode(self, rows: Sequence[_Read]) -> npt.NDArray[np.float16]:
        exported = self._exported
        images, texts = [row.pixels_HWC for row in rows], [row.post.text for row in rows]
        return encode_tweets(self._model, exported.tokenizer, exported.manifest.preprocessing, images, texts)

    def _read_ahead(self, shard: Shard) -> Iterator[list[Future[_Read | Refused]]]:
        rows = shard.posts()
        waiting: deque[list[Future[_Read | Refused]]] = deque()
        while batch := list(islice(rows, BATCH)):
            waiting.append([self._readers.submit(self._read, shard, row) for row in batch])
            if len(waiting) > _AHEAD:
                yield waiting.popleft()
        yield from waiting

    def _read(self, shard: Shard, row: Post | Refused) -> _Read | Refused:
        if isinstance(row, Refused):
            return row
        named = isinstance(row.image, str)
        try:
            data = shard.picture(row.image) if isinstance(row.image, str) else row.image
            pixels_HWC = decode_image(data, self._exported.manifest.preprocessing.image_size)
        except FileNotFoundError:
            reason = f"{shard.place(str(row.image))} is missing"
        except OSError as error:
            if error.errno not in _OF_THE_NAME:
                raise
            reason = f"{shard.place(str(row.image))} cannot be read ({os.strerror(error.errno)})"
        except ImageRejected as error:
            reason = f"{shard.place(str(row.image))}: {error}" if named else str(error)
        else:
            return _Read(row, pixels_HWC, len(data))
        raw = {"tweet_id": row.tweet_id, "text": row.text}
        return Refused(row.row, "image", reason, raw | {"image": row.image} if named else raw)
