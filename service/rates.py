"""How often a key may ask: counted in Redis, so that all processes count together.

Keys (ns is the namespace):
    {ns}:rate:{window}    how often a limited key asked in a minute; two a key, gone two minutes after its last request
"""

import logging
import math
import time
from typing import Any

from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.exceptions import RedisError

from contract.keyspace import Keyspace, RedisStore
from service.errors import RateLimited
from service.keys import StoredKey
from service.metrics import Metrics
from service.online import OnlineNetwork

log = logging.getLogger(__name__)

_REFUSED_SECONDS = 1.0
"""How long a key that asked too often is refused without asking Redis: no longer than any Retry-After."""


class Rates:
    """Two counters a limited key, gone two minutes after its last request; a key without a limit costs nothing."""

    def __init__(self, redis: RedisStore, namespace: str, network: OnlineNetwork, metrics: Metrics) -> None:
        home = Keyspace(redis, namespace).home
        pool: Any = home.redis.connection_pool  # the library's types know of no pool
        storage = RedisStorage(
            "async+redis://", implementation="redispy", key_prefix=home.key("rate"), connection_pool=pool
        )
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._network, self._metrics = network, metrics
        self._refused: dict[str, tuple[float, int]] = {}
        """By key: until when it is refused, and the seconds of its Retry-After."""

    async def check(self, key: StoredKey | None) -> None:
        """Count a request of a key. Raises RateLimited where it is one too many.

        Where Redis does not count, nobody is refused.
        """
        if key is None or key.per_minute is None:
            return
        if self._network.away:
            self._metrics.uncounted.inc()
            return
        until, seconds = self._refused.get(key.key_id, (0.0, 0))
        if time.monotonic() >= until:
            seconds = await self._count(key.key_id, key.per_minute)
            if not seconds:
                return
            self._refused[key.key_id] = time.monotonic() + _REFUSED_SECONDS, seconds
        self._metrics.shed.labels("rate").inc()
        raise RateLimited(f"key {key.key_id} may ask {key.per_minute:,} times a minute: slow down", seconds)

    async def _count(self, key_id: str, per_minute: int) -> int:
        """After how many seconds the key may ask again; 0 where it may now."""
        limit = RateLimitItemPerMinute(per_minute)
        try:
            if await self._limiter.hit(limit, key_id):
                return 0
            window = await self._limiter.get_window_stats(limit, key_id)
        except RedisError as error:
            log.error("a request of key %s is not counted: %r", key_id, error)
            self._metrics.uncounted.inc()
            return 0
        return max(1, math.ceil(window.reset_time - time.time()))
