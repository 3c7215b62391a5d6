"""What the verbs for versions do: the command line of training/models.py."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from contract.artifact import read_manifest
from contract.cli.options import UsageWrong, environment
from contract.cli.terminal import say
from contract.environment import StoreSettings
from contract.errors import ArtifactInvalid
from contract.model_folders import open_models
from training import models, progress
from training.cli import version_results as told
from training.stores import with_stores


def list_all(_: argparse.Namespace) -> told.Listed:
    """All versions."""
    stores = environment(StoreSettings)
    known = with_stores(stores, lambda opened: models.list_versions(opened, stores.models_dir))
    return told.Listed(models_dir=stores.models_dir, versions=[told.Version(**fields(one)) for one in known])


def show(options: argparse.Namespace) -> told.Shown:
    """One, with its manifest."""
    stores = environment(StoreSettings)
    known = with_stores(stores, lambda opened: models.find_version(options.version, opened, stores.models_dir))
    manifest = read_manifest(stores.models_dir / options.version).model_dump(mode="json") if known.on_disk else None
    return told.Shown(**fields(known), manifest=manifest)


def report(options: argparse.Namespace) -> told.Reported:
    """Write the page."""
    from training.history import report_versions

    stores = environment(StoreSettings)
    out: Path = options.out or stores.var_dir / "models"
    known = with_stores(stores, lambda opened: models.list_versions(opened, stores.models_dir))
    report_versions(out, known, stores.models_dir)
    return told.Reported(versions=len(known), page=out / "index.html", lines=out / "versions.jsonl")


def verify(options: argparse.Namespace) -> told.Verified:
    """How near the golden outputs are."""
    worst = models.verify_version(open_models(environment(StoreSettings)).need(options.version))
    return told.Verified(version=options.version, largest_difference=worst)


def compare(options: argparse.Namespace) -> told.Compared:
    """Both AUCs, the difference and its interval."""
    from training.gate import compare_versions

    stores = environment(StoreSettings)
    one, other = map(open_models(stores).need, (options.version, options.other))
    found = with_stores(stores, lambda opened: compare_versions(one, other, opened, progress.terminal))
    mean, low, high = found.difference
    return told.Compared(
        version=options.version,
        other=options.other,
        users=found.users,
        auc=found.new_auc,
        other_auc=found.active_auc,
        difference=mean,
        difference_low=low,
        difference_high=high,
        told=str(found),
    )


def activate(options: argparse.Namespace) -> told.Serves:
    """Move the pointer."""
    stores = environment(StoreSettings)
    with_stores(stores, lambda opened: models.activate_version(options.version, opened, stores.models_dir))
    return told.Serves(version=options.version)


def roll_back(_: argparse.Namespace) -> told.Serves:
    """Move the pointer back."""
    stores = environment(StoreSettings)
    return told.Serves(version=with_stores(stores, lambda opened: models.roll_back(opened, stores.models_dir)))


def trial(options: argparse.Namespace) -> told.OnTrial:
    """Begin a trial, or tell both arms of the one that runs."""
    from training import trials

    if (options.version is None) != (options.share is None):
        raise UsageWrong("to put a version on trial name both: `models trial VERSION --share .1`")
    stores = environment(StoreSettings)
    version, share = options.version, options.share
    if version is not None:
        with_stores(stores, lambda opened: trials.put_on_trial(version, share, opened, stores.models_dir))
        return told.OnTrial(version=version, share=share, since=None, arms=None, difference=None, lines=[])
    found = with_stores(stores, trials.trial_so_far)
    comparable = found.trial.share and all(map(trials.enough, found.arms))
    return told.OnTrial(
        version=found.trial.version,
        share=found.trial.share,
        since=found.since,
        arms=[_arm(arm) for arm in found.arms],
        difference=trials.difference(*found.arms)._asdict() if comparable else None,
        lines=found.lines(),
    )


def _arm(arm: Any) -> told.Arm:
    answers_U, retweets_U = arm.by_user()
    return told.Arm(
        version=arm.version, users=len(answers_U), answers=int(answers_U.sum()), retweets=int(retweets_U.sum())
    )


def end_trial(_: argparse.Namespace) -> told.TrialEnded:
    """End it."""
    from training import trials

    with_stores(environment(StoreSettings), trials.stop_trial)
    return told.TrialEnded(ended=True)


def delete(options: argparse.Namespace) -> told.Deleted:
    """Remove a version."""
    stores = environment(StoreSettings)
    with_stores(stores, lambda opened: models.delete_version(options.version, opened, stores.models_dir))
    return told.Deleted(version=options.version, folder=stores.models_dir / options.version)


def redact(options: argparse.Namespace) -> told.Redacted:
    """Which had deleted users. Raises ArtifactInvalid where they cannot be taken out of one."""
    from training.redaction import redact_all

    stores = environment(StoreSettings)
    redacted = with_stores(stores, lambda opened: redact_all(opened.models, opened.engine))
    result = told.Redacted(versions=redacted.versions, models_dir=stores.models_dir)
    if redacted.failed:
        if redacted.versions:
            say(result.done(), as_json=options.json)
        named = ", ".join(redacted.failed)
        raise ArtifactInvalid(f"{named} may have deleted users still: see above what is wrong, and what to do")
    return result


def rebuild(_: argparse.Namespace) -> told.Rebuilt:
    """Write Redis anew."""
    from training.publish import rebuild_redis

    stores = environment(StoreSettings)
    written = with_stores(stores, lambda opened: rebuild_redis(stores.models_dir, opened, progress.terminal))
    whole = [version for version, fault in written.items() if fault is None]
    not_written = {version: fault for version, fault in written.items() if fault is not None}
    return told.Rebuilt(active=whole[0], versions=whole, not_written=not_written)


def fields(known: models.KnownVersion) -> dict[str, Any]:
    """Of a version's result."""
    return {**asdict(known), "status": known.status}
