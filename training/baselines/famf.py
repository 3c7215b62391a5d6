"""FAMF: matrix factorisation with the BPR loss, as the paper cites it (Rendle et al., UAI 2009)."""

import torch

from training.baselines.settings import BaselineSettings
from training.evaluate import Scorer
from training.factors import Factors, IdItems
from training.problem import Problem
from training.progress import Progress
from training.sampling import triple_sampler
from training.trainer import Curve, train


def fit(problem: Problem, settings: BaselineSettings, seed: int, progress: Progress) -> tuple[Scorer, Curve]:
    """score = u . v_i + b_i."""
    torch.manual_seed(seed)
    items = IdItems(problem.tweets, settings.dim, settings.init_std)
    model = Factors(problem.users, settings.dim, settings.init_std, items, settings.l2)
    curve = train(
        model,
        triple_sampler(problem, settings.negatives),
        problem.validation,
        settings.schedule(seed),
        progress,
        "famf",
    )
    return model.scorer(), curve
