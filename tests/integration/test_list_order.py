"""Lists of users on SQLite and PostgreSQL, also one that sorts as in English: the same order, by way of indexes."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, insert, literal, select
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.environment import StoreSettings
from contract.tables import Follow, Tweet, User, create_engine
from service.database import Database
from service.lists import list_followees, list_followers, list_users, read_user
from tests.conftest import migrate, own_database

pytestmark = pytest.mark.anyio
IDS = ["-", "-a", "0", "9_", "A", "Ab", "B", "_", "_a", "a", "a-", "a_", "aB", "ab", "b", "u_1", "u1"]
MANY = [f"m{n:04}" for n in range(500)]
AT = datetime(2026, 3, 1, tzinfo=UTC)
INDEXED_ONLY = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off"
"""PostgreSQL would read a small table whole; what it cannot do otherwise it does still."""


@pytest.fixture(params=["sqlite", "postgresql", "postgresql in English"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """A database in which u1 follows everybody, who all follow u1 and post a tweet."""
    with ExitStack() as stack:
        url = None
        if request.param != "sqlite":
            url = stack.enter_context(own_database(english=request.param.endswith("English")))
        settings = StoreSettings(database_url=url, redis_url=None, blob_url=None, var_dir=tmp_path)
        migrate(settings)
        opened = create_engine(settings.sqlalchemy_url)
        try:
            await fill(opened)
            assert await sorts_as_in_english(opened) == request.param.endswith("English")
            yield opened
        finally:
            await opened.dispose()


async def fill(engine: AsyncEngine) -> None:
    users = [*reversed(IDS), *MANY]
    pairs = [("u1", user) for user in users] + [(user, "u1") for user in users]
    follows = [{"follower_id": one, "followee_id": other, "created_at": AT} for one, other in pairs if one != other]
    tweet = {"text": "", "image_key": "", "created_at": AT}
    async with engine.begin() as connection:
        await connection.execute(insert(User), [{"user_id": user, "created_at": AT} for user in users])
        await connection.execute(insert(Follow), follows)
        await connection.execute(insert(Tweet), [{"tweet_id": user, "author_id": user} | tweet for user in users])
        await connection.exec_driver_sql("ANALYZE")


async def sorts_as_in_english(engine: AsyncEngine) -> bool:
    async with engine.connect() as connection:
        return bool(await connection.scalar(select(literal("a") < literal("B"))))


async def test_ids_are_sorted_by_their_bytes(engine: AsyncEngine) -> None:
    wanted = sorted(IDS + MANY)
    assert [user.user_id for user in (await list_users("", "", 1_000, engine)).users] == wanted
    wanted.remove("u1")
    for listing in (list_followees, list_followers):
        assert [user.user_id for user in (await listing("u1", "", 1_000, engine)).users] == wanted


@pytest.mark.parametrize("prefix", ["", "-", "a", "A", "_", "u_", "z"])
async def test_pages_of_one_lose_and_repeat_nobody(engine: AsyncEngine, prefix: str) -> None:
    found, after = [], ""
    for _ in range(len(IDS) + len(MANY)):
        page = await list_users(prefix, after, 1, engine)
        found += [user.user_id for user in page.users]
        if page.next_after is None:
            break
        after = page.next_after
    assert found == sorted(user for user in IDS + MANY if user.startswith(prefix))


Reading = Callable[[AsyncEngine], Awaitable[Any]]
READINGS: dict[str, tuple[Reading, list[str]]] = {
    "users": (lambda engine: list_users("m0", "m0123", 20, engine), ["user_id>", "user_id<"]),
    "prefix": (lambda engine: list_users("m0", "", 20, engine), ["user_id>", "user_id<"]),
    "followees": (lambda engine: list_followees("u1", "m0123", 20, engine), ["follower_id=", "followee_id>"]),
    "followers": (lambda engine: list_followers("u1", "m0123", 20, engine), ["followee_id=", "follower_id>"]),
    "user": (lambda engine: read_user("u1", engine), ["follower_id=", "followee_id=", "author_id=", "user_id="]),
    "tweet": (lambda engine: Database(engine).tweet("m0001"), ["tweet_id="]),
    "tweets": (lambda engine: Database(engine).tweets(["m0001", "m0002"]), ["tweet_id="]),
    "encoded": (lambda engine: Database(engine).encoded(["m0001", "m0002"], "v"), ["tweet_id=", "version="]),
}


@pytest.mark.parametrize("name", READINGS)
async def test_no_table_is_read_whole_and_none_is_sorted(engine: AsyncEngine, name: str) -> None:
    reading, conditions = READINGS[name]
    plan = await plan_of(reading, engine)
    for slow in ("SCAN", "Seq Scan", "TEMP B-TREE", "Sort"):
        assert slow not in plan, plan
    squeezed = plan.replace(" ", "").replace("::text", "").replace("(", "").replace(")", "")
    for condition in conditions:
        assert condition in squeezed, plan


PENDING: dict[str, Reading] = {
    "count": lambda engine: Database(engine).count_pending("v"),
    "tweets": lambda engine: Database(engine).pending_tweets("v", {"m0001"}, 20),
    "tweets of all": lambda engine: Database(engine).pending_tweets("v", set(), 20),
}


@pytest.mark.parametrize("name", PENDING)
async def test_vectors_of_pending_tweets_are_joined_by_their_key(engine: AsyncEngine, name: str) -> None:
    """PostgreSQL reads a NOT IN of more vectors than it hashes once for every tweet."""
    plan = await plan_of(PENDING[name], engine)
    if engine.dialect.name == "postgresql":
        assert "Anti Join" in plan, plan
    else:
        assert "(version=? AND tweet_id=?)" in plan, plan


async def plan_of(reading: Reading, engine: AsyncEngine) -> str:
    """What the database would do for it."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    await reading(engine)
    event.remove(engine.sync_engine, "before_cursor_execute", note)
    sqlite = engine.dialect.name == "sqlite"
    lines: list[str] = []
    async with engine.connect() as connection:
        if not sqlite:
            await connection.exec_driver_sql(INDEXED_ONLY)
        for statement, parameters in asked:
            how = "EXPLAIN QUERY PLAN" if sqlite else "EXPLAIN"
            lines += [str(row[-1]) for row in await connection.exec_driver_sql(f"{how} {statement}", parameters)]
    return "\n".join(lines)


async def test_at_most_two_statements_read_many_tweets(engine: AsyncEngine) -> None:
    """However many they are."""
    asked: list[str] = []
    event.listen(engine.sync_engine, "before_cursor_execute", lambda *said: asked.append(said[2]))
    database = Database(engine)
    assert set(await database.tweets(MANY[:100])) == set(MANY[:100])
    assert await database.encoded(MANY[:100], "v") == set()
    assert len(asked) == 2
