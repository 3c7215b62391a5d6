"""A dataset folder with pictures as problems, without a database: features cached, one problem a split.

Shape suffixes: T image tweets, X exposures.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from contract.preprocessing import Preprocessing
from contract.progress import Progress
from training.backbones import load_backbone
from training.ceilings import CEILINGS, ceilings
from training.dataset.arrays import network_of_folder
from training.errors import InputRejected
from training.evaluate import Scorer, list_by_list
from training.features import image_features
from training.indexing import find
from training.network import Exposures, Network, exposures, first_exposures, group, split_by_time
from training.problem import Problem, content_of, problem_of
from training.secondary import secondary_problem_of
from training.settings import TrainingSettings
from training.synthesize import Truth


@dataclass(frozen=True)
class FolderPictures:
    """A dataset folder's pictures by the key of their content, as a blob store would have them."""

    path_of: dict[str, Path]

    def get(self, key: str) -> bytes:
        """Raises FileNotFoundError where the file is gone."""
        return self.path_of[key].read_bytes()

    def place(self, key: str) -> str:
        """The file's path."""
        return str(self.path_of[key])


@dataclass(frozen=True)
class Made:
    """A folder's network, what followees showed, and its pictures' features."""

    network: Network
    exposed: Exposures
    pictures: FolderPictures
    x_TF: torch.Tensor | None

    def problem(self, split_percent: int, settings: TrainingSettings) -> Problem:
        """The primary protocol with this share of the retweets before the test period; words from before it alone."""
        network = self.network
        split = split_by_time(network, 1 - split_percent / 100, settings.validation_share)
        content, _ = content_of(network, self.x_TF, split.test_from, Preprocessing(image_size=1))
        return problem_of(network, self.exposed, split, content)

    def secondary_problem(self, split_percent: int, settings: TrainingSettings) -> Problem:
        """The secondary protocol with this share of each user's retweets before the user's cut; words of all tweets."""
        ever = int(self.network.posted_T.max()) + 1
        content, _ = content_of(self.network, self.x_TF, ever, Preprocessing(image_size=1))
        share = split_percent / 100
        return secondary_problem_of(self.network, self.exposed, share, settings.validation_share, content)


def read_made(folder: Path) -> Made:
    """Read a folder, without its pictures' features; what it says was shown is kept as far as a followee showed it.

    Raises InputRejected and NotEnoughData as the folder's reader does.
    """
    network, logged, pictures = network_of_folder(folder)
    return Made(network, in_network(network, logged), FolderPictures(pictures), None)


def load_made(folder: Path, settings: TrainingSettings, cache: Path, progress: Progress) -> Made:
    """As `read_made`, with the pictures' features, cached by content, preprocessing and weights."""
    made = read_made(folder)
    backbone = load_backbone(settings.backbone, settings.weights)
    x_TF = image_features(made.network.image_keys, made.pictures, backbone, cache, progress)
    return replace(made, x_TF=x_TF)


def in_network(network: Network, logged: Exposures | None) -> Exposures:
    """Exposures by followees: those that were logged or, without a log, all that follows and retweets imply.

    What was shown before any followee had it is not the network's showing, whoever retweets it later.
    """
    implied = exposures(network)
    if logged is None:
        return implied
    tweets = len(network.tweet_ids)
    key_X, implied_N = logged.user_X * tweets + logged.tweet_X, implied.user_X * tweets + implied.tweet_X
    place_X, found_X = find(key_X, implied_N)
    kept_X = found_X & (implied.at_X[place_X] <= logged.at_X)
    return first_exposures(logged.user_X[kept_X], logged.tweet_X[kept_X], logged.at_X[kept_X])


def ceiling_names(folder: Path) -> list[str]:
    """What the planted truth can be asked for; nothing for a folder without truth.npz."""
    return [f"{name} (ceiling)" for name in CEILINGS] if (folder / "truth.npz").exists() else []


def ceiling_scorers(folder: Path, problem: Problem) -> dict[str, Scorer]:
    """Scores by the planted truth, by the name of what they know; none for a folder without truth.npz.

    Raises InputRejected where the truth is of other users, follows or tweets than the folder's problem.
    """
    if not ceiling_names(folder):
        return {}
    truth = Truth.load(folder / "truth.npz")
    planted = group(truth.follower_E, truth.followee_E, len(truth.tastes_UD))
    same_follows = planted.starts.tolist() == problem.followees.starts.tolist() and (
        np.sort(planted.values).tolist() == np.sort(problem.followees.values).tolist()
    )
    if len(truth.visual_TV) != problem.tweets or not same_follows:
        raise InputRejected(
            f"{folder / 'truth.npz'} is of other users, follows or tweets than the tables beside it: make the network "
            "again, or remove the file to do without ceilings"
        )
    return dict(zip(ceiling_names(folder), map(list_by_list, ceilings(truth).values()), strict=True))
