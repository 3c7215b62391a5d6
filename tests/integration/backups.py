"""Backups, made and put back, for the tests of both."""

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.blobs import BlobStore
from contract.environment import StoreSettings
from contract.progress import silent
from contract.tables import create_engine
from service.keys import create_key, revoke_key
from tests.integration.running import changed, named, new_user, png, serving
from training.__main__ import main
from training.backup import Backup, back_up
from training.backup_files import Place
from training.restore import restore
from training.stores import with_sql_and_pictures

WORDS = "Two\u2028lines, \x85 and a \u202e sign. #caf\u00e9 \U0001f30a"


async def live_in(stores: StoreSettings) -> None:
    async with serving(stores) as service:
        await new_user(service, "lives")
        for tweet in ("kept", "hidden", "deleted"):
            posted = await service.post(png("teal"), author_id="lives", tweet_id=f"{tweet}-tweet", text=WORDS)
            assert posted.status_code == 201
        await changed(service, "PUT", "/tweets/hidden-tweet/hidden", 204)
        await changed(service, "DELETE", "/tweets/deleted-tweet", 204)
        await changed(service, "PUT", "/users/u0001/followees/lives", 201)
        await changed(service, "PUT", "/users/u0002/hidden/kept-tweet", 201)
        await changed(service, "PUT", "/users/u0003/retweets/kept-tweet", 201)
    engine = create_engine(stores.sqlalchemy_url)
    await create_key(engine, "an app", ["read"], per_minute=5)
    await revoke_key(engine, (await create_key(engine, "an old app", ["read"])).split("_")[1])
    await engine.dispose()


def command(stores: StoreSettings, *arguments: str) -> tuple[int, str]:
    """What `python -m training` gives and says."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(said):
        named(stores, patch)
        return main(list(arguments)), said.getvalue()


def take(stores: StoreSettings, place: Path | str) -> Backup:
    def work(engine: AsyncEngine, blobs: BlobStore) -> Any:
        return back_up(Place(str(place)), stores.models_dir, engine, blobs, silent)

    made: Backup = with_sql_and_pictures(stores, work)
    return made


def put_back(stores: StoreSettings, place: Path | str) -> None:
    def work(engine: AsyncEngine, blobs: BlobStore) -> Any:
        return restore(Place(str(place)), stores.models_dir, engine, blobs, silent)

    with_sql_and_pictures(stores, work)


async def run_sql(stores: StoreSettings, *statements: Any) -> None:
    engine = create_engine(stores.sqlalchemy_url)
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(statement)
    await engine.dispose()


def first(folder: Path, pattern: str) -> Path:
    return next(path for path in sorted(folder.glob(pattern)) if path.is_file())
