"""Flickr likes and follows as DiffNet publishes them (Wu et al., SIGIR 2019): no pictures, no text, no times."""

from pathlib import Path

import numpy as np

from training.network import group
from training.problem import Content, Problem
from training.public.likes import Likes, NegativeCap, problem_of_likes
from training.public.tables import whole_numbers

_FILES = {"links": "flickr.links", "train": "flickr.train.rating", "validation": "flickr.val.rating"} | {
    "test": "flickr.test.rating"
}


def load_flickr(folder: Path) -> Problem:
    """The official split. Test negatives are capped at twice a user's positives and ten.

    Raises InputRejected where a file is missing or a line is not two whole numbers and a rating.
    """
    pairs = {
        name: whole_numbers(folder / file, 3, 0, "the Flickr likes of DiffNet")[:, :2] for name, file in _FILES.items()
    }
    users = 1 + max(int(pairs[name][:, 0].max()) for name in pairs)
    users = max(users, 1 + int(pairs["links"].max()))
    items = 1 + max(int(pairs[name][:, 1].max()) for name in ("train", "validation", "test"))
    follow_E2 = np.unique(pairs["links"], axis=0)
    follow_E2 = follow_E2[follow_E2[:, 0] != follow_E2[:, 1]]
    train, validation, test = (Likes(pairs[n][:, 0], pairs[n][:, 1]) for n in ("train", "validation", "test"))
    content = Content(None, None, 0)
    followees = group(follow_E2[:, 0], follow_E2[:, 1], users)
    return problem_of_likes(users, items, followees, train, validation, test, content, NegativeCap(2, 10, seed=0))
