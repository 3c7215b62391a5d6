"""What the verbs do that put a version into service. Imports torch."""

import argparse
import sys
import time

from contract.cli.options import environment, given
from contract.environment import StoreSettings
from contract.model_folders import open_models
from training import progress, retrain
from training.cli import PROGRAM
from training.cli.retraining import Published, Retrained
from training.commands.encoding import cluster_of
from training.processes import of_torchrun
from training.settings import Gate, Placement, TrainingSettings
from training.stores import one_at_a_time


def train(options: argparse.Namespace) -> Retrained:
    """Retrain and activate, by all processes that torchrun started; those beside the first one say nothing."""
    started = time.monotonic()
    with of_torchrun(PROGRAM.expected) as processes:
        settings, gate, placement = given(options, TrainingSettings), given(options, Gate), given(options, Placement)
        stores = environment(StoreSettings)
        processes.need(placement)
        if not processes.first:
            retrain.help_fit(settings, stores, placement, processes)
            sys.exit(processes.status_of_first())
        cluster = cluster_of(options)
        report = retrain.retrain(
            settings, stores, progress.terminal, gate, options.dry_run, options.trial, cluster, placement, processes
        )
    return Retrained(
        version=report.version,
        folder=report.folder,
        metrics=report.metrics,
        gate=report.verdict and report.verdict.told(),
        verdict=report.verdict and str(report.verdict),
        published=report.new_vectors is not None,
        trial=options.trial,
        new_vectors=report.new_vectors,
        seconds=round(time.monotonic() - started, 1),
    )


def publish_version(options: argparse.Namespace) -> Published:
    """Put an exported version into service."""
    cluster, stores = cluster_of(options), environment(StoreSettings)
    folder = open_models(stores).need(options.version)
    with one_at_a_time(stores.var_dir / "runs"):
        published = retrain.publish_folder(folder, stores, progress.terminal, share=options.trial, cluster=cluster)
    return Published(version=options.version, folder=folder, trial=options.trial, new_vectors=published.new_vectors)
