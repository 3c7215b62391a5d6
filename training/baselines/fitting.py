"""fit_factors(): what the factor models among the baselines have in common; they differ in a tweet's vector."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from contract.progress import Progress
from training.baselines.settings import BaselineSettings
from training.evaluate import Scorer
from training.factors import Factors
from training.problem import Problem
from training.sampling import triple_sampler
from training.trainer import Curve, Sampler, train

Module = TypeVar("Module", bound=nn.Module)


def fit_factors(
    problem: Problem,
    make_items: Callable[[int, float], Module],
    settings: BaselineSettings,
    seed: int,
    progress: Progress,
    label: str,
    model_of: type[Factors] = Factors,
    sampler_of: Callable[[Factors, Module], Sampler] | None = None,
) -> tuple[Scorer, Curve]:
    """Train Factors whose items `make_items` draws, once the seed is set, from a dimension and a deviation.

    Without `sampler_of`, triples are drawn as the settings say. A user without retweets has the vector 0.
    """
    torch.manual_seed(seed)
    items = make_items(settings.dim, settings.init_std)
    model = model_of(problem.users, settings.dim, settings.init_std, items, settings.l2)
    with torch.no_grad():
        model.users.weight[torch.from_numpy(problem.silent_users)] = 0
    sampler = sampler_of(model, items) if sampler_of else triple_sampler(problem, settings.negatives)
    curve = train(model, sampler, problem.validation, settings.schedule(seed), progress, label)
    return model.scorer(), curve
