"""How often a key may ask: counted in Redis, so that all processes count together."""

import math
import time
from typing import Any

from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import Redis

from service.errors import RateLimited
from service.keys import StoredKey
from service.metrics import Metrics


class Rates:
    """Two counters a limited key, gone two minutes after its last request; a key without a limit costs nothing."""

    def __init__(self, redis: Redis, namespace: str, metrics: Metrics) -> None:
        pool: Any = redis.connection_pool  # the library's types know of no pool
        storage = RedisStorage(
            "async+redis://", implementation="redispy", key_prefix=f"{namespace}:rate", connection_pool=pool
        )
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._metrics = metrics

    async def check(self, key: StoredKey | None) -> None:
        """Count a request of a key. Raises RateLimited where it is one too many; RedisError."""
        if key is None or key.per_minute is None:
            return
        limit = RateLimitItemPerMinute(key.per_minute)
        if not await self._limiter.hit(limit, key.key_id):
            window = await self._limiter.get_window_stats(limit, key.key_id)
            self._metrics.shed.labels("rate").inc()
            raise RateLimited(
                f"key {key.key_id} may ask {key.per_minute:,} times a minute: slow down",
                max(1, math.ceil(window.reset_time - time.time())),
            )
