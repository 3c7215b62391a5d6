"""FAMF: matrix factorisation with the BPR loss, as the paper cites it (Rendle et al., UAI 2009)."""

from functools import partial

from contract.progress import Progress
from training.baselines.fitting import fit_factors
from training.baselines.settings import BaselineSettings
from training.evaluate import Scorer
from training.factors import IdItems
from training.problem import Problem
from training.trainer import Curve


def fit(problem: Problem, settings: BaselineSettings, seed: int, progress: Progress) -> tuple[Scorer, Curve]:
    """score = u . v_i + b_i."""
    return fit_factors(problem, partial(IdItems, problem.tweets), settings, seed, progress, "famf")
