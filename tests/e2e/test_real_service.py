"""Whole stories over real HTTP against real processes, on Postgres with Redis and on the embedded stores."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from contract.environment import StoreSettings
from tests.conftest import ROOT, copied_stores, wait_until
from tests.integration.running import png
from tests.processes import environment_of, service_process


class Client(httpx.Client):
    """Asks, and says what is recommended."""

    def page(self, user_id: str, **parameters: Any) -> dict[str, Any]:
        answer = self.get(f"/users/{user_id}/recommendations", params=parameters)
        assert answer.status_code == 200, answer.text
        page: dict[str, Any] = answer.json()
        return page

    def offered(self, user_id: str, **parameters: Any) -> list[str]:
        return [item["tweet_id"] for item in self.page(user_id, **{"k": 100} | parameters)["items"]]

    def make(self, *user_ids: str) -> None:
        for user_id in user_ids:
            assert self.post("/users", json={"user_id": user_id}).status_code == 201

    def post_tweet(self, colour: str, headers: dict[str, str] | None = None, **form: Any) -> httpx.Response:
        return self.post("/tweets", data=form, files={"image": png(colour)}, headers=headers)

    def change(self, method: str, url: str) -> None:
        answer = self.request(method, url)
        assert answer.status_code in (200, 201, 204), answer.text


@pytest.fixture(scope="module")
def clients(trained: StoreSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Client]]:
    """Of two processes on the same stores, as replicas are."""
    folder = tmp_path_factory.mktemp("logs")
    with (
        service_process(environment_of(trained), folder / "one") as one,
        service_process(environment_of(trained), folder / "two") as two,
        Client(base_url=one.url, timeout=30) as first,
        Client(base_url=two.url, timeout=30) as second,
    ):
        yield first, second


@pytest.fixture(scope="module")
def client(clients: tuple[Client, Client]) -> Client:
    return clients[0]


@pytest.fixture(scope="module")
def known(client: Client) -> str:
    """A user whom the model knows and whose followees offer much."""
    pages = {f"u{n:04}": client.page(f"u{n:04}", k=100) for n in range(1, 40)}
    full = {user: page for user, page in pages.items() if page["source"] == "followees" and not page["missing"]}
    return max(full, key=lambda user: len(full[user]["items"]))


def test_source_followees(client: Client, known: str) -> None:
    page = client.page(known, k=3, explain=True)
    assert (page["source"], page["degraded"], page["missing"]) == ("followees", False, [])
    assert len(page["items"]) == 3
    assert all(item["score"] == pytest.approx(item["personal"] + item["social"], abs=1e-5) for item in page["items"])
    assert 0 < sum(share["share"] for share in page["followees"]) <= 1 + 1e-5


def test_source_followees_of_a_user_whom_the_model_does_not_know(client: Client, known: str) -> None:
    client.make("social-only")
    for author in {item["author_id"] for item in client.page(known, k=100)["items"]}:
        client.change("PUT", f"/users/social-only/followees/{author}")
    page = client.page("social-only", k=5)
    assert (page["source"], page["degraded"], page["missing"]) == ("followees", False, ["user_vector"])
    assert {item["personal"] for item in page["items"]} == {0.0}
    assert len({item["score"] for item in page["items"]}) > 1


def test_source_discover_asked_for_and_standing_in(client: Client, known: str) -> None:
    page = client.page(known, scope="discover", k=3)
    assert (page["source"], page["degraded"]) == ("discover", False)
    followees = [share["user_id"] for share in client.page(known, explain=True)["followees"]]
    assert not set(followees) & {item["author_id"] for item in client.page(known, scope="discover", k=100)["items"]}


def test_source_discover_for_a_user_with_a_vector_and_no_followees(client: Client, known: str) -> None:
    followees: list[str] = []
    while some := [share["user_id"] for share in client.page(known, explain=True)["followees"] or []]:
        assert not set(some) & set(followees)
        for followee in some:  # an answer names five
            client.change("DELETE", f"/users/{known}/followees/{followee}")
        followees += some
    page = client.page(known, k=3)
    assert (page["source"], page["degraded"], page["missing"]) == ("discover", True, [])
    assert {item["social"] for item in page["items"]} == {0.0}
    for followee in followees:
        client.change("PUT", f"/users/{known}/followees/{followee}")
    assert client.page(known, k=3)["source"] == "followees"


def test_source_popular_and_recent(client: Client) -> None:
    client.make("brand-new")
    page = client.page("brand-new", k=5)
    assert (page["source"], page["degraded"], page["missing"]) == ("popular", True, ["user_vector"])
    scores = [item["score"] for item in page["items"]]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0
    assert client.get("/users/nobody/recommendations").status_code == 404


def test_a_follow_a_tweet_a_hide_and_a_deletion_change_the_very_next_answer(clients: tuple[Client, Client]) -> None:
    here, there = clients
    here.make("reads-next", "posts-next")
    here.change("PUT", "/users/reads-next/followees/posts-next")
    posted = here.post_tweet("teal", author_id="posts-next", text="Calm lake. #morning", tweet_id="next-1")
    assert posted.json()["status"] == "ready"
    assert there.offered("reads-next") == ["next-1"]
    there.change("PUT", "/users/reads-next/hidden/next-1")
    assert "next-1" not in here.offered("reads-next")
    here.change("DELETE", "/users/reads-next/hidden/next-1")
    assert there.offered("reads-next") == ["next-1"]
    here.change("DELETE", "/users/reads-next/followees/posts-next")
    assert there.page("reads-next")["source"] != "followees"
    there.change("PUT", "/users/reads-next/followees/posts-next")
    assert here.offered("reads-next") == ["next-1"]
    here.change("DELETE", "/tweets/next-1")
    for client in clients:
        assert "next-1" not in client.offered("reads-next")
        assert "next-1" not in client.offered("reads-next", scope="discover")
        assert client.get("/tweets/next-1").status_code == 404
        assert client.get("/tweets/next-1/image").status_code == 404


def test_pages_never_repeat_and_never_skip_while_tweets_arrive_elsewhere(clients: tuple[Client, Client]) -> None:
    here, there = clients
    here.make("pages", "fills")
    here.change("PUT", "/users/pages/followees/fills")
    offered = {f"page-{n:02}" for n in range(25)}
    for tweet_id in offered:
        assert here.post_tweet("olive", author_id="fills", text=tweet_id, tweet_id=tweet_id).status_code == 201
    shown: list[str] = []
    cursor = None
    for n in range(10):
        parameters = {"k": 4} if cursor is None else {"k": 4, "cursor": cursor}
        page = clients[n % 2].page("pages", **parameters)
        shown += [item["tweet_id"] for item in page["items"]]
        there.post_tweet("navy", author_id="fills", text=f"meanwhile {n}", tweet_id=f"meanwhile-{n}")
        if (cursor := page["next_cursor"]) is None:
            break
    assert len(shown) == len(set(shown))
    assert set(shown) == offered


def test_the_same_post_twice_is_one_tweet(clients: tuple[Client, Client]) -> None:
    here, there = clients
    here.make("repeats")
    key = {"Idempotency-Key": "once"}
    first = here.post_tweet("plum", headers=key, author_id="repeats", text="Again.")
    again = [client.post_tweet("plum", headers=key, author_id="repeats", text="Again.") for client in (here, there) * 2]
    assert {answer.status_code for answer in (first, *again)} == {201}
    assert {answer.text for answer in again} == {first.text}
    assert there.post_tweet("plum", headers=key, author_id="repeats", text="Other words.").status_code == 409
    here.make("sees-repeats")
    here.change("PUT", "/users/sees-repeats/followees/repeats")
    assert here.offered("sees-repeats") == [first.json()["tweet_id"]]
    for _ in range(2):
        here.change("PUT", f"/users/sees-repeats/retweets/{first.json()['tweet_id']}")
        here.change("DELETE", f"/users/sees-repeats/retweets/{first.json()['tweet_id']}")
        here.change("DELETE", f"/users/sees-repeats/retweets/{first.json()['tweet_id']}")
    assert there.offered("sees-repeats") == [first.json()["tweet_id"]]


def test_everything_posted_at_once_is_recommendable_in_the_other_process_within_a_second(
    clients: tuple[Client, Client],
) -> None:
    here, there = clients
    here.make("crowd", "watches-crowd")
    here.change("PUT", "/users/watches-crowd/followees/crowd")

    async def post_all() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=here.base_url, timeout=30) as client:
            posts = [
                client.post(
                    "/tweets",
                    data={"author_id": "crowd", "tweet_id": f"crowd-{n}", "text": f"Number {n}."},
                    files={"image": png("coral", (40 + n, 30))},
                )
                for n in range(30)
            ]
            return await asyncio.gather(*posts)

    answers = asyncio.run(post_all())
    assert {answer.status_code for answer in answers} == {201}
    asked = time.monotonic()
    assert set(there.offered("watches-crowd")) == {f"crowd-{n}" for n in range(30)}
    assert time.monotonic() - asked < 1


def test_each_key_opens_what_its_scopes_say(trained: StoreSettings, tmp_path: Path) -> None:
    """Last on these stores: from the first key on, nobody may do anything without one."""
    environment = environment_of(trained)

    def command(*arguments: str) -> str:
        command = [sys.executable, "-m", "service", "keys", *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout

    with (
        service_process(environment, tmp_path / "log") as running,
        Client(base_url=running.url, timeout=30) as client,
    ):
        keys = {scope: command("create", f"may {scope}", "--scopes", scope).strip() for scope in ("read", "write")}
        asked = {
            "read": ("GET", "/users/u0001/recommendations"),
            "write": ("PUT", "/users/u0001/followees/u0002"),
            "admin": ("POST", "/models:rollback"),
        }
        wait_until(lambda: client.get("/models").status_code == 401, 5)
        for needed, (method, url) in asked.items():
            assert client.request(method, url).status_code == 401
            for scope, key in keys.items():
                status = client.request(method, url, headers={"Authorization": f"Bearer {key}"}).status_code
                assert (status == 403) == (scope != needed), (needed, scope, status)
        key_id = keys["read"].split("_")[1]
        command("revoke", key_id)
        bearer = {"Authorization": f"Bearer {keys['read']}"}
        wait_until(lambda: client.get("/models", headers=bearer).status_code == 401, 5)
    assert keys["read"].split("_", 2)[2] not in (tmp_path / "log").read_text("utf-8")


class Collector(BaseHTTPRequestHandler):
    """Takes OTLP over HTTP, as a collector does."""

    spans: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/v1/traces":
            sent = ExportTraceServiceRequest.FromString(body)
            of_scopes = (scope for resource in sent.resource_spans for scope in resource.scope_spans)
            self.spans += [span.name for scope in of_scopes for span in scope.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def collector() -> Iterator[HTTPServer]:
    Collector.spans = []
    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_spans_go_to_the_collector_that_is_configured(
    trained_embedded: StoreSettings, collector: HTTPServer, tmp_path: Path
) -> None:
    endpoint = f"http://127.0.0.1:{collector.server_port}"
    with copied_stores(trained_embedded) as settings:
        environment = environment_of(settings, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_BSP_SCHEDULE_DELAY="100")
        with service_process(environment, tmp_path / "log") as running:
            assert httpx.get(f"{running.url}/users/u0001/recommendations").status_code == 200
            wait_until(lambda: "GET /users/{user_id}/recommendations" in Collector.spans, 10)
