"""What the verb for own pictures does."""

import argparse
from dataclasses import asdict

from training import progress
from training.adopt import adopt
from training.cli.adoption import Adopted


def adopt_folder(options: argparse.Namespace) -> Adopted:
    """Make a dataset folder of somebody's own pictures."""
    report = adopt(options.pictures, options.out, options.people, options.seed, progress.terminal)
    return Adopted(folder=options.out, **asdict(report))
