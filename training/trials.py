"""python -m training models trial: a version that serves a share of the users, and how it does."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from contract.runtime import verify_folder
from contract.transactions import changing
from contract.trial import Recommended, Trial
from contract.vectors import VectorStore
from contract.versions import Arm, activated_last, arm_of, end_trial, hold_versions, latest_first, start_trial
from training.errors import InputRejected
from training.models import find_version
from training.results import Estimate
from training.stores import Stores

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
        active, on_trial = self.arms
        since, whom = f"{self.since:%Y-%m-%d %H:%M}", f"{self.trial.share:.0%} of the users"
        said = [f"{self.trial.version} has been on trial since {since}, for {whom}"]
        for arm in self.arms:
            told = arm.told()
            of_those = f"{_IN * told['retweets'] / told['answers']:.1f}" if told["answers"] else "-"
            said.append(
                f"  {arm.version:<32} {told['users']:>7,} users {told['answers']:>9,} answers {told['retweets']:>7,} "
                f"retweets of what it recommended, {of_those} in {_IN:,} answers"
            )
        if not active.answers or not on_trial.answers:
            return [*said, "  to compare them, both must have answered somebody"]
        mean, low, high = (_IN * value for value in difference(active, on_trial))
        return [*said, f"  on trial less active, in {_IN:,} answers: {mean:+.1f} ({low:+.1f} to {high:+.1f}, 95 %)"]


def difference(active: Arm, on_trial: Arm) -> Estimate:
    """Retweets an answer on trial, less those of the active version, with a bootstrap interval over users."""
    generator = np.random.default_rng(0)
    rates = [_rates(arm, generator) for arm in (active, on_trial)]
    low, high = np.quantile(rates[1][1:] - rates[0][1:], _TAILS).tolist()
    return Estimate(float(rates[1][0] - rates[0][0]), low, high)


def _rates(arm: Arm, generator: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Retweets an answer: of all users, then of users drawn anew each time."""
    users = sorted(arm.answers)
    answers_U = np.array([arm.answers[user] for user in users], dtype=np.float64)
    retweets_U = np.array([arm.retweets.get(user, 0) for user in users], dtype=np.float64)
    rates = [retweets_U.sum() / answers_U.sum()]
    for _ in range(_RESAMPLES):
        drawn = generator.integers(len(users), size=len(users))
        rates.append(retweets_U[drawn].sum() / answers_U[drawn].sum())
    return np.array(rates)


async def put_on_trial(trial: Trial, stores: Stores, models_dir: Path) -> None:
    """Let a kept version serve a share of the users; every process follows within a second.

    Raises InputRejected where it is not known or its vectors are gone, ArtifactInvalid where it does not verify,
    VersionServes where it serves everybody.
    """
    known = await find_version(trial.version, stores, models_dir)
    if not known.kept:
        raise InputRejected(
            f"version {trial.version} has no vectors: run `python -m training publish {trial.version} --trial SHARE`"
        )
    verify_folder(models_dir / trial.version, "cpu")
    async with changing(stores.engine) as connection:
        await hold_versions(connection)
        vectors, recommended = _of(stores)
        await start_trial(connection, vectors, recommended, trial)


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
        row = next((row for row in known if row.share is not None), None)
        active = activated_last(known)
        if row is None or active is None:
            raise InputRejected("no version is on trial: `models trial VERSION --share .1` puts one on it")
        one, other = [
            await arm_of(connection, recommended, version, row.on_trial_since) for version in (active, row.version)
        ]
    return TrialSoFar(Trial(row.version, row.share), row.on_trial_since, (one, other))


def _of(stores: Stores) -> tuple[VectorStore, Recommended]:
    return VectorStore(stores.redis, stores.namespace), Recommended(stores.redis, stores.namespace)
