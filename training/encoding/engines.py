"""Who encodes shards: this process, or workers of a Ray cluster."""

import os
import socket
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec

from contract.artifact import Artifact
from contract.runtime import OnnxModel
from training.encoding.encoder import Encoder
from training.encoding.shards import Encoded, Shard
from training.errors import ClusterFailed

Encode = Callable[[Sequence[Shard]], Generator[Encoded, None, None]]
"""Shards come back in any order, each once."""
_MOST_READERS = 4
_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster: its address as host:port; `auto`, the one of this machine; `local`, one of this process's own.

    `workers` is how many encode; None: as many as there are GPUs or, where there are none, cores.
    """

    address: str
    workers: int | None = None


def need_cluster(cluster: Cluster) -> Cluster:
    """The same. Raises ClusterFailed where Ray is not installed, or nothing answers at the address."""
    if find_spec("ray") is None:
        raise ClusterFailed("Ray is not installed: install .[ray], or leave --ray out")
    if cluster.address not in ("local", "auto"):
        _need_answer(cluster.address)
    return cluster


def _need_answer(address: str) -> None:
    """At once, where Ray itself would try for minutes, and after a training of hours."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _PATIENCE_SECONDS).close()
    except (OSError, ValueError) as error:
        raise no_cluster(address, error) from error


def no_cluster(address: str, error: Exception) -> ClusterFailed:
    """What to raise where a cluster cannot be joined."""
    why = (str(error).strip() or repr(error)).splitlines()[0]
    return ClusterFailed(f"no Ray cluster at {address} ({why}): give HOST:PORT, `auto` or `local`")


def engine(exported: Artifact, model: OnnxModel, cluster: Cluster | None) -> Encode:
    """Of an exported model: this process with `model`, or the workers of a cluster with their own."""
    if cluster is None:
        return lambda shards: encode_here(shards, exported, model)
    from training.encoding.on_ray import encode_on_ray

    return lambda shards: encode_on_ray(shards, exported, cluster)


def encode_here(shards: Sequence[Shard], exported: Artifact, model: OnnxModel) -> Generator[Encoded, None, None]:
    """In this process, one after the other."""
    with closing(Encoder(exported, model, min(os.cpu_count() or 1, _MOST_READERS))) as encoder:
        yield from map(encoder.encode, shards)
