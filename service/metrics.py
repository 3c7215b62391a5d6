"""What Prometheus reads at /metrics; one registry a process, nothing global."""

import sys

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

from service.memory import heap_bytes_in_use

_REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_ENCODER_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10)
_FRESHNESS_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3600)


class Metrics:
    """All metrics of a process. Labels are few and known: no ids."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.request_seconds = Histogram(
            "http_request_duration_seconds",
            "Requests, by method, route and status",
            ["method", "route", "status"],
            buckets=_REQUEST_SECONDS,
            registry=registry,
        )
        self.queue_seconds = Histogram(
            "encoder_queue_seconds",
            "How long a tweet waited to be encoded",
            buckets=_ENCODER_SECONDS,
            registry=registry,
        )
        self.encode_seconds = Histogram(
            "encoder_batch_seconds", "How long a batch took to encode", buckets=_ENCODER_SECONDS, registry=registry
        )
        self.batch_size = Histogram(
            "encoder_batch_size", "Tweets encoded at a time", buckets=(1, 2, 4, 8, 16, 32, 64), registry=registry
        )
        self.shed = Counter(
            "requests_shed",
            "Answered 429: reads and writes in work, tweets to encode, a key's rate",
            ["limit"],
            registry=registry,
        )
        self.uncounted = Counter(
            "requests_uncounted", "Requests of limited keys that Redis did not count", registry=registry
        )
        self.recommendations = Counter(
            "recommendations",
            "Answers, by source and whether it stood in for another",
            ["source", "degraded"],
            registry=registry,
        )
        self.compared_answers = Counter(
            "compared_answers",
            "Answers of a version that was asked for by name, which are not among recommendations",
            ["version"],
            registry=registry,
        )
        self.trial_answers = Counter(
            "trial_answers", "Answers while a version is on trial, by version", ["version"], registry=registry
        )
        self.shadow_overlap = Histogram(
            "shadow_overlap",
            "Share of an answer that the version on trial for nobody has in its own",
            ["version"],
            buckets=(0, 0.2, 0.4, 0.6, 0.8, 1),
            registry=registry,
        )
        self.shadow_seconds = Histogram(
            "shadow_duration_seconds",
            "How long it took it to rank",
            ["version"],
            buckets=_REQUEST_SECONDS,
            registry=registry,
        )
        self.shadow_failures = Counter("shadow_failures", "How often it could not", ["version"], registry=registry)
        self.trial_retweets = Counter(
            "trial_retweets", "Retweets of what a version had recommended in a trial", ["version"], registry=registry
        )
        self.candidates = Histogram(
            "recommendation_candidates",
            "Tweets ranked for an answer",
            buckets=(0, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000),
            registry=registry,
        )
        self.tweet_to_candidate_seconds = Histogram(
            "tweet_to_candidate_seconds",
            "From a tweet's arrival to its being a candidate under the active version",
            buckets=_FRESHNESS_SECONDS,
            registry=registry,
        )
        self.held_bytes = Gauge("held_bytes", "Vectors and timelines held in memory", registry=registry)
        self.heap_bytes = Gauge(
            "heap_in_use_bytes", "Taken from the heap (NaN where the C library does not tell)", registry=registry
        )
        self.heap_bytes.set_function(lambda: heap_bytes_in_use() or float("nan"))
        self.python_blocks = Gauge("python_blocks", "Python's small objects, in blocks", registry=registry)
        self.python_blocks.set_function(sys.getallocatedblocks)
        self.online_lost = Gauge(
            "online_network_lost", "1 while Redis lost its contents and has not all of it back", registry=registry
        )
        self.redis_away = Gauge(
            "redis_away", "1 while Redis does not answer and reads go on without it", registry=registry
        )
        self.redis_written = Gauge(
            "redis_written_anew_timestamp_seconds",
            "When this process last wrote all of Redis; 0: never",
            registry=registry,
        )
        self.fold_ins = Counter(
            "fold_ins",
            "Users without a trained vector that were seen to: folded, none (nothing to fold in), failed, dropped",
            ["outcome"],
            registry=registry,
        )
        self.pending = Gauge("tweets_pending", "Stored tweets that could not be encoded yet", registry=registry)
        self.model = Info("model", "The version that serves, its backbone and the encoder's device", registry=registry)
        self.model_created = Gauge("model_created_timestamp_seconds", "When the version was made", registry=registry)

    def text(self) -> bytes:
        """Prometheus' text form."""
        return generate_latest(self._registry)
