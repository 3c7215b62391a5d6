import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import pytest

from contract.environment import StoreSettings
from contract.tables import Follow, Retweet, Tweet
from tests.conftest import copied_stores, fresh_stores
from tests.integration.backups import live_in, take
from tests.integration.hostile import Target, check_well, target
from tests.integration.running import Network, Service, named, serving


@pytest.fixture
async def service(trained: StoreSettings) -> AsyncIterator[Service]:
    async with serving(trained) as started:
        yield started


@pytest.fixture
async def network(service: Service) -> Network:
    followees: dict[str, set[str]] = {}
    for follower, followee in await service.sql(Follow.follower_id, Follow.followee_id):
        followees.setdefault(follower, set()).add(followee)
    retweeters: dict[str, set[str]] = {}
    for user, tweet in await service.sql(Retweet.user_id, Retweet.tweet_id):
        retweeters.setdefault(tweet, set()).add(user)
    authors = dict(cast(list[tuple[str, str]], await service.sql(Tweet.tweet_id, Tweet.author_id)))
    return Network(followees, authors, retweeters)


@pytest.fixture
def reader(service: Service, network: Network) -> str:
    """A user whom the model was trained on and whose followees offer much."""
    trained = service.parts.ingest.models.required().artifact.user_ids
    return max(sorted(set(trained) & set(network.followees)), key=lambda user: len(network.offered(user)))


@pytest.fixture
def author(network: Network, reader: str) -> str:
    """Whom the reader follows."""
    return min(network.followees[reader])


@pytest.fixture(scope="module")
def shared(trained: StoreSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A service process for hostile input."""
    with target(trained, tmp_path_factory.mktemp("log") / "service.log") as started:
        yield started


@pytest.fixture
def at(shared: Target) -> Iterator[Target]:
    """The same; after each test it is well."""
    yield shared
    check_well(shared)


@pytest.fixture
def unchanged(at: Target) -> Iterator[Target]:
    """For refused requests: they leave everything as it is."""
    state = at.state()
    yield at
    assert at.state() == state


@pytest.fixture
def lived_in(trained_embedded: StoreSettings) -> Iterator[StoreSettings]:
    """Stores of a deployment with a bit of everything."""
    with copied_stores(trained_embedded) as stores:
        asyncio.run(live_in(stores))
        yield stores


@pytest.fixture
def made(trained_embedded: StoreSettings, tmp_path: Path) -> Path:
    """A backup."""
    take(trained_embedded, tmp_path / "made")
    return tmp_path / "made"


@pytest.fixture
def named_stores(monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreSettings]:
    """Empty embedded stores with the schema, which this process's environment names."""
    with fresh_stores("embedded") as stores:
        named(stores, monkeypatch)
        yield stores
