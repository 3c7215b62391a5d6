"""GET /ops/state, a line a part: read from what the process has; what a store is asked for comes from the caller."""

import os
import socket
from datetime import UTC, datetime

from service import readings
from service.active import ActiveModel
from service.api.parts import Parts
from service.memory import heap_bytes_in_use
from service.ops_schemas import Answers, Encoder, Freshness, ModelAge, Process, Queue, Shed, Stored


def process_now(parts: Parts) -> Process:
    """How this process is."""
    model, metrics = parts.ingest.models.current, parts.metrics
    return Process(
        host=socket.gethostname(),
        process_id=os.getpid(),
        started_at=parts.started_at,
        uptime_seconds=(datetime.now(UTC) - parts.started_at).total_seconds(),
        device="none" if model is None else model.onnx.device,
        queue=Queue(in_work=parts.ingest.batcher.in_work, size=parts.settings.queue_size),
        encoder=Encoder(
            batch_sizes=readings.tally(metrics.batch_size).distribution(),
            batch_seconds=readings.tally(metrics.encode_seconds).durations(),
            queue_seconds=readings.tally(metrics.queue_seconds).durations(),
        ),
        requests=readings.requests_by_kind(metrics.request_seconds),
        shed=[Shed(limit=labels["limit"], count=count) for labels, count in readings.counts(metrics.shed)],
        answers=[
            Answers(source=labels["source"], degraded=labels["degraded"] == "true", count=count)
            for labels, count in readings.counts(metrics.recommendations)
        ],
        held_bytes=int(readings.value(metrics.held_bytes)),
        held_limit_bytes=parts.settings.held_mb * 1_000_000,
        heap_bytes=heap_bytes_in_use(),
    )


def freshness_now(parts: Parts, stored: Stored | None, waiting_users: int | None) -> Freshness:
    """How far what serves is behind."""
    model, written = parts.ingest.models.current, readings.value(parts.metrics.redis_written)
    return Freshness(
        model=None if model is None else age_of(model),
        stored=stored,
        waiting_users=waiting_users,
        redis_written_at=datetime.fromtimestamp(written, UTC) if written else None,
    )


def age_of(model: ActiveModel) -> ModelAge:
    """And what it was made from."""
    manifest = model.manifest
    return ModelAge(
        version=manifest.version,
        created_at=manifest.created_at,
        age_seconds=(datetime.now(UTC) - manifest.created_at).total_seconds(),
        trained_until=manifest.judged_from,
        newest_retweet_at=manifest.data.last_retweet_at,
        newest_tweet_at=manifest.data.last_tweet_at,
    )
