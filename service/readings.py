"""What the process' own metrics say, read as Prometheus would read them."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.samples import Sample

from service.guard import OPEN, PAGES, READS
from service.observe import UNMATCHED
from service.ops_schemas import Bucket, Distribution, Durations, RequestKind, Requests

Labels = dict[str, str]

_OPERATED = ("/models", "/metrics", "/ops", *(path.rstrip("/") for path in OPEN))


@dataclass
class Tally:
    """Histograms of one name, added up."""

    up_to: defaultdict[float, float] = field(default_factory=lambda: defaultdict(float))
    """By upper bound, as Prometheus has it: each bucket has those before it, too."""
    sum: float = 0.0

    def add(self, sample: Sample) -> None:
        """One of a histogram's samples."""
        if sample.name.endswith("_bucket"):
            self.up_to[float(sample.labels["le"])] += sample.value
        elif sample.name.endswith("_sum"):
            self.sum += sample.value

    @property
    def count(self) -> int:
        """Of all values."""
        return int(self.up_to[math.inf])

    def distribution(self) -> Distribution:
        """As the API has it."""
        return Distribution(count=self.count, sum=self.sum, buckets=list(self._buckets()))

    def durations(self) -> Durations:
        """The same of seconds."""
        p50, p99 = self.quantile(0.5), self.quantile(0.99)
        return Durations(count=self.count, sum=self.sum, buckets=list(self._buckets()), p50=p50, p99=p99)

    def quantile(self, share: float) -> float | None:
        """As `histogram_quantile` does: spread evenly within its bucket, and no more than the last finite bound."""
        rank, below, from_ = share * self.count, 0.0, 0.0
        for bound, up_to in sorted(self.up_to.items()):
            if up_to >= rank and up_to > 0:
                return from_ if math.isinf(bound) else from_ + (bound - from_) * (rank - below) / (up_to - below)
            below, from_ = up_to, bound
        return None

    def _buckets(self) -> Iterator[Bucket]:
        before = 0.0
        for bound, up_to in sorted(self.up_to.items()):
            yield Bucket(up_to=None if math.isinf(bound) else bound, count=int(up_to - before))
            before = up_to


def tally(histogram: Histogram) -> Tally:
    """Whatever its labels are."""
    whole = Tally()
    for sample in samples(histogram):
        whole.add(sample)
    return whole


def counts(counter: Counter) -> list[tuple[Labels, int]]:
    """By labels; those that were never counted are not there."""
    return [(sample.labels, int(sample.value)) for sample in samples(counter) if sample.name.endswith("_total")]


def value(gauge: Gauge) -> float:
    """Of one without labels."""
    (sample,) = samples(gauge)
    return sample.value


def samples(metric: MetricWrapperBase) -> Iterable[Sample]:
    """All of a metric's."""
    return [sample for family in metric.collect() for sample in family.samples]


def requests_by_kind(histogram: Histogram) -> list[Requests]:
    """Of the histogram of requests, by method, route and status."""
    kinds: dict[RequestKind, dict[str, Tally]] = {}
    for sample in samples(histogram):
        labels = sample.labels
        by_end = kinds.setdefault(kind_of(labels["method"], labels["route"]), defaultdict(Tally))
        for name in ("all", _end(labels["status"])):
            by_end[name].add(sample)
    return [
        Requests(
            kind=kind,
            answered=by_end["answered"].count,
            refused=by_end["refused"].count,
            failed=by_end["failed"].count,
            seconds=by_end["all"].durations(),
        )
        for kind, by_end in sorted(kinds.items())
    ]


def _end(status: str) -> str:
    return {"4": "refused", "5": "failed"}.get(status[0], "answered")


def kind_of(method: str, route: str) -> RequestKind:
    """Of a request, by its method and the route's path (`service/observe.py`)."""
    if route == UNMATCHED:
        return "unmatched"
    if route.endswith("/recommendations"):
        return "recommend"
    if method == "POST" and route in ("/tweets", "/tweets:batch"):
        return "post"
    if route in PAGES or route.startswith(_OPERATED):
        return "operate"
    return "read" if method in READS else "write"
