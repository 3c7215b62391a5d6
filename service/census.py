"""What SQL has in all, for an operator: counted seldom, since that looks at every tweet and retweet."""

import asyncio
import logging
import time
from datetime import UTC, datetime

from sqlalchemy.exc import SQLAlchemyError

from contract.tasks import Tasks
from service.active import ActiveModels
from service.database import Database
from service.ops_schemas import Stored

log = logging.getLogger(__name__)

APART_SECONDS = 30.0
RETRY_SECONDS = 5.0


class Census:
    """Counts when somebody asks who was told nothing newer than half a minute; one count at a time."""

    def __init__(self, database: Database, models: ActiveModels) -> None:
        self._database, self._models = database, models
        self._next_at = 0.0
        self._version: str | None = None
        self._counting: asyncio.Task[None] | None = None
        self._tasks = Tasks()
        self.last: Stored | None = None

    async def latest(self) -> Stored | None:
        """After the count that is due, if one is; who does not wait for its end finds it in `last` later."""
        if self._counting is None and self._is_due():
            self._counting = self._tasks.start(self._count())
        if self._counting is not None:
            await asyncio.shield(self._counting)
        return self.last

    async def aclose(self) -> None:
        """End a count that goes on."""
        await self._tasks.aclose()

    def _is_due(self) -> bool:
        return time.monotonic() >= self._next_at or self._serving() != self._version

    def _serving(self) -> str | None:
        model = self._models.current
        return None if model is None else model.version

    async def _count(self) -> None:
        self._version, apart_seconds = self._serving(), RETRY_SECONDS
        try:
            retweeted_at, posted_at = await self._database.newest()
            pending = None if self._version is None else await self._database.count_pending(self._version)
            self.last = Stored(
                counted_at=datetime.now(UTC),
                newest_retweet_at=retweeted_at,
                newest_tweet_at=posted_at,
                pending_tweets=pending,
            )
            apart_seconds = APART_SECONDS
        except SQLAlchemyError as error:
            log.warning("what SQL has cannot be counted now: %r", error)
        finally:
            self._next_at, self._counting = time.monotonic() + apart_seconds, None
