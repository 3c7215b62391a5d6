"""Flickr likes and follows as DiffNet publishes them (Wu et al., SIGIR 2019): no pictures, no text, no times."""

from pathlib import Path

import numpy as np

from training.network import group
from training.problem import Content, Problem
from training.public.likes import Likes, NegativeCap, problem_of_likes
from training.public.tables import whole_numbers

_FILES = ("flickr.links", "flickr.train.rating", "flickr.val.rating", "flickr.test.rating")


def load_flickr(folder: Path) -> Problem:
    """The official split. Test negatives are capped at twice a user's positives and ten.

    Raises InputRejected where a file is missing or a line is not two whole numbers and a rating.
    """
    tables = (whole_numbers(folder / name, 3, 0, "the Flickr likes of DiffNet") for name in _FILES)
    links_E2, *ratings = (table[:, :2] for table in tables)
    train, validation, test = (Likes(pair_P2[:, 0], pair_P2[:, 1]) for pair_P2 in ratings)
    users = 1 + max(int(links_E2.max()), *(int(likes.user_P.max()) for likes in (train, validation, test)))
    items = 1 + max(int(likes.item_P.max()) for likes in (train, validation, test))
    follow_E2 = np.unique(links_E2[links_E2[:, 0] != links_E2[:, 1]], axis=0)
    content = Content(None, None, 0)
    followees = group(follow_E2[:, 0], follow_E2[:, 1], users)
    return problem_of_likes(users, items, followees, train, validation, test, content, NegativeCap(2, 10, seed=0))
