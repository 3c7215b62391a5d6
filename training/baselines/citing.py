"""CITING: a tweet is the words in it (Chen et al.), of its sources the text alone; the others do not exist here.

Shape suffixes: M tweets, T image tweets, S sentences, W words, D dimensions.
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from contract.preprocessing import PAD_ID
from contract.progress import Progress
from training.baselines.fitting import fit_factors
from training.baselines.settings import BaselineSettings
from training.errors import NotForThisNetwork
from training.evaluate import Scorer
from training.factors import Items, table
from training.problem import Content, Problem
from training.trainer import Curve


class WordItems(nn.Module):
    """v = |text|^-1/2 sum_w tf_w q_w."""

    def __init__(self, token_ids_TW: Tensor, vocabulary: int, dim: int, init_std: float) -> None:
        super().__init__()
        self.token_ids_TW = token_ids_TW
        self.words = table(vocabulary, dim, init_std)

    def forward(self, tweet_M: Tensor) -> Items:
        """Of the tweets int64 [M]; a tweet without words has v = 0."""
        ids_MW = self.token_ids_TW[tweet_M]
        said_MW = ids_MW != PAD_ID
        length_M = said_MW.sum(dim=1)
        word_N, place_N = torch.unique(ids_MW[said_MW], return_inverse=True)
        q_ND = self.words(word_N)
        starts_M = torch.cumsum(length_M, 0) - length_M
        v_MD = functional.embedding_bag(place_N, q_ND, starts_M, mode="sum") / length_M.clamp(min=1)[:, None].sqrt()
        return Items(v_MD, v_MD.new_zeros(len(v_MD)), q_ND.square().sum())


def fit(problem: Problem, settings: BaselineSettings, seed: int, progress: Progress) -> tuple[Scorer, Curve]:
    """score = u . v_i with words, segmented hashtags included, as the factors; NotForThisNetwork without text."""
    items = partial(WordItems, words(problem.content), problem.content.vocabulary)
    return fit_factors(problem, items, settings, seed, progress, "citing")


def words(content: Content) -> Tensor:
    """Token ids of whole tweets, int64 [T, S x W]."""
    if content.token_ids_TSW is None:
        raise NotForThisNetwork("citing needs text, which this network has none of: leave the system out")
    return content.token_ids_TSW.flatten(start_dim=1)
