"""Fold-in: a vector for a user whom the model was not trained on, from what they retweeted, as it is online.

Service and trainer fold in alike, so that an activation changes no vector but by its model. fold_in.onnx fits u; here
is what it is fitted to: the newest retweets and, drawn as training draws them, tweets that the user did not retweet.

Shape suffixes: P retweets, S draws of negatives for each, K negatives of a draw, N followees, M tweets passed by,
L other tweets, D dimensions.
"""

import asyncio
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contract.artifact import Artifact, Sampling
from contract.graph import TIMELINE_LIMIT, OnlineGraph, TimelineEntry, entries_per_followee
from contract.runtime import OnnxModel
from contract.transactions import hold_users
from contract.vectors import Vectors, VectorStore

MOST_RETWEETS = TIMELINE_LIMIT
"""The newest so many count."""
MOST_DRAWN_FROM = 2_000
"""Tweets of a kind that negatives are drawn from."""
_ENTRIES_READ = 6_000

Bools = npt.NDArray[np.bool_]
UserHistory = tuple[list[str], list[TimelineEntry]]


@dataclass(frozen=True)
class FoldInStores:
    """What is read and written."""

    engine: AsyncEngine
    graph: OnlineGraph
    vectors: VectorStore


@dataclass(frozen=True)
class History:
    """Tweet ids: the user's newest retweets, and what else there is; `shown_P` is what a followee had shown by then."""

    done: UserHistory
    followee_ids: list[str]
    retweet_ids: list[str]
    shown_P: Bools
    passed_by_ids: list[str]
    other_ids: list[str]


@dataclass(frozen=True)
class Examples:
    """What u is fitted to, fp16: followees [N, D], retweets [P, D], negatives [P, S, K, D]."""

    followees_ND: Vectors
    positive_PD: Vectors
    negative_PSKD: Vectors


@dataclass(frozen=True)
class Fitted:
    """What was fitted, fp16 [D], to what a user had done by then; None: there was nothing to fit it to."""

    u_D: npt.NDArray[np.float16] | None
    done: UserHistory


async def fit_user(user_id: str, exported: Artifact, model: OnnxModel, stores: FoldInStores) -> Fitted:
    """Fit the vector of a user whom the version was not trained on; nothing is held meanwhile."""
    history = await read_history(user_id, exported, stores.graph)
    examples = await gather_examples(user_id, history, exported, model, stores)
    if examples is None:
        return Fitted(None, history.done)
    vectors = examples.followees_ND, examples.positive_PD, examples.negative_PSKD
    return Fitted(await asyncio.to_thread(model.fold_in, *vectors), history.done)


async def put_fitted(
    connection: AsyncConnection, user_id: str, fitted: Fitted, version: str, stores: FoldInStores
) -> bool:
    """Write what was fitted, or take the vector away where there is none; False where the user did more meanwhile.

    Of a user who was deleted meanwhile nothing is written.

    The user's row is held, so that nothing older is written over something newer.
    """
    there = await hold_users(connection, [user_id])
    if there and await user_history(user_id, stores.graph) != fitted.done:
        return False
    if fitted.u_D is None or not there:
        await stores.vectors.forget_user([version], user_id)
    else:
        await stores.vectors.put_users(version, [user_id], fitted.u_D[None])
    return True


async def user_history(user_id: str, graph: OnlineGraph) -> UserHistory:
    """Whom a user follows, and what is on their timeline."""
    (own,) = await graph.timelines([user_id])
    return (await graph.user(user_id)).followee_ids, own


async def gather_examples(
    user_id: str, history: History, exported: Artifact, model: OnnxModel, stores: FoldInStores
) -> Examples | None:
    """The same for the same history; None where there is nothing to tell apart."""
    if not history.retweet_ids:
        return None
    manifest, generator = exported.manifest, generator_of(user_id, history.retweet_ids)
    passed_by_ids, other_ids = (some_of(ids, generator) for ids in (history.passed_by_ids, history.other_ids))
    _, followees_ND = await stores.vectors.users(manifest.version, history.followee_ids, manifest.dim)
    wanted = sorted({*history.retweet_ids, *passed_by_ids, *other_ids})
    found, z_CD = await stores.vectors.tweets(manifest.version, wanted, manifest.dim)
    place_of = {tweet_id: c for c, tweet_id in enumerate(found)}
    known_P = np.array([tweet_id in place_of for tweet_id in history.retweet_ids])
    positive_PD, passed_by_MD, others_LD = (
        z_CD[np.array([place_of[tweet_id] for tweet_id in ids if tweet_id in place_of], dtype=np.int64)]
        for ids in (history.retweet_ids, passed_by_ids, other_ids)
    )
    shown_P = history.shown_P[known_P]
    return with_negatives(
        followees_ND, positive_PD, shown_P, passed_by_MD, others_LD, model.drawn, manifest.sampling, generator
    )


async def read_history(user_id: str, exported: Artifact, graph: OnlineGraph) -> History:
    """Followees count as far as they have a trained vector: the order in which users are folded in changes nothing."""
    view = await graph.user(user_id)
    (own,) = await graph.timelines([user_id])
    timelines = await graph.timelines(view.followee_ids, entries_per_followee(len(view.followee_ids), _ENTRIES_READ))
    shown = [entry for timeline in timelines for entry in timeline]
    retweets = [entry for entry in own if entry.author_id != user_id][:MOST_RETWEETS]
    seen = view.seen_tweet_ids | {entry.tweet_id for entry in retweets}

    def not_retweeted(entries: Iterable[TimelineEntry]) -> list[str]:
        return sorted({entry.tweet_id for entry in entries if entry.author_id != user_id} - seen)

    return History(
        done=(view.followee_ids, own),
        followee_ids=[followee for followee in view.followee_ids if followee in exported.trained_users],
        retweet_ids=[entry.tweet_id for entry in retweets],
        shown_P=shown_before(retweets, shown),
        passed_by_ids=not_retweeted(shown),
        other_ids=not_retweeted(await graph.recent()),
    )


def shown_before(retweets: Sequence[TimelineEntry], shown: Iterable[TimelineEntry]) -> Bools:
    """Which retweets, bool [P], are of what a followee had posted or retweeted by then."""
    first_ms: dict[str, int] = {}
    for entry in shown:
        first_ms[entry.tweet_id] = min(entry.at_ms, first_ms.get(entry.tweet_id, entry.at_ms))
    return np.array([first_ms.get(entry.tweet_id, entry.at_ms + 1) <= entry.at_ms for entry in retweets], dtype=bool)


def generator_of(user_id: str, retweet_ids: Iterable[str]) -> np.random.Generator:
    """Random numbers that are the same for the same user and retweets."""
    digest = hashlib.sha256("\n".join([user_id, *sorted(retweet_ids)]).encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype="<u4"))


def some_of(ids: Sequence[str], generator: np.random.Generator) -> list[str]:
    """At most MOST_DRAWN_FROM of them, drawn at random."""
    if len(ids) <= MOST_DRAWN_FROM:
        return list(ids)
    return [ids[place] for place in generator.choice(len(ids), MOST_DRAWN_FROM, replace=False).tolist()]


def with_negatives(
    followees_ND: Vectors,
    positive_PD: Vectors,
    shown_P: Bools,
    passed_by_MD: Vectors,
    others_LD: Vectors,
    drawn: tuple[int, int],
    sampling: Sampling,
    generator: np.random.Generator,
) -> Examples | None:
    """S draws of K negatives (`drawn`) for each retweet, from the pool that training draws from (`Negatives` there).

    One pool stands in for the other where that is empty, but in what is trained on followees' tweets alone.
    """
    pooled_P = {"followees": np.ones_like(shown_P), "matched": shown_P, "uniform": np.zeros_like(shown_P)}[sampling]
    if sampling != "followees":
        pooled_P = (pooled_P | (len(others_LD) == 0)) & (len(passed_by_MD) > 0)
    pool_CD = np.concatenate([passed_by_MD, others_LD])
    start_P = np.where(pooled_P, 0, len(passed_by_MD))
    count_P = np.where(pooled_P, len(passed_by_MD), len(others_LD))
    if not len(positive_PD) or not count_P.all():
        return None
    place_PSK = start_P[:, None, None] + generator.integers(count_P[:, None, None], size=(len(positive_PD), *drawn))
    return Examples(followees_ND, positive_PD, pool_CD[place_PSK])
