"""VBPR: matrix factorisation beside visual factors (He and McAuley, AAAI 2016).

Shape suffixes: M tweets, D dimensions, F features.
"""

from functools import partial

import torch
from torch import Tensor, nn

from contract.progress import Progress
from training.baselines.fitting import fit_factors
from training.baselines.settings import BaselineSettings
from training.errors import NotForThisNetwork
from training.evaluate import Scorer
from training.factors import IdItems, Items
from training.features import moments
from training.problem import Problem
from training.trainer import Curve


class VisualItems(nn.Module):
    """v = (gamma_i, E x_i), b = b_i + beta' . x_i."""

    def __init__(self, x_TF: Tensor, dim: int, init_std: float) -> None:
        super().__init__()
        self.x_TF = x_TF
        self.free = IdItems(len(x_TF), dim - dim // 2, init_std)
        self.projection = nn.Linear(x_TF.shape[1], dim // 2, bias=False)
        self.visual_bias = nn.Linear(x_TF.shape[1], 1, bias=False)
        nn.init.normal_(self.projection.weight, std=init_std)
        nn.init.zeros_(self.visual_bias.weight)

    def forward(self, tweet_M: Tensor) -> Items:
        """Of the tweets int64 [M]."""
        free: Items = self.free(tweet_M)
        x_MF = self.x_TF[tweet_M]
        b_M = free.b_M + self.visual_bias(x_MF).squeeze(1)
        dense = self.projection.weight.square().sum() + self.visual_bias.weight.square().sum()
        return Items(torch.cat([free.v_MD, self.projection(x_MF)], dim=1), b_M, free.squares + dense)


def fit(problem: Problem, settings: BaselineSettings, seed: int, progress: Progress) -> tuple[Scorer, Curve]:
    """score = b_i + gamma_u . gamma_i + theta_u . (E x_i) + beta' . x_i; half the dimensions are visual.

    Raises NotForThisNetwork for a network without dense features.
    """
    items = partial(VisualItems, standard_features(problem, "vbpr"))
    return fit_factors(problem, items, settings, seed, progress, "vbpr")


def standard_features(problem: Problem, system: str) -> Tensor:
    """Dense features, float32 [T, F]: over the tweets seen in training each has mean 0, and mean square norm is 1.

    As AMNL's encoder has it, one that hardly varies there is not blown up.
    """
    x_TF = problem.content.x_TF
    if x_TF is None:
        raise NotForThisNetwork(f"{system} needs dense features, which this network has none of: leave the system out")
    mean_F, std_F = moments(x_TF[problem.seen_in_training])
    standard_TF: Tensor = (x_TF - mean_F) / std_F / x_TF.shape[1] ** 0.5
    return standard_TF
