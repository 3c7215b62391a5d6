"""What is assumed, in one place: change it here, run `python -m benchmarks.scale --only simulation` and `make docs`."""

from dataclasses import dataclass, field, fields
from typing import Any


def _assumed(value: float, unit: str, why: str) -> Any:
    return field(default=value, metadata={"unit": unit, "why": why})


@dataclass(frozen=True)
class Assumptions:
    """The network, what people do, machines and prices."""

    following: float = _assumed(
        0.48, "of users", "follow anyone: 29,501 follows at a mean of 6.2 are 4,758 of 9,900 users"
    )
    followees: float = _assumed(6.2, "a user who follows", "the paper's mean")
    followees_max: float = _assumed(162, "", "the paper's largest, of 4,758: it sets the lognormal's width")
    followees_tail: float = _assumed(
        1.5, "", "Pareto exponent of the hundredth who follow most; 10,000 is the service's bound"
    )
    followers_tail: float = _assumed(
        1.276, "", "Pareto exponent of followers (Twitter's density: 2.276, Kwak et al. 2010)"
    )
    tweets: float = _assumed(0.727, "a user", "the paper: 7,193 of 9,900 users")
    retweets: float = _assumed(9.1, "a user", "the paper")
    entries_sigma: float = _assumed(1.2, "", "lognormal width of what is on a timeline (mean: tweets and retweets)")
    days: float = _assumed(30, "days", "in which these came: what a day brings is a thirtieth")
    requests: float = _assumed(5, "a user and day", "of all users")
    session: float = _assumed(5, "requests", "of a visit, geometric")
    gap_s: float = _assumed(10, "s", "between two of a visit, exponential")
    peak: float = _assumed(3, "times the mean", "rates are computed at the peak")
    p99_ms: float = _assumed(10, "ms", "what p99 is to be within")
    held_mb: float = _assumed(512, "MB", "HELD_MB of a replica (one process, one core), as it is by itself")
    rtt_ms: float = _assumed(0.2, "ms", "between two machines and back")
    nic_gbit: float = _assumed(25, "Gbit/s", "of a machine of Redis or of 16 replicas")
    shard_gb: float = _assumed(
        25, "GB", "of a Redis shard's data: what a fork for a snapshot may double stays below 64"
    )
    shard_busy: float = _assumed(0.5, "of a core", "a shard is to be busy at the peak at most")
    copies: float = _assumed(2, "", "of each shard: itself and a replica of it")
    replica_busy: float = _assumed(0.3, "of a core", "a replica is to be busy at the peak at most: bursts need room")
    picture_kb: float = _assumed(200, "KB", "of a picture as posted")
    sql_copies: float = _assumed(2, "", "of SQL: itself and a standby")
    epochs: float = _assumed(12, "", "of a retrain, the trainer's default")
    negatives: float = _assumed(8, "a retweet", "the trainer's default")
    train_gpu: float = _assumed(20, "cores", "that a GPU trains as fast as: not measured, no card was at hand")
    encode_gpu: float = _assumed(50, "cores", "that a GPU encodes as fast as, pictures decoded: not measured either")
    core_usd: float = _assumed(0.04, "USD an hour", "a core, with 4 GB")
    ram_usd: float = _assumed(0.005, "USD an hour", "a GB of memory beside")
    gpu_usd: float = _assumed(2.5, "USD an hour", "a GPU")
    ssd_usd: float = _assumed(0.1, "USD a month", "a GB of SSD")
    blob_usd: float = _assumed(0.023, "USD a month", "a GB of blobs")


def rows(assumptions: Assumptions) -> list[list[str]]:
    """Name, value, unit, why."""
    return [
        [one.name, f"{getattr(assumptions, one.name):g}", one.metadata["unit"], one.metadata["why"]]
        for one in fields(assumptions)
    ]
