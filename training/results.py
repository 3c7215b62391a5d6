"""What the runs of a comparison say together: means over seeds, intervals over users, differences, breakdowns.

Shape suffixes: L judged users, M metrics, N resamples of a chunk.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from training.evaluate import METRICS
from training.network import Ints
from training.problem import Bools, Floats
from training.runs import Key, Run, common_settings, read_runs, seeds_of

RESAMPLES = 1_000
_CHUNK = 50
_TAILS = (0.025, 0.975)


class Estimate(NamedTuple):
    """A mean over users and its 95 % bootstrap interval; all NaN where nobody could be judged."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """A key's metrics. `settings` are those of all its seeds; where they disagree, the list of what they had.

    `warm` is the share of a list's tweets that were retweeted in training, the mean over users.
    """

    key: Key
    seed_numbers: list[int]
    users: int
    warm: float
    of: dict[str, Estimate]
    settings: dict[str, Any]
    git_revision: str

    @property
    def seeds(self) -> int:
        """How many seeds were run."""
        return len(self.seed_numbers)


@dataclass(frozen=True)
class Part:
    """A key's metrics for some of its users: those in `group` when divided `by` something."""

    key: Key
    by: str
    group: str
    seeds: int
    users: int
    of: dict[str, Estimate]


@dataclass(frozen=True)
class _People:
    """Metrics by user, the mean over the seeds, float64 [M, L] in the order of METRICS; what is known of the users."""

    user_L: Ints
    value_ML: Floats
    warm_L: Floats
    history_L: Ints
    followees_L: Ints


def collect(runs: Path) -> list[Row]:
    """A row for every key: means over seeds and users, intervals over users."""
    rows = []
    for key, group in read_runs(runs).items():
        people = _people(group)
        revisions = ", ".join(sorted({run.git_revision for run in group}))
        rows.append(
            Row(
                key=key,
                seed_numbers=[run.seed for run in group],
                users=len(people.user_L),
                warm=float(people.warm_L.mean()),
                of=_estimates(people.value_ML),
                settings=common_settings(group),
                git_revision=revisions,
            )
        )
    return rows


def paired(runs: Path, key_a: Key, key_b: Key, metric: str) -> Estimate:
    """Mean of a - b over the users that both were judged on, and its interval. Raises KeyError for a key not run."""
    grouped = read_runs(runs)
    return difference(grouped[key_a], grouped[key_b], metric)


def difference(runs_a: list[Run], runs_b: list[Run], metric: str) -> Estimate:
    """As `paired`, of runs that are read already."""
    a, b = _people(runs_a), _people(runs_b)
    _, place_a, place_b = np.intersect1d(a.user_L, b.user_L, assume_unique=True, return_indices=True)
    row = METRICS.index(metric)
    return estimate(a.value_ML[row, place_a] - b.value_ML[row, place_b])


def breakdowns(runs: Path) -> list[Part]:
    """Every key's metrics by the share of warm tweets in a list, by history and by followees; no empty groups."""
    parts = []
    for key, group in read_runs(runs).items():
        people = _people(group)
        for by, groups in _divisions(people).items():
            for name, inside_L in groups.items():
                if inside_L.any():
                    of = _estimates(people.value_ML[:, inside_L])
                    parts.append(Part(key, by, name, seeds_of(group), int(inside_L.sum()), of))
    return parts


def results_json(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Rows as JSON has them; what is NaN is null."""
    return [
        {
            **_told(row, {}),
            "seed_numbers": row.seed_numbers,
            "settings": row.settings,
            "git_revision": row.git_revision,
        }
        for row in rows
    ]


def breakdowns_json(parts: Iterable[Part]) -> list[dict[str, Any]]:
    """Parts as JSON has them."""
    return [_told(part, {"by": part.by, "group": part.group}) for part in parts]


def _told(row: Row | Part, which: dict[str, str]) -> dict[str, Any]:
    """The key, `which` of its users, and the metrics."""
    return {**row.key._asdict(), **which, "seeds": row.seeds, "users": row.users, **metrics_json(row.of)}


def metrics_json(of: Mapping[str, Estimate]) -> dict[str, float | None]:
    """P@1, P@3 and AUC with their intervals, NDCG@10 and MRR without."""
    told: dict[str, float | None] = {}
    for name in ("p@1", "p@3", "auc"):
        told |= estimate_json(name.replace("@", "_at_"), of[name])
    return told | {"ndcg_at_10": number_or_none(of["ndcg@10"].mean), "mrr": number_or_none(of["mrr"].mean)}


def estimate_json(name: str, estimate: Estimate) -> dict[str, float | None]:
    """An estimate as `name`, `name_low` and `name_high`."""
    ends = zip(("", "_low", "_high"), estimate, strict=True)
    return {f"{name}{end}": number_or_none(value) for end, value in ends}


def number_or_none(value: float) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else value


def _people(group: list[Run]) -> _People:
    """Users of all seeds; a user that some seed did not judge has the mean of those that did."""
    files = [_read(run.users) for run in group]
    user_L, first, place = np.unique(
        np.concatenate([file["user_L"] for file in files]), return_index=True, return_inverse=True
    )

    def mean(name: str) -> Floats:
        value = np.concatenate([file.get(name, np.full(len(file["user_L"]), np.nan)) for file in files])
        known = ~np.isnan(value)
        total_L = np.bincount(place[known], value[known], len(user_L))
        count_L = np.bincount(place[known], minlength=len(user_L))
        return np.where(count_L > 0, total_L / np.maximum(count_L, 1), np.nan)

    def same(name: str) -> Any:
        return np.concatenate([file[name] for file in files])[first]

    value_ML = np.stack([mean(metric) for metric in METRICS])
    return _People(user_L, value_ML, same("warm_L"), same("history_L"), same("followees_L"))


def _read(users: Path) -> dict[str, Any]:
    with np.load(users) as file:
        return dict(file)


def _divisions(people: _People) -> dict[str, dict[str, Bools]]:
    """Users by name of the group, bool [L], by what divides them."""
    warm_L, history_L, followees_L = people.warm_L, people.history_L, people.followees_L
    return {
        "tweets": {"cold": warm_L < 0.5, "warm": warm_L >= 0.5},
        "history": {
            "0": history_L == 0,
            "1-4": (history_L >= 1) & (history_L <= 4),
            "5-19": (history_L >= 5) & (history_L <= 19),
            "20+": history_L >= 20,
        },
        "followees": {
            "0": followees_L == 0,
            "1-2": (followees_L >= 1) & (followees_L <= 2),
            "3-9": (followees_L >= 3) & (followees_L <= 9),
            "10+": followees_L >= 10,
        },
    }


def _estimates(value_ML: Floats) -> dict[str, Estimate]:
    return dict(zip(METRICS, _estimate(value_ML), strict=True))


def estimate(value_L: Floats) -> Estimate:
    """The mean over users of one value each, and its interval."""
    return _estimate(value_L[None])[0]


def _estimate(value_ML: Floats) -> list[Estimate]:
    """Means over users with percentile intervals; all metrics share the resamples. A NaN is a user not judged."""
    known_ML = ~np.isnan(value_ML)
    users = value_ML.shape[1]
    known_LM, value_LM = known_ML.T.astype(np.float64), np.where(known_ML, value_ML, 0.0).T
    generator = np.random.default_rng(0)
    means = []
    with np.errstate(invalid="ignore"):
        mean_M = value_LM.sum(axis=0) / known_LM.sum(axis=0)
        for _ in range(RESAMPLES // _CHUNK if users else 0):
            drawn = generator.integers(users, size=(_CHUNK, users)) + np.arange(_CHUNK)[:, None] * users
            times_NL = np.bincount(drawn.ravel(), minlength=_CHUNK * users).reshape(_CHUNK, users).astype(np.float64)
            means.append((times_NL @ value_LM) / (times_NL @ known_LM))
    estimates = []
    for metric, mean in enumerate(mean_M.tolist()):
        drawn_means = np.concatenate([mean_NM[:, metric] for mean_NM in means] or [np.empty(0)])
        drawn_means = drawn_means[~np.isnan(drawn_means)]
        low, high = np.quantile(drawn_means, _TAILS).tolist() if len(drawn_means) else (np.nan, np.nan)
        estimates.append(Estimate(mean, low, high))
    return estimates
