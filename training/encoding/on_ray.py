"""Shards on a Ray cluster: an actor a worker, which loads the model once and is checked to have the very same one.

Shards are the data set, so that no picture goes through Ray's object store: workers read for themselves. They need the
pictures, not the database, Redis or MODELS_DIR: the model's files are sent to them, and checked. Ray does anew what a
lost worker or node had in work; what it brings back is stored by the process that asked.
"""

import logging
import os
import pickle
import signal
import sys
import tempfile
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from contract.artifact import ENCODER_FILES, MANIFEST, Artifact, load_encoder
from contract.errors import ContractError
from contract.runtime import OnnxModel
from training.encoding.encoder import Encoder
from training.encoding.engines import Cluster, need_cluster, no_cluster
from training.encoding.shards import Encoded, Shard
from training.errors import ClusterFailed, TrainingError

_QUIET = {
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_RETRIES = 30
"""How often a shard is begun again whose worker or node died: after that it is the shard that kills them.

Until Ray takes a node for dead, some seconds after it died, each of its shards is tried there again and again.
"""
_ROOM_BYTES = 200_000_000
"""For shards without their pictures, and vectors, in a cluster of this process's own."""


def encode_on_ray(shards: Sequence[Shard], exported: Artifact, cluster: Cluster) -> Generator[Encoded, None, None]:
    """By the workers of a cluster, each shard once.

    Raises ClusterFailed where there is no such cluster or it fails, and what a worker raises: ArtifactInvalid or
    DeviceUnavailable where the model does not run there, InputRejected or OSError where it cannot read.
    """
    if not shards:
        return
    files = {name: (exported.folder / name).read_bytes() for name in (MANIFEST, *ENCODER_FILES)}
    room = _ROOM_BYTES + sum(map(len, files.values()))
    with redirect_stdout(sys.stderr), connected(cluster, room) as resources:  # Ray prints there what its raylets say
        import ray.data
        from ray.util.annotations import RayDeprecationWarning

        gpus = int(resources.get("GPU", 0))
        workers = min(cluster.workers or gpus or int(resources.get("CPU", 1)), len(shards))
        rows = [{"shard": pickle.dumps(shard)} for shard in shards]
        with warnings.catch_warnings(action="ignore", category=RayDeprecationWarning):  # of max_task_retries
            encoded = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
                Worker,
                fn_constructor_args=([ray.put(files)], exported.manifest.files["encoder.onnx"], bool(gpus)),
                batch_size=1,
                batch_format="numpy",
                compute=ray.data.ActorPoolStrategy(size=workers),
                num_cpus=1,
                num_gpus=1 if gpus else 0,
                max_task_retries=_RETRIES,
            )
        for row in encoded.iter_rows():
            found = pickle.loads(row["encoded"])  # noqa: S301 - of our own workers
            if isinstance(found, Exception):
                raise found
            yield found


@contextmanager
def connected(cluster: Cluster, room: int) -> Iterator[dict[str, float]]:
    """Ray's client for as long as the block takes, without dashboard, telemetry or workers' logs; what the cluster has.

    One of this process's own listens on loopback alone, and has so many bytes for objects. Raises ClusterFailed.
    """
    os.environ.update(_QUIET)
    if cluster.address == "local":
        # Before Ray is imported, which reads it then: as on macOS and Windows, no node of another machine may join.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    need_cluster(cluster)
    import ray
    import ray.data

    own = {"include_dashboard": False, "object_store_memory": room, "num_cpus": cluster.workers}
    told_to_end = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=cluster.address,
            log_to_driver=False,
            logging_level="ERROR",
            **(own if cluster.address == "local" else {}),
        )
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise no_cluster(cluster.address, error) from error
    try:
        signal.signal(signal.SIGTERM, told_to_end)  # Ray's own would end the command with another status
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what fails is raised
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        yield ray.cluster_resources()
    except ray.exceptions.RayError as error:
        raise ClusterFailed(f"a Ray worker failed ({_first_line(error)}): see the logs of Ray") from error
    finally:
        ray.shutdown()


class Worker:
    """An actor: one model, loaded at its first shard, so that what is wrong with it comes back as a result."""

    def __init__(self, files: list[Any], encoder_sha256: str, on_gpu: bool) -> None:
        """`files`: a reference to the model's files by name, in a list, or Ray would send them with each call."""
        self._files, self._sha256, self._on_gpu = files[0], encoder_sha256, on_gpu
        self._encoder: Encoder | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        """One shard, pickled, to what came of it, or to the error that says why nothing can."""
        (packed,) = batch["shard"]
        try:
            self._encoder = self._encoder or self._load()
            found: Encoded | Exception = self._encoder.encode(pickle.loads(packed))  # noqa: S301 - of our driver
        except (ContractError, TrainingError, OSError, RuntimeError) as error:
            found = error
        return {"encoded": [pickle.dumps(found)]}

    def _load(self) -> Encoder:
        import ray

        logging.basicConfig(level=logging.INFO)
        with tempfile.TemporaryDirectory(prefix="encoder") as folder:  # at once in memory: a worker may be killed
            for name, data in ray.get(self._files).items():
                Path(folder, name).write_bytes(data)
            exported = load_encoder(Path(folder), self._sha256)
            model = OnnxModel(exported, "cuda" if self._on_gpu else "cpu", threads=1)
            model.verify_golden(exported)
        return Encoder(exported, model, readers=1)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0]
