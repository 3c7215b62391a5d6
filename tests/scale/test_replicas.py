"""The replicas of tests/replicas.py on a Redis Cluster, and a retrain from pictures on S3 that they follow."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from contract.environment import StoreSettings
from contract.progress import silent
from tests.conftest import SMALL, copied_stores
from tests.object_store import object_store
from tests.redis_cluster import RedisCluster
from tests.replicas import Replicas, limited_over_all, moved, one_is_killed, three_replicas
from training.retrain import retrain

pytestmark = pytest.mark.timeout(900)
WITHIN_SECONDS = 60.0


@pytest.fixture(scope="module")
def replicas(trained_servers: StoreSettings, cluster: RedisCluster) -> Iterator[Replicas]:
    with (
        object_store() as server,
        copied_stores(trained_servers, cluster.url) as local,
        three_replicas(moved(local, server.url("pictures"), server.url("models"))) as started,
    ):
        yield started


def test_a_key_s_rate_counts_over_all_replicas(replicas: Replicas) -> None:
    asyncio.run(limited_over_all(replicas))


def test_one_is_killed_under_load_and_one_that_is_new_takes_its_place(replicas: Replicas) -> None:
    asyncio.run(one_is_killed(replicas))


def test_all_follow_a_retrain_from_pictures_on_s3(replicas: Replicas) -> None:
    assert not (replicas.stores.var_dir / "features").exists()  # they are computed from the pictures
    settings = SMALL.model_copy(update={"seed": 11})
    version = retrain(settings, replicas.stores, silent).version
    asyncio.run(asyncio.wait_for(followed(replicas, version), WITHIN_SECONDS))


async def followed(replicas: Replicas, version: str) -> None:
    """Each of them serves a version, and the same answer."""
    headers = {"Authorization": f"Bearer {replicas.key}"}
    async with httpx.AsyncClient(timeout=10, headers=headers) as client:
        answers = []
        for url in replicas.urls:
            while (await client.get(f"{url}/health/ready")).json()["model"] != version:  # noqa: ASYNC110 - over HTTP
                await asyncio.sleep(0.05)
            answers.append((await client.get(f"{url}/users/u0001/recommendations?k=20")).json()["items"])
    assert answers[0]
    assert all(answer == answers[0] for answer in answers)
