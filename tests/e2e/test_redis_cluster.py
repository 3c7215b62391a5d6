"""Two services on a Redis Cluster of six nodes: masters are killed under load, and nothing acknowledged is lost."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from contract.environment import StoreSettings
from tests.conftest import SMALL, copied_stores, publish_small
from tests.failovers import WITHIN_SECONDS, a_part_beside, fail_over_under_load, prefixes
from tests.processes import two_services
from tests.redis_cluster import RedisCluster, redis_cluster
from training.stores import with_stores


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[RedisCluster]:
    with redis_cluster() as started:
        yield started


@pytest.fixture(scope="module")
def stores(trained_servers: StoreSettings, own_cluster: RedisCluster) -> Iterator[StoreSettings]:
    with copied_stores(trained_servers, own_cluster.url) as settings:
        yield settings


@pytest.fixture(scope="module")
def urls(stores: StoreSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with two_services(stores, tmp_path_factory.mktemp("logs")) as started:
        yield started


@pytest.mark.timeout(300)
@pytest.mark.parametrize("of_nobody", [False, True])
def test_a_master_is_killed_under_load(
    urls: list[str], stores: StoreSettings, own_cluster: RedisCluster, of_nobody: bool
) -> None:
    home, *parts = with_stores(stores, prefixes)
    key = home if of_nobody else a_part_beside(home, parts, own_cluster)
    asyncio.run(fail_over_under_load(urls, stores, own_cluster, key, of_nobody))


def test_another_model_is_published(urls: list[str], stores: StoreSettings, tiny_network: Path) -> None:
    version = publish_small(tiny_network, stores, SMALL.model_copy(update={"seed": 1}))

    async def follows() -> None:
        async with httpx.AsyncClient(timeout=10) as client:
            for url in urls:
                while (await client.get(f"{url}/health/ready")).json()["model"] != version:  # noqa: ASYNC110 - over HTTP
                    await asyncio.sleep(0.05)
                body = (await client.get(f"{url}/users/u0001/recommendations")).json()
                assert (body["version"], body["degraded"]) == (version, False)
            back = await client.post(f"{urls[0]}/models:rollback")
            assert back.status_code == 200, back.text

    asyncio.run(asyncio.wait_for(follows(), WITHIN_SECONDS))
