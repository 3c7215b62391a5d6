"""A made ("planted") network: pictures and words whose topics decide, through known odds, who retweets what.

`synthesize` writes a dataset in the format that the trainer reads, and beside it what only tests, evaluation and the
demo may look at: every exposure with its true probability, the planted truth, and new tweets with a known answer.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from training.progress import Progress
from training.synthesize.behaviour import Exposure, Truth, draw_truth, followers_of, spread
from training.synthesize.newcomers import NewTweet, draw_new_tweets
from training.synthesize.pictures import render
from training.synthesize.words import write

__all__ = ["DatasetExists", "SynthesisReport", "SynthesisSettings", "Truth", "synthesize"]

START = datetime(2026, 1, 1, tzinfo=UTC)
_TRUTH, _CASCADE, _TWEET, _NEW_TWEETS = range(4)
"""First key of each random stream after the seed, so that no stage's draws move another's."""


class DatasetExists(Exception):
    """The output folder is already there; nothing was written."""


class SynthesisSettings(BaseModel):
    """What to make. The same settings give the same bytes."""

    model_config = ConfigDict(frozen=True)

    users: int = Field(default=500, ge=20)
    tweets: int = Field(default=700, ge=20)
    followees: float = Field(default=22.0, gt=0, description="mean followees of a user")
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class SynthesisReport:
    """What was made."""

    users: int
    tweets: int
    follows: int
    exposures: int
    retweets: int
    new_tweets: int
    bayes_auc: float
    """Macro mean over users of the AUC of the logged probabilities over the user's exposures; no model beats it."""


def synthesize(out: Path, settings: SynthesisSettings, progress: Progress) -> SynthesisReport:
    """Make a network and write it to the new folder `out`, whole or not at all.

    `progress` wraps the two long loops, over cascades and over pictures.
    Raises DatasetExists where `out` is already there.
    """
    if out.exists():
        raise DatasetExists(f"{out} already exists: remove it, or choose another output folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        truth = draw_truth(settings.users, settings.tweets, settings.followees, _rng(settings, _TRUTH))
        exposures = _cascades(truth, settings, progress)
        new_tweets = draw_new_tweets(truth, exposures, _rng(settings, _NEW_TWEETS))
        _write_network(draft, truth, exposures)
        _write_tweets(draft, truth, new_tweets, settings, progress)
        truth.save(draft / "truth.npz")
        draft.chmod(0o755)
        draft.rename(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return SynthesisReport(
        users=settings.users,
        tweets=settings.tweets,
        follows=len(truth.follower_E),
        exposures=len(exposures),
        retweets=sum(exposure.retweeted for exposure in exposures),
        new_tweets=len(new_tweets),
        bayes_auc=_bayes_auc(exposures),
    )


def _cascades(truth: Truth, settings: SynthesisSettings, progress: Progress) -> list[Exposure]:
    """Every tweet's exposures, in order of time."""
    everyone = np.arange(settings.users)
    followers = followers_of(truth)
    exposures: list[Exposure] = []
    for tweet in progress(range(settings.tweets), settings.tweets, "cascades"):
        logit_U = truth.logits(truth.topics[tweet : tweet + 1], everyone, truth.popularity_T[tweet : tweet + 1])[0]
        exposures += spread(truth, tweet, followers, logit_U, _rng(settings, _CASCADE, tweet))
    return sorted(exposures, key=lambda exposure: (exposure.time_s, exposure.tweet, exposure.user))


def _write_network(folder: Path, truth: Truth, exposures: list[Exposure]) -> None:
    user_id = _ids("u", len(truth.tastes_UD))
    tweet_id = _ids("t", len(truth.author_T))
    _write_lines(folder / "users.jsonl", ({"user_id": name, "created_at": _time(0)} for name in user_id))
    _write_lines(
        folder / "follows.jsonl",
        (
            {"follower_id": user_id[follower], "followee_id": user_id[followee], "created_at": _time(0)}
            for follower, followee in zip(truth.follower_E.tolist(), truth.followee_E.tolist(), strict=True)
        ),
    )
    _write_lines(
        folder / "exposures.jsonl",
        (
            {
                "user_id": user_id[exposure.user],
                "tweet_id": tweet_id[exposure.tweet],
                "created_at": _time(exposure.time_s),
                "source": "author" if exposure.source < 0 else user_id[exposure.source],
                "probability": _six_digits(exposure.probability),
                "retweeted": exposure.retweeted,
            }
            for exposure in exposures
        ),
    )
    retweets = sorted((x.retweeted_s, x.tweet, x.user) for x in exposures if x.retweeted)
    _write_lines(
        folder / "retweets.jsonl",
        (
            {"user_id": user_id[user], "tweet_id": tweet_id[tweet], "created_at": _time(time_s)}
            for time_s, tweet, user in retweets
        ),
    )


def _write_tweets(
    folder: Path, truth: Truth, new_tweets: list[NewTweet], settings: SynthesisSettings, progress: Progress
) -> None:
    """Render and write the network's tweets, then the new ones."""
    (folder / "images").mkdir()
    (folder / "new").mkdir()
    user_id = _ids("u", len(truth.tastes_UD))
    tweet_id = _ids("t", len(truth.author_T))
    new_id = [f"n{number:03}" for number in range(1, len(new_tweets) + 1)]
    texts = []
    topics = [*zip(truth.visual_TV, truth.text_TV, strict=True), *((new.visual_V, new.text_V) for new in new_tweets)]
    files = [*(f"images/{name}.jpg" for name in tweet_id), *(f"new/{name}.jpg" for name in new_id)]
    for number, (visual_V, text_V) in enumerate(progress(topics, len(topics), "pictures")):
        rng = _rng(settings, _TWEET, number)
        (folder / files[number]).write_bytes(render(visual_V, rng))
        texts.append(write(text_V, rng))
    _write_lines(
        folder / "tweets.jsonl",
        (
            {
                "tweet_id": tweet_id[tweet],
                "author_id": user_id[author],
                "text": texts[tweet],
                "created_at": _time(posted_s),
                "image": files[tweet],
            }
            for tweet, (author, posted_s) in enumerate(
                zip(truth.author_T.tolist(), truth.posted_s_T.tolist(), strict=True)
            )
        ),
    )
    _write_lines(
        folder / "new_tweets.jsonl",
        (
            {
                "tweet_id": new_id[number],
                "author_id": user_id[new.author],
                "text": texts[len(tweet_id) + number],
                "image": files[len(tweet_id) + number],
                "user_id": user_id[new.user],
                "kind": new.kind,
                "probability": _six_digits(new.probability),
            }
            for number, new in enumerate(new_tweets)
        ),
    )


def _bayes_auc(exposures: list[Exposure]) -> float:
    """NaN where no user has both a retweet and an exposure without one."""
    by_user: dict[int, tuple[list[float], list[float]]] = {}
    for exposure in exposures:
        by_user.setdefault(exposure.user, ([], []))[exposure.retweeted].append(exposure.probability)
    aucs = [
        float(np.mean(np.sign(np.subtract.outer(retweeted, passed_by)) / 2.0 + 0.5))
        for passed_by, retweeted in by_user.values()
        if retweeted and passed_by
    ]
    return float(np.mean(aucs)) if aucs else float("nan")


def _rng(settings: SynthesisSettings, *stream: int) -> np.random.Generator:
    return np.random.default_rng([settings.seed, *stream])


def _ids(letter: str, count: int) -> list[str]:
    width = max(4, len(str(count)))
    return [f"{letter}{number:0{width}}" for number in range(1, count + 1)]


def _time(seconds: int) -> str:
    return (START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _six_digits(probability: float) -> float:
    return float(f"{probability:.6g}")


def _write_lines(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
