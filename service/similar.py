"""GET /tweets/{id}/similar.

Shape suffixes: C candidates, K vectors, D dimensions.
"""

import numpy as np
import numpy.typing as npt

from contract.vectors import Vectors
from service.errors import NotReady, UnknownTweet
from service.ingest import Ingest
from service.online import OnlineNetwork
from service.schemas import SimilarTweet, SimilarTweets


async def similar_tweets(tweet_id: str, k: int, parts: Ingest, network: OnlineNetwork) -> SimilarTweets:
    """The K tweets among the newest ones whose vectors point most nearly where this tweet's does, by cosine.

    Raises UnknownTweet, also for a hidden one; NotReady where no model serves, or the tweet is pending.
    """
    model = parts.models.required()
    tweet = await parts.database.tweet(tweet_id)
    if tweet is None or tweet.hidden_at is not None:
        raise UnknownTweet(f"tweet_id {tweet_id} is not known, or hidden")
    vector = await parts.database.vector(tweet_id, model.version)
    if vector is None:
        raise NotReady(f"tweet_id {tweet_id} has no vector under version {model.version} yet")
    await network.fresh(model)
    whole = network.whole
    entries = await network.recent_entries()
    authors = {entry.tweet_id: entry.author_id for entry in entries if entry.tweet_id != tweet_id}
    (ids, z_CD), _ = await network.vectors("t", model.version, list(authors), model.manifest.dim)
    unit_CD, unit_1D = unit(z_CD), unit(np.frombuffer(vector, dtype="<f2")[None])
    similarity_C = unit_CD @ unit_1D[0]
    best = sorted(range(len(ids)), key=lambda c: (-similarity_C[c], ids[c]))[:k]
    return SimilarTweets(
        tweet_id=tweet_id,
        version=model.version,
        degraded=not (whole and network.whole),
        candidates=len(ids),
        items=[
            SimilarTweet(tweet_id=ids[c], author_id=authors[ids[c]], similarity=float(similarity_C[c])) for c in best
        ],
    )


def unit(vectors_KD: Vectors) -> npt.NDArray[np.float32]:
    """Vectors of length 1, float32 [K, D]."""
    unit_KD = vectors_KD.astype(np.float32)
    unit_KD /= np.maximum(np.linalg.norm(unit_KD, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return unit_KD
