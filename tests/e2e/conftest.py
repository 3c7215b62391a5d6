"""A service to look at in a browser, on stores that a module of tests has to itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from contract.environment import StoreSettings
from tests.conftest import trained_stores
from tests.e2e.browsing import chromium
from tests.processes import Running, environment_of, service_process


@pytest.fixture
def browser() -> Iterator[Browser]:
    """A test's own: while it runs, this thread has a loop, which stores of a wider scope could not be made in."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def site(tiny_network: Path) -> Iterator[StoreSettings]:
    """The tiny network with two versions, of which the second serves."""
    with trained_stores("embedded", tiny_network, versions=2) as stores:
        yield stores


@pytest.fixture(scope="module")
def running(site: StoreSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    log = tmp_path_factory.mktemp("log") / "service.log"
    with service_process(environment_of(site), log) as started:
        yield started
