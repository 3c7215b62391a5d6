"""Bodies of requests and answers."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from contract.fields import Moment
from contract.ids import Id

_CLOCK_DIFFERENCE = timedelta(minutes=5)


def _not_in_future(moment: datetime) -> datetime:
    if moment > datetime.now(UTC) + _CLOCK_DIFFERENCE:
        raise ValueError("is in the future: send the time when it was, or leave it out")
    return moment


def _as_words(moment: object) -> object:
    if not isinstance(moment, str) or moment.lstrip("+-").replace(".", "", 1).isdigit():
        raise ValueError("is no time: send one as RFC 3339 has it, as in 2026-02-03T04:05:06Z")
    return moment


PastMoment = Annotated[
    Moment,
    AfterValidator(_not_in_future),
    BeforeValidator(_as_words),
    Field(
        description="RFC 3339 with an offset, not in the future, from the year 1 on (UTC)",
        examples=["2026-02-03T04:05:06Z"],
    ),
]
"""When something was; seconds since 1970, which pydantic would take too, are refused."""

Scope = Literal["followees", "discover"]
Source = Literal["followees", "discover", "popular", "recent"]
Missing = Literal["online_network", "user_vector", "followee_vectors"]
Status = Literal["ready", "not ready", "ending"]
DeviceInUse = Literal["cpu", "cuda", "none"]


_DESCRIBED = ConfigDict(use_attribute_docstrings=True)
"""The words below a field describe it in the API's document."""


class Body(BaseModel):
    """What all bodies have in common but those of recommendations, which are made too often to be checked again."""

    model_config = _DESCRIBED


class FieldError(Body):
    """What is wrong with one field."""

    field: str
    message: str


class Problem(Body):
    """An error as RFC 9457 has it."""

    type: Annotated[str, Field(examples=["/problems/unknown-user"])]
    """Stable: what to tell errors apart by."""
    title: str
    """The status's name."""
    status: int
    detail: str
    """What is wrong, and how to mend it."""
    errors: Annotated[list[FieldError] | SkipJsonSchema[None], Field(exclude_if=lambda errors: errors is None)] = None
    """With `/problems/invalid-request`: field by field."""


@dataclass(slots=True, kw_only=True)
class FolloweePart:
    """A followee's own part of a tweet's social facet: the share of the attention, times how the tweet suits them."""

    __pydantic_config__ = _DESCRIBED

    user_id: str
    part: float
    """All followees' parts add up to `social`; where the link is softplus, to what softplus is taken of."""


@dataclass(slots=True, kw_only=True)
class RecommendedTweet:
    """One of the top K; `score` is `personal` times or plus `social`, as the model's link says."""

    __pydantic_config__ = _DESCRIBED

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
    because: list[FolloweePart] | None
    """With explain=true: the three followees whose parts of `social` are the largest, the largest first; none where
    the model knows no followee or did not rank."""


@dataclass(slots=True, kw_only=True)
class FolloweeShare:
    """A followee's share of the attention: all shares of a user add up to 1."""

    user_id: str
    share: float


@dataclass(slots=True, kw_only=True)
class Recommendations:
    """The answer to "which of these will this user retweet?", best first."""

    __pydantic_config__ = _DESCRIBED

    user_id: str
    version: str
    link: str
    scope: Scope
    """What was asked for."""
    source: Source
    """followees: what they posted or retweeted; discover: the newest tweets of all, ranked by the model; popular:
    the same by retweets and age, for a user whom the model does not know; recent: the same by time."""
    degraded: bool
    """Whether the scope had nothing to offer, so that another source stood in, or something else than the user's own
    facets is missing."""
    missing: list[Missing]
    """What the score went without: `user_vector`, `followee_vectors`, where the model does not know them;
    `online_network`: Redis lost its contents or does not answer: until it has them again tweets may be left out,
    or what changed meanwhile may be unknown."""
    trial: bool = False
    """Whether `version` is on trial: it serves this user, and a share of all, beside the active one."""
    folded_in: bool
    """Whether the model was not trained on this user, whose vector was fitted to their retweets instead."""
    candidates: int
    """How many tweets were ranked, those of pages before left out."""
    items: list[RecommendedTweet]
    followees: list[FolloweeShare] | None
    """With explain=true: the followees with the largest shares of the attention, at most 50, and whoever else is named
    in `because`; the largest share first."""
    next_cursor: str | None
    """Send it as `cursor` for the next page; null after the last one."""


class PostedTweet(Body):
    """A stored tweet; `ready` ones can be recommended, `pending` ones will be as soon as they are encoded."""

    tweet_id: str
    author_id: str
    text: str
    created_at: datetime
    status: Literal["ready", "pending"]
    version: str | None
    """The model version that encoded it."""


class BatchItem(Body):
    """What one tweet of a batch came to: the status that POST /tweets would answer, and the tweet or the problem."""

    status: int
    tweet: PostedTweet | None
    problem: Problem | None


class BatchAnswer(Body):
    """In the order of the tweets sent."""

    items: list[BatchItem]


class StoredTweet(PostedTweet):
    """A tweet as it is now."""

    hidden: bool
    """Whether it is kept from everybody."""


class StoredTweets(Body):
    """In the order asked for; unknown and deleted ones are left out."""

    tweets: list[StoredTweet]


class NewUser(Body):
    """Who joins; without an id one is made."""

    user_id: Id | None = None
    """Unset: one is made."""


class User(Body):
    """A person on the network."""

    user_id: str
    created_at: datetime


class UserDetail(User):
    """A person, and how much there is of what they do."""

    followees: int
    followers: int
    tweets: int
    """Hidden ones, too."""
    retweets: int


class Page(Body):
    """A page of a list in the order of the ids' bytes."""

    next_after: str | None
    """Send it as `after` for the next page; null after the last one."""


class UserPage(Page):
    """Users by id."""

    users: list[User]


class FollowingUser(Body):
    """Who follows the user, or is followed by them."""

    user_id: str
    created_at: datetime
    """When the follow was made."""


class FollowingPage(Page):
    """Users by id, each with when the follow was made."""

    users: list[FollowingUser]


class Follow(Body):
    """The user sees what the followee posts and retweets."""

    user_id: str
    followee_id: str
    created_at: datetime


class RetweetTime(Body):
    """When it was retweeted. A retweet that is known keeps its time."""

    created_at: PastMoment | None = None
    """Unset: now."""


class Retweet(Body):
    """The user passed the tweet on."""

    user_id: str
    tweet_id: str
    created_at: datetime


class Hide(Body):
    """The user is not recommended the tweet."""

    user_id: str
    tweet_id: str
    created_at: datetime


class Model(Body):
    """A model version; a `kept` one has its vectors still and can be activated at once."""

    version: str
    created_at: datetime
    activated_at: datetime | None
    """Null: never, or its vectors were deleted since."""
    kept: bool
    metrics: dict[str, Any]
    """Of held-out retweets, by system; `gate`: beside the version that was active then, where there was one."""


class Share(Body):
    """How many users a version on trial serves."""

    share: Annotated[float, Field(ge=0, le=1, strict=True, examples=[0.1])]
    """Of all users, 0 to 1; 0: nobody, it only ranks what others are answered, to be measured."""


class ArmOfTrial(Body):
    """What a version did in the trial that runs."""

    version: str
    users: int
    answers: int
    retweets: int
    """Of what it had recommended to the user."""


class Trial(Body):
    """A version that serves a share of the users, and what it and the active one did since then."""

    version: str
    share: float
    since: datetime
    arms: list[ArmOfTrial]
    """The active version first."""


class ModelDetail(Model):
    """A version and its manifest: settings, data, files, libraries; null where the folder is not here."""

    active: bool
    manifest: dict[str, Any] | None


class Verified(Body):
    """A version whose files are those of its manifest."""

    version: str
    difference: float
    """How far its golden outputs are off in the ONNX Runtime that serves, as a share of the largest value of each."""


class Rebuilding(Body):
    """Redis is written anew; /health/ready says when it is done."""

    status: Literal["rebuilding"] = "rebuilding"


class Models(Body):
    """All versions, the one activated last first; `active` serves."""

    active: str | None
    trial: Trial | None
    models: list[Model]


class SimilarTweet(Body):
    """A tweet and the cosine of its vector with that of the one asked for."""

    tweet_id: str
    author_id: str
    similarity: float


class SimilarTweets(Body):
    """The most similar ones of the newest tweets, the most similar first."""

    tweet_id: str
    version: str
    degraded: bool
    """Whether Redis lost its contents and has not got them all back, so that tweets may be left out."""
    candidates: int
    items: list[SimilarTweet]


class Liveness(Body):
    """Whether the process is to go on."""

    status: Literal["alive", "hangs"]


class Readiness(Body):
    """What the service needs, part by part."""

    status: Status
    model: str
    redis: str
    database: str
    device: DeviceInUse
    """Where the encoder runs."""
