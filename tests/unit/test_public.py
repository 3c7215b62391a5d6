"""Public data sets are not in the repository; these are tiny files in their formats."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch

from training.errors import NotEnoughData
from training.problem import CandidateLists, Problem
from training.public.flickr import load_flickr
from training.public.lastfm import load_lastfm

Sets = dict[int, set[int]]
Assignment = tuple[int, int, int, date]
"""User, artist, tag, and a month."""

USERS, ARTISTS = [7, 19, 23, 31, 44, 58], list(range(300, 340))
TAGS = {5: "Rock", 6: "dream pop", 8: "jazz", 9: "80s", 12: "late night"}
LATE = 12
FRIENDS = [(user, other) for n, user in enumerate(USERS[:-1]) for other in USERS[n + 1 : n + 3]]
FRIENDS = FRIENDS + [(other, user) for user, other in FRIENDS]


def month(number: int) -> date:
    return date(2005 + number // 12, number % 12 + 1, 1)


def assignments() -> list[Assignment]:
    """Twenty artists a user, a month each (15 for training, 1 for validation, 4 for the test), two tags each."""
    generator = np.random.default_rng(0)
    made = []
    for user in USERS:
        for number, artist in enumerate(generator.choice(ARTISTS, 20, replace=False).tolist()):
            for tag in generator.choice([5, 6, 8, 9], 2, replace=False).tolist():
                made.append((user, artist, tag, month(number)))
    return made


def write_lastfm(
    folder: Path,
    rows: Iterable[Assignment],
    friends: Iterable[tuple[int, int]] = FRIENDS,
    tags: dict[int, str] = TAGS,
) -> Path:
    folder.mkdir(exist_ok=True)
    assigned = [f"{user}\t{artist}\t{tag}\t{on.day}\t{on.month}\t{on.year}" for user, artist, tag, on in rows]
    write_lines(folder / "user_taggedartists.dat", ["userID\tartistID\ttagID\tday\tmonth\tyear", *assigned])
    write_lines(folder / "user_friends.dat", ["userID\tfriendID", *(f"{one}\t{other}" for one, other in friends)])
    write_lines(folder / "tags.dat", ["tagID\ttagValue", *(f"{number}\t{tag}" for number, tag in tags.items())])
    return folder


def write_lines(path: Path, lines: list[str]) -> None:
    path.write_bytes("".join(f"{line}\r\n" for line in lines).encode("utf-8"))


def period(rows: list[Assignment], first: int, last: int) -> Sets:
    """Numbers of the artists by number of user, of some of the twenty months."""
    liked: Sets = defaultdict(set)
    artists = sorted({artist for _, artist, _, _ in rows})
    for user, artist, _, on in rows:
        if month(first) <= on <= month(last):
            liked[USERS.index(user)].add(artists.index(artist))
    return liked


def listed(lists: CandidateLists) -> dict[int, tuple[set[int], set[int]]]:
    """Positives and negatives by user."""
    found: dict[int, tuple[set[int], set[int]]] = {}
    for user, tweet, positive in zip(
        lists.user_C.tolist(), lists.tweet_C.tolist(), lists.positive_C.tolist(), strict=True
    ):
        found.setdefault(user, (set(), set()))[0 if positive else 1].add(tweet)
    assert len(lists.tweet_C) == sum(len(positives) + len(negatives) for positives, negatives in found.values())
    return found


def expected(follows: Sets, train: Sets, judged: Sets, before: Sets) -> dict[int, tuple[set[int], set[int]]]:
    """What followees liked in training and the user had not before the period, in plain sets."""
    lists = {}
    for user, followees in follows.items():
        shown = set[int]().union(*(train[followee] for followee in followees)) - train[user]
        positives = shown & judged[user]
        negatives = shown - judged[user] - before[user]
        if positives and negatives:
            lists[user] = positives, negatives
    return lists


def friends_by_number(friends: Iterable[tuple[int, int]] = FRIENDS) -> Sets:
    follows: Sets = defaultdict(set)
    for one, other in friends:
        follows[USERS.index(one)].add(USERS.index(other))
    return follows


def same_content(one: Problem, other: Problem) -> bool:
    assert one.content.x_TF is not None
    assert other.content.x_TF is not None
    assert one.content.token_ids_TSW is not None
    assert other.content.token_ids_TSW is not None
    return (
        one.content.vocabulary == other.content.vocabulary
        and torch.equal(one.content.x_TF, other.content.x_TF)
        and torch.equal(one.content.token_ids_TSW, other.content.token_ids_TSW)
    )


def test_lastfm_lists_hold_what_a_friend_had_tagged_in_training_and_the_user_had_not(tmp_path: Path) -> None:
    rows = assignments()
    problem = load_lastfm(write_lastfm(tmp_path, rows))
    train, validation, test = period(rows, 0, 14), period(rows, 15, 15), period(rows, 16, 19)
    assert (problem.users, problem.tweets) == (len(USERS), len({artist for _, artist, _, _ in rows}))
    pairs = set(zip(problem.user_P.tolist(), problem.tweet_P.tolist(), strict=True))
    assert pairs == {(user, artist) for user in train for artist in train[user]}
    follows = friends_by_number()
    assert listed(problem.test) == expected(follows, train, test, validation)
    assert listed(problem.validation) == expected(follows, train, validation, defaultdict(set))
    assert listed(problem.test)


def test_lastfm_negatives_of_training_hold_what_is_tagged_only_later(tmp_path: Path) -> None:
    rows = assignments()
    problem = load_lastfm(write_lastfm(tmp_path, rows))
    train = period(rows, 0, 14)
    for user, friends in friends_by_number().items():
        shown = set[int]().union(*(train[friend] for friend in friends))
        assert set(problem.unretweeted[user].tolist()) == shown - train[user]
        assert set(problem.tweet_P[problem.shown_P & (problem.user_P == user)].tolist()) == shown & train[user]
    for user, (positives, negatives) in listed(problem.test).items():
        assert positives | negatives <= set(problem.unretweeted[user].tolist())


def test_lastfm_text_does_not_change_with_tags_of_the_test_period(tmp_path: Path) -> None:
    rows = assignments()
    late = [(user, artist, LATE if on >= month(15) else tag, on) for user, artist, tag, on in rows]
    assert late != rows
    plain, changed = (load_lastfm(write_lastfm(tmp_path / name, made)) for name, made in (("a", rows), ("b", late)))
    assert same_content(plain, changed)


def test_lastfm_text_has_no_tag_that_a_user_adds_later_to_an_artist_of_the_training_period(tmp_path: Path) -> None:
    rows = assignments()
    again = [(user, artist, LATE, month(17)) for user, artist, _, on in rows if on <= month(3)]
    plain, changed = (
        load_lastfm(write_lastfm(tmp_path / name, made)) for name, made in (("a", rows), ("b", rows + again))
    )
    assert same_content(plain, changed)
    assert listed(plain.test) == listed(changed.test)


def test_lastfm_text_is_the_tags_of_the_training_period(tmp_path: Path) -> None:
    rows = [
        (user, artist, tag, on)
        for user, artist, _, on in assignments()
        for tag in ((LATE, 9) if on <= month(14) else (5, 8))
    ]
    problem = load_lastfm(write_lastfm(tmp_path, rows))
    trained = np.isin(np.arange(problem.tweets), problem.tweet_P)
    assert not trained.all()
    ids_TSW, x_TF = problem.content.token_ids_TSW, problem.content.x_TF
    assert ids_TSW is not None
    assert x_TF is not None
    late_night_80s = {tuple(row[row > 0].tolist()) for row in ids_TSW[torch.from_numpy(trained)].flatten(1)}
    assert [len(row) for row in late_night_80s] == [3]
    assert not ids_TSW[torch.from_numpy(~trained)].any()
    assert not x_TF[torch.from_numpy(~trained)].any()
    assert x_TF[torch.from_numpy(trained)].abs().sum(dim=1).min() > 0


def test_lastfm_friends_who_never_tagged_are_left_out(tmp_path: Path) -> None:
    rows = assignments()
    problem = load_lastfm(write_lastfm(tmp_path, rows, [*FRIENDS, (7, 1000), (1000, 7)]))
    follows = friends_by_number()
    assert {user: set(problem.followees[user].tolist()) for user in range(problem.users)} == follows


FLICKR = ("flickr.links", "flickr.train.rating", "flickr.val.rating", "flickr.test.rating")


def write_flickr(folder: Path, follows: Sets, train: Sets, validation: Sets, test: Sets) -> Path:
    for name, pairs in zip(FLICKR, (follows, train, validation, test), strict=True):
        lines = [f"{one}\t{other}\t1" for one, others in pairs.items() for other in sorted(others)]
        (folder / name).write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return folder


def flickr_likes(users: int = 9, items: int = 25) -> tuple[Sets, Sets, Sets, Sets]:
    """Follows, and disjoint likes of three periods."""
    generator = np.random.default_rng(1)
    follows: Sets = {
        user: set(generator.choice(np.delete(np.arange(users), user), 3, replace=False).tolist())
        for user in range(users)
    }
    train, validation, test = ({user: set[int]() for user in range(users)} for _ in range(3))
    for user in range(users):
        liked = generator.permutation(items)[:14].tolist()
        train[user], validation[user], test[user] = set(liked[:8]), set(liked[8:10]), set(liked[10:])
    return follows, train, validation, test


def test_flickr_lists_hold_what_a_followee_liked_in_training_and_the_user_had_not(tmp_path: Path) -> None:
    follows, train, validation, test = flickr_likes()
    problem = load_flickr(write_flickr(tmp_path, follows, train, validation, test))
    pairs = set(zip(problem.user_P.tolist(), problem.tweet_P.tolist(), strict=True))
    assert pairs == {(user, item) for user in train for item in train[user]}
    assert listed(problem.test) == expected(follows, train, test, validation)
    assert listed(problem.validation) == expected(follows, train, validation, defaultdict(set))
    assert len(listed(problem.test)) > 5


def test_flickr_negatives_are_capped_at_twice_the_positives_and_ten(tmp_path: Path) -> None:
    """A followee liked 50 things; user 1 likes 3 of them later, and user 2 all but 5."""
    follows, train = {1: {0}, 2: {0}}, {0: set(range(50)), 1: {60}, 2: {60}}
    test = {1: {4, 5, 6}, 2: set(range(44))}
    problem = load_flickr(write_flickr(tmp_path, follows, train, {1: {7}, 2: {49}}, test))
    lists = listed(problem.test)
    assert lists[1][0] == {4, 5, 6}
    assert len(lists[1][1]) == 2 * 3 + 10
    assert lists[1][1] <= set(range(50)) - {4, 5, 6, 7}
    assert lists[2] == (set(range(44)), set(range(44, 49)))
    assert len(listed(problem.validation)[1][1]) == 2 * 1 + 10
    assert listed(load_flickr(tmp_path).test) == lists


def test_capped_negatives_are_a_fair_draw(tmp_path: Path) -> None:
    """Over many users, every one of forty things is a negative about as often."""
    users = range(1, 200)
    follows, train = {user: {0} for user in users}, {0: set(range(40))} | {user: {50} for user in users}
    later = {user: {0} for user in users}
    problem = load_flickr(write_flickr(tmp_path, follows, train, {1: {1}}, later))
    count_T = np.bincount(problem.test.tweet_C[~problem.test.positive_C], minlength=40)[1:40]
    assert count_T.mean() == pytest.approx(199 * 12 / 39, abs=0.5)
    assert count_T.min() > 35
    assert count_T.max() < 90


def test_flickr_follows_of_oneself_and_repeated_ones_count_for_nothing(tmp_path: Path) -> None:
    follows, train, validation, test = flickr_likes()
    plain = load_flickr(write_flickr(tmp_path, follows, train, validation, test))
    links = tmp_path / "flickr.links"
    links.write_text(links.read_text("utf-8") * 2 + "3\t3\t1\n", "utf-8")
    again = load_flickr(tmp_path)
    assert again.followees.values.tolist() == plain.followees.values.tolist()
    assert listed(again.test) == listed(plain.test)


def test_follows_that_show_nothing_are_too_little_to_judge_by(tmp_path: Path) -> None:
    _, train, validation, test = flickr_likes()
    with pytest.raises(NotEnoughData):
        load_flickr(write_flickr(tmp_path, {0: {100}}, train, validation, test))
