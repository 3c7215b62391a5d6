"""A network of the paper's counts, stored within seconds: follows, topics and words as `synthesize` makes them.

Who retweets what is drawn by chance, and all tweets show one of a few pictures: what a retrain costs from cached
features on depends on neither, what it learns does.

Shape suffixes: R retweets, E follows, T image tweets.
"""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import numpy as np
from sqlalchemy import insert

from benchmarks.site import migrate
from contract.blobs import BlobStore
from contract.environment import StoreSettings
from contract.progress import silent
from contract.tables import Follow, Retweet, Tweet, User, open_database
from training.backbones import load_backbone
from training.features import image_features
from training.settings import TrainingSettings
from training.synthesize import Truth
from training.synthesize.behaviour import draw_truth
from training.synthesize.files import START, ids
from training.synthesize.pictures import render
from training.synthesize.sizes import PAPER
from training.synthesize.words import write

_RETWEETS = 90_000
_PICTURES = 64
_SHOWN = 0.52
"""Share of the retweets of what a followee had posted, as in the made network."""
_END = START + timedelta(days=31)


def store_paper_network(stores: StoreSettings) -> None:
    """Migrate the database, fill it, store pictures and their features."""
    migrate(stores)
    truth = draw_truth(PAPER, np.random.default_rng(0))
    asyncio.run(_store(truth, _pictures(stores), stores))


def _pictures(stores: StoreSettings) -> list[str]:
    """Keys of pictures that are stored, and their features cached."""
    generator = np.random.default_rng(2)
    blobs, settings = BlobStore(stores.image_store_url), TrainingSettings()
    keys = [blobs.put(render(generator.standard_normal(8), generator)) for _ in range(_PICTURES)]
    image_features(keys, blobs, load_backbone(settings.backbone, settings.weights), stores.var_dir / "features", silent)
    return keys


async def _store(truth: Truth, image_keys: list[str], stores: StoreSettings) -> None:
    user_ids, tweet_ids = ids("u", PAPER.users), ids("t", PAPER.tweets)
    posted_at = [START + timedelta(seconds=int(s)) for s in truth.posted_s_T]
    users = [{"user_id": user_id, "created_at": START} for user_id in user_ids]
    follows = [
        {"follower_id": user_ids[p], "followee_id": user_ids[q], "created_at": START}
        for p, q in zip(truth.follower_E, truth.followee_E, strict=True)
    ]
    tweets = [
        {
            "tweet_id": tweet_ids[t],
            "author_id": user_ids[author],
            "text": write(truth.text_TV[t], np.random.default_rng([0, t])),
            "image_key": image_keys[t % _PICTURES],
            "created_at": posted_at[t],
        }
        for t, author in enumerate(truth.author_T)
    ]
    retweets = [
        {"user_id": user_ids[user], "tweet_id": tweet_ids[t], "created_at": min(posted_at[t] + after, _END)}
        for user, t, after in _draw_retweets(truth)
    ]
    async with open_database(stores.sqlalchemy_url) as engine, engine.begin() as connection:
        for table, rows in ((User, users), (Follow, follows), (Tweet, tweets), (Retweet, retweets)):
            await connection.execute(insert(table), rows)


def _draw_retweets(truth: Truth) -> Iterator[tuple[int, int, timedelta]]:
    """User, tweet and how long after the post, each pair once."""
    generator = np.random.default_rng(1)
    author_T = truth.author_T
    shown = [(p, t) for p, q in zip(truth.follower_E, truth.followee_E, strict=True) for t in _posted(author_T, q)]
    of_followees = generator.choice(shown, round(_SHOWN * _RETWEETS), replace=False)
    retweeters = np.unique(truth.follower_E)
    rest = _RETWEETS - len(of_followees)
    others = np.stack([generator.choice(retweeters, rest), generator.integers(len(author_T), size=rest)], axis=1)
    pair_R2 = np.unique(np.concatenate([of_followees, others]), axis=0)
    pair_R2 = pair_R2[author_T[pair_R2[:, 1]] != pair_R2[:, 0]]
    after_R = generator.exponential(PAPER.lifetime_s, len(pair_R2))
    for (user, tweet), after in zip(pair_R2.tolist(), after_R.tolist(), strict=True):
        yield user, tweet, timedelta(seconds=round(after))


def _posted(author_T: np.ndarray[tuple[int], np.dtype[np.int64]], author: int) -> list[int]:
    posted: list[int] = np.flatnonzero(author_T == author).tolist()
    return posted
