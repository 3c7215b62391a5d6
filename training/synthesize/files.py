"""The dataset's files: JSON lines in the format of docs/dataset.md, and the pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from training.synthesize.behaviour import Truth
from training.synthesize.cascades import AUTHOR, DISCOVER, Exposure
from training.synthesize.newcomers import NewTweet

START = datetime(2026, 1, 1, tzinfo=UTC)


def write_network(folder: Path, truth: Truth, exposures: list[Exposure]) -> None:
    """Users, follows, exposures and retweets."""
    user_id = ids("u", len(truth.tastes_UD))
    tweet_id = ids("t", len(truth.author_T))
    source_id = {AUTHOR: "author", DISCOVER: "discover", **dict(enumerate(user_id))}
    _write_lines(folder / "users.jsonl", ({"user_id": name, "created_at": _time(0)} for name in user_id))
    _write_lines(
        folder / "follows.jsonl",
        (
            {"follower_id": user_id[follower], "followee_id": user_id[followee], "created_at": _time(0)}
            for follower, followee in zip(truth.follower_E.tolist(), truth.followee_E.tolist(), strict=True)
        ),
    )
    _write_lines(
        folder / "exposures.jsonl",
        (
            {
                "user_id": user_id[exposure.user],
                "tweet_id": tweet_id[exposure.tweet],
                "created_at": _time(exposure.time_s),
                "source": source_id[exposure.source],
                "probability": _six_digits(exposure.probability),
                "retweeted": exposure.retweeted,
            }
            for exposure in exposures
        ),
    )
    retweets = sorted((x.retweeted_s, x.tweet, x.user) for x in exposures if x.retweeted)
    _write_lines(
        folder / "retweets.jsonl",
        (
            {"user_id": user_id[user], "tweet_id": tweet_id[tweet], "created_at": _time(time_s)}
            for time_s, tweet, user in retweets
        ),
    )


def write_tweets(
    folder: Path, truth: Truth, new_tweets: Sequence[NewTweet], posts: Iterable[tuple[bytes, str]]
) -> None:
    """The network's tweets, then the new ones; `posts` are their pictures and texts in this order."""
    (folder / "images").mkdir()
    (folder / "new").mkdir()
    user_id = ids("u", len(truth.tastes_UD))
    tweet_id = ids("t", len(truth.author_T))
    new_id = [f"n{number:03}" for number in range(1, len(new_tweets) + 1)]
    files = [*(f"images/{name}.jpg" for name in tweet_id), *(f"new/{name}.jpg" for name in new_id)]
    texts = []
    for file, (picture, text) in zip(files, posts, strict=True):
        (folder / file).write_bytes(picture)
        texts.append(text)
    _write_lines(
        folder / "tweets.jsonl",
        (
            {
                "tweet_id": tweet_id[tweet],
                "author_id": user_id[author],
                "text": texts[tweet],
                "created_at": _time(posted_s),
                "image": files[tweet],
            }
            for tweet, (author, posted_s) in enumerate(
                zip(truth.author_T.tolist(), truth.posted_s_T.tolist(), strict=True)
            )
        ),
    )
    _write_lines(
        folder / "new_tweets.jsonl",
        (
            {
                "tweet_id": new_id[number],
                "author_id": user_id[new.author],
                "text": texts[len(tweet_id) + number],
                "image": files[len(tweet_id) + number],
                "user_id": user_id[new.user],
                "kind": new.kind,
                "probability": _six_digits(new.probability),
            }
            for number, new in enumerate(new_tweets)
        ),
    )


def ids(letter: str, count: int) -> list[str]:
    """Names of the same length, so that their order as text is that of their numbers."""
    width = max(4, len(str(count)))
    return [f"{letter}{number:0{width}}" for number in range(1, count + 1)]


def _time(seconds: int) -> str:
    return (START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _six_digits(probability: float) -> float:
    return float(f"{probability:.6g}")


def _write_lines(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
