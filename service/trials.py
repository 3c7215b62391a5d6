"""A version on trial: what it and the active one recommended, and the retweets that came of it."""

from dataclasses import dataclass

from contract.trial import Recommended
from service.active import ActiveModels
from service.metrics import Metrics
from service.schemas import Recommendations


@dataclass(frozen=True)
class Trials:
    """Who was recommended what by which version, while one is on trial."""

    recommended: Recommended
    models: ActiveModels
    metrics: Metrics

    async def note(self, answer: Recommendations) -> None:
        """An answer that is about to be given. Raises RedisError."""
        await self.recommended.note(answer.version, answer.user_id, [item.tweet_id for item in answer.items])
        self.metrics.trial_answers.labels(answer.version).inc()

    async def made(self, user_id: str, tweet_id: str) -> str | None:
        """The version that a retweet is due to: it recommended the tweet, the last of both. Raises RedisError."""
        if self.models.on_trial is None:
            return None
        return await self.recommended.by([model.version for model in self.models.serving()], user_id, tweet_id)

    def count(self, version: str) -> None:
        """One more retweet of what it had recommended."""
        self.metrics.trial_retweets.labels(version).inc()
