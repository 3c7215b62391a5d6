"""What goes on beside the requests: following the active pointer, keeping Redis up and whole, the backlog, fold-ins."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from redis.exceptions import ConnectionError as RedisConnectionError

from contract.embedded import EmbeddedValkey
from contract.pending import PendingTweets
from contract.tasks import end
from contract.vectors import VectorStore
from service.active import ActiveModel
from service.database import StoredTweet
from service.ingest import Ingest, decode, make_recommendable
from service.keys import Keys
from service.leaving import erase_users
from service.mend import Mender
from service.online import OnlineNetwork
from service.removal import remove_pictures
from service.restore import Restorer

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
_RETRY_SECONDS = 5.0
_LOOK_SECONDS = 30.0
_AT_A_TIME = 16
_FAILING_BATCHES = 4


@asynccontextmanager
async def background(
    parts: Ingest,
    network: OnlineNetwork,
    keys: Keys,
    embedded: EmbeddedValkey | None,
    pending: PendingTweets,
    restorer: Restorer,
    mender: Mender,
) -> AsyncIterator[None]:
    """Run the loops until the end."""
    loops = (
        repeat("following the active version", lambda: follow_pointer(parts, embedded)),
        repeat("following the version on trial", lambda: follow_trial(parts)),
        repeat("following the version to come", parts.models.refresh_upcoming),
        repeat("having models as MODELS_URL has them", parts.models.renew_fetched),
        repeat("writing Redis anew", restorer.restore_if_lost),
        repeat("mending changes that ended badly", mender.mend),
        repeat("looking at what changed", network.look),
        repeat("reading the keys", keys.read),
        repeat("hearing of pending tweets", lambda: hear_of_pending(parts, pending)),
        whenever(parts.behind, "the backlog", lambda: work_off_backlog(parts)),
        whenever(parts.leaving, "erasing deleted users", lambda: erase_users(parts)),
        repeat("listing users to fold in", parts.fold_ins.fill_up),
        repeat("folding users in", parts.fold_ins.work_off),
    )
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        yield
    finally:
        await end(*tasks)


async def repeat(what: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do it twice a second; a failure is logged once, until it is another one or over."""
    told = ""
    while True:
        try:
            await work()
            told = ""
        except Exception as error:  # whatever it was, the next round may succeed, and nobody else would go on
            if str(error) != told:
                log.error("%s failed: %r", what, error)
                told = str(error)
        await asyncio.sleep(_POLL_SECONDS)


async def follow_pointer(parts: Ingest, embedded: EmbeddedValkey | None) -> None:
    """See whether Redis is there and which version serves."""
    if embedded is not None:
        await keep_up(parts.vectors, embedded)
    if await parts.models.refresh():
        parts.behind.set()


async def follow_trial(parts: Ingest) -> None:
    """See which version is on trial."""
    if await parts.models.refresh_trial():
        parts.behind.set()


async def hear_of_pending(parts: Ingest, pending: PendingTweets) -> None:
    """Wake the backlog where an import stored tweets."""
    if await pending.announced():
        parts.behind.set()


async def keep_up(vectors: VectorStore, embedded: EmbeddedValkey) -> None:
    """Start the embedded server where it is gone, as when the process that owned it ended."""
    try:
        await vectors.active_version()
    except RedisConnectionError:
        log.warning("the embedded Redis is gone: starting it")
        embedded.start()  # in this thread on purpose: the kernel ends the server with the thread that started it


async def whenever(needed: asyncio.Event, what: str, work: Callable[[], Awaitable[int]]) -> None:
    """Do it when it is needed and twice a minute; where it says that something is left, again in some seconds."""
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):  # wait_for of Python 3.11 can swallow a cancellation
                await needed.wait()
        needed.clear()
        try:
            left = await work()
        except Exception:  # whatever it was, the next try may succeed, and nobody else would go on
            log.exception("%s has to wait", what)
            left = 1
        if left:
            await asyncio.sleep(_RETRY_SECONDS)
            needed.set()


async def work_off_backlog(parts: Ingest) -> int:
    """Remove pictures of deleted tweets, and encode what is stored without a vector; how many of both are left."""
    pictures = await remove_pictures(parts)
    unencoded = [await encode_pending(parts, model) for model in parts.models.serving()]
    parts.metrics.pending.set(sum(unencoded))
    return pictures + sum(unencoded)


async def encode_pending(parts: Ingest, model: ActiveModel) -> int:
    """Encode all tweets without a vector under a version; returns how many could not be."""
    failed: set[str] = set()
    done = failing = 0
    while tweets := await parts.database.pending_tweets(model.version, failed, _AT_A_TIME):
        results = await asyncio.gather(*(encode_stored(tweet, parts, model) for tweet in tweets))
        failed.update(tweet.tweet_id for tweet, ready in zip(tweets, results, strict=True) if not ready)
        done += sum(results)
        failing = 0 if any(results) else failing + 1
        if failing == _FAILING_BATCHES or model not in parts.models.serving():
            break  # a store is down rather than pictures bad: try again later; or another version serves now
    if done:
        log.info("encoded %d pending tweets under version %s", done, model.version)
    return len(failed)


async def encode_stored(tweet: StoredTweet, parts: Ingest, model: ActiveModel) -> bool:
    """From the blob store to a candidate; whether it worked."""
    try:
        data = await parts.pictures.get(tweet.image_key)
        image_HWC = await decode(data, model, parts.batcher)
    except Exception as error:  # one bad picture must not hold up the others
        log.error("tweet %s cannot be encoded, its image %s: %r", tweet.tweet_id, tweet.image_key, error)
        return False
    return await make_recommendable(tweet, image_HWC, model, parts)
