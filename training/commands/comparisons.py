"""What the verbs do that compare systems. Imports torch."""

import argparse
from pathlib import Path

from contract.cli.options import environment, given
from contract.cli.terminal import say
from contract.environment import StoreSettings
from training import progress
from training.cli import comparisons as told
from training.compare import compare, network_problem
from training.reproduce import Sources
from training.reproduce import reproduce as reproduce_all
from training.settings import TrainingSettings
from training.systems import known_systems
from training.tune import tune as tune_all

METRICS = ("p@1", "p@3", "auc", "ndcg@10", "mrr")


def evaluate(options: argparse.Namespace) -> told.Evaluated:
    """Say a line a system as it is judged."""
    names = known_systems(options.systems)
    lines = compare(
        options.kind,
        options.data,
        options.protocol,
        options.split,
        names,
        options.seeds,
        given(options, TrainingSettings),
        features(),
        progress.terminal,
    )
    rows: list[told.Row] = []
    for name, means in lines:
        if not rows:
            say(f"{'held-out retweets':<30} {' '.join(f'{metric:>7}' for metric in METRICS)}", as_json=options.json)
        if isinstance(means, str):
            rows.append(told.Row(system=name, metrics=None, why_not=means))
        else:
            rows.append(told.Row(system=name, metrics=dict(means), why_not=None))
        said = means if isinstance(means, str) else " ".join(f"{means[metric]:7.3f}" for metric in METRICS)
        say(f"  {name:<28} {said}", as_json=options.json)
    return told.Evaluated(systems=rows)


def tune(options: argparse.Namespace) -> told.Tuned:
    """Say every trial and keep the best."""
    names = known_systems(options.systems)
    pictures = given(options, TrainingSettings)
    problem = network_problem(options.kind, options.data, options.split, pictures, features(), progress.terminal)
    trials: list[told.Trial] = []
    for trial in tune_all(problem, options.kind, options.split, names, options.out, progress.terminal):
        gave = trial.failed if trial.auc is None else f"validation AUC {trial.auc:.4f}"
        say(f"{trial.system}: {gave} with {trial.settings}", as_json=options.json)
        trials.append(
            told.Trial(system=trial.system, settings=trial.settings, auc=trial.auc, failed=trial.failed or None)
        )
    return told.Tuned(trials=trials, out=options.out, log=options.out.with_suffix(".trials.jsonl"))


def reproduce(options: argparse.Namespace) -> told.Reproduced:
    """Make the runs that are missing and the page."""
    pictures = given(options, TrainingSettings)
    sources = Sources(options.data, features(), options.lastfm, options.flickr, pictures)
    page = reproduce_all(sources, options.out, options.seeds, options.quick, progress.terminal)
    return told.Reproduced(page=page, figures=page.with_name("results.json"), runs=page.with_name("runs"))


def features() -> Path:
    """Where pictures' features are cached."""
    return environment(StoreSettings).var_dir / "features"
