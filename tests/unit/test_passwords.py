"""No message shows a password of a URL."""

import traceback
from collections.abc import Callable

import pytest

from contract.blobs import BlobStore
from contract.embedded import open_redis
from contract.errors import StoreUnavailable
from contract.passwords import without_passwords
from contract.tables import open_database
from tests.secrets import SECRETS
from training.backup_files import Place

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sftp://u:hushhush@h:22/b", "sftp://u:***@h:22/b"),
        ("redis://:hushhush@h/0 is away", "redis://:***@h/0 is away"),
        ("simplecache::sftp://u:hush@hush/#?@h/b", "simplecache::sftp://u:***@h/b"),
        ("a://u:hushhush@h/b, then b://v:hushhush@h", "a://u:***@h/b, then b://v:***@h"),
        ("'a://u:hushhush@h'", "'a://u:***@h'"),
        ("webhdfs://u@h:50070/x", "webhdfs://u@h:50070/x"),
        ("a://h:22/b: at 12:00 by me@home", "a://h:22/b: at 12:00 by me@home"),
        ("postgresql://u:hush@hush@h/db", "postgresql://u:***@h/db"),
        ("postgresql://h/db?user=u&password=hushhush", "postgresql://h/db?user=u&password=***"),
        ("s3://b?endpoint_secret=hush&Key=hush&x=1", "s3://b?endpoint_secret=***&Key=***&x=1"),
        ("https://hushhush@h/b", "https://***@h/b"),
        ("/folder", "/folder"),
    ],
)
def test_a_password_is_stars(text: str, shown: str) -> None:
    assert without_passwords(text) == shown
    assert not SECRETS.search(shown)
    assert "hush" not in shown


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://127.0.0.1:1/db?user=u&password=hushhush",
        "postgresql+psycopg://u:hushhush@127.0.0.1:1/db",
        "postgresql+psycopg://u:hush@hush@127.0.0.1:1/db",
        "postgresql+psycopg://u:p@h:hush@127.0.0.1/db",
        "nosuch://u:hushhush@h/db",
    ],
)
async def test_a_database_that_cannot_be_opened_is_named_without_it(url: str) -> None:
    with pytest.raises(StoreUnavailable, match=r"DATABASE_URL") as caught:
        async with open_database(url):
            pytest.fail("it opened")
    assert without_passwords(url) in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("url", ["redis://:hush#x@h:6379", "redis://:hush/x@h:6379/0", "http://:hush@h"])
async def test_a_redis_that_cannot_be_opened_is_named_without_it(url: str) -> None:
    with pytest.raises(StoreUnavailable, match=r"REDIS_URL is not valid .*://:\*\*\*@h.*redis://host") as caught:
        async with open_redis(url):
            pytest.fail("it opened")
    assert "hush" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(("opened", "named"), [(BlobStore, "BLOB_URL"), (Place, "PLACE")])
@pytest.mark.parametrize("url", ["nosuch://u:hushhush@h/b", "simplecache::nosuch://u:hushhush@h/b"])
def test_a_url_that_cannot_be_used_is_named_without_it(opened: Callable[[str], object], named: str, url: str) -> None:
    with pytest.raises(Exception, match=rf"{named} .*u:\*\*\*@h/b cannot be used.*nosuch") as caught:
        opened(url)
    assert "hushhush" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("opened", [BlobStore, Place])
def test_nor_does_the_reason_show_it(opened: Callable[[str], object], monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(url: str) -> None:
        raise OSError(f"{url} does not answer")

    monkeypatch.setattr("fsspec.core.url_to_fs", refused)
    url = "a://u:hushhush@h"
    with pytest.raises(Exception, match=r"a://u:\*\*\*@h does not answer") as caught:
        opened(url)
    assert "hushhush" not in "".join(traceback.format_exception(caught.value))
