"""What docs/security.md promises, beside what test_keys, test_limits and the hostile tests have."""

import ast
import asyncio
import logging
import re
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.artifact import load
from contract.blobs import BlobStore
from contract.environment import StoreSettings
from contract.errors import ArtifactInvalid
from contract.tables import create_engine
from service.api import health, metrics, models, tweets, users
from service.guard import needed
from service.keys import create_key
from service.scopes import SCOPES, KeyScope
from tests.conftest import ROOT
from tests.integration.running import Service, changed, png, serving
from tests.integration.test_keys import bearer, forget_keys
from tests.secrets import SECRETS, NoSecrets
from tests.spoiling import name_anew

pytestmark = pytest.mark.anyio

Guarded = tuple[Service, dict[KeyScope, str]]

OPEN = {"/", "/ops", "/docs", "/openapi.json", "/redoc", "/health/live", "/health/ready"}
"""What is answered without a key; and the files that pages are made of."""
DESTINATIONS = {"127.0.0.1", "::1", "localhost"}


@pytest.fixture
async def guarded(trained: StoreSettings) -> AsyncIterator[Guarded]:
    """A service with a key for each scope."""
    engine = create_engine(trained.sqlalchemy_url)
    keys = {scope: await create_key(engine, f"only {scope}", [scope]) for scope in SCOPES}
    try:
        async with serving(trained, host="0.0.0.0") as service:
            yield service, keys
    finally:
        await forget_keys(engine)


async def test_every_operation_asks_for_its_scope(guarded: Guarded) -> None:
    service, keys = guarded
    paths = (await service.client.get("/openapi.json")).json()["paths"]
    asked = 0
    for path, operations in paths.items():
        for method, operation in operations.items():
            if "security" not in operation:
                assert path in OPEN
                continue
            ((scope,),) = (wanted["key"] for wanted in operation["security"])
            url = re.sub(r"{\w+}", "none", path)
            for name, key in keys.items():
                status = (await service.client.request(method, url, headers=bearer(key))).status_code
                assert (status in (401, 403)) == (name != scope), (method, path, name, status)
                asked += 1
    assert asked > 60


async def test_no_route_is_open_that_is_not_meant_to_be(guarded: Guarded) -> None:
    """Those that the API's document does not name, too, and those that nobody has made yet."""
    service, _ = guarded
    own = [
        *service.app.routes,
        *(route for part in (users, tweets, models, health, metrics) for route in part.router.routes),
    ]
    paths = {path for route in own if (path := getattr(route, "path", None))}
    assert len(paths) > 25
    paths |= {"/", "/admin", "/userss", "/health", "/healthz"}
    for path in sorted(paths):
        answer = await service.client.get(re.sub(r"{\w+(:\w+)?}", "none", path))
        opened = path in OPEN or path.startswith(("/static-offline-docs", "/docs", "/web"))
        assert opened or answer.status_code == 401, (path, answer.status_code)


@pytest.mark.parametrize(
    "path",
    [
        "//users/u0001/recommendations",
        "/./users/u0001/recommendations",
        "/health/../users/u0001/recommendations",
        "/%75sers/u0001/recommendations",
        "/USERS/u0001/recommendations",
        "/users;x/u0001/recommendations",
        "/users%2fu0001%2frecommendations",
        "/docs/../models",
        "/models/",
        "/metrics/",
        "/metrics%00",
    ],
)
async def test_no_spelling_of_a_path_goes_around_the_keys(guarded: Guarded, path: str) -> None:
    service, _ = guarded
    messages: list[Any] = []
    scope = {
        "type": "http",
        "method": "GET",
        "path": path.replace("%75", "u").replace("%2f", "/").replace("%00", "\0"),
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"service")],
        "scheme": "http",
        "http_version": "1.1",
        "server": ("service", 80),
        "client": ("192.0.2.1", 1),
        "root_path": "",
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        messages.append(message)

    await service.app(scope, receive, send)
    assert messages[0]["status"] in (401, 404), messages[0]


def test_what_needs_which_scope_is_one_rule() -> None:
    assert needed("GET", "/models") == needed("HEAD", "/metrics") == "read"
    assert needed("POST", "/tweets") == needed("DELETE", "/users/u/followees/v") == "write"
    assert needed("POST", "/models:rollback") == needed("DELETE", "/models/v") == "admin"


async def test_answers_are_kept_by_no_cache_and_run_by_no_browser(service: Service) -> None:
    posted = await service.post(png() + b"<script>alert(1)</script><?php phpinfo();", author_id="u0001")
    assert posted.status_code in (201, 202)
    tweet_id = posted.json()["tweet_id"]
    picture = await service.client.get(f"/tweets/{tweet_id}/image")
    answer = await service.client.get("/users/u0001/recommendations")
    assert picture.headers["content-type"] == "image/png"
    assert picture.headers["cache-control"].startswith("private")
    assert answer.headers["cache-control"] == "no-store"
    for one in (picture, answer):
        assert one.headers["content-security-policy"].startswith("default-src 'none'")
        assert "sandbox" in one.headers["content-security-policy"]
        assert one.headers["x-content-type-options"] == "nosniff"
    await changed(service, "DELETE", f"/tweets/{tweet_id}", 204)


async def test_nothing_is_fetched_from_an_address_that_a_caller_names(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    resolve, loop = socket.getaddrinfo, asyncio.get_running_loop()
    connect = loop.sock_connect

    def resolving(host: Any, *more: Any, **named: Any) -> Any:
        asked.append(str(host))
        return resolve(host, *more, **named)

    async def connecting(sock: socket.socket, address: Any) -> None:
        asked.append(str(address[0] if isinstance(address, tuple) else "localhost"))
        await connect(sock, address)

    monkeypatch.setattr(socket, "getaddrinfo", resolving)
    monkeypatch.setattr(loop, "sock_connect", connecting)
    url = "http://169.254.169.254/latest/meta-data"
    forms: list[dict[str, Any]] = [
        {"data": {"author_id": "u0001", "text": url, "image": url}},
        {"data": {"author_id": "u0001", "text": url}, "files": {"image": (url, url.encode(), "image/svg+xml")}},
        {"data": {"author_id": url}, "files": {"image": (url, svg(url), "image/svg+xml")}},
    ]
    for form in forms:
        assert (await service.client.post("/tweets", **form)).status_code in (413, 422)
    batch = {"tweets": f'[{{"author_id": "u0001", "image": "{url}"}}]'}
    await service.client.post("/tweets:batch", data=batch, files={"images": (url, svg(url))})
    await service.client.put("/users/u0001/retweets/t0001", json={"created_at": url})
    assert set(asked) <= DESTINATIONS, asked


def svg(url: str) -> bytes:
    return f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{url}"/></svg>'.encode()


@pytest.mark.parametrize("key", ["../../etc/passwd", "a" * 63, "A" * 64, "", "a" * 64 + "\n", f"{'a' * 62}/."])
def test_a_blob_s_key_is_a_hash_and_no_path(tmp_path: Path, key: str) -> None:
    blobs = BlobStore(f"file://{tmp_path}")
    for ask in (blobs.get, blobs.exists, blobs.delete):
        with pytest.raises(ValueError, match="no SHA-256"):
            ask(key)


def payload() -> None:
    pytest.fail("code of a model file was run")


class Runs:
    """Runs `payload` where it is unpickled."""

    def __reduce__(self) -> Any:
        return payload, ()


@pytest.mark.parametrize("name", ["user_vectors.npy", "golden.npz"])
def test_a_model_s_files_run_no_code(trained: StoreSettings, name: str, tmp_path: Path) -> None:
    (folder,) = trained.models_dir.iterdir()

    spoilt = tmp_path / folder.name
    shutil.copytree(folder, spoilt)
    objects = np.array([Runs()], dtype=object)
    with (spoilt / name).open("wb") as file:
        np.save(file, objects) if name.endswith(".npy") else np.savez(file, objects=objects)
    name_anew(spoilt, name)
    with pytest.raises(ArtifactInvalid, match=name):
        load(spoilt)


def calls() -> Iterator[tuple[str, str, set[str]]]:
    """Every call in the code: file and line, the function's name, its keyword arguments as they are written."""
    for package in ("contract", "service", "training", "alembic"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Call):
                    named = {f"{word.arg}={ast.unparse(word.value)}" for word in node.keywords}
                    yield f"{file.name}:{node.lineno}", ast.unparse(node.func), named


def test_nothing_that_is_read_can_run_code() -> None:
    found = list(calls())
    assert len(found) > 1_000
    for place, function, named in found:
        if not (function == "pickle.loads" and place.startswith("on_ray.py")):  # of a cluster that runs our code anyway
            assert function not in ("eval", "exec", "pickle.load", "pickle.loads", "yaml.load", "os.system"), place
        assert function != "torch.load" or "weights_only=True" in named, place
        assert function != "np.load" or "allow_pickle=True" not in named, place
        assert "shell=True" not in named, place


def test_a_secret_in_a_log_would_be_found() -> None:
    handler = NoSecrets()
    key = "itr_0123abcd_" + "x" * 43
    for line in (
        f"key {key}",
        "Authorization: Bearer abcdef",
        "postgresql://user:secret@host/name",
        "postgresql+psycopg2://user:a/b@host/name",
        "redis://:secret@host",
    ):
        assert SECRETS.search(line), line
        handler.handle(logging.LogRecord("service", logging.INFO, __file__, 1, line, (), None))
    assert len(handler.found) == 5
    beside = logging.LogRecord("service", logging.INFO, __file__, 1, "request", (), None)
    beside.key = key
    handler.handle(beside)
    assert len(handler.found) == 6
    assert not any(key in line or "secret@" in line for line in handler.found)
    for line in (
        "postgresql://user:***@host/name",
        "the header `Authorization: Bearer KEY` is missing",
        "http://a/b:c@d",
    ):
        assert not SECRETS.search(line), line
