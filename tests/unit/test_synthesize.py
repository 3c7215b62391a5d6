import hashlib
import json
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from training.synthesize import DatasetExists, SynthesisSettings, Truth, synthesize
from training.synthesize.words import TEXT_TOPICS

T = TypeVar("T")
SMALL = SynthesisSettings(users=60, tweets=80)


def quiet(items: Iterable[T], total: int, label: str) -> Iterable[T]:  # noqa: ARG001
    return items


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthesize") / "made"
    synthesize(folder, SMALL, quiet)
    return folder


def rows(dataset: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (dataset / f"{name}.jsonl").read_text("utf-8").splitlines()]


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def correlation(one: Iterable[float], other: Iterable[float]) -> float:
    return float(np.corrcoef(list(one), list(other))[0, 1])


def pixels(dataset: Path) -> list[NDArray[np.float64]]:
    pictures = []
    for tweet in rows(dataset, "tweets"):
        with Image.open(dataset / tweet["image"]) as picture:
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (320, 320))
            pictures.append(np.asarray(picture, dtype=np.float64))
    return pictures


def test_the_seed_decides_every_byte(dataset: Path, tmp_path: Path) -> None:
    synthesize(tmp_path / "again", SMALL, quiet)
    synthesize(tmp_path / "other", SMALL.model_copy(update={"seed": 1}), quiet)
    assert digests(tmp_path / "again") == digests(dataset)
    same = digests(dataset).items() & digests(tmp_path / "other").items()
    assert {name for name, _ in same} == {"users.jsonl"}


def test_the_report_counts_what_was_written(tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []

    def noting(items: Iterable[T], total: int, label: str) -> Iterable[T]:
        seen.append((label, total))
        return items

    report = synthesize(tmp_path / "made", SMALL, noting)
    made = {
        name: len(rows(tmp_path / "made", name)) for name in ("users", "follows", "tweets", "retweets", "exposures")
    }
    assert made == {name: getattr(report, name) for name in made}
    assert len(rows(tmp_path / "made", "new_tweets")) == report.new_tweets
    assert seen == [("cascades", 80), ("pictures", 80 + report.new_tweets)]
    assert 0.75 < report.bayes_auc < 1.0
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_every_reference_resolves(dataset: Path) -> None:
    users = {row["user_id"] for row in rows(dataset, "users")}
    tweets = {row["tweet_id"] for row in rows(dataset, "tweets")}
    assert (len(users), len(tweets)) == (60, 80)
    follows = [(row["follower_id"], row["followee_id"]) for row in rows(dataset, "follows")]
    assert {name for follow in follows for name in follow} <= users
    assert len(set(follows)) == len(follows)
    assert all(follower != followee for follower, followee in follows)
    for name in ("retweets", "exposures"):
        pairs = [(row["user_id"], row["tweet_id"]) for row in rows(dataset, name)]
        assert len(set(pairs)) == len(pairs)
        assert {user for user, _ in pairs} <= users
        assert {tweet for _, tweet in pairs} <= tweets
    posts = rows(dataset, "tweets") + rows(dataset, "new_tweets")
    assert {row["author_id"] for row in posts} <= users
    assert all((dataset / row["image"]).is_file() for row in posts)


def test_users_retweet_only_what_reached_them(dataset: Path) -> None:
    author = {row["tweet_id"]: row["author_id"] for row in rows(dataset, "tweets")}
    posted = {row["tweet_id"]: datetime.fromisoformat(row["created_at"]) for row in rows(dataset, "tweets")}
    follows = {(row["follower_id"], row["followee_id"]) for row in rows(dataset, "follows")}
    retweets = {
        (row["user_id"], row["tweet_id"]): datetime.fromisoformat(row["created_at"])
        for row in rows(dataset, "retweets")
    }
    exposures = {(row["user_id"], row["tweet_id"]): row for row in rows(dataset, "exposures")}
    assert set(retweets) == {pair for pair, row in exposures.items() if row["retweeted"]}
    for (user, tweet), row in exposures.items():
        exposed = datetime.fromisoformat(row["created_at"])
        source = author[tweet] if row["source"] == "author" else row["source"]
        assert user != author[tweet]
        assert (user, source) in follows
        assert exposed == (posted[tweet] if row["source"] == "author" else retweets[source, tweet])
        assert 0.0 < row["probability"] < 1.0
        if row["retweeted"]:
            assert retweets[user, tweet] > exposed


def test_the_logged_probabilities_follow_from_the_truth(dataset: Path) -> None:
    truth = Truth.load(dataset / "truth.npz")
    logits_TU = truth.logits(truth.topics, np.arange(60), truth.popularity_T)
    for row in rows(dataset, "exposures"):
        logit = logits_TU[int(row["tweet_id"][1:]) - 1, int(row["user_id"][1:]) - 1]
        assert row["probability"] == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-5)


def test_pictures_show_their_topic(dataset: Path) -> None:
    truth = Truth.load(dataset / "truth.npz")
    pictures = pixels(dataset)
    lightness = [picture.mean() for picture in pictures]
    warmth = [(picture[..., 0] - picture[..., 2]).mean() for picture in pictures]
    grain = [np.abs(np.diff(picture[:, :, 1], n=2, axis=1)).mean() / picture.mean() for picture in pictures]
    ground = [picture[:160].mean() / picture[160:].mean() for picture in pictures]
    assert correlation(truth.visual_TV[:, 1], lightness) > 0.8
    assert correlation(truth.visual_TV[:, 0], warmth) < -0.6
    assert correlation(truth.visual_TV[:, 5], grain) > 0.3
    assert correlation(truth.visual_TV[:, 7], ground) > 0.2


def test_words_speak_of_their_topic(dataset: Path) -> None:
    truth = Truth.load(dataset / "truth.npz")
    texts = [row["text"].lower() for row in rows(dataset, "tweets")]
    night = ("midnight", "dark", "bedtime", "night", "evening", "dusk", "sunset", "tonight")
    day = ("morning", "breakfast", "lunch", "noon", "dawn", "sunrise", "daybreak", "early")
    tone = [sum(word in text for word in day) - sum(word in text for word in night) for text in texts]
    assert correlation(truth.text_TV[:, TEXT_TOPICS.index("time")], tone) > 0.8


def test_tweets_read_as_short_sentences(dataset: Path) -> None:
    texts = [row["text"] for row in rows(dataset, "tweets")]
    words = [len(text.split()) for text in texts]
    sentences = [len(re.findall(r"[.!]", text)) for text in texts]
    assert min(words) >= 5
    assert max(words) <= 20
    assert {1, 2, 3} >= set(sentences)
    assert any("#" in text for text in texts)
    assert not any("*" in text for text in texts)


def test_new_tweets_match_or_do_not(dataset: Path) -> None:
    follows = {(row["follower_id"], row["followee_id"]) for row in rows(dataset, "follows")}
    shown: dict[str, list[float]] = {}
    for row in rows(dataset, "exposures"):
        shown.setdefault(row["user_id"], []).append(row["probability"])
    new = rows(dataset, "new_tweets")
    assert new
    for matching, unlike in zip(new[::2], new[1::2], strict=True):
        user = matching["user_id"]
        assert (matching["kind"], unlike["kind"], unlike["user_id"]) == ("matching", "unlike", user)
        assert {(user, matching["author_id"]), (user, unlike["author_id"])} <= follows
        low, high = np.percentile(shown[user], [5, 95])
        assert unlike["probability"] < low < high < matching["probability"]


def test_an_existing_folder_is_refused_and_left_alone(dataset: Path) -> None:
    before = digests(dataset)
    with pytest.raises(DatasetExists, match=r"already exists: remove it, or choose another"):
        synthesize(dataset, SMALL, quiet)
    assert digests(dataset) == before


def test_a_cut_off_run_leaves_nothing(tmp_path: Path) -> None:
    def cut_off(items: Iterable[T], total: int, label: str) -> Iterable[T]:  # noqa: ARG001
        if label == "pictures":
            raise KeyboardInterrupt
        return items

    with pytest.raises(KeyboardInterrupt):
        synthesize(tmp_path / "made", SMALL, cut_off)
    assert list(tmp_path.iterdir()) == []
