"""Who encodes shards: this process, or workers of a Ray cluster."""

import os
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


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster: its address as host:port; `auto`, the one of this machine; `local`, one of this process's own.

    `workers` is how many encode; None: as many as there are GPUs or, where there are none, cores.
    """

    address: str
    workers: int | None = None


def need_cluster(cluster: Cluster) -> Cluster:
    """The same. Raises ClusterFailed where Ray is not installed."""
    if find_spec("ray") is None:
        raise ClusterFailed("Ray is not installed: install .[ray], or leave --ray out")
    return cluster


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
