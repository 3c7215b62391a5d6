"""A version on trial for nobody: it ranks what the active one answered, to be measured and not shown."""

import asyncio
import logging
import time
from dataclasses import replace

from contract.tasks import end
from service.active import OnTrial
from service.metrics import Metrics
from service.recommend import Ask, Online, recommend
from service.schemas import Recommendations

log = logging.getLogger(__name__)


class Shadow:
    """One request at a time: while one is ranked, others are let pass."""

    def __init__(self, online: Online, metrics: Metrics) -> None:
        self._online, self._metrics = replace(online, metrics=Metrics()), metrics  # what it ranks is no answer
        self._task: asyncio.Task[None] | None = None

    def look_on(self, ask: Ask, answer: Recommendations, on_trial: OnTrial) -> None:
        """Rank the same first page by the version on trial."""
        if ask.cursor is not None or not answer.items:
            return
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._rank(ask, answer, on_trial))

    async def aclose(self) -> None:
        """End what is being ranked."""
        if self._task is not None:
            await end(self._task)

    async def _rank(self, ask: Ask, answer: Recommendations, on_trial: OnTrial) -> None:
        version, started = on_trial.model.version, time.perf_counter()
        try:
            other = await recommend(ask, on_trial.model, self._online)
        except Exception:  # whatever it was, nobody was to be shown it
            self._metrics.shadow_failures.labels(version).inc()
            log.exception("version %s, on trial for nobody, could not rank", version)
            return
        self._metrics.shadow_seconds.labels(version).observe(time.perf_counter() - started)
        shown = {item.tweet_id for item in answer.items}
        both = sum(item.tweet_id in shown for item in other.items)
        self._metrics.shadow_overlap.labels(version).observe(both / len(shown))
