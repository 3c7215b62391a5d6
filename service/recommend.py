"""GET /users/{id}/recommendations, a line a stage.

Shape suffixes: N followees, C candidates, D dimensions.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from contract.graph import OnlineGraph, TimelineEntry, UserView
from contract.runtime import Ranking
from contract.vectors import Vectors, VectorStore
from service.active import ActiveModel
from service.candidates import find_candidates
from service.database import Database
from service.errors import NotReady, UnknownUser
from service.schemas import Missing, Recommendations, RecommendedTweet


async def recommend(
    user_id: str, k: int, model: ActiveModel, graph: OnlineGraph, vectors: VectorStore, database: Database
) -> Recommendations:
    """The K candidates that the user will most likely retweet, all ranked by one model version.

    Raises UnknownUser, NotReady, RedisError.
    """
    view = await known_user(user_id, graph, database)
    candidates, source = await find_candidates(graph, user_id, view)
    gathered = await gather(user_id, view, candidates, model, vectors)
    ranking = model.onnx.rank(gathered.user_D, gathered.followees_ND, gathered.z_CD)
    best = top_k(ranking.score_C, gathered.candidates, k)
    return Recommendations(
        user_id=user_id,
        version=model.version,
        link=model.manifest.link,
        source=source,
        missing=missing_facets(gathered, view),
        candidates=len(gathered.candidates),
        items=[item(gathered.candidates[c], ranking, c) for c in best],
    )


@dataclass(frozen=True)
class Gathered:
    """Vectors of one version; candidates without one are gone."""

    user_D: npt.NDArray[np.float16] | None
    followees_ND: Vectors
    candidates: list[TimelineEntry]
    z_CD: Vectors


async def known_user(user_id: str, graph: OnlineGraph, database: Database) -> UserView:
    """What the online graph has of a user; SQL is asked only about one who is not there.

    Raises UnknownUser, or NotReady where the database has the user and the online graph does not.
    """
    view = await graph.user(user_id)
    if view.exists:
        return view
    if await database.user_exists(user_id):
        raise NotReady(f"user_id {user_id} is stored but not online: run `python -m training publish VERSION`")
    raise UnknownUser(f"user_id {user_id} is not known: use the id of a user of the network")


async def gather(
    user_id: str, view: UserView, candidates: list[TimelineEntry], model: ActiveModel, vectors: VectorStore
) -> Gathered:
    """Read the vectors of the user, the followees and the candidates."""
    dim = model.manifest.dim
    user_ids, users_KD = await vectors.users(model.version, [user_id, *view.followee_ids], dim)
    tweet_ids, z_CD = await vectors.tweets(model.version, [entry.tweet_id for entry in candidates], dim)
    known = bool(user_ids) and user_ids[0] == user_id
    encoded = set(tweet_ids)
    return Gathered(
        user_D=users_KD[0] if known else None,
        followees_ND=users_KD[1:] if known else users_KD,
        candidates=[entry for entry in candidates if entry.tweet_id in encoded],
        z_CD=z_CD,
    )


def missing_facets(gathered: Gathered, view: UserView) -> list[Missing]:
    """Which facets were neutral because the model has no vector."""
    missing: list[Missing] = []
    if gathered.user_D is None:
        missing.append("user_vector")
    if view.followee_ids and not len(gathered.followees_ND):
        missing.append("followee_vectors")
    return missing


def top_k(score_C: npt.NDArray[np.float32], candidates: list[TimelineEntry], k: int) -> list[int]:
    """Places of the K best scores; ties go to the newer one, then to the smaller id.

    A score that is not finite takes no place.
    """
    finite = np.flatnonzero(np.isfinite(score_C)).tolist()
    return sorted(finite, key=lambda c: (-score_C[c], -candidates[c].at_ms, candidates[c].tweet_id))[:k]


def item(entry: TimelineEntry, ranking: Ranking, c: int) -> RecommendedTweet:
    """A candidate as it is answered."""
    return RecommendedTweet(
        tweet_id=entry.tweet_id,
        author_id=entry.author_id,
        score=float(ranking.score_C[c]),
        personal=float(ranking.personal_C[c]),
        social=float(ranking.social_C[c]),
        active_at=entry.at,
    )
