"""ADABPR: BPR with negatives that the model itself ranks high (Rendle and Freudenthaler, WSDM 2014).

Shape suffixes: T tweets, D dimensions, B positives, K negatives of each.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from contract.progress import Progress
from training.baselines.fitting import fit_factors
from training.baselines.settings import BaselineSettings
from training.evaluate import Scorer
from training.factors import Factors, IdItems
from training.network import Ints
from training.problem import Floats, Problem
from training.sampling import TripleSampler, triple_sampler
from training.trainer import Curve

RANK_SHARE = 0.05
"""lambda of p(rank) ~ exp(-rank / lambda), as a share of the tweets."""


@dataclass
class AdaptiveSampler:
    """Negatives that the model ranks high on one factor.

    Draws a rank r with p ~ exp(-r / lambda) and a factor f with p ~ |u_f| sigma_f, and takes the tweet that is r-th on
    f: from the top if u_f > 0, else from the bottom. A positive gives way to a uniform negative. Re-sorted every T ln T
    draws.
    """

    plain: TripleSampler
    model: Factors
    items: IdItems
    rank_scale: float

    def batches(self, batch: int, negatives: int, seed: int, epoch: int) -> Iterator[tuple[Ints, Ints, Ints]]:
        """As TripleSampler's, with adaptive negatives."""
        generator = np.random.default_rng([seed, epoch, 1])
        tweets, drawn = len(self.plain.existing), 0
        best_first_DT, sigma_D = self.sorted()
        for user_B, positive_B, negative_BK in self.plain.batches(batch, negatives, seed, epoch):
            if drawn >= tweets * np.log(tweets):
                best_first_DT, sigma_D = self.sorted()
                drawn = 0
            u_BD = self.model.users.weight.detach()[torch.from_numpy(user_B)].numpy()
            adaptive_BK = self.draw(u_BD, best_first_DT, sigma_D, negatives, generator)
            retweeted_BK = self.plain.is_retweeted(user_B[:, None], adaptive_BK)
            yield user_B, positive_B, np.where(retweeted_BK, negative_BK, adaptive_BK)
            drawn += negative_BK.size

    def sorted(self) -> tuple[Ints, Floats]:
        """Tweets that there were by factor, highest first, int64 [D, T], and the factors' standard deviations [D]."""
        v_TD = self.items.vectors.weight.detach().numpy()[self.plain.existing]
        return self.plain.existing[np.argsort(-v_TD.T, axis=1)], v_TD.std(axis=0)

    def draw(
        self, u_BD: Floats, best_first_DT: Ints, sigma_D: Floats, negatives: int, generator: np.random.Generator
    ) -> Ints:
        """Negatives int64 [B, K]."""
        tweets = best_first_DT.shape[1]
        shape = (len(u_BD), negatives)
        rank_BK = truncated_exponential(self.rank_scale, tweets, shape, generator)
        share_BD = np.cumsum(np.abs(u_BD) * sigma_D, axis=1)
        point_BK = generator.random(shape) * share_BD[:, -1:]
        factor_BK = (point_BK[:, :, None] >= share_BD[:, None, :]).sum(axis=2).clip(max=u_BD.shape[1] - 1)
        liked_BK = np.take_along_axis(u_BD, factor_BK, axis=1) > 0
        drawn_BK: Ints = best_first_DT[factor_BK, np.where(liked_BK, rank_BK, tweets - 1 - rank_BK)]
        return drawn_BK


def truncated_exponential(scale: float, count: int, shape: tuple[int, ...], generator: np.random.Generator) -> Ints:
    """Ranks 0 .. count - 1 with p ~ exp(-rank / scale), by inversion."""
    reach = -np.expm1(-count / scale)
    rank = np.floor(-scale * np.log1p(-generator.random(shape) * reach)).astype(np.int64)
    return np.asarray(np.minimum(rank, count - 1))


def fit(problem: Problem, settings: BaselineSettings, seed: int, progress: Progress) -> tuple[Scorer, Curve]:
    """score = u . v_i + b_i, as FAMF; only the negatives differ."""

    def sampler(model: Factors, items: IdItems) -> AdaptiveSampler:
        return AdaptiveSampler(triple_sampler(problem, "uniform"), model, items, RANK_SHARE * len(problem.existing))

    items = partial(IdItems, problem.tweets)
    return fit_factors(problem, items, settings, seed, progress, "adabpr", sampler_of=sampler)
