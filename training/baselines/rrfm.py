"""RRFM: relaxed ranking-based factor model, a reconstruction, since the full text was not at hand.

    x = p_u . q_i + b_i, learned boundary theta_u, s(a) = a + ln(1 + e^(-eta a)) / eta
    mean over positives of s(1 - (x - theta))^2 + alpha mean over unobserved of s(1 + (x - theta))^2 + lambda |.|^2

Shape suffixes: B positives, K unobserved of each.
"""

from functools import partial

from torch import Tensor
from torch.nn import functional

from contract.progress import Progress
from training.baselines.fitting import fit_factors
from training.baselines.settings import BaselineSettings
from training.evaluate import Scorer
from training.factors import Factors, IdItems, distinct, table
from training.network import Ints
from training.problem import Problem
from training.trainer import Curve, Pairs

ETA, ALPHA = 5.0, 1.0


def smooth_hinge(a: Tensor) -> Tensor:
    """s(a) = a + ln(1 + e^(-eta a)) / eta, a smooth max(0, a)."""
    return a + functional.softplus(-ETA * a) / ETA


def loss(positive_B: Tensor, negative_BK: Tensor, theta_B: Tensor) -> Tensor:
    """The two means; positives belong above a user's boundary theta by 1, what is unobserved below it by 1."""
    above = smooth_hinge(1 - (positive_B - theta_B)).square().mean()
    below = smooth_hinge(1 + (negative_BK - theta_B[:, None])).square().mean()
    return above + ALPHA * below


class Boundaries(Factors):
    """Factors with a boundary theta for every user, and RRFM's own loss."""

    def __init__(self, users: int, dim: int, init_std: float, items: IdItems, l2: float) -> None:
        super().__init__(users, dim, init_std, items, l2)
        self.boundaries = table(users, 1, 0.0)

    def pairs(self, user_B: Ints, positive_B: Ints, negative_BK: Ints) -> Pairs:
        """As of factors, with the loss."""
        pairs = super().pairs(user_B, positive_B, negative_BK)
        user_U, place_B = distinct(user_B)
        theta_U = self.boundaries(user_U).squeeze(1)
        penalty = pairs.penalty + self.l2 * theta_U.square().sum()
        own_loss = loss(pairs.positive_B, pairs.negative_BK, theta_U[place_B])
        return Pairs(pairs.positive_B, pairs.negative_BK, penalty, own_loss)


def fit(problem: Problem, settings: BaselineSettings, seed: int, progress: Progress) -> tuple[Scorer, Curve]:
    """score = p_u . q_i + b_i; the boundary does not change a user's order."""
    items = partial(IdItems, problem.tweets)
    return fit_factors(problem, items, settings, seed, progress, "rrfm", Boundaries)
