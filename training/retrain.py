"""The batch retrain: from the network in the database to a new version that serves, a line a stage."""

import asyncio
import hashlib
import json
import logging
import platform
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from contract.artifact import MANIFEST, load
from contract.blobs import BlobStore
from contract.environment import StoreSettings
from contract.errors import ArtifactInvalid, ContractError
from contract.preprocessing import Preprocessing
from contract.progress import Progress, silent
from contract.tables import open_database
from training.backbones import load_backbone
from training.checkpoints import FORMAT
from training.computed import Vectors, keep_vectors, kept_vectors
from training.encoding.engines import Cluster
from training.errors import InputRejected
from training.evaluate import judge, popularity_scorer, random_scorer
from training.export import export
from training.features import pixels_digest
from training.finetune import visual_part
from training.gate import Verdict, pass_gate
from training.network import Network, exposures, load_network, split_by_time
from training.problem import Problem, content_of, problem_of
from training.processes import ALONE, Processes
from training.publish import Published, need_active, publish
from training.redaction import redact
from training.retention import VERSION, forget_old
from training.settings import Gate, Placement, TrainingSettings
from training.stores import fetch_kept, one_at_a_time, with_models, with_stores
from training.train import Fitted, fit
from training.verify import verify

log = logging.getLogger(__name__)

_USUAL_SIZE = 224

Metrics = dict[str, dict[str, float]]


@dataclass(frozen=True)
class RetrainReport:
    """What a retrain made; `metrics` are of the held-out retweets, by system.

    `verdict` is None where no other version served; `new_vectors` where nothing was published.
    """

    version: str
    folder: Path
    metrics: Metrics
    verdict: Verdict | None
    new_vectors: int | None


@dataclass(frozen=True)
class Run:
    """A retrain's own folder, found again by the next one with the same settings and data until it is finished."""

    folder: Path
    version: str

    def finish(self) -> None:
        """Forget it: the next retrain starts anew."""
        shutil.rmtree(self.folder)


def retrain(
    settings: TrainingSettings,
    stores: StoreSettings,
    progress: Progress,
    gate: Gate = Gate(),
    dry_run: bool = False,
    share: float | None = None,
    cluster: Cluster | None = None,
    placement: Placement = Placement(),
    processes: Processes = ALONE,
) -> RetrainReport:
    """Load, features, fit, evaluate, export, verify, compare with the active version, publish, activate.

    A run that was interrupted is gone on from by the next one with the same settings and data: cached features, the
    last epoch's checkpoint, a complete export and tweets' vectors are not made again. So is one that did not pass the
    gate, and a dry run, which ends before anything is published. With a share of the users (0 to 1) the new version is
    put on trial, and the active one goes on serving the others. What is to be encoded is by the workers of a cluster
    (None: by this process). Of several processes this is what the first one does; the others call `help_fit`. However
    it ends, deleted users are taken out of the exported models first.
    Raises GateClosed where the new version is worse than the gate allows.
    """
    if settings.residual or settings.item_bias:
        raise InputRejected(
            "--residual and --item-bias: the service knows a tweet by its content alone: leave them out"
        )
    if share is not None:
        with_stores(stores, need_active)
    network = asyncio.run(read_network(stores))
    with one_at_a_time(stores.var_dir / "runs"):
        with_models(stores, redact)
        with_models(stores, fetch_kept)
        run = open_usable_run(stores, settings, network)
        folder = stores.models_dir / run.version
        if not (folder / MANIFEST).exists():
            train_and_export(folder, run, network, settings, stores, progress, placement, processes)
        metrics, computed = load(folder).manifest.metrics, kept_vectors(run.folder)
        verdict = with_stores(
            stores, lambda opened: pass_gate(folder, gate, network, settings, opened, progress, computed)
        )
        if dry_run:
            return RetrainReport(run.version, folder, metrics, verdict, None)
        published = publish_folder(folder, stores, progress, verdict, share, computed, cluster)
        run.finish()
        forget(stores)
    return RetrainReport(run.version, folder, metrics, verdict, published.new_vectors)


def forget(stores: StoreSettings) -> None:
    """Delete old folders and runs; what cannot be deleted is said, since the new version serves already."""
    try:
        with_stores(stores, lambda opened: forget_old(stores, opened))
    except (OSError, ContractError, SQLAlchemyError, RedisError) as error:
        log.warning("old versions or runs could not be deleted: %s", error)


def open_usable_run(stores: StoreSettings, settings: TrainingSettings, network: Network) -> Run:
    """The unfinished run, or a new one: also where what an earlier try exported does not load, as of other code."""
    run = open_run(stores.var_dir / "runs", settings, network)
    folder = stores.models_dir / run.version
    if (folder / MANIFEST).exists():
        try:
            load(folder)
        except ArtifactInvalid as error:
            log.warning("the run is begun anew, since what an earlier try exported does not load: %s", error)
            run.finish()
            return open_run(stores.var_dir / "runs", settings, network)
    return run


def train_and_export(
    folder: Path,
    run: Run,
    network: Network,
    settings: TrainingSettings,
    stores: StoreSettings,
    progress: Progress,
    placement: Placement = Placement(),
    processes: Processes = ALONE,
) -> None:
    """From the network to a verified folder; nothing is seen under its name before it is complete."""
    split = split_by_time(network, settings.test_share, settings.validation_share)
    backbone = load_backbone(settings.backbone, settings.weights)
    preprocessing = Preprocessing(image_size=backbone.image_size)
    blobs = BlobStore(stores.image_store_url)
    cache = stores.var_dir / "features"
    x_TF, tuned = visual_part(settings.finetune, backbone, network.image_keys, blobs, cache, progress)
    content, tokenizer = content_of(network, x_TF, split.test_from, preprocessing)
    problem = problem_of(network, exposures(network), split, content)
    checkpoint = run.folder / "checkpoint.pt"
    with processes.joined(placement.device):
        processes.from_first(Task(problem, network.image_keys, checkpoint.resolve(), run.version))
        fitted = fit(problem, settings, checkpoint, progress, tuned, placement, processes)
        metrics = judge_all(fitted, problem, settings.seed)
    for part in (fitted.model, backbone):
        part.cpu()
    draft = folder.with_name(f".{folder.name}.draft")
    graphs = export(draft, run.version, fitted, backbone, tokenizer, preprocessing, network, metrics, settings)
    verify(draft, graphs)
    if tuned is None:
        keep_vectors(run.folder, network.tweet_ids, graphs.encoder.encoder, content)
    draft.rename(folder)


@dataclass(frozen=True)
class Task:
    """What the first of several processes gives the others to fit; the keys of the pictures are for fine-tuning."""

    problem: Problem
    image_keys: list[str]
    checkpoint: Path
    version: str

    def need_shared(self) -> None:
        """Raises InputRejected where this process does not see the run's folder, as with sharded vectors it must."""
        told = self.checkpoint.with_name(VERSION)
        if not told.exists() or told.read_text("utf-8") != self.version:
            raise InputRejected(
                f"--shard-users: {self.checkpoint.parent} of the first process is not there on {platform.node()}: "
                "all processes must share one VAR_DIR, at the same path"
            )


def help_fit(settings: TrainingSettings, stores: StoreSettings, placement: Placement, processes: Processes) -> None:
    """What the other processes do: fit the first one's problem with it, should it come to that, and judge.

    They read no database; for fine-tuning they read pictures, and features that the first one cached.
    """
    if not processes.called():
        return
    with processes.joined(placement.device):
        task = processes.from_first(cast(Task | None, None))
        if placement.shard_users:
            task.need_shared()
        tuned = None
        if settings.finetune != "none":
            backbone = load_backbone(settings.backbone, settings.weights)
            blobs, cache = BlobStore(stores.image_store_url), stores.var_dir / "features"
            _, tuned = visual_part(settings.finetune, backbone, task.image_keys, blobs, cache, silent)
        fitted = fit(task.problem, settings, task.checkpoint, silent, tuned, placement, processes)
        judge_all(fitted, task.problem, settings.seed)


def judge_all(fitted: Fitted, problem: Problem, seed: int) -> Metrics:
    """Metrics of the model, of popularity and of coin flips on the test period's lists."""
    scorers = {"amnl": fitted.scorer, "popularity": popularity_scorer(problem), "random": random_scorer(seed)}
    return {name: judge(problem.test, scorer, seed).means for name, scorer in scorers.items()}


def publish_folder(
    folder: Path,
    stores: StoreSettings,
    progress: Progress,
    verdict: Verdict | None = None,
    share: float | None = None,
    computed: Vectors | None = None,
    cluster: Cluster | None = None,
) -> Published:
    """Make an exported model the one that serves, or put it on trial for a share of the users."""
    return with_stores(stores, lambda opened: publish(folder, opened, progress, verdict, share, computed, cluster))


async def read_network(stores: StoreSettings) -> Network:
    """The network in the database."""
    async with open_database(stores.sqlalchemy_url) as engine:
        return await load_network(engine)


def open_run(runs: Path, settings: TrainingSettings, network: Network) -> Run:
    """The unfinished run of these settings, this data and what decoding makes of pictures now, or a new one."""
    pixels = pixels_digest(_USUAL_SIZE)
    described = (
        json.dumps(settings.model_dump(mode="json"), sort_keys=True) + network.snapshot().digest + pixels + FORMAT
    )
    fingerprint = hashlib.sha256(described.encode()).hexdigest()[:12]
    folder = runs / fingerprint
    folder.mkdir(parents=True, exist_ok=True)
    version_file = folder / VERSION
    if not version_file.exists():
        partial = folder / "version.partial"
        partial.write_text(f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{fingerprint}", "utf-8")
        partial.rename(version_file)
    return Run(folder, version_file.read_text("utf-8"))
