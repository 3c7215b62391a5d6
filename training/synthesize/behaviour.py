"""Who likes what and who follows whom: all that decides what a user retweets of what they are shown.

    f_ji = w_j . (v_i, t_i)                           a user's own affinity to a tweet
    h_ji = sum_q a_jq f_qi  over j's followees q      the followees' affinity, weighted by their influence on j
    logit = bias + 1.3 f + 1.5 h + popularity_i       f and h standardised

Shape suffixes: U user, T tweet, E follow (an edge), V topic dimension (8), D both topics side by side (16).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from training.synthesize.follows import Floats, Indices, draw_follows
from training.synthesize.sizes import Size

TOPICS = 8
PERIOD_S = 30 * 86_400
PERSONAL_WEIGHT, SOCIAL_WEIGHT = 1.3, 1.5
BIAS = -4.0


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
        """Write the arrays as an .npz (numbers only, no pickle)."""
        arrays: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        np.savez_compressed(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> Truth:
        """Read what `save` wrote. Raises KeyError where an array is missing."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**{field.name: arrays[field.name] for field in fields(cls)})


def draw_truth(size: Size, rng: np.random.Generator) -> Truth:
    """Tastes, follows, influence and tweets of a network."""
    users, tweets = size.users, size.tweets
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
    visual_TV, text_TV = draw_topics(tweets, rng)
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

    Half of the text dimensions echo a visual one, so that words and picture tell partly the same story. A text topic is
    sparse, as a tweet has room for few words: all but its strongest dimensions are shrunk towards zero.
    """
    visual_NV = rng.standard_normal((count, TOPICS)).clip(-2.3, 2.3)
    noise_NV = rng.standard_normal((count, TOPICS))
    echo_NV = np.zeros_like(noise_NV)
    # company grows with the count, weather warms with the hue, time brightens with the light, mood sharpens with spikes
    for text, visual, sign in ((0, 4, 1), (2, 0, -1), (3, 1, 1), (4, 2, -1)):
        echo_NV[:, text] = 0.6 * sign * visual_NV[:, visual]
        noise_NV[:, text] *= 0.8
    dense_NV = (echo_NV + noise_NV).clip(-2.6, 2.6)
    order_NV = np.argsort(-np.abs(dense_NV), axis=1, kind="stable")
    spoken_NV = np.zeros(dense_NV.shape, dtype=bool)
    np.put_along_axis(spoken_NV, order_NV[:, :4], True, axis=1)
    return visual_NV, np.where(spoken_NV, dense_NV, 0.2 * dense_NV) / 0.93


def _tastes(community_U: Indices, communities: int, rng: np.random.Generator) -> Floats:
    """Unit taste in pictures beside unit taste in words: the community's, bent by what is the user's own."""
    halves = []
    for _ in range(2):
        blocks = [np.linalg.qr(rng.standard_normal((TOPICS, TOPICS)))[0] for _ in range(-(-communities // TOPICS))]
        centre_CV = np.concatenate(blocks)[:communities]
        taste_UV = centre_CV[community_U] + 0.32 * rng.standard_normal((len(community_U), TOPICS))
        halves.append(taste_UV / np.linalg.norm(taste_UV, axis=1, keepdims=True))
    return np.concatenate(halves, axis=1)


def _influence(tastes_UD: Floats, authority_U: Floats, follower_E: Indices, followee_E: Indices) -> Floats:
    """Each followee's share in its follower's social affinity, (E,), 1 a follower in sum: alike and authoritative."""
    alike_E = np.einsum("ed,ed->e", tastes_UD[follower_E], tastes_UD[followee_E]) / 2.0
    weight_E = np.exp(alike_E) * authority_U[followee_E] ** 1.5
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
