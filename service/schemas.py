"""Response bodies."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel

from contract.fields import Moment
from contract.ids import Id

_CLOCK_DIFFERENCE = timedelta(minutes=5)


def _not_in_future(moment: datetime) -> datetime:
    if moment > datetime.now(UTC) + _CLOCK_DIFFERENCE:
        raise ValueError("is in the future: send the time when it was, or leave it out")
    return moment


PastMoment = Annotated[Moment, AfterValidator(_not_in_future)]

Scope = Literal["followees", "discover"]
Source = Literal["followees", "discover", "popular", "recent"]
Missing = Literal["user_vector", "followee_vectors"]


class RecommendedTweet(BaseModel):
    """One of the top K; `score` is `personal` times or plus `social`, as the model's link says."""

    tweet_id: str
    author_id: str
    score: float | None
    """What it ranks by: the model's score or, from `popular`, retweets discounted by age; null from `recent`."""
    personal: float | None
    """How it suits the user; null where the model did not rank."""
    social: float | None
    """How it suits the followees; null where the model did not rank."""
    active_at: datetime
    """When it came onto the timeline of the followee who posted or retweeted it last."""


class FolloweeShare(BaseModel):
    """A followee's share of the attention: all shares of a user add up to 1."""

    user_id: str
    share: float


class Recommendations(BaseModel):
    """The answer to "which of these will this user retweet?", best first."""

    user_id: str
    version: str
    link: str
    scope: Scope
    """What was asked for."""
    source: Source
    """followees: what they posted or retweeted; discover: the newest tweets of all, ranked by the model; popular:
    the same by retweets and age, for a user whom the model does not know; recent: the same by time."""
    degraded: bool
    """Whether the scope had nothing to offer, so that another source stood in."""
    missing: list[Missing]
    """What the model does not know of this user, so that the score went without it."""
    folded_in: bool
    """Whether the model was not trained on this user, whose vector was fitted to their retweets instead."""
    candidates: int
    """How many tweets were ranked, those of pages before left out."""
    items: list[RecommendedTweet]
    followees: list[FolloweeShare] | None
    """With explain=true: the followees that carry most of the social facet."""
    next_cursor: str | None
    """Send it as `cursor` for the next page; null after the last one."""


class PostedTweet(BaseModel):
    """A stored tweet; `ready` ones can be recommended, `pending` ones will be as soon as they are encoded."""

    tweet_id: str
    author_id: str
    text: str
    created_at: datetime
    status: Literal["ready", "pending"]
    version: str | None
    """The model version that encoded it."""


class BatchItem(BaseModel):
    """What one tweet of a batch came to: the status that POST /tweets would answer, and the tweet or the problem."""

    status: int
    tweet: PostedTweet | None
    problem: dict[str, Any] | None


class BatchAnswer(BaseModel):
    """In the order of the tweets sent."""

    items: list[BatchItem]


class StoredTweet(PostedTweet):
    """A tweet as it is now."""

    hidden: bool
    """Whether it is kept from everybody."""


class NewUser(BaseModel):
    """Who joins; without an id one is made."""

    user_id: Id | None = None


class User(BaseModel):
    """A person on the network."""

    user_id: str
    created_at: datetime


class Follow(BaseModel):
    """The user sees what the followee posts and retweets."""

    user_id: str
    followee_id: str
    created_at: datetime


class RetweetTime(BaseModel):
    """When it was retweeted; unset: now. A retweet that is known keeps its time."""

    created_at: PastMoment | None = None


class Retweet(BaseModel):
    """The user passed the tweet on."""

    user_id: str
    tweet_id: str
    created_at: datetime


class Hide(BaseModel):
    """The user is not recommended the tweet."""

    user_id: str
    tweet_id: str
    created_at: datetime


class Model(BaseModel):
    """A model version; a `kept` one has its vectors still and can be activated at once."""

    version: str
    created_at: datetime
    activated_at: datetime | None
    kept: bool
    metrics: dict[str, Any]
    """Of held-out retweets, by system."""


class Models(BaseModel):
    """All versions, the one activated last first; `active` serves."""

    active: str | None
    models: list[Model]


class SimilarTweet(BaseModel):
    """A tweet and the cosine of its vector with that of the one asked for."""

    tweet_id: str
    author_id: str
    similarity: float


class SimilarTweets(BaseModel):
    """The most similar ones of the newest tweets, the most similar first."""

    tweet_id: str
    version: str
    candidates: int
    items: list[SimilarTweet]


class Liveness(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Readiness(BaseModel):
    """What the service needs, part by part."""

    status: Literal["ready", "not ready"]
    model: str
    redis: str
    database: str
