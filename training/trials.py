"""python -m training models trial: a version that serves a share of the users, and how it does."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from contract.runtime import verify_folder
from contract.transactions import changing
from contract.trial import Recommended, Trial
from contract.vectors import VectorStore
from contract.versions import (
    Arm,
    activated_last,
    arm_of,
    end_trial,
    hold_versions,
    latest_first,
    row_on_trial,
    start_trial,
)
from training.errors import InputRejected
from training.models import need_kept, need_vectors
from training.results import Estimate
from training.stores import Stores

LEAST_USERS = 30
LEAST_RETWEETERS = 10
_RESAMPLES = 2_000
_TAILS = (0.025, 0.975)
_IN = 1_000


@dataclass(frozen=True)
class TrialSoFar:
    """Both arms since it began, the active version first."""

    trial: Trial
    since: datetime
    arms: tuple[Arm, Arm]

    def lines(self) -> list[str]:
        """For people."""
        whom = f"{100 * self.trial.share:g} % of the users"
        said = [f"{self.trial.version} is on trial for {whom}; counted since {self.since:%Y-%m-%d %H:%M} UTC:"]
        if not self.trial.share:
            return [*said, "  it serves nobody: /metrics has shadow_overlap and shadow_duration_seconds"]
        for arm in self.arms:
            answers_U, retweets_U = arm.by_user()
            of_those = f"{_IN * retweets_U.sum() / answers_U.sum():.1f}" if len(answers_U) else "-"
            said.append(
                f"  {arm.version:<32} {len(answers_U):>7,} users {int(answers_U.sum()):>9,} answers "
                f"{int(retweets_U.sum()):>7,} retweets of what it recommended, {of_those} in {_IN:,} answers"
            )
        if not all(map(enough, self.arms)):
            least = f"{LEAST_USERS} users, {LEAST_RETWEETERS} of whom retweeted what it recommended"
            return [*said, f"  too little yet to compare: each must have answered {least}"]
        mean, low, high = (_IN * value for value in difference(*self.arms))
        return [*said, f"  on trial less active, in {_IN:,} answers: {mean:+.1f} ({low:+.1f} to {high:+.1f}, 95 %)"]


def enough(arm: Arm) -> bool:
    """Whether an interval over its users means anything."""
    answers_U, retweets_U = arm.by_user()
    return len(answers_U) >= LEAST_USERS and int((retweets_U > 0).sum()) >= LEAST_RETWEETERS


def difference(active: Arm, on_trial: Arm) -> Estimate:
    """Retweets an answer on trial, less those of the active version, with a bootstrap interval over users."""
    generator = np.random.default_rng(0)
    active_rates, trial_rates = (_rates(arm, generator) for arm in (active, on_trial))
    low, high = np.quantile(trial_rates[1:] - active_rates[1:], _TAILS).tolist()
    return Estimate(float(trial_rates[0] - active_rates[0]), low, high)


def _rates(arm: Arm, generator: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Retweets an answer: of all users, then of users drawn anew each time."""
    answers_U, retweets_U = arm.by_user()
    rates = [retweets_U.sum() / answers_U.sum()]
    for _ in range(_RESAMPLES):
        drawn = generator.integers(len(answers_U), size=len(answers_U))
        rates.append(retweets_U[drawn].sum() / answers_U[drawn].sum())
    return np.array(rates)


async def put_on_trial(version: str, share: float, stores: Stores, models_dir: Path) -> None:
    """Let a kept version serve a share of the users; every process follows within a second.

    Raises InputRejected where it is not known or its vectors are gone, ArtifactInvalid where it does not verify,
    VersionServes where it serves everybody, StoreUnavailable where Redis lost its contents.
    """
    await need_kept(version, stores, models_dir, f"python -m training publish {version} --trial SHARE")
    await asyncio.to_thread(stores.models.share, version)
    exported, _ = verify_folder(stores.models.need(version), "cpu")
    await need_vectors(exported, stores)
    vectors, recommended = _of(stores)
    async with changing(stores.engine) as connection:
        await hold_versions(connection)
        await start_trial(connection, vectors, recommended, version, share)


async def stop_trial(stores: Stores) -> None:
    """Let the active version serve everybody again."""
    async with changing(stores.engine) as connection:
        await hold_versions(connection)
        await end_trial(connection, _of(stores)[0])


async def trial_so_far(stores: Stores) -> TrialSoFar:
    """Raises InputRejected where no version is on trial."""
    _, recommended = _of(stores)
    async with stores.engine.connect() as connection:
        known = await latest_first(connection)
        row = row_on_trial(known)
        active = activated_last(known)
        if row is None or active is None:
            raise InputRejected("no version is on trial: `models trial VERSION --share .1` puts one on it")
        one, other = [
            await arm_of(connection, recommended, version, row.on_trial_since) for version in (active, row.version)
        ]
    return TrialSoFar(Trial(row.version, row.share), row.on_trial_since, (one, other))


def _of(stores: Stores) -> tuple[VectorStore, Recommended]:
    return VectorStore(stores.redis, stores.namespace), Recommended(stores.redis, stores.namespace)
