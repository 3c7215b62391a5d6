"""Stores to test on, a small dataset, and a small trained model that serves."""

import hashlib
import logging
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn

import psutil
import psycopg
import pytest
import redis
from alembic.config import Config
from filelock import FileLock
from psycopg import sql
from sqlalchemy import make_url

from alembic import command
from contract.embedded import redis_server
from contract.environment import StoreSettings
from contract.progress import silent
from tests.redis_cluster import RedisCluster, redis_cluster
from tests.secrets import NoSecrets
from training.importer import ImportReport, import_dataset
from training.retrain import publish_folder, retrain
from training.settings import TrainingSettings
from training.stores import with_stores
from training.synthesize import SynthesisSettings, synthesize

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("embedded", "servers")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Say what failed at once: a run that is cut short comes to no summary."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        print(f"\n{report.nodeid} ({report.when}):\n{report.longreprtext}", flush=True)  # noqa: T201 - it is for people


@pytest.fixture(scope="session", autouse=True)
def no_secrets_in_logs() -> Iterator[None]:
    """Of this process; tests/processes.py looks at those of others."""
    handler = NoSecrets()
    logging.getLogger().addHandler(handler)
    for name in ("service", "contract", "training"):
        logging.getLogger(name).setLevel(logging.INFO)
    yield
    logging.getLogger().removeHandler(handler)
    assert not handler.found, handler.found


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=KINDS)
def stores(request: pytest.FixtureRequest) -> Iterator[StoreSettings]:
    """Empty stores with the schema, of either kind."""
    with fresh_stores(request.param) as settings:
        yield settings


@pytest.fixture(scope="session")
def tiny_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder of 60 users and 80 tweets; copy it before you change it."""
    return made_network(tmp_path_factory, "tiny", SynthesisSettings(users=60, tweets=80))


@pytest.fixture(scope="session")
def default_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset folder that `synthesize` makes by default; copy it before you change it."""
    return made_network(tmp_path_factory, "default", SynthesisSettings())


@pytest.fixture(scope="session")
def trained_embedded(tiny_network: Path) -> Iterator[StoreSettings]:
    """What `trained` copies."""
    with trained_stores("embedded", tiny_network) as settings:
        yield settings


@pytest.fixture(scope="session")
def trained_servers(tiny_network: Path) -> Iterator[StoreSettings]:
    """What `trained` copies."""
    with trained_stores("servers", tiny_network) as settings:
        yield settings


@pytest.fixture(scope="module", params=KINDS)
def trained(request: pytest.FixtureRequest) -> Iterator[StoreSettings]:
    """Stores of either kind with the tiny network, on which a small model serves; a module's own."""
    with copied_stores(request.getfixturevalue(f"trained_{request.param}")) as settings:
        yield settings


@pytest.fixture(scope="session")
def cluster() -> Iterator[RedisCluster]:
    """Six nodes, which no test kills: namespaces of all tests that want one are there."""
    with redis_cluster() as started:
        yield started


def made_network(tmp_path_factory: pytest.TempPathFactory, name: str, settings: SynthesisSettings) -> Path:
    """Made once for all processes of this run."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"network-{name}" / name
    folder.parent.mkdir(exist_ok=True)
    with FileLock(folder.parent / "lock"):
        if not folder.exists():
            synthesize(folder, settings, silent)
    return folder


SMALL = TrainingSettings(backbone="tiny", dim=16, text_dim=16, word_dim=16, epochs=2)


def exported_model(network: Path, settings: TrainingSettings) -> Path:
    """A model of a network, trained once for all processes of this run: most of it is the export, some seconds."""
    name = hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:12]
    place = network.parent / f"model-{name}"
    with FileLock(network.parent / f"{name}.lock"):
        if not place.exists():
            with fresh_stores("embedded") as stores:
                import_into(stores, network)
                made = retrain(settings, stores, silent, dry_run=True)
                draft = place.with_name(f"{place.name}.draft")  # a worker may be stopped at any moment
                shutil.rmtree(draft, ignore_errors=True)
                shutil.copytree(made.folder, draft / made.version)
                draft.rename(place)
    (model,) = place.iterdir()
    return model


def publish_small(network: Path, stores: StoreSettings, settings: TrainingSettings = SMALL) -> str:
    """Let a small model serve; its version."""
    model = exported_model(network, settings)
    shutil.copytree(model, stores.models_dir / model.name)
    publish_folder(stores.models_dir / model.name, stores, silent)
    return model.name


@contextmanager
def trained_stores(kind: str, network: Path, versions: int = 1) -> Iterator[StoreSettings]:
    """Stores with a network, on which a small model serves; the last one of so many versions."""
    with fresh_stores(kind) as stores:
        import_into(stores, network)
        for seed in range(versions):
            publish_small(network, stores, SMALL.model_copy(update={"seed": seed}))
        yield stores


@contextmanager
def copied_stores(original: StoreSettings, redis_url: str | None = None) -> Iterator[StoreSettings]:
    """Stores of the same kind with the same network and the same model, which takes a second or two."""
    with fresh_stores("servers" if original.database_url else "embedded", original, redis_url) as settings:
        (model,) = settings.models_dir.iterdir()
        publish_folder(model, settings, silent)
        yield settings


@contextmanager
def fresh_stores(
    kind: str, original: StoreSettings | None = None, redis_url: str | None = None
) -> Iterator[StoreSettings]:
    """Migrated stores that are gone afterwards, with SQL, pictures and models of others where these are given.

    `redis_url` is a server of the caller's own, which keeps what is written to it.
    The folder's path is short enough for a unix socket.
    """
    with ExitStack() as stack:
        var_dir = Path(tempfile.mkdtemp(prefix="itr"))
        stack.callback(shutil.rmtree, var_dir)
        database_url = None
        namespace = f"t{uuid.uuid4().hex}"
        if kind == "servers":
            database_url = stack.enter_context(own_database(original.database_url if original else None))
            redis_url = redis_url or stack.enter_context(own_namespace(namespace))
        settings = StoreSettings(
            database_url=database_url,
            redis_url=redis_url,
            redis_namespace=namespace,
            blob_url=None,
            models_dir=var_dir / "models",
            var_dir=var_dir,
        )
        if original is not None:
            shutil.copytree(original.var_dir, var_dir, ignore=shutil.ignore_patterns("valkey"), dirs_exist_ok=True)
        migrate(settings)
        stack.enter_context(redis_server(settings))  # an embedded server that runs already is adopted, which saves time
        yield settings


@contextmanager
def own_database(original_url: str | None = None, english: bool = False) -> Iterator[str]:
    """The URL of a new PostgreSQL database, empty or a copy of another one, dropped afterwards.

    `english`: it sorts text as a dictionary does, which the usual one of a server may do, too.
    """
    url = os.environ.get("TEST_DATABASE_URL", "postgresql://postgres@127.0.0.1:5432/test")
    name, template = f"itr_{uuid.uuid4().hex}", original_url and make_url(original_url).database
    try:
        admin = psycopg.connect(url, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError as error:
        unavailable(f"PostgreSQL does not answer at TEST_DATABASE_URL ({error})")
    with admin:
        names = [sql.Identifier(name), sql.Identifier(template or ("template0" if english else "template1"))]
        locale = sql.SQL("LOCALE_PROVIDER icu ICU_LOCALE 'en-US'" if english else "")
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {} {}").format(*names, locale))
        try:
            yield make_url(url).set(database=name).render_as_string(hide_password=False)
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def own_namespace(namespace: str) -> Iterator[str]:
    """The URL of the Redis server; the namespace's keys are deleted afterwards."""
    url = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/0")
    with redis.Redis.from_url(url, socket_connect_timeout=3) as client:
        try:
            client.ping()
        except redis.exceptions.ConnectionError as error:
            unavailable(f"Redis does not answer at TEST_REDIS_URL ({error})")
        try:
            yield url
        finally:
            for key in client.scan_iter(match=f"{namespace}:*", count=1_000):
                client.delete(key)


def unavailable(reason: str) -> NoReturn:
    """Skip where nobody promised the servers; fail where CI did."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def migrate(settings: StoreSettings) -> None:
    """What `alembic upgrade head` does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAR_DIR", str(settings.var_dir))
        patch.delenv("DATABASE_URL", raising=False)
        if settings.database_url is not None:
            patch.setenv("DATABASE_URL", settings.database_url)
        command.upgrade(Config(ROOT / "alembic.ini"), "head")


def import_into(settings: StoreSettings, folder: Path, rejects_file: Path | None = None) -> ImportReport:
    """Import a dataset folder as `python -m training import` does; strictly, unless bad rows have a file to go to."""
    return with_stores(settings, lambda stores: import_dataset(folder, stores, silent, rejects_file))


def valkey_servers(var_dir: Path) -> list[psutil.Process]:
    """The embedded servers that run under a VAR_DIR."""
    return [
        process
        for process in psutil.process_iter(["name", "cwd"])
        if "valkey-server" in (process.info["name"] or "")
        and process.info["cwd"] == str((var_dir / "valkey").resolve())
    ]


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)
