"""HetRec 2011 Last.fm: who tagged which artist when, friends, and tags as text (Cantador et al.; non-commercial, cite).

A tag is written by the interaction itself, so an artist's text is made of its training-period tags alone.
"""

from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from contract.preprocessing import Preprocessing, token_ids
from training.errors import InputRejected, NotEnoughData
from training.indexing import rank_within
from training.network import Ints, group
from training.problem import Content, Problem
from training.public.likes import Likes, problem_of_likes
from training.public.tables import whole_numbers
from training.tokenizer import train_tokenizer, vocabulary_of

_TEST_SHARE, _VALIDATION_SHARE = 0.2, 0.1
_TEXT_FEATURES = 128
_MAX_TAGS = 32
_MIN_ARTISTS = 2
"""That a tag is given to, so that it is a feature."""
_SOURCE = "HetRec 2011's lastfm-2k"


def load_lastfm(folder: Path) -> Problem:
    """A cut in time for each user, since dates are months: the last 20 % of the artists that one tagged are test.

    Dense features are TF-IDF of the tags brought to 128 dimensions by SVD; token ids are the words of the most frequent
    tags. Raises InputRejected where a file is missing or a line is damaged.
    """
    path = folder / "user_taggedartists.dat"
    assigned = whole_numbers(path, 6, 1, _SOURCE)
    friends = whole_numbers(folder / "user_friends.dat", 2, 1, _SOURCE)
    tags = _tags(folder / "tags.dat")
    unknown = set(assigned[:, 2].tolist()) - tags.keys()
    if unknown:
        raise InputRejected(f"{path}: tag {min(unknown)} is not in tags.dat: is it the same data set's?")
    user_ids, user_A = np.unique(assigned[:, 0], return_inverse=True)
    artist_ids, artist_A = np.unique(assigned[:, 1], return_inverse=True)
    day_A = _days(assigned, path)
    users, artists = len(user_ids), len(artist_ids)

    key, first = _first_by_day(user_A * artists + artist_A, day_A)
    user_I, artist_I, day_I = key // artists, key % artists, day_A[first]
    test_I, validation_I = _last_shares(user_I, day_I)
    train_I = ~test_I & ~validation_I
    train, validation, test = (Likes(user_I[p], artist_I[p]) for p in (train_I, validation_I, test_I))

    last_day_U = _last_days(train.user_P, day_I[train_I], users)
    in_training_A = np.isin(user_A * artists + artist_A, key[train_I]) & (day_A <= last_day_U[user_A])
    follow = friends[np.isin(friends, user_ids).all(axis=1)]
    follow_E2 = np.searchsorted(user_ids, np.unique(follow, axis=0))
    content = _content(artist_A[in_training_A], [tags[int(tag)] for tag in assigned[in_training_A, 2]], artists)
    followees = group(follow_E2[:, 0], follow_E2[:, 1], users)
    return problem_of_likes(users, artists, followees, train, validation, test, content, cap=None)


def _first_by_day(key_A: Ints, day_A: Ints) -> tuple[Ints, Ints]:
    """Every distinct key and where its earliest assignment stands."""
    order = np.lexsort((day_A, key_A))
    key, first = np.unique(key_A[order], return_index=True)
    return key, order[first]


def _last_shares(user_I: Ints, day_I: Ints) -> tuple[Ints, Ints]:
    """Which interactions are test, and which validation, by each user's own order; ties in time by a fixed draw."""
    draw_I = np.random.default_rng(0).random(len(user_I))
    rank_I = rank_within(user_I, day_I, draw_I)
    kept_U = np.ceil(np.bincount(user_I) * (1 - _TEST_SHARE))
    learned_U = np.ceil(kept_U * (1 - _VALIDATION_SHARE))
    return rank_I >= kept_U[user_I], (rank_I >= learned_U[user_I]) & (rank_I < kept_U[user_I])


def _last_days(user_P: Ints, day_P: Ints, users: int) -> Ints:
    """The last day of each user's training period; a tag of a later day is not text, whatever it was given to."""
    last_U = np.zeros(users, dtype=np.int64)
    np.maximum.at(last_U, user_P, day_P)
    return last_U


def _content(artist_A: Ints, tag_A: list[str], artists: int) -> Content:
    """Of the training period's tags alone."""
    tags_of: list[list[str]] = [[] for _ in range(artists)]
    for artist, tag in zip(artist_A.tolist(), tag_A, strict=True):
        tags_of[artist].append(tag)
    artists_with = Counter(tag for tags in tags_of for tag in set(tags))
    if not any(count >= _MIN_ARTISTS for count in artists_with.values()):
        raise NotEnoughData(f"no tag is given to {_MIN_ARTISTS} artists: give the whole of {_SOURCE}")
    vectorizer = TfidfVectorizer(analyzer=lambda tags: tags, min_df=_MIN_ARTISTS, sublinear_tf=True)
    weights = vectorizer.fit_transform(tags_of)
    x_TF = TruncatedSVD(min(_TEXT_FEATURES, weights.shape[1]), random_state=0).fit_transform(weights).astype(np.float32)
    texts = [" ".join(sorted(set(tags), key=lambda tag: (-tags.count(tag), tag))) for tags in tags_of]
    tokenizer = train_tokenizer(texts)
    ids_TSW = token_ids(tokenizer, texts, Preprocessing(image_size=1, max_sentences=1, max_words=_MAX_TAGS))
    content = Content.of(torch.from_numpy(x_TF), ids_TSW, tokenizer.get_vocab_size())
    return replace(content, x_is_text=True, words=vocabulary_of(tokenizer))


def _days(assigned: Ints, path: Path) -> Ints:
    """Ordinals of the dates in the last three columns: day, month, year."""
    days = []
    for number, (day, month, year) in enumerate(assigned[:, 3:].tolist(), start=2):
        try:
            days.append(date(year, month, day).toordinal())
        except ValueError as error:
            raise InputRejected(f"{path} line {number}: {error}: the last columns are day, month and year") from error
    return np.array(days)


def _tags(path: Path) -> dict[int, str]:
    """Tags by id; a line ends in a line feed alone, since tags hold other separators, in mixed encodings."""
    try:
        lines = path.read_bytes().decode("utf-8", errors="replace").split("\n")[1:]
    except OSError as error:
        raise InputRejected(f"{path} is missing: give the folder of {_SOURCE}") from error
    tags = {}
    for number, line in enumerate(lines, start=2):
        tag_id, tab, tag = line.partition("\t")
        if tab and tag_id.isascii() and tag_id.isdigit():
            tags[int(tag_id)] = tag.strip().lower()
        elif line.strip():
            raise InputRejected(f"{path} line {number}: {line.strip()[:40]!r} is not a number, a tab and a tag")
    return tags
