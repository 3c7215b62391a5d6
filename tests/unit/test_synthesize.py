import hashlib
import json
import multiprocessing
import os
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from contract.progress import silent
from training.__main__ import main
from training.synthesize import DatasetExists, SynthesisSettings, Truth, draw_network, synthesize
from training.synthesize.behaviour import draw_truth
from training.synthesize.cascades import DISCOVER
from training.synthesize.files import ids
from training.synthesize.words import TEXT_TOPICS

T = TypeVar("T")
SMALL = SynthesisSettings(users=60, tweets=80)
PAPER = SynthesisSettings(size="paper")
PAPER_SHAPED = SynthesisSettings(size="paper", users=200, tweets=40)
TABLES_OF_SMALL = "42b976f9d12acc9f792812f9c1664612d5f90b0608b91ac7d96790a58703db4b"
PIXELS_OF_SMALL = "d436c62726662a5c1fa0f996531b953579f45a1b228411ea608046c2416fa274"


def quiet(items: Iterable[T], total: int, label: str) -> Iterable[T]:  # noqa: ARG001
    return items


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthesize") / "made"
    synthesize(folder, SMALL, quiet)
    return folder


@pytest.fixture(scope="module")
def paper_shaped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthesize") / "made"
    synthesize(folder, PAPER_SHAPED, quiet)
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


def test_another_seed_gives_other_bytes(dataset: Path, tmp_path: Path) -> None:
    synthesize(tmp_path / "other", SMALL.model_copy(update={"seed": 1}), quiet)
    same = digests(dataset).items() & digests(tmp_path / "other").items()
    assert {name for name, _ in same} == {"users.jsonl"}


def test_the_same_bytes_again_and_a_report_that_counts_them(dataset: Path, tmp_path: Path) -> None:
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
    assert digests(tmp_path / "made") == digests(dataset)
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_the_tables_and_pixels_are_those_of_every_platform(dataset: Path) -> None:
    tables, shown = hashlib.sha256(), hashlib.sha256()
    for path in sorted(dataset.glob("*.jsonl")):
        tables.update(path.read_bytes())
    for path in sorted(dataset.rglob("*.jpg")):
        with Image.open(path) as picture:
            shown.update(np.asarray(picture).tobytes())
    assert (tables.hexdigest(), shown.hexdigest()) == (TABLES_OF_SMALL, PIXELS_OF_SMALL)


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


def test_told_to_end_as_the_draft_is_made_it_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = os.mkdir

    def make_and_be_told(*arguments: Any, **more: Any) -> None:
        make(*arguments, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "mkdir", make_and_be_told)
    with pytest.raises(KeyboardInterrupt):
        synthesize(tmp_path / "new", SMALL, silent)
    assert list(tmp_path.iterdir()) == []


def test_a_cut_off_run_leaves_nothing(tmp_path: Path) -> None:
    def cut_off(items: Iterable[T], total: int, label: str) -> Iterable[T]:  # noqa: ARG001
        if label == "pictures":
            raise KeyboardInterrupt
        return items

    with pytest.raises(KeyboardInterrupt):
        synthesize(tmp_path / "made", SMALL, cut_off)
    assert list(tmp_path.iterdir()) == []


def test_the_papers_counts() -> None:
    assert (PAPER.users, PAPER.tweets) == (9_900, 7_193)
    truth = draw_truth(PAPER.shape(), np.random.default_rng(0))
    followees_U = np.bincount(truth.follower_E, minlength=PAPER.users)
    following = followees_U[followees_U > 0]
    assert len(truth.follower_E) == 29_501
    assert len(following) == round(0.48 * PAPER.users)
    assert following.mean() == pytest.approx(6.2, abs=0.05)
    assert (following.min(), following.max()) == (1, 162)
    assert np.median(following) <= 4
    assert len(np.unique(truth.community_U)) == 25
    edges = set(zip(truth.follower_E.tolist(), truth.followee_E.tolist(), strict=True))
    assert len(edges) == len(truth.follower_E)
    assert all(follower != followee for follower, followee in edges)


def test_the_papers_shape_scaled_down() -> None:
    settings = SynthesisSettings(size="paper", users=1_100, tweets=800)
    truth, _, exposures = draw_network(settings, silent)
    alone_U = np.bincount(truth.follower_E, minlength=1_100) == 0
    assert len(truth.follower_E) == round(settings.followees * 1_100)
    assert alone_U.mean() == pytest.approx(0.52, abs=0.001)
    retweets = [exposure for exposure in exposures if exposure.retweeted]
    assert len(retweets) / 1_100 == pytest.approx(90_000 / 9_900, rel=0.02)
    assert {exposure.source for exposure in exposures if alone_U[exposure.user]} == {DISCOVER}
    with_followees = [exposure.source for exposure in retweets if not alone_U[exposure.user]]
    assert 0.4 < np.mean([source == DISCOVER for source in with_followees]) < 0.65


def test_discover_shows_tweets_of_authors_that_a_user_does_not_follow(paper_shaped: Path) -> None:
    author = {row["tweet_id"]: row["author_id"] for row in rows(paper_shaped, "tweets")}
    posted = {row["tweet_id"]: row["created_at"] for row in rows(paper_shaped, "tweets")}
    follows = {(row["follower_id"], row["followee_id"]) for row in rows(paper_shaped, "follows")}
    discovered = [row for row in rows(paper_shaped, "exposures") if row["source"] == "discover"]
    assert {row["user_id"] for row in discovered} & {follower for follower, _ in follows}
    assert {row["user_id"] for row in discovered} - {follower for follower, _ in follows}
    for row in discovered:
        assert row["user_id"] != author[row["tweet_id"]]
        assert (row["user_id"], author[row["tweet_id"]]) not in follows
        assert row["created_at"] > posted[row["tweet_id"]]


def test_the_social_part_is_nil_without_followees(paper_shaped: Path) -> None:
    truth = Truth.load(paper_shaped / "truth.npz")
    alone = np.setdiff1d(np.arange(PAPER_SHAPED.users), truth.follower_E)
    _, social = truth.affinities(truth.topics, alone)
    assert not social.any()


def test_the_number_of_processes_changes_no_byte(paper_shaped: Path, tmp_path: Path) -> None:
    synthesize(tmp_path / "made", PAPER_SHAPED, quiet, workers=2)
    assert digests(tmp_path / "made") == digests(paper_shaped)


def test_a_cut_off_run_of_several_processes_leaves_nothing(tmp_path: Path) -> None:
    def cut_off(items: Iterable[T], total: int, label: str) -> Iterable[T]:  # noqa: ARG001
        for number, item in enumerate(items):
            if label == "pictures" and number == 20:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        synthesize(tmp_path / "made", PAPER_SHAPED, cut_off, workers=2)
    assert list(tmp_path.iterdir()) == []
    assert multiprocessing.active_children() == []


def test_what_is_given_goes_before_the_size() -> None:
    settings = SynthesisSettings(size="paper", users=300)
    assert (settings.users, settings.tweets, settings.followees) == (300, 7_193, 29_501 / 9_900)
    assert SynthesisSettings() == SynthesisSettings(size="small", users=500, tweets=700, followees=22.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "one of the arguments FOLDER --out is required"),
        (["one", "--out", "other"], "not allowed with argument"),
        (["one", "--size", "huge"], "invalid choice: 'huge'"),
    ],
)
def test_a_command_line_that_cannot_be_meant(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["synthesize", *arguments])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("target", [[], ["--out"]])
def test_the_command_line_names_the_folder_either_way(
    target: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    options = ["--size", "paper", "--users", "60", "--tweets", "20", "--seed", "3"]
    assert main(["synthesize", *target, str(tmp_path / "made"), *options]) == 0
    assert "made 60 users" in capsys.readouterr().out
    assert len(rows(tmp_path / "made", "tweets")) == 20


def test_ids_sort_as_they_are_numbered(paper_shaped: Path) -> None:
    for name, count in (("u", PAPER.users), ("t", PAPER.tweets), ("u", 123_456)):
        assert ids(name, count) == sorted(ids(name, count))
    assert [row["user_id"] for row in rows(paper_shaped, "users")] == ids("u", 200)


@pytest.mark.parametrize(("followees", "follows"), [(0.4, 48), (0.48, 48), (0.6, 60)])
def test_who_follows_anyone_follows_one_at_least(followees: float, follows: int) -> None:
    truth, _, _ = draw_network(SynthesisSettings(size="paper", users=100, tweets=50, followees=followees), quiet)
    assert len(truth.follower_E) == follows
