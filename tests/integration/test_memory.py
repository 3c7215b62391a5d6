"""What a vector takes in Redis, all in (MEMORY USAGE), at the paper's d = 400."""

import secrets

import numpy as np
import pytest

from contract.embedded import open_redis, redis_server
from contract.environment import StoreSettings
from contract.vectors import VectorStore

pytestmark = pytest.mark.anyio

VERSION = "20260401T120000Z-0123456789ab"


@pytest.mark.parametrize("id_", ["u0001", "1234567890123456789", "x" * 30])
async def test_a_vector_takes_at_most_a_kilobyte(trained: StoreSettings, id_: str) -> None:
    vector_1D = np.random.default_rng(0).normal(size=(1, 400)).astype(np.float16)
    namespace = secrets.token_hex(6)[: len("imagetweets")]  # as long as the default one, which may be in use
    with redis_server(trained) as (url, _):
        async with open_redis(url) as redis:
            vectors = VectorStore(redis, namespace)
            await vectors.put_users(VERSION, [id_], vector_1D)
            await vectors.put_tweets(VERSION, [id_], vector_1D)
            used = {kind: await redis.memory_usage(f"{namespace}:v:{VERSION}:{kind}:{id_}") for kind in ("u", "t")}
            await vectors.delete_version(VERSION)
            await redis.delete(f"{namespace}:changes")
    assert all(0 < (bytes_ or 0) <= 1_024 for bytes_ in used.values()), used
