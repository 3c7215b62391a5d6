"""Factor models: score = u . v + b, where a system says what a tweet's vector v and bias b are made of.

Shape suffixes: B positives, K negatives of each, M distinct tweets of a batch, T image tweets, C candidates,
D dimensions, F features.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.evaluate import Scorer
from training.network import Ints
from training.problem import CandidateLists, Floats
from training.trainer import Pairs

_CHUNK = 200_000


class Items(NamedTuple):
    """Vectors float32 [M, D] and biases [M] of some tweets, and the sum of the squares of what made them."""

    v_MD: Tensor
    b_M: Tensor
    squares: Tensor


class IdItems(nn.Module):
    """A free vector and a free bias for every tweet, as matrix factorisation has them."""

    def __init__(self, tweets: int, dim: int, init_std: float) -> None:
        super().__init__()
        self.vectors = table(tweets, dim, init_std)
        self.biases = table(tweets, 1, 0.0)

    def forward(self, tweet_M: Tensor) -> Items:
        """Of the tweets int64 [M]."""
        v_MD, b_M = self.vectors(tweet_M), self.biases(tweet_M).squeeze(1)
        return Items(v_MD, b_M, v_MD.square().sum() + b_M.square().sum())


class Factors(nn.Module):
    """Free user vectors against a system's tweet vectors; what a batch touches is regularised by `l2`."""

    def __init__(self, users: int, dim: int, init_std: float, items: nn.Module, l2: float) -> None:
        super().__init__()
        self.users = table(users, dim, init_std)
        self.items = items
        self.l2 = l2

    def pairs(self, user_B: Ints, positive_B: Ints, negative_BK: Ints) -> Pairs:
        """Scores of triples; every distinct tweet's vector is made once."""
        tweet_M, place_BC = distinct(np.concatenate([positive_B[:, None], negative_BK], axis=1))
        user_U, place_B = distinct(user_B)
        items: Items = self.items(tweet_M)
        u_UD = self.users(user_U)
        v_BCD = functional.embedding(place_BC, items.v_MD)  # indexing, with a quicker gradient
        score_BC = torch.bmm(v_BCD, u_UD[place_B][:, :, None]).squeeze(2) + items.b_M[place_BC]
        return Pairs(score_BC[:, 0], score_BC[:, 1:], self.l2 * (u_UD.square().sum() + items.squares))

    def scorer(self) -> Scorer:
        """Scores of candidates by the model as it is now."""
        return self.score

    @torch.inference_mode()
    def score(self, lists: CandidateLists) -> Floats:
        """Float32 [C]."""
        tweet_M, place_C = distinct(lists.tweet_C)
        items: Items = self.items(tweet_M)
        score_C: Floats = dot(self.users.weight, torch.from_numpy(lists.user_C), items.v_MD, place_C)
        return np.asarray(score_C + items.b_M[place_C].numpy())


def table(rows: int, dim: int, init_std: float) -> nn.Embedding:
    """Vectors from N(0, init_std^2) whose gradient is sparse: a row that no sample touched costs nothing."""
    vectors = nn.Embedding(rows, dim, sparse=True)
    nn.init.normal_(vectors.weight, std=init_std)
    return vectors


def distinct(numbers: Ints) -> tuple[Tensor, Tensor]:
    """The distinct numbers, int64 [M], and for each of `numbers` where it stands among them, in their shape."""
    unique, place = np.unique(numbers, return_inverse=True)
    return torch.from_numpy(unique), torch.from_numpy(place.reshape(numbers.shape))


def dot(u_UD: Tensor, place_u_C: Tensor, v_MD: Tensor, place_v_C: Tensor) -> Floats:
    """u . v of pairs, float32 [C], without all their vectors in memory at once."""
    chunks = zip(torch.split(place_u_C, _CHUNK), torch.split(place_v_C, _CHUNK), strict=True)
    parts = [(u_UD[user] * v_MD[tweet]).sum(dim=1) for user, tweet in chunks]
    return np.asarray(torch.cat(parts).numpy())
