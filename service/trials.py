"""A version on trial: what it and the active one recommended, and the retweets that came of it."""

import logging
from dataclasses import dataclass

from redis.exceptions import RedisError

from contract.trial import Recommended
from service.active import ActiveModels
from service.metrics import Metrics
from service.schemas import Recommendations

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trials:
    """Who was recommended what by which version, while one is on trial."""

    recommended: Recommended
    models: ActiveModels
    metrics: Metrics

    async def note(self, answer: Recommendations) -> None:
        """An answer that is about to be given; it is given, too, where Redis takes no more."""
        try:
            await self.recommended.note(answer.version, answer.user_id, [item.tweet_id for item in answer.items])
        except RedisError as error:
            log.error("an answer of version %s in the trial is not counted: %r", answer.version, error)
            return
        self.metrics.trial_answers.labels(answer.version).inc()

    async def made(self, user_id: str, tweet_id: str) -> str | None:
        """The version that a retweet is due to: it recommended the tweet, the last of both. Raises RedisError."""
        on_trial = self.models.on_trial
        if on_trial is None:
            return None
        versions = [model.version for model in self.models.serving()]
        return await self.recommended.by(versions, user_id, tweet_id, on_trial.trial.since_ms)

    def count(self, version: str) -> None:
        """One more retweet of what it had recommended."""
        self.metrics.trial_retweets.labels(version).inc()
