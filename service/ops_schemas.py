"""The answer of GET /ops/state: how a process, its stores and its model are."""

from datetime import datetime
from typing import Literal

from service.schemas import Body, DeviceInUse, Status


class Bucket(Body):
    """How many values a bucket of a histogram has."""

    up_to: float | None
    """The largest value in it; null: it has what is above all others."""
    count: int
    """In this one alone, not in those before it."""


class Distribution(Body):
    """A histogram since the process began; of two answers the difference is what was in between."""

    count: int
    sum: float
    buckets: list[Bucket]


class Durations(Distribution):
    """In seconds."""

    p50: float | None
    """Estimated from the buckets, as Prometheus' `histogram_quantile` does; null where there is none yet."""
    p99: float | None
    """The same; where it is above the last bound, that bound."""


class Queue(Body):
    """Posted tweets in work, from their arrival to the answer."""

    in_work: int
    size: int
    """QUEUE_SIZE: one more is answered 429."""


class Encoder(Body):
    """What it did with posted tweets and the backlog."""

    batch_sizes: Distribution
    """Tweets encoded at a time."""
    batch_seconds: Durations
    """How long a batch took to encode."""
    queue_seconds: Durations
    """How long a tweet waited to be encoded."""


RequestKind = Literal["recommend", "post", "read", "write", "operate", "unmatched"]


class Requests(Body):
    """Requests of a kind, and how they ended."""

    kind: RequestKind
    """recommend: recommendations; post: tweets, one or many; read, write: all else of users and tweets; operate:
    models, health, metrics, pages, this; unmatched: what has no route, and what was refused before one was
    looked for."""
    answered: int
    """With a status below 400."""
    refused: int
    """With a status from 400 to 499."""
    failed: int
    """With a status of 500 or more."""
    seconds: Durations


class Shed(Body):
    """Requests that were answered 429."""

    limit: str
    """What was full: `reads`, `writes` in work; `tweets` to encode; `rate`, a key's own."""
    count: int


class Answers(Body):
    """Recommendations by where the candidates came from."""

    source: str
    """followees, discover, popular or recent."""
    degraded: bool
    """Whether it stood in for another one."""
    count: int


class Process(Body):
    """The process that answers, alone: where several serve, each tells of itself, and a balancer asks any of them."""

    host: str
    process_id: int
    started_at: datetime
    """All counts are since then."""
    uptime_seconds: float
    device: DeviceInUse
    """Where the encoder runs; none: no model is loaded."""
    queue: Queue
    encoder: Encoder
    requests: list[Requests]
    """Kinds that nobody asked for yet are left out."""
    shed: list[Shed]
    answers: list[Answers]
    held_bytes: int
    """Vectors and timelines held in memory."""
    held_limit_bytes: int
    """HELD_MB."""
    heap_bytes: int | None
    """Taken from the heap; null where the C library does not tell."""


class Store(Body):
    """Redis or the database."""

    state: str
    """As /health/ready says: `ok`, or what is wrong in words."""
    seconds: float | None
    """What one small question took, there and back: Redis one key, the database `SELECT 1`; null: it did not answer."""


class ModelAge(Body):
    """The version that serves here, and the newest of what it knows."""

    version: str
    created_at: datetime
    age_seconds: float
    trained_until: datetime | None
    """What is later was not trained on: retweets from then on were held out; null: exported before this was kept."""
    newest_retweet_at: datetime
    """Of the data that it was made from, what was held out too."""
    newest_tweet_at: datetime | None
    """The same; null: exported before this was kept."""


class Stored(Body):
    """What SQL has; counted twice a minute at most, since all tweets are looked at."""

    counted_at: datetime
    newest_retweet_at: datetime | None
    newest_tweet_at: datetime | None
    pending_tweets: int | None
    """Without a vector of the version that serves, so that they cannot be recommended; null: no model is loaded."""


class Freshness(Body):
    """How far what serves is behind what people do."""

    model: ModelAge | None
    """Null: no model is loaded."""
    stored: Stored | None
    """The last count, older than half a minute where the database was away; null: there is none yet."""
    waiting_users: int | None
    """Without a trained vector, waiting to have one fitted to what they did; null: Redis did not answer."""
    redis_written_at: datetime | None
    """When this process last wrote all of Redis anew, since its contents were lost; null: it never had to."""


class OpsState(Body):
    """For an operator's page, beside /models."""

    status: Status
    """As /health/ready says."""
    process: Process
    freshness: Freshness
    redis: Store
    database: Store
