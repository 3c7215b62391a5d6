import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

import service.batcher
from contract.preprocessing import PAD_TOKEN, UNKNOWN_TOKEN, Preprocessing
from service.active import ActiveModel
from service.batcher import MicroBatcher, Vector, open_batcher
from service.errors import Overloaded
from service.metrics import Metrics
from service.room import caller

pytestmark = pytest.mark.anyio

T = TypeVar("T")


def words() -> Tokenizer:
    tokenizer = Tokenizer(WordLevel({PAD_TOKEN: 0, UNKNOWN_TOKEN: 1, "one": 2, "two": 3}, unk_token=UNKNOWN_TOKEN))
    tokenizer.pre_tokenizer = Whitespace()
    return tokenizer


@dataclass
class Encoder:
    """Gives each picture its first pixel; waits where told to; raises or answers too little for a picture of 255."""

    gate: threading.Event = field(default_factory=threading.Event)
    started: threading.Event = field(default_factory=threading.Event)
    batches: list[list[int]] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    too_few_for: int | None = None

    def encode(self, image_BHWC: npt.NDArray[np.uint8], ids_BSW: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        marks = image_BHWC[:, 0, 0, 0].tolist()
        self.batches.append(marks)
        self.shapes.append(ids_BSW.shape)
        self.started.set()
        if not self.gate.wait(10):
            raise TimeoutError("the test never opened the gate")
        if 255 in marks:
            raise RuntimeError("the encoder is broken")
        if self.too_few_for in marks:
            marks = marks[:-1]
        return np.array(marks, dtype=np.float32)[:, None].repeat(2, axis=1)


@dataclass(frozen=True)
class Manifest:
    preprocessing: Preprocessing


@dataclass(frozen=True)
class Artifact:
    tokenizer: Tokenizer


@dataclass(frozen=True)
class Model:
    onnx: Encoder
    version: str = "v1"
    artifact: Artifact = field(default_factory=lambda: Artifact(words()))
    manifest: Manifest = field(default_factory=lambda: Manifest(Preprocessing(image_size=4)))


def active(encoder: Encoder, version: str = "v1") -> ActiveModel:
    return cast(ActiveModel, Model(encoder, version))


def picture(mark: int) -> npt.NDArray[np.uint8]:
    return np.full((4, 4, 3), mark, dtype=np.uint8)


def post(batcher: MicroBatcher, model: ActiveModel, mark: int, text: str = "one") -> asyncio.Task[Vector]:
    return asyncio.create_task(batcher.encode(model, picture(mark), text))


async def soon(awaitable: Awaitable[T]) -> T:
    async with asyncio.timeout(5):
        return await awaitable


@asynccontextmanager
async def busy(encoder: Encoder, batcher: MicroBatcher, mark: int = 1) -> AsyncIterator[asyncio.Task[Vector]]:
    """The batcher while the encoder holds its first batch; the gate opens at the end."""
    first = post(batcher, active(encoder), mark)
    assert await asyncio.to_thread(encoder.started.wait, 5)
    try:
        yield first
        await asyncio.sleep(0)
    finally:
        encoder.gate.set()


async def test_what_queued_while_the_encoder_was_busy_is_one_batch() -> None:
    encoder = Encoder()
    async with open_batcher(64, 16, Metrics()) as batcher:
        async with busy(encoder, batcher) as first:
            later = [post(batcher, active(encoder), mark) for mark in (2, 3, 4)]
        vectors = await soon(asyncio.gather(first, *later))
    assert encoder.batches == [[1], [2, 3, 4]]
    assert [vector_D.tolist() for vector_D in vectors] == [[mark, mark] for mark in (1, 2, 3, 4)]
    assert {vector_D.dtype for vector_D in vectors} == {np.dtype(np.float16)}


async def test_a_lone_job_waits_for_nobody() -> None:
    encoder = Encoder()
    encoder.gate.set()
    async with open_batcher(64, 16, Metrics()) as batcher:
        assert (await soon(batcher.encode(active(encoder), picture(7), ""))).tolist() == [7, 7]
    assert encoder.batches == [[7]]


async def test_a_batch_has_at_most_max_batch() -> None:
    encoder = Encoder()
    async with open_batcher(64, 2, Metrics()) as batcher:
        async with busy(encoder, batcher) as first:
            later = [post(batcher, active(encoder), mark) for mark in (2, 3, 4, 5, 6)]
        await soon(asyncio.gather(first, *later))
    assert encoder.batches == [[1], [2, 3], [4, 5], [6]]


async def test_texts_of_a_batch_are_padded_together() -> None:
    encoder = Encoder()
    async with open_batcher(64, 16, Metrics()) as batcher:
        async with busy(encoder, batcher) as first:
            later = [post(batcher, active(encoder), 2, "one"), post(batcher, active(encoder), 3, "one two. two. one")]
        await soon(asyncio.gather(first, *later))
    assert encoder.shapes == [(1, 1, 1), (2, 3, 2)]


async def test_a_tweet_that_cannot_be_encoded_fails_alone() -> None:
    encoder = Encoder()
    async with open_batcher(64, 16, Metrics()) as batcher:
        async with busy(encoder, batcher) as first:
            later = [post(batcher, active(encoder), mark) for mark in (2, 255, 3)]
        found = await soon(asyncio.gather(first, *later, return_exceptions=True))
        after = await soon(batcher.encode(active(encoder), picture(9), "one"))
    assert [type(outcome) for outcome in found] == [np.ndarray, np.ndarray, RuntimeError, np.ndarray]
    assert after.tolist() == [9, 9]
    assert encoder.batches == [[1], [2, 255, 3], [2], [255], [3], [9]]


async def test_an_encoder_that_answers_too_little_fails_for_that_tweet_alone() -> None:
    encoder = Encoder(too_few_for=3)
    async with open_batcher(64, 16, Metrics()) as batcher:
        async with busy(encoder, batcher) as first:
            later = [post(batcher, active(encoder), mark) for mark in (2, 3)]
        found: list[Any] = await soon(asyncio.gather(first, *later, return_exceptions=True))
        after = await soon(batcher.encode(active(encoder), picture(9), "one"))
    assert [isinstance(outcome, Exception) for outcome in found] == [False, False, True]
    assert after.tolist() == [9, 9]


async def test_jobs_whose_caller_has_gone_are_not_encoded() -> None:
    encoder = Encoder()
    async with open_batcher(64, 16, Metrics()) as batcher:
        async with busy(encoder, batcher) as first:
            gone, stays = post(batcher, active(encoder), 2), post(batcher, active(encoder), 3)
            await asyncio.sleep(0)
            gone.cancel()
        await soon(asyncio.gather(first, stays))
    assert gone.cancelled()
    assert encoder.batches == [[1], [3]]


async def test_a_caller_that_goes_during_its_batch_disturbs_nobody() -> None:
    encoder = Encoder()
    async with open_batcher(64, 16, Metrics()) as batcher:
        async with busy(encoder, batcher) as first:
            first.cancel()
        assert (await soon(batcher.encode(active(encoder), picture(5), "one"))).tolist() == [5, 5]
    assert encoder.batches == [[1], [5]]


async def test_each_version_encodes_its_own_jobs() -> None:
    old, new = Encoder(), Encoder()
    new.gate.set()
    async with open_batcher(64, 16, Metrics()) as batcher:
        async with busy(old, batcher) as first:
            later = [post(batcher, active(old), 2), post(batcher, active(new, "v2"), 3), post(batcher, active(old), 4)]
        vectors = await soon(asyncio.gather(first, *later))
    assert (old.batches, new.batches) == ([[1], [2, 4]], [[3]])
    assert [vector_D.tolist() for vector_D in vectors] == [[mark, mark] for mark in (1, 2, 3, 4)]


async def test_a_permit_is_refused_at_capacity_and_comes_back() -> None:
    batcher = MicroBatcher(2, 16, Metrics())
    with batcher.permit():
        with batcher.permit(), pytest.raises(Overloaded), batcher.permit():
            pytest.fail("three permits of two")
        with batcher.permit(), pytest.raises(Overloaded), batcher.permit():
            pytest.fail("a refused permit made room")


async def test_a_caller_leaves_permits_to_others() -> None:
    batcher = MicroBatcher(4, 16, Metrics())
    with ExitStack() as held:
        caller.set("a")
        for _ in range(3):
            held.enter_context(batcher.permit())
        with pytest.raises(Overloaded), batcher.permit():
            pytest.fail("one caller had all of them")
        caller.set("b")
        held.enter_context(batcher.permit())


async def test_a_caller_has_few_large_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.batcher, "LARGE_REQUESTS_OF_ONE", 1)
    batcher, order = MicroBatcher(4, 16, Metrics()), list[str]()
    first_ends = asyncio.Event()

    async def large(who: str) -> None:
        caller.set(who)
        async with batcher.large_request():
            order.append(who)
            await first_ends.wait()

    first, second, waits, fourth = (asyncio.create_task(large(who)) for who in "aabb")
    for refused in (second, fourth):
        with pytest.raises(Overloaded):
            await soon(refused)
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
    again = asyncio.create_task(large("b"))
    await asyncio.sleep(0)
    assert order == ["a"]
    first_ends.set()
    await soon(asyncio.gather(first, again))
    await soon(large("a"))
    assert order == ["a", "b", "a"]


async def test_a_permit_comes_back_from_a_failure() -> None:
    batcher = MicroBatcher(1, 16, Metrics())
    with pytest.raises(ZeroDivisionError), batcher.permit():
        raise ZeroDivisionError
    with batcher.permit(), pytest.raises(Overloaded), batcher.permit():
        pytest.fail("two permits of one")
