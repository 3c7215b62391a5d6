"""The plan's tables, line by line."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.scale import plan
from benchmarks.scale.constants import Constants
from benchmarks.scale.plan import GB
from benchmarks.scale.shape import Network
from contract.versions import KEPT_VERSIONS

CELL_SHARDS = 10


@dataclass(frozen=True)
class Line:
    """Of the plan's table."""

    name: str
    unit: str
    value: Callable[[Network, Constants], float]


LINES = [
    Line("requests at the peak", "1/s", lambda network, _: plan.requests_a_second(network)),
    Line("tweets at the peak", "1/s", lambda network, _: plan.tweets_a_second(network)),
    Line("Redis, of a user beside vectors", "bytes", plan.graph_bytes),
    Line("Redis, one copy, one version", "GB", lambda n, c: plan.redis_bytes(n, c, 1) / GB),
    Line("Redis, one copy, two kept versions", "GB", lambda n, c: plan.redis_bytes(n, c, KEPT_VERSIONS) / GB),
    Line(
        "Redis, one copy, while a third is published", "GB", lambda n, c: plan.redis_bytes(n, c, KEPT_VERSIONS + 1) / GB
    ),
    Line("Redis, shards", "", plan.shards_planned),
    Line("Redis, processes with copies", "", lambda n, c: plan.shards_planned(n, c) * n.assumed.copies),
    Line("requests a replica is planned for", "1/s", plan.planned_rate),
    Line("p99 at that load, corrected", "ms", plan.p99_planned),
    Line("replicas, one core each", "", plan.replicas),
    Line("of these for heavy readers", "", plan.heavy_replicas),
    Line("held in replicas' memory", "GB", lambda n, c: plan.replicas(n, c) * n.assumed.held_mb / 1e3),
    Line("Redis to replicas", "Gbit/s", plan.network_gbit),
    Line("cores for tweets that are posted", "", plan.posting_cores),
    Line("SQL, one copy", "GB", lambda n, c: plan.sql_bytes(n, c) / GB),
    Line("pictures", "GB", lambda n, c: plan.blob_bytes(n, c) / GB),
    Line("retrain: training", "core hours", plan.train_core_hours),
    Line("retrain: all tweets encoded anew", "core hours", plan.encode_core_hours),
    Line("retrain on assumed GPUs", "GPU hours", plan.gpu_hours),
    Line("trainer's memory", "GB", plan.trainer_gb),
    Line("of it features, whole on each machine", "GB", lambda n, _: plan.features_gb(n)),
    Line("GPUs of 80 GB that hold the rest", "", plan.sharded_over),
    Line("a version into Redis, one writer", "hours", plan.publish_hours),
    Line("a lost shard written anew, one writer", "minutes", plan.rewrite_minutes),
    Line("replicas, Redis, SQL's disks, pictures, a retrain a night", "USD a month", plan.monthly_usd),
]
BREAKS = [
    Line("as built: a look at every shard's log", "ms of a replica's core, a look", plan.look_ms),
    Line("all changes read by every replica", "of each one's core", plan.log_share),
    Line("a part's log of changes reaches back", "s", plan.log_seconds),
    Line("that of the part of the newest tweets", "s", plan.newest_log_seconds),
    Line("as built: the shard of the newest tweets", "cores", plan.recent_cores),
]
"""What the present design does not carry beyond some size."""
CHANGES = [
    Line("int8 vectors with a scale: Redis, one copy, two versions", "GB", lambda n, c: plan.int8_bytes(n, c) / GB),
    Line("the same in shards, while a third is published", "", lambda n, c: plan.int8_shards(n, c)),
    Line("publishing a part at a time: Redis at most, one copy", "GB", lambda n, c: plan.in_parts_bytes(n, c) / GB),
    Line("writers that publish a version within an hour", "", lambda n, c: math.ceil(plan.publish_hours(n, c))),
    Line("cells of 10 shards", "", lambda n, c: math.ceil(plan.shards_planned(n, c) / CELL_SHARDS)),
    Line(
        "a look within a cell, as built",
        "ms of a replica's core, a look",
        lambda n, c: plan.look_of(min(CELL_SHARDS, plan.shards_planned(n, c)), c),
    ),
    Line("SQL machines of 2 TB", "", lambda n, c: math.ceil(plan.sql_bytes(n, c) / (2_000 * GB))),
    Line("cores that encode all tweets within 8 hours", "", lambda n, c: math.ceil(plan.encode_core_hours(n, c) / 8)),
    Line("cores that train within 8 hours", "", lambda n, c: math.ceil(plan.train_core_hours(n, c) / 8)),
]
"""What to change, as figures."""
