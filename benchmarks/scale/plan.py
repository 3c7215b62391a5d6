"""The plan: what a network of some size takes, by arithmetic from constants and assumptions.

Each function takes the network and the constants that it needs; where one was not measured it raises NotMeasured.
"""

import math

import numpy as np

from benchmarks.scale.constants import Constants, Row
from benchmarks.scale.shape import Floats, Network
from contract.changelog import LOG_LIMIT
from contract.graph import RECENT_LIMIT
from contract.versions import KEPT_VERSIONS

DIM = 400
FEATURES = 1_280
"""Of EfficientNet-Lite0, the default backbone."""
_DAY = 86_400.0
_HOUR = 3_600.0
_MONTH_HOURS = 730.0
GB = 1e9
_QUANTILES: Floats = (np.arange(20_000) + 0.5) / 20_000
_GPU_GB = 80.0
AS_BUILT = "any replica, as built"
PLANNED = "and heavy readers apart"
"""The policies (policies.py) whose replicas are counted: on one shard, and on more."""


def requests_a_second(network: Network) -> float:
    """For recommendations, at the peak."""
    return network.users * network.assumed.requests / _DAY * network.assumed.peak


def tweets_a_second(network: Network) -> float:
    """At the peak."""
    return network.users * network.assumed.tweets / network.assumed.days / _DAY * network.assumed.peak


def changes_a_second(network: Network) -> float:
    """Entries of the logs of changes: four a tweet (vector; timeline; newest tweets, twice), one a retweet."""
    return ids_changes_a_second(network) + 2 * tweets_a_second(network)


def ids_changes_a_second(network: Network) -> float:
    """Without those of the newest tweets, which are in the log of their own part."""
    assumed = network.assumed
    return tweets_a_second(network) * (2 + assumed.retweets / assumed.tweets)


def graph_bytes(network: Network, constants: Constants) -> float:
    """Of a user in Redis, beside vectors: that there is one, follows, what was seen, a timeline."""
    assumed = network.assumed

    def mean(family: str, sizes_Q: Floats) -> float:
        held, taken = np.array(constants.sizes(family)).T
        per_one = taken[-1] / held[-1]
        bytes_Q = np.where(sizes_Q > held[-1], sizes_Q * per_one, np.interp(sizes_Q, held, taken))
        return float(np.mean(np.where(sizes_Q < 1, 0.0, bytes_Q)))

    timelines_Q = network.entries_at(_QUANTILES)
    seen_Q = timelines_Q * assumed.retweets / (assumed.tweets + assumed.retweets)
    follows = assumed.following * mean("follows", network.followees_at(_QUANTILES).astype(np.float64))
    return constants["known_bytes"] + follows + mean("seen", seen_Q) + mean("timeline", timelines_Q)


def redis_bytes(network: Network, constants: Constants, versions: int) -> float:
    """All of one copy, with so many versions' vectors."""
    vectors = versions * (1 + network.assumed.tweets) * constants["vector_bytes"]
    return network.users * (graph_bytes(network, constants) + vectors)


def shards_needed(network: Network, constants: Constants) -> int:
    """By memory while a version is published: those kept and the new one. Not yet by how busy they are."""
    return max(1, math.ceil(redis_bytes(network, constants, KEPT_VERSIONS + 1) / GB / network.assumed.shard_gb))


def shards_planned(network: Network, constants: Constants) -> int:
    """By memory, and so busy at most as is assumed."""
    busy = requests_a_second(network) * 1e-6 * of_policy(constants, network, "Redis a request", "µs of a core")
    return max(shards_needed(network, constants), math.ceil(busy / network.assumed.shard_busy))


def size_name(network: Network) -> str:
    """As rows of the simulation name it."""
    return f"{network.users / 1e9:g} B" if network.users >= 1e9 else f"{network.users / 1e6:g} M"


def of_policy(constants: Constants, network: Network, what: str, unit: str) -> float:
    """A row of the simulation, of the policy whose replicas are counted. Raises NotMeasured."""
    policy = AS_BUILT if shards_needed(network, constants) == 1 else PLANNED
    return constants.row(Row(f"{size_name(network)}, {policy}: {what}", unit, "simulation"))


def replicas(network: Network, constants: Constants) -> float:
    """At the peak, beside reading the log of changes; and two, so that one may fail. Heavy readers' are among them.

    Infinitely many where reading the log takes all that a replica has.
    """
    each = planned_rate(network, constants) * (1 - log_share(network, constants))
    if each <= 0:
        return math.inf
    heavy = heavy_replicas(network, constants)
    return max(2, math.ceil((requests_a_second(network) - heavy_requests(network, constants)) / each) + heavy)


def planned_rate(network: Network, constants: Constants) -> float:
    """Requests a second that a replica is planned for."""
    return of_policy(constants, network, "planned for", "requests/s a replica")


def p99_planned(network: Network, constants: Constants) -> float:
    """ms at that load, corrected by what the simulation is off."""
    return of_policy(constants, network, "p99 at the load planned for, corrected", "ms")


def heavy_requests(network: Network, constants: Constants) -> float:
    """A second, of who follows so many that replicas of their own serve them."""
    return requests_a_second(network) * of_policy(constants, network, "heavy readers", "of requests")


def heavy_replicas(network: Network, constants: Constants) -> int:
    """As busy as the others may be."""
    each = 1e-6 * of_policy(constants, network, "a heavy reader's request", "µs of a core")
    return math.ceil(heavy_requests(network, constants) * each / network.assumed.replica_busy)


def network_gbit(network: Network, constants: Constants) -> float:
    """From Redis to all replicas at the peak."""
    return requests_a_second(network) * of_policy(constants, network, "from Redis", "KB a request") * 8e3 / 1e9


def sql_bytes(network: Network, constants: Constants) -> float:
    """One copy, with the vectors of the kept versions."""
    assumed = network.assumed
    tweet = constants["tweets_row"] + KEPT_VERSIONS * constants["tweet_vectors_row"]
    edges = network.follows * constants["follows_row"] + assumed.retweets * constants["retweets_row"]
    return network.users * (constants["users_row"] + edges + assumed.tweets * tweet)


def blob_bytes(network: Network, _: Constants) -> float:
    """Pictures as they were posted."""
    return network.users * network.assumed.tweets * network.assumed.picture_kb * 1e3


def posting_cores(network: Network, constants: Constants) -> float:
    """Of the service's processors, at the peak, for tweets that are posted."""
    return tweets_a_second(network) * constants["post_ms"] / 1e3


def encode_core_hours(network: Network, constants: Constants) -> float:
    """All tweets once, as a new version needs: read, decode, encode."""
    tweets = network.users * network.assumed.tweets
    return tweets * (constants["encode_ms"] + constants["decode_ms"]) / 1e3 / _HOUR


def train_core_hours(network: Network, constants: Constants) -> float:
    """All epochs over all retweets with their negatives, at d = 400."""
    assumed = network.assumed
    tuples = network.users * assumed.retweets * assumed.negatives * assumed.epochs
    return tuples / constants["tuples_a_second"] * constants.cores("tuples_a_second") / _HOUR


def gpu_hours(network: Network, constants: Constants) -> float:
    """Of a retrain; what a GPU does is assumed."""
    assumed = network.assumed
    train, encode = train_core_hours(network, constants), encode_core_hours(network, constants)
    return train / assumed.train_gpu + encode / assumed.encode_gpu


def trainer_gb(network: Network, _: Constants) -> float:
    """Users' vectors, the best so far and Adagrad's sums, float32 at d = 400, and the pictures' features."""
    return tables_gb(network) + features_gb(network)


def tables_gb(network: Network) -> float:
    """What is divided over devices."""
    return 3 * network.users * DIM * 4 / GB


def features_gb(network: Network) -> float:
    """What each machine that trains has whole."""
    return network.users * network.assumed.tweets * FEATURES * 4 / GB


def sharded_over(network: Network, _: Constants) -> int:
    """GPUs of 80 GB whose memory is four fifths full of the tables of users."""
    return math.ceil(tables_gb(network) / (0.8 * _GPU_GB))


def publish_hours(network: Network, constants: Constants) -> float:
    """By one writer: a version's vectors into Redis."""
    return network.users * (1 + network.assumed.tweets) / constants["vectors_written"] / _HOUR


def rewrite_minutes(network: Network, constants: Constants) -> float:
    """One writer: all of a lost shard, with the kept versions; SQL's part of it is not in it."""
    users = network.users / shards_planned(network, constants)
    vectors = KEPT_VERSIONS * users * (1 + network.assumed.tweets)
    return (vectors / constants["vectors_written"] + users / constants["users_online"]) / 60


def log_share(network: Network, constants: Constants) -> float:
    """Of every replica's processor: it reads all changes, whoever made them."""
    return changes_a_second(network) * constants["change_client"] * 1e-6


def log_seconds(network: Network, constants: Constants) -> float:
    """How far back an id's log reaches: a replica that did not look for so long drops all that it holds.

    On more shards than one each has the log of its ids, and what belongs to nobody has one of its own.
    """
    shards = shards_planned(network, constants)
    return LOG_LIMIT * shards / (changes_a_second(network) if shards == 1 else ids_changes_a_second(network))


def newest_log_seconds(network: Network, constants: Constants) -> float:
    """The same of the log that tells of the newest tweets."""
    alone = shards_planned(network, constants) > 1
    return LOG_LIMIT / (2 * tweets_a_second(network) if alone else changes_a_second(network))


def look_ms(network: Network, constants: Constants) -> float:
    """Of a replica's processor, as built: a look asks every shard."""
    return look_of(shards_planned(network, constants), constants)


def look_of(shards: int, constants: Constants) -> float:
    """ms of a replica's processor, where a look asks so many shards."""
    return (constants["look_service"] + (shards - 1) * constants["command_client"]) / 1e3


def int8_saved(network: Network, versions: int) -> float:
    """Bytes: a vector's two a dimension become one, and a scale of 4."""
    return network.users * (1 + network.assumed.tweets) * versions * (DIM - 4)


def int8_bytes(network: Network, constants: Constants) -> float:
    """One copy with the kept versions."""
    return redis_bytes(network, constants, KEPT_VERSIONS) - int8_saved(network, KEPT_VERSIONS)


def int8_shards(network: Network, constants: Constants) -> int:
    """By memory, while a version is published."""
    most = redis_bytes(network, constants, KEPT_VERSIONS + 1) - int8_saved(network, KEPT_VERSIONS + 1)
    return max(1, math.ceil(most / GB / network.assumed.shard_gb))


def in_parts_bytes(network: Network, constants: Constants) -> float:
    """One copy, two versions and a tenth of a third, where each tenth of the users moves to it on its own."""
    two, three = (redis_bytes(network, constants, KEPT_VERSIONS + more) for more in (0, 1))
    return two + (three - two) / 10


def recent_cores(network: Network, constants: Constants) -> float:
    """Of the one shard that has the newest tweets: who follows nobody gets them, and each new one changes them."""
    asked = requests_a_second(network) * (1 - network.assumed.following)
    changed = min(1.0, tweets_a_second(network) * replicas(network, constants) / max(1.0, asked))
    return asked * changed * RECENT_LIMIT * constants["entry_redis"] * 1e-6


def monthly_usd(network: Network, constants: Constants) -> float:
    """Replicas, Redis, SQL's disks, pictures and a retrain a night, at the assumed prices."""
    assumed = network.assumed
    cores = replicas(network, constants) + posting_cores(network, constants)
    cores += shards_planned(network, constants) * assumed.copies
    ram_gb = shards_planned(network, constants) * assumed.copies * assumed.shard_gb
    disk = sql_bytes(network, constants) / GB * assumed.sql_copies * assumed.ssd_usd
    blobs = blob_bytes(network, constants) / GB * assumed.blob_usd
    machines = (cores * assumed.core_usd + ram_gb * assumed.ram_usd) * _MONTH_HOURS
    return machines + disk + blobs + 30 * gpu_hours(network, constants) * assumed.gpu_usd
