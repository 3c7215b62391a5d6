"""An import beside a service that takes the same rows at full speed, killed in the middle and run again."""

import asyncio
import itertools
import json
import logging
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from contract.environment import StoreSettings
from contract.graph import OnlineGraph
from contract.progress import silent
from contract.rebuild import rebuild_graph
from contract.tables import Tweet, User
from tests.conftest import ROOT, fresh_stores, import_into, wait_until
from tests.processes import environment_of, service_process
from tests.unit.test_import_rejects import stored
from training.stores import Stores, with_stores
from training.synthesize import SynthesisSettings, synthesize

log = logging.getLogger(__name__)

WRITERS = 6
LONGEST_WAIT = 5.0
"""Seconds that a write may take beside an import, on a machine that is busy with all of this. The log has the times."""

KEYS = {"users": 1, "follows": 2, "retweets": 2, "hides": 2, "deleted_tweets": 1}
"""How many of a row's first columns are its key."""

Rows = list[dict[str, Any]]
Stored = dict[str, list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Incoming:
    """A folder to import, its tables, and tweets by what the service does with them meanwhile."""

    folder: Path
    tables: dict[str, Rows]
    doomed: list[str]
    contested: list[str]
    posted: list[str]

    def tweet(self, tweet_id: str) -> dict[str, Any]:
        return next(row for row in self.tables["tweets"] if row["tweet_id"] == tweet_id)


@pytest.fixture(scope="module")
def incoming(tmp_path_factory: pytest.TempPathFactory) -> Incoming:
    """Another network: no id of it is in the tiny one."""
    folder = tmp_path_factory.mktemp("incoming") / "data"
    synthesize(folder, SynthesisSettings(users=150, tweets=240, seed=1), silent)
    tables = {name: prefixed(folder / f"{name}.jsonl") for name in ("users", "follows", "tweets", "retweets")}
    (folder / "exposures.jsonl").unlink()
    ids = [row["tweet_id"] for row in tables["tweets"]]
    for row in tables["tweets"][3::4]:
        row["hidden_at"] = row["created_at"]
    tables["hides"] = [{**row, "created_at": "2026-06-01T00:00:00Z"} for row in tables["retweets"][::7]]
    tables["deleted_tweets"] = [{"tweet_id": f"gone{n}", "deleted_at": "2026-01-01T00:00:00Z"} for n in range(50)]
    for name, rows in tables.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Incoming(folder, tables, doomed=ids[0::4], contested=ids[1::4], posted=ids[2::4])


def prefixed(path: Path) -> Rows:
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [{name: f"i{value}" if name.endswith("_id") else value for name, value in row.items()} for row in rows]


@dataclass(frozen=True)
class Site:
    """A service and imports as processes of their own, on the same stores."""

    environment: dict[str, str]
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environment['PORT']}"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        with self.log.open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=ROOT,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )


@dataclass
class Writers:
    """Clients that change what they like, one request after the other."""

    client: httpx.AsyncClient
    incoming: Incoming
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    seconds: list[float] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    own: set[str] = field(default_factory=set)
    """Tweets of their own that were answered as stored."""

    async def write(self) -> None:
        while True:
            kind = self.chance.choice(["user", "follow", "retweet", "hide", "post", "contest", "delete", "own"])
            started = time.monotonic()
            answer = await self.send(kind)
            self.seconds.append(time.monotonic() - started)
            self.answers[f"{kind} {answer.status_code}"] += 1
            assert answer.status_code in (200, 201, 202, 204, 404, 409, 422, 429), answer.text

    async def send(self, kind: str) -> httpx.Response:
        pick, tables, client = self.chance.choice, self.incoming.tables, self.client
        if kind == "user":
            return await client.post("/users", json={"user_id": pick(tables["users"])["user_id"]})
        if kind == "follow":
            row = pick(tables["follows"])
            return await client.put(f"/users/{row['follower_id']}/followees/{row['followee_id']}")
        if kind == "retweet":
            row = pick(tables["retweets"])
            at = {"created_at": row["created_at"]}
            return await client.put(f"/users/{row['user_id']}/retweets/{row['tweet_id']}", json=at)
        if kind == "hide":
            row = pick(tables["hides"])
            return await client.put(f"/users/{row['user_id']}/hidden/{row['tweet_id']}")
        if kind == "delete":
            return await client.delete(f"/tweets/{pick(self.incoming.doomed)}")
        if kind == "own":
            tweet_id = f"own{next(self.numbers)}"
            tweet = self.incoming.tweet(pick(self.incoming.posted))
            answer = await self.post(tweet, tweet_id=tweet_id, author_id="u0001")
            if answer.status_code in (201, 202):
                self.own.add(tweet_id)
            return answer
        if kind == "contest":
            return await self.post(self.incoming.tweet(pick(self.incoming.contested)), text="Other words.")
        return await self.post(self.incoming.tweet(pick(self.incoming.posted)))

    async def post(self, tweet: dict[str, Any], **other: str) -> httpx.Response:
        sent = {name: tweet[name] for name in ("tweet_id", "author_id", "text", "created_at")} | other
        picture = (self.incoming.folder / tweet["image"]).read_bytes()
        return await self.client.post("/tweets", data=sent, files={"image": picture})


@asynccontextmanager
async def writing(url: str, incoming: Incoming) -> AsyncIterator[Writers]:
    """Writers at work; what one of them raises is raised at the end."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        writers = Writers(client, incoming)
        tasks = [asyncio.create_task(writers.write()) for _ in range(WRITERS)]
        yield writers
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended


def test_an_import_beside_writes_is_as_one_into_idle_stores(
    trained: StoreSettings, incoming: Incoming, tmp_path: Path
) -> None:
    with fresh_stores("embedded") as idle:
        import_into(idle, incoming.folder)
        expected = stored(idle)
    site = Site(environment_of(trained), trained.var_dir / "processes.log")
    rejects = tmp_path / "rejects.jsonl"
    with service_process(site.environment, site.log):
        writers, output = asyncio.run(import_beside_writes(site, incoming, rejects))
        report(writers, output, trained)
        wait_until(lambda: not pending(stored(trained)), 20)
        check_rows(stored(trained), expected, incoming, writers.own)
        check_rejects(rejects, stored(trained), incoming)
        for tweet_id in incoming.doomed:
            assert httpx.delete(f"{site.url}/tweets/{tweet_id}").status_code == 204
        wait_until(lambda: blobs(trained) == {row[3] for row in stored(trained)["tweets"]}, 20)
        with_stores(trained, check_online)
    assert max(writers.seconds) < LONGEST_WAIT


async def import_beside_writes(site: Site, incoming: Incoming, rejects: Path) -> tuple[Writers, str]:
    """Kill an import once its first tweet is there, and run it again to the end."""
    command = ("training", "import", str(incoming.folder), "--rejects", str(rejects))
    first_tweet = min(incoming.contested)
    async with writing(site.url, incoming) as writers:
        killed = site.start(*command)
        while (await writers.client.get(f"/tweets/{first_tweet}")).status_code == 404:
            assert killed.poll() is None, "the import ended"
            await asyncio.sleep(0.005)
        killed.send_signal(signal.SIGKILL)
        assert "imported" not in (await asyncio.to_thread(killed.communicate))[0]
        again = site.start(*command)
        output, _ = await asyncio.to_thread(again.communicate)
        assert again.returncode == 0, site.log.read_text()
    return writers, output


def report(writers: Writers, output: str, stores: StoreSettings) -> None:
    seconds = sorted(writers.seconds)
    kind = "embedded" if stores.database_url is None else "servers"
    log.warning(
        "%s: %d writes, median %.3f s, p99 %.3f s, longest %.3f s; %s; %s",
        kind,
        len(seconds),
        seconds[len(seconds) // 2],
        seconds[len(seconds) * 99 // 100],
        seconds[-1],
        output.replace("\n", " "),
        dict(writers.answers),
    )


def pending(rows: Stored) -> set[str]:
    """Tweets without a vector."""
    return {row[0] for row in rows["tweets"]} - {row[1] for row in rows["tweet_vectors"]}


def check_rows(rows: Stored, expected: Stored, incoming: Incoming, own: set[str]) -> None:
    deleted = {row[0] for row in rows["deleted_tweets"]} - {
        row["tweet_id"] for row in incoming.tables["deleted_tweets"]
    }
    tweets = {row[0]: row for row in rows["tweets"]}
    lost = {id_ for id_ in incoming.contested if tweets[id_][2] == "Other words."}
    assert deleted <= set(incoming.doomed)
    assert own <= tweets.keys()
    for row in expected["tweets"]:
        if row[0] not in deleted | lost:
            assert tweets[row[0]] == row
    for name, width in KEYS.items():
        there = {row[:width] for row in rows[name]}
        missing = {row[:width] for row in expected[name]} - there
        assert all({*key} & (deleted | lost) for key in missing), (name, missing)
    for name in ("retweets", "hides"):
        assert not {row[1] for row in rows[name]} & deleted


def check_rejects(path: Path, rows: Stored, incoming: Incoming) -> None:
    """What lost a contest, what was deleted, and what refers to these; nothing else."""
    tweets = {row[0]: row for row in rows["tweets"]}
    lost = {id_ for id_ in incoming.contested if tweets[id_][2] == "Other words."}
    gone = {row[0] for row in rows["deleted_tweets"]}
    rejects = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    reasons = ("is stored with another author", "was deleted", "was rejected")
    for reject in rejects:
        assert reject["row"]["tweet_id"] in lost | gone
        assert any(reason in reject["reason"] for reason in reasons), reject
    assert lost <= {reject["row"]["tweet_id"] for reject in rejects if Path(reject["file"]).stem == "tweets"}


def blobs(stores: StoreSettings) -> set[str]:
    """Keys in the blob store; what a killed process was writing is not under any."""
    return {path.name for path in (stores.var_dir / "images").rglob("*") if path.is_file() and not path.suffix}


async def check_online(opened: Stores) -> None:
    """Redis is what a rebuild from SQL makes of it, but for deleted tweets: those may stay, and have no vector."""
    async with opened.engine.connect() as connection:
        user_ids = list(await connection.scalars(select(User.user_id)))
        tweet_ids = set(await connection.scalars(select(Tweet.tweet_id)))
    graph = OnlineGraph(opened.redis, opened.namespace)

    async def online() -> dict[str, Any]:
        timelines = await graph.timelines(user_ids)
        shown = [[entry for entry in timeline if entry.tweet_id in tweet_ids] for timeline in timelines]
        views = [await graph.user(user_id) for user_id in user_ids]
        users = [(view.exists, view.followee_ids, view.seen_tweet_ids & tweet_ids) for view in views]
        return dict(zip(user_ids, zip(users, shown, strict=True), strict=True))

    before, recent = await online(), await graph.recent()
    await rebuild_graph(opened.engine, graph)
    after = await online()
    assert {user: before[user] for user in user_ids if before[user] != after[user]} == {}
    assert [entry for entry in recent if entry.tweet_id in tweet_ids] == await graph.recent()
