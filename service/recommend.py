"""GET /users/{id}/recommendations, a line a stage.

Shape suffixes: M a user and the followees, N followees with a vector, C candidates, D dimensions.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from contract.rebuild import replace_users
from contract.runtime import Ranking
from contract.transactions import changing
from service.active import ActiveModel
from service.candidates import Bounds, followees_tweets, popularity, recent_tweets
from service.cursor import MOST_SHOWN, Cursors, Page, tweet_hash
from service.database import Database
from service.errors import UnknownUser
from service.explain import reasons, shares
from service.held import Held, People, Timeline, View
from service.metrics import Metrics
from service.online import OnlineNetwork
from service.schemas import FolloweePart, Missing, Recommendations, RecommendedTweet, Scope, Source
from service.table import Ints, packed_directions


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
    """What a request is answered from; SQL is asked only about what Redis does not have, or while it is away."""

    network: OnlineNetwork
    database: Database
    cursors: Cursors
    bounds: Bounds
    metrics: Metrics


@dataclass(frozen=True)
class Pool:
    """Candidates from one source, all with a vector of one version; `popularity_C` where they rank by that."""

    source: Source
    row_C: Ints
    at_C: Ints
    popularity_C: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.row_C)


@dataclass(frozen=True)
class Ranked:
    """What candidates rank by, and the model's part in it: None where the model knows nothing of the user."""

    key_C: npt.NDArray[np.floating]
    ranking: Ranking | None


async def recommend(ask: Ask, model: ActiveModel, online: Online) -> Recommendations:
    """The K candidates that the user will most likely retweet, all ranked by one model version.

    Raises UnknownUser, InvalidCursor, CursorExpired; SQLAlchemyError or RedisError where no source has what is needed.
    """
    page = open_page(ask, model, online.cursors)
    held = await online.network.fresh(model)
    whole = online.network.whole
    view, restored = await known_user(ask.user_id, held, online)
    people = await gather_people(ask.user_id, view, model, held, online.network)
    pool = await find_pool(view, people, page, held, online)
    if ask.explain:  # a followee's vector may have changed since: the parts are to be those of the scores
        people = await gather_people(ask.user_id, view, model, held, online.network)
    ranked = rank(pool, people, model, held)
    best = top_k(ranked.key_C, pool, held.tweets.ids, min(ask.k, MOST_SHOWN - len(page.shown)))
    because: Sequence[list[FolloweePart] | None] = [None] * len(best)
    followees = None
    if ask.explain:
        because = found = reasons(pool.row_C[best], people, ranked.ranking, model.manifest.link, held)
        followees = shares(people, ranked.ranking, found)
    whole = whole and not restored and online.network.whole  # it may change while one answers
    degraded = pool.source != ask.scope or not whole
    online.metrics.recommendations.labels(pool.source, str(degraded).lower()).inc()
    online.metrics.candidates.observe(len(pool))
    return Recommendations(
        user_id=ask.user_id,
        version=model.version,
        link=model.manifest.link,
        scope=ask.scope,
        source=pool.source,
        degraded=degraded,
        missing=missing_parts(people, view, whole),
        folded_in=people.attended.knows_user and ask.user_id not in model.artifact.trained_users,
        candidates=len(pool),
        items=[item(pool, ranked, c, held, why) for c, why in zip(best, because, strict=True)],
        followees=followees,
        next_cursor=next_cursor(page, pool, [held.tweets.ids[pool.row_C[c]] for c in best], online.cursors),
    )


def open_page(ask: Ask, model: ActiveModel, cursors: Cursors) -> Page:
    """Where the ranking starts or goes on. Raises InvalidCursor, CursorExpired."""
    if ask.cursor is not None:
        return cursors.read(ask.cursor, ask.user_id, ask.scope, model.version)
    return Page(ask.user_id, model.version, ask.scope, None, time.time_ns() // 1_000_000, frozenset())


async def known_user(user_id: str, held: Held, online: Online) -> tuple[View, bool]:
    """What is online of a user; who is not there, since Redis lost its contents, is written from SQL first (True).

    Raises UnknownUser.
    """
    view = await online.network.view(held, user_id)
    if view is not None:
        return view, False
    if await online.database.user_exists(user_id):
        if online.network.away:
            return held.view(user_id, await online.network.stored.user(user_id)), True
        async with changing(online.database.engine) as connection:
            states = await replace_users(connection, online.network.graph, [user_id])
        if states:  # else deleted since
            return held.view(user_id, states[0].view), True
    raise UnknownUser(f"user_id {user_id} is not known: use the id of a user of the network")


async def gather_people(user_id: str, view: View, model: ActiveModel, held: Held, network: OnlineNetwork) -> People:
    """The user's attention over the followees; kept until the view or one of their vectors changes."""
    users = held.users
    kept = held.people.get(user_id)
    if kept is not None and kept.view is view and kept.changes == users.changes(view.rows_M):
        return kept
    if not users.all_present(view.rows_M):
        await network.need(held, "u", view.rows_M)
    present_M = users.present(view.rows_M)
    place_N = present_M[1:].nonzero()[0]
    followees_ND = users.vectors_RD.take(view.rows_M[1:][place_N], axis=0)
    user_D = users.vectors_RD[view.rows_M[0]] if present_M[0] else None
    attended = model.onnx.attend(user_D, followees_ND)
    packed = packed_directions(attended.directions_2D)
    people = People(view, users.changes(view.rows_M), place_N, attended, packed)
    if held.views.get(user_id) is view and not users.unknown(view.rows_M):  # else some changed while others were read
        held.keep(held.people, user_id, people)
    return people


async def find_pool(view: View, people: People, page: Page, held: Held, online: Online) -> Pool:
    """The first source that has something to offer; the pages after the first stay with its source.

    followees: what they posted or retweeted. discover: the newest tweets of the whole service, ranked by the model.
    popular: the same by their retweets, for a user whom the model does not know. recent: the same by time.
    """
    network, bounds = online.network, online.bounds
    if (page.source or page.scope) == "followees":
        entries = await followees_tweets(network, held, view, page, bounds)
        pool = await encoded("followees", entries, held, network)
        if len(pool) or page.source == "followees":
            return pool
    pool = await encoded("discover", await recent_tweets(network, held, view, page, bounds), held, network)
    if page.source == "discover" or (page.source is None and people.known):
        return pool
    return await by_popularity(pool, page, held, network)


async def encoded(source: Source, entries: Timeline, held: Held, network: OnlineNetwork) -> Pool:
    """Those of the tweets that the version has a vector of: hidden, deleted and pending ones have none."""
    if not held.tweets.all_present(entries[0]):
        await network.need(held, "t", entries[0])
        entries = entries[:, held.tweets.present(entries[0])]
    row_C, at_C = entries
    return Pool(source, row_C, at_C)


async def by_popularity(pool: Pool, page: Page, held: Held, network: OnlineNetwork) -> Pool:
    """The pool as the popular one or, where nobody retweeted any of it, as the recent one."""
    retweets_C = np.array(await network.retweet_counts([held.tweets.ids[row] for row in pool.row_C]), dtype=int)
    if page.source == "recent" or (page.source is None and not retweets_C.any()):
        return replace(pool, source="recent")
    return replace(pool, source="popular", popularity_C=popularity(retweets_C, pool.at_C, page.at_ms))


def rank(pool: Pool, people: People, model: ActiveModel, held: Held) -> Ranked:
    """By the model where it knows the user, else by popularity, else by time."""
    if pool.popularity_C is not None:
        return Ranked(pool.popularity_C, None)
    if pool.source == "recent":
        return Ranked(pool.at_C.astype(np.float64), None)
    facets_2C = held.tweets.products(pool.row_C, people.packed)
    ranking = model.onnx.link(people.attended, facets_2C)
    return Ranked(ranking.score_C, ranking)


def missing_parts(people: People, view: View, whole: bool) -> list[Missing]:
    """Which facets were neutral because the model has no vector, and whether tweets may be left out."""
    missing: list[Missing] = [] if whole else ["online_network"]
    if not people.attended.knows_user:
        missing.append("user_vector")
    if view.followee_ids and not len(people.place_N):
        missing.append("followee_vectors")
    return missing


def top_k(key_C: npt.NDArray[np.floating], pool: Pool, ids: list[str], k: int) -> list[int]:
    """Places of the K best; ties go to the newer one, then to the smaller id.

    A value that is not finite takes no place.
    """
    if k <= 0 or not len(key_C):
        return []
    first = max(0, len(key_C) - k)
    best_K = np.partition(key_C, first)[first:].tolist()
    plain = all(map(math.isfinite, best_K))  # NaN sorts above the others
    best = (key_C >= best_K[0] if plain else np.isfinite(key_C)).nonzero()[0]
    by = zip(key_C[best].tolist(), pool.at_C[best].tolist(), pool.row_C[best].tolist(), best.tolist(), strict=True)
    return [c for _, _, _, c in sorted((-key, -at, ids[row], c) for key, at, row, c in by)[:k]]


def item(pool: Pool, ranked: Ranked, c: int, held: Held, because: list[FolloweePart] | None) -> RecommendedTweet:
    """A candidate as it is answered."""
    row, ranking = pool.row_C[c], ranked.ranking
    return RecommendedTweet(
        tweet_id=held.tweets.ids[row],
        author_id=held.users.ids[held.tweets.owner_R[row]],
        score=None if pool.source == "recent" else float(ranked.key_C[c]),
        personal=None if ranking is None else float(ranking.personal_C[c]),
        social=None if ranking is None else float(ranking.social_C[c]),
        active_at=datetime.fromtimestamp(int(pool.at_C[c]) / 1000, tz=UTC),
        because=because,
    )


def next_cursor(page: Page, pool: Pool, shown_ids: list[str], cursors: Cursors) -> str | None:
    """Where the next page goes on; None after the last one."""
    shown = page.shown | set(map(tweet_hash, shown_ids))
    if len(shown_ids) == len(pool) or not shown_ids or len(shown) >= MOST_SHOWN:
        return None
    newest_ms = int(pool.at_C.max())  # a stamp may be ahead of this machine's clock
    at_ms = max(page.at_ms, newest_ms) if page.source is None else page.at_ms
    return cursors.write(replace(page, source=pool.source, at_ms=at_ms, shown=shown))
