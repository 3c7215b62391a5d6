"""A made ("planted") network: pictures and words whose topics decide, through known odds, who retweets what.

`synthesize` writes a dataset in the format that the trainer reads, and beside it what only tests, evaluation and the
demo may look at: every exposure with its true probability, the planted truth, and new tweets with a known answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from contract.progress import Progress
from training.drafts import new_folder
from training.errors import TrainingError
from training.synthesize.behaviour import Truth, draw_truth
from training.synthesize.cascades import Exposure, discover, followers_of, spread
from training.synthesize.files import write_network, write_tweets
from training.synthesize.newcomers import NewTweet, draw_new_tweets
from training.synthesize.posts import Post, made_posts
from training.synthesize.sizes import PAPER, SIZES, SMALL, Size

__all__ = ["DatasetExists", "SynthesisReport", "SynthesisSettings", "Truth", "draw_network", "synthesize"]

_PASSES, _NEAR_ENOUGH = 8, 0.015
"""Of the search for the level of popularity: most passes, and the surplus of retweets (log) at which it ends."""
_TRUTH, _CASCADE, _TWEET, _NEW_TWEETS, _DISCOVER = range(5)
"""First key of each random stream after the seed, so that no stage's draws move another's."""


class DatasetExists(TrainingError):
    """The output folder is already there; nothing was written."""


class SynthesisSettings(BaseModel):
    """What to make. The same settings give the same tables and pictures, byte for byte, on every machine.

    The last digits of truth.npz may differ between kinds of processors.
    """

    model_config = ConfigDict(frozen=True)

    size: Literal["small", "paper"] = Field(
        default="small",
        description="for a quick start or as in the paper: decides the shape, and what else is not given",
    )
    users: int = Field(default=SMALL.users, ge=20, description=f"paper's size: {PAPER.users:,}")
    tweets: int = Field(default=SMALL.tweets, ge=20, description=f"paper's size: {PAPER.tweets:,}")
    followees: float = Field(
        default=SMALL.followees, gt=0, description=f"mean followees of a user; paper's size: {PAPER.followees:.2f}"
    )
    seed: int = Field(default=0, ge=0, description="another one draws another network")

    @model_validator(mode="before")
    @classmethod
    def _rest_by_size(cls, given: dict[str, Any]) -> dict[str, Any]:
        size = SIZES.get(given.get("size", "small"), SMALL)
        return {"users": size.users, "tweets": size.tweets, "followees": size.followees, **given}

    def shape(self) -> Size:
        """The size with what was given instead."""
        return replace(SIZES[self.size], users=self.users, tweets=self.tweets, followees=self.followees)


@dataclass(frozen=True)
class SynthesisReport:
    """What was made."""

    users: int
    tweets: int
    follows: int
    exposures: int
    retweets: int
    new_tweets: int


def synthesize(out: Path, settings: SynthesisSettings, progress: Progress, workers: int = 1) -> SynthesisReport:
    """Make a network and write it to the new folder `out`, whole or not at all.

    `progress` wraps the two long loops, over cascades and over pictures; `workers` processes make the pictures.
    Raises DatasetExists where `out` is already there.
    """
    if out.exists():
        raise DatasetExists(f"{out} already exists: remove it, or choose another output folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(out) as draft:
        truth, level, exposures = draw_network(settings, progress)
        new_tweets = draw_new_tweets(truth, exposures, level, np.random.default_rng([settings.seed, _NEW_TWEETS]))
        write_network(draft, truth, exposures)
        posts = _posts(truth, new_tweets, settings.seed)
        with made_posts(posts, workers) as made:
            write_tweets(draft, truth, new_tweets, progress(made, len(posts), "pictures"))
        truth.save(draft / "truth.npz")
    return SynthesisReport(
        users=settings.users,
        tweets=settings.tweets,
        follows=len(truth.follower_E),
        exposures=len(exposures),
        retweets=sum(exposure.retweeted for exposure in exposures),
        new_tweets=len(new_tweets),
    )


def draw_network(settings: SynthesisSettings, progress: Progress) -> tuple[Truth, float, list[Exposure]]:
    """The truth, the mean popularity of its tweets, and every exposure in order of time; no pictures, no words.

    Where a number of retweets is wanted, popularity is raised to the level that gives it: what a few hubs happen to
    like decides a lot, so that no level is right for every seed. A network that is too small for the wanted number
    gets what the last pass gave.
    """
    size, seed = settings.shape(), settings.seed
    truth = draw_truth(size, np.random.default_rng([seed, _TRUTH]))
    level, surplus = size.popularity, 0.0
    for _ in range(_PASSES):
        level -= surplus
        levelled = replace(truth, popularity_T=truth.popularity_T + level)
        exposures = _exposures(levelled, size, seed, progress)
        retweets = sum(exposure.retweeted for exposure in exposures)
        surplus = 0.0 if size.retweets is None else math.log(max(retweets, 1) / (size.retweets * size.users))
        if abs(surplus) < _NEAR_ENOUGH:
            break
    return levelled, level, exposures


def _exposures(truth: Truth, size: Size, seed: int, progress: Progress) -> list[Exposure]:
    """Every tweet's exposures, in order of time."""
    everyone = np.arange(size.users)
    followers = followers_of(truth)
    alone_U = np.bincount(truth.follower_E, minlength=size.users) == 0
    chance_U = np.where(alone_U, size.discover_alone, size.discover_following) / size.tweets
    exposures: list[Exposure] = []
    for tweet in progress(range(size.tweets), size.tweets, "cascades"):
        logit_U = truth.logits(truth.topics[tweet : tweet + 1], everyone, truth.popularity_T[tweet : tweet + 1])[0]
        discovered = discover(
            truth, tweet, followers, chance_U, size.lifetime_s, np.random.default_rng([seed, _DISCOVER, tweet])
        )
        exposures += spread(
            truth,
            tweet,
            followers,
            logit_U,
            discovered,
            size.lifetime_s,
            np.random.default_rng([seed, _CASCADE, tweet]),
        )
    return sorted(exposures, key=lambda exposure: (exposure.time_s, exposure.tweet, exposure.user))


def _posts(truth: Truth, new_tweets: list[NewTweet], seed: int) -> list[Post]:
    """What the pictures and texts of the network's tweets, then of the new ones, are made from."""
    topics = [*zip(truth.visual_TV, truth.text_TV, strict=True), *((new.visual_V, new.text_V) for new in new_tweets)]
    return [(visual_V, text_V, (seed, _TWEET, number)) for number, (visual_V, text_V) in enumerate(topics)]
