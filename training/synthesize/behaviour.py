"""Who likes what and who follows whom: all that decides what a user retweets of what they are shown.

    f_ji = w_j . (v_i, t_i)                           a user's own affinity to a tweet
    h_ji = sum_q a_jq f_qi  over j's followees q      the followees' affinity, weighted by their influence on j
    logit = bias + 1.3 f + 2.0 h + popularity_i       f and h standardised

A user is drawn by few interests, and taste in pictures and taste in words are two views of them: what nine thousand
users with some nine retweets each can teach at all (docs/experiments.md).

Shape suffixes: U user, T tweet, E follow (an edge), V topic dimension (8), D both topics side by side (16),
K interest (3), C community.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from training.errors import InputRejected
from training.synthesize.follows import Floats, Indices, draw_follows
from training.synthesize.sizes import Size

TOPICS = 8
INTERESTS = 3
OWN_SPREAD = 0.15
"""Standard deviation, by interest, of a user about the centre of the user's community."""
MENTIONS = (3, 4)
"""How many dimensions a text topic speaks of, at least and at most."""
MILD, STRONG = 0.8, 1.7
"""The two sizes that a dimension has which a text topic speaks of."""
_CALLED_STRONG = 1.25
PERIOD_S = 30 * 86_400
PERSONAL_WEIGHT, SOCIAL_WEIGHT = 1.3, 2.0
BIAS = -4.0
_WEIGHTS = np.array([BIAS, PERSONAL_WEIGHT, SOCIAL_WEIGHT])


@dataclass(frozen=True)
class Truth:
    """All that decides who retweets what. The arrays are also what truth.npz holds, by these names."""

    visual_TV: Floats
    text_TV: Floats
    popularity_T: Floats
    author_T: Indices
    posted_s_T: Indices
    tastes_UD: Floats
    community_U: Indices
    authority_U: Floats
    follower_E: Indices
    followee_E: Indices
    influence_E: Floats
    own_scale: Floats
    """Mean and standard deviation of the raw own affinity, (2,)."""
    social_scale: Floats
    """Mean and standard deviation of the raw social affinity over users with followees, (2,)."""

    @cached_property
    def social_tastes(self) -> Floats:
        """The influence-weighted mean of each user's followees' tastes, (U, 16); zero for a user with no followees."""
        mean_UD = np.zeros_like(self.tastes_UD)
        np.add.at(mean_UD, self.follower_E, self.influence_E[:, None] * self.tastes_UD[self.followee_E])
        return mean_UD

    def affinities(self, topics_ND: Floats, users: Indices) -> tuple[Floats, Floats]:
        """Standardised f and h, each (N, len(users)), of tweets with the topics (N, 16)."""
        own = (topics_ND @ self.tastes_UD[users].T - self.own_scale[0]) / self.own_scale[1]
        social = (topics_ND @ self.social_tastes[users].T - self.social_scale[0]) / self.social_scale[1]
        follows_anyone_U = np.bincount(self.follower_E, minlength=len(self.tastes_UD)) > 0
        return own, np.where(follows_anyone_U[users], social, 0.0)

    def logits(self, topics_ND: Floats, users: Indices, popularity_N: Floats) -> Floats:
        """Log-odds of a retweet on exposure, (N, len(users))."""
        own, social = self.affinities(topics_ND, users)
        logits: Floats = BIAS + PERSONAL_WEIGHT * own + SOCIAL_WEIGHT * social + popularity_N[:, None]
        return logits

    @cached_property
    def topics(self) -> Floats:
        """Visual and text topic of every tweet side by side, (T, 16)."""
        return np.concatenate([self.visual_TV, self.text_TV], axis=1)

    def save(self, path: Path) -> None:
        """Write the arrays, and the weights that they are read with, as an .npz (numbers only, no pickle)."""
        arrays: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        np.savez_compressed(path, weights=_WEIGHTS, **arrays)

    @classmethod
    def load(cls, path: Path) -> Truth:
        """Read what `save` wrote. Raises InputRejected where it was not this version of the project."""
        with np.load(path, allow_pickle=False) as arrays:
            if not {"weights", *(field.name for field in fields(cls))} <= set(arrays) or any(
                arrays["weights"] != _WEIGHTS
            ):
                raise InputRejected(f"{path} is of another version of `synthesize`: make the network again")
            return cls(**{field.name: arrays[field.name] for field in fields(cls)})


def draw_truth(size: Size, rng: np.random.Generator) -> Truth:
    """Tastes, follows, influence and tweets of a network."""
    users, tweets = size.users, size.tweets
    visual_TV, text_TV = draw_topics(tweets, rng)
    communities = max(2, int(users**0.35))
    community_U = rng.integers(communities, size=users)
    tastes_UD = _tastes(community_U, communities, rng)
    authority_U = np.exp(size.authority_spread * size.normals(rng, users))
    follower_E, followee_E = draw_follows(
        community_U, authority_U, size.followee_counts(users, size.followees, rng), rng
    )
    influence_E = _influence(tastes_UD, authority_U, follower_E, followee_E)
    activity_U = authority_U**size.activity
    author_T = rng.choice(users, size=tweets, p=activity_U / activity_U.sum())
    truth = Truth(
        visual_TV=visual_TV,
        text_TV=text_TV,
        popularity_T=0.5 * rng.standard_normal(tweets),
        author_T=author_T,
        posted_s_T=np.sort(rng.integers(60, PERIOD_S, size=tweets)),
        tastes_UD=tastes_UD,
        community_U=community_U,
        authority_U=authority_U,
        follower_E=follower_E,
        followee_E=followee_E,
        influence_E=influence_E,
        own_scale=np.array([0.0, 1.0]),
        social_scale=np.array([0.0, 1.0]),
    )
    return standardised(truth)


def draw_topics(count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Visual and text topics of `count` tweets, each (count, 8).

    Half of the text dimensions echo a visual one, so that words and picture tell partly the same story. A text topic
    is what a tweet can say without loss: three or four dimensions, mildly or strongly high or low, and zero elsewhere.
    """
    visual_NV = rng.standard_normal((count, TOPICS)).clip(-2.3, 2.3)
    meant_NV = rng.standard_normal((count, TOPICS))
    # company grows with the count, weather warms with the hue, time brightens with the light, mood sharpens with spikes
    for text, visual, sign in ((0, 4, 1), (2, 0, -1), (3, 1, 1), (4, 2, -1)):
        meant_NV[:, text] = 0.6 * sign * visual_NV[:, visual] + 0.8 * meant_NV[:, text]
    order_NV = np.argsort(-np.abs(meant_NV), axis=1, kind="stable")
    rank_NV = np.argsort(order_NV, axis=1)
    spoken_NV = rank_NV < rng.integers(MENTIONS[0], MENTIONS[1] + 1, size=(count, 1))
    said_NV = np.sign(meant_NV) * np.where(np.abs(meant_NV) > _CALLED_STRONG, STRONG, MILD)
    return visual_NV, np.where(spoken_NV, said_NV, 0.0)


def _tastes(community_U: Indices, communities: int, rng: np.random.Generator) -> Floats:
    """Unit taste in pictures beside unit taste in words: a user's interests, seen from two sides."""
    centre_CK = np.concatenate([_orthonormal(INTERESTS, rng) for _ in range(-(-communities // INTERESTS))])
    interest_UK = centre_CK[community_U] + OWN_SPREAD * rng.standard_normal((len(community_U), INTERESTS))
    interest_UK /= np.linalg.norm(interest_UK, axis=1, keepdims=True)
    return np.concatenate([interest_UK @ _orthonormal(TOPICS, rng)[:INTERESTS] for _ in range(2)], axis=1)


def _orthonormal(size: int, rng: np.random.Generator) -> Floats:
    matrix: Floats = np.linalg.qr(rng.standard_normal((size, size)))[0]
    return matrix


def _influence(tastes_UD: Floats, authority_U: Floats, follower_E: Indices, followee_E: Indices) -> Floats:
    """Each followee's share in its follower's social affinity, (E,), 1 a follower in sum: alike and authoritative."""
    alike_E = np.einsum("ed,ed->e", tastes_UD[follower_E], tastes_UD[followee_E]) / 2.0
    weight_E = np.exp(0.5 * alike_E) * authority_U[followee_E]
    shares: Floats = weight_E / np.bincount(follower_E, weights=weight_E, minlength=len(tastes_UD))[follower_E]
    return shares


def standardised(truth: Truth) -> Truth:
    """The same network with the scales that make f and h standard over all pairs of a tweet and a user."""
    follows_anyone_U = np.bincount(truth.follower_E, minlength=len(truth.tastes_UD)) > 0
    own = _scale(truth.topics, truth.tastes_UD)
    social = _scale(truth.topics, truth.social_tastes[follows_anyone_U])
    return replace(truth, own_scale=own, social_scale=social)


def _scale(topics_TD: Floats, tastes_UD: Floats) -> Floats:
    """Mean and standard deviation of all topic-taste dot products, from their moments (no T x U matrix)."""
    mean = topics_TD.mean(axis=0) @ tastes_UD.mean(axis=0)
    moment_DD = (topics_TD.T @ topics_TD / len(topics_TD)) * (tastes_UD.T @ tastes_UD / len(tastes_UD))
    return np.array([mean, np.sqrt(moment_DD.sum() - mean**2)])
