"""GET /tweets/{id}/similar.

Shape suffixes: C candidates, D dimensions.
"""

import numpy as np

from service.errors import NotReady, UnknownTweet
from service.ingest import Ingest
from service.schemas import SimilarTweet, SimilarTweets


async def similar_tweets(tweet_id: str, k: int, parts: Ingest) -> SimilarTweets:
    """The K tweets among the newest ones whose vectors point most nearly where this tweet's does, by cosine.

    Raises UnknownTweet, also for a hidden one; NotReady where no model serves, or the tweet is pending.
    """
    model = parts.models.required()
    tweet = await parts.database.tweet(tweet_id)
    if tweet is None or tweet.hidden_at is not None:
        raise UnknownTweet(f"tweet_id {tweet_id} is not known, or hidden")
    authors = {entry.tweet_id: entry.author_id for entry in await parts.graph.recent() if entry.tweet_id != tweet_id}
    ids, z_CD = await parts.vectors.tweets(model.version, [tweet_id, *authors], model.manifest.dim)
    if not ids or ids[0] != tweet_id:
        raise NotReady(f"tweet_id {tweet_id} has no vector under version {model.version} yet")
    unit_CD = z_CD.astype(np.float32)
    unit_CD /= np.maximum(np.linalg.norm(unit_CD, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    similarity_C = unit_CD[1:] @ unit_CD[0]
    best = sorted(range(len(ids) - 1), key=lambda c: (-similarity_C[c], ids[c + 1]))[:k]
    items = [
        SimilarTweet(tweet_id=ids[c + 1], author_id=authors[ids[c + 1]], similarity=float(similarity_C[c]))
        for c in best
    ]
    return SimilarTweets(tweet_id=tweet_id, version=model.version, candidates=len(ids) - 1, items=items)
