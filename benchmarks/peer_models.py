"""Cornac's and implicit's models on a Problem: the same retweets and lists, the best epoch by validation AUC.

Shape suffixes: U users, T image tweets, D dimensions, F features, C candidates.
"""

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from cornac.data import Dataset, ImageModality
from cornac.models import BPR, VBPR
from implicit.cpu.bpr import BayesianPersonalizedRanking
from scipy.sparse import csr_matrix
from torch.overrides import TorchFunctionMode

from training.baselines.vbpr import standard_features
from training.evaluate import Scorer, judge
from training.factors import dot
from training.problem import CandidateLists, Floats, Problem


@dataclass(frozen=True)
class PeerSettings:
    """What a peer is told; `regularization` multiplies a vector once for every triple that it is in."""

    learning_rate: float
    regularization: float
    dim: int = 64
    epochs: int = 60
    batch: int = 512
    threads: int = 1


@dataclass(frozen=True)
class Weights:
    """score = u . v + b, float32 [U, D], [T, D] and [T]."""

    u_UD: Floats
    v_TD: Floats
    b_T: Floats

    def score(self, lists: CandidateLists) -> Floats:
        """Float32 [C]."""
        user_C, tweet_C = torch.from_numpy(lists.user_C), torch.from_numpy(lists.tweet_C)
        return dot(torch.from_numpy(self.u_UD), user_C, torch.from_numpy(self.v_TD), tweet_C) + self.b_T[lists.tweet_C]


class BestEpoch:
    """Keeps the weights of the best epoch by validation AUC, as the project's trainer does."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self.problem, self.seed = problem, seed
        self.epoch, self.best, self.auc = 0, 0, -1.0
        self.weights: Weights | None = None

    def see(self, weights: Weights) -> None:
        """An epoch has ended; arrays that training goes on to change are copied."""
        self.epoch += 1
        auc = judge(self.problem.validation, weights.score, self.seed).means["auc"]
        if auc > self.auc:
            self.auc, self.best = auc, self.epoch
            self.weights = Weights(weights.u_UD.copy(), weights.v_TD.copy(), weights.b_T.copy())

    @property
    def scorer(self) -> Scorer:
        """Scores by the best epoch's weights."""
        if self.weights is None:
            raise ValueError("no epoch was judged")
        return self.weights.score


@dataclass(frozen=True)
class Fitted:
    """A trained peer: its scores, its best validation AUC, and the epoch of it."""

    scorer: Scorer
    auc: float
    epoch: int


Fit = Callable[[Problem, PeerSettings, int], Fitted]


def cornac_bpr(problem: Problem, settings: PeerSettings, seed: int) -> Fitted:
    """Cornac's BPR-MF with item biases: SGD triple by triple, uniform negatives."""
    best = BestEpoch(problem, seed)
    for model in cornac_bpr_epochs(problem, settings, seed):
        best.see(Weights(model.u_factors, model.i_factors, model.i_biases))
    return Fitted(best.scorer, best.auc, best.best)


def cornac_bpr_epochs(problem: Problem, settings: PeerSettings, seed: int) -> Iterator[Any]:
    """The model after each epoch. Its `fit` goes on from the vectors and the generator that it has."""
    model = BPR(
        k=settings.dim,
        max_iter=1,
        learning_rate=settings.learning_rate,
        lambda_reg=settings.regularization,
        seed=seed,
    )
    model.num_threads = settings.threads  # a seed alone would bring it back to one thread
    data = cornac_data(problem, seed)
    for _ in range(settings.epochs):
        model.is_fitted = False
        yield model.fit(data)


def implicit_bpr(problem: Problem, settings: PeerSettings, seed: int) -> Fitted:
    """implicit's BPR-MF with item biases: SGD triple by triple, negatives in proportion to their retweets."""
    best = BestEpoch(problem, seed)
    for model in implicit_bpr_epochs(problem, settings, seed):
        best.see(Weights(model.user_factors[:, :-1], model.item_factors[:, :-1], model.item_factors[:, -1]))
    return Fitted(best.scorer, best.auc, best.best)


def implicit_bpr_epochs(problem: Problem, settings: PeerSettings, seed: int) -> Iterator[Any]:
    """The model after each epoch; a generator, not a seed, so that every epoch draws anew."""
    model = BayesianPersonalizedRanking(
        factors=settings.dim,
        learning_rate=settings.learning_rate,
        regularization=settings.regularization,
        iterations=1,
        num_threads=settings.threads,
        random_state=np.random.default_rng(seed),
    )
    retweets = csr_matrix(problem.retweets, dtype=np.float32)
    for _ in range(settings.epochs):
        model.fit(retweets, show_progress=False)
        yield model


def cornac_vbpr(problem: Problem, settings: PeerSettings, seed: int) -> Fitted:
    """Cornac's VBPR, Adam on batches, uniform negatives, half the dimensions visual; its visual bias is corrected."""
    best = BestEpoch(problem, seed)
    x_TF = standard_features(problem, "vbpr")
    watch = _Corrected()

    def after_epoch() -> None:
        bias_T, gamma_UD, gamma_TD, theta_UD, projection_FD, visual_F1 = (w.detach() for w in watch.learned)
        u_UD, v_TD = torch.cat([gamma_UD, theta_UD], dim=1), torch.cat([gamma_TD, x_TF @ projection_FD], dim=1)
        best.see(Weights(u_UD.numpy(), v_TD.numpy(), (bias_T + (x_TF @ visual_F1).reshape(-1)).numpy()))

    data = cornac_data(problem, seed, after_epoch)
    data.add_modalities(item_image=ImageModality(features=x_TF.numpy()))
    model = VBPR(
        k=settings.dim - settings.dim // 2,
        k2=settings.dim // 2,
        n_epochs=settings.epochs,
        batch_size=settings.batch,
        learning_rate=settings.learning_rate,
        lambda_w=settings.regularization,
        lambda_b=settings.regularization,
        lambda_e=settings.regularization,
        verbose=False,
        seed=seed,
    )
    with watch, contextlib.redirect_stdout(io.StringIO()):
        model.fit(data)
    return Fitted(best.scorer, best.auc, best.best)


class _Corrected(TorchFunctionMode):
    """Runs Cornac's VBPR as it is but for one term, and sees what it learns.

    Its loss adds `feat_diff.mm(Bp)`, [B, 1], to scores [B]: that makes [B, B] and gives every triple the visual bias of
    every other. A product with a single column is made flat here, so that the sum is [B].
    """

    def __init__(self) -> None:
        super().__init__()
        self.learned: list[torch.Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is torch.Tensor.mm and out.shape[1] == 1:
            return out.squeeze(1)
        if func is torch.tensor and out.requires_grad:
            self.learned.append(out)
        return out


class _Watched(Dataset):  # type: ignore[misc]  # Cornac ships no types
    """Calls back when an epoch's last batch has been learned from."""

    after_epoch: Callable[[], None]

    def uij_iter(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        yield from super().uij_iter(*args, **kwargs)
        self.after_epoch()


def cornac_data(problem: Problem, seed: int, after_epoch: Callable[[], None] = lambda: None) -> Any:
    """Training retweets under the problem's own numbers, so that never retweeted tweets can be negatives as well."""
    ones_P = np.ones(len(problem.user_P), dtype=np.float32)
    data = _Watched(
        problem.users,
        problem.tweets,
        {user: user for user in range(problem.users)},
        {tweet: tweet for tweet in range(problem.tweets)},
        (problem.user_P, problem.tweet_P, ones_P),
        seed=seed,
    )
    data.after_epoch = after_epoch
    return data
