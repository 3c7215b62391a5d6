"""What the verb for bulk encoding does."""

import argparse
import time
from pathlib import Path

from contract.cli.options import UsageWrong, environment
from contract.environment import StoreSettings
from contract.model_folders import open_models
from training import progress
from training.cli.encoding import Encoded
from training.commands.data import default_rejects_file
from training.dataset.rejects import Rejects
from training.encode import EncodeReport, encode_files, encode_stored, serving_version
from training.encoding.engines import Cluster, need_cluster
from training.errors import InputRejected
from training.importer import list_rejects
from training.stores import one_at_a_time, with_stores


def encode(options: argparse.Namespace) -> Encoded:
    """Encode what is in the database, or in Parquet files."""
    started = time.monotonic()
    if options.source is not None and options.to is None:
        raise UsageWrong("--from needs --to: name a folder for the vectors")
    cluster, settings = cluster_of(options), environment(StoreSettings)
    version = options.version or serving_version(settings)
    rejects = Rejects(strict=options.strict)
    report = _run(options, open_models(settings).need(version), settings, cluster, rejects)
    rejects_file = options.rejects or default_rejects_file(Path("encode"), settings)
    list_rejects(rejects, rejects_file)
    if rejects.rows and not report.encoded + report.known:
        raise InputRejected(
            f"all {len(rejects.rows):,} rows are rejected, the first is {rejects.rows[0]} "
            f"(all are listed in {rejects_file})"
        )
    return Encoded(
        version=version,
        encoded=report.encoded,
        known=report.known,
        in_redis=report.in_redis,
        to=options.to,
        picture_bytes=report.picture_bytes,
        rejected=report.rejected,
        rejects_file=rejects_file if report.rejected else None,
        seconds=round(time.monotonic() - started, 1),
    )


def cluster_of(options: argparse.Namespace) -> Cluster | None:
    """Where tweets are to be encoded, of --ray and --workers; None: in this process. Raises UsageWrong."""
    if options.ray is None:
        if options.workers is not None:
            raise UsageWrong("--workers needs --ray: name a cluster, or `--ray local`")
        return None
    return need_cluster(Cluster(options.ray, options.workers))


def _run(
    options: argparse.Namespace, folder: Path, settings: StoreSettings, cluster: Cluster | None, rejects: Rejects
) -> EncodeReport:
    if options.source is not None:
        return encode_files(folder, options.source, options.to, cluster, rejects, progress.terminal)
    with one_at_a_time(settings.var_dir / "runs"):
        return with_stores(
            settings, lambda opened: encode_stored(folder, opened, cluster, options.to, rejects, progress.terminal)
        )
