"""What is read from the process' own metrics."""

import math
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from service.readings import Tally, kind_of, requests_by_kind, tally

BOUNDS = (0.1, 0.5, 1.0, 5.0)


def histogram(*values: float) -> Histogram:
    made = Histogram("seconds", "Some", buckets=BOUNDS, registry=CollectorRegistry())
    for value in values:
        made.observe(value)
    return made


def test_buckets_are_counted_apart() -> None:
    told = tally(histogram(0.05, 0.3, 0.5, 7.0)).distribution()
    assert told.count == 4
    assert told.sum == pytest.approx(7.85)
    assert [(bucket.up_to, bucket.count) for bucket in told.buckets] == [(0.1, 1), (0.5, 2), (1, 0), (5, 0), (None, 1)]


def test_quantiles_by_hand() -> None:
    """As Prometheus' histogram_quantile has them: linear within a bucket, the first of which begins at 0."""
    told = tally(histogram(*[0.05] * 4, *[0.3] * 4))
    assert [told.quantile(share) for share in (0.25, 0.5, 0.75, 1)] == pytest.approx([0.05, 0.1, 0.3, 0.5])
    assert tally(histogram(0.7, 0.8)).quantile(0.5) == pytest.approx(0.75)


def test_what_is_above_all_bounds_is_told_as_the_last_bound() -> None:
    assert tally(histogram(6, 7, 8)).durations().p99 == 5


@pytest.mark.parametrize("empty", [Tally(), tally(histogram())])
def test_of_nothing_there_is_no_quantile(empty: Tally) -> None:
    told = empty.durations()
    assert (told.count, told.p50, told.p99) == (0, None, None)


@given(st.lists(st.floats(0.001, 20), min_size=1, max_size=50), st.floats(0.01, 1))
def test_a_quantile_is_in_the_bucket_that_the_value_is_in(values: list[float], share: float) -> None:
    estimate = tally(histogram(*values)).quantile(share)
    exact = sorted(values)[math.ceil(share * len(values)) - 1]
    place = bisect_left(BOUNDS, exact)
    assert estimate is not None
    if place == len(BOUNDS):
        assert estimate == BOUNDS[-1]
    else:
        assert (0, *BOUNDS)[place] <= estimate <= BOUNDS[place] * (1 + 1e-9)


@pytest.mark.parametrize(
    ("method", "route", "kind"),
    [
        ("GET", "/users/{user_id}/recommendations", "recommend"),
        ("POST", "/tweets", "post"),
        ("POST", "/tweets:batch", "post"),
        ("GET", "/tweets/{tweet_id}", "read"),
        ("HEAD", "/tweets/{tweet_id}/image", "read"),
        ("PUT", "/users/{user_id}/retweets/{tweet_id}", "write"),
        ("DELETE", "/tweets/{tweet_id}", "write"),
        ("POST", "/models/{version:plain}:activate", "operate"),
        ("GET", "/metrics", "operate"),
        ("GET", "/health/ready", "operate"),
        ("GET", "/ops/state", "operate"),
        ("GET", "/openapi.json", "operate"),
        ("GET", "/", "operate"),
        ("GET", "/ops", "operate"),
        ("GET", "/web", "operate"),
        ("GET", "/static-offline-docs", "operate"),
        ("POST", "unmatched", "unmatched"),
    ],
)
def test_every_route_has_a_kind(method: str, route: str, kind: str) -> None:
    assert kind_of(method, route) == kind


def test_requests_are_told_by_kind_and_end() -> None:
    made = Histogram("seconds", "Some", ["method", "route", "status"], buckets=BOUNDS, registry=CollectorRegistry())
    for method, route, status, seconds in (
        ("GET", "/tweets/{tweet_id}", "200", 0.2),
        ("GET", "/tweets/{tweet_id}", "304", 0.2),
        ("GET", "/tweets/{tweet_id}/similar", "404", 0.7),
        ("GET", "/tweets/{tweet_id}", "503", 4.0),
        ("POST", "/tweets", "429", 0.05),
    ):
        made.labels(method, route, status).observe(seconds)
    post, read = requests_by_kind(made)
    assert (post.kind, post.answered, post.refused, post.failed) == ("post", 0, 1, 0)
    assert (read.kind, read.answered, read.refused, read.failed) == ("read", 2, 1, 1)
    assert [bucket.count for bucket in read.seconds.buckets] == [0, 2, 1, 1, 0]
    assert read.seconds.sum == pytest.approx(5.1)
    assert requests_by_kind(histogram_of_nothing()) == []


def histogram_of_nothing() -> Histogram:
    return Histogram("seconds", "Some", ["method", "route", "status"], buckets=BOUNDS, registry=CollectorRegistry())
