"""What the soak calls flat."""

from dataclasses import replace
from typing import Any

import pytest

from tests.soak.load import EDGES, NEWCOMERS, TWEETS, Clients
from tests.soak.verdict import Sample, lines_of

FIRST = Sample(
    seconds=5,
    memory_mb=180,
    heap_mb=50,
    python_blocks=600_000,
    descriptors=33,
    threads=12,
    redis_keys=2_500,
    redis_mb=3,
    requests=450,
    p50_ms=40,
    p99_ms=300,
)


def grown(name: str = "memory_mb", per_sample: float = 0.0, samples: int = 240) -> set[str]:
    """What is said to grow, where one grows by so much from a sample to the next one."""
    made = []
    for n in range(samples):
        changed: dict[str, Any] = {name: getattr(FIRST, name) + per_sample * n}
        made.append(replace(FIRST, seconds=5.0 * (n + 1), **changed))
    return {line.name for line in lines_of(made) if line.grows}


def test_what_stays_as_it_is_is_flat() -> None:
    assert grown() == set()


@pytest.mark.parametrize(
    ("name", "an_hour", "grows"),
    [
        ("memory_mb", 29, False),
        ("memory_mb", 31, True),
        ("heap_mb", 4.9, False),
        ("heap_mb", 5.1, True),
        ("python_blocks", 50_000, False),
        ("python_blocks", 60_000, True),
        ("redis_mb", 1.9, False),
        ("redis_mb", 2.1, True),
        ("descriptors", 8, False),
        ("descriptors", 10, True),
        ("threads", 8, False),
        ("threads", 10, True),
        ("redis_keys", 500, False),
        ("redis_keys", 1_000, True),
    ],
)
def test_what_grows_is_named(name: str, an_hour: float, grows: bool) -> None:
    """A leak of 31 MB an hour is 2 % between the thirds of 20 minutes."""
    assert grown(name, an_hour / 720) == ({name} if grows else set())


def test_what_grew_at_first_alone_is_flat() -> None:
    rising = [replace(FIRST, seconds=5.0 * n, memory_mb=180 + min(n, 80)) for n in range(1, 241)]
    assert not any(line.grows for line in lines_of(rising))


@pytest.mark.parametrize("name", ["memory_mb", "descriptors", "redis_keys"])
def test_what_is_no_number_is_not_flat(name: str) -> None:
    assert grown(name, float("nan")) == {name}


def test_too_few_samples_are_an_error() -> None:
    assert grown(samples=9) == set()
    with pytest.raises(ValueError, match="8 samples are too few, at least 9 are needed: give more --minutes"):
        grown(samples=8)


def test_clients_whose_stores_never_filled_up_say_so() -> None:
    clients = Clients("http://127.0.0.1:1", seed=1)
    assert len(clients.not_full()) == 3
    clients._tweets.extend([("t", "u")] * TWEETS)
    clients._newcomers.extend(["u"] * NEWCOMERS)
    clients._edges.extend(["/"] * (EDGES - 1))
    assert clients.not_full() == ["the clients had 499 edges of their own in the end, not 500: give more --minutes"]
