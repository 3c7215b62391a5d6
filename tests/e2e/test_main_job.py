"""The main job with real processes: make a network, train, serve, post, be killed, serve again; the lines of curl."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT, valkey_servers, wait_until
from tests.documents import Page, curl_lines
from tests.processes import free_port, service_process

pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True)
class Site:
    """A trained installation in a folder of its own, with the embedded stores."""

    dataset: Path
    environment: dict[str, str]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def new_tweets(self, kind: str) -> list[dict[str, Any]]:
        lines = (self.dataset / "new_tweets.jsonl").read_text("utf-8").splitlines()
        return [tweet for tweet in map(json.loads, lines) if tweet["kind"] == kind]

    def command(self, *arguments: str) -> str:
        result = subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    @contextmanager
    def serving(self, python: str = sys.executable, folder: Path = ROOT) -> Iterator[subprocess.Popen[bytes]]:
        with service_process(self.environment, self.dataset.parent / "service.log", python, folder) as running:
            yield running.process

    def ask(self, user_id: str, k: int = 100) -> dict[str, Any]:
        response = httpx.get(f"{self.url}/users/{user_id}/recommendations", params={"k": k})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        del answer["next_cursor"]  # it has the time in it
        return answer

    def post(self, tweet: dict[str, Any]) -> httpx.Response:
        return httpx.post(
            f"{self.url}/tweets",
            data={name: tweet[name] for name in ("tweet_id", "author_id", "text")},
            files={"image": (self.dataset / tweet["image"]).read_bytes()},
            timeout=30,
        )


@pytest.fixture(scope="module")
def short_folder() -> Iterator[Path]:
    """A folder whose path is short enough for a unix socket's."""
    with tempfile.TemporaryDirectory(prefix="itr") as folder:
        yield Path(folder).resolve()


@pytest.fixture(scope="module")
def site(short_folder: Path) -> Site:
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    environment |= {
        "VAR_DIR": str(short_folder / "var"),
        "MODELS_DIR": str(short_folder / "models"),
        "PORT": str(port),
    }
    site = Site(short_folder / "dataset", environment, port)
    site.command("-m", "training", "synthesize", str(site.dataset))
    site.command("-m", "alembic", "upgrade", "head")
    site.command("-m", "training", "import", str(site.dataset))
    report = site.command("-m", "training", "retrain")
    assert "serves now" in report
    return site


def rank_of(answer: dict[str, Any], tweet_id: str) -> int:
    """From 1; beyond the answer's end where it is not among the items."""
    ids = [item["tweet_id"] for item in answer["items"]]
    return ids.index(tweet_id) + 1 if tweet_id in ids else len(ids) + 1


def test_a_matching_picture_comes_back_at_the_top_and_an_unlike_one_does_not(site: Site) -> None:
    matching, unlike = site.new_tweets("matching"), site.new_tweets("unlike")
    with site.serving():
        for tweet in matching + unlike:
            assert site.post(tweet).json()["status"] == "ready"
        answers = {tweet["user_id"]: site.ask(tweet["user_id"]) for tweet in matching}
    matching_ranks = {tweet["user_id"]: rank_of(answers[tweet["user_id"]], tweet["tweet_id"]) for tweet in matching}
    unlike_ranks = [rank_of(answers[tweet["user_id"]], tweet["tweet_id"]) for tweet in unlike]
    assert all(answer["candidates"] > 100 for answer in answers.values())
    assert all(rank > 50 for rank in unlike_ranks), unlike_ranks
    median = sorted(matching_ranks.values())[len(matching_ranks) // 2]
    assert median <= 15, matching_ranks
    assert sum(rank <= 3 for rank in matching_ranks.values()) >= 3, matching_ranks


def test_the_same_answer_after_a_kill_and_no_server_left_behind(site: Site) -> None:
    user_id = site.new_tweets("matching")[0]["user_id"]
    with site.serving() as process:
        before = site.ask(user_id)
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_until(lambda: not valkey_servers(site.dataset.parent / "var"), 10)
    with site.serving() as process:
        assert site.ask(user_id) == before
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == -signal.SIGTERM  # raised again once all is shut down, as servers do
        assert not valkey_servers(site.dataset.parent / "var")


def test_a_tweet_that_was_stored_but_not_encoded_is_encoded_at_the_next_start(site: Site) -> None:
    tweet = site.new_tweets("matching")[1]
    with site.serving():
        assert site.post(tweet).status_code == 201
        expected = site.ask(tweet["user_id"])
    forget_encoding(site, tweet["tweet_id"])
    with site.serving():
        wait_until(lambda: site.ask(tweet["user_id"]) == expected, 20)


FORGET = """
import asyncio, sqlite3, sys
from contract.embedded import open_redis, redis_server
from contract.environment import StoreSettings
tweet_id, stores = sys.argv[1], StoreSettings()
with sqlite3.connect(stores.var_dir / "recommender.sqlite3") as database:
    assert database.execute("DELETE FROM tweet_vectors WHERE tweet_id = ?", [tweet_id]).rowcount == 1
async def forget(url):
    async with open_redis(url) as redis:
        keys = [key async for key in redis.scan_iter(f"*:t:{tweet_id}")]
        assert await redis.delete(*keys) == 1
        async for key in redis.scan_iter("*:timeline:*"):
            for member in await redis.zrange(key, 0, -1):
                if member.startswith(f"{tweet_id}/".encode()):
                    await redis.zrem(key, member)
with redis_server(stores) as (url, _):
    asyncio.run(forget(url))
"""


def forget_encoding(site: Site, tweet_id: str) -> None:
    """As if the service had been killed between storing the tweet and encoding it."""
    site.command("-c", FORGET, tweet_id)


def test_a_service_installation_has_no_torch_and_serves_the_exported_model(site: Site, tmp_path: Path) -> None:
    user_id = site.new_tweets("matching")[0]["user_id"]
    with site.serving():
        expected = site.ask(user_id)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--constraint", str(ROOT / "requirements.lock")]
    subprocess.run([*install, f"{ROOT}[service]"], check=True, cwd=tmp_path, stderr=subprocess.DEVNULL)
    for module in ("torch", "torchvision", "onnxscript"):
        assert subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode != 0
    with site.serving(str(python), tmp_path):
        assert site.ask(user_id) == expected


def test_starting_the_service_imports_no_torch() -> None:
    script = "import service.__main__, service.serving, sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


@dataclass(frozen=True)
class Pasted:
    """A line of curl as it was run on the made network, and what it was answered."""

    line: str
    status: int
    body: str


def pasted(site: Site, line: str, real: dict[str, str]) -> Pasted:
    """A line of a page, with what the made network has in place of what the page made up."""
    real = {"http://127.0.0.1:8000": site.url, "var/dataset": str(site.dataset), **real}
    line = re.sub("|".join(map(re.escape, real)), lambda found: real[found[0]], line)
    command = [*shlex.split(line), "--max-time", "30", "--write-out", "\n%{http_code}"]
    done = subprocess.run(command, capture_output=True, check=True).stdout.decode(errors="replace")
    body, _, status = done.rpartition("\n")
    return Pasted(line, int(status), body)


def made_up(site: Site) -> dict[str, str]:
    tweet = site.new_tweets("matching")[2]
    return {"u0042": tweet["user_id"], "u0007": tweet["author_id"], "new/n001.jpg": tweet["image"]}


def test_the_lines_of_curl_in_the_readme_recommend_the_posted_picture(site: Site) -> None:
    lines = curl_lines(Page(ROOT / "README.md"))
    with site.serving():
        first, posted, second = (pasted(site, line, made_up(site)) for line in lines)
    assert (first.status, posted.status, second.status) == (200, 201, 200), (first, posted, second)
    assert len(json.loads(first.body)["items"]) == 3
    answer = json.loads(second.body)
    assert len(answer["items"]) == 20
    assert json.loads(posted.body)["tweet_id"] in [item["tweet_id"] for item in answer["items"]]


def test_the_lines_of_curl_of_the_http_reference_are_answered(site: Site) -> None:
    """As in the page, what is taken away at last. There is but one version, which can neither go nor be on trial."""
    refused = "DELETE .*/models/[^/:]+$|:rollback$|:trial$"
    last = ("-X DELETE [^ ]+/tweets/[^/]+$", "-X DELETE [^ ]+/users/[^/]+$", ":rebuild-redis$")
    lines = curl_lines(Page(ROOT / "docs" / "http.md"))
    lines.sort(key=lambda line: [bool(re.search(pattern, line)) for pattern in reversed(last)])
    with site.serving():
        real = made_up(site)
        offered = site.ask(real["u0042"])
        real |= {"t0311": offered["items"][0]["tweet_id"], "20260401T120000Z-0123456789ab": offered["version"]}
        answers = [pasted(site, line, real) for line in lines]
    assert len(answers) > 25
    for answer in answers:
        wanted = [409] if re.search(refused, answer.line) else [200, 201, 202, 204]
        assert answer.status in wanted, answer
    (batch,) = [json.loads(answer.body) for answer in answers if "tweets:batch" in answer.line]
    assert [item["status"] for item in batch["items"]] == [201]
