"""A store of pictures on a real server that speaks S3."""

import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fsspec.asyn import sync

from contract.blobs import BlobStore, blob_key
from contract.errors import StoreUnavailable
from contract.filesystems import S3_OPTIONS, os_errors
from contract.shared_models import SharedModels
from tests.object_store import ObjectStore, object_store
from training.backup_files import Place

WITHIN_SECONDS = 20.0
"""Two or three tries of at most a second, and pauses of at most 1 and 2 s, on a busy machine."""


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStore]:
    with object_store() as running:
        yield running


def calls(blobs: BlobStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the server is asked from now on."""
    asked: list[str] = []
    call = blobs._fs._call_s3

    async def counted(method: str, *more: Any, **named: Any) -> Any:
        asked.append(method)
        return await call(method, *more, **named)

    monkeypatch.setattr(blobs._fs, "_call_s3", counted)
    monkeypatch.setattr(blobs._fs, "call_s3", lambda *more, **named: sync(blobs._fs.loop, counted, *more, **named))
    return asked


def test_what_one_puts_or_deletes_another_sees_at_once(server: ObjectStore) -> None:
    one, other = BlobStore(server.url("shared")), BlobStore(server.url("shared"))
    key = blob_key(b"seen")
    assert not other.exists(key)
    assert one.put(b"seen") == key
    assert (other.exists(key), other.get(key)) == (True, b"seen")
    other.delete(key)
    assert not one.exists(key)
    with pytest.raises(FileNotFoundError):
        one.get(key)
    one.delete(key)
    assert one.put(b"seen") == key
    assert other.get(key) == b"seen"
    assert server.keys("shared") == {f"{key[:2]}/{key}"}


def test_a_picture_is_put_under_its_own_name_at_once_and_a_second_time_for_free(
    server: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = BlobStore(server.url("calls"))
    asked = calls(blobs, monkeypatch)
    key = blobs.put(b"picture")
    assert asked == ["head_object", "put_object"]
    blobs.put(b"picture")
    assert asked[2:] == ["head_object"]
    blobs.get(key)
    blobs.delete(key)
    assert asked[3:] == ["get_object", "delete_object"]
    assert blobs.sweep() == 0
    assert len(asked) == 5


def test_threads_share_a_store(server: ObjectStore) -> None:
    blobs = BlobStore(server.url("threads"))
    pictures = [bytes([n]) * 1_000 for n in range(40)] * 2
    with ThreadPoolExecutor(16) as threads:
        keys = list(threads.map(blobs.put, pictures))
        assert list(threads.map(blobs.get, keys)) == pictures


@pytest.mark.parametrize("opened", [BlobStore, Place])
def test_what_is_wrong_with_a_url_is_said_in_a_line(
    server: ObjectStore, opened: type[BlobStore | Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    named = "BLOB_URL" if opened is BlobStore else "PLACE"
    with pytest.raises(
        Exception, match=rf"^{named} s3://nowhere/x cannot be used: there is no bucket nowhere: make it"
    ):
        opened("s3://nowhere/x")
    with pytest.raises(Exception, match=rf"^{named} s3:// cannot be used: it names no bucket"):
        opened("s3://")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(
        Exception, match=rf"^{named} .* it does not answer .*127.0.0.1:1.*: check AWS_ENDPOINT_URL"
    ) as caught:
        opened(server.url("x"))
    assert "hushhush" not in "".join(traceback.format_exception(caught.value))


def test_without_credentials(server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with pytest.raises(StoreUnavailable, match=r"^BLOB_URL .*: there are no credentials: set AWS_ACCESS_KEY_ID and"):
        BlobStore(server.url("x"))


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.get_filesystem_class", missing)
    with pytest.raises(
        StoreUnavailable, match=r"^BLOB_URL s3://b/x cannot be used: S3 needs the extra s3: pip install"
    ):
        BlobStore("s3://b/x")


def test_a_server_that_is_gone_is_an_error_within_seconds(server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(S3_OPTIONS["config_kwargs"], "retries", {"mode": "standard", "total_max_attempts": 2})
    blobs = BlobStore(server.url("gone"))
    key = blobs.put(b"picture")
    server.stop()
    started = time.monotonic()
    for call in (lambda: blobs.put(b"other"), lambda: blobs.get(key), lambda: blobs.exists(key)):
        with pytest.raises(OSError, match="Could not connect") as caught:
            call()
        assert not isinstance(caught.value, FileNotFoundError)
    assert time.monotonic() - started < WITHIN_SECONDS
    server.start()
    assert not blobs.exists(key)
    blobs.put(b"picture")
    assert blobs.get(key) == b"picture"


def test_a_server_that_hangs_is_not_waited_for_for_ever(server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(S3_OPTIONS["config_kwargs"], "read_timeout", 1)
    blobs = BlobStore(server.url("hangs"))
    key = blobs.put(b"picture")
    server.freeze()
    started = time.monotonic()
    with ThreadPoolExecutor(3) as threads:
        calls: list[Callable[[], object]] = [
            lambda: blobs.put(b"other"),
            lambda: blobs.get(key),
            lambda: blobs.exists(key),
        ]
        for one in [threads.submit(call) for call in calls]:
            assert isinstance(one.exception(), OSError), one.exception()
    assert time.monotonic() - started < WITHIN_SECONDS
    server.thaw()
    assert blobs.get(key) == b"picture"


class BreaksOff(BaseHTTPRequestHandler):
    """Says more than it sends."""

    silent_seconds = 0.0
    """Before it closes the connection."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"half")
        self.wfile.flush()
        time.sleep(self.silent_seconds)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.mark.parametrize(("silent_seconds", "said"), [(0.0, r"not completed"), (3.0, r"^it fell silent in the middle")])
def test_an_answer_that_breaks_off_is_no_picture_and_no_model(
    server: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, silent_seconds: float, said: str
) -> None:
    monkeypatch.setattr(BreaksOff, "silent_seconds", silent_seconds)
    monkeypatch.setitem(S3_OPTIONS["config_kwargs"], "read_timeout", 1)
    with ThreadingHTTPServer(("127.0.0.1", 0), BreaksOff) as broken, ThreadPoolExecutor(1) as thread:
        thread.submit(broken.serve_forever)
        try:
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{broken.server_port}")
            blobs = BlobStore(server.url("broken"))
            with pytest.raises(OSError, match=said):
                blobs.get(blob_key(b"picture"))
            models = SharedModels(server.url("broken"))
            with pytest.raises(StoreUnavailable, match=rf"cannot be used now: .*{said.removeprefix('^')}"):
                models.manifest("v1")
            with pytest.raises(OSError, match=said), os_errors(models._fs):
                models._fs.get_file(f"{models._root}/v1/x", str(tmp_path / "x"))
        finally:
            broken.shutdown()
