"""Micro-batching by back-pressure: a batch is what queued while the encoder was busy. No timer.

Shape suffixes: H height, W width, C colours, D dimensions.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

from contract.runtime import encode_tweets
from contract.tasks import end
from service.active import ActiveModel
from service.errors import Overloaded
from service.metrics import Metrics
from service.room import Room, caller

log = logging.getLogger(__name__)

LARGE_REQUESTS_OF_ONE = 4
"""Batches of one key, of which one is in work: those of others wait for no more."""
DECODED_AT_A_TIME = 4
"""Pictures; one of as many pixels as are taken needs 320 MB."""

Vector = npt.NDArray[np.float16]


@dataclass(frozen=True, eq=False)
class Job:
    """A tweet to encode under a model; `vector` is where fp16 [D] arrives."""

    model: ActiveModel
    image_HWC: npt.NDArray[np.uint8]
    text: str
    vector: asyncio.Future[Vector]
    queued_at: float


class MicroBatcher:
    """One thread encodes; callers wait for their vector and never for a full batch."""

    def __init__(self, capacity: int, max_batch: int, metrics: Metrics) -> None:
        self._metrics = metrics
        self._room = Room(capacity)
        self._max_batch = max_batch
        self.fair_share = max(1, min(max_batch, capacity // 2))
        """How many tweets of one request may be in work, so that others have room."""
        self._in_memory = asyncio.Lock()
        self._large_requests_of: Counter[str] = Counter()
        self.decoding = asyncio.Semaphore(DECODED_AT_A_TIME)
        """Held while a picture is decoded."""
        self._busy_since: float | None = None
        self._queue: asyncio.Queue[Job] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encoder")

    @property
    def busy_seconds(self) -> float:
        """How long the encoder has been at the batch at hand; 0 where it has none."""
        return 0.0 if self._busy_since is None else time.monotonic() - self._busy_since

    @property
    def in_work(self) -> int:
        """Posted tweets that hold a place."""
        return self._room.taken

    @contextmanager
    def permit(self) -> Iterator[None]:
        """Hold a place for one posted tweet. Raises Overloaded at once where none is free for the caller."""
        who = caller.get()
        if not self._room.has_place(who):
            self._metrics.shed.labels("tweets").inc()
            raise Overloaded("as many tweets are being taken in as the service can hold: try again in a second")
        self._room.enter(who)
        try:
            yield
        finally:
            self._room.leave(who)

    @asynccontextmanager
    async def large_request(self) -> AsyncIterator[None]:
        """Hold the pictures of many tweets in memory; others wait for that with theirs on disk, a few of each caller.

        Raises Overloaded at once where the caller has as many already.
        """
        who = caller.get()
        if self._large_requests_of[who] == LARGE_REQUESTS_OF_ONE:
            self._metrics.shed.labels("tweets").inc()
            raise Overloaded(
                f"{LARGE_REQUESTS_OF_ONE} batches of this key are in work: send the next one when one is answered"
            )
        self._large_requests_of[who] += 1
        try:
            async with self._in_memory:
                yield
        finally:
            self._large_requests_of[who] -= 1
            if not self._large_requests_of[who]:
                del self._large_requests_of[who]

    async def encode(self, model: ActiveModel, image_HWC: npt.NDArray[np.uint8], text: str) -> Vector:
        """The tweet's vector z, fp16 [D]. Raises what the encoder raises; the next batch is encoded all the same."""
        job = Job(model, image_HWC, text, asyncio.get_running_loop().create_future(), time.perf_counter())
        self._queue.put_nowait(job)
        return await job.vector

    async def run(self) -> None:
        """Encode until cancelled; jobs whose caller has gone are dropped."""
        while True:
            jobs = [await self._queue.get()]
            while len(jobs) < self._max_batch and not self._queue.empty():
                jobs.append(self._queue.get_nowait())
            wanted = [job for job in jobs if not job.vector.done()]
            for job in wanted:
                self._metrics.queue_seconds.observe(time.perf_counter() - job.queued_at)
            wanted.sort(key=lambda job: job.model.version)
            for _, same_model in groupby(wanted, key=lambda job: job.model.version):
                await self._encode(list(same_model))

    def close(self) -> None:
        """End the encoder's thread after the batch it works on, without waiting: one that hangs has no end."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _encode(self, jobs: list[Job]) -> None:
        """Encode jobs of one version; a batch that fails goes one by one, once, so that one bad tweet fails alone."""
        self._metrics.batch_size.observe(len(jobs))
        self._busy_since = time.monotonic()
        try:
            with self._metrics.encode_seconds.time():
                vectors = await asyncio.get_running_loop().run_in_executor(self._thread, _encode_jobs, jobs)
        except Exception as error:  # whatever it is, it is the callers' to handle, and the next batch must run
            log.exception("encoding %d tweets failed", len(jobs))
            if len(jobs) > 1:
                for job in jobs:
                    if not job.vector.done():
                        await self._encode([job])
            elif not jobs[0].vector.done():
                jobs[0].vector.set_exception(error)
            return
        finally:
            self._busy_since = None
        for job, vector_D in zip(jobs, vectors, strict=True):
            if not job.vector.done():
                job.vector.set_result(vector_D)


def _encode_jobs(jobs: list[Job]) -> list[Vector]:
    model = jobs[0].model
    images, texts = [job.image_HWC for job in jobs], [job.text for job in jobs]
    return list(encode_tweets(model.onnx, model.artifact.tokenizer, model.manifest.preprocessing, images, texts))


@asynccontextmanager
async def open_batcher(capacity: int, max_batch: int, metrics: Metrics) -> AsyncIterator[MicroBatcher]:
    """A batcher at work."""
    batcher = MicroBatcher(capacity, max_batch, metrics)
    task = asyncio.create_task(batcher.run())
    try:
        yield batcher
    finally:
        await end(task)
        batcher.close()
