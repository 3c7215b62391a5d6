"""Response bodies."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel

Source = Literal["followees", "recent"]
Missing = Literal["user_vector", "followee_vectors"]


class RecommendedTweet(BaseModel):
    """One of the top K; `score` is `personal` times or plus `social`, as the model's link says."""

    tweet_id: str
    author_id: str
    score: float
    personal: float
    social: float
    active_at: datetime
    """When it came onto the timeline of the followee who posted or retweeted it last."""


class Recommendations(BaseModel):
    """The answer to "which of these will this user retweet?", best first."""

    user_id: str
    version: str
    link: str
    source: Source
    """followees: what followees posted or retweeted; recent: the newest tweets, where followees have none to offer."""
    missing: list[Missing]
    """What the model does not know of this user, so that the score went without it."""
    candidates: int
    """How many tweets were ranked."""
    items: list[RecommendedTweet]


class PostedTweet(BaseModel):
    """A stored tweet; `ready` ones can be recommended, `pending` ones will be as soon as they are encoded."""

    tweet_id: str
    author_id: str
    text: str
    created_at: datetime
    status: Literal["ready", "pending"]
    version: str | None
    """The model version that encoded it."""


class Liveness(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Readiness(BaseModel):
    """What the service needs, part by part."""

    status: Literal["ready", "not ready"]
    model: str
    redis: str
    database: str
