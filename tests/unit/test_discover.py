"""What benchmarks/searches.py says of exact answers by bounds."""

import numpy as np
import pytest

from benchmarks.discover import LINKS
from benchmarks.made_vectors import KINDS, Kind, made_directions, made_tweets, made_world
from benchmarks.searches import Int8Rows, User, every_vector, least_sum
from benchmarks.site import DIM
from contract.link import NUMPY, Link, combine
from service.table import Table

_TWEETS = 5_000


@pytest.mark.parametrize("link", LINKS)
def test_no_score_is_as_large_where_the_sum_of_its_facets_is_smaller(link: Link) -> None:
    f_C, h_C = np.random.default_rng(0).normal(0, 4, (2, 10_000))
    for f, h, score in zip(f_C, h_C, combine(link, f_C, h_C, True, True, NUMPY)[0], strict=True):
        found = abs(f + h) if link == "product" else f + h
        assert found >= least_sum(link, score) - 1e-9


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("k", [1, 3, 100])
def test_rounded_vectors_with_bounds_give_the_best_of_all(kind: Kind, link: Link, k: int) -> None:
    generator = np.random.default_rng(1)
    world = made_world(kind, generator)
    users = [User(made_directions(world, generator)) for _ in range(5)]
    tweets = Table(DIM)
    tweets.vectors_RD = made_tweets(world, _TWEETS, generator)
    rounded, exact = Int8Rows(tweets, _TWEETS), every_vector(tweets, _TWEETS)
    for user in users:
        assert sorted(rounded.search(user, link, k)) == sorted(exact(user, link, k))
