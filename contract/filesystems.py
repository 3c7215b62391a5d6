"""File systems by URL, through fsspec: a folder of this machine, storage that speaks S3, and others.

On S3 a file that is written is there whole or not at all, so that it is written under its own name; elsewhere it gets
another name first. Where S3 is and who asks, botocore reads from AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and the like.
"""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fsspec
from fsspec.exceptions import FSTimeoutError
from fsspec.implementations.local import LocalFileSystem

from contract.errors import StoreUnavailable
from contract.passwords import without_passwords

_S3 = ("s3", "s3a")
S3_OPTIONS: dict[str, Any] = {
    "skip_instance_cache": True,  # one has the variables of the time when it was made
    "use_listings_cache": False,  # other processes write, too
    "max_concurrency": 1,  # else each read asks for the size first
    "config_kwargs": {
        "connect_timeout": 3,
        "read_timeout": 5,
        "retries": {"mode": "standard", "total_max_attempts": 3},
        "max_pool_connections": 32,
    },
}
"""Seconds: who asks has an answer within about 18, which is less than a change may take (service/deadline.py)."""


def open_url(url: str, named: str) -> tuple[Any, str]:
    """A file system and the root in it. `named`: what a message calls the URL.

    Raises StoreUnavailable where fsspec has no such protocol, or where S3 says no, as without the bucket.
    """
    try:
        fs, root = fsspec.core.url_to_fs(url, **_options(url))
        if is_s3(fs):
            fs.retries = 1  # botocore does that
            with os_errors(fs):
                _need_bucket(fs, root)
    except (ValueError, ImportError, OSError) as error:
        shown, reason = without_passwords(url), without_passwords(_reason(error))
        raise StoreUnavailable(f"{named} {shown} cannot be used: {reason}") from None  # a log would show the cause
    return fs, str(root).rstrip("/")


def is_local(fs: Any) -> bool:
    """Whether a file system of fsspec's is this machine's own."""
    return isinstance(fs, LocalFileSystem)


def is_s3(fs: Any) -> bool:
    """Whether a file system of fsspec's is storage that speaks S3."""
    return bool(set(_S3) & {*([fs.protocol] if isinstance(fs.protocol, str) else fs.protocol)})


@contextmanager
def os_errors(fs: Any) -> Iterator[None]:
    """What is raised where S3 does not answer, or breaks off, as OSError that says so, as other file systems do."""
    if not is_s3(fs):
        yield
        return
    from aiohttp import ClientError as ConnectionFailed  # of the extra s3
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]  # the same

    try:
        yield
    except (BotoCoreError, ClientError, ConnectionFailed, FSTimeoutError) as error:
        raise OSError(without_passwords(_reason(error))) from error


def exists(fs: Any, path: str) -> bool:
    """Whether there is a file, as of this moment."""
    if not is_s3(fs):
        return bool(fs.exists(path))
    bucket, key, _ = fs.split_path(path)
    try:
        with os_errors(fs):
            fs.call_s3("head_object", Bucket=bucket, Key=key)  # fs.exists would list the bucket, too
    except FileNotFoundError:
        return False
    return True


def write_whole(fs: Any, path: str, data: bytes, partial: str | None = None) -> None:
    """Write a file that no reader sees a part of; where it fails, nothing is left.

    Elsewhere than on S3 it is called `partial` first. On a local file system it is on the disk when this returns.
    """
    if is_s3(fs):
        with os_errors(fs):
            fs.pipe_file(path, data)
        return

    def write(to: str) -> None:
        with fs.open(to, "wb") as file:
            file.write(data)

    _by_another_name(fs, path, write, partial)


def put_whole(fs: Any, path: str, file: Path) -> None:
    """The same of a file of this machine, of any size."""
    if is_s3(fs):
        with os_errors(fs):
            fs.put_file(str(file), path)
        return
    _by_another_name(fs, path, lambda to: fs.put_file(str(file), to))


def on_disk(fs: Any, path: str) -> None:
    """Wait until a local file, or the names in a local folder, are on the disk; other systems do so by themselves."""
    if not is_local(fs):
        return
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _by_another_name(fs: Any, path: str, write: Callable[[str], None], partial: str | None = None) -> None:
    partial = partial or f"{path}.{uuid.uuid4().hex}.partial"
    fs.makedirs(fs._parent(path), exist_ok=True)
    try:
        write(partial)
        on_disk(fs, partial)
        fs.mv(partial, path)
    except BaseException:
        with suppress(OSError):  # it may not have been made
            fs.rm_file(partial)
        raise
    on_disk(fs, fs._parent(path))


def _options(url: str) -> dict[str, Any]:
    """Of each S3 in a URL, of which several may be chained by `::`."""
    protocols = {part.partition("://")[0] for part in url.split("::")}
    return {protocol: dict(S3_OPTIONS) for protocol in _S3 if protocol in protocols}


def _need_bucket(fs: Any, root: str) -> None:
    """Raises FileNotFoundError where there is none, and what else keeps it from being used."""
    bucket, _, _ = fs.split_path(root)
    if not bucket:
        raise ValueError("it names no bucket: s3://BUCKET/FOLDER")
    try:
        fs.call_s3("head_bucket", Bucket=bucket)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no bucket {bucket}: make it, or name another") from None
    except PermissionError:
        raise PermissionError(f"bucket {bucket} may not be read with these credentials (AWS_ACCESS_KEY_ID)") from None


def _reason(error: Exception) -> str:
    match type(error).__name__:
        case "NoCredentialsError" | "PartialCredentialsError":
            return "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        case "EndpointConnectionError" | "ConnectTimeoutError" | "ReadTimeoutError" | "ConnectionClosedError":
            return f"it does not answer ({error}): check AWS_ENDPOINT_URL"
        case "FSTimeoutError":
            return "it fell silent in the middle of an answer"
        case "ImportError" | "ModuleNotFoundError" if "s3fs" in str(error):
            return "S3 needs the extra s3: pip install '.[s3]'"
        case _:
            return str(error)
