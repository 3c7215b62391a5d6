"""GET /users/{id}/recommendations, a line a stage.

Shape suffixes: N followees, C candidates, D dimensions.
"""

import time
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from contract.graph import OnlineGraph, TimelineEntry, UserView
from contract.runtime import Ranking
from contract.vectors import Vectors, VectorStore
from service.active import ActiveModel
from service.candidates import followees_tweets, popularity, recent_tweets
from service.cursor import MOST_SHOWN, Cursors, Page, tweet_hash
from service.database import Database
from service.errors import NotReady, UnknownUser
from service.metrics import Metrics
from service.schemas import FolloweeShare, Missing, Recommendations, RecommendedTweet, Scope, Source

MOST_EXPLAINED = 5
"""Followees that an explanation names."""


@dataclass(frozen=True)
class Ask:
    """What is asked for."""

    user_id: str
    k: int
    scope: Scope
    explain: bool
    cursor: str | None


@dataclass(frozen=True)
class Online:
    """The stores on the way of a request, and the signer of cursors; SQL answers for users who are not online."""

    graph: OnlineGraph
    vectors: VectorStore
    database: Database
    cursors: Cursors
    metrics: Metrics


@dataclass(frozen=True)
class People:
    """The vectors that one version has of a user and their followees."""

    user_D: npt.NDArray[np.float16] | None
    followee_ids: list[str]
    followees_ND: Vectors

    @property
    def known(self) -> bool:
        """Whether the model knows anything of this user."""
        return self.user_D is not None or len(self.followee_ids) > 0


@dataclass(frozen=True)
class Pool:
    """Candidates from one source, all with a vector of one version; `popularity_C` where they rank by that."""

    source: Source
    entries: list[TimelineEntry]
    z_CD: Vectors
    popularity_C: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Ranked:
    """What candidates rank by, and the model's part in it: None where the model knows nothing of the user."""

    key_C: npt.NDArray[np.floating]
    ranking: Ranking | None


async def recommend(ask: Ask, model: ActiveModel, online: Online) -> Recommendations:
    """The K candidates that the user will most likely retweet, all ranked by one model version.

    Raises UnknownUser, NotReady, InvalidCursor, CursorExpired, RedisError.
    """
    page = open_page(ask, model, online.cursors)
    view = await known_user(ask.user_id, online)
    people = await gather_people(ask.user_id, view, model, online.vectors)
    pool = await find_pool(view, people, page, model, online)
    ranked = rank(pool, people, model)
    degraded = pool.source != ask.scope
    online.metrics.recommendations.labels(pool.source, str(degraded).lower()).inc()
    online.metrics.candidates.observe(len(pool.entries))
    best = top_k(ranked.key_C, pool.entries, min(ask.k, MOST_SHOWN - len(page.shown)))
    return Recommendations(
        user_id=ask.user_id,
        version=model.version,
        link=model.manifest.link,
        scope=ask.scope,
        source=pool.source,
        degraded=degraded,
        missing=missing_facets(people, view),
        folded_in=people.user_D is not None and ask.user_id not in model.artifact.trained_users,
        candidates=len(pool.entries),
        items=[item(pool, ranked, c) for c in best],
        followees=explanation(people, ranked) if ask.explain else None,
        next_cursor=next_cursor(page, pool, best, online.cursors),
    )


def open_page(ask: Ask, model: ActiveModel, cursors: Cursors) -> Page:
    """Where the ranking starts or goes on. Raises InvalidCursor, CursorExpired."""
    if ask.cursor is not None:
        return cursors.read(ask.cursor, ask.user_id, ask.scope, model.version)
    return Page(ask.user_id, model.version, ask.scope, None, time.time_ns() // 1_000_000, frozenset())


async def known_user(user_id: str, online: Online) -> UserView:
    """What the online graph has of a user; SQL is asked only about one who is not there.

    Raises UnknownUser, or NotReady where the database has the user and the online graph does not.
    """
    view = await online.graph.user(user_id)
    if view.exists:
        return view
    if await online.database.user_exists(user_id):
        raise NotReady(f"user_id {user_id} is stored but not online: run `python -m training publish VERSION`")
    raise UnknownUser(f"user_id {user_id} is not known: use the id of a user of the network")


async def gather_people(user_id: str, view: UserView, model: ActiveModel, vectors: VectorStore) -> People:
    """The vectors of the user and of the followees."""
    ids, users_KD = await vectors.users(model.version, [user_id, *view.followee_ids], model.manifest.dim)
    known = bool(ids) and ids[0] == user_id
    return People(users_KD[0] if known else None, ids[known:], users_KD[int(known) :])


async def find_pool(view: UserView, people: People, page: Page, model: ActiveModel, online: Online) -> Pool:
    """The first source that has something to offer; the pages after the first stay with its source.

    followees: what they posted or retweeted. discover: the newest tweets of the whole service, ranked by the model.
    popular: the same by their retweets, for a user whom the model does not know. recent: the same by time.
    """
    if (page.source or page.scope) == "followees":
        entries = await followees_tweets(online.graph, view, page)
        pool = await with_vectors("followees", entries, model, online.vectors)
        if pool.entries or page.source == "followees":
            return pool
    pool = await with_vectors("discover", await recent_tweets(online.graph, view, page), model, online.vectors)
    if page.source == "discover" or (page.source is None and people.known):
        return pool
    return await by_popularity(pool, page, online.graph)


async def with_vectors(source: Source, entries: list[TimelineEntry], model: ActiveModel, vectors: VectorStore) -> Pool:
    """Those of the tweets that the version has a vector of: hidden, deleted and pending ones have none."""
    ids, z_CD = await vectors.tweets(model.version, [entry.tweet_id for entry in entries], model.manifest.dim)
    encoded = set(ids)
    return Pool(source, [entry for entry in entries if entry.tweet_id in encoded], z_CD)


async def by_popularity(pool: Pool, page: Page, graph: OnlineGraph) -> Pool:
    """The pool as the popular one or, where nobody retweeted any of it, as the recent one."""
    retweets_C = await graph.retweet_counts([entry.tweet_id for entry in pool.entries])
    if page.source == "recent" or (page.source is None and not any(retweets_C)):
        return replace(pool, source="recent")
    counted = zip(retweets_C, pool.entries, strict=True)
    popularity_C = np.array([popularity(retweets, entry, page.at_ms) for retweets, entry in counted], dtype=np.float64)
    return replace(pool, source="popular", popularity_C=popularity_C)


def rank(pool: Pool, people: People, model: ActiveModel) -> Ranked:
    """By the model where it knows the user, else by popularity, else by time."""
    if pool.popularity_C is not None:
        return Ranked(pool.popularity_C, None)
    if pool.source == "recent":
        return Ranked(np.array([entry.at_ms for entry in pool.entries], dtype=np.float64), None)
    ranking = model.onnx.rank(people.user_D, people.followees_ND, pool.z_CD)
    return Ranked(ranking.score_C, ranking)


def missing_facets(people: People, view: UserView) -> list[Missing]:
    """Which facets were neutral because the model has no vector."""
    missing: list[Missing] = []
    if people.user_D is None:
        missing.append("user_vector")
    if view.followee_ids and not people.followee_ids:
        missing.append("followee_vectors")
    return missing


def top_k(key_C: npt.NDArray[np.floating], candidates: list[TimelineEntry], k: int) -> list[int]:
    """Places of the K best; ties go to the newer one, then to the smaller id.

    A value that is not finite takes no place.
    """
    finite = np.flatnonzero(np.isfinite(key_C)).tolist()
    return sorted(finite, key=lambda c: (-key_C[c], -candidates[c].at_ms, candidates[c].tweet_id))[:k]


def item(pool: Pool, ranked: Ranked, c: int) -> RecommendedTweet:
    """A candidate as it is answered."""
    entry, ranking = pool.entries[c], ranked.ranking
    return RecommendedTweet(
        tweet_id=entry.tweet_id,
        author_id=entry.author_id,
        score=None if pool.source == "recent" else float(ranked.key_C[c]),
        personal=None if ranking is None else float(ranking.personal_C[c]),
        social=None if ranking is None else float(ranking.social_C[c]),
        active_at=entry.at,
    )


def explanation(people: People, ranked: Ranked) -> list[FolloweeShare]:
    """The followees that carry most of the social facet, the greatest share first."""
    if ranked.ranking is None:
        return []
    shares = zip(people.followee_ids, ranked.ranking.attention_N.tolist(), strict=True)
    greatest = sorted(shares, key=lambda share: (-share[1], share[0]))[:MOST_EXPLAINED]
    return [FolloweeShare(user_id=user_id, share=share) for user_id, share in greatest]


def next_cursor(page: Page, pool: Pool, best: list[int], cursors: Cursors) -> str | None:
    """Where the next page goes on; None after the last one."""
    shown = page.shown | {tweet_hash(pool.entries[c].tweet_id) for c in best}
    if len(best) == len(pool.entries) or not best or len(shown) >= MOST_SHOWN:
        return None
    newest_ms = max(entry.at_ms for entry in pool.entries)  # a stamp may be ahead of this machine's clock
    at_ms = max(page.at_ms, newest_ms) if page.source is None else page.at_ms
    return cursors.write(replace(page, source=pool.source, at_ms=at_ms, shown=shown))
