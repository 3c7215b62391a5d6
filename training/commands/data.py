"""What the verbs for datasets do."""

import argparse
import asyncio
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from contract.cli.options import environment, given
from contract.environment import StoreSettings
from training import progress
from training.cli.data import CurlLines, Exported, Imported, Made
from training.demo import curl_lines
from training.dump import export_dataset
from training.importer import import_dataset
from training.stores import with_stores
from training.synthesize import SynthesisSettings, synthesize

MOST_WORKERS = 8
"""Processes that make pictures; each takes some 100 MB."""


def make(options: argparse.Namespace) -> Made:
    """Make a dataset folder."""
    folder: Path = options.folder or options.out
    settings = given(options, SynthesisSettings)
    report = synthesize(folder, settings, progress.terminal, min(os.cpu_count() or 1, MOST_WORKERS))
    return Made(folder=folder, **asdict(report))


def import_folder(options: argparse.Namespace) -> Imported:
    """Import a dataset folder."""
    settings = environment(StoreSettings)
    rejects_file = None if options.strict else options.rejects or default_rejects_file(options.folder, settings)
    report = with_stores(
        settings, lambda stores: import_dataset(options.folder, stores, progress.terminal, rejects_file)
    )
    return Imported(**asdict(report), rejects_file=rejects_file if report.rejected else None)


def export_folder(options: argparse.Namespace) -> Exported:
    """Export a dataset folder."""
    stores = environment(StoreSettings)
    report = asyncio.run(export_dataset(options.folder, options.format, stores, progress.terminal))
    return Exported(folder=options.folder, **asdict(report))


def demo(options: argparse.Namespace) -> CurlLines:
    """Lines for a made dataset."""
    ask, post, ask_again = curl_lines(options.folder, options.url)
    return CurlLines(ask=ask, post=post, ask_again=ask_again)


def default_rejects_file(folder: Path, settings: StoreSettings) -> Path:
    """A place under VAR_DIR that no other import has."""
    return settings.var_dir / "rejects" / f"{folder.resolve().name}-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.jsonl"
