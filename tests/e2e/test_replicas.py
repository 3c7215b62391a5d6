"""Three replicas that share PostgreSQL, Redis and storage that speaks S3, and no folder; each request goes to any.

One is killed under load, and one that is new takes its place.
"""

import asyncio
from collections.abc import Iterator

import pytest

from contract.environment import StoreSettings
from tests.conftest import copied_stores
from tests.object_store import object_store
from tests.replicas import Replicas, limited_over_all, moved, one_is_killed, three_replicas


@pytest.fixture(scope="module")
def stores(trained_servers: StoreSettings) -> Iterator[StoreSettings]:
    with object_store() as server, copied_stores(trained_servers) as local:
        yield moved(local, server.url("pictures"), server.url("models"))


@pytest.fixture(scope="module")
def replicas(stores: StoreSettings) -> Iterator[Replicas]:
    with three_replicas(stores) as started:
        yield started


def test_a_key_s_rate_counts_over_all_replicas(replicas: Replicas) -> None:
    asyncio.run(limited_over_all(replicas))


@pytest.mark.timeout(300)
def test_one_is_killed_under_load_and_one_that_is_new_takes_its_place(replicas: Replicas) -> None:
    asyncio.run(one_is_killed(replicas))
    assert [path.name for path in (replicas.folder / "4" / "var").iterdir()] == ["fetched_models"]
