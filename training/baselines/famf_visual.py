"""FAMF-visual: a user factor for every visual factor and none for the tweet itself, so that new tweets have a score.

Shape suffixes: M tweets, D dimensions, F features.
"""

from functools import partial

from torch import Tensor, nn

from contract.progress import Progress
from training.baselines.fitting import fit_factors
from training.baselines.settings import BaselineSettings
from training.baselines.vbpr import standard_features
from training.evaluate import Scorer
from training.factors import Items
from training.problem import Problem
from training.trainer import Curve


class ProjectedItems(nn.Module):
    """v = E x_i."""

    def __init__(self, x_TF: Tensor, dim: int, init_std: float) -> None:
        super().__init__()
        self.x_TF = x_TF
        self.projection = nn.Linear(x_TF.shape[1], dim, bias=False)
        nn.init.normal_(self.projection.weight, std=init_std)

    def forward(self, tweet_M: Tensor) -> Items:
        """Of the tweets int64 [M]."""
        v_MD: Tensor = self.projection(self.x_TF[tweet_M])
        return Items(v_MD, v_MD.new_zeros(len(v_MD)), self.projection.weight.square().sum())


def fit(problem: Problem, settings: BaselineSettings, seed: int, progress: Progress) -> tuple[Scorer, Curve]:
    """score = u . (E x_i). Raises NotForThisNetwork for a network without dense features."""
    items = partial(ProjectedItems, standard_features(problem, "famf_visual"))
    return fit_factors(problem, items, settings, seed, progress, "famf_visual")
