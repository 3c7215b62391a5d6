"""fit(): pairwise training of AMNL on cached image features, resumable at every epoch.

Shape suffixes: B triples, U distinct users of a batch, N followees, T image tweets, M distinct tweets of a batch,
S sentences, W words, F features, D dimensions.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from training import losses
from training.evaluate import candidate_lists, evaluate, model_scorer
from training.model import Amnl
from training.network import Exposures, Ints, Network, Split
from training.progress import Progress
from training.sampling import TripleSampler, triple_sampler
from training.settings import TrainingSettings


@dataclass(frozen=True)
class Content:
    """What is in the tweets: image features float32 [T, F], token ids int64 [T, S, W], and the vocabulary's size."""

    x_TF: Tensor
    token_ids_TSW: Tensor
    vocabulary: int

    @classmethod
    def of(cls, x_TF: Tensor, token_ids_TSW: Ints, vocabulary: int) -> Self:
        """From token ids as the contract makes them."""
        return cls(x_TF, torch.from_numpy(token_ids_TSW), vocabulary)


@dataclass(frozen=True)
class Fitted:
    """The best epoch's model, the numbers of the users whose vectors were trained, and the metrics by epoch."""

    model: Amnl
    users: Ints
    curve: list[dict[str, float]]


@dataclass
class TrainingState:
    """Everything that a later run needs to go on as if nothing had happened."""

    model: Amnl
    optimizer: torch.optim.Optimizer
    epoch: int
    best_auc: float
    best_weights: dict[str, Tensor]
    curve: list[dict[str, float]]


def fit(
    network: Network,
    exposed: Exposures,
    content: Content,
    split: Split,
    settings: TrainingSettings,
    checkpoint: Path,
    progress: Progress,
) -> Fitted:
    """Train up to the validation period and keep the epoch with the best AUC in it.

    A checkpoint that is there is gone on from. Raises NotEnoughData where the periods are too thin.
    """
    sampler = triple_sampler(network, exposed, split.validation_from)
    users = trained_users(network, sampler)
    validation = candidate_lists(network, exposed, split.validation_from, split.test_from)
    state = _start(network, content, split, settings)
    if checkpoint.exists():
        _restore(state, checkpoint)

    def epochs() -> Iterator[int]:
        while state.epoch < settings.epochs:
            loss = _train_epoch(state, sampler, network, content, settings)
            z_TD = encode_all(state.model, content)
            scores = evaluate(validation, model_scorer(state.model, network, users, z_TD), settings.seed)
            _record(state, loss, scores)
            _save(state, checkpoint)
            yield state.epoch

    for _ in progress(epochs(), settings.epochs - state.epoch, f"fit ({settings.link}, {settings.loss})"):
        pass
    state.model.load_state_dict(state.best_weights)
    return Fitted(state.model.eval(), users, state.curve)


@torch.inference_mode()
def encode_all(model: Amnl, content: Content, batch: int = 512) -> Tensor:
    """z of every tweet, float32 [T, D]."""
    parts = zip(torch.split(content.x_TF, batch), torch.split(content.token_ids_TSW, batch), strict=True)
    return torch.cat([model.encoder(x_BF, ids_BSW) for x_BF, ids_BSW in parts])


def trained_users(network: Network, sampler: TripleSampler) -> Ints:
    """Users whose vector was trained: who retweeted, and whom those follow. The others' are noise."""
    retweeters = np.unique(sampler.user_P)
    followed = [network.followees[int(user)] for user in retweeters]
    return np.unique(np.concatenate([retweeters, *followed]))


def _start(network: Network, content: Content, split: Split, settings: TrainingSettings) -> TrainingState:
    torch.manual_seed(settings.seed)
    model = Amnl(
        users=len(network.user_ids),
        feature_dim=content.x_TF.shape[1],
        vocabulary=content.vocabulary,
        word_dim=settings.word_dim,
        text_dim=settings.text_dim,
        dim=settings.dim,
        link=settings.link,
        init_std=settings.init_std,
    )
    model.encoder.standardise(content.x_TF[network.posted_T < split.validation_from])
    # weight_decay adds 2 beta Psi to the gradient: that of beta |Psi|^2.
    optimizer = torch.optim.Adagrad(model.parameters(), lr=settings.learning_rate, weight_decay=2 * settings.l2)
    return TrainingState(model, optimizer, 0, -1.0, copy.deepcopy(model.state_dict()), [])


def _train_epoch(
    state: TrainingState, sampler: TripleSampler, network: Network, content: Content, settings: TrainingSettings
) -> float:
    state.model.train()
    user_B, positive_B, negative_B = sampler.epoch(settings.negatives, settings.seed, state.epoch)
    total = 0.0
    for start in range(0, len(user_B), settings.batch):
        part = slice(start, start + settings.batch)
        positive, negative = batch_scores(
            state.model, network, content, user_B[part], positive_B[part], negative_B[part]
        )
        if settings.loss == "hinge":
            loss = losses.hinge(positive, negative, settings.margin)
        else:
            loss = losses.bpr(positive, negative)
        state.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()
        total += loss.item() * len(positive)
    return total / len(user_B)


def batch_scores(
    model: Amnl, network: Network, content: Content, user_B: Ints, positive_B: Ints, negative_B: Ints
) -> tuple[Tensor, Tensor]:
    """F of the triples' positives and negatives, float32 [B] each.

    Each distinct tweet is encoded and each distinct user's attention computed once.
    """
    tweet_M, place_2B = np.unique(np.concatenate([positive_B, negative_B]), return_inverse=True)
    z_MD = model.encoder(content.x_TF[tweet_M], content.token_ids_TSW[tweet_M])
    z_B2D = z_MD[torch.from_numpy(place_2B.reshape(2, -1).T)]
    user_U, place_B = np.unique(user_B, return_inverse=True)
    u_UD = model.user_vectors(torch.from_numpy(user_U))
    followee_UN, mask_UN = padded_followees(network, user_U)
    ubar_UD, _ = model.ranker.followee_mean(u_UD, model.user_vectors(followee_UN), mask_UN)
    known_B = torch.ones(len(user_B), dtype=torch.bool)
    score_B2, _, _ = model.ranker.score(u_UD[place_B], ubar_UD[place_B], known_B, mask_UN.any(dim=1)[place_B], z_B2D)
    return score_B2[:, 0], score_B2[:, 1]


def padded_followees(network: Network, user_U: Ints) -> tuple[Tensor, Tensor]:
    """Followees int64 [U, N] and which of them are real, bool [U, N]; N is the longest list, at least 1."""
    rows = [network.followees[int(user)] for user in user_U]
    longest = max((len(row) for row in rows), default=0) or 1
    followee_UN = np.zeros((len(rows), longest), dtype=np.int64)
    mask_UN = np.zeros((len(rows), longest), dtype=bool)
    for row, followees in enumerate(rows):
        followee_UN[row, : len(followees)] = followees
        mask_UN[row, : len(followees)] = True
    return torch.from_numpy(followee_UN), torch.from_numpy(mask_UN)


def _record(state: TrainingState, loss: float, scores: dict[str, float]) -> None:
    state.epoch += 1
    state.curve.append({"epoch": state.epoch, "loss": loss, **scores})
    if scores["auc"] > state.best_auc:
        state.best_auc = scores["auc"]
        state.best_weights = copy.deepcopy(state.model.state_dict())


def _save(state: TrainingState, checkpoint: Path) -> None:
    partial = checkpoint.with_suffix(".partial")
    torch.save(
        {
            "model": state.model.state_dict(),
            "optimizer": state.optimizer.state_dict(),
            "epoch": state.epoch,
            "best_auc": state.best_auc,
            "best_weights": state.best_weights,
            "curve": state.curve,
        },
        partial,
    )
    partial.rename(checkpoint)


def _restore(state: TrainingState, checkpoint: Path) -> None:
    saved: dict[str, Any] = torch.load(checkpoint, weights_only=True)
    state.model.load_state_dict(saved["model"])
    state.optimizer.load_state_dict(saved["optimizer"])
    state.epoch = saved["epoch"]
    state.best_auc = saved["best_auc"]
    state.best_weights = saved["best_weights"]
    state.curve = saved["curve"]
